"""Ways in which a request of Vapi may have been signed otherwise than a stack expects, for the real signer to try.

A supposition changes one thing: a header, the form of the signature, the algorithm, the secret, the body. They are in
the order in which a request is taken apart, so that one can build on those before it.
"""

import base64
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Self

from devkit.captured import Captured
from devkit.diagnosis import Expected, Step, Stored
from switchboard import signatures
from switchboard.errors import SettingsError
from switchboard.signatures import ALGORITHMS, PRESETS, Scheme

PREFIXES = ("sha256=", "sha512=", "sha1=", "hmac-sha256=", "v1,", "v1=", "v1 ", "v0=", "Bearer ", "HMAC ")
PAYLOADS = (
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{body}.{timestamp}",
    "{body}{timestamp}",
    "{svix-id}.{timestamp}.{body}",
)
MIN_SIGNATURE = 20  # characters: no signature is shorter

STAMP = re.compile(r"[1-9][0-9]{9}(?:[0-9]{3})?", re.ASCII)
_TIME = re.compile(r"[0-9][0-9A-Za-z:.,+ -]{7,40}", re.ASCII)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_SIZES = {
    "hex": {name: size * 2 for name, size in ALGORITHMS.items()},
    "base64": {name: (size + 2) // 3 * 4 for name, size in ALGORITHMS.items()},
}


class Attempt(NamedTuple):
    """One supposition of how the request was signed, and the mistakes that it takes. `claim` is without a prefix."""

    scheme: Scheme
    secret: Stored
    body: bytes
    timestamp: str
    message_id: str
    claim: str
    steps: tuple[Step, ...] = ()

    def supposing(self, name: str, details: dict[str, str] | None = None, **changed: object) -> Self:
        """The same with one more mistake."""
        return self._replace(**changed, steps=(*self.steps, Step(name, details or {})))  # type: ignore[arg-type]  # fields by name

    def keyed(self, name: str, value: str) -> Self:
        """The same with another form of the secret."""
        return self.supposing(name, {"id": self.secret.id}, secret=self.secret._replace(value=value))

    @property
    def formed(self) -> bool:
        """Whether the claim has the form that the scheme wants."""
        if self.scheme.encoding == "plain":
            return bool(re.fullmatch(r"[\x21-\x7e]+", self.claim))
        letters = r"[0-9a-f]+" if self.scheme.encoding == "hex" else r"[A-Za-z0-9+/]+=*"
        size = _SIZES[self.scheme.encoding][self.scheme.algorithm]
        return len(self.claim) == size and bool(re.fullmatch(letters, self.claim))

    @property
    def fits(self) -> bool:
        """Whether signing so gives what arrived."""
        if not self.claim or ("{timestamp}" in self.scheme.payload and not _TIME.fullmatch(self.timestamp)):
            return False
        if "{svix-id}" in self.scheme.payload and not _MESSAGE_ID.fullmatch(self.message_id):
            return False
        # The time goes in as text, so that it may be in a form that the signer would not write.
        payload = self.scheme.payload.replace("{timestamp}", self.timestamp).replace("{svix-id}", self.message_id)
        scheme = self.scheme._replace(prefix="", payload=payload, timestamp_header="", id_header="")
        try:
            made = signatures.sign(scheme, self.body, self.secret.value, timestamp=0)[scheme.signature_header]
        except (SettingsError, ValueError):
            return False
        return hmac.compare_digest(made.encode("utf-8", "replace"), self.claim.encode("utf-8", "replace"))


class Case(NamedTuple):
    """One request before one stack."""

    captured: Captured
    headers: dict[str, str]
    expected: Expected

    @property
    def stamps(self) -> dict[str, str]:
        """Headers that hold a time, by name; a date is no part of a signature."""
        return {
            name: value
            for name, value in self.headers.items()
            if _TIME.fullmatch(value) and _NAME.fullmatch(name) and name not in ("date", "content-length")
        }


type Supposition = Callable[[Case, Attempt], Iterator[Attempt]]


def claims(scheme: Scheme, value: str) -> list[str]:
    """The signatures in a header, without the prefix that the scheme expects."""
    parts = value.split(" ") if scheme.prefix.endswith(",") else [value]
    return [part.removeprefix(scheme.prefix) for part in parts]


def _other_preset(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    mine = case.expected.scheme
    for other in PRESETS.values():
        value = case.headers.get(other.signature_header, "")
        if not value or other.signature_header == mine.signature_header:
            continue
        name = "x_vapi_secret" if other.name == "vapi-secret" else "other_preset"
        for claim in claims(other, value):
            yield attempt.supposing(
                name,
                {"other": other.name, "expected": mine.name},
                scheme=other,
                claim=claim,
                timestamp=case.headers.get(other.timestamp_header, ""),
                message_id=case.headers.get(other.id_header, ""),
            )


def _svix(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    value = case.headers.get("svix-signature", "")
    if not value or not attempt.scheme.id_header.startswith("webhook-"):
        return
    for claim in claims(attempt.scheme, value):
        yield attempt.supposing(
            "svix_headers",
            claim=claim,
            timestamp=case.headers.get("svix-timestamp", ""),
            message_id=case.headers.get("svix-id", ""),
        )


def _header_name(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    for name, value in case.headers.items():
        if name == attempt.scheme.signature_header or not _NAME.fullmatch(name) or len(value) < MIN_SIGNATURE:
            continue
        for claim in claims(attempt.scheme, value):
            yield attempt.supposing(
                "header_name", {"header": name, "expected": attempt.scheme.signature_header}, claim=claim
            )


def _timestamp_header(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if not attempt.scheme.timestamp_header or attempt.timestamp:
        return
    for name, value in case.stamps.items():
        yield attempt.supposing(
            "timestamp_header_name", {"header": name, "expected": attempt.scheme.timestamp_header}, timestamp=value
        )


def _twice(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    header = attempt.scheme.signature_header
    pieces = [piece.strip() for piece in case.headers.get(header, "").split(",")]
    whole = [piece for piece in pieces if len(piece) >= MIN_SIGNATURE]
    if len(whole) > 1:
        for piece in whole:
            yield attempt.supposing("header_twice", {"header": header}, claim=piece.removeprefix(attempt.scheme.prefix))
    stamps = [piece.strip() for piece in attempt.timestamp.split(",")]
    if len(stamps) > 1:
        changed = attempt._replace(steps=tuple(step for step in attempt.steps if step.name != "timestamp_form"))
        yield changed.supposing("header_twice", {"header": attempt.scheme.timestamp_header}, timestamp=stamps[0])


def _quoted(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    bare = attempt.claim.strip(" \t\"'")
    if bare != attempt.claim:
        yield attempt.supposing("header_quoted", {"header": attempt.scheme.signature_header}, claim=bare)


def _prefixed(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    for prefix in PREFIXES:
        if attempt.claim.lower().startswith(prefix.lower()):
            yield attempt.supposing("prefix_unexpected", {"prefix": prefix}, claim=attempt.claim[len(prefix) :])


def _cased(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    lower = attempt.claim.lower()
    if re.fullmatch(r"[0-9a-f]+", lower) and lower != attempt.claim:
        yield attempt.supposing("upper_case", claim=lower)


def _dialect(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    standard = attempt.claim.replace("-", "+").replace("_", "/").rstrip("=")
    standard += "=" * (-len(standard) % 4)
    if standard != attempt.claim and len(standard) in _SIZES["base64"].values():
        yield attempt.supposing("base64_dialect", claim=standard)


def _encoding(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    other = {"hex": "base64", "base64": "hex"}.get(attempt.scheme.encoding)
    if other:
        yield attempt.supposing(
            "encoding",
            {"found": other, "expected": attempt.scheme.encoding},
            scheme=attempt.scheme._replace(encoding=other),
        )


def _unsigned(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if attempt.scheme.encoding != "plain":
        yield attempt.supposing(
            "secret_in_header",
            {"id": attempt.secret.id, "header": attempt.scheme.signature_header},
            scheme=attempt.scheme._replace(encoding="plain", payload=""),
        )


def _algorithm(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if attempt.scheme.encoding == "plain":
        return
    for other in ALGORITHMS:
        if other != attempt.scheme.algorithm:
            yield attempt.supposing(
                "algorithm",
                {"found": other, "expected": attempt.scheme.algorithm},
                scheme=attempt.scheme._replace(algorithm=other),
            )


def _payload(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    mine = attempt.scheme.payload
    if attempt.scheme.encoding == "plain":
        return
    for other in PAYLOADS:
        if other == mine:
            continue
        name = "timestamp_unsigned" if other == "{body}" else "timestamp_signed" if mine == "{body}" else "payload"
        stamps = [attempt.timestamp] if attempt.timestamp else list(case.stamps.values())
        for stamp in stamps if "{timestamp}" in other else [""]:
            yield attempt.supposing(
                name,
                {"found": other, "expected": mine},
                scheme=attempt.scheme._replace(payload=other),
                timestamp=stamp,
                message_id=attempt.message_id or case.headers.get("webhook-id", ""),
            )


def _timestamp_unit(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    text = attempt.timestamp
    if len(text) == 13 and text.isdecimal():
        yield _in_unit(case, attempt, text[:10])
    elif len(text) == 10 and text.isdecimal():
        yield _in_unit(case, attempt, f"{text}000")


def _milliseconds(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    """A sender that rounds what it sends, but not what it signs."""
    if len(attempt.timestamp) == 10 and attempt.timestamp.isdecimal():
        for thousandth in range(1, 1000):
            yield _in_unit(case, attempt, f"{attempt.timestamp}{thousandth:03}")


def _in_unit(case: Case, attempt: Attempt, signed: str) -> Attempt:
    units = ("seconds", "milliseconds")
    found, sent = units if len(signed) == 10 else units[::-1]
    header = attempt.scheme.timestamp_header or case.expected.scheme.timestamp_header
    return attempt.supposing("timestamp_unit", {"found": found, "sent": sent, "header": header}, timestamp=signed)


def _secret_encoding(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if attempt.scheme.encoding == "plain":
        return
    if attempt.scheme.secret_encoding == "base64":  # noqa: S105 - an encoding, not a secret
        yield attempt.supposing(
            "secret_is_text",
            {"id": attempt.secret.id},
            scheme=attempt.scheme._replace(secret_encoding="utf-8"),  # noqa: S106 - an encoding, not a secret
        )
        return
    decoded = attempt.scheme._replace(secret_encoding="base64")  # noqa: S106 - an encoding, not a secret
    yield attempt.supposing("secret_is_base64", {"id": attempt.secret.id}, scheme=decoded)
    value = attempt.secret.value
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", value):
        key = base64.b64encode(bytes.fromhex(value)).decode()
        yield attempt.keyed("secret_is_hex", key)._replace(scheme=decoded)


def _secret_form(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    value = attempt.secret.value
    if value.strip() != value:
        yield attempt.keyed("secret_space", value.strip())
    if value.strip("\"'") != value:
        yield attempt.keyed("secret_quoted", value.strip("\"'"))
    if value.startswith("whsec_"):
        yield attempt.keyed("whsec_left", value.removeprefix("whsec_"))
    else:
        yield attempt.keyed("whsec_missing", f"whsec_{value}")
    for before, after in (("", "\n"), ("", "\r\n"), ("", " "), (" ", ""), (" ", " "), ("", "\t")):
        yield attempt.keyed("secret_space_sent", before + value + after)


def _body_form(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if "{body}" not in attempt.scheme.payload:
        return
    for name, form, body in body_forms(attempt.body):
        yield attempt.supposing(name, {"form": form}, body=body)


@lru_cache(maxsize=2)
def body_forms(body: bytes) -> tuple[tuple[str, str, bytes], ...]:
    """Forms that a body may have had when it was signed: the mistake, the form in words, the bytes."""
    bare, unix = body.rstrip(b"\r\n"), body.replace(b"\r\n", b"\n")
    forms = [
        ("body_line_end", "without a line break at its end", bare),
        ("body_line_end", "with a line break at its end", bare + b"\n"),
        ("body_line_end", "with a line break (CRLF) at its end", bare + b"\r\n"),
        ("body_line_end", "with LF instead of CRLF line ends", unix),
        ("body_line_end", "with CRLF instead of LF line ends", unix.replace(b"\n", b"\r\n")),
        ("body_line_end", "without a byte order mark", body.removeprefix(b"\xef\xbb\xbf")),
        ("body_base64", "in base64", base64.b64encode(body)),
        *[("body_base64", "not in base64", text) for text in decoded(body)],
        *[("body_reserialised", form, text) for form, text in _json_forms(body)],
    ]
    distinct = {text: (name, form, text) for name, form, text in reversed(forms) if text != body}
    return tuple(reversed(distinct.values()))


def decoded(body: bytes) -> list[bytes]:
    try:
        return [base64.b64decode(body, validate=True)]
    except ValueError:
        return []


def _json_forms(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    layouts: dict[str, dict[str, object]] = {
        "compact JSON": {"separators": (",", ":")},
        "JSON with a space after commas and colons": {"separators": (", ", ": ")},
        "JSON indented by 2": {"indent": 2},
        "JSON indented by 4": {"indent": 4},
        "JSON indented by a tab": {"indent": "\t"},
    }
    for layout, options in layouts.items():
        for keys, sort in (("", False), (", its keys sorted", True)):
            for letters, escape in (("", False), (", all but ASCII escaped", True)):
                text = json.dumps(value, sort_keys=sort, ensure_ascii=escape, **options)  # type: ignore[arg-type]  # by name
                encoded = text.encode("utf-8", "surrogatepass")
                yield f"{layout}{keys}{letters}", encoded
                if b"/" in encoded:
                    yield f"{layout}{keys}{letters}, its slashes escaped", encoded.replace(b"/", b"\\/")


SUPPOSITIONS: tuple[Supposition, ...] = (
    _other_preset,
    _svix,
    _header_name,
    _timestamp_header,
    _twice,
    _quoted,
    _prefixed,
    _cased,
    _dialect,
    _encoding,
    _unsigned,
    _algorithm,
    _payload,
    _timestamp_unit,
    _secret_encoding,
    _secret_form,
    _body_form,
)

# Those about the form of the signature, which shows without any secret.
FORMS: tuple[Supposition, ...] = (_twice, _quoted, _prefixed, _cased, _dialect, _encoding, _algorithm)

# Too many to build on.
ALONE: tuple[Supposition, ...] = (_milliseconds,)


def supposed(case: Case, starts: Sequence[Attempt], kinds: Sequence[Supposition] = SUPPOSITIONS) -> Iterator[Attempt]:
    """The starts themselves, then with one mistake more, then with two."""
    yield from starts
    for attempt in starts:
        for change in kinds:
            yield from change(case, attempt)
    for attempt in starts:
        for number, first in enumerate(kinds):
            for changed in first(case, attempt):
                for second in kinds[number + 1 :]:
                    yield from second(case, changed)
