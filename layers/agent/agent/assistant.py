"""Who answers: the assistant, in Vapi's fields of today, and where callers may be put through to.

Fields: `CreateAssistantDTO` of Vapi's OpenAPI. Set the parameter `AssistantId` to use one that is stored at Vapi instead.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.calendar import open_at
from agent.tools import tools
from switchboard.desk import Backend, Caller
from switchboard.messages import Assistant, Decision, Message, Refusal

NOT_RETURNED: Mapping[str, str] = {}
RECEPTION = "+15550100100"
PEOPLE = {"reception": RECEPTION}  # the only ones that callers may be put through to
BLOCKED: frozenset[str] = frozenset()  # numbers of callers that we do not talk to

PROMPT = """You answer the phone of the Maple Street Clinic's appointment desk. Be brief and warm: one or two sentences.
Find the caller's appointment before you change it. Say the new time and wait for a yes before you change anything.
When you are interrupted, stop and listen. Never say that a change is made before its result has come.
Offer a confirmation by text message, which is sent after the call."""

BACK = """The caller has just been on hold for {to}, and nobody took the call ({outcome}). Do not start over.
What they want, in the words of the assistant who talked to them before: {summary}
Offer to take a message, or to help yourself."""


def assistant(caller: Caller) -> Decision:
    """Choose who answers this caller."""
    if caller.number in BLOCKED:
        return Refusal("We cannot take this call.")
    stored = caller.backend.assistant_id
    # After a transfer it is given whole, for the stored one does not know what the caller wanted.
    if stored and not caller.returned:
        return Assistant(id=stored)
    return Assistant(config=front_desk(caller.backend, caller.returned))


def destination(message: Message) -> Mapping[str, Any] | None:
    """Put callers through to the reception while somebody is there."""
    if message.type == "handoff-destination-request":
        return None  # a handoff goes to another assistant, and here is only one
    return {"type": "number", "number": RECEPTION} if open_at(datetime.now(UTC)) else None


def front_desk(backend: Backend, returned: Mapping[str, str] = NOT_RETURNED) -> dict[str, Any]:
    """The assistant given whole: model, voice, transcriber, speaking plans, tools. `returned`: as in `Caller`."""
    messages = [{"role": "system", "content": PROMPT}]
    if returned:
        messages.append({"role": "system", "content": BACK.format(**returned)})
    return {
        "name": "Maple Street Clinic",
        "firstMessage": "Maple Street Clinic, appointment desk. How can I help?",
        "model": {
            "provider": "openai",
            "model": "gpt-4.1",
            "temperature": 0.3,
            "messages": messages,
            "tools": [tool.definition() for tool in tools],
        },
        "voice": {"provider": "vapi", "voiceId": "Elliot"},
        "transcriber": {"provider": "deepgram", "model": "flux-general-en", "language": "en"},
        "startSpeakingPlan": {"waitSeconds": 0.4},
        # Two words, so that a cough or an "uh-huh" does not stop the assistant, and "wait, no" does.
        "stopSpeakingPlan": {"numWords": 2, "voiceSeconds": 0.2, "backoffSeconds": 1},
        "serverMessages": list(backend.server_messages),
        "server": dict(backend.server),
        "monitorPlan": {
            "controlEnabled": True,
            "listenEnabled": False,
            "controlAuthenticationEnabled": backend.control_authentication,
        },
        "artifactPlan": {"recordingEnabled": True},
        "maxDurationSeconds": 600,
        "endCallMessage": "Goodbye.",
    }
