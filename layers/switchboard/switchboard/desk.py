"""What answering a message needs, and what the agent's owner brings."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from switchboard.messages import Decision, Message
from switchboard.queue import Queue
from switchboard.secrets import PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.tools import Toolbox

ASSISTANT_SECONDS = 3.0  # Vapi waits 7.5 s for the whole assistant-request, network included


class Caller(NamedTuple):
    """Who is calling, as far as the carrier says: a hint, never a proof of identity."""

    number: str
    dialled: str
    call_sid: str
    webhook_url: str
    """Where an assistant that is given whole must send its messages."""
    returned: Mapping[str, str] = MappingProxyType({})
    """After a transfer that nobody took: its `outcome`, the person (`to`) and the `summary` that they would have heard."""


class Agent(NamedTuple):
    """What the agent's owner writes (`layers/agent`)."""

    tools: Toolbox
    assistant: Callable[[Caller], Decision]
    """Decides who answers this caller. At most 3 seconds; look-ups only."""
    destination: Callable[[Message], Mapping[str, Any] | None]
    """Where a caller may be transferred to now, or None."""
    answers: Mapping[str, Callable[[Message], Mapping[str, Any]]] = MappingProxyType({})
    """Answers to Vapi's rarer requests, by message type: `knowledge-base-request`, `call.endpointing.request`, ..."""
    people: Mapping[str, str] = MappingProxyType({})
    """Whom `Call.transfer` may put callers through to, name to number (E.164). Nobody else is ever called."""


class Desk(NamedTuple):
    """What answering needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    live_queue: Queue
    after_call_queue: Queue
    agent: Agent
    clock: Callable[[], float] = time.time


def webhook_url(secrets: Secrets) -> str:
    """Where Vapi is to send the messages of a call."""
    return f"{secrets.text(PUBLIC_BASE_URL).rstrip('/')}/webhook/vapi"
