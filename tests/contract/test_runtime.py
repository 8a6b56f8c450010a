"""The runner of built functions: as true as `sam local invoke`, and gone when it is closed."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit import cli, facts, runtime
from devkit.built import Built
from devkit.errors import UserError
from devkit.runtime import Function, read_env
from tests.contract.conftest import Aws, Start, event

CODE = """
import json, os, sys, time

def handler(event, context):
    print("handling", flush=True)
    match event["do"]:
        case "look":
            return {"variables": dict(os.environ), "path": sys.path, "limit": context.memory_limit_in_mb}
        case "raise":
            raise ValueError("no such appointment")
        case "sleep":
            time.sleep(30)
        case "exit":
            os._exit(1)
        case "import":
            import layered
            return layered.ORIGIN
"""


@pytest.fixture(params=[False, True], ids=["plain", "sandboxed"])
def sandboxed(request: pytest.FixtureRequest) -> bool:
    """With bubblewrap where that works, and without."""
    return bool(request.param)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build with one function and two layers, the second over the first."""
    (tmp_path / "Code").mkdir()
    (tmp_path / "Code/app.py").write_text(CODE)
    for layer in ("First", "Second"):
        (tmp_path / layer / "python").mkdir(parents=True)
        (tmp_path / layer / "python/layered.py").write_text(f"ORIGIN = {layer!r}")
    properties = {
        "CodeUri": "Code",
        "Handler": "app.handler",
        "Runtime": "python3.13",
        "Timeout": 1,
        "MemorySize": 256,
        "Layers": [{"Ref": "First"}, {"Ref": "Second"}],
        "Environment": {"Variables": {"DECLARED": "by the template"}},
    }
    resources: dict[str, Any] = {
        layer: {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": layer}}
        for layer in ("First", "Second")
    }
    resources["One"] = {"Type": "AWS::Serverless::Function", "Properties": properties}
    (tmp_path / "template.yaml").write_text(yaml.safe_dump({"Resources": resources}))
    return tmp_path


def test_a_function_sees_its_variables_and_nothing_of_this_host(
    build: Path, sandboxed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_SECRET", "of the user")
    with Function("One", build, {"ADDED": "by the test"}, sandboxed=sandboxed) as function:
        seen = function.invoke({"do": "look"})

    assert seen["variables"]["DECLARED"] == "by the template"
    assert seen["variables"]["ADDED"] == "by the test"
    assert seen["limit"] == "256"
    assert "of the user" not in json.dumps(seen)
    # Nothing reaches an account unless a test says where it is.
    assert seen["variables"]["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")


def test_later_layers_lie_over_earlier_ones(build: Path, sandboxed: bool) -> None:
    with Function("One", build, sandboxed=sandboxed) as function:
        assert function.invoke({"do": "import"}) == "Second"


def test_failures_have_the_shape_that_lambda_gives_them(build: Path, sandboxed: bool) -> None:
    with Function("One", build, sandboxed=sandboxed) as function:
        raised = function.invoke({"do": "raise"})
        late = function.invoke({"do": "sleep"})
        ended = function.invoke({"do": "exit"})
        logs = function.logs()
        after = function.invoke({"do": "import"})

    assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", "no such appointment")
    assert "handler" in raised["stackTrace"][0]
    assert late["errorType"] == "Sandbox.Timedout"
    assert "1.00 seconds" in late["errorMessage"]
    assert ended["errorType"] == "Runtime.ExitError"
    assert after == "Second"
    assert logs.count("handling") == 3


def test_running_a_function_leaves_its_code_as_it_was_built(build: Path) -> None:
    with Function("One", build, sandboxed=False) as function:
        function.invoke({"do": "import"})

    assert [path.name for path in (build / "Code").iterdir()] == ["app.py"]
    assert [path.name for path in (build / "Second/python").iterdir()] == ["layered.py"]


def test_closing_leaves_nothing_running(build: Path, sandboxed: bool) -> None:
    before = children()
    function = Function("One", build, sandboxed=sandboxed)
    function.invoke({"do": "import"})
    started = children() - before
    function.close()

    assert len(started) >= 2
    deadline = time.monotonic() + 10
    while children() & started:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_port_that_is_meant_for_a_function_is_given_to_nobody_else() -> None:
    with runtime._free_ports(2) as ports:
        for port in ports:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))


def test_a_function_that_cannot_start_is_one_clear_error(build: Path) -> None:
    with pytest.raises(UserError, match="no function is called Two"):
        Function("Two", build)


def test_the_real_functions_run(start: Start, aws: Aws, built: Built) -> None:
    assert start("HealthFunction").invoke(event("health/get.json"))["statusCode"] == 200
    assert start("VapiWebhookFunction").invoke(event("vapi_webhook/tool_call.json"))["statusCode"] == 200
    assert set(built.functions) >= {"HealthFunction", "VapiWebhookFunction"}


def test_the_command_prints_the_answer_on_stdout_and_the_log_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    file = facts.ROOT / "events/health/get.json"

    assert cli.main(["invoke", "HealthFunction", str(file)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["statusCode"] == 200
    assert "START RequestId" in shown.err


def test_without_an_aws_a_function_says_so_and_reaches_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with Function("VapiWebhookFunction", env={"STAGE": "local", "SIGNATURE_TOLERANCE": "631152000"}) as function:
        assert function.invoke(event("vapi_webhook/tool_call.json"))["statusCode"] == 503


def test_an_env_file_has_variables_for_all_and_for_one(tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    file.write_text('{"Parameters": {"A": "1", "B": 2}, "One": {"B": "3"}}')

    assert read_env(file, "One") == {"A": "1", "B": "3"}
    assert read_env(file, "Two") == {"A": "1", "B": "2"}


@pytest.mark.parametrize("text", ["", "[]", '{"Parameters": 1}'])
def test_a_broken_env_file_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "env.json"
    file.write_text(text)

    with pytest.raises(UserError, match="not an env file"):
        read_env(file, "One")


def children() -> set[int]:
    """Ids of all that this process started, and what those started, zombies left out."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found
