"""A whole call on the built functions, one environment each: everything that AWS would bill is counted, and within the target."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import cost
from tests.benchmarks.cost import Results
from tests.benchmarks.rig import bill
from tests.benchmarks.rig.environment import Environment
from tests.benchmarks.rig.measure import Rig
from tests.benchmarks.rig.runtime import Failed
from tests.benchmarks.rig.stack import Template
from tests.benchmarks.rig.world import World

PACE = 30.0  # people speak so much faster than in `make bench`; what they say is the same
WRITES = 125  # write request units of a call
REQUESTS = 85  # that Vapi and Twilio send
METRICS = 8  # that a call counts, each of which costs 0.30 USD a month where calls come every hour


@pytest.fixture(scope="module")
def results() -> Results:
    """The call of three minutes, said in a few seconds."""
    return cost.measured(PACE)


def test_a_call_asks_for_no_more_than_it_did(results: Results) -> None:
    call = results.call

    assert len(call.api) == call.asked["POST /call"] + sum(results.kinds.values()) + 1
    assert len(call.api) <= REQUESTS
    assert call.writes <= WRITES
    assert call.reads <= 40
    assert {bill.chunks(*each) for each in call.api} == {1}
    assert results.sweep.reads == 5
    assert len(cost.called_for(results)) <= METRICS


def test_a_thousand_calls_cost_less_than_the_target_where_computing_costs_nothing(results: Results) -> None:
    # Processor time is not asserted, and is a fiftieth of the whole.
    uses = [use._replace(cpu=0.0) for use in results.call.uses]
    without = results._replace(call=results.call._replace(uses=uses))

    assert bill.total(cost.priced(without, slower=1.25)) < bill.TARGET


def test_every_function_of_the_call_was_counted(results: Results) -> None:
    assert {use.function for use in results.call.uses} >= {
        "VapiWebhookFunction",
        "VapiToolsFunction",
        "TwilioVoiceFunction",
        "TwilioCallbacksFunction",
        "LiveToolWorkerFunction",
        "AfterCallToolWorkerFunction",
        "SweeperFunction",
    }
    assert all(results.starts[use.function] > 0 for use in results.call.uses)
    assert results.call.batches >= 3  # two tools, and the end of the call


def test_the_built_template_says_which_function_answers_what_and_what_alarms_watch() -> None:
    template = Template.read()

    assert template.routes["POST", "/voice/inbound"] == "TwilioVoiceFunction"
    assert template.alarm_metrics == 10
    assert 150 < template.line("POST /webhook/vapi") < 400


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[Rig, World]]:
    """A world without functions in it yet."""
    with World(tmp_path) as world:
        yield Rig(tmp_path, world, count=False), world


def test_a_function_that_fails_is_no_figure(rig: tuple[Rig, World]) -> None:
    made, world = rig
    code = made.bare.code / "app.py"
    code.write_text("def handler(event, context):\n    return 1 / event\n")
    with Environment(made.runtime, made.bare, world.env) as environment:
        assert environment.invoke(2) == 0.5
        for _ in range(2):
            with pytest.raises(Failed, match="ZeroDivisionError"):
                environment.invoke(0)

    code.write_text("raise RuntimeError('not today')\n")
    with pytest.raises(Failed, match="not today"), Environment(made.runtime, made.bare, world.env):
        raise AssertionError("it has not started")
