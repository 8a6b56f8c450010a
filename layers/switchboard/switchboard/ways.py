"""The three ways from a phone leg to the assistant, by the setting `VOICE_WAY`.

`bypass`: Vapi makes the call (`POST /call`) and hands back a document that connects the leg to it; we keep the leg, so
queues, transfers and the ladder are ours. `sip`: the leg dials the assistant's SIP address. `redirect`: Vapi takes the
leg over, which it does only while the leg still rings, and nothing comes back.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from switchboard import connection, control, messages, routes, twiml
from switchboard.errors import Ambiguous, NotDone, SettingsError
from switchboard.ladder import Cause
from switchboard.messages import Assistant
from switchboard.secrets import VAPI_API_KEY, Secrets
from switchboard.settings import REDIRECT, SIP, Settings
from switchboard.telemetry import Count, count, log
from switchboard.vapi import Vapi

_CALL_ID = re.compile(r"[A-Za-z0-9_\-]{1,100}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}", re.ASCII)
SIP_SECONDS = 15  # that the assistant's SIP address may ring


class Leg(NamedTuple):
    """The phone leg that is to be connected: Twilio's words about it."""

    call_sid: str
    number: str
    rings: bool
    """Whether nothing has answered it yet."""


class Connected(NamedTuple):
    """What Twilio is told, and which call of Vapi's it leads to ('' where Vapi makes it only then)."""

    document: str
    call_id: str = ""
    control_host: str = ""


def connect(
    settings: Settings, secrets: Secrets, vapi: Vapi, base: str, leg: Leg, assistant: Assistant, *, timeout: float
) -> Connected:
    """Lead a leg to the assistant. `SettingsError` if this stack cannot that way, `NotDone` or `Ambiguous` if Vapi does not."""
    if settings.way == SIP:
        made = _sip(settings, base, leg, assistant)
    elif settings.way == REDIRECT:
        made = _redirect(settings, leg)
    else:
        made = _bypass(settings, secrets, vapi, leg, assistant, timeout)
    count(Count.INBOUND_ANSWERED)
    log("caller connected", call_id=made.call_id, call_sid=leg.call_sid)
    return made


def _sip(settings: Settings, base: str, leg: Leg, assistant: Assistant) -> Connected:
    if not settings.sip_uri:
        raise SettingsError("SIP_URI is not set")
    # Vapi hands X- headers to the assistant as variables; so its messages say which leg they belong to.
    values = dict((assistant.overrides or {}).get("variableValues") or {})
    headers = {f"X-{name}": str(value) for name, value in values.items() if _VARIABLE.fullmatch(name)}
    action = routes.url(base, routes.STEP, after="assistant", cause=Cause.NO_ANSWER.value)
    # First, so that it fits, and no variable of the agent's stands in its place.
    own = {"X-call_sid": leg.call_sid}
    headers = own | headers | own
    return Connected(twiml.sip(settings.sip_uri, action, headers=headers, timeout=SIP_SECONDS))


def _redirect(settings: Settings, leg: Leg) -> Connected:
    if not leg.rings:
        raise SettingsError("a leg that was answered cannot be redirected to Vapi")
    return Connected(twiml.redirect(settings.inbound_url))


def _bypass(
    settings: Settings, secrets: Secrets, vapi: Vapi, leg: Leg, assistant: Assistant, timeout: float
) -> Connected:
    key = secrets.first(VAPI_API_KEY)
    number = connection.read(settings, secrets).phone_number_id
    if not (number and key):
        raise SettingsError("PHONE_NUMBER_ID or vapi-api-key is not set")
    call = vapi.create_call(key, call_request(settings, number, leg, assistant), timeout=timeout)
    call_id, document = _made(call)
    url = _part(call, "monitor").get("controlUrl")
    host = control.host(url if isinstance(url, str) else "", call_id, local=settings.local)
    return Connected(document, call_id, host)


def call_request(settings: Settings, phone_number_id: str, leg: Leg, assistant: Assistant) -> dict[str, Any]:
    """The body of `POST /call` for a caller who is on the line at Twilio already."""
    customer: dict[str, Any] = {"number": leg.number}
    if not messages.E164.fullmatch(leg.number):
        # Withheld numbers arrive as words; Vapi refuses them unless told not to look.
        number = leg.number[:40] if len(leg.number) >= 3 else "anonymous"
        customer = {"number": number, "numberE164CheckEnabled": False}
    request = {
        "phoneNumberId": phone_number_id,
        "phoneCallProviderBypassEnabled": True,
        "customer": customer,
        **messages.assistant_fields(assistant),
    }
    overrides = dict(request.get("assistantOverrides") or {})
    # So that every message of the call says which phone leg it belongs to.
    overrides["metadata"] = {**(overrides.get("metadata") or {}), "callSid": leg.call_sid}
    # No call outlives the slot that it takes, as far as this request knows its length.
    longest = settings.max_call_minutes * 60
    own = overrides.get("maxDurationSeconds", (assistant.config or {}).get("maxDurationSeconds"))
    if isinstance(own, int) and own > longest:
        overrides["maxDurationSeconds"] = longest
    return request | {"assistantOverrides": overrides}


def _made(call: Mapping[str, Any]) -> tuple[str, str]:
    if _part(call, "subscriptionLimits").get("concurrencyBlocked"):
        raise NotDone("concurrency")
    call_id = call.get("id")
    document = _part(call, "phoneCallProviderDetails").get("twiml")
    known = isinstance(call_id, str) and _CALL_ID.fullmatch(call_id)
    if not known or not isinstance(document, str) or not twiml.readable(document):
        # Vapi has said yes, so there may be a call, which nobody can reach.
        raise Ambiguous("no_twiml")
    return str(call_id), document


def _part(call: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = call.get(name)
    return part if isinstance(part, dict) else {}
