"""The paths that Twilio asks, and how a URL for it is written.

Twilio tries a failed webhook again only as the URL's fragment says (it is not part of what is sent or signed). Whatever
is asked here may be asked twice, so all of it may be tried again.
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
"""

from urllib.parse import urlencode

INBOUND = "/voice/inbound"
DEQUEUED = "/voice/dequeued"
BACK = "/voice/back"
STATUS = "/voice/status"
STEP = "/voice/step"
WAIT = "/voice/wait"
HOLD = "/voice/hold"
MUSIC = "/voice/music"
BRIEF = "/voice/brief"
ACCEPT = "/voice/accept"
LEG = "/voice/leg"
TUNE = "/voice/tune"

RETRIES = "ct=2000&rc=2&rp=ct,5xx"


def url(base: str, path: str, **query: str | int) -> str:
    """An absolute URL for Twilio to ask. Nothing personal belongs into `query`: it stands in logs."""
    return f"{base}{path}{'?' + urlencode(query) if query else ''}#{RETRIES}"
