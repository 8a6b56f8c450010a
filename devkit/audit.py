"""`switchboard audit`: what people did to live calls through the console. It holds no words, so none are shown."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime

from devkit import target
from devkit.errors import UserError
from devkit.timeline import columns
from switchboard import audit
from switchboard.errors import Unavailable
from switchboard.store import Item, Store

SHOWN = ("who", "action", "call_id", "to", "outcome", "reason")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--day", type=day, metavar="D", help="such as 2026-03-31, UTC; default: today")
    parser.add_argument("--json", action="store_true", help="for programs")
    target.arguments(parser)


def day(text: str) -> date:
    """Read a day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-03-31") from None


def run(args: argparse.Namespace) -> int:
    """Print the rows of a day."""
    chosen = target.chosen(args)
    wanted = args.day or datetime.now(UTC).date()
    with target.explained():
        store = Store(f"{chosen.stack}-calls", chosen.client("dynamodb"))
    try:
        rows = audit.of_day(store, wanted, time.time())
    except Unavailable as error:
        raise UserError(f"the table does not answer: {error}") from None
    sys.stdout.write((as_json(rows) if args.json else as_text(rows, wanted)) + "\n")
    return 0


def as_text(rows: Sequence[Item], wanted: date) -> str:
    """A line for each row."""
    if not rows:
        return f"nothing on {wanted.isoformat()}; rows are kept for {audit.KEEP_DAYS} days"
    head = ("when (UTC)", "token", "action", "call", "to", "outcome", "reason")
    return "\n".join(columns([head, *((_when(row), *(str(row[name]) for name in SHOWN)) for row in rows)]))


def as_json(rows: Sequence[Item]) -> str:
    """The rows, for programs."""
    return json.dumps([{"at": _when(row), **{name: row[name] for name in SHOWN}} for row in rows], indent=2)


def _when(row: Item) -> str:
    return datetime.fromtimestamp(row["at"] / 1000, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
