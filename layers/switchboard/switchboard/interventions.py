"""What an operator can do to a live call: have the assistant say something, put the caller through, end it.

Vapi's live call control takes no key, so a request acts once at most: its row is written first, and a repetition is told
what came of it. Where nobody can know whether Vapi has acted, the outcome is `unknown` and nothing is tried again.
"""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from switchboard import audit, calls, control, legs, transfers, vapi
from switchboard.audit import DONE, REFUSED, UNKNOWN, Entry, Outcome
from switchboard.calls import Session
from switchboard.delivery import GONE
from switchboard.endings import END
from switchboard.errors import NotDone, RemoteError, Unavailable
from switchboard.messages import E164
from switchboard.settings import REDIRECT, Settings
from switchboard.store import Store
from switchboard.telemetry import log, warn
from switchboard.transfers import Impossible, Moved, Switch

SAY, TRANSFER, END_CALL = ACTIONS = ("say", "transfer", "end")
OURS, THEIRS = "ours", "vapi"  # who can move the phone leg
UNDER_WAY = "transfer_under_way"
IMPOSSIBLE: Mapping[str, str] = MappingProxyType(
    {
        transfers.NOBODY_OF_THAT_NAME: "no_such_person",
        transfers.NO_PHONE: "no_phone",
        transfers.NOT_NOW: "not_moved",
    }
)


class Operator(NamedTuple):
    """What acting on live calls needs."""

    settings: Settings
    store: Store
    vapi: vapi.Vapi
    public_key: Callable[[], str]
    switch: Switch
    clock: Callable[[], float] = time.time


class Order(NamedTuple):
    """A request that is well formed. `text` is for `say`, `person` and `summary` are for `transfer`."""

    id: str
    who: str
    action: str
    call_id: str
    text: str = ""
    person: str = ""
    summary: str = ""

    @property
    def entry(self) -> Entry:
        """What is kept of it."""
        return Entry(self.id, self.who, self.action, self.call_id, self.person)


def act(operator: Operator, order: Order) -> Outcome | None:
    """Do what is asked, once, and keep what came of it; None where the id stands for another request.

    `Unavailable` before anything has happened.
    """
    now = operator.clock()
    if (stored := audit.claim(operator.store, order.entry, now)) is not None:
        return audit.outcome(stored) if audit.same(stored, order.entry) else None
    outcome = _acted(operator, order, now)
    log("console", call_id=order.call_id, reason=order.action, state=outcome.outcome, code=outcome.reason)
    try:
        audit.settle(operator.store, order.id, outcome, operator.clock())
    except Unavailable as error:
        # The row says `unknown`, which is not wrong; whoever asked is told what we know.
        warn("outcome not kept", call_id=order.call_id, code=str(error))
    return outcome


def way(operator: Operator, session: Session, now: float) -> str:
    """Who can move the caller's phone leg: we, Vapi, or '' where there is none."""
    if not session.call_sid:
        return ""
    leg = legs.load(operator.store, session.call_sid, now)
    # Where we redirect, the leg is known here too, and Vapi's all the same.
    brought = leg is not None and "opened_at" in leg and operator.settings.way != REDIRECT
    return OURS if brought else THEIRS


def _acted(operator: Operator, order: Order, now: float) -> Outcome:
    try:
        session = calls.load(operator.store, order.call_id, now)
        if session is None or session.ended:
            return Outcome(REFUSED, "call_ended")
        if order.action == TRANSFER and (whose := way(operator, session, now)) != THEIRS:
            return _transfer(operator, order, session, now) if whose else Outcome(REFUSED, "no_phone")
        return _tell(operator, order, session)
    except Unavailable as error:
        warn("unavailable", code=str(error))
        # A transfer may have begun; Vapi has not been asked, for that is the last step.
        return Outcome(UNKNOWN if order.action == TRANSFER else REFUSED, "unavailable")


def _tell(operator: Operator, order: Order, session: Session) -> Outcome:
    """Send one command to the call's control URL."""
    if order.action == TRANSFER and not E164.fullmatch(operator.switch.people.get(order.person, "")):
        return Outcome(REFUSED, "no_such_person")
    if not session.control_host:
        return Outcome(REFUSED, "no_control_url")
    url = control.url(session.control_host, order.call_id, local=operator.settings.local)
    try:
        operator.vapi.speak(url, _command(operator, order), operator.public_key())
    except NotDone as error:
        return Outcome(REFUSED, "call_ended" if error.status in GONE else error.reason)
    except RemoteError as error:
        return Outcome(UNKNOWN, error.reason)
    return Outcome(DONE)


def _command(operator: Operator, order: Order) -> Mapping[str, Any]:
    match order.action:
        case "say":
            return vapi.say(order.text)
        case "transfer":
            return vapi.transfer(operator.switch.people[order.person])
    return END


def _transfer(operator: Operator, order: Order, session: Session, now: float) -> Outcome:
    """Put the caller through as `Call.transfer` does: onto hold, and back if nobody takes the call."""
    asked_by = f"console {order.id}"
    try:
        moved = transfers.start(
            operator.switch, session.call_sid, order.call_id, order.person, order.summary, now, asked_by=asked_by
        )
    except Impossible as error:
        return Outcome(REFUSED, IMPOSSIBLE.get(str(error), "not_moved"))
    except RemoteError as error:
        # The sweeper finishes what has begun, or the transfer ends by its time.
        return Outcome(UNKNOWN, error.reason)
    return _moved(moved, asked_by)


def _moved(moved: Moved, asked_by: str) -> Outcome:
    if moved.asked_by != asked_by:
        return Outcome(REFUSED, UNDER_WAY)
    if moved.state is transfers.State.RETURNED and not moved.holding_at:
        return Outcome(REFUSED, "not_moved")
    if moved.state is transfers.State.GONE:
        return Outcome(REFUSED, "call_ended")
    # The caller is on hold, so it is done; that nobody was called is the transfer's own story.
    return Outcome(DONE)
