"""The phone leg: what Twilio tells of it in any order and as often as it likes, and what its end sets off."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devkit import development
from switchboard import admission, callbacks, calls, legs, transfers
from switchboard.errors import Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.store import Put, Store
from tests.conftest import NOW
from tests.integration.conftest import CALL, CALL_SID, CONTROL, House
from tests.integration.test_phone import event
from tests.memory import Memory

FACTS = {"account": development.TWILIO_ACCOUNT_SID, "dialled": "+15550100199"}
LONGEST = 2400
# What Twilio says of one leg: as configured on the call, and once more, without a number, as configured on the phone number.
TOLD = (
    {"SequenceNumber": "0", "CallStatus": "initiated"},
    {"SequenceNumber": "1", "CallStatus": "ringing"},
    {"SequenceNumber": "2", "CallStatus": "in-progress"},
    {"SequenceNumber": "3", "CallStatus": "completed", "CallDuration": "41"},
    {"CallStatus": "completed", "CallDuration": "41"},
)
OPENED = {"opened": "yes"}


def hear(store: Store, told: dict[str, str]) -> None:
    """Take in one callback, or the question that opens the leg."""
    if told is OPENED:
        legs.open_leg(store, CALL_SID, FACTS, LONGEST, NOW)
    else:
        legs.record_status(store, CALL_SID, told, NOW)


def end(house: House, **changes: str) -> int:
    """Twilio tells that the leg is over; returns the status of our answer."""
    fields = {"CallStatus": "completed", "SequenceNumber": "3", **changes}
    return int(callbacks.respond(house.attendant, event("/voice/status", **fields))["statusCode"])


def opened(house: House, call_id: str = CALL) -> House:
    """A leg that talks to the assistant, in a slot."""
    legs.open_leg(house.store, CALL_SID, FACTS, LONGEST, house.clock())
    assert admission.enter(house.store, house.settings, CALL_SID, house.clock())
    if call_id:
        legs.connect(house.store, CALL_SID, call_id, "<Response/>")
        host = CONTROL.split("/")[2]
        calls.link(house.store, call_id, CALL_SID, host, house.settings, house.clock())
        admission.occupy(house.store, CALL_SID, call_id, house.clock())
    return house


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Ticket, int]]:
    """Every ticket that is put on a queue, and its delay."""
    made: list[tuple[Ticket, int]] = []
    monkeypatch.setattr(Queue, "send", lambda _queue, ticket, delay=0: made.append((ticket, delay)))
    return made


# Any order, any repetition


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from((*TOLD, OPENED)), max_size=6).flatmap(lambda more: st.permutations([*TOLD, OPENED, *more]))
)
def test_every_order_of_the_same_callbacks_ends_in_the_same_leg(told: list[dict[str, str]]) -> None:
    store, plain = Memory(), Memory()
    for one in (OPENED, *TOLD):
        hear(plain, one)
    for one in told:
        hear(store, one)

    # Beside who opened it.
    found, wanted = ((one.get(legs.key(CALL_SID)) or {}) | {"by": ""} for one in (store, plain))
    assert found == wanted


def test_the_table_itself_agrees(store: Store) -> None:
    for order in permutations(TOLD[2:]):
        store.put(Put({**legs.key(CALL_SID)._asdict(), "exp": 0}))
        for one in order:
            hear(store, one)
        leg = store.get(legs.key(CALL_SID)) or {}
        assert (leg["status"], leg["sequence"], leg["duration"]) == ("completed", 3, 41)


@pytest.mark.parametrize("over", legs.OVER)
def test_the_end_wins_and_stays_whatever_its_number(over: str) -> None:
    store = Memory()
    hear(store, {"SequenceNumber": "7", "CallStatus": "in-progress"})

    assert legs.record_status(store, CALL_SID, {"CallStatus": over}, NOW)
    assert legs.record_status(store, CALL_SID, {"SequenceNumber": "9", "CallStatus": "ringing"}, NOW) is None
    assert (store.get(legs.key(CALL_SID)) or {})["status"] == over


def test_an_older_callback_is_no_news() -> None:
    store = Memory()
    hear(store, TOLD[2])

    assert legs.record_status(store, CALL_SID, TOLD[1], NOW) is None
    assert legs.record_status(store, CALL_SID, TOLD[2], NOW) is None


@pytest.mark.parametrize("text", ["", "-1", "x", "1e3", "٣", "9" * 12])
def test_a_number_that_is_none_counts_as_zero(text: str) -> None:
    store = Memory()
    hear(store, {"SequenceNumber": text, "CallStatus": "ringing", "CallDuration": text})

    leg = store.get(legs.key(CALL_SID)) or {}
    assert (leg["sequence"], leg["duration"]) == (0, 0)


def test_an_end_makes_the_leg_due_sooner_and_forgets_earlier_looks() -> None:
    store = Memory()
    hear(store, OPENED)
    for _ in range(3):
        legs.postpone(store, CALL_SID, NOW + 9000)
    hear(store, TOLD[3])

    leg = store.get(legs.key(CALL_SID)) or {}
    assert (leg["g1sk"], leg["looks"]) == (NOW + legs.LATE_SECONDS, 0)


# A callback that is faster than the call


def test_a_callback_that_comes_first_does_not_keep_the_leg_from_being_opened(store: Store) -> None:
    hear(store, TOLD[1])

    assert legs.open_leg(store, CALL_SID, FACTS, LONGEST, NOW) is None
    leg = legs.load(store, CALL_SID, NOW) or {}
    assert (leg["status"], leg["account"], leg["turn"]) == ("ringing", FACTS["account"], legs.RINGING)
    assert legs.open_leg(store, CALL_SID, FACTS, LONGEST, NOW) == leg


def test_a_leg_that_ended_before_it_was_opened_takes_no_slot(house: House) -> None:
    assert end(house) == 204
    legs.open_leg(house.store, CALL_SID, FACTS, LONGEST, house.clock())

    assert not admission.enter(house.store, house.settings, CALL_SID, house.clock())
    assert admission.active(house.store, house.clock()) == 0
    assert (legs.load(house.store, CALL_SID, house.clock()) or {})["g1sk"] == house.clock() + legs.LATE_SECONDS


# What the end sets off


def test_the_end_frees_the_slot_and_tells_whoever_ends_the_ai_call(
    house: House, sent: list[tuple[Ticket, int]]
) -> None:
    opened(house)

    assert end(house) == 204
    assert admission.active(house.store, house.clock()) == 0
    assert sent == [(Ticket(CALL, CALL_SID, "leg_over"), callbacks.LEG_OVER_DELAY)]


def test_the_end_is_the_end_of_a_transfer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(transfers, "caller_gone", lambda _switch, call_sid, _now: told.append(call_sid))

    end(opened(house))

    assert told == [CALL_SID]


@pytest.mark.parametrize("status", ["initiated", "queued", "ringing", "in-progress", ""])
def test_what_is_not_the_end_sets_nothing_off(house: House, sent: list[tuple[Ticket, int]], status: str) -> None:
    opened(house)

    assert end(house, CallStatus=status) == 204
    assert admission.active(house.store, house.clock()) == 1
    assert sent == []


def test_a_leg_without_an_ai_call_needs_no_ticket(house: House, sent: list[tuple[Ticket, int]]) -> None:
    opened(house, call_id="")
    end(house)

    assert sent == []
    assert admission.active(house.store, house.clock()) == 0


def test_an_end_whose_consequences_failed_is_told_again_and_has_them(
    house: House, sent: list[tuple[Ticket, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(house)
    with monkeypatch.context() as patch:

        def down(*_: Any, **__: Any) -> None:
            raise Unavailable("table: ThrottlingException")

        patch.setattr(admission, "leave", down)
        assert end(house) == 503
    assert end(house) == 204

    assert admission.active(house.store, house.clock()) == 0
    assert [ticket.due for ticket, _ in sent] == ["leg_over"]


# Parting from an AI call that is over


def test_a_leg_parts_from_an_ai_call_once(house: House) -> None:
    opened(house)

    assert [legs.part(house.store, CALL_SID, CALL) for _ in range(2)] == [True, False]


def test_a_leg_that_is_up_parts_from_its_ai_call(house: House) -> None:
    opened(house)
    hear(house.store, TOLD[2])

    assert legs.part(house.store, CALL_SID, CALL)


def test_a_leg_that_is_over_parts_from_nothing(house: House) -> None:
    opened(house)
    end(house)

    assert not legs.part(house.store, CALL_SID, CALL)


def test_a_leg_with_another_call_since_or_none_stays(house: House) -> None:
    opened(house)
    legs.reopen(house.store, CALL_SID, "transfer-1", house.clock())
    assert not legs.part(house.store, CALL_SID, CALL)

    legs.connect(house.store, CALL_SID, "call-2", "<Response/>")
    assert not legs.part(house.store, CALL_SID, CALL)
    assert legs.part(house.store, CALL_SID, "call-2")


def test_nothing_is_stored_of_a_leg_that_is_not_known(store: Store) -> None:
    assert not legs.part(store, CALL_SID, CALL)
    legs.postpone(store, CALL_SID, NOW)
    legs.close(store, CALL_SID, NOW)

    assert legs.load(store, CALL_SID, NOW) is None


def test_a_leg_that_ends_while_it_is_given_up_is_still_looked_after() -> None:
    store = Memory()
    hear(store, OPENED)
    due = (store.get(legs.key(CALL_SID)) or {})["g1sk"]
    hear(store, TOLD[3])

    legs.close(store, CALL_SID, due)
    assert "g1pk" in (store.get(legs.key(CALL_SID)) or {})
    legs.close(store, CALL_SID, NOW + legs.LATE_SECONDS)
    assert "g1pk" not in (store.get(legs.key(CALL_SID)) or {})
