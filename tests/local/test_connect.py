"""`switchboard connect` on the running stack: connected, a call goes through, drift is mended, and all is put back."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from devkit import facts, processes
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


def run(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Run a command; its exit code and what it said."""
    environment = os.environ | {"SWITCHBOARD_PORT": str(stack.facts["port"])}
    done = subprocess.run(
        [sys.executable, "-m", "devkit.cli", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def outside(stack: Stack) -> tuple[Any, Any]:
    """What the fakes hold, without the moments of changes."""
    assert stack.fakes
    objects = copy.deepcopy(stack.fakes.vapi.account.objects)
    for kind in objects.values():
        for one in kind.values():
            one.pop("updatedAt")
    return objects, copy.deepcopy(stack.fakes.twilio.numbers.numbers)


def test_a_stack_is_connected_used_mended_and_disconnected(stack: Stack) -> None:
    assert stack.fakes
    before = outside(stack)
    [line] = stack.fakes.twilio.numbers.numbers.values()

    code, said = run(stack, "plan", "--local")
    assert code == 2, said
    assert outside(stack) == before
    code, said = run(stack, "connect", "--local")
    assert (code, outside(stack)) == (1, before), said

    code, said = run(stack, "connect", "--local", "--yes")
    assert code == 0, said
    assert "verified: a message that Vapi has signed itself has arrived" in said
    connected = outside(stack)
    assert line["voice_url"] == f"http://{stack.host}/voice/inbound"
    assert run(stack, "plan", "--local")[0] == 0

    code, said = run(stack, "simulate", "devkit/calls/clinic_bypass.yaml")
    assert code == 0, said

    line["voice_url"] = "https://api.vapi.ai/twilio/inbound_call"
    code, said = run(stack, "plan", "--local")
    assert code == 2, said
    assert "voice_url: https://api.vapi.ai/twilio/inbound_call -> " in said
    code, said = run(stack, "connect", "--local", "--yes")
    assert code == 0, said
    assert outside(stack) == connected

    code, said = run(stack, "disconnect", "--local", "--yes")
    assert code == 0, said
    assert outside(stack) == before
    code, said = run(stack, "disconnect", "--local", "--yes")
    assert (code, "not connected" in said) == (0, True), said
