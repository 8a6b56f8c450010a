"""`switchboard deploy`: everything from your credentials to a number that can be called. Safe to run again at any point.

Each step looks at what is there before it does anything, so that a run which failed, or was interrupted, or whose last
answer was lost, is simply run again.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from devkit import (
    account,
    canary,
    catalogue,
    cloudformation,
    connect,
    deployed,
    facts,
    remembered,
    samconfig,
    secrets,
    session,
    target,
    versions,
)
from devkit.built import BUILD
from devkit.cloudformation import Standing
from devkit.errors import UserError
from devkit.sam import reason
from devkit.steps import Steps, agreed, somebody_there
from devkit.target import Target
from devkit.wanted import Asked
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_API_KEY, VAPI_PUBLIC_KEY, VAPI_WEBHOOK

SOURCE = Path("template.yaml")
LOGS = Path(".local/logs")
POLL_SECONDS, POLLS = 5, 180  # as long as CloudFormation may take over a function or a table
ABSENT = ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE")  # a change set that was never carried out is no stack yet
# What a secret is, for whoever is asked for it.
WHERE = {
    VAPI_API_KEY: "Vapi's private key: its dashboard, API Keys",
    VAPI_PUBLIC_KEY: "Vapi's public key: its dashboard, API Keys",
    TWILIO_AUTH_TOKEN: "Twilio's auth token: the first page of its console",
    TWILIO_API_SECRET: "the secret of the Twilio API key that TwilioApiKeySid names",
}


def choices(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which stack this is about."""
    parser.add_argument("--stack-name", metavar="S", help=f"default: samconfig.toml's, else {target.DEFAULT_STACK}")
    parser.add_argument(
        "--region", metavar="R", help="default: samconfig.toml's, else the one of your AWS configuration"
    )
    parser.add_argument(
        "--config-env", metavar="E", default=samconfig.ENVIRONMENT, help="environment of samconfig.toml"
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    choices(parser)
    session.choices(parser)
    parser.add_argument("--no-probe", action="store_true", help="do not have Vapi send a message to see how it signs")
    parser.add_argument("--yes", action="store_true", help="ask nothing: defaults or saved parameters, and go ahead")
    parser.epilog = "Run it again after a failure: it goes on where it stopped."


def run(args: argparse.Namespace) -> int:
    """Take every step, and say which number to call."""
    steps = Steps()
    if not SOURCE.exists():
        raise UserError(f"there is no {SOURCE} here: run this in the project's folder")
    if not (args.yes or somebody_there()):
        raise UserError("there is nobody here to ask: answer yes to everything with --yes")
    order = session.asked(args)
    chosen, region = settle(steps, args, samconfig.read(args.config_env))
    _build(steps)
    chosen, stack = _deploy(steps, args, chosen, region)
    with steps.step("parameters"):
        require_safe(stack.parameters, emulated=_emulated(chosen))
    _secrets(steps, chosen, needed(stack.parameters, phone=order.number != ""))
    number = _connect(steps, chosen, order, yes=args.yes, probing=not args.no_probe)
    _canary(steps, chosen)
    sys.stdout.write(f"\nCall {number} now\n" if number else "\nDeployed; no phone number is connected\n")
    return 0


def settle(steps: Steps, args: argparse.Namespace, saved: samconfig.Saved) -> tuple[Target, str]:
    """Which stack of which account and region this is about, once it is known that there is such an account."""
    with steps.step("region"):
        region = account.region(args.region, saved.region)
        steps.tell(f"region {region.name}, by {region.source}")
    stack = args.stack_name or saved.stack_name or target.DEFAULT_STACK
    chosen = aim(stack, region.name)
    with steps.step("credentials"):
        steps.tell(f"account {account.identify(chosen)}, stack {stack}")
    return chosen, region.name


def aim(stack: str, region: str) -> Target:
    """The stack in the account of the credentials; its options are those that other commands need to find it."""
    chosen = target.chosen(argparse.Namespace(stack_name=stack, region=region, local=False))
    saved = samconfig.read()
    usual = {
        "--stack-name": (stack, saved.stack_name or target.DEFAULT_STACK),
        "--region": (region, saved.region or account.usual_region()),
    }
    options = "".join(f" {option} {value}" for option, (value, default) in usual.items() if value != default)
    return chosen._replace(options=options)


def _build(steps: Steps) -> None:
    catalogue.write()
    log = LOGS / "deploy-build.log"
    if account.sam(["build", "--cached", "--parallel"], log):
        raise UserError(f"sam build: {reason(log)} (log: {log})")
    steps.tell("functions and layers built, for arm64 and x86_64")


def _deploy(steps: Steps, args: argparse.Namespace, chosen: Target, region: str) -> tuple[Target, Standing]:
    with steps.step("sam deploy"):
        there = settled(chosen, steps)
        saved = samconfig.read(args.config_env)
        first = there is None and not saved.parameters
        guided = first and not args.yes and not _defaults_taken()
        published = _publish(steps, {**(there.parameters if there else {}), **saved.overrides})
        # Not the template's default, which works without vapi-public-key; but `connect` insists on it in production.
        known = ["--parameter-overrides", "ControlAuthentication=true"] if first else []
        command = [*_sam(args, chosen.stack, region), *known]
        if guided:
            failed = account.sam([*command, "--guided"])
            now = samconfig.read(args.config_env)
            # Its questions begin with the stack's name and region.
            region = now.region or region
            chosen = aim(now.stack_name or chosen.stack, region)
        elif args.yes:
            failed = account.sam([*command, "--no-confirm-changeset"], LOGS / "deploy.log")
        else:
            failed = account.sam(command)
        stack = cloudformation.find(chosen)
        if not failed and not published and stack and _publish(steps, stack.parameters):
            # It was one of the answers that have just been given.
            failed = account.sam([*_sam(args, chosen.stack, region), "--no-confirm-changeset"], LOGS / "deploy.log")
            stack = cloudformation.find(chosen)
        if failed:
            raise UserError(_why(chosen, stack, LOGS / "deploy.log" if args.yes else None))
        if stack is None:
            raise UserError("it went by another stack name or region: give them with --stack-name and --region")
        steps.tell(f"stack {chosen.stack} deployed: {stack.status}")
        return chosen, stack


def _sam(args: argparse.Namespace, stack: str, region: str) -> list[str]:
    return [
        *("deploy", "--config-env", args.config_env, "--stack-name", stack, "--region", region),
        *("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"),
    ]


def _publish(steps: Steps, parameters: Mapping[str, str]) -> bool:
    """Whether the next `sam deploy` will publish what starts from snapshots."""
    if not versions.wanted(parameters):
        return False
    names = versions.publish(BUILD, parameters)
    steps.tell(f"SnapStart: AWS takes a snapshot of {len(names)} functions, which is minutes")
    return True


def _defaults_taken() -> bool:
    sys.stdout.write(
        "\nSAM now asks for each parameter of the template; Enter takes its default, and all can be changed later.\n"
        "Answer y where it asks whether the fallback URL without authentication is okay: it says constant words only.\n"
    )
    return agreed("Or take all the defaults, without being asked?", yes=False)


def _why(chosen: Target, stack: Standing | None, log: Path | None) -> str:
    if stack and stack.status.endswith("_IN_PROGRESS") and stack.status not in ABSENT:
        return f"SAM has lost sight of it, and AWS goes on ({stack.status}): run this again, which waits for it"
    # The reasons of an earlier attempt would mislead, so only an attempt that has just failed is asked for them.
    if (
        stack
        and ("ROLLBACK" in stack.status or "FAILED" in stack.status)
        and (found := cloudformation.failures(chosen))
    ):
        return "; ".join(found[:3])
    return f"{reason(log)} (log: {log})" if log else "see what SAM says above"


def settled(
    chosen: Target, steps: Steps, *, deleting: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Standing | None:
    """The stack once nothing changes it any more, or None; `UserError` where it can be deployed to no more."""
    stack = cloudformation.find(chosen)
    for poll in range(POLLS):
        if stack is None or stack.status in ABSENT:
            return None
        if not stack.status.endswith("_IN_PROGRESS"):
            break
        if not poll:
            steps.tell(f"waiting: AWS is still changing the stack ({stack.status})")
        sleep(POLL_SECONDS)
        stack = cloudformation.find(chosen)
    if stack is None:
        return None
    if stack.status.endswith("_IN_PROGRESS"):
        raise UserError(f"the stack is {stack.status} for too long: look at CloudFormation's console")
    if deleting:
        return stack
    if stack.status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        raise UserError(
            f"the stack is {stack.status} and can only be deleted: `switchboard undeploy{chosen.options}`, then again"
        )
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        raise UserError("the stack is UPDATE_ROLLBACK_FAILED: continue the rollback in CloudFormation's console first")
    return stack


def require_safe(parameters: Mapping[str, str], *, emulated: bool) -> None:
    """`UserError` for what the template cannot refuse: nothing is connected to a stack that is set up like this."""
    if emulated:
        return
    if parameters.get("Stage") == "local":
        raise UserError("Stage=local trusts this machine's addresses and is for an emulator: deploy with Stage=prod")
    for name in ("VapiApiUrl", "TwilioApiUrl", "VapiInboundUrl", "PublicBaseUrl"):
        if parameters.get(name, "").startswith("http://"):
            raise UserError(f"{name} is an address of this machine, which nothing in AWS reaches: deploy with https")


def _emulated(chosen: Target) -> bool:
    return facts.is_loopback(chosen.client("cloudformation").meta.endpoint_url)


def needed(parameters: Mapping[str, str], *, phone: bool) -> list[str]:
    """The secrets that a stack with these parameters cannot do without; `phone`: it is to have a number."""
    wanted = {
        VAPI_WEBHOOK: True,
        VAPI_API_KEY: True,
        VAPI_PUBLIC_KEY: parameters.get("ControlAuthentication") == "true",
        TWILIO_AUTH_TOKEN: phone,
        TWILIO_API_SECRET: phone and bool(parameters.get("TwilioApiKeySid")),
    }
    return [name for name, is_needed in wanted.items() if is_needed]


def _secrets(steps: Steps, chosen: Target, names: Sequence[str]) -> None:
    with steps.step("secrets"):
        ssm, now = chosen.client("ssm"), datetime.now(UTC)
        stored = deployed.read(chosen)
        done = []
        for name in names:
            if stored.value(name):
                done.append(f"{name} is there")
            elif name == VAPI_WEBHOOK:
                secrets.put(ssm, chosen.stack, name, secrets.generated(), now=now)
                done.append(f"{name} made")
            elif somebody_there():
                sys.stdout.write(f"{WHERE[name]}\n")
                secrets.put(ssm, chosen.stack, name, secrets.read_value(name), now=now)
                done.append(f"{name} stored")
            else:
                raise UserError(f"{name} is not stored: `switchboard secrets put {name}{chosen.options}`, then again")
        steps.tell(f"secrets: {', '.join(done)}")


def _connect(steps: Steps, chosen: Target, order: Asked, *, yes: bool, probing: bool) -> str:
    with steps.step("connect"):
        if connect.connect(chosen, deployed.read(chosen), order, yes=yes, probing=probing):
            raise UserError("not connected, for the reasons above: see to them, and run this again")
        before = remembered.before(chosen.client("ssm"), chosen.stack)
        steps.tell("Vapi and Twilio connected")
        return before.number if before else ""


def _canary(steps: Steps, chosen: Target) -> None:
    with steps.step("canary"):
        found = canary.sing(chosen)
        for one in found:
            steps.tell(f"canary {one}")
        if bad := [one for one in found if not one.good]:
            raise UserError(f"{bad[0].asked} was answered {bad[0].came}: {canary.advice(chosen)}")
