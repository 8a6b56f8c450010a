"""The example agent: who answers, with which configuration, and what its tools say and refuse."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent import agent
from agent import assistant as decisions
from agent import tools as toolset
from agent.assistant import assistant, destination
from agent.calendar import Appointment, Calendar, UnknownAppointment, open_at
from agent.tools import tools
from devkit.assistant_rules import Needs, faults
from switchboard.connection import Connection
from switchboard.desk import Agent, Caller, describe
from switchboard.errors import ConditionFailed
from switchboard.messages import Assistant, Message, Refusal
from switchboard.store import Item, Key, Put, Update
from switchboard.tools import Call, Tool, ToolError, WrongArguments

CLINIC = ZoneInfo("America/New_York")
STACK = describe("https://voice.example.com", Connection(), store_transcripts=True, control_authentication=True)
CALLER = Caller("+15550100001", "+15550100002", "CA" + "1" * 32, STACK)
FRIDAY = datetime(2027, 1, 15, 8, tzinfo=UTC)


def tool(name: str) -> Tool:
    found = tools.get(name)
    assert found is not None
    return found


# Who answers


def configured(caller: Caller = CALLER) -> dict[str, Any]:
    """The assistant that is given whole."""
    decision = assistant(caller)
    assert isinstance(decision, Assistant)
    assert decision.id == ""
    assert decision.config is not None
    return dict(decision.config)


def test_the_agent_is_its_tools_and_its_two_decisions() -> None:
    shelf = decisions.tools

    assert agent == Agent(shelf, assistant, destination, people=decisions.PEOPLE, configuration=decisions.front_desk)
    assert shelf.toolbox is tools


def test_a_stored_assistant_is_named_where_there_is_one() -> None:
    caller = CALLER._replace(backend=STACK._replace(assistant_id="asst-1"))

    assert assistant(caller) == Assistant(id="asst-1")


RETURNED = {"outcome": "no_answer", "to": "reception", "summary": "They want a later appointment."}


def test_a_caller_who_comes_back_from_a_transfer_is_not_asked_everything_again() -> None:
    caller = CALLER._replace(backend=STACK._replace(assistant_id="asst-1"), returned=RETURNED)

    messages = configured(caller)["model"]["messages"]
    assert len(messages) == len(configured()["model"]["messages"]) + 1
    assert all(words in messages[-1]["content"] for words in RETURNED.values())


def test_what_is_stored_at_vapi_is_what_a_new_caller_is_given_whole() -> None:
    assert agent.configuration(STACK) == configured()


def test_a_blocked_caller_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "BLOCKED", frozenset({CALLER.number}))

    assert isinstance(assistant(CALLER), Refusal)
    assert isinstance(assistant(CALLER._replace(number="+15550100009")), Assistant)


def test_the_assistant_is_one_that_vapi_takes_and_this_stack_can_work_with() -> None:
    # Keep this one when you write your own: each fault is a sentence that says what to change.
    assert faults(agent.configuration(STACK), Needs.of(STACK, agent)) == []


def test_the_assistant_can_do_what_the_tools_can() -> None:
    model = configured()["model"]

    assert model["tools"] == tools.definitions(STACK.tool_server)
    assert model["messages"] == [{"role": "system", "content": decisions.PROMPT}]


def test_what_is_read_off_a_conversation_fits_into_the_report_that_is_kept() -> None:
    for output in configured()["artifactPlan"]["structuredOutputs"]:
        # Values of a few words each, of which the longest are no text at all.
        properties = output["schema"]["properties"].values()

        assert all(one["type"] == "boolean" or one["enum"] for one in properties)


def test_silence_is_asked_about_and_then_ends_the_call() -> None:
    asks, ends = configured()["hooks"]

    assert asks["options"]["timeoutSeconds"] * 2 < ends["options"]["timeoutSeconds"]
    assert ends["do"] == [{"type": "tool", "tool": {"type": "endCall"}}]


def test_the_assistant_asks_for_the_messages_that_this_backend_uses_and_no_more() -> None:
    assert configured()["serverMessages"] == list(STACK.server_messages)


def test_its_messages_come_back_to_us() -> None:
    assert configured()["server"] == STACK.server


@pytest.mark.parametrize("secured", [True, False])
def test_speaking_into_the_call_is_possible_and_secured_as_set(secured: bool) -> None:
    caller = CALLER._replace(backend=STACK._replace(control_authentication=secured))

    plan = configured(caller)["monitorPlan"]
    assert plan == {"controlEnabled": True, "listenEnabled": False, "controlAuthenticationEnabled": secured}


@pytest.mark.parametrize(("is_open", "expected"), [(True, {"type": "number", "number": "+15550100100"}), (False, None)])
def test_callers_are_put_through_to_the_reception_while_somebody_is_there(
    monkeypatch: pytest.MonkeyPatch, is_open: bool, expected: Any
) -> None:
    asked: list[datetime] = []

    def opened(start: datetime) -> bool:
        asked.append(start)
        return is_open

    monkeypatch.setattr(decisions, "open_at", opened)

    assert destination(Message({"type": "transfer-destination-request"})) == expected
    assert asked[0].tzinfo is UTC


# Its tools


def test_every_tool_runs_where_and_acts_as_it_should() -> None:
    assert {tool.name: (tool.lane, tool.effect) for tool in tools} == {
        "find_appointment": ("inline", "read"),
        "change_appointment": ("live", "keyed"),
        "transfer_to_person": ("live", "keyed"),
        "send_confirmation": ("after_call", "keyed"),
    }
    assert tool("change_appointment").meanwhile


def test_the_model_is_told_which_arguments_there_are() -> None:
    assert tool("find_appointment").arguments.schema["properties"] == {}
    change = tool("change_appointment").arguments.schema
    assert change["required"] == ["appointment", "start"]
    assert change["properties"]["appointment"]["pattern"] == r"^apt_\d+$"
    assert change["properties"]["start"]["format"] == "date-time"
    assert tool("send_confirmation").arguments.schema["required"] == ["appointment"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"appointment": "apt_1"},
        {"appointment": "1", "start": "2027-01-21T10:00:00-05:00"},
        {"appointment": "apt_1#x", "start": "2027-01-21T10:00:00-05:00"},
        {"appointment": "apt_1", "start": "2027-01-21T10:00:00"},
        {"appointment": "apt_1", "start": "Thursday"},
        {"appointment": "apt_1", "start": "2027-01-21T10:00:00-05:00", "caller": "+1900"},
    ],
)
def test_arguments_that_mean_no_appointment_or_no_moment_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(WrongArguments):
        tool("change_appointment").parse(arguments)


class Diary:
    """Stands in for the calendar: one appointment, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.known = True

    def _note(self, *asked: Any) -> None:
        self.asked.append(asked)
        if not self.known:
            raise UnknownAppointment("apt_1")

    def find(self, caller: str, now: datetime) -> Appointment:
        self._note("find", caller, now)
        return Appointment("apt_1", datetime(2027, 1, 19, 10, tzinfo=CLINIC))

    def move(self, caller: str, id: str, start: datetime, key: str) -> Appointment:
        self._note("move", caller, id, start, key)
        return Appointment(id, start.astimezone(CLINIC))

    def confirm(self, caller: str, id: str, key: str) -> None:
        self._note("confirm", caller, id, key)


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    made = Diary()
    monkeypatch.setattr(toolset, "calendar", lambda: made)
    return made


def run(name: str, **arguments: Any) -> str:
    call = Call(id="c-1", caller="+15550100001", idempotency_key="key", now=FRIDAY)
    return tool(name).run(call, tool(name).parse(arguments))


def test_an_appointment_is_found_for_the_number_that_calls(diary: Diary) -> None:
    said = run("find_appointment")

    assert said == "Appointment apt_1 is on Tuesday, January 19 at 10:00 AM (2027-01-19T10:00:00-05:00)."
    assert diary.asked == [("find", "+15550100001", FRIDAY)]


def test_an_appointment_is_moved_under_the_key_of_the_call(diary: Diary) -> None:
    said = run("change_appointment", appointment="apt_1", start="2027-01-21T19:30:00Z")

    assert said == "The appointment is now on Thursday, January 21 at 2:30 PM."
    assert diary.asked == [("move", "+15550100001", "apt_1", datetime(2027, 1, 21, 19, 30, tzinfo=UTC), "key")]


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2027-01-14T10:00:00-05:00", "passed already"),
        ("2027-01-15T07:59:59Z", "passed already"),
        ("2027-01-15T08:00:00Z", "Monday to Friday"),
        ("2027-01-16T10:00:00-05:00", "Monday to Friday"),
        ("2027-01-21T18:00:00-05:00", "Monday to Friday"),
    ],
)
def test_an_appointment_is_not_moved_to_when_nobody_is_there(diary: Diary, start: str, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        run("change_appointment", appointment="apt_1", start=start)
    assert diary.asked == []


def test_an_appointment_that_is_not_the_callers_is_not_found(diary: Diary) -> None:
    diary.known = False

    with pytest.raises(ToolError, match="cannot find"):
        run("change_appointment", appointment="apt_2", start="2027-01-21T10:00:00-05:00")


def test_a_confirmation_is_sent_under_the_key_of_the_call(diary: Diary) -> None:
    assert run("send_confirmation", appointment="apt_1") == "Confirmation sent."
    assert diary.asked == [("confirm", "+15550100001", "apt_1", "key")]


# Its calendar


@pytest.mark.parametrize(
    ("local", "is_open"),
    [
        ("2027-01-18T07:59:59", False),
        ("2027-01-18T08:00:00", True),
        ("2027-01-18T17:59:59", True),
        ("2027-01-18T18:00:00", False),
        ("2027-01-22T12:00:00", True),
        ("2027-01-23T12:00:00", False),
        ("2027-01-24T12:00:00", False),
    ],
)
def test_the_clinic_is_open_from_monday_to_friday_and_from_eight_to_six(local: str, is_open: bool) -> None:
    start = datetime.fromisoformat(local).replace(tzinfo=CLINIC)

    assert open_at(start) is is_open
    assert open_at(start.astimezone(UTC)) is is_open


class Shelf:
    """A table that keeps what is put, and refuses what it is told to."""

    def __init__(self, refuses: ConditionFailed | None = None) -> None:
        self.items: dict[Key, Item] = {}
        self.updates: list[Update] = []
        self.refuses = refuses

    def get(self, key: Key) -> Item | None:
        return self.items.get(key)

    def put(self, put: Put) -> None:
        assert put.condition == "attribute_not_exists(#pk)"
        if self.refuses:
            raise self.refuses
        self.items[Key(put.item["pk"], put.item["sk"])] = put.item

    def update(self, update: Update) -> Item:
        self.updates.append(update)
        if self.refuses:
            raise self.refuses
        return {}


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr("agent.calendar.ANSWER_SECONDS", 0)
    return Shelf()


def on(shelf: Shelf) -> Calendar:
    return Calendar(shelf)  # type: ignore[arg-type]  # it does what the calendar needs of a store


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2027-01-15T08:00:00+00:00", "2027-01-19T10:00:00-05:00"),
        ("2027-01-18T23:59:58.999999-05:00", "2027-01-19T10:00:00-05:00"),
        ("2027-01-19T04:59:00+00:00", "2027-01-19T10:00:00-05:00"),
        ("2027-01-19T05:00:00+00:00", "2027-01-26T10:00:00-05:00"),
        ("2027-03-12T12:00:00+00:00", "2027-03-16T10:00:00-04:00"),
    ],
)
def test_a_first_look_makes_an_appointment_on_the_next_tuesday_at_ten(shelf: Shelf, now: str, start: str) -> None:
    found = on(shelf).find("+15550100001", datetime.fromisoformat(now))

    assert (found.id, found.start.isoformat()) == ("apt_1", start)
    (item,) = shelf.items.values()
    assert (item["start"], item["changes"], item["confirmations"]) == (start, 0, 0)


def test_a_second_look_finds_the_same_appointment(shelf: Shelf) -> None:
    first = on(shelf).find("+15550100001", FRIDAY)

    assert on(shelf).find("+15550100001", datetime(2028, 1, 1, tzinfo=UTC)) == first
    assert len(shelf.items) == 1


def test_every_caller_has_an_appointment_of_their_own_and_no_number_is_stored(shelf: Shelf) -> None:
    for caller in ("+15550100001", "+15550100002"):
        on(shelf).find(caller, FRIDAY)

    assert len(shelf.items) == 2
    assert all(key.pk == "AGENT#calendar" and key.sk.startswith("APT#") for key in shelf.items)
    assert "15550100" not in repr(shelf.items)


def test_of_two_first_looks_at_once_the_stored_one_counts(shelf: Shelf) -> None:
    shelf.refuses = ConditionFailed({"start": "2027-02-02T15:00:00+00:00"})

    assert on(shelf).find("+15550100001", FRIDAY).start.isoformat() == "2027-02-02T10:00:00-05:00"


def test_a_change_is_made_once_per_key_and_says_the_same_again(shelf: Shelf) -> None:
    start = datetime(2027, 1, 21, 19, 30, tzinfo=UTC)
    first = on(shelf).move("+15550100001", "apt_1", start, "key")
    shelf.refuses = ConditionFailed({"applied": {"key"}})

    assert on(shelf).move("+15550100001", "apt_1", start, "key") == first
    assert first.start.isoformat() == "2027-01-21T14:30:00-05:00"
    on(shelf).confirm("+15550100001", "apt_1", "key")
    for update in shelf.updates:
        assert update.condition == "attribute_exists(#pk) AND NOT contains(#applied, :key)"
        assert update.values["key"] == "key"
        assert update.values["keys"] == {"key"}


def test_an_appointment_that_is_not_there_is_neither_moved_nor_confirmed(shelf: Shelf) -> None:
    shelf.refuses = ConditionFailed(None)

    with pytest.raises(UnknownAppointment):
        on(shelf).move("+15550100001", "apt_9", FRIDAY, "key")
    with pytest.raises(UnknownAppointment):
        on(shelf).confirm("+15550100001", "apt_9", "key")
