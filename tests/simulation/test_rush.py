"""Far more callers than the cap: each is served or told, never more at once than the cap, never two in one slot.

`SEED=7 pytest tests/simulation/test_rush.py` plays one rush; a seed that breaks a rule is printed with its whole story.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from switchboard import admission, routes, telemetry
from switchboard.store import Update
from tests.simulation.process import simulated
from tests.simulation.rules import Violation
from tests.simulation.rush import POLL, Figures, Rush

DAILY = 4
PATHS = (routes.INBOUND, routes.WAIT, routes.DEQUEUED, routes.STATUS, "/webhook/vapi")
IN_TURN = 2 * POLL  # seconds: whoever has a slot stands before the others until their leg has left the line
STEPS = 18  # more than any of these requests has


@pytest.fixture(autouse=True)
def no_chance() -> Iterator[None]:
    """The same seed plays the same, and no metric is written."""
    with simulated(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            telemetry, "single_metric", lambda **_: nullcontext(SimpleNamespace(add_dimension=lambda **_: None))
        )
        yield


def seeds() -> list[int]:
    """The rushes of every day, or the one that is asked for."""
    wanted = os.environ.get("SEED")
    return [int(wanted)] if wanted else list(range(DAILY))


def first_violation(weaken: Callable[[Update], Update] = lambda update: update) -> str:
    """The first rule that is broken in a few rushes; '' if none is."""
    for seed in range(DAILY):
        try:
            Rush(seed, callers=20, cap=3, burst=200, weaken=weaken).run()
        except Violation as violation:
            return str(violation).partition("\n")[0]
    return ""


def test_everybody_in_a_rush_is_served_or_told() -> None:
    for seed in seeds():
        rush = Rush(seed, callers=40, cap=3)
        figures = rush.run()
        print(f"\nseed {seed}: {figures}")

        assert figures.served + figures.told + figures.hung_up == 40
        assert figures.most_at_once <= 3
        assert figures.served > 20


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
def test_without_trouble_three_hundred_are_served_in_turn(seed: int) -> None:
    rush = Rush(seed, callers=300, cap=10, trouble=0, queue_minutes=60)
    figures = rush.run()
    print(f"\nseed {seed}: {figures}; overtaken by {rush.overtaken:.1f} s at most")

    assert figures.posts == figures.served == 300 - figures.hung_up
    assert rush.overtaken < IN_TURN


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
def test_everybody_in_a_rush_of_three_hundred_is_served_or_told(seed: int) -> None:
    rush = Rush(seed, callers=300, cap=10, queue_minutes=60)
    figures = rush.run()
    print(f"\nseed {seed}: {figures}; overtaken by {rush.overtaken:.1f} s at most")

    assert figures.served + figures.told + figures.hung_up == 300
    assert figures.most_at_once == 10
    assert figures.served > 150


def test_without_trouble_everybody_who_stays_is_served_in_turn() -> None:
    for seed in seeds()[:2]:
        rush = Rush(seed, callers=40, cap=3, trouble=0, queue_minutes=60)
        figures = rush.run()

        assert (figures.told, figures.killed) == (0, 0)
        assert figures.posts == figures.served == 40 - figures.hung_up
        assert rush.overtaken < IN_TURN
    print(f"\n{figures}; overtaken by {rush.overtaken:.1f} s at most")


def test_where_the_line_moves_fast_newcomers_still_stand_at_its_end() -> None:
    for seed in seeds()[:2]:
        rush = Rush(seed, callers=100, cap=10, trouble=0, talks=(5, 12), long_ones=0)
        figures = rush.run()

        assert figures.posts == figures.served == 100 - figures.hung_up
        assert rush.overtaken < IN_TURN


@pytest.mark.parametrize("path", PATHS)
def test_whichever_step_a_function_dies_before_or_after_nobody_is_lost(path: str) -> None:
    def play(seed: int, killed: tuple[str, int, int] | None = None) -> Rush:
        made = Rush(seed, callers=3, cap=1, burst=10, trouble=0, killed=killed, caller_hourly_calls=9, daily_calls=99)
        figures = made.run()
        assert figures.served + figures.told + figures.hung_up == 3
        return made

    # The request that takes or frees a slot.
    seed, which = next((seed, took[path]) for seed in range(20) if path in (took := play(seed).took))
    deaths = [play(seed, (path, which, step)).died for step in range(STEPS)]
    steps = sum(deaths)
    print(f"\n{path}: killed at each of {steps} moments")

    assert deaths == [1] * steps + [0] * (STEPS - steps)
    assert 4 <= steps < STEPS


def test_a_seed_plays_the_same_again() -> None:
    def story(seed: int) -> tuple[Figures, str]:
        rush = Rush(seed, callers=20, cap=3)
        return rush.run(), rush.story()

    assert story(1) == story(1)


def test_a_thousand_calls_of_one_number_do_not_reach_vapi_beyond_the_limit() -> None:
    rush = Rush(1, callers=1000, cap=10, burst=1800, trouble=0, caller_hourly_calls=20)
    for caller in rush.callers.values():
        caller.number = "+15550100007"
    figures = rush.run()
    print(f"\none number, twenty an hour: {figures}")

    assert figures.posts <= 20
    assert figures.told >= 980
    assert figures.served + figures.hung_up <= 20


def test_calls_beyond_those_of_a_day_do_not_reach_vapi() -> None:
    figures = Rush(1, callers=60, cap=10, burst=600, trouble=0, daily_calls=25).run()

    assert figures.posts <= 25
    assert figures.told >= 35


@pytest.mark.parametrize(
    ("text", "without"),
    [
        pytest.param("attribute_not_exists(#holder) OR #exp <= :now", "", id="take what is free"),
    ],
)
def test_without_this_guard_a_rule_is_broken(text: str, without: str) -> None:
    found: list[str] = []

    def weaken(update: Update) -> Update:
        if update.condition == text:
            found.append(text)
            return update._replace(condition=without)
        return update

    assert first_violation(weaken)
    assert found


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        pytest.param(admission, "leave", lambda *_, **__: 0, id="slots are given back"),
        pytest.param(admission, "still_waiting", lambda *_: None, id="newcomers line up"),
    ],
)
def test_without_this_precaution_a_rule_is_broken(
    module: object, name: str, instead: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, instead)

    assert first_violation()
