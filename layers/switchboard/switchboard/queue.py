"""SQS, thin: messages carry ids only, so a queue or a dead letter never holds what a caller said."""

import json
from typing import Any, NamedTuple

from switchboard import aws

VERSION = 1


DUES = ("run", "speak", "follow", "leg_over", "call_over")


class Ticket(NamedTuple):
    """Which tool call to work on. `due` is what for: to run it (`run`), to speak its result (`speak`), or to see whether
    the assistant has spoken about it (`follow`). Or, with the CallSid as `sk`: one end of the call is over, the phone's
    (`leg_over`) or the assistant's (`call_over`)."""

    call_id: str
    sk: str
    due: str = "run"

    def body(self) -> str:
        """The message body."""
        return json.dumps({"v": VERSION, "c": self.call_id, "t": self.sk, "d": self.due}, separators=(",", ":"))

    @classmethod
    def read(cls, body: str) -> "Ticket | None":
        """Read a body, or None for one that this code never wrote: a poison message must not block its batch."""
        try:
            fields = json.loads(body)
            call_id, sk, due = fields["c"], fields["t"], fields.get("d", "run")
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        known = isinstance(call_id, str) and isinstance(sk, str) and due in DUES
        return cls(call_id, sk, due) if known and call_id and sk else None


class Queue:
    """One SQS queue."""

    def __init__(self, url: str, client: Any) -> None:
        self._url = url
        self._client = client

    def send(self, ticket: Ticket, delay: int = 0) -> None:
        """Put a ticket on the queue, to be seen in `delay` seconds (0 to 900)."""
        with aws.available("queue"):
            self._client.send_message(QueueUrl=self._url, MessageBody=ticket.body(), DelaySeconds=delay)

    def hide(self, receipt: str, seconds: int) -> None:
        """Let the message that `receipt` stands for come back in `seconds`, should this attempt not finish."""
        with aws.available("queue"):
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)
