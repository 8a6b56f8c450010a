"""`switchboard secrets`: the SecureStrings of a stack, which CloudFormation cannot make. Never shows a value.

A secret is a JSON list of {"id", "secret", "not_after"}, the newest last; all of them are valid (until `not_after`,
epoch seconds, where there is one), so that the other side can be changed over without an outage.
"""

import argparse
import getpass
import json
import secrets as randomness
import sys
import time
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devkit import development, facts
from devkit.errors import UserError

NAMES = ("vapi-webhook", "vapi-api-key", "vapi-public-key", "twilio-auth-token")
MAX_PARAMETER = 4096  # characters, of a standard parameter
DEFAULT_STACK = "switchboard"


class Entry(TypedDict):
    """One value of a secret."""

    id: str
    secret: str
    not_after: NotRequired[float]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    put_parser = actions.add_parser("put", help="store a secret, read from standard input or a hidden prompt")
    put_parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    put_parser.add_argument("--add", action="store_true", help="keep the old values valid as well, to change over")
    put_parser.add_argument(
        "--keep-hours",
        type=float,
        metavar="N",
        help="with --add: the old values end in N hours (default: when replaced)",
    )
    list_parser = actions.add_parser("list", help="show names, ids and ages; never a value")
    for action in (put_parser, list_parser):
        action.add_argument("--stack-name", metavar="S", help=f"default: {DEFAULT_STACK}")
        action.add_argument("--region", metavar="R", help="default: the one of your AWS configuration")
        action.add_argument("--local", action="store_true", help="the stack that `switchboard up` left running")


def run(args: argparse.Namespace) -> int:
    """Run `put` or `list`."""
    name, ssm = _target(args)
    try:
        if args.action == "put":
            if args.keep_hours is not None and not args.add:
                raise UserError("--keep-hours goes with --add: without it the old values end at once")
            value = read_value(args.name)
            put(ssm, name, args.name, value, add=args.add, keep_hours=args.keep_hours, now=datetime.now(UTC))
            sys.stdout.write(f"stored {path(name, args.name)}; functions use it within 5 minutes\n")
        else:
            sys.stdout.write("\n".join(listing(ssm, name, now=datetime.now(UTC))) + "\n")
    except ClientError as error:
        # The code only: a service's message may quote what it was sent.
        raise UserError(f"AWS refused: {error.response['Error'].get('Code', 'unknown')}") from None
    except BotoCoreError as error:
        raise UserError(f"cannot reach AWS: {type(error).__name__}; check your credentials and region") from None
    return 0


def path(stack_name: str, name: str) -> str:
    """The name of the SSM parameter."""
    return f"/switchboard/{stack_name}/{name}"


def read_value(name: str) -> str:
    """The new value, from a hidden prompt or from standard input, without the white space that pasting adds."""
    given = getpass.getpass(f"{name} (hidden): ") if sys.stdin.isatty() else sys.stdin.read()
    value = given.strip()
    if not value:
        raise UserError("the value is empty; nothing was stored")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UserError("the value holds a space, a line break or another character that no such secret has")
    if value != given.removesuffix("\n"):
        sys.stderr.write("note: removed white space around the value\n")
    return value


def put(
    ssm: Any,
    stack_name: str,
    name: str,
    value: str,
    *,
    now: datetime,
    add: bool = False,
    keep_hours: float | None = None,
) -> None:
    """Store `value`. With `add` the values that are valid at `now` stay so, for `keep_hours` if that is given."""
    entries: list[Entry] = []
    if add:
        entries = [entry for entry in _stored(ssm, stack_name, name) if not _ended(entry, now)]
        if keep_hours is not None:
            end = round(now.timestamp() + keep_hours * 3600)
            entries = [{**entry, "not_after": min(end, entry.get("not_after", end))} for entry in entries]
    entries.append({"id": f"{now:%Y%m%dT%H%M%SZ}-{randomness.token_hex(2)}", "secret": value})
    _write(ssm, path(stack_name, name), entries)


def listing(ssm: Any, stack_name: str, *, now: datetime) -> list[str]:
    """A table of the known secrets: one line per value, and one for each name that has none."""
    found = ssm.get_parameters(Names=[path(stack_name, name) for name in NAMES], WithDecryption=True)["Parameters"]
    parameters = {parameter["Name"]: parameter for parameter in found}
    rows = [("NAME", "ID", "VALID UNTIL", "WRITTEN")]
    for name in NAMES:
        parameter = parameters.get(path(stack_name, name))
        entries = _parse(parameter["Value"]) if parameter else []
        age = _age(now - parameter["LastModifiedDate"]) if parameter else ""
        rows += [(name, entry["id"], _end(entry, now), age) for entry in entries] or [(name, "not set", "", age)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def store_development(ssm: Any) -> None:
    """Give the local stack its fixed, public values."""
    for name, value in development.SECRETS.items():
        _write(ssm, path(development.STACK_NAME, name), [{"id": "development", "secret": value}])


def _target(args: argparse.Namespace) -> tuple[str, Any]:
    if args.local:
        running = facts.running()
        return args.stack_name or running["stack"], facts.client("ssm", running["api_url"])
    session = boto3.Session(region_name=args.region)
    if not session.region_name:
        raise UserError("no AWS region: give --region, or set one in your AWS configuration")
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    return args.stack_name or DEFAULT_STACK, session.client("ssm", config=config)


def _write(ssm: Any, parameter: str, entries: list[Entry]) -> None:
    text = json.dumps(entries, separators=(",", ":"))
    if len(text) > MAX_PARAMETER:
        raise UserError(f"too much for one parameter ({len(text)} of {MAX_PARAMETER} characters): put it without --add")
    ssm.put_parameter(Name=parameter, Value=text, Type="SecureString", Overwrite=True)


def _stored(ssm: Any, stack_name: str, name: str) -> list[Entry]:
    try:
        return _parse(ssm.get_parameter(Name=path(stack_name, name), WithDecryption=True)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return []


def _parse(text: str) -> list[Entry]:
    """Read a parameter; one that somebody typed by hand and got wrong has no value that works, so it counts as none."""
    try:
        return [_entry(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _entry(given: dict[str, Any]) -> Entry:
    entry: Entry = {"id": str(given["id"]), "secret": str(given["secret"])}
    if given.get("not_after"):
        entry["not_after"] = float(given["not_after"])
    return entry


def _ended(entry: Entry, now: datetime) -> bool:
    return "not_after" in entry and entry["not_after"] <= now.timestamp()


def _end(entry: Entry, now: datetime) -> str:
    if "not_after" not in entry:
        return "it is replaced"
    text = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(entry["not_after"]))
    return f"{text} (ended)" if _ended(entry, now) else text


def _age(elapsed: Any) -> str:
    minutes = max(0, int(elapsed.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
