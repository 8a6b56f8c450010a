"""When one end of a call is over, so is the other: the phone leg at Twilio, and the assistant's call at Vapi.

Usually each side notices by itself. A ticket comes back a few seconds after one end was told, and looks.
"""

from collections.abc import Callable
from typing import NamedTuple

from switchboard import calls, control, legs, routes, transfers
from switchboard.delivery import GONE
from switchboard.errors import Gone, RemoteError
from switchboard.ladder import Cause
from switchboard.queue import Ticket
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.twilio_rest import Account, Twilio
from switchboard.vapi import Vapi

# In Vapi's reasons for an end that neither the caller nor the assistant wanted.
FAULTS = (
    *("error", "fault", "no-call-received", "worker-shutdown", "assistant-join-timed-out", "assistant-not-"),
    *("assistant-request-failed", "invalid-assistant", "no-assistant"),
)
END = {"type": "end-call"}


class Endings(NamedTuple):
    """What ending the other side needs."""

    settings: Settings
    store: Store
    vapi: Vapi
    twilio: Twilio
    public_key: Callable[[], str]
    account: Callable[[str], Account]
    """How to ask Twilio about an account's calls, by its SID."""
    base: Callable[[], str]
    """Origin of our URLs."""


def tend(endings: Endings, ticket: Ticket, now: float) -> None:
    """End what the other end of this call has left open, if it has."""
    if ticket.due == "leg_over":
        _end_call(endings, ticket.call_id, now)
    else:
        _end_leg(endings, ticket.call_id, ticket.sk, now)


def _end_call(endings: Endings, call_id: str, now: float) -> None:
    """The phone was hung up: nobody is left to talk to."""
    session = calls.load(endings.store, call_id, now)
    if session is None or session.ended or not session.control_host:
        return
    url = control.url(session.control_host, call_id, local=endings.settings.local)
    try:
        endings.vapi.speak(url, END, endings.public_key())
    except RemoteError as error:
        if error.status not in GONE:
            warn("call not ended", call_id=call_id, code=error.reason)
        return
    count(Count.RECONCILED, "call_ended")
    log("call ended after its phone leg", call_id=call_id)


def _end_leg(endings: Endings, call_id: str, call_sid: str, now: float) -> None:
    """The assistant is gone. A leg that still hangs there is ended, or offered the ladder where that was a fault."""
    # The transfer first: a caller who comes back from one has it behind them before they have another call.
    if _moved_away(endings.store, call_sid, call_id, now) or not legs.part(endings.store, call_sid, call_id):
        return
    leg = legs.load(endings.store, call_sid, now) or {}
    session = calls.load(endings.store, call_id, now)
    fault = session is not None and any(word in session.ended_reason for word in FAULTS)
    try:
        account = endings.account(str(leg.get("account", "")))
        if fault:
            step = routes.url(endings.base(), routes.STEP, after="assistant", cause=Cause.VAPI.value)
            endings.twilio.redirect(account, call_sid, step)
        else:
            endings.twilio.hang_up(account, call_sid)
    except Gone:
        return
    except RemoteError as error:
        warn("leg not ended", call_sid=call_sid, code=error.reason)
        return
    count(Count.RECONCILED, "leg_sent_on" if fault else "leg_ended")
    log("leg ended after its call", call_sid=call_sid, call_id=call_id)


def _moved_away(store: Store, call_sid: str, call_id: str, now: float) -> bool:
    """Whether a transfer has the leg, or has taken it out of this AI call: then the call's end is not the leg's."""
    stored = transfers.load(store, call_sid, now)
    if stored is None:
        return False
    return stored.state not in transfers.OVER or bool(stored.call_id == call_id and stored.holding_at)
