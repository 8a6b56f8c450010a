"""`switchboard call`: the story of one call, told from the table alone.

Numbers, words, arguments and results are not shown unless they are asked for: a timeline may be pasted into a ticket.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from boto3.dynamodb.types import TypeDeserializer

from devkit import target
from devkit.errors import UserError
from devkit.timeline import Moment, render
from switchboard import calls, legs, transfers
from switchboard.toolcalls import Delivery, Row, State

CALL_SID = re.compile(r"CA[0-9a-f]{32}")
SHOWN_DIGITS = 2  # of the caller's number
DOUBTFUL_STATES = (State.UNKNOWN, State.EXPIRED)
DOUBTFUL_DELIVERIES = (Delivery.UNDELIVERABLE,)

type Item = Mapping[str, Any]


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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("call", metavar="CALL", help="Vapi's call id, or Twilio's CallSid")
    parser.add_argument("--json", action="store_true", help="for programs; times are seconds from the first moment")
    parser.add_argument("--reveal", action="store_true", help="show words, arguments and results as well")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the story."""
    chosen = target.chosen(args)
    with target.explained():
        story = read(chosen.client("dynamodb"), f"{chosen.stack}-calls", args.call, reveal=args.reveal, now=time.time())
    sys.stdout.write((as_json(story) if args.json else as_text(story)) + "\n")
    return 0


def read(dynamodb: Any, table: str, identity: str, *, reveal: bool, now: float) -> Story:
    """Read a call by Vapi's id or by its CallSid; `UserError` where there is nothing (any more)."""
    if CALL_SID.fullmatch(identity):
        leg = _one(dynamodb, table, legs.key(identity).pk, now)
        # A leg has several calls where a caller came back to the assistant.
        call_ids = sorted(leg.get("calls", ()))
        if not call_ids:
            known = "was never connected to a call" if leg else "is not known (any more)"
            raise UserError(f"the phone leg {identity} {known}; give Vapi's call id if you have it")
    else:
        leg, call_ids = {}, [identity]
    stored = [_items(dynamodb, table, calls.key(call_id).pk, now) for call_id in call_ids]
    session: Item = next((item for items in stored for item in items if item["sk"] == calls.META), {})
    call_sid = str(session.get("call_sid", ""))
    if not leg and call_sid:
        leg = _one(dynamodb, table, legs.key(call_sid).pk, now)
    transfer = _one(dynamodb, table, transfers.key(call_sid).pk, now) if call_sid else {}
    told = [tell(call_id, items, leg, reveal=reveal) for call_id, items in zip(call_ids, stored, strict=True)]
    story = _joined(told, list(_transfer(transfer, reveal)))
    if not story.events:
        raise UserError(f"nothing is stored about call {identity}: it never came here, or has expired")
    return story


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
        caller=f"…{number[-SHOWN_DIGITS:]}" if number else "",
        ended_reason=str(session.get("ended_reason", "")),
        events=sorted((event for event in events if event.at), key=lambda event: event.at),
    )


def as_text(story: Story) -> str:
    """The story as a timeline, under one line about the call."""
    began = datetime.fromtimestamp(story.began / 1000, UTC)
    parts = [f"call {story.call_id}", f"leg {story.call_sid}" if story.call_sid else ""]
    parts += [f"caller {story.caller}" if story.caller else "", f"{began:%Y-%m-%d %H:%M:%S} UTC"]
    head = " · ".join(filter(None, [*parts, f"{story.seconds:.1f} s"]))
    moments = [Moment(event.at / 1000, event.who, event.text, event.ok) for event in story.events]
    return f"{head}\n\n{render(moments, story.began / 1000)}"


def as_json(story: Story) -> str:
    """The story for programs."""
    events = [
        {"at": (event.at - story.began) / 1000, "who": event.who, "event": event.kind, "ok": event.ok, **event.facts}
        for event in story.events
    ]
    told = {
        "call": story.call_id,
        "call_sid": story.call_sid,
        "caller": story.caller,
        "began": datetime.fromtimestamp(story.began / 1000, UTC).isoformat(timespec="milliseconds"),
        "seconds": story.seconds,
        "ended_reason": story.ended_reason,
        "events": events,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


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


def _one(dynamodb: Any, table: str, pk: str, now: float) -> Item:
    return next(iter(_items(dynamodb, table, pk, now)), {})


def _items(dynamodb: Any, table: str, pk: str, now: float) -> list[Item]:
    """The items of a partition; what has expired counts as gone, deleted already or not."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ConsistentRead=True,
    )
    found = [{name: _plain(value) for name, value in raw.items()} for page in pages for raw in page["Items"]]
    return [item for item in found if item.get("exp", now + 1) > now]


def _plain(value: Any) -> Any:
    read_value = TypeDeserializer().deserialize(value)
    return int(read_value) if isinstance(read_value, Decimal) else read_value
