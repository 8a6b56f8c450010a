"""Execution environments on this machine: what a function sees, and what it does not."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from devkit import bootstrap, emulator, facts
from devkit.sandbox import Sandbox

CONFIG = {
    "FunctionName": "switchboard-local-health",
    "Handler": "app.handler",
    "Runtime": "python3.13",
    "Timeout": 7,
    "MemorySize": 1024,
    "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "LogGroup": "/aws/lambda/health"},
    "Environment": {"Variables": {"STAGE": "local"}},
}
FUNCTION: dict[str, str | int] = {
    "Name": "f",
    "Handler": "app.handler",
    "Runtime": "python3.13",
    "Timeout": 3,
    "MemorySize": 128,
}


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `devkit.stack` gives the emulator, and something of the host's beside it."""
    monkeypatch.setenv("GATEWAY_PORT", "4566")
    monkeypatch.setenv(emulator.WORK, str(tmp_path))
    monkeypatch.setenv(emulator.RUNTIME, "/runtime")
    monkeypatch.setenv("HOST_SECRET", "of the user")


def archive(**files: str) -> bytes:
    """A zip with these files, a double underscore for a slash."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "/"))
            entry.external_attr = 0o755 << 16
            target.writestr(entry, text)
    return packed.getvalue()


def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bubblewrap: str | None) -> dict[str, str]:
    """The environment of one worker."""
    monkeypatch.setattr(emulator, "bubblewrap", lambda: bubblewrap)
    given = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "AWS_SESSION_TOKEN": "", "HOST_SECRET": "of the user"}
    return emulator.worker_environment(CONFIG, given, tmp_path / "code", tmp_path / "opt")


@pytest.mark.parametrize("bubblewrap", [None, "/usr/bin/bwrap"])
def test_a_function_sees_what_aws_sets_and_its_own_variables_but_nothing_of_this_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bubblewrap: str | None
) -> None:
    seen = environment(monkeypatch, tmp_path, bubblewrap)

    assert "of the user" not in json.dumps(seen)
    assert seen["STAGE"] == "local"
    assert seen["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:1"
    assert seen["AWS_LAMBDA_FUNCTION_TIMEOUT"] == "7"
    assert seen["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    assert seen["AWS_LAMBDA_LOG_LEVEL"] == "WARN"
    assert seen["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/health"
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "AWS_SESSION_TOKEN" not in seen


def test_in_a_sandbox_the_paths_are_those_of_lambda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = environment(monkeypatch, tmp_path, "/usr/bin/bwrap")
    command = json.loads(seen[bootstrap.REQUEST])["command"]

    assert seen["LAMBDA_TASK_ROOT"] == "/var/task"
    assert seen["PYTHONPATH"].split(":") == ["/var/task", "/opt/python/lib/python3.13/site-packages", "/opt/python"]
    assert command[0] == "/usr/bin/bwrap"
    assert command[-4:] == ["/var/lang/bin/python", "-m", "awslambdaric", "app.handler"]
    binds = [command[i + 1 : i + 3] for i, part in enumerate(command) if part == "--ro-bind"]
    assert [str(tmp_path / "code/task"), "/var/task"] in binds
    assert [str(tmp_path / "opt"), "/opt"] in binds
    assert "--bind" not in command


def test_without_one_the_same_client_runs_on_the_plain_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = environment(monkeypatch, tmp_path, None)

    assert seen["LAMBDA_TASK_ROOT"] == str(tmp_path / "code/task")
    asked = json.loads(seen[bootstrap.REQUEST])
    assert asked["command"] == ["/runtime/bin/python", "-m", "awslambdaric", "app.handler"]
    assert asked["directory"] == str(tmp_path / "code/task")


def test_a_program_that_starts_the_client_comes_before_it(tmp_path: Path) -> None:
    for bubblewrap in (None, "/usr/bin/bwrap"):
        sandbox = Sandbox(code=tmp_path, layers=tmp_path, runtime=tmp_path, bubblewrap=bubblewrap)
        command = sandbox.command("app.handler", via=["/rie", "--quiet"], show=[Path("/rie")])

        assert command[-6:-4] == ["/rie", "--quiet"]
        assert bubblewrap is None or command[command.index("/rie") - 1 : command.index("/rie") + 2] == [
            "--ro-bind",
            "/rie",
            "/rie",
        ]


def test_an_interpreter_behind_links_is_shown_to_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "real/bin").mkdir(parents=True)
    (tmp_path / "real/bin/python3.13").touch()
    (tmp_path / "between/bin").mkdir(parents=True)
    (tmp_path / "between/bin/python").symlink_to(tmp_path / "real/bin/python3.13")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to("../../between/bin/python")
    sandbox = Sandbox(code=tmp_path, layers=tmp_path, runtime=tmp_path / "venv", bubblewrap="/usr/bin/bwrap")

    shown = {Path(part).resolve() for part in sandbox.command("app.handler") if part.startswith("/")}

    assert {tmp_path / "real", tmp_path / "between"} <= shown


def test_the_code_of_a_function_lies_beside_its_bootstrap_not_among_it(tmp_path: Path) -> None:
    emulator.write_bootstrap()
    home = emulator.unpack_function(archive(app="handler"))

    assert [path.name for path in (home / "task").iterdir()] == ["app"]
    assert (home / "bootstrap").stat().st_mode & 0o111
    assert emulator.unpack_function(archive(app="handler")) == home


def test_later_layers_lie_over_earlier_ones_and_programs_stay_programs(tmp_path: Path) -> None:
    home = emulator.unpack(archive(python__a="1", bin__tool="x"), archive(python__a="2"))

    assert (home / "python/a").read_text() == "2"
    assert (home / "bin/tool").stat().st_mode & 0o111
    assert emulator.unpack(archive(python__a="2"), archive(python__a="1", bin__tool="x")) != home


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"Names": ["/a", "/b"]}', ["/a", "/b"]),
        (b'{"Name": "/a"}', []),
        (b'{"Names": "/a"}', []),
        (b'{"Names": [1, "/b"]}', ["/b"]),
        (b"[]", []),
        (b"", []),
    ],
)
def test_the_parameters_that_a_request_names(body: bytes, names: list[str]) -> None:
    assert emulator.parameter_names(body) == names


def test_another_ministack_than_the_one_it_knows_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "9.9.9")

    with pytest.raises(SystemExit) as ended:
        emulator.main()

    said: Any = ended.value.code
    assert "9.9.9" in said
    assert emulator.MINISTACK in said
    assert "\n" not in said


def test_the_version_it_knows_is_the_one_that_is_installed() -> None:
    locked = (facts.ROOT / "devkit/requirements/emulator.in").read_text()

    assert f"ministack=={emulator.MINISTACK}\n" in locked
