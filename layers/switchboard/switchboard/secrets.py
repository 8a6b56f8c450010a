"""Secrets from SSM: several valid at once, cached, stale rather than missing, re-read when a signature fails.

A secret is a SecureString that holds a JSON list of `{"id", "secret", "not_after"}`; `not_after` (epoch seconds) is
optional. `public-base-url` and `connection` are plain Strings under the same path.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from switchboard import aws
from switchboard.errors import SignatureRefused, Unavailable
from switchboard.signatures import Secret

VAPI_WEBHOOK = "vapi-webhook"
VAPI_API_KEY = "vapi-api-key"
VAPI_PUBLIC_KEY = "vapi-public-key"
TWILIO_AUTH_TOKEN = "twilio-auth-token"  # noqa: S105 - the name of a parameter
TWILIO_API_SECRET = "twilio-api-secret"  # noqa: S105 - the name of a parameter; set only where TWILIO_API_KEY_SID is
CONSOLE = "console"  # signs the tokens of the console; made by `switchboard console`, and its end is theirs
PUBLIC_BASE_URL = "public-base-url"
CONNECTION = "connection"  # `switchboard.connection` says what is in it

FRESH = 300  # seconds that a value is used without asking again
STALE = 24 * 3600  # seconds that an old value is used while SSM does not answer
FORCED = 60  # seconds between two reads that a failed signature may cause


class Secrets:
    """The named parameters under one path, read together in one request."""

    def __init__(self, path: str, names: Sequence[str], client: Any, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._names = names
        self._client = client
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Trust nothing that was read, however young it seems: the clock may have stood still, or the day be another."""
        self._values: dict[str, str] = {}
        self._read_at = self._asked_at = float("-inf")

    def warm(self) -> None:
        """Read while the function starts, where waiting costs no caller anything. A failure is met on the request."""
        with suppress(Unavailable):
            self._refresh()

    def active(self, name: str) -> list[Secret]:
        """The secrets of that name that are valid now; empty where none is set, which rejects everything."""
        self._refresh()
        return _active(self._values.get(name, ""), self._clock())

    def first(self, name: str) -> str:
        """The newest valid secret of that name, for requests that we make ourselves; '' where none is set."""
        active = self.active(name)
        return active[-1].value if active else ""

    def text(self, name: str) -> str:
        """A plain parameter."""
        self._refresh()
        return self._values.get(name, "")

    def checked[T](self, check: Callable[[], T]) -> T:
        """Run a signature check; should it fail for want of the right secret, look once whether there is a new one."""
        try:
            return check()
        except SignatureRefused as refused:
            if refused.reason not in ("signature_mismatch", "no_secret") or not self._reread():
                raise
            return check()

    def _reread(self) -> bool:
        """Ask SSM again because a signature failed: at most once per minute, whatever is sent. True if it was asked."""
        if self._clock() - self._asked_at < FORCED:
            return False
        self._read()
        return True

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._read_at < FRESH:
            return
        # While SSM is down, a value that we have serves for a day, and SSM is asked again only now and then.
        if self._values and now - self._asked_at < FORCED:
            return
        self._read()

    def _read(self) -> None:
        self._asked_at = self._clock()
        try:
            with aws.available("secrets"):
                found = self._client.get_parameters(
                    Names=[f"{self._path}/{name}" for name in self._names], WithDecryption=True
                )
        except Unavailable:
            if self._asked_at - self._read_at > STALE:
                self._values = {}
                raise
            return
        self._values = {entry["Name"].rpartition("/")[2]: entry["Value"] for entry in found["Parameters"]}
        self._read_at = self._asked_at


def _active(text: str, now: float) -> list[Secret]:
    try:
        entries = json.loads(text or "[]")
        return [
            Secret(str(entry["id"]), str(entry["secret"]))
            for entry in entries
            if entry["secret"] and (not entry.get("not_after") or float(entry["not_after"]) > now)
        ]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        # A parameter that somebody typed by hand and got wrong is as good as none: nothing verifies.
        return []
