"""`switchboard simulate`: play a call script against the running stack, and print the call as a timeline."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from devkit import facts
from devkit.errors import UserError
from devkit.player import Player
from devkit.script import Script, load
from devkit.wire import Backend, Doors, Network
from switchboard.errors import SettingsError
from switchboard.signatures import PRESETS


@contextmanager
def player(
    script: Script, stack: Mapping[str, Any], network: Network | None = None, scheme: str = "vapi-hmac"
) -> Iterator[Player]:
    """A player for the stack with these facts (`.local/stack.json`)."""
    backend = Backend(stack["api_url"], stack["host"], scheme=PRESETS[scheme])
    doors = Doors(stack["vapi_url"], stack["twilio_url"])
    try:
        yield Player(script, backend, doors, network)
    finally:
        backend.close()
        doors.close()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("script", type=Path, help="a call script; the format is in devkit/calls/README.md")
    parser.add_argument(
        "--duplicate", action="store_true", help="deliver every message twice, tool calls at the same time"
    )
    parser.add_argument("--base-url", metavar="URL", help="another backend on this machine, like http://127.0.0.1:3000")
    parser.add_argument(
        "--scheme", choices=PRESETS, default="vapi-hmac", help="how messages are signed (default vapi-hmac)"
    )


def run(args: argparse.Namespace) -> int:
    """Play the script; 1 if something should have gone otherwise."""
    script = load(args.script)
    stack = facts.running()
    if args.base_url:
        facts.require_loopback(args.base_url)
        stack = stack | {"api_url": args.base_url, "host": httpx.URL(args.base_url).netloc.decode()}
    try:
        with player(script, stack, Network(duplicate=args.duplicate), args.scheme) as one:
            played = one.play()
    except SettingsError as error:
        raise UserError(f"cannot sign as {args.scheme}: {error}") from error
    except httpx.ConnectError as error:
        raise UserError(f"the local stack does not answer ({error}): start it with `make up`") from error
    sys.stdout.write(played.render() + "\n")
    sys.stdout.write(f"\n{_verdict(played.unmet)}\n")
    return 1 if played.unmet else 0


def _verdict(unmet: Sequence[str]) -> str:
    return "Everything went as the script says." if not unmet else f"{len(unmet)} not as it should be, marked ✗ above."
