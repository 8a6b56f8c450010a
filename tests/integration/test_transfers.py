"""Transfers: each outcome's whole timeline on a real table, who may be called, and what the tool that asks is told."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

import pytest

from devkit.exchange import Person
from devkit.exchange_legs import Leg
from switchboard import admission, calls, legs, toolcalls, transfers, webhook
from switchboard.queue import Ticket
from switchboard.settings import Settings
from switchboard.store import Key, Store, Update
from switchboard.toolcalls import Delivery, Row, State
from switchboard.tools import Call, Toolbox, ToolError
from switchboard.transfers import Impossible
from switchboard.worker import work
from tests.conftest import Clock
from tests.handover import CALL, DIALLED, PERSON, SUMMARY, Handover
from tests.integration.conftest import House, Vapis, message, tool_call
from tests.memory import Memory

GOLDEN = Path(__file__).with_name("golden_transfers.txt")
TAKES = Person(digits=("5", "1"), hangs_up_after=60)
TICKET = Key(f"CALL#{CALL}", "TOOL#call_1")


class Play(NamedTuple):
    """Who is called, and what happens besides."""

    person: Person
    trouble: str = ""
    hangs_up_after: float | None = None
    end: str = "assistant"


PLAYS = {
    "bridged": Play(TAKES, end="gone"),
    "no_answer": Play(Person(behaviour="no-answer")),
    "busy": Play(Person(behaviour="busy")),
    "declined": Play(Person(digits=("5", "2"))),
    "declined by hanging up": Play(Person(hangs_up_after=6)),
    "voicemail": Play(Person(behaviour="voicemail")),
    "failed": Play(Person(), trouble="refuse"),
    "gone": Play(Person(), hangs_up_after=9, end="gone"),
}


@pytest.fixture
def memory() -> Memory:
    """A table that evaluates the same expressions."""
    return Memory()


def golden(name: str) -> str:
    """One timeline of the file, each headed by its name."""
    sections = re.split(r"^## (.+)\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(sections[::2], sections[1::2], strict=True))[name].strip("\n")


@pytest.mark.parametrize("name", PLAYS)
def test_each_outcome_has_its_timeline(name: str, settings: Settings, clock: Clock, store: Store) -> None:
    play = PLAYS[name]
    handover = Handover(settings, clock, store, play.person)
    if play.trouble:
        handover.exchange.fail("create", "refuse")
    leg = handover.ring(hangs_up_after=play.hangs_up_after)
    handover.run(3)

    handover.ask(leg)
    handover.run(120)

    assert handover.story(leg) == golden(name)
    assert handover.callers_end(leg) == play.end
    # Nobody is left in a silence, and nothing is left to do.
    assert handover.exchange.silence(leg) == 0
    assert handover.stored(leg).due == 0
    assert handover.stored(leg).outcome == name.partition(" ")[0]


def test_the_assistant_learns_what_became_of_it(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, Person(behaviour="busy"))
    leg = handover.ring()

    handover.ask(leg, summary="Two\nlines " + "x" * 500)
    handover.run(5)

    (back,) = handover.backs
    assert back == ("busy", "reception", ("Two lines " + "x" * 500)[:400], 1)
    assert back.returns
    assert set(transfers.WORDS) == set(transfers.UNANSWERED)


@pytest.mark.parametrize("outcome", ["bridged", "gone", "", "requested"])
def test_a_talk_that_is_over_and_a_caller_who_is_gone_do_not_return(outcome: str) -> None:
    assert not transfers.Back(outcome).returns


def test_only_a_person_who_presses_a_key_hears_what_it_is_about(
    settings: Settings, clock: Clock, memory: Memory
) -> None:
    handover = Handover(settings, clock, memory, Person(behaviour="voicemail"))
    handover.ask(handover.ring())
    handover.run(60)

    assert handover.exchange.words(handover.persons()[0]) == [transfers.OPENING] * 2


def test_the_person_is_shown_the_number_that_the_caller_dialled(
    settings: Settings, clock: Clock, memory: Memory
) -> None:
    handover = Handover(settings, clock, memory, Person())
    handover.ask(handover.ring())

    form = dict(parse_qsl(handover.requests[-1].content.decode()))
    assert (form["To"], form["From"]) == (PERSON, DIALLED)


def test_the_summary_is_forgotten_when_two_people_talk(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, Person(digits=("5", "1")))
    leg = handover.ring()
    handover.ask(leg)
    before = memory.get(transfers.key(leg.sid)) or {}
    handover.run(60)
    after = memory.get(transfers.key(leg.sid)) or {}

    assert (before["summary"], before["exp"]) == (SUMMARY, int(clock.now - 60) + 3600)
    assert "summary" not in after
    # An hour later they may still be talking, and then the talk's end must not pass for a transfer that failed.
    clock.advance(12 * 3600)
    assert transfers.back(memory, leg.sid, clock.now).outcome == "bridged"


def test_a_transfer_that_has_expired_is_none(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, Person(behaviour="busy"))
    leg = handover.ring()
    handover.ask(leg)
    clock.advance(3600)

    assert transfers.load(memory, leg.sid, clock.now) is None
    assert transfers.back(memory, leg.sid, clock.now).outcome == "failed"
    assert transfers.caller_gone(handover.switch, leg.sid, clock.now) is None


def test_the_slot_is_kept_although_the_ai_call_ends(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, Person(behaviour="no-answer"))
    leg = handover.ring()
    assert admission.enter(memory, settings, leg.sid, clock.now)
    admission.occupy(memory, leg.sid, CALL, clock.now)

    handover.ask(leg)

    assert admission.leave(memory, call_id=CALL) == 0
    assert admission.leave(memory, holder=leg.sid) == 1


def test_the_slot_is_free_once_two_people_talk(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, TAKES)
    leg = handover.ring()
    assert admission.enter(memory, settings, leg.sid, clock.now)
    handover.ask(leg)
    handover.run(8)

    assert (transfers.load(memory, leg.sid, clock.now) or pytest.fail("no transfer")).state is transfers.State.BRIEFING
    assert admission.active(memory, clock.now) == 1

    handover.run(45)

    assert (transfers.load(memory, leg.sid, clock.now) or pytest.fail("no transfer")).state is transfers.State.BRIDGED
    assert admission.active(memory, clock.now) == 0


# Who may be called, and when


def refused(handover: Handover, leg: Leg, **more: Any) -> str:
    """Why a transfer was refused, after seeing that nothing has happened."""
    sent = len(handover.requests)
    with pytest.raises(Impossible) as error:
        handover.ask(leg, **more)
    assert len(handover.requests) == sent
    assert transfers.load(handover.store, leg.sid, handover.clock.now) is None
    assert handover.callers_end(leg) == "assistant"
    return str(error.value)


@pytest.fixture
def handover(settings: Settings, clock: Clock, memory: Memory) -> Handover:
    """Somebody who never picks up."""
    return Handover(settings, clock, memory, Person(behaviour="no-answer"))


def test_nobody_is_called_who_is_not_on_the_list(handover: Handover) -> None:
    assert refused(handover, handover.ring(), name="+15555550111") == transfers.NOBODY_OF_THAT_NAME


@pytest.mark.parametrize(
    "number", ["", "15555550199", "+1555", "tel:+15555550199", "+15555550199\n", "sip:a@b.example"]
)
def test_nobody_is_called_whose_number_is_none(handover: Handover, number: str) -> None:
    handover.switch = handover.switch._replace(people={"reception": number})

    assert refused(handover, handover.ring()) == transfers.NOBODY_OF_THAT_NAME


def test_a_call_that_was_handed_to_vapi_is_not_transferred(handover: Handover) -> None:
    handover.switch = handover.switch._replace(settings=handover.settings._replace(way="redirect"))

    assert refused(handover, handover.ring()) == transfers.NO_PHONE


@pytest.mark.parametrize("field", ["account", "dialled"])
def test_a_leg_of_which_too_little_is_known_is_not_transferred(handover: Handover, field: str) -> None:
    leg = handover.ring()
    handover.store.update(Update(legs.key(leg.sid), f"REMOVE #{field}"))

    assert refused(handover, leg) == transfers.NO_PHONE


def test_a_leg_whose_dialled_number_is_no_number_is_not_transferred(handover: Handover) -> None:
    leg = handover.ring()
    handover.store.update(Update(legs.key(leg.sid), "SET #dialled = :sip", values={"sip": "sip:desk@example.com"}))

    assert refused(handover, leg) == transfers.NO_PHONE


def test_a_call_without_a_phone_is_not_transferred(handover: Handover) -> None:
    with pytest.raises(Impossible, match=re.escape(transfers.NO_PHONE)):
        transfers.start(handover.switch, "", CALL, "reception", "", handover.clock.now, asked_by="row")
    with pytest.raises(Impossible, match=re.escape(transfers.NO_PHONE)):
        transfers.put_through(handover.switch, CALL, "row", "reception", "")


def test_without_a_secret_for_twilio_nothing_is_begun(handover: Handover) -> None:
    settings = handover.settings._replace(twilio_api_key="SK1")
    handover.switch = handover.switch._replace(settings=settings)

    assert refused(handover, handover.ring()) == transfers.NOT_NOW


def test_a_second_transfer_while_one_is_under_way_changes_nothing(handover: Handover) -> None:
    leg = handover.ring()
    first = handover.ask(leg)
    requests = len(handover.requests)

    second = handover.ask(leg, asked_by="row-2")

    assert second == first == handover.stored(leg)
    assert len(handover.requests) == requests


def test_after_one_that_came_back_a_new_one_is_the_second(handover: Handover) -> None:
    leg = handover.ring()
    handover.ask(leg)
    handover.run(40)
    handover.ask(leg, asked_by="row-2", summary="Again.")
    handover.run(40)

    assert [back.number for back in handover.backs] == [1, 2]
    assert handover.backs[1].summary == "Again."
    assert len(handover.persons()) == 2
    # Late words about the first one change nothing in the second.
    assert transfers.back(handover.store, leg.sid, handover.clock.now, number=1) == ("failed", "", "", 1)


def test_one_phone_call_is_transferred_five_times_at_most(handover: Handover) -> None:
    leg = handover.ring()
    for number in range(5):
        handover.ask(leg, asked_by=f"row-{number}")
        handover.run(40)

    with pytest.raises(Impossible, match="did not work"):
        handover.ask(leg, asked_by="row-6")
    assert len(handover.persons()) == 5


def test_a_request_that_is_repeated_after_its_end_does_not_call_again(handover: Handover) -> None:
    leg = handover.ring()
    handover.ask(leg)
    handover.run(40)

    handover.ask(leg)
    handover.run(40)

    assert len(handover.persons()) == 1
    assert len(handover.backs) == 1


def test_two_callers_at_once_have_a_room_each(settings: Settings, clock: Clock, memory: Memory) -> None:
    handover = Handover(settings, clock, memory, Person(digits=("5", "1")))
    one, two = handover.ring(), handover.ring("+15555550135")
    handover.ask(one)
    handover.ask(two, asked_by="row-2")
    handover.run(60)

    rooms = {name: {leg.sid for leg, _ in room.members} for name, room in handover.exchange.rooms.items()}
    assert sorted(map(len, rooms.values())) == [2, 2]
    assert one.sid in rooms[f"transfer-{one.sid}"]
    assert two.sid in rooms[f"transfer-{two.sid}"]


def test_one_who_is_not_moved_stays_and_is_told(handover: Handover) -> None:
    leg = handover.ring()
    admission.enter(handover.store, handover.settings, leg.sid, handover.clock.now)
    handover.exchange.fail("update", "limit")

    stored = handover.ask(leg)

    assert stored
    assert (stored.state, stored.outcome, stored.holding_at) == ("returned", "failed", 0)
    assert handover.callers_end(leg) == "assistant"
    # The AI call goes on, so its end frees the slot again.
    assert admission.leave(handover.store, call_id=CALL) == 1


# The tool that asks


@pytest.fixture
def desk(house: House, tools: Toolbox, settings: Settings, clock: Clock, store: Store) -> tuple[House, Handover, Leg]:
    """A backend whose assistant can put callers through, and a caller."""
    handover = Handover(settings, clock, store, Person(behaviour="no-answer"))

    @tools.tool(effect="keyed", meanwhile="One moment.", timeout=15, on_interrupt="cancel")
    def put_through(call: Call, summary: Annotated[str, "What about."]) -> str:
        """Put the caller through."""
        said = call.transfer("reception", summary)
        if summary == "break":
            raise ToolError("Too late for this.")
        return said

    switch = handover.switch._replace(people={})
    agent = house.live.agent._replace(people={"reception": PERSON})
    house = house._replace(live=house.live._replace(agent=agent, switch=switch))
    leg = handover.ring()
    calls.link(store, CALL, leg.sid, "a.vapi.ai", settings, clock.now)
    return house, handover, leg


def run_tool(house: House, missed: list[str], summary: str = SUMMARY) -> Row:
    """Let the model call the tool, and the worker run it."""

    body = message("tool-calls", house.clock, toolCallList=[tool_call("put_through", {"summary": summary})])
    assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200
    bench = house.live._replace(undelivered=lambda row, reason: missed.append(reason))
    house._replace(live=bench).run(bench)
    stored = toolcalls.load(house.store, TICKET)
    assert stored
    return stored


@pytest.mark.parametrize(("summary", "state"), [(SUMMARY, State.SUCCEEDED), ("break", State.FAILED)])
def test_a_result_is_not_spoken_into_the_call_that_the_transfer_has_ended(
    desk: tuple[House, Handover, Leg], vapis: Vapis, summary: str, state: State
) -> None:
    house, handover, leg = desk
    missed: list[str] = []

    row = run_tool(house, missed, summary)

    assert handover.stored(leg).state == "ringing"
    assert (row.state, row.delivery) == (state, Delivery.NONE)
    assert "g1pk" not in (house.store.get(TICKET) or {})
    assert (vapis.requests, missed) == ([], [])


def test_what_cannot_be_is_said_in_the_call_that_goes_on(desk: tuple[House, Handover, Leg], vapis: Vapis) -> None:
    house, handover, leg = desk
    handover.exchange.fail("update", "refuse")

    row = run_tool(house, [])

    assert (row.state, row.result, row.delivery) == (State.FAILED, transfers.NOT_NOW, Delivery.DELIVERED)
    assert handover.callers_end(leg) == "assistant"
    assert len(vapis.requests) == 1


def test_a_move_in_doubt_is_repeated_by_the_worker(desk: tuple[House, Handover, Leg]) -> None:
    house, handover, leg = desk
    handover.exchange.fail("update", "timeout", 2)

    row = run_tool(house, [])
    assert (row.state, handover.stored(leg).state) == (State.RUNNING, "requested")
    house.clock.advance(2)
    work(house.live, Ticket(CALL, TICKET.sk), "receipt", lambda: 35.0)

    assert handover.stored(leg).state == "ringing"


def test_without_a_switch_no_tool_can_transfer() -> None:
    call = Call(id=CALL, caller="", idempotency_key="k", now=datetime.now(UTC))

    with pytest.raises(ToolError, match="cannot be put through"):
        call.transfer("reception", "")
    assert not call.transferred
