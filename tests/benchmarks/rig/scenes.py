"""What each function is given: the same kind of event again and again, each of a call of its own."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import httpx

from devkit import development, events, facts, server_messages
from devkit.server_messages import Conversation
from switchboard import admission
from tests.benchmarks.rig.world import World, dumps
from tests.recorded import CALLER, DIALLED

type Event = dict[str, Any]
WORDS = "I would like to move my appointment to Thursday at two, if that is still possible."
_numbers = count(1)


class Scene(NamedTuple):
    """Events of one kind for one function of the template."""

    name: str
    function: str
    events: Callable[[World], Iterator[Event]]
    repeatable: bool = True
    """Whether its events cost the same from the second on: such are measured warm too."""


def webhook(kind: str, size: int, **fields: Any) -> Callable[[World], Iterator[Event]]:
    """Vapi's messages of about so many bytes, with as much conversation as fills them."""

    def made(world: World) -> Iterator[Event]:
        while True:
            yield _signed(_message(kind, _call(), size, fields))

    return made


def tool_calls(name: str, arguments: Mapping[str, Any]) -> Callable[[World], Iterator[Event]]:
    """Tool calls of the example agent."""

    def made(world: World) -> Iterator[Event]:
        while True:
            call = _known_call(world)
            entry = server_messages.tool_call(f"call_{next(_numbers):08}", name, arguments)
            yield _signed(server_messages.tool_calls(call, time.time(), _conversation(1000), [entry]))

    return made


def inbound(world: World) -> Iterator[Event]:
    """Callers, each of whom hangs up before the next one rings."""
    given = _file("twilio_voice/incoming_call.json")
    world.forget(admission.SLOTS)
    while True:
        yield _form(given, CallSid=f"CA{next(_numbers):032x}")
        world.forget(admission.SLOTS)


def completed(world: World) -> Iterator[Event]:
    """Phone calls that have ended."""
    given = _file("twilio_callbacks/completed.json")
    while True:
        yield _form(given, CallSid=f"CA{next(_numbers):032x}")


def records(world: World) -> Iterator[Event]:
    """Tickets of accepted tool calls, taken from the live queue."""
    while True:
        yield {"Records": [world.ticket()]}


def outbound(world: World) -> Iterator[Event]:
    """Calls to place."""
    given = _file("outbound/call.json")
    while True:
        yield {**given, "key": f"benchmark-{next(_numbers):08}"}


def always(path: str) -> Callable[[World], Iterator[Event]]:
    """One event of a file, again and again."""

    def made(world: World) -> Iterator[Event]:
        given = _file(path)
        while True:
            yield given

    return made


CHANGE = {"appointment": "apt_1", "start": "2030-05-02T10:00:00-04:00"}
LOOK_UP = Scene("inline tool", "VapiToolsFunction", tool_calls("find_appointment", {}))
ACCEPT = Scene("background tool, accepted", "VapiToolsFunction", tool_calls("change_appointment", CHANGE))
STATUS = Scene("webhook, status, 2 KB", "VapiWebhookFunction", webhook("status-update", 2_000, status="in-progress"))
REPORT = Scene(
    "webhook, end-of-call report, 40 KB",
    "VapiWebhookFunction",
    webhook("end-of-call-report", 40_000, endedReason="customer-ended-call"),
)
HISTORY = Scene("webhook, not wanted, 40 KB", "VapiWebhookFunction", webhook("conversation-update", 40_000))
INBOUND = Scene("inbound call", "TwilioVoiceFunction", inbound)
ENDED = Scene("phone call ended", "TwilioCallbacksFunction", completed)
RECORD = Scene("worker, one record", "LiveToolWorkerFunction", records)
PLACED = Scene("placed call", "OutboundFunction", outbound)
SWEEP = Scene("sweep", "SweeperFunction", always("sweeper/minute.json"))
FALLBACK = Scene("fallback", "VoiceFallbackFunction", always("voice_fallback/called.json"))
HEALTH = Scene("health", "HealthFunction", always("health/get.json"))

FIRST = (STATUS, LOOK_UP, INBOUND, RECORD, ENDED, PLACED, SWEEP, FALLBACK, HEALTH)
WARM = (STATUS, HISTORY, REPORT, LOOK_UP, ACCEPT, INBOUND, RECORD, ENDED)


def first(scene: Scene, world: World, number: int) -> Iterator[Event]:
    """So many events of a scene."""
    return islice(scene.events(world), number)


def _call() -> dict[str, Any]:
    """Vapi's `Call`, as it stands in every message."""
    return {
        "id": f"c0ffee00-0000-4000-8000-{next(_numbers):012x}",
        "orgId": "org-1",
        "type": "inboundPhoneCall",
        "status": "in-progress",
        "phoneCallProvider": "twilio",
        "phoneCallProviderId": f"CA{next(_numbers):032x}",
        "customer": {"number": CALLER},
        "assistantId": development.ASSISTANT_ID,
    }


def _known_call(world: World) -> dict[str, Any]:
    """A call that the fake Vapi knows too, so that it can be spoken to."""
    order = {**_call(), "customer": {"number": CALLER}}
    answer = httpx.post(f"{world.fakes.vapi.url}/_fake/calls", json={k: v for k, v in order.items() if k != "id"})
    return dict(answer.raise_for_status().json())


def _conversation(size: int) -> Conversation:
    made = Conversation(time.time(), DIALLED)
    while len(dumps(made.artifact())) < size:
        made.said("user", WORDS, time.time(), 2.5)
    return made


def _message(kind: str, call: dict[str, Any], size: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    bare = len(dumps(server_messages.message(kind, call, time.time(), Conversation(0, DIALLED), **fields)))
    return server_messages.message(kind, call, time.time(), _conversation(size - bare), **fields)


def _signed(body: Mapping[str, Any]) -> Event:
    given = _file("vapi_webhook/status_in_progress.json")
    return events.sign({**given, "body": dumps(body), "isBase64Encoded": False})


def _form(given: Event, **fields: str) -> Event:
    pairs = dict(parse_qsl(events.body(given).decode(), keep_blank_values=True)) | fields
    return events.sign({**given, "body": base64.b64encode(urlencode(pairs).encode()).decode(), "isBase64Encoded": True})


def _file(path: str) -> Event:
    found: Event = json.loads((facts.ROOT / "events" / path).read_text())
    return found
