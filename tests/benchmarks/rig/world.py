"""What the functions talk to: moto's AWS and the fake Vapi and Twilio, each behind TLS, with the stack's table and secrets."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from moto.server import ThreadedMotoServer

from devkit import development, facts
from devkit.fakes import Fakes
from devkit.runtime import read_env
from devkit.secrets import store_development
from layers.dependencies import roots
from tests.benchmarks.rig.front import Authority, Front

KEYS = {"pk": "S", "sk": "S", "g1pk": "S", "g1sk": "N"}
TOKEN = "t" * 700  # a session token of Lambda's is that long


class World:
    """A context manager. `env` is what a function needs to find it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.make(folder)
        self.fakes = Fakes(0)
        self._stack = ExitStack()
        self._said = 0
        self._taken = ""

    def __enter__(self) -> Self:
        self.fakes.start()
        self._stack.callback(self.fakes.stop)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        self._stack.callback(moto.stop)
        host, port = moto.get_host_and_port()
        self.plain = f"http://{host}:{port}"
        self._empty()
        self._stack.callback(self._empty)
        self.dynamodb, self.sqs, self.ssm = (facts.client(name, self.plain) for name in ("dynamodb", "sqs", "ssm"))
        upstreams = (self.plain, self.fakes.vapi.url, self.fakes.twilio.url)
        self.aws, self.vapi, self.twilio = (
            self._stack.enter_context(Front(upstream, self.authority)) for upstream in upstreams
        )
        self._make_stack()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """What a function reads, as on AWS but for the addresses; the local stage alone may talk to loopback."""
        return read_env(facts.ROOT / "events/env.json", "") | {
            "AWS_REGION": development.REGION,
            "AWS_DEFAULT_REGION": development.REGION,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "x" * 40,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_API_URL": "",
            "LIVE_QUEUE_URL": self.queues["live"],
            "AFTER_CALL_QUEUE_URL": self.queues["after-call"],
            "VAPI_API_URL": self.vapi.url,
            "TWILIO_API_URL": self.twilio.url,
            "ASSISTANT_ID": "",  # as the template has it: the agent builds one for each call
            "VOICE_BUDGET_SECONDS": "600",  # counted instructions take longer, and an apology would be another path
            "CALLER_HOURLY_CALLS": "0",
            "OUTBOUND_PREFIXES": "+1=Etc/UTC",
            "QUIET_HOURS": "",
        }

    def take(self) -> Counter[str]:
        """Requests and new connections since it was asked last, of all three.

        What is said into a call goes to the fake Vapi without TLS, as nothing else on loopback is allowed.
        """
        said, self._said = self._said, len(self.fakes.vapi.requests)
        control = [entry for entry in self.fakes.vapi.requests[said:] if entry["path"].endswith("/control")]
        counts = self.aws.take() + self.vapi.take() + self.twilio.take()
        return counts + Counter({"POST /…/control": len(control)} if control else {})

    def trust(self, opt: Path) -> None:
        """Have an unpacked function trust the certificates here, beside all that it trusts anyway."""
        bundle, folder = opt / "python/certifi/cacert.pem", opt / roots.FOLDER
        if not bundle.exists() or self.authority.root in bundle.read_text():
            return
        for file in (bundle, folder / roots.AMAZON):
            if file.exists():
                file.write_text(file.read_text() + "\n" + self.authority.root)
        if folder.is_dir():
            roots.add(folder, roots.read(bundle)[-1])

    def ticket(self) -> dict[str, Any]:
        """The next message of the live queue, as Lambda hands it to the worker; the one before is done."""
        self._delete()
        (message,) = self._receive()
        self._taken = message["ReceiptHandle"]
        return record(message, "live")

    def forget(self, pk: str) -> None:
        """Delete a partition of the table."""
        table = f"{development.STACK_NAME}-calls"
        wanted = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": pk}}}
        for item in self.dynamodb.query(TableName=table, **wanted)["Items"]:
            self.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})

    def empty_queue(self) -> None:
        """Take what the functions have sent."""
        self._delete()
        while found := self._receive():
            self._taken = found[0]["ReceiptHandle"]
            self._delete()

    def _receive(self) -> list[Any]:
        url = self.queues["live"]
        return list(self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1).get("Messages", []))

    def _delete(self) -> None:
        if self._taken:
            self.sqs.delete_message(QueueUrl=self.queues["live"], ReceiptHandle=self._taken)
        self._taken = ""

    def _empty(self) -> None:
        """All of moto's servers in a process are one AWS, and others may have been here, or come."""
        httpx.post(f"{self.plain}/moto-api/reset").raise_for_status()

    def _make_stack(self) -> None:
        keys = [{"AttributeName": name, "KeyType": kind} for name, kind in (("pk", "HASH"), ("sk", "RANGE"))]
        index = [{"AttributeName": name, "KeyType": kind} for name, kind in (("g1pk", "HASH"), ("g1sk", "RANGE"))]
        self.dynamodb.create_table(
            TableName=f"{development.STACK_NAME}-calls",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in KEYS.items()],
            KeySchema=keys,
            GlobalSecondaryIndexes=[
                {"IndexName": "open", "KeySchema": index, "Projection": {"ProjectionType": "KEYS_ONLY"}}
            ],
        )
        self.queues = {
            lane: str(self.sqs.create_queue(QueueName=f"{development.STACK_NAME}-{lane}")["QueueUrl"])
            for lane in ("live", "after-call")
        }
        store_development(self.ssm)
        self.ssm.put_parameter(
            Name=f"/switchboard/{development.STACK_NAME}/public-base-url",
            Value=development.PUBLIC_BASE_URL,
            Type="String",
        )


def record(message: Mapping[str, Any], lane: str) -> dict[str, Any]:
    """A message that was received from a lane's queue, as Lambda hands it to the worker."""
    name = f"{development.STACK_NAME}-{lane}"
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767625226001"},
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{development.REGION}:000000000000:{name}",
        "awsRegion": development.REGION,
    }


def dumps(value: Any) -> str:
    """JSON as JavaScript writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
