"""`switchboard call`: the story of one call, told from the table alone.

Numbers, words, arguments and results are not shown unless they are asked for: a timeline may be pasted into a ticket.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from devkit import target
from devkit.errors import UserError
from devkit.timeline import Moment, render
from switchboard import story as stories
from switchboard.story import Item, Story, Untold, as_data


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("call", metavar="CALL", help="Vapi's call id, or Twilio's CallSid")
    parser.add_argument("--json", action="store_true", help="for programs; times are seconds from the first moment")
    parser.add_argument("--reveal", action="store_true", help="show words, arguments and results as well")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the story."""
    chosen = target.chosen(args)
    with target.explained():
        story = read(chosen.client("dynamodb"), f"{chosen.stack}-calls", args.call, reveal=args.reveal, now=time.time())
    sys.stdout.write((as_json(story) if args.json else as_text(story)) + "\n")
    return 0


def read(dynamodb: Any, table: str, identity: str, *, reveal: bool, now: float) -> Story:
    """Read a call by Vapi's id or by its CallSid; `UserError` where there is nothing (any more)."""
    try:
        return stories.read(lambda pk: _items(dynamodb, table, pk, now), identity, reveal=reveal)
    except Untold as untold:
        raise UserError(str(untold)) from None


def as_text(story: Story) -> str:
    """The story as a timeline, under one line about the call."""
    began = datetime.fromtimestamp(story.began / 1000, UTC)
    parts = [f"call {story.call_id}", f"leg {story.call_sid}" if story.call_sid else ""]
    parts += [f"caller {story.caller}" if story.caller else "", f"{began:%Y-%m-%d %H:%M:%S} UTC"]
    head = " · ".join(filter(None, [*parts, f"{story.seconds:.1f} s"]))
    moments = [Moment(event.at / 1000, event.who, event.text, event.ok) for event in story.events]
    return f"{head}\n\n{render(moments, story.began / 1000)}"


def as_json(story: Story) -> str:
    """The story for programs."""
    return json.dumps(as_data(story), indent=2, ensure_ascii=False)


def _items(dynamodb: Any, table: str, pk: str, now: float) -> list[Item]:
    """The items of a partition; what has expired counts as gone, deleted already or not."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ConsistentRead=True,
    )
    found = [{name: _plain(value) for name, value in raw.items()} for page in pages for raw in page["Items"]]
    return [item for item in found if item.get("exp", now + 1) > now]


def _plain(value: Any) -> Any:
    read_value = TypeDeserializer().deserialize(value)
    return int(read_value) if isinstance(read_value, Decimal) else read_value
