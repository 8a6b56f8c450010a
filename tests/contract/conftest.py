"""Built functions under Lambda's real runtime client, and an AWS for them on loopback: moto, made to the contracts.

The functions are those that `make build` built; each is started once and keeps running, as on Lambda.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from moto.server import ThreadedMotoServer

from devkit import development, facts
from devkit.built import BUILD, Built
from devkit.fakes import Fakes
from devkit.runtime import Function, read_env
from devkit.secrets import store_development
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.world import World

EVENTS = facts.ROOT / "events"
BUILD_DIR = facts.ROOT / BUILD


class Aws(NamedTuple):
    """Where moto listens, and its clients."""

    url: str
    dynamodb: Any
    sqs: Any
    ssm: Any


@pytest.fixture(scope="session")
def moto() -> Iterator[Aws]:
    """An empty AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    yield Aws(url, *(facts.client(service, url) for service in ("dynamodb", "sqs", "ssm")))
    server.stop()


@pytest.fixture
def aws(moto: Aws) -> Aws:
    """A fresh table, empty queues and the development secrets, as the template makes them."""
    httpx.post(f"{moto.url}/moto-api/reset").raise_for_status()
    moto.dynamodb.create_table(
        TableName=f"{development.STACK_NAME}-calls",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in {"pk": "S", "sk": "S", "g1pk": "S", "g1sk": "N"}.items()
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open",
                "KeySchema": [
                    {"AttributeName": "g1pk", "KeyType": "HASH"},
                    {"AttributeName": "g1sk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    for lane in ("live", "after-call"):
        moto.sqs.create_queue(QueueName=f"{development.STACK_NAME}-{lane}")
    store_development(moto.ssm)
    moto.ssm.put_parameter(
        Name=f"/switchboard/{development.STACK_NAME}/public-base-url", Value=development.PUBLIC_BASE_URL, Type="String"
    )
    return moto


@pytest.fixture(scope="session")
def fakes() -> Iterator[Fakes]:
    """The fake Vapi and the fake Twilio, on free ports."""
    fakes = Fakes(0)
    fakes.start()
    yield fakes
    fakes.stop()


@pytest.fixture(scope="session")
def environment(moto: Aws, fakes: Fakes) -> dict[str, str]:
    """The variables of `events/env.json`, pointed at the AWS and the fakes of these tests."""
    queues = f"{moto.url}/123456789012/{development.STACK_NAME}"
    return read_env(EVENTS / "env.json", "") | {
        "AWS_API_URL": moto.url,
        "LIVE_QUEUE_URL": f"{queues}-live",
        "AFTER_CALL_QUEUE_URL": f"{queues}-after-call",
        "VAPI_API_URL": fakes.vapi.url,
        "TWILIO_API_URL": fakes.twilio.url,
    }


type Start = Callable[..., Function]


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start a built function, or return the one that runs: `start("HealthFunction", STAGE="prod")`."""
    running: dict[tuple[Any, ...], Function] = {}

    def started(name: str, **variables: str) -> Function:
        key = (name, *sorted(variables.items()))
        if key not in running:
            running[key] = Function(name, BUILD_DIR, environment | variables)
        return running[key]

    yield started
    for function in running.values():
        function.close()


@pytest.fixture(scope="session")
def built() -> Built:
    """What `make build` made."""
    return Built(BUILD_DIR)


def event(path: str) -> dict[str, Any]:
    """An event by its path below `events/`, such as `health/get.json`."""
    found: dict[str, Any] = json.loads(Path(EVENTS, path).read_text())
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An AWS and a Vapi that count, behind TLS."""
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def rig(world: World, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """The built functions, as Lambda unpacks them."""
    return Rig(tmp_path_factory.mktemp("rig"), world, count=False)
