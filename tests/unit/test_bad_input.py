"""Bad requests at both doors: the right 4xx, a constant body, no handler entered, nothing written, the next one served."""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from switchboard import line, phone, signatures, webhook
from switchboard.desk import Agent, Caller, Desk
from switchboard.errors import SignatureRefused, Unavailable
from switchboard.gateway import MAX_BODY
from switchboard.messages import Assistant, Message
from switchboard.phone import Exchange, answer_call
from switchboard.settings import Settings
from switchboard.signatures import Secret
from switchboard.telemetry import Count
from switchboard.tools import Toolbox
from tests.conftest import ENVIRONMENT, NOW

SECRET = "the-secret-of-this-test"
BASE_URL = "https://voice.example.com"
CALL = {"id": "c-1", "orgId": "org-1", "assistantId": "asst-1"}
HANG = {"message": {"type": "hang", "call": CALL}}
SID = "CA" + "1" * 32
FORM = {"CallSid": SID, "AccountSid": "AC" + "2" * 32, "From": "+15550100001", "To": "+15550100002", "CallerName": ""}


class Spy:
    """Stands in for everything behind the doors: it notes what was touched, and does nothing."""

    def __init__(self, touched: list[str], name: str) -> None:
        self._touched = touched
        self._name = name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def touch(*_args: Any, **_fields: Any) -> Any:
            self._touched.append(f"{self._name}.{name}")
            return {}

        return touch


class Keys:
    """Secrets without SSM."""

    def __init__(self) -> None:
        self.down = False
        self.asked = 0

    def active(self, _name: str) -> list[Secret]:
        self.asked += 1
        if self.down:
            raise Unavailable("secrets: down")
        return [Secret("now", SECRET)]

    def first(self, _name: str) -> str:
        return SECRET

    def text(self, _name: str) -> str:
        self.asked += 1
        return BASE_URL + "/"

    def checked(self, check: Callable[[], str]) -> str:
        return check()


class Doors(NamedTuple):
    """Both doors, and what was touched behind them."""

    desk: Desk
    exchange: Exchange
    keys: Keys
    touched: list[str]

    def webhook(self, event: dict[str, Any]) -> dict[str, Any]:
        return webhook.respond(self.desk, event)

    def phone(self, event: dict[str, Any]) -> dict[str, Any]:
        return answer_call(self.exchange, event)


def doors(**changes: str) -> Doors:
    touched: list[str] = []
    keys = Keys()
    settings = Settings.from_env({**ENVIRONMENT, **changes})
    store, queue, vapi = (Spy(touched, name) for name in ("store", "queue", "vapi"))

    def assistant(_caller: Caller) -> Assistant:
        touched.append("agent.assistant")
        return Assistant(id="asst-1")

    def destination(_message: Message) -> None:
        touched.append("agent.destination")

    agent = Agent(Toolbox(), assistant, destination)
    parts: Any = (store, queue, vapi, keys)
    store, queue, vapi, secrets = parts
    return Doors(
        Desk(settings, secrets, store, queue, queue, agent, lambda: NOW),
        Exchange(settings, secrets, store, queue, vapi, agent, lambda: NOW),
        keys,
        touched,
    )


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Doors:
    """Both doors of a stack with the template's defaults; a handler that is entered leaves a trace."""
    made = doors()

    def entered(_desk: Desk, message: Message) -> dict[str, Any]:
        made.touched.append(f"handler.{message.type}")
        return {}

    for kind in webhook.HANDLERS:
        monkeypatch.setitem(webhook.HANDLERS, kind, entered)
    return made


def signed(body: bytes, timestamp: int = int(NOW)) -> dict[str, str]:
    return signatures.sign(signatures.PRESETS["vapi-hmac"], body, SECRET, timestamp=timestamp)


def vapi_event(body: bytes, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """A webhook, by default signed over these very bytes."""
    return {
        "rawPath": "/webhook/vapi",
        "headers": {"content-type": "application/json", **(signed(body) if headers is None else headers)},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
        **fields,
    }


def twilio_event(form: Any = FORM, signature: str | None = None, **fields: Any) -> dict[str, Any]:
    """A phone request, by default signed over these very fields."""
    pairs = list(form.items()) if isinstance(form, dict) else form
    url = BASE_URL + "/voice/inbound"
    made = signatures.sign_twilio(url, pairs, SECRET) if signature is None else signature
    return {
        "rawPath": "/voice/inbound",
        "rawQueryString": "",
        "headers": {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": made},
        "body": base64.b64encode(urlencode(pairs).encode()).decode(),
        "isBase64Encoded": True,
        **fields,
    }


WORDS = {
    400: '{"error":"bad request"}',
    401: '{"error":"unauthorized"}',
    403: '{"error":"forbidden"}',
    413: '{"error":"too large"}',
    503: '{"error":"unavailable, try again"}',
}


def refused(answer: dict[str, Any], status: int) -> bool:
    """Whether an answer is the constant one of that status, and nothing besides."""
    constant = {"statusCode": status, "headers": {"content-type": "application/json"}, "body": WORDS[status]}
    return answer == constant


def nested(levels: int) -> bytes:
    return b'{"message":{"type":"hang","x":' + b"[" * levels + b"]" * levels + b"}}"


# The webhook


def test_a_good_webhook_is_taken_in(house: Doors) -> None:
    answer = house.webhook(vapi_event(json.dumps(HANG).encode()))

    assert (answer["statusCode"], answer["body"]) == (200, "{}")
    assert house.touched == ["handler.hang"]


BODIES = [
    pytest.param(b"", 400, id="empty"),
    pytest.param(b" \n", 400, id="blank"),
    pytest.param(b"[]", 400, id="top-level array"),
    pytest.param(b'[{"message":{"type":"hang"}}]', 400, id="message in an array"),
    pytest.param(b"null", 400, id="null"),
    pytest.param(b"{}", 400, id="no message"),
    pytest.param(b'{"message":"hang"}', 400, id="message is a text"),
    pytest.param(b'{"message":{}}', 400, id="no type"),
    pytest.param(b'{"message":{"type":["hang"]}}', 400, id="type is a list"),
    pytest.param(b'{"message":{"type":"hang"}', 400, id="cut off"),
    pytest.param(b'{"message":{"type":"hang"}} trailing', 400, id="more behind it"),
    pytest.param(b'{"message":{"type":"ha\xffng"}}', 400, id="not UTF-8"),
    pytest.param(b'{"message":{"type":"\xed\xa0\x80"}}', 400, id="half a pair as UTF-8"),
    pytest.param(json.dumps(HANG).encode("utf-16"), 400, id="UTF-16"),
    pytest.param(b"\xef\xbb\xbf" + json.dumps(HANG).encode(), 400, id="byte order mark"),
    pytest.param(b"\x1f\x8b\x08\x00" + bytes(20), 400, id="compressed"),
    pytest.param(b'{"message":{"type":"hang","x":NaN}}', 400, id="NaN"),
    pytest.param(b'{"message":{"type":"hang","x":-Infinity}}', 400, id="infinity"),
    pytest.param(b'{"message":{"type":"hang","x":1e999}}', 400, id="too large a number"),
    pytest.param(b'{"message":{"type":"hang","x":' + b"9" * 39 + b"}}", 400, id="too long a number"),
    pytest.param(b'{"message":{"type":"hang","type":"tool-calls"}}', 400, id="repeated key"),
    pytest.param(b'{"message":{"type":"hang"},"message":{"type":"hang"}}', 400, id="repeated envelope"),
    pytest.param(nested(63), 400, id="deep"),
    pytest.param(nested(100_000), 400, id="very deep"),
    pytest.param(b"[" * 5_000_000, 400, id="five megabytes of brackets"),
    pytest.param(b"x" * (MAX_BODY + 1), 413, id="oversized"),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_a_signed_body_that_is_no_message_is_refused(house: Doors, body: bytes, status: int) -> None:
    assert refused(house.webhook(vapi_event(body)), status)
    assert house.touched == []

    # The next request is served.
    assert house.webhook(vapi_event(json.dumps(HANG).encode()))["statusCode"] == 200


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_nothing_of_an_unsigned_body_is_read(
    house: Doors, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int
) -> None:
    def read(_body: bytes) -> Message:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr("switchboard.messages.read", read)
    headers = signed(b"another body")

    assert refused(house.webhook(vapi_event(body, headers)), 413 if status == 413 else 401)
    assert refused(house.webhook(vapi_event(body, {})), 413 if status == 413 else 401)
    assert house.touched == []


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {},
        lambda headers: {"x-signature": headers["x-signature"]},
        lambda headers: {"x-timestamp": headers["x-timestamp"]},
        lambda headers: {**headers, "x-signature": ""},
        lambda headers: {**headers, "x-timestamp": ""},
        lambda headers: {**headers, "X-Signature": headers["x-signature"]},
        lambda headers: {**headers, "X-Timestamp": headers["x-timestamp"]},
        lambda headers: {**headers, "x-signature": f"{headers['x-signature']},{headers['x-signature']}"},
        lambda headers: {**headers, "x-signature": "é"},
        lambda headers: {**headers, "x-signature": "0" * 64},
        lambda headers: {**headers, "x-signature": headers["x-signature"].upper()},
        lambda headers: {**headers, "x-timestamp": f"+{headers['x-timestamp']}"},
        lambda headers: {**headers, "x-timestamp": "9" * 400},
        lambda headers: {**headers, "x-timestamp": str(int(headers["x-timestamp"]) + 1)},
        lambda headers: signed(json.dumps(HANG).encode(), int(NOW) - 301),
        lambda headers: signed(json.dumps(HANG).encode(), int(NOW) + 301),
        lambda headers: {"x-vapi-secret": SECRET, "authorization": f"Bearer {SECRET}"},
    ],
)
def test_missing_doubled_and_wrong_headers_are_unauthorized(house: Doors, change: Any) -> None:
    body = json.dumps(HANG).encode()

    assert refused(house.webhook(vapi_event(body, change(signed(body)))), 401)
    assert house.touched == []
    assert house.webhook(vapi_event(body))["statusCode"] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-signature": "0" * 64},
        {"x-signature": "é", "x-timestamp": str(int(NOW))},
        {"x-signature": "0" * 64, "x-timestamp": "soon"},
        signed(b"", int(NOW) - 301),
        signed(b"", int(NOW) + 301),
    ],
)
def test_what_no_secret_could_prove_is_refused_without_asking_for_one(house: Doors, headers: dict[str, str]) -> None:
    assert refused(house.webhook(vapi_event(b"", headers)), 401)
    assert house.keys.asked == 0


def test_a_refusal_is_counted_with_its_reason(house: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[Count, str]] = []

    def note(what: Count, reason: str = "") -> None:
        counted.append((what, reason))

    for module in (webhook, line, phone):
        monkeypatch.setattr(module, "count", note)

    house.webhook(vapi_event(b"", signed(b"another body")))
    house.webhook(vapi_event(b"[]"))
    house.webhook(vapi_event(b'{"message":{"type":"assistant.dreamt"}}'))
    house.phone(twilio_event(signature="A" * 27 + "="))
    house.phone(twilio_event({**FORM, "CallSid": ""}))
    house.keys.down = True
    house.webhook(vapi_event(b"{}"))
    house.phone(twilio_event())

    assert [entry for entry in counted if entry != (Count.WEBHOOK_RECEIVED, "")] == [
        (Count.SIGNATURE_REFUSED, "signature_mismatch"),
        (Count.MESSAGE_REFUSED, "no_message"),
        (Count.MESSAGE_IGNORED, ""),
        (Count.SIGNATURE_REFUSED, "signature_mismatch"),
        (Count.MESSAGE_REFUSED, "fields"),
        (Count.UNAVAILABLE, ""),
        (Count.INBOUND_LADDER, "unavailable"),
        (Count.INBOUND_APOLOGY, "unavailable"),
    ]
    assert counted.count((Count.WEBHOOK_RECEIVED, "")) == 7


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "é", "image/png"]
)
def test_a_content_type_decides_nothing(house: Doors, kind: str) -> None:
    body = json.dumps(HANG).encode()

    assert house.webhook(vapi_event(body, {**signed(body), "content-type": kind}))["statusCode"] == 200
    assert refused(house.webhook(vapi_event(b"a=1", {**signed(b"a=1"), "content-type": kind})), 400)


@pytest.mark.parametrize("body", ["e30", "e30=\n", "{}", "é"])
def test_a_webhook_in_broken_base64_is_refused(house: Doors, body: str) -> None:
    assert refused(house.webhook(vapi_event(b"") | {"body": body}), 400)
    assert house.touched == []


@pytest.mark.parametrize("event", [{}, {"headers": None, "body": None}, {"body": "{}"}, {"requestContext": None}])
def test_an_event_without_a_request_is_unauthorized(house: Doors, event: dict[str, Any]) -> None:
    assert refused(house.webhook(event), 401)
    assert house.touched == []


@pytest.mark.parametrize(
    ("setting", "call", "status"),
    [
        ("ALLOWED_ORG_IDS", CALL, 200),
        ("ALLOWED_ORG_IDS", {**CALL, "orgId": "org-2"}, 403),
        ("ALLOWED_ORG_IDS", {"id": "c-1"}, 403),
        ("ALLOWED_ASSISTANT_IDS", CALL, 200),
        ("ALLOWED_ASSISTANT_IDS", {**CALL, "assistantId": "asst-2"}, 403),
        # A transient assistant has no id.
        ("ALLOWED_ASSISTANT_IDS", {**CALL, "assistantId": None}, 200),
    ],
)
def test_only_listed_organisations_and_assistants_are_served(setting: str, call: dict[str, Any], status: int) -> None:
    house = doors(ALLOWED_ORG_IDS="org-1") if setting == "ALLOWED_ORG_IDS" else doors(ALLOWED_ASSISTANT_IDS="asst-1")
    body = json.dumps(
        {"message": {"type": "speech-update", "role": "user", "status": "started", "call": call}}
    ).encode()

    answer = house.webhook(vapi_event(body))

    assert answer["statusCode"] == status
    assert (house.touched == []) is (status == 403)
    assert status == 200 or refused(answer, 403)


@pytest.mark.parametrize(
    "kind",
    [
        "status-update",
        "end-of-call-report",
        "speech-update",
        "user-interrupted",
        "transcript",
        'transcript[transcriptType="final"]',
    ],
)
@pytest.mark.parametrize("call", [None, {}, {"id": ""}, {"id": "a#b"}, {"id": 5}, []])
def test_a_message_about_no_call_is_acknowledged_and_stored_nowhere(house: Doors, kind: str, call: Any) -> None:
    body = json.dumps({"message": {"type": kind, "call": call}}).encode()

    answer = house.webhook(vapi_event(body))

    assert (answer["statusCode"], answer["body"]) == (200, "{}")
    assert house.touched == []


@pytest.mark.parametrize("kind", ["conversation-update", "model-output", "assistant.dreamt", "TOOL-CALLS"])
def test_a_message_that_nobody_handles_is_acknowledged(house: Doors, kind: str) -> None:
    answer = house.webhook(vapi_event(json.dumps({"message": {"type": kind, "call": CALL}}).encode()))

    assert (answer["statusCode"], answer["body"]) == (200, "{}")
    assert house.touched == []


def test_a_message_that_needs_no_call_is_handled_without_one(house: Doors) -> None:
    house.webhook(vapi_event(b'{"message":{"type":"hang"}}'))

    assert house.touched == ["handler.hang"]


def test_every_kind_of_final_transcript_is_a_transcript(house: Doors) -> None:
    kind = 'transcript[transcriptType="final"]'
    house.webhook(vapi_event(json.dumps({"message": {"type": kind, "call": CALL}}).encode()))

    assert house.touched == [f"handler.{kind}"]


def test_without_secrets_nothing_is_believed_and_vapi_may_try_again(house: Doors) -> None:
    house.keys.down = True

    assert refused(house.webhook(vapi_event(json.dumps(HANG).encode())), 503)
    assert house.touched == []


def test_nothing_that_was_sent_is_said_or_logged(house: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    mark = "a-very-private-mark"
    for body in (mark.encode(), f'{{"message":"{mark}"}}'.encode(), f'{{"{mark}":{{}}}}'.encode()):
        assert mark not in str(house.webhook(vapi_event(body)))
        assert mark not in str(house.webhook(vapi_event(body, {"x-signature": mark, "x-timestamp": mark})))
    form = {**FORM, "From": mark}
    assert mark not in str(house.phone(twilio_event(form, signature=mark)))

    written = capsys.readouterr()
    assert mark not in written.out + written.err


# The phone


def test_a_good_phone_request_is_taken_in(house: Doors) -> None:
    answer = house.phone(twilio_event())

    assert answer["statusCode"] == 200
    assert house.touched[0].startswith("store.")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        pytest.param({}, 403, id="nothing"),
        pytest.param(twilio_event(signature=""), 403, id="no signature"),
        pytest.param(twilio_event(signature="é"), 403, id="signature not ASCII"),
        pytest.param(twilio_event(signature="A" * 27 + "="), 403, id="another signature"),
        pytest.param(twilio_event(body=None), 403, id="no body"),
        pytest.param(twilio_event(body="", isBase64Encoded=False), 403, id="empty body"),
        pytest.param(twilio_event(body="YQ"), 403, id="broken base64"),
        pytest.param(twilio_event(body="/w=="), 403, id="not ASCII"),
        pytest.param(twilio_event(body="a=%FF", isBase64Encoded=False), 403, id="not UTF-8"),
        pytest.param(twilio_event(body="\ud800", isBase64Encoded=False), 403, id="not text"),
        pytest.param(twilio_event(body=json.dumps(FORM), isBase64Encoded=False), 403, id="JSON"),
        pytest.param(twilio_event(body="a=1&" * 201, isBase64Encoded=False), 403, id="too many fields"),
        pytest.param(twilio_event(body="x" * (MAX_BODY + 1), isBase64Encoded=False), 413, id="oversized"),
        pytest.param(twilio_event(rawPath="/voice/status"), 403, id="another path"),
        pytest.param(twilio_event(rawPath="/prod/voice/inbound"), 403, id="a stage in the path"),
        pytest.param(twilio_event(rawPath=""), 403, id="no path"),
        pytest.param(twilio_event(rawPath="["), 403, id="a path that is no path"),
        pytest.param(twilio_event(rawQueryString="a=1"), 403, id="a query"),
        pytest.param(twilio_event(rawQueryString="\ud800"), 403, id="a query that is no text"),
    ],
)
def test_what_twilio_did_not_sign_is_forbidden(house: Doors, event: dict[str, Any], status: int) -> None:
    assert refused(house.phone(event), status)
    assert house.touched == []

    # The next request is served.
    assert house.phone(twilio_event())["statusCode"] == 200


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({key: value for key, value in FORM.items() if key != "CallSid"}, id="no CallSid"),
        pytest.param({**FORM, "CallSid": ""}, id="empty CallSid"),
        pytest.param({**FORM, "CallSid": SID.upper().replace("1", "A")}, id="CallSid in capitals"),
        pytest.param({**FORM, "CallSid": SID + "\n"}, id="CallSid with a line break"),
        pytest.param({**FORM, "CallSid": SID + "From+15550100001"}, id="shifted boundary"),
        pytest.param([*FORM.items(), ("CallSid", SID[:-1] + "2")], id="two CallSids"),
        pytest.param([*FORM.items(), ("From", "+15550100009")], id="two numbers"),
    ],
)
def test_signed_fields_of_another_shape_are_forbidden(house: Doors, form: Any) -> None:
    assert refused(house.phone(twilio_event(form)), 403)
    assert house.touched == []


@pytest.mark.parametrize(("account", "status"), [("AC" + "2" * 32, 200), ("AC" + "3" * 32, 403), (None, 403)])
def test_only_listed_accounts_may_call(account: str | None, status: int) -> None:
    house = doors(TWILIO_ACCOUNT_SIDS="AC" + "2" * 32)
    form = {name: value for name, value in {**FORM, "AccountSid": account}.items() if value is not None}

    answer = house.phone(twilio_event(form))

    assert answer["statusCode"] == status
    assert (house.touched == []) is (status == 403)


@pytest.mark.parametrize("signature", ["", "é", "A" * 28])
def test_what_no_token_could_prove_is_forbidden_without_asking_for_one(house: Doors, signature: str) -> None:
    assert refused(house.phone(twilio_event(signature=signature)), 403)
    assert house.keys.asked == 0


def test_a_doubled_signature_header_is_forbidden(house: Doors) -> None:
    event = twilio_event()
    signature = event["headers"]["x-twilio-signature"]
    event["headers"]["X-Twilio-Signature"] = signature

    assert refused(house.phone(event), 403)
    assert house.touched == []


@pytest.mark.parametrize("host", ["evil.example", "voice.example.com:8443", ""])
def test_the_host_header_decides_nothing(house: Doors, host: str) -> None:
    event = twilio_event()
    event["headers"] |= {"host": host, "x-forwarded-host": host, "x-forwarded-proto": "http"}

    assert house.phone(event)["statusCode"] == 200


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain"])
def test_a_content_type_decides_nothing_at_the_phone(house: Doors, kind: str) -> None:
    event = twilio_event()
    event["headers"]["content-type"] = kind

    assert house.phone(event)["statusCode"] == 200


def test_a_plain_form_is_as_good_as_one_in_base64(house: Doors) -> None:
    assert house.phone(twilio_event(body=urlencode(FORM), isBase64Encoded=False))["statusCode"] == 200


def test_a_query_is_part_of_what_is_signed(house: Doors) -> None:
    signature = signatures.sign_twilio(f"{BASE_URL}/voice/inbound?a=1&b=", list(FORM.items()), SECRET)

    assert house.phone(twilio_event(signature=signature, rawQueryString="a=1&b="))["statusCode"] == 200
    assert refused(house.phone(twilio_event(signature=signature)), 403)


def test_without_secrets_a_caller_hears_the_apology(house: Doors) -> None:
    house.keys.down = True

    answer = house.phone(twilio_event())

    assert answer["statusCode"] == 200
    assert ENVIRONMENT["APOLOGY"] in answer["body"]
    assert house.touched == []


def test_the_stub_of_the_secrets_is_as_strict_as_the_real_ones(house: Doors) -> None:
    with pytest.raises(SignatureRefused):
        house.keys.checked(lambda: signatures.verify_twilio(BASE_URL, [], "", house.keys.active("any")))
