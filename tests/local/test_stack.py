"""The local stack itself: as true as it claims to be, on loopback only, and gone when it is stopped."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devkit import curl, development, facts, wiring
from devkit.errors import UserError
from devkit.stack import Stack
from switchboard import waking
from switchboard.signatures import PRESETS, sign
from tests.local.conftest import Probe, free_port, held, is_free, wait_for

TABLE = f"{development.STACK_NAME}-calls"
# What a function may do is asked by doing it: the answer is an error code, or `allowed`.
ATTEMPT = """
import boto3, botocore.exceptions
def attempt(service, operation, **arguments):
    try:
        getattr(boto3.client(service), operation)(**arguments)
        return "allowed"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
"""
SECRETS = f"/switchboard/{development.STACK_NAME}"


def test_health_answers(stack: Stack) -> None:
    status, body = stack.request("GET", "/health")

    assert (status, json.loads(body)["status"]) == (200, "ok")


def test_a_signed_webhook_is_answered_and_an_unsigned_one_is_not(stack: Stack) -> None:
    now = int(time.time())
    body = json.dumps(curl.tool_call(now)).encode()
    headers = sign(PRESETS["vapi-hmac"], body, development.VAPI_WEBHOOK_SECRET, timestamp=now)
    kind = {"content-type": "application/json"}

    status, answer = stack.request("POST", "/webhook/vapi", body, headers | kind)
    assert status == 200
    assert "Appointment" in json.loads(answer)["results"][0]["result"]
    assert stack.request("POST", "/webhook/vapi", body, kind)[0] == 401


def test_the_fallback_url_answers_without_the_api(stack: Stack) -> None:
    url = urlsplit(stack.facts["function_urls"]["VoiceFallbackFunction"])
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=30)
    connection.request("POST", url.path, b"CallSid=CA1", {"content-type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()

    assert answer.status == 200
    assert answer.read().startswith(b"<?xml")
    connection.close()


def test_a_function_may_do_only_what_its_role_says(probe: Probe) -> None:
    read = f"""{ATTEMPT}
key = {{"pk": {{"S": "CALL#1"}}, "sk": {{"S": "META"}}}}
answer = [
    attempt("dynamodb", "get_item", TableName="{TABLE}", Key=key),
    attempt("dynamodb", "scan", TableName="{TABLE}"),
]"""

    denied = "AccessDeniedException"
    assert probe(read, role_of="HealthFunction", layers_of="VapiWebhookFunction") == [denied, denied]
    assert probe(read, role_of="VapiWebhookFunction", layers_of="VapiWebhookFunction") == ["allowed", denied]


def test_reading_secrets_is_decided_for_each_of_them(probe: Probe) -> None:
    answer = probe(
        f"""{ATTEMPT}
answer = [
    attempt("ssm", "get_parameters", Names=["{SECRETS}/vapi-webhook", "{SECRETS}/public-base-url"]),
    attempt("ssm", "get_parameters", Names=["{SECRETS}/vapi-webhook", "{SECRETS}/vapi-api-key"]),
]""",
        role_of="VapiWebhookFunction",
        layers_of="VapiWebhookFunction",
    )

    assert answer == ["allowed", "AccessDeniedException"]


def test_whoever_answers_the_phone_may_wake_those_whom_it_wakes_and_nobody_else(stack: Stack, probe: Probe) -> None:
    resources = stack.client("cloudformation").describe_stack_resources(StackName=development.STACK_NAME)
    physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources["StackResources"]}
    wanted = [physical[name] for name in ("VapiWebhookFunction", "LiveToolWorkerFunction", "OutboundFunction")]
    answer = probe(
        f"""{ATTEMPT}
wake = {{"InvocationType": "Event", "Payload": b'{json.dumps(waking.EVENT)}'}}
answer = [attempt("lambda", "invoke", FunctionName=name, **wake) for name in {wanted}]""",
        role_of="TwilioVoiceFunction",
        layers_of="TwilioVoiceFunction",
    )

    assert answer == ["allowed", "allowed", "AccessDeniedException"]


def test_packages_come_from_the_layers_and_from_nowhere_else(probe: Probe) -> None:
    look = """
import importlib.util, os, sys
found = importlib.util.find_spec("boto3")
answer = {
    "boto3": found and found.origin,
    "emulator": [name for name in ("ministack", "hypercorn", "yaml") if importlib.util.find_spec(name)],
    "variables": sorted(os.environ),
    "first": sys.path[1],
    "task": os.environ["LAMBDA_TASK_ROOT"],
    "files": os.listdir(),
}"""
    bare = probe(look, role_of="HealthFunction")
    layered = probe(look, role_of="HealthFunction", layers_of="VapiWebhookFunction")

    assert bare["boto3"] is None
    assert "/python/boto3/" in layered["boto3"]
    assert layered["emulator"] == []
    assert layered["files"] == ["app.py"]
    assert layered["first"] == layered["task"]
    assert not {"HOME", "GATEWAY_PORT", "VIRTUAL_ENV", "AUTH"} & set(layered["variables"])


def test_what_the_emulator_drops_is_made_up_for(stack: Stack) -> None:
    dynamodb = stack.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=TABLE)["ContinuousBackupsDescription"]

    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "exp")
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    asked = ("accept", "back", "brief", "dequeued", "hold", "inbound", "leg", "music", "status", "step", "wait")
    voice = [f"POST /voice/{path}" for path in asked]
    page = ["GET /", "GET /assets/{name}", "GET /console/calls", "GET /console/calls/{call_id}"]
    messages = ["POST /webhook/vapi", "POST /webhook/vapi/tools"]
    acts = [f"POST /console/calls/{{call_id}}/{action}" for action in ("end", "say", "transfer")]
    assert stack.facts["routes"] == [*page, "GET /health", "GET /voice/tune", *acts, *voice, *messages]


def test_wiring_again_changes_nothing_and_takes_away_what_is_no_longer_in_the_template(stack: Stack) -> None:
    gateway = stack.client("apigatewayv2")
    api = gateway.get_apis()["Items"][0]["ApiId"]
    integration = gateway.get_integrations(ApiId=api)["Items"][0]["IntegrationId"]
    before = {route["RouteKey"]: route["RouteId"] for route in gateway.get_routes(ApiId=api)["Items"]}
    gateway.create_route(ApiId=api, RouteKey="GET /old", Target=f"integrations/{integration}")

    wired = wiring.wire(development.STACK_NAME, development.HOST, stack.client)

    assert wired.routes == stack.facts["routes"]
    assert {route["RouteKey"]: route["RouteId"] for route in gateway.get_routes(ApiId=api)["Items"]} == before
    assert stack.request("GET", "/health")[0] == 200


@pytest.mark.parametrize("lane", ["live", "after-call"])
def test_queues_are_polled_for_the_workers(stack: Stack, lane: str) -> None:
    sqs = stack.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{development.STACK_NAME}-{lane}")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")

    def taken() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return bool(found["Attributes"]["ApproximateNumberOfMessages"] == "0")

    wait_for(taken)
    sqs.purge_queue(QueueUrl=url)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the sockets from /proc")
def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    owners = {str(os.getpid()), *descendants(os.getpid())}
    sockets = {
        link.readlink().name for owner in owners for link in readable(Path(f"/proc/{owner}/fd")) if link.is_symlink()
    }
    listening = [
        fields[1].split(":")
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets
    ]

    assert {int(port, 16) for _, port in listening} >= {stack.port, stack.port + 1, stack.port + 2}
    # 127.0.0.1 and ::1; the driver of the browser's tests, a child of this process too, listens on both.
    assert {address for address, _ in listening} <= {"0100007F", "00000000000000000000000001000000"}


def test_a_port_in_use_is_one_clear_line_and_nothing_is_started() -> None:
    port = free_port()
    with held(port + 2), pytest.raises(UserError) as refused:
        Stack(port).start()

    said = str(refused.value)
    assert "\n" not in said
    for words in (str(port + 2), "fake Twilio", "SWITCHBOARD_PORT"):
        assert words in said
    assert not (facts.LOCAL / f"emulator-{port}").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, UserError("sam deploy failed")])
@pytest.mark.parametrize("background", [False, True])
def test_a_start_that_is_interrupted_or_fails_leaves_nothing(
    failure: BaseException, background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert answers(port)
        raise failure

    port = free_port()
    monkeypatch.setattr("devkit.sam.deploy", fail)

    with pytest.raises((KeyboardInterrupt, UserError)):
        Stack(port, build=False, background=background).start()

    assert all(map(is_free, range(port, port + 3)))
    assert not (facts.LOCAL / f"emulator-{port}").exists()
    assert not list(facts.LOCAL.glob(f"*-{port}.pid"))


def test_a_stack_that_was_killed_takes_its_emulator_and_functions_with_it(stack: Stack) -> None:
    port = free_port()
    code = f"from devkit.stack import Stack; Stack({port}, build=False).start()"
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=facts.ROOT)
    try:
        wait_for(lambda: answers(port))
        family = descendants(owner.pid)
        owner.send_signal(signal.SIGKILL)

        wait_for(lambda: all(map(gone, family)))
        wait_for(lambda: all(map(is_free, range(port, port + 3))))
    finally:
        owner.kill()
        owner.wait()


def test_up_leaves_a_stack_that_down_takes_away(stack: Stack) -> None:  # of which the build is used
    port = free_port()
    announced = facts.read(facts.LOCAL / facts.NAME)
    try:
        first = switchboard("up", port, "--no-build")
        again = switchboard("up", port, "--no-build")
        sent = switchboard("curl", port)
        played = switchboard("simulate", port, "devkit/calls/clinic_transfer.yaml")
        answer = subprocess.run(["/bin/sh", "-c", sent.stdout], capture_output=True, text=True, check=True).stdout
        listed = switchboard("secrets", port, "list", "--local")
        family = [pid for name in ("emulator", "fakes") for pid in background(name, port)]
    finally:
        stopped = switchboard("down", port)

    assert f"http://{development.HOST}:{port}/webhook/vapi" in first.stdout
    assert development.VAPI_WEBHOOK_SECRET in first.stdout
    assert "deploying again" in again.stdout
    assert answer.startswith("HTTP/1.1 200")
    assert "is told by REST to move Ana to /voice/back → 200" in played.stdout
    assert listed.stdout.count("development") == 4
    assert stopped.stdout == "stopped\n"
    assert len(family) >= 2
    wait_for(lambda: all(map(gone, family)))
    assert all(map(is_free, range(port, port + 3)))
    # A stack of the developer's own is what it was.
    assert facts.read(facts.LOCAL / facts.NAME) == announced
    assert not facts.file(facts.LOCAL, port).exists()
    assert switchboard("down", port).stdout == "nothing was running\n"


def switchboard(command: str, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    env = os.environ | {"SWITCHBOARD_PORT": str(port)}
    ran = subprocess.run(
        [sys.executable, "-m", "devkit.cli", command, *arguments],
        cwd=facts.ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def background(name: str, port: int) -> list[str]:
    """A background process and all that it started."""
    pid = json.loads(facts.pid_file(facts.LOCAL, name, port).read_text())["pid"]
    return [str(pid), *descendants(pid)]


def gone(pid: str) -> bool:
    """Whether a process has ended; one that nobody has asked about yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def answers(port: int) -> bool:
    """Whether an emulator is up."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def descendants(pid: int) -> list[str]:
    """Ids of all that a process started, and what those started; threads and processes may end meanwhile."""
    found: list[str] = []
    for thread in readable(Path(f"/proc/{pid}/task")):
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(int(child))]
    return found


def readable(folder: Path, pattern: str = "*") -> list[Any]:
    """What is in a folder of /proc; nothing once the process has gone."""
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []
