"""Calls that we place: only where it is allowed, only by day, and once for a key whatever is lost on the way.

`POST /call` takes no idempotency key, so the key's item is written first, by one conditional write, and whoever wrote it
is the only one who asks Vapi. What may have been placed is never placed again; what surely was not may be tried again.
"""

import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from switchboard import admission, connection, messages
from switchboard.budget import Overrun, limit
from switchboard.desk import ASSISTANT_SECONDS, Agent, Caller, backend
from switchboard.errors import Ambiguous, ConditionFailed, NotDone, SettingsError, SwitchboardError, Unavailable
from switchboard.messages import Assistant
from switchboard.secrets import VAPI_API_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Item, Key, Put, Store, Update
from switchboard.telemetry import Count, count, log, warn
from switchboard.vapi import Vapi

VERSION = 1
REQUESTED = "requested"  # stored before Vapi is asked; whoever wrote it may have been stopped at any point since
PLACED, REFUSED, UNKNOWN = "placed", "refused", "unknown"
NEVER = "never"  # in place of a time zone: no number with this prefix, whatever a shorter one allows
POST_SECONDS = 8.0  # for the whole answer to `POST /call`
PENDING_SECONDS = 60.0  # twice the function's timeout: nobody who wrote `requested` is still at work
KEEP_SECONDS = 7 * 24 * 3600  # that a key is remembered
MAX_VALUES = 8_000  # bytes of the values for the assistant's prompt
FIELDS = frozenset({"to", "key", "assistantId", "variableValues"})

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}", re.ASCII)
_ZONE = re.compile(r"UTC|[A-Za-z_]+(/[A-Za-z0-9_+\-]{1,32}){1,2}", re.ASCII)
_HOURS = re.compile(r"([0-9]{1,2})-([0-9]{1,2})", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_\-]{1,100}", re.ASCII)


class NotPlaced(SwitchboardError):
    """The request is refused before anything has happened; the text is a constant code that says why."""


class Rules(NamedTuple):
    """Who may be called, and when."""

    zones: Mapping[str, tuple[ZoneInfo, ...]]
    """By prefix, the time zones in which its numbers may be; none for a prefix that is never called."""
    quiet: tuple[int, int] | None = None
    """The hours, by the callee's clock, from which and until which nobody is called."""

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """Read the settings; `SettingsError` names the entry that is wrong."""
        zones: dict[str, tuple[ZoneInfo, ...]] = {}
        for place, entry in enumerate(settings.outbound_prefixes.split(","), 1):
            if not entry.strip():
                continue
            # An entry may be somebody's whole number, which no log may hold.
            where = f"OUTBOUND_PREFIXES, entry {place} ({entry.strip()[:5]}…)"
            prefix, _, names = (part.strip() for part in entry.partition("="))
            if not _PREFIX.fullmatch(prefix):
                raise SettingsError(f"{where} must be like +1212=America/New_York: plus, digits, equals sign, zones")
            if prefix in zones:
                raise SettingsError(f"{where}: the prefix is there twice")
            zones[prefix] = () if names == NEVER else tuple(_zone(name.strip(), where) for name in names.split("|"))
        return cls(zones, _quiet(settings.quiet_hours))

    def refusal(self, number: str, now: float) -> str:
        """Why the number may not be called at this moment; '' if it may. The longest prefix decides."""
        prefixes = (number[:length] for length in range(len(number), 1, -1))
        zones = next((self.zones[prefix] for prefix in prefixes if prefix in self.zones), ())
        if not zones:
            return "not_allowed"
        return "quiet_hours" if any(self._is_quiet(datetime.fromtimestamp(now, zone).hour) for zone in zones) else ""

    def _is_quiet(self, hour: int) -> bool:
        if self.quiet is None:
            return False
        begin, end = self.quiet
        return begin <= hour < end if begin < end else hour >= begin or hour < end


def _zone(name: str, where: str) -> ZoneInfo:
    with suppress(KeyError, ValueError, OSError):  # what ZoneInfo raises: for no such zone, and for a folder of zones
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    raise SettingsError(f"{where}: {name[:40]!r} is no IANA time zone such as Europe/London")


def _quiet(text: str) -> tuple[int, int] | None:
    if not text.strip():
        return None
    found = _HOURS.fullmatch(text.strip())
    begin, end = (int(found[1]), int(found[2])) if found else (0, 0)
    if begin == end or max(begin, end) > 23:
        raise SettingsError("QUIET_HOURS must be two different hours from 0 to 23, such as 21-8, or empty")
    return begin, end


class Dialler(NamedTuple):
    """What placing a call needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    vapi: Vapi
    agent: Agent
    rules: Rules
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex


class Wanted(NamedTuple):
    """A request that is well formed."""

    to: str
    key: str
    assistant_id: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What stands for the key wherever one could read it: people put numbers into keys."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]

    @property
    def digest(self) -> str:
        """Tells one request from another under the same key. The key, which is kept nowhere, hides the number in it."""
        said = messages.canonical([self.to, self.assistant_id, self.values])
        return hmac.new(self.key.encode(), said, hashlib.sha256).hexdigest()


class Outcome(NamedTuple):
    """What became of a request. `reason` is a constant code; '' where the call is placed."""

    state: str
    reason: str = ""
    call_id: str = ""

    def answer(self) -> dict[str, str]:
        """What whoever invoked us is told."""
        said = {"state": self.state, "reason": self.reason, "callId": self.call_id}
        return {name: value for name, value in said.items() if value}


def key(name: str) -> Key:
    """The item of a key, by the name that stands for it. It holds no number."""
    return Key(f"DIAL#{name}", "META")


def place(dialler: Dialler, event: object) -> dict[str, str]:
    """Place the call that the event asks for, once for its key, or say why not: `{"state", "reason"?, "callId"?}`.

    `refused` means that this request placed nothing, and the same may be asked again with the same key; `unknown` that
    there may be a call, and the key is used up; `placed` is answered again to every repetition.
    """
    try:
        outcome = _place(dialler, _read(dialler.settings, event))
    except NotPlaced as refused:
        outcome = Outcome(REFUSED, str(refused))
    except Unavailable as error:
        warn("unavailable", code=str(error))
        outcome = Outcome(REFUSED, "unavailable")
    if outcome.state != PLACED:
        count(Count.CALL_NOT_PLACED, outcome.reason)
        warn("call not placed", state=outcome.state, reason=outcome.reason, call_id=outcome.call_id)
    return outcome.answer()


def _read(settings: Settings, event: object) -> Wanted:
    # A field that is spelt wrongly must not become a call without it.
    if not isinstance(event, dict) or event.keys() - FIELDS:
        raise NotPlaced("event")
    to, key, assistant_id = event.get("to"), event.get("key"), event.get("assistantId", "")
    if not isinstance(to, str) or not messages.E164.fullmatch(to):
        raise NotPlaced("to")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise NotPlaced("key")
    if assistant_id != "" and not _is_ours(settings, assistant_id):
        raise NotPlaced("assistant_id")
    values = event.get("variableValues", {})
    if not _are_values(values):
        raise NotPlaced("variable_values")
    return Wanted(to, key, assistant_id, values)


def _is_ours(settings: Settings, assistant_id: object) -> bool:
    if not isinstance(assistant_id, str) or not _ID.fullmatch(assistant_id):
        return False
    # The webhook would refuse whatever another one's call sends.
    return not settings.assistant_ids or assistant_id in settings.assistant_ids


def _are_values(values: object) -> bool:
    if not isinstance(values, dict) or any(not isinstance(value, str | int | float) for value in values.values()):
        return False
    text = _text(values)
    return text is not None and len(text) <= MAX_VALUES


def _text(value: object) -> bytes | None:
    """JSON as Vapi's client will write it, or None where that is impossible: found out before anything is claimed."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return None


def _place(dialler: Dialler, wanted: Wanted) -> Outcome:
    now = dialler.clock()
    known = dialler.store.get(key(wanted.name))
    if known and not _is_open(known, wanted, now):
        return _told(known, wanted, now)
    if reason := dialler.rules.refusal(wanted.to, now):
        return Outcome(REFUSED, reason)
    order = _order(dialler, wanted)
    api_key = dialler.secrets.first(VAPI_API_KEY)
    claim = dialler.new_id()
    if winner := _claim(dialler.store, wanted, claim, now):
        return _told(winner, wanted, now)
    outcome = _admitted(dialler, wanted, order, api_key)
    _settle(dialler.store, wanted, claim, outcome, dialler.clock())
    if outcome.state == PLACED:
        count(Count.CALL_PLACED)
        log("call placed", call_id=outcome.call_id)
    return outcome


def _is_open(item: Item, wanted: Wanted, now: float) -> bool:
    """Whether a stored request leaves room for this one: it has expired, or it is the same and was refused."""
    return bool(item["exp"] <= now or (item["state"] == REFUSED and item["digest"] == wanted.digest))


def _told(item: Item, wanted: Wanted, now: float) -> Outcome:
    """What a stored request answers to one with the same key."""
    if item["digest"] != wanted.digest:
        return Outcome(REFUSED, "conflict")
    if item["state"] == REQUESTED:
        # Whoever wrote it is asking Vapi right now, or was stopped, and nobody knows whether before or after asking.
        late = now * 1000 - item["at"] >= PENDING_SECONDS * 1000
        return Outcome(UNKNOWN, "interrupted" if late else "under_way")
    return Outcome(item["state"], item["reason"], item["call_id"])


def _order(dialler: Dialler, wanted: Wanted) -> dict[str, Any]:
    """The body of `POST /call`, without the bypass: Vapi dials."""
    number = connection.read(dialler.settings, dialler.secrets).phone_number_id
    if not number:
        raise NotPlaced("phone_number_id")
    order = {
        "phoneNumberId": number,
        "customer": {"number": wanted.to},
        **messages.assistant_fields(_assistant(dialler, wanted)),
    }
    overrides = dict(order.get("assistantOverrides") or {})
    # So that every message of the call says which request it came of.
    overrides["metadata"] = {**(overrides.get("metadata") or {}), "dial": wanted.name}
    if wanted.values:
        overrides["variableValues"] = {**(overrides.get("variableValues") or {}), **wanted.values}
    order["assistantOverrides"] = overrides
    if _text(order) is None:
        raise NotPlaced("agent")
    return order


def _assistant(dialler: Dialler, wanted: Wanted) -> Assistant:
    """Who speaks. Unlike a caller, nobody waits here: without a decision no fallback calls a stranger."""
    if wanted.assistant_id:
        return Assistant(id=wanted.assistant_id)
    callee = Caller(wanted.to, "", "", backend(dialler.settings, dialler.secrets))
    try:
        with limit(ASSISTANT_SECONDS):
            decision = dialler.agent.assistant(callee)
    except (Exception, Overrun) as error:  # the agent's own code: whatever it raises
        warn("the agent could not choose an assistant", code=type(error).__name__)
        raise NotPlaced("agent") from error
    if not isinstance(decision, Assistant) or not (decision.id or decision.config):
        raise NotPlaced("no_assistant")
    return decision


def _claim(store: Store, wanted: Wanted, claim: str, now: float) -> Item | None:
    """Be the one who asks Vapi under this key; None if so, else the request that is in the way."""
    item = {
        **key(wanted.name)._asdict(),
        "v": VERSION,
        "state": REQUESTED,
        "reason": "",
        "call_id": "",
        "digest": wanted.digest,
        "claim": claim,
        "at": int(now * 1000),
        "exp": int(now) + KEEP_SECONDS,
    }
    condition = "attribute_not_exists(#pk) OR #exp <= :now OR (#state = :refused AND #digest = :digest)"
    values = {"now": int(now), "refused": REFUSED, "digest": wanted.digest}
    try:
        store.put(Put(item, condition, values))
    except ConditionFailed as lost:
        winner = dict(lost.item or {})
        # The SDK may repeat a write whose answer was lost, and then meets itself.
        return None if winner["claim"] == claim else winner
    return None


def _admitted(dialler: Dialler, wanted: Wanted, order: Mapping[str, Any], api_key: str) -> Outcome:
    """Ask Vapi, if there is a slot. Nothing here raises once Vapi may have been asked."""
    holder = key(wanted.name).pk
    try:
        if not admission.enter(dialler.store, dialler.settings, holder, dialler.clock()):
            return Outcome(REFUSED, "cap")
    except Unavailable as error:
        warn("no slot", code=str(error))
        return Outcome(REFUSED, "unavailable")
    outcome = _ask(dialler.vapi, order, api_key)
    try:
        if outcome.state == REFUSED:
            admission.leave(dialler.store, holder=holder)
        elif outcome.call_id:
            admission.occupy(dialler.store, holder, outcome.call_id, dialler.clock())
    except Unavailable as error:
        # The slot is held until it expires: too few calls for a while, never too many.
        warn("slot not updated", call_id=outcome.call_id, code=str(error))
    return outcome


def _ask(vapi: Vapi, order: Mapping[str, Any], api_key: str) -> Outcome:
    try:
        made = vapi.create_call(api_key, order, timeout=POST_SECONDS)
    except NotDone as error:
        return Outcome(REFUSED, error.reason)
    except Ambiguous as error:
        return Outcome(UNKNOWN, error.reason)
    given, limits = made.get("id"), made.get("subscriptionLimits")
    call_id = given if isinstance(given, str) and _ID.fullmatch(given) else ""
    if isinstance(limits, dict) and limits.get("concurrencyBlocked"):
        # Vapi's pages disagree whether such a call is dropped or waits for a slot: it is over only where it says so.
        over = not given or made.get("status") == "ended"
        return Outcome(REFUSED, "concurrency") if over else Outcome(UNKNOWN, "concurrency", call_id)
    return Outcome(PLACED, call_id=call_id) if call_id else Outcome(UNKNOWN, "no_call_id")


def _settle(store: Store, wanted: Wanted, claim: str, outcome: Outcome, now: float) -> None:
    """Write down what became of it. Where that fails it stays `requested`, which nobody takes for room to ask again."""
    change = "SET #state = :state, #reason = :reason, #call_id = :call, #settled_at = :at"
    values = {**outcome._asdict(), "call": outcome.call_id, "at": int(now * 1000), "claim": claim}
    try:
        store.update(Update(key(wanted.name), change, "#claim = :claim", values))
    except (Unavailable, ConditionFailed) as error:
        warn("outcome not recorded", state=outcome.state, call_id=outcome.call_id, code=type(error).__name__)
