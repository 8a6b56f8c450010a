"""POST /webhook/vapi: verify, read, answer."""

import os
from typing import Any

from agent import agent
from switchboard import aws, snapshots, webhook
from switchboard.desk import Desk
from switchboard.queue import Queue
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, VAPI_WEBHOOK, Secrets
from switchboard.settings import Settings
from switchboard.snapshots import Rehearsal
from switchboard.store import Store
from switchboard.telemetry import measured

settings = Settings.from_env(os.environ)
sqs = aws.client("sqs", settings.aws_url)
desk = Desk(
    settings=settings,
    secrets=Secrets(
        settings.parameter_path, (VAPI_WEBHOOK, PUBLIC_BASE_URL, CONNECTION), aws.client("ssm", settings.aws_url)
    ),
    store=Store(settings.table, aws.client("dynamodb", settings.aws_url)),
    live_queue=Queue(settings.live_queue, sqs),
    after_call_queue=Queue(settings.after_call_queue, sqs),
    agent=agent,
)
rehearsal = Rehearsal(webhook.respond, desk, "/webhook/vapi")
snapshots.ready(desk.secrets, desk.secrets.warm, desk.store.warm, rehearsal=rehearsal)


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one message of Vapi."""
    return webhook.respond(desk, event)
