"""The stack that a command is about: the one on this machine, or one in the AWS account of your credentials."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devkit import facts, samconfig
from devkit.errors import UserError

DEFAULT_STACK = "switchboard"


class Target(NamedTuple):
    """A stack's name, and a way to make clients of the account that it is in."""

    stack: str
    client: Callable[[str], Any]
    options: str = ""
    """What another command has to be told to be about the same stack, with a space before it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose a stack."""
    parser.add_argument("--stack-name", metavar="S", help=f"default: samconfig.toml's, else {DEFAULT_STACK}")
    parser.add_argument(
        "--region", metavar="R", help="default: samconfig.toml's, else the one of your AWS configuration"
    )
    parser.add_argument("--local", action="store_true", help="the stack that `switchboard up` left running")


def chosen(args: argparse.Namespace) -> Target:
    """The stack that the options name; `UserError` if there is none, or no region to look for it."""
    if args.local:
        running = facts.running()
        return Target(
            args.stack_name or running["stack"],
            cache(lambda service: facts.client(service, running["api_url"])),
            " --local",
        )
    saved = samconfig.read() if not (args.stack_name and args.region) else samconfig.Saved()
    # boto3 itself does not know AWS_REGION, which AWS's other tools do.
    with explained():
        session = boto3.Session(region_name=args.region or saved.region or os.environ.get("AWS_REGION") or None)
    if not session.region_name:
        raise UserError("no AWS region: give --region, or set one in your AWS configuration")
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    make: Any = session.client  # its overloads want the name of the service as a literal
    named = {"--stack-name": args.stack_name, "--region": args.region}
    return Target(
        args.stack_name or saved.stack_name or DEFAULT_STACK,
        cache(lambda service: make(service, config=config)),
        "".join(f" {option} {value}" for option, value in named.items() if value),
    )


@contextmanager
def explained() -> Iterator[None]:
    """Turn what AWS's clients raise into one line for the user."""
    try:
        yield
    except ClientError as error:
        # The code only: a service's message may quote what it was sent.
        raise UserError(f"AWS refused: {error.response['Error'].get('Code', 'unknown')}") from None
    except BotoCoreError as error:
        raise UserError(f"cannot reach AWS: {type(error).__name__}; check your credentials and region") from None
