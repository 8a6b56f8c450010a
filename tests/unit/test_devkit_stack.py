"""Around the local stack: ports, real accounts, and failures in one line."""

import os
import sys
from pathlib import Path

import pytest

from devkit import development, facts, processes, sam
from devkit.errors import UserError
from devkit.stack import Stack


def test_the_port_is_the_usual_one_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWITCHBOARD_PORT", raising=False)
    assert facts.configured_port() == development.PORT

    monkeypatch.setenv("SWITCHBOARD_PORT", " 4700 ")
    assert facts.configured_port() == 4700


@pytest.mark.parametrize("text", ["http", "-1", "80", "65534", "4566.5"])
def test_a_port_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SWITCHBOARD_PORT", text)

    with pytest.raises(UserError, match="SWITCHBOARD_PORT"):
        facts.configured_port()


def test_no_way_to_a_real_account_reaches_sam(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "of-the-user")
    env = sam.environment(tmp_path, "http://127.0.0.1:4566")

    assert "of-the-user" not in env.values()
    assert env["AWS_CONFIG_FILE"] == env["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert env["AWS_ACCESS_KEY_ID"] == "test"
    assert env["PATH"].startswith(f"{tmp_path}/.local/bin:")


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("print('first'); print(*range(9), sep=chr(10)); print('last words')", "last words"),
        ("print('ok'); print('SyntaxError: invalid syntax'); print('Build Failed')", "SyntaxError: invalid syntax"),
        ("pass", "it said nothing"),
    ],
)
def test_a_tool_that_fails_is_told_in_one_line(tmp_path: Path, printed: str, reason: str) -> None:
    log = tmp_path / "build.log"
    program = f"{printed}; raise SystemExit(3)"
    process = processes.start([sys.executable, "-c", program], cwd=tmp_path, env=os.environ, log=log)

    with pytest.raises(UserError) as failed:
        sam.require_success(process, "sam build", log)

    assert str(failed.value) == f"sam build failed (exit code 3): {reason} (log: {log})"


def test_missing_tools_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make setup"):
        sam.start_build(tmp_path, "http://127.0.0.1:4566", tmp_path / "log")


@pytest.mark.parametrize("text", [None, "", "[]", '{"port": 4566}'])
def test_without_a_running_stack_there_are_no_facts(
    tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWITCHBOARD_PORT", raising=False)
    if text is not None:
        (tmp_path / facts.NAME).write_text(text)

    with pytest.raises(UserError, match="make up"):
        facts.running(tmp_path)


def announced(local: Path, port: int) -> None:
    """Let a stack run on `port`, for which this process stands in."""
    facts.write(facts.file(local, port), {"port": port})
    processes.record(facts.pid_file(local, "emulator", port), os.getpid())
    facts.announce({"port": port}, local)


def test_the_first_stack_in_the_background_is_the_one_that_commands_talk_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWITCHBOARD_PORT", raising=False)
    announced(tmp_path, 4566)
    announced(tmp_path, 4700)

    assert facts.running(tmp_path) == {"port": 4566}
    facts.withdraw(4700, tmp_path)
    assert facts.running(tmp_path) == {"port": 4566}
    facts.withdraw(4566, tmp_path)
    announced(tmp_path, 4700)
    assert facts.running(tmp_path) == {"port": 4700}


def test_another_stack_is_chosen_by_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    announced(tmp_path, 4566)
    announced(tmp_path, 4700)
    monkeypatch.setenv("SWITCHBOARD_PORT", "4700")

    assert facts.running(tmp_path) == {"port": 4700}


def test_a_stack_that_was_killed_is_no_longer_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWITCHBOARD_PORT", raising=False)
    announced(tmp_path, 4566)
    facts.pid_file(tmp_path, "emulator", 4566).write_text('{"pid": 1, "started": "never"}')
    announced(tmp_path, 4700)

    assert facts.running(tmp_path) == {"port": 4700}


def test_a_stack_in_the_background_is_not_taken_over_by_one_that_would_end_it(tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    for name in ("emulator", "fakes"):
        processes.record(facts.pid_file(tmp_path / ".local", name, 4566), os.getpid())

    with pytest.raises(UserError, match="make down"):
        Stack(4566, tmp_path).start()
    assert Stack(4566, tmp_path).running


def test_stopping_what_never_ran_touches_nothing(tmp_path: Path) -> None:
    local = tmp_path / ".local"
    (local / "emulator-4566").mkdir(parents=True)
    facts.write(local / "stack-4566.json", {"port": 4566})
    facts.write(local / facts.NAME, {"port": 4566})

    assert not Stack(4566, tmp_path).stop()
    assert not Stack(4566, tmp_path, background=True).stop()
    assert {path.name for path in local.iterdir()} == {"emulator-4566", "stack-4566.json", facts.NAME}


def test_what_a_killed_stack_left_is_taken_away(tmp_path: Path) -> None:
    local = tmp_path / ".local"
    (local / "emulator-4566").mkdir(parents=True)
    facts.write(local / "stack-4566.json", {"port": 4566})
    facts.write(local / facts.NAME, {"port": 4566})
    (local / "emulator-4566.pid").write_text('{"pid": 1, "started": "never"}')

    assert not Stack(4566, tmp_path, background=True).stop()
    assert list(local.iterdir()) == []
