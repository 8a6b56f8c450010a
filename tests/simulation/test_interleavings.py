"""No order of steps breaks a rule, and from every situation the tool call still comes to its end."""

from collections.abc import Iterator

import pytest

from tests.simulation.guards import GUARDS, Guard
from tests.simulation.interleavings import DEADLINE, LEASE, Model
from tests.simulation.process import simulated
from tests.simulation.rules import Violation

SWITCHES = 1
MANY = 2


@pytest.fixture(autouse=True)
def no_chance() -> Iterator[None]:
    """Nothing but the order of the steps differs."""
    with simulated():
        yield


def look(effect: str, switches: int, *, interruption: bool, times: tuple[float, ...] = (LEASE, DEADLINE)) -> None:
    """See everything, and say how much that was."""
    found = Model(effect, switches, interruption=interruption, times=times).explore()
    kind = "with" if interruption else "without"
    print(f"\n{effect}, at most {switches} switches, {kind} an interruption: {found}, 0 violations")

    assert found.stuck == 0
    assert found.ends > 100


@pytest.mark.parametrize("effect", ["once", "keyed"])
def test_no_order_of_steps_breaks_a_rule(effect: str) -> None:
    look(effect, SWITCHES, interruption=False)


def test_no_order_of_steps_around_an_interruption_breaks_a_rule() -> None:
    look("once", SWITCHES, interruption=True, times=(DEADLINE,))


@pytest.mark.nightly
@pytest.mark.parametrize("effect", ["once", "keyed", "read"])
@pytest.mark.parametrize(("switches", "interruption"), [(SWITCHES, True), (MANY, False)])
def test_no_order_of_many_more_steps_breaks_a_rule(effect: str, switches: int, interruption: bool) -> None:
    look(effect, switches, interruption=interruption)


@pytest.mark.parametrize(
    "name",
    [
        "claim before the deadline",
        "claim after the lease",
        "claim again only what may be repeated",
        "intent",
        "fence",
        "settle only what is over",
        "deliver once",
        "deliver in the same turn",
    ],
)
def test_without_this_guard_some_order_breaks_a_rule(name: str) -> None:
    found: list[Guard] = []
    guard = GUARDS[name]
    times = (DEADLINE,) if name == "deliver in the same turn" else (LEASE, DEADLINE)

    with pytest.raises(Violation):
        Model("once", SWITCHES, weaken=guard.weaken(lambda: found.append(guard)), times=times).explore()
    assert found
