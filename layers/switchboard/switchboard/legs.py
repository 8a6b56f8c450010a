"""The phone leg: Twilio's side of a call, known by its CallSid and linked to Vapi's call id."""

from collections.abc import Mapping

from switchboard.errors import ConditionFailed
from switchboard.store import Item, Key, Put, Store, Update

VERSION = 1
KEEP_SECONDS = 24 * 3600


def key(call_sid: str) -> Key:
    """The leg's item."""
    return Key(f"SID#{call_sid}", "META")


def open_leg(store: Store, call_sid: str, now: float) -> Item | None:
    """Be the one who answers this call; None if so, else the leg that somebody has opened already."""
    item = {**key(call_sid)._asdict(), "v": VERSION, "opened_at": int(now * 1000), "exp": _expiry(now)}
    try:
        store.put(Put(item, "attribute_not_exists(#opened_at) OR #exp <= :now", {"now": int(now)}))
    except ConditionFailed as lost:
        return dict(lost.item or {})
    return None


def connect(store: Store, call_sid: str, call_id: str, document: str) -> None:
    """Link the leg to Vapi's call, if there is one, and keep the document for the case that Twilio asks again."""
    change = "SET #call_id = :call, #twiml = :twiml" if call_id else "SET #twiml = :twiml"
    store.update(Update(key(call_sid), change, "attribute_exists(#pk)", {"call": call_id, "twiml": document}))


def record_status(store: Store, call_sid: str, fields: Mapping[str, str], now: float) -> bool:
    """Merge a status callback: any order, any repetition; True if it was news. `SequenceNumber` decides."""
    sequence = _number(fields.get("SequenceNumber", ""))
    change = "SET #sequence = :sequence, #status = :status, #status_at = :at, #duration = :duration"
    change += ", #exp = if_not_exists(#exp, :exp)"
    values = {
        "sequence": sequence,
        "status": fields.get("CallStatus", "")[:20],
        "duration": _number(fields.get("CallDuration", "")),
        "at": int(now * 1000),
        "exp": _expiry(now),
    }
    condition = "attribute_not_exists(#sequence) OR #sequence < :sequence"
    try:
        store.update(Update(key(call_sid), change, condition, values))
    except ConditionFailed:
        return False
    return True


def _expiry(now: float) -> int:
    return int(now) + KEEP_SECONDS


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
