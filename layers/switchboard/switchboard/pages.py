"""The page to talk to the assistant: its files, and the answer to whoever asks for one of them.

Nothing is asked of the sender, so nothing that is secret is here: Vapi's public key is meant for browsers, and the
private one cannot be read by the function's role.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from switchboard import connection, gateway
from switchboard.errors import MessageRefused, Unavailable
from switchboard.gateway import Request
from switchboard.secrets import VAPI_PUBLIC_KEY, Secrets
from switchboard.settings import Settings
from switchboard.telemetry import warn

ASSETS = "/assets/"
SHELL = "index.html"
# What stands in the shell: the call, what is still to be done, that no call is offered, or that nobody knows.
TALK, UNREADY, OFF, UNAVAILABLE = PARTS = ("talk.html", "unready.html", "off.html", "unavailable.html")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
SMALL = 1024  # bytes below which compressing saves no packet
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Not for subdomains: a domain of the owner's may have others.
    "strict-transport-security": "max-age=31536000",
}
_QVALUE = re.compile(r"[01](\.[0-9]{0,3})?", re.ASCII)
# Why each of these: docs/web.md.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' https://c.daily.co blob: 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self' {vapi} https://*.daily.co wss://*.daily.co https://prod-ks.pluot.blue",
    "worker-src": "blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


class Asset(NamedTuple):
    """One file as it is sent: whole, and packed with gzip ('' where that is not worth it), each with a tag of its own."""

    content: bytes
    packed: bytes
    content_type: str
    etag: str
    packed_etag: str


class Site(NamedTuple):
    """What the function holds: the page's parts by name, and what may be fetched from it."""

    settings: Settings
    secrets: Secrets
    parts: Mapping[str, Template]
    assets: Mapping[str, Asset]


def open_site(folder: Path, settings: Settings, secrets: Secrets) -> Site:
    """Read the files once. What is in the folder then is all that can be asked for: no name is ever made into a path."""
    parts = {name: Template((folder / name).read_text("utf-8")) for name in (SHELL, *PARTS)}
    assets = {path.name: _asset(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}
    return Site(settings, secrets, parts, assets)


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    # Without a time in it, the same content is the same on every start.
    packed = gzip.compress(content, mtime=0) if len(content) >= SMALL else b""
    digest = hashlib.sha256(content).hexdigest()[:20]
    return Asset(content, packed, TYPES[path.suffix], f'"{digest}"', f'"{digest}-gzip"')


def respond(site: Site, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `GET /` with the page and `GET /assets/{name}` with a file."""
    try:
        request = gateway.read(event)
    except MessageRefused as refused:
        return gateway.refusal(refused.status)
    if request.path == "/":
        return page(site)
    asset = site.assets.get(request.path.removeprefix(ASSETS)) if request.path.startswith(ASSETS) else None
    return _file(asset, request) if asset else gateway.refusal(404)


def page(site: Site) -> dict[str, Any]:
    """The page; where something is missing it says what, and offers no call."""
    if not site.settings.web_calls:
        return _page(site, 200, site.parts[OFF].substitute())
    try:
        key = site.secrets.first(VAPI_PUBLIC_KEY)
        assistant = connection.read(site.settings, site.secrets).assistant_id
    except Unavailable as error:
        warn("page without secrets", code=str(error))
        return _page(site, 503, site.parts[UNAVAILABLE].substitute())
    if not key or not assistant:
        stack = site.settings.parameter_path.rpartition("/")[2]
        missing = {"key": "" if not key else "hidden", "assistant": "" if not assistant else "hidden", "stack": stack}
        return _page(site, 200, _filled(site, UNREADY, missing))
    return _page(site, 200, _filled(site, TALK, {"key": key, "assistant": assistant, "vapi": site.settings.vapi_url}))


def _filled(site: Site, part: str, values: Mapping[str, str]) -> str:
    return site.parts[part].substitute({name: escape(value) for name, value in values.items()})


def _page(site: Site, status: int, main: str) -> dict[str, Any]:
    headers = {
        **HEADERS,
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy(site.settings.vapi_url),
        "permissions-policy": "microphone=(self), camera=(), display-capture=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store",  # a key that was replaced must not live on in a cache
    }
    return {"statusCode": status, "headers": headers, "body": site.parts[SHELL].substitute(main=main)}


def policy(vapi_url: str) -> str:
    """The page's Content-Security-Policy: nothing inline, nothing evaluated, and only the hosts that a call needs."""
    return "; ".join(f"{name} {sources}" for name, sources in POLICY.items()).format(vapi=vapi_url)


def _file(asset: Asset, request: Request) -> dict[str, Any]:
    packed = bool(asset.packed) and _takes_gzip(request.headers.get("accept-encoding", ""))
    etag = asset.packed_etag if packed else asset.etag
    headers = {
        **HEADERS,
        "content-type": asset.content_type,
        # Modules name each other without a version, so a browser asks each time, and is mostly told 304.
        "cache-control": "no-cache",
        "etag": etag,
        "vary": "accept-encoding",
    }
    if etag in request.headers.get("if-none-match", ""):
        return {"statusCode": 304, "headers": headers, "body": ""}
    if packed:
        headers["content-encoding"] = "gzip"
        body = base64.b64encode(asset.packed).decode()
        return {"statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": True}
    return {"statusCode": 200, "headers": headers, "body": asset.content.decode()}


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has gzip, with a weight above 0: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3"""
    weights = dict(map(_weight, accepted.lower().split(",")))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(offer: str) -> tuple[str, float]:
    """A coding and its weight; one that cannot be read is 0, so that the file comes as it is."""
    coding, _, parameter = (part.strip() for part in offer.partition(";"))
    if not parameter:
        return coding, 1.0
    name, _, value = (part.strip() for part in parameter.partition("="))
    return coding, float(value) if name == "q" and _QVALUE.fullmatch(value) else 0.0
