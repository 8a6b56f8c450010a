"""Once a minute: nothing that was accepted stays unfinished.

The index of unfinished things says where to look, and may lag behind; the conditional writes decide. The sweeper runs no
tool and says nothing itself: it closes what is over, and has the live worker speak what is still to be spoken. Transfers
and phone legs come last, because Twilio and Vapi are asked about them, and may be slow.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from switchboard import admission, toolcalls, transfers
from switchboard.budget import Overrun, limit
from switchboard.errors import Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.reconciliation import Clerk, reconcile
from switchboard.store import Key, Store
from switchboard.telemetry import Count, count, gauge, log, warn
from switchboard.toolcalls import OPEN_SHARDS, OWNER_LOST, Delivery, Row, State
from switchboard.transfers import Switch
from switchboard.worker import EXPIRED_WORDS, UNKNOWN_WORDS

OWNER_SECONDS = 15.0  # a delivery takes 2 s at most; one that is claimed for longer has lost its owner
PHONE_SECONDS = 30.0  # after which no further transfer or leg is begun: the next minute goes on; the function has 50
LOOK_SECONDS = 12.0  # for one of them: what asks twice takes 8


class Broom(NamedTuple):
    """What sweeping needs."""

    store: Store
    live_queue: Queue
    clock: Callable[[], float] = time.time
    undelivered: Callable[[Row, str], None] = lambda row, reason: None
    """Told of every result that the caller will never hear, so that somebody can follow it up."""
    clerk: Clerk | None = None
    switch: Switch | None = None
    """What phone legs, and transfers, need to be looked after."""


def sweep(broom: Broom) -> int:
    """Go through everything that is due and unfinished; returns how many of them were moved on."""
    began = broom.clock()
    moved, phone = 0, []
    for key in _due(broom):
        if not key.pk.startswith("CALL#"):
            phone.append(key)
            continue
        try:
            row = toolcalls.load(broom.store, key)
            moved += bool(row and _tend(broom, row))
        except Unavailable as error:
            # One that cannot be moved now must not keep the others waiting; the next minute sees it again.
            warn("not swept", call_id=key.pk.partition("#")[2], code=str(error))
    if broom.clerk and broom.switch:
        moved += sum(_look_after(broom, broom.clerk, broom.switch, key, began) for key in _by_need(phone))
        _say_how_many(broom)
    log("swept", count=moved)
    return moved


def _by_need(phone: list[Key]) -> list[Key]:
    """Callers on hold before legs that are, most likely, over."""
    return sorted(phone, key=lambda key: not key.pk.startswith(transfers.PREFIX))


def _look_after(broom: Broom, clerk: Clerk, switch: Switch, key: Key, began: float) -> bool:
    now = broom.clock()
    if now - began >= PHONE_SECONDS:
        return False
    try:
        with limit(LOOK_SECONDS):
            if key.pk.startswith(transfers.PREFIX):
                return transfers.sweep(switch, key, now)
            return reconcile(clerk, key, now)
    except (Exception, Overrun) as error:  # noqa: BLE001 - whatever is wrong with one, the others are waiting
        code = str(error) if isinstance(error, Unavailable) else type(error).__name__
        warn("not swept", call_sid=key.pk.partition("#")[2], code=code)
        return False


def _say_how_many(broom: Broom) -> None:
    try:
        gauge(Count.ACTIVE_CALLS, admission.active(broom.store, broom.clock()))
    except Unavailable as error:
        warn("active calls not counted", code=str(error))


def _due(broom: Broom) -> Iterator[Key]:
    for shard in range(OPEN_SHARDS):
        try:
            yield from toolcalls.unfinished(broom.store, shard, broom.clock())
        except Unavailable as error:
            warn("not looked at", code=str(error))


def _tend(broom: Broom, row: Row) -> bool:
    if not row.state.settled:
        return _close(broom, row)
    if row.delivery is Delivery.PENDING:
        broom.live_queue.send(Ticket(row.call_id, row.key.sk, due="speak"))
        return True
    lost = row.delivery is Delivery.CLAIMED and toolcalls.void_delivery(broom.store, row, broom.clock() - OWNER_SECONDS)
    if lost:
        count(Count.DELIVERY_UNDELIVERABLE)
        broom.undelivered(row, OWNER_LOST)
    return lost


def _close(broom: Broom, row: Row) -> bool:
    words = UNKNOWN_WORDS if row.intent and row.effect != "read" else EXPIRED_WORDS
    settled = toolcalls.settle(broom.store, row, broom.clock(), words)
    if settled is None:
        return False
    count(Count.TOOL_UNKNOWN if settled.state is State.UNKNOWN else Count.TOOL_EXPIRED)
    log("tool call closed", call_id=row.call_id, tool=row.tool, state=settled.state.value)
    if settled.delivery is Delivery.PENDING:
        broom.live_queue.send(Ticket(row.call_id, row.key.sk, due="speak"))
    return True
