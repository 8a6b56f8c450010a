"""A captured request, in the shapes that people have one in: a Lambda event, a raw HTTP dump, a JSON object.

The bytes of the body are what is signed, so nothing here makes them prettier.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from devkit.errors import UserError
from switchboard import gateway

_SHAPES = (
    "give a Lambda event, a raw HTTP request (request line, headers, blank line, body), or "
    '{"url": …, "headers": {…}, "body": "…"}'
)


class Captured(NamedTuple):
    """One request as it was captured. `headers` are pairs with lower-case names, a repeated one is there twice.

    `arrived` is in epoch seconds, None where the capture does not say. `host` and `url_scheme` are what the client
    used, '' where that is unknown. `stage` is the API's stage, `lost_query` a query that the capture has in parts only.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived: float | None = None
    url_scheme: str = ""
    host: str = ""
    stage: str = ""
    lost_query: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The headers as the functions see them: one sent twice is joined by a comma."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        return joined


def read(raw: bytes) -> Captured:
    """Read a captured request; `UserError` if it is none, `MessageRefused` where a function could not read it either."""
    text = raw.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith(b"{"):
        return _dump(text)
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the capture begins like JSON and is none; {_SHAPES}") from error
    if "requestContext" in given or "rawPath" in given:
        return _event(given)
    return _object(given)


def _event(event: Mapping[str, Any]) -> Captured:
    if not isinstance(event.get("headers"), dict):
        raise UserError(f"the event has no headers; {_SHAPES}")
    request = gateway.read(event)
    context = event.get("requestContext") or {}
    moment = context.get("timeEpoch")
    parameters = event.get("queryStringParameters") or {}
    return Captured(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=tuple((name, str(value)) for name, value in request.headers.items()),
        body=request.body,
        arrived=moment / 1000 if isinstance(moment, int) else None,
        host=str(context.get("domainName") or request.headers.get("host", "")),
        stage=str(context.get("stage") or "").removeprefix("$default"),
        lost_query="" if request.query else urlencode(parameters),
    )


def _object(given: Mapping[str, Any]) -> Captured:
    if not isinstance(given.get("headers"), dict | list):
        raise UserError(f"the capture has no headers; {_SHAPES}")
    headers = tuple(_pairs(given["headers"]))
    url = str(given.get("url", ""))
    return _located(url, str(given.get("method", "POST")).upper(), headers, _body(given.get("body", "")))


def _pairs(given: Any) -> list[tuple[str, str]]:
    entries = given.items() if isinstance(given, dict) else [_pair(entry) for entry in given]
    pairs = []
    for name, value in entries:
        values = value if isinstance(value, list) else [value]
        pairs += [(str(name).lower(), "" if one is None else str(one)) for one in values]
    return pairs


def _pair(entry: Any) -> tuple[Any, Any]:
    """One header of a list, as HAR files have it or as a pair."""
    if isinstance(entry, dict) and {"name", "value"} <= entry.keys():
        return entry["name"], entry["value"]
    if isinstance(entry, list) and len(entry) == 2:
        return entry[0], entry[1]
    raise UserError(f"the capture's headers cannot be read; {_SHAPES}")


def _body(given: Any) -> bytes:
    if isinstance(given, str):
        return given.encode("utf-8", "surrogatepass")
    # Parsed already, so what was signed is lost; this is how most clients would have written it.
    return b"" if given is None else json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()


def _dump(raw: bytes) -> Captured:
    head, separator, body = _split(raw)
    lines = head.decode("latin-1").splitlines()
    parts = lines[0].split(" ") if lines else []
    if len(parts) != 3 or not parts[2].startswith("HTTP/") or not separator:
        raise UserError(f"this is no captured request; {_SHAPES}")
    pairs = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise UserError(f"line {lines.index(line) + 1} of the capture is no header; {_SHAPES}")
        pairs.append((name.strip().lower(), value.strip(" \t")))
    size = dict(pairs).get("content-length", "")
    # Editors end a file with a line break that was never sent.
    if size.isdecimal() and body[int(size) :] in (b"\n", b"\r\n"):
        body = body[: int(size)]
    return _located(parts[1], parts[0], tuple(pairs), body)


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    ends = [(raw.index(end), end) for end in (b"\r\n\r\n", b"\n\n") if end in raw]
    return raw.partition(min(ends)[1]) if ends else (raw, b"", b"")


def _located(url: str, method: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Captured:
    try:
        parts = urlsplit(url)
    except (ValueError, RecursionError) as error:
        raise UserError("the capture's URL cannot be read") from error
    host = parts.netloc.rpartition("@")[2] or dict(headers).get("host", "")
    return Captured(method, parts.path, parts.query, headers, body, url_scheme=parts.scheme, host=host)


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The parameters of a query, in order, blank ones included."""
    return parse_qsl(query, keep_blank_values=True)
