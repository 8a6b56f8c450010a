"""Every answer that this project can give is one that Vapi's published schemas describe, and holds nothing else.

The answers are collected at the front door: each from the message that brings it about, with the infrastructure up and
down. A field that the schemas do not know is a fault here, though Vapi would only ignore it.
"""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import pytest

from agent import assistant as decisions
from agent.assistant import front_desk
from agent.tools import tools as example_tools
from devkit import development
from devkit.vapi_spec import Spec
from switchboard import lanes, lookups, toolcalls, webhook
from switchboard.connection import Connection
from switchboard.desk import Agent, Caller, describe
from switchboard.errors import Unavailable
from switchboard.messages import MAX_TEXT, Assistant, Decision, Message, Refusal, ToolCall, Transfer
from switchboard.queue import Queue, Ticket
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.toolcalls import State
from switchboard.tools import Toolbox, ToolError
from tests import recorded
from tests.conftest import Clock
from tests.twin import BASE_URL, Twin, twin

RESPONSES = {
    "assistant-request": "ServerMessageResponseAssistantRequest",
    "tool-calls": "ServerMessageResponseToolCalls",
    "transfer-destination-request": "ServerMessageResponseTransferDestinationRequest",
    "handoff-destination-request": "ServerMessageResponseHandoffDestinationRequest",
    "knowledge-base-request": "ServerMessageResponseKnowledgeBaseRequest",
    "call.endpointing.request": "ServerMessageResponseCallEndpointingRequest",
    "campaign.predial": "ServerMessageResponseCampaignPredial",
    "voice-request": "ServerMessageResponseVoiceRequest",
}
NASTY = 'Line one\nline two\r\n\ttab \x00 \x85 \u2028 "quoted" \\ {{liquid}} \ud83d\ude00 é'


@pytest.fixture(scope="module")
def spec() -> Spec:
    """The published schemas, closed against unknown fields."""
    return Spec.load().closed()


@pytest.fixture
def box() -> Toolbox:
    """A tool for every outcome."""
    box = Toolbox()

    @box.tool(effect="read")
    def look_up(name: Annotated[str, "A name."]) -> str:
        """Say something in every alphabet and on several lines."""
        return f"{name} {NASTY}"

    @box.tool(effect="read")
    def find_nothing() -> str:
        """Say nothing."""
        return ""

    @box.tool(effect="read")
    def talk() -> str:
        """Say too much."""
        return "word " * MAX_TEXT

    @box.tool(effect="read")
    def refuse() -> str:
        """Refuse in words."""
        raise ToolError(NASTY)

    @box.tool(effect="read")
    def break_down() -> str:
        """Break."""
        raise RuntimeError(NASTY)

    @box.tool(effect="read", timeout=0.02)
    def dawdle() -> str:
        """Take too long."""
        time.sleep(5)
        return "late"

    @box.tool
    def book(name: Annotated[str, "A name."]) -> str:
        """Book once."""
        return f"Booked {name}."

    @box.tool
    def book_and_break() -> str:
        """Perhaps book."""
        raise RuntimeError

    @box.tool(on_interrupt="cancel")
    def hang_up() -> str:
        """End the call."""
        return "Ended."

    @box.tool(effect="keyed", meanwhile=f"One moment. {NASTY} " + "word " * 500)
    def move(to: Annotated[str, "Where to."]) -> str:
        """Move in the background."""
        return f"Moved to {to}."

    @box.tool(dedupe="call", meanwhile="I am ordering.")
    def order(size: Annotated[str, "Size."]) -> str:
        """Order once per call."""
        return f"Ordered {size}."

    @box.tool(effect="keyed", after_call=True)
    def send(text: Annotated[str, "Words."]) -> str:
        """Send afterwards."""
        return "Sent."

    return box


def agent_of(box: Toolbox, **parts: Any) -> Agent:
    """An agent with these tools that answers everybody the same."""
    return Agent(box, lambda _: Assistant(id=development.ASSISTANT_ID), lambda _: None)._replace(**parts)


@pytest.fixture
def backend(box: Toolbox, settings: Settings, clock: Clock) -> Twin:
    """A whole backend."""
    return twin(agent_of(box), settings, clock)


def with_agent(backend: Twin, **parts: Any) -> Twin:
    """The backend with another agent."""
    return backend._replace(desk=backend.desk._replace(agent=backend.desk.agent._replace(**parts)))


class Down(Store):
    """A table that does not answer."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        raise Unavailable("table: test")


class Stuck(Queue):
    """A queue that takes nothing."""

    def __init__(self) -> None:
        pass

    def send(self, ticket: Ticket, delay: int = 0) -> None:
        """Fail."""
        raise Unavailable("queue: test")


def down(backend: Twin) -> Twin:
    """The backend without its table and queues."""
    return backend._replace(desk=backend.desk._replace(store=Down(), live_queue=Stuck(), after_call_queue=Stuck()))


def ask(backend: Twin, kind: str, **fields: Any) -> dict[str, Any]:
    """Send a message and return the answer, which is a JSON object in a response that Vapi reads."""
    body = {"type": kind, "timestamp": int(backend.clock() * 1000), "call": recorded.call(), **fields}
    backend.clock.advance(1)  # so that the next one is another message
    answer = webhook.respond(backend.desk, backend.event(body))

    assert answer["statusCode"] == 200
    assert answer["headers"] == {"content-type": "application/json"}
    read: dict[str, Any] = json.loads(answer["body"])
    return read


def check(spec: Spec, kind: str, answer: Mapping[str, Any]) -> None:
    """The answer is what the published schema says, bare and in the wrapper that the schema draws around it."""
    assert spec.faults(RESPONSES[kind], answer) == []
    assert spec.faults("ServerMessageResponse", {"messageResponse": answer}) == []


def test_the_published_union_of_answers_is_the_one_that_is_checked_here(spec: Spec) -> None:
    members = spec.schemas["ServerMessageResponse"]["properties"]["messageResponse"]["anyOf"]

    assert {member["$ref"].rpartition("/")[2] for member in members} == set(RESPONSES.values())
    assert set(RESPONSES) <= set(webhook.HANDLERS)


def test_a_field_that_is_not_published_is_a_fault(spec: Spec) -> None:
    assert spec.faults("ServerMessageResponseToolCalls", {"results": [], "result": "x"})
    assert spec.faults("ServerMessageResponseAssistantRequest", {"assistant_id": "x"})
    assert not Spec.load().faults("ServerMessageResponseAssistantRequest", {"assistant_id": "x"})


DECISIONS: list[Decision] = [
    Assistant(id=development.ASSISTANT_ID),
    Assistant(
        id="a", overrides={"variableValues": {"customerName": NASTY}, "metadata": {"tenant": "t"}, "firstMessage": "Hi"}
    ),
    Refusal("We are closed."),
    Refusal(NASTY),
    Refusal(""),
    Transfer("+15550100100"),
    Transfer("+15550100100", NASTY),
]


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_every_decision_about_a_caller_is_a_published_answer(
    spec: Spec, backend: Twin, decision: Decision, up: bool
) -> None:
    deciding = with_agent(backend, assistant=lambda _: decision)

    check(spec, "assistant-request", ask(deciding if up else down(deciding), "assistant-request"))


@pytest.mark.parametrize("credential", ["", development.CREDENTIAL_ID])
@pytest.mark.parametrize("stored", ["", development.ASSISTANT_ID])
def test_the_example_agents_answers_are_published_ones(
    spec: Spec, backend: Twin, monkeypatch: pytest.MonkeyPatch, stored: str, credential: str
) -> None:
    answering = with_agent(backend, assistant=decisions.assistant, tools=example_tools)
    settings = backend.settings._replace(assistant_id=stored, credential_id=credential)
    answering = answering._replace(desk=answering.desk._replace(settings=settings))

    answer = ask(answering, "assistant-request")
    check(spec, "assistant-request", answer)
    assert list(answer) == ["assistantId" if stored else "assistant"]
    monkeypatch.setattr(decisions, "BLOCKED", frozenset({recorded.CALLER}))
    blocked = ask(answering, "assistant-request", call={**recorded.call(), "id": "another-call"})
    check(spec, "assistant-request", blocked)
    assert list(blocked) == ["error"]


def test_the_whole_example_assistant_and_its_tools_are_published_configuration(spec: Spec) -> None:
    config = front_desk(describe(BASE_URL, Connection(), store_transcripts=True, control_authentication=True))

    assert spec.faults("CreateAssistantDTO", config) == []
    for definition in config["model"]["tools"]:
        assert spec.faults("CreateFunctionToolDTO", definition) == []
    assert set(config["serverMessages"]) <= spec.configurable_types()


def test_every_kind_of_tool_has_a_published_definition(spec: Spec, box: Toolbox) -> None:
    for tool in box:
        assert spec.faults("CreateFunctionToolDTO", tool.definition()) == []


@pytest.mark.parametrize("fallback", [development.ASSISTANT_ID, ""], ids=["fallback assistant", "apology"])
@pytest.mark.parametrize("way", ["breaks", "is slow"])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_the_answer_for_an_agent_that_fails_is_a_published_one(
    spec: Spec, backend: Twin, monkeypatch: pytest.MonkeyPatch, fallback: str, way: str, up: bool
) -> None:
    def fail(_: Caller) -> Decision:
        if way == "breaks":
            raise RuntimeError
        time.sleep(5)
        return Refusal("late")

    monkeypatch.setattr(lookups, "ASSISTANT_SECONDS", 0.02)
    failing = with_agent(backend, assistant=fail)
    failing = failing._replace(
        desk=failing.desk._replace(settings=backend.settings._replace(fallback_assistant_id=fallback))
    )

    answer = ask(failing if up else down(failing), "assistant-request")
    check(spec, "assistant-request", answer)
    assert list(answer) == ["assistantId" if fallback else "error"]


TRANSFERS: list[dict[str, Any] | None] = [
    None,
    {"type": "number", "number": "+15550100100"},
    {"type": "number", "number": "+15550100100", "message": "One moment.", "transferPlan": {"mode": "blind-transfer"}},
    {"type": "sip", "sipUri": "sip:desk@voice.example.com"},
    {"type": "assistant", "assistantName": "Billing"},
]
HANDOFFS: list[dict[str, Any] | None] = [
    None,
    {"type": "assistant", "assistantId": "a", "assistantOverrides": {"variableValues": {"topic": "billing"}}},
    {"type": "squad", "squadId": "s"},
]


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("destination", TRANSFERS)
def test_a_destination_for_a_transfer_is_a_published_answer(
    spec: Spec, backend: Twin, destination: dict[str, Any] | None, up: bool
) -> None:
    asked = with_agent(backend, destination=lambda _: destination)
    answer = ask(asked if up else down(asked), "transfer-destination-request")

    check(spec, "transfer-destination-request", answer)
    assert answer.get("destination") == destination


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("destination", HANDOFFS)
def test_a_destination_for_a_handoff_is_a_published_answer(
    spec: Spec, backend: Twin, destination: dict[str, Any] | None, up: bool
) -> None:
    asked = with_agent(backend, destination=lambda _: destination)
    answer = ask(asked if up else down(asked), "handoff-destination-request", parameters={"topic": "billing"})

    check(spec, "handoff-destination-request", answer)
    # The schema of the answer says "an object"; what it may hold is published as the tool's own destinations.
    kinds = {"assistant": "HandoffDestinationAssistant", "squad": "HandoffDestinationSquad"}
    assert destination is None or spec.faults(kinds[destination["type"]], answer["destination"]) == []
    assert (answer["destination"] == {}) == ("error" in answer) == (destination is None)


@pytest.mark.parametrize("kind", ["transfer-destination-request", "handoff-destination-request"])
@pytest.mark.parametrize("opened", [True, False])
def test_the_example_agents_destinations_are_published_ones(
    spec: Spec, backend: Twin, monkeypatch: pytest.MonkeyPatch, kind: str, opened: bool
) -> None:
    monkeypatch.setattr(decisions, "open_at", lambda _: opened)
    answer = ask(with_agent(backend, destination=decisions.destination), kind)

    check(spec, kind, answer)
    if kind.startswith("handoff"):
        assert answer["destination"] == {}  # the reception is a number, and a handoff goes to assistants


def fail(_: Message) -> dict[str, Any]:
    """An agent's answer that breaks."""
    raise RuntimeError


@pytest.mark.parametrize("answers", [{}, dict.fromkeys(webhook.EMPTY_ANSWERS, fail)], ids=["none", "broken"])
@pytest.mark.parametrize("kind", sorted(webhook.EMPTY_ANSWERS))
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_an_empty_answer_is_a_published_one(
    spec: Spec, backend: Twin, kind: str, answers: dict[str, Any], up: bool
) -> None:
    asked = with_agent(backend, answers=answers)

    check(spec, kind, ask(asked if up else down(asked), kind))


@pytest.mark.parametrize("kind", sorted(set(webhook.HANDLERS) - set(RESPONSES) - {"function-call"}))
def test_what_needs_no_answer_is_acknowledged_with_an_empty_object(backend: Twin, kind: str) -> None:
    assert ask(backend, kind, status="ended", role="user", transcriptType="final", transcript="Hi.") == {}


def call_of(name: str, arguments: Any = None, id: str = "call_1") -> dict[str, Any]:
    """One tool call."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments or {}}}


# How a call is answered: what it holds, and whether the words are a result. In that order, in one message.
OUTCOMES: list[tuple[dict[str, Any], str]] = [
    (call_of("look_up", {"name": "Ann"}), "result"),
    (call_of("look_up", '{"name":"Ann"}'), "result"),
    ({"id": "x", "name": "look_up", "parameters": {"name": "Ann"}}, "result"),
    (call_of("find_nothing"), "result"),
    (call_of("talk"), "result"),
    (call_of("refuse"), "error"),
    (call_of("break_down"), "error"),
    (call_of("dawdle"), "result"),  # goes on in the background
    (call_of("book", {"name": NASTY}), "result"),
    (call_of("book_and_break"), "error"),
    (call_of("hang_up"), "result"),
    (call_of("move", {"to": "Friday"}), "result"),
    (call_of("order", {"size": "large"}), "result"),
    (call_of("send", {"text": "Bye"}), "result"),
    (call_of("fly"), "error"),
    (call_of(NASTY), "error"),
    (call_of("book", "not json"), "error"),
    (call_of("book", [1]), "error"),
    (call_of("book", {"name": 7}), "error"),
    (call_of("book", {"nom": NASTY}), "error"),
    ({"type": "function", "function": {"name": "book", "arguments": {"name": "Ann"}}}, "error"),
    ({"id": "call_empty"}, "error"),
    ({}, "error"),
]


def numbered() -> list[dict[str, Any]]:
    """The calls of all outcomes in one message, each with an id of its own if it has one."""
    return [entry | {"id": f"call_{n}"} if "id" in entry else entry for n, (entry, _) in enumerate(OUTCOMES)]


def check_results(spec: Spec, entries: list[dict[str, Any]], answer: dict[str, Any]) -> list[str]:
    """The results are published ones, one for each call, in order, on one line; returns what each of them holds."""
    check(spec, "tool-calls", answer)
    results = answer["results"]
    assert [result["toolCallId"] for result in results] == [entry.get("id", "") for entry in entries]
    held = []
    for result in results:
        [kind] = result.keys() & {"result", "error"}
        held.append(kind)
        texts = [result[kind], result.get("message", {}).get("content", "")]
        assert all(character.isprintable() for text in texts for character in text)
        assert len(result[kind]) <= MAX_TEXT
    return held


def test_every_outcome_of_a_tool_is_a_published_answer(spec: Spec, backend: Twin) -> None:
    entries = numbered()

    assert check_results(spec, entries, ask(backend, "tool-calls", toolCallList=entries)) == [
        kind for _, kind in OUTCOMES
    ]


def test_a_repeated_message_is_answered_in_published_words_too(spec: Spec, backend: Twin) -> None:
    entries = numbered()
    for _ in range(3):
        check_results(spec, entries, ask(backend, "tool-calls", toolCallList=entries))
        backend.run(backend.live)


def test_every_call_is_answered_while_everything_is_down(spec: Spec, backend: Twin) -> None:
    entries = numbered()

    held = check_results(spec, entries, ask(down(backend), "tool-calls", toolCallList=entries))
    looked_up = [kind for entry, kind in OUTCOMES if str(entry.get("function", entry)).find("look_up") > 0]
    assert held.count("result") >= len(looked_up) == 3


def test_the_answers_about_a_call_that_is_known_already_are_published_ones(spec: Spec, backend: Twin) -> None:
    """Under way, lost, used for something else, repeated by the model, or spoken over."""
    book = call_of("book", {"name": "Ann"})
    told = {"type": "tool-calls", "timestamp": 1, "call": recorded.call(), "toolCallList": [book]}
    [job] = [lanes._checked(backend.desk, Message(told), ToolCall("call_1", "book", {"name": "Ann"}))]
    assert isinstance(job, lanes.Job)
    running = job.row._replace(state=State.RUNNING, lease=int(backend.clock() * 1000) + 5000)
    toolcalls.accept(backend.store, running, backend.clock(), 24)

    for entry, words in (
        (book, lanes.BUSY),
        (call_of("book", {"name": "Bob"}), lanes.CONFLICT),
    ):
        answer = ask(backend, "tool-calls", toolCallList=[entry])
        assert check_results(spec, [entry], answer) == ["error"]
        assert answer["results"][0]["error"] == words
    backend.clock.advance(60)
    answer = ask(backend, "tool-calls", toolCallList=[book])
    check_results(spec, [book], answer)
    assert answer["results"][0]["error"] == lanes.UNCONFIRMED
    ask(backend, "user-interrupted")
    cancelled = call_of("hang_up", id="call_9")
    answer = ask(backend, "tool-calls", toolCallList=[cancelled], timestamp=1)
    check_results(spec, [cancelled], answer)
    assert answer["results"][0]["error"] == lanes.INTERRUPTED
    again = [call_of("order", {"size": "large"}, f"call_{n}") for n in (20, 21)]
    check_results(spec, again, ask(backend, "tool-calls", toolCallList=again))


@pytest.mark.parametrize("fields", [{}, {"toolCallList": []}, {"toolCallList": None}, {"toolCalls": [1, None]}])
def test_a_message_without_calls_has_a_published_answer(spec: Spec, backend: Twin, fields: dict[str, Any]) -> None:
    answer = ask(backend, "tool-calls", **fields)

    check(spec, "tool-calls", answer)
    assert answer == {"results": []}


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_the_old_function_call_has_one_result_and_nothing_else(backend: Twin, up: bool) -> None:
    """It has no published schema any more: its answer is `{"result": text}`."""
    asked = backend if up else down(backend)
    for entry, _ in OUTCOMES:
        function = entry.get("function", {})
        answer = ask(asked, "function-call", functionCall={**function, "parameters": function.get("arguments")})
        assert list(answer) == ["result"]
        assert isinstance(answer["result"], str)
        assert answer["result"].isprintable()
    assert ask(asked, "function-call") == {}


def test_every_handler_is_called_here() -> None:
    """Should a message type get a handler, its answer has to be checked above."""
    acknowledged = {"status-update", "end-of-call-report", "speech-update", "user-interrupted", "transcript", "hang"}

    assert set(webhook.HANDLERS) == set(RESPONSES) | acknowledged | {"function-call"}
