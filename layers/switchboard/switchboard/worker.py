"""What a worker does with one ticket from a queue: claim the tool call, run it, record the outcome, deliver it.

Every way out either leaves nothing to do or puts a new ticket on the queue, so a ticket that is handed out twice, late
or from a dead letter queue does no harm: the row decides what may still happen.
"""

import json
import random
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from switchboard import calls, delivery, endings, lookups, toolcalls, transfers
from switchboard.budget import Overrun, limit
from switchboard.delivery import Outcome, Speaker
from switchboard.desk import Agent, Backend
from switchboard.endings import Endings
from switchboard.errors import Unavailable
from switchboard.messages import one_line
from switchboard.queue import Queue, Ticket
from switchboard.store import Key, Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.toolcalls import Delivery, Row, State
from switchboard.tools import Call, DefiniteFailure, Tool, ToolError, WrongArguments
from switchboard.transfers import Impossible, Switch

GRACE = 2.0  # seconds between the end of an attempt and the moment when somebody else may take over
BACKOFF = 60  # seconds between two attempts at the most
MAX_DELAY = 900  # seconds, of one SQS message
AT_ONCE = 0.5  # seconds: where a result was spoken within them, nobody can say whether the caller began before it

FAILED_WORDS = "It did not work because of a technical problem on our side. Apologise, and offer to help another way."
UNKNOWN_WORDS = "We could not confirm whether it was done. Say so, do not promise anything: a person will check."
REPLACED_WORDS = "Not done: the caller has asked for something else since."
INTERRUPTED_WORDS = "Not done: the caller went on speaking."
SETTLE = 0.3  # seconds that a call waits for a newer one of the same tool
EXPIRED_WORDS = "It took too long and was not done. Apologise, and offer to try again."


class Bench(NamedTuple):
    """What the work needs: the agent, the table, this lane's queue, and the way back into the call."""

    agent: Agent
    store: Store
    queue: Queue
    speaker: Speaker
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    undelivered: Callable[[Row, str], None] = lambda row, reason: None
    """Told of every result that the caller will never hear, so that somebody can follow it up."""
    endings: Endings | None = None
    """What ends the other side of a call; the after-call lane has no need of it."""
    switch: Switch | None = None
    """What moves a phone leg; without it no tool can transfer."""
    backend: Callable[[], Backend] = Backend
    """What the agent is told of this stack when a look-up is made up for; the after-call lane has none to make up for."""


def work(bench: Bench, ticket: Ticket, receipt: str, remaining: Callable[[], float]) -> None:
    """Do what the ticket asks for. `remaining` tells how many seconds of the invocation are left.

    `Unavailable`, after a line in the log, where the ticket must come back: the batch processor writes none.
    """
    try:
        _work(bench, ticket, receipt, remaining)
    except Unavailable as error:
        count(Count.UNAVAILABLE)
        warn("ticket goes back", call_id=ticket.call_id, code=str(error))
        raise


def _work(bench: Bench, ticket: Ticket, receipt: str, remaining: Callable[[], float]) -> None:
    if ticket.due in ("leg_over", "call_over"):
        if bench.endings:
            endings.tend(bench.endings, ticket, bench.clock())
        return
    row = toolcalls.load(bench.store, Key(f"CALL#{ticket.call_id}", ticket.sk))
    if row is None:
        # The row has expired, the message has not: acting now would be acting without a record.
        count(Count.TOOL_MISSING)
        warn("ticket without a tool call", call_id=ticket.call_id)
        return
    if ticket.due == "follow":
        _follow_up(bench, row)
        return
    if not row.state.settled:
        row = _run(bench, row, receipt, remaining) or row
    if row.state is State.UNKNOWN:
        row = _reconciled(bench, row)
    if row.state.settled and row.delivery is Delivery.PENDING:
        _speak(bench, row)


def _run(bench: Bench, row: Row, receipt: str, remaining: Callable[[], float]) -> Row | None:
    tool = lookups.tool(bench.agent, bench.backend) if row.tool == lookups.NAME else bench.agent.tools.get(row.tool)
    if tool is None:
        # Removed by a deployment after it was accepted: let its deadline close it, and say what is missing.
        warn("tool does not exist any more", tool=row.tool, call_id=row.call_id)
        return _settle(bench, row)
    if remaining() < tool.timeout + GRACE:
        _again(bench, row)
        return None
    # Crash recovery follows the tool: should this process die, the message is back as soon as the lease is over.
    # Before the claim, so that a death right before or after it does not leave the call to its deadline.
    try:
        bench.queue.hide(receipt, int(tool.timeout + GRACE) + 1)
    except Unavailable as error:
        # The message would come back after the deadline: giving up here would leave the call to that.
        warn("ticket not brought forward", call_id=row.call_id, tool=row.tool, code=str(error))
    claimed = toolcalls.claim(bench.store, row, uuid.uuid4().hex, bench.clock(), tool.timeout + GRACE)
    return _settle(bench, row) if claimed is None else _attempt(bench, tool, claimed)


def _settle(bench: Bench, row: Row) -> Row | None:
    """Close a call that must not run any more; where another attempt is under way, look again when its lease is over."""
    now = bench.clock()
    stored = toolcalls.load(bench.store, row.key)
    if stored is None or stored.state.settled:
        return stored
    words = UNKNOWN_WORDS if stored.intent and stored.effect != "read" else EXPIRED_WORDS
    settled = toolcalls.settle(bench.store, stored, now, words)
    if settled is None:
        # What nobody has begun has no lease: its tool is missing, and may be back with the next deployment.
        waits = stored.state is State.RECEIVED
        _again(bench, stored, delay=min(BACKOFF, _until(stored.deadline, now)) if waits else _until(stored.lease, now))
        return None
    count(Count.TOOL_UNKNOWN if settled.state is State.UNKNOWN else Count.TOOL_EXPIRED)
    log("tool call closed", call_id=row.call_id, tool=row.tool, state=settled.state.value)
    return settled


def _attempt(bench: Bench, tool: Tool, row: Row) -> Row | None:
    try:
        arguments = tool.parse(json.loads(row.arguments))
    except WrongArguments as error:
        # Checked when it was accepted, so the tool has changed since.
        return _not_done(bench, row, str(error))
    if reason := _unwanted(bench, tool, row):
        count(Count.TOOL_REPLACED)
        return _not_done(bench, row, reason, silent=True)
    if row.lease < bench.clock() * 1000:
        # Held up for so long that somebody else may be at it by now.
        return _give_back(bench, row, acted=False)
    begun = toolcalls.begin(bench.store, row)
    return _act(bench, tool, begun, arguments) if begun else _settle(bench, row)


def _act(bench: Bench, tool: Tool, row: Row, arguments: Mapping[str, Any]) -> Row | None:
    call = call_of(bench, tool, row, bench.clock())
    try:
        with limit(tool.timeout):
            said = tool.run(call, arguments)
    except ToolError as error:
        return _not_done(bench, row, one_line(str(error)) or FAILED_WORDS, silent=call.transferred)
    except DefiniteFailure as error:
        return _nothing_happened(bench, row, retryable=error.retryable)
    except (Exception, SystemExit, Overrun) as error:  # noqa: BLE001 - a tool may raise anything; what it means is decided here
        warn("tool attempt failed", tool=row.tool, call_id=row.call_id, attempt=row.attempt, code=type(error).__name__)
        return _perhaps_happened(bench, row)
    # A transfer has ended the AI call: there is nobody to say the result to, and nothing is missed.
    return _commit(bench, row, State.SUCCEEDED, said, silent=call.transferred)


def _unwanted(bench: Bench, tool: Tool, row: Row) -> str:
    """Why the caller no longer wants this call to act, or ''. Asked at the last moment before it does."""
    if tool.latest_wins:
        # The model's second thought comes within milliseconds: give it the time to arrive.
        bench.sleep(SETTLE)
        if toolcalls.replaced(bench.store, row):
            return REPLACED_WORDS
    if tool.on_interrupt == "cancel":
        session = calls.load(bench.store, row.call_id, bench.clock())
        if session and session.interrupted_at > row.emitted_at:
            return INTERRUPTED_WORDS
    return ""


def _reconciled(bench: Bench, row: Row) -> Row:
    """Ask the other side how a call ended that nobody knows the end of, where its tool can ask."""
    tool = bench.agent.tools.get(row.tool)
    if tool is None or tool.reconcile is None:
        return row
    try:
        with limit(tool.timeout):
            found = tool.reconcile(call_of(bench, tool, row, bench.clock()), tool.parse(json.loads(row.arguments)))
    except (Exception, Overrun) as error:  # noqa: BLE001 - whatever it raises, the call stays unknown
        warn("not reconciled", tool=row.tool, call_id=row.call_id, code=type(error).__name__)
        return row
    state, words = (State.FAILED, FAILED_WORDS) if found is None else (State.SUCCEEDED, one_line(found))
    return toolcalls.resolve(bench.store, row, state, words) or row


def _commit(bench: Bench, row: Row, state: State, result: str, *, silent: bool = False) -> Row | None:
    committed = toolcalls.commit(bench.store, row, state, result, silent=silent, now=bench.clock())
    if committed is None:
        warn("late result refused", tool=row.tool, call_id=row.call_id, attempt=row.attempt)
        return None
    count(_COUNTS[state])
    if committed.delivery is not Delivery.PENDING:  # otherwise the line about its delivery is the one about this call
        log(
            "tool call ended",
            call_id=row.call_id,
            tool=row.tool,
            state=state.value,
            milliseconds=committed.milliseconds,
        )
    return committed


_COUNTS = {
    State.SUCCEEDED: Count.TOOL_SUCCEEDED,
    State.FAILED: Count.TOOL_FAILED,
    State.UNKNOWN: Count.TOOL_UNKNOWN,
}


def _not_done(bench: Bench, row: Row, words: str, *, silent: bool = False) -> Row | None:
    """Close a call whose attempt did nothing. An earlier one may have acted: then nobody knows, and that is never silent."""
    if row.doubt:
        return _commit(bench, row, State.UNKNOWN, UNKNOWN_WORDS)
    return _commit(bench, row, State.FAILED, words, silent=silent)


def _nothing_happened(bench: Bench, row: Row, *, retryable: bool) -> Row | None:
    if not retryable:
        return _not_done(bench, row, FAILED_WORDS)
    return _give_back(bench, row, acted=False)


def _perhaps_happened(bench: Bench, row: Row) -> Row | None:
    if row.effect == "once":
        return _commit(bench, row, State.UNKNOWN, UNKNOWN_WORDS)
    return _give_back(bench, row, acted=True)


def _give_back(bench: Bench, row: Row, *, acted: bool) -> Row | None:
    """Let another attempt follow. Where the call is no longer ours, look after it like anybody who could not claim it:
    our message is theirs too if it came back meanwhile, and is deleted with our answer.
    """
    if not toolcalls.release(bench.store, row, acted=acted):
        return _settle(bench, row)
    _again(bench, row)
    return None


def _again(bench: Bench, row: Row, delay: int | None = None) -> None:
    """A new ticket instead of a failed message: retries end with the deadline, not with a dead letter.

    Each waits about twice as long as the one before, so that an after-call tool does not storm a system that is down.
    """
    if delay is None:
        delay = round(min(2**row.attempt, BACKOFF) * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
    bench.queue.send(Ticket(row.call_id, row.key.sk), min(delay, MAX_DELAY))


def _until(moment: int, now: float) -> int:
    return max(1, int(moment / 1000 - now) + 1)


def _speak(bench: Bench, row: Row) -> None:
    started = bench.clock()
    outcome = delivery.deliver(bench.speaker, row, started)
    log(
        "result delivery",
        call_id=row.call_id,
        tool=row.tool,
        state=row.state.value,
        milliseconds=row.milliseconds,
        delivery=outcome.delivery.value,
        reason=outcome.reason,
    )
    if outcome.delivery is Delivery.PENDING:
        bench.queue.send(Ticket(row.call_id, row.key.sk, due="speak"), outcome.again or 1)
        return
    if outcome.again:
        bench.queue.send(Ticket(row.call_id, row.key.sk, due="follow"), outcome.again)
    if outcome.reason in _OTHERS:
        return
    count(_DELIVERIES[outcome.delivery], reason="overtaken" if _overtaken(bench, row, outcome, started) else "")
    if outcome.delivery is not Delivery.DELIVERED and outcome.reason != "superseded":
        bench.undelivered(row, outcome.reason)


def _overtaken(bench: Bench, row: Row, outcome: Outcome, started: float) -> bool:
    """Whether the caller interrupted or began to speak while the result was on its way, which nobody can prevent."""
    now = bench.clock()
    if outcome.spoken_into is None or now - started < AT_ONCE:
        return False
    return delivery.overtaken(bench.speaker.store, outcome.spoken_into, row, now)


def _follow_up(bench: Bench, row: Row) -> None:
    outcome = delivery.follow_up(bench.speaker, row, bench.clock())
    log("result followed up", call_id=row.call_id, tool=row.tool, reason=outcome.reason)
    if outcome.again:
        bench.queue.send(Ticket(row.call_id, row.key.sk, due="follow"), outcome.again)


_OTHERS = ("taken",)  # somebody else has the delivery, and counts it


_DELIVERIES = {
    Delivery.DELIVERED: Count.DELIVERED,
    Delivery.DROPPED: Count.DELIVERY_DROPPED,
    Delivery.UNDELIVERABLE: Count.DELIVERY_UNDELIVERABLE,
}


def call_of(bench: Bench, tool: Tool, row: Row, now: float) -> Call:
    """What the tool may know, from the row: the model cannot choose whose call it acts for."""
    return Call(
        id=row.call_id,
        caller=row.caller,
        idempotency_key=row.idempotency_key,
        now=datetime.fromtimestamp(now, UTC),
        ends=datetime.fromtimestamp(now + tool.timeout, UTC),
        attempt=row.attempt,
        still_owner=lambda: toolcalls.owns(bench.store, row),
        transfer=partial(_transfer, bench.switch._replace(people=bench.agent.people), row) if bench.switch else None,
    )


def _transfer(switch: Switch, row: Row, name: str, summary: str) -> str:
    try:
        return transfers.put_through(switch, row.call_id, row.idempotency_key, name, summary)
    except Impossible as error:
        raise ToolError(str(error)) from error


def ticket_of(record: Mapping[str, Any]) -> Ticket | None:
    """Read an SQS record; None, counted, for a body that this code never wrote."""
    ticket = Ticket.read(str(record.get("body", "")))
    if ticket is None:
        count(Count.TOOL_MISSING)
        warn("message without a ticket")
    return ticket
