"""One execution environment under Lambda's real runtime client, as a Runtime API hands it its events.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import compileall
import json
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from devkit import facts
from devkit.sandbox import Sandbox
from tests.benchmarks.rig.artefacts import Artefact

VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
LONGEST = 900  # seconds until a process that says nothing is given up
REFS = re.compile(r"I\s+refs:\s+([\d,]+)")
# The runtime client takes none of them for missing.
HEADERS = {
    "Content-Type": "application/json",
    "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000000",
    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:measured",
    "Lambda-Runtime-Trace-Id": "Root=1-695bd1f0-000000000000000000000001;Sampled=0",
}
# Instructions are counted at a twentieth of the usual speed, and a time-out in there would be another path through the
# code: timers run as much slower. The C module, so that whatever imports `signal` later finds it changed.
SLOW_TIMERS = """
import _signal
_setitimer = _signal.setitimer
_signal.setitimer = lambda which, seconds, interval=0.0: _setitimer(which, seconds * 100, interval * 100)
"""
# Stands before a function's own module, and answers every event with what that has loaded.
PROBE_MODULE = "measured"
PROBE = """
import sys
opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
from app import handler as measured
found = {"modules": sorted(sys.modules), "opened": len(opened)}
def handler(event, context):
    return found
"""


class Played(NamedTuple):
    """What became of a run. Times are seconds of CPU, memory bytes; `instructions` is 0 without valgrind."""

    answers: list[Any]
    instructions: int
    init: float
    total: float
    memory: int
    log: str


class Loaded(NamedTuple):
    """What a function has loaded when it is ready: all modules, the runtime client's too, and the files for its own."""

    modules: frozenset[str]
    opened: int


class Failed(Exception):
    """A function did not start, or answered with an error: nothing that was counted means anything."""


class Runtime:
    """The interpreter with the runtime client, a copy of which is compiled as AWS's is."""

    def __init__(self, folder: Path, runtime: Path = facts.LOCAL / "runtime") -> None:
        self._home = folder / "runtime"
        shutil.copytree(runtime, self._home, symlinks=True)
        (packages,) = self._home.glob("lib/python3*/site-packages")
        (packages / "sitecustomize.py").write_text(SLOW_TIMERS)
        (packages / f"{PROBE_MODULE}.py").write_text(PROBE)
        compileall.compile_dir(packages, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self._home / "bin/python"

    def play(
        self,
        artefact: Artefact,
        events: Iterable[Any],
        env: dict[str, str],
        *,
        count: bool,
        watch: "Watch | None" = None,
    ) -> Played:
        """Start the function, give it the events one by one, end it when it asks for one more.

        `count` its instructions, which takes twenty times as long. `Failed` for whatever is no answer.
        """
        command, variables = self.start(artefact, env, via=VALGRIND if count else ())
        return play(command, artefact.code, variables, events, watch or Watch())

    def start(
        self, artefact: Artefact, env: dict[str, str], *, via: Sequence[str] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """The command that becomes the function, and its environment, which lacks only the Runtime API's address."""
        sandbox = Sandbox(code=artefact.code, layers=artefact.opt, runtime=self._home, bubblewrap=None)
        about = {"Runtime": "python3.13", "Handler": artefact.handler, "Name": artefact.name}
        variables = sandbox.variables({**about, "Timeout": artefact.timeout, "MemorySize": artefact.memory})
        # A random order of sets would be another number of instructions.
        fixed = {"PYTHONHASHSEED": "0", "HOME": "/nonexistent"}
        return sandbox.command(artefact.handler, via=via), variables | artefact.variables | env | fixed

    def add(self, module: str, code: str) -> None:
        """Put a module where the runtime client's own are, to stand before a function's."""
        (packages,) = self._home.glob("lib/python3*/site-packages")
        (packages / f"{module}.py").write_text(code)

    def look(self, artefact: Artefact, env: dict[str, str]) -> Loaded:
        """What a function loads while it starts."""
        played = self.play(artefact._replace(handler=f"{PROBE_MODULE}.handler"), [{}], env, count=False)
        (found,) = played.answers
        return Loaded(frozenset(found["modules"]) - {PROBE_MODULE}, found["opened"])


class Watch(NamedTuple):
    """What somebody wants to be told while a function runs: its process with the file that it logs to, and its answers."""

    began: Callable[[int, int], None] = lambda pid, log: None
    answered: Callable[[Any], None] = lambda answer: None
    longest: float = LONGEST
    """Seconds until all events must be answered."""


def play(command: list[str], directory: Path, env: dict[str, str], events: Iterable[Any], watch: Watch) -> Played:
    """Run one runtime client against a Runtime API of its own."""
    script = _Script(iter(events), watch)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with TemporaryFile("w+b") as log:
        env = env | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_address[1]}"}
        process = subprocess.Popen(command, cwd=directory, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            watch.began(process.pid, log.fileno())
            script.await_end(process)
            readings = Reading() if script.failure else Reading.of(process.pid)
            process.send_signal(signal.SIGTERM)  # of which valgrind tells what it has counted
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            server.shutdown()
            server.server_close()
            log.seek(0)
            said = log.read().decode(errors="replace")
    if script.failure:
        raise Failed(f"{script.failure}\n{said[-3000:]}")
    counted = REFS.search(said)
    return Played(
        answers=script.answers,
        instructions=int(counted[1].replace(",", "")) if counted else 0,
        init=script.init.cpu,
        total=readings.cpu,
        memory=readings.memory,
        log=said,
    )


class Reading(NamedTuple):
    """What a process has used so far: seconds of CPU, and bytes of memory, at the most and now."""

    cpu: float = 0.0
    memory: int = 0
    resident: int = 0

    @classmethod
    def of(cls, pid: int) -> "Reading":
        """Read it, the threads that have ended included: this is the clock that Linux keeps for the whole process."""
        status = Path(f"/proc/{pid}/status").read_text()
        peak, now = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmHWM", "VmRSS"))
        cpu = time.clock_gettime((~pid << 3) | 2)
        return cls(cpu, *(int(found[1]) * 1024 if found else 0 for found in (peak, now)))


class _Script:
    """What the runtime client is told, and what it says."""

    def __init__(self, events: Iterator[Any], watch: Watch) -> None:
        self._events = events
        self._watch = watch
        self._over = threading.Event()
        self._asked = 0
        self.pid = 0
        self.answers: list[Any] = []
        self.failure = ""
        self.init = Reading()

    def next(self) -> Any:
        """The next event, or None when there is no more."""
        if not self._asked:
            self.init = Reading.of(self.pid)
        self._asked += 1
        try:
            return next(self._events)
        except StopIteration:
            return None
        except Exception as error:
            self.fail(f"no next event: {error!r}")
            raise

    def answer(self, body: bytes) -> None:
        self.answers.append(json.loads(body))
        self._watch.answered(self.answers[-1])

    def fail(self, words: str) -> None:
        self.failure = words
        self._over.set()

    def end(self) -> None:
        self._over.set()

    def await_end(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        deadline = time.monotonic() + self._watch.longest
        while not self._over.wait(0.05):
            if process.poll() is not None:
                self.failure = f"it ended with {process.returncode}"
                return
            if time.monotonic() > deadline:
                self.failure = "it took too long"
                return


def _handler(script: _Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True  # what does not fit into one packet would wait 40 ms for an acknowledgement

        def do_GET(self) -> None:
            event = script.next()
            if event is None:
                script.end()
                time.sleep(LONGEST)  # there is no answer to that request: the process that asks is ended
                return
            body = json.dumps(event).encode()
            self.send_response(200)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + LONGEST) * 1000)))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()
            if self.path.endswith("/response"):
                script.answer(body)
            else:
                script.fail(body.decode(errors="replace"))

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    return Handler
