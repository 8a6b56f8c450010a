"""Processes that a command starts end with it, whole, and nobody else's ever does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devkit import bootstrap, processes

DEADLINE = 10  # seconds
# Starts a process of its own, tells both ids, and waits.
FAMILY = "import os, subprocess, sys, time; c = subprocess.Popen(['sleep', '60']); print(os.getpid(), c.pid, flush=True); time.sleep(60)"


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process with a child, and their ids."""
    log = tmp_path / "log"
    process = processes.start([sys.executable, "-c", FAMILY], cwd=tmp_path, env=os.environ, log=log)
    wait_for(lambda: log.read_text().endswith("\n"))
    yield process, [int(word) for word in log.read_text().split()]
    processes.end(process)


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds; fail after a while."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked about yet counts."""
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def test_ending_a_process_ends_what_it_started(family: tuple[subprocess.Popen[bytes], list[int]]) -> None:
    process, pids = family
    processes.end(process)

    for pid in pids:
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]  # mypy cannot infer a lambda with a default


def test_a_recorded_process_is_found_and_ended_by_another_command(
    family: tuple[subprocess.Popen[bytes], list[int]], tmp_path: Path
) -> None:
    process, pids = family
    file = tmp_path / "one.pid"
    processes.record(file, process.pid)

    assert processes.recorded(file) == process.pid
    assert processes.end_recorded(file)
    for pid in pids:
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]  # as above
    assert not file.exists()
    assert not processes.end_recorded(file)


def test_a_stranger_with_the_same_id_is_left_alone(
    family: tuple[subprocess.Popen[bytes], list[int]], tmp_path: Path
) -> None:
    process, _ = family
    file = tmp_path / "one.pid"
    file.write_text(json.dumps({"pid": process.pid, "started": "1"}))

    assert processes.recorded(file) is None
    assert not processes.end_recorded(file)
    assert process.poll() is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "started": ""}'])
def test_a_record_that_cannot_be_read_names_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "one.pid"
    file.write_text(text)

    assert processes.recorded(file) is None


def test_a_tool_ends_when_waiting_for_it_is_interrupted(
    family: tuple[subprocess.Popen[bytes], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, pids = family
    wait = process.wait

    def interrupted(timeout: float | None = None) -> int:
        monkeypatch.setattr(process, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        processes.finish(process)
    for pid in pids:
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]  # as above


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_what_went_through_the_bootstrap_dies_with_its_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    owner = (
        "import os, subprocess, sys, time; from pathlib import Path; from devkit import bootstrap\n"
        "asked = bootstrap.request(['/bin/sh', '-c', 'echo $$; exec sleep 60'], Path('/'))\n"
        "subprocess.Popen([sys.executable, '-I', bootstrap.__file__], env={**os.environ, **asked})\n"
        "time.sleep(60)\n"
    )
    parent = processes.start([sys.executable, "-c", owner], cwd=Path.cwd(), env=os.environ, log=log)
    try:
        wait_for(lambda: log.read_text().endswith("\n"))
        child = int(log.read_text())
        assert not gone(child)
        parent.kill()  # the parent alone, not its group

        wait_for(lambda: gone(child))
    finally:
        processes.end(parent)


def test_the_bootstrap_leaves_its_request_out_of_the_environment(tmp_path: Path) -> None:
    asked = bootstrap.request(["/usr/bin/env"], tmp_path)
    shown = subprocess.run(
        [sys.executable, "-I", bootstrap.__file__],
        env={"KEPT": "1", **asked},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "KEPT=1" in shown
    assert bootstrap.REQUEST not in shown
