"""Whole calls on the deployed stack: every promise of the demo is kept, also when every message arrives twice."""

import secrets

import pytest

from devkit import demo
from devkit.script import Script, load
from devkit.stack import Stack
from devkit.wire import Network


def script(name: str) -> Script:
    """A script of the demo, with a caller of its own: effects are counted per caller, and the stack is shared."""
    loaded = load(demo.CALLS / name)
    return loaded._replace(call=loaded.call._replace(number=f"+1555{secrets.randbelow(10**7):07}"))


@pytest.mark.parametrize("network", [Network(), Network(duplicate=True)], ids=["once", "every message twice"])
@pytest.mark.parametrize("name", demo.SCRIPTS)
def test_a_call_keeps_every_promise(stack: Stack, name: str, network: Network) -> None:
    played, promises = demo.play(script(name), stack, network)

    assert [promise for promise in promises if not promise.ok] == [], played.render()
