"""Every event file, handed to the built function under Lambda's own runtime client and emulator.

What events/README.md says is what is expected here. AWS is moto's server, Vapi the fake one; nothing else is replaced.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from moto.server import ThreadedMotoServer

from devkit import development, events, runtime
from devkit.runtime import Function
from devkit.server_messages import CANARY
from devkit.vapi_fake import VapiFake
from switchboard.secrets import PUBLIC_BASE_URL
from switchboard.store import Item, Key, Store

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
FILES = sorted(str(path.relative_to(EVENTS)) for path in EVENTS.glob("*/*.json"))
# File -> what the function answers; "…" stands for anything.
DOCUMENTED = dict(re.findall(r"^\| `([^`]+)` \| .+ \| `([^`]+)` \|$", (EVENTS / "README.md").read_text(), re.MULTILINE))
FUNCTIONS = {
    "vapi_webhook": "VapiWebhookFunction",
    "twilio_voice": "TwilioVoiceFunction",
    "twilio_callbacks": "TwilioCallbacksFunction",
    "voice_fallback": "VoiceFallbackFunction",
    "health": "HealthFunction",
    "console": "ConsoleFunction",
    "outbound": "OutboundFunction",
    "web_client": "WebClientFunction",
    "sweeper": "SweeperFunction",
    f"{development.STACK_NAME}-live": "LiveToolWorkerFunction",
    f"{development.STACK_NAME}-after-call": "AfterCallToolWorkerFunction",
}
QUEUES = ("LIVE_QUEUE_URL", "AFTER_CALL_QUEUE_URL")
REFUSED = [name for name, answer in DOCUMENTED.items() if answer.startswith("4")]
IGNORED = [
    f"vapi_webhook/{kind}.json" for kind in ("hang", "conversation_update", "unknown_type", "partial_transcript")
]
CALL = "00000000-0000-4000-8000-00000000ca11"
CALLER = "+12025550143"


class Backend:
    """Functions started when first wanted, and the services that they see, as a fresh local stack has them."""

    def __init__(self, endpoint: str, vapi: VapiFake) -> None:
        self.vapi = vapi
        given = runtime.read_env(EVENTS / "env.json", "")
        self.table, self.path = given["TABLE_NAME"], given["PARAMETER_PATH"]
        self.dynamodb, self.sqs, ssm = (_client(service, endpoint) for service in ("dynamodb", "sqs", "ssm"))
        self.store = Store(self.table, self.dynamodb)
        self._create_table()
        queues = {name: self._create_queue(given[name]) for name in QUEUES}
        for name, secret in development.SECRETS.items():
            text = json.dumps([{"id": "development", "secret": secret}])
            ssm.put_parameter(Name=f"{self.path}/{name}", Value=text, Type="SecureString")
        ssm.put_parameter(Name=f"{self.path}/{PUBLIC_BASE_URL}", Value=development.PUBLIC_BASE_URL, Type="String")
        self.env = {**given, **queues, "AWS_API_URL": endpoint, "VAPI_API_URL": vapi.url}
        self._running: dict[str, Function] = {}

    def _create_table(self) -> None:
        keys = {"pk": "HASH", "sk": "RANGE"}
        self.dynamodb.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            AttributeDefinitions=[
                *({"AttributeName": name, "AttributeType": "S"} for name in (*keys, "g1pk")),
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

    def _create_queue(self, url: str) -> str:
        return str(self.sqs.create_queue(QueueName=url.rpartition("/")[2])["QueueUrl"])

    def invoke(self, name: str, event: dict[str, Any] | None = None) -> Any:
        """Give a file, or a variant of it, to its function."""
        event = event or events.read(EVENTS / name)
        return self.function(name).invoke(event)

    def function(self, name: str) -> Function:
        """The function that a file is for."""
        logical = FUNCTIONS[_owner(name)]
        if logical not in self._running:
            self._running[logical] = Function(logical, env=self.env)
        return self._running[logical]

    def items(self) -> dict[Key, Item]:
        """Everything in the table."""
        found = self.dynamodb.scan(TableName=self.table, ProjectionExpression="pk, sk")["Items"]
        keys = [Key(item["pk"]["S"], item["sk"]["S"]) for item in found]
        return {key: self.store.get(key) or {} for key in keys}

    def appointment(self) -> Item:
        """The caller's appointment."""
        return next(item for key, item in self.items().items() if key.pk == "AGENT#calendar")

    def ticket(self, queue: str) -> dict[str, Any]:
        """The message that waits on a queue of that setting; it must be the only one."""
        (message,) = self.sqs.receive_message(QueueUrl=self.env[queue], MaxNumberOfMessages=10)["Messages"]
        return dict(message)

    def forget(self) -> None:
        """Empty the table, the queues and the fake's records."""
        for pk, sk in self.items():
            self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        for name in QUEUES:  # a queue can be purged once a minute only
            self.sqs.delete_queue(QueueUrl=self.env[name])
            self._create_queue(self.env[name])
        self.vapi.requests.clear()

    def logs(self) -> str:
        """What all functions that ran have logged."""
        return "".join(function.logs() for function in self._running.values())

    def close(self) -> None:
        """End the functions."""
        for function in self._running.values():
            function.close()


def _client(service: str, endpoint: str) -> Any:
    return boto3.client(  # type: ignore[call-overload] # the overloads want a literal
        service,
        endpoint_url=endpoint,
        region_name=development.REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def _owner(name: str) -> str:
    """The folder, or for the two functions of one code the queue."""
    folder = name.partition("/")[0]
    if folder != "tool_worker":
        return folder
    return str(events.read(EVENTS / name)["Records"][0]["eventSourceARN"].rpartition(":")[2])


@pytest.fixture(scope="module")
def running() -> Iterator[Backend]:
    """The services, for all tests of this module: starting a function is what takes time."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    vapi = VapiFake()
    vapi.start()
    host, port = moto.get_host_and_port()
    backend = Backend(f"http://{host}:{port}", vapi)
    try:
        yield backend
    finally:
        backend.close()
        vapi.stop()
        moto.stop()


@pytest.fixture
def backend(running: Backend) -> Backend:
    """The same, with nothing remembered."""
    running.forget()
    return running


def shown(answer: dict[str, Any]) -> str:
    """An answer as the README writes it."""
    if "statusCode" in answer:
        return f"{answer['statusCode']} {answer.get('body', '')}".rstrip()
    return json.dumps(answer, separators=(",", ":"))


@pytest.mark.parametrize("name", FILES)
def test_each_event_is_answered_as_the_readme_says(name: str, backend: Backend) -> None:
    said = shown(backend.invoke(name))

    assert re.fullmatch(".*".join(map(re.escape, DOCUMENTED[name].split("…"))), said, re.DOTALL), said


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_request_writes_nothing(name: str, backend: Backend) -> None:
    backend.invoke(name)

    assert backend.items() == {}


@pytest.mark.parametrize("name", IGNORED)
def test_an_ignored_message_writes_nothing(name: str, backend: Backend) -> None:
    backend.invoke(name)

    assert backend.items() == {}


class Story(NamedTuple):
    """How far a background tool has come: the worker's event, with what SQS really said about the message."""

    event: dict[str, Any]
    ticket: dict[str, Any]


def accepted(backend: Backend) -> Story:
    """The appointment is known, and the change of it waits on the queue."""
    backend.vapi.calls[CALL] = {"id": CALL, "status": "in-progress"}
    backend.invoke("vapi_webhook/tool_call.json")
    asked = events.read(EVENTS / "vapi_webhook/tool_call_background.json")
    asked["body"] = asked["body"].replace(f"127.0.0.1:{development.PORT + 1}", f"127.0.0.1:{backend.vapi.port}")
    backend.invoke("vapi_webhook/tool_call_background.json", events.sign(asked))
    ticket = backend.ticket("LIVE_QUEUE_URL")
    work = events.read(EVENTS / "tool_worker/background_tool.json")
    work["Records"][0]["receiptHandle"] = ticket["ReceiptHandle"]
    return Story(work, ticket)


def test_the_workers_ticket_is_the_one_that_the_webhook_sent(backend: Backend) -> None:
    story = accepted(backend)

    assert story.ticket["Body"] == story.event["Records"][0]["body"]
    assert story.ticket["MD5OfBody"] == story.event["Records"][0]["md5OfBody"]


def test_a_background_tool_acts_once_and_its_result_is_given_to_the_call_once(backend: Backend) -> None:
    story = accepted(backend)

    first = backend.invoke("tool_worker/background_tool.json", story.event)
    again = backend.invoke("tool_worker/redelivered.json")

    assert first == again == {"batchItemFailures": []}
    assert backend.appointment()["changes"] == 1
    (spoken,) = [request["body"]["message"]["content"] for request in backend.vapi.requests]
    assert "The appointment is now on Thursday, June 4 at 3:00 PM." in spoken


def test_a_ticket_whose_receipt_is_no_longer_good_is_worked_off_all_the_same(backend: Backend) -> None:
    story = accepted(backend)
    backend.sqs.delete_message(QueueUrl=backend.env["LIVE_QUEUE_URL"], ReceiptHandle=story.ticket["ReceiptHandle"])

    assert backend.invoke("tool_worker/background_tool.json") == {"batchItemFailures": []}
    assert backend.appointment()["changes"] == 1


def test_an_after_call_tool_waits_for_the_end_of_the_call_and_acts_once(backend: Backend) -> None:
    backend.invoke("vapi_webhook/tool_call.json")
    backend.invoke("vapi_webhook/tool_call_after_call.json")
    assert "Messages" not in backend.sqs.receive_message(QueueUrl=backend.env["AFTER_CALL_QUEUE_URL"])
    backend.invoke("vapi_webhook/status_ended.json")
    ticket = backend.ticket("AFTER_CALL_QUEUE_URL")
    work = events.read(EVENTS / "tool_worker/after_call_batch.json")
    work["Records"][0]["receiptHandle"] = ticket["ReceiptHandle"]

    for _ in range(2):
        assert backend.invoke("tool_worker/after_call_batch.json", work) == {"batchItemFailures": []}

    assert ticket["Body"] == work["Records"][0]["body"]
    assert backend.appointment()["confirmations"] == 1


def test_a_phone_that_is_answered_twice_gets_the_same_answer_and_makes_one_call(backend: Backend) -> None:
    answers = [backend.invoke("twilio_voice/incoming_call.json") for _ in range(2)]

    assert answers[0] == answers[1]
    assert [request["path"] for request in backend.vapi.requests] == ["/call"]


def test_what_a_call_leaves_in_the_table_expires(backend: Backend) -> None:
    for name in ("tool_call", "tool_call_after_call", "final_transcript", "end_of_call_report"):
        backend.invoke(f"vapi_webhook/{name}.json")
    of_call = {key.sk.partition("#")[0]: item for key, item in backend.items().items() if key.pk == f"CALL#{CALL}"}

    assert of_call.keys() == {"META", "TOOL", "TR", "REPORT"}
    assert all(item["exp"] > 0 for item in of_call.values())


def test_no_log_holds_a_number_a_word_a_secret_or_a_control_url(backend: Backend) -> None:
    story = accepted(backend)
    backend.invoke("tool_worker/background_tool.json", story.event)
    for name in FILES:
        backend.invoke(name)
    logs = backend.logs()

    assert "leg status" in logs  # these are the logs
    for private in (CALLER, CALLER[1:], "appointment is", "Thursday", "Wait, I need", "/control", CANARY):
        assert private not in logs
    for secret in development.SECRETS.values():
        assert secret not in logs
