"""Between the players and the backend: webhooks out, and the fakes' own doors.

A `Network` decides what happens to a message on its way; faults of networks and retries belong there.
"""

import secrets
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


class Sent(NamedTuple):
    """One delivery of a message and its answer; status 0 where there was none."""

    at: float
    status: int
    body: bytes
    seconds: float


class Exchange(NamedTuple):
    """A message and every delivery of it."""

    message: dict[str, Any]
    deliveries: list[Sent]

    @property
    def accepted(self) -> bool:
        """Whether the backend took every delivery."""
        return all(200 <= sent.status < 300 for sent in self.deliveries)


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

    def send(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Sent:
        """Post a webhook with headers made before, so that a second delivery is the same request again."""
        at = self._clock()
        try:
            answer = self._http.post(VAPI_PATH, content=body, headers=dict(headers), timeout=seconds)
        except httpx.HTTPError as error:
            return Sent(at, 0, str(error).encode(), self._clock() - at)
        return Sent(at, answer.status_code, answer.content, self._clock() - at)

    def sign(self, body: bytes, secret: str | None = None) -> dict[str, str]:
        """The headers of a webhook, signed now; `secret` is for a stranger who does not know ours."""
        proof = sign(
            self._scheme,
            body,
            secret or self._secret,
            timestamp=round(self._clock()),
            message_id="msg_" + secrets.token_hex(12),
        )
        return {"content-type": "application/json", **proof}

    def post_form(self, path: str, form: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post as Twilio does, with Twilio's patience."""
        return self._http.post(path, content=form, headers=headers, timeout=WEBHOOK_SECONDS)


class Network(NamedTuple):
    """What happens to messages on the way."""

    duplicate: bool = False

    def copies(self, message: Mapping[str, Any], asked: bool) -> int:
        """How often a message is delivered; `asked` where the script wants this one twice."""
        return 2 if self.duplicate or asked else 1


class Wire:
    """Carries messages to the backend in their order, while the call goes on; the answers that matter are waited for."""

    def __init__(self, backend: Backend, network: Network) -> None:
        self._backend, self._network = backend, network
        self._line = ThreadPoolExecutor(1, "wire")
        self._twins = ThreadPoolExecutor(2, "twin")

    def post(
        self, message: dict[str, Any], *, seconds: float = SERVER_SECONDS, twice: bool = False
    ) -> Future[Exchange]:
        """Send a message after all that were posted before it."""
        return self._line.submit(self._carry, message, seconds, twice)

    def close(self) -> None:
        """Wait for what is under way."""
        self._line.shutdown()
        self._twins.shutdown()

    def _carry(self, message: dict[str, Any], seconds: float, twice: bool) -> Exchange:
        body = server_messages.encode(message)
        headers = self._backend.sign(body)
        copies = self._network.copies(message, twice)
        if message["message"]["type"] == "tool-calls":
            # The duplicates that hurt come at the same time: two workers hold the same order.
            pending = [self._twins.submit(self._backend.send, body, headers, seconds) for _ in range(copies)]
            return Exchange(message, [one.result() for one in pending])
        return Exchange(message, [self._backend.send(body, headers, seconds) for _ in range(copies)])


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
