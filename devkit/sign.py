"""`switchboard sign`: sign event files again after an edit."""

import argparse
import json
import sys
from pathlib import Path

from devkit import development, events


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("event", metavar="EVENT", type=Path, nargs="+", help="files below events/")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a signature is out of date")
    parser.epilog = (
        f"Signs with the development secrets, for the moment that the event carries and {development.PUBLIC_BASE_URL}. "
        f"Files called {events.FORGED}* keep their wrong signature."
    )


def run(args: argparse.Namespace) -> int:
    """Rewrite what has to be, and say so."""
    stale = 0
    for path in args.event:
        event = events.read(path)
        if path.name.startswith(events.FORGED) or not events.is_signed(event):
            continue
        signed = events.sign(event)
        if signed["headers"] == event["headers"]:
            continue
        stale += 1
        if not args.check:
            path.write_text(json.dumps(signed, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.write(f"{'out of date' if args.check else 'signed'}: {path}\n")
    return int(args.check and stale > 0)
