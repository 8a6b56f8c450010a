"""`switchboard undeploy`: takes back what `switchboard deploy` did. Asks once, and can be run again at any point."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from devkit import account, cloudformation, deploy, deployed, disconnect, samconfig, secrets
from devkit.cloudformation import Standing
from devkit.errors import UserError
from devkit.remembered import BEFORE
from devkit.sam import reason
from devkit.steps import Steps, agreed
from devkit.target import Target
from switchboard.secrets import CONNECTION

LOG = Path(".local/logs/undeploy.log")
AT_ONCE = 10  # parameters that SSM deletes in one request
REMAINS = """
What remains, and costs nothing to speak of:
- SAM's own bucket (stack aws-sam-cli-managed-default), which your other SAM stacks share
- for 35 days, the backup that DynamoDB makes of a table with point-in-time recovery when it is deleted
- the answers to `sam deploy --guided` in samconfig.toml: another `make deploy` takes them
"""
# Without the stack nobody knows how Vapi and Twilio are reached.
GONE = """- the parameters `connection` and `connection-before`, and what was connected: the stack was deleted before this could
  put back what stood at Twilio. Deploy again and undeploy, or set the number's URLs yourself and delete the parameters
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    deploy.choices(parser)
    parser.add_argument(
        "--keep-secrets", action="store_true", help="leave the parameters in SSM, for another stack to come"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing and take it all back")


def run(args: argparse.Namespace) -> int:
    """Show what there is to take back, ask, and do it."""
    steps = Steps()
    chosen, region = deploy.settle(steps, args, samconfig.read(args.config_env))
    with steps.step("stack"):
        stack = cloudformation.find(chosen)
        stored = parameters(chosen)
        if stack and stack.parameters.get("DeletionProtection") == "true":
            raise UserError("DeletionProtection is true: deploy with DeletionProtection=false first")
    if stack is None and not stored:
        steps.tell(f"there is nothing of a stack {chosen.stack} here")
        return 0
    sys.stdout.write(plan(chosen, stack, stored, keep=args.keep_secrets))
    if not agreed("Take all that back?", yes=args.yes):
        sys.stdout.write("Nothing was changed.\n")
        return 1
    if stack and connected(stored):
        _disconnect(steps, chosen)
    if stack:
        _delete(steps, chosen, region, args.config_env)
    if stored and not args.keep_secrets:
        _forget(steps, chosen)
    sys.stdout.write(REMAINS)
    if not stack and connected(stored):
        sys.stdout.write(GONE)
    return 0


def parameters(chosen: Target) -> list[str]:
    """The names of what the command line has stored for a stack: not the parameter that CloudFormation made."""
    pages = chosen.client("ssm").get_paginator("get_parameters_by_path")
    root = secrets.path(chosen.stack, "")
    # Not decrypted: nobody needs the values.
    found = [one["Name"] for page in pages.paginate(Path=root.rstrip("/")) for one in page["Parameters"]]
    return sorted(name for name in found if name != secrets.path(chosen.stack, "public-base-url"))


def connected(stored: Sequence[str]) -> bool:
    """Whether something was connected, and not yet put back."""
    return any(_about_connection(name) for name in stored)


def _about_connection(name: str) -> bool:
    return name.rpartition("/")[2] in (CONNECTION, BEFORE)


def plan(chosen: Target, stack: Standing | None, stored: Sequence[str], *, keep: bool) -> str:
    """What will be done, a line each."""
    lines = ["", "This will"]
    if stack and connected(stored):
        lines.append("- put back at Twilio what stood there, and delete at Vapi what `switchboard connect` made")
    if stack:
        lines.append(
            f"- delete the stack {chosen.stack}, its table with sessions, transcripts and results, and its logs"
        )
    names = [name for name in stored if not _about_connection(name)]
    if names and not keep:
        lines.append(f"- delete {len(names)} parameters in SSM, the secrets: {', '.join(names)}")
    return "\n".join(lines) + "\n\n"


def _disconnect(steps: Steps, chosen: Target) -> None:
    with steps.step("disconnect"):
        disconnect.disconnect(chosen, deployed.read(chosen), yes=True)
        steps.tell("Vapi and Twilio disconnected")


def _delete(steps: Steps, chosen: Target, region: str, environment: str) -> None:
    with steps.step("sam delete"):
        deploy.settled(chosen, steps, deleting=True)
        command = ["delete", "--stack-name", chosen.stack, "--region", region, "--config-env", environment]
        failed = account.sam([*command, "--no-prompts"], LOG)
        left = cloudformation.find(chosen)
        if left and left.status not in deploy.ABSENT:
            reasons = cloudformation.failures(chosen)
            why = "; ".join(reasons[:3]) or (reason(LOG) if failed else left.status)
            raise UserError(f"{why} (log: {LOG}); run this again once that is mended")
        steps.tell(f"stack {chosen.stack} deleted")


def _forget(steps: Steps, chosen: Target) -> None:
    with steps.step("parameters"):
        ssm = chosen.client("ssm")
        # What was connected is forgotten by `disconnect`, and by nobody else.
        names = [name for name in parameters(chosen) if not _about_connection(name)]
        for first in range(0, len(names), AT_ONCE):
            ssm.delete_parameters(Names=names[first : first + AT_ONCE])
        steps.tell(f"{len(names)} parameters deleted")
