"""The story of one call, told from its stored items alone.

Numbers, words, arguments and results are told as sizes unless they are asked for.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from switchboard import calls, legs, transfers
from switchboard.errors import SwitchboardError
from switchboard.toolcalls import Delivery, Row, State

CALL_SID = re.compile(r"CA[0-9a-f]{32}")
SHOWN_DIGITS = 2  # of the caller's number
DOUBTFUL_STATES = (State.UNKNOWN, State.EXPIRED)
DOUBTFUL_DELIVERIES = (Delivery.UNDELIVERABLE,)

type Item = Mapping[str, Any]
type Partition = Callable[[str], Sequence[Item]]
"""Reads the items of a partition, without those that have expired."""


class Untold(SwitchboardError):
    """There is nothing to tell (any more); the text says why, for whoever asked."""


class Event(NamedTuple):
    """One thing that happened, at epoch milliseconds. `facts` are for `--json`, `text` is for people; both may be shown."""

    at: int
    who: str
    kind: str
    text: str
    facts: dict[str, Any]
    ok: bool = True


class Story(NamedTuple):
    """A call and everything that is stored about it, in order of time."""

    call_id: str
    call_sid: str
    caller: str
    ended_reason: str
    events: list[Event]

    @property
    def began(self) -> int:
        """The call's first moment, epoch milliseconds."""
        return self.events[0].at

    @property
    def seconds(self) -> float:
        """From its first moment to its last one."""
        return (self.events[-1].at - self.began) / 1000


def read(partition: Partition, identity: str, *, reveal: bool) -> Story:
    """Read a call by Vapi's id or by its CallSid; `Untold` where there is nothing (any more)."""
    if CALL_SID.fullmatch(identity):
        leg = _first(partition(legs.key(identity).pk))
        # A leg has several calls where a caller came back to the assistant.
        call_ids = sorted(leg.get("calls", ()))
        if not call_ids:
            known = "was never connected to a call" if leg else "is not known (any more)"
            raise Untold(f"the phone leg {identity} {known}; give Vapi's call id if you have it")
    else:
        leg, call_ids = {}, [identity]
    stored = [partition(calls.key(call_id).pk) for call_id in call_ids]
    session: Item = next((item for items in stored for item in items if item["sk"] == calls.META), {})
    call_sid = str(session.get("call_sid", ""))
    if not leg and call_sid:
        leg = _first(partition(legs.key(call_sid).pk))
    transfer = _first(partition(transfers.key(call_sid).pk)) if call_sid else {}
    told = [tell(call_id, items, leg, reveal=reveal) for call_id, items in zip(call_ids, stored, strict=True)]
    story = _joined(told, list(_transfer(transfer, reveal)))
    if not story.events:
        raise Untold(f"nothing is stored about call {identity}: it never came here, or has expired")
    return story


def _first(items: Sequence[Item]) -> Item:
    return next(iter(items), {})


def _joined(told: Sequence[Story], more: Sequence[Event]) -> Story:
    """One story of all calls of a phone leg. What several of them tell is told once."""
    events: list[Event] = []
    for event in sorted((*(event for story in told for event in story.events), *more), key=lambda event: event.at):
        if event not in events:
            events.append(event)
    first = min(told, key=lambda story: story.events[0].at if story.events else 0)
    caller = next((story.caller for story in told if story.caller), "")
    last = max(told, key=lambda story: story.events[-1].at if story.events else 0)
    return first._replace(caller=caller, ended_reason=last.ended_reason, events=events)


def tell(call_id: str, items: Sequence[Item], leg: Item, *, reveal: bool) -> Story:
    """Make the story of a call out of its items and those of its phone leg."""
    by_key = {str(item["sk"]): item for item in items}
    session = by_key.get(calls.META, {})
    rows = [item for sk, item in by_key.items() if sk.startswith("TOOL#")]
    events = [*_phone(leg), *_session(session), *_report(by_key.get("REPORT", {}), session, reveal)]
    events += [_utterance(item, reveal) for sk, item in by_key.items() if sk.startswith("TR#")]
    names = _names(rows)
    interrupted_at = int(session.get("interrupted_at", 0))
    events += [event for item in rows for event in _tool(item, names[str(item["sk"])], interrupted_at, reveal)]
    number = next((str(item["caller"]) for item in rows if item.get("caller")), "")
    return Story(
        call_id=call_id,
        call_sid=str(session.get("call_sid") or leg.get("pk", "").removeprefix("SID#")),
        caller=masked(number),
        ended_reason=str(session.get("ended_reason", "")),
        events=sorted((event for event in events if event.at), key=lambda event: event.at),
    )


def masked(number: str) -> str:
    """The last digits of a caller's number, '' where it is not known."""
    return f"…{number[-SHOWN_DIGITS:]}" if number else ""


def as_data(story: Story) -> dict[str, Any]:
    """The story for programs; times are seconds from its first moment."""
    events = [
        {"at": (event.at - story.began) / 1000, "who": event.who, "event": event.kind, "ok": event.ok, **event.facts}
        for event in story.events
    ]
    return {
        "call": story.call_id,
        "call_sid": story.call_sid,
        "caller": story.caller,
        "began": datetime.fromtimestamp(story.began / 1000, UTC).isoformat(timespec="milliseconds"),
        "seconds": story.seconds,
        "ended_reason": story.ended_reason,
        "events": events,
    }


def _phone(leg: Item) -> Iterator[Event]:
    if opened := int(leg.get("opened_at", 0)):
        connected = bool(leg.get("call_id"))
        text = "Twilio asks who answers: connected" if connected else "Twilio asks who answers: not connected"
        yield Event(opened, "phone", "answered", text, {"connected": connected}, connected)
    if at := int(leg.get("status_at", 0)):
        status, seconds = str(leg["status"]), int(leg.get("duration", 0))
        text = f"Twilio says: {status}" + (f", after {seconds} s" if seconds else "")
        yield Event(at, "phone", "status", text, {"status": status, "seconds": seconds})


def _transfer(item: Item, reveal: bool) -> Iterator[Event]:
    """The steps of a transfer to a person."""
    if not item:
        return
    facts = {"to": str(item["to"]), "number": int(item["n"])}
    outcome = str(item.get("outcome", ""))
    for state in transfers.State:
        if at := int(item.get(f"{state}_at", 0)):
            why = f" ({outcome})" if outcome and state in transfers.OVER else ""
            text = f"to {item['to']}: {state}{why}"
            if state is transfers.State.REQUESTED and item.get("summary"):
                text += f", summary {_shown(str(item['summary']), reveal)}"
            yield Event(at, "transfer", str(state), text, facts, state not in transfers.UNANSWERED)


_SPEECH = {
    "caller_started_at": ("caller", "speech", "began to speak, for the last time"),
    "caller_stopped_at": ("caller", "silence", "stopped, for the last time"),
    "assistant_started_at": ("assistant", "speech", "began to speak, for the last time"),
    "assistant_stopped_at": ("assistant", "silence", "stopped, for the last time"),
    "interrupted_at": ("caller", "interruption", "interrupts the assistant, for the last time"),
}


def _session(session: Item) -> Iterator[Event]:
    """What the session's item knows. Of speech and interruptions it keeps the last time only."""
    if created := int(session.get("created_at", 0)):
        yield Event(created, "session", "began", "first message about this call", {})
    for name, (who, kind, text) in _SPEECH.items():
        yield Event(int(session.get(name, 0)), who, kind, text, {"last": True})
    if ended := int(session.get("ended_at", 0)):
        reason = str(session.get("ended_reason", ""))
        yield Event(ended, "session", "ended", f"ended: {reason or 'no reason given'}", {"reason": reason})


def _report(report: Item, session: Item, reveal: bool) -> Iterator[Event]:
    if not (at := int(session.get("reported_at", 0))):
        return
    facts: dict[str, Any] = {"reason": str(report.get("ended_reason", ""))}
    text = f"end-of-call report: {facts['reason'] or 'no reason given'}"
    if started := int(report.get("started_at", 0)):
        facts["call_seconds"] = (int(report.get("ended_at", 0)) - started) / 1000
        text += f", {facts['call_seconds']:.1f} s"
    if cost := int(report.get("cost_micros", 0)):
        facts["cost"] = cost / 1_000_000
        text += f", {facts['cost']:.4f} USD"
    if summary := str(report.get("summary", "")):
        facts["summary"] = _shown(summary, reveal)
        text += f", summary {facts['summary']}"
    if outputs := report.get("outputs"):
        facts["outputs"] = {name: _shown(result, reveal) for name, result in sorted(outputs.items())}
        text += "".join(f", {name} {result}" for name, result in facts["outputs"].items())
    yield Event(at, "session", "report", text, facts)


def _utterance(line: Item, reveal: bool) -> Event:
    _, at, role, _ = str(line["sk"]).split("#", 3)
    words = _shown(str(line["words"]), reveal)
    return Event(int(at), "caller" if role == "user" else role, "said", words, {"words": words})


def _names(rows: Sequence[Item]) -> dict[str, str]:
    """What each tool call is called: its tool, and where that was called more than once the end of its id too."""
    often = Counter(str(item["tool"]) for item in rows)
    return {
        str(item["sk"]): f"{item['tool']} …{str(item['sk'])[-4:]}" if often[item["tool"]] > 1 else str(item["tool"])
        for item in rows
    }


def _tool(item: Item, name: str, interrupted_at: int, reveal: bool) -> Iterator[Event]:
    """The life of one tool call: asked for, accepted, run, ended, delivered."""
    row = Row.of(dict(item))
    facts = {"tool": row.tool, "id": row.key.sk.removeprefix("TOOL#"), "lane": row.lane, "effect": row.effect}
    given = _shown(row.arguments, reveal)
    took = _between(row.emitted_at, row.accepted_at)
    accepted = facts | {"arguments": given, "seconds": took}
    text = f"{name}({given}) accepted: {row.lane}, {row.effect}{_after(took, 'the model asked')}"
    yield Event(row.accepted_at, "tool", "accepted", text, accepted)
    if row.repeats:
        text = f"{name} repeats {row.repeats.removeprefix('TOOL#')}, and is answered with what that was"
        yield Event(row.settled_at, "tool", "repeated", text, facts)
        return
    if released := int(item.get("released_at", 0)):
        yield Event(released, "tool", "released", f"{name} let go: the call has ended", facts)
    waited_since = released or row.accepted_at
    if row.claimed_at:
        waited = _between(waited_since, row.claimed_at)
        text = (
            f"{name} attempt {row.attempt} begins{_after(waited, 'it was let go' if released else 'it was accepted')}"
        )
        yield Event(row.claimed_at, "tool", "attempt", text, facts | {"attempt": row.attempt, "seconds": waited})
    if row.state.settled:
        yield _settled(row, name, facts, reveal)
    else:
        # Where nothing has moved it since, its last known moment is when it was begun or accepted.
        text = f"{name} is still {row.state}, attempt {row.attempt}"
        at = max(row.claimed_at, waited_since)
        yield Event(at, "tool", "open", text, facts | {"state": str(row.state), "attempt": row.attempt}, ok=False)
    yield from _delivery(row, item, name, facts, interrupted_at)


def _settled(row: Row, name: str, facts: Mapping[str, Any], reveal: bool) -> Event:
    result = _shown(row.result, reveal)
    # A row of before these times were kept has none: then the end is told where the call was accepted.
    at = row.settled_at or row.claimed_at or row.accepted_at
    ran = _between(row.claimed_at, row.settled_at)
    attempts = f" in attempt {row.attempt}" if row.attempt > 1 else ""
    text = f"{name} {row.state}{attempts}{_after(ran, 'it began')}: {result}"
    ended = {"state": str(row.state), "attempt": row.attempt, "seconds": ran, "result": result}
    return Event(at, "tool", "settled", text, {**facts, **ended}, row.state not in DOUBTFUL_STATES)


def _delivery(row: Row, item: Item, name: str, facts: Mapping[str, Any], interrupted_at: int) -> Iterator[Event]:
    if row.delivery is Delivery.NONE:
        return
    at = row.delivery_at or row.settled_at or row.accepted_at
    since = _between(row.settled_at, row.delivery_at)
    reason = str(item.get("delivery_reason", ""))
    interrupted = interrupted_at > row.emitted_at
    text = f"{name}: {row.delivery}{f', {reason}' if reason else ''}{_after(since, 'its end')}"
    text += ", asked before the last interruption" if interrupted else ""
    text += ", followed up" if item.get("followed_up") else ""
    told = {"outcome": str(row.delivery), "reason": reason, "seconds": since, "interrupted": interrupted}
    told["followed_up"] = bool(item.get("followed_up"))
    open_still = row.delivery in (Delivery.PENDING, Delivery.CLAIMED)
    good = not open_still and row.delivery not in DOUBTFUL_DELIVERIES
    yield Event(at, "delivery", "delivery", text, {**facts, **told}, good)


def _between(start: int, end: int) -> float | None:
    """Seconds, or None where one of the two is not known."""
    return (end - start) / 1000 if start and end else None


def _after(seconds: float | None, what: str) -> str:
    return "" if seconds is None else f", {seconds:.2f} s after {what}"


def _shown(text: str, reveal: bool) -> str:
    """A text that may hold what a caller said, or only its size."""
    return f"“{text}”" if reveal else f"[{len(text)} characters]"
