"""SnapStart: what is done before Lambda takes the snapshot that a function starts from, and after each such start.

A snapshot is one process that goes on in many places at once, perhaps weeks later. No connection, key, secret, time or
random state of before may count in it. They are forgotten before it is taken, so that it does not hold them, and once more
after it, whatever the agent's own modules have done in between.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

import gc
import os
import random
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from switchboard import aws, trust
from switchboard.secrets import Secrets

TYPE, SNAP_START = "AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"

Step = Callable[[], object]


class Rehearsal(NamedTuple):
    """What a function does first: `respond` answers what is sent to `path`, with `desk` for all that it needs."""

    respond: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
    desk: Any
    path: str


def ready(secrets: Secrets, *warm: Step, rehearsal: Rehearsal | None = None) -> None:
    """Read and connect ahead of the first event: at once, or, where starts are from a snapshot, after each of them.

    The rehearsal is for snapshots only. What it raises stops the version from being published.
    """
    if os.environ.get(TYPE) != SNAP_START:
        for step in warm:
            step()
        return
    from snapshot_restore_py import register_after_restore, register_before_snapshot  # Lambda's runtime brings it

    register_before_snapshot(before, secrets, rehearsal)
    register_after_restore(after, secrets, warm)


def before(secrets: Secrets, rehearsal: Rehearsal | None) -> None:
    """Do once what every first event would have to wait for, and leave nothing of it behind."""
    trust.context()
    if rehearsal:
        from switchboard import rehearsals

        rehearsals.play(rehearsal)
    _forget(secrets)
    gc.collect()
    gc.freeze()  # a collection that looked at all of this would have its memory fetched from the snapshot


def after(secrets: Secrets, warm: tuple[Step, ...]) -> None:
    """Become a process of its own. What it raises, the runtime reports, and ends the process: no half of one answers."""
    # The kernel renews its own randomness; these two have theirs in this memory, as every other start from it has.
    random.seed()
    ssl.RAND_add(os.urandom(32), 32)
    _forget(secrets)
    for step in warm:
        step()


def _forget(secrets: Secrets) -> None:
    secrets.forget()
    aws.forget()
