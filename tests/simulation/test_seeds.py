"""Hundreds of calls in a world where everything goes wrong, and rules that hold in every one of them.

`SEED=123 pytest tests/simulation` plays one world; a seed that breaks a rule is printed with all that happened in it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchboard import delivery, sweeper
from switchboard.errors import NotDone
from tests.simulation import world as worlds
from tests.simulation.guards import GUARDS, Guard
from tests.simulation.process import simulated
from tests.simulation.rules import Violation, Write, rows
from tests.simulation.story import TOOLS, tell
from tests.simulation.world import World

DAILY = 500
NIGHTLY = 10_000
ENDS = {
    (state, how)
    for state in ("SUCCEEDED", "FAILED", "UNKNOWN", "EXPIRED")
    for how in ("none", "delivered", "undeliverable", "dropped")
} - {("EXPIRED", "none"), ("EXPIRED", "delivered"), ("EXPIRED", "undeliverable")}  # too rare for every day


@pytest.fixture(autouse=True)
def no_chance() -> Iterator[None]:
    """The same seed plays the same."""
    with simulated():
        yield


def play(seed: int, tools: tuple[str, ...] = TOOLS, weaken: Callable[[Write], Write] = lambda write: write) -> World:
    """One world, to its end."""
    world = tell(World(seed, weaken), tools)
    world.run()
    return world


def first_violation(weaken: Callable[[Write], Write] = lambda write: write) -> str:
    """The first rule that is broken in the daily worlds, with its seed; '' if none is."""
    for seed in range(DAILY):
        try:
            play(seed, weaken=weaken)
        except Violation as violation:
            return str(violation).partition("\n")[0]
    return ""


def played(seeds: range) -> Counter[tuple[str, str]]:
    """How the tool calls of many worlds ended."""
    ends: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        ends.update((row["state"], row["delivery"]) for row in rows(play(seed).memory.table))
    print(f"\n{len(seeds)} worlds, {sum(ends.values())} tool calls, 0 violations")
    for (state, how), number in sorted(ends.items()):
        print(f"{number:7} {state} {how}")
    return ends


def test_every_rule_holds_in_every_world() -> None:
    wanted = os.environ.get("SEED")
    ends = played(range(int(wanted), int(wanted) + 1) if wanted else range(DAILY))

    assert wanted or set(ends) >= ENDS


@pytest.mark.nightly
def test_every_rule_holds_in_every_world_of_a_night() -> None:
    played(range(DAILY, DAILY + NIGHTLY))


def test_no_repetition_is_accepted_and_lost() -> None:
    for seed in range(DAILY):
        play(seed, ("order",))


def test_a_seed_plays_the_same_again() -> None:
    assert [play(seed).story() for seed in range(20)] == [play(seed).story() for seed in range(20)]


@pytest.mark.parametrize("name", GUARDS)
def test_without_this_guard_a_rule_is_broken(name: str) -> None:
    found: list[Guard] = []
    guard = GUARDS[name]

    assert first_violation(guard.weaken(lambda: found.append(guard)))
    assert found


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        pytest.param(sweeper, "sweep", lambda _: 0, id="sweeper"),
        pytest.param(delivery, "_followed", lambda *_: False, id="has the caller gone on"),
        pytest.param(worlds, "Ambiguous", NotDone, id="a time-out is no refusal"),
    ],
)
def test_without_this_precaution_a_rule_is_broken(
    module: Any, name: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, instead)

    assert first_violation()
