"""What one process keeps of many thousand events: an AWS that takes everything and keeps nothing, and all kinds of them."""

import json
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple

from devkit import events as signing
from tests.benchmarks.rig import scenes
from tests.benchmarks.rig.environment import Environment
from tests.benchmarks.rig.front import Reply
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.scenes import Scene, webhook
from tests.benchmarks.rig.world import World

WARM = 2_000  # events after which a process has loaded and connected what it ever will
FORGED = 10  # every so many is not signed as it should be
NAME = "VapiWebhookFunction"
SPEECH = Scene("speech", NAME, webhook("speech-update", 4_000, role="user", status="stopped"))
UTTERANCE = Scene(
    "utterance", NAME, webhook("transcript", 4_000, role="user", transcriptType="final", transcript=scenes.WORDS)
)
INTERRUPTION = Scene("interruption", NAME, webhook("user-interrupted", 4_000))
KINDS = (
    scenes.STATUS,
    SPEECH,
    UTTERANCE,
    INTERRUPTION,
    scenes.HISTORY,
    scenes.LOOK_UP,
    scenes.ACCEPT,
    scenes.REPORT,
)
FUNCTIONS = tuple(sorted({scene.function for scene in KINDS}))


class Grown(NamedTuple):
    """Bytes of memory that a process had when it was warm, and how many more after so many events."""

    events: int
    warm: int
    more: int


def grown(rig: Rig, world: World, function: str, number: int, longest: float) -> Grown:
    """Let one process answer so many events, or two thousand more for it to be warm."""
    artefact = rig.artefact(function)
    world.aws.watch = forgetful
    with Environment(rig.runtime, artefact, world.env, longest) as process:
        told = events(world, function)
        answer(process, islice(told, WARM))
        warm = process.reading().resident
        answer(process, islice(told, number))
        return Grown(number, warm, process.reading().resident - warm)


def answer(process: Environment, told: Iterator[tuple[Any, int]]) -> None:
    """Have all of them answered as they should be."""
    for event, status in told:
        answered = process.invoke(event)
        assert answered["statusCode"] == status, answered


def events(world: World, function: str) -> Iterator[tuple[Any, int]]:
    """Events of all kinds in turn, each of a call of its own, and the status that each is answered with."""
    kinds = [next(scene.events(world)) for scene in KINDS if scene.function == function]
    for number in count(1):
        event = _of_another_call(kinds[number % len(kinds)], number)
        if number % FORGED:
            yield event, 200
        else:
            yield {**event, "body": event["body"] + " "}, 401


def _of_another_call(event: Any, number: int) -> Any:
    """The same event of a call with another id. Making each anew would take longer than answering it."""
    known = json.loads(event["body"])["message"]["call"]["id"]
    return signing.sign({**event, "body": event["body"].replace(known, f"c0ffee01-0000-4000-8000-{number:012x}")})


def forgetful(name: str, _body: bytes, send: Callable[[], Reply]) -> Reply:
    """An AWS where everything is written and nothing is there; only the secrets are real."""
    if name.startswith("AmazonSSM."):
        return send()
    found = {"Items": [], "Count": 0, "ScannedCount": 0} if name.endswith(".Query") else {}
    sent = {"MessageId": "00000000-0000-4000-8000-000000000000"} if name.endswith(".SendMessage") else {}
    return 200, [("content-type", "application/x-amz-json-1.0")], json.dumps(found | sent).encode()
