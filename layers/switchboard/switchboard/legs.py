"""The phone leg: Twilio's side of a call, known by its CallSid and linked to Vapi's call id.

A leg asks for an assistant when it rings, and again when it comes out of a queue or back from a transfer. Each time is a
*turn* with a name of its own, and each turn is answered by one request only, whatever is repeated: `POST /call` at Vapi
takes no idempotency key, so a second one would be a second call.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress

from switchboard.errors import ConditionFailed
from switchboard.store import Item, Key, Store, Update
from switchboard.toolcalls import OPEN_SHARDS

VERSION = 1
KEEP_SECONDS = 24 * 3600
LATE_SECONDS = 120  # after an end that should have been told by now
RINGING = "inbound"  # the first turn
OVER = ("completed", "busy", "failed", "no-answer", "canceled")  # what Twilio says of a leg that has ended


def key(call_sid: str) -> Key:
    """The leg's item."""
    return Key(f"SID#{call_sid}", "META")


def load(store: Store, call_sid: str, now: float) -> Item | None:
    """The leg as it is stored, or None where there is none or it has expired."""
    item = store.get(key(call_sid))
    return item if item and item["exp"] > now else None


def open_leg(store: Store, call_sid: str, facts: Mapping[str, str], longest: int, now: float) -> Item | None:
    """Be the one who answers this call; None if so, else the leg that somebody has opened already.

    `facts` are what later steps need to know of it: the account and the number that was dialled. After `longest`
    seconds without a word about its end, the sweeper asks.
    """
    values = {
        "v": VERSION,
        "turn": RINGING,
        "opened_at": int(now * 1000),
        "exp": _expiry(now),
        "g1pk": shard(call_sid),
        "g1sk": int(now) + longest + LATE_SECONDS,
        "by": str(uuid.uuid4()),
        **facts,
    }
    # What a status callback that was faster has stored stays, and an ended leg is looked at when its end says so.
    kept = ("g1pk", "g1sk")
    sets = {name: f"if_not_exists(#{name}, :{name})" if name in kept else f":{name}" for name in values}
    change = "SET " + ", ".join(f"#{name} = {value}" for name, value in sets.items())
    condition = "attribute_not_exists(#opened_at) OR #exp <= :now"
    return _won(store, Update(key(call_sid), change, condition, values | {"now": int(now)}))


def reopen(store: Store, call_sid: str, turn: str, now: float) -> Item | None:
    """Be the one who answers this turn of a leg; None if so, else the leg as somebody has answered it already.

    A turn is answered once, however late it is asked again, and whichever turns have come since.
    """
    change = "SET #turn = :turn, #v = :v, #exp = :exp, #by = :by, #opened_at = if_not_exists(#opened_at, :at)"
    change += " REMOVE #twiml, #call_id ADD #turns :turns"
    values = {"turn": turn, "turns": {turn}, "v": VERSION, "exp": _expiry(now), "at": int(now * 1000)}
    condition = "attribute_not_exists(#turns) OR NOT contains(#turns, :turn)"
    return _won(store, Update(key(call_sid), change, condition, values | {"by": str(uuid.uuid4())}))


def _won(store: Store, update: Update) -> Item | None:
    """Write; None if this request is the one that did, else what stands in its way."""
    try:
        store.update(update)
    except ConditionFailed as lost:
        # The SDK repeats a write whose answer was lost: then what stands in the way is this very write.
        stored = dict(lost.item or {})
        return None if stored.get("by") == update.values["by"] else stored
    return None


def connect(store: Store, call_sid: str, call_id: str, document: str) -> Item:
    """Link the leg to Vapi's call, if there is one, and keep the document for the case that Twilio asks again.

    Returns the leg as it is then: its end may have been told meanwhile.
    """
    change = "SET #twiml = :twiml"
    if call_id:
        # The present one, and all that this leg has had.
        change = "SET #call_id = :call, #twiml = :twiml ADD #calls :calls"
    values = {"call": call_id, "calls": {call_id}, "twiml": document}
    return store.update(Update(key(call_sid), change, "attribute_exists(#pk)", values))


def adopt(store: Store, call_sid: str, call_id: str) -> None:
    """Link the leg to a call that Vapi has made by itself, at the first word about it. A leg that is not ours is none."""
    change, condition = "SET #call_id = :call ADD #calls :calls", "attribute_exists(#opened_at)"
    with suppress(ConditionFailed):
        store.update(Update(key(call_sid), change, condition, {"call": call_id, "calls": {call_id}}))


def record_status(store: Store, call_sid: str, fields: Mapping[str, str], now: float) -> Item | None:
    """Merge a status callback: any order, any repetition. The leg as it is now, or None if this was no news.

    `SequenceNumber` decides, 0 where there is none, and an ended leg stays ended whatever number comes later.
    """
    status = fields.get("CallStatus", "")[:20]
    change = "SET #sequence = :sequence, #status = :status, #status_at = :at, #duration = :duration"
    change += ", #exp = if_not_exists(#exp, :exp)"
    if status in OVER:
        # By then the report should have come, too; and whatever looked at the leg while it was up has not looked for that.
        change += ", #ended_at = :at, #g1pk = :shard, #g1sk = :due, #looks = :zero"
    values = {
        "sequence": _number(fields.get("SequenceNumber", "")),
        "status": status,
        "duration": _number(fields.get("CallDuration", "")),
        "at": int(now * 1000),
        "exp": _expiry(now),
        "shard": shard(call_sid),
        "due": int(now) + LATE_SECONDS,
        "zero": 0,
    }
    # The end wins whatever number it has: a leg that is over cannot ring again. Of two ends, the later one.
    both = "OR" if status in OVER else "AND"
    condition = f"attribute_not_exists(#sequence) OR (attribute_not_exists(#ended_at) {both} #sequence < :sequence)"
    try:
        return store.update(Update(key(call_sid), change, condition, values))
    except ConditionFailed:
        return None


def part(store: Store, call_sid: str, call_id: str) -> bool:
    """Be the one who ends a leg, or sends it on, because this AI call of it is over; at most once for each.

    False where somebody was faster, the leg is over, or it has another call, or none, since.
    """
    condition = "#call_id = :call AND NOT #parted = :call AND attribute_not_exists(#ended_at)"
    try:
        store.update(Update(key(call_sid), "SET #parted = :call", condition, {"call": call_id}))
    except ConditionFailed:
        return False
    return True


def postpone(store: Store, call_sid: str, due: float) -> None:
    """Have the sweeper look at this leg again at `due`."""
    change = "SET #g1sk = :due ADD #looks :one"
    with suppress(ConditionFailed):
        store.update(Update(key(call_sid), change, "attribute_exists(#g1pk)", {"due": int(due), "one": 1}))


def close(store: Store, call_sid: str, due: float) -> None:
    """The sweeper has no more business with this leg, unless it has become due at another time than `due` since."""
    with suppress(ConditionFailed):
        store.update(Update(key(call_sid), "REMOVE #g1pk, #g1sk", "#g1sk = :due", {"due": int(due)}))


def shard(call_sid: str) -> str:
    """Where the leg stands in the index of unfinished things."""
    return f"OPEN#{int(call_sid[-2:], 16) % OPEN_SHARDS}"


def _expiry(now: float) -> int:
    return int(now) + KEEP_SECONDS


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
