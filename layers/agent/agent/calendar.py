"""The clinic's calendar. Here it is a few items in the same table; yours is probably somebody's API.

A caller sees and moves only the appointments of their own number. Each change is made under an idempotency key, as a
condition of the write itself: asked twice with the same key, the calendar changes once and says the same.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from switchboard import aws
from switchboard.errors import ConditionFailed
from switchboard.settings import Settings
from switchboard.store import Key, Put, Store, Update

ZONE = ZoneInfo("America/New_York")
OPENS, CLOSES = 8, 18  # hours, Monday to Friday
ANSWER_SECONDS = 1.0  # how long a real calendar system takes for a change

PK = "AGENT#calendar"


class Appointment(NamedTuple):
    """One appointment: its id, as handed out to the caller it belongs to, and its start in the clinic's zone."""

    id: str
    start: datetime

    def spoken(self) -> str:
        """The start as one says it."""
        return f"{self.start:%A, %B} {self.start.day} at {self.start:%-I:%M %p}"


class UnknownAppointment(Exception):
    """The caller has no appointment of that id."""


class Calendar:
    """The appointments of all callers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, caller: str, now: datetime) -> Appointment:
        """The caller's appointment; a first look makes one, so that the example has something to talk about."""
        item = self._store.get(_key(caller, "apt_1"))
        if item is None:
            item = {"start": _first_start(now).isoformat(), "changes": 0, "confirmations": 0}
            try:
                self._store.put(Put({**_key(caller, "apt_1")._asdict(), **item}, "attribute_not_exists(#pk)"))
            except ConditionFailed as lost:
                item = dict(lost.item or {})
        return Appointment("apt_1", datetime.fromisoformat(item["start"]).astimezone(ZONE))

    def move(self, caller: str, id: str, start: datetime, key: str) -> Appointment:
        """Move an appointment, once per key; `UnknownAppointment` if the caller has none of that id."""
        time.sleep(ANSWER_SECONDS)
        change = "SET #start = :start, #changes = #changes + :one ADD #applied :keys"
        self._apply(_key(caller, id), change, {"start": start.isoformat(), "one": 1, "keys": {key}, "key": key})
        return Appointment(id, start.astimezone(ZONE))

    def confirm(self, caller: str, id: str, key: str) -> None:
        """Send the caller a confirmation, once per key; `UnknownAppointment` if the caller has none of that id."""
        change = "SET #confirmations = #confirmations + :one ADD #applied :keys"
        self._apply(_key(caller, id), change, {"one": 1, "keys": {key}, "key": key})

    def _apply(self, key: Key, change: str, values: Mapping[str, Any]) -> None:
        try:
            self._store.update(Update(key, change, _ONCE, values, blind=True))
        except ConditionFailed as lost:
            if lost.item is None:
                raise UnknownAppointment(key.sk) from lost
            # The key is among the applied ones: this very change has been made already.


_ONCE = "attribute_exists(#pk) AND NOT contains(#applied, :key)"


def _key(caller: str, id: str) -> Key:
    owner = hashlib.sha256(caller.encode()).hexdigest()[:16]
    return Key(PK, f"APT#{owner}#{id}")


def _first_start(now: datetime) -> datetime:
    """Ten in the morning of the next Tuesday."""
    today = now.astimezone(ZONE).replace(hour=10, minute=0, second=0, microsecond=0)
    return today + timedelta(days=(1 - today.weekday()) % 7 or 7)


def open_at(start: datetime) -> bool:
    """Whether the clinic is open then."""
    try:
        local = start.astimezone(ZONE)
    except OverflowError:  # at the edge of the calendar
        return False
    return local.weekday() < 5 and OPENS <= local.hour < CLOSES


@cache
def calendar() -> Calendar:
    """The calendar of this deployment."""
    settings = Settings.from_env(os.environ)
    return Calendar(Store(settings.table, aws.client("dynamodb", settings.aws_url)))
