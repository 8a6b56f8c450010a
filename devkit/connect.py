"""`switchboard connect`: make Vapi and Twilio send their calls to a stack, and remember what stood there before.

Safe to run again at any time: it finds what is there, does what is missing or has changed, and goes on where an earlier
run has stopped.
"""

import argparse
import sys
from collections.abc import Callable

from devkit import changes, execution, objections, plan, probe, session, target, wanted
from devkit.deployed import Deployed
from devkit.differences import Change
from devkit.errors import UserError
from devkit.plan import say
from devkit.probe import Verdict
from devkit.session import USUAL, Session, Ways
from devkit.target import Target
from devkit.there import There
from devkit.wanted import Asked, Wanted

DASHBOARD = {
    "type": "type",
    "algorithm": "algorithm",
    "signatureHeader": "signature header",
    "signaturePrefix": "signature prefix",
    "includeTimestamp": "include timestamp",
    "timestampHeader": "timestamp header",
    "payloadFormat": "payload format",
    "messageIdHeader": "message id header",
    "signatureEncoding": "signature encoding",
    "secretIsBase64": "secret is base64",
    "headerName": "header name",
    "bearerPrefixEnabled": "include the prefix Bearer",
}
YES = ("y", "yes")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--no-probe", action="store_true", help="do not have Vapi send a message, by a call that nobody joins"
    )
    session.arguments(parser)
    parser.epilog = "Exit code 0: connected; 1: refused, or it does not work, and the last lines say why."


def run(args: argparse.Namespace) -> int:
    """Show what is different, ask, do it, and see whether it works."""
    with target.explained():
        chosen, known = session.opened(args)
        return connect(chosen, known, session.asked(args), yes=args.yes, probing=not args.no_probe)


def connect(
    chosen: Target, known: Deployed, order: Asked, ways: Ways = USUAL, *, yes: bool = False, probing: bool = True
) -> int:
    """Connect a stack, and return the exit code. `known` is what `deployed.read(chosen)` says."""
    if reasons := objections.of_stack(known, order):
        return plan.refused(reasons)
    with session.start(chosen, known, order, ways, say) as made:
        if reasons := objections.of_agent(made.want, made.there):
            return plan.refused(reasons)
        made = _with_credential(made, yes)
        steps = changes.difference(made.want, made.there)
        plan.show(steps)
        for note in objections.notes(made.want, made.there):
            say(f"note: {note}")
        # Before anything is changed: nobody is to be sent to a stack that does not take what it should.
        answering = probe.ours(made.deployed, ways.stack)
        if answering.ok is False:
            say(f"FAILED: {answering.said}")
            say("nothing was changed")
            return 1
        if steps:
            there = agree(made, steps, changes.difference, yes=yes)
            there = execution.converge(made.scene, there, lambda there: changes.difference(made.want, there))
            made = made._replace(there=there)
        return _verified(made, ways, answering, by_vapi=probing and (made.want.confirmed or _signs_anew(steps)))


def agree(
    made: Session, shown: list[Change], difference: Callable[[Wanted, There], list[Change]], *, yes: bool
) -> There:
    """Ask whether to go on, and return what there is now; `UserError` if not, or if that is not what was shown."""
    if yes:
        return made.there
    if _answer("Do this? [y/N] ", "give --yes to do this without being asked").lower() not in YES:
        raise UserError("nothing was changed")
    # Somebody may have thought about it for long, and somebody else may have done it meanwhile.
    there = made.scene.read()
    if difference(made.want, there) != shown:
        raise UserError("what is there has changed since it was shown, so nothing was changed: run this again")
    return there


def _answer(question: str, otherwise: str) -> str:
    if not sys.stdin.isatty():
        raise UserError(f"nobody is at the keyboard: {otherwise}")
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _with_credential(made: Session, yes: bool) -> Session:
    """Where Vapi's API makes no credentials, have somebody make one in the dashboard."""
    if made.there.credentials is not None or made.want.credential_id or made.there.connection["credential_id"]:
        return made
    for line in dashboard(made):
        say(line)
    otherwise = "run this again with --credential-id"
    if yes:
        raise UserError(f"the credential has to be made by hand: {otherwise}")
    if not (id := _answer("The credential's id: ", otherwise)):
        raise UserError(f"no credential, so nothing was changed: make it, and {otherwise}")
    return made._replace(want=made.want._replace(credential_id=id, confirmed=True))


def dashboard(made: Session) -> list[str]:
    """What to type in Vapi's dashboard, field by field; the secret itself is not shown."""
    body = wanted.credential(made.want)
    fields = {"name": body["name"]}
    for name, value in body["authenticationPlan"].items():
        if name in DASHBOARD:
            fields[DASHBOARD[name]] = str(value).lower() if isinstance(value, bool) else value
    return [
        "Vapi's API makes no credentials for this organisation, so make one in the dashboard:",
        "Integrations, Server Configuration, Add Custom Credential, with these fields:",
        *(f"  {name}: {value}" for name, value in fields.items()),
        "  secret: the newest value of vapi-webhook. It is shown nowhere: if you do not have it any more, make another",
        "          with `switchboard secrets rotate vapi-webhook --generate FILE`, and paste what is in the file.",
    ]


def _signs_anew(steps: list[Change]) -> bool:
    return any(step.kind == "credential" or (step.kind, step.how) == ("assistant", "create") for step in steps)


def _verified(made: Session, ways: Ways, answering: Verdict, *, by_vapi: bool) -> int:
    verdicts = [answering]
    if by_vapi:
        verdicts.append(probe.vapi(made, ways.probe_seconds))
    for verdict in verdicts:
        say(f"{'verified' if verdict.ok else 'FAILED' if verdict.ok is False else 'note'}: {verdict.said}")
    if any(verdict.ok is False for verdict in verdicts):
        return 1
    say("connected; the functions know of it within 5 minutes")
    return 0
