"""Bytes that nobody would send, at the three parsers: nothing is raised but a typed refusal.

Every run of `make test` plays the same bytes, for about a minute. `make nightly` plays others, for ten minutes a target.
"""

import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devkit import facts
from tests.fuzz.seeds import mutated, seeds
from tests.fuzz.targets import TARGETS

# About twenty seconds of CPU time for each.
EXAMPLES = {"forms": 350_000, "bodies": 600_000, "headers": 500_000}
LONG = 600  # seconds
KNOWN = {target: seeds(target) for target in TARGETS}

every = pytest.mark.parametrize("target", TARGETS)


def play(target: str, source: random.Random) -> None:
    """One try; a find is in the message, whole."""
    data = mutated(source, KNOWN[target])
    try:
        TARGETS[target](data)
    except Exception as error:
        raise AssertionError(f"found: {data!r}") from error


@every
def test_nothing_is_raised_but_a_refusal(target: str) -> None:
    source = random.Random(target)
    for _ in range(EXAMPLES[target]):
        play(target, source)


@every
@settings(max_examples=1_000, derandomize=True, deadline=None, database=None)
@given(given_bytes=st.binary(max_size=300))
def test_nor_by_bytes_without_any_sense(target: str, given_bytes: bytes) -> None:
    TARGETS[target](given_bytes)


@every
def test_every_seed_is_taken(target: str) -> None:
    for seed in KNOWN[target]:
        TARGETS[target](seed)


@every
@pytest.mark.nightly
def test_nothing_is_raised_for_ten_minutes(target: str, tmp_path: Path) -> None:
    """By atheris, which looks for new paths, where it is installed; else by chance."""
    if importlib.util.find_spec("atheris"):
        guided(target, tmp_path)
        return
    source = random.Random()
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        play(target, source)


def guided(target: str, folder: Path) -> None:
    """Run `tests/fuzz/guided.py` on the seeds; a find is in its output."""
    for number, seed in enumerate(KNOWN[target]):
        (folder / f"{number}").write_bytes(seed)
    path = os.pathsep.join([str(facts.ROOT), str(facts.ROOT / "layers" / "switchboard")])
    program = [sys.executable, "-m", "tests.fuzz.guided", target, str(folder)]
    options = [f"-max_total_time={LONG}", f"-artifact_prefix={folder}/"]
    ran = subprocess.run(
        [*program, *options],
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        cwd=facts.ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-4_000:]
