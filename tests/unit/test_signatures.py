"""Who sent a request. Every check of the two verifiers has a request here that only this check refuses."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # it ships no types

from switchboard.errors import SettingsError, SignatureRefused
from switchboard.signatures import (
    MAX_FORM_FIELDS,
    PRESETS,
    Scheme,
    Secret,
    choose,
    parse_form,
    sign,
    sign_twilio,
    verify,
    verify_twilio,
)

NOW = 1_800_000_000
BODY = b'{"message":{"type":"hang"}}'
TEXT = "correct-horse-battery-staple"
KEY = b"thirty-two bytes of a secret key"
ENCODED = "whsec_" + base64.b64encode(KEY).decode()
HMAC_PRESETS = ("vapi-hmac", "standard-webhooks", "body-hmac")
PLAIN_PRESETS = ("bearer", "vapi-secret")

VAPI_HMAC = PRESETS["vapi-hmac"]
STANDARD = PRESETS["standard-webhooks"]


def secret_of(scheme: Scheme) -> Secret:
    return Secret("now", ENCODED if scheme.secret_encoding == "base64" else TEXT)


def signed(scheme: Scheme, body: bytes = BODY, timestamp: int = NOW, message_id: str = "msg_1") -> dict[str, str]:
    return sign(scheme, body, secret_of(scheme).value, timestamp=timestamp, message_id=message_id)


def check(scheme: Scheme, headers: dict[str, str], body: bytes = BODY, now: float = NOW, tolerance: int = 300) -> str:
    return verify(scheme, headers, body, [secret_of(scheme)], now=now, tolerance=tolerance)


def reason(scheme: Scheme, headers: dict[str, str], body: bytes = BODY, now: float = NOW) -> str:
    with pytest.raises(SignatureRefused) as refused:
        check(scheme, headers, body, now)
    assert refused.value.status == 401
    return refused.value.reason


# Known answers: what is signed, and how


def test_vapi_hmac_is_hex_over_timestamp_dot_body() -> None:
    expected = hmac.new(TEXT.encode(), b"1800000000." + BODY, hashlib.sha256).hexdigest()

    assert signed(VAPI_HMAC) == {"x-timestamp": "1800000000", "x-signature": expected}


def test_standard_webhooks_gives_the_published_answer() -> None:
    # From the test suite of the Standard Webhooks libraries.
    headers = sign(
        STANDARD,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        timestamp=1614265330,
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_standard_webhooks_takes_a_secret_without_its_marker() -> None:
    headers = sign(STANDARD, BODY, ENCODED, timestamp=NOW, message_id="msg_1")
    bare = [Secret("now", ENCODED.removeprefix("whsec_"))]

    assert verify(STANDARD, headers, BODY, bare, now=NOW, tolerance=300) == "now"


def test_body_hmac_is_hex_over_the_body_alone() -> None:
    expected = hmac.new(TEXT.encode(), BODY, hashlib.sha256).hexdigest()

    assert signed(PRESETS["body-hmac"]) == {"x-vapi-signature": expected}


def test_bearer_sends_the_secret_behind_the_word_bearer() -> None:
    assert signed(PRESETS["bearer"]) == {"authorization": f"Bearer {TEXT}"}


def test_vapi_secret_sends_the_secret_bare() -> None:
    assert signed(PRESETS["vapi-secret"]) == {"x-vapi-secret": TEXT}


@pytest.mark.parametrize(("algorithm", "digits"), [("sha1", 40), ("sha256", 64), ("sha512", 128)])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_every_algorithm_goes_with_every_encoding(algorithm: str, digits: int, encoding: str) -> None:
    scheme = choose("body-hmac", {"algorithm": algorithm, "encoding": encoding, "prefix": f"{algorithm}="})
    digest = hmac.new(TEXT.encode(), BODY, algorithm).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()

    headers = signed(scheme)

    assert headers == {"x-vapi-signature": f"{algorithm}={text}"}
    assert len(digest.hex()) == digits
    assert check(scheme, headers) == "now"


def test_a_digest_of_another_length_is_malformed_whatever_the_encoding() -> None:
    for encoding in ("hex", "base64"):
        long = choose("body-hmac", {"algorithm": "sha512", "encoding": encoding})
        short = choose("body-hmac", {"algorithm": "sha256", "encoding": encoding})

        assert reason(short, signed(long)) == "signature_malformed"
        assert reason(long, signed(short)) == "signature_malformed"


def test_a_placeholder_inside_the_body_is_just_text() -> None:
    body = b'{"a":"{timestamp}","b":"{body}","c":"{svix-id}"}'
    expected = hmac.new(TEXT.encode(), b"1800000000." + body, hashlib.sha256).hexdigest()

    headers = signed(VAPI_HMAC, body)

    assert headers["x-signature"] == expected
    assert check(VAPI_HMAC, headers, body) == "now"


def test_text_around_the_placeholders_is_signed_too() -> None:
    scheme = choose("vapi-hmac", {"payload": "v0:{timestamp}:{body}", "prefix": "v0="})
    expected = hmac.new(TEXT.encode(), b"v0:1800000000:" + BODY, hashlib.sha256).hexdigest()

    assert signed(scheme)["x-signature"] == f"v0={expected}"


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_signed_verifies_and_says_which_secret_signed(name: str) -> None:
    assert check(PRESETS[name], signed(PRESETS[name])) == "now"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_known_by_its_own_name(name: str) -> None:
    assert choose(name) == PRESETS[name]
    assert choose(name).name == name


def test_only_presets_that_sign_a_timestamp_are_protected_against_replay() -> None:
    protected = {name for name, scheme in PRESETS.items() if scheme.replay_protected}

    assert protected == {"vapi-hmac", "standard-webhooks"}
    assert not choose("vapi-hmac", {"encoding": "plain"}).replay_protected


# Secrets


@pytest.mark.parametrize("name", PRESETS)
def test_another_secret_verifies_nothing(name: str) -> None:
    scheme = PRESETS[name]
    other = base64.b64encode(b"other").decode()

    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify(scheme, signed(scheme), BODY, [Secret("other", other)], now=NOW, tolerance=300)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("secrets", [[], [Secret("empty", "")], [Secret("a", ""), Secret("b", "")]])
def test_without_a_secret_everything_is_refused(name: str, secrets: list[Secret]) -> None:
    scheme = PRESETS[name]

    with pytest.raises(SignatureRefused, match="no_secret"):
        verify(scheme, signed(scheme), BODY, secrets, now=NOW, tolerance=300)


def test_an_empty_secret_beside_a_good_one_is_passed_over() -> None:
    forged = {"x-timestamp": str(NOW), "x-signature": hmac.new(b"", b"1800000000." + BODY, "sha256").hexdigest()}
    secrets = [Secret("empty", ""), Secret("now", TEXT)]

    assert verify(VAPI_HMAC, signed(VAPI_HMAC), BODY, secrets, now=NOW, tolerance=300) == "now"
    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify(VAPI_HMAC, forged, BODY, secrets, now=NOW, tolerance=300)


def test_a_secret_that_decodes_to_an_empty_key_verifies_nothing() -> None:
    mac = base64.b64encode(hmac.new(b"", b"msg_1.1800000000." + BODY, "sha256").digest()).decode()
    forged = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,{mac}"}

    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify(STANDARD, forged, BODY, [Secret("marker only", "whsec_")], now=NOW, tolerance=300)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_during_a_rotation_both_secrets_are_valid(order: tuple[int, int]) -> None:
    pair = [Secret("now", TEXT), Secret("next", "tr0ub4dor-and-3")]
    both = [pair[index] for index in order]

    for secret in pair:
        headers = sign(VAPI_HMAC, BODY, secret.value, timestamp=NOW)
        assert verify(VAPI_HMAC, headers, BODY, both, now=NOW, tolerance=300) == secret.id


def test_a_secret_that_is_not_base64_stops_no_other_one() -> None:
    broken = [Secret("typed by hand", "not base64!"), Secret("now", ENCODED)]

    assert verify(STANDARD, signed(STANDARD), BODY, broken, now=NOW, tolerance=300) == "now"
    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify(STANDARD, signed(STANDARD), BODY, broken[:1], now=NOW, tolerance=300)


@pytest.mark.parametrize("secret", ["not base64!", "é", "YQ=", "YWI=\n"])
def test_signing_with_a_secret_that_is_not_base64_is_a_mistake_of_the_owner(secret: str) -> None:
    with pytest.raises(SettingsError, match="base64"):
        sign(STANDARD, BODY, secret, timestamp=NOW, message_id="msg_1")


def test_every_secret_is_compared_even_after_one_has_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def spy(expected: bytes, claimed: bytes) -> bool:
        compared.append(claimed)
        return compare(expected, claimed)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    secrets = [Secret("now", TEXT), Secret("next", "other"), Secret("third", "another")]

    assert verify(VAPI_HMAC, signed(VAPI_HMAC), BODY, secrets, now=NOW, tolerance=300) == "now"
    assert verify_twilio(URL, FORM, sign_twilio(URL, FORM, TEXT), secrets) == "now"
    assert len(compared) == 6


# Headers


@pytest.mark.parametrize("name", PRESETS)
def test_no_header_of_a_scheme_can_be_missing_or_empty(name: str) -> None:
    headers = signed(PRESETS[name])

    for absent in headers:
        rest = {header: value for header, value in headers.items() if header != absent}
        assert reason(PRESETS[name], rest).endswith("_missing")
        assert reason(PRESETS[name], {**rest, absent: ""}).endswith("_missing")


@pytest.mark.parametrize("name", PRESETS)
def test_a_header_that_was_sent_twice_is_refused(name: str) -> None:
    headers = signed(PRESETS[name])

    for doubled, value in headers.items():
        for joined in (f"{value},{value}", f"{value}, {value}"):
            reason(PRESETS[name], {**headers, doubled: joined})


@pytest.mark.parametrize("name", HMAC_PRESETS)
@pytest.mark.parametrize(
    "distort",
    [
        lambda value: f" {value}",
        lambda value: f"{value} ",
        lambda value: f"{value}\n",
        lambda value: f"{value}\x00",
        lambda value: f"{value}=",
        lambda value: value[:-1],
        lambda value: value.swapcase(),
        lambda value: f"é{value[1:]}",
        lambda value: value.replace(value[-5], "é"),
        lambda value: "\ud800",
        lambda value: "v1",
        lambda value: "v1,",
        lambda value: "v1,a",
        lambda value: "v1,====",
        lambda value: "0" * 10_000,
    ],
)
def test_a_signature_has_one_exact_form(name: str, distort: Any) -> None:
    header = PRESETS[name].signature_header
    headers = signed(PRESETS[name])
    distorted = distort(headers[header])

    assert reason(PRESETS[name], {**headers, header: distorted}).startswith("signature_")


@pytest.mark.parametrize("digit", ["A", "g", "\u0661", "-", " "])
def test_hex_is_lower_case(digit: str) -> None:
    headers = signed(VAPI_HMAC)

    for claim in (digit + headers["x-signature"][1:], headers["x-signature"][:-1] + digit):
        assert reason(VAPI_HMAC, {**headers, "x-signature": claim}) == "signature_malformed"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_base64_is_the_ordinary_one_with_its_padding(algorithm: str) -> None:
    scheme = choose("body-hmac", {"algorithm": algorithm, "encoding": "base64"})
    value = signed(scheme)["x-vapi-signature"]
    bare = value.rstrip("=")

    for claim in (bare, value + "=", bare + "A" * (len(value) - len(bare)), "-" + value[1:], "_" + value[1:]):
        assert reason(scheme, {"x-vapi-signature": claim}) == "signature_malformed"


def test_base64_of_the_same_digest_with_other_spare_bits_is_refused() -> None:
    headers = signed(STANDARD)
    value = headers["webhook-signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sibling = value[:-2] + alphabet[alphabet.index(value[-2]) ^ 1] + "="
    assert base64.b64decode(sibling[3:]) == base64.b64decode(value[3:])

    assert reason(STANDARD, {**headers, "webhook-signature": sibling}) == "signature_mismatch"


def test_a_list_of_signatures_needs_one_that_fits() -> None:
    headers = signed(STANDARD)
    good, other = headers["webhook-signature"], "v1," + base64.b64encode(bytes(32)).decode()

    for listed in (f"{good} {other}", f"{other} {good}", f"v1a,whatever {good}", f"v2,é {good}".replace("é", "e")):
        assert check(STANDARD, {**headers, "webhook-signature": listed}) == "now"
    for listed in (other, f"{other} {other}"):
        assert reason(STANDARD, {**headers, "webhook-signature": listed}) == "signature_mismatch"
    assert reason(STANDARD, {**headers, "webhook-signature": "v1a,whatever v2,more"}) == "signature_prefix"


def test_a_list_of_signatures_is_read_strictly_as_a_whole() -> None:
    headers = signed(STANDARD)
    good = headers["webhook-signature"]

    for listed in (f"{good} v1,short", f"{good} v2,é", f"{good} v2,{'x' * 4096}"):
        assert reason(STANDARD, {**headers, "webhook-signature": listed}) == "signature_malformed"


def test_a_list_holds_at_most_eight_signatures() -> None:
    headers = signed(STANDARD)
    good, other = headers["webhook-signature"], "v1," + base64.b64encode(bytes(32)).decode()

    eight, nine = " ".join([other] * 7 + [good]), " ".join([other] * 8 + [good])

    assert check(STANDARD, {**headers, "webhook-signature": eight}) == "now"
    assert reason(STANDARD, {**headers, "webhook-signature": nine}) == "signature_malformed"


def test_only_a_scheme_whose_prefix_ends_in_a_comma_has_lists() -> None:
    headers = signed(VAPI_HMAC)
    listed = f"{headers['x-signature']} {headers['x-signature']}"

    assert reason(VAPI_HMAC, {**headers, "x-signature": listed}) == "signature_malformed"


@pytest.mark.parametrize("value", [TEXT, f"bearer {TEXT}", f"Basic {TEXT}", f"Bearer{TEXT}", f"Bearer\t{TEXT}"])
def test_a_bearer_token_stands_behind_exactly_its_word(value: str) -> None:
    assert reason(PRESETS["bearer"], {"authorization": value}) == "signature_prefix"


@pytest.mark.parametrize("value", ["Bearer ", f"Bearer  {TEXT}", f"Bearer {TEXT} ", f"Bearer {TEXT}\n", "Bearer é"])
def test_a_bearer_token_is_visible_ascii_without_blanks(value: str) -> None:
    assert reason(PRESETS["bearer"], {"authorization": value}) == "signature_malformed"


def test_a_secret_header_is_at_most_four_kilobytes() -> None:
    for length, accepted in ((4096, True), (4097, False)):
        value = "x" * length
        headers = {"x-vapi-secret": value}
        if accepted:
            assert verify(PRESETS["vapi-secret"], headers, b"", [Secret("a", value)], now=0, tolerance=0) == "a"
        else:
            with pytest.raises(SignatureRefused, match="malformed"):
                verify(PRESETS["vapi-secret"], headers, b"", [Secret("a", value)], now=0, tolerance=0)


def test_a_header_is_at_most_four_kilobytes_with_its_prefix() -> None:
    fits, too_long = "x" * (4096 - len("Bearer ")), "x" * (4097 - len("Bearer "))
    secrets = [Secret("fits", fits), Secret("too long", too_long)]

    assert verify(PRESETS["bearer"], {"authorization": f"Bearer {fits}"}, b"", secrets, now=0, tolerance=0) == "fits"
    with pytest.raises(SignatureRefused, match="malformed"):
        verify(PRESETS["bearer"], {"authorization": f"Bearer {too_long}"}, b"", secrets, now=0, tolerance=0)


@pytest.mark.parametrize("message_id", ["a", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "A-Z_09", "x" * 128])
def test_a_message_id_is_a_short_plain_word(message_id: str) -> None:
    assert check(STANDARD, signed(STANDARD, message_id=message_id)) == "now"


@pytest.mark.parametrize("message_id", ["a.b", "a b", "a\n", "é", "x" * 129, "a,a", "\u0661"])
def test_a_message_id_that_could_shift_the_signed_text_is_refused(message_id: str) -> None:
    assert reason(STANDARD, signed(STANDARD, message_id=message_id)) == "message_id_malformed"


# Time


@pytest.mark.parametrize("name", ["vapi-hmac", "standard-webhooks"])
@pytest.mark.parametrize("timestamp", [NOW, NOW - 300, NOW + 300, NOW * 1000, (NOW - 300) * 1000, (NOW + 300) * 1000])
def test_seconds_and_milliseconds_are_accepted_up_to_both_ends_of_the_window(name: str, timestamp: int) -> None:
    assert check(PRESETS[name], signed(PRESETS[name], timestamp=timestamp)) == "now"


@pytest.mark.parametrize("name", ["vapi-hmac", "standard-webhooks"])
@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (NOW - 301, "timestamp_stale"),
        ((NOW - 300) * 1000 - 1, "timestamp_stale"),
        (NOW + 301, "timestamp_future"),
        ((NOW + 300) * 1000 + 1, "timestamp_future"),
    ],
)
def test_one_unit_outside_the_window_is_refused(name: str, timestamp: int, expected: str) -> None:
    assert reason(PRESETS[name], signed(PRESETS[name], timestamp=timestamp)) == expected


def test_the_window_is_as_wide_as_the_tolerance() -> None:
    headers = signed(VAPI_HMAC, timestamp=NOW - 60)

    assert check(VAPI_HMAC, headers, tolerance=60) == "now"
    with pytest.raises(SignatureRefused, match="stale"):
        check(VAPI_HMAC, headers, tolerance=59)


def test_the_clock_has_fractions() -> None:
    assert reason(VAPI_HMAC, signed(VAPI_HMAC, timestamp=NOW - 300), now=NOW + 0.001) == "timestamp_stale"


JUNK_TIMESTAMPS = [
    f"+{NOW}",
    f"-{NOW}",
    f" {NOW}",
    f"{NOW} ",
    f"{NOW}\n",
    f"{NOW}\x00",
    f"{NOW}.0",
    f"0{NOW}",
    "0180000000",
    "0180000000000",
    f"{NOW},{NOW}",
    f"{NOW}, {NOW}",
    "1_800_000_000",
    "1.8e9",
    "1e9",
    "nan",
    "inf",
    "-1",
    "0",
    "180000000",
    "18000000000",
    "180000000000",
    "18000000000000",
    "0x6b49d200",
    "\u0661\u0668\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660",
    "\uff11\uff18\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff10",
    "2027-01-15T08:00:00Z",
    "9" * 400,
    "é",
]


@pytest.mark.parametrize("text", JUNK_TIMESTAMPS)
def test_a_timestamp_is_ten_or_thirteen_digits_and_nothing_else(text: str) -> None:
    # Signed over that very text, so that only the grammar can refuse it.
    mac = hmac.new(TEXT.encode(), text.encode() + b"." + BODY, "sha256").hexdigest()

    assert reason(VAPI_HMAC, {"x-timestamp": text, "x-signature": mac}) == "timestamp_malformed"


def test_the_time_of_a_scheme_without_one_is_not_asked_for() -> None:
    assert check(PRESETS["body-hmac"], signed(PRESETS["body-hmac"]), now=0, tolerance=0) == "now"


# Anything that is changed on the way


@pytest.mark.parametrize("name", HMAC_PRESETS)
def test_every_flipped_bit_of_a_signed_request_is_refused(name: str) -> None:
    scheme = PRESETS[name]
    headers = signed(scheme)
    refused = 0

    for position in range(len(BODY) * 8):
        reason(scheme, headers, flipped(BODY, position))
        refused += 1
    for header, value in headers.items():
        for position in range(len(value) * 8):
            changed = flipped(value.encode(), position).decode("latin-1")
            reason(scheme, {**headers, header: changed})
            refused += 1

    assert refused == 8 * (len(BODY) + sum(map(len, headers.values())))


@pytest.mark.parametrize("name", PLAIN_PRESETS)
def test_every_flipped_bit_of_a_plain_secret_is_refused(name: str) -> None:
    header = PRESETS[name].signature_header
    value = signed(PRESETS[name])[header]

    for position in range(len(value) * 8):
        reason(PRESETS[name], {header: flipped(value.encode(), position).decode("latin-1")})


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


@given(
    name=st.sampled_from(sorted(PRESETS)),
    values=st.lists(st.text() | st.sampled_from(JUNK_TIMESTAMPS), min_size=3, max_size=3),
    body=st.binary(),
    secret=st.sampled_from([TEXT, ENCODED, "", "not base64!", "é"]),
)
def test_whatever_arrives_is_refused_as_a_signature_and_never_otherwise(
    name: str, values: list[str], body: bytes, secret: str
) -> None:
    scheme = PRESETS[name]
    names = (scheme.signature_header, scheme.timestamp_header, scheme.id_header)

    with pytest.raises(SignatureRefused):
        verify(scheme, dict(zip(names, values, strict=True)), body, [Secret("a", secret)], now=NOW, tolerance=300)


@given(body=st.binary(), name=st.sampled_from(sorted(PRESETS)), offset=st.integers(-300, 300))
def test_any_body_that_is_signed_verifies(body: bytes, name: str, offset: int) -> None:
    assert check(PRESETS[name], signed(PRESETS[name], body, NOW + offset), body) == "now"


# Schemes that a person puts together


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'hmac'.*vapi-hmac, standard-webhooks, body-hmac, bearer, vapi-secret"):
        choose("hmac")


@pytest.mark.parametrize(
    "overrides",
    [
        {"name": "mine"},
        {"header": "x"},
        {"prefix": 1},
        {"prefix": None},
        {"signature_header": ""},
        {"algorithm": "md5"},
        {"algorithm": "SHA256"},
        {"algorithm": ""},
        {"encoding": "utf-8"},
        {"encoding": ""},
        {"secret_encoding": "hex"},
        {"secret_encoding": ""},
        {"payload": ""},
        {"payload": "{timestamp}"},
        {"payload": "{timestamp}.{body}.{nonce}"},
        {"payload": "{timestamp}.{body}.{svix-id}"},
        {"payload": "{body}"},
        {"timestamp_header": ""},
        {"id_header": "x-id"},
    ],
)
def test_a_scheme_that_could_not_be_checked_does_not_start(overrides: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        choose("vapi-hmac", overrides)


def test_a_scheme_with_an_id_names_its_header() -> None:
    scheme = choose("vapi-hmac", {"payload": "{svix-id}.{timestamp}.{body}", "id_header": "X-Id"})

    assert check(scheme, signed(scheme)) == "now"
    assert reason(scheme, {**signed(scheme), "x-id": "msg_2"}) == "signature_mismatch"
    with pytest.raises(SettingsError, match="go together"):
        choose("vapi-hmac", {"payload": "{svix-id}.{timestamp}.{body}"})


@pytest.mark.parametrize("part", ["signature_header", "timestamp_header"])
def test_headers_may_be_written_in_any_case(part: str) -> None:
    scheme = choose("vapi-hmac", {part: "X-My-Header"})

    assert getattr(scheme, part) == "x-my-header"
    assert check(scheme, signed(scheme)) == "now"


def test_a_plain_scheme_needs_no_payload() -> None:
    scheme = choose("vapi-secret", {"signature_header": "X-Key", "prefix": "Key "})

    assert signed(scheme) == {"x-key": f"Key {TEXT}"}
    assert check(scheme, signed(scheme)) == "now"


# Twilio

URL = "https://voice.example.com/voice/inbound"
TOKEN = "0123456789abcdef0123456789abcdef"
FORM = [("CallSid", "CA" + "2" * 32), ("From", "+15005550006"), ("CallerName", "")]
BASE = [
    ("AccountSid", "AC" + "1" * 32),
    ("ApiVersion", "2010-04-01"),
    ("CallSid", "CA" + "2" * 32),
    ("CallStatus", "ringing"),
    ("Direction", "inbound"),
    ("From", "+15005550006"),
    ("To", "+15005550001"),
]
VOICE = "https://voice.example.com/twilio/voice"


class Fields(dict[str, list[str]]):
    """A form in the dialect that the official validator reads repeated values from."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]


@pytest.mark.parametrize(
    ("url", "pairs", "signature"),
    [
        (VOICE, BASE, "ysNm90/FDEHEEYUc0Abcce2pElo="),
        ("https://voice.example.com:8443/twilio/voice", BASE, "ysNm90/FDEHEEYUc0Abcce2pElo="),
        ("https://voice.example.com/twilio/voice#part", BASE, "ysNm90/FDEHEEYUc0Abcce2pElo="),
        ("https://user:word@voice.example.com:8443/twilio/voice", BASE, "ysNm90/FDEHEEYUc0Abcce2pElo="),
        ("http://voice.example.com:8080/twilio/voice", BASE, "K/42b6mLyoxskOY9f35j63Nqt9c="),
        (
            "https://voice.example.com/twilio/status?b=2&a=1%2F2&tenant=acme%20co",
            [*BASE, ("CallDuration", "42"), ("SequenceNumber", "3")],
            "SjlwJzlXsuK2NMEZt2caQP8W1Bc=",
        ),
        (
            VOICE,
            [*BASE, ("CallerName", "José Ñandú 日本"), ("FromCity", "MÜNCHEN")],
            "nRRGNfeQ/0NaDUCMVLYUFKa3PH0=",
        ),
        (VOICE, [*BASE, ("CalledCity", ""), ("CalledZip", "")], "q37Tpa1gfpP1bWFAVClYFayso9c="),
        (VOICE, [*BASE, ("Tag", "b"), ("Tag", "a"), ("Tag", "b")], "b7NpzJs9upB1zkZ2oNCAYge6oNQ="),
    ],
)
def test_twilio_known_answers(url: str, pairs: list[tuple[str, str]], signature: str) -> None:
    assert sign_twilio(url, pairs, TOKEN) == signature
    assert verify_twilio(url, pairs, signature, [Secret("now", TOKEN)]) == "now"


def test_twilio_gives_its_own_published_answer() -> None:
    pairs = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675310"),
        ("Digits", "1234"),
        ("From", "+14158675310"),
        ("To", "+18005551212"),
    ]

    assert sign_twilio("https://example.com/myapp.php?foo=1&bar=2", pairs, "12345") == "L/OH5YylLD5NRKLltdqwSvS0BnU="


WORDS = st.text(max_size=12)
PAIRS = st.lists(st.tuples(st.sampled_from("abAB_é"), WORDS | st.just("")), max_size=8)
HOSTS = st.sampled_from(["h", "voice.example.com", "xn--mnchen-3ya.example"])
QUERIES = st.sampled_from(["", "?a=1", "?a=1%2F2&b=&a=3", "?q=%C3%A9"])


@given(pairs=PAIRS, host=HOSTS, query=QUERIES, token=st.text(min_size=1, max_size=40))
def test_twilio_agrees_with_the_official_library_on_any_form(
    pairs: list[tuple[str, str]], host: str, query: str, token: str
) -> None:
    url = f"https://{host}/voice/inbound{query}"
    official = RequestValidator(token)

    signature = sign_twilio(url, pairs, token)

    assert signature == official.compute_signature(url, Fields(pairs))
    assert official.validate(url, Fields(pairs), signature)


@given(pairs=PAIRS, port=st.integers(1, 65535), scheme=st.sampled_from(["http", "https"]))
def test_twilio_agrees_with_the_official_library_on_any_port(
    pairs: list[tuple[str, str]], port: int, scheme: str
) -> None:
    url = f"{scheme}://voice.example.com:{port}/voice/inbound"
    official = RequestValidator(TOKEN)

    signature = sign_twilio(url, pairs, TOKEN)

    assert official.validate(url, Fields(pairs), signature)
    if scheme == "http":
        assert signature == official.compute_signature(url, Fields(pairs))


def test_twilio_reads_ports_and_users_where_the_official_library_does_not() -> None:
    # The official one cuts the host at the first colon, so it accepts none of these.
    expected = sign_twilio("https://[2001:db8::1]/v", FORM, TOKEN)

    assert expected == RequestValidator(TOKEN).compute_signature("https://[2001:db8::1]/v", Fields(FORM))
    assert sign_twilio("https://[2001:db8::1]:8443/v", FORM, TOKEN) == expected
    assert sign_twilio("https://user:word@[2001:db8::1]:8443/v", FORM, TOKEN) == expected
    assert sign_twilio("https://a@b@voice.example.com/v", FORM, TOKEN) == sign_twilio(
        "https://voice.example.com/v", FORM, TOKEN
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://voice.example.com/voice/inbound",
        "https://voice.example.com/voice/inbound/",
        "https://voice.example.com/prod/voice/inbound",
        "https://voice.example.com/voice/inbound?a=1",
        "https://Voice.example.com/voice/inbound",
        "https://voice.example.org/voice/inbound",
    ],
)
def test_twilio_signs_one_exact_url(url: str) -> None:
    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify_twilio(url, FORM, sign_twilio(URL, FORM, TOKEN), [Secret("now", TOKEN)])


def test_twilio_fields_that_are_dropped_added_or_changed_do_not_verify() -> None:
    signature = sign_twilio(URL, FORM, TOKEN)

    for pairs in (FORM[:2], FORM[1:], [*FORM, ("Digits", "1")], [FORM[0], ("From", "+15005550007"), FORM[2]]):
        with pytest.raises(SignatureRefused, match="signature_mismatch"):
            verify_twilio(URL, pairs, signature, [Secret("now", TOKEN)])


def test_twilio_every_flipped_bit_is_refused() -> None:
    pairs = [("CallSid", "CA22"), ("From", "1500"), ("To", "1501")]
    form, token = urlencode(pairs).encode(), [Secret("now", TOKEN)]
    signature = sign_twilio(URL, pairs, TOKEN)
    assert verify_twilio(URL, parse_form(form), signature, token) == "now"

    for position in range(len(form) * 8):
        changed = flipped(form, position)
        with pytest.raises((SignatureRefused, ValueError)):
            verify_twilio(URL, parse_form(changed), signature, token)
    for position in range(len(signature) * 8):
        with pytest.raises(SignatureRefused):
            verify_twilio(URL, pairs, flipped(signature.encode(), position).decode("latin-1"), token)
    host, path = URL[:-14], URL[-14:]
    for position in range(len(path) * 8):
        with pytest.raises(SignatureRefused):
            verify_twilio(host + flipped(path.encode(), position).decode("latin-1"), pairs, signature, token)


@pytest.mark.parametrize(
    "signature",
    ["é", "A" * 28, "A" * 27, "A" * 26 + "==", "A" * 27 + "=\n", " " + "A" * 27 + "=", "A" * 43 + "=", "-" * 27 + "="],
)
def test_a_twilio_signature_has_one_exact_form(signature: str) -> None:
    with pytest.raises(SignatureRefused, match="signature_malformed"):
        verify_twilio(URL, FORM, signature, [Secret("now", TOKEN)])


def test_a_twilio_signature_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(SignatureRefused, match="signature_missing"):
        verify_twilio(URL, FORM, "", [Secret("now", TOKEN)])


@pytest.mark.parametrize("tokens", [[], [Secret("empty", "")]])
def test_without_a_twilio_token_everything_is_refused(tokens: list[Secret]) -> None:
    with pytest.raises(SignatureRefused, match="no_secret"):
        verify_twilio(URL, FORM, sign_twilio(URL, FORM, ""), tokens)


def test_an_empty_twilio_token_beside_a_good_one_is_passed_over() -> None:
    with pytest.raises(SignatureRefused, match="signature_mismatch"):
        verify_twilio(URL, FORM, sign_twilio(URL, FORM, ""), [Secret("empty", ""), Secret("now", TOKEN)])


def test_during_a_rotation_both_twilio_tokens_are_valid() -> None:
    tokens = [Secret("primary", TOKEN), Secret("secondary", TOKEN[::-1])]

    for token in tokens:
        assert verify_twilio(URL, iter(FORM), sign_twilio(URL, FORM, token.value), tokens) == token.id


@given(url=st.text() | st.just(URL), pairs=PAIRS, signature=st.text() | st.just("A" * 27 + "="))
def test_whatever_twilio_seems_to_send_is_refused_as_a_signature_and_never_otherwise(
    url: str, pairs: list[tuple[str, str]], signature: str
) -> None:
    with pytest.raises(SignatureRefused):
        verify_twilio(url, pairs, signature, [Secret("now", TOKEN)])


@pytest.mark.parametrize("url", ["https://[::1/voice", "https://h/\ud800", "https://h]/", "https://\uff0f.example/"])
def test_a_url_that_cannot_be_read_is_refused_as_a_signature(url: str) -> None:
    with pytest.raises(SignatureRefused):
        verify_twilio(url, FORM, "A" * 27 + "=", [Secret("now", TOKEN)])


# Forms


def test_a_form_keeps_blank_and_repeated_values_in_order() -> None:
    body = b"From=%2B1500&CalledCity=&Tag=b&Tag=a&Name=Jos%C3%A9+%26+Co&Flag"

    assert parse_form(body) == [
        ("From", "+1500"),
        ("CalledCity", ""),
        ("Tag", "b"),
        ("Tag", "a"),
        ("Name", "José & Co"),
        ("Flag", ""),
    ]


def test_an_empty_form_has_no_fields() -> None:
    assert parse_form(b"") == []


@pytest.mark.parametrize("body", [b"a=\xff", "a=é".encode(), b"a=%FF", b"a=%ED%A0%80"])
def test_a_form_that_is_not_ascii_around_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="codec"):
        parse_form(body)


def test_a_form_has_at_most_two_hundred_fields() -> None:
    assert len(parse_form(b"&".join([b"a=1"] * MAX_FORM_FIELDS))) == 200
    with pytest.raises(ValueError, match="fields"):
        parse_form(b"&".join([b"a=1"] * (MAX_FORM_FIELDS + 1)))


@given(pairs=st.lists(st.tuples(WORDS.filter(bool), WORDS)))
def test_any_form_reads_back_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    assert parse_form(urlencode(pairs).encode()) == pairs
