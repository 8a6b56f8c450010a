"""`switchboard dlq`: tickets that were given up, with what the table says of their tool calls; and sending them back.

Sending back is safe: a ticket holds ids only, and the stored tool call decides what may still happen.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from devkit import target
from devkit.errors import UserError
from devkit.timeline import columns
from switchboard import toolcalls
from switchboard.queue import Ticket
from switchboard.store import Key, Store
from switchboard.toolcalls import Delivery, Row, State

LANES = ("live", "after-call")
HELD_SECONDS = 60  # during which a look keeps the messages from others
MOVE_SECONDS = 60.0
POLL_SECONDS = 0.5
UNKNOWN_OPERATION = ("InvalidAction", "UnknownOperationException")  # what an emulator says that has no move tasks
MOVED = "COMPLETED"
ENDED = (MOVED, "FAILED", "CANCELLED")

CALL_ENDS = ("leg_over", "call_over")


class Letter(NamedTuple):
    """One message of a dead-letter queue. `ticket` is None for a body that this project never wrote."""

    lane: str
    body: str
    receipt: str
    sent: float
    receives: int
    ticket: Ticket | None
    row: Row | None

    @property
    def state(self) -> str:
        """What the table says of its tool call."""
        if self.ticket is None:
            return "not a ticket"
        if self.ticket.due in CALL_ENDS:
            return "the other end of a call"
        if self.row is None:
            return "no such tool call (any more)"
        return f"{self.row.tool} {self.row.state}, delivery {self.row.delivery}"


class Lane(NamedTuple):
    """A lane's queue and the one for its dead letters."""

    name: str
    queue: str
    dead: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "action", choices=("list", "redrive"), help="show them, or send them back to their lane's queue"
    )
    parser.add_argument("--lane", choices=LANES, help="one lane only; default: both")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """List or redrive."""
    chosen = target.chosen(args)
    lanes = [args.lane] if args.lane else list(LANES)
    with target.explained():
        sqs = chosen.client("sqs")
        store = Store(f"{chosen.stack}-calls", chosen.client("dynamodb"))
        for name in lanes:
            lane = _lane(sqs, chosen.stack, name)
            lines = listing(sqs, store, lane, time.time()) if args.action == "list" else redrive(sqs, store, lane)
            sys.stdout.write("\n".join(lines) + "\n")
    return 0


def listing(sqs: Any, store: Store, lane: Lane, now: float) -> list[str]:
    """A table of a lane's dead letters: ids, age, how often they were received, and the state of the tool call."""
    letters = look(sqs, store, lane)
    _let_go(sqs, lane, letters)
    if not letters:
        return [f"{lane.name}: no dead letters"]
    rows = [("LANE", "CALL", "TOOL CALL", "FOR", "AGE", "RECEIVED", "STATE")]
    rows += [
        (lane.name, *_ids(letter), _age(now - letter.sent), f"{letter.receives} x", letter.state) for letter in letters
    ]
    return columns(rows)


def redrive(sqs: Any, store: Store, lane: Lane) -> list[str]:
    """Send a lane's dead letters back to its queue, and say what became of each."""
    letters = look(sqs, store, lane)
    if not letters:
        return [f"{lane.name}: no dead letters"]
    _let_go(sqs, lane, letters)
    how = f"moved {_move(sqs, lane, len(letters))} of {len(letters)}"
    lines = [f"{lane.name}: {how}, now it is up to the tool calls:"]
    return [*lines, *columns([(*_ids(letter)[:2], prospect(letter)) for letter in letters])]


def prospect(letter: Letter) -> str:
    """What the worker will do with it, from the state of its tool call."""
    row = letter.row
    if letter.ticket and letter.ticket.due in CALL_ENDS:
        return f"{letter.state}: hung up, if it still is on the line"
    if letter.ticket is None or row is None:
        return f"{letter.state}: dropped, nothing to act on"
    if row.state is State.RECEIVED:
        return f"{letter.state}: runs, unless its deadline is over; then it expires"
    if row.state is State.RUNNING:
        again = "runs again" if row.effect != "once" or not row.intent else "is not run again"
        return f"{letter.state}: {again} when its lease is over and its deadline is not, else it is closed"
    if row.delivery is Delivery.PENDING:
        return f"{letter.state}: its result is spoken, if the call can still hear it"
    return f"{letter.state}: nothing more happens"


def look(sqs: Any, store: Store, lane: Lane) -> list[Letter]:
    """Every message of a lane's dead-letter queue. They stay there, unseen by others until they are let go."""
    letters: dict[str, Letter] = {}
    while True:
        found = sqs.receive_message(
            QueueUrl=lane.dead,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HELD_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        ).get("Messages", [])
        fresh = {message["MessageId"]: _letter(store, lane, message) for message in found}
        if not fresh.keys() - letters.keys():
            return list(letters.values())
        letters |= fresh


def _letter(store: Store, lane: Lane, message: dict[str, Any]) -> Letter:
    ticket = Ticket.read(message["Body"])
    attributes = message.get("Attributes", {})
    return Letter(
        lane=lane.name,
        body=message["Body"],
        receipt=message["ReceiptHandle"],
        sent=int(attributes.get("SentTimestamp", 0)) / 1000,
        receives=int(attributes.get("ApproximateReceiveCount", 0)),
        ticket=ticket,
        row=toolcalls.load(store, Key(f"CALL#{ticket.call_id}", ticket.sk)) if ticket else None,
    )


def _let_go(sqs: Any, lane: Lane, letters: Sequence[Letter]) -> None:
    for letter in letters:
        sqs.change_message_visibility(QueueUrl=lane.dead, ReceiptHandle=letter.receipt, VisibilityTimeout=0)


def _move(sqs: Any, lane: Lane, expected: int) -> int:
    """Have SQS move everything, or do it by hand where it cannot; returns how many were moved."""
    try:
        sqs.start_message_move_task(SourceArn=_arn(sqs, lane.dead), DestinationArn=_arn(sqs, lane.queue))
    except ClientError as error:
        if error.response["Error"].get("Code") not in UNKNOWN_OPERATION:
            raise
        return _carry(sqs, lane)
    return _moved(sqs, lane, expected)


def _moved(sqs: Any, lane: Lane, expected: int) -> int:
    deadline = time.monotonic() + MOVE_SECONDS
    while True:
        [task] = sqs.list_message_move_tasks(SourceArn=_arn(sqs, lane.dead), MaxResults=1)["Results"]
        if task["Status"] in ENDED:
            break
        if time.monotonic() > deadline:
            raise UserError(f"SQS is still moving the {expected} messages of {lane.name}: look again with `dlq list`")
        time.sleep(POLL_SECONDS)
    if task["Status"] != MOVED:
        raise UserError(f"SQS did not move the messages of {lane.name}: {task.get('FailureReason', task['Status'])}")
    return int(task.get("ApproximateNumberOfMessagesMoved", 0))


def _carry(sqs: Any, lane: Lane) -> int:
    """Send first, delete then: dying in between leaves a second ticket, which does no harm."""
    count = 0
    while found := sqs.receive_message(QueueUrl=lane.dead, MaxNumberOfMessages=10, VisibilityTimeout=HELD_SECONDS).get(
        "Messages", []
    ):
        for message in found:
            sqs.send_message(QueueUrl=lane.queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=lane.dead, ReceiptHandle=message["ReceiptHandle"])
            count += 1
    return count


def _lane(sqs: Any, stack: str, name: str) -> Lane:
    def url(queue: str) -> str:
        return str(sqs.get_queue_url(QueueName=queue)["QueueUrl"])

    return Lane(name, url(f"{stack}-{name}"), url(f"{stack}-{name}-dlq"))


def _arn(sqs: Any, url: str) -> str:
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def _ids(letter: Letter) -> tuple[str, str, str]:
    if letter.ticket is None:
        return "?", "?", "?"
    return letter.ticket.call_id, letter.ticket.sk.removeprefix("TOOL#"), letter.ticket.due


def _age(seconds: float) -> str:
    minutes = max(0, int(seconds // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
