"""Signatures and headers: what a sender may get wrong, by carelessness or on purpose, under each way of signing."""

# ruff: noqa: RUF001 - odd characters are the subject

from collections.abc import Iterator
from typing import Any, NamedTuple

Entry = dict[str, Any]
HANG = '{"message":{"type":"hang"}}'
SIGNATURE, DIGEST = {"use": "signature"}, {"use": "digest"}
MALFORMED, PREFIX, MISMATCH = "signature_malformed", "signature_prefix", "signature_mismatch"


class Way(NamedTuple):
    """One way of signing: a preset and what its owner changed, and how its header reads."""

    scheme: str
    header: str
    prefix: str = ""
    stamp: str = ""
    id: str = ""
    hex: bool = True
    lists: bool = False
    size: int = 64
    overrides: dict[str, str] | None = None
    title: str = ""

    def entry(self, name: str, expect: str, **fields: Any) -> Entry:
        """An entry for this way."""
        chosen = {"scheme": self.scheme, "overrides": self.overrides} if self.overrides else {"scheme": self.scheme}
        return {"name": f"{self.title or self.scheme}: {name}", **chosen, **fields, "expect": expect}

    def with_signature(self, name: str, value: Any, expect: str) -> Entry:
        """An entry with another value of the signature's header."""
        return self.entry(f"signature {name}", expect, headers={self.header: value})

    @property
    def unprefixed(self) -> str:
        """How a value that does not begin as it should is refused."""
        return PREFIX if self.prefix else MALFORMED


VAPI = Way("vapi-hmac", "x-signature", stamp="x-timestamp")
STANDARD = Way(
    "standard-webhooks",
    "webhook-signature",
    prefix="v1,",
    stamp="webhook-timestamp",
    id="webhook-id",
    hex=False,
    lists=True,
    size=44,
)
PREFIXED = Way(
    "body-hmac", "x-vapi-signature", prefix="sha256=", overrides={"prefix": "sha256="}, title="body-hmac with sha256="
)
LONG = Way(
    "vapi-hmac",
    "x-signature",
    stamp="x-timestamp",
    hex=False,
    size=88,
    overrides={"algorithm": "sha512", "encoding": "base64"},
    title="vapi-hmac in sha512 and base64",
)
WAYS = (VAPI, STANDARD, PREFIXED, LONG)


def entries() -> Iterator[Entry]:
    """Every entry."""
    for way in WAYS:
        yield from genuine(way)
        yield from forms(way)
        yield from around(way)
        yield from words(way)
        yield from bodies(way)
        yield from secrets(way)
        yield from names(way)
        if way.stamp:
            yield from times(way)
    yield from lists()
    yield from ids()
    yield from payloads()
    for header, prefix, scheme in (("authorization", "Bearer ", "bearer"), ("x-vapi-secret", "", "vapi-secret")):
        yield from tokens(Way(scheme, header, prefix))


def genuine(way: Way) -> Iterator[Entry]:
    """What must be let in, however unusual it looks."""
    yield way.entry("as it should be", "accepted")
    for name, body in {
        "indented": '{\n  "message": {\n    "type": "hang"\n  }\n}\n',
        "with words of many alphabets": '{"message":{"type":"hang","x":"naïve Ω 日本 🎉 \u202e"}}',
        "with placeholders of the payload in it": '{"message":{"type":"hang","x":"{timestamp}{body}{svix-id}"}}',
        "with a signature in it": '{"message":{"type":"hang","x-signature":"0000"}}',
        "of two kilobytes": ['{"message":{"type":"hang","x":"', {"repeat": "words ", "times": 340}, '"}}'],
        "of a hundred kilobytes": ['{"message":{"type":"hang","x":"', {"repeat": "0123456789", "times": 10_000}, '"}}'],
    }.items():
        yield way.entry(f"a body {name}", "accepted", body=body)


def forms(way: Way) -> Iterator[Entry]:
    """The right signature, written in another way."""
    for name, change in {
        "cut by one": "cut",
        "without its first character": "beheaded",
        "halved": "halved",
        "with spaces between": "spaced",
        "percent-encoded": "percent",
        "in fullwidth characters": "fullwidth",
        "in hex once more": "hex",
        "in base64 once more": "base64",
    }.items():
        yield way.with_signature(name, [way.prefix, {"use": "digest", "as": change}], MALFORMED)
    for name, value in {
        "twice without a separator": [DIGEST, DIGEST],
        "with 0x": ["0x", DIGEST],
        "in quotes": ['"', DIGEST, '"'],
        "in apostrophes": ["'", DIGEST, "'"],
        "in angle brackets": ["<", DIGEST, ">"],
        "in brackets": ["[", DIGEST, "]"],
        "with a colon before it": [":", DIGEST],
        "with a semicolon behind it": [DIGEST, ";"],
        "with a comma behind it": [DIGEST, ","],
        "with a parameter behind it": [DIGEST, ";alg=none"],
        "with a header behind it": [DIGEST, "\r\nx-admin: 1"],
        "with a padding too many": [DIGEST, "="],
        "of one character": "0",
        "of five thousand characters": {"repeat": "0", "times": 5_000},
        "of a hundred kilobytes": {"repeat": "a", "times": 100_000},
        "with a Cyrillic letter": [{"use": "digest", "as": "cut"}, "а"],  # that is the trick
        "with a combining accent": [DIGEST, "\u0301"],
        "with a zero-width space": [DIGEST, "\u200b"],
        "with a mark that turns text around": ["\u202e", DIGEST],
        "with an emoji": ["🔑", DIGEST],
    }.items():
        yield way.with_signature(name, [way.prefix, value], MALFORMED)
    for name, character in {"zeros": "0", "letters f": "f"}.items():
        guess = {"repeat": character, "times": way.size if way.hex else way.size - (2 if way.size == 88 else 1)}
        padding = "" if way.hex else "==" if way.size == 88 else "="
        yield way.with_signature(f"of nothing but {name}", [way.prefix, guess, padding], MISMATCH)
    if way.hex:
        yield way.with_signature("in upper case", [way.prefix, {"use": "digest", "as": "upper"}], MALFORMED)
        yield way.with_signature("reversed", [way.prefix, {"use": "digest", "as": "reversed"}], MISMATCH)
        yield way.with_signature("as base64 of its bytes", [way.prefix, {"use": "digest", "as": "unhex"}], MALFORMED)
        yield way.with_signature("with a letter g", [way.prefix, {"use": "digest", "as": "cut"}, "g"], MALFORMED)
        yield way.with_signature("with a minus", [way.prefix, "-", {"use": "digest", "as": "beheaded"}], MALFORMED)
    else:
        yield way.with_signature("as hex of its bytes", [way.prefix, {"use": "digest", "as": "unbase64"}], MALFORMED)
        yield way.with_signature("unpadded", [way.prefix, {"use": "digest", "as": "unpadded"}], MALFORMED)
        yield way.with_signature("reversed", [way.prefix, {"use": "digest", "as": "reversed"}], MALFORMED)
        yield way.with_signature("with other spare bits", [way.prefix, {"use": "digest", "as": "spare"}], MISMATCH)
        for alphabet in "-_":
            spelled = [way.prefix, alphabet, {"use": "digest", "as": "beheaded"}]
            yield way.with_signature(f"with {alphabet} of the URL alphabet", spelled, MALFORMED)
        yield way.with_signature(
            "with a line break in the middle",
            [way.prefix, {"use": "digest", "as": "halved"}, "\n", {"use": "digest", "as": "halved"}],
            MALFORMED,
        )
    for algorithm in ("sha1", "sha256" if way.size == 88 else "sha512"):
        yield way.entry(f"signed with {algorithm}", MALFORMED, signed_as={"algorithm": algorithm})
    other = "base64" if way.hex else "hex"
    yield way.entry(f"signed in {other}", MALFORMED, signed_as={"encoding": other})


def around(way: Way) -> Iterator[Entry]:
    """The right signature with something before it, behind it, or a second time."""
    spaces = {
        "space": " ",
        "tab": "\t",
        "line feed": "\n",
        "carriage return and line feed": "\r\n",
        "vertical tab": "\x0b",
        "form feed": "\x0c",
        "NUL": "\x00",
        "delete": "\x7f",
        "no-break space": "\xa0",
        "ideographic space": "\u3000",
        "byte order mark": "\ufeff",
    }
    for name, space in spaces.items():
        yield way.with_signature(f"with a {name} behind it", [SIGNATURE, space], MALFORMED)
        before = MALFORMED if not space.isascii() or (way.lists and space == " ") else way.unprefixed
        yield way.with_signature(f"with a {name} before it", [space, SIGNATURE], before)
    for name, prefix in {
        "none": "",
        "sha256=": "sha256=",
        "sha1=": "sha1=",
        "SHA256=": "SHA256=",
        "v1=": "v1=",
        "v0,": "v0,",
        "V1,": "V1,",
        "v1a,": "v1a,",
        "v1, with a space": "v1, ",
        "Bearer": "Bearer ",
        "HMAC": "HMAC ",
    }.items():
        if prefix == way.prefix:
            continue
        begins = bool(way.prefix) and prefix.startswith(way.prefix)
        yield way.with_signature(f"with the prefix {name}", [prefix, DIGEST], MALFORMED if begins else way.unprefixed)
    if way.prefix:
        yield way.with_signature("with its prefix twice", [way.prefix, SIGNATURE], MALFORMED)
        yield way.with_signature("that is its prefix only", way.prefix, MALFORMED)
        yield way.with_signature("that is half of its prefix", way.prefix[:-1], PREFIX)
    yield way.entry("signature missing", "signature_missing", headers={way.header: None})
    yield way.with_signature("empty", "", "signature_missing")
    yield way.with_signature("joined to itself by a comma", [SIGNATURE, ",", SIGNATURE], MALFORMED)
    yield way.with_signature("joined to itself by a comma and a space", [SIGNATURE, ", ", SIGNATURE], MALFORMED)
    yield way.with_signature("joined to itself by a semicolon", [SIGNATURE, ";", SIGNATURE], MALFORMED)
    yield way.with_signature("behind a comma", [",", SIGNATURE], way.unprefixed)
    yield way.with_signature("before two commas", [SIGNATURE, ",,"], MALFORMED)
    yield way.entry("signature sent twice", MALFORMED, more=[[way.header, SIGNATURE]])
    yield way.entry("signature sent again in capitals", MALFORMED, more=[[way.header.upper(), SIGNATURE]])
    yield way.entry("an empty signature behind the good one", MALFORMED, more=[[way.header, ""]])
    yield way.entry("a wrong signature behind the good one", MALFORMED, more=[[way.header, "0"]])


def words(way: Way) -> Iterator[Entry]:
    """No signature at all, but something that some code takes for one."""
    for word in (
        "null",
        "undefined",
        "None",
        "true",
        "NaN",
        "[object Object]",
        "none",
        "' OR '1'='1",
        "${jndi:ldap://127.0.0.1/a}",
        "%s%s%n",
        "{signature}",
        "../../etc/passwd",
        "eyJhbGciOiJub25lIn0.e30.",
        "*",
    ):
        yield way.with_signature(f"is {word}", word, way.unprefixed)
        if way.prefix:
            yield way.with_signature(f"is {word} behind the prefix", [way.prefix, word], MALFORMED)


def bodies(way: Way) -> Iterator[Entry]:
    """The body is not, byte by byte, the one that was signed."""
    for name, sent in {
        "with a line feed more": HANG + "\n",
        "with a space more": HANG + " ",
        "with a space before it": " " + HANG,
        "with a byte order mark": "\ufeff" + HANG,
        "with a NUL more": HANG + "\x00",
        "written anew with spaces": '{"message": {"type": "hang"}}',
        "with an escape for a letter": '{"message":{"type":"h\\u0061ng"}}',
        "cut by one": HANG[:-1],
        "twice": HANG + HANG,
        "empty": "",
        "another message": '{"message":{"type":"tool-calls"}}',
        "in upper case": HANG.upper(),
        "in base64": {"text": "eyJtZXNzYWdlIjp7InR5cGUiOiJoYW5nIn19", "encoding": "ascii"},
        "in UTF-16": {"text": HANG, "encoding": "utf-16"},
    }.items():
        yield way.entry(f"body {name}", MISMATCH, sent=sent)
    yield way.entry("signature of an empty body", MISMATCH, body="", sent=HANG)


def secrets(way: Way) -> Iterator[Entry]:
    """Signed with something else than the secret."""
    secret = {"use": "secret"}
    if way.scheme == "standard-webhooks":
        made = {"another": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "an empty": "whsec_", "a short": "whsec_AA=="}
        yield way.entry("signed with the text of the secret", MISMATCH, signed_as={"secret_encoding": "utf-8"})
        for name, text in made.items():
            yield way.entry(f"signed with {name} secret", MISMATCH, secret=text)
        return
    for name, value in {
        "another": "another-secret",
        "an empty": "",
        "a space for a": " ",
        "the word undefined for a": "undefined",
        "the word null for a": "null",
        "the secret and a line feed as": [secret, "\n"],
        "the secret and a space as": [secret, " "],
        "a space and the secret as": [" ", secret],
        "the quoted secret as": ['"', secret, '"'],
        "the secret in capitals as": {"use": "secret", "as": "upper"},
        "the secret's base64 as": {"use": "secret", "as": "base64"},
        "the secret's hex as": {"use": "secret", "as": "hex"},
        "the cut secret as": {"use": "secret", "as": "cut"},
        "the secret with whsec_ as": ["whsec_", secret],
    }.items():
        yield way.entry(f"signed with {name} secret", MISMATCH, secret=value)


def names(way: Way) -> Iterator[Entry]:
    """Headers by other names."""
    for name in (way.header.upper(), way.header.title()):
        yield way.entry(f"header written {name}", "accepted", headers={way.header: None}, more=[[name, SIGNATURE]])
    for name in (way.header.replace("-", "_"), f"{way.header} ", f"{way.header}:", way.header.replace("-", "")):
        yield way.entry(
            f"header written {name!r}", "signature_missing", headers={way.header: None}, more=[[name, SIGNATURE]]
        )
    for name, value in {
        "x-twilio-signature": DIGEST,
        "x-hub-signature-256": ["sha256=", DIGEST],
        "authorization": ["Bearer ", {"use": "secret"}],
        "x-vapi-secret": {"use": "secret"},
        "x-forwarded-for": "127.0.0.1",
    }.items():
        if name != way.header:
            yield way.entry(
                f"only the header {name}", "signature_missing", headers={way.header: None}, more=[[name, value]]
            )


def times(way: Way) -> Iterator[Entry]:
    """Timestamps. Each one is truly signed, so only its form or its age can refuse it."""
    now = {"now": 0}
    for name, offset, unit in (
        ("290 seconds old", -290, "s"),
        ("in 290 seconds", 290, "s"),
        ("of now in milliseconds", 0, "ms"),
        ("290 seconds old in milliseconds", -290, "ms"),
    ):
        yield way.entry(f"time {name}", "accepted", timestamp={"now": offset, "unit": unit})
    for name, offset, unit, expect in (
        ("at the old end of the window", -300, "s", "accepted"),
        ("at the new end of the window", 300, "ms", "accepted"),
        ("a second past the old end", -301, "s", "timestamp_stale"),
        ("a second past the new end", 301, "ms", "timestamp_future"),
    ):
        yield way.entry(f"time {name}", expect, timestamp={"now": offset, "unit": unit}, frozen=True)
    for name, offset, unit in (
        ("of an hour ago", -3_600, "s"),
        ("of yesterday in milliseconds", -86_400, "ms"),
        ("of ten years ago", -315_360_000, "s"),
    ):
        yield way.entry(f"time {name}", "timestamp_stale", timestamp={"now": offset, "unit": unit})
    for name, offset, unit in (
        ("of in an hour", 3_600, "s"),
        ("of tomorrow in milliseconds", 86_400, "ms"),
        ("a thousand million seconds ahead", 1_000_000_000, "s"),
    ):
        yield way.entry(f"time {name}", "timestamp_future", timestamp={"now": offset, "unit": unit})
    yield way.entry("time 1000000000", "timestamp_stale", timestamp="1000000000")
    yield way.entry("time 9999999999", "timestamp_future", timestamp="9999999999")
    yield way.entry("time 9999999999999", "timestamp_future", timestamp="9999999999999")
    for name, value in {
        "with a plus": ["+", now],
        "with a minus": ["-", now],
        "with a minus that is none": ["\u2212", now],
        "with a space before it": [" ", now],
        "with a space behind it": [now, " "],
        "with a tab before it": ["\t", now],
        "with a line feed behind it": [now, "\n"],
        "with a NUL behind it": [now, "\x00"],
        "with a byte order mark": ["\ufeff", now],
        "with a zero-width space": [now, "\u200b"],
        "with a zero before it": ["0", now],
        "with three zeros before it": ["000", now],
        "with a fraction of nothing": [now, ".0"],
        "with a fraction": [now, ".9"],
        "with a fraction in milliseconds": [{"now": 0, "unit": "ms"}, ".5"],
        "with a decimal comma": [now, ",0"],
        "with an exponent": [now, "e0"],
        "with an L": [now, "L"],
        "with an s": [now, "s"],
        "in quotes": ['"', now, '"'],
        "in brackets": ["[", now, "]"],
        "twice": [now, ",", now],
        "twice with a space": [now, " ", now],
        "with t=": ["t=", now],
        "in microseconds": [{"now": 0, "unit": "ms"}, "000"],
        "in nanoseconds": [{"now": 0, "unit": "ms"}, "000000"],
        "with an underscore": "1_800_000_000",
        "of nine digits": "180000000",
        "of eleven digits": "18000000000",
        "of twelve digits": "180000000000",
        "of fourteen digits": "18000000000000",
        "of 400 digits": {"repeat": "1", "times": 400},
        "of 5,000 digits": {"repeat": "9", "times": 5_000},
        "in hexadecimal": "0x6b49d200",
        "in octal": "0o15322351000",
        "as a power": "1.8e9",
        "beyond all floats": "1e400",
        "nan": "nan",
        "NaN": "NaN",
        "inf": "inf",
        "-inf": "-inf",
        "Infinity": "Infinity",
        "-1": "-1",
        "0": "0",
        "null": "null",
        "true": "true",
        "a space": " ",
        "in ISO 8601": "2027-01-15T08:00:00Z",
        "as a date of HTTP": "Fri, 15 Jan 2027 08:00:00 GMT",
        "in fullwidth digits": "１８００００００００",  # other digits than ours
        "in Arabic digits": "١٨٠٠٠٠٠٠٠٠",
        "in Devanagari digits": "१८००००००००",
        "with a superscript": "180000000²",
        "in mathematical digits": "𝟏𝟖𝟎𝟎𝟎𝟎𝟎𝟎𝟎𝟎",
    }.items():
        yield way.entry(f"time {name}", "timestamp_malformed", timestamp=value)
    yield way.entry("time missing", "timestamp_missing", headers={way.stamp: None})
    yield way.entry("time empty", "timestamp_missing", timestamp="")
    yield way.entry("time sent twice", "timestamp_malformed", more=[[way.stamp, now]])
    yield way.entry("time a second later than signed", MISMATCH, headers={way.stamp: {"now": 1}})
    yield way.entry("time in milliseconds, signed in seconds", MISMATCH, headers={way.stamp: {"now": 0, "unit": "ms"}})
    yield way.entry("time and signature missing", "signature_missing", headers={way.stamp: None, way.header: None})


def lists() -> Iterator[Entry]:
    """Standard Webhooks puts several signatures into one header."""
    way = STANDARD
    other = ["v1,", {"repeat": "A", "times": 43}, "="]
    good: list[tuple[str, Any]] = [
        ("behind another one", [other, " ", SIGNATURE]),
        ("before another one", [SIGNATURE, " ", other]),
        ("twice in a list", [SIGNATURE, " ", SIGNATURE]),
        ("beside one of an unknown version", ["v1a,abc ", SIGNATURE]),
        ("beside a word", ["v2 ", SIGNATURE]),
        ("as the eighth", [{"repeat": [other, " "], "times": 7}, SIGNATURE]),
    ]
    for name, value in good:
        yield way.with_signature(name, value, "accepted")
    bad: list[tuple[str, Any]] = [
        ("as the ninth", [{"repeat": [other, " "], "times": 8}, SIGNATURE]),
        ("among five thousand", [{"repeat": [other, " "], "times": 5_000}, SIGNATURE]),
        ("behind two spaces", [other, "  ", SIGNATURE]),
        ("behind a tab", [other, "\t", SIGNATURE]),
        ("behind a line feed", [other, "\n", SIGNATURE]),
        ("beside an empty one", ["v1, ", SIGNATURE]),
        ("beside one that is cut", [SIGNATURE, " v1,AAAA"]),
        ("between commas", ["v1,", SIGNATURE, ","]),
    ]
    for name, value in bad:
        yield way.with_signature(name, value, MALFORMED)
    yield way.with_signature("in a list of others", [other, " ", other], MISMATCH)
    yield way.with_signature("in a list of unknown versions", "v2,abc v3,abc", PREFIX)


def ids() -> Iterator[Entry]:
    """The message id of Standard Webhooks is signed, so no other character may shift what is signed."""
    way = STANDARD
    good: dict[str, Any] = {"of one character": "1", "of 128 characters": {"repeat": "a", "times": 128}, "-_": "-_"}
    for name, value in good.items():
        yield way.entry(f"id {name}", "accepted", id=value)
    bad: dict[str, Any] = {
        "with a dot": "msg.1",
        "with a time in it": ["msg.", {"now": 0}],
        "with a line feed": "msg_1\n",
        "with a space": "msg 1",
        "with a space behind it": "msg_1 ",
        "with a comma": "msg_1,msg_2",
        "with a slash": "msg/1",
        "with a NUL": "msg\x001",
        "with a colon": "msg:1",
        "with an accent": "mség",
        "in Cyrillic": "мсг",
        "of fullwidth letters": "ｍｓｇ",  # other letters than ours
        "of 129 characters": {"repeat": "a", "times": 129},
        "of a hundred kilobytes": {"repeat": "a", "times": 100_000},
        "that is a dot": ".",
    }
    for name, value in bad.items():
        yield way.entry(f"id {name}", "message_id_malformed", id=value)
    yield way.entry("id missing", "message_id_missing", headers={way.id: None})
    yield way.entry("id empty", "message_id_missing", id="")
    yield way.entry("id sent twice", "message_id_malformed", more=[[way.id, "msg_corpus"]])
    yield way.entry("id another than signed", MISMATCH, headers={way.id: "msg_other"})


def payloads() -> Iterator[Entry]:
    """Signed over the right parts in a wrong arrangement."""
    for way, payloads_ in (
        (
            VAPI,
            ("{body}", "{timestamp}{body}", "{body}.{timestamp}", "{timestamp}:{body}", "{timestamp}.", "v0:{body}"),
        ),
        (STANDARD, ("{body}", "{timestamp}.{body}", "{timestamp}.{svix-id}.{body}", "{svix-id}{timestamp}{body}")),
        (PREFIXED, ("{timestamp}.{body}", "{body}\n", "")),
        (LONG, ("{body}", "{timestamp}\n{body}")),
    ):
        for payload in payloads_:
            yield way.entry(f"signed over {payload!r}", MISMATCH, signed_as={"payload": payload})


def tokens(way: Way) -> Iterator[Entry]:
    """Schemes in which the secret itself travels."""
    secret = {"use": "secret"}
    yield way.entry("as it should be", "accepted")
    yield way.entry("another body", "accepted", sent='{"message":{"type":"hang","x":1}}')
    yield way.entry(
        "header in capitals", "accepted", headers={way.header: None}, more=[[way.header.upper(), SIGNATURE]]
    )
    yield way.entry("missing", "signature_missing", headers={way.header: None})
    yield way.with_signature("empty", "", "signature_missing")
    others: dict[str, Any] = {
        "another secret": "another-secret",
        "the secret in capitals": {"use": "secret", "as": "upper"},
        "the reversed secret": {"use": "secret", "as": "reversed"},
        "the cut secret": {"use": "secret", "as": "cut"},
        "the secret without its first character": {"use": "secret", "as": "beheaded"},
        "the secret in base64": {"use": "secret", "as": "base64"},
        "the secret in hex": {"use": "secret", "as": "hex"},
        "the percent-encoded secret": {"use": "secret", "as": "percent"},
        "the secret and more": [secret, "x"],
        "the quoted secret": ['"', secret, '"'],
        "the secret twice": [secret, secret],
        "the secret with a comma": [secret, ","],
        "null": "null",
        "undefined": "undefined",
        "a star": "*",
        "a slash": "/",
    }
    for name, value in others.items():
        yield way.with_signature(name, [way.prefix, value], MISMATCH)
    malformed: dict[str, Any] = {
        "with a space behind it": [secret, " "],
        "with a line feed behind it": [secret, "\n"],
        "with a NUL behind it": [secret, "\x00"],
        "with a no-break space": [secret, "\xa0"],
        "with a space in it": [{"use": "secret", "as": "halved"}, " x"],
        "with a space before it": [" ", secret],
        "with a tab before it": ["\t", secret],
        "in fullwidth characters": {"use": "secret", "as": "fullwidth"},
        "with an accent": [secret, "é"],
        "of 5,000 characters": {"repeat": "a", "times": 5_000},
        "of a hundred kilobytes": {"repeat": "a", "times": 100_000},
    }
    for name, value in malformed.items():
        yield way.with_signature(name, [way.prefix, value], MALFORMED)
    yield way.entry("sent twice", MALFORMED if way.prefix else MISMATCH, more=[[way.header, SIGNATURE]])
    for prefix in ("bearer ", "BEARER ", "Bearer", "Bearer\t", "Basic ", "Token ", ""):
        if way.prefix:
            yield way.with_signature(f"behind {prefix!r}", [prefix, secret], PREFIX)
    if not way.prefix:
        yield way.with_signature("behind Bearer", ["Bearer ", secret], MALFORMED)
    for header in ("x-signature", "x-vapi-signature", "cookie", "proxy-authorization", "x-vapi_secret"):
        yield way.entry(
            f"in the header {header} only", "signature_missing", headers={way.header: None}, more=[[header, SIGNATURE]]
        )
