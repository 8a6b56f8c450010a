"""What the front door costs: CPU time to refuse and to read, and what a process keeps of 40,000 requests.

    python -m tests.benchmarks.front_door [--runs 60] [--requests 40000]

CPU time, not time by the clock, so that a busy machine changes little; figures are of this machine and are asserted
nowhere. The `json` column is a bare `json.loads` of the same body, for scale.
"""

import argparse
import base64
import gc
import io
import json
import logging
import resource
import string
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from devkit import development
from switchboard import gateway, messages, signatures, telemetry, webhook
from switchboard.desk import Agent, Desk
from switchboard.messages import Assistant
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.tools import Toolbox
from tests import recorded
from tests.conftest import ENVIRONMENT, NOW, Clock
from tests.memory import Memory
from tests.twin import Line, Parameters

MB = 1_000_000
LETTERS = string.ascii_letters
SIZE = MB  # of the bodies that are no messages
MAX_LAMBDA = 6 * 1024 * 1024


class Case(NamedTuple):
    """One request, what has to come of it, and what it may cost (milliseconds of CPU time, p99; 0 for no target)."""

    name: str
    body: bytes
    statuses: tuple[int, ...]
    signed: bool | None = True
    """False for a signature that is none but has the form, None for no signature at all."""
    encoded: bool = False
    target: float = 0


class Door(NamedTuple):
    """The webhook, on a table and queues in this process."""

    settings: Settings
    clock: Clock
    desk: Desk
    table: Memory
    line: Line

    def forget(self) -> None:
        """Empty the table and the queues: what they keep is not the function's memory."""
        self.table.table.clear()
        self.line.sent.clear()
        self.line.waiting.clear()

    def event(self, body: bytes, *, signed: bool | None = True, encoded: bool = False) -> dict[str, Any]:
        """A request as the HTTP API hands it over."""
        at = int(self.clock() * 1000)
        headers = signatures.sign(self.settings.scheme, body, development.VAPI_WEBHOOK_SECRET, timestamp=at)
        if signed is None:
            headers = {}
        elif not signed:
            headers["x-signature"] = "0" * 64
        text = base64.b64encode(body).decode() if encoded else body.decode("utf-8")
        return {"rawPath": "/webhook/vapi", "headers": headers, "body": text, "isBase64Encoded": encoded}


def door() -> Door:
    """A fresh one."""
    settings, clock = Settings.from_env(ENVIRONMENT), Clock(NOW + 60)
    secrets = Secrets(
        settings.parameter_path, (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION), Parameters(settings), clock
    )
    agent = Agent(tools(), lambda _: Assistant(id=development.ASSISTANT_ID), lambda _: None)
    table, line = Memory(), Line()
    return Door(settings, clock, Desk(settings, secrets, table, line, line, agent, clock), table, line)


def tools() -> Toolbox:
    """The tools that the recorded call asks for."""
    box = Toolbox()

    @box.tool(effect="read")
    def look_up(name: Annotated[str, "A name."]) -> str:
        """Look something up."""
        return f"Found {name}."

    @box.tool
    def book(name: Annotated[str, "A name."]) -> str:
        """Book."""
        return f"Booked {name}."

    @box.tool(effect="keyed", meanwhile="One moment.")
    def move(to: Annotated[str, "Where to."]) -> str:
        """Move."""
        return f"Moved to {to}."

    return box


def filled(size: int) -> bytes:
    """A genuine message of at most this size: a history of utterances, as Vapi's messages are."""
    message: dict[str, Any] = {"type": "conversation-update", "call": recorded.call()}
    words = "I would like to move my appointment, please. " * 4
    line = {"role": "user", "message": words, "secondsFromStart": 12.345, "time": 1_800_000_000_000}
    lines = [line] * ((size - len(json.dumps({"message": message})) - 20) // (len(json.dumps(line)) + 2))
    return json.dumps({"message": {**message, "messages": lines}}).encode()


def malformed(size: int) -> dict[str, bytes]:
    """Bodies of this size that are signed and are no message; each is the worst case of some part of the reader."""
    start = b'{"message":{"type":"x","a":'
    keys = b",".join(b'"%x":1' % n for n in range(size // 10))
    short = "".join(f'"{a}{b}{c}":1,' for a in LETTERS for b in LETTERS for c in LETTERS)[: size // 8 * 8].encode()
    parts = {
        "deep, lists": b"[" * size,
        "deep, objects": b'{"a":' * (size // 5),
        "deep and closed": b"[" * (size // 2) + b"]" * (size // 2),
        "brackets, pairs": start + b"[" + b"[]," * (size // 3) + b"x]}}",
        "brackets, in a text": start + b'"' + b"[" * size,
        "empty objects": start + b"[" + b"{}," * (size // 3) + b"x]}}",
        "small objects": start + b"[" + b'{"a":1},' * (size // 8) + b"x]}}",
        "many keys": start + b"{" + keys + b"}",
        "many keys, one twice": start + b"{" + keys + b',"0":1}}}',
        "numbers": start + b"[" + b"1," * (size // 2) + b"x]}}",
        "fractions": start + b"[" + b"0.5," * (size // 4) + b"x]}}",
        "one long number": start + b"1" * size + b"}}",
        "one long fraction": start + b"0." + b"1" * size,
        "NaN at the end": start + b"[" + b"null," * (size // 5) + b"NaN]}}",
        "many NaNs": start + b"[" + b"NaN," * (size // 4) + b"1]}}",
        "texts": start + b"[" + b'"a",' * (size // 4) + b"x]}}",
        "an unclosed text": start + b'"' + b"a" * size,
        "quotes": start + b'"' * size,
        "escapes": start + b'"' + b"\\" * size,
        "escaped quotes": start + b'"' + b'\\"' * (size // 2),
        "halves of surrogates, no end": start + b'"' + b"\\ud800" * (size // 6),
        "blanks": b" " * size,
        "not UTF-8 at the end": start + b'"' + b"a" * size + b'\xff"}}',
        "many short keys, one twice": start + b"{" + short + b'"aaa":1}}}',
        **most(size, start),
    }
    return {name: part[:size] if not part.endswith(b"}}") else part for name, part in parts.items()}


def most(size: int, start: bytes) -> dict[str, bytes]:
    """As much as is read at all, of what takes longest to read, and no message because of what stands at its end."""
    entries = size // messages.MIN_ENTRY - 100
    keys = b"".join(b'"%d":0.12345678901234567,' % n for n in range(min(size // 32, messages.MANY - 100)))
    ends = {
        "numbers": (b"[" + b"1e100," * entries, b"1e999]}}"),
        "objects": (b"[" + b'{"a":0.5},' * entries, b"x]}}"),
        "keys": (b"{" + keys, b'"0":1}}}'),
    }
    return {
        f"as many {name} as are read": start
        + head
        + (b'"a":"' if name == "keys" else b'"')
        + b"a" * (size - len(head))
        + b'",'
        + end
        for name, (head, end) in ends.items()
    }


def cases() -> list[Case]:
    """Everything that is measured."""
    # Lambda takes 6 MB for the whole event, so base64 leaves room for 4.5 MB.
    unsigned = [
        Case("no signature, 6 MB", filled(MAX_LAMBDA), (401,), signed=None, target=25),
        Case("forged, 6 MB", filled(MAX_LAMBDA), (401,), signed=False, target=25),
        Case("forged, 6 MB of base64", filled(MAX_LAMBDA * 3 // 4), (401,), signed=False, encoded=True, target=25),
        Case("one byte more than 6 MB", b"a" * (MAX_LAMBDA + 1), (413,), signed=None, target=25),
    ]
    broken = [
        Case(f"signed, 1 MB: {name}", body, (400, 413), encoded=True, target=50)
        for name, body in malformed(SIZE).items()
    ]
    genuine = [Case(f"genuine, {size} KB", filled(size * 1000), (200,)) for size in (2, 20, 200, 950)]
    repaired = b'{"message":{"type":"x","a":"' + b"\\ud800 " * (950_000 // 7) + b'"}}'
    return [*unsigned, *broken, *genuine, Case("genuine, 950 KB of half surrogates", repaired, (200,))]


def spent(act: Callable[[], Any], runs: int) -> list[float]:
    """Milliseconds of CPU time of each run, in order of size."""
    act()
    took = []
    for _ in range(runs):
        begun = time.process_time_ns()
        act()
        took.append((time.process_time_ns() - begun) / MB)
    return sorted(took)


def at(share: float, took: Sequence[float]) -> float:
    """A percentile."""
    return took[min(len(took) - 1, int(share * len(took)))]


def loads(body: bytes) -> None:
    """What Python's own reader makes of a body, without any of our checks."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return


@contextmanager
def silent() -> Iterator[None]:
    """Logs and metrics are made, as on Lambda, and go nowhere."""
    handler = telemetry.logger.registered_handler
    if not isinstance(handler, logging.StreamHandler):
        raise TypeError("Powertools' logger writes to a stream")
    nowhere = Nowhere()
    original = handler.setStream(nowhere)
    with redirect_stdout(nowhere):
        yield
    handler.setStream(original)


class Nowhere(io.TextIOBase):
    """Takes text and keeps none."""

    def write(self, text: str) -> int:
        """Forget it."""
        return len(text)


def measure(case: Case, runs: int) -> tuple[float, float, float]:
    """p50 and p99 of a case, and p50 of a bare `json.loads`."""
    made = door()
    event = made.event(case.body, signed=case.signed, encoded=case.encoded)
    answer = webhook.respond(made.desk, event)
    if answer["statusCode"] not in case.statuses:
        raise SystemExit(f"{case.name}: answered {answer['statusCode']} and not one of {case.statuses}")
    respond = telemetry.measured(webhook.respond)
    took = spent(lambda: respond(made.desk, event), runs)
    bare = spent(lambda: loads(case.body), min(runs, 20)) if case.signed else [0.0]
    return at(0.5, took), at(0.99, took), at(0.5, bare)


def parts(runs: int) -> list[tuple[str, float]]:
    """Where the time of a genuine 950 KB message goes, p50 each."""
    made, body = door(), filled(950_000)
    event = made.event(body)
    secrets = made.desk.secrets.active("vapi-webhook")
    headers = gateway.read(event).headers
    scheme, now = made.settings.scheme, made.clock()

    def verify() -> str:
        return signatures.verify(scheme, headers, body, secrets, now=now, tolerance=300)

    steps: list[tuple[str, Callable[[], Any]]] = [
        ("gateway.read", lambda: gateway.read(event)),
        ("signatures.verify", verify),
        ("messages.read", lambda: messages.read(body)),
        ("json.loads", lambda: json.loads(body)),
    ]
    return [(name, at(0.5, spent(step, runs))) for name, step in steps]


def grown(requests: int) -> tuple[float, int]:
    """MB that the process grew by over so many requests, every third of them forged, and objects that are left over."""
    made = door()
    respond = telemetry.measured(webhook.respond)
    told = [json.dumps({"message": body}).encode() for body in recorded.messages(NOW)]
    events = [made.event(body, signed=n % 3 != 0) for n, body in enumerate(told * 3)]
    for event in events * 20:
        respond(made.desk, event)
        made.forget()
    gc.collect()
    before, objects = _resident(), len(gc.get_objects())
    for number in range(requests):
        made.clock.advance(0.0001)
        respond(made.desk, events[number % len(events)])
        made.forget()
    gc.collect()
    return (_resident() - before) / MB, len(gc.get_objects()) - objects


def _resident() -> int:
    """The memory of this process in bytes: what it has now, or where the system does not say, the most it ever had."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def main(arguments: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="of each case (60)")
    parser.add_argument("--requests", type=int, default=40_000, help="of the memory run (40000)")
    given = parser.parse_args(arguments)
    # First, while the process is small: the large bodies of the other cases would hide a growth.
    with silent():
        growth, objects = grown(given.requests)
    print(f"memory growth over {given.requests} requests: {growth:.2f} MB (target 5), {objects} objects\n")
    print(f"{'milliseconds of CPU time':<48}{'p50':>9}{'p99':>9}{'target':>8}{'json':>9}{'ratio':>7}")
    for case in cases():
        with silent():
            half, most, bare = measure(case, given.runs)
        target = f"{case.target:.0f}" if case.target else "-"
        scale = f"{bare:>9.2f}{half / bare:>7.1f}" if bare else ""
        print(f"{case.name:<48}{half:>9.2f}{most:>9.2f}{target:>8}{scale}{' MISSED' if 0 < case.target < most else ''}")
    print()
    for name, half in parts(given.runs):
        print(f"{'of 950 KB: ' + name:<48}{half:>9.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
