"""Everything this package raises on purpose.

SwitchboardError
├── SettingsError          the deployment is configured in a way that must not run
├── Refused                the sender is at fault; answered with a 4xx
│   ├── SignatureRefused   401: not signed, wrongly signed, too old, or no secret to check with
│   └── MessageRefused     400, 403, 405, 413: authentic or unauthenticated, but not acceptable
├── Unavailable            one of our own dependencies did not answer; answered with 503 where nobody waits
├── ConditionFailed        a conditional write lost; carries the item that won
└── RemoteError            an HTTP API outside (Vapi, Twilio) did not do what we asked
    ├── NotDone            it surely did not act: refused, or never reached
    │   └── Gone           because the call that it was about is over
    └── Ambiguous          it may have acted: timed out, connection lost after sending, 5xx
"""

from collections.abc import Mapping
from typing import Any


class SwitchboardError(Exception):
    """Base of everything that this package raises on purpose."""


class SettingsError(SwitchboardError):
    """A setting is missing or dangerous; raised while a function starts, never on a request."""


class Refused(SwitchboardError):
    """A request that is turned away. `reason` is a constant code: safe to log, and told to nobody but an operator."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class SignatureRefused(Refused):
    """The request does not prove who sent it."""

    def __init__(self, reason: str) -> None:
        super().__init__(401, reason)


class MessageRefused(Refused):
    """The request is not one that we can act on, whoever sent it."""


class Unavailable(SwitchboardError):
    """A dependency of ours (table, queue, secret store) failed or did not answer in time."""


class ConditionFailed(SwitchboardError):
    """A conditional write was not applied; `item` is the stored item, or None where there is none."""

    def __init__(self, item: Mapping[str, Any] | None) -> None:
        super().__init__("the stored item does not meet the condition")
        self.item = item


class RemoteError(SwitchboardError):
    """An HTTP API outside did not do what we asked; `status` is its HTTP status, or None without an answer."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class NotDone(RemoteError):
    """The other side surely did not act, so asking again is safe."""


class Gone(NotDone):
    """The call that we asked about is over."""


class Ambiguous(RemoteError):
    """The other side may have acted, so asking again may act twice."""
