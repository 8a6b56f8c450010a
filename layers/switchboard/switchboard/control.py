"""Where a live call can be spoken to: the rule that a control URL must meet, and the URL that we build ourselves.

Vapi sends `monitor.controlUrl` with most messages. It is a capability, so only its host is kept, and every request goes
to a URL that is rebuilt from that host and the session's own call id: nothing a sender wrote is ever followed.
"""

import re

# A longer label cannot be looked up, and an encoded one is not what it reads as: both make clients raise or disagree.
_LABEL = r"(?!xn--)[a-z0-9-]{1,63}"
_VAPI = re.compile(rf"https://({_LABEL}(?:\.{_LABEL})*\.vapi\.ai)/([A-Za-z0-9_\-]{{1,100}})/control", re.ASCII)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1:[0-9]{2,5})/([A-Za-z0-9_\-]{1,100})/control", re.ASCII)
MAX_URL = 500


def host(url: str, call_id: str, *, local: bool) -> str:
    """Return the host of a control URL of exactly this call, or '' where the URL is anything else.

    `local` admits the loopback address of a simulator, and is true only for STAGE=local.
    """
    if len(url) > MAX_URL:
        return ""
    # Vapi's own documentation shows the URL in angle brackets.
    bare = url[1:-1] if url.startswith("<") and url.endswith(">") else url
    found = _VAPI.fullmatch(bare) or (_LOOPBACK.fullmatch(bare) if local else None)
    return found[1] if found and found[2] == call_id else ""


def url(host: str, call_id: str, *, local: bool) -> str:
    """Rebuild the control URL of a call on a host that `host` returned; `ValueError` if it cannot have."""
    for scheme in ("https", "http") if local else ("https",):
        made = f"{scheme}://{host}/{call_id}/control"
        if (_VAPI.fullmatch(made)) or (local and _LOOPBACK.fullmatch(made)):
            return made
    raise ValueError("not a host of Vapi's live call control")
