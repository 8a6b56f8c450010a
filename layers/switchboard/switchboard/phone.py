"""Twilio's side: a leg that wants an assistant is answered with TwiML whatever is down, and in time.

A leg asks when it rings, when it leaves the queue, and when it comes back from a transfer. The agent chooses who answers,
a slot lets the caller in, and the configured way leads to the assistant; where any of that fails, the ladder goes on.
"""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from switchboard import admission, calls, gateway, ladder, legs, lookups, routes, transfers, twiml, ways
from switchboard.budget import Overrun, limit
from switchboard.desk import Agent, Caller, backend
from switchboard.errors import (
    Ambiguous,
    Refused,
    RemoteError,
    SettingsError,
    SwitchboardError,
    Unavailable,
)
from switchboard.ladder import Cause
from switchboard.line import Asked, Line, base_url, refuse, take_in
from switchboard.messages import Assistant, Refusal, Transfer
from switchboard.queue import Queue, Ticket
from switchboard.secrets import TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import REDIRECT, Settings
from switchboard.store import Item, Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.vapi import Vapi

MARGIN = 1.0  # seconds kept for storing what was answered, and once more for answering it
NOT_RETURNED: Mapping[str, str] = MappingProxyType({})


class Exchange(NamedTuple):
    """What answering the phone needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    live_queue: Queue
    vapi: Vapi
    agent: Agent
    clock: Callable[[], float] = time.time
    wake: Callable[[], None] = lambda: None
    """Has the functions started that a call will need."""


def answer_call(exchange: Exchange, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a leg that wants an assistant: 403 for what Twilio has not signed, else 200 with TwiML, always, in time."""
    asked = None
    try:
        with limit(exchange.settings.voice_budget - 2 * MARGIN):
            asked = take_in(Line(exchange.settings, exchange.secrets), event)
            reply = _TURNS.get(asked.path, _rings)(exchange, asked)
    except Refused as refused:
        return refuse(refused)
    except (Exception, Overrun) as error:  # noqa: BLE001 - whatever is broken, the caller hears words and not a dead line
        reply = _instead(exchange, asked, error)
    if asked:
        _record(exchange, asked.call_sid, reply)
    return gateway.xml(reply.document)


class Reply(NamedTuple):
    """What Twilio is answered, and what there is to record about it."""

    document: str
    known: bool = False
    call_id: str = ""
    control_host: str = ""
    late_for: Caller | None = None


class Declined(SwitchboardError):
    """The caller is not let in: `cause` says why, and `after` which step of the ladder is behind them."""

    def __init__(self, cause: Cause, after: str = "") -> None:
        super().__init__(cause.value)
        self.cause = cause
        self.after = after


def _rings(exchange: Exchange, asked: Asked) -> Reply:
    """A new call."""
    fields, now = asked.fields, exchange.clock()
    facts = {"account": fields.get("AccountSid", ""), "dialled": fields.get("To", "")[:40]}
    opened = legs.open_leg(exchange.store, asked.call_sid, facts, exchange.settings.longest_leg, now)
    if opened is not None:
        return _again(opened)
    decision = _decide(exchange, asked, {})
    if not isinstance(decision.decision, Assistant):
        return _without_assistant(exchange, decision.decision)
    secret = exchange.secrets.first(TWILIO_AUTH_TOKEN)
    if full := admission.count_call(exchange.store, exchange.settings, fields.get("From", ""), secret, now):
        raise Declined(Cause(full))
    if not admission.enter(exchange.store, exchange.settings, asked.call_sid, now):
        raise Declined(Cause.CAP)
    return _connect(exchange, asked, decision)


def _dequeued(exchange: Exchange, asked: Asked) -> Reply:
    """A caller who has left the queue, with a slot that they took while they waited, or because time was up."""
    if asked.fields.get("QueueResult") == "hangup" or asked.fields.get("CallStatus") in legs.OVER:
        # A slot that was taken in the line a moment ago; the status callback that would free it may never come.
        _give_back(exchange, asked.call_sid)
        return Reply(twiml.hang_up(), known=True)
    opened = legs.reopen(exchange.store, asked.call_sid, f"queue-{asked.number('n')}", exchange.clock())
    if opened is not None:
        return _again(opened)
    # The slot that was taken in the line, or one that is free now that the time is up.
    if asked.fields.get("QueueResult") != "leave":
        _give_back(exchange, asked.call_sid)
        raise Declined(Cause.CAP, after="queue")
    if not admission.enter(exchange.store, exchange.settings, asked.call_sid, exchange.clock(), place=1):
        raise Declined(Cause.CAP, after="queue")
    count(Count.QUEUE_LEFT)
    return _connect(exchange, asked, _decide(exchange, asked, {}))


def _back(exchange: Exchange, asked: Asked) -> Reply:
    """A caller who was to be transferred: back to the assistant, who knows why, or at the end of a talk with a person."""
    over = asked.fields.get("CallStatus") in legs.OVER
    back = transfers.back(exchange.store, asked.call_sid, exchange.clock(), number=asked.number("n"), over=over)
    if over:
        # Whatever became of the transfer, nobody is there to come back.
        _give_back(exchange, asked.call_sid)
    if over or not back.returns:
        return Reply(twiml.hang_up(), known=True)
    opened = legs.reopen(exchange.store, asked.call_sid, f"transfer-{back.number}", exchange.clock())
    if opened is not None:
        return _again(opened)
    returned = {"outcome": back.outcome, "to": back.name, "summary": back.summary}
    # The slot was kept; where its lease was over meanwhile, the caller lines up like everybody else.
    if not admission.enter(exchange.store, exchange.settings, asked.call_sid, exchange.clock(), place=1):
        raise Declined(Cause.CAP)
    return _connect(exchange, asked, _decide(exchange, asked, returned), returned)


_TURNS: dict[str, Callable[[Exchange, Asked], Reply]] = {
    routes.INBOUND: _rings,
    routes.DEQUEUED: _dequeued,
    routes.BACK: _back,
}


def _again(opened: Item) -> Reply:
    """Asked again. Without a stored document the first request may still be asking Vapi: never ask a second time."""
    if "twiml" not in opened:
        raise Declined(Cause.REPEATED)
    return Reply(str(opened["twiml"]), known=True)


def _decide(exchange: Exchange, asked: Asked, returned: Mapping[str, str]) -> lookups.Choice:
    return lookups.choose(exchange.agent, _caller(exchange, asked, returned), exchange.settings, asked.call_sid)


def _caller(exchange: Exchange, asked: Asked, returned: Mapping[str, str]) -> Caller:
    fields = asked.fields
    about = backend(exchange.settings, exchange.secrets)
    return Caller(fields.get("From", ""), fields.get("To", ""), asked.call_sid, about, returned)


def _informed(assistant: Assistant, returned: Mapping[str, str]) -> Assistant:
    """The assistant, told what became of the transfer; what the agent has chosen to say itself stays."""
    if not returned:
        return assistant
    overrides = dict(assistant.overrides or {})
    values = {f"transfer_{name}": value for name, value in returned.items()}
    overrides["variableValues"] = {**values, **(overrides.get("variableValues") or {})}
    overrides.setdefault("firstMessage", transfers.WORDS[returned["outcome"]])
    return assistant._replace(overrides=overrides)


def _without_assistant(exchange: Exchange, decision: Refusal | Transfer) -> Reply:
    if isinstance(decision, Refusal):
        return Reply(twiml.say_and_hang_up(decision.words))
    action = routes.url(base_url(exchange.secrets), routes.STEP, after="human", cause=Cause.NO_ANSWER.value)
    return Reply(twiml.dial(decision.number, decision.words, action=action))


def _connect(
    exchange: Exchange, asked: Asked, choice: lookups.Choice, returned: Mapping[str, str] = NOT_RETURNED
) -> Reply:
    if not isinstance(choice.decision, Assistant):
        _give_back(exchange, asked.call_sid)
        return _without_assistant(exchange, choice.decision)
    if exchange.settings.way != REDIRECT:
        # While Vapi is asked they start. Of a redirected call the first word is Vapi's, and wakes them.
        exchange.wake()
    leg = ways.Leg(asked.call_sid, asked.fields.get("From", ""), asked.fields.get("CallStatus") == "ringing")
    try:
        made = ways.connect(
            exchange.settings,
            exchange.secrets,
            exchange.vapi,
            base_url(exchange.secrets),
            leg,
            _informed(choice.decision, returned),
            timeout=exchange.settings.voice_budget - 2 * MARGIN,
        )
    except Ambiguous:
        # There may be a call by now, so its slot is kept until the leg ends.
        raise
    except Exception:
        _give_back(exchange, asked.call_sid)
        raise
    late_for = _caller(exchange, asked, {}) if choice.late and made.call_id else None
    return Reply(made.document, call_id=made.call_id, control_host=made.control_host, late_for=late_for)


def _give_back(exchange: Exchange, call_sid: str) -> None:
    """Nobody talks in the caller's slot. Where the table is down, the end of the leg frees it."""
    try:
        admission.leave(exchange.store, holder=call_sid)
    except Unavailable as error:
        warn("slot not given back", call_sid=call_sid, code=str(error))


def _instead(exchange: Exchange, asked: Asked | None, error: BaseException) -> Reply:
    """The next step of the ladder, and why, where the owner looks."""
    cause, code = _cause(error)
    count(Count.INBOUND_LADDER, cause.value)
    if cause not in ladder.PLANNED:
        count(Count.INBOUND_APOLOGY, cause.value)
        warn("a caller did not reach the assistant", reason=cause.value, code=code)
    if asked is None:
        # Not known to be Twilio's: words only, and no number of ours.
        return Reply(twiml.say_and_hang_up(exchange.settings.apology), known=True)
    after = error.after if isinstance(error, Declined) else ""
    queued = asked.number("n") * (ladder.BACK if asked.path == routes.BACK else 1)
    step = ladder.document(exchange.settings, _base(exchange), cause, after=after, queued=queued)
    log("ladder", call_sid=asked.call_sid, reason=cause.value, status=step.name)
    if step.name == "queue":
        count(Count.QUEUE_ENTERED)
    # The first request of a turn decides what the turn is answered, not one that repeats it.
    return Reply(step.document, known=cause is Cause.REPEATED)


def _base(exchange: Exchange) -> str:
    """Origin of our URLs, '' where it cannot be read in time: then there is only an apology."""
    try:
        with limit(MARGIN):
            return base_url(exchange.secrets)
    except (Unavailable, Overrun):
        return ""


def _record(exchange: Exchange, call_sid: str, reply: Reply) -> None:
    """Keep what was answered, as far as the time allows: the caller is waiting for the answer, not for our record of it."""
    if reply.known:
        return
    now = exchange.clock()
    try:
        with limit(MARGIN):
            leg = legs.connect(exchange.store, call_sid, reply.call_id, reply.document)
            if reply.call_id:
                calls.link(exchange.store, reply.call_id, call_sid, reply.control_host, exchange.settings, now)
                admission.occupy(exchange.store, call_sid, reply.call_id, now)
            if reply.call_id and leg.get("status") in legs.OVER:
                # Hung up while Vapi was asked: the end of the leg could not name the call that is to end with it.
                exchange.live_queue.send(Ticket(reply.call_id, call_sid, due="leg_over"))
            if reply.late_for:
                waiting = lookups.Waiting(exchange.store, exchange.live_queue, exchange.settings, exchange.clock)
                lookups.continue_later(waiting, reply.call_id, reply.late_for)
    except (Exception, Overrun) as error:  # noqa: BLE001 - nothing that goes wrong with the record may cost the answer
        code = str(error) if isinstance(error, Unavailable) else type(error).__name__
        warn("call not recorded", call_id=reply.call_id, call_sid=call_sid, code=code)


def _cause(error: BaseException) -> tuple[Cause, str]:
    match error:
        case Declined():
            return error.cause, ""
        case RemoteError():
            return Cause.CONCURRENCY if error.reason == "concurrency" else Cause.VAPI, error.reason
        case Unavailable():
            return Cause.UNAVAILABLE, str(error)
        case SettingsError():
            return Cause.CONFIGURATION, ""
        case Overrun():
            return Cause.TOO_SLOW, ""
        case _:
            return Cause.ERROR, type(error).__name__
