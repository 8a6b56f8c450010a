"""One Lambda execution environment on this machine: its directories, its variables, the command that becomes it.

With bubblewrap the function sees what it would see on AWS: read-only /var/task and /opt, a private /tmp, no home.
Without it (not installed, or the kernel forbids user namespaces) the same runtime client runs on the plain paths.
Standard library only: the emulator and the contract tests share this module from different environments.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TASK = Path("/var/task")
OPT = Path("/opt")
LANG = Path("/var/lang")  # where AWS keeps the interpreter


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Code and layers to run on the interpreter of `runtime`, a virtual environment that holds awslambdaric."""

    code: Path
    layers: Path
    runtime: Path
    bubblewrap: str | None

    @property
    def task(self) -> Path:
        """Where the function finds its own code."""
        return TASK if self.bubblewrap else self.code

    @property
    def opt(self) -> Path:
        """Where the function finds its layers."""
        return OPT if self.bubblewrap else self.layers

    def variables(self, function: Mapping[str, str | int]) -> dict[str, str]:
        """What AWS sets for every function; `function` has Name, Handler, Runtime, Timeout and MemorySize."""
        return {
            "PATH": f"{LANG}/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(self.task),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PYTHONPATH": f"{self.task}:{self.opt}/python/lib/{function['Runtime']}/site-packages:{self.opt}/python",
            # Without bubblewrap the code is the build's own directory, which must not change by being run.
            "PYTHONDONTWRITEBYTECODE": "1",
            "_HANDLER": str(function["Handler"]),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function['Runtime']}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_FUNCTION_NAME": str(function["Name"]),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function["Timeout"]),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function['Name']}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        }

    def command(self, handler: str, *, via: Sequence[str] = (), show: Sequence[Path] = ()) -> list[str]:
        """The command line of the runtime client, started by the program `via`; `show` adds files for it to see."""
        client = ["-m", "awslambdaric", handler]
        if not self.bubblewrap:
            return [*via, str(self.runtime / "bin/python"), *client]
        return [
            *(self.bubblewrap, "--unshare-user", "--unshare-pid", "--die-with-parent"),
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - a private one
            *_system(),
            *_read_only(*_interpreter(self.runtime), *show),
            *("--ro-bind", str(self.runtime), str(LANG)),
            *("--ro-bind", str(self.code), str(TASK)),
            *("--ro-bind", str(self.layers), str(OPT)),
            *("--chdir", str(TASK)),
            *via,
            *(f"{LANG}/bin/python", *client),
        ]


def _read_only(*paths: Path) -> list[str]:
    return [part for path in paths for part in ("--ro-bind", str(path), str(path))]


def _system() -> list[str]:
    """The parts of the host that an interpreter needs. On most systems /lib and the like are links into /usr."""
    found = _read_only(Path("/usr"), Path("/etc"))
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if path.is_symlink():
            found += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            found += _read_only(path)
    return found


def _interpreter(runtime: Path) -> list[Path]:
    """Every installation that the environment's `python` link leads through, except what /usr holds already."""
    found: list[Path] = []
    program = runtime / "bin/python"
    while program.is_symlink():
        program = program.parent / program.readlink()
        home = program.parent.parent
        if home not in (runtime, Path("/usr"), *found):
            found.append(home)
    return found


@cache
def bubblewrap() -> str | None:
    """The bubblewrap program if it works here. Installed is not enough: some kernels forbid user namespaces."""
    program = shutil.which("bwrap")
    if not program:
        return None
    probe = [program, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    return program if subprocess.run(probe, capture_output=True, check=False).returncode == 0 else None  # noqa: S603
