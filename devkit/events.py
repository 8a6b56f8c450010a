"""Event files: complete Lambda events below `events/`, and their signatures."""

import base64
import json
from pathlib import Path
from typing import Any

from devkit import development
from devkit.errors import UserError
from switchboard import signatures

TWILIO_SIGNATURE = "x-twilio-signature"
DEFAULT_SCHEME = signatures.PRESETS["vapi-hmac"]
FORGED = "forged_"  # files whose signature is wrong on purpose
MESSAGE_ID = "msg_development"


def read(path: Path) -> dict[str, Any]:
    """Read an event; `UserError` if the file is not a JSON object."""
    try:
        event = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise UserError(f"{path} is not an event: it holds no JSON object")
    return event


def is_signed(event: dict[str, Any]) -> bool:
    """Whether this is a request to a route that checks signatures."""
    return "headers" in event and _path(event).startswith(("/webhook/", "/voice/"))


def sign(event: dict[str, Any], base_url: str = development.PUBLIC_BASE_URL) -> dict[str, Any]:
    """Return the event signed with the development secrets, for the moment that it carries.

    The scheme is the one whose header the event has already, else Vapi's own. `base_url` is the public
    URL that Twilio signs.
    """
    headers = {name.lower(): value for name, value in event["headers"].items()}
    signed = _twilio(event, base_url) if _path(event).startswith("/voice/") else _vapi(event, headers)
    if "content-length" in headers:
        signed["content-length"] = str(len(body(event)))
    kept = {name: signed.pop(name.lower(), value) for name, value in event["headers"].items()}
    return {**event, "headers": kept | signed}


def body(event: dict[str, Any]) -> bytes:
    """The body as the bytes that were sent."""
    text = event.get("body") or ""
    return base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()


def _vapi(event: dict[str, Any], headers: dict[str, str]) -> dict[str, str]:
    used = (scheme for scheme in signatures.PRESETS.values() if scheme.signature_header in headers)
    scheme = next(used, DEFAULT_SCHEME)
    moment = headers.get(scheme.timestamp_header) or str(event["requestContext"]["timeEpoch"] // 1000)
    secret = development.VAPI_WEBHOOK_SECRET
    if scheme.secret_encoding == "base64":  # noqa: S105 - the name of an encoding
        secret = base64.b64encode(secret.encode()).decode()
    return signatures.sign(
        scheme, body(event), secret, timestamp=int(moment), message_id=headers.get(scheme.id_header) or MESSAGE_ID
    )


def _twilio(event: dict[str, Any], base_url: str) -> dict[str, str]:
    query = event.get("rawQueryString")
    url = base_url + _path(event) + (f"?{query}" if query else "")
    try:
        pairs = signatures.parse_form(body(event))
    except ValueError as error:
        raise UserError("the body is not a form, so Twilio's signature cannot be made") from error
    return {TWILIO_SIGNATURE: signatures.sign_twilio(url, pairs, development.TWILIO_AUTH_TOKEN)}


def _path(event: dict[str, Any]) -> str:
    return str(event.get("rawPath", ""))
