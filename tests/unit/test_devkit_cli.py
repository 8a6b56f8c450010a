"""The `switchboard` command: what it lists, how it fails, what it loads."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from devkit import cli
from devkit.errors import UserError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command called `probe` that a test gives its behaviour."""
    module = ModuleType("devkit_probe")
    vars(module).update(arguments=lambda parser: parser.add_argument("--size", type=int), run=lambda args: args.size)
    monkeypatch.setitem(sys.modules, "devkit_probe", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("devkit_probe", "for a test"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return module


def test_help_lists_every_command_with_its_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])

    assert ended.value.code == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for name, (_, summary) in cli.COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, summary] for line in lines)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_module_that_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"switchboard {name}" in shown
    assert cli.COMMANDS[name][1].split()[0] in shown
    assert callable(importlib.import_module(cli.COMMANDS[name][0]).run)


def test_only_the_module_of_the_command_that_runs_is_loaded() -> None:
    code = "import sys, devkit.cli\nprint([m for m in sys.modules if m.startswith('devkit.') or m == 'boto3'])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert sorted(eval(shown)) == ["devkit.cli", "devkit.errors"]  # noqa: S307 - our own list


def test_a_command_gets_its_arguments_and_gives_the_exit_code(command: ModuleType) -> None:
    assert cli.main(["probe", "--size", "7"]) == 7


def test_a_failure_that_the_user_can_act_on_is_one_line(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_args: object) -> int:
        raise UserError("port 4566 is in use")

    vars(command)["run"] = fail

    assert cli.main(["probe"]) == 1
    assert capsys.readouterr().err == "switchboard: port 4566 is in use\n"


def test_an_interrupt_ends_quietly(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def wait(_args: object) -> int:
        raise KeyboardInterrupt

    vars(command)["run"] = wait

    assert cli.main(["probe"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_terminated_command_cleans_up_like_an_interrupted_one() -> None:
    code = (
        "import os, signal, sys, types, devkit.cli as cli\n"
        "def run(args):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: print('cleaned up', flush=True)\n"
        "sys.modules['probe'] = types.SimpleNamespace(arguments=lambda parser: None, run=run)\n"
        "cli.COMMANDS['probe'] = ('probe', '')\n"
        "sys.exit(cli.main(['probe']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (cli.INTERRUPTED, "cleaned up\n")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dance"])

    assert ended.value.code == 2
    assert "dance" in capsys.readouterr().err
