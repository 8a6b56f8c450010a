"""`switchboard demo`: three whole phone calls on this machine, and what was promised beside what was seen.

Everything is real but the two companies at the ends: the template is built and deployed by `sam`, its functions run
under Lambda's own runtime client with their IAM policies enforced, and the calls come from scripts that
`switchboard simulate` plays as well.
"""

import argparse
import sys
import time
from pathlib import Path

from devkit.errors import UserError
from devkit.evidence import collect
from devkit.player import Played
from devkit.script import Script, load
from devkit.simulate import player
from devkit.stack import Stack
from devkit.timeline import Promise, table
from devkit.transfer_evidence import promises
from devkit.wire import Network

CALLS = Path(__file__).parent / "calls"
SCRIPTS = ("clinic_bypass.yaml", "clinic_imported.yaml", "clinic_transfer.yaml")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.epilog = "Environment: SWITCHBOARD_PORT, the first of three ports (default 4566)."


def run(_args: argparse.Namespace) -> int:
    """Start everything, play every call, stop everything; 1 if a promise was not kept."""
    began = time.monotonic()
    scripts = [load(CALLS / name) for name in SCRIPTS]
    stack = Stack(progress=_say)
    if stack.running:
        raise UserError("the local stack is running and has a past: stop it with `make down` before the demo")
    kept = True
    with stack:
        for number, script in enumerate(scripts, 1):
            _say(f"\nCall {number} of {len(scripts)}: {Path(script.name).name}\n")
            played, made = play(script, stack)
            _say(f"{played.render()}\n\n{table(made)}")
            kept &= all(promise.ok for promise in made)
        made = [_no_dead_letters(stack)]
        kept &= all(promise.ok for promise in made)
        _say(f"\nAll calls\n\n{table(made)}")
    seconds = time.monotonic() - began
    _say(
        f"\n{'Every promise was kept' if kept else 'NOT every promise was kept'}. {seconds:.0f} s, and nothing is left running."
    )
    return 0 if kept else 1


def play(script: Script, stack: Stack, network: Network | None = None) -> tuple[Played, list[Promise]]:
    """Play one call, wait until nothing of it is unfinished, and hold what was promised against what was seen."""
    with player(script, stack.facts, network) as one:
        played = one.play()
    seen = collect(played, stack.client("dynamodb"), stack.facts["outputs"]["TableName"])
    return played, promises(seen)


def _no_dead_letters(stack: Stack) -> Promise:
    sqs = stack.client("sqs")
    counts = {}
    for name in ("LiveDeadLetterQueueName", "AfterCallDeadLetterQueueName"):
        queue = stack.facts["outputs"][name]
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])[
            "Attributes"
        ]
        counts[queue] = int(attributes["ApproximateNumberOfMessages"])
    total = sum(counts.values())
    return Promise("no work is left in a dead letter queue", f"{total} messages in {len(counts)} queues", total == 0)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
