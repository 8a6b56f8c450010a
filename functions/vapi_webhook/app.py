"""POST /webhook/vapi, and /webhook/vapi/tools: verify, read, answer. Two functions of the template share this code."""

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
from switchboard.waking import Waker, wakeable

settings = Settings.from_env(os.environ)
waker = Waker(settings.warm_functions, aws.client("lambda", settings.aws_url))
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
    wake=waker.wake,
)
if settings.preload_tools:
    agent.tools.load()
rehearsal = Rehearsal(webhook.respond, desk, "/webhook/vapi")
snapshots.ready(desk.secrets, desk.secrets.warm, desk.store.warm, rehearsal=rehearsal)


@wakeable
@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one message of Vapi."""
    return webhook.respond(desk, event)
