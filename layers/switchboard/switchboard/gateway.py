"""What the HTTP API (payload format 2.0) hands to a function, and what it takes back.

Three dialects reach us: AWS (lower-case header names, form bodies in base64), `sam local` (original header names,
plain form bodies) and emulators. The body's bytes are the ones that were signed, so nothing here parses them.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from switchboard.errors import MessageRefused

MAX_BODY = 6 * 1024 * 1024  # Lambda's own limit for a synchronous request


class Request(NamedTuple):
    """One HTTP request: header names in lower case, `body` as the bytes that arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def read(event: Mapping[str, Any]) -> Request:
    """Read a Lambda event; `MessageRefused` 413 for a body that is too large, 400 for one that is not base64."""
    text = event.get("body") or ""
    # Base64 is a third longer than what it carries: refuse before decoding, so that a large body costs nothing.
    if len(text) > MAX_BODY * (4 / 3 if event.get("isBase64Encoded") else 1):
        raise MessageRefused(413, "body_too_large")
    http = (event.get("requestContext") or {}).get("http") or {}
    return Request(
        method=http.get("method", ""),
        path=event.get("rawPath", ""),
        query=event.get("rawQueryString", ""),
        headers=_headers(event.get("headers") or {}),
        body=_bytes(text, encoded=bool(event.get("isBase64Encoded"))),
    )


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in given.items():
        key = name.lower()
        # A header sent twice is joined, as the gateway does: no signature grammar accepts a joined value.
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


def _bytes(text: str, *, encoded: bool) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if encoded else text.encode()
    except (binascii.Error, ValueError) as error:
        raise MessageRefused(400, "body_not_base64" if encoded else "body_not_utf8") from error


def answer(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON response."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body, separators=(",", ":"), ensure_ascii=False),
    }


REFUSALS = {
    400: {"error": "bad request"},
    401: {"error": "unauthorized"},
    403: {"error": "forbidden"},
    404: {"error": "not found"},
    413: {"error": "too large"},
    503: {"error": "unavailable, try again"},
}


def refusal(status: int) -> dict[str, Any]:
    """A constant body per status: nothing of the request or of our insides is ever echoed."""
    return answer(status, REFUSALS[status])


def xml(document: str) -> dict[str, Any]:
    """TwiML, always 200: Twilio plays a document of no other status."""
    return {"statusCode": 200, "headers": {"content-type": "text/xml; charset=utf-8"}, "body": document}
