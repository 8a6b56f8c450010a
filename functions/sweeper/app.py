"""Once a minute: nothing accepted stays unfinished."""

import os
from typing import Any

from switchboard import aws
from switchboard.queue import Queue
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.sweeper import Broom, sweep
from switchboard.telemetry import measured

settings = Settings.from_env(os.environ)
broom = Broom(
    store=Store(settings.table, aws.client("dynamodb", settings.aws_url)),
    live_queue=Queue(settings.live_queue, aws.client("sqs", settings.aws_url)),
)


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Sweep once."""
    return {"moved": sweep(broom)}
