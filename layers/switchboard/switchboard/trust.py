"""Whom we believe over TLS: all public roots, of which a handshake reads the one that it needs.

`layers/dependencies/roots.py` writes them beside the layer's packages, one file each. Where there are none, as in a checkout,
certifi's bundle serves: reading its hundred certificates costs 30 ms of a cold start, and again for each new connection
of a client that makes a context for each.
"""

import os
import ssl
from functools import cache

LAYER = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120 - pathlib costs more than all of this
ROOTS = os.path.join(LAYER, "roots")  # noqa: PTH118 - as above
AMAZON = os.path.join(ROOTS, "amazon.pem")  # noqa: PTH118 - as above


@cache
def context() -> ssl.SSLContext:
    """A context that verifies certificates and names; made once, and shared by every connection."""
    if os.path.isdir(ROOTS):  # noqa: PTH112 - as above
        return ssl.create_default_context(capath=ROOTS)
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def amazon() -> str | None:
    """A file of Amazon's own roots, for clients of AWS that take no context; None where there is none."""
    return AMAZON if os.path.isfile(AMAZON) else None  # noqa: PTH113 - as above
