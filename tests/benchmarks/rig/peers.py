"""What others would have written for the same events: a `typical` function, and two servers. Benchmarks only."""

import compileall
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from devkit import development, facts
from tests.benchmarks.rig.artefacts import Artefact
from tests.benchmarks.rig.runtime import REFS, VALGRIND, Failed, Reading, Runtime

SOURCES = Path(__file__).parents[1] / "peers"
SECRET = {"WEBHOOK_SECRET": development.VAPI_WEBHOOK_SECRET}
START = 300  # seconds; counted, a server starts slowly
TYPICAL, UNCOMPILED = "a typical function", "the same as `sam build` leaves it"


class Server(NamedTuple):
    """A server up to its first answer, and what one more costs. Instructions, seconds of CPU, bytes; 0 where unknown."""

    name: str
    first: int
    warm: int
    cpu: float
    memory: int


def typical(folder: Path, *, bytecode: bool) -> Artefact:
    """The typical function, with its packages as layers have them."""
    code, opt = folder / f"task-typical-{bytecode}", folder / f"opt-typical-{bytecode}"
    code.mkdir()
    shutil.copy(SOURCES / "typical/app.py", code)
    shutil.copytree(_installed("typical"), opt / "python", ignore=shutil.ignore_patterns("__pycache__"))
    if bytecode:
        compileall.compile_dir(opt, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    archive = Path(shutil.make_archive(str(folder / f"typical-{bytecode}"), "zip", opt))
    size = sum(path.stat().st_size for path in opt.rglob("*") if path.is_file())
    name = TYPICAL if bytecode else UNCOMPILED
    return Artefact(name, "app.handler", 15, 1024, SECRET, code, opt, archive.stat().st_size, size)


def servers(runtime: Runtime, events: Iterator[Mapping[str, Any]], *, count: bool, runs: int) -> Iterator[Server]:
    """FastAPI, and Express where there is a node."""
    python = [str(runtime.python), str(SOURCES / "fastapi/server.py")]
    yield _server("FastAPI and uvicorn", python, {"PYTHONPATH": str(_installed("fastapi"))}, events, count, runs)
    if (node := shutil.which("node")) and shutil.which("npm"):
        made = _express()
        yield _server("Express", [node, str(made / "server.js")], {}, events, count, runs)
    else:
        yield Server("Express (no node here)", 0, 0, 0.0, 0)


def _server(
    name: str, command: list[str], env: Mapping[str, str], events: Iterator[Mapping[str, Any]], count: bool, runs: int
) -> Server:
    plain = [_serve(command, env, events, 1) for _ in range(runs)]
    few, many = (_serve([*VALGRIND, *command], env, events, number)[0] for number in (5, 25)) if count else (0, 0)
    first = _serve([*VALGRIND, *command], env, events, 1)[0] if count else 0
    readings = sorted(reading.cpu for _, reading in plain)
    memory = max(reading.memory for _, reading in plain)
    return Server(name, first, (many - few) // 20, readings[len(readings) // 2], memory)


def _serve(
    command: list[str], env: Mapping[str, str], events: Iterator[Mapping[str, Any]], number: int
) -> tuple[int, Reading]:
    """Start a server, have it answer so many webhooks over one connection, end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryFile("w+b") as log:
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONHASHSEED": "0", **SECRET, **env}
        process = subprocess.Popen([*command, str(port)], env=variables, stdout=log, stderr=log)
        try:
            connection = _connected(process, port)
            for _ in range(number):
                _post(connection, next(events))
            reading = Reading.of(process.pid)
            process.send_signal(signal.SIGTERM)
            connection.close()
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        counted = REFS.search(log.read().decode(errors="replace"))
    return int(counted[1].replace(",", "")) if counted else 0, reading


def _connected(process: subprocess.Popen[bytes], port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
        try:
            connection.connect()
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        return connection
    raise Failed(f"a peer did not start: {process.args!r}")


def _post(connection: http.client.HTTPConnection, event: Mapping[str, Any]) -> None:
    headers = {name: value for name, value in event["headers"].items() if name.lower().startswith("x-")}
    body = event["body"].encode()
    connection.request("POST", "/webhook/vapi", body, {**headers, "content-type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200 or json.loads(said) != {}:
        raise Failed(f"a peer answered {answer.status}: {said[:200]!r}")


def _installed(name: str) -> Path:
    """The packages of a peer, from its lock."""
    lock, target = SOURCES / name / "requirements.txt", facts.LOCAL / "peers" / name
    recipe = target / "recipe.txt"
    if not recipe.exists() or recipe.read_text() != lock.read_text():
        shutil.rmtree(target, ignore_errors=True)
        options = ["--quiet", "--no-deps", "--require-hashes", "--no-build", "--target", str(target)]
        python = str(facts.LOCAL / "runtime/bin/python")
        command = [
            str(facts.LOCAL / "bin/uv"),
            "pip",
            "install",
            *options,
            "--python",
            python,
            "--requirement",
            str(lock),
        ]
        subprocess.run(command, check=True)
        compileall.compile_dir(target, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        recipe.write_text(lock.read_text())
    return target


def _express() -> Path:
    """The Express server with its packages, from its lock."""
    source, target = SOURCES / "express", facts.LOCAL / "peers/express"
    lock = source / "package-lock.json"
    if not (target / "node_modules").exists() or (target / lock.name).read_text() != lock.read_text():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        command = [str(shutil.which("npm")), "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=target, check=True)
    shutil.copy(source / "server.js", target)
    return target


def versions(lock: Path) -> dict[str, str]:
    """Name to version of what a lock pins."""
    return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
