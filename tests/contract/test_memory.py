"""One process of a built function keeps nothing of the messages that it has answered."""

import pytest

from tests.benchmarks.rig import growth
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.world import World

MOST = 2_000_000  # bytes that it may grow by once it is warm, however many events there are
HOUR = 3600


@pytest.mark.parametrize("events", [3_000, pytest.param(100_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("function", growth.FUNCTIONS)
def test_a_warm_process_does_not_grow_with_the_events(rig: Rig, world: World, function: str, events: int) -> None:
    grown = growth.grown(rig, world, function, events, HOUR)

    assert grown.more <= MOST
