"""A tool call enters its lane: inline (answered at once), live (run by a worker, spoken later), or after the call.

What a repeated webhook is answered comes from the stored row, so a duplicate gets the same words and acts no second time.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from switchboard import calls, control, messages, toolcalls
from switchboard.budget import Overrun, limit
from switchboard.desk import Desk
from switchboard.errors import Unavailable
from switchboard.messages import Message, ToolAnswer, ToolCall
from switchboard.queue import Ticket
from switchboard.telemetry import Count, count, log, warn
from switchboard.toolcalls import Conflict, Overtaken, Row, State
from switchboard.tools import DEADLINES, Call, DefiniteFailure, Tool, ToolError, WrongArguments

INLINE_SECONDS = 4.0  # all inline tools of one message together: the caller hears silence meanwhile
LEASE_GRACE = 2.0
OVERTAKINGS = 3  # how often a call tries again that another one with the same arguments has overtaken

ACCEPTED = "Accepted and still running. It is not done yet: do not say that it is. The result will follow by itself."
AFTER_CALL = "Accepted. It will be done right after this call has ended; say that, and do not wait for a result."
UNKNOWN_TOOL = "There is no such tool. Offer what you can do instead."
NOT_AN_OBJECT = "The arguments are not a JSON object. Call the tool again with the arguments that it describes."
CONFLICT = "This tool call id was used before with other arguments, so nothing was done. Call the tool again."
BUSY = "That is being done already. Do not call the tool again; the first call gives the result."
INTERRUPTED = "Not done: the caller went on speaking. Listen to what they say now."
BROKEN = "It did not work because of a technical problem on our side. Apologise, and offer to help another way."
NO_TIME = "There was no time left for it, so nothing was done. Call the tool again."
UNCONFIRMED = "We could not confirm whether it was done. Say so, do not promise anything: a person will check."


def take(desk: Desk, message: Message) -> dict[str, Any]:
    """Answer `tool-calls`."""
    return messages.tool_results(answers(desk, message))


def answers(desk: Desk, message: Message) -> list[ToolAnswer]:
    """Check every call before any of them acts, then answer every one, in order."""
    jobs = [_checked(desk, message, call) for call in message.tool_calls()]
    deadline = desk.clock() + INLINE_SECONDS
    return [job if isinstance(job, ToolAnswer) else _taken(desk, job, deadline) for job in jobs]


def refuse_all(_desk: Desk, message: Message) -> dict[str, Any]:
    """The answer while our own infrastructure is down: the model is told, and the call goes on."""
    return messages.tool_results(ToolAnswer(call, error=BROKEN) for call in message.tool_calls())


class Job(NamedTuple):
    """A tool call that may act: its tool, parsed arguments, and the row that will stand for it."""

    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]
    row: Row


def _checked(desk: Desk, message: Message, call: ToolCall) -> Job | ToolAnswer:
    tool = desk.agent.tools.get(call.name)
    if tool is None:
        return ToolAnswer(call, error=UNKNOWN_TOOL)
    if not call.id or not message.call_id:
        # Nothing to store it under, so nothing could keep it from acting twice.
        return ToolAnswer(call, error=BROKEN)
    if call.arguments is None:
        return ToolAnswer(call, error=NOT_AN_OBJECT)
    try:
        arguments = tool.parse(call.arguments)
    except WrongArguments as error:
        return ToolAnswer(call, error=f"Wrong arguments: {error}. Mend them and call the tool again.")
    return Job(call, tool, arguments, _row(desk, message, call, tool))


def _row(desk: Desk, message: Message, call: ToolCall, tool: Tool) -> Row:
    arguments = call.arguments or {}
    digest = toolcalls.digest(tool.name, arguments)
    now = desk.clock()
    # What runs after the call has no deadline before the call has ended.
    seconds = toolcalls.KEEP_HOURS * 3600 if tool.lane == "after_call" else tool.deadline
    return Row(
        key=toolcalls.row_key(message, call, digest),
        state=State.RECEIVED,
        tool=tool.name,
        lane=tool.lane,
        effect=tool.effect,
        arguments=messages.canonical(arguments).decode(),
        digest=digest,
        emitted_at=message.timestamp or int(now * 1000),
        accepted_at=int(now * 1000),
        deadline=int((now + seconds) * 1000),
        caller=message.customer_number,
        control_host=control.host(message.control_url, message.call_id, local=desk.settings.local),
        verbatim=tool.verbatim,
    )


def _taken(desk: Desk, job: Job, deadline: float) -> ToolAnswer:
    try:
        for _ in range(OVERTAKINGS):
            with suppress(Overtaken):
                return _TAKE[job.tool.lane](desk, job, deadline)
        return ToolAnswer(job.call, error=BUSY)
    except Conflict:
        count(Count.TOOL_CONFLICT)
        warn("tool call id with other arguments", call_id=job.row.call_id, tool=job.tool.name)
        return ToolAnswer(job.call, error=CONFLICT)
    except Unavailable as error:
        count(Count.UNAVAILABLE)
        warn("tool call not taken", call_id=job.row.call_id, tool=job.tool.name, code=str(error))
        return ToolAnswer(job.call, error=BROKEN)


def _accept(desk: Desk, job: Job, row: Row) -> Row:
    first = bool(job.tool.dedupe)
    stored = toolcalls.accept(desk.store, row, desk.clock(), desk.settings.retention_hours, first=first)
    if stored is row:
        count(Count.TOOL_ACCEPTED)
        log("tool call accepted", call_id=row.call_id, tool=row.tool, lane=row.lane)
    return stored


def _background(desk: Desk, job: Job, _deadline: float) -> ToolAnswer:
    if repeated := _repeated(desk, job, _of_background):
        return repeated
    stored = _accept(desk, job, job.row)
    # A repeat sends again as long as nobody has begun: the first answer may have been lost before its message was sent.
    if stored.state is State.RECEIVED:
        desk.live_queue.send(Ticket(stored.call_id, stored.key.sk))
    return ToolAnswer(job.call, result=ACCEPTED, spoken=job.tool.meanwhile)


def _of_background(_desk: Desk, job: Job, first: Row) -> ToolAnswer:
    if first.state.settled:
        # An end that nobody knows has been told already: no other one will follow.
        return _spoken_state(job, first.state, first.result)
    return ToolAnswer(job.call, result=ACCEPTED, spoken=job.tool.meanwhile)


def _repeated(desk: Desk, job: Job, answer: Callable[[Desk, Job, Row], ToolAnswer]) -> ToolAnswer | None:
    """The answer to a call that only repeats an earlier one, where the tool says that this is the model's mistake.

    It is stored under the call's own id: what becomes of the first one later must change no answer that was given.
    """
    if not job.tool.dedupe:
        return None
    known = toolcalls.known(desk.store, job.row, desk.clock())
    if known:
        return _as_stored(job, known) if known.repeats else None
    first = toolcalls.first_of(desk.store, job.row, desk.clock(), job.tool.dedupe)
    if first is None:
        return None
    count(Count.TOOL_REPEATED)
    log("the model repeated itself", call_id=job.row.call_id, tool=job.tool.name)
    given = answer(desk, job, first)
    row = job.row._replace(
        state=State.FAILED if given.error else State.SUCCEEDED,
        result=given.error or given.result,
        repeats=first.key.sk,
        settled_at=job.row.accepted_at,
    )
    return _as_stored(job, toolcalls.accept(desk.store, row, desk.clock(), desk.settings.retention_hours))


def _as_stored(job: Job, repeated: Row) -> ToolAnswer:
    spoken = {"live": job.tool.meanwhile, "inline": job.tool.overrun}.get(job.tool.lane, "")
    told = _spoken_state(job, repeated.state, repeated.result)
    return told._replace(spoken=spoken) if told.result == ACCEPTED else told


def _after_call(desk: Desk, job: Job, _deadline: float) -> ToolAnswer:
    if repeated := _repeated(desk, job, lambda _desk, job, _first: ToolAnswer(job.call, result=AFTER_CALL)):
        return repeated
    stored = _accept(desk, job, job.row)
    # The end of the call may have been stored before this row: then nobody else will set it going.
    session = calls.load(desk.store, stored.call_id, desk.clock())
    if session and session.ended and stored.state is State.RECEIVED:
        _send_after_call(desk, stored)
    return ToolAnswer(job.call, result=AFTER_CALL)


def _inline(desk: Desk, job: Job, deadline: float) -> ToolAnswer:
    """Run a tool while the caller waits. What acts outside is recorded first; a look-up only when it is done."""
    if repeated := _repeated(desk, job, _stored_answer):
        return repeated
    cancelled = job.tool.on_interrupt == "cancel" and _interrupted(desk, job.row)
    # A look-up is stored only when it is done, and a call that was answered before an interruption keeps its answer.
    if (cancelled or job.tool.effect == "read") and (known := _known(desk, job)):
        return _continued(desk, job, known)
    if cancelled:
        return ToolAnswer(job.call, error=INTERRUPTED)
    now = desk.clock()
    # Its words go out with this very response, so there is nothing to deliver later.
    running = job.row._replace(
        state=State.RUNNING,
        owner=uuid.uuid4().hex,
        attempt=1,
        intent=True,
        claimed_at=int(now * 1000),
        lease=int((deadline + LEASE_GRACE) * 1000),
    )
    if job.tool.effect != "read":
        stored = _accept(desk, job, running)
        if stored is not running:
            return _stored_answer(desk, job, stored)
    state, words = _run_inline(desk, job, running, min(job.tool.timeout, deadline - now))
    if state is State.RECEIVED:
        return _continued(desk, job, _accept(desk, job, job.row._replace(lane="live")))
    done = desk.clock()
    ended = running._replace(state=state, result=words, settled_at=int(done * 1000))
    try:
        if job.tool.effect == "read":
            ended = _accept(desk, job, ended)
        else:
            toolcalls.commit(desk.store, running, state, words, now=done)
    except Unavailable as error:
        # The caller is waiting for what has just been found out or done; what is missing is only our record of it.
        warn("inline result not recorded", call_id=running.call_id, tool=running.tool, code=str(error))
    return _continued(desk, job, ended) if ended.lane == "live" else _spoken_state(job, ended.state, ended.result)


def _known(desk: Desk, job: Job) -> Row | None:
    """The call as it is stored already. A look-up goes on without: it harms nobody, and the caller is waiting."""
    try:
        return toolcalls.known(desk.store, job.row, desk.clock())
    except Unavailable as error:
        warn("earlier answer not looked up", call_id=job.row.call_id, tool=job.tool.name, code=str(error))
        return None


def _run_inline(desk: Desk, job: Job, row: Row, seconds: float) -> tuple[State, str]:
    if seconds <= 0 and job.tool.effect != "read":
        # Begun now it would be stopped at once, and nobody could tell any more that it has not acted.
        return State.FAILED, NO_TIME
    now = desk.clock()
    call = Call(
        id=row.call_id,
        caller=row.caller,
        idempotency_key=row.idempotency_key,
        now=datetime.fromtimestamp(now, UTC),
        ends=datetime.fromtimestamp(now + max(seconds, 0), UTC),
        still_owner=lambda: toolcalls.owns(desk.store, row),
    )
    try:
        with limit(seconds):
            return State.SUCCEEDED, job.tool.run(call, job.arguments)
    except ToolError as error:
        return State.FAILED, messages.one_line(str(error)) or BROKEN
    except DefiniteFailure:
        warn("inline tool failed", call_id=row.call_id, tool=row.tool, code="DefiniteFailure")
        return State.FAILED, BROKEN
    except Overrun:
        reason = "Overrun"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may raise anything, and its caller still needs an answer
        reason = type(error).__name__
    warn("inline tool failed", call_id=row.call_id, tool=row.tool, code=reason)
    if job.tool.effect != "read":
        return State.UNKNOWN, UNCONFIRMED
    # A look-up may be begun again, by a worker that has more time.
    return (State.RECEIVED, "") if reason == "Overrun" else (State.FAILED, BROKEN)


def _continued(desk: Desk, job: Job, stored: Row) -> ToolAnswer:
    """A look-up that takes too long goes on in the background, and its result is spoken like any other.

    One that was continued when it was asked first keeps the answer that it was given then.
    """
    if stored.lane != "live":
        return _stored_answer(desk, job, stored)
    if stored.state is State.RECEIVED:
        desk.live_queue.send(Ticket(stored.call_id, stored.key.sk))
    return ToolAnswer(job.call, result=ACCEPTED, spoken=job.tool.overrun)


def _interrupted(desk: Desk, row: Row) -> bool:
    """Whether the caller has spoken over the turn that asked for this call."""
    session = calls.load(desk.store, row.call_id, desk.clock())
    return session is not None and session.interrupted_at > row.emitted_at


def _stored_answer(desk: Desk, job: Job, stored: Row) -> ToolAnswer:
    if stored.state is State.RECEIVED or (stored.state is State.RUNNING and stored.lane == "live"):
        return ToolAnswer(job.call, result=ACCEPTED, spoken=job.tool.overrun)
    if stored.state is State.RUNNING:
        words = UNCONFIRMED if stored.lease < desk.clock() * 1000 else BUSY
        return ToolAnswer(job.call, error=words)
    return _spoken_state(job, stored.state, stored.result)


def _spoken_state(job: Job, state: State, words: str) -> ToolAnswer:
    if state is State.SUCCEEDED:
        return ToolAnswer(job.call, result=words)
    return ToolAnswer(job.call, error=words)


_TAKE: dict[str, Callable[[Desk, Job, float], ToolAnswer]] = {
    "inline": _inline,
    "live": _background,
    "after_call": _after_call,
}


def start_after_call(desk: Desk, message: Message) -> None:
    """Set the after-call tools going. Said again by every message that ends the call, because a repeat is harmless."""
    if not desk.agent.tools.after_call:
        return
    for row in toolcalls.of_call(desk.store, message.call_id):
        if row.lane == "after_call" and row.state is State.RECEIVED:
            _send_after_call(desk, row)


def _send_after_call(desk: Desk, row: Row) -> None:
    seconds = desk.agent.tools.after_call.get(row.tool, DEADLINES["after_call"])
    toolcalls.start_after_call(desk.store, row, desk.clock(), seconds)
    desk.after_call_queue.send(Ticket(row.call_id, row.key.sk))
