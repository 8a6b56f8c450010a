"""The agent of tests/local/test_chaos.py: a tool of each kind, whose effects the other side writes down.

It is put into a layer as the package `agent`, so it knows nothing of the tests.
"""

import os
import random
import time
from typing import Annotated

import httpx

from switchboard.desk import Agent, Caller
from switchboard.messages import Decision, Message, Refusal
from switchboard.tools import Call, Toolbox

DEADLINE = 15.0  # seconds: a call whose worker has died must be over while the test still runs
LONGEST = 0.6  # seconds that a tool takes

tools = Toolbox()


def act(call: Call, tool: str, ref: str) -> str:
    """One effect at the other side, at some moment of the tool's time."""
    time.sleep(random.uniform(0, LONGEST / 2))
    environment = os.environ["AWS_LAMBDA_RUNTIME_API"]
    body = {"tool": tool, "ref": ref, "key": call.idempotency_key, "environment": environment}
    httpx.post(os.environ["LEDGER_URL"], json=body, timeout=2, trust_env=False).raise_for_status()
    time.sleep(random.uniform(0, LONGEST / 2))
    return f"{tool} {ref} is done."


Ref = Annotated[str, "Which request this is."]


@tools.tool(effect="read")
def look(call: Call, ref: Ref) -> str:
    """Look inline."""
    return act(call, "look", ref)


@tools.tool(effect="read", meanwhile="I am searching.", timeout=2, deadline=DEADLINE)
def search(call: Call, ref: Ref) -> str:
    """Look in the background."""
    return act(call, "search", ref)


@tools.tool(effect="keyed", meanwhile="I am moving it.", timeout=2, deadline=DEADLINE)
def move(call: Call, ref: Ref) -> str:
    """Act under a key."""
    return act(call, "move", ref)


@tools.tool(effect="once", meanwhile="I am paying.", timeout=2, deadline=DEADLINE)
def pay(call: Call, ref: Ref) -> str:
    """Act without one."""
    return act(call, "pay", ref)


@tools.tool(effect="keyed", after_call=True, timeout=2, deadline=DEADLINE)
def send(call: Call, ref: Ref) -> str:
    """Act when the call has ended."""
    return act(call, "send", ref)


def assistant(caller: Caller) -> Decision:
    """Nobody rings here."""
    return Refusal(f"Nobody answers {caller.dialled}.")


def destination(message: Message) -> None:
    """Nobody is put through."""


agent = Agent(tools=tools, assistant=assistant, destination=destination)
