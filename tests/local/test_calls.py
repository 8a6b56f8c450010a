"""Whole calls on the deployed stack: every promise of the demo is kept, also when every message arrives twice."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest

from devkit import demo, development, story
from devkit.script import Script, load
from devkit.stack import Stack
from devkit.wire import Network
from switchboard import admission
from switchboard.store import Store


def script(name: str) -> Script:
    """A script of the demo, with a caller of its own: effects are counted per caller, and the stack is shared."""
    loaded = load(demo.CALLS / name)
    return loaded._replace(call=loaded.call._replace(number=f"+1555{secrets.randbelow(10**7):07}"))


@pytest.mark.parametrize("network", [Network(), Network(duplicate=True)], ids=["once", "every message twice"])
@pytest.mark.parametrize("name", demo.SCRIPTS)
def test_a_call_keeps_every_promise(stack: Stack, name: str, network: Network) -> None:
    played, promises = demo.play(script(name), stack, network)

    assert [promise for promise in promises if not promise.ok] == [], played.render()


def worker_wakes(stack: Stack) -> int:
    """How often the worker was invoked by name: the emulator does not count what it takes from a queue for it."""
    detail = stack.client("cloudformation").describe_stack_resource(
        StackName=development.STACK_NAME, LogicalResourceId="LiveToolWorkerFunction"
    )["StackResourceDetail"]
    now = datetime.now(UTC)
    found = stack.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": detail["PhysicalResourceId"]}],
        StartTime=now - timedelta(hours=12),
        EndTime=now + timedelta(hours=1),
        Period=24 * 3600,
        Statistics=["Sum"],
    )
    return int(sum(point["Sum"] for point in found["Datapoints"]))


@pytest.mark.parametrize("name", ["clinic_bypass.yaml", "clinic_imported.yaml"])
def test_a_call_wakes_the_worker_once_whatever_comes_twice(stack: Stack, name: str) -> None:
    before = worker_wakes(stack)
    played, _ = demo.play(script(name), stack, Network(duplicate=True))

    assert worker_wakes(stack) - before == 1, played.render()


def test_a_transfer_that_comes_back_is_one_story(stack: Stack) -> None:
    played, promises = demo.play(script("clinic_transfer.yaml"), stack)
    dynamodb, table = stack.client("dynamodb"), stack.facts["outputs"]["TableName"]
    told = story.read(dynamodb, table, played.call_sid, reveal=False, now=time.time())
    text = story.as_text(told)

    assert played.transfer
    assert "the caller is moved twice: to the hold, and back" in [promise.promised for promise in promises]
    assert [event.kind for event in told.events if event.who == "transfer"] == [
        *("requested", "holding", "ringing", "no_answer", "returned")
    ]
    # Both calls at Vapi, and the one leg.
    ends = [event.text for event in told.events if event.kind == "ended"]
    assert ends == ["ended: call.in-progress.twilio-completed-call", "ended: assistant-ended-call"]
    assert text.count("Twilio says: completed") == 1
    assert "Ana has a question" not in text
    assert admission.active(Store(table, dynamodb), time.time()) == 0
