"""A payload carries secrets, so what may be kept of it is a list. A canary sits in every field, and only there it sings.

Every text of every message, form, event and remote answer is a canary of its own, also in fields that do not exist. Then
everything that leaves a function is searched: log lines, metrics, queues, the event bus, and the whole table. What is
found has to be on a list below, and what is on a list has to be found: neither can go stale.
"""

import base64
import copy
import importlib.util
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from agent import calendar as clinic
from devkit import development, events, facts
from switchboard import aws as seam
from switchboard import https, line, phone, telemetry, webhook
from switchboard.secrets import PUBLIC_BASE_URL
from switchboard.settings import Settings
from switchboard.tools import Toolbox
from tests import recorded
from tests.cage import Cage, Found
from tests.conftest import NOW
from tests.integration.conftest import Aws, House, Ledger, Listener, Vapis, _create
from tests.integration.test_leaks import Written
from tests.integration.test_phone import event as phone_event
from tests.remote import mocked

EVENTS = facts.ROOT / "events"
TOOLS = {"look_up", "search", "book", "pay", "move", "send", "fly", "leak"}


class Outside:
    """Everything that left for SQS and the event bus, as the client was told to send it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    """Listens at the one function that all requests to AWS pass through."""
    made = Outside()
    original: Callable[..., Any] = BaseClient._make_api_call  # type: ignore[attr-defined]  # private, and the only one

    def call(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation in ("SendMessage", "SendMessageBatch", "PutEvents", "PutMetricData"):
            made.sent.append((operation, json.dumps(parameters, default=str)))
        return original(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return made


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """What the functions log and count."""
    # One line a second, and the second is shared with other tests.
    for module in (line, webhook):
        monkeypatch.setattr(module, "refusals", telemetry.Seldom())
    handler, level = telemetry.logger.registered_handler, telemetry.logger.log_level
    made = Written(capsys)
    original = handler.setStream(made.log)  # type: ignore[attr-defined]  # Powertools' own, a stream handler
    telemetry.logger.setLevel("DEBUG")
    yield made
    telemetry.logger.setLevel(level)
    handler.setStream(original)  # type: ignore[attr-defined]  # as above


def seen(cage: Cage, aws: Aws, table: str, outside: Outside, written: Written) -> set[Found]:
    """Every canary that is anywhere now."""
    sinks = [("log", written.text()), *outside.sent]
    for item in aws.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]:
        kind = "/".join(re.split("[#:]", item[name]["S"])[0] for name in ("pk", "sk"))
        sinks += [(f"{kind}.{name}", str(value)) for name, value in item.items()]
    return {one for sink, text in sinks for one in cage.found(text, sink)}


def check(found: set[Found], allowed: Mapping[str, set[str]]) -> None:
    """What was found is on the list, and the list holds nothing that was not found."""
    listed = {Found(place, sink) for place, sinks in allowed.items() for sink in sinks}

    assert sorted(found - listed) == []
    assert sorted(listed - found) == []


TOOL_ID = {"CALL/TOOL.sk", "SendMessage"}
# Where each field of a call's messages may be seen again. All others nowhere.
ALLOWED: dict[str, set[str]] = {
    # What was said: transcripts are kept for a day, unless that is switched off.
    "transcript": {"CALL/TR.words"},
    # What the model asked for, and what our own tools made of it.
    "toolCallList[].function.arguments.name": {"CALL/TOOL.arguments", "CALL/TOOL.result"},
    "toolCallList[].function.arguments.what": {"CALL/TOOL.arguments", "CALL/TOOL.result"},
    "toolCallList[].function.arguments.to": {"CALL/TOOL.arguments", "CALL/TOOL.result"},
    "toolCallList[].function.arguments.text": {"CALL/TOOL.arguments"},
    "functionCall.parameters.name": {"CALL/TOOL.arguments", "CALL/TOOL.result"},
    # Whose call it is: tools act for the caller, and this agent's answer, kept for ten minutes, holds the number.
    "call.customer.number": {"CALL/TOOL.caller", "CALL/ANSWER.answer"},
    # The host at which the call can be spoken to, never the URL, until the call ends.
    "call.monitor.controlUrl": {"CALL/TOOL.control_host"},
    # Ids of tool calls: the keys of their rows, and all that a queue carries.
    "toolCallList[].id": TOOL_ID,
    "toolCalls[].id": TOOL_ID,
    # Why the call ended, and what Vapi's own analysis says of it.
    "endedReason": {"CALL/META.ended_reason", "CALL/REPORT.ended_reason"},
    "analysis.summary": {"CALL/REPORT.summary"},
    "analysis.successEvaluation": {"CALL/REPORT.successEvaluation"},
}


def keep(place: str, text: str) -> bool:
    """What stays as it is in the messages of a call: its own id, the names of tools, and the id that hooks use."""
    return place == "call.id" or text == "hook-function-call" or (place.endswith(".name") and text in TOOLS)


def tell(house: House, bodies: list[dict[str, Any]]) -> None:
    """Send messages, and let the workers do what is to be done."""
    for body in bodies:
        assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200
        house.run(house.live)
    house.run(house.after)
    telemetry.metrics.flush_metrics()


def messages(cage: Cage) -> list[dict[str, Any]]:
    """The recorded call, and messages of more kinds, all planted."""
    told = recorded.messages(NOW)
    more: list[dict[str, Any]] = [
        {"type": "phone-call-control", "request": "x", "destination": {"type": "number", "number": "x"}},
        {"type": "chat.created", "chat": {"id": "x", "messages": [{"role": "user", "content": "x"}]}},
        {"type": "session.updated", "session": {"id": "x"}},
        {"type": "call.artifact.upload", "artifacts": [{"type": "log", "url": "x"}]},
        {"type": "campaign.predial", "campaignId": "x", "contact": {"number": "x"}},
        {"type": "voice-request", "text": "x", "sampleRate": 24000},
        {"type": "status-update", "status": "not-found", "inboundPhoneCallDebuggingArtifacts": {"error": "x"}},
    ]
    credentials = {
        "server": {"url": "x", "secret": "x", "headers": {"authorization": "x"}, "credentialId": "x"},
        "credentials": [{"provider": "openai", "apiKey": "x"}],
        "model": {"headers": {"x": "x"}, "messages": [{"role": "system", "content": "x"}], "tools": [{"server": {}}]},
    }
    late = {
        "messages": [{"role": "user", "message": "x"}],
        "transcript": "x",
        "summary": "x",
        "recordingUrl": "x",
        "stereoRecordingUrl": "x",
    }
    made = []
    body: dict[str, Any]
    for body in [*told, *({"timestamp": told[0]["timestamp"], "call": recorded.call(), **body} for body in more)]:
        body = copy.deepcopy(body) | {"assistant": credentials}
        body["call"] |= {"metadata": {"tenant": "x"}, "assistantOverrides": {"variableValues": {"name": "x"}}}
        body["artifact"] = {
            **body.get("artifact", {}),
            "presignedMonoUrl": "x",
            "recording": {"mono": {"combinedUrl": "x"}},
        }
        if body["type"] == "end-of-call-report":
            body |= late
        made.append(cage.planted(body))
    invented = cage.planted({"call": recorded.call()})
    return [*made, invented | {"type": cage.canary("type")}]


def test_a_whole_call_leaves_only_what_is_on_the_list(
    house: House, aws: Aws, outside: Outside, written: Written, ledger: Ledger
) -> None:
    house.clock.now = NOW + 60
    cage = Cage(keep)
    told = messages(cage)
    assert len(told) >= 50
    assert len(cage.places) > 2000
    tell(house, told)

    assert len(ledger.effects) >= 8
    assert len(outside.sent) >= 5
    check(seen(cage, aws, house.settings.table, outside, written), ALLOWED)


def test_trouble_leaves_no_more_than_that(
    house: House, aws: Aws, outside: Outside, written: Written, tools: Toolbox, ledger: Ledger, vapis: Vapis
) -> None:
    """Tools, the agent and Vapi fail with canaries in what they say, on top of those in the messages."""
    house.clock.now = NOW + 60
    cage = Cage(keep)

    def fail(_: object) -> Any:
        raise RuntimeError(cage.canary("the agent's error"))

    @tools.tool(effect="read")
    def leak() -> str:
        """Fail with what was said."""
        raise RuntimeError(cage.canary("a tool's error"))

    agent = house.desk.agent._replace(
        assistant=fail, destination=fail, answers=dict.fromkeys(webhook.EMPTY_ANSWERS, fail)
    )
    failing = house._replace(desk=house.desk._replace(agent=agent), exchange=house.exchange._replace(agent=agent))
    ledger.fails_with = RuntimeError(cage.canary("a tool's error"))
    vapis.answer = httpx.Response(500, text=cage.canary("Vapi's answer"), headers={"x-a": cage.canary("Vapi's header")})
    bodies = messages(cage)
    calls = [body for body in bodies if body["type"] == "tool-calls"]
    calls[0]["toolCallList"].append({"id": "call_leak", "function": {"name": "leak", "arguments": {}}})
    tell(failing, bodies)
    answers = [phone.answer_call(failing.exchange, phone_event(**forms)) for forms in form_variants(cage)]
    assert {answer["statusCode"] for answer in answers} == {200, 403}
    aws.dynamodb.delete_table(TableName=house.settings.table)
    for body in bodies:
        assert webhook.respond(failing.desk, failing.event(body))["statusCode"] in (200, 503)
    telemetry.metrics.flush_metrics()
    text = written.text()

    said = {json.loads(line).get("message") for line in text.splitlines() if line.startswith("{")}
    assert {
        "inline tool failed",
        "tool attempt failed",
        "the agent could not choose an assistant",
        "the agent could not answer",
        "a caller did not reach the assistant",
        "phone request refused",
        "answered without a handler",
    } <= said
    assert cage.found(text, "log") == set()
    sent = {one.place for operation, text in outside.sent for one in cage.found(text, operation)}
    assert sent == {"toolCallList[].id", "toolCalls[].id"}


def form_variants(cage: Cage) -> list[dict[str, str]]:
    """Inbound calls with a canary in every field that Twilio sends, one of them wrongly signed."""
    fields = (
        "From",
        "To",
        "Caller",
        "Called",
        "CallerName",
        "FromCity",
        "ForwardedFrom",
        "StirVerstat",
        "SipHeader_X-A",
    )
    planted = {field: cage.canary(f"form.{field}") for field in fields}
    return [
        planted | {"CallSid": "CA" + "5" * 32},
        planted | {"CallSid": "CA" + "6" * 32, "token": cage.canary("token")},
        planted | {"CallSid": cage.canary("form.CallSid")},
    ]


# The functions as they are deployed, fed with the committed events.
FILES = sorted(path for path in EVENTS.glob("*/*.json"))
FUNCTIONS = sorted({path.parent.name for path in FILES})


class Deployed(NamedTuple):
    """All functions in this process, on moto."""

    aws: Aws
    table: str
    handlers: dict[str, Callable[[dict[str, Any], Any], Any]]
    vapis: Vapis


class Context:
    """What Lambda hands to a function beside the event, as far as ours look at it."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Enough."""
        return 35_000


@pytest.fixture
def deployed(clients: Aws, monkeypatch: pytest.MonkeyPatch, vapis: Vapis) -> Iterator[Deployed]:
    """The functions of the template, loaded as Lambda loads them, with the environment of events/env.json."""
    for name, value in json.loads((EVENTS / "env.json").read_text())["Parameters"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_API_URL", "")
    monkeypatch.setenv("AWS_REGION", development.REGION)
    monkeypatch.setenv(seam.CLIENT_VARIABLE, seam.BOTOCORE)  # moto stands in for AWS inside botocore, and nowhere else
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(clinic, "ANSWER_SECONDS", 0)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: vapis(request))
    monkeypatch.setattr(https.Sender, "__call__", lambda _, request: mocked(vapis)(request))
    caches = (seam.client, clinic.calendar)
    for cached in caches:
        cached.cache_clear()
    with mock_aws():
        settings = Settings.from_env(json.loads((EVENTS / "env.json").read_text())["Parameters"])
        _create(clients, settings)
        clients.ssm.put_parameter(
            Name=f"{settings.parameter_path}/{PUBLIC_BASE_URL}",
            Value=development.PUBLIC_BASE_URL,
            Type="String",
            Overwrite=True,
        )
        yield Deployed(clients, settings.table, {name: _handler(name) for name in FUNCTIONS}, vapis)
    for cached in caches:
        cached.cache_clear()


def _handler(name: str) -> Callable[[dict[str, Any], Any], Any]:
    spec = importlib.util.spec_from_file_location(f"canaries_{name}", facts.ROOT / "functions" / name / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[dict[str, Any], Any], Any] = module.handler
    return handler


KEPT_HEADERS = ("x-signature", "x-timestamp", "x-twilio-signature")
KEPT_FIELDS = ("AccountSid", "CallSid", "CallStatus", "SequenceNumber", "CallDuration")
KEPT_PARTS = ("rawPath", "rawQueryString", "isBase64Encoded")


def keep_of_events(place: str, text: str) -> bool:
    """What stays as it is in the events: what tickets and tools need to find one another."""
    name = place.rpartition(".")[2]
    return place == "call.id" or text.startswith(("call_", "apt_")) or name in ("eventSourceARN", "start", "name")


def planted_event(cage: Cage, path: Path) -> dict[str, Any]:
    """An event with canaries in its envelope and in its body, signed again unless its signature is wrong on purpose."""
    event = events.read(path)
    body = events.body(event).decode()
    made: dict[str, Any] = cage.planted(event, "event")
    made |= {name: event[name] for name in KEPT_PARTS if name in event}
    if "headers" not in event:
        for record, original in zip(made.get("Records", []), event.get("Records", []), strict=True):
            record["body"] = original["body"].replace("{", f'{{"unpublished":"{cage.canary("ticket")}",', 1)
            record["attributes"]["ApproximateReceiveCount"] = "1"
        return made
    made["headers"] |= {name: event["headers"][name] for name in KEPT_HEADERS if name in event["headers"]}
    if path.name.startswith(events.FORGED) or not events.is_signed(event):
        made["body"] = event.get("body", "")
        return made
    if event["rawPath"] == "/webhook/vapi":
        planted = body.replace("NaN", f'NaN,"unpublished":"{cage.canary("no JSON")}"')
        if "NaN" not in body:
            planted = json.dumps({"message": cage.planted(json.loads(body)["message"])})
    else:
        pairs = parse_qsl(body, keep_blank_values=True)
        form = {name: value if name in KEPT_FIELDS else cage.canary(f"form.{name}") for name, value in pairs}
        planted = urlencode(form | {"Unpublished": cage.canary("form.Unpublished")})
    text = base64.b64encode(planted.encode()).decode() if event["isBase64Encoded"] else planted
    return events.sign(made | {"body": text})


# Vapi's side of the bypass: an answer of which only the call's id, its control host and the TwiML mean anything.
def created(cage: Cage) -> httpx.Response:
    """Vapi's answer to `POST /call`."""
    call = cage.planted({"assistantId": "x", "customer": {"number": "x"}, "monitor": {"listenUrl": "x"}}, "created")
    call["id"] = "00000000-0000-4000-8000-0000000000fe"
    call["monitor"]["controlUrl"] = f"https://{cage.canary('created.controlUrl')}.vapi.ai/{call['id']}/control"
    call["phoneCallProviderDetails"] = {"twiml": f"<Response><!--{cage.canary('created.twiml')}--></Response>"}
    return httpx.Response(201, json=call)


# Where each field of the events may be seen again.
ALLOWED_OF_EVENTS: dict[str, set[str]] = {
    "transcript": {"CALL/TR.words"},
    "call.customer.number": {"CALL/TOOL.caller"},
    "call.monitor.controlUrl": {"CALL/TOOL.control_host"},
    "endedReason": {"CALL/META.ended_reason", "CALL/REPORT.ended_reason"},
    "analysis.summary": {"CALL/REPORT.summary"},
    "analysis.successEvaluation": {"CALL/REPORT.successEvaluation"},
    # Twilio may ask again, and is then given the same document; and the new call's host is kept until it ends.
    "created.twiml": {"SID/META.twiml"},
    "created.controlUrl": {"CALL/META.control_host"},
    # The owner's own number, which a transfer shows to the person who is called; and the name of a message to fetch.
    "form.To": {"SID/META.dialled"},
    "form.RecordingSid": {"PutEvents"},
}


def test_no_function_leaves_more_of_an_event_than_is_on_the_list(
    deployed: Deployed, outside: Outside, written: Written
) -> None:
    cage = Cage(keep_of_events)
    deployed.vapis.answer = created(cage)
    statuses: Counter[int] = Counter()
    for path in FILES:
        answer = deployed.handlers[path.parent.name](planted_event(cage, path), Context())
        statuses[answer.get("statusCode", 0)] += 1

    # Each was taken for what it is: only what is forged, stale or no JSON was refused, and nothing was down. A canary is
    # no token, and no page of ours, so whatever the console is asked is refused as well.
    assert len(FILES) >= 35
    refused = [path for path in FILES if re.match("forged|stale|not_json", path.name) or path.parent.name == "console"]
    assert statuses[400] + statuses[401] + statuses[403] == len(refused)
    assert set(statuses) == {0, 200, 204, 400, 401, 403, 404}
    assert len(cage.places) > 1000
    assert len(outside.sent) >= 3
    check(seen(cage, deployed.aws, deployed.table, outside, written), ALLOWED_OF_EVENTS)


@pytest.mark.parametrize("text", [recorded.CALLER, *development.SECRETS.values()])
def test_the_logs_of_every_other_test_are_searched_too(text: str) -> None:
    logger = logging.getLogger(telemetry.logger.name)
    [listener] = [handler for handler in logger.handlers if isinstance(handler, Listener)]
    telemetry.log("something happened", call_id="c-1", code=f"{text}.")

    [line] = listener.indiscreet()
    assert text in line
    listener.lines.clear()
