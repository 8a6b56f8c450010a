"""EventBridge, thin: what happened that somebody outside the call may want to act on. Ids and codes only."""

import json
from typing import Any

from switchboard import aws
from switchboard.errors import Unavailable
from switchboard.telemetry import warn
from switchboard.toolcalls import Row

SOURCE = "switchboard"
UNDELIVERED = "switchboard.tool.undelivered"


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
        entry = {"Source": SOURCE, "DetailType": UNDELIVERED, "Detail": json.dumps(detail)}
        try:
            with aws.available("bus"):
                answer = self._client.put_events(Entries=[entry])
        except Unavailable as error:
            warn("event not sent", call_id=row.call_id, tool=row.tool, code=str(error))
            return
        if answer.get("FailedEntryCount"):
            warn("event not sent", call_id=row.call_id, tool=row.tool, code="refused")
