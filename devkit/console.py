"""`switchboard console`: a page's address with a token in it, with which a person may watch live calls for a while."""

import argparse
import base64
import secrets as randomness
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from devkit import facts, secrets, target
from devkit.errors import UserError
from devkit.target import Target
from switchboard.secrets import CONSOLE, PUBLIC_BASE_URL
from switchboard.tokens import ACT, MAX_SECONDS, MIN_SECRET, WORDS, Token, issue

MINUTES = 60
MAX_MINUTES = MAX_SECONDS // 60
SECRET_BYTES = 32  # as many as SHA-256 makes use of
ID_BYTES = 4  # a name for the audit, no secret


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--minutes", type=int, default=MINUTES, metavar="N", help=f"default: {MINUTES}, at most 12 hours"
    )
    parser.add_argument("--words", action="store_true", help="show what is said, and tools' arguments and results")
    parser.add_argument("--read-only", action="store_true", help="only watch: say, transfer and end are refused")
    parser.add_argument("--revoke", action="store_true", help="end every token that was ever given, and give none")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the address. Whoever has it may do what it allows."""
    if not 1 <= args.minutes <= MAX_MINUTES:
        raise UserError(f"--minutes must be from 1 to {MAX_MINUTES}")
    if args.local:
        # Only this machine can reach that stack, so it wants no token.
        sys.stdout.write(f"http://{facts.running()['host']}/#console\n")
        return 0
    chosen = target.chosen(args)
    now = datetime.now(UTC)
    with target.explained():
        if args.revoke:
            secrets.put(chosen.client("ssm"), chosen.stack, CONSOLE, _made(), now=now)
            sys.stdout.write("revoked; the stack refuses the old tokens within 5 minutes\n")
            return 0
        told = token(args, now)
        url = address(chosen, told, now)
    sys.stdout.write(f"{url}\n")
    until = datetime.fromtimestamp(told.exp, UTC)
    sys.stderr.write(
        f"token {told.id}, valid until {until:%Y-%m-%d %H:%M} UTC: whoever has this address has its rights\n"
    )
    return 0


def token(args: argparse.Namespace, now: datetime) -> Token:
    """The token that the options ask for."""
    scopes = {ACT: not args.read_only, WORDS: args.words}
    given = frozenset(scope for scope, wanted in scopes.items() if wanted)
    return Token(randomness.token_hex(ID_BYTES), int(now.timestamp()) + args.minutes * 60, given)


def address(chosen: Target, told: Token, now: datetime) -> str:
    """The page's address. The token is in its fragment, which no browser sends and no server logs."""
    ssm = chosen.client("ssm")
    secret = secrets.newest(ssm, chosen.stack, CONSOLE, now) or _first(ssm, chosen.stack, now)
    if len(secret) < MIN_SECRET:
        raise UserError(f"the secret {CONSOLE} is too short to sign with: make a new one with --revoke")
    return f"{_origin(ssm, chosen.stack)}/#console={issue(told, secret)}"


def _first(ssm: Any, stack: str, now: datetime) -> str:
    """Make the secret. Of two who do so at once, both use the one that was stored."""
    with suppress(ssm.exceptions.ParameterAlreadyExists):
        secrets.put(ssm, stack, CONSOLE, _made(), now=now, new=True)
    return secrets.newest(ssm, stack, CONSOLE, now)


def _made() -> str:
    return base64.b64encode(randomness.token_bytes(SECRET_BYTES)).decode()


def _origin(ssm: Any, stack: str) -> str:
    try:
        found = ssm.get_parameter(Name=secrets.path(stack, PUBLIC_BASE_URL))
    except ssm.exceptions.ParameterNotFound:
        raise UserError(f"there is no stack {stack!r} here: see --stack-name and --region") from None
    return str(found["Parameter"]["Value"]).rstrip("/")
