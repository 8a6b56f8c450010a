"""Processes that a command starts: kept in groups of their own, so that each can be ended whole and surely."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], log: Path, tethered: bool = False
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a new process group, its output appended to `log`.

    A tethered process holds the reading end of a pipe whose other end is ours: it sees the end of its input
    when we are gone, however we went.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own tools, never words of a user
            [str(part) for part in command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if tethered else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for a tool and return its exit code; if we are interrupted, it is ended with everything it started."""
    try:
        return process.wait()
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, with its whole group."""
    if process.poll() is None:
        _kill_group(process.pid)
    process.wait()
    if process.stdin:
        process.stdin.close()


def record(path: Path, pid: int) -> None:
    """Write down a process that outlives this command, for `recorded` and `end_recorded`."""
    path.write_text(json.dumps({"pid": pid, "started": _started(pid)}))


def recorded(path: Path) -> int | None:
    """The id of the process that was written down, if that very process still runs."""
    try:
        entry = json.loads(path.read_text())
        pid, started = int(entry["pid"]), entry["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Ids are used again: only the start time tells ours from a stranger with the same number.
    return pid if _alive(pid) and _started(pid) == started else None


def end_recorded(path: Path, *, seconds: float = 10) -> bool:
    """End the process that was written down, with its whole group. False if there was none."""
    pid = recorded(path)
    if pid is not None:
        _kill_group(pid)
        deadline = time.monotonic() + seconds
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    path.unlink(missing_ok=True)
    return pid is not None


def _kill_group(pid: int) -> None:
    # The group id is the leader's own id (start_new_session). Nothing that we start has anything to save on the way out.
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _status(pid)[:1] != ["Z"]


def _started(pid: int) -> str:
    """When the process started, as the kernel counts; '' where there is no /proc to ask."""
    fields = _status(pid)
    return fields[19] if len(fields) > 19 else ""


def _status(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on; the name before them may hold spaces and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
