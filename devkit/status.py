"""`switchboard status`: how busy a stack is right now, from a few cheap reads of its table. Nothing personal is read."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from botocore.exceptions import ClientError

from devkit import target
from devkit.errors import UserError
from devkit.target import Target
from devkit.timeline import columns
from switchboard import admission
from switchboard.errors import Unavailable
from switchboard.store import Key, Store
from switchboard.toolcalls import OPEN_SHARDS

EVER = 2**40  # seconds; later than anything is due
LATE_SECONDS = 180  # the sweeper looks every minute: what is due for this long has been left lying


class Limits(NamedTuple):
    """What the stack was deployed with; 0 is no limit, None is not known."""

    calls: int | None
    daily: int | None


class Status(NamedTuple):
    """How busy a stack is. Times are seconds, a day is UTC's."""

    active: int
    oldest_seconds: int
    """How long the oldest of the active calls has its place."""
    somebody_waits: bool
    calls_today: int
    unfinished_tool_calls: int
    """Running, or with a result that nobody has heard yet."""
    transfers: int
    overdue: int
    """Tool calls and transfers that the sweeper should have moved on."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--json", action="store_true", help="for programs")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print how busy the stack is."""
    chosen = target.chosen(args)
    now = time.time()
    with target.explained():
        limits = deployed_limits(chosen)
        store = Store(f"{chosen.stack}-calls", chosen.client("dynamodb"))
    try:
        status = read(store, now)
    except Unavailable as error:
        raise UserError(f"the table does not answer: {error}") from None
    sys.stdout.write((as_json(status, limits) if args.json else as_text(status, limits)) + "\n")
    return 0


def deployed_limits(chosen: Target) -> Limits:
    """The limits among the stack's parameters; `UserError` if there is no such stack."""
    try:
        [found] = chosen.client("cloudformation").describe_stacks(StackName=chosen.stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"].get("Code") == "ValidationError":
            raise UserError(f"there is no stack {chosen.stack!r} here: see --stack-name and --region") from None
        raise
    given = {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}
    return Limits(_number(given, "MaxCalls"), _number(given, "DailyCalls"))


def read(store: Store, now: float) -> Status:
    """Look at the slots, the day's count and the index of what is unfinished: about twenty small reads."""
    slots, waited_for = admission.slots(store, now)
    held = [slot for slot in slots if slot.held(now)]
    unfinished, late = _due(store, EVER), _due(store, int(now) - LATE_SECONDS)
    return Status(
        active=len(held),
        oldest_seconds=int(now - min(slot.taken_at for slot in held) / 1000) if held else 0,
        somebody_waits=waited_for,
        calls_today=(store.get(admission.day_key(now)) or {}).get("n", 0),
        unfinished_tool_calls=sum(map(_is_tool_call, unfinished)),
        transfers=sum(map(_is_transfer, unfinished)),
        overdue=sum(_is_tool_call(key) or _is_transfer(key) for key in late),
    )


def as_text(status: Status, limits: Limits) -> str:
    """One line for each thing, for people."""
    calls = _of(status.active, limits.calls, "no cap: nobody is counted")
    if status.active:
        calls += f", the oldest for {status.oldest_seconds // 60}:{status.oldest_seconds % 60:02} minutes"
    tools = f"{status.unfinished_tool_calls} tool calls, {status.transfers} transfers"
    if status.overdue:
        tools += f"; {status.overdue} overdue, see the sweeper's log"
    rows = [
        ("active calls", calls),
        ("in line", "somebody waits" if status.somebody_waits else "nobody"),
        ("calls today", _of(status.calls_today, limits.daily, "no limit: not counted")),
        ("unfinished", tools),
    ]
    return "\n".join(columns(rows))


def as_json(status: Status, limits: Limits) -> str:
    """All of it, for programs; a limit is null where it is not known."""
    return json.dumps(status._asdict() | {"max_calls": limits.calls, "daily_calls": limits.daily}, indent=2)


def _of(number: int, limit: int | None, without: str) -> str:
    if limit is None:
        return str(number)
    return f"{number} of {limit}" if limit else f"{number} ({without})"


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "")
    return int(text) if text.isdecimal() else None


def _due(store: Store, before: int) -> list[Key]:
    return [key for shard in range(OPEN_SHARDS) for key in store.due(f"OPEN#{shard}", before)]


def _is_tool_call(key: Key) -> bool:
    return key.sk.startswith("TOOL#")


def _is_transfer(key: Key) -> bool:
    return key.pk.startswith("XFER#")
