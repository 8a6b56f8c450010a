"""The life of one tool call: which state it is in, and the conditional write behind each step.

RECEIVED ─claim→ RUNNING ─commit→ SUCCEEDED | FAILED
    └ deadline → EXPIRED      └ may have acted, and cannot be or was not repeated → UNKNOWN

delivery: none → pending → claimed → delivered | undeliverable | dropped

Whoever wins a condition owns the step; whoever loses it reads what won. A `once` tool that may have acted is never run
again, a `read` or `keyed` one is, and a late owner's write is refused. None of the conditions is redundant: each has a
test that breaks when it is removed.
"""

import hashlib
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, Self

from switchboard.errors import ConditionFailed, SwitchboardError
from switchboard.messages import HOOK_CALL_ID, LEGACY_CALL_ID, Message, ToolCall, canonical
from switchboard.store import Check, Item, Key, Put, Store, Update

VERSION = 1
OPEN_SHARDS = 8
KEEP_HOURS = 13  # as long as a live session: an after-call tool waits for the end of the call
OWNER_LOST = "owner_lost"
PLACE_TRIES = 3  # how often a call that is overtaken while it becomes the first of equal ones looks again


class State(StrEnum):
    """Where a tool call stands. SUCCEEDED, FAILED and EXPIRED are final; UNKNOWN waits for a person or `reconcile`."""

    RECEIVED = "RECEIVED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def settled(self) -> bool:
        """Whether no attempt will follow."""
        return self not in (State.RECEIVED, State.RUNNING)


class Delivery(StrEnum):
    """Where the spoken result stands."""

    NONE = "none"
    PENDING = "pending"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"
    DROPPED = "dropped"


class Conflict(SwitchboardError):
    """The same tool call id came with other arguments: one of the two is wrong, so neither is run again."""


class Overtaken(SwitchboardError):
    """Another call with the same arguments has become the first one before this one was stored."""


class Row(NamedTuple):
    """One tool call as it is stored. Times are epoch milliseconds; `arguments` is canonical JSON."""

    key: Key
    state: State
    tool: str
    lane: str
    effect: str
    arguments: str
    digest: str
    emitted_at: int
    accepted_at: int
    deadline: int
    caller: str = ""
    control_host: str = ""
    claimed_at: int = 0
    settled_at: int = 0
    attempt: int = 0
    owner: str = ""
    lease: int = 0
    intent: bool = False
    result: str = ""
    delivery: Delivery = Delivery.NONE
    delivery_owner: str = ""
    delivery_at: int = 0
    delivery_tries: int = 0
    quiet: bool = False
    verbatim: bool = False
    repeats: str = ""
    """Sort key of the call that this one only repeated: then `result` is what it was answered, and it never ran."""
    doubt: bool = False
    """Whether an attempt before this one may have acted. Only who has claimed the call knows: it is not stored."""

    @property
    def call_id(self) -> str:
        """Vapi's call id."""
        return self.key.pk.removeprefix("CALL#")

    @property
    def milliseconds(self) -> int:
        """From its last claim to its end; 0 for a call that nobody began."""
        return self.settled_at - self.claimed_at if self.claimed_at else 0

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt, redrive and deploy; 43 characters, nothing personal in it."""
        digest = hashlib.sha256("|".join(("v1", *self.key, self.tool)).encode()).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")

    @classmethod
    def of(cls, item: Item) -> Self:
        """Read a stored item."""
        fields = {name: item[name] for name in cls._fields if name in item}
        fields |= {"key": Key(item["pk"], item["sk"]), "state": State(item["state"])}
        return cls(**fields | {"delivery": Delivery(item["delivery"])})

    def item(self, exp: int) -> Item:
        """The item to store."""
        fields = self._asdict()
        del fields["doubt"]
        fields |= {"state": str(self.state), "delivery": str(self.delivery)}
        unfinished = not self.state.settled or self.delivery in (Delivery.PENDING, Delivery.CLAIMED)
        due = _open(self.key, self.deadline) if unfinished else {}
        return {**fields.pop("key")._asdict(), "v": VERSION, "exp": exp, **fields, **due}


def _open(key: Key, due: int) -> Item:
    """The index entry of everything unfinished: a hint where to look, while the conditional write decides."""
    shard = hashlib.sha256(key.pk.encode()).digest()[0] % OPEN_SHARDS
    return {"g1pk": f"OPEN#{shard}", "g1sk": due // 1000}


def row_key(message: Message, call: ToolCall, digest: str) -> Key:
    """Where a tool call is stored. Ids are unique within a call, except the constant ones."""
    sk = f"TOOL#{call.id}"
    if call.id in (HOOK_CALL_ID, LEGACY_CALL_ID):
        sk = f"{sk}#{call.name}#{digest[:16]}#{message.timestamp}"
    return Key(f"CALL#{message.call_id}", sk)


def digest(name: str, arguments: dict[str, Any]) -> str:
    """What tells one request from another: the tool and its arguments, whatever their order."""
    return hashlib.sha256(name.encode() + b"|" + canonical(arguments)).hexdigest()


def load(store: Store, key: Key) -> Row | None:
    """Read a tool call, or None: a message may outlive its row, and then nothing may happen."""
    item = store.get(key)
    return Row.of(item) if item else None


def known(store: Store, row: Row, now: float) -> Row | None:
    """What is stored under this tool call's id already; `Conflict` if that has other arguments."""
    item = store.get(row.key)
    if item is None or item["exp"] <= now:
        return None
    return _agreeing(Row.of(item), row)


def _agreeing(stored: Row, row: Row) -> Row:
    if stored.digest != row.digest:
        raise Conflict("same tool call id, other arguments")
    return stored


def of_call(store: Store, call_id: str) -> list[Row]:
    """All tool calls of a call."""
    return [Row.of(item) for item in store.query(f"CALL#{call_id}", "TOOL#")]


def accept(store: Store, row: Row, now: float, retention_hours: int, *, first: bool = False) -> Row:
    """Store a tool call unless it is there already; return what is stored. `Conflict` if its arguments differ.

    `first`: only while it still is what `first_of` has made it, else `Overtaken`.
    """
    exp = int(now) + (KEEP_HOURS + retention_hours) * 3600
    try:
        _store(store, first, Put(row.item(exp), "attribute_not_exists(#pk) OR #exp <= :now", {"now": int(now)}))
    except ConditionFailed as lost:
        if lost.item is None or "first" in lost.item:
            raise Overtaken("no longer the first") from lost
        stored = _agreeing(Row.of(dict(lost.item)), row)
        # The SDK repeats a write whose answer was lost: then what stands in the way is this very row.
        return row if row.owner and stored.owner == row.owner else stored
    return row


def _store(store: Store, first: bool, put: Put) -> None:
    if not first:
        store.put(put)
        return
    place = _place(put.item["pk"], put.item["digest"])
    store.transact([put, Check(place, "#first = :me", {"me": put.item["sk"]})], str(uuid.uuid4()))


def _place(pk: str, digest: str) -> Key:
    return Key(f"DEDUP#{hashlib.sha256(f'{pk}|{digest}'.encode()).hexdigest()}", "-")


def claim(store: Store, row: Row, owner: str, now: float, lease: float) -> Row | None:
    """Become the one who runs it, for `lease` seconds; None if somebody else is, or if it must not run any more.

    A lease that ran out is taken over only where running again is safe: nothing was begun, or repeating is harmless.
    Where it is harmless, the intent to act is recorded at once: whether it was begun makes no difference to who may.
    The row is not sent back, for an attempt of anybody since it was read would have changed its number. What else may
    have changed is not looked at any more (the deadline of an after-call tool), or errs on the safe side: an intent
    that its owner has taken back since is a doubt still.
    """
    mine = row._replace(
        state=State.RUNNING,
        attempt=row.attempt + 1,
        owner=owner,
        lease=_ms(now + lease),
        claimed_at=_ms(now),
        intent=row.effect != "once",
        doubt=row.intent and row.effect == "keyed",
    )
    change = (
        "SET #state = :running, #attempt = #attempt + :one, #owner = :owner, #lease = :lease, #claimed_at = :now,"
        " #intent = :intent"
    )
    condition = (
        "#attempt = :seen AND #deadline > :now AND (#state = :received OR (#state = :running AND #lease < :now"
        " AND (#intent = :false OR #effect IN (:read, :keyed))))"
    )
    values = {
        "running": State.RUNNING.value,
        "received": State.RECEIVED.value,
        "one": 1,
        "seen": row.attempt,
        "owner": owner,
        "lease": mine.lease,
        "now": mine.claimed_at,
        "intent": mine.intent,
        "false": False,
        "read": "read",
        "keyed": "keyed",
    }
    try:
        store.update(Update(row.key, change, condition, values, blind=True))
    except ConditionFailed as lost:
        # The SDK repeats a write whose answer was lost: then the winner that stands in the way is this very attempt.
        winner = Row.of(dict(lost.item)) if lost.item else None
        if winner is None or winner.owner != owner or winner.state is not State.RUNNING:
            return None
        return winner._replace(doubt=mine.doubt)
    return mine


_FENCE = "#state = :running AND #owner = :owner AND #attempt = :attempt"


def _fence(row: Row) -> dict[str, Any]:
    return {"running": State.RUNNING.value, "owner": row.owner, "attempt": row.attempt}


def begin(store: Store, row: Row) -> Row | None:
    """Record the intent to act before acting, so that a crash in between cannot pass for "nothing happened".

    None if this attempt does not own the call any more. Nothing to do where the claim has recorded it.
    """
    if row.intent:
        return row
    try:
        store.update(Update(row.key, "SET #intent = :true", _FENCE, {**_fence(row), "true": True}, blind=True))
    except ConditionFailed:
        return None
    return row._replace(intent=True)


def commit(store: Store, row: Row, state: State, result: str, *, silent: bool = False, now: float = 0) -> Row | None:
    """Record the outcome, if this attempt still owns the call; None if it does not and its result is void.

    `silent` leaves the result out of the call: nothing is waiting for it. `now` is for the call's story only.

    Where the call was given up as UNKNOWN meanwhile, its true owner may still say once how it ended.
    """
    speak = row.lane == "live" and not silent
    change = "SET #state = :state, #result = :result, #delivery = :delivery, #settled_at = :settled"
    delivery = Delivery.PENDING if speak else Delivery.NONE
    values = {**_fence(row), "state": state.value, "result": result, "delivery": delivery.value}
    values["settled"] = _ms(now)
    if not speak:
        change += " REMOVE #g1pk, #g1sk"
    try:
        store.update(Update(row.key, change, _FENCE, values, blind=True))
        # Nobody but its owner changes a row that is being run.
        return row._replace(state=state, result=result, delivery=delivery, settled_at=_ms(now))
    except ConditionFailed as lost:
        stored = Row.of(dict(lost.item)) if lost.item else None
    if stored is None or (stored.owner, stored.attempt) != (row.owner, row.attempt):
        return None
    if stored.state is State.UNKNOWN and state is not State.UNKNOWN:
        return _resolve(store, row, state, result)
    # The write had been applied and its answer was lost, unless somebody else came to the same end at another moment.
    return stored if (stored.state, stored.settled_at) == (state, _ms(now)) else None


def _resolve(store: Store, row: Row, state: State, result: str) -> Row | None:
    condition = "#state = :unknown AND #owner = :owner AND #attempt = :attempt"
    values = {"owner": row.owner, "attempt": row.attempt, "unknown": State.UNKNOWN.value}
    values |= {"state": state.value, "result": result}
    try:
        return Row.of(store.update(Update(row.key, "SET #state = :state, #result = :result", condition, values)))
    except ConditionFailed:
        return None


def release(store: Store, row: Row, *, acted: bool) -> bool:
    """Give the call back for another attempt; `acted` says whether this one may have touched the outside."""
    values = {**_fence(row), "zero": 0, "acted": acted or row.doubt}
    try:
        store.update(Update(row.key, "SET #lease = :zero, #intent = :acted", _FENCE, values))
    except ConditionFailed:
        return False
    return True


def settle(store: Store, row: Row, now: float, result: str) -> Row | None:
    """Close a call that will not be run again: EXPIRED if nothing was begun, UNKNOWN if something may have happened.

    None if it is not due: somebody is running it, or its time is not over.
    """
    state = State.UNKNOWN if row.intent and row.effect != "read" else State.EXPIRED
    delivery = Delivery.PENDING if row.lane == "live" else Delivery.NONE
    change = "SET #state = :state, #result = :result, #delivery = :delivery, #settled_at = :now"
    if row.lane != "live":
        change += " REMOVE #g1pk, #g1sk"
    over = "#deadline <= :now OR (#effect = :once AND #intent = :true)"
    condition = (
        f"#attempt = :attempt AND #intent = :seen"
        f" AND ((#state = :received AND #deadline <= :now) OR (#state = :running AND #lease < :now AND ({over})))"
    )
    values = {
        "state": state.value,
        "result": result,
        "delivery": delivery.value,
        "attempt": row.attempt,
        "seen": row.intent,
        "received": State.RECEIVED.value,
        "running": State.RUNNING.value,
        "once": "once",
        "true": True,
        "now": _ms(now),
    }
    try:
        return Row.of(store.update(Update(row.key, change, condition, values)))
    except ConditionFailed:
        return None


def resolve(store: Store, row: Row, state: State, result: str) -> Row | None:
    """Say how an UNKNOWN call ended, because the other side has been asked; only while its result is not given away."""
    condition = "#state = :unknown AND #delivery IN (:none, :pending)"
    values = {
        "unknown": State.UNKNOWN.value,
        "state": state.value,
        "result": result,
        "none": Delivery.NONE.value,
        "pending": Delivery.PENDING.value,
    }
    try:
        return Row.of(store.update(Update(row.key, "SET #state = :state, #result = :result", condition, values)))
    except ConditionFailed:
        return None


def first_of(store: Store, row: Row, now: float, seconds: float) -> Row | None:
    """Be the first call of this tool with these arguments within `seconds`: None if so, else the first one's row.

    A first call that did nothing gives up its place, so that the caller's second attempt is not answered with it.
    `Overtaken` where equal calls come so fast that it cannot be told.
    """
    item = {**_place(row.key.pk, row.digest)._asdict(), "v": VERSION, "first": row.key.sk, "exp": int(now + seconds)}
    for _ in range(PLACE_TRIES):
        try:
            store.put(
                Put(
                    item,
                    "attribute_not_exists(#pk) OR #exp <= :now OR #first = :me",
                    {"now": int(now), "me": row.key.sk},
                )
            )
            return None
        except ConditionFailed as lost:
            holder = Key(row.key.pk, str((lost.item or item)["first"]))
        first = load(store, holder)
        if first and first.digest == row.digest and first.state not in (State.FAILED, State.EXPIRED):
            return first
        with suppress(ConditionFailed):
            _take_over(store, item, holder, stored=first is not None)
            return None
    raise Overtaken("others keep taking the place")


def _take_over(store: Store, item: Item, holder: Key, *, stored: bool) -> None:
    """Take the place of a call that gives no result; `ConditionFailed` if it is no longer the one that holds it."""
    place = Put(item, "#first = :seen", {"seen": holder.sk})
    if stored:
        # Failed, expired, or refused for its arguments: a row that is so stays so, whoever holds the place meanwhile.
        store.put(place)
        return
    # It takes its place before it is stored, and may have died in between. Either this call takes the place or that one
    # is stored: never both, so of two calls that arrive at once one acts.
    store.transact([place, Check(holder, "attribute_not_exists(#pk)")], str(uuid.uuid4()))


def replaced(store: Store, row: Row) -> bool:
    """Whether the model has called the same tool again since, so that this call is no longer what the caller wants."""
    others = (other for other in of_call(store, row.call_id) if other.tool == row.tool and not other.repeats)
    return any(_age(other) > _age(row) for other in others)


def _age(row: Row) -> tuple[int, int, str]:
    return row.emitted_at, row.accepted_at, row.key.sk


def owns(store: Store, row: Row) -> bool:
    """Whether this attempt may still act."""
    stored = load(store, row.key)
    mine = (State.RUNNING, row.owner, row.attempt)
    return stored is not None and (stored.state, stored.owner, stored.attempt) == mine


def start_after_call(store: Store, row: Row, now: float, seconds: float) -> None:
    """The call has ended: from now on the deadline of its after-call tool counts. Safe to repeat."""
    change = "SET #deadline = :deadline, #released_at = :now, #g1sk = :due"
    # A row that has expired is as good as gone, deleted already or not: nothing may give it a new deadline.
    condition = "#state = :received AND attribute_not_exists(#released_at) AND #exp > :second"
    deadline = _ms(now + seconds)
    values = {
        "deadline": deadline,
        "now": _ms(now),
        "second": int(now),
        "due": deadline // 1000,
        "received": State.RECEIVED.value,
    }
    try:
        store.update(Update(row.key, change, condition, values))
    except ConditionFailed:
        return


def claim_delivery(store: Store, row: Row, session: Check, owner: str, now: float) -> bool:
    """Become the one who speaks the result, provided that the session is as it was when that was decided."""
    change = "SET #delivery = :claimed, #delivery_owner = :owner, #delivery_at = :now"
    values = {
        "claimed": Delivery.CLAIMED.value,
        "pending": Delivery.PENDING.value,
        "state": row.state.value,
        "owner": owner,
        "now": _ms(now),
    }
    try:
        # Not a state that has been superseded: UNKNOWN must not be said of what has been found out meanwhile.
        condition = "#delivery = :pending AND #state = :state"
        store.transact([session, Update(row.key, change, condition, values)], owner)
    except ConditionFailed as lost:
        # The SDK's second try after a lost answer: DynamoDB knows it by its token, an emulator may not.
        return lost.item is not None and lost.item.get("delivery_owner") == owner
    return True


def end_delivery(store: Store, row: Row, owner: str, delivery: Delivery, reason: str, now: float = 0) -> bool:
    """Record what became of the spoken result: by the one who claimed it, or, unclaimed, by whoever finds it void."""
    change = "SET #delivery = :to, #delivery_reason = :reason"
    change += "" if owner else ", #delivery_at = :now"
    change += ", #delivery_tries = #delivery_tries + :one" if delivery is Delivery.PENDING else " REMOVE #g1pk, #g1sk"
    held = "#delivery = :claimed AND #delivery_owner = :owner" if owner else "#delivery = :pending"
    values = {
        "to": delivery.value,
        "reason": reason,
        "one": 1,
        "claimed": Delivery.CLAIMED.value,
        "pending": Delivery.PENDING.value,
        "owner": owner,
        "now": _ms(now),
    }
    try:
        store.update(Update(row.key, change, held, values, blind=True))
    except ConditionFailed as lost:
        # The SDK repeats a write whose answer was lost: then what stands in the way is this very end.
        stored = lost.item or {}
        mine = ("delivery_owner", owner) if owner else ("delivery_reason", reason)
        return stored.get("delivery") == delivery.value and stored.get(mine[0]) == mine[1]
    return True


def void_delivery(store: Store, row: Row, before: float) -> bool:
    """Close a delivery whose owner has died between claiming and recording: never sent again, for it may have been."""
    change = "SET #delivery = :to, #delivery_reason = :reason REMOVE #g1pk, #g1sk"
    condition = "#delivery = :claimed AND #delivery_at < :before"
    values = {
        "to": Delivery.UNDELIVERABLE.value,
        "reason": OWNER_LOST,
        "claimed": Delivery.CLAIMED.value,
        "before": _ms(before),
    }
    try:
        store.update(Update(row.key, change, condition, values))
    except ConditionFailed:
        return False
    return True


def claim_follow_up(store: Store, row: Row) -> bool:
    """Become the one who makes the assistant speak about a result that was added in silence, once."""
    condition = "#delivery = :delivered AND attribute_not_exists(#followed_up)"
    values = {"true": True, "delivered": Delivery.DELIVERED.value}
    try:
        store.update(Update(row.key, "SET #followed_up = :true", condition, values))
    except ConditionFailed:
        return False
    return True


def unfinished(store: Store, shard: int, now: float) -> list[Key]:
    """Keys of what is due in one shard of the index. The index lags behind, so the rows themselves decide."""
    return store.due(f"OPEN#{shard}", int(now))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
