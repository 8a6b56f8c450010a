"""What the values in `tests/corpus` stand for, and how their requests are signed: written apart from the code under test.

The language of the values is in tests/corpus/README.md.
"""

import base64
import hashlib
import hmac
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

from switchboard.signatures import Scheme


def text(value: Any, use: Callable[[str], str] = str, now: float = 0) -> str:
    """The text that a value of an entry stands for."""
    match value:
        case str():
            return value
        case list():
            return "".join(text(part, use, now) for part in value)
        case {"repeat": part, "times": int(times)}:
            return text(part, use, now) * times
        case {"now": int(offset)}:
            return str(int(now) + offset) + ("000" if value.get("unit") == "ms" else "")
        case {"use": str(name)}:
            return OPERATIONS[value.get("as", "is")](use(name))
    raise ValueError(f"no text: {value!r}")


def data(value: Any) -> bytes:
    """The bytes that a value of an entry stands for."""
    match value:
        case list():
            return b"".join(data(part) for part in value)
        case {"repeat": part, "times": int(times)}:
            return data(part) * times
        case {"bytes": str(digits)}:
            return bytes.fromhex(digits)
        case {"text": str(plain), "encoding": str(encoding)}:
            return plain.encode(encoding)
    return text(value).encode()


def _spare_bits(value: str) -> str:
    """Another spelling of the same bytes: the last character of base64 has bits that mean nothing."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    bare = value.rstrip("=")
    return bare[:-1] + alphabet[alphabet.index(bare[-1]) ^ 1] + value[len(bare) :]


# What happens to a good header on its way, so that it is not quite good any more.
OPERATIONS: dict[str, Callable[[str], str]] = {
    "is": str,
    "upper": str.upper,
    "reversed": lambda value: value[::-1],
    "cut": lambda value: value[:-1],
    "beheaded": lambda value: value[1:],
    "halved": lambda value: value[: len(value) // 2],
    "unpadded": lambda value: value.rstrip("="),
    "urlsafe": lambda value: value.replace("+", "-").replace("/", "_"),
    "spaced": " ".join,
    "percent": lambda value: "".join(f"%{ord(character):02X}" for character in value),
    "fullwidth": lambda value: "".join(chr(ord(character) + 0xFEE0) for character in value),
    "hex": lambda value: value.encode().hex(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "unbase64": lambda value: base64.b64decode(value).hex(),
    "spare": _spare_bits,
    "unhex": lambda value: base64.b64encode(bytes.fromhex(value)).decode(),
}


def digest(scheme: Scheme, secret: str, timestamp: str, message_id: str, body: bytes) -> str:
    """What a sender with this scheme puts behind the prefix: written apart from the code under test."""
    if scheme.encoding == "plain":
        return secret
    payload = scheme.payload.encode().replace(b"{timestamp}", timestamp.encode(errors="replace"))
    payload = payload.replace(b"{svix-id}", message_id.encode(errors="replace")).replace(b"{body}", body)
    key = secret.encode()
    if scheme.secret_encoding == "base64":  # noqa: S105 - an encoding, not a secret
        key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, payload, getattr(hashlib, scheme.algorithm))
    return mac.hexdigest() if scheme.encoding == "hex" else base64.b64encode(mac.digest()).decode()


def secret_for(scheme: Scheme, secret: str) -> str:
    """The secret in the form that a scheme wants."""
    if scheme.secret_encoding == "utf-8":  # noqa: S105 - an encoding, not a secret
        return secret
    return "whsec_" + base64.b64encode(secret.encode()).decode()


def encoded(fields: list[tuple[str, str]]) -> bytes:
    """A form as Twilio sends it."""
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields).encode()


def twilio_digest(url: str, fields: list[tuple[str, str]], token: str) -> str:
    """What Twilio puts into its header: the URL, then every distinct name and value in order."""
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
