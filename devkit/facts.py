"""What is known about the local stack that runs, for the commands that use it."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from devkit import development, processes
from devkit.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
NAME = "stack.json"  # of the announced stack, wherever it listens
PORT_VARIABLE = "SWITCHBOARD_PORT"
PORTS = 3  # emulator, fake Vapi, fake Twilio
FAKE_KEY = "test"  # both halves of the emulator's credentials
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def configured_port() -> int:
    """The first of a stack's ports: environment variable SWITCHBOARD_PORT, else the usual one."""
    text = os.environ.get(PORT_VARIABLE, "").strip() or str(development.PORT)
    if not text.isdecimal() or not 1024 <= int(text) <= 65535 - (PORTS - 1):
        raise UserError(f"{PORT_VARIABLE} must be a port from 1024 to {65535 - (PORTS - 1)}, not {text!r}")
    return int(text)


def running(local: Path = LOCAL) -> dict[str, Any]:
    """The facts of the stack that `switchboard up` left running; `UserError` if there is none.

    With SWITCHBOARD_PORT it is the one on that port, else the one that was announced.
    """
    facts = read(file(local, configured_port()) if os.environ.get(PORT_VARIABLE) else local / NAME)
    if facts is None or not _runs(facts, local):
        raise UserError("no local stack is running: start it with `make up`")
    return facts


def announce(facts: dict[str, Any], local: Path) -> None:
    """Make a stack in the background the one that commands talk to, unless another one is that already."""
    other = read(local / NAME)
    if other is None or other["port"] == facts["port"] or not _runs(other, local):
        write(local / NAME, facts)


def withdraw(port: int, local: Path) -> None:
    """Take an announcement back when its stack has ended."""
    announced = read(local / NAME)
    if announced and announced["port"] == port:
        (local / NAME).unlink()


def file(local: Path, port: int) -> Path:
    """Where the facts of the stack on `port` are."""
    return local / f"stack-{port}.json"


def pid_file(local: Path, name: str, port: int) -> Path:
    """Where a background process of the stack on `port` is written down."""
    return local / f"{name}-{port}.pid"


def _runs(facts: dict[str, Any], local: Path) -> bool:
    return processes.recorded(pid_file(local, "emulator", facts["port"])) is not None


def read(path: Path) -> dict[str, Any] | None:
    """The facts in a file, or None where there are none."""
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "port" in facts else None


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write facts so that nobody ever reads half of them."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(facts, indent=2) + "\n")
    aside.replace(path)


def client(service: str, endpoint: str) -> Any:
    """A boto3 client of the emulator at `endpoint`, as its administrator; never of a real account."""
    require_loopback(endpoint)
    make: Any = boto3.client  # its overloads want the name of the service as a literal
    return make(
        service,
        endpoint_url=endpoint,
        region_name=development.REGION,
        aws_access_key_id=FAKE_KEY,
        aws_secret_access_key=FAKE_KEY,
        config=Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 2}, proxies={}),
    )


def require_loopback(url: str) -> None:
    """Raise `UserError` unless `url` is on this machine: nothing here may ever touch a real account."""
    if not is_loopback(url):
        raise UserError(f"refusing to touch {url}: only an emulator on this machine may be changed")


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine."""
    return urlsplit(url).hostname in LOOPBACK
