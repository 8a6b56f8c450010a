"""The whole backend on this machine: the real template, built and deployed by the real `sam` into the embedded AWS."""

import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devkit import development, emulator, facts, fakes, processes, sam, secrets, wiring
from devkit.errors import UserError

LOOPBACK = "127.0.0.1"
SERVICES = ("fakes", "emulator")  # in the order in which they are ended
ROLES = ("the emulator", "the fake Vapi", "the fake Twilio")  # one port each, from the stack's port on
READY_SECONDS = 30

type Progress = Callable[[str], None]


class Stack:
    """One local stack: a context manager, or `start` and `stop`.

    `port` is the emulator's; the fake Vapi and the fake Twilio take the next two. With `background` everything
    outlives this process until `stop` is called for the same port; otherwise it ends with this process, however
    that ends. `build=False` deploys what was built before. `public_url` is the origin by which others
    reach the API, if they do so through a tunnel. `progress` is told what is done, a line at a time.
    """

    def __init__(
        self,
        port: int = 0,
        root: Path = facts.ROOT,
        *,
        build: bool = True,
        background: bool = False,
        public_url: str = "",
        progress: Progress = lambda line: None,
    ) -> None:
        self.port = port or facts.configured_port()
        self.facts: dict[str, Any] = {}
        self.fakes: fakes.Fakes | None = None
        self._root = root
        self._build = build
        self._background = background
        self._public_url = public_url
        self._progress = progress
        self._local = root / ".local"
        self._owned = False  # whether what is on the ports and in the files of this port is ours to take away
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def api_url(self) -> str:
        """The emulator: every AWS API, and the HTTP API for requests with the right Host header."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def host(self) -> str:
        """The Host header of the HTTP API."""
        return f"{development.HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether a background stack runs on this port."""
        return all(processes.recorded(self._pid(name)) for name in SERVICES)

    def start(self) -> None:
        """Bring everything up, or leave nothing behind. A background stack that runs already is deployed to again."""
        self._began = time.monotonic()
        self._local.mkdir(exist_ok=True)
        if self._background and self.running:
            self._say("running already: deploying again")
            self._deploy()
            self._complete()
            return
        if self._background:
            self.stop()  # what is left of one that was killed in part
        self._require_free_ports()
        try:
            self._start_services()
            self._deploy()
            self._complete()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """End everything of this stack, and whether anything ran. Safe at any time, and twice.

        A stack in the background can be ended by any `Stack` in the background on its port, others only by their own.
        """
        ran = self._owned
        if self.fakes:
            self.fakes.stop()
            self.fakes = None
        while self._services:
            processes.end(self._services.popitem()[1])
        if self._background:
            for name in SERVICES:
                self._owned |= self._pid(name).exists()
                ran |= processes.end_recorded(self._pid(name))
        if self._owned:
            shutil.rmtree(self._work, ignore_errors=True)
            self._facts_file.unlink(missing_ok=True)
            facts.withdraw(self.port, self._local)
        self._owned = False
        return ran

    def client(self, service: str) -> Any:
        """A boto3 client of this stack's AWS, as its administrator."""
        return facts.client(service, self.api_url)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request to the HTTP API as a caller would; status and body of the answer."""
        return _request(self.port, method, path, body, {"Host": self.host, **(headers or {})})

    def _start_services(self) -> None:
        self._owned = True
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        emulating: list[str | Path] = [self._python("emulator"), "-m", emulator.__name__]
        if self._background:
            self._start_service("emulator", emulating, self._emulator_environment())
            serving = [sys.executable, "-m", fakes.__name__, str(self.port + 1), self.api_url, self.host]
            process = self._start_service("fakes", serving, os.environ)
            for port in (self.port + 1, self.port + 2):
                self._await(partial(_listening, port), process, "fakes")
        else:
            self._start_service("emulator", [*emulating, emulator.TETHER], self._emulator_environment())
            self.fakes = fakes.Fakes(self.port + 1, self.api_url, self.host)
            self.fakes.start()

    def _start_service(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        log = self._log(name)
        log.unlink(missing_ok=True)
        tethered = not self._background
        process = processes.start(command, cwd=self._root, env=env, log=log, tethered=tethered)
        self._services[name] = process
        if self._background:
            processes.record(self._pid(name), process.pid)
        return process

    def _deploy(self) -> None:
        # Two stacks share the directory of the build: one at a time, until it is uploaded.
        with self._alone():
            with self._building():
                self._await_emulator()
                secrets.store_development(self.client("ssm"))
                self._say("development secrets stored")
            sam.deploy(self._root, self.api_url, self._parameters(), self._log("deploy"))
            self._say("template deployed by `sam deploy`")

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Build the template while something else is done."""
        if not self._build:
            yield
            return
        log = self._log("build")
        build = sam.start_build(self._root, self.api_url, log)
        try:
            yield
            sam.require_success(build, "sam build", log)
        finally:
            processes.end(build)
        self._say("functions and layers built by `sam build`")

    def _await_emulator(self) -> None:
        self._await(self._healthy, self._services.get("emulator"), "emulator")
        self._say(f"embedded AWS on {self.api_url}, IAM policies enforced")

    def _await(self, ready: Callable[[], bool], process: subprocess.Popen[bytes] | None, name: str) -> None:
        """Wait until a service that `process` runs is ready; `UserError` when it stops or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if process and process.poll() is not None:
                raise UserError(f"could not start ({name}): {sam.reason(self._log(name))} (log: {self._log(name)})")
            if time.monotonic() > deadline:
                raise UserError(f"could not start ({name}) within {READY_SECONDS} s; its log is {self._log(name)}")
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            return _request(self.port, "GET", emulator.HEALTH)[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _complete(self) -> None:
        wired = wiring.wire(development.STACK_NAME, development.HOST, self.client)
        status, body = self.request("GET", "/health")
        if status != http.HTTPStatus.OK:
            raise UserError(f"deployed, but GET /health answered {status} {body[:200]!r}")
        found = self.client("cloudformation").describe_stacks(StackName=development.STACK_NAME)["Stacks"][0]
        self.facts = {
            "stack": development.STACK_NAME,
            "port": self.port,
            "api_url": self.api_url,
            "host": self.host,
            "vapi_url": f"http://{LOOPBACK}:{self.port + 1}",
            "twilio_url": f"http://{LOOPBACK}:{self.port + 2}",
            "outputs": {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])},
            "function_urls": wired.function_urls,
            "routes": wired.routes,
            "region": development.REGION,
        }
        facts.write(self._facts_file, self.facts)
        if self._background:
            facts.announce(self.facts, self._local)
        self._say(f"ready: {', '.join(wired.routes)}")

    def _parameters(self) -> dict[str, str]:
        return {
            "Stage": "local",
            "Architecture": sam.architecture(),
            "PublicBaseUrl": self._public_url or f"http://{self.host}",
            "VapiApiUrl": f"http://{LOOPBACK}:{self.port + 1}",
            "TwilioApiUrl": f"http://{LOOPBACK}:{self.port + 2}",
            "TwilioAccountSids": development.TWILIO_ACCOUNT_SID,
            "PhoneNumberId": development.PHONE_NUMBER_ID,
            "CredentialId": development.CREDENTIAL_ID,
            "WebCalls": "true",  # on this machine nobody finds the page, and the fake Vapi costs nothing
        }

    def _emulator_environment(self) -> dict[str, str]:
        """Nothing of the user's: no credentials, no proxy, no settings of another emulator."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self._work),
            "TMPDIR": str(self._work),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": LOOPBACK,
            "IOT_MTLS_ENABLED": "0",  # would listen on every interface
            "SFTP_ENABLED": "0",
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            emulator.RUNTIME: str(self._local / "runtime"),
            emulator.WORK: str(self._work),
        }

    def _require_free_ports(self) -> None:
        if self.running:
            raise UserError(
                f"a stack runs on port {self.port} already: stop it with `make down`, or choose other ports with "
                "SWITCHBOARD_PORT"
            )
        for port, role in enumerate(ROLES, self.port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError as error:
                    raise UserError(
                        f"port {port}, which {role} needs, is in use: set SWITCHBOARD_PORT to the first of three "
                        f"free ports (now {self.port})"
                    ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._local / "build.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _python(self, environment: str) -> Path:
        program = self._local / environment / "bin/python"
        if not program.exists():
            raise UserError("the tools are not set up: run `make setup` first")
        return program

    def _say(self, line: str) -> None:
        self._progress(f"{time.monotonic() - self._began:5.1f} s  {line}")

    @property
    def _work(self) -> Path:
        return self._local / f"emulator-{self.port}"

    @property
    def _facts_file(self) -> Path:
        return facts.file(self._local, self.port)

    def _log(self, name: str) -> Path:
        return self._local / f"{name}-{self.port}.log"

    def _pid(self, name: str) -> Path:
        return facts.pid_file(self._local, name, self.port)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _request(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
