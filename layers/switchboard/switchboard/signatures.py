"""Who sent this request: Vapi by one `Scheme`, Twilio by its own rule. Verify and sign, over the bytes as they arrived.

Vapi signs by whatever credential its owner attaches, so the scheme is configuration. Its fields are those of Vapi's
HMAC credential (`HMACAuthenticationPlan` in Vapi's OpenAPI): header names, algorithm, prefix, encoding, payload format.
Twilio's rule: https://www.twilio.com/docs/usage/security#validating-requests

Verification raises `SignatureRefused` and nothing else, whatever the bytes are.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from switchboard.errors import SettingsError, SignatureRefused

ALGORITHMS = {"sha1": 20, "sha256": 32, "sha512": 64}
ENCODINGS = ("hex", "base64", "plain")
MAX_HEADER = 4096
MAX_SIGNATURES = 8
MAX_FORM_FIELDS = 200

_TIMESTAMP = re.compile(r"[1-9][0-9]{9}(?:[0-9]{3})?", re.ASCII)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}", re.ASCII)
_TWILIO = re.compile(r"[A-Za-z0-9+/]{27}=", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
_PLACEHOLDER = re.compile(r"(\{[^{}]*\})")


class Secret(NamedTuple):
    """One valid secret. Several are valid at once while a rotation is under way."""

    id: str
    value: str


class Scheme(NamedTuple):
    """How Vapi proves itself. An empty header name means that the scheme has no such header."""

    name: str
    signature_header: str
    timestamp_header: str = ""
    id_header: str = ""
    algorithm: str = "sha256"
    prefix: str = ""
    encoding: str = "hex"
    payload: str = "{body}"
    secret_encoding: str = "utf-8"  # noqa: S105 - an encoding, not a secret

    @property
    def replay_protected(self) -> bool:
        """Whether a captured request stops being valid: only where the timestamp is signed."""
        return "{timestamp}" in self.payload and self.encoding != "plain"


PRESETS = {
    scheme.name: scheme
    for scheme in (
        # Vapi's own defaults: a person sets only the secret and the algorithm.
        Scheme("vapi-hmac", "x-signature", timestamp_header="x-timestamp", payload="{timestamp}.{body}"),
        # https://www.standardwebhooks.com: what its libraries sign and verify.
        Scheme(
            "standard-webhooks",
            "webhook-signature",
            timestamp_header="webhook-timestamp",
            id_header="webhook-id",
            prefix="v1,",
            encoding="base64",
            payload="{svix-id}.{timestamp}.{body}",
            secret_encoding="base64",  # noqa: S106 - an encoding, not a secret
        ),
        # What many tutorials do. No replay protection: nothing that is signed tells one delivery from its copy.
        Scheme("body-hmac", "x-vapi-signature"),
        # The secret itself travels. No replay protection, and nothing ties it to the body.
        Scheme("bearer", "authorization", prefix="Bearer ", encoding="plain", payload=""),
        # Vapi's old `server.secret` header. No replay protection, and nothing ties it to the body.
        Scheme("vapi-secret", "x-vapi-secret", encoding="plain", payload=""),
    )
}


def choose(preset: str, overrides: Mapping[str, str] | None = None) -> Scheme:
    """Return a preset with some of its parts replaced; `SettingsError` when the result could not be checked."""
    if preset not in PRESETS:
        raise SettingsError(f"unknown signature scheme {preset!r}; known: {', '.join(PRESETS)}")
    overrides = overrides or {}
    unknown = set(overrides) - (set(Scheme._fields) - {"name"})
    if unknown or not all(isinstance(value, str) for value in overrides.values()):
        raise SettingsError(f"a signature scheme has text parts {', '.join(Scheme._fields[1:])} and no others")
    made = PRESETS[preset]._replace(**overrides)
    made = made._replace(
        signature_header=made.signature_header.lower(),
        timestamp_header=made.timestamp_header.lower(),
        id_header=made.id_header.lower(),
    )
    _check(made)
    return made


def _check(made: Scheme) -> None:
    if not made.signature_header:
        raise SettingsError("a signature scheme needs a signature_header")
    if made.algorithm not in ALGORITHMS:
        raise SettingsError(f"signature algorithm must be one of {', '.join(ALGORITHMS)}")
    if made.encoding not in ENCODINGS:
        raise SettingsError(f"signature encoding must be one of {', '.join(ENCODINGS)}")
    if made.secret_encoding not in ("utf-8", "base64"):
        raise SettingsError("secret_encoding must be utf-8 or base64")
    if made.encoding == "plain":
        return
    used = set(_PLACEHOLDER.findall(made.payload))
    if "{body}" not in used or used - {"{body}", "{timestamp}", "{svix-id}"}:
        raise SettingsError("a signed payload holds {body}, and may hold {timestamp} and {svix-id}, nothing else")
    if ("{timestamp}" in used) != bool(made.timestamp_header) or ("{svix-id}" in used) != bool(made.id_header):
        raise SettingsError("a payload part and its header go together: {timestamp} with timestamp_header, and so on")


def sign(scheme: Scheme, body: bytes, secret: str, *, timestamp: int, message_id: str = "") -> dict[str, str]:
    """Return the headers that prove `body`. `timestamp` goes out as given: epoch seconds or milliseconds."""
    if scheme.encoding == "plain":
        return {scheme.signature_header: scheme.prefix + secret}
    headers = {}
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = str(timestamp)
    if scheme.id_header:
        headers[scheme.id_header] = message_id
    payload = _payload(scheme, str(timestamp), message_id, body)
    headers[scheme.signature_header] = scheme.prefix + _digest(scheme, _key(scheme, secret), payload).decode()
    return headers


def examine(scheme: Scheme, headers: Mapping[str, str], *, now: float, tolerance: int) -> None:
    """Check all that needs no secret, grammar and age; `SignatureRefused` before any secret has to be fetched."""
    _claims(scheme, headers)
    _stamp(scheme, headers, now, tolerance)
    _message_id(scheme, headers)


def verify(
    scheme: Scheme,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[Secret],
    *,
    now: float,
    tolerance: int,
) -> str:
    """Return the id of the secret that signed, or raise `SignatureRefused`.

    `headers` have lower-case names; `now` and `tolerance` are seconds. Every secret is tried, in constant time each.
    """
    claimed = _claims(scheme, headers)
    timestamp, message_id = _stamp(scheme, headers, now, tolerance), _message_id(scheme, headers)
    usable = [secret for secret in secrets if secret.value]
    if not usable:
        raise SignatureRefused("no_secret")
    matched = ""
    payload = _payload(scheme, timestamp, message_id, body)
    for secret in usable:
        expected = secret.value.encode() if scheme.encoding == "plain" else _expected(scheme, secret, payload)
        for candidate in claimed:
            if hmac.compare_digest(expected, candidate):
                matched = secret.id
    if not matched:
        raise SignatureRefused("signature_mismatch")
    return matched


def _claims(scheme: Scheme, headers: Mapping[str, str]) -> list[bytes]:
    """The signatures that the header claims, each of the exact grammar; other versions of a list are passed over."""
    value = headers.get(scheme.signature_header, "")
    if not value:
        raise SignatureRefused("signature_missing")
    if len(value) > MAX_HEADER or not value.isascii():
        raise SignatureRefused("signature_malformed")
    # Standard Webhooks puts several signatures in one header, separated by spaces, so that secrets can rotate.
    parts = value.split(" ") if scheme.prefix.endswith(",") else [value]
    if len(parts) > MAX_SIGNATURES or not all(parts):
        raise SignatureRefused("signature_malformed")
    claimed = [part.removeprefix(scheme.prefix) for part in parts if part.startswith(scheme.prefix)]
    if not claimed:
        raise SignatureRefused("signature_prefix")
    grammar = _grammar(scheme)
    if not all(grammar.fullmatch(claim) for claim in claimed):
        raise SignatureRefused("signature_malformed")
    return [claim.encode() for claim in claimed]


def _grammar(scheme: Scheme) -> re.Pattern[str]:
    if scheme.encoding == "plain":
        return _TOKEN
    size = ALGORITHMS[scheme.algorithm]
    if scheme.encoding == "hex":
        return re.compile(rf"[0-9a-f]{{{size * 2}}}", re.ASCII)
    padding = -size % 3
    return re.compile(rf"[A-Za-z0-9+/]{{{(size + padding) // 3 * 4 - padding}}}={{{padding}}}", re.ASCII)


def _stamp(scheme: Scheme, headers: Mapping[str, str], now: float, tolerance: int) -> str:
    if not scheme.timestamp_header:
        return ""
    text = headers.get(scheme.timestamp_header, "")
    if not text:
        raise SignatureRefused("timestamp_missing")
    if not _TIMESTAMP.fullmatch(text):
        raise SignatureRefused("timestamp_malformed")
    # Vapi does not document the unit: ten digits are seconds, thirteen are milliseconds.
    sent = int(text) / (1000 if len(text) == 13 else 1)
    if sent < now - tolerance:
        raise SignatureRefused("timestamp_stale")
    if sent > now + tolerance:
        raise SignatureRefused("timestamp_future")
    return text


def _message_id(scheme: Scheme, headers: Mapping[str, str]) -> str:
    if not scheme.id_header:
        return ""
    text = headers.get(scheme.id_header, "")
    if not text:
        raise SignatureRefused("message_id_missing")
    if not _MESSAGE_ID.fullmatch(text):
        raise SignatureRefused("message_id_malformed")
    return text


def _payload(scheme: Scheme, timestamp: str, message_id: str, body: bytes) -> bytes:
    values = {"{timestamp}": timestamp.encode(), "{svix-id}": message_id.encode(), "{body}": body}
    # One pass over the template, so that a placeholder inside the body is just text.
    return b"".join(values.get(part, part.encode()) for part in _PLACEHOLDER.split(scheme.payload))


def _expected(scheme: Scheme, secret: Secret, payload: bytes) -> bytes:
    try:
        return _digest(scheme, _key(scheme, secret.value), payload)
    except SettingsError:
        # A secret that cannot be a key matches nothing, and must not stop the other ones from being tried.
        return b""


def _key(scheme: Scheme, secret: str) -> bytes:
    if scheme.secret_encoding == "utf-8":  # noqa: S105 - an encoding, not a secret
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsError("the secret is not base64, which this signature scheme needs") from error
    if not key:
        raise SettingsError("the secret is empty behind its marker, so everybody knows it")
    return key


def _digest(scheme: Scheme, key: bytes, payload: bytes) -> bytes:
    mac = hmac.new(key, payload, scheme.algorithm).digest()
    return mac.hex().encode() if scheme.encoding == "hex" else base64.b64encode(mac)


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """Read an `application/x-www-form-urlencoded` body, blank and repeated values included; `ValueError` if it is not."""
    text = body.decode("ascii")
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS) if text else []


def sign_twilio(url: str, pairs: Iterable[tuple[str, str]], token: str) -> str:
    """Return `X-Twilio-Signature` for a request to `url` with the form fields `pairs`."""
    values: dict[str, set[str]] = {}
    for name, value in pairs:
        values.setdefault(name, set()).add(value)
    text = _twilio_url(url) + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def examine_twilio(signature: str) -> None:
    """Check the grammar of `X-Twilio-Signature`; `SignatureRefused` before any token has to be fetched."""
    if not signature:
        raise SignatureRefused("signature_missing")
    if not _TWILIO.fullmatch(signature):
        raise SignatureRefused("signature_malformed")


def verify_twilio(url: str, pairs: Iterable[tuple[str, str]], signature: str, tokens: Sequence[Secret]) -> str:
    """Return the id of the token that signed, or raise `SignatureRefused`. `url` is the public one, as configured."""
    examine_twilio(signature)
    usable = [token for token in tokens if token.value]
    if not usable:
        raise SignatureRefused("no_secret")
    fields = list(pairs)
    matched = ""
    for token in usable:
        try:
            expected = sign_twilio(url, fields, token.value)
        except ValueError as error:
            raise SignatureRefused("url_malformed") from error
        if hmac.compare_digest(expected.encode(), signature.encode()):
            matched = token.id
    if not matched:
        raise SignatureRefused("signature_mismatch")
    return matched


def _twilio_url(url: str) -> str:
    """The URL as Twilio signs it: no fragment, no user, and no port over https (voice keeps it over http)."""
    scheme, authority, path, query, _ = urlsplit(url)
    host = authority.rpartition("@")[2]
    if scheme == "https":
        host = re.sub(r":[0-9]+$", "", host)
    return urlunsplit((scheme, host, path, query, ""))
