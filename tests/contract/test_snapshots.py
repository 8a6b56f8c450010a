"""The built functions with SnapStart: what is in a snapshot, and that whoever starts from it lives in the world of today."""

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from devkit import development, secrets
from switchboard.secrets import VAPI_WEBHOOK
from tests.benchmarks.rig import scenes
from tests.benchmarks.rig.front import CONNECTION
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.scenes import Scene
from tests.benchmarks.rig.world import World
from tests.snapstart import Environment, KeyEndpoint

SCENES = {
    scene.function: scene for scene in (scenes.STATUS, scenes.LOOK_UP, scenes.INBOUND, scenes.ENDED, scenes.RECORD)
}
TODAY = "AKIDOFTODAY000000000"
MINE = ("snapshot_restore_py", "switchboard.rehearsals", "switchboard.credentials")
# An agent whose modules have been busy: all that a snapshot should not hold is in it.
BUSY = """
import app
app.desk.secrets.warm()
app.desk.store.query("CALL#none", "META")
from app import handler
"""
# Everything that is random in a process, in a state that the test knows, and what it gives afterwards.
RANDOM = """
import random, ssl
from snapshot_restore_py import register_before_snapshot
import app
register_before_snapshot(random.seed, 7)
def handler(event, context):
    return random.random()
"""
BROKEN_AFTER = """
from app import handler
from snapshot_restore_py import register_after_restore
def broken():
    raise RuntimeError("the agent's own hook")
register_after_restore(broken)
"""
BROKEN_BEFORE = """
from switchboard import webhook
def broken(desk, message):
    raise RuntimeError("does not work at all")
webhook.HANDLERS["status-update"] = broken
from app import handler
"""


@pytest.fixture(scope="module")
def rig(rig: Rig) -> Rig:
    """The built functions, and what stands before them here."""
    for module, code in (
        ("busy", BUSY),
        ("state", RANDOM),
        ("broken_after", BROKEN_AFTER),
        ("broken_before", BROKEN_BEFORE),
    ):
        rig.runtime.add(module, code)
    return rig


@pytest.fixture
def endpoint() -> Iterator[KeyEndpoint]:
    """Where the keys come from."""
    with KeyEndpoint() as made:
        yield made


class Signers:
    """Whose keys have signed what AWS was asked."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._found: list[str] = []
        self._lock = threading.Lock()
        forward = world.aws.forward

        def noted(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
            sent = {name.lower(): value for name, value in headers.items()}
            with self._lock:
                self._found += re.findall(r"Credential=(\w+)/", sent["authorization"])
            return forward(method, path, headers, body)

        monkeypatch.setattr(world.aws, "forward", noted)

    def take(self) -> set[str]:
        """Since it was asked last."""
        with self._lock:
            found, self._found = set(self._found), []
        return found


@pytest.fixture
def signers(world: World, monkeypatch: pytest.MonkeyPatch) -> Signers:
    """Whose keys have signed what AWS was asked."""
    return Signers(world, monkeypatch)


def environment(
    rig: Rig, world: World, endpoint: KeyEndpoint, name: str = "VapiWebhookFunction", module: str = "app", **env: str
) -> Environment:
    """A function that starts from a snapshot. It is given no keys but by the endpoint."""
    given = {name: value for name, value in world.env.items() if not re.match("AWS_(ACCESS|SECRET|SESSION)", name)}
    artefact = rig.artefact(name)._replace(handler=f"{module}.handler")
    return Environment(rig.runtime, artefact, given | endpoint.env | env)


def prepared(rig: Rig, world: World, scene: Scene) -> Any:
    """The first event of a scene."""
    rig.prepare(scene, 1)
    (event,) = scenes.first(scene, world, 1)
    return event


def good(answer: Any) -> bool:
    """Whether the event was taken in: a webhook's answer, or a batch without failures."""
    return answer.get("statusCode") in (200, 204) or answer.get("batchItemFailures") == []


@pytest.mark.parametrize("name", SCENES)
def test_a_snapshot_holds_no_connection_key_or_secret_and_nothing_was_counted(
    rig: Rig, world: World, endpoint: KeyEndpoint, name: str
) -> None:
    world.take()
    with environment(rig, world, endpoint, name) as started:
        started.snapshot()
        log = started.log

    assert not world.take()
    assert endpoint.asked == 0
    assert log == ""


@pytest.mark.parametrize("name", SCENES)
def test_the_first_event_after_a_start_is_answered_with_what_is_valid_then(
    rig: Rig, world: World, endpoint: KeyEndpoint, signers: Signers, name: str
) -> None:
    event = prepared(rig, world, SCENES[name])
    with environment(rig, world, endpoint, name) as started:
        started.snapshot()
        endpoint.key = TODAY
        signers.take()
        started.restore()
        answer = started.invoke(event)

    assert good(answer), answer
    assert signers.take() == {TODAY}


def test_what_was_opened_and_read_before_the_snapshot_counts_no_more(
    rig: Rig, world: World, endpoint: KeyEndpoint, signers: Signers
) -> None:
    def valid(secret: str) -> None:
        name = f"/switchboard/{development.STACK_NAME}/{VAPI_WEBHOOK}"
        value = json.dumps([{"id": "one", "secret": secret}])
        world.ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    event = prepared(rig, world, scenes.STATUS)
    signers.take()
    world.take()
    valid("a secret of yesterday")
    try:
        with environment(rig, world, endpoint, module="busy") as started:
            started.snapshot()
            opened, signed_by = world.take()[CONNECTION], signers.take()
            endpoint.key = TODAY
            valid(development.VAPI_WEBHOOK_SECRET)
            started.restore()
            answer = started.invoke(event)
            after = world.take()
    finally:
        secrets.store_development(world.ssm)

    assert (opened, signed_by) == (2, {"AKIDOFYESTERDAY00000"})
    assert good(answer), answer
    assert signers.take() == {TODAY}
    # The old connections would still work here, and nothing went over them.
    assert after == {CONNECTION: 2, "AmazonSSM.GetParameters": 1, "DynamoDB.UpdateItem": 1}


def test_botocore_starts_from_a_snapshot_too(rig: Rig, world: World, endpoint: KeyEndpoint, signers: Signers) -> None:
    event = prepared(rig, world, scenes.STATUS)
    with environment(rig, world, endpoint, AWS_CLIENT="botocore") as started:
        started.snapshot()
        before = signers.take()
        started.restore()
        answer = started.invoke(event)

    assert before == set()
    assert good(answer), answer
    # It reads its keys while it is made, and knows for how long they are good.
    assert signers.take() == {endpoint.key}


def test_two_that_start_from_one_snapshot_have_no_chance_in_common(
    rig: Rig, world: World, endpoint: KeyEndpoint
) -> None:
    found = []
    for _ in range(2):
        with environment(rig, world, endpoint, module="state") as started:
            started.snapshot()
            started.restore()
            found.append(started.invoke({}))

    assert found[0] != found[1]


def test_a_start_that_fails_answers_nobody(rig: Rig, world: World, endpoint: KeyEndpoint) -> None:
    with environment(rig, world, endpoint, module="broken_after") as started:
        started.snapshot()
        started.restore()
        status = started.end()
        (problem,) = started.problems

    assert status == 65
    assert problem == ("restore/error", "Runtime.AfterRestoreError", "the agent's own hook")


def test_what_cannot_answer_a_rehearsal_is_not_published(rig: Rig, world: World, endpoint: KeyEndpoint) -> None:
    with environment(rig, world, endpoint, module="broken_before") as started:
        status = started.end()
        (problem,) = started.problems

    assert status == 64
    assert problem == ("init/error", "Runtime.BeforeSnapshotError", "/webhook/vapi is answered 503")


def test_an_outage_at_the_start_is_met_by_the_event_and_over_with_the_next(
    rig: Rig, world: World, endpoint: KeyEndpoint
) -> None:
    event = prepared(rig, world, scenes.STATUS)
    with environment(rig, world, endpoint) as started:
        started.snapshot()
        endpoint.down = True
        started.restore()
        refused = started.invoke(event)
        endpoint.down = False
        answered = started.invoke(event)
        problems = started.problems

    assert refused["statusCode"] == 503
    assert answered["statusCode"] == 200
    assert problems == []


@pytest.mark.parametrize("name", SCENES)
def test_without_snapstart_none_of_it_is_loaded(rig: Rig, world: World, name: str) -> None:
    loaded = rig.runtime.look(rig.artefact(name), world.env).modules

    assert not {module for module in MINE if module in loaded}
