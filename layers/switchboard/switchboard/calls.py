"""The session: one item per call, merged so that neither order nor repetition of messages can matter.

A rank only rises, a time only moves forward, a fact is written by one kind of message only. So each message is one
conditional write, a duplicate changes nothing, and every order of the same messages ends in the same item.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from switchboard import control
from switchboard.errors import ConditionFailed, Unavailable
from switchboard.messages import Message, milliseconds
from switchboard.settings import MAX_TOLERANCE, Settings
from switchboard.store import Item, Key, Put, Store, Update
from switchboard.telemetry import warn

VERSION = 1
META = "META"
LIVE = (
    "LIVE"  # where a call stands in the index of unfinished things while it lasts: not for the sweeper, but to be found
)
LIVE_HOURS = 13  # Vapi cuts a call after 12 hours at most (`maxDurationSeconds`), so a live session cannot expire
ANSWER_SECONDS = 2 * MAX_TOLERANCE  # a replay is refused long before that
SKEW = 300  # seconds that a message's clock may be ahead of ours before its time is not believed
MAX_WORDS = 16_000  # characters of one utterance that are kept
MAX_REPORT_TEXT = 8_000  # characters of each text in a report; the whole item stays far below 64 KB
MAX_OUTPUTS, MAX_OUTPUT = 10, 1_000  # structured outputs in a report, and characters of the JSON of each
MAX_OUTPUT_NAME = 40  # characters; what Vapi takes

RANKS = {"scheduled": 10, "queued": 20, "ringing": 30, "in-progress": 40, "forwarding": 45, "ended": 50}
RINGING, ENDED = RANKS["ringing"], RANKS["ended"]
OVER = ("control_host", "g1pk", "g1sk")  # what an ended call has no more


class Session(NamedTuple):
    """What is known about a call. Times are epoch milliseconds, 0 for never; `waiting` are keys of pending results."""

    rank: int = 0
    status: str = ""
    interrupted_at: int = 0
    caller_started_at: int = 0
    caller_stopped_at: int = 0
    assistant_started_at: int = 0
    assistant_stopped_at: int = 0
    control_host: str = ""
    call_sid: str = ""
    waiting: frozenset[str] = frozenset()
    ended_reason: str = ""
    reported_at: int = 0

    @property
    def ended(self) -> bool:
        """Whether nobody can hear us any more."""
        return self.rank >= ENDED


class Told(NamedTuple):
    """What a `status-update` has told."""

    news: bool = False
    begins: bool = False
    """Whether it is the first to say that the call rings or is under way. Only one is, whatever comes twice or late."""


def key(call_id: str) -> Key:
    """The session's item."""
    return Key(f"CALL#{call_id}", META)


def load(store: Store, call_id: str, now: float) -> Session | None:
    """Read the session, or None where there is none or it has expired, deleted already or not."""
    item = store.get(key(call_id))
    if item is None or item["exp"] <= now:
        return None
    return Session(**{name: item[name] for name in Session._fields if name in item})


def record_status(store: Store, message: Message, settings: Settings, now: float) -> Told:
    """Merge a `status-update`. The rank only rises, and an ended call stays ended."""
    rank = RANKS.get(message.status)
    if rank is None:
        return Told()
    sets, values = _facts(message)
    sets |= {"rank": ":rank", "status": ":status"}
    values |= {"rank": rank, "status": message.status}
    if rank < ENDED:
        # In the write that is made anyway. Where no end is told, it is not found any more once it must be over.
        sets |= {"g1pk": "if_not_exists(#g1pk, :live)", "g1sk": "if_not_exists(#g1sk, :over)"}
        values |= {"live": LIVE, "over": int(now) + LIVE_HOURS * 3600}
        _reachable(message, settings, sets, values)
        before = _merge(store, message.call_id, sets, "#rank < :rank", values, settings, now)
        return Told() if before is None else Told(True, before.get("rank", 0) < RINGING <= rank)
    sets |= {"ended_at": ":at", "ended_reason": ":reason", "exp": ":exp"}
    values |= {"at": _time(message, now), "reason": message.ended_reason, "exp": _expiry(now, settings)}
    condition = "attribute_not_exists(#ended_at)"
    return Told(_merge(store, message.call_id, sets, condition, values, settings, now, remove=OVER) is not None)


def record_report(store: Store, message: Message, settings: Settings, now: float) -> bool:
    """Keep an `end-of-call-report` and end the session: the report may come first, or be all that ever comes."""
    report = Put(
        {
            **key(message.call_id)._asdict(),
            "sk": "REPORT",
            "v": VERSION,
            "exp": _expiry(now, settings),
            **_report(message, words=settings.store_transcripts),
        },
        "attribute_not_exists(#pk) OR #exp <= :now",
        {"now": int(now)},
    )
    with suppress(ConditionFailed):
        store.put(report)
    sets, values = _facts(message)
    sets |= {"rank": ":rank", "status": ":status", "reported_at": ":at", "exp": ":exp"}
    values |= {"rank": ENDED, "status": "ended", "at": _time(message, now), "exp": _expiry(now, settings)}
    condition = "attribute_not_exists(#reported_at)"
    return _merge(store, message.call_id, sets, condition, values, settings, now, remove=OVER) is not None


def record_speech(store: Store, message: Message, settings: Settings, now: float) -> list[str]:
    """Merge a `speech-update`: who speaks, or stopped, and when.

    Returns the sort keys of the results that were waiting for the caller to stop, when the caller has.
    """
    speaker = {"user": "caller", "assistant": "assistant"}.get(message.role)
    if speaker is None or message.status not in ("started", "stopped"):
        return []
    stopped = (speaker, message.status) == ("caller", "stopped")
    before = _advance(
        store, message, f"{speaker}_{message.status}_at", settings, now, remove=("waiting",) if stopped else ()
    )
    return sorted(before.get("waiting", ())) if before and stopped else []


def record_interruption(store: Store, message: Message, settings: Settings, now: float) -> int:
    """Merge a `user-interrupted`: a time and not a counter, so that a duplicate is not a second interruption.

    Returns the milliseconds since the interruption before it, 0 where there was none or this one is not newer.
    """
    before = _advance(store, message, "interrupted_at", settings, now)
    last = int(before.get("interrupted_at", 0)) if before else 0
    return _time(message, now) - last if last else 0


def wait(store: Store, call_id: str, sk: str) -> None:
    """Have a result told of the moment in which the caller stops speaking."""
    with suppress(ConditionFailed):
        store.update(Update(key(call_id), "ADD #waiting :sk", "attribute_exists(#pk)", {"sk": {sk}}))


def record_transcript(store: Store, message: Message, settings: Settings, now: float) -> bool:
    """Keep one final utterance as an item of its own, so that no item grows with the call."""
    words = message.transcript[:MAX_WORDS]
    if not words or not settings.store_transcripts:
        return False
    at = _time(message, now)
    digest = hashlib.sha256(words.encode()).hexdigest()[:8]
    line = {
        "pk": key(message.call_id).pk,
        "sk": f"TR#{at:013d}#{message.role}#{digest}",
        "v": VERSION,
        "words": words,
        "exp": int(now) + settings.transcript_hours * 3600,
    }
    try:
        store.put(Put(line, "attribute_not_exists(#pk) OR #exp <= :now", {"now": int(now)}))
    except ConditionFailed:
        return False
    return True


def keep_answer(store: Store, message: Message, answer: dict[str, Any], now: float) -> dict[str, Any]:
    """Keep what a request is answered, and return what was answered first: a replay gets the same body.

    A call asks for its assistant once; of other requests the time tells one from the next, so without a time none is kept.
    """
    first_only = message.type == "assistant-request"
    if not message.call_id or not (first_only or message.timestamp):
        return answer
    sk = "ANSWER" if first_only else f"ANSWER#{message.type}#{message.timestamp}"
    text = json.dumps(answer, separators=(",", ":"))
    item = {"pk": key(message.call_id).pk, "sk": sk, "v": VERSION, "answer": text, "exp": int(now) + ANSWER_SECONDS}
    try:
        store.put(Put(item, "attribute_not_exists(#pk) OR #exp <= :now", {"now": int(now)}))
    except ConditionFailed as lost:
        first: dict[str, Any] = json.loads(str((lost.item or item)["answer"]))
        return first
    except Unavailable as error:
        # The caller is waiting for the answer, not for our record of it.
        warn("answer not kept", call_id=message.call_id, code=str(error))
    return answer


def link(store: Store, call_id: str, call_sid: str, control_host: str, settings: Settings, now: float) -> None:
    """Make or complete the session of a call that we asked Vapi for on the phone's behalf."""
    sets = {"call_sid": ":sid"}
    values = {"sid": call_sid}
    if control_host:
        sets["control_host"] = ":host"
        values["host"] = control_host
    _merge(store, call_id, sets, "attribute_not_exists(#call_sid)", values, settings, now)


def _advance(
    store: Store, message: Message, name: str, settings: Settings, now: float, remove: Sequence[str] = ()
) -> Item | None:
    """Move a time forward; the session as it was before, or None if this is old news."""
    at = _time(message, now)
    # A time from the future would silence every later result of this call.
    if at > (now + SKEW) * 1000:
        return None
    condition = f"attribute_not_exists(#{name}) OR #{name} < :at"
    return _merge(store, message.call_id, {name: ":at"}, condition, {"at": at}, settings, now, remove=remove)


def _time(message: Message, now: float) -> int:
    return message.timestamp or int(now * 1000)


def _expiry(now: float, settings: Settings) -> int:
    return int(now) + settings.retention_hours * 3600


def _facts(message: Message) -> tuple[dict[str, str], dict[str, Any]]:
    """What a call says of itself in every message and never changes: the phone leg that it belongs to."""
    if not message.call_sid:
        return {}, {}
    return {"call_sid": "if_not_exists(#call_sid, :sid)"}, {"sid": message.call_sid}


def _reachable(message: Message, settings: Settings, sets: dict[str, str], values: dict[str, Any]) -> None:
    """Add where a live call can be spoken to. An ended one is never given it back, whatever arrives late."""
    if host := control.host(message.control_url, message.call_id, local=settings.local):
        sets["control_host"] = "if_not_exists(#control_host, :host)"
        values["host"] = host


def _merge(
    store: Store,
    call_id: str,
    sets: Mapping[str, str],
    condition: str,
    values: Mapping[str, Any],
    settings: Settings,
    now: float,
    remove: Sequence[str] = (),
) -> Item | None:
    """Apply one message to the session in one write, making the item where it is missing.

    Returns the item as it was before (empty where there was none), or None if the message is old news.
    """
    born = {"v": VERSION, "rank": 0, "interrupted_at": 0, "created_at": int(now * 1000), "exp": _live(now, settings)}
    defaults = {name: f"if_not_exists(#{name}, :born_{name})" for name in born if name not in sets}
    change = "SET " + ", ".join(f"#{name} = {text}" for name, text in (defaults | dict(sets)).items())
    update = Update(
        key(call_id),
        f"{change} REMOVE {', '.join(f'#{name}' for name in remove)}" if remove else change,
        f"attribute_not_exists(#pk) OR (#exp > :now AND ({condition}))",
        {**{f"born_{name}": value for name, value in born.items()}, **values, "now": int(now)},
        before=True,
    )
    try:
        return store.update(update)
    except ConditionFailed as lost:
        if lost.item is None or lost.item["exp"] > now:
            return None
        return _reborn(store, call_id, born, update, now)


def _reborn(store: Store, call_id: str, born: Item, update: Update, now: float) -> Item | None:
    """Start over on an item that has expired but is not deleted yet: none of its old facts may live on."""
    with suppress(ConditionFailed):
        store.put(Put({**key(call_id)._asdict(), **born}, "#exp <= :now", {"now": int(now)}))
    try:
        store.update(update)
    except ConditionFailed:
        return None
    return {}


def _live(now: float, settings: Settings) -> int:
    """A call whose end is never told is kept as long as one that ended at the last moment; a told end cuts this."""
    return _expiry(now, settings) + LIVE_HOURS * 3600


def _report(message: Message, *, words: bool) -> Item:
    """What is kept of a report: an allow-list. Recordings' URLs expire, and everything else may hold secrets."""
    body = message.body
    report: Item = {
        "ended_reason": message.ended_reason,
        "started_at": milliseconds(body.get("startedAt")),
        "ended_at": milliseconds(body.get("endedAt")),
    }
    cost = body.get("cost")
    if isinstance(cost, int | float) and 0 <= cost < 1e6:
        report["cost_micros"] = round(cost * 1_000_000)
    analysis = body.get("analysis")
    if words and isinstance(analysis, dict):
        for name in ("summary", "successEvaluation"):
            if isinstance(text := analysis.get(name), str):
                report[name] = text[:MAX_REPORT_TEXT]
    if words and (outputs := _outputs(body.get("artifact"))):
        report["outputs"] = outputs
    return report


def _outputs(artifact: object) -> dict[str, str]:
    """The results of structured outputs by name, as JSON: a table takes no number with a fraction as it is.

    One that is too long is left out: it is more than the few facts that are worth keeping, and half of it is no JSON.
    """
    given = artifact.get("structuredOutputs") if isinstance(artifact, dict) else None
    found: dict[str, str] = {}
    for output in given.values() if isinstance(given, dict) else ():
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= MAX_OUTPUT_NAME or output.get("result") is None:
            continue
        text = json.dumps(output["result"], ensure_ascii=False, separators=(",", ":"))
        if len(text) <= MAX_OUTPUT and len(found) < MAX_OUTPUTS:
            found[name] = text
    return found
