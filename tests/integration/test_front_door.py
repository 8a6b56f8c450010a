"""The front door as a whole: what is refused costs nothing, what is genuine is answered, and outages are honest."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from devkit import development
from switchboard import lanes, lookups, signatures, webhook
from switchboard import secrets as secret_store
from switchboard.delivery import SPEAKING_SECONDS
from switchboard.desk import Agent, Caller, Desk, backend
from switchboard.errors import Unavailable
from switchboard.messages import Assistant, Decision, Refusal, Transfer
from switchboard.worker import work
from tests.integration.conftest import CALL, CALL_SID, CALLER, CONTROL, House, Vapis, message, tool_call

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


class Down:
    """An SSM that does not answer."""

    def get_parameters(self, **_: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://ssm.example")


def test_while_no_secret_can_be_read_only_what_might_be_genuine_is_put_off(house: House) -> None:
    desk = house.desk._replace(secrets=secret_store.Secrets("/x", (secret_store.VAPI_WEBHOOK,), Down(), house.clock))
    body = json.dumps({"message": message("hang", house.clock)}).encode()
    requests = {"genuine": signed(house, body), "unsigned": {}, "stale": signed(house, body, ago=301)}
    answers = {
        name: webhook.respond(desk, {"headers": headers, "body": body.decode()})["statusCode"]
        for name, headers in requests.items()
    }

    assert answers == {"genuine": 503, "unsigned": 401, "stale": 401}


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
    assert house.aws.wire.take() == ["PutItem"]


def test_a_replayed_assistant_request_gets_the_first_answer_whatever_the_agent_says_now(house: House) -> None:
    first = request_assistant(house)

    assert request_assistant(house, lambda _: Refusal("Changed my mind.")) == first
    house.clock.advance(600)
    assert request_assistant(house, lambda _: Refusal("Changed my mind.")) == {"error": "Changed my mind."}


def test_the_agent_knows_the_caller_and_where_messages_go(house: House) -> None:
    callers: list[Caller] = []

    def remember(caller: Caller) -> Decision:
        callers.append(caller)
        return Assistant(config={"name": "x"})

    assert request_assistant(house, remember) == {"assistant": {"name": "x"}}
    assert callers[0].backend.server["url"] == "https://voice.example.com/webhook/vapi"
    assert callers == [Caller(CALLER, "", CALL_SID, backend(house.settings, house.desk.secrets))]


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
    time.sleep(10)
    return Refusal("late")


def leaving(caller: Caller) -> Decision:
    """An agent that ends the program."""
    raise SystemExit(caller.number)


def unsendable(_caller: Caller) -> Decision:
    """An agent whose assistant is no JSON."""
    return Assistant(config={"name": "x", "since": datetime(2027, 1, 15, tzinfo=UTC)})


def halved(_caller: Caller) -> Decision:
    """An agent that lets half an emoji into its prompt."""
    return Assistant(id="asst", overrides={"variableValues": {"name": "\ud83d"}})


def uncounted(_caller: Caller) -> Decision:
    """An agent whose numbers JSON does not have."""
    return Assistant(config={"temperature": float("nan")})


@pytest.mark.parametrize("choose", [broken, slow, leaving, unsendable, halved, uncounted])
def test_an_agent_that_fails_is_stood_in_for_by_the_fallback_assistant(
    house: House, monkeypatch: pytest.MonkeyPatch, choose: Any
) -> None:
    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.05)

    assert request_assistant(house, choose) == {"assistantId": development.ASSISTANT_ID}


def test_without_a_fallback_assistant_the_caller_hears_the_apology(house: House) -> None:
    bare = house.settings._replace(fallback_assistant_id="", assistant_id="")
    desk = house.desk._replace(settings=bare, agent=Agent(house.desk.agent.tools, broken, house.desk.agent.destination))
    answer = webhook.respond(desk, house.event(message("assistant-request", house.clock)))

    assert json.loads(answer["body"]) == {"error": house.settings.apology}


def test_the_connected_assistant_is_the_fallback_where_none_is_kept_for_that(house: House) -> None:
    path = f"{house.settings.parameter_path}/{secret_store.CONNECTION}"
    house.aws.ssm.put_parameter(Name=path, Value='{"assistant_id": "asst-1"}', Type="String")
    house.clock.advance(secret_store.FRESH)

    def asked(settings: Any, agent: Any) -> Any:
        desk = house.desk._replace(settings=settings, agent=house.desk.agent._replace(assistant=agent))
        house.clock.advance(1)
        body = message("assistant-request", house.clock, call={"id": f"call-{house.clock():.0f}"})
        return json.loads(webhook.respond(desk, house.event(body))["body"])

    bare = house.settings._replace(fallback_assistant_id="")
    assert asked(bare, broken) == {"assistantId": "asst-1"}
    assert asked(bare._replace(assistant_id="asst-2"), broken) == {"assistantId": "asst-2"}
    assert asked(house.settings, broken) == {"assistantId": development.ASSISTANT_ID}
    assert asked(bare, lambda caller: Assistant(id=caller.backend.assistant_id)) == {"assistantId": "asst-1"}


class Failing(secret_store.Secrets):
    """Secrets of which only the signing one can be read."""

    def text(self, name: str) -> str:
        """Fail."""
        raise Unavailable("secrets: test")


@pytest.mark.parametrize("assistant_id", ["", "asst-2"])
def test_the_fallback_is_there_even_if_what_is_connected_cannot_be_read(house: House, assistant_id: str) -> None:
    secrets = Failing(house.settings.parameter_path, (secret_store.VAPI_WEBHOOK,), house.aws.ssm, house.clock)
    settings = house.settings._replace(fallback_assistant_id="", assistant_id=assistant_id)
    desk = house.desk._replace(secrets=secrets, settings=settings)
    answer = webhook.respond(desk, house.event(message("assistant-request", house.clock)))

    expected = {"assistantId": assistant_id} if assistant_id else {"error": house.settings.apology}
    assert json.loads(answer["body"]) == expected


@pytest.mark.parametrize("kind", ["transfer-destination-request", "handoff-destination-request"])
def test_a_destination_is_the_agents_choice_and_has_a_default(house: House, kind: str) -> None:
    def ask(desk: Desk) -> Any:
        house.clock.advance(1)  # another request, not the same one again
        return json.loads(webhook.respond(desk, house.event(message(kind, house.clock)))["body"])

    def fail(_: object) -> None:
        raise RuntimeError("no directory")

    assert ask(house.desk) == {"destination": {"type": "number", "number": "+15550100100"}}
    agent = house.desk.agent
    nobody: dict[str, Any] = {"error": webhook.NO_DESTINATION}
    if kind.startswith("handoff"):
        nobody["destination"] = {}
    assert ask(house.desk._replace(agent=agent._replace(destination=lambda _: None))) == nobody
    assert ask(house.desk._replace(agent=agent._replace(destination=fail))) == nobody
    assert ask(house.desk._replace(agent=agent._replace(destination=lambda _: {"at": datetime.now(UTC)}))) == nobody


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


def test_the_agent_still_chooses_while_the_table_is_down(house: House) -> None:
    house.aws.dynamodb.delete_table(TableName=house.settings.table)

    assert request_assistant(house)["assistantId"] == development.ASSISTANT_ID
    assert request_assistant(house, broken) == {"assistantId": development.ASSISTANT_ID}


@pytest.mark.parametrize(("kind", "empty"), sorted(webhook.EMPTY_ANSWERS.items()))
def test_a_rarer_request_is_answered_by_the_agent_or_with_nothing_valid(
    house: House, kind: str, empty: dict[str, Any]
) -> None:
    def ask(**answers: Any) -> Any:
        desk = house.desk._replace(agent=house.desk.agent._replace(answers=answers))
        return json.loads(webhook.respond(desk, house.event(message(kind, house.clock)))["body"])

    def fail(_: object) -> dict[str, Any]:
        raise RuntimeError("no idea")

    assert ask() == empty
    assert ask(**{kind: lambda _: {"mine": 1}}) == {"mine": 1}
    assert ask(**{kind: fail}) == empty
    for unsendable in (None, [1], {"at": datetime.now(UTC)}, {"seconds": float("inf")}, {"words": "\ud83d"}):
        assert ask(**{kind: lambda _, given=unsendable: given}) == empty


def test_the_old_function_call_is_answered_with_one_result(house: House) -> None:
    def ask(tool: str, **parameters: Any) -> Any:
        body = message("function-call", house.clock, functionCall={"name": tool, "parameters": parameters})
        return json.loads(webhook.respond(house.desk, house.event(body))["body"])

    assert ask("look_up", name="Ann") == {"result": "Found Ann."}
    assert ask("fly") == {"result": lanes.UNKNOWN_TOOL}
    assert ask("move", to="Friday") == {"result": "One moment, I am moving it."}


def test_a_late_look_up_is_finished_on_the_queue_and_told_in_silence(
    house: House, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Caller] = []

    def slow_at_first(caller: Caller) -> Decision:
        asked.append(caller)
        if len(asked) == 1:
            time.sleep(5)
        return Assistant(id="late", overrides={"variableValues": {"customerName": "Ann"}})

    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.05)
    assert request_assistant(house, slow_at_first) == {"assistantId": development.ASSISTANT_ID}
    live = house.live._replace(
        agent=house.live.agent._replace(assistant=slow_at_first),
        backend=lambda: backend(house.settings, house.desk.secrets),
    )
    [(ticket, receipt)] = house.tickets(house.live)
    work(live, ticket, receipt, lambda: 35.0)
    assert vapis.requests == []  # the call cannot be spoken to yet

    webhook.respond(house.desk, house.event(message("status-update", house.clock, status="in-progress")))
    work(live, ticket, receipt, lambda: 35.0)
    work(live, ticket, receipt, lambda: 35.0)

    [(url, command)] = vapis.requests
    assert url == CONTROL
    assert command["triggerResponseEnabled"] is False
    assert command["message"]["content"].endswith('{"customerName":"Ann"}')
    assert [caller.number for caller in asked] == [CALLER, CALLER]
    assert asked[0].backend == asked[1].backend == backend(house.settings, house.desk.secrets)


def test_a_late_look_up_of_a_call_that_never_comes_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.05)
    request_assistant(house, slow)
    [(ticket, receipt)] = house.tickets(house.live)
    work(house.live, ticket, receipt, lambda: 35.0)
    assert house.items(f"CALL#{CALL}")[ticket.sk]["delivery"] == "pending"
    house.clock.advance(lookups.DEADLINE + SPEAKING_SECONDS + 1)
    work(house.live, ticket, receipt, lambda: 35.0)

    assert house.items(f"CALL#{CALL}")[ticket.sk]["delivery"] == "dropped"


def test_nothing_of_a_look_up_that_was_stopped_runs_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def endless(caller: Caller) -> Decision:
        while True:
            steps.append(len(steps))
            time.sleep(0.001)

    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.05)
    request_assistant(house, endless)
    stopped = len(steps)
    request_assistant(house)
    time.sleep(0.05)

    assert 0 < stopped == len(steps)


def test_the_model_cannot_call_the_look_up_as_a_tool(house: House) -> None:
    body = message("tool-calls", house.clock, toolCallList=[tool_call(lookups.NAME, {})])

    [result] = json.loads(webhook.respond(house.desk, house.event(body))["body"])["results"]
    assert result["error"] == lanes.UNKNOWN_TOOL


@pytest.mark.parametrize("returned", [None, "asst-1", {}, Assistant(), 5])
def test_an_agent_that_returns_no_decision_is_stood_in_for(house: House, returned: Any) -> None:
    assert request_assistant(house, lambda _: returned) == {"assistantId": development.ASSISTANT_ID}


@pytest.mark.parametrize("returned", ["+15550100100", 5, ["a"]])
def test_a_destination_of_the_wrong_kind_is_none(house: House, returned: Any) -> None:
    desk = house.desk._replace(agent=house.desk.agent._replace(destination=lambda _: returned))
    answer = webhook.respond(desk, house.event(message("transfer-destination-request", house.clock)))

    assert json.loads(answer["body"]) == {"error": webhook.NO_DESTINATION}


@pytest.mark.parametrize(
    ("overrides", "moved"),
    [
        ({"metadata": {"callSid": CALL_SID}}, False),
        ({"variableValues": {"call_sid": CALL_SID}}, False),
        ({"metadata": {"callSid": "somebody's own"}, "variableValues": {"call_sid": "x"}}, True),
        ({}, True),
    ],
)
def test_vapi_is_not_sent_to_move_a_leg_that_is_ours(house: House, overrides: dict[str, Any], *, moved: bool) -> None:
    body = message("transfer-destination-request", house.clock)
    body["call"] = {**body["call"], "assistantOverrides": overrides, "transport": {"callSid": CALL_SID}}
    answer = json.loads(webhook.respond(house.desk, house.event(body))["body"])

    assert ("destination" in answer) is moved
    assert ("error" in answer) is not moved


@pytest.mark.parametrize(("kind", "status"), [("status-update", 503), ("tool-calls", 200), ("assistant-request", 200)])
def test_a_fault_of_our_own_is_never_a_stack_trace(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str, status: int
) -> None:
    def broken_handler(*_: object) -> dict[str, Any]:
        raise KeyError("a number: +15550100001")

    monkeypatch.setitem(webhook.HANDLERS, kind, broken_handler)
    body = message(kind, house.clock, toolCallList=[tool_call("look_up", {"name": "x"})])
    answer = webhook.respond(house.desk, house.event(body))

    assert answer["statusCode"] == status
    assert "+1555" not in answer["body"]
