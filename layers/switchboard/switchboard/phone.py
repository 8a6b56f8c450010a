"""Twilio's side: an inbound call is answered with TwiML whatever is down, and status callbacks are merged.

The agent chooses the assistant, Vapi makes the call (`POST /call` with the provider bypass) and hands back the TwiML that
connects the caller; it passes through untouched. The CallSid is opened first, by one conditional write, because
`POST /call` takes no idempotency key: a second one would be a second call.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from switchboard import calls, control, gateway, legs, lookups, messages, signatures, twiml
from switchboard.budget import Overrun, limit
from switchboard.desk import Agent, Caller, webhook_url
from switchboard.errors import MessageRefused, Refused, RemoteError, SignatureRefused, Unavailable
from switchboard.messages import Assistant, Refusal, Transfer
from switchboard.queue import Queue
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, VAPI_API_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import Count, Seldom, count, log, warn
from switchboard.vapi import Vapi

_CALL_SID = re.compile(r"CA[0-9a-f]{32}", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_CALL_ID = re.compile(r"[A-Za-z0-9_\-]{1,100}", re.ASCII)
USED = ("AccountSid", "CallDuration", "CallSid", "CallStatus", "From", "SequenceNumber", "To")
refusals = Seldom()
MARGIN = 1.0  # seconds kept for storing what was answered, and once more for answering it


class Exchange(NamedTuple):
    """What answering the phone needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    live_queue: Queue
    vapi: Vapi
    agent: Agent
    clock: Callable[[], float] = time.time


class Line(NamedTuple):
    """What both kinds of Twilio requests need to be taken in."""

    settings: Settings
    secrets: Secrets


def take_in(line: Line, event: Mapping[str, Any]) -> dict[str, str]:
    """The form fields of a request that Twilio really signed; `Refused` with 403 otherwise, and nothing has happened."""
    count(Count.WEBHOOK_RECEIVED)
    request = gateway.read(event)
    signature = request.headers.get("x-twilio-signature", "")
    signatures.examine_twilio(signature)
    try:
        pairs = signatures.parse_form(request.body)
    except ValueError as error:
        raise MessageRefused(403, "form_malformed") from error
    # Never the Host header: the URL that Twilio signs is the one that its owner configured.
    base = line.secrets.text(PUBLIC_BASE_URL).rstrip("/")
    url = base + request.path + (f"?{request.query}" if request.query else "")

    def check() -> str:
        return signatures.verify_twilio(url, pairs, signature, line.secrets.active(TWILIO_AUTH_TOKEN))

    line.secrets.checked(check)
    fields = dict(pairs)
    # The signed text has no delimiters, so exact shapes are part of the proof, and what we act on comes once.
    repeated = any(sum(name == used for name, _ in pairs) > 1 for used in USED)
    if repeated or not _CALL_SID.fullmatch(fields.get("CallSid", "")):
        raise MessageRefused(403, "fields")
    if line.settings.account_sids and fields.get("AccountSid") not in line.settings.account_sids:
        raise MessageRefused(403, "account")
    return fields


def refuse(refused: Refused) -> dict[str, Any]:
    """Twilio's requests are refused with 403 whatever is wrong with them; only too large a body says so."""
    count(Count.SIGNATURE_REFUSED if isinstance(refused, SignatureRefused) else Count.MESSAGE_REFUSED, refused.reason)
    refusals.log("phone request refused", reason=refused.reason)
    return gateway.refusal(413 if refused.status == 413 else 403)


def answer_call(exchange: Exchange, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer Twilio's inbound webhook: 403 for what Twilio has not signed, else 200 with TwiML, always and in time."""
    words = exchange.settings.apology
    try:
        with limit(exchange.settings.voice_budget - 2 * MARGIN):
            fields = take_in(Line(exchange.settings, exchange.secrets), event)
            reply = _reply(exchange, fields)
    except Refused as refused:
        return refuse(refused)
    except RemoteError as error:
        return apologise(words, "vapi", error.reason)
    except Unavailable as error:
        return apologise(words, "unavailable", str(error))
    except Overrun:
        return apologise(words, "too_slow")
    except Exception as error:  # noqa: BLE001 - whatever is broken, the caller hears words and not a dead line
        return apologise(words, "error", type(error).__name__)
    _record(exchange, fields["CallSid"], reply)
    return gateway.xml(reply.document)


def apologise(words: str, reason: str, code: str = "") -> dict[str, Any]:
    """Say sorry and hang up in order, and say why where the owner looks."""
    count(Count.INBOUND_APOLOGY, reason)
    warn("a caller heard the apology", reason=reason, code=code)
    return gateway.xml(twiml.say_and_hang_up(words))


class Reply(NamedTuple):
    """What Twilio is answered, and what there is to record about it."""

    document: str
    known: bool = False
    call_id: str = ""
    control_host: str = ""
    late_for: Caller | None = None


def _reply(exchange: Exchange, fields: Mapping[str, str]) -> Reply:
    call_sid = fields["CallSid"]
    opened = legs.open_leg(exchange.store, call_sid, exchange.clock())
    if opened is not None:
        # Asked again. Without a stored document the first request may still be asking Vapi: never ask a second time.
        if "twiml" not in opened:
            raise RemoteError("asked_already")
        return Reply(str(opened["twiml"]), known=True)
    caller = Caller(fields.get("From", ""), fields.get("To", ""), call_sid, webhook_url(exchange.secrets))
    choice = lookups.choose(exchange.agent, caller, exchange.settings, call_sid)
    match choice.decision:
        case Refusal(words):
            return Reply(twiml.say_and_hang_up(words))
        case Transfer(number, words):
            return Reply(twiml.dial(number, words))
        case Assistant() as assistant:
            reply = _connect(exchange, fields, assistant)
            return reply._replace(late_for=caller) if choice.late else reply


def _connect(exchange: Exchange, fields: Mapping[str, str], assistant: Assistant) -> Reply:
    call = exchange.vapi.create_call(
        exchange.secrets.first(VAPI_API_KEY),
        call_request(exchange.settings, fields, assistant),
        timeout=exchange.settings.voice_budget - 2 * MARGIN,
    )
    call_id, document = _made(call)
    monitor = call.get("monitor")
    url = monitor.get("controlUrl") if isinstance(monitor, dict) else None
    host = control.host(url if isinstance(url, str) else "", call_id, local=exchange.settings.local)
    count(Count.INBOUND_ANSWERED)
    log("caller connected", call_id=call_id, call_sid=fields["CallSid"])
    return Reply(document, call_id=call_id, control_host=host)


def _record(exchange: Exchange, call_sid: str, reply: Reply) -> None:
    """Keep what was answered, as far as the time allows: the caller is waiting for the answer, not for our record of it."""
    if reply.known:
        return
    try:
        with limit(MARGIN):
            legs.connect(exchange.store, call_sid, reply.call_id, reply.document)
            if reply.call_id:
                now = exchange.clock()
                calls.link(exchange.store, reply.call_id, call_sid, reply.control_host, exchange.settings, now)
            if reply.late_for:
                waiting = lookups.Waiting(exchange.store, exchange.live_queue, exchange.settings, exchange.clock)
                lookups.continue_later(waiting, reply.call_id, reply.late_for)
    except (Unavailable, Overrun) as error:
        warn("call not recorded", call_id=reply.call_id, call_sid=call_sid, code=str(error) or type(error).__name__)


def call_request(settings: Settings, fields: Mapping[str, str], assistant: Assistant) -> dict[str, Any]:
    """The body of `POST /call` for a caller who is on the line at Twilio already."""
    number = fields.get("From", "")
    customer: dict[str, Any] = {"number": number}
    if not _E164.fullmatch(number):
        # Withheld numbers arrive as words; Vapi refuses them unless told not to look.
        customer = {"number": number[:40] if len(number) >= 3 else "anonymous", "numberE164CheckEnabled": False}
    request = {
        "phoneNumberId": settings.phone_number_id,
        "phoneCallProviderBypassEnabled": True,
        "customer": customer,
        **messages.assistant_fields(assistant),
    }
    overrides = dict(request.get("assistantOverrides") or {})
    # So that every message of the call says which phone leg it belongs to.
    overrides["metadata"] = {**(overrides.get("metadata") or {}), "callSid": fields["CallSid"]}
    return request | {"assistantOverrides": overrides}


def _made(call: Mapping[str, Any]) -> tuple[str, str]:
    call_id = call.get("id")
    document = (call.get("phoneCallProviderDetails") or {}).get("twiml")
    if (call.get("subscriptionLimits") or {}).get("concurrencyBlocked"):
        raise RemoteError("concurrency")
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id) or not isinstance(document, str) or not document:
        raise RemoteError("no_twiml")
    return call_id, document


def record_status(line: Line, store: Store, event: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Merge a status callback into its leg: 204, or 503 where our table is down, so that Twilio may try again."""
    try:
        fields = take_in(line, event)
        news = legs.record_status(store, fields["CallSid"], fields, now)
    except Refused as refused:
        return refuse(refused)
    except Unavailable as error:
        count(Count.UNAVAILABLE)
        warn("unavailable", code=str(error))
        return gateway.refusal(503)
    log("leg status", call_sid=fields["CallSid"], status=fields.get("CallStatus", "")[:20], count=int(news))
    return {"statusCode": 204}
