"""Choosing an assistant within its time, and what becomes of a look-up that does not make it.

The caller is not kept waiting: the fallback assistant answers, the look-up is stopped where it is and put on the live
queue, and what it finds there is told to the model in silence, once the call can be spoken to.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from switchboard import messages, toolcalls
from switchboard.budget import Overrun, limit
from switchboard.desk import ASSISTANT_SECONDS, Agent, Backend, Caller
from switchboard.errors import Unavailable
from switchboard.messages import Assistant, Decision, Refusal, Transfer
from switchboard.queue import Queue, Ticket
from switchboard.settings import Settings
from switchboard.store import Key, Store
from switchboard.telemetry import warn
from switchboard.toolcalls import Row, State

if TYPE_CHECKING:
    from switchboard.tools import Tool

NAME = "assistant-request"  # what stands in a look-up's row where other rows name their tool
SECONDS = 6.0  # of one attempt on the queue
DEADLINE = 60.0  # seconds after which the call has gone on without it
NOTHING_FOUND = "Nothing was found about the caller."


class Choice(NamedTuple):
    """Who answers the caller. `late` means that the agent was stopped, and this is the fallback."""

    decision: Decision
    late: bool = False


class Waiting(NamedTuple):
    """What is needed to go on with a look-up later."""

    store: Store
    queue: Queue
    settings: Settings
    clock: Callable[[], float] = time.time


def choose(agent: Agent, caller: Caller, settings: Settings, call: str) -> Choice:
    """Ask the agent who answers, for `ASSISTANT_SECONDS` at most. `call` names the call in the log."""
    try:
        with limit(ASSISTANT_SECONDS):
            return Choice(_sound(agent.assistant(caller)))
    except Overrun:
        warn("the agent took too long to choose an assistant", call_id=call)
        return Choice(fallback(settings, caller.backend.fallback_id), late=True)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the agent's own code: whatever it raises, a caller is waiting
        warn("the agent could not choose an assistant", call_id=call, code=type(error).__name__)
        return Choice(fallback(settings, caller.backend.fallback_id))


def _sound(decision: Decision) -> Decision:
    """The decision, if it is one: an agent's code may return anything."""
    if isinstance(decision, Assistant) and not (decision.id or decision.config):
        raise TypeError("an assistant is named by its id or given whole")
    if isinstance(decision, Assistant) and not all(
        part is None or isinstance(part, Mapping) for part in (decision.config, decision.overrides)
    ):
        raise TypeError("what an assistant is made of, or overridden with, is a mapping")
    if not isinstance(decision, Assistant | Refusal | Transfer):
        raise TypeError("a decision is an Assistant, a Refusal or a Transfer")
    messages.sendable(messages.assistant_answer(decision))
    return decision


def fallback(settings: Settings, assistant_id: str) -> Decision:
    """Who answers when the agent does not: `assistant_id` if none is kept for that, or the apology where there is neither."""
    stored = settings.fallback_assistant_id or assistant_id
    return Assistant(id=stored) if stored else Refusal(settings.apology)


def continue_later(waiting: Waiting, call_id: str, caller: Caller) -> None:
    """Put a look-up that was stopped on the live queue. Without a table or queue it is lost, and the call goes on."""
    arguments = {"number": caller.number, "dialled": caller.dialled, "call_sid": caller.call_sid}
    now = waiting.clock()
    row = Row(
        key=Key(f"CALL#{call_id}", f"TOOL#{NAME}"),
        state=State.RECEIVED,
        tool=NAME,
        lane="live",
        effect="read",
        arguments=messages.canonical(arguments).decode(),
        digest=toolcalls.digest(NAME, arguments),
        emitted_at=int(now * 1000),
        accepted_at=int(now * 1000),
        deadline=int((now + DEADLINE) * 1000),
        caller=caller.number,
        quiet=True,
    )
    try:
        stored = toolcalls.accept(waiting.store, row, now, waiting.settings.retention_hours)
        if stored.state is State.RECEIVED:
            waiting.queue.send(Ticket(call_id, row.key.sk))
    except (Unavailable, toolcalls.Conflict) as error:
        warn("look-up not continued", call_id=call_id, code=type(error).__name__)


def tool(agent: Agent, backend: Callable[[], Backend]) -> "Tool":
    """The look-up as the live worker runs it: it stays out of the agent's toolbox, so that no model can call it."""
    from switchboard.tools import Toolbox  # only a worker comes here

    box = Toolbox()

    def assistant_request(
        number: Annotated[str, "The caller."],
        dialled: Annotated[str, "The number that was called."],
        call_sid: Annotated[str, "The phone leg."],
    ) -> str:
        """Look up what the agent knows about the caller."""
        return finding(agent.assistant(Caller(number, dialled, call_sid, backend())))

    box.tool(effect="read", meanwhile="-", timeout=SECONDS, deadline=DEADLINE)(assistant_request)
    return next(iter(box))


def finding(decision: Decision) -> str:
    """What a late look-up has found, as data for the model: the values that would have filled the assistant's prompt."""
    overrides = decision.overrides if isinstance(decision, Assistant) else None
    values = (overrides or {}).get("variableValues")
    return messages.canonical(values).decode() if values else NOTHING_FOUND
