"""One execution environment that starts from a snapshot, as Lambda's real runtime client lives through it.

The Runtime API of a benchmark, with the two requests that SnapStart adds: the client runs what stands before a snapshot,
asks for `/restore/next`, and is answered when the environment goes on, after however long a time.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.benchmarks.rig.artefacts import Artefact
from tests.benchmarks.rig.runtime import HEADERS, Runtime

API = "/2018-06-01/runtime"
PATIENCE = 60  # seconds until somebody who says nothing is given up
TOKEN = "proof-of-this-environment"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has been ended, perhaps while an answer was on its way."""


class Problem(NamedTuple):
    """What the runtime client reported: where (`init/error`, `restore/error`), of which kind, in which words."""

    place: str
    kind: str
    words: str


class Environment:
    """A context manager: from its start to whatever end. `snapshot` waits for the snapshot to be due."""

    def __init__(self, runtime: Runtime, artefact: Artefact, env: dict[str, str], *, via: Sequence[str] = ()) -> None:
        self.problems: list[Problem] = []
        self._asked, self._restored = threading.Event(), threading.Event()
        self._events: queue.Queue[Any] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        env = {**env, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        env["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self._server.server_address[1]}"
        command, variables = runtime.start(artefact, env, via=via)
        self._log = TemporaryFile("w+b")  # noqa: SIM115 - closed with the environment
        self._serve()
        self._process = subprocess.Popen(
            command, cwd=artefact.code, env=variables, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._restored.set()  # only now: one that goes on would be counted by whoever comes next
        self._server.shutdown()
        self._server.server_close()
        self._log.close()

    @property
    def log(self) -> str:
        """What it has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def snapshot(self) -> None:
        """Wait until it has done all that comes before a snapshot."""
        self._await(self._asked.is_set)

    def restore(self) -> None:
        """Let it go on, as if it were a copy of it."""
        self._restored.set()

    def invoke(self, event: Any) -> Any:
        """Its answer to one event."""
        self._events.put(event)
        self._await(lambda: not self._answers.empty())
        return self._answers.get()

    def end(self) -> int:
        """Wait for its end: the status that it exits with."""
        return self._process.wait(PATIENCE)

    def _await(self, done: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it does not go on: {self.problems}\n{self.log[-3000:]}")
            time.sleep(0.01)

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    # What the client asks and tells

    def held(self) -> None:
        """It has asked to be restored; returns when it is."""
        self._asked.set()
        self._restored.wait()

    def next(self) -> Any:
        """The next event, whenever there is one."""
        return self._events.get()

    def answered(self, body: bytes) -> None:
        """It has answered, or raised."""
        self._answers.put(json.loads(body))

    def failed(self, place: str, kind: str, body: bytes) -> None:
        """It cannot go on."""
        self.problems.append(Problem(place, kind, json.loads(body)["errorMessage"]))


def _handler(environment: Environment) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            match self.path.removeprefix(API):
                case "/restore/next":
                    environment.held()
                    self._say(200, b"")
                case "/invocation/next":
                    self._say(200, json.dumps(environment.next()).encode(), HEADERS)
                case _:
                    self._say(404, b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            kind = self.headers.get("Lambda-Runtime-Function-Error-Type", "")
            match self.path.removeprefix(API).split("/")[1:]:
                case ["invocation", _, "response" | "error"]:
                    environment.answered(body)
                case [("init" | "restore") as phase, "error"]:
                    environment.failed(f"{phase}/error", kind, body)
                case _:
                    self._say(404, b"")
                    return
            self._say(202, b"")

        def _say(self, status: int, body: bytes, headers: dict[str, str] = {}) -> None:  # noqa: B006 - never changed
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + PATIENCE) * 1000)))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    return Handler


class KeyEndpoint:
    """Where a function gets its keys with SnapStart; a context manager. `key` is the id of those that it gives
    now, unless it is `down`.
    """

    def __init__(self) -> None:
        self.key = "AKIDOFYESTERDAY00000"
        self.asked = 0
        self.down = False
        self._server = _Server(("127.0.0.1", 0), _keys(self))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def env(self) -> dict[str, str]:
        """How a function finds it."""
        address = f"http://127.0.0.1:{self._server.server_address[1]}/2021-04-23/credentials"
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address, "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN}

    def give(self) -> dict[str, str]:
        """The keys of now, good for six hours."""
        self.asked += 1
        end = datetime.fromtimestamp(time.time() + 6 * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": self.key, "SecretAccessKey": "x" * 40, "Token": "t" * 700, "Expiration": end}


def _keys(endpoint: KeyEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("authorization") == TOKEN and not endpoint.down
            body = json.dumps(endpoint.give() if given else {"code": "NoKeys"}).encode()
            self.send_response(200 if given else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    return Handler
