"""What the sweeper does about phone legs: one whose end Twilio never told, and a call whose report Vapi never sent.

A leg stays in the index of unfinished things from its first ring until its end is known and the reports of its calls are
kept. Each look is counted before anybody is asked, so one that dies half-way is not repeated for ever.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from switchboard import admission, calls, legs, toolcalls
from switchboard.errors import Gone, NotDone, RemoteError
from switchboard.messages import Message
from switchboard.queue import Queue, Ticket
from switchboard.settings import Settings
from switchboard.store import Item, Key, Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.toolcalls import State
from switchboard.tools import DEADLINES
from switchboard.twilio_rest import Account, Twilio
from switchboard.vapi import Vapi

AGAIN_SECONDS = 300  # between two looks at a leg that is still up, or at a report that is still missing
LOOKS = 12  # an hour of them, at each of the two; then what is missing stays missing


class Clerk(NamedTuple):
    """What reconciling needs: both sides' REST APIs, and the queues of what follows."""

    settings: Settings
    store: Store
    live_queue: Queue
    after_call_queue: Queue
    vapi: Vapi
    twilio: Twilio
    vapi_key: Callable[[], str]
    account: Callable[[str], Account]
    """How to ask Twilio about an account's calls, by its SID."""


def reconcile(clerk: Clerk, key: Key, now: float) -> bool:
    """Look after one leg that the index says is due; True if something about it has changed."""
    call_sid = key.pk.removeprefix("SID#")
    leg = legs.load(clerk.store, call_sid, now)
    if leg is None or leg.get("g1sk", now + 1) > now:
        return False
    missing = []
    if over := leg.get("status") in legs.OVER:
        # Given back when the end was told, unless whoever was told died over it.
        admission.leave(clerk.store, holder=call_sid)
        missing = [call_id for call_id in sorted(leg.get("calls", ())) if _unreported(clerk, call_id, now)]
        if not missing:
            legs.close(clerk.store, call_sid, leg["g1sk"])
            return True
    if leg.get("looks", 0) >= LOOKS:
        count(Count.RECONCILED, "given_up")
        warn("leg given up", call_sid=call_sid)
        legs.close(clerk.store, call_sid, leg["g1sk"])
        return True
    again = now + AGAIN_SECONDS
    legs.postpone(clerk.store, call_sid, again)
    if not over:
        return _ask_twilio(clerk, call_sid, leg, now)
    kept = [_ask_vapi(clerk, call_sid, call_id, now) for call_id in missing]
    if all(kept):
        legs.close(clerk.store, call_sid, again)
    return any(kept)


def _ask_twilio(clerk: Clerk, call_sid: str, leg: Item, now: float) -> bool:
    """Whether the leg is over, as it turns out; the reports of its calls are looked for a little later."""
    try:
        status = clerk.twilio.status(clerk.account(str(leg.get("account", ""))), call_sid)
    except Gone:
        status = "completed"  # Twilio has deleted it, or it never was
    except RemoteError as error:
        warn("leg not looked up", call_sid=call_sid, code=error.reason)
        return False
    if status not in legs.OVER:
        return False
    fields = {"CallStatus": status, "SequenceNumber": str(leg.get("sequence", 0))}
    if legs.record_status(clerk.store, call_sid, fields, now):
        count(Count.RECONCILED, "leg")
        log("leg reconciled", call_sid=call_sid, status=status)
    admission.leave(clerk.store, holder=call_sid)
    return True


def _unreported(clerk: Clerk, call_id: str, now: float) -> bool:
    """Whether the call's report is missing. Where there is no session (any more), nothing of it is to be kept."""
    session = calls.load(clerk.store, call_id, now)
    return session is not None and not session.reported_at


def _ask_vapi(clerk: Clerk, call_sid: str, call_id: str, now: float) -> bool:
    """Whether the call's report is kept now."""
    try:
        call = clerk.vapi.get_call(clerk.vapi_key(), call_id)
    except Gone:
        call = {"status": "ended", "endedReason": "unknown"}
    except NotDone as error:
        warn("report not fetched", call_id=call_id, code=error.reason)
        return False
    if calls.RANKS.get(str(call.get("status")), calls.ENDED) < calls.ENDED:
        # The phone is gone, the assistant is not: end it, and look again.
        clerk.live_queue.send(Ticket(call_id, call_sid, due="leg_over"))
        return False
    # Before the report is kept, for afterwards nobody looks at this call again.
    _start_after_call(clerk, call_id, now)
    if calls.record_report(clerk.store, _report(call, call_id), clerk.settings, now):
        count(Count.RECONCILED, "report")
        log("report fetched", call_id=call_id)
    return True


def _start_after_call(clerk: Clerk, call_id: str, now: float) -> None:
    """What the report would have set going."""
    for row in toolcalls.of_call(clerk.store, call_id):
        if row.lane == "after_call" and row.state is State.RECEIVED:
            toolcalls.start_after_call(clerk.store, row, now, DEADLINES["after_call"])
            clerk.after_call_queue.send(Ticket(call_id, row.key.sk))


def _report(call: dict[str, Any], call_id: str) -> Message:
    """The message that never came, from what Vapi's REST API says of the call."""
    names = ("endedReason", "startedAt", "endedAt", "cost", "analysis", "artifact")
    said = {name: call[name] for name in names if name in call}
    return Message({"type": "end-of-call-report", "call": {**call, "id": call_id}, **said})
