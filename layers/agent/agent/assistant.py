"""Who answers: the assistant, and whom callers may be put through to.

The assistant is code: `front_desk` is all of it, in the types of `switchboard.assistants`, so mypy knows every field.
docs/latency.md says how each choice sounds on the phone, and how to tune it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.calendar import open_at
from switchboard.desk import Backend, Caller
from switchboard.messages import Assistant, Decision, Message, Refusal
from switchboard.shelf import Shelf

if TYPE_CHECKING:  # for mypy only: while a function starts, somebody may be waiting for every import
    from switchboard.assistants import Configuration, SilenceHook, StructuredOutput

tools = Shelf("agent.tools")  # what it can do: named here, and loaded where a tool runs
RECEPTION = "+15550100100"
PEOPLE = {"reception": RECEPTION}  # the only ones that callers may be put through to
BLOCKED: frozenset[str] = frozenset()  # numbers of callers that we do not talk to
NEW: Mapping[str, str] = {}  # a caller who does not come back from a transfer

PROMPT = """You answer the phone of the Maple Street Clinic's appointment desk. Be brief and warm: one or two sentences.
Find the caller's appointment before you change it. Say the new time and wait for a yes before you change anything.
When you are interrupted, stop and listen. Never say that a change is made before its result has come.
Offer a confirmation by text message, which is sent after the call."""

BACK = """The caller has just been on hold for {to}, and nobody took the call ({outcome}). Do not start over.
What they want, in the words of the assistant who talked to them before: {summary}
Offer to take a message, or to help yourself."""

# What a model reads off the conversation once it is over. Few facts with few values: they can be counted.
OUTCOME: "StructuredOutput" = {
    "name": "outcome",
    "description": "What came of the call.",
    "schema": {
        "type": "object",
        "properties": {
            "changed": {"type": "boolean", "description": "Whether an appointment was moved."},
            "wanted": {"type": "string", "enum": ["change", "information", "person", "other"]},
        },
        "required": ["changed", "wanted"],
    },
}

# Nobody holds the line, and the bill, open by saying nothing.
STILL_THERE: "SilenceHook" = {
    "on": "customer.speech.timeout",
    "options": {"timeoutSeconds": 10, "triggerMaxCount": 2, "triggerResetMode": "onUserSpeech"},
    "do": [{"type": "say", "exact": "Are you still there?"}],
}
NOBODY_THERE: "SilenceHook" = {
    "on": "customer.speech.timeout",
    "options": {"timeoutSeconds": 30, "triggerMaxCount": 1},
    "do": [{"type": "tool", "tool": {"type": "endCall"}}],
}


def assistant(caller: Caller) -> Decision:
    """Choose who answers this caller."""
    if caller.number in BLOCKED:
        return Refusal("We cannot take this call.")
    stored = caller.backend.assistant_id
    # One who comes back is given it whole: what is stored cannot know what they wanted.
    if stored and not caller.returned:
        return Assistant(id=stored)
    return Assistant(config=front_desk(caller.backend, caller.returned))


def destination(message: Message) -> Mapping[str, Any] | None:
    """Put callers through to the reception while somebody is there."""
    if message.type == "handoff-destination-request":
        return None  # a handoff goes to another assistant, and here is only one
    return {"type": "number", "number": RECEPTION} if open_at(datetime.now(UTC)) else None


def front_desk(backend: Backend, returned: Mapping[str, str] = NEW) -> "Configuration":
    """The assistant. `backend` is what it must say about this stack, `returned` is as in `Caller`."""
    return {
        "name": "Maple Street Clinic",
        # The first thing that a caller hears, so the shortest that says where they are; it is said from text, without a model.
        "firstMessage": "Maple Street Clinic, appointment desk. How can I help?",
        # Short enough to hear out, and a breath into the phone does not cut it off.
        "firstMessageInterruptionsEnabled": False,
        # Said when the assistant hangs up. So that the model may, too, add {"type": "endCall"} to its tools.
        "endCallMessage": "Goodbye.",
        "model": {
            "provider": "openai",
            # Does not think before it speaks: a model that reasons is silent for seconds, and pays for them in tokens.
            "model": "gpt-4.1",
            # Low, since it repeats times and names; 0 would also repeat itself.
            "temperature": 0.3,
            "messages": [
                {"role": "system", "content": PROMPT},
                *([{"role": "system", "content": BACK.format(**returned)}] if returned else ()),
            ],
            # From tools.py, so that what the model is told is what the code takes.
            "tools": tools.definitions(backend.tool_server),
        },
        # One of Vapi's own voices: no account at another provider, and one network hop less.
        "voice": {"provider": "vapi", "voiceId": "Elliot"},
        "transcriber": {
            "provider": "deepgram",
            # Hears from sound and words together that a turn is over, so no pause has to be guessed.
            "model": "flux-general-en",
            "language": "en",
            # Lower answers sooner and cuts in more often; 0.5 to 0.9.
            "eotThreshold": 0.7,
            # What callers say here and nowhere else.
            "keyterm": ["Maple Street"],
        },
        # Silence before the first sound of an answer. Nothing else here, or Flux's own hearing of the end is switched off.
        "startSpeakingPlan": {"waitSeconds": 0.4},
        # Two words stop the assistant: a cough or an "uh-huh" does not, "wait, no" does. Then it holds still for a second.
        "stopSpeakingPlan": {"numWords": 2, "backoffSeconds": 1},
        # By default Vapi plays the noise of an office into phone calls.
        "backgroundSound": "off",
        "hooks": [STILL_THERE, NOBODY_THERE],
        # Long enough for an appointment, short enough for a bill. The call is cut then, without a goodbye.
        "maxDurationSeconds": 600,
        # Where the law wants callers to know that they are recorded, say it in the first message.
        "artifactPlan": {"recordingEnabled": True, "structuredOutputs": [OUTCOME]},
        # Control is how results of background tools are spoken; nobody listens in.
        "monitorPlan": {
            "controlEnabled": True,
            "controlAuthenticationEnabled": backend.control_authentication,
            "listenEnabled": False,
        },
        # Which messages come to this stack, and where: each type is a request that is paid for, each time.
        "serverMessages": list(backend.server_messages),
        "server": dict(backend.server),
    }
