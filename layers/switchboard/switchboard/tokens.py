"""Tokens of the console: who may look at live calls, for how long, and what else they may do.

`v1.<payload>.<mac>`: the payload is base64url JSON `{"exp", "id", "scopes"}`, the mac HMAC-SHA256 over the payload's
text. There is one algorithm, so a token names none. Nothing is stored: a token ends by its time, or with its secret.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import NamedTuple

from switchboard.errors import SignatureRefused
from switchboard.signatures import Secret

VERSION = "v1"
MAX_SECONDS = 12 * 3600  # a working day; whoever needs longer asks again
MIN_SECRET = 32  # characters; what somebody typed by hand is too easily guessed
MAX_TOKEN = 400  # characters
_CONTEXT = b"switchboard console token "  # so that no other thing that this secret ever signs is a token

ACT = "act"  # say, transfer, end
WORDS = "words"  # what was said, asked of tools and answered by them
SCOPES = (ACT, WORDS)


class Token(NamedTuple):
    """What a token says. `exp` is epoch seconds; `id` names it in the audit, and is no secret."""

    id: str
    exp: int
    scopes: frozenset[str] = frozenset()


def issue(token: Token, secret: str) -> str:
    """Write a token. `ValueError` for a secret that `verify` would not use."""
    if len(secret) < MIN_SECRET:
        raise ValueError("the secret is too short")
    told = {"exp": token.exp, "id": token.id, "scopes": sorted(token.scopes)}
    payload = _encoded(json.dumps(told, separators=(",", ":")).encode())
    return f"{VERSION}.{payload}.{_mac(payload, secret)}"


def verify(text: str, secrets: Iterable[Secret], now: float) -> Token:
    """Read a token that one of the secrets has signed and whose time is not over; `SignatureRefused` otherwise.

    Every secret is tried in constant time, and nothing of the payload is looked at before.
    """
    if not text:
        raise SignatureRefused("no_token")
    version, _, rest = text.partition(".")
    payload, _, mac = rest.partition(".")
    if len(text) > MAX_TOKEN or not text.isascii() or version != VERSION or not payload or not mac:
        raise SignatureRefused("token_malformed")
    usable = [secret.value for secret in secrets if len(secret.value) >= MIN_SECRET]
    if not usable:
        raise SignatureRefused("no_secret")
    # The texts are compared, not what they decode to: base64 has several spellings of the same bytes.
    matches = [hmac.compare_digest(_mac(payload, secret), mac) for secret in usable]
    if not any(matches):
        raise SignatureRefused("signature_mismatch")
    token = _read(payload)
    # A time that lies too far ahead was not given by `switchboard console`, whoever has the secret.
    if not now < token.exp <= now + MAX_SECONDS:
        raise SignatureRefused("token_expired")
    return token


def _read(payload: str) -> Token:
    try:
        told = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Token(str(told["id"]), int(told["exp"]), frozenset(told["scopes"]) & frozenset(SCOPES))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SignatureRefused("token_malformed") from error


def _mac(payload: str, secret: str) -> str:
    return _encoded(hmac.digest(secret.encode(), _CONTEXT + payload.encode(), "sha256"))


def _encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
