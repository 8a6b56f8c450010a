"""One built function under Lambda's real runtime client and SAM's own runtime interface emulator (RIE).

It is what `sam local invoke` runs, without the container: real time-outs, the real limit on answers, real error shapes.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devkit import bootstrap, development, facts, processes
from devkit.built import BUILD, Built, BuiltFunction
from devkit.errors import UserError
from devkit.sam import architecture
from devkit.sandbox import Sandbox, bubblewrap

RIE = "lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{}"  # inside sam's own environment
INVOCATIONS = "/2015-03-31/functions/function/invocations"
START_SECONDS = 10
LONGEST = 900 + 30  # seconds; Lambda's longest time-out, and some for starting
NOWHERE = "http://127.0.0.1:9"  # where AWS is unless a test or an env file says so: nothing may reach a real account


class Function:
    """A running execution environment of one function; a context manager, or call `close`.

    `env` overrides variables that the template declares, as `sam local invoke -n` does, and adds those that
    it does not. Invocations run one at a time, in the same environment while it lives, as on Lambda.
    """

    def __init__(
        self,
        name: str,
        build_dir: Path = facts.ROOT / BUILD,
        env: Mapping[str, str] | None = None,
        *,
        sandboxed: bool = True,
        local: Path = facts.LOCAL,
    ) -> None:
        self._function = Built(build_dir).function(name)
        self._sandbox = Sandbox(
            code=self._function.code,
            layers=merged_layers(build_dir, self._function.layers),
            runtime=local / "runtime",
            bubblewrap=bubblewrap() if sandboxed else None,
        )
        rie = _rie(local)
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in `close`
        with _free_ports(2) as (self._port, api_port):
            self._process = self._start(rie, api_port, self._environment(env or {}))
            self._await()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def invoke(self, event: Any) -> Any:
        """Invoke with `event` and return the parsed answer; a failure is the object that Lambda answers with.

        That object has `errorType` and `errorMessage`.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LONGEST)
        try:
            connection.request("POST", INVOCATIONS, json.dumps(event).encode())
            text = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"{self._function.name} stopped: {error}; its log:\n{self.logs()}") from error
        finally:
            connection.close()
        try:
            return json.loads(text)
        except ValueError:
            # RIE answers a time-out or a dead runtime in words.
            kind = "Sandbox.Timedout" if "timed out" in text else "Runtime.ExitError"
            return {"errorType": kind, "errorMessage": text}

    def logs(self) -> str:
        """All that the function has written since it was started."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End it, with everything it started."""
        processes.end(self._process)
        self._log.close()

    def _start(self, rie: Path, api_port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        listening = ["--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"]
        serving = ["--runtime-api-address", f"127.0.0.1:{api_port}"]
        via = [str(rie), "--log-level", "error", *listening, *serving]
        command = self._sandbox.command(self._function.handler, via=via, show=[rie])
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-I", bootstrap.__file__],
            env=environment | bootstrap.request(command, self._function.code),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _environment(self, overlay: Mapping[str, str]) -> dict[str, str]:
        function: BuiltFunction = self._function
        variables = self._sandbox.variables(
            {
                "Name": function.name,
                "Handler": function.handler,
                "Runtime": function.runtime,
                "Timeout": function.timeout,
                "MemorySize": function.memory,
            }
        )
        variables |= {
            "AWS_REGION": development.REGION,
            "AWS_DEFAULT_REGION": development.REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": NOWHERE,
        }
        if function.json_logs:
            variables |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
        return variables | function.variables | dict(overlay)

    def _await(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _listening(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.logs()
                self.close()
                raise UserError(f"{self._function.name} did not start:\n{said}")
            time.sleep(0.01)


def merged_layers(build_dir: Path, layers: tuple[Path, ...]) -> Path:
    """One directory with the layers over each other, as /opt: made once for a build, inside it, of hard links."""
    home = build_dir / "opt" / "-".join(layer.name for layer in layers or (Path("none"),))
    if not home.is_dir():
        home.parent.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=home.parent))
        for layer in layers:
            shutil.copytree(layer, made, symlinks=True, dirs_exist_ok=True, copy_function=_link)
        try:
            made.rename(home)
        except OSError:  # somebody else was faster
            shutil.rmtree(made)
    return home.resolve()


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)  # of the layer below
    os.link(source, target)


def read_env(path: Path, name: str) -> dict[str, str]:
    """The variables of an env file in the format of `sam local`: for one function, or under `Parameters` for all."""
    try:
        given = json.loads(path.read_text())
        chosen = {**given.get("Parameters", {}), **given.get(name, {})}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is not an env file ({error})") from error
    return {key: str(value) for key, value in chosen.items()}


def _rie(local: Path) -> Path:
    found = sorted((local / "sam").glob(RIE.format(architecture())))
    if not found:
        raise UserError("the tools are not set up: run `make setup` first")
    return found[0].resolve()


@contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    """Ports that the kernel gives to nobody else meanwhile: only who asks for that very number can listen there."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            # As Go does for whatever listens, RIE included: it may then share the port with this one, which never will.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
        yield [probe.getsockname()[1] for probe in probes]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
