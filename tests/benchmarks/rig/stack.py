"""The whole stack of built functions, one environment each: HTTP API, lanes and table, with everything counted that is billed."""

import base64
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import yaml

from devkit import development, facts
from devkit.built import BUILD
from devkit.loopback import Answer, Loopback, Request
from devkit.wire import Backend, Doors
from tests.benchmarks.rig.bill import LOG_EVENT, Counted, Use
from tests.benchmarks.rig.environment import Environment
from tests.benchmarks.rig.front import Reply
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.runtime import Reading
from tests.benchmarks.rig.world import World, record
from tests.units import Meter, Raw, bytes_of, looked_up

TABLE = f"{development.STACK_NAME}-calls"
WORKERS = {"live": ("LiveToolWorkerFunction", 1), "after-call": ("AfterCallToolWorkerFunction", 5)}  # with BatchSize
SWEEPER = "SweeperFunction"
LOOK_SECONDS = 0.05
# What stands in for the values of the access log, as long as those are.
LOGGED = {"requestTimeEpoch": "1795850000000", "requestId": "abcDEFghiJKLmno=", "responseLatency": "25"}
LOGGED |= {"status": "200", "integrationStatus": "200", "integrationLatency": "23", "error.responseType": "-"}


class Template(NamedTuple):
    """What the built template says of the API and of the alarms."""

    routes: Mapping[tuple[str, str], str]
    access_log: str
    alarm_metrics: int

    @classmethod
    def read(cls) -> Self:
        """Read it."""
        resources = yaml.safe_load((facts.ROOT / BUILD / "template.yaml").read_text())["Resources"]
        routes = {
            (event["Properties"]["Method"].upper(), event["Properties"]["Path"]): name
            for name, made in resources.items()
            for event in made.get("Properties", {}).get("Events", {}).values()
            if event["Type"] == "HttpApi"
        }
        (api,) = [made for made in resources.values() if made["Type"] == "AWS::Serverless::HttpApi"]
        alarms = [made["Properties"] for made in resources.values() if made["Type"] == "AWS::CloudWatch::Alarm"]
        watched = sum(sum("MetricStat" in metric for metric in made.get("Metrics", [])) or 1 for made in alarms)
        return cls(routes, api["Properties"]["AccessLogSettings"]["Format"], watched)

    def line(self, route: str) -> int:
        """Bytes of the access log for one request."""
        known = {**LOGGED, "routeKey": route}
        return len(re.sub(r"\$context\.([A-Za-z.]+)", lambda found: known[found[1]], self.access_log)) + LOG_EVENT


class Api(Loopback):
    """The HTTP API: hands a request to its function, as the template routes it."""

    def __init__(self, template: Template, invoke: Callable[[str, Any], Any]) -> None:
        super().__init__(0)
        self.template = template
        self.sizes: list[tuple[int, int]] = []
        self.access_log = 0
        self._invoke = invoke

    def answer(self, request: Request) -> Answer:
        """Ask the function."""
        function = self.template.routes.get((request.method, request.path))
        if function is None:
            return Answer(404, {"message": "Not Found"})
        answered = self._invoke(function, event_of(request))
        text = answered.get("body") or ""
        body = base64.b64decode(text) if answered.get("isBase64Encoded") else text.encode()
        self.sizes.append((len(request.body), len(body)))
        self.access_log += self.template.line(f"{request.method} {request.path}")
        headers = {name.lower(): value for name, value in answered.get("headers", {}).items()}
        return Answer(answered["statusCode"], body, content_type=headers.get("content-type", "application/json"))


def event_of(request: Request) -> dict[str, Any]:
    """A request as payload format 2.0 has it, https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""
    form = "json" not in request.headers.get("content-type", "")
    body = base64.b64encode(request.body).decode() if form else request.body.decode()
    http = {"method": request.method, "path": request.path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"}
    return {
        "version": "2.0",
        "routeKey": f"{request.method} {request.path}",
        "rawPath": request.path,
        "rawQueryString": "",
        "headers": dict(request.headers),
        "requestContext": {"http": http, "timeEpoch": int(request.at * 1000), "stage": "$default"},
        "body": body,
        "isBase64Encoded": form,
    }


class Mark(NamedTuple):
    """Where an environment stood."""

    invocations: int = 0
    reading: Reading = Reading()
    log: int = 0

    @classmethod
    def of(cls, environment: Environment) -> Self:
        """Now."""
        return cls(environment.invocations, environment.reading(), len(environment.logged()))


class Counting:
    """What was counted, once it is over."""

    def __init__(self) -> None:
        self.counted = Counted()


class Stack:
    """A context manager. Functions start when they are needed first, and stay."""

    def __init__(self, rig: Rig, world: World) -> None:
        self.template = Template.read()
        self.environments: dict[str, Environment] = {}
        self.batches = 0
        self._rig, self._world = rig, world
        self._api = Api(self.template, self.invoke)
        self._meter = Meter(lambda key: looked_up(world.dynamodb, TABLE, key))
        self._asked: Counter[str] = Counter()
        self._sent = 0
        self._opening, self._asking = threading.Lock(), threading.Lock()
        self._over = threading.Event()
        self._busy = {lane: threading.Lock() for lane in WORKERS}
        self._stack = ExitStack()
        self._pollers = [threading.Thread(target=self._poll, args=(lane,), daemon=True) for lane in WORKERS]

    def __enter__(self) -> Self:
        self._world.aws.watch = self._aws
        self._world.vapi.watch = self._world.twilio.watch = self._elsewhere
        self._stack.enter_context(self._api)
        for poller in self._pollers:
            poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for poller in self._pollers:
            poller.join()
        self._stack.close()

    def backend(self) -> Backend:
        """The API for whoever plays a call."""
        return Backend(self._api.url, development.PUBLIC_BASE_URL.removeprefix("http://"))

    def doors(self) -> Doors:
        """Of the fake Vapi and Twilio."""
        return Doors(self._world.fakes.vapi.url, self._world.fakes.twilio.url)

    def invoke(self, function: str, event: Any) -> Any:
        """Have a function answer an event."""
        return self.environment(function).invoke(event)

    def environment(self, function: str) -> Environment:
        """A function's only environment."""
        with self._opening:
            if function not in self.environments:
                made = Environment(self._rig.runtime, self._rig.artefact(function), self._world.env)
                self.environments[function] = self._stack.enter_context(made)
            return self.environments[function]

    def sweep(self) -> None:
        """What happens once a minute."""
        self.invoke(SWEEPER, {"source": "aws.events"})

    def starts(self) -> dict[str, float]:
        """Seconds of CPU that each function took to start."""
        return {name: made.init.cpu for name, made in self.environments.items()}

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until nothing waits on a queue, and nobody works on it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._quiet():
            time.sleep(LOOK_SECONDS)

    def stored(self, *pks: str) -> int:
        """Bytes of whole partitions."""
        found = self._world.dynamodb.scan(TableName=TABLE)["Items"]
        return sum(bytes_of(item) for item in found if item["pk"]["S"] in pks)

    def bring_forward(self, pk: str) -> None:
        """What is open of a partition is due at once."""
        key = {"pk": {"S": pk}, "sk": {"S": "META"}}
        values = {":due": {"N": str(int(time.time()) - 1)}}
        self._world.dynamodb.update_item(
            TableName=TABLE, Key=key, UpdateExpression="SET g1sk = :due", ExpressionAttributeValues=values
        )

    @contextmanager
    def counting(self) -> Iterator[Counting]:
        """Count what happens inside; it is there when it is over."""
        begun, at = {name: Mark.of(made) for name, made in self.environments.items()}, time.monotonic()
        self._meter.take()
        self._world.take()
        self._asked.clear()
        del self._api.sizes[:]
        self._sent = self._api.access_log = self.batches = 0
        made = Counting()
        yield made
        uses = [use for name, each in self.environments.items() if (use := _use(each, begun[name])).invocations]
        spent = self._meter.take()
        control = {name: number for name, number in self._world.take().items() if name.endswith("/control")}
        made.counted = Counted(
            seconds=time.monotonic() - at,
            uses=uses,
            api=list(self._api.sizes),
            access_log=self._api.access_log,
            asked=self._asked + Counter(control),
            reads=sum(each.reads for each in spent),
            writes=sum(each.writes for each in spent),
            batches=self.batches,
            sent=self._sent,
        )

    def _aws(self, name: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        """One request at a time, so that what stood there before is surely that."""
        service, _, operation = name.partition(".")
        replies: list[Reply] = []

        def answered() -> Raw:
            replies.append(send())
            status, _, content = replies[0]
            found: Raw = json.loads(content) if status == 200 else {}
            return found

        with self._asking:
            self._asked[name] += 1
            if service == "DynamoDB":
                self._meter.through(operation, json.loads(body), answered)
            else:
                answered()
        return replies[0]

    def _elsewhere(self, name: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        with self._asking:
            self._asked[name] += 1
            self._sent += len(body)
        return send()

    def _poll(self, lane: str) -> None:
        """Lambda's side of a lane."""
        function, most = WORKERS[lane]
        url = self._world.queues[lane]
        while not self._over.wait(LOOK_SECONDS):
            with self._busy[lane]:
                found = self._world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most).get("Messages", [])
                if not found:
                    continue
                self.batches += 1
                answered = self.invoke(function, {"Records": [record(message, lane) for message in found]})
                failed = {failure["itemIdentifier"] for failure in answered["batchItemFailures"]}
                for message in found:
                    if message["MessageId"] not in failed:
                        self._world.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _quiet(self) -> bool:
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        for lane, url in self._world.queues.items():
            with self._busy[lane]:
                found = self._world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            if any(int(found[name]) for name in names):
                return False
        return True


def _use(environment: Environment, since: Mark) -> Use:
    artefact = environment.artefact
    used = environment.reading().cpu - since.reading.cpu
    lines = [line for line in environment.logged(since.log).decode().splitlines() if line.strip()]
    return Use(artefact.name, artefact.memory, environment.invocations - since.invocations, used, lines)
