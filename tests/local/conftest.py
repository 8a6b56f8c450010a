"""The whole backend on this machine, once for all tests: the emulator, the deployed template, the fakes."""

import io
import json
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devkit import development
from devkit.facts import PORTS
from devkit.stack import Stack

FIRST_PORT = 4700  # not the one of `make up`, which may run beside the tests
STEP = 10
KEPT: dict[int, socket.socket] = {}  # by the first port of a row, what keeps other runs of the tests away from it
DEADLINE = 30  # seconds


def free_port() -> int:
    """The first of as many free ports in a row as a stack needs; no other run of the tests gets them, now or later."""
    for first in range(FIRST_PORT, 65000, STEP):
        if keep(first) and all(is_free(port) for port in range(first, first + PORTS)):
            return first
    raise AssertionError("no free ports")


def keep(first: int) -> bool:
    """Whether a row is this process's own: the one that has bound the row's last port, which no stack uses."""
    if first not in KEPT:
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", first + STEP - 1))
        except OSError:
            mark.close()
            return False
        KEPT[first] = mark
    return True


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for[T](ask: Callable[[], T], seconds: float = DEADLINE) -> T:
    """Ask until the answer is a true one, and return it; fail after a while."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack of the tests' own, with the fakes as `stack.fakes`."""
    # Where several processes run the tests, another one reads the build: it stays what `make test` has made it.
    with Stack(free_port(), build="PYTEST_XDIST_WORKER" not in os.environ) as running:
        yield running


type Probe = Callable[..., Any]


@pytest.fixture
def probe(stack: Stack) -> Iterator[Probe]:
    """Run Python in a function of the deployed stack's account, with the role (and layers) of a deployed function.

    `probe(code, role_of="HealthFunction", layers_of=None)` returns what `code` assigns to `answer`.
    """
    functions = stack.client("lambda")
    made: list[str] = []

    def configuration(logical: str) -> dict[str, Any]:
        cloudformation = stack.client("cloudformation")
        detail = cloudformation.describe_stack_resource(StackName=development.STACK_NAME, LogicalResourceId=logical)[
            "StackResourceDetail"
        ]
        found: dict[str, Any] = functions.get_function_configuration(FunctionName=detail["PhysicalResourceId"])
        return found

    def run(code: str, role_of: str, layers_of: str | None = None) -> Any:
        name = f"probe-{len(made)}"
        layers = configuration(layers_of)["Layers"] if layers_of else []
        functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="app.handler",
            Role=configuration(role_of)["Role"],
            Code={"ZipFile": packed(code)},
            Layers=[layer["Arn"] for layer in layers],
            Timeout=30,
        )
        made.append(name)
        return json.load(functions.invoke(FunctionName=name)["Payload"])

    yield run
    for name in made:
        functions.delete_function(FunctionName=name)


def packed(code: str) -> bytes:
    """A function's zip whose handler runs `code` and returns its `answer`."""
    archive = io.BytesIO()
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("app.py", f"def handler(event, context):\n{indented}    return answer\n")
    return archive.getvalue()


@contextmanager
def held(port: int) -> Iterator[None]:
    """Somebody listens on a port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield
