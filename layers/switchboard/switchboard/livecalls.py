"""The live calls, found by what is there already: slots, phone legs, unfinished tool calls, and sessions that Vapi has
told the beginning of and not the end. No request is made for it that is not made anyway.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from switchboard import admission, calls, legs, story, toolcalls, transfers
from switchboard.store import Due, Item, Store

MOST = (
    50  # calls in a list: each costs up to four reads, and a phone call may be found twice, by its leg and by its call
)
RECENT_SECONDS = 600  # that a call stays in the list after its end, where the index still shows it
SPEAKING_SECONDS = 60  # after so long without a word from Vapi nobody is taken to speak


class LiveCall(NamedTuple):
    """A line of the list. Times are epoch milliseconds, 0 for never; `call` is '' where nobody has answered yet."""

    call: str
    leg: str = ""
    caller: str = ""
    since: int = 0
    ended: int = 0
    speaks: str = ""
    tools: Sequence[str] = ()
    """Names of the tools that run, or wait to."""
    transfer: str = ""
    """Where a transfer stands that is under way."""


class Found(NamedTuple):
    """Newest first, the ended ones last; `more` where there are too many to be listed."""

    rows: Sequence[LiveCall]
    more: bool


def read(store: Store, longest: int, now: float) -> Found:
    """Look for the calls that are under way, or have just ended; `longest` are the seconds that a phone leg may take."""
    signs = sorted(_signs(store, longest, now).items(), key=lambda sign: (sign[1], sign[0]), reverse=True)
    looked_at = [identity for identity, _ in signs[: 2 * MOST]]
    call_sids = filter(story.CALL_SID.fullmatch, looked_at)
    rows = {sid: row for sid in call_sids if (row := _of_leg(store, sid, now))}
    told = {row.call for row in rows.values()}
    for call_id in looked_at:
        if story.CALL_SID.fullmatch(call_id) or call_id in told:
            continue
        # The earlier call of a leg that has another one now is not a line of its own.
        if (row := _of_call(store, call_id, now)) and row.leg not in rows:
            rows[row.leg or call_id] = row
    shown = [row for row in rows.values() if not row.ended or now * 1000 - row.ended < RECENT_SECONDS * 1000]
    shown.sort(key=lambda row: (not row.ended, row.since), reverse=True)
    return Found(shown[:MOST], more=len(shown) > MOST or len(signs) > len(looked_at))


def _signs(store: Store, longest: int, now: float) -> dict[str, int]:
    """CallSids and call ids that something says are live, each with the newest time that is known before it is read.

    Epoch seconds: when it rang, took its place, or was first told of by Vapi; or when a tool or a transfer is due.
    """
    held = [slot for slot in admission.slots(store, now)[0] if slot.held(now)]
    due = [entry for shard in range(toolcalls.OPEN_SHARDS) for entry in store.undue(f"OPEN#{shard}", 0)]
    found = [(sid, at - longest - legs.LATE_SECONDS) for sid, at in _after("SID#", due)] + _after(transfers.PREFIX, due)
    found += [(slot.holder, slot.taken_at // 1000) for slot in held if story.CALL_SID.fullmatch(slot.holder)]
    found += [(slot.call, slot.taken_at // 1000) for slot in held if slot.call]
    found += _after("CALL#", [entry for entry in due if entry.key.sk.startswith("TOOL#")])
    begun = store.undue(calls.LIVE, int(now))
    found += [(call_id, at - calls.LIVE_HOURS * 3600) for call_id, at in _after("CALL#", begun)]
    signs: dict[str, int] = {}
    for identity, at in found:
        signs[identity] = max(at, signs.get(identity, 0))
    return signs


def speaker(session: Mapping[str, Any], now: float) -> str:
    """Who speaks now, as far as Vapi has told: `caller`, `assistant` or ''. The caller, where both do."""
    for who in ("caller", "assistant"):
        started = int(session.get(f"{who}_started_at", 0))
        if started > int(session.get(f"{who}_stopped_at", 0)) and now * 1000 - started < SPEAKING_SECONDS * 1000:
            return who
    return ""


def _after(prefix: str, entries: Iterable[Due]) -> list[tuple[str, int]]:
    return [(key.pk.removeprefix(prefix), at) for key, at in entries if key.pk.startswith(prefix)]


def _of_leg(store: Store, call_sid: str, now: float) -> LiveCall | None:
    """A phone leg, with the call that it has now."""
    leg = legs.load(store, call_sid, now)
    if leg is None:
        return None
    call_id = str(leg.get("call_id", ""))
    row = (_of_call(store, call_id, now) if call_id else None) or LiveCall(call_id)
    moved = transfers.load(store, call_sid, now)
    under_way = str(moved.state) if moved and moved.state not in transfers.OVER else ""
    # The call at Vapi of a caller on hold has ended, and their leg has not.
    ended = int(leg.get("ended_at", 0)) or (0 if under_way else row.ended)
    since = int(leg.get("opened_at", 0)) or row.since
    return row._replace(leg=call_sid, transfer=under_way, since=since, ended=ended)


def _of_call(store: Store, call_id: str, now: float) -> LiveCall | None:
    key = calls.key(call_id)
    session = store.get(key)
    if session is None or session["exp"] <= now:
        return None
    tools = store.query(key.pk, "TOOL#")
    ended = _end(session)
    return LiveCall(
        call=call_id,
        leg=str(session.get("call_sid", "")),
        caller=story.masked(next((str(row["caller"]) for row in tools if row.get("caller")), "")),
        since=int(session.get("created_at", 0)),
        ended=ended,
        speaks="" if ended else speaker(session, now),
        tools=sorted(str(row["tool"]) for row in tools if not toolcalls.State(row["state"]).settled),
    )


def _end(session: Item) -> int:
    """When a call ended, as far as it was told."""
    return int(session.get("ended_at", 0)) or int(session.get("reported_at", 0))
