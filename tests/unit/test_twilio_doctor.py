"""The doctor on Twilio's signatures: every mistake, made with the real signer, is recognised, and nothing is given away."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from devkit import development
from devkit.captured import Captured
from devkit.diagnosis import Expected, Stored
from devkit.twilio_doctor import HEADER, SHARED_KEY_HEADER, examine
from devkit.twilio_mistakes import MISTAKES
from switchboard.signatures import PRESETS, sign_twilio
from tests.conftest import NOW

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
BASE = "https://voice.example.com"
PATH = "/voice/inbound"
URL = BASE + PATH
FIELDS = [
    ("AccountSid", "AC" + "1" * 32),
    ("CallSid", "CA" + "2" * 32),
    ("CallStatus", "ringing"),
    ("CalledCity", ""),
    ("CallerName", "Zoë"),
    ("From", "+15550100001"),
    ("FromCity", "BERLIN"),
    ("To", "+15550100002"),
]
FORM = urlencode(FIELDS).encode()


def expected(*stored: Stored | str, base: str = BASE, **parts: Any) -> Expected:
    """A stack that checks with these tokens, told by their values."""
    known = tuple(Stored(f"id-{n}", one) if isinstance(one, str) else one for n, one in enumerate(stored or (TOKEN,)))
    made = Expected(PRESETS["vapi-hmac"], 300, NOW, arrival_known=True, secrets=known, base_url=base)
    return made._replace(**parts)


def request(
    url: str = URL,
    fields: Sequence[tuple[str, str]] = FIELDS,
    token: str = TOKEN,
    signature: str | None = None,
    **seen: Any,
) -> Captured:
    """A request that was signed for `url` and `fields`, captured where the function sees what is in `seen`."""
    made = sign_twilio(url, fields, token) if signature is None else signature
    headers = (("host", "voice.example.com"), (HEADER, made), *seen.pop("headers", ()))
    return Captured("POST", PATH, "", headers, FORM, host="voice.example.com")._replace(**seen)


def by_hand(text: str, token: str = TOKEN, algorithm: str = "sha1") -> str:
    """A signature of any text, as a sender makes it that does not follow our rule."""
    return base64.b64encode(hmac.new(token.encode(), text.encode(), algorithm).digest()).decode()


JOINED = "".join(name + value for name, value in FIELDS)
SIGNATURE = sign_twilio(URL, FIELDS, TOKEN)
JSON = b'{"event":"x"}'
HASHED = f"bodySHA256={hashlib.sha256(JSON).hexdigest()}"
BLANKS = [*FIELDS, ("CallerCity", ""), ("FromState", ""), ("CallerState", ""), ("CallerZip", ""), ("FromZip", "")]
FORM_TYPE = ("content-type", "application/x-www-form-urlencoded")

CASES: list[tuple[tuple[str, ...], Captured, Expected]] = [
    # The URL
    (("url_scheme",), request("http://voice.example.com/voice/inbound"), expected()),
    (("url_scheme",), request(), expected(base="http://voice.example.com")),
    (("host",), request(host="voice.example.com"), expected(base="https://a1b2.execute-api.eu-west-1.amazonaws.com")),
    (
        ("host",),
        request("https://a1b2.execute-api.eu-west-1.amazonaws.com/voice/inbound", host="a1b2.execute-api.eu-west-1.amazonaws.com"),
        expected(),
    ),
    (("host",), request("https://x.ngrok.app/voice/inbound", headers=[("x-forwarded-host", "x.ngrok.app")]), expected()),
    (("host",), request("https://own.example/voice/inbound"), expected(signed_urls=("https://own.example/voice/inbound",))),
    (("port",), request("http://voice.example.com:8080/voice/inbound"), expected(base="http://voice.example.com:4566")._replace(signed_urls=())),
    (("port",), request(signature=by_hand(f"https://voice.example.com:8443{PATH}{JOINED}")), expected()),
    (("port",), request(signature=by_hand(f"https://voice.example.com:443{PATH}{JOINED}")), expected()),
    (("port",), request("http://voice.example.com/voice/inbound"), expected(base="http://voice.example.com:80")),
    (("port",), request("http://voice.example.com:4566/voice/inbound"), expected(base="http://voice.example.com", signed_urls=("http://voice.example.com:4566",))),
    (("path_mapping",), request(f"{BASE}/prod{PATH}"), expected()),
    (("path_mapping",), request(f"{BASE}/blue{PATH}", stage="blue"), expected()),
    (("path_mapping",), request(f"{BASE}/tel{PATH}", headers=[("x-forwarded-prefix", "/tel")]), expected()),
    (("path_mapping",), request(f"{BASE}/my/own{PATH}"), expected(signed_urls=(f"{BASE}/my/own{PATH}",))),
    (("path_mapping",), request(f"{BASE}/hello"), expected(signed_urls=(f"{BASE}/hello",))),
    (("path_mapping",), request(path=f"/prod{PATH}"), expected()),
    (("trailing_slash",), request(f"{URL}/"), expected()),
    (("trailing_slash",), request(path=f"{PATH}/"), expected()),
    (("query_order",), request(f"{URL}?b=2&a=1&c=3", query="a=1&b=2&c=3"), expected()),
    (("query_added",), request(query="a=1"), expected()),
    (("query_lost",), request(f"{URL}?a=1", lost_query="a=1"), expected()),
    (("query_lost",), request(f"{URL}?a=1"), expected(signed_urls=(f"{URL}?a=1",))),
    (("query_escapes",), request(f"{URL}?a=1%2F2", query="a=1/2"), expected()),
    (("query_escapes",), request(f"{URL}?a=x%20y", query="a=x+y"), expected()),
    (("url_malformed",), request(), expected(base="https://[::1")),
    # The token
    (("token_space",), request(), expected(f"{TOKEN}\n")),
    (("token_quoted",), request(), expected(f'"{TOKEN}"')),
    (("secret_ended",), request(token=OTHER), expected(TOKEN, Stored("old", OTHER, ended=True))),
    (("secret_of_parameter",), request(token=OTHER), expected(TOKEN, Stored("k", OTHER, where="vapi-webhook"))),
    (("secret_of_stack",), request(token=OTHER), expected(TOKEN, Stored("k", OTHER, where="the stack staging"))),
    (("token_shape",), request(), expected("Xy7notatokenbutthesecretofanapikey")),
    (("wrong_account",), request(), expected(OTHER, account_sids=frozenset({"AC" + "9" * 32}))),
    (("wrong_token",), request(), expected(OTHER)),
    (("wrong_token",), request(), expected(development.TWILIO_AUTH_TOKEN)),
    (("no_secret",), request(), expected(secrets=())),
    (("all_ended",), request(), expected(Stored("old", TOKEN, ended=True))),
    (("unreadable",), request(), expected(secrets=(), unreadable=True)),
    # The header
    (("header_missing",), request()._replace(headers=(FORM_TYPE,)), expected()),
    (("header_empty",), request(signature=""), expected()),
    (("header_twice",), request(headers=[(HEADER, SIGNATURE)]), expected()),
    (("header_twice",), request(signature="A" * 27 + "=", headers=[(HEADER, "B" * 27 + "=")]), expected()),
    (("shared_key",), request(signature=by_hand(URL + JOINED, algorithm="sha256")), expected()),
    (("shared_key",), request(token=OTHER, headers=[(SHARED_KEY_HEADER, "key=webhooks_1,algorithm=HMAC_SHA1")]), expected()),
    (("malformed",), request(signature="hello"), expected()),
    # The fields
    (("blank_dropped",), request(fields=BLANKS), expected()),
    (("blank_ignored",), request(fields=[pair for pair in FIELDS if pair[1]]), expected()),
    (("plus_as_space",), request(body=FORM.replace(b"%2B", b"+")), expected()),
    (("field_repeated",), request(body=FORM + b"&CallStatus=busy"), expected()),
    (("json_body",), request(f"{URL}?{HASHED}", fields=[], query=HASHED, body=JSON), expected()),
    (("json_body", "json_body_changed"), request(f"{URL}?{HASHED}", fields=[], query=HASHED, body=JSON + b" "), expected()),
    (("fields_in_query",), request(f"{URL}?{urlencode(FIELDS)}", fields=[]), expected()),
    (("fields_in_query",), request(f"{URL}?{urlencode(FIELDS)}", fields=[], query=urlencode(FIELDS), body=b"", method="GET"), expected()),
    (("body_length",), request(headers=[("content-length", "999")], body=FORM[:-20]), expected()),
    # Two at once
    (("header_twice", "trailing_slash"), request(f"{URL}/", headers=[(HEADER, sign_twilio(f"{URL}/", FIELDS, TOKEN))]), expected()),
    (("url_scheme", "host"), request("http://x.example/voice/inbound", host="x.example"), expected()),
    (("host", "path_mapping"), request(f"https://x.example/prod{PATH}"), expected(signed_urls=(f"https://x.example/prod{PATH}",))),
    (("token_space", "trailing_slash"), request(f"{URL}/"), expected(f" {TOKEN}")),
    (("secret_ended", "blank_dropped"), request(fields=BLANKS, token=OTHER), expected(TOKEN, Stored("o", OTHER, True))),
]  # fmt: skip


def test_every_row_of_the_table_has_a_case() -> None:
    assert {name for names, _, _ in CASES for name in names} == MISTAKES.keys()


@pytest.mark.parametrize(("names", "captured", "stack"), CASES, ids=["+".join(names) for names, _, _ in CASES])
def test_a_mistake_is_recognised_and_gives_nothing_away(
    names: tuple[str, ...], captured: Captured, stack: Expected
) -> None:
    found = examine(captured, stack)

    assert found.mistakes == names
    assert not found.verified
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence
    private = [one.value.strip() for one in stack.secrets] + [TOKEN, OTHER, "Zoë", "BERLIN", "5550100", "AC1", "CA2"]
    private += [captured.fields.get(HEADER) or SIGNATURE, HASHED]
    assert not [one for one in private if one in found.sentence]


@pytest.mark.parametrize("base", [BASE, f"{BASE}/", "https://voice.example.com:8443", f"{BASE}/v1"])
def test_a_good_request_verifies_by_the_url_that_the_stack_expects(base: str) -> None:
    found = examine(request(f"{base.rstrip('/')}{PATH}"), expected(OTHER, TOKEN, base=base))

    assert (found.verified, found.sentence) == (True, "The signature verifies, by the auth token id-1.")


@pytest.mark.parametrize(
    ("fields", "parts", "reason"),
    [
        ([("CallSid", "SM1")], {}, "fields"),
        ([("CallSid", "CA" + "2" * 32), ("Digits", "1"), ("Digits", "2")], {}, "fields"),
        (FIELDS, {"account_sids": frozenset({"AC" + "9" * 32})}, "account"),
    ],
)
def test_what_is_refused_although_it_is_signed_is_said(
    fields: list[tuple[str, str]], parts: dict[str, Any], reason: str
) -> None:
    found = examine(request(fields=fields, body=urlencode(fields).encode()), expected(**parts))

    assert found.mistakes == (reason,)
    assert found.sentence.startswith("The signature verifies, but the request is refused all the same, because ")


def test_a_body_that_is_no_form_is_said_to_be_none() -> None:
    assert examine(request(fields=[], body=b"\xff"), expected()).mistakes == ("form_malformed",)


@pytest.mark.parametrize("signature", ["\udc80" * 28, "é" * 28, "{found}", ",,,", " "])
@pytest.mark.parametrize("base", [BASE, "https://[::1", "nonsense"])
def test_whatever_arrives_there_is_an_answer(signature: str, base: str) -> None:
    found = examine(request(signature=signature), expected(base=base))

    assert not found.verified
    assert signature not in found.sentence or len(signature) < 2


def test_a_host_that_could_move_a_terminal_is_not_repeated() -> None:
    assert "\x1b" not in examine(request("https://\x1b1m/voice/inbound", host="\x1b1m"), expected()).sentence
