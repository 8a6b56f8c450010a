"""A pytest plugin for those who write tools: the fixture `call` makes what a tool is given of the call that it serves.

def test_we_are_closed_on_sundays(call):
    assert opening_hours(call(now=datetime(2026, 11, 22, tzinfo=UTC))) == "Closed."
"""

from datetime import UTC, datetime
from typing import Protocol

import pytest

from switchboard.tools import Call

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday; fixed, so that a test says the same on every day
CALLER = "+15550100001"  # from the range that is never given to anybody
KEY = "key-of-this-tool-call"


class MakeCall(Protocol):
    """Makes a `Call`; what a test does not care about has a fixed value."""

    def __call__(self, *, caller: str = CALLER, now: datetime = NOON, key: str = KEY, attempt: int = 1) -> Call:
        """A call from `caller` at `now`, with the idempotency key `key`."""


@pytest.fixture
def call() -> MakeCall:
    """Make a `switchboard.tools.Call`: `call()`, or `call(caller="+15550100002", now=..., key="...", attempt=2)`."""

    def make(*, caller: str = CALLER, now: datetime = NOON, key: str = KEY, attempt: int = 1) -> Call:
        # Time stands still in it, so `remaining()` is the whole time of an attempt.
        return Call(
            id="call-under-test", caller=caller, idempotency_key=key, now=now, attempt=attempt, clock=lambda: now
        )

    return make
