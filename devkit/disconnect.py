"""`switchboard disconnect`: put back what stood at Twilio and Vapi before, and take away what `connect` has made."""

import argparse

from devkit import execution, plan, remembered, session, target, undoing
from devkit.connect import agree
from devkit.deployed import Deployed
from devkit.errors import UserError
from devkit.plan import say
from devkit.session import USUAL, Ways
from devkit.target import Target
from devkit.wanted import Asked
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_API_KEY


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show what is put back, ask, and do it."""
    with target.explained():
        return disconnect(*session.opened(args), yes=args.yes)


def disconnect(chosen: Target, known: Deployed, ways: Ways = USUAL, *, yes: bool = False) -> int:
    """Disconnect a stack, and return the exit code."""
    before = remembered.before(chosen.client("ssm"), known.stack)
    order = Asked(number=before.number if before else "")
    _require(known, order)
    with session.start(chosen, known, order, ways, say) as made:
        steps = undoing.difference(made.want, made.there)
        if not steps:
            say("nothing to do: the stack is not connected")
            return 0
        plan.show(steps)
        for note in undoing.notes(made.want, made.there):
            say(f"note: {note}")
        there = agree(made, steps, undoing.difference, yes=yes)
        execution.converge(made.scene, there, lambda there: undoing.difference(made.want, there), leave_refused=True)
    say("disconnected")
    return 0


def _require(known: Deployed, order: Asked) -> None:
    by_key = bool(known.parameters.get("TwilioApiKeySid"))
    names = [VAPI_API_KEY, *([TWILIO_API_SECRET if by_key else TWILIO_AUTH_TOKEN] if order.number else [])]
    for name in names:
        if not known.value(name):
            raise UserError(
                f"{name} is not stored, so nothing can be put back: run `switchboard secrets put {name}{known.options}`"
            )
