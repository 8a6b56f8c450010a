"""Taking in what Twilio asks: only what it has really signed, over the URL that we gave it."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from switchboard import gateway, routes, signatures
from switchboard.errors import MessageRefused, Refused, SignatureRefused
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.telemetry import Count, Seldom, count

_CALL_SID = re.compile(r"CA[0-9a-f]{32}", re.ASCII)
# The fields that we act on.
USED = (
    *("AccountSid", "CallDuration", "CallSid", "CallStatus", "CurrentQueueSize", "DialCallStatus", "Digits", "From"),
    *("QueuePosition", "QueueResult", "QueueTime", "RecordingSid", "SequenceNumber", "To"),
)
refusals = Seldom()


class Line(NamedTuple):
    """What every Twilio request needs to be taken in."""

    settings: Settings
    secrets: Secrets


class Asked(NamedTuple):
    """A request that Twilio signed: its form fields, and what our own URL carried."""

    fields: Mapping[str, str]
    path: str
    query: Mapping[str, str]

    @property
    def call_sid(self) -> str:
        """The leg that asks."""
        return self.fields["CallSid"]

    def number(self, name: str) -> int:
        """A whole number that our own URL carries, 0 where there is none."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def take_in(line: Line, event: Mapping[str, Any]) -> Asked:
    """Read a request that Twilio really signed; `Refused` with 403 otherwise, and nothing has happened."""
    count(Count.WEBHOOK_RECEIVED)
    request = gateway.read(event)
    signature = request.headers.get("x-twilio-signature", "")
    signatures.examine_twilio(signature)
    try:
        pairs = signatures.parse_form(request.body)
    except ValueError as error:
        raise MessageRefused(403, "form_malformed") from error
    # Never the Host header: the URL that Twilio signs is the one that its owner configured.
    url = base_url(line.secrets) + request.path + (f"?{request.query}" if request.query else "")

    def check() -> str:
        return signatures.verify_twilio(url, pairs, signature, line.secrets.active(TWILIO_AUTH_TOKEN))

    line.secrets.checked(check)
    fields, query = dict(pairs), dict(parse_qsl(request.query))
    if request.path == routes.MUSIC:
        # A conference asks for it, and Twilio says nowhere that its request names the leg; our own URL does.
        fields.setdefault("CallSid", query.get("call", ""))
    # The signed text has no delimiters, so exact shapes are part of the proof, and what we act on comes once.
    repeated = any(sum(name == used for name, _ in pairs) > 1 for used in USED)
    if repeated or not _CALL_SID.fullmatch(fields.get("CallSid", "")):
        raise MessageRefused(403, "fields")
    if line.settings.account_sids and fields.get("AccountSid") not in line.settings.account_sids:
        raise MessageRefused(403, "account")
    return Asked(fields, request.path, query)


def base_url(secrets: Secrets) -> str:
    """Origin of our URLs, as Twilio was given it."""
    return secrets.text(PUBLIC_BASE_URL).rstrip("/")


def refuse(refused: Refused) -> dict[str, Any]:
    """Twilio's requests are refused with 403 whatever is wrong with them; only too large a body says so."""
    count(Count.SIGNATURE_REFUSED if isinstance(refused, SignatureRefused) else Count.MESSAGE_REFUSED, refused.reason)
    refusals.log("phone request refused", reason=refused.reason)
    return gateway.refusal(413 if refused.status == 413 else 403)
