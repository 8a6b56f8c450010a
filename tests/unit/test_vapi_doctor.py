"""The doctor on Vapi's signatures: every mistake, made with the real signer, is recognised, and nothing is given away."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from devkit.captured import Captured
from devkit.diagnosis import Diagnosis, Expected, Stored, age
from devkit.suppositions import body_forms
from devkit.vapi_doctor import examine
from devkit.vapi_mistakes import MISTAKES
from switchboard import signatures
from switchboard.signatures import PRESETS, Scheme
from tests.conftest import NOW

KEY = base64.b64encode(bytes(range(24))).decode()  # good as text and as base64
OTHER = base64.b64encode(bytes(range(24, 48))).decode()
MESSAGE = {"message": {"type": "hang", "note": "Zoë said 1/2", "call": {"id": "c-1", "orgId": "org-1"}}}
BODY = json.dumps(MESSAGE, separators=(",", ":"), ensure_ascii=False).encode()


def expected(*stored: Stored | str, scheme: str | Scheme = "vapi-hmac", **parts: Any) -> Expected:
    """A stack that checks with these secrets, told by their values, as they arrive at NOW."""
    known = tuple(Stored(f"id-{n}", one) if isinstance(one, str) else one for n, one in enumerate(stored or (KEY,)))
    chosen = PRESETS[scheme] if isinstance(scheme, str) else scheme
    return Expected(chosen, 300, NOW, arrival_known=True, secrets=known)._replace(**parts)


def signed(
    secret: str = KEY, body: bytes = BODY, scheme: str = "vapi-hmac", at: float = NOW, **parts: str
) -> dict[str, str]:
    """The headers of a sender whose scheme is a preset, perhaps with other parts."""
    sender = PRESETS[scheme]._replace(**parts)
    return signatures.sign(sender, body, secret, timestamp=int(at), message_id="msg_1")


def request(headers: Mapping[str, str] | list[tuple[str, str]], body: bytes = BODY) -> Captured:
    """What was captured."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Captured("POST", "/webhook/vapi", "", tuple(pairs), body)


def changed(headers: Mapping[str, str], **values: str) -> dict[str, str]:
    """Headers with other values; a name is written with _ for -."""
    return {**headers, **{name.replace("_", "-"): value for name, value in values.items()}}


def renamed(headers: Mapping[str, str], **names: str) -> dict[str, str]:
    """Headers under other names."""
    old = {before.replace("_", "-"): after for before, after in names.items()}
    return {old.get(name, name): value for name, value in headers.items()}


def stamped(text: str) -> dict[str, str]:
    """Headers whose time is written, and signed, in a way of the sender's own."""
    sender = PRESETS["vapi-hmac"]._replace(payload=f"{text}.{{body}}", timestamp_header="")
    return {**signatures.sign(sender, BODY, KEY, timestamp=0), "x-timestamp": text}


GOOD = signed()
SIGNATURE = GOOD["x-signature"]
HEX = bytes(range(32)).hex()
STANDARD = "standard-webhooks"
TEXT = "no base64 in here: at all"
PREFIXED = PRESETS["vapi-hmac"]._replace(prefix="sha256=")

# The row of the table (and what else it takes), the request, the stack.
CASES: list[tuple[tuple[str, ...], Captured, Expected]] = [
    # The secret
    (("secret_space",), request(GOOD), expected(f"{KEY}\n")),
    (("secret_space",), request(GOOD), expected(f" {KEY} ")),
    (("secret_space_sent",), request(signed(f"{KEY}\n")), expected()),
    (("secret_space_sent",), request(signed(f"{KEY}\r\n")), expected()),
    (("secret_space_sent",), request(signed(f" {KEY}")), expected()),
    (("secret_quoted",), request(GOOD), expected(f'"{KEY}"')),
    (("whsec_left",), request(GOOD), expected(f"whsec_{KEY}")),
    (("whsec_missing",), request(signed(f"whsec_{KEY}")), expected()),
    (("secret_is_base64",), request(signed(secret_encoding="base64")), expected()),
    (("secret_is_base64",), request(signed(secret_encoding="base64")), expected(f"whsec_{KEY}")),
    (("secret_is_text",), request(signed(scheme=STANDARD, secret_encoding="utf-8")), expected(scheme=STANDARD)),
    (("secret_is_text",), request(signed(TEXT, scheme=STANDARD, secret_encoding="utf-8")), expected(TEXT, scheme=STANDARD)),
    (
        ("secret_is_hex",),
        request(signed(base64.b64encode(bytes.fromhex(HEX)).decode(), secret_encoding="base64")),
        expected(HEX),
    ),
    (("secret_not_base64",), request(signed(scheme=STANDARD)), expected(TEXT, scheme=STANDARD)),
    (("secret_in_header",), request({"x-signature": KEY, "x-timestamp": f"{NOW:.0f}"}), expected()),
    (("secret_ended",), request(signed(OTHER)), expected(KEY, Stored("old", OTHER, ended=True))),
    (("secret_of_parameter",), request(signed(OTHER)), expected(KEY, Stored("k", OTHER, where="vapi-api-key"))),
    (("secret_of_stack",), request(signed(OTHER)), expected(KEY, Stored("k", OTHER, where="the stack staging"))),
    (("no_secret",), request(GOOD), expected(secrets=())),
    (("all_ended",), request(GOOD), expected(Stored("old", KEY, ended=True))),
    (("unreadable",), request(GOOD), expected(secrets=(), unreadable=True)),
    (("wrong_secret",), request(GOOD), expected(OTHER)),
    (("wrong_secret",), request({"authorization": f"Bearer {KEY}"}), expected(OTHER, scheme="bearer")),
    # The headers
    (("header_missing",), request({"x-timestamp": GOOD["x-timestamp"]}), expected()),
    (("header_empty",), request({"x-vapi-secret": ""}), expected()),
    (("header_empty",), request({"x-signature": "", "x-timestamp": GOOD["x-timestamp"]}), expected()),
    (("header_empty",), request({"x-vapi-secret": ""}), expected(scheme="vapi-secret")),
    (("header_name",), request(renamed(GOOD, x_signature="x-acme-signature")), expected()),
    (("header_name_similar",), request(renamed(GOOD, x_signature="signature")), expected(OTHER)),
    (("header_name_similar",), request(renamed(GOOD, x_signature="x_signature")), expected(OTHER)),
    (("timestamp_header_name",), request(renamed(GOOD, x_timestamp="x-acme-time")), expected()),
    (
        ("svix_headers",),
        request(
            renamed(
                signed(scheme=STANDARD),
                webhook_signature="svix-signature",
                webhook_timestamp="svix-timestamp",
                webhook_id="svix-id",
            )
        ),
        expected(scheme=STANDARD),
    ),
    (("header_twice",), request([*GOOD.items(), ("x-signature", SIGNATURE)]), expected()),
    (("header_twice",), request(changed(GOOD, x_signature=f"{SIGNATURE}, {'0' * 64}")), expected()),
    (("header_twice",), request([*GOOD.items(), ("x-timestamp", GOOD["x-timestamp"])]), expected()),
    (("header_quoted",), request(changed(GOOD, x_signature=f'"{SIGNATURE}"')), expected()),
    (("other_preset",), request(signed(scheme="body-hmac")), expected()),
    (("other_preset",), request(signed(scheme=STANDARD)), expected()),
    (("other_preset",), request(signed(scheme="bearer")), expected()),
    (("other_preset",), request(GOOD), expected(scheme="bearer")),
    (("other_preset_only",), request(signed(scheme="body-hmac")), expected(OTHER)),
    (("x_vapi_secret",), request({"x-vapi-secret": KEY}), expected()),
    (("x_vapi_secret",), request({"x-vapi-secret": KEY}), expected(OTHER)),
    # The form of the signature
    (("prefix_missing",), request(GOOD), expected(scheme=PREFIXED)),
    (("prefix_missing",), request(signed(scheme=STANDARD, prefix="")), expected(scheme=STANDARD)),
    (("prefix_unexpected",), request(signed(prefix="sha256=")), expected()),
    (("prefix_unexpected",), request(signed(prefix="v1,")), expected()),
    (("prefix_missing", "prefix_unexpected"), request(signed(prefix="v1=")), expected(scheme=PREFIXED)),
    (("prefix_unexpected", "wrong_secret"), request(signed(prefix="sha256=")), expected(OTHER)),
    (("upper_case",), request(changed(GOOD, x_signature=SIGNATURE.upper())), expected()),
    (("prefix_unexpected", "upper_case"), request(changed(GOOD, x_signature=f"sha256={SIGNATURE.upper()}")), expected()),
    (
        ("base64_dialect",),
        request(changed(signed(scheme=STANDARD), webhook_signature=signed(scheme=STANDARD)["webhook-signature"].rstrip("="))),
        expected(scheme=STANDARD),
    ),
    (("encoding",), request(signed(encoding="base64")), expected()),
    (("encoding",), request(signed(scheme=STANDARD, encoding="hex")), expected(scheme=STANDARD)),
    (("encoding", "wrong_secret"), request(signed(encoding="base64")), expected(OTHER)),
    (("algorithm",), request(signed(algorithm="sha512")), expected()),
    (("algorithm",), request(signed(algorithm="sha1")), expected()),
    (("algorithm", "wrong_secret"), request(signed(algorithm="sha512")), expected(OTHER)),
    (("encoding", "algorithm"), request(signed(algorithm="sha512", encoding="base64")), expected()),
    (("malformed",), request(changed(GOOD, x_signature="hello")), expected()),
    (("upper_case", "wrong_secret"), request(changed(GOOD, x_signature=SIGNATURE.upper())), expected(OTHER)),
    (("header_quoted", "wrong_secret"), request(changed(GOOD, x_signature=f"'{SIGNATURE}'")), expected(OTHER)),
    (("header_twice", "wrong_secret"), request([*GOOD.items(), ("x-signature", SIGNATURE)]), expected(OTHER)),
    (("base64_dialect", "wrong_secret"), request(changed(signed(scheme=STANDARD), webhook_signature="v1," + "-" * 43)), expected(OTHER, scheme=STANDARD)),
    # What was signed
    (("timestamp_unsigned",), request(signed(payload="{body}")), expected()),
    (("timestamp_unsigned",), request(signed(payload="{body}", timestamp_header="")), expected()),
    (("timestamp_signed",), request(signed(signature_header="x-vapi-signature")), expected(scheme="body-hmac")),
    (("payload",), request(signed(payload="{timestamp}{body}")), expected()),
    (("payload",), request(signed(payload="v0:{timestamp}:{body}")), expected()),
    (("payload",), request(signed(scheme=STANDARD, payload="{timestamp}.{body}")), expected(scheme=STANDARD)),
    (("timestamp_unit",), request(changed(signed(at=NOW * 1000), x_timestamp=f"{NOW:.0f}")), expected()),
    (("timestamp_unit",), request(changed(signed(at=NOW * 1000 + 417), x_timestamp=f"{NOW:.0f}")), expected()),
    (("timestamp_unit",), request(changed(GOOD, x_timestamp=f"{NOW * 1000 + 417:.0f}")), expected()),
    (("timestamp_form",), request(stamped("2027-01-15T08:00:00Z")), expected()),
    (("timestamp_form",), request(stamped(f"{NOW:.0f}.123")), expected()),
    (("timestamp_form",), request(stamped(f"{NOW * 1_000_000:.0f}")), expected()),
    (("timestamp_missing",), request({"x-signature": SIGNATURE}), expected()),
    (("message_id",), request({k: v for k, v in signed(scheme=STANDARD).items() if k != "webhook-id"}), expected(scheme=STANDARD)),
    (("message_id",), request(changed(signed(scheme=STANDARD), webhook_id="msg 1")), expected(scheme=STANDARD)),
    (("body_reserialised",), request(GOOD, json.dumps(MESSAGE).encode()), expected()),
    (("body_reserialised",), request(GOOD, json.dumps(MESSAGE, indent=2, ensure_ascii=False).encode()), expected()),
    (("body_reserialised",), request(signed(body=json.dumps(MESSAGE, indent=4).encode())), expected()),
    (("body_reserialised",), request(signed(body=BODY.replace(b"/", rb"\/"))), expected()),
    (("body_reserialised",), request(signed(body=json.dumps(MESSAGE, sort_keys=True).encode())), expected()),
    (("body_line_end",), request(GOOD, BODY + b"\n"), expected()),
    (("body_line_end",), request(signed(body=BODY + b"\n")), expected()),
    (("body_line_end",), request(GOOD, b"\xef\xbb\xbf" + BODY), expected()),
    (("body_line_end",), request(signed(body=b"{\r\n}"), b"{\n}"), expected()),
    (("body_base64",), request(GOOD, base64.b64encode(BODY)), expected()),
    (("body_base64",), request(signed(body=base64.b64encode(BODY))), expected()),
    (("body_length",), request({**GOOD, "content-length": str(len(BODY))}, BODY[:-9]), expected()),
    # The time
    (("stale",), request(signed(at=NOW - 301)), expected()),
    (("future",), request(signed(at=(NOW + 301) * 1000)), expected()),
    # Two at once
    (("secret_space", "body_line_end"), request(GOOD, BODY + b"\n"), expected(f"{KEY} ")),
    (("other_preset", "prefix_unexpected"), request(signed(scheme="body-hmac", prefix="sha256=")), expected()),
    (("secret_ended", "encoding"), request(signed(OTHER, encoding="base64")), expected(KEY, Stored("o", OTHER, True))),
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
    require_harmless(found, captured, stack)


def require_harmless(found: Diagnosis, captured: Captured, stack: Expected) -> None:
    """One sentence, without secrets, signatures, words of the body."""
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence
    assert "{" not in found.sentence.replace('{"', "").replace("{body}", "").replace("{timestamp}", "").replace(
        "{svix-id}", ""
    )
    private = [one.value.strip() for one in stack.secrets] + [KEY, OTHER, "Zoë", "c-1", "org-1", SIGNATURE]
    private += [value for name, value in captured.headers if len(value) > 8 and name != "content-length"]
    assert not [one for one in private if one in found.sentence]


@pytest.mark.parametrize("scheme", PRESETS)
def test_a_good_request_of_any_scheme_verifies(scheme: str) -> None:
    found = examine(request(signed(scheme=scheme)), expected(scheme=scheme))

    assert found == Diagnosis(True, "The signature verifies, by the secret id-0.")


def test_the_secret_that_signed_is_named() -> None:
    assert "id-1" in examine(request(GOOD), expected(OTHER, KEY)).sentence


def test_a_standard_webhook_with_two_signatures_is_read_as_one() -> None:
    both = f"v1,{'A' * 43}= {signed(scheme=STANDARD)['webhook-signature']}"

    assert examine(
        request(changed(signed(scheme=STANDARD), webhook_signature=both)), expected(scheme=STANDARD)
    ).verified
    wrong = changed(signed(f"{KEY}\n", scheme=STANDARD, secret_encoding="utf-8"))
    wrong["webhook-signature"] = f"v1,{'A' * 43}= {wrong['webhook-signature']}"
    found = examine(request(wrong), expected(scheme=STANDARD))
    assert found.mistakes == ("secret_is_text", "secret_space_sent")


def test_the_age_of_an_old_capture_is_set_apart() -> None:
    old = request(signed(at=NOW - 9 * 86400))
    unknown = expected(arrival_known=False)

    found = examine(old, unknown)
    assert found.verified
    assert found.sentence.endswith("; its age was not judged.")
    assert examine(old, expected()).sentence.startswith(
        "The signature fails because the signed time, though right, lies 9 days before"
    )
    assert examine(old, expected(), judge_age=False).verified
    assert examine(request(signed(at=NOW + 301)), unknown).mistakes == ("future",)


@pytest.mark.parametrize(("seconds", "ok"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_age_is_judged_as_a_function_does(seconds: int, ok: bool) -> None:
    assert examine(request(signed(at=NOW - seconds)), expected()).verified is ok


@pytest.mark.parametrize(
    ("body", "parts", "reason"),
    [
        (b"no json", {}, "not_json"),
        (b"{}", {}, "no_message"),
        (BODY, {"org_ids": frozenset({"org-2"})}, "org_not_allowed"),
        (
            json.dumps({"message": {"type": "hang", "call": {"assistantId": "a-1"}}}).encode(),
            {"assistant_ids": frozenset({"a-2"})},
            "assistant_not_allowed",
        ),
    ],
)
def test_what_is_refused_although_it_is_signed_is_said(body: bytes, parts: dict[str, Any], reason: str) -> None:
    found = examine(request(signed(body=body), body), expected(**parts))

    assert found.mistakes == (reason,)
    assert found.sentence.startswith("The signature verifies, but the request is refused all the same, because ")
    assert "org-" not in found.sentence


def test_a_body_that_is_no_json_has_few_forms_and_none_is_the_body_itself() -> None:
    for body in (BODY, b"[" * 100_000, b"\xff\xfe", b"", b'"\\ud800"'):
        forms = list(body_forms(body))
        assert body not in [form for _, _, form in forms]
        assert len({form for _, _, form in forms}) == len(forms)


@pytest.mark.parametrize("value", ["\udc80" * 64, "é" * 64, "{body}" * 20, " ", "," * 50, "v1," * 9])
@pytest.mark.parametrize("scheme", PRESETS)
def test_whatever_is_in_the_headers_there_is_an_answer(scheme: str, value: str) -> None:
    mine = PRESETS[scheme]
    headers = dict.fromkeys(filter(None, (mine.signature_header, mine.timestamp_header, mine.id_header)), value)
    found = examine(request(headers), expected(scheme=scheme))

    assert not found.verified
    assert value not in found.sentence or len(value) < 2


def test_a_header_name_that_could_move_a_terminal_is_not_repeated() -> None:
    headers = renamed(GOOD, x_signature="x-\x1b[31m-signature-of-ours")

    assert "\x1b" not in examine(request(headers), expected()).sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(301, "301 seconds"), (-599, "599 seconds"), (600, "10 minutes"), (7200, "2 hours"), (-200_000, "2 days")],
)
def test_an_age_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert age(seconds) == words
