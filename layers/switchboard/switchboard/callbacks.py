"""What Twilio asks and tells while a call goes on: the queue, the ladder's next step, a transfer's steps, the end of a leg.

Everything here may be asked twice and in any order. Whatever is down, a leg that waits for a document gets one that
keeps it or ends it in order; a status callback gets a 503 instead, so that Twilio tells it again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from switchboard import admission, gateway, ladder, legs, line, routes, transfers, twiml
from switchboard.budget import Overrun, limit
from switchboard.errors import MessageRefused, Refused, Unavailable
from switchboard.ladder import Cause
from switchboard.line import Asked, Line
from switchboard.queue import Queue, Ticket
from switchboard.secrets import Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio

SECONDS = 7.0  # for one answer; the function has 10, Twilio waits 15
EVERY = 4  # waits after which a caller is told again where they stand
POSITION = "You are number {position} in line."
LEG_OVER_DELAY = 3  # seconds that Vapi has to notice by itself that the phone was hung up
NEXT = "You are next in line."


class Attendant(NamedTuple):
    """What answering callbacks needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    live_queue: Queue
    twilio: Twilio
    left_voicemail: Callable[[str, str], None] = lambda call_sid, recording: None
    """Told of every message that a caller has left."""
    clock: Callable[[], float] = time.time

    @property
    def switch(self) -> Switch:
        """The part that transfers need."""
        return Switch(self.settings, self.secrets, self.store, self.twilio, self.clock)


def respond(attendant: Attendant, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request of Twilio's: 403 unless signed, 204 or 503 for a status, else 200 with TwiML."""
    asked = None
    try:
        with limit(SECONDS):
            asked = line.take_in(Line(attendant.settings, attendant.secrets), event)
            if told := _TOLD.get(asked.path):
                told(attendant, asked)
                return {"statusCode": 204}
            if asked.path not in _DOCUMENTS:
                raise MessageRefused(403, "path")
            return gateway.xml(_DOCUMENTS[asked.path](attendant, asked))
    except Refused as refused:
        return line.refuse(refused)
    except (Exception, Overrun) as error:  # noqa: BLE001 - a leg is waiting for a document, whatever is broken
        count(Count.UNAVAILABLE)
        path = asked.path if asked else ""
        if isinstance(error, Unavailable):
            warn("unavailable", code=str(error), reason=path)
        else:
            warn("callback without its answer", code=type(error).__name__, reason=path)
    if asked is None or asked.path in _TOLD:
        return gateway.refusal(503)
    return gateway.xml(_SAFE[asked.path](attendant, asked))


def _status(attendant: Attendant, asked: Asked) -> None:
    """What became of the caller's leg."""
    now = attendant.clock()
    leg = legs.record_status(attendant.store, asked.call_sid, asked.fields, now)
    log(
        "leg status",
        call_sid=asked.call_sid,
        status=asked.fields.get("CallStatus", "")[:20],
        count=int(leg is not None),
    )
    if asked.fields.get("CallStatus") not in legs.OVER:
        return
    # Again with every repetition: one of them may be the first that gets this far.
    admission.leave(attendant.store, holder=asked.call_sid)
    transfers.caller_gone(attendant.switch, asked.call_sid, now)
    stored = leg or legs.load(attendant.store, asked.call_sid, now) or {}
    if call_id := stored.get("call_id"):
        attendant.live_queue.send(Ticket(call_id, asked.call_sid, due="leg_over"), LEG_OVER_DELAY)


def _wait(attendant: Attendant, asked: Asked) -> str:
    """A caller in the queue: out of it with a slot, or when the time is up; else music, and where they stand."""
    settings, store, now = attendant.settings, attendant.store, attendant.clock()
    position = max(1, _number(asked, "QueuePosition"))
    if _number(asked, "QueueTime") >= settings.queue_minutes * 60:
        return twiml.leave()
    # Who was sent back because Vapi is full waits longer each time before they are sent there again.
    patient = asked.number("turn") >= asked.number("n") % ladder.BACK - 1
    if patient and admission.enter(store, settings, asked.call_sid, now, place=position):
        if _number(asked, "CurrentQueueSize") <= 1:
            admission.nobody_waits(store)
        return twiml.leave()
    if position == 1:
        admission.still_waiting(store, now)
    return _on_hold(attendant, asked, position)


def _on_hold(attendant: Attendant, asked: Asked, position: int) -> str:
    turn = asked.number("turn")
    tell = position and (position != asked.number("said") or turn % EVERY == 0)
    words = (NEXT if position == 1 else POSITION.format(position=position)) if tell else ""
    base = line.base_url(attendant.secrets)
    again = routes.url(base, routes.WAIT, n=asked.number("n"), said=position or asked.number("said"), turn=turn + 1)
    return twiml.wait(words, music(attendant.settings, base), again)


def music(settings: Settings, base: str) -> str:
    """The tune that waiting callers hear."""
    return settings.hold_music_url or routes.url(base, routes.TUNE)


def _step(attendant: Attendant, asked: Asked) -> str:
    """What follows when a step of the ladder, or the way to the assistant by SIP, has ended."""
    after = asked.query.get("after", "")
    if after == "voicemail":
        return _recorded(attendant, asked)
    if asked.fields.get("DialCallStatus") in ("completed", "answered") or asked.fields.get("CallStatus") in legs.OVER:
        if after == "assistant":
            _given_back(attendant, asked)
        return twiml.hang_up()
    cause = _cause(asked, Cause.NO_ANSWER)
    if after == "assistant":
        # The SIP leg was never connected, so nobody talks in its slot.
        count(Count.INBOUND_LADDER, cause.value)
        count(Count.INBOUND_APOLOGY, cause.value)
        admission.leave(attendant.store, holder=asked.call_sid)
    base = line.base_url(attendant.secrets)
    step = ladder.document(attendant.settings, base, cause, after=after, queued=asked.number("n"))
    log("ladder", call_sid=asked.call_sid, reason=cause.value, status=step.name)
    return step.document


def _given_back(attendant: Attendant, asked: Asked) -> None:
    """The talk by SIP is over. Should the table not answer, the end of the leg frees the slot."""
    try:
        admission.leave(attendant.store, holder=asked.call_sid)
    except Unavailable as error:
        warn("slot not given back", call_sid=asked.call_sid, code=str(error))


def _cause(asked: Asked, otherwise: Cause) -> Cause:
    said = asked.query.get("cause", "")
    return Cause(said) if said in set(Cause) else otherwise


def _recorded(attendant: Attendant, asked: Asked) -> str:
    recording = asked.fields.get("RecordingSid", "")
    if recording:
        count(Count.VOICEMAIL_LEFT)
        log("voicemail left", call_sid=asked.call_sid)
        attendant.left_voicemail(asked.call_sid, recording)
    return twiml.say_and_hang_up(ladder.THANKS)


def _number(asked: Asked, name: str) -> int:
    text = asked.fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


def _transfer(handle: Callable[[Switch, Asked, float], str]) -> Callable[[Attendant, Asked], str]:
    return lambda attendant, asked: handle(attendant.switch, asked, attendant.clock())


def _transfer_leg(attendant: Attendant, asked: Asked) -> None:
    transfers.leg_status(attendant.switch, asked, attendant.clock())


def _next_rung(attendant: Attendant, asked: Asked) -> str:
    after, cause = asked.query.get("after", ""), _cause(asked, Cause.ERROR)
    if after == "voicemail":
        # The message is recorded, even if nobody could be told.
        return twiml.say_and_hang_up(ladder.THANKS)
    base = line.base_url(attendant.secrets)
    return ladder.document(attendant.settings, base, cause, after=after, queued=asked.number("n")).document


def _still_on_hold(attendant: Attendant, asked: Asked) -> str:
    return _on_hold(attendant, asked, 0)


def _to_the_assistant(attendant: Attendant, asked: Asked) -> str:
    return twiml.redirect(routes.url(line.base_url(attendant.secrets), routes.BACK, n=asked.number("n")))


def _music_again(attendant: Attendant, asked: Asked) -> str:
    base = line.base_url(attendant.secrets)
    return twiml.music(music(attendant.settings, base), routes.url(base, routes.MUSIC, **asked.query))


def _sorry(attendant: Attendant, _asked: Asked) -> str:
    return twiml.say_and_hang_up(attendant.settings.apology)


# Twilio tells, and needs no document.
_TOLD: dict[str, Callable[[Attendant, Asked], None]] = {routes.STATUS: _status, routes.LEG: _transfer_leg}

_DOCUMENTS: dict[str, Callable[[Attendant, Asked], str]] = {
    routes.WAIT: _wait,
    routes.STEP: _step,
    routes.HOLD: _transfer(transfers.hold),
    routes.MUSIC: _transfer(transfers.music),
    routes.BRIEF: _transfer(transfers.brief),
    routes.ACCEPT: _transfer(transfers.accept),
}

# Where the answer fails: what keeps the leg for another try, or ends it in order. None of these needs the table.
_SAFE: dict[str, Callable[[Attendant, Asked], str]] = {
    routes.WAIT: _still_on_hold,
    routes.STEP: _next_rung,
    routes.HOLD: _to_the_assistant,
    routes.MUSIC: _music_again,
    routes.BRIEF: _sorry,
    routes.ACCEPT: _sorry,
}
