"""The built functions where something is missing: a package, a setting, AWS. And what Lambda makes of a failure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devkit import events, runtime
from devkit.built import BUILD, Built
from devkit.runtime import NOWHERE, Function
from switchboard import waking
from tests.unit.test_template import WOKEN

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
FUNCTIONS = Built(ROOT / BUILD).functions
BARE = ("HealthFunction", "VoiceFallbackFunction")  # nothing of theirs can be missing
LAYERED = [name for name in FUNCTIONS if name not in BARE]
# One good event for each function.
EVENT = {
    "VapiWebhookFunction": "vapi_webhook/status_in_progress.json",
    "VapiToolsFunction": "vapi_webhook/tool_call.json",
    "TwilioVoiceFunction": "twilio_voice/incoming_call.json",
    "TwilioCallbacksFunction": "twilio_callbacks/completed.json",
    "OutboundFunction": "outbound/call.json",
    "VoiceFallbackFunction": "voice_fallback/called.json",
    "LiveToolWorkerFunction": "tool_worker/background_tool.json",
    "AfterCallToolWorkerFunction": "tool_worker/after_call_batch.json",
    "HealthFunction": "health/get.json",
    "ConsoleFunction": "console/calls.json",
    "WebClientFunction": "web_client/page.json",
    "SweeperFunction": "sweeper/minute.json",
}
DEAD = {"AWS_API_URL": NOWHERE, "VAPI_API_URL": NOWHERE, "TWILIO_API_URL": NOWHERE}

PROBE = """
import importlib, os, sys, time

def handler(event, context):
    match event:
        case {"import": name}:
            return importlib.import_module(name).__name__
        case {"raise": words}:
            raise ValueError(words)
        case {"sleep": seconds}:
            time.sleep(seconds)
        case {"answer": size}:
            return "x" * size
        case {"exit": code}:
            os._exit(code)
    return "served"
"""


def event_of(function: str) -> dict[str, Any]:
    return events.read(EVENTS / EVENT[function])


def env(**changed: str) -> dict[str, str]:
    """What events/env.json gives, with AWS and all else out of reach."""
    return {**runtime.read_env(EVENTS / "env.json", ""), **DEAD, **changed}


def built(directory: Path, code: str, **properties: Any) -> Path:
    """A build that holds one function without layers, called Probe."""
    probe = {"CodeUri": "Probe", "Handler": "app.handler", "Runtime": "python3.13", "Environment": {"Variables": {}}}
    resource = {"Type": "AWS::Serverless::Function", "Properties": {**probe, **properties}}
    (directory / "template.yaml").write_text(json.dumps({"Resources": {"Probe": resource}}))
    (directory / "Probe").mkdir()
    (directory / "Probe" / "app.py").write_text(code)
    return directory


def warnings(log: str) -> list[dict[str, Any]]:
    """The lines that a function wrote about what should not have happened."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("level") in ("WARNING", "ERROR")]


def test_every_function_has_an_event_here() -> None:
    assert sorted(EVENT) == FUNCTIONS


@pytest.mark.parametrize("module", ["pytest", "moto", "yaml", "devkit", "switchboard", "agent", "boto3", "pydantic"])
def test_a_function_finds_only_what_it_brings(module: str, tmp_path: Path) -> None:
    # All of them can be imported here. boto3 is in AWS's runtime too, in a version of AWS's choosing: ours is in a layer.
    with Function("Probe", built(tmp_path, PROBE)) as function:
        found = function.invoke({"import": "json"})
        missing = function.invoke({"import": module})

    assert found == "json"
    assert missing["errorType"] == "ModuleNotFoundError"
    assert missing["errorMessage"] == f"No module named '{module}'"


def test_a_package_that_is_not_in_the_artefact_is_named(tmp_path: Path) -> None:
    code = (ROOT / BUILD / "VapiWebhookFunction" / "app.py").read_text()
    variables = {"Variables": env()}
    with Function("Probe", built(tmp_path, code, Environment=variables)) as function:
        answer = function.invoke(event_of("VapiWebhookFunction"))

    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert answer["errorMessage"] == "Unable to import module 'app': No module named 'agent'"


BROUGHT = {
    "TwilioCallbacksFunction": {"tune.wav"},  # what waiting sounds like
    "WebClientFunction": {"assets"},  # the page
}


def test_the_functions_bring_no_more_than_their_code() -> None:
    for name in FUNCTIONS:
        function = Built(ROOT / BUILD).function(name)
        brought = {path.name for path in function.code.iterdir() if path.name != "__pycache__"}
        assert brought == {"app.py"} | BROUGHT.get(name, set()), name
        assert bool(function.layers) == (name in LAYERED), name


@pytest.mark.parametrize("name", BARE)
def test_the_bare_functions_answer_with_no_environment_at_all(name: str) -> None:
    with Function(name, env=dict.fromkeys(runtime.read_env(EVENTS / "env.json", ""), "")) as function:
        answer = function.invoke(event_of(name))

    assert answer["statusCode"] == 200


AWAY = {"VAPI_API_URL": "https://api.vapi.ai", "TWILIO_API_URL": "https://api.twilio.com", "SIGNATURE_TOLERANCE": "300"}
WRONG = {
    "TABLE_NAME is not set": {"TABLE_NAME": ""},
    "PARAMETER_PATH is not set": {"PARAMETER_PATH": " "},
    "RETENTION_HOURS must be a whole number": {"RETENTION_HOURS": "a day"},
    "STORE_TRANSCRIPTS must be true or false": {"STORE_TRANSCRIPTS": "yes"},
    "SIGNATURE_OVERRIDES must be a JSON object": {"SIGNATURE_OVERRIDES": "[]"},
    "VAPI_API_URL must be an https URL (http on loopback only for STAGE=local)": {"STAGE": "prod"},
    "AWS_API_URL is only for STAGE=local": {"STAGE": "prod", **AWAY},
    "SIGNATURE_TOLERANCE above 300 seconds is only for STAGE=local": {
        **AWAY,
        "STAGE": "staging",
        "AWS_API_URL": "",
        "SIGNATURE_TOLERANCE": "301",
    },
}


@pytest.mark.parametrize(("line", "changed"), WRONG.items(), ids=lambda value: str(value)[:40])
def test_a_wrong_setting_stops_the_function_with_one_clear_line(line: str, changed: Mapping[str, str]) -> None:
    with Function("VapiWebhookFunction", env=env(**changed)) as function:
        answer = function.invoke(event_of("VapiWebhookFunction"))
        errors = [entry for entry in warnings(function.logs()) if "errorMessage" in entry]

    assert (answer["errorType"], answer["errorMessage"]) == ("SettingsError", line)
    assert {(entry["errorType"], entry["errorMessage"]) for entry in errors} == {("SettingsError", line)}


@pytest.mark.parametrize("name", LAYERED)
def test_every_function_that_reads_settings_refuses_wrong_ones(name: str) -> None:
    with Function(name, env=env(TABLE_NAME="")) as function:
        answer = function.invoke(event_of(name))

    assert (answer["errorType"], answer["errorMessage"]) == ("SettingsError", "TABLE_NAME is not set")


WHAT_TO_DO = "nothing answers on 127.0.0.1:9, start the local stack with `make up`"
UNAVAILABLE = {
    "statusCode": 503,
    "headers": {"content-type": "application/json"},
    "body": '{"error":"unavailable, try again"}',
}


@pytest.mark.parametrize("name", ["VapiWebhookFunction", "TwilioCallbacksFunction"])
def test_without_aws_a_webhook_that_can_be_repeated_is_answered_503_and_the_log_says_so_once(name: str) -> None:
    with Function(name, env=env()) as function:
        answers = [function.invoke(event_of(name)) for _ in range(2)]
        said = warnings(function.logs())

    assert answers == [UNAVAILABLE] * 2
    assert [line["message"] for line in said] == ["unavailable"] * 2
    assert {line["code"] for line in said} == {f"secrets: {WHAT_TO_DO}"}


def test_without_aws_a_caller_hears_the_apology() -> None:
    with Function("TwilioVoiceFunction", env=env()) as function:
        answer = function.invoke(event_of("TwilioVoiceFunction"))
        (said,) = warnings(function.logs())

    assert answer["statusCode"] == 200
    assert answer["body"].startswith('<?xml version="1.0" encoding="UTF-8"?><Response><Say>We are sorry')
    assert (said["message"], said["reason"]) == ("a caller did not reach the assistant", "unavailable")
    assert said["code"] == f"secrets: {WHAT_TO_DO}"


@pytest.mark.parametrize("name", ["LiveToolWorkerFunction", "AfterCallToolWorkerFunction"])
def test_without_aws_a_ticket_stays_on_its_queue(name: str) -> None:
    event = event_of(name)
    with Function(name, env=env()) as function:
        answer = function.invoke(event)
        said = [line for line in warnings(function.logs()) if "code" in line]

    # The other message of the after-call batch is no ticket: nothing is gained by keeping it.
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
    assert [(line["message"], line["code"]) for line in said] == [("ticket goes back", f"table: {WHAT_TO_DO}")]


@pytest.mark.parametrize("name", ["TwilioVoiceFunction", "TwilioCallbacksFunction", "VapiWebhookFunction"])
def test_an_event_that_no_gateway_sends_is_no_crash(name: str) -> None:
    with Function(name, env=env()) as function:
        answers = [function.invoke(event) for event in ({}, {"headers": None, "body": None}, event_of(name))]

    assert all("statusCode" in answer and "errorType" not in answer for answer in answers)


@pytest.mark.parametrize("name", WOKEN)
def test_a_function_that_is_only_woken_asks_nothing_of_anybody_and_counts_nothing(name: str) -> None:
    with Function(name, env=env()) as function:
        answer = function.invoke(waking.EVENT)
        written = [line for line in function.logs().splitlines() if line.startswith("{")]

    assert answer is None
    assert written == []


def test_what_lambda_makes_of_failures(tmp_path: Path) -> None:
    with Function("Probe", built(tmp_path, PROBE, Timeout=1)) as function:
        raised = function.invoke({"raise": "no such thing"})
        large = function.invoke({"answer": 6 * 1024 * 1024 + 200})
        late = function.invoke({"sleep": 5})
        gone = function.invoke({"exit": 3})
        after = function.invoke({})

    assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", "no such thing")
    assert raised["stackTrace"]
    assert large["errorType"] == "Function.ResponseSizeTooLarge"
    assert late["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in late["errorMessage"]
    assert gone["errorType"] == "Runtime.ExitError"
    assert after == "served"


def test_a_function_leaves_its_artefact_as_it_was(tmp_path: Path) -> None:
    with Function("Probe", built(tmp_path, PROBE)) as function:
        function.invoke({})

    assert [path.name for path in (tmp_path / "Probe").rglob("*")] == ["app.py"]
