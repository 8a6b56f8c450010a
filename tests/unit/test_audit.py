"""Rows about what people did to live calls: one for a request, whatever is sent twice."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from switchboard import audit
from switchboard.audit import DONE, UNKNOWN, Entry, Outcome
from switchboard.errors import ConditionFailed
from switchboard.store import Put
from tests.conftest import NOW
from tests.memory import Memory

DAY = datetime.fromtimestamp(NOW, UTC).date()
ENTRY = Entry(f"{int(NOW * 1000)}-{'0a' * 16}", "a1b2c3d4", "transfer", "call-1", "reception")


def test_the_first_to_ask_acts_and_the_row_says_unknown_until_more_is_known() -> None:
    store = Memory()

    assert audit.claim(store, ENTRY, NOW) is None
    (row,) = audit.of_day(store, DAY, NOW)
    assert (row["outcome"], row["reason"]) == (UNKNOWN, audit.UNDER_WAY)
    assert {name: row[name] for name in ("who", "action", "call_id", "to")} == {
        "who": "a1b2c3d4", "action": "transfer", "call_id": "call-1", "to": "reception"
    }  # fmt: skip
    assert row["exp"] == int(NOW) + 30 * 24 * 3600


def test_a_repetition_is_told_what_came_of_the_first() -> None:
    store = Memory()
    audit.claim(store, ENTRY, NOW)
    audit.settle(store, ENTRY.id, Outcome(DONE), NOW + 1)

    stored = audit.claim(store, ENTRY, NOW + 2)

    assert stored
    assert stored["outcome"] == DONE
    assert audit.same(stored, ENTRY)


@pytest.mark.parametrize("changed", [{"who": "other"}, {"action": "end"}, {"call_id": "call-2"}, {"to": "billing"}])
def test_an_id_stands_for_one_request_of_one_token(changed: dict[str, str]) -> None:
    store = Memory()
    audit.claim(store, ENTRY, NOW)

    stored = audit.claim(store, ENTRY._replace(**changed), NOW)

    assert stored
    assert not audit.same(stored, ENTRY._replace(**changed))


def test_midnight_between_a_request_and_its_repetition_makes_no_second_one() -> None:
    store = Memory()
    before = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    entry = ENTRY._replace(id=f"{int(before * 1000)}-{'0b' * 16}")

    assert audit.claim(store, entry, before) is None
    assert audit.claim(store, entry, before + 60)
    assert len(audit.of_day(store, date(2027, 1, 31), before)) == 1


def test_a_row_that_the_sdk_writes_twice_is_still_the_first_ones() -> None:
    class Twice(Memory):
        """Applies a put, loses the answer, and applies it again, as the SDK does."""

        def put(self, put: Put) -> None:
            super().put(put)
            super().put(put)

    assert audit.claim(Twice(), ENTRY, NOW) is None


def test_an_outcome_makes_no_row_of_its_own() -> None:
    store = Memory()
    audit.settle(store, ENTRY.id, Outcome(DONE), NOW)

    assert audit.of_day(store, DAY, NOW) == []


def test_rows_that_have_expired_are_not_listed_deleted_or_not() -> None:
    store = Memory()
    audit.claim(store, ENTRY, NOW)

    assert audit.of_day(store, DAY, NOW + 30 * 24 * 3600 - 1)
    assert not audit.of_day(store, DAY, NOW + 30 * 24 * 3600)
    assert not audit.of_day(store, DAY + timedelta(days=1), NOW)


@pytest.mark.parametrize(
    "request_id", ["", "x", "1767225600000", f"176722560000-{'0a' * 16}", f"1767225600000-{'0A' * 16}", f"{ENTRY.id}\n"]
)
def test_an_id_has_one_form(request_id: str) -> None:
    assert audit.asked_at(request_id) is None
    assert not audit.is_current(request_id, NOW)
    with pytest.raises(ValueError, match="not the id"):
        audit.key(request_id)


@pytest.mark.parametrize(("seconds", "current"), [(0, True), (600, True), (-600, True), (601, False), (-601, False)])
def test_a_request_is_of_now(seconds: int, current: bool) -> None:
    assert audit.is_current(ENTRY.id, NOW + seconds) is current


def test_a_row_in_the_way_that_nobody_can_read_is_no_permission_to_act() -> None:
    class Lost(Memory):
        """Says that something is in the way, and not what."""

        def put(self, put: Put) -> Any:
            raise ConditionFailed(None)

    assert audit.claim(Lost(), ENTRY, NOW) is not None
