"""The local stack's Twilio: the REST API, real calls behind it in real time, and doors for whoever plays a caller.

The doors, below `/_fake/`: `POST calls` lets somebody call, `GET calls/<sid>` tells all that has become of that, and
`POST calls/<sid>` ends a side of it: the `caller` hangs up, or the far end of the media `stream` closes it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx

from devkit.exchange import Exchange, RealClock, over
from devkit.exchange_legs import Leg, Person, Program
from devkit.loopback import DOOR, Answer, Request
from devkit.twilio_fake import WEBHOOK_SECONDS, ApplicationError, TwilioFake

CALLS = DOOR + "calls"
FAR_END = "far end"


class Webhook(NamedTuple):
    """A request to the backend and what it was answered, status 0 for nothing. `at` is epoch seconds."""

    at: float
    sid: str
    target: str
    """Path and query."""
    status: int
    seconds: float
    body: str


class Streamed(NamedTuple):
    """A leg's media stream was opened (`by` is empty), or closed by somebody. `at` is epoch seconds."""

    at: float
    sid: str
    url: str
    by: str = ""


class LocalTwilio(TwilioFake):
    """The server. Webhooks go to the HTTP API at `backend_url`, which answers to the name `host`."""

    def __init__(self, port: int, backend_url: str, host: str) -> None:
        self.webhooks: list[Webhook] = []
        self.streams: list[Streamed] = []
        self._http = httpx.Client(
            base_url=backend_url, headers={"host": host}, timeout=WEBHOOK_SECONDS, trust_env=False
        )
        self._lengths: dict[str, float] = {}
        self._live = _Live(
            over(self._post),
            RealClock(),
            public_url=f"http://{host}",
            on_stream=self._opened,
            on_closed=self._closed,
            seed=time.time_ns(),
            real=True,
        )
        self._live.play_seconds = self._length
        super().__init__(port, exchange=self._live)

    def start(self) -> "LocalTwilio":
        """Listen, and let time go by."""
        super().start()
        self._live.start()
        return self

    def stop(self) -> None:
        """Let no more time go by, and stop listening."""
        self._live.stop()
        super().stop()
        self._http.close()

    def answer(self, request: Request) -> Answer:
        """Answer as Twilio's REST API would, or open a door."""
        if not request.path.startswith(CALLS):
            return super().answer(request)
        order = request.json() or {}
        if request.path == CALLS and request.method == "POST":
            return Answer(201, {"sid": self._call(order).sid})
        leg = self._live.legs.get(request.path.removeprefix(CALLS + "/"))
        if leg is None:
            return Answer(404, {"message": "the fake knows no such call"})
        if request.method == "POST":
            end: Callable[[Leg], None] = (
                self._live.hang_up if order.get("ends") == "caller" else self._live.close_stream
            )
            end(leg)
        return Answer(200, self._told(leg))

    def _call(self, order: Mapping[str, Any]) -> Leg:
        self._live.people.update({number: Person(**person) for number, person in order.get("people", {}).items()})
        return self._live.call(order["from"], order["to"])

    def _told(self, caller: Leg) -> dict[str, Any]:
        """Everything about a caller's leg, and about those that were placed on its behalf."""
        legs = [leg for leg in list(self._live.legs.values()) if leg is caller or caller.sid in leg.status_url]
        sids = {leg.sid for leg in legs}
        return {
            "legs": [{"sid": leg.sid, "to": leg.dialled, "status": leg.status} for leg in legs],
            "status": caller.status,
            "silence": self._live.silence(caller),
            "timeline": [entry._asdict() for entry in list(self._live.timeline) if entry.sid in sids],
            "streams": [one._asdict() for one in list(self.streams) if one.sid == caller.sid],
            "webhooks": [one._asdict() for one in list(self.webhooks) if one.sid in sids],
            "orders": [one for one in self.requests if any(sid in f"{one['path']} {one['form']}" for sid in sids)],
        }

    def _post(self, target: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        began = time.time()
        sid = dict(httpx.QueryParams(body.decode()))["CallSid"]
        try:
            answer = self._http.post(target, content=body, headers=headers)
        except httpx.HTTPError:
            self.webhooks.append(Webhook(began, sid, target, 0, time.time() - began, ""))
            raise
        self.webhooks.append(Webhook(began, sid, target, answer.status_code, time.time() - began, answer.text))
        return answer

    def _length(self, url: str) -> float:
        """How long a recording plays, in seconds. Twilio keeps what it has fetched, too.

        What it does without a recording was not read in its documentation: here that is an application error.
        """
        if url not in self._lengths:
            try:
                answer = self._http.get(httpx.URL(url).raw_path.decode())
            except httpx.HTTPError as error:
                raise ApplicationError(11200, f"{url}: {error}") from error
            if not answer.is_success or not (seconds := seconds_of(answer.content)):
                raise ApplicationError(11200, f"{url} is no recording")
            self._lengths[url] = seconds
        return self._lengths[url]

    def _opened(self, leg: Leg, url: str, _parameters: Mapping[str, str]) -> None:
        self.streams.append(Streamed(time.time(), leg.sid, url))

    def _closed(self, leg: Leg, url: str, by: str) -> None:
        self.streams.append(Streamed(time.time(), leg.sid, url, by))


class _Live(Exchange):
    """An exchange for people who watch: it does not ring for the whole time that it was told."""

    def ring(self, leg: Leg, timeout: float) -> Program[None]:
        """Ring at a person's; whose network says that nobody answers when they would have answered, and not later."""
        patient = leg.person.behaviour != "no-answer"
        return super().ring(leg, timeout if patient else min(timeout, leg.person.answers_after))


def seconds_of(wav: bytes) -> float:
    """How long a WAV file plays, in seconds; 0 for anything else."""
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE":
        return 0.0
    at, rate = 12, 0
    while at + 8 <= len(wav):
        name, size = wav[at : at + 4], int.from_bytes(wav[at + 4 : at + 8], "little")
        if name == b"fmt " and size >= 12:
            rate = int.from_bytes(wav[at + 16 : at + 20], "little")  # bytes a second
        if name == b"data":
            return size / rate if rate else 0.0
        at += 8 + size + size % 2
    return 0.0
