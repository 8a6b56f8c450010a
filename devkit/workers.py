"""The execution environments of the local stack's functions: which processes they are, and how one dies of SIGKILL."""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from devkit.errors import UserError

PROC = Path("/proc")
OF_LANE = {"live": "LiveToolWorkerFunction", "after_call": "AfterCallToolWorkerFunction"}
WORKERS = tuple(OF_LANE.values())


class Environment(NamedTuple):
    """One running execution environment: its outermost process, the function's name, which holds its logical id, and
    the address of its Runtime API, which no other environment has."""

    pid: int
    function: str
    runtime_api: str


def running(port: int, functions: Sequence[str] = WORKERS, proc: Path = PROC) -> list[Environment]:
    """The environments of functions with these logical ids, of the emulator on `port`; `UserError` where there is no /proc."""
    if not proc.is_dir():
        raise UserError("killing workers needs /proc, which only Linux has")
    found = {environment.pid: environment for environment in _all(port, functions, proc)}
    # A sandbox is a process around the real one, with the same variables: its end is the end of both.
    return [found[pid] for pid in sorted(found) if _parent(pid, proc) not in found]


def kill(candidates: Sequence[Environment], choose: random.Random | None = None) -> Environment | None:
    """Kill one of them at random, at once and without a chance to clean up; None if there was none to kill."""
    if not candidates:
        return None
    chosen = (choose or random.Random()).choice(candidates)  # noqa: S311 - which one dies is no secret
    try:
        os.kill(chosen.pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return chosen


def _all(port: int, functions: Sequence[str], proc: Path) -> Iterator[Environment]:
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        variables = _variables(folder)
        name = variables.get("AWS_LAMBDA_FUNCTION_NAME", "")
        ours = variables.get("AWS_ENDPOINT_URL") == f"http://127.0.0.1:{port}"
        if ours and any(f"-{logical}-" in name for logical in functions):
            yield Environment(int(folder.name), name, variables.get("AWS_LAMBDA_RUNTIME_API", ""))


def _variables(folder: Path) -> dict[str, str]:
    """A process's variables; none of one that is gone, or somebody else's."""
    try:
        text = (folder / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return {name: value for name, _, value in (entry.partition("=") for entry in text.split("\0"))}


def _parent(pid: int, proc: Path) -> int:
    fields = _status(proc / str(pid))
    return int(fields[1]) if fields else 0


def _status(folder: Path) -> list[str]:
    """The fields of a process's `stat` from its state on; none of one that is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
