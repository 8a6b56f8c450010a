"""What a person types first: `make`, and the script behind it that makes the environments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASH, MAKE = shutil.which("bash") or "bash", shutil.which("make") or "make"


def run(*command: str | Path, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=text, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without any Python, but with the few programs that the script uses."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "dirname", "env"):
        (programs / name).symlink_to(shutil.which(name) or name)
    return {"HOME": str(tmp_path), "PATH": str(programs)}


def test_setup_says_in_one_line_that_python_is_missing(machine: dict[str, str]) -> None:
    done = run(BASH, "devkit/setup", "demo", **machine)

    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python 3.13 that runs")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_a_pyenv_shim_that_does_not_run_is_no_python(machine: dict[str, str]) -> None:
    shim = Path(machine["PATH"], "python3.13")
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)

    done = run(BASH, "devkit/setup", "demo", **machine)

    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python 3.13 that runs")
    assert done.stderr.count("\n") == 1


def test_setup_says_what_it_can_be_asked_for(machine: dict[str, str]) -> None:
    done = run(BASH, "devkit/setup", "everything", **machine)

    assert done.returncode == 1
    assert done.stderr == "setup: say what for: devkit/setup demo|checks\n"


def test_make_lists_its_targets() -> None:
    done = run(MAKE, PATH=os.environ["PATH"])
    names = [line.split()[1] for line in done.stdout.splitlines()]

    assert {"demo", "up", "down", "test", "nightly", "lint"} <= set(names)
    assert len(names) <= 10


def test_nothing_that_make_runs_can_reach_a_real_account() -> None:
    real = {
        "AWS_ACCESS_KEY_ID": "real",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_PROFILE": "real",
        "AWS_DEFAULT_PROFILE": "real",
        "AWS_CONFIG_FILE": "real",
        "AWS_SHARED_CREDENTIALS_FILE": "real",
        "AWS_ROLE_ARN": "real",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "real",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "real",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "real",
    }
    done = run(MAKE, "-f", "Makefile", "-f", "-", "show", text="show:\n\t@env\n", PATH=os.environ["PATH"], **real)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith(("AWS_", "SAM_")))

    assert seen == {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
    }
