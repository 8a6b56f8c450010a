"""Vapi's webhook: which message is answered by what. The order in which a request is taken in is a promise:

size 413 → header grammar 401 → timestamp 401 → signature over the raw bytes 401 → JSON 400 → envelope 400 →
organisation and assistant 403 → by `message.type`. Nothing parses the body before its signature has been verified, and
a refused request writes nothing and reaches no handler.
"""

from collections.abc import Callable, Mapping
from typing import Any

from switchboard import admission, calls, connection, gateway, lanes, legs, lookups, messages, signatures
from switchboard.budget import Overrun, limit
from switchboard.desk import ASSISTANT_SECONDS, Caller, Desk, backend
from switchboard.errors import MessageRefused, Refused, SignatureRefused, Unavailable
from switchboard.messages import Message
from switchboard.queue import Ticket
from switchboard.secrets import VAPI_WEBHOOK
from switchboard.settings import BYPASS
from switchboard.telemetry import Count, Seldom, count, log, warn

FALSE_TRIGGER_MILLISECONDS = 500  # nobody interrupts more than twice a second: that is breath, or noise
CALL_OVER_DELAY = 3  # seconds that Twilio has to end the phone leg itself, once Vapi has closed its stream
WEB_CALLS = ("webCall", "vapi.websocketCall")  # nobody has admitted them, so they have no slot
NO_DESTINATION = "Nobody can be reached at the moment. Offer to take a message instead."


refusals = Seldom()

Handler = Callable[[Desk, Message], dict[str, Any]]


def respond(desk: Desk, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one Lambda event of the HTTP API."""
    count(Count.WEBHOOK_RECEIVED)
    try:
        message = take_in(desk, gateway.read(event))
    except SignatureRefused as refused:
        count(Count.SIGNATURE_REFUSED, refused.reason)
        refusals.log("signature refused", reason=refused.reason)
        return gateway.refusal(refused.status)
    except Refused as refused:
        count(Count.MESSAGE_REFUSED, refused.reason)
        refusals.log("message refused", reason=refused.reason, status=refused.status)
        return gateway.refusal(refused.status)
    except Unavailable as error:
        return _unavailable(error)
    answer = _answer(desk, message)
    return gateway.refusal(503) if answer is None else gateway.answer(200, answer)


def take_in(desk: Desk, request: gateway.Request) -> Message:
    """Verify, then read: the message, or a `Refused` that says why not."""
    _verify(desk, request)
    message = messages.read(request.body)
    settings = desk.settings
    if settings.org_ids and message.org_id not in settings.org_ids:
        raise MessageRefused(403, "org_not_allowed")
    if settings.assistant_ids and message.assistant_id and message.assistant_id not in settings.assistant_ids:
        raise MessageRefused(403, "assistant_not_allowed")
    return message


def _verify(desk: Desk, request: gateway.Request) -> None:
    def check() -> str:
        return signatures.verify(
            desk.settings.scheme,
            request.headers,
            request.body,
            desk.secrets.active(VAPI_WEBHOOK),
            now=desk.clock(),
            tolerance=desk.settings.tolerance,
        )

    settings = desk.settings
    signatures.examine(settings.scheme, request.headers, now=desk.clock(), tolerance=settings.tolerance)
    desk.secrets.checked(check)


def _answer(desk: Desk, message: Message) -> dict[str, Any] | None:
    """The body of the 200, or None where our own infrastructure is down and Vapi can try again."""
    kind = "transcript" if message.type.startswith("transcript[") else message.type
    handler = HANDLERS.get(kind)
    if handler is None or (kind in ABOUT_A_CALL and not message.call_id):
        count(Count.MESSAGE_IGNORED)
        return {}
    try:
        return handler(desk, message)
    except Unavailable as error:
        code = str(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours or of the agent's: no sender may see it, and no caller
        code = type(error).__name__
    count(Count.UNAVAILABLE)
    warn("answered without a handler", message_type=kind, code=code)
    fallback = WHEN_DOWN.get(kind)
    return fallback(desk, message) if fallback else None


def _unavailable(error: Unavailable) -> dict[str, Any]:
    count(Count.UNAVAILABLE)
    warn("unavailable", code=str(error))
    return gateway.refusal(503)


def _assistant_request(desk: Desk, message: Message) -> dict[str, Any]:
    about = backend(desk.settings, desk.secrets)
    caller = Caller(message.customer_number, message.dialled_number, message.call_sid, about)
    choice = lookups.choose(desk.agent, caller, desk.settings, message.call_id)
    decided = messages.assistant_answer(choice.decision)
    answer = calls.keep_answer(desk.store, message, decided, desk.clock())
    if choice.late and message.call_id:
        waiting = lookups.Waiting(desk.store, desk.live_queue, desk.settings, desk.clock)
        lookups.continue_later(waiting, message.call_id, caller)
    return answer


def _fallback_assistant(desk: Desk, _message: Message) -> dict[str, Any]:
    try:
        connected = connection.read(desk.settings, desk.secrets).assistant_id
    except Unavailable:
        connected = desk.settings.assistant_id
    return messages.assistant_answer(lookups.fallback(desk.settings, connected))


def _status_update(desk: Desk, message: Message) -> dict[str, Any]:
    told = calls.record_status(desk.store, message, desk.settings, desk.clock())
    if told.begins and not message.phone_is_ours:
        # Nobody waits for this answer. Where we have answered the phone, that has woken them.
        desk.wake()
    if message.status == "ended":
        _ended(desk, message, news=told.news)
    elif told.news and message.call_sid and desk.settings.way != BYPASS:
        # Vapi has made this call by itself, so its phone leg does not know it yet.
        legs.adopt(desk.store, message.call_sid, message.call_id)
    return {}


def _end_of_call_report(desk: Desk, message: Message) -> dict[str, Any]:
    calls.record_report(desk.store, message, desk.settings, desk.clock())
    _ended(desk, message, news=False)
    return {}


def _ended(desk: Desk, message: Message, *, news: bool) -> None:
    """What the end of a call sets off: the end of its phone leg, its after-call tools, and a free slot."""
    # First, for a message that is sent again because something below has failed is no news any more.
    if news and message.call_sid:
        ticket = Ticket(message.call_id, message.call_sid, due="call_over")
        desk.live_queue.send(ticket, CALL_OVER_DELAY)
    lanes.start_after_call(desk, message)
    if message.call.get("type") not in WEB_CALLS:
        # A call that we placed holds its slot by that name too, should nobody have learnt its id.
        dial = f"DIAL#{message.dial}" if message.dial else ""
        admission.leave(desk.store, call_id=message.call_id, holder=dial)


def _speech_update(desk: Desk, message: Message) -> dict[str, Any]:
    for sk in calls.record_speech(desk.store, message, desk.settings, desk.clock()):
        # A result has been waiting for this very moment, so nobody waits for its next delayed ticket.
        desk.live_queue.send(Ticket(message.call_id, sk, due="speak"))
    return {}


def _user_interrupted(desk: Desk, message: Message) -> dict[str, Any]:
    since = calls.record_interruption(desk.store, message, desk.settings, desk.clock())
    if 0 < since < FALSE_TRIGGER_MILLISECONDS:
        count(Count.FALSE_TRIGGER)
    return {}


def _transcript(desk: Desk, message: Message) -> dict[str, Any]:
    calls.record_transcript(desk.store, message, desk.settings, desk.clock())
    return {}


def _hang(_desk: Desk, message: Message) -> dict[str, Any]:
    count(Count.HANG)
    log("the pipeline is slow", call_id=message.call_id)
    return {}


def _transfer_destination(desk: Desk, message: Message) -> dict[str, Any]:
    if message.phone_is_ours:
        # Vapi would say goodbye and leave the caller in silence: it cannot move a leg that it did not dial or answer.
        warn("Vapi cannot transfer this call, use Call.transfer", call_id=message.call_id)
        return messages.destination_answer(None, NO_DESTINATION)
    answer = messages.destination_answer(_agents_own(message, desk.agent.destination), NO_DESTINATION)
    return calls.keep_answer(desk.store, message, answer, desk.clock())


def _handoff_destination(desk: Desk, message: Message) -> dict[str, Any]:
    answer = messages.handoff_answer(_agents_own(message, desk.agent.destination), NO_DESTINATION)
    return calls.keep_answer(desk.store, message, answer, desk.clock())


def _agents_own(message: Message, ask: Callable[[Message], Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """Ask the agent's code; None where it fails or takes too long, for somebody is waiting."""
    try:
        with limit(ASSISTANT_SECONDS):
            answer = ask(message)
        return None if answer is None else messages.sendable(answer)
    except (Exception, SystemExit, Overrun) as error:  # noqa: BLE001 - whatever the agent's code raises, an answer is due
        warn("the agent could not answer", message_type=message.type[:40], code=type(error).__name__)
        return None


def _request(desk: Desk, message: Message) -> dict[str, Any]:
    """The agent's answer to one of Vapi's rarer requests, or one that is valid and changes nothing."""
    ask = desk.agent.answers.get(message.type)
    given = _agents_own(message, ask) if ask else None
    return dict(given) if given is not None else dict(EMPTY_ANSWERS[message.type])


def _function_call(desk: Desk, message: Message) -> dict[str, Any]:
    return messages.legacy_result(lanes.answers(desk, message))


# What Vapi reads as "no" or "nothing": the shapes are required by its schemas.
EMPTY_ANSWERS: dict[str, dict[str, Any]] = {
    "knowledge-base-request": {"documents": []},
    "call.endpointing.request": {"timeoutSeconds": 0.5},
    "campaign.predial": {"eligible": False},
    "voice-request": {"data": ""},
}

HANDLERS: dict[str, Handler] = {
    "assistant-request": _assistant_request,
    "tool-calls": lanes.take,
    "function-call": _function_call,
    "transfer-destination-request": _transfer_destination,
    "handoff-destination-request": _handoff_destination,
    **dict.fromkeys(EMPTY_ANSWERS, _request),
    "status-update": _status_update,
    "end-of-call-report": _end_of_call_report,
    "speech-update": _speech_update,
    "user-interrupted": _user_interrupted,
    "transcript": _transcript,
    "hang": _hang,
}

# Messages that can only be stored under their call.
ABOUT_A_CALL = frozenset({"status-update", "end-of-call-report", "speech-update", "user-interrupted", "transcript"})

# Somebody waits for these answers, so an outage of ours is answered too. For all others 503 lets Vapi try again.
WHEN_DOWN: dict[str, Handler] = {
    "assistant-request": _fallback_assistant,
    "tool-calls": lanes.refuse_all,
}
