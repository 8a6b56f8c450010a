"""Admission: how many calls may be under way at once, who is next, and how many an hour and a day.

A slot is an item that one conditional write takes and another gives back, under a lease that ends by itself: there is no
counter that could drift. Whatever comes twice, late or never ends in the same place: a holder has one slot, a slot has
one holder, and what nobody gave back is free when its lease is over.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from switchboard import calls, legs
from switchboard.errors import ConditionFailed
from switchboard.messages import E164
from switchboard.settings import Settings
from switchboard.store import Item, Key, Store, Update
from switchboard.telemetry import Count, count

VERSION = 1
SLOTS = "SLOTS"
PREFIX = "SLOT#"
WAIT = Key(SLOTS, f"{PREFIX}WAIT")  # under the slots' prefix, so that one request reads them and it
GRACE_SECONDS = 120  # after the longest call: its end is told within that, or never
WAIT_SECONDS = 20  # the head of the line asks every 8 s; two of its requests may be lost
TRIES = 12  # free slots that one request goes for; then the others are simply faster
# ANONYMOUS, BLOCKED, RESTRICTED, UNAVAILABLE and UNKNOWN on a telephone's keys: what networks send of withheld numbers.
WITHHELD = frozenset({"+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"})


class Slot(NamedTuple):
    """A slot as it is stored: `holder` is empty where it is free, `call` is Vapi's call id while one fills it; milliseconds."""

    key: Key
    holder: str
    call: str
    taken_at: int
    exp: int

    @classmethod
    def of(cls, item: Item) -> "Slot":
        """Read a stored item."""
        return cls(
            Key(item["pk"], item["sk"]),
            item.get("holder", ""),
            item.get("call", ""),
            item.get("taken_at", 0),
            item["exp"],
        )

    def held(self, now: float) -> bool:
        """Whether it is taken, and its lease not over."""
        return bool(self.holder) and self.exp > now


def slot_key(number: int) -> Key:
    """The item of one slot; the first one is 1."""
    return Key(SLOTS, f"{PREFIX}{number:04d}")


def enter(store: Store, settings: Settings, holder: str, now: float, *, place: int = 0) -> bool:
    """Take a slot, or keep the one that this holder has; False if the caller has to wait.

    `place` is 0 for a newcomer, who never overtakes somebody waiting, and p for the p-th in line, who leaves enough free
    slots to those before. After the cap was lowered, calls above it count until they end.
    """
    if not settings.max_calls:
        return True
    exp = int(now) + settings.max_call_minutes * 60 + GRACE_SECONDS
    known, waited_for = slots(store, now)
    held = [slot for slot in known if slot.held(now)]
    if any(_renew(store, slot.key, holder, exp) for slot in held if slot.holder == holder):
        return _only_one(store, holder, now)
    taken = {slot.key for slot in held}
    free = [key for key in map(slot_key, range(1, settings.max_calls + 1)) if key not in taken]
    room = min(len(free), settings.max_calls - len(held))
    if room < max(place, 1) or (waited_for and not place):
        return False
    if not any(_take(store, key, holder, now, exp) for key in _from(holder, free)):
        return False
    if place:
        # The next in line may not have asked yet, and a newcomer could be faster: `nobody_waits` where there is none.
        still_waiting(store, now)
    return _only_one(store, holder, now)


def occupy(store: Store, holder: str, call_id: str, now: float) -> None:
    """Say which AI call fills the holder's slot: from now on the end of that call frees it."""
    _fill(store, holder, call_id, now)
    session = calls.load(store, call_id, now)
    if session and session.ended:
        # Its end was told before this: nobody will tell it again.
        leave(store, call_id=call_id)


def reserve(store: Store, holder: str, now: float) -> None:
    """Keep the holder's slot although its AI call ends: the caller may come back from a transfer."""
    _fill(store, holder, "", now)


def leave(store: Store, *, holder: str = "", call_id: str = "") -> int:
    """Free every slot of this holder, or the one that this AI call fills; returns how many. Any repetition is harmless."""
    freed = 0
    for slot in slots(store, 0)[0]:
        if holder and slot.holder == holder:
            freed += _free(store, slot.key, "#holder = :me", holder)
        elif call_id and slot.call == call_id:
            freed += _free(store, slot.key, "#call = :me", call_id)
    return freed


def still_waiting(store: Store, now: float) -> None:
    """Say that somebody waits in line, so that newcomers line up as well; to be said again every few seconds."""
    until = int(now) + WAIT_SECONDS
    change = "SET #v = :v, #until = :until, #exp = :exp"
    store.update(Update(WAIT, change, values={"v": VERSION, "until": until, "exp": until + GRACE_SECONDS}))


def nobody_waits(store: Store) -> None:
    """Say that the last one in line has left it. Who has joined meanwhile says otherwise within seconds."""
    with suppress(ConditionFailed):
        store.update(Update(WAIT, "SET #until = :zero", "attribute_exists(#pk)", {"zero": 0}))


def active(store: Store, now: float) -> int:
    """How many slots are taken, those above a lowered cap too."""
    return sum(slot.held(now) for slot in slots(store, now)[0])


def slots(store: Store, now: float) -> tuple[list[Slot], bool]:
    """All slots that were ever taken, and whether somebody waits in line."""
    items = {Key(item["pk"], item["sk"]): item for item in store.query(SLOTS, PREFIX)}
    waiting = items.pop(WAIT, None)
    return [Slot.of(item) for item in items.values()], bool(waiting and waiting["until"] > now)


def day_key(now: float) -> Key:
    """The item that counts the calls of a day (UTC)."""
    return Key(f"CAP#{datetime.fromtimestamp(now, UTC):%Y-%m-%d}", "-")


def count_call(store: Store, settings: Settings, number: str, secret: str, now: float) -> str:
    """Count a call of this number: '' if it is admitted, else whose limit refuses it, `caller` or `day`, and no count.

    A withheld number has no limit of its own. Numbers are stored as HMAC-SHA256 under `secret` only.
    """
    day, caller = day_key(now), _caller(number, secret, now)
    known = E164.fullmatch(number) and number not in WITHHELD
    per_day, per_caller = settings.daily_calls, settings.caller_hourly_calls if known else 0
    if per_day and (store.get(day) or {}).get("n", 0) >= per_day:
        return "day"
    if not _count(store, caller, per_caller, int(now) + 2 * 3600):
        return "caller"
    if _count(store, day, per_day, int(now) + 2 * 24 * 3600):
        return ""
    # The day's last call went to somebody else between the look and the write.
    if per_caller:
        store.update(Update(caller, "SET #n = #n - :one", values={"one": 1}))
    return "day"


def _from(holder: str, free: list[Key]) -> Iterator[Key]:
    """Where to try: two callers begin at two places, and two copies of one request at the same one."""
    start = int.from_bytes(hashlib.sha256(holder.encode()).digest()[:4]) % len(free)
    yield from (free[start:] + free[:start])[:TRIES]


def _take(store: Store, key: Key, holder: str, now: float, exp: int) -> bool:
    change = "SET #v = :v, #holder = :me, #call = :none, #taken_at = :at, #exp = :exp"
    values = {"v": VERSION, "me": holder, "none": "", "at": int(now * 1000), "exp": exp, "now": int(now)}
    try:
        store.update(Update(key, change, "attribute_not_exists(#holder) OR #exp <= :now", values))
    except ConditionFailed as lost:
        # Another copy of this request, or of this write, was faster. It may be filled by now: nothing is written.
        return bool(lost.item and lost.item.get("holder") == holder)
    count(Count.SLOT_TAKEN)
    return True


def _renew(store: Store, key: Key, holder: str, exp: int) -> bool:
    try:
        store.update(Update(key, "SET #exp = :exp", "#holder = :me", {"exp": exp, "me": holder}))
    except ConditionFailed:
        return False
    return True


def _only_one(store: Store, holder: str, now: float) -> bool:
    """Look again after taking: give back what another copy of this request took elsewhere, and all if the call is over.

    Of two that took a slot the later one sees both, and everybody keeps the first. Of a hang-up and this, too, the later
    one sees the other: an ended leg is recorded before its slots are freed.
    """
    if _over(store, holder):
        leave(store, holder=holder)
        return False
    mine = [slot.key for slot in slots(store, now)[0] if slot.held(now) and slot.holder == holder]
    for spare in mine[1:]:
        _free(store, spare, "#holder = :me", holder)
    return bool(mine)


def _over(store: Store, holder: str) -> bool:
    """Whether the holder is a phone leg that has ended."""
    leg = store.get(legs.key(holder)) if holder.startswith("CA") else None
    return bool(leg and leg.get("status") in legs.OVER)


def _fill(store: Store, holder: str, call_id: str, now: float) -> None:
    for slot in slots(store, now)[0]:
        if slot.held(now) and slot.holder == holder:
            with suppress(ConditionFailed):
                store.update(Update(slot.key, "SET #call = :call", "#holder = :me", {"call": call_id, "me": holder}))


def _free(store: Store, key: Key, condition: str, whose: str) -> bool:
    try:
        store.update(Update(key, "REMOVE #holder, #call, #taken_at", condition, {"me": whose}))
    except ConditionFailed:
        return False
    count(Count.SLOT_FREED)
    return True


def _count(store: Store, key: Key, cap: int, exp: int) -> bool:
    """Count one more, up to the cap; a cap of 0 is none, and nothing is counted."""
    if not cap:
        return True
    values = {"v": VERSION, "exp": exp, "one": 1, "cap": cap}
    try:
        store.update(
            Update(key, "SET #v = :v, #exp = :exp ADD #n :one", "attribute_not_exists(#n) OR #n < :cap", values)
        )
    except ConditionFailed:
        return False
    return True


def _caller(number: str, secret: str, now: float) -> Key:
    digest = hmac.new(secret.encode(), f"caller|{number}".encode(), hashlib.sha256).hexdigest()
    return Key(f"PHN#{digest}", f"HOUR#{datetime.fromtimestamp(now, UTC):%Y%m%d%H}")
