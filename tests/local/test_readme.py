"""The shell commands of the README, on the running stack."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit import development, facts, processes
from devkit.stack import Stack
from tests.markdown import ROOT

DEADLINE = 120  # seconds


@pytest.fixture(autouse=True)
def announced(stack: Stack) -> Iterator[None]:
    """The tests' stack, taken for one that `make up` has left running."""
    file = facts.pid_file(facts.LOCAL, "emulator", stack.facts["port"])
    processes.record(file, os.getpid())
    yield
    file.unlink()


def shell(stack: Stack, command: str, typed: str = "") -> str:
    """Run a command as a reader would, in the shell and beside the stack; its output."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SWITCHBOARD_PORT": str(stack.facts["port"]),
        "AWS_ENDPOINT_URL": stack.facts["api_url"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": development.REGION,
    }
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_signed_curl_is_answered(stack: Stack) -> None:
    assert '"toolCallId"' in shell(stack, "switchboard curl | sh")


def test_the_call_of_the_readme_goes_as_its_script_says(stack: Stack) -> None:
    said = shell(stack, "switchboard simulate devkit/calls/clinic_bypass.yaml")

    assert said.rstrip().endswith("Everything went as the script says.")


@pytest.mark.parametrize("name", ["vapi-webhook", "vapi-api-key", "twilio-auth-token"])
def test_secrets_are_stored_and_listed_and_never_shown(stack: Stack, name: str) -> None:
    value = f"typed-{name}-0123456789abcdef"
    said = shell(stack, f"switchboard secrets put {name}", typed=value)
    said += shell(stack, "switchboard secrets list")

    assert name in said
    assert value not in said
    stored = stack.client("ssm").get_parameter(Name=f"/switchboard/switchboard/{name}", WithDecryption=True)
    assert value in stored["Parameter"]["Value"]
