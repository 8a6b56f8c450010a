"""Once a minute: nothing that was accepted stays unfinished.

The index of unfinished tool calls says where to look, and may lag behind; the conditional writes decide. The sweeper runs
no tool and says nothing itself: it closes what is over, and has the live worker speak what is still to be spoken.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from switchboard import toolcalls
from switchboard.errors import Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.store import Key, Store
from switchboard.telemetry import Count, count, log, warn
from switchboard.toolcalls import OPEN_SHARDS, Delivery, Row, State
from switchboard.worker import EXPIRED_WORDS, UNKNOWN_WORDS

OWNER_SECONDS = 15.0  # a delivery takes 2 s at most; one that is claimed for longer has lost its owner


class Broom(NamedTuple):
    """What sweeping needs."""

    store: Store
    live_queue: Queue
    clock: Callable[[], float] = time.time


def sweep(broom: Broom) -> int:
    """Go through everything that is due and unfinished; returns how many tool calls were moved on."""
    moved = 0
    for key in _due(broom):
        try:
            row = toolcalls.load(broom.store, key)
            moved += bool(row and _tend(broom, row))
        except Unavailable as error:
            # One that cannot be moved now must not keep the others waiting; the next minute sees it again.
            warn("not swept", call_id=key.pk.removeprefix("CALL#"), code=str(error))
    log("swept", count=moved)
    return moved


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
