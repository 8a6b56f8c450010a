"""What answering a message needs, and what the agent's owner brings."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from switchboard import connection
from switchboard.connection import Connection
from switchboard.messages import Decision, Message
from switchboard.queue import Queue
from switchboard.secrets import PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchboard.tools import Tool

# What this backend acts on. Each type is a request that is paid for, for each time it happens in each call.
SERVER_MESSAGES = (
    "tool-calls",
    "status-update",
    "end-of-call-report",
    "speech-update",
    "user-interrupted",
    "transfer-destination-request",
    "handoff-destination-request",
)
FINAL_TRANSCRIPTS = 'transcript[transcriptType="final"]'  # without the condition every partial guess would come too
SERVER_SECONDS = 20  # that Vapi waits for an answer; VapiWebhookFunction has 15
REFUSED = (400, 401, 403, 404, 413)  # what we answer to requests that no repetition can mend

ASSISTANT_SECONDS = 3.0  # Vapi waits 7.5 s for the whole assistant-request, network included


class Backend(NamedTuple):
    """What an assistant that is given whole says about this stack."""

    server: Mapping[str, Any] = MappingProxyType({})
    """Vapi's `server` block: `url`, `timeoutSeconds`, `backoffPlan`, and `credentialId` where it is known."""
    tool_server: Mapping[str, Any] = MappingProxyType({})
    """The same for calls of tools: a function of their own has them loaded before the first one comes."""
    server_messages: tuple[str, ...] = ()
    """Exactly the message types that this stack needs; final transcripts only where they are stored."""
    control_authentication: bool = False
    """Whether what is spoken into a call carries the public key, which the monitor plan must then ask for."""
    assistant_id: str = ""
    """The assistant stored at Vapi that is to answer (parameter `AssistantId`); '' builds one for each call."""
    fallback_id: str = ""
    """The stored one that answers where the agent cannot choose: that, or what `switchboard connect` stored."""


class Caller(NamedTuple):
    """Who is calling, as far as the carrier says: a hint, never a proof of identity."""

    number: str
    dialled: str
    call_sid: str
    backend: Backend
    """What an assistant that is given whole must say about this stack, and which stored one there is."""
    returned: Mapping[str, str] = MappingProxyType({})
    """After a transfer that nobody took: its `outcome`, the person (`to`) and the `summary` that they would have heard."""


class Tools(Protocol):
    """An agent's tools: a `Toolbox`, or a `Shelf` that loads one when it must."""

    @property
    def after_call(self) -> Mapping[str, float]: ...
    def load(self) -> None: ...
    def get(self, name: str, /) -> "Tool | None": ...
    def definitions(self, server: Mapping[str, Any] | None = None, /) -> list[dict[str, Any]]: ...
    def __iter__(self) -> "Iterator[Tool]": ...
    def __len__(self) -> int: ...


class Agent(NamedTuple):
    """What the agent's owner writes (`layers/agent`)."""

    tools: Tools
    assistant: Callable[[Caller], Decision]
    """Decides who answers this caller. At most 3 seconds; look-ups only."""
    destination: Callable[[Message], Mapping[str, Any] | None]
    """Where a caller may be transferred to now, or None."""
    answers: Mapping[str, Callable[[Message], Mapping[str, Any]]] = MappingProxyType({})
    """Answers to Vapi's rarer requests, by message type: `knowledge-base-request`, `call.endpointing.request`, ..."""
    people: Mapping[str, str] = MappingProxyType({})
    """Whom `Call.transfer` may put callers through to, name to number (E.164). Nobody else is ever called."""
    configuration: Callable[[Backend], Mapping[str, Any]] = lambda backend: {}
    """The assistant as code (`CreateAssistantDTO`), without a caller: what is stored at Vapi. `{}` stores none."""


class Desk(NamedTuple):
    """What answering needs."""

    settings: Settings
    secrets: Secrets
    store: Store
    live_queue: Queue
    after_call_queue: Queue
    agent: Agent
    clock: Callable[[], float] = time.time
    wake: Callable[[], None] = lambda: None
    """Has the functions started that a call will need: once for each call, at the first word of it."""


def backend(settings: Settings, secrets: Secrets) -> Backend:
    """What the assistants of this stack must say about it. `Unavailable` while SSM does not answer."""
    described = describe(
        secrets.text(PUBLIC_BASE_URL),
        connection.read(settings, secrets),
        store_transcripts=settings.store_transcripts,
        control_authentication=settings.control_authentication,
    )
    # Not what `connect` stored: the code that is deployed answers, and not the copy of it that was stored before.
    return described._replace(assistant_id=settings.assistant_id)


def tools_url(webhook_url: str) -> str:
    """Where calls of tools go, beside all other messages."""
    return f"{webhook_url}/tools"


def describe(base_url: str, known: Connection, *, store_transcripts: bool, control_authentication: bool) -> Backend:
    """The same from values, for whoever is not inside the stack. `base_url` is the origin that Vapi is given."""
    url = f"{base_url.rstrip('/')}/webhook/vapi"
    stored = (FINAL_TRANSCRIPTS,) if store_transcripts else ()
    return Backend(
        _server(url, known),
        _server(tools_url(url), known),
        SERVER_MESSAGES + stored,
        control_authentication,
        fallback_id=known.assistant_id,
    )


def _server(url: str, known: Connection) -> dict[str, Any]:
    server = {
        "url": url,
        "timeoutSeconds": SERVER_SECONDS,
        "backoffPlan": {
            "type": "exponential",
            "maxRetries": 3,
            "baseDelaySeconds": 1,
            "excludedStatusCodes": list(REFUSED),
        },
    }
    return server | ({"credentialId": known.credential_id} if known.credential_id else {})
