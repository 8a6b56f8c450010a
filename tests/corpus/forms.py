"""Twilio's forms and URLs: what Twilio signs, and what is nearly that."""

from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]
SID, ACCOUNT, SIGNATURE = {"use": "sid"}, {"use": "account"}, {"use": "signature"}
USUAL: list[list[Any]] = [["CallSid", SID], ["AccountSid", ACCOUNT]]
MISSING, MALFORMED, MISMATCH = "signature_missing", "signature_malformed", "signature_mismatch"
FORM, FIELDS, ACCOUNT_REFUSED = "form_malformed", "fields", "account"


def entry(name: str, expect: str = "accepted", **fields: Any) -> Entry:
    """One entry."""
    return {"name": name, **fields, "expect": expect}


def entries() -> Iterator[Entry]:
    """Every entry."""
    yield from genuine()
    yield from urls()
    yield from changed()
    yield from signatures()
    yield from tokens()
    yield from shapes()
    yield from encodings()
    yield from identities()


def genuine() -> Iterator[Entry]:
    """What a carrier says of a call, and Twilio passes on."""
    yield entry("the two fields that must be there")
    said: dict[str, dict[str, Any]] = {
        "a blank value": {"CalledCity": ""},
        "many blank values": {"CalledCity": "", "CalledZip": "", "CallerState": "", "FromCountry": ""},
        "a number": {"From": "+15005550006", "To": "+15005550001"},
        "a withheld number": {"From": "anonymous"},
        "a restricted number": {"From": "+266696687"},
        "a client": {"From": "client:alice"},
        "a SIP address": {"From": "sip:alice@example.com;transport=tls"},
        "a number in words": {"From": "Unavailable"},
        "names of many alphabets": {"CallerName": "José Ñandú 日本", "FromCity": "MÜNCHEN"},
        "an accent of two characters": {"FromCity": "MU\u0308NCHEN"},
        "an emoji of many": {"CallerName": "👩\u200d👧 Co."},
        "text that turns around": {"CallerName": "\u202eeciohC"},
        "a NUL": {"CallerName": "a\x00b"},
        "a line feed": {"CallerName": "a\nb"},
        "CRLF and a header": {"CallerName": "a\r\nx-admin: 1"},
        "spaces around": {"CallerName": "  a  "},
        "only spaces": {"CallerName": "   "},
        "a plus": {"CallerName": "a+b"},
        "a percent sign": {"CallerName": "100%"},
        "what looks encoded": {"CallerName": "%2B%20%00"},
        "an ampersand and an equals sign": {"CallerName": "a&b=c"},
        "a semicolon": {"CallerName": "a;b"},
        "quotes": {"CallerName": "\"a\" 'b'"},
        "markup": {"CallerName": "<Dial>+19005550000</Dial>"},
        "a query": {"CallerName": "'; DROP TABLE calls; --"},
        "JSON": {"CallToken": '{"parentCallInfoToken":"eyJhbGciOi","identityHeaderTokens":[]}'},
        "a verdict of STIR": {"StirVerstat": "TN-Validation-Passed-A"},
        "a header of SIP": {"SipHeader_X-Tenant": "acme", "SipHeader_User-to-User": "48656c6c6f;encoding=hex"},
        "a field that sorts before CallSid": {"Account": "1", "AAA": "2", "0": "3"},
        "a field that differs in case": {"callsid": "x", "CALLSID": "y"},
        "a field with an odd name": {"a b": "1", "ключ": "2", "x[]": "3", "": "4"},
        "a field with no name and no value": {"": ""},
        "a field of ten thousand characters": {"SpeechResult": {"repeat": "word ", "times": 2_000}},
        "a digit": {"Digits": "1"},
        "digits with signs": {"Digits": "*#0"},
        "an end of a call": {"CallStatus": "completed", "CallDuration": "42", "SequenceNumber": "3"},
        "a status not yet invented": {"CallStatus": "dreaming"},
        "an odd sequence": {"CallStatus": "completed", "SequenceNumber": "-1", "CallDuration": "1e9"},
        "a sequence of other digits": {"SequenceNumber": "٣"},
        "the word of a constructor": {"__proto__": "1", "constructor": "2"},
    }
    for name, more in said.items():
        yield entry(f"a form with {name}", fields=[*USUAL, *([key, value] for key, value in more.items())])
    numbered = [[f"Field{number}", "x"] for number in range(198)]
    yield entry("a form of 200 fields", fields=[*USUAL, *numbered])
    # What nobody acts on may come as often as it likes.
    yield entry("an unused field twice", fields=[*USUAL, ["Tag", "a"], ["Tag", "a"]])
    yield entry("an unused field with two values", fields=[*USUAL, ["Tag", "b"], ["Tag", "a"]])
    yield entry("fields in another order", fields=[*reversed(USUAL)])
    yield entry("a content type without a charset", content_type="application/x-www-form-urlencoded")
    for kind in (
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "APPLICATION/X-WWW-FORM-URLENCODED",
        "x",
    ):
        yield entry(f"the content type {kind} decides nothing", content_type=kind)


def urls() -> Iterator[Entry]:
    """The URL that was signed, beside the one that its owner has configured."""
    for name, url in {
        "another scheme": {"scheme": "other"},
        "the scheme in capitals": {"scheme": "HTTPS"},
        "no scheme": {"scheme": ""},
        "the scheme of a socket": {"scheme": "wss"},
        "another host": {"host": "example.com"},
        "a host below": {"host": "a.voice.example.com"},
        "the host in capitals": {"host": "VOICE.EXAMPLE.COM"},
        "the host with a dot at its end": {"host": "voice.example.com."},
        "the name of the gateway": {"host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"},
        "an address": {"host": "127.0.0.1"},
        "no host": {"host": ""},
        "a slash more": {"path": "$path/"},
        "two slashes": {"path": "/$path"},
        "a dot in the path": {"path": "/.$path"},
        "a way up in the path": {"path": "/x/..$path"},
        "a stage in the path": {"path": "/prod$path"},
        "a mapping in the path": {"path": "/v1$path"},
        "the other path": {"path": "/voice/inbound"},
        "no path": {"path": ""},
        "the path in capitals": {"path": "/VOICE/STATUS"},
        "an encoded letter in the path": {"path": "/voice/%73tatus"},
        "an encoded slash in the path": {"path": "/voice%2Fstatus"},
        "a parameter of the path": {"path": "$path;a=1"},
        "a query that was not sent": {"query": "a=1"},
        "a query that is a hash": {
            "query": "bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
        },
        "a fragment": {"fragment": "rc=2&rp=all"},
        "a user": {"user": "user:password@"},
        "a user without a password": {"user": "user@"},
        "a port": {"port": ":8443"},
    }.items():
        yield entry(f"signed with {name}", MISMATCH, url=url)
    for port in (":443", ":80", ":8443", ":65535", ":"):
        yield entry(f"signed with the port {port} over https", MISMATCH, url={"port": port}, only="https")
    for query in (
        "a=1",
        "a=1&b=2",
        "b=2&a=1",
        "tenant=acme%20co",
        "a=%2F",
        "a=/",
        "a=+",
        "a",
        "=",
        "a=1&a=2",
        "a=1&",
        "a=%C3%A9",
        "x=http://a/b",
    ):
        yield entry(f"the query {query}", query=query)
    for sent, signed in (
        ("a=1&b=2", "b=2&a=1"),
        ("a=1", ""),
        ("a=%2F", "a=/"),
        ("a=%2f", "a=%2F"),
        ("a=+", "a=%20"),
        ("a=1", "a=1&"),
        ("a=1", "a=2"),
        ("a=1&a=2", "a=1"),
        ("CallSid=CA1", ""),
    ):
        yield entry(f"the query {sent}, signed as {signed or 'nothing'}", MISMATCH, query=sent, url={"query": signed})


def changed() -> Iterator[Entry]:
    """The form is not the one that was signed."""
    caller, blank = ["From", "+15005550006"], ["CalledCity", ""]
    for name, sent, signed in (
        ("a field more", [*USUAL, caller], USUAL),
        ("a field less", USUAL, [*USUAL, caller]),
        ("a blank field more", [*USUAL, blank], USUAL),
        ("a blank field less", USUAL, [*USUAL, blank]),
        ("another value", [*USUAL, ["From", "+15005550007"]], [*USUAL, caller]),
        ("a value with a space more", [*USUAL, ["From", "+15005550006 "]], [*USUAL, caller]),
        ("a value in another case", [*USUAL, ["FromCity", "munich"]], [*USUAL, ["FromCity", "MUNICH"]]),
        ("a name in another case", [*USUAL, ["from", "+15005550006"]], [*USUAL, caller]),
        ("a value normalised", [*USUAL, ["FromCity", "\u00e9"]], [*USUAL, ["FromCity", "e\u0301"]]),
        ("values exchanged", [*USUAL, ["A", "1"], ["B", "2"]], [*USUAL, ["A", "2"], ["B", "1"]]),
        ("a plus for a space", [*USUAL, ["From", "+1"]], [*USUAL, ["From", " 1"]]),
        ("no field", [], USUAL),
        ("another call", [["CallSid", "CA" + "0" * 32], USUAL[1]], USUAL),
        ("another account", [USUAL[0], ["AccountSid", "AC" + "0" * 32]], USUAL),
        ("another of two values", [*USUAL, ["Tag", "a"], ["Tag", "c"]], [*USUAL, ["Tag", "a"], ["Tag", "b"]]),
    ):
        yield entry(f"changed on the way: {name}", MISMATCH, fields=sent, signed=signed)
    # What is signed has no delimiters, so these verify: only the exact shapes of the fields can tell.
    glued = [["CallSid", [SID, "From+1500"]], USUAL[1]]
    yield entry("a field moved into a value", FIELDS, fields=glued, signed=glued)
    yield entry("a call moved into another field", FIELDS, fields=[USUAL[1], ["CallS", ["id", SID]]])


def signatures() -> Iterator[Entry]:
    """The right request, and its header written in another way."""
    yield entry("no signature", MISSING, signature=None)
    yield entry("an empty signature", MISSING, signature="")
    for name, value in {
        "cut by one": {"use": "signature", "as": "cut"},
        "without its first character": {"use": "signature", "as": "beheaded"},
        "without its padding": {"use": "signature", "as": "unpadded"},
        "reversed": {"use": "signature", "as": "reversed"},
        "halved": {"use": "signature", "as": "halved"},
        "in hex": {"use": "signature", "as": "unbase64"},
        "in base64 once more": {"use": "signature", "as": "base64"},
        "percent-encoded": {"use": "signature", "as": "percent"},
        "in fullwidth characters": {"use": "signature", "as": "fullwidth"},
        "with spaces between": {"use": "signature", "as": "spaced"},
        "in quotes": ['"', SIGNATURE, '"'],
        "twice": [SIGNATURE, ",", SIGNATURE],
        "twice without a comma": [SIGNATURE, SIGNATURE],
        "with a space behind it": [SIGNATURE, " "],
        "with a space before it": [" ", SIGNATURE],
        "with a line feed behind it": [SIGNATURE, "\n"],
        "with a NUL behind it": [SIGNATURE, "\x00"],
        "with a padding more": [SIGNATURE, "="],
        "with sha1=": ["sha1=", SIGNATURE],
        "with a dash of the URL alphabet": ["-", {"use": "signature", "as": "beheaded"}],
        "with an underscore of the URL alphabet": ["_", {"use": "signature", "as": "beheaded"}],
        "of the length of SHA-256": [{"repeat": "A", "times": 43}, "="],
        "of a hundred kilobytes": {"repeat": "A", "times": 100_000},
        "é": "é",
        "undefined": "undefined",
        "null": "null",
        "a star": "*",
    }.items():
        yield entry(f"signature {name}", MALFORMED, signature=value)
    yield entry("signature of nothing but A", MISMATCH, signature=[{"repeat": "A", "times": 27}, "="])
    yield entry("signature with other spare bits", MISMATCH, signature={"use": "signature", "as": "spare"})
    yield entry("signature sent twice", MALFORMED, more=[["x-twilio-signature", SIGNATURE]])
    yield entry("signature sent again in capitals", MALFORMED, more=[["X-TWILIO-SIGNATURE", SIGNATURE]])
    yield entry("signature in capitals only", signature=None, more=[["X-Twilio-Signature", SIGNATURE]])
    for header in ("x-signature", "authorization", "x-twilio-email-event-webhook-signature", "x_twilio_signature"):
        yield entry(f"signature in the header {header} only", MISSING, signature=None, more=[[header, SIGNATURE]])
    settings = ["key=webhooks_sharedkey_1,algorithm=", "HMAC_SHA256"]
    yield entry("a setting of a shared key chooses nothing", more=[["x-twilio-webhooks-signature-settings", settings]])
    for header, value in (
        ("host", "evil.example.com"),
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8080"),
        ("x-original-url", "/voice/inbound"),
        ("forwarded", "host=evil.example.com;proto=http"),
    ):
        if header != "host":
            yield entry(f"a header {header} changes nothing", more=[[header, value]])


def tokens() -> Iterator[Entry]:
    """Signed with something else than the account's token."""
    token = {"use": "token"}
    for name, value in {
        "another token": "0123456789abcdef0123456789abcdef",
        "an empty token": "",
        "the word undefined": "undefined",
        "the token in capitals": {"use": "token", "as": "upper"},
        "the token and a line feed": [token, "\n"],
        "the token and a space": [token, " "],
        "the cut token": {"use": "token", "as": "cut"},
        "the account": ACCOUNT,
        "the call": SID,
    }.items():
        yield entry(f"signed with {name}", MISMATCH, token=value)


def shapes() -> Iterator[Entry]:
    """Truly signed, and still not a request about one call of this account."""
    for name, value in {
        "missing": None,
        "empty": "",
        "of a message": "SM" + "c0" * 16,
        "in capitals": "CA" + "C0" * 16,
        "with small letters before it": "ca" + "c0" * 16,
        "too short": "CA" + "c0" * 15,
        "too long": "CA" + "c0" * 17,
        "with a space": "CA" + "c0" * 16 + " ",
        "with a line feed": "CA" + "c0" * 16 + "\n",
        "with a hash": "CA#" + "c0" * 15 + "0",
        "of other digits": "CA" + "٣" * 32,
        "of the letter g": "CA" + "g" * 32,
        "of a path": "../" + "c" * 31,
        "of a table's key": "CALL#" + "c" * 29,
    }.items():
        sid = [] if value is None else [["CallSid", value]]
        yield entry(f"a CallSid that is {name}", FIELDS, fields=[*sid, USUAL[1]])
    for name, fields in {
        "CallSid twice": [*USUAL, USUAL[0]],
        "two CallSids": [["CallSid", "CA" + "0" * 32], *USUAL],
        "AccountSid twice": [*USUAL, USUAL[1]],
        "From twice": [*USUAL, ["From", "+15005550006"], ["From", "+15005550007"]],
        "CallStatus twice": [*USUAL, ["CallStatus", "ringing"], ["CallStatus", "completed"]],
        "SequenceNumber twice, the same": [*USUAL, ["SequenceNumber", "1"], ["SequenceNumber", "1"]],
    }.items():
        yield entry(f"{name}", FIELDS, fields=fields)
    yield entry("a form of nothing", FIELDS, fields=[])
    yield entry("a CallSid in the query only", FIELDS, fields=[USUAL[1]], query="CallSid=CA" + "c0" * 16)


def encodings() -> Iterator[Entry]:
    """Bodies that are no form, or one that two readers read differently."""
    for name, form in {
        "bytes that are not ASCII": {"bytes": "436c6f73653de9"},
        "raw UTF-8": "CallerName=é",
        "a byte order mark": "\ufeffCallSid=1",
        "encoded bytes that are not UTF-8": "CallerName=%E9",
        "an overlong slash": "CallerName=%C0%AF",
        "half a surrogate pair": "CallerName=%ED%A0%BD",
        "a start without the rest": "CallerName=%E2%82",
        "UTF-16": {"text": "CallSid=1", "encoding": "utf-16"},
        "gzip": {"bytes": "1f8b0800"},
        "201 fields": [{"repeat": "a=1&", "times": 200}, "a=1"],
        "ten thousand fields": [{"repeat": "a=1&", "times": 10_000}, "a=1"],
        "a name that is not UTF-8": "%FF=1",
    }.items():
        yield entry(f"a body of or with {name}", FORM, form=form, signed=[])
    for name, form in {
        "JSON": '{"CallSid":"CA"}',
        "a lone percent sign": "CallerName=100%&CallSid=CA",
        "a broken escape": "CallerName=%zz",
        "a multipart body": "--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        "XML": "<CallSid>CA</CallSid>",
        "semicolons for ampersands": "CallSid=CA;AccountSid=AC",
        "only ampersands": "&&&&",
        "only an equals sign": "=",
        "a form that nobody has signed": "CallSid=CA1&AccountSid=AC1",
        "a NUL": "CallSid=\x00",
        "a megabyte of one value": ["a=", {"repeat": "b", "times": 1_000_000}],
    }.items():
        yield entry(f"a body of or with {name}, signed as something else", MISMATCH, form=form, signed=USUAL)
    yield entry("an empty body, signed as a form", MISMATCH, form="", signed=USUAL)
    yield entry("more than a function takes", "body_too_large", form={"repeat": "a", "times": 6 * 1024 * 1024 + 1})


def identities() -> Iterator[Entry]:
    """Only the accounts that are listed are served."""
    for name, value in {
        "missing": None,
        "empty": "",
        "of somebody else": "AC" + "0" * 32,
        "reversed": {"use": "account", "as": "reversed"},
        "with a space": [ACCOUNT, " "],
        "with a space before it": [" ", ACCOUNT],
        "cut": {"use": "account", "as": "cut"},
        "in capitals": {"use": "account", "as": "upper"},
        "with a NUL": [ACCOUNT, "\x00"],
        "twice in one": [ACCOUNT, ",", ACCOUNT],
    }.items():
        account = [] if value is None else [["AccountSid", value]]
        yield entry(f"an AccountSid that is {name}", ACCOUNT_REFUSED, fields=[USUAL[0], *account])
