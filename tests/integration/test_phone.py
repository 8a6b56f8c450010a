"""The phone: a caller hears something whatever is down, a call is asked for once, and nothing unsigned does anything."""

import base64
import json
import time
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx
import pytest
from botocore.exceptions import ReadTimeoutError

from devkit import development
from switchboard import admission, callbacks, calls, legs, lookups, phone, signatures
from switchboard.desk import Agent, Caller
from switchboard.errors import Unavailable
from switchboard.messages import Assistant, Decision, Refusal, Transfer
from switchboard.queue import Ticket
from switchboard.store import Store
from switchboard.telemetry import Count
from switchboard.vapi import Vapi
from tests.integration.conftest import BASE_URL, CALL, CALL_SID, CALLER, CONTROL, House, Vapis
from tests.remote import mocked

TWIML = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Connect><Stream url="wss://x.vapi.ai/a"/></Connect></Response>'
)
FORM = {
    "AccountSid": development.TWILIO_ACCOUNT_SID,
    "CallSid": CALL_SID,
    "CallStatus": "ringing",
    "CalledCity": "",
    "Direction": "inbound",
    "From": CALLER,
    "To": "+15550100199",
}


def event(
    path: str = "/voice/inbound", token: str = development.TWILIO_AUTH_TOKEN, query: str = "", **changes: str
) -> dict[str, Any]:
    """A signed request as AWS hands it over: the form in base64."""
    form = {**FORM, **changes}
    url = f"{BASE_URL}{path}?{query}" if query else BASE_URL + path
    signature = signatures.sign_twilio(url, list(form.items()), token)
    return {
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "x-twilio-signature": signature,
            "host": "evil.example",
        },
        "body": base64.b64encode(urlencode(form).encode()).decode(),
        "isBase64Encoded": True,
    }


def created(**changes: Any) -> httpx.Response:
    """Vapi's answer to `POST /call`."""
    call = {"id": CALL, "monitor": {"controlUrl": CONTROL}, "phoneCallProviderDetails": {"twiml": TWIML}}
    return httpx.Response(201, json=call | changes)


@pytest.fixture
def vapis() -> Vapis:
    """A Vapi that makes the call."""
    made = Vapis()
    made.answer = created()
    return made


def heard(answer: dict[str, Any]) -> str:
    """What a caller hears of a document of ours."""
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"].startswith("text/xml")
    root = ElementTree.fromstring(answer["body"])  # noqa: S314 - our own document
    assert root.tag == "Response"
    return "".join(root.itertext())


def test_the_caller_is_connected_with_the_very_document_of_vapi(house: House, vapis: Vapis) -> None:
    answer = phone.answer_call(house.exchange, event())

    assert answer["body"] == TWIML
    [(url, request)] = vapis.requests
    assert url == "https://api.vapi.ai/call"
    assert request == {
        "phoneNumberId": development.PHONE_NUMBER_ID,
        "phoneCallProviderBypassEnabled": True,
        "customer": {"number": CALLER},
        "assistantId": development.ASSISTANT_ID,
        "assistantOverrides": {"variableValues": {"number": CALLER}, "metadata": {"callSid": CALL_SID}},
    }
    assert vapis.headers[0]["authorization"] == f"Bearer {development.VAPI_API_KEY}"


def test_the_leg_and_the_session_know_each_other(house: House) -> None:
    phone.answer_call(house.exchange, event())

    assert house.items(f"SID#{CALL_SID}")["META"]["call_id"] == CALL
    session = house.items(f"CALL#{CALL}")["META"]
    assert session["call_sid"] == CALL_SID
    assert session["control_host"].endswith(".vapi.ai")


def test_a_repeat_gets_the_stored_document_and_no_second_call(house: House, vapis: Vapis) -> None:
    answers = [phone.answer_call(house.exchange, event()) for _ in range(3)]

    assert [answer["body"] for answer in answers] == [TWIML] * 3
    assert len(vapis.requests) == 1


def step(answer: dict[str, Any]) -> str:
    """Which step of the ladder a document is."""
    heard(answer)
    verbs = " ".join(verb.tag for verb in ElementTree.fromstring(answer["body"]))  # noqa: S314 - our own document
    return {"Say Enqueue": "queue", "Say Dial": "human", "Say Hangup": "apology"}.get(verbs, "")


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("down"),
        httpx.Response(500, json={}),
        httpx.Response(400, json={"message": "Bad Request"}),
        httpx.Response(401, json={}),
        httpx.Response(201, content=b"<html>"),
        httpx.Response(201, json=[]),
        created(id=None),
        created(id="../../x"),
        created(phoneCallProviderDetails=None),
        created(phoneCallProviderDetails={"twiml": ""}),
    ],
    ids=str,
)
def test_when_vapi_fails_the_caller_hears_why_and_vapi_is_not_asked_again(
    house: House, vapis: Vapis, trouble: httpx.Response | Exception
) -> None:
    vapis.answer = trouble

    assert heard(phone.answer_call(house.exchange, event())) == house.settings.apology
    assert heard(phone.answer_call(house.exchange, event())) == house.settings.apology
    assert len(vapis.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(400, json={"message": "Over Concurrency Limit"}),
        httpx.Response(429, json={}),
        created(subscriptionLimits={"concurrencyBlocked": True}),
    ],
    ids=["400", "429", "201"],
)
def test_when_vapi_is_full_the_caller_waits_in_line_and_gives_the_slot_back(
    house: House, vapis: Vapis, trouble: httpx.Response
) -> None:
    vapis.answer = trouble

    answers = [phone.answer_call(house.exchange, event()) for _ in range(2)]
    assert [step(answer) for answer in answers] == ["queue", "queue"]
    assert answers[0]["body"] == answers[1]["body"]
    assert len(vapis.requests) == 1
    assert admission.active(house.store, house.clock()) == 0


def test_a_request_that_comes_while_the_first_still_asks_is_told_words_and_asks_nobody(
    house: House, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(phone, "count", lambda what, reason="": counted.append((what, reason)))
    settings = house.settings._replace(human_number="+15550100777")
    exchange = house.exchange._replace(settings=settings)
    repeats: list[dict[str, Any]] = []
    kept: list[bool] = []

    def meanwhile(caller: Caller) -> Decision:
        repeats.append(phone.answer_call(exchange, event()))
        kept.append("twiml" in house.items(f"SID#{CALL_SID}")["META"])
        return Assistant(id="a")

    first = phone.answer_call(exchange._replace(agent=with_agent(house, meanwhile).agent), event())

    assert [step(answer) for answer in repeats] == ["human"]
    assert kept == [False]
    assert (Count.INBOUND_LADDER, "repeated") in counted
    # What the first request was answered is what is kept, and what everybody hears who asks later.
    assert first["body"] == TWIML
    assert phone.answer_call(exchange, event())["body"] == TWIML
    assert len(vapis.requests) == 1


@pytest.mark.parametrize(
    ("path", "query"), [("/voice/inbound", ""), ("/voice/dequeued", "n=1"), ("/voice/back", "n=1")]
)
def test_a_write_that_the_sdk_had_to_repeat_is_no_repeated_request(
    house: House, vapis: Vapis, monkeypatch: pytest.MonkeyPatch, path: str, query: str
) -> None:
    """The answer to the write that opens the leg's turn is lost, so the second try meets what the first has stored."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    sent: list[str] = []

    def lose(event_name: str, **_: Any) -> None:
        # moto's own handler comes before this one: the request has had its effect.
        if event_name.endswith(".UpdateItem"):
            sent.append(event_name)
        if len(sent) == 1:
            raise ReadTimeoutError(endpoint_url="https://aws.example")

    events = house.aws.dynamodb.meta.events
    events.register_last("before-send", lose, unique_id="lose")
    answer = phone.answer_call(house.exchange, event(path, query=query, QueueResult="leave"))
    events.unregister("before-send", unique_id="lose")

    assert answer["body"] == TWIML
    assert len(vapis.requests) == 1
    # The first write twice, and what was answered.
    assert len(sent) >= 3


def test_when_the_table_is_down_the_caller_hears_it_and_no_call_is_made(house: House, vapis: Vapis) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)

    assert heard(phone.answer_call(house.exchange, event())) == house.settings.apology
    assert vapis.requests == []


def test_when_the_table_fails_after_vapi_has_answered_the_caller_is_connected(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise Unavailable("table: down")

    monkeypatch.setattr(legs, "connect", down)

    assert phone.answer_call(house.exchange, event())["body"] == TWIML


def test_when_the_agent_breaks_the_caller_hears_the_apology(house: House, vapis: Vapis) -> None:
    def broken(caller: Caller) -> Decision:
        raise RuntimeError(f"no customer {caller.number}")

    answer = phone.answer_call(without_fallback(with_agent(house, broken)), event())

    assert heard(answer) == house.settings.apology
    assert vapis.requests == []


def test_when_the_agent_breaks_the_fallback_assistant_answers(house: House, vapis: Vapis) -> None:
    def broken(caller: Caller) -> Decision:
        raise RuntimeError

    assert phone.answer_call(with_agent(house, broken), event())["body"] == TWIML
    assert vapis.requests[0][1]["assistantId"] == development.ASSISTANT_ID


def without_fallback(exchange: phone.Exchange) -> phone.Exchange:
    """The exchange of an owner who has no stored assistant."""
    return exchange._replace(settings=exchange.settings._replace(fallback_assistant_id="", assistant_id=""))


def with_agent(house: House, assistant: Any) -> phone.Exchange:
    """The exchange with another way to choose the assistant."""
    return house.exchange._replace(agent=Agent(house.exchange.agent.tools, assistant, house.exchange.agent.destination))


def test_an_agent_that_takes_too_long_is_stopped(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(caller: Caller) -> Decision:
        time.sleep(5)
        return Assistant(id="late")

    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.05)

    assert phone.answer_call(with_agent(house, slow), event())["body"] == TWIML
    [(ticket, _)] = house.tickets(house.live)
    assert (ticket.call_id, ticket.sk) == (CALL, "TOOL#assistant-request")
    stored = house.items(f"CALL#{CALL}")["TOOL#assistant-request"]
    assert (stored["quiet"], stored["effect"], stored["caller"]) == (True, "read", CALLER)


def test_the_agent_may_refuse_a_caller(house: House, vapis: Vapis) -> None:
    exchange = with_agent(house, lambda _: Refusal("Not today & never."))

    assert heard(phone.answer_call(exchange, event())) == "Not today & never."
    assert vapis.requests == []


def test_the_agent_may_put_a_caller_through_without_an_assistant(house: House, vapis: Vapis) -> None:
    answer = phone.answer_call(with_agent(house, lambda _: Transfer("+15550100100", "One moment.")), event())

    assert heard(answer) == "One moment.+15550100100"
    assert step(answer) == "human"
    # Whom nobody picks up for is not left in silence.
    assert "/voice/step?after=human&amp;cause=no_answer" in answer["body"]
    assert admission.active(house.store, house.clock()) == 0
    assert vapis.requests == []


@pytest.mark.parametrize(
    ("number", "customer"),
    [
        ("+15550100001", {"number": "+15550100001"}),
        ("anonymous", {"number": "anonymous", "numberE164CheckEnabled": False}),
        ("+15550100001;ext=2", {"number": "+15550100001;ext=2", "numberE164CheckEnabled": False}),
        ("", {"number": "anonymous", "numberE164CheckEnabled": False}),
        ("sip:" + "a" * 60, {"number": "sip:" + "a" * 36, "numberE164CheckEnabled": False}),
    ],
)
def test_a_withheld_number_is_no_reason_to_refuse_a_call(
    house: House, vapis: Vapis, number: str, customer: dict[str, Any]
) -> None:
    phone.answer_call(house.exchange, event(From=number))

    assert vapis.requests[0][1]["customer"] == customer


def test_a_vapi_that_drips_its_answer_does_not_keep_the_caller_waiting(house: House, vapis: Vapis) -> None:
    def drip(request: httpx.Request) -> httpx.Response:
        time.sleep(5)
        return created()

    slow = house.exchange._replace(
        settings=house.settings._replace(voice_budget=3), vapi=Vapi(house.settings.vapi_url, mocked(drip))
    )
    began = time.monotonic()
    answer = phone.answer_call(slow, event())

    assert heard(answer) == house.settings.apology
    assert time.monotonic() - began < 3
    assert phone.answer_call(slow, event())["body"] == answer["body"]
    # There may be a call by now, so its slot is kept until the leg ends.
    assert admission.active(house.store, house.clock()) == 1


def test_a_table_that_hangs_after_vapi_has_answered_does_not_keep_the_caller_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone, "MARGIN", 0.05)
    monkeypatch.setattr(legs, "connect", lambda *_: time.sleep(30))
    began = time.monotonic()

    assert phone.answer_call(house.exchange, event())["body"] == TWIML
    assert time.monotonic() - began < 10


def test_the_agents_overrides_keep_their_own_metadata_beside_the_call_sid(house: House, vapis: Vapis) -> None:
    exchange = with_agent(house, lambda _: Assistant(id="a", overrides={"metadata": {"tenant": "t-1"}}))
    phone.answer_call(exchange, event())

    assert vapis.requests[0][1]["assistantOverrides"]["metadata"] == {"tenant": "t-1", "callSid": CALL_SID}


def test_an_answer_of_vapi_without_a_monitor_still_connects_the_caller(house: House, vapis: Vapis) -> None:
    vapis.answer = created(monitor=None)

    assert phone.answer_call(house.exchange, event())["body"] == TWIML


def test_a_repeat_after_the_agents_refusal_hears_the_refusal_again(house: House) -> None:
    exchange = with_agent(house, lambda _: Refusal("Not today."))

    assert [heard(phone.answer_call(exchange, event())) for _ in range(2)] == ["Not today."] * 2


def test_a_repeated_field_that_nobody_uses_is_no_reason_to_refuse(house: House) -> None:
    pairs = [*FORM.items(), ("SipHeader_X", "a"), ("SipHeader_X", "b")]
    request = event()
    request["body"] = base64.b64encode(urlencode(pairs).encode()).decode()
    request["headers"]["x-twilio-signature"] = signatures.sign_twilio(
        BASE_URL + "/voice/inbound", pairs, development.TWILIO_AUTH_TOKEN
    )

    assert phone.answer_call(house.exchange, request)["body"] == TWIML


def forged() -> list[Any]:
    """Requests that Twilio has not signed, or not for us."""
    tampered = event()
    tampered["body"] = base64.b64encode(urlencode(FORM | {"From": "+15550100666"}).encode()).decode()
    unsigned = event()
    del unsigned["headers"]["x-twilio-signature"]
    other_path = event()
    other_path["rawPath"] = "/voice/status"
    with_query = event() | {"rawQueryString": "a=1"}
    repeated = event()
    pairs = [*FORM.items(), ("CallSid", "CA" + "b2" * 16)]
    repeated["body"] = base64.b64encode(urlencode(pairs).encode()).decode()
    repeated["headers"]["x-twilio-signature"] = signatures.sign_twilio(
        BASE_URL + "/voice/inbound", pairs, development.TWILIO_AUTH_TOKEN
    )
    named = [
        ("tampered", tampered),
        ("unsigned", unsigned),
        ("other path", other_path),
        ("query added", with_query),
        ("two call sids", repeated),
        ("wrong token", event(token="wrong")),
        ("malformed sid", event(CallSid="CA123")),
        ("upper-case sid", event(CallSid="CA" + "A1" * 16)),
        ("not a form", event() | {"body": "%%%", "isBase64Encoded": False}),
        ("not base64", event() | {"body": "***"}),
        ("not ascii", event() | {"body": "From=é", "isBase64Encoded": False}),
        ("json", event() | {"body": json.dumps(FORM), "isBase64Encoded": False}),
        ("empty", event() | {"body": ""}),
    ]
    return [pytest.param(request, id=name) for name, request in named]


@pytest.mark.parametrize("request_", forged())
def test_what_twilio_has_not_signed_for_us_does_nothing(house: House, vapis: Vapis, request_: dict[str, Any]) -> None:
    answer = phone.answer_call(house.exchange, request_)

    assert (answer["statusCode"], answer["body"]) == (403, '{"error":"forbidden"}')
    assert vapis.requests == []
    assert house.aws.wire.take() == []


def test_another_account_is_refused_where_accounts_are_listed(house: House) -> None:
    listed = house.exchange._replace(settings=house.settings._replace(account_sids=frozenset({"AC" + "0" * 32})))

    assert phone.answer_call(listed, event())["statusCode"] == 403
    mine = house.settings._replace(account_sids=frozenset({development.TWILIO_ACCOUNT_SID}))
    assert phone.answer_call(house.exchange._replace(settings=mine), event())["statusCode"] == 200


def test_the_form_is_understood_in_plain_too(house: House) -> None:
    plain = event() | {"body": urlencode(FORM), "isBase64Encoded": False}

    assert phone.answer_call(house.exchange, plain)["body"] == TWIML


def test_an_unsigned_request_is_refused_even_while_no_token_can_be_read(house: House) -> None:
    def down(_: object) -> str:
        raise Unavailable("secrets: down")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.exchange.secrets, "text", down)
        unsigned = event()
        del unsigned["headers"]["x-twilio-signature"]
        assert phone.answer_call(house.exchange, unsigned)["statusCode"] == 403
        assert heard(phone.answer_call(house.exchange, event())) == house.settings.apology


def status(house: House, **changes: str) -> dict[str, Any]:
    """Send a status callback."""
    return callbacks.respond(house.attendant, event("/voice/status", **changes))


def test_a_status_callback_is_merged_into_the_leg_by_its_sequence(house: House) -> None:
    phone.answer_call(house.exchange, event())
    for number, state in ((2, "completed"), (1, "in-progress"), (2, "completed")):
        assert status(house, CallStatus=state, SequenceNumber=str(number), CallDuration="61")["statusCode"] == 204

    leg = house.items(f"SID#{CALL_SID}")["META"]
    assert (leg["status"], leg["duration"], leg["call_id"]) == ("completed", 61, CALL)


def test_a_status_callback_costs_one_write_until_the_leg_is_over(house: House) -> None:
    status(house, CallStatus="in-progress", SequenceNumber="0")

    assert house.aws.wire.take() == ["UpdateItem"]


def test_the_end_of_the_leg_gives_its_slot_back_and_has_the_other_end_looked_after(house: House) -> None:
    phone.answer_call(house.exchange, event())
    assert admission.active(house.store, house.clock()) == 1

    for _ in range(2):
        assert status(house, CallStatus="completed", SequenceNumber="3")["statusCode"] == 204

    assert admission.active(house.store, house.clock()) == 0
    sent = house.aws.sqs.get_queue_attributes(
        QueueUrl=house.settings.live_queue, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert sent["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "2"


def test_the_end_of_the_leg_is_told_again_where_a_slot_could_not_be_given_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone.answer_call(house.exchange, event())
    with monkeypatch.context() as patch:
        patch.setattr(admission, "leave", down)
        assert status(house, CallStatus="completed", SequenceNumber="3")["statusCode"] == 503

    assert status(house, CallStatus="completed", SequenceNumber="3")["statusCode"] == 204
    assert admission.active(house.store, house.clock()) == 0


def down(*_: object, **__: object) -> int:
    """A table that does not answer."""
    raise Unavailable("table: down")


def test_a_slot_that_cannot_be_given_back_is_no_reason_for_another_answer(
    house: House, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(phone, "count", lambda what, reason="": counted.append((what, reason)))
    monkeypatch.setattr(admission, "leave", down)
    vapis.answer = httpx.Response(400, json={"message": "Over Concurrency Limit"})

    assert step(phone.answer_call(house.exchange, event())) == "queue"
    assert (Count.INBOUND_LADDER, "concurrency") in counted


def test_whatever_is_wrong_with_the_record_the_caller_is_connected(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a number that is none")

    monkeypatch.setattr(calls, "link", broken)

    assert phone.answer_call(house.exchange, event())["body"] == TWIML


def test_where_our_own_address_cannot_be_read_in_time_the_caller_hears_the_apology(
    house: House, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is read again for the ladder; a store of secrets that hangs just then must not cost the answer."""
    monkeypatch.setattr(phone, "MARGIN", 0.05)
    monkeypatch.setattr(phone, "base_url", lambda _: time.sleep(30))
    settings = house.settings._replace(human_number="+15550100777")
    broken = house.exchange._replace(settings=settings, store=Store("none", house.aws.dynamodb))
    began = time.monotonic()

    assert step(phone.answer_call(broken, event())) == "apology"
    assert time.monotonic() - began < 10


def test_the_slot_is_filled_with_the_call_so_that_either_end_frees_it(house: House) -> None:
    phone.answer_call(house.exchange, event())

    assert admission.leave(house.store, call_id=CALL) == 1


def test_a_call_that_was_asked_for_without_success_does_not_count_twice(house: House, vapis: Vapis) -> None:
    limited = house.exchange._replace(settings=house.settings._replace(caller_hourly_calls=1))
    vapis.answer = httpx.Response(401, json={})

    for _ in range(3):
        phone.answer_call(limited, event())
    vapis.answer = created()
    assert step(phone.answer_call(limited, event(CallSid="CA" + "b2" * 16))) == "apology"
    assert len(vapis.requests) == 1


def test_twenty_calls_from_one_number_reach_vapi_as_often_as_they_may(house: House, vapis: Vapis) -> None:
    limited = house.exchange._replace(settings=house.settings._replace(caller_hourly_calls=3, max_calls=0))

    steps = [step(phone.answer_call(limited, event(CallSid=f"CA{number:032x}"))) for number in range(20)]

    assert steps == [""] * 3 + ["apology"] * 17
    assert len(vapis.requests) == 3


def test_a_forged_status_callback_does_nothing(house: House) -> None:
    answer = callbacks.respond(house.attendant, event("/voice/status", token="wrong"))

    assert answer["statusCode"] == 403
    assert house.aws.wire.take() == []


def test_a_status_callback_is_answered_503_while_the_table_is_down(house: House) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)

    assert status(house, CallStatus="completed")["statusCode"] == 503


def test_a_status_callback_that_comes_first_does_not_keep_the_call_from_being_answered(house: House) -> None:
    status(house, CallStatus="ringing", SequenceNumber="0")

    assert phone.answer_call(house.exchange, event())["body"] == TWIML


@pytest.mark.parametrize("number", ["-1", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 40, "x", ""])
def test_a_sequence_number_that_is_none_counts_as_the_first(house: House, number: str) -> None:
    assert status(house, CallStatus="completed", SequenceNumber=number)["statusCode"] == 204
    assert house.items(f"SID#{CALL_SID}")["META"]["sequence"] == 0


def test_no_secret_is_in_any_answer(house: House, vapis: Vapis) -> None:
    answers = [phone.answer_call(house.exchange, event())]
    vapis.answer = httpx.Response(500, text=development.VAPI_API_KEY)
    answers.append(phone.answer_call(house.exchange, event(CallSid="CA" + "c3" * 16)))

    for secret in development.SECRETS.values():
        assert secret not in str(answers)


def test_a_caller_who_hangs_up_while_vapi_is_asked_leaves_no_call_behind(house: House) -> None:
    def asked(_: httpx.Request) -> httpx.Response:
        assert status(house, CallStatus="completed")["statusCode"] == 204
        return created()

    exchange = house.exchange._replace(vapi=Vapi(house.settings.vapi_url, mocked(asked)))
    assert phone.answer_call(exchange, event())["body"] == TWIML

    assert [ticket for ticket, _ in house.tickets(house.live)] == [Ticket(CALL, CALL_SID, due="leg_over")]
    assert admission.active(house.store, house.clock()) == 0
