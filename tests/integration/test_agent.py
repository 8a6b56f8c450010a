"""The example agent on a real table: a calendar that changes once per key, and only for the one who calls."""

from datetime import UTC, datetime, timedelta

import pytest

from agent import calendar as clinic
from agent.calendar import Calendar
from agent.tools import change_appointment, find_appointment, send_confirmation
from switchboard.store import Store
from switchboard.tools import Call, ToolError

MONDAY = datetime(2027, 1, 11, 15, 0, tzinfo=UTC)
THURSDAY = datetime(2027, 1, 14, 19, 0, tzinfo=UTC)


def call(caller: str = "+15550100001", key: str = "key-1") -> Call:
    """A call on a Monday."""
    return Call(id="c-1", caller=caller, idempotency_key=key, now=MONDAY)


@pytest.fixture(autouse=True)
def calendar(store: Store, monkeypatch: pytest.MonkeyPatch) -> Calendar:
    """The clinic's calendar on the mocked table, without its pause."""
    made = Calendar(store)
    monkeypatch.setattr(clinic, "ANSWER_SECONDS", 0)
    monkeypatch.setattr("agent.tools.calendar", lambda: made)
    return made


def test_a_caller_finds_the_same_appointment_every_time() -> None:
    first = find_appointment(call())

    assert first == find_appointment(call())
    assert first.startswith("Appointment apt_1 is on Tuesday, January 12 at 10:00 AM (2027-01-12T10:00:00-05:00)")


def test_an_appointment_moves_once_per_key() -> None:
    find_appointment(call())
    said = [change_appointment(call(), "apt_1", THURSDAY) for _ in range(3)]

    assert said == ["The appointment is now on Thursday, January 14 at 2:00 PM."] * 3
    assert "Thursday" in find_appointment(call())


def test_a_second_key_moves_it_again() -> None:
    find_appointment(call())
    change_appointment(call(key="a"), "apt_1", THURSDAY)
    change_appointment(call(key="b"), "apt_1", THURSDAY + timedelta(hours=1))
    change_appointment(call(key="a"), "apt_1", THURSDAY)

    assert "3:00 PM" in find_appointment(call())


def test_another_caller_cannot_move_it() -> None:
    find_appointment(call())

    with pytest.raises(ToolError, match="cannot find"):
        change_appointment(call("+15550100002"), "apt_1", THURSDAY)


def test_a_past_time_and_a_closed_clinic_are_refused_in_words() -> None:
    find_appointment(call())

    with pytest.raises(ToolError, match="passed already"):
        change_appointment(call(), "apt_1", MONDAY - timedelta(hours=1))
    with pytest.raises(ToolError, match="Monday to Friday"):
        change_appointment(call(), "apt_1", THURSDAY + timedelta(days=2))


def test_a_confirmation_is_sent_once_per_key(store: Store) -> None:
    find_appointment(call())
    for _ in range(3):
        assert send_confirmation(call(key="k"), "apt_1") == "Confirmation sent."

    [item] = store.query(clinic.PK, "APT#")
    assert (item["confirmations"], item["changes"], item["applied"]) == (1, 0, {"k"})
