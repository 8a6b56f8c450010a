"""What people did to live calls: one row for each request, written before anything happens.

The row is what makes a request act once: whoever writes it acts, and everybody else reads what came of it. Its outcome is
`unknown` until it is known, so that a process that dies in between leaves the truth behind. It holds no words.
"""

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from switchboard.errors import ConditionFailed
from switchboard.store import Item, Key, Put, Store, Update

VERSION = 1
PREFIX = "AUDIT#"
KEEP_DAYS = 30  # long enough for a complaint, and no longer than logs may be kept
CLOCK_SECONDS = 600  # that a request's own time may differ from ours

DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"
UNDER_WAY = "under_way"
_REQUEST = re.compile(r"([0-9]{13})-[0-9a-f]{32}", re.ASCII)


class Entry(NamedTuple):
    """One request: `id` is made by who asks, `who` is a token's id, `to` the name of a person in a transfer.

    An id stands for one request of one token. The words of it are not kept, so nobody can tell whether a repetition has
    the same ones: it is told what came of the first.
    """

    id: str
    who: str
    action: str
    call_id: str
    to: str = ""


class Outcome(NamedTuple):
    """What came of it. `reason` is a constant code, '' where it was done."""

    outcome: str
    reason: str = ""


def asked_at(request_id: str) -> int | None:
    """The moment that a request's id begins with, epoch milliseconds, or None where it is no such id.

    The id carries it so that a repetition finds the row of the first try, also when midnight lies between the two.
    """
    found = _REQUEST.fullmatch(request_id)
    return int(found[1]) if found else None


def is_current(request_id: str, now: float) -> bool:
    """Whether this is the id of a request of now: one from long ago could have outlived its row."""
    at = asked_at(request_id)
    return at is not None and abs(now * 1000 - at) <= CLOCK_SECONDS * 1000


def key(request_id: str) -> Key:
    """The row of a request; `ValueError` for what is no id."""
    at = asked_at(request_id)
    if at is None:
        raise ValueError("not the id of a request")
    return Key(day_key(datetime.fromtimestamp(at / 1000, UTC).date()), request_id)


def day_key(day: date) -> str:
    """The partition of a day (UTC)."""
    return f"{PREFIX}{day.isoformat()}"


def claim(store: Store, entry: Entry, now: float) -> Item | None:
    """Be the one who acts on a request; None if so, else the row of whoever was."""
    item = {
        **key(entry.id)._asdict(),
        "v": VERSION,
        "at": int(now * 1000),
        "by": str(uuid.uuid4()),
        "outcome": UNKNOWN,
        "reason": UNDER_WAY,
        "exp": int(now) + KEEP_DAYS * 24 * 3600,
        **{name: value for name, value in entry._asdict().items() if name != "id"},
    }
    try:
        store.put(Put(item, "attribute_not_exists(#pk)"))
    except ConditionFailed as lost:
        stored = dict(lost.item or {})
        # The SDK repeats a write whose answer was lost: then what stands in the way is this very row.
        return None if stored.get("by") == item["by"] else stored
    return None


def settle(store: Store, request_id: str, outcome: Outcome, now: float) -> None:
    """Record what came of a request."""
    change = "SET #outcome = :outcome, #reason = :reason, #settled_at = :now"
    values = {**outcome._asdict(), "now": int(now * 1000)}
    with suppress(ConditionFailed):
        store.update(Update(key(request_id), change, "attribute_exists(#pk)", values))


def same(item: Mapping[str, Any], entry: Entry) -> bool:
    """Whether a row is about this request, and not about another one, or another token's, under the same id."""
    return all(item.get(name) == value for name, value in entry._asdict().items() if name != "id")


def outcome(item: Mapping[str, Any]) -> Outcome:
    """What a row says came of its request."""
    return Outcome(str(item["outcome"]), str(item["reason"]))


def of_day(store: Store, day: date, now: float) -> list[Item]:
    """The rows of a day, in the order of their requests' own times."""
    return [item for item in store.partition(day_key(day)) if item["exp"] > now]
