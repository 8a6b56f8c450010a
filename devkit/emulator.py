"""The embedded AWS: ministack, with Python functions hosted by Lambda's real runtime client.

Runs in the emulator's own environment (`python -m devkit.emulator`), configured by the environment that
`devkit.stack` makes. Stock ministack runs Python functions in its own interpreter, with its own packages in
reach, which hides a missing dependency, and without /opt and /var/task. It has a complete Lambda Runtime API
for custom runtimes, so Python functions are pointed there: their `bootstrap` becomes awslambdaric in a clean
environment. That touches functions of ministack that are not public, hence the exact version.
"""

import contextvars
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from devkit import bootstrap
from devkit.sandbox import Sandbox, bubblewrap

MINISTACK = "1.5.33"  # the version whose insides this module knows
RUNTIME = "SWITCHBOARD_RUNTIME"  # environment with awslambdaric
WORK = "SWITCHBOARD_WORK"  # directory for unpacked code and layers
TETHER = "--tethered"

BOOTSTRAP = "bootstrap"
HEALTH = "/_ministack/health"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
GIVEN = (*CREDENTIALS, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_LAMBDA_RUNTIME_API")

_unpacking = threading.Lock()


def main() -> None:
    """Serve until killed; with `--tethered` also until the process that started this one is gone."""
    found = importlib.metadata.version("ministack")
    if found != MINISTACK:
        sys.exit(
            f"devkit/emulator.py knows ministack {MINISTACK}, but {found} is installed: check it, then change both"
        )
    if TETHER in sys.argv:
        sys.argv.remove(TETHER)
        threading.Thread(target=_die_with_owner, daemon=True).start()
    from ministack import app

    # The others belong to the APIs that are deployed here, which may well have a GET /health of their own.
    app._HEALTH_PATHS = (HEALTH,)
    enforce_policies_as_aws_does()
    host_python_functions()
    app.main()


def enforce_policies_as_aws_does() -> None:
    """Correct the two places where ministack's IAM refuses what AWS allows."""
    from ministack import app
    from ministack.core import iam_actions, iam_evaluator

    # Policies that demand TLS would refuse everything here: what never leaves this machine counts as encrypted.
    pin_origin = app.pin_request_origin
    app.pin_request_origin = lambda address, _secure: pin_origin(address, True)

    # ssm:GetParameters is decided for each parameter that it names; ministack asks about all parameters at once.
    extract, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce

    def resources(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        found: str = extract(service, method, path, headers, body, *rest)
        names = parameter_names(body) if service == "ssm" and found == "*" else []
        region, account = rest[-2:]
        return " ".join(f"arn:aws:ssm:{region}:{account}:parameter/{name.lstrip('/')}" for name in names) or found

    def decide(key: str, action: str, service: str, region: str, resource_arn: str = "*", **context: Any) -> Any:
        named = resource_arn.split(" ") if service == "ssm" else [resource_arn]
        denials = (enforce(key, action, service, region, resource_arn=arn, **context) for arn in named)
        return next(filter(None, denials), None)

    iam_actions.extract_resource_arn, iam_evaluator.enforce = resources, decide


def parameter_names(body: bytes) -> list[str]:
    """The parameters that an SSM request names."""
    try:
        names = json.loads(body)["Names"]
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def host_python_functions() -> None:
    """Point ministack's Python functions at the real runtime client."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    class PythonWorker(lambda_runtime.ProvidedWorker):  # type: ignore[misc]  # ministack has no types
        """One execution environment. Its process is started by a thread that lives as long as it does."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            # The kernel ends the process when the *thread* that started it ends; a request's thread would be too short.
            self._starter = ThreadPoolExecutor(max_workers=1)

        def _spawn(self, init_timeout: float | None = None) -> None:
            spawn = super()._spawn
            self._starter.submit(contextvars.copy_context().run, spawn, init_timeout).result()

    given = lambda_svc._provided_worker_env

    def environment(config: dict[str, Any], code: str, port: int) -> dict[str, str]:
        layers = [lambda_svc._resolve_layer_zip(layer) for layer in config.get("Layers", [])]
        return worker_environment(config, given(config, code, port), Path(code), unpack(*filter(None, layers)))

    write_bootstrap()
    lambda_runtime._worker_class_for = lambda _config: PythonWorker
    lambda_svc._provided_runtime_code_dir = lambda code: str(unpack_function(code))
    lambda_svc._provided_worker_env = environment
    lambda_svc._execute_function_warm = lambda_svc._execute_function_provided_warm


def worker_environment(config: dict[str, Any], given: dict[str, str], code: Path, layers: Path) -> dict[str, str]:
    """The variables of one execution environment: what AWS sets, the function's own, and nothing of this host.

    `config` is the function's configuration, `given` what ministack would set, `code` a directory of
    `unpack_function`.
    """
    sandbox = Sandbox(code=code / "task", layers=layers, runtime=Path(os.environ[RUNTIME]), bubblewrap=bubblewrap())
    handler = config["Handler"]
    logging = config.get("LoggingConfig") or {}
    variables = sandbox.variables(
        {
            "Name": config["FunctionName"],
            "Handler": handler,
            "Runtime": config["Runtime"],
            "Timeout": config.get("Timeout", 3),
            "MemorySize": config.get("MemorySize", 128),
        }
    )
    variables |= {name: given[name] for name in GIVEN if given.get(name)}
    variables["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
    if logging.get("LogGroup"):
        variables["AWS_LAMBDA_LOG_GROUP_NAME"] = logging["LogGroup"]
    if logging.get("LogFormat") == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = logging.get("ApplicationLogLevel", "INFO")
    variables |= (config.get("Environment") or {}).get("Variables") or {}
    return variables | bootstrap.request(sandbox.command(handler), sandbox.code)


def write_bootstrap() -> None:
    """Write the program that every execution environment begins as: once, before anything is started.

    A program that one thread writes while another starts a process cannot be executed at once ("text file busy").
    """
    # A copy, because the sources may change while this runs.
    script = shutil.copy(bootstrap.__file__, os.environ[WORK])
    program = Path(os.environ[WORK], BOOTSTRAP)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{script}"\n')
    program.chmod(0o755)


def unpack_function(code: bytes) -> Path:
    """Unpack a function's zip into `task`, and lay the bootstrap beside it rather than among the function's files."""
    task = unpack(code)
    home = task.parent / f"function-{task.name}"
    with _unpacking:
        if not home.is_dir():
            made = Path(tempfile.mkdtemp(dir=task.parent))
            (made / "task").symlink_to(task)
            (made / BOOTSTRAP).symlink_to(task.parent / BOOTSTRAP)
            made.rename(home)
    return home


def unpack(*archives: bytes) -> Path:
    """Unpack zips over each other into one directory, once for the same contents, and return it."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(archive).digest() for archive in archives)).hexdigest()
    home = Path(os.environ[WORK], digest[:24])
    with _unpacking:
        if not home.is_dir():
            # Unpacked aside and renamed: a directory that is there is complete.
            made = Path(tempfile.mkdtemp(dir=home.parent))
            for archive in archives:
                _extract(archive, made)
            made.rename(home)
    return home


def _extract(archive: bytes, target: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        for entry in packed.infolist():
            path = packed.extract(entry, target)
            # The module drops the mode, which a layer's programs need.
            if mode := (entry.external_attr >> 16) & 0o777:
                Path(path).chmod(mode)


def _die_with_owner() -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(os.environ[WORK], ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
