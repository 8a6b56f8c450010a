"""The live calls, found by what is there already: slots, phone legs, unfinished tool calls, and sessions that Vapi has
told the beginning of and not the end. No request is made for it that is not made anyway.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from switchboard import admission, calls, legs, story, toolcalls, transfers
from switchboard.store import Item, Key, Store

MOST = 50  # calls in a list: each costs up to four reads
RECENT_SECONDS = 600  # that a call stays in the list after its end, where the index still shows it
SPEAKING_SECONDS = 60  # after so long without a word from Vapi nobody is taken to speak
EVER = 2**40  # seconds; later than anything is due


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


def read(store: Store, now: float) -> Found:
    """Look for the calls that are under way, or have just ended."""
    held = [slot for slot in admission.slots(store, now)[0] if slot.held(now)]
    due = [key for shard in range(toolcalls.OPEN_SHARDS) for key in store.due(f"OPEN#{shard}", EVER)]
    call_sids = {slot.holder for slot in held if story.CALL_SID.fullmatch(slot.holder)}
    call_sids |= {*_after("SID#", due), *_after(transfers.PREFIX, due)}
    rows = {sid: row for sid in sorted(call_sids)[:MOST] if (row := _of_leg(store, sid, now))}
    told = [key for key in due if key.sk.startswith("TOOL#")] + store.undue(calls.LIVE, int(now))
    others = ({slot.call for slot in held} | {*_after("CALL#", told)}) - {row.call for row in rows.values()} - {""}
    for call_id in sorted(others)[: max(0, MOST - len(rows))]:
        # The earlier call of a leg that has another one now is not a line of its own.
        if (row := _of_call(store, call_id, now)) and row.leg not in rows:
            rows[row.leg or call_id] = row
    shown = [row for row in rows.values() if not row.ended or now * 1000 - row.ended < RECENT_SECONDS * 1000]
    shown.sort(key=lambda row: (not row.ended, row.since), reverse=True)
    return Found(shown, more=len(call_sids) + len(others) > MOST)


def speaker(session: Mapping[str, Any], now: float) -> str:
    """Who speaks now, as far as Vapi has told: `caller`, `assistant` or ''. The caller, where both do."""
    for who in ("caller", "assistant"):
        started = int(session.get(f"{who}_started_at", 0))
        if started > int(session.get(f"{who}_stopped_at", 0)) and now * 1000 - started < SPEAKING_SECONDS * 1000:
            return who
    return ""


def _after(prefix: str, keys: Iterable[Key]) -> list[str]:
    return [key.pk.removeprefix(prefix) for key in keys if key.pk.startswith(prefix)]


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
