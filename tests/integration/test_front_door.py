"""The front door as a whole: what is refused costs nothing, what is genuine is answered, and outages are honest."""

import json
from typing import Any

import pytest

from devkit import development
from switchboard import secrets as secret_store
from switchboard import signatures, webhook
from switchboard.desk import Agent, Caller, Desk
from switchboard.messages import Assistant, Decision, Refusal, Transfer
from tests.integration.conftest import CALL, CALL_SID, CALLER, House, message

OTHER = "another-secret"


def post(house: House, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """A request with any body and headers."""
    event = {"rawPath": "/webhook/vapi", "headers": headers, "body": body.decode(), "isBase64Encoded": False}
    return webhook.respond(house.desk, event)


def signed(house: House, body: bytes, secret: str = development.VAPI_WEBHOOK_SECRET, ago: float = 0) -> dict[str, str]:
    """Headers that prove a body."""
    at = int((house.clock() - ago) * 1000)
    return signatures.sign(house.settings.scheme, body, secret, timestamp=at)


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that reached a handler."""
    entered: list[str] = []

    def spy(kind: str) -> webhook.Handler:
        def handler(desk: Any, message: Any) -> dict[str, Any]:
            entered.append(kind)
            return {}

        return handler

    for kind in webhook.HANDLERS:
        monkeypatch.setitem(webhook.HANDLERS, kind, spy(kind))
    return entered


@pytest.mark.parametrize("kind", sorted(webhook.HANDLERS))
def test_a_forged_message_reaches_no_handler_and_costs_nothing(house: House, handlers: list[str], kind: str) -> None:
    body = json.dumps({"message": message(kind, house.clock)}).encode()
    genuine = signed(house, body)
    forgeries = [
        {},
        {"x-signature": genuine["x-signature"]},
        {"x-timestamp": genuine["x-timestamp"]},
        genuine | {"x-signature": "0" * 64},
        genuine | {"x-signature": genuine["x-signature"].upper()},
        signed(house, body, OTHER),
        signed(house, body + b" "),
        signed(house, body, ago=301),
        signed(house, body, ago=-301),
    ]
    for headers in forgeries:
        answer = post(house, body, headers)
        assert (answer["statusCode"], answer["body"]) == (401, '{"error":"unauthorized"}')

    assert handlers == []
    assert house.aws.wire.take() == []
    assert post(house, body, genuine)["statusCode"] == 200
    assert handlers == [kind]


def test_a_replay_within_the_window_gets_the_same_answer_and_changes_nothing(house: House) -> None:
    body = json.dumps({"message": message("status-update", house.clock, status="in-progress")}).encode()
    headers = signed(house, body)
    first = post(house, body, headers)
    stored = house.items(f"CALL#{CALL}")
    house.clock.advance(250)

    assert all(post(house, body, headers) == first for _ in range(20))
    assert house.items(f"CALL#{CALL}") == stored
    house.clock.advance(51)
    assert post(house, body, headers)["statusCode"] == 401


def put_secrets(house: House, *secrets: dict[str, Any]) -> None:
    """What `switchboard secrets put` writes."""
    name = f"{house.settings.parameter_path}/{secret_store.VAPI_WEBHOOK}"
    house.aws.ssm.put_parameter(Name=name, Value=json.dumps(secrets), Type="SecureString", Overwrite=True)


def test_a_new_secret_is_looked_for_once_when_a_signature_fails(house: House) -> None:
    put_secrets(house, {"id": "old", "secret": development.VAPI_WEBHOOK_SECRET}, {"id": "new", "secret": OTHER})
    house.clock.advance(61)
    house.aws.wire.take()
    body = json.dumps({"message": message("hang", house.clock)}).encode()

    assert post(house, body, signed(house, body, OTHER))["statusCode"] == 200
    assert house.aws.wire.take() == ["GetParameters"]
    assert post(house, body, signed(house, body))["statusCode"] == 200
    for _ in range(20):
        assert post(house, body, signed(house, body, "forged"))["statusCode"] == 401
    assert house.aws.wire.take() == []


def test_a_secret_past_its_time_is_refused(house: House) -> None:
    put_secrets(house, {"id": "old", "secret": OTHER, "not_after": house.clock() + 400}, {"id": "x", "secret": "y"})
    house.clock.advance(301)
    body = json.dumps({"message": message("hang", house.clock)}).encode()
    assert post(house, body, signed(house, body, OTHER))["statusCode"] == 200

    house.clock.advance(100)
    body = json.dumps({"message": message("hang", house.clock)}).encode()
    assert post(house, body, signed(house, body, OTHER))["statusCode"] == 401


@pytest.mark.parametrize("value", ["[]", "", "not json", '[{"id":"a","secret":""}]', '{"id":"a"}', "null", "[1]"])
def test_without_a_secret_everything_is_refused(house: House, value: str) -> None:
    name = f"{house.settings.parameter_path}/{secret_store.VAPI_WEBHOOK}"
    if value:
        house.aws.ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    else:
        house.aws.ssm.delete_parameter(Name=name)
    house.clock.advance(301)
    body = json.dumps({"message": message("hang", house.clock)}).encode()

    for secret in ("", "a", development.VAPI_WEBHOOK_SECRET):
        assert post(house, body, signed(house, body, secret))["statusCode"] == 401


def test_an_organisation_that_is_not_listed_is_refused(house: House, handlers: list[str]) -> None:
    listed = house.desk._replace(settings=house.settings._replace(org_ids=frozenset({"org-2"})))
    event = house.event(message("status-update", house.clock, status="ended"))

    answer = webhook.respond(listed, event)
    assert (answer["statusCode"], answer["body"]) == (403, '{"error":"forbidden"}')
    assert handlers == []
    mine = house.desk._replace(settings=house.settings._replace(org_ids=frozenset({"org-1"})))
    assert webhook.respond(mine, event)["statusCode"] == 200


def test_an_assistant_that_is_not_listed_is_refused(house: House) -> None:
    listed = house.desk._replace(settings=house.settings._replace(assistant_ids=frozenset({"a-1"})))
    for assistant, status in (("a-1", 200), ("a-2", 403), (None, 200)):
        body = message("hang", house.clock)
        body["call"]["assistantId"] = assistant
        assert webhook.respond(listed, house.event(body))["statusCode"] == status


def request_assistant(house: House, assistant: Any = None) -> dict[str, Any]:
    """Send `assistant-request`, perhaps to another agent, and return the answer."""
    desk = house.desk
    if assistant:
        desk = desk._replace(agent=Agent(desk.agent.tools, assistant, desk.agent.destination))
    answer = webhook.respond(desk, house.event(message("assistant-request", house.clock)))
    assert answer["statusCode"] == 200
    body: dict[str, Any] = json.loads(answer["body"])
    return body


def test_the_agent_chooses_the_assistant(house: House) -> None:
    assert request_assistant(house) == {
        "assistantId": development.ASSISTANT_ID,
        "assistantOverrides": {"variableValues": {"number": CALLER}},
    }
    assert house.items(f"CALL#{CALL}")["META"]["call_sid"] == CALL_SID


def test_the_agent_knows_the_caller_and_where_messages_go(house: House) -> None:
    callers: list[Caller] = []

    def remember(caller: Caller) -> Decision:
        callers.append(caller)
        return Assistant(config={"name": "x"})

    assert request_assistant(house, remember) == {"assistant": {"name": "x"}}
    assert callers == [Caller(CALLER, "", CALL_SID, "https://voice.example.com/webhook/vapi")]


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (Refusal("Not\nnow."), {"error": "Not now."}),
        (
            Transfer("+15550100100", "One moment."),
            {"destination": {"type": "number", "number": "+15550100100", "message": "One moment."}},
        ),
    ],
)
def test_the_agent_may_answer_otherwise(house: House, decision: Decision, answer: dict[str, Any]) -> None:
    assert request_assistant(house, lambda _: decision) == answer


def broken(caller: Caller) -> Decision:
    """An agent that fails."""
    raise RuntimeError(caller.number)


def slow(caller: Caller) -> Decision:
    """An agent that never answers."""
    import time

    time.sleep(10)
    return Refusal("late")


@pytest.mark.parametrize("choose", [broken, slow])
def test_an_agent_that_fails_is_stood_in_for_by_the_fallback_assistant(
    house: House, monkeypatch: pytest.MonkeyPatch, choose: Any
) -> None:
    monkeypatch.setattr(webhook, "ASSISTANT_SECONDS", 0.05)

    assert request_assistant(house, choose) == {"assistantId": development.ASSISTANT_ID}


def test_without_a_fallback_assistant_the_caller_hears_the_apology(house: House) -> None:
    bare = house.settings._replace(fallback_assistant_id="", assistant_id="")
    desk = house.desk._replace(settings=bare, agent=Agent(house.desk.agent.tools, broken, house.desk.agent.destination))
    answer = webhook.respond(desk, house.event(message("assistant-request", house.clock)))

    assert json.loads(answer["body"]) == {"error": house.settings.apology}


@pytest.mark.parametrize("kind", ["transfer-destination-request", "handoff-destination-request"])
def test_a_destination_is_the_agents_choice_and_has_a_default(house: House, kind: str) -> None:
    def ask(desk: Desk) -> Any:
        return json.loads(webhook.respond(desk, house.event(message(kind, house.clock)))["body"])

    def fail(_: object) -> None:
        raise RuntimeError("no directory")

    assert ask(house.desk) == {"destination": {"type": "number", "number": "+15550100100"}}
    agent = house.desk.agent
    assert ask(house.desk._replace(agent=agent._replace(destination=lambda _: None))) == {
        "error": webhook.NO_DESTINATION
    }
    assert ask(house.desk._replace(agent=agent._replace(destination=fail))) == {"error": webhook.NO_DESTINATION}


@pytest.mark.parametrize(
    ("kind", "fields", "status"),
    [
        ("status-update", {"status": "ended"}, 503),
        ("end-of-call-report", {"endedReason": "x"}, 503),
        ("user-interrupted", {}, 503),
        ("speech-update", {"role": "user", "status": "started"}, 503),
        ("transcript", {"role": "user", "transcriptType": "final", "transcript": "x"}, 503),
        ("assistant-request", {}, 200),
        ("tool-calls", {"toolCallList": []}, 200),
        ("transfer-destination-request", {}, 200),
        ("hang", {}, 200),
    ],
)
def test_while_the_table_is_down_only_what_nobody_waits_for_is_to_be_sent_again(
    house: House, kind: str, fields: dict[str, Any], status: int
) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)
    answer = webhook.respond(house.desk, house.event(message(kind, house.clock, **fields)))

    assert answer["statusCode"] == status
    if status == 503:
        assert answer["body"] == '{"error":"unavailable, try again"}'


def test_the_fallback_assistant_answers_while_the_table_is_down(house: House) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)

    assert request_assistant(house) == {"assistantId": development.ASSISTANT_ID}


def test_a_knowledge_base_request_is_answered_with_a_valid_empty_list(house: House) -> None:
    answer = webhook.respond(house.desk, house.event(message("knowledge-base-request", house.clock)))

    assert json.loads(answer["body"]) == {"documents": []}
