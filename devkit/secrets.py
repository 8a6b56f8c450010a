"""`switchboard secrets`: the SecureStrings of a stack, which CloudFormation cannot make. Never shows a value.

A secret is a JSON list of {"id", "secret", "not_after"}, the newest last; all of them are valid (until `not_after`,
epoch seconds, where there is one), so that the other side can be changed over without an outage.
"""

import argparse
import base64
import getpass
import json
import os
import secrets as randomness
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from devkit import development, samconfig, target
from devkit.errors import UserError
from devkit.target import Target

NAMES = ("vapi-webhook", "vapi-api-key", "vapi-public-key", "twilio-auth-token", "twilio-api-secret", "console")
MAX_PARAMETER = 4096  # characters, of a standard parameter
KEEP_HOURS = 24.0
MIN_KEEP_HOURS = 1.0  # functions may not know of the new value for 5 minutes, and people take longer
RANDOM_BYTES = 32  # as many as SHA-256 makes use of

# What is left to do at the other side, once the functions know both values.
NEXT = {
    "vapi-webhook": (
        "paste the new value at Vapi (Integrations, Server Configuration) as the secret of the credential that signs"
    ),
    "twilio-auth-token": (
        "promote the secondary token in Twilio's console, if it is what you have stored: until then Twilio signs with "
        "the old one; give it to Vapi as well, where the number is imported there with its token"
    ),
    # A secret belongs to one key, so the two change together; what is asked of Twilio in between is refused.
    "twilio-api-secret": "deploy with the new key's SID as TwilioApiKeySid, and delete the old key at Twilio",
    "vapi-api-key": "delete the old key at Vapi: requests carry the new one",
    "vapi-public-key": "delete the old key at Vapi: requests carry the new one",
    "console": "nothing: tokens of the old value end with it",
}
# The page gives one of them to every browser, and the other one is worth an account.
TWINS = {"vapi-public-key": "vapi-api-key", "vapi-api-key": "vapi-public-key"}


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
    rotate_parser = actions.add_parser("rotate", help="store a new value beside the old one, which ends after a time")
    rotate_parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    rotate_parser.add_argument(
        "--keep-hours",
        type=float,
        default=KEEP_HOURS,
        metavar="N",
        help=f"the old values end in N hours (default: {KEEP_HOURS:.0f})",
    )
    rotate_parser.add_argument(
        "--generate",
        metavar="FILE",
        type=Path,
        help="vapi-webhook: make a value, and write it to a new FILE of yours alone",
    )
    list_parser = actions.add_parser("list", help="show names, ids and ages; never a value")
    for action in (put_parser, rotate_parser, list_parser):
        target.arguments(action)


def run(args: argparse.Namespace) -> int:
    """Run `put`, `rotate` or `list`."""
    named = "" if args.local or args.stack_name else samconfig.read().stack_name
    args.stack_name = args.stack_name or named
    chosen = target.chosen(args)
    # First of all, so that nobody types a secret for another stack than the one in mind.
    sys.stdout.write(f"stack {chosen.stack}{f', named in {samconfig.FILE}' if named else ''}\n")
    sys.stdout.flush()
    with target.explained():
        said = {"put": _put, "rotate": _rotate, "list": _list}[args.action](args, chosen)
    sys.stdout.write(f"{said}\n")
    return 0


def _put(args: argparse.Namespace, chosen: Target) -> str:
    if args.keep_hours is not None and not args.add:
        raise UserError("--keep-hours goes with --add: without it the old values end at once")
    value = read_value(args.name)
    now = datetime.now(UTC)
    put(chosen.client("ssm"), chosen.stack, args.name, value, add=args.add, keep_hours=args.keep_hours, now=now)
    return f"stored {path(chosen.stack, args.name)}; functions use it within 5 minutes"


def _rotate(args: argparse.Namespace, chosen: Target) -> str:
    if not args.keep_hours >= MIN_KEEP_HOURS:
        raise UserError(f"keep the old value for at least {MIN_KEEP_HOURS:.0f} hour, or replace it with `put`")
    if args.generate and args.name != "vapi-webhook":
        raise UserError(f"{args.name} is made by the other side; only vapi-webhook is a value of your own")
    with _value(args) as value:
        return rotate(
            chosen.client("ssm"), chosen.stack, args.name, value, keep_hours=args.keep_hours, now=datetime.now(UTC)
        )


@contextmanager
def _value(args: argparse.Namespace) -> Iterator[str]:
    """The new value: typed, or made and written where only its owner reads it. Never shown: a terminal remembers."""
    if not args.generate:
        yield read_value(args.name)
        return
    value = generated()
    try:
        # Never a file that exists, nor one that a link leads to.
        file = os.open(args.generate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UserError(f"cannot write {args.generate}: {error.strerror}; nothing was stored") from error
    try:
        with os.fdopen(file, "w") as opened:
            opened.write(value)
        yield value
    except UserError:
        args.generate.unlink(missing_ok=True)
        raise
    except BaseException:
        # Nobody knows whether AWS has stored it: then this is the only copy.
        sys.stderr.write(
            f"note: the new value is in {args.generate}; see `switchboard secrets list` if it was stored\n"
        )
        raise
    sys.stdout.write(f"wrote the new value to {args.generate}, for you alone; delete it once it is pasted\n")


def _list(_args: argparse.Namespace, chosen: Target) -> str:
    return "\n".join(listing(chosen.client("ssm"), chosen.stack, now=datetime.now(UTC)))


def path(stack_name: str, name: str) -> str:
    """The name of the SSM parameter."""
    return f"/switchboard/{stack_name}/{name}"


def generated() -> str:
    """A new value that nobody has seen."""
    # Standard base64 is a good secret for every scheme, whether its text counts or what it decodes to.
    return base64.b64encode(randomness.token_bytes(RANDOM_BYTES)).decode()


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
    new: bool = False,
) -> None:
    """Store `value`. With `add` the values that are valid at `now` stay so, for `keep_hours` if that is given.

    `new` stores it only where there is nothing yet; SSM's `ParameterAlreadyExists` otherwise.
    """
    twin = TWINS.get(name, "")
    if twin and any(entry["secret"] == value for entry in _stored(ssm, stack_name, twin)):
        raise UserError(f"that is what {twin} holds; nothing was stored: every browser is told vapi-public-key")
    entries: list[Entry] = []
    if add:
        entries = [entry for entry in _stored(ssm, stack_name, name) if not _ended(entry, now)]
        if keep_hours is not None:
            end = round(now.timestamp() + keep_hours * 3600)
            entries = [{**entry, "not_after": min(end, entry.get("not_after", end))} for entry in entries]
    entries.append({"id": f"{now:%Y%m%dT%H%M%SZ}-{randomness.token_hex(2)}", "secret": value})
    _write(ssm, path(stack_name, name), entries, new=new)


def newest(ssm: Any, stack_name: str, name: str, now: datetime) -> str:
    """The newest value that is valid at `now`, '' where there is none."""
    valid = [entry["secret"] for entry in _stored(ssm, stack_name, name) if not _ended(entry, now)]
    return valid[-1] if valid else ""


def rotate(ssm: Any, stack_name: str, name: str, value: str, *, keep_hours: float, now: datetime) -> str:
    """Store `value` beside the values that are valid at `now`, end those in `keep_hours`, and say what is next."""
    valid = [entry for entry in _stored(ssm, stack_name, name) if not _ended(entry, now)]
    if any(entry["secret"] == value for entry in valid):
        raise UserError(f"that value is stored already; nothing was changed: {name} needs a new one to rotate to")
    put(ssm, stack_name, name, value, now=now, add=True, keep_hours=keep_hours)
    if not valid:
        return f"stored {path(stack_name, name)}; there was no valid value to keep beside it"
    end = now + timedelta(hours=keep_hours)
    return (
        f"stored {path(stack_name, name)}; the old value is valid until {end:%Y-%m-%d %H:%M} UTC\n"
        f"next: wait 5 minutes, in which every function learns the new value; then {NEXT[name]}"
    )


def listing(ssm: Any, stack_name: str, *, now: datetime) -> list[str]:
    """A table of the known secrets: one line per value, and one for each name that has none."""
    found = ssm.get_parameters(Names=[path(stack_name, name) for name in NAMES], WithDecryption=True)["Parameters"]
    parameters = {parameter["Name"]: parameter for parameter in found}
    rows = [("NAME", "ID", "VALID UNTIL", "WRITTEN")]
    for name in NAMES:
        parameter = parameters.get(path(stack_name, name))
        entries = parse(parameter["Value"]) if parameter else []
        age = _age(now - parameter["LastModifiedDate"]) if parameter else ""
        rows += [(name, entry["id"], _end(entry, now), age) for entry in entries] or [(name, "not set", "", age)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def store_development(ssm: Any) -> None:
    """Give the local stack its fixed, public values."""
    for name, value in development.SECRETS.items():
        _write(ssm, path(development.STACK_NAME, name), [{"id": "development", "secret": value}])


def _write(ssm: Any, parameter: str, entries: list[Entry], *, new: bool = False) -> None:
    text = json.dumps(entries, separators=(",", ":"))
    if len(text) > MAX_PARAMETER:
        raise UserError(f"too much for one parameter ({len(text)} of {MAX_PARAMETER} characters): put it without --add")
    ssm.put_parameter(Name=parameter, Value=text, Type="SecureString", Overwrite=not new)


def _stored(ssm: Any, stack_name: str, name: str) -> list[Entry]:
    try:
        return parse(ssm.get_parameter(Name=path(stack_name, name), WithDecryption=True)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return []


def parse(text: str) -> list[Entry]:
    """Read a parameter; one that somebody typed by hand and got wrong has no value that works, so it counts as none."""
    try:
        return [_entry(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def valid(text: str, now: datetime) -> list[Entry]:
    """The entries of a parameter that are valid, the newest last."""
    return [entry for entry in parse(text) if entry["secret"] and not _ended(entry, now)]


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
