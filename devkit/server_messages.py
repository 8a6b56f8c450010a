"""What Vapi sends to a backend, and how it reads the answers. Values in, values out: no socket, no clock.

A message is `{"message": {"type": …, "timestamp": ms, "call": …, …}}`. There is no event id and no promise of order.
Two answers are read: `assistant-request` (which assistant takes the call) and `tool-calls` (what the model gets to read,
what is spoken); of every other message only the status counts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# Sent to a server when an assistant's `serverMessages` is omitted. Note that `transcript` is not among them.
DEFAULT_MESSAGES = (
    "conversation-update",
    "end-of-call-report",
    "function-call",
    "hang",
    "speech-update",
    "status-update",
    "tool-calls",
    "transfer-destination-request",
    "handoff-destination-request",
    "user-interrupted",
    "assistant.started",
)
ALWAYS_SENT = ("assistant-request",)
# Stands in for the credentials that Vapi really puts into its messages. Wherever it turns up, a secret would have.
CANARY = "canary-9f2b6c41-credential-inside-a-vapi-message"


class Conversation:
    """The running record of a call, which Vapi repeats in nearly every message."""

    def __init__(self, started: float, dialled: str) -> None:
        self.started = started
        self.dialled = dialled
        self.messages: list[dict[str, Any]] = []
        self.openai: list[dict[str, Any]] = []

    def said(self, role: str, words: str, at: float, seconds: float) -> None:
        """Add an utterance of `assistant` or `user`; `at` is when it began, in epoch seconds."""
        line = {
            "role": "bot" if role == "assistant" else role,
            "message": words,
            "time": _ms(at),
            "endTime": _ms(at + seconds),
        }
        self.messages.append(line | {"secondsFromStart": round(at - self.started, 3), "duration": _ms(seconds)})
        self.openai.append({"role": role, "content": words})

    def called(self, tool_calls: Sequence[dict[str, Any]], at: float) -> None:
        """Add the model's wish to run tools. In the history arguments are JSON text, in `tool-calls` an object."""
        as_text = [
            entry | {"function": entry["function"] | {"arguments": json.dumps(entry["function"]["arguments"])}}
            for entry in tool_calls
        ]
        line = {"role": "tool_calls", "toolCalls": as_text, "message": "", "time": _ms(at)}
        self.messages.append(line | {"secondsFromStart": round(at - self.started, 3)})
        self.openai.append({"role": "assistant", "content": None, "tool_calls": as_text})

    def returned(self, tool_call_id: str, name: str, result: str, at: float) -> None:
        """Add what a tool answered."""
        line = {"role": "tool_call_result", "toolCallId": tool_call_id, "name": name, "result": result, "time": _ms(at)}
        self.messages.append(line | {"secondsFromStart": round(at - self.started, 3)})
        self.openai.append({"role": "tool", "content": result, "tool_call_id": tool_call_id})

    def artifact(self) -> dict[str, Any]:
        """The record as Vapi's `Artifact`."""
        speakers = {"bot": "AI", "user": "User"}
        lines = [f"{speakers[line['role']]}: {line['message']}\n" for line in self.messages if line["role"] in speakers]
        return {
            "transcript": "".join(lines),
            "messages": list(self.messages),
            "messagesOpenAIFormatted": list(self.openai),
        }


def message(kind: str, call: Mapping[str, Any], at: float, conversation: Conversation, **fields: Any) -> dict[str, Any]:
    """Return one server message about `call` (its `Call` as the API shows it); `at` is epoch seconds."""
    common: dict[str, Any] = {
        "timestamp": _ms(at),
        "type": kind,
        **fields,
        "artifact": conversation.artifact(),
        "call": dict(call),
        "phoneNumber": {
            "provider": "twilio",
            "number": conversation.dialled,
            "twilioAccountSid": "AC" + "0" * 32,
            "twilioAuthToken": CANARY,
        },
        "customer": call.get("customer", {}),
    }
    if "assistant" in call:
        common["assistant"] = call["assistant"]
    return {"message": common}


def tool_calls(
    call: Mapping[str, Any], at: float, conversation: Conversation, calls: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return a `tool-calls` message in the captured shape: three lists of the same calls, arguments as objects."""
    with_tool = [definition(call, entry["function"]["name"]) | {"toolCall": entry} for entry in calls]
    lists = {"toolCallList": list(calls), "toolCalls": list(calls), "toolWithToolCallList": with_tool}
    return message("tool-calls", call, at, conversation, **lists)


def tool_call(identity: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """One request of the model to run a tool."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": dict(arguments)}}


def definition(call: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The tool's configuration as far as the call shows it: a stored assistant keeps its tools to itself."""
    tools = ((call.get("assistant") or {}).get("model") or {}).get("tools") or []
    matching = [tool for tool in tools if (tool.get("function") or {}).get("name") == name]
    return dict(matching[0]) if matching else {"type": "function", "function": {"name": name}}


def path(body: Mapping[str, Any], usual: str) -> str:
    """Where a message goes: calls of tools to the server of the first of them, if it has one of its own, else `usual`."""
    tools = body["message"].get("toolWithToolCallList") or [{}]
    return urlsplit(str((tools[0].get("server") or {}).get("url", ""))).path or usual


def wanted(call: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The message types that this call's server asked for; None when a stored assistant keeps the list to itself."""
    for holder in (call.get("assistantOverrides"), call.get("assistant")):
        if isinstance(holder, Mapping) and "serverMessages" in holder:
            return tuple(holder["serverMessages"]) + ALWAYS_SENT
    return None if call.get("assistantId") or "assistant" not in call else DEFAULT_MESSAGES + ALWAYS_SENT


def is_wanted(body: Mapping[str, Any], types: Sequence[str] | None) -> bool:
    """Whether Vapi would send this message at all."""
    if types is None:
        return True
    inner = body["message"]
    names = {inner["type"]}
    if inner["type"] == "transcript" and inner["transcriptType"] == "final":
        names.add('transcript[transcriptType="final"]')
    return not names.isdisjoint(types)


def encode(body: Mapping[str, Any]) -> bytes:
    """The bytes on the wire: compact and with plain UTF-8, as JSON.stringify makes them."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class ToolOutcome(NamedTuple):
    """What Vapi makes of an answer to one tool call.

    `read` is what the model reads, `spoken` what is said instead of a turn of the model, `fault` why there is no result.
    """

    read: str = ""
    spoken: str = ""
    failed: bool = False
    fault: str = ""


def read_tool_answer(status: int, body: bytes, entry: Mapping[str, Any], tool: Mapping[str, Any]) -> ToolOutcome:
    """Read the answer to `tool-calls` for one of its calls, with Vapi's rules.

    Another status than 200, a missing id, a result that is not text or has several lines all count as
    "no result returned".
    """
    if status != 200:
        return ToolOutcome(fault=f"no result returned: HTTP {status}")
    results = _object(body).get("results")
    if not isinstance(results, list):
        return ToolOutcome(fault="no result returned: no list of results")
    result = next((item for item in results if isinstance(item, dict) and item.get("toolCallId") == entry["id"]), None)
    if result is None:
        return ToolOutcome(fault=f"no result returned: none has the id {entry['id']}")
    failed = "error" in result and "result" not in result
    text = result.get("error" if failed else "result")
    if not isinstance(text, str):
        return ToolOutcome(fault="no result returned: the result is not text")
    if "\n" in text or "\r" in text:
        return ToolOutcome(fault="no result returned: the result has more than one line")
    kind = "request-failed" if failed else "request-complete"
    return ToolOutcome(
        read=text, spoken=_spoken(kind, [result.get("message"), *(tool.get("messages") or [])]), failed=failed
    )


def _spoken(kind: str, candidates: Sequence[Any]) -> str:
    """The first message of that kind: the answer's own before the configured one. A system message is a hint, not speech."""
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate.get("type") == kind:
            content = candidate.get("content")
            return content if isinstance(content, str) and candidate.get("role", "assistant") == "assistant" else ""
    return ""


class AssistantOutcome(NamedTuple):
    """What Vapi makes of an answer to `assistant-request`: fields for the call, words of a refusal, or a fault."""

    fields: dict[str, Any] | None = None
    refusal: str = ""
    destination: str = ""
    fault: str = ""


def read_assistant_answer(status: int, body: bytes) -> AssistantOutcome:
    """Read the answer to `assistant-request`: `error` beats `destination` beats an assistant."""
    if not 200 <= status < 300:
        return AssistantOutcome(fault=f"assistant-request failed: HTTP {status}")
    answer = _object(body)
    if isinstance(answer.get("error"), str) and answer["error"]:
        return AssistantOutcome(refusal=answer["error"])
    if isinstance(answer.get("destination"), dict):
        destination = answer["destination"]
        return AssistantOutcome(destination=str(destination.get("number") or destination.get("sipUri")))
    names = ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow")
    if not any(answer.get(name) for name in names):
        return AssistantOutcome(fault="assistant-request returned no assistant")
    return AssistantOutcome(fields={name: answer[name] for name in (*names, "assistantOverrides") if answer.get(name)})


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
