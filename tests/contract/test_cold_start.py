"""What a cold start may cost, as far as it can be counted exactly. `make bench` counts the instructions."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.rig import scenes
from tests.benchmarks.rig.artefacts import compiled
from tests.benchmarks.rig.front import CONNECTION
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.scenes import Scene
from tests.benchmarks.rig.world import World

# Modules of a function that is ready, the runtime client's 110 included. Raise one only with its reason and its figure.
MODULES = {
    "VapiWebhookFunction": 260,
    "VapiToolsFunction": 345,
    "TwilioVoiceFunction": 280,
    "TwilioCallbacksFunction": 265,
    "LiveToolWorkerFunction": 435,
    "AfterCallToolWorkerFunction": 435,
    "OutboundFunction": 260,
    "SweeperFunction": 270,
    "ConsoleFunction": 435,
    "WebClientFunction": 345,
    "HealthFunction": 112,
    "VoiceFallbackFunction": 112,
}
# What each of them costs of a bare handler's whole start: botocore 6, requests 3, twilio.rest 5, X-Ray's SDK 6.
NOWHERE = (
    "boto3",
    "botocore.session",
    "requests",
    "aiohttp",
    "twilio.rest",
    "twilio.jwt",
    "aws_xray_sdk",
    "vapi",
    "moto",
)
# Only where the agent's tools run: pydantic is three times a bare handler's start. httpx, once again its start, is loaded by
# the first request to Twilio.
WITH_TOOLS = {"VapiToolsFunction", "LiveToolWorkerFunction", "AfterCallToolWorkerFunction"}


def test_every_function_has_a_limit(rig: Rig) -> None:
    assert set(MODULES) == set(rig.artefacts.functions)


@pytest.mark.parametrize("name", MODULES)
def test_a_function_loads_no_more_than_it_needs(rig: Rig, world: World, name: str) -> None:
    loaded = rig.runtime.look(rig.artefact(name), world.env).modules

    assert not {module for module in NOWHERE if module in loaded}
    assert "httpx" not in loaded
    assert ("pydantic" in loaded) == ("agent.tools" in loaded) == (name in WITH_TOOLS)
    assert len(loaded) <= MODULES[name]


@pytest.mark.parametrize("name", MODULES)
def test_all_but_the_function_itself_has_bytecode_after_sams_zip(rig: Rig, name: str) -> None:
    artefact = rig.artefact(name)
    sources, usable = compiled(artefact.opt)

    assert sources == usable
    assert [path.name for path in artefact.code.glob("*.py")] == ["app.py"]
    # Lambda dates what it unpacks as the archive does; ordinary bytecode would not be believed.
    assert all(path.stat().st_mtime < 400_000_000 for path in Path(artefact.opt).rglob("*.pyc"))


WAITED_FOR = {
    "VapiWebhookFunction": scenes.STATUS,
    "VapiToolsFunction": scenes.LOOK_UP,
    "TwilioCallbacksFunction": scenes.ENDED,
    "LiveToolWorkerFunction": scenes.RECORD,
}


@pytest.mark.parametrize("name", WAITED_FOR)
def test_what_every_event_needs_is_connected_before_the_first_one(rig: Rig, name: str) -> None:
    scene = WAITED_FOR[name]
    artefact = rig.artefact(name)
    idle, first = (rig.requests(artefact, scene, number) for number in (0, 1))

    # The secrets and the table; a worker has another queue's connection to open, and no secret that all of its work needs.
    assert idle[CONNECTION] == (1 if scene is scenes.RECORD else 2)
    assert first[CONNECTION] - idle[CONNECTION] == (1 if scene is scenes.RECORD else 0)
    assert set(idle) <= {CONNECTION, "AmazonSSM.GetParameters"}


# Requests of one event, and no new connection: a warm function has them all.
REQUESTS: dict[str, tuple[Scene, dict[str, int]]] = {
    scene.name: (scene, expected)
    for scene, expected in (
        (scenes.STATUS, {"DynamoDB.UpdateItem": 1}),
        (scenes.HISTORY, {}),
        (scenes.REPORT, {"DynamoDB.UpdateItem": 1, "DynamoDB.PutItem": 1, "DynamoDB.Query": 2}),
        (scenes.LOOK_UP, {"DynamoDB.GetItem": 2, "DynamoDB.PutItem": 1}),
        (scenes.ACCEPT, {"DynamoDB.PutItem": 1, "AmazonSQS.SendMessage": 1}),
        (scenes.ENDED, {"DynamoDB.UpdateItem": 1, "DynamoDB.GetItem": 1, "DynamoDB.Query": 1}),
        (
            scenes.RECORD,
            {
                "DynamoDB.GetItem": 2,
                "DynamoDB.UpdateItem": 4,
                "DynamoDB.TransactWriteItems": 1,
                "AmazonSQS.ChangeMessageVisibility": 1,
                "POST /…/control": 1,
            },
        ),
    )
}


# On a machine that is busy a result may take long enough to be asked whether it was spoken over.
PATIENT = "from switchboard import worker\n\nworker.AT_ONCE = 60.0\n\nfrom app import handler\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_one_more_event_asks_for_so_much_and_opens_no_connection(rig: Rig, tmp_path: Path, name: str) -> None:
    scene, expected = REQUESTS[name]
    artefact = rig.artefact(scene.function)
    if scene is scenes.RECORD:
        task = shutil.copytree(artefact.code, tmp_path / "task")
        (task / "patient.py").write_text(PATIENT)
        artefact = artefact._replace(code=task, handler="patient.handler")
    few, many = (rig.requests(artefact, scene, number) for number in (2, 3))

    assert many - few == Counter(expected)
    assert not (many - few)[CONNECTION]


# What waking adds, to the function that wakes: of the others, nobody is waiting.
NAMES = ("first", "second")
WAKES = {
    # A caller waits: the connection is open before they call.
    "TwilioVoiceFunction": (scenes.INBOUND, 3),
    # Nobody waits for what a message of a call's beginning is answered.
    "VapiWebhookFunction": (scenes.STATUS, 2),
}


@pytest.mark.parametrize("name", WAKES)
def test_a_wake_is_one_request_for_each_function_over_one_connection(rig: Rig, world: World, name: str) -> None:
    scene, connected = WAKES[name]
    artefact = rig.artefact(name)

    def asked(number: int, names: str) -> Counter[str]:
        world.take()
        rig.runtime.play(
            artefact, scenes.first(scene, world, number), {**world.env, "WARM_FUNCTIONS": names}, count=False
        )
        return world.take()

    wakes = Counter({f"POST /2015-03-31/functions/{woken}/invocations": 1 for woken in NAMES})
    assert asked(0, ",".join(NAMES))[CONNECTION] == connected
    # The second call of an environment: with, and without.
    awake = asked(2, ",".join(NAMES)) - asked(1, ",".join(NAMES))
    asleep = asked(2, "") - asked(1, "")
    assert awake == asleep + wakes
