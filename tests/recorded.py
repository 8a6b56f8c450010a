"""A whole recorded phone call: every message of it, as Vapi sends them, with tool calls of all lanes and shapes.

The tools are those of the integration tests. Every message repeats the transcript, the assistant and the credentials of
the number, because Vapi's do.
"""

import json
from collections.abc import Mapping
from typing import Any

from devkit import development, server_messages
from devkit.server_messages import Conversation

CALL = "c0ffee00-0000-4000-8000-00000000beef"
CALL_SID = "CA" + "be" * 16
CALLER = "+15550100042"
DIALLED = "+15550100043"
CONTROL = f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control"
SECONDS = 120  # from the first message to the last

type Message = dict[str, Any]


def call(call_id: str = CALL) -> dict[str, Any]:
    """Vapi's `Call`, as it stands in every message."""
    return {
        "id": call_id,
        "orgId": "org-1",
        "type": "inboundPhoneCall",
        "status": "ringing",  # a snapshot that lags behind
        "phoneCallProvider": "twilio",
        "phoneCallProviderId": CALL_SID,
        "transport": {"provider": "twilio", "callSid": CALL_SID},
        "customer": {"number": CALLER},
        "monitor": {
            "controlUrl": CONTROL.replace(CALL, call_id),
            "listenUrl": f"wss://phone-call-websocket.vapi.ai/{call_id}/listen",
        },
        "assistantId": development.ASSISTANT_ID,
    }


def messages(started: float) -> list[Message]:
    """The messages of a call that began at `started` (epoch seconds), in the order in which they were sent."""
    recording = _Recording(started)
    recording.answer()
    recording.look_up()
    recording.change_of_mind()
    recording.work()
    recording.end()
    return recording.sent


class _Recording:
    def __init__(self, started: float) -> None:
        self.at = started
        self.sent: list[Message] = []
        self._conversation = Conversation(started, DIALLED)

    def _send(self, kind: str, **fields: Any) -> None:
        made = server_messages.message(kind, call(), self.at, self._conversation, **fields)
        # As text, because a recording does not change while the call goes on.
        self.sent.append(json.loads(json.dumps(made))["message"])
        self.at += 1

    def _says(self, role: str, words: str, kind: str = "transcript") -> None:
        self._send("speech-update", role=role, status="started", turn=0)
        self._send("transcript", role=role, transcriptType="partial", transcript=words[:5])
        self._send(kind, role=role, transcriptType="final", transcript=words)
        self._send("speech-update", role=role, status="stopped", turn=0)
        self._conversation.said(role, words, self.at, 1.5)
        self._send("conversation-update", **self._history())

    def _history(self) -> dict[str, Any]:
        return {"messages": self._conversation.messages, "messagesOpenAIFormatted": self._conversation.openai}

    def _calls(self, *entries: Mapping[str, Any], name: str = "toolCallList") -> None:
        self._send("tool-calls", **{name: list(entries)})

    def answer(self) -> None:
        self._send("assistant-request")
        self._send("status-update", status="ringing")
        self._send("status-update", status="in-progress")
        self._send("assistant.started", newAssistant={"name": "Front desk"})
        self._says("assistant", "Good morning, how can I help?")
        self._says("user", "When is my appointment?", 'transcript[transcriptType="final"]')

    def look_up(self) -> None:
        # Two at a time, arguments as an object and as text, in the lists that captures have.
        entries = [_nested("call_look", "look_up", {"name": "Ann"}), _text("call_search", "search", {"what": "slots"})]
        self._send(
            "tool-calls",
            toolCallList=entries,
            toolCalls=entries,
            toolWithToolCallList=[{"type": "function", "toolCall": entry} for entry in entries],
        )
        self._says("assistant", "It is on Tuesday at ten.")

    def change_of_mind(self) -> None:
        self._send("speech-update", role="assistant", status="started", turn=2)
        self._send("user-interrupted", turnId="turn-2")
        self._says("user", "Wait, can we move it to Thursday at two instead?")
        self._send("user-interrupted")

    def work(self) -> None:
        self._calls(_text("call_move", "move", {"to": "Thursday"}))
        self._calls({"id": "call_pay", "name": "pay", "parameters": {"amount": 700}}, name="toolCalls")
        self._calls(_nested("hook-function-call", "book", {"name": "Ann"}))
        self._calls(_nested("hook-function-call", "book", {"name": "Bob"}))
        self._calls(_nested("call_send", "send", {"text": "Thursday at two"}))
        self._calls(
            _nested("call_book", "book", {"name": "Cy"}),
            _nested("call_fly", "fly", {}),
            _nested("call_wrong", "pay", {"amount": "much"}),
            _nested("call_nowhere", "move", {"to": "nowhere"}),
        )
        self._send("function-call", functionCall={"name": "book", "parameters": {"name": "Di"}})
        self._send("hang")
        self._send("model-output", output="One moment")
        self._send("voice-input", input="One moment")
        self._send("transfer-destination-request")
        self._send("handoff-destination-request", parameters={"topic": "billing"})
        self._send("knowledge-base-request", **self._history())
        self._send("status-update", status="forwarding", destination={"type": "number", "number": "+15550100044"})

    def end(self) -> None:
        self._says("assistant", "Done. Goodbye.")
        self._send("status-update", status="ended", endedReason="customer-ended-call")
        self._send("status-update", status="in-progress")
        self._send(
            "end-of-call-report",
            endedReason="customer-ended-call",
            startedAt="2027-01-15T08:00:00.000Z",
            endedAt="2027-01-15T08:01:00.000Z",
            cost=0.11,
            analysis={"summary": "Moved an appointment.", "successEvaluation": "true"},
        )
        self._send("call.deleted")


def _nested(id: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return server_messages.tool_call(id, name, arguments)


def _text(id: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
