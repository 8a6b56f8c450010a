"""One table, two queues and the secrets on moto, made as the template makes them; everything else is the real code."""

import json
import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

import boto3
import httpx
import pytest
from moto import mock_aws

from devkit import development
from switchboard import signatures, telemetry
from switchboard.callbacks import Attendant
from switchboard.delivery import Speaker
from switchboard.desk import Agent, Caller, Desk
from switchboard.messages import Assistant, Decision, Message
from switchboard.phone import Exchange
from switchboard.queue import Queue, Ticket
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.store import Item, Key, Store
from switchboard.tools import Call, Toolbox, ToolError
from switchboard.twilio_rest import Twilio
from switchboard.vapi import Vapi
from switchboard.worker import Bench, work
from tests.conftest import Clock
from tests.remote import mocked

CALL = "c0ffee00-0000-4000-8000-000000000001"
CALLER = "+15550100001"
CALL_SID = "CA" + "a1" * 16
CONTROL = f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control"
BASE_URL = "https://voice.example.com"


class Wire:
    """Every request that really goes to AWS, by operation."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    def note(self, operation_name: str, **_: Any) -> None:
        """Called by botocore for every request that it sends, retries included."""
        self.operations.append(operation_name)

    def take(self) -> list[str]:
        """What was sent since the last look."""
        seen, self.operations = self.operations, []
        return seen


# What no line of any log may hold, whichever test writes it: a phone number, or a secret of this stack.
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}\b")


class Listener(logging.Handler):
    """Keeps every line that was logged, as the functions write it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(self.format(record))

    def indiscreet(self) -> list[str]:
        """The lines that say what no line may say."""
        secrets = development.SECRETS.values()
        return [line for line in self.lines if NUMBER.search(line) or any(secret in line for secret in secrets)]


@pytest.fixture(autouse=True)
def discreet_logs() -> Iterator[None]:
    """Fails every test that makes the package log a phone number or a secret."""
    powertools = telemetry.logger.registered_handler
    listener = Listener()
    listener.setFormatter(powertools.formatter)
    logger = logging.getLogger(telemetry.logger.name)
    logger.addHandler(listener)
    yield
    logger.removeHandler(listener)
    assert listener.indiscreet() == []


class Aws(NamedTuple):
    """Clients of the mocked services, and what they have sent."""

    dynamodb: Any
    sqs: Any
    ssm: Any
    wire: Wire


@cache
def made() -> Aws:
    """Made once: making clients is most of what such a test costs. Only inside `mock_aws` do they reach anything."""
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    return Aws(session.client("dynamodb"), session.client("sqs"), session.client("ssm"), Wire())


@pytest.fixture(scope="module")
def clients() -> Iterator[Aws]:
    """Clients of services that are mocked for a whole file: beginning with that takes longer than emptying them."""
    with mock_aws():
        yield made()


@pytest.fixture
def aws(clients: Aws, settings: Settings) -> Iterator[Aws]:
    """The services, with the table, queues and secrets of a fresh stack."""
    mock_aws().reset()
    _create(clients, settings)
    watched = clients._replace(wire=Wire())
    for client in watched[:3]:
        client.meta.events.register("request-created", watched.wire.note, unique_id="wire")
    yield watched
    for client in watched[:3]:
        client.meta.events.unregister("request-created", unique_id="wire")


def _create(aws: Aws, settings: Settings) -> None:
    aws.dynamodb.create_table(
        TableName=settings.table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "g1pk", "AttributeType": "S"},
            {"AttributeName": "g1sk", "AttributeType": "N"},
        ],
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
    for url in (settings.live_queue, settings.after_call_queue):
        aws.sqs.create_queue(QueueName=url.rpartition("/")[2])
    for name, value in development.SECRETS.items():
        text = json.dumps([{"id": "dev", "secret": value}])
        aws.ssm.put_parameter(Name=f"{settings.parameter_path}/{name}", Value=text, Type="SecureString")
    aws.ssm.put_parameter(Name=f"{settings.parameter_path}/{PUBLIC_BASE_URL}", Value=BASE_URL, Type="String")


class Ledger:
    """What the tools of the tests did to the outside world."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.fails_with: BaseException | None = None

    def act(self, what: str) -> None:
        """One effect; after it, perhaps, trouble."""
        self.effects.append(what)
        if self.fails_with:
            raise self.fails_with


class Vapis:
    """Vapi's end of live call control and `POST /call`: records, and answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[httpx.Headers] = []
        self.answer: httpx.Response | Exception = httpx.Response(200, json={})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((str(request.url), json.loads(request.content)))
        self.headers.append(request.headers)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Twilios:
    """Twilio's REST API: records, and answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: httpx.Response | Exception = httpx.Response(200, json={"status": "in-progress"})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.url.path.rpartition("/")[2], dict(parse_qsl(request.content.decode()))))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def twilios() -> Twilios:
    """Twilio's end."""
    return Twilios()


@pytest.fixture
def ledger() -> Ledger:
    """Counts effects."""
    return Ledger()


@pytest.fixture
def vapis() -> Vapis:
    """Vapi's end."""
    return Vapis()


@pytest.fixture
def tools(ledger: Ledger) -> Toolbox:
    """A tool of every kind."""
    box = Toolbox()

    @box.tool(effect="read")
    def look_up(call: Call, name: Annotated[str, "A name."]) -> str:
        """Look something up."""
        ledger.act("look_up")
        return f"Found {name}."

    @box.tool
    def book(name: Annotated[str, "A name."]) -> str:
        """Book inline, and only once."""
        ledger.act("book")
        return f"Booked {name}."

    @box.tool(effect="keyed", meanwhile="One moment, I am moving it.")
    def move(call: Call, to: Annotated[str, "Where to."]) -> str:
        """Move something, under a key."""
        if to == "nowhere":
            raise ToolError("There is no such place. Where else?")
        ledger.act(call.idempotency_key)
        return f"Moved to {to}."

    @box.tool(meanwhile="I am paying now.")
    def pay(amount: Annotated[int, "Cents."]) -> str:
        """Pay, once."""
        ledger.act("pay")
        return f"Paid {amount}."

    @box.tool(effect="read", meanwhile="I am searching.")
    def search(what: Annotated[str, "What."]) -> str:
        """Search for long."""
        ledger.act("search")
        return f"Found {what}."

    @box.tool(effect="keyed", after_call=True)
    def send(call: Call, text: Annotated[str, "Words."]) -> str:
        """Send a message afterwards."""
        ledger.act(f"send {text}")
        return "Sent."

    return box


@pytest.fixture
def agent(tools: Toolbox) -> Agent:
    """An agent that answers everybody the same."""

    def assistant(caller: Caller) -> Decision:
        return Assistant(id=development.ASSISTANT_ID, overrides={"variableValues": {"number": caller.number}})

    def destination(message: Message) -> dict[str, Any]:
        return {"type": "number", "number": "+15550100100"}

    return Agent(tools, assistant, destination)


@pytest.fixture
def store(aws: Aws, settings: Settings) -> Store:
    """The table."""
    return Store(settings.table, aws.dynamodb)


@pytest.fixture
def secrets(aws: Aws, settings: Settings, clock: Clock) -> Secrets:
    """Every secret of the stack, read once already, as a function does while it starts."""
    names = (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION)
    made = Secrets(settings.parameter_path, names, aws.ssm, clock)
    made.warm()
    aws.wire.take()
    return made


class House(NamedTuple):
    """A whole backend in one process, and ways to knock at its doors."""

    aws: Aws
    clock: Clock
    settings: Settings
    store: Store
    desk: Desk
    exchange: Exchange
    live: Bench
    after: Bench
    attendant: Attendant

    def event(self, message: dict[str, Any], **headers: str) -> dict[str, Any]:
        """A signed webhook as the HTTP API hands it over."""
        body = json.dumps({"message": message})
        signed = signatures.sign(
            self.settings.scheme,
            body.encode(),
            development.VAPI_WEBHOOK_SECRET,
            timestamp=int(self.clock() * 1000),
        )
        return {"rawPath": "/webhook/vapi", "headers": {**signed, **headers}, "body": body, "isBase64Encoded": False}

    def items(self, pk: str) -> dict[str, Item]:
        """All items of a partition, by sort key."""
        found = self.aws.dynamodb.query(
            TableName=self.settings.table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
        )
        keys = [Key(pk, item["sk"]["S"]) for item in found["Items"]]
        return {key.sk: self.store.get(key) or {} for key in keys}

    def tickets(self, bench: Bench) -> list[tuple[Ticket, str]]:
        """What waits on a lane's queue, delayed or not."""
        url = self.settings.live_queue if bench is self.live else self.settings.after_call_queue
        found = self.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        tickets = []
        for message in found.get("Messages", []):
            ticket = Ticket.read(message["Body"])
            assert ticket
            tickets.append((ticket, message["ReceiptHandle"]))
        return tickets

    def run(self, bench: Bench) -> int:
        """Work off what waits on a lane's queue, as Lambda would; returns how many tickets there were."""
        url = self.settings.live_queue if bench is self.live else self.settings.after_call_queue
        found = self.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            ticket = Ticket.read(message["Body"])
            assert ticket
            work(bench, ticket, message["ReceiptHandle"], lambda: 35.0)
            self.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found)


@pytest.fixture
def house(
    aws: Aws,
    settings: Settings,
    store: Store,
    secrets: Secrets,
    agent: Agent,
    vapis: Vapis,
    twilios: Twilios,
    clock: Clock,
) -> House:
    """The whole backend."""
    vapi = Vapi(settings.vapi_url, mocked(vapis))
    live, after = Queue(settings.live_queue, aws.sqs), Queue(settings.after_call_queue, aws.sqs)
    speaker = Speaker(store, vapi, lambda: "public-key", settings.local)
    return House(
        aws,
        clock,
        settings,
        store,
        Desk(settings, secrets, store, live, after, agent, clock),
        Exchange(settings, secrets, store, live, vapi, agent, clock),
        Bench(agent, store, live, speaker, clock),
        Bench(agent, store, after, speaker, clock),
        Attendant(
            settings, secrets, store, live, Twilio(settings.twilio_url, httpx.MockTransport(twilios)), clock=clock
        ),
    )


def message(kind: str, clock: Clock, **fields: Any) -> dict[str, Any]:
    """A message as Vapi sends it."""
    call = {
        "id": CALL,
        "orgId": "org-1",
        "type": "inboundPhoneCall",
        "customer": {"number": CALLER},
        "monitor": {"controlUrl": CONTROL},
        "phoneCallProviderId": CALL_SID,
    }
    return {"type": kind, "timestamp": int(clock() * 1000), "call": call, **fields}


def tool_call(name: str, arguments: Any, id: str = "call_1") -> dict[str, Any]:
    """One entry of `toolCallList`, as captured."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
