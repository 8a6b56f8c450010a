"""Workers die at random and requests to AWS fail while calls with tools run: nothing accepted is lost or done twice.

The deployed functions get an agent whose effects the other side writes down (`chaos_agent`), and reach AWS through a proxy
that fails some requests before they arrive and loses the answers of others.
"""

import io
import json
import random
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from devkit import demo, development, server_messages, workers
from devkit.loopback import Answer, Loopback, Request
from devkit.server_messages import Conversation, message, tool_call
from devkit.simulate import Saboteur
from devkit.stack import Stack
from devkit.wire import VAPI_PATH, Backend, Doors, Network
from switchboard import toolcalls
from switchboard.store import Store
from switchboard.toolcalls import Delivery, Row, State
from tests.local.conftest import wait_for
from tests.local.test_calls import script

WEBHOOK = ("VapiWebhookFunction", "VapiToolsFunction")
FUNCTIONS = (*workers.WORKERS, *WEBHOOK, "SweeperFunction")
WEBHOOK_SHARE = 0.1  # of the killings; the others hit workers
TOOLS = ("look", "search", "move", "pay", "send")
BACKGROUND = {"search", "move", "pay", "send"}
NEVER_TWICE = {"pay"}  # the tool that is declared as `once`
CALM_SECONDS = 60.0  # from the last trouble until all must be over: deadline + 15 s of a lost delivery + a sweep
SWEEP_SECONDS = 2.0
PATIENCE = (0.0, 3.0, 8.0)  # seconds that a caller waits for results before hanging up
TRIES = 12  # how often a message is sent that is not answered, as a backoff plan says


class Ledger(Loopback):
    """The other side of the tools: what they did, by request. It loses every twentieth answer, having acted."""

    def __init__(self, choose: random.Random) -> None:
        super().__init__(0)
        self.entries: list[dict[str, str]] = []
        self.environments: set[str] = set()
        self._choose = choose

    def answer(self, request: Request) -> Answer:
        """Write the effect down."""
        entry = request.json()
        if not entry:  # its sender was killed before all of it was sent
            return Answer(400, {})
        self.entries.append(entry)
        self.environments.add(entry["environment"])
        return Answer(200, {}, lost=self._choose.random() < 0.05)

    def of(self, tool: str, ref: str) -> list[dict[str, str]]:
        """What arrived for one tool call."""
        return [entry for entry in self.entries if (entry["tool"], entry["ref"]) == (tool, ref)]


class FaultyAws(Loopback):
    """Between the functions and their AWS: fails requests before they arrive, or loses their answers afterwards."""

    def __init__(self, url: str, choose: random.Random) -> None:
        super().__init__(0)
        self.failed = Counter[str]()
        self.share = 0.05
        self._choose = choose
        self._aws = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def stop(self) -> None:
        """Close the connections too."""
        super().stop()
        self._aws.close()

    def take(self, request: Request) -> Answer:
        """Without the lock that keeps the records of other servers in order: functions do not wait for each other."""
        return self.answer(request)

    def answer(self, request: Request) -> Answer:
        """Pass a request on, or not."""
        fate = self._choose.random()
        if fate < self.share / 2:
            self.failed["refused"] += 1
            return Answer(503, "", content_type="text/plain")
        if fate < self.share * 0.75:
            self.failed["not arrived"] += 1
            return Answer(0, lost=True)
        headers = {name: value for name, value in request.headers.items() if name != "connection"}
        got = self._aws.request(request.method, request.path, content=request.body, headers=headers)
        lost = fate < self.share
        self.failed["answer lost"] += lost
        return Answer(got.status_code, got.text, lost=lost, content_type=got.headers.get("content-type", "text/plain"))


@contextmanager
def troubled(stack: Stack, ledger: str, aws: str) -> Iterator[None]:
    """The stack's functions with the test's agent, their AWS at `aws`; afterwards what they were."""
    functions = stack.client("lambda")
    layer = functions.publish_layer_version(LayerName="chaos-agent", Content={"ZipFile": packed_agent()})
    before = {name: configured(stack, name) for name in FUNCTIONS}
    try:
        for config in before.values():
            layers = [one["Arn"] for one in config["Layers"]]
            others = [arn for arn in layers if f":{development.STACK_NAME}-agent:" not in arn]
            assert len(others) == len(layers) - 1
            variables = config["Environment"]["Variables"] | {"AWS_API_URL": aws, "LEDGER_URL": ledger}
            functions.update_function_configuration(
                FunctionName=config["FunctionName"],
                Layers=[*others, layer["LayerVersionArn"]],
                Environment={"Variables": variables},
            )
        yield
    finally:
        for config in before.values():
            functions.update_function_configuration(
                FunctionName=config["FunctionName"],
                Layers=[one["Arn"] for one in config["Layers"]],
                Environment=config["Environment"],
            )
        for queue in queues(stack):
            stack.client("sqs").purge_queue(QueueUrl=queue)


def configured(stack: Stack, logical: str) -> dict[str, Any]:
    """A function's configuration."""
    detail = stack.client("cloudformation").describe_stack_resource(
        StackName=development.STACK_NAME, LogicalResourceId=logical
    )["StackResourceDetail"]
    found: dict[str, Any] = stack.client("lambda").get_function_configuration(FunctionName=detail["PhysicalResourceId"])
    return found


def packed_agent() -> bytes:
    """The layer with the agent."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.write(Path(__file__).with_name("chaos_agent.py"), "python/agent/__init__.py")
    return archive.getvalue()


def queues(stack: Stack, suffix: str = "") -> list[str]:
    """The URLs of both lanes' queues."""
    sqs = stack.client("sqs")
    names = (f"{development.STACK_NAME}-{lane}{suffix}" for lane in ("live", "after-call"))
    return [sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in names]


class Storm(NamedTuple):
    """What became of it all."""

    calls: int
    accepted: set[tuple[str, str]]
    rows: list[Row]
    kills: Counter[str]
    faults: Counter[str]
    ledger: Ledger
    dead_letters: int
    seconds: float

    def __str__(self) -> str:
        states = Counter(f"{row.tool} {row.state}" for row in self.rows)
        deliveries = Counter(row.delivery.value for row in self.rows if row.lane == "live")
        repeated = sum(row.attempt > 1 for row in self.rows)
        return (
            f"{self.calls} calls, {len(self.rows)} tool calls, {len(self.ledger.entries)} effects seen, "
            f"{self.kills.total()} environments killed {dict(self.kills)}, {self.faults.total()} AWS requests failed "
            f"{dict(self.faults)}, {repeated} calls with more than one attempt, {self.dead_letters} dead letters, "
            f"{self.seconds:.0f} s\n  {dict(sorted(states.items()))}\n  deliveries {dict(deliveries)}"
        )


def storm(stack: Stack, calls: int, abreast: int, kill_every: float, seed: int) -> Storm:
    """Play so many calls, `abreast` at once, killing an environment every so many seconds, and wait for the calm."""
    choose = random.Random(seed)
    began = time.monotonic()
    kills = Counter[str]()
    over = threading.Event()

    def murder() -> None:
        while not over.wait(choose.uniform(0.5, 1.5) * kill_every):
            functions = WEBHOOK if choose.random() < WEBHOOK_SHARE else workers.WORKERS
            # In the emulator, one that dies while it starts takes its function's other environments with it.
            started = [one for one in workers.running(stack.port, functions) if one.runtime_api in ledger.environments]
            if killed := workers.kill(started, choose):
                kills[killed.function.split("-")[-2]] += 1

    with ExitStack() as held:
        ledger = held.enter_context(Ledger(choose))
        aws = held.enter_context(FaultyAws(stack.api_url, choose))
        held.enter_context(troubled(stack, f"{ledger.url}/effects", aws.url))
        caller = Caller(stack, choose)
        held.callback(caller.close)
        held.callback(over.set)
        killer = threading.Thread(target=murder)
        killer.start()
        with ThreadPoolExecutor(abreast) as pool:
            spoken = list(pool.map(caller.ring, range(calls)))
        over.set()
        killer.join()
        aws.share = 0
        rows = calm(stack, [call for call, _ in spoken])
        accepted = {(call, tool) for call, taken in spoken for tool in taken}
        return Storm(calls, accepted, rows, kills, aws.failed, ledger, dead_letters(stack), time.monotonic() - began)


class Caller:
    """Rings, has the model run every tool, and hangs up: at once, or when patience ends or all has been said."""

    def __init__(self, stack: Stack, choose: random.Random) -> None:
        self._backend = Backend(stack.api_url, stack.host)
        self._doors = Doors(stack.facts["vapi_url"], stack.facts["twilio_url"])
        self._store = Store(stack.facts["outputs"]["TableName"], stack.client("dynamodb"))
        self._choose = choose

    def close(self) -> None:
        """Close the connections."""
        self._backend.close()
        self._doors.close()

    def ring(self, number: int) -> tuple[str, set[str]]:
        """One call: its id, and the tools whose calls were answered as accepted."""
        call = self._doors.begin({"status": "in-progress", "customer": {"number": f"+1555{number:07}"}})
        said = Conversation(time.time(), "+15555550100")
        self._send(message("status-update", call, time.time(), said, status="in-progress"))
        asked = [tool_call(f"call_{number}_{tool}", tool, {"ref": f"{number}"}) for tool in TOOLS]
        answer = self._send(server_messages.tool_calls(call, time.time(), said, asked))
        results = {entry["toolCallId"]: entry for entry in json.loads(answer)["results"]}
        accepted = {
            entry["function"]["name"]
            for entry in asked
            if str(results[entry["id"]].get("result")).startswith("Accepted")
        }
        self._listen(call["id"], self._choose.choice(PATIENCE))
        self._doors.change(call["id"], status="ended", endedReason="customer-ended-call")
        self._send(message("status-update", call, time.time(), said, status="ended", endedReason="customer-ended-call"))
        return call["id"], accepted

    def _listen(self, call_id: str, seconds: float) -> None:
        """Stay on the line until everything has been said, for so long at most."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            spoken = [row for row in toolcalls.of_call(self._store, call_id) if row.lane == "live"]
            if all(map(final, spoken)):
                return
            time.sleep(0.2)

    def _send(self, body: dict[str, Any]) -> bytes:
        """Send until it is answered, as Vapi does under a backoff plan; sometimes once more than that."""
        content = server_messages.encode(body)
        headers = self._backend.sign(content)
        path = f"{VAPI_PATH}/tools" if body["message"]["type"] == "tool-calls" else VAPI_PATH
        for pause in range(TRIES):
            sent = self._backend.send(content, headers, 20, path)
            if sent.status == 200:
                if self._choose.random() < 0.3:
                    self._backend.send(content, headers, 20, path)
                return sent.body
            time.sleep(0.2 * pause)
        raise AssertionError(f"{body['message']['type']} was not taken in {TRIES} tries: {sent}")


def calm(stack: Stack, calls: list[str]) -> list[Row]:
    """Sweep until nothing is unfinished; the rows of these calls."""
    store = Store(stack.facts["outputs"]["TableName"], stack.client("dynamodb"))
    sweeper = configured(stack, "SweeperFunction")["FunctionName"]
    swept = [time.monotonic()]

    def finished() -> list[Row]:
        rows = [row for call in calls for row in toolcalls.of_call(store, call)]
        if all(final(row) for row in rows):
            return rows
        if time.monotonic() - swept[0] > SWEEP_SECONDS:
            stack.client("lambda").invoke(FunctionName=sweeper)
            swept[0] = time.monotonic()
        time.sleep(0.2)
        return []

    return wait_for(finished, CALM_SECONDS)


def final(row: Row) -> bool:
    """Whether nothing will follow."""
    return row.state.settled and row.delivery not in (Delivery.PENDING, Delivery.CLAIMED)


def dead_letters(stack: Stack) -> int:
    """How many tickets were given up."""
    wanted = ["ApproximateNumberOfMessages"]
    sqs = stack.client("sqs")
    found = (sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted) for url in queues(stack, "-dlq"))
    return sum(int(one["Attributes"]["ApproximateNumberOfMessages"]) for one in found)


def check(seen: Storm) -> None:
    """What must hold, whatever has died."""
    rows = {(row.call_id, row.tool): row for row in seen.rows}
    assert len(rows) == len(seen.rows), "a tool call has two rows"
    assert seen.accepted <= rows.keys(), "an accepted tool call is not there"
    assert all(map(final, seen.rows))
    for row in seen.rows:
        effects = seen.ledger.of(row.tool, json.loads(row.arguments)["ref"])
        keys = {entry["key"] for entry in effects}
        acted = bool(effects)
        assert len(keys) <= 1, f"{row}: the other side could not tell that it is the same"
        assert len(effects) <= 1 or row.tool not in NEVER_TWICE, f"{row}: acted {len(effects)} times"
        assert acted or row.state is not State.SUCCEEDED, f"{row}: done, they say, and nothing has happened"
        if row.effect != "read":
            assert not acted or row.state is not State.EXPIRED, f"{row}: not done, they say, and something has happened"


def test_whatever_dies_nothing_accepted_is_lost_or_done_twice(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    seen = storm(stack, calls=20, abreast=5, kill_every=0.7, seed=1)

    with capsys.disabled():
        print(f"\n{seen}")
    check(seen)
    # Not a calm sea.
    assert seen.accepted
    assert seen.kills.total() >= 3
    assert seen.faults.total() >= 5


def test_a_call_over_a_bad_network_keeps_every_promise(stack: Stack) -> None:
    network = Network(reorder=True, jitter=(0.1, 0.4), drop=True, replay=True, skew=0.4, choose=random.Random(5))
    played, promises = demo.play(script("clinic_bypass.yaml"), stack, network)

    assert [promise for promise in promises if not promise.ok] == [], played.render()


@pytest.mark.nightly
def test_a_call_whose_workers_die_keeps_every_promise(stack: Stack) -> None:
    saboteur = Saboteur(stack.facts)
    saboteur.start()
    try:
        played, promises = demo.play(script("clinic_imported.yaml"), stack)
    finally:
        killed = saboteur.stop()

    assert killed
    assert [promise for promise in promises if not promise.ok] == [], played.render()


@pytest.mark.nightly
def test_two_hundred_calls(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    seen = storm(stack, calls=200, abreast=8, kill_every=2.0, seed=2)

    with capsys.disabled():
        print(f"\n{seen}")
    check(seen)
    assert len(seen.rows) >= 190 * len(BACKGROUND)
