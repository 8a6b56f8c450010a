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
from switchboard.desk import Agent, Caller, webhook_url
from switchboard.errors import MessageRefused, Refused, RemoteError, SignatureRefused, SwitchboardError, Unavailable
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
refusals = Seldom()
MARGIN = 1.0  # seconds kept for storing and answering after Vapi has answered


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
    # The signed text has no delimiters, so exact shapes are part of the proof.
    if len(fields) != len(pairs) or not _CALL_SID.fullmatch(fields.get("CallSid", "")):
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
    """Answer Twilio's inbound webhook: 403 for what Twilio has not signed, else 200 with TwiML, always."""
    started = exchange.clock()
    try:
        fields = take_in(Line(exchange.settings, exchange.secrets), event)
    except Refused as refused:
        return refuse(refused)
    except Unavailable as error:
        return apologise(exchange.settings.apology, "unavailable", str(error))
    try:
        return gateway.xml(_document(exchange, fields, started))
    except RemoteError as error:
        return apologise(exchange.settings.apology, "vapi", error.reason)
    except SwitchboardError as error:
        return apologise(exchange.settings.apology, "unavailable", type(error).__name__)
    except Exception as error:  # noqa: BLE001 - whatever is broken, the caller hears words and not a dead line
        return apologise(exchange.settings.apology, "error", type(error).__name__)


def apologise(words: str, reason: str, code: str = "") -> dict[str, Any]:
    """Say sorry and hang up in order, and say why where the owner looks."""
    count(Count.INBOUND_APOLOGY, reason)
    warn("a caller heard the apology", reason=reason, code=code)
    return gateway.xml(twiml.say_and_hang_up(words))


def _document(exchange: Exchange, fields: Mapping[str, str], started: float) -> str:
    call_sid = fields["CallSid"]
    opened = legs.open_leg(exchange.store, call_sid, started)
    if opened is not None:
        # Asked again. Without a stored document the first request may still be asking Vapi: never ask a second time.
        if "twiml" not in opened:
            raise RemoteError("asked_already")
        return str(opened["twiml"])
    caller = Caller(fields.get("From", ""), fields.get("To", ""), call_sid, webhook_url(exchange.secrets))
    choice = lookups.choose(exchange.agent, caller, exchange.settings, call_sid)
    match choice.decision:
        case Refusal(words):
            return twiml.say_and_hang_up(words)
        case Transfer(number, words):
            return twiml.dial(number, words)
        case Assistant() as assistant:
            call_id, document = _connect(exchange, fields, assistant, started)
    if choice.late:
        waiting = lookups.Waiting(exchange.store, exchange.live_queue, exchange.settings, exchange.clock)
        lookups.continue_later(waiting, call_id, caller)
    return document


def _connect(exchange: Exchange, fields: Mapping[str, str], assistant: Assistant, started: float) -> tuple[str, str]:
    call_sid = fields["CallSid"]
    left = exchange.settings.voice_budget - MARGIN - (exchange.clock() - started)
    call = exchange.vapi.create_call(
        exchange.secrets.first(VAPI_API_KEY), call_request(exchange.settings, fields, assistant), timeout=max(left, 0.1)
    )
    call_id, document = _made(call)
    control_url = (call.get("monitor") or {}).get("controlUrl") or ""
    host = control.host(control_url, call_id, local=exchange.settings.local)
    try:
        legs.connect(exchange.store, call_sid, call_id, document)
        calls.link(exchange.store, call_id, call_sid, host, exchange.settings, exchange.clock())
    except Unavailable as error:
        # The call exists and the caller is waiting for it; what is missing is only our record of it.
        warn("call not recorded", call_id=call_id, call_sid=call_sid, code=str(error))
    count(Count.INBOUND_ANSWERED)
    log("caller connected", call_id=call_id, call_sid=call_sid)
    return call_id, document


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
