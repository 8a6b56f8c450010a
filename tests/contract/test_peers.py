"""The official libraries of Standard Webhooks and Twilio: they verify what we sign, and we verify what they sign.

Where we are stricter than they are, docs/conformance.md says so and why; each row of its tables is a test here.
"""

import base64
import inspect
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # it ships no types

from switchboard import messages, signatures
from switchboard.errors import MessageRefused, Refused, SettingsError, SignatureRefused
from switchboard.line import Line, take_in
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.signatures import PRESETS, Secret, sign_twilio, verify_twilio
from tests.conftest import Clock
from tests.twin import BASE_URL, Parameters

CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"
SCHEME = PRESETS["standard-webhooks"]
SECRET = "whsec_" + base64.b64encode(b"a key for the tests, 32 bytes...").decode()
TOKEN = "0123456789abcdef0123456789abcdef"
URL = "https://voice.example.com/voice/inbound"
FORM = [
    ("AccountSid", "AC" + "d0" * 16),
    ("CallSid", "CA" + "a1" * 16),
    ("From", "+15550100001"),
    ("To", "+15550100002"),
]

examples = hypothesis.settings(derandomize=True, deadline=None, database=None, print_blob=True, max_examples=200)
KEYS = st.binary(min_size=1, max_size=64).map(lambda key: base64.b64encode(key).decode())
SECRETS = KEYS | KEYS.map("whsec_{}".format)
IDS = st.from_regex(re.compile(r"[A-Za-z0-9_\-]{1,128}", re.ASCII), fullmatch=True)
BODIES = st.text().map(str.encode) | st.dictionaries(st.text(), st.text() | st.integers()).map(
    lambda document: json.dumps(document).encode()
)
OFFSETS = st.integers(-290, 290)  # their clock is the machine's, so the ends of the window are left to our own tests


class Fields:
    """A form as web frameworks hand it to Twilio's library: a field may have several values."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Any:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(self._pairs)

    def getall(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self._pairs if key == name]


def ours(body: bytes, headers: dict[str, str], *secrets: str) -> str:
    """Our verdict on a Standard Webhooks request: the id of the secret that signed, or `SignatureRefused`."""
    known = [Secret(str(number), secret) for number, secret in enumerate(secrets)]
    return signatures.verify(SCHEME, headers, body, known, now=time.time(), tolerance=300)


def theirs(body: bytes, headers: dict[str, str], secret: str) -> None:
    """Their verdict: nothing, or an exception."""
    Webhook(secret).verify(body, headers, json_parse=False)


def signed(body: bytes = b"{}", *, id: str = "msg_1", offset: int = 0, secret: str = SECRET) -> dict[str, str]:
    """The headers that their library makes for a body."""
    stamp = int(time.time()) + offset
    moment = datetime.fromtimestamp(stamp, UTC)
    signature = Webhook(secret).sign(id, moment, body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(stamp), "webhook-signature": signature}


def refused(body: bytes, headers: dict[str, str], *secrets: str) -> str:
    """Why we refuse a request."""
    with pytest.raises(SignatureRefused) as caught:
        ours(body, headers, *(secrets or (SECRET,)))
    return caught.value.reason


@examples
@given(body=BODIES, id=IDS, secret=SECRETS, offset=OFFSETS)
def test_standard_webhooks_verifies_what_we_sign(body: bytes, id: str, secret: str, offset: int) -> None:
    headers = signatures.sign(SCHEME, body, secret, timestamp=int(time.time()) + offset, message_id=id)

    theirs(body, headers, secret)


@examples
@given(body=BODIES, id=IDS, secret=SECRETS, offset=OFFSETS)
def test_we_verify_what_standard_webhooks_signs(body: bytes, id: str, secret: str, offset: int) -> None:
    headers = signed(body, id=id, secret=secret, offset=offset)

    assert ours(body, headers, secret) == "0"
    assert headers == signatures.sign(SCHEME, body, secret, timestamp=int(headers["webhook-timestamp"]), message_id=id)


@examples
@given(body=BODIES, other=BODIES, secret=SECRETS, wrong=SECRETS)
def test_both_refuse_another_body_and_another_secret(body: bytes, other: bytes, secret: str, wrong: str) -> None:
    headers = signed(body, secret=secret)
    hypothesis.assume(body != other)
    hypothesis.assume(secret.removeprefix("whsec_") != wrong.removeprefix("whsec_"))

    for claimed, key in ((other, secret), (body, wrong)):
        with pytest.raises(WebhookVerificationError):
            theirs(claimed, headers, key)
        assert refused(claimed, headers, key) == "signature_mismatch"


def test_both_take_one_good_signature_of_several() -> None:
    old = "whsec_" + base64.b64encode(b"the key before").decode()
    headers = signed()
    both = f"{signed(secret=old)['webhook-signature']} {headers['webhook-signature']} v1a,AAAA"
    headers |= {"webhook-signature": both}

    for secret in (old, SECRET):
        theirs(b"{}", headers, secret)
        assert ours(b"{}", headers, secret) == "0"


@pytest.mark.parametrize("offset", [-301 - 60, 301 + 60])
def test_both_refuse_what_is_older_or_newer_than_five_minutes(offset: int) -> None:
    headers = signed(offset=offset)

    with pytest.raises(WebhookVerificationError):
        theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == ("timestamp_stale" if offset < 0 else "timestamp_future")


@pytest.mark.parametrize("form", ["+{}", " {}", "{}.9", "{}e0", "0{}", "{}\n", "{:_}", "{}.0"])
def test_a_timestamp_has_one_written_form(form: str) -> None:
    headers = signed()
    stamp = int(headers["webhook-timestamp"])
    headers |= {"webhook-timestamp": form.format(stamp)}

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "timestamp_malformed"


def test_a_timestamp_is_plain_digits() -> None:
    headers = signed()
    headers |= {"webhook-timestamp": "".join(chr(0xFF10 + int(digit)) for digit in headers["webhook-timestamp"])}

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "timestamp_malformed"


@pytest.mark.parametrize("signature", ["v1", "v1,a", "v1,a,b", "v1,é", "v1,AAAA v1", " ", "v1,AAAA  "])
def test_a_malformed_signature_is_a_refusal_and_not_a_crash(signature: str) -> None:
    headers = signed() | {"webhook-signature": signature}

    with pytest.raises(ValueError, match=r"unpack|padding|base64|ASCII|characters"):
        theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) in ("signature_malformed", "signature_prefix")


@pytest.mark.parametrize("place", [4, 20, 46])
@pytest.mark.parametrize("junk", ["!", "\t", "*", "-"])
def test_a_signature_holds_nothing_but_base64(place: int, junk: str) -> None:
    headers = signed()
    signature = headers["webhook-signature"]
    headers |= {"webhook-signature": signature[:place] + junk + signature[place:]}

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "signature_malformed"


def test_a_signature_has_one_base64_form() -> None:
    headers = signed()
    signature = headers["webhook-signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(signature[-2]) ^ 1]
    headers |= {"webhook-signature": f"{signature[:-2]}{other}="}

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "signature_mismatch"


def test_a_header_holds_at_most_eight_signatures() -> None:
    headers = signed()
    headers |= {"webhook-signature": f"{'v2,x ' * 8}{headers['webhook-signature']}"}

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "signature_malformed"


@pytest.mark.parametrize("id", ["msg.1", "msg 1", "msg_1.1800000000", "é", "x" * 129])
def test_a_message_id_cannot_hold_what_separates_the_signed_parts(id: str) -> None:
    headers = signed(id=id)

    theirs(b"{}", headers, SECRET)
    assert refused(b"{}", headers) == "message_id_malformed"


def test_a_body_need_not_be_text_to_be_refused() -> None:
    headers = signed()

    with pytest.raises(UnicodeDecodeError):
        theirs(b"\xff", headers, SECRET)
    assert refused(b"\xff", headers) == "signature_mismatch"


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", ValueError), (b"{", ValueError), (b"[" * 200_000, RecursionError)],
    ids=["empty", "cut", "deep"],
)
def test_an_authentic_body_that_is_no_json_is_a_refusal_and_not_a_crash(body: bytes, error: type[Exception]) -> None:
    headers = signed(body)

    with pytest.raises(error):
        Webhook(SECRET).verify(body, headers)
    assert ours(body, headers, SECRET) == "0"
    with pytest.raises(MessageRefused):
        messages.read(body)


@pytest.mark.parametrize("body", [b'{"message":{"type":"x","a":NaN}}', b'{"message":{"type":"x","type":"y"}}'])
def test_json_is_read_strictly(body: bytes) -> None:
    headers = signed(body)

    assert Webhook(SECRET).verify(body, headers)["message"]["type"] in "xy"
    assert ours(body, headers, SECRET) == "0"
    with pytest.raises(MessageRefused):
        messages.read(body)


def test_json_lists_no_more_than_a_message_does() -> None:
    body = b'{"message":{"type":"x","a":[' + b"1," * 30_000 + b"1]}}"
    headers = signed(body)

    assert len(Webhook(SECRET).verify(body, headers)["message"]["a"]) == 30_001
    assert ours(body, headers, SECRET) == "0"
    with pytest.raises(MessageRefused) as refusal:
        messages.read(body)
    assert (refusal.value.status, refusal.value.reason) == (413, "body_too_large")


@pytest.mark.parametrize("distort", [lambda s: s.rstrip("="), lambda s: s + "!", lambda s: s[:20] + "\n" + s[20:]])
def test_a_secret_is_whole_base64(distort: Callable[[str], str]) -> None:
    secret = distort("whsec_" + base64.b64encode(b"seven b").decode())
    headers = signed(secret=secret)

    theirs(b"{}", headers, secret)
    assert refused(b"{}", headers, secret) == "signature_mismatch"
    with pytest.raises(SettingsError):
        signatures.sign(SCHEME, b"{}", secret, timestamp=1_800_000_000, message_id="m")


def test_milliseconds_are_understood_here_and_not_there() -> None:
    stamp = int(time.time() * 1000)
    headers = signatures.sign(SCHEME, b"{}", SECRET, timestamp=stamp, message_id="msg_1")

    assert ours(b"{}", headers, SECRET) == "0"
    with pytest.raises(WebhookVerificationError):
        theirs(b"{}", headers, SECRET)


WORDS = st.text(max_size=20)
PAIRS = st.lists(st.tuples(st.sampled_from(["CallSid", "From", "To", "Tag", "a", "A", "é"]), WORDS), max_size=10)
PLACES = st.sampled_from(["/voice/inbound", "/voice/inbound?a=1&b=%2F", "/", "/a%20b?x=%C3%A9&x="])
TOKENS = st.text("0123456789abcdef", min_size=32, max_size=32)


@examples
@given(pairs=PAIRS, place=PLACES, token=TOKENS, port=st.sampled_from(["", ":443", ":8443"]))
def test_twilio_verifies_what_we_sign(pairs: list[tuple[str, str]], place: str, token: str, port: str) -> None:
    url = f"https://voice.example.com{port}{place}"

    assert RequestValidator(token).validate(url, Fields(pairs), sign_twilio(url, pairs, token))


@examples
@given(pairs=PAIRS, place=PLACES, token=TOKENS)
def test_we_verify_what_twilio_signs(pairs: list[tuple[str, str]], place: str, token: str) -> None:
    for url in (f"https://voice.example.com{place}", f"http://voice.example.com:4566{place}"):
        signature = RequestValidator(token).compute_signature(url, Fields(pairs))

        assert verify_twilio(url, pairs, signature, [Secret("now", token)]) == "now"


@examples
@given(pairs=PAIRS, other=PAIRS, token=TOKENS, wrong=TOKENS)
def test_twilio_and_we_refuse_another_form_and_another_token(
    pairs: list[tuple[str, str]], other: list[tuple[str, str]], token: str, wrong: str
) -> None:
    signature = RequestValidator(token).compute_signature(URL, Fields(pairs))
    hypothesis.assume(token != wrong)
    hypothesis.assume(RequestValidator(token).compute_signature(URL, Fields(other)) != signature)

    for form, key in ((other, token), (pairs, wrong)):
        assert not RequestValidator(key).validate(URL, Fields(form), signature)
        with pytest.raises(SignatureRefused):
            verify_twilio(URL, form, signature, [Secret("now", key)])


def mismatch(url: str, pairs: list[tuple[str, str]], signature: Any, token: str = TOKEN) -> str:
    """Why we refuse a request of Twilio's."""
    with pytest.raises(SignatureRefused) as caught:
        verify_twilio(url, pairs, signature, [Secret("now", token)])
    return caught.value.reason


@pytest.mark.parametrize(
    ("configured", "claimed"),
    [(URL, URL.replace(".com", ".com:443")), ("http://h:4566/v", "http://h/v"), ("http://h/v", "http://h:80/v")],
)
def test_a_url_is_signed_in_one_form_only(configured: str, claimed: str) -> None:
    signature = RequestValidator(TOKEN).compute_signature(claimed, Fields(FORM))

    assert RequestValidator(TOKEN).validate(configured, Fields(FORM), signature)
    assert mismatch(configured, FORM, signature) == "signature_mismatch"


def test_without_a_token_nothing_is_authentic() -> None:
    forged = RequestValidator("").compute_signature(URL, Fields(FORM))

    assert RequestValidator("").validate(URL, Fields(FORM), forged)
    assert mismatch(URL, FORM, forged, "") == "no_secret"


@pytest.mark.parametrize(
    ("url", "signature", "error", "reason"),
    [
        (URL, None, TypeError, "signature_missing"),
        (URL.replace(".com", ".com:99999"), "A" * 27 + "=", ValueError, "signature_mismatch"),
        ("https://[::1/v", "A" * 27 + "=", ValueError, "url_malformed"),
    ],
)
def test_a_request_that_cannot_be_checked_is_a_refusal_and_not_a_crash(
    url: str, signature: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error):
        RequestValidator(TOKEN).validate(url, Fields(FORM), signature)
    assert mismatch(url, FORM, signature) == reason


@pytest.fixture
def line(settings: Settings, clock: Clock) -> Line:
    """What takes in a request of Twilio's, as the functions do it."""
    parameters = Parameters(settings)
    name = f"{settings.parameter_path}/{TWILIO_AUTH_TOKEN}"
    parameters.values[name] = json.dumps([{"id": "now", "secret": TOKEN}])
    return Line(settings, Secrets(settings.parameter_path, (TWILIO_AUTH_TOKEN, PUBLIC_BASE_URL), parameters, clock))


def door(line: Line, body: str, signature: str, query: str = "") -> str:
    """Why our door refuses a request, or '' if it does not."""
    event = {
        "rawPath": "/voice/inbound",
        "rawQueryString": query,
        "headers": {"x-twilio-signature": signature, "host": "evil.example"},
        "body": body,
    }
    try:
        take_in(line, event)
    except Refused as error:
        return error.reason
    return ""


def form(pairs: list[tuple[str, str]]) -> str:
    """A form body."""
    return "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in pairs)


def test_a_genuine_request_passes_our_door(line: Line) -> None:
    signature = RequestValidator(TOKEN).compute_signature(f"{BASE_URL}/voice/inbound", Fields(FORM))

    assert door(line, form(FORM), signature) == ""


def test_a_border_between_two_fields_cannot_be_moved_into_what_we_use(line: Line) -> None:
    moved = [("AccountSid", f"{FORM[0][1]}CallSid{FORM[1][1]}"), *FORM[2:]]
    url = f"{BASE_URL}/voice/inbound"
    signature = RequestValidator(TOKEN).compute_signature(url, Fields(FORM))

    assert RequestValidator(TOKEN).validate(url, Fields(moved), signature)
    assert door(line, form(moved), signature) == "fields"


def test_a_field_comes_once(line: Line) -> None:
    twice = [*FORM, ("From", "+15550100009")]
    url = f"{BASE_URL}/voice/inbound"
    signature = RequestValidator(TOKEN).compute_signature(url, Fields(twice))

    assert RequestValidator(TOKEN).validate(url, Fields(twice), signature)
    assert door(line, form(twice), signature) == "fields"


def test_only_forms_are_taken(line: Line) -> None:
    body = json.dumps(dict(FORM))
    validator = RequestValidator(TOKEN)
    query = f"bodySHA256={validator.compute_hash(body)}"
    url = f"{BASE_URL}/voice/inbound?{query}"
    signature = validator.compute_signature(url, {})

    assert validator.validate(url, body, signature)
    assert door(line, body, signature, query) == "signature_mismatch"


def test_the_algorithm_is_not_the_senders_choice() -> None:
    validator = RequestValidator(TOKEN)
    signature = validator.compute_signature(URL, Fields(FORM), "HMAC_SHA256")

    assert validator.validate(URL, Fields(FORM), signature, "HMAC_SHA256")
    assert mismatch(URL, FORM, signature) == "signature_malformed"


def rows() -> list[str]:
    """The tests that the tables of the page name, in its order."""
    return re.findall(r"^\|.*\| `(test_\w+)` \|$", CONFORMANCE.read_text(), re.MULTILINE)


def test_every_row_of_the_page_is_a_test_here() -> None:
    tests = {name for name, _ in inspect.getmembers(sys.modules[__name__], inspect.isfunction) if name[:5] == "test_"}
    agreement = {name for name in tests if re.match(r"test_(both|we_verify|twilio_|standard_webhooks_)", name)}
    others = {"test_every_row_of_the_page_is_a_test_here", "test_a_genuine_request_passes_our_door"}

    assert len(rows()) == len(set(rows()))
    assert set(rows()) == tests - agreement - others
