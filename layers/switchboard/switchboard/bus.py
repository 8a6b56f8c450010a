"""EventBridge, thin: what happened that somebody outside the call may want to act on. Ids and codes only."""

import json
from collections.abc import Mapping
from typing import Any

from switchboard import aws
from switchboard.errors import Unavailable
from switchboard.telemetry import warn
from switchboard.toolcalls import Row

SOURCE = "switchboard"
UNDELIVERED = "switchboard.tool.undelivered"
VOICEMAIL = "switchboard.voicemail.left"


class Bus:
    """The account's default event bus."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def undelivered(self, row: Row, reason: str) -> None:
        """Tell that a tool has an end which its caller will never hear. The result itself stays in the table."""
        detail = {
            "callId": row.call_id,
            "toolCall": row.key.sk.removeprefix("TOOL#"),
            "tool": row.tool,
            "state": row.state.value,
            "reason": reason,
        }
        if code := self._send(UNDELIVERED, detail):
            warn("event not sent", call_id=row.call_id, tool=row.tool, code=code)

    def left_voicemail(self, call_sid: str, recording: str) -> None:
        """Tell that a caller has left a message, which Twilio keeps under this recording id."""
        if code := self._send(VOICEMAIL, {"callSid": call_sid, "recordingSid": recording}):
            warn("event not sent", call_sid=call_sid, code=code)

    def _send(self, kind: str, detail: Mapping[str, str]) -> str:
        """Send one event; '' or why it was not sent."""
        entry = {"Source": SOURCE, "DetailType": kind, "Detail": json.dumps(detail)}
        try:
            with aws.available("bus"):
                answer = self._client.put_events(Entries=[entry])
        except Unavailable as error:
            return str(error)
        return "refused" if answer.get("FailedEntryCount") else ""
