"""`switchboard plan`: what `connect` would do, without touching anything."""

import argparse
import sys
from collections.abc import Sequence

from devkit import changes, objections, session, target
from devkit.deployed import Deployed
from devkit.differences import Change
from devkit.session import USUAL, Ways
from devkit.target import Target
from devkit.wanted import Asked

SAME, REFUSED, DIFFERENT = 0, 1, 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    session.arguments(parser)
    parser.epilog = (
        f"Exit code {SAME}: nothing is different; {DIFFERENT}: something is; {REFUSED}: it could not be connected."
    )


def run(args: argparse.Namespace) -> int:
    """Show it."""
    with target.explained():
        return plan(*session.opened(args), session.asked(args))


def plan(chosen: Target, known: Deployed, order: Asked, ways: Ways = USUAL) -> int:
    """Print what is different, and return the exit code."""
    if reasons := objections.of_stack(known, order):
        return refused(reasons)
    with session.start(chosen, known, order, ways, say) as made:
        reasons = objections.of_agent(made.want, made.there)
        if made.there.credentials is None and not (made.want.credential_id or made.there.connection["credential_id"]):
            say("+ Vapi    credential, in the dashboard: `switchboard connect` says how")
        steps = changes.difference(made.want, made.there)
        show(steps)
        for note in objections.notes(made.want, made.there):
            say(f"note: {note}")
    if reasons:
        return refused(reasons)
    return DIFFERENT if steps else SAME


def show(steps: Sequence[Change]) -> None:
    """Print changes, a line each."""
    for step in steps:
        for line in step.lines():
            say(line)
    if not steps:
        say("nothing to do: everything is as it should be")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def refused(reasons: Sequence[str]) -> int:
    """Print why a stack is not connected, a sentence a line."""
    for reason in reasons:
        sys.stderr.write(f"switchboard: {reason}\n")
    return REFUSED
