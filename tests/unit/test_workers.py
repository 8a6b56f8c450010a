"""Which processes are execution environments, told from a folder that looks like /proc; and that one of them dies."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from devkit import workers
from devkit.errors import UserError
from devkit.workers import Environment

LIVE, AFTER = workers.WORKERS


def process(proc: Path, pid: int, function: str, *, port: int = 4566, parent: int = 1) -> None:
    """One process, as the kernel shows it."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": f"switchboard-local-{function}-0123ABCD",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:9{pid}",
    }
    (folder / "environ").write_bytes("\0".join(f"{name}={value}" for name, value in variables.items()).encode())
    (folder / "stat").write_text(f"{pid} (python (x) y) S {parent} 0 0")


def test_the_workers_of_a_stack_are_found_among_all_processes(tmp_path: Path) -> None:
    process(tmp_path, 11, LIVE)
    process(tmp_path, 12, AFTER)
    process(tmp_path, 13, "VapiWebhookFunction")
    process(tmp_path, 14, LIVE, port=4700)
    (tmp_path / "self").mkdir()
    (tmp_path / "15").mkdir()  # gone, or somebody else's

    assert [one.pid for one in workers.running(4566, proc=tmp_path)] == [11, 12]
    assert [one.pid for one in workers.running(4566, (AFTER,), tmp_path)] == [12]
    assert workers.running(4566, proc=tmp_path)[0].runtime_api == "127.0.0.1:911"


def test_a_sandbox_and_what_is_in_it_are_one_environment(tmp_path: Path) -> None:
    process(tmp_path, 11, LIVE)
    process(tmp_path, 21, LIVE, parent=11)

    assert [one.pid for one in workers.running(4566, proc=tmp_path)] == [11]


def test_where_processes_cannot_be_seen_that_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Linux"):
        workers.running(4566, proc=tmp_path / "proc")


def test_the_one_that_is_chosen_dies_at_once() -> None:
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    environment = Environment(victim.pid, LIVE, "")

    assert workers.kill([environment], random.Random(1)) == environment
    assert victim.wait(10) == -9
    assert workers.kill([environment]) is None  # it was reaped: there is nobody to kill


def test_without_a_worker_nobody_is_killed() -> None:
    assert workers.kill([]) is None
