"""Between the players and the backend: webhooks out, and the fakes' own doors.

A `Network` decides what happens to a message on its way; faults of networks and retries belong there.
"""

import copy
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx

from devkit import development, server_messages
from devkit.loopback import DOOR
from devkit.twilio_fake import WEBHOOK_SECONDS, PhoneLeg
from switchboard.signatures import PRESETS, Scheme, sign

VAPI_PATH = "/webhook/vapi"
SERVER_SECONDS = 20.0  # how long Vapi waits for a server, unless told otherwise
ASSISTANT_REQUEST_SECONDS = 7.5  # not configurable: the carrier waits for it
READ_ANSWERS = ("assistant-request", "tool-calls")  # messages whose answers Vapi reads
LOST_SHARE = 0.2  # of the deliveries, on a network that drops
REORDERED = 16  # messages under way at once on a network that reorders
RETRY_PAUSES = (0.3, 0.6, 1.2)  # seconds; a backoff plan's are longer, but people speak faster here too


class Sent(NamedTuple):
    """One delivery of a message and its answer; status 0 where there was none."""

    at: float
    status: int
    body: bytes
    seconds: float


class Exchange(NamedTuple):
    """A message and every delivery of it that was answered; `lost` counts those whose way, or whose answer's way, was not."""

    message: dict[str, Any]
    deliveries: list[Sent]
    lost: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the backend took every delivery."""
        return all(200 <= sent.status < 300 for sent in self.deliveries)


class Replay(NamedTuple):
    """A message that came once more after the call, and whether it was answered as the first time."""

    message: dict[str, Any]
    first: Sent
    again: Sent

    @property
    def same(self) -> bool:
        """The same status; and the same body where somebody reads it."""
        read = self.message["message"]["type"] in READ_ANSWERS
        return self.first.status == self.again.status and (not read or self.first.body == self.again.body)


class Backend:
    """The HTTP API under test: where it listens, which Host it goes by, and how its messages are signed."""

    def __init__(
        self,
        url: str,
        host: str,
        *,
        scheme: Scheme = PRESETS["vapi-hmac"],
        secret: str = development.VAPI_WEBHOOK_SECRET,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.public_url = f"http://{host}"
        self._scheme, self._secret, self._clock = scheme, secret, clock
        self._http = httpx.Client(base_url=url, headers={"host": host}, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, body: bytes, headers: Mapping[str, str], seconds: float, path: str = VAPI_PATH) -> Sent:
        """Post a webhook with headers made before, so that a second delivery is the same request again."""
        at = self._clock()
        try:
            answer = self._http.post(path, content=body, headers=dict(headers), timeout=seconds)
        except httpx.HTTPError as error:
            return Sent(at, 0, str(error).encode(), self._clock() - at)
        return Sent(at, answer.status_code, answer.content, self._clock() - at)

    def sign(self, body: bytes, secret: str | None = None, *, ahead: float = 0) -> dict[str, str]:
        """The headers of a webhook, signed now; `secret` is for a stranger who does not know ours.

        `ahead` is how many seconds the sender's clock is ahead of ours.
        """
        proof = sign(
            self._scheme,
            body,
            secret or self._secret,
            timestamp=round(self._clock() + ahead),
            message_id="msg_" + secrets.token_hex(12),
        )
        return {"content-type": "application/json", **proof}

    def post_form(self, path: str, form: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post as Twilio does, with Twilio's patience."""
        return self._http.post(path, content=form, headers=headers, timeout=WEBHOOK_SECONDS)


class Network(NamedTuple):
    """What happens to messages on the way. Times are in seconds."""

    duplicate: bool = False
    reorder: bool = False
    jitter: tuple[float, float] = (0, 0)
    drop: bool = False
    replay: bool = False
    skew: float = 0
    choose: random.Random = random.Random()  # noqa: S311 - which message is lost is no secret

    @property
    def faulty(self) -> bool:
        """Whether more can go wrong on it than that a message comes twice."""
        return any((self.reorder, any(self.jitter), self.drop, self.replay, self.skew))

    def copies(self, message: Mapping[str, Any], asked: bool) -> int:
        """How often a message is delivered; `asked` where the script wants this one twice."""
        return 2 if self.duplicate or asked else 1

    def delay(self) -> float:
        """How long the next message is under way."""
        return self.choose.uniform(*self.jitter)

    def loss(self) -> str:
        """What becomes of a delivery: '' if it arrives, else whether the `request` or the `answer` is lost."""
        if not self.drop or self.choose.random() >= LOST_SHARE:
            return ""
        return self.choose.choice(("request", "answer"))

    def told(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message as the sender's clock has it."""
        if not self.skew:
            return message
        moved = copy.deepcopy(message)
        moved["message"]["timestamp"] += round(self.skew * 1000)
        return moved


class Wire:
    """Carries messages to the backend while the call goes on; the answers that matter are waited for.

    They arrive in their order, however long each is under way, unless the network reorders them.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._backend, self._network = backend, network
        self._clock, self._sleep = clock, sleep
        self._line = ThreadPoolExecutor(REORDERED if network.reorder else 1, "wire")
        self._twins = ThreadPoolExecutor(2, "twin")
        self._taken: list[tuple[dict[str, Any], bytes, dict[str, str], str, Sent]] = []
        self._taking = threading.Lock()
        self.replays: list[Replay] = []

    def post(
        self, message: dict[str, Any], *, seconds: float = SERVER_SECONDS, twice: bool = False
    ) -> Future[Exchange]:
        """Send a message."""
        arrives = self._clock() + self._network.delay()
        return self._line.submit(self._carry, self._network.told(message), seconds, twice, arrives)

    def close(self) -> None:
        """Wait for what is under way; then everything comes once more where the network replays."""
        self._line.shutdown()
        self._twins.shutdown()
        if self._network.replay:
            taken, self._taken = self._taken, []
            self.replays = [
                Replay(message, first, self._backend.send(body, headers, SERVER_SECONDS, path))
                for message, body, headers, path, first in taken
            ]

    def _carry(self, message: dict[str, Any], seconds: float, twice: bool, arrives: float) -> Exchange:
        self._sleep(max(0.0, arrives - self._clock()))
        body = server_messages.encode(message)
        headers = self._backend.sign(body, ahead=self._network.skew)
        path = server_messages.path(message, VAPI_PATH)
        copies = self._network.copies(message, twice)
        if message["message"]["type"] == "tool-calls":
            # The duplicates that hurt come at the same time: two workers hold the same order.
            pending = [self._twins.submit(self._deliver, body, headers, seconds, path) for _ in range(copies)]
            delivered = [one.result() for one in pending]
        else:
            delivered = [self._deliver(body, headers, seconds, path) for _ in range(copies)]
        with self._taking:
            self._taken.append((message, body, headers, path, delivered[0][0]))
        return Exchange(message, [sent for sent, _ in delivered], sum(lost for _, lost in delivered))

    def _deliver(self, body: bytes, headers: Mapping[str, str], seconds: float, path: str) -> tuple[Sent, int]:
        """Send until an answer comes back, the last time for sure; the answer, and how often something was lost."""
        for lost, pause in enumerate(RETRY_PAUSES):
            match self._network.loss():
                case "":
                    return self._backend.send(body, headers, seconds, path), lost
                case "answer":
                    self._backend.send(body, headers, seconds, path)
            self._sleep(pause)
        return self._backend.send(body, headers, seconds, path), len(RETRY_PAUSES)


class Doors:
    """The fakes' own doors: where a player moves a call along and reads what the backend has asked for."""

    def __init__(self, vapi_url: str, twilio_url: str) -> None:
        self._vapi = httpx.Client(base_url=vapi_url, trust_env=False)
        self._twilio = httpx.Client(base_url=twilio_url, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._vapi.close()
        self._twilio.close()

    def begin(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """A call reaches a number that Vapi answers itself."""
        return self._door(self._vapi, "POST", "calls", dict(order))

    def connect(self, stream: str) -> dict[str, Any] | None:
        """A phone leg dials a media stream: the call that waits there, or None."""
        answer = self._vapi.post(DOOR + "streams", json={"url": stream})
        return dict(answer.json()) if answer.is_success else None

    def change(self, call_id: str, **changes: Any) -> dict[str, Any]:
        """A call moves on: its status, its assistant."""
        return self._door(self._vapi, "PATCH", f"calls/{call_id}", changes)

    def asked(self, after: int) -> list[dict[str, Any]]:
        """What the fake Vapi was asked after its request number `after`."""
        return list(self._door(self._vapi, "GET", f"requests?after={after}")["requests"])

    def leg(self, leg: PhoneLeg) -> None:
        """Make a phone leg known to Twilio's REST API, or what has become of it."""
        self._door(self._twilio, "POST", "legs", {"sid": leg.sid, "status": leg.status})

    def _door(self, client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = client.request(method, DOOR + path, json=body)
        answer.raise_for_status()
        return dict(answer.json())
