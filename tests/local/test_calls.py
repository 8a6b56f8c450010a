"""Whole calls on the deployed stack: every promise of the demo is kept, also when every message arrives twice."""

import secrets
import time

import pytest

from devkit import demo, story
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
