"""POST /voice/inbound: a caller is waiting. Verify, ask the agent and Vapi, answer TwiML whatever is down."""

import os
from typing import Any

from agent import agent
from switchboard import aws, phone, routes, snapshots
from switchboard.phone import Exchange
from switchboard.queue import Queue
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, VAPI_API_KEY, Secrets
from switchboard.settings import Settings
from switchboard.snapshots import Rehearsal
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.vapi import Vapi
from switchboard.waking import Waker

settings = Settings.from_env(os.environ)
waker = Waker(settings.warm_functions, aws.client("lambda", settings.aws_url))
exchange = Exchange(
    settings=settings,
    secrets=Secrets(
        settings.parameter_path,
        (TWILIO_AUTH_TOKEN, VAPI_API_KEY, PUBLIC_BASE_URL, CONNECTION),
        aws.client("ssm", settings.aws_url),
    ),
    store=Store(settings.table, aws.client("dynamodb", settings.aws_url)),
    live_queue=Queue(settings.live_queue, aws.client("sqs", settings.aws_url)),
    vapi=Vapi(settings.vapi_url),
    agent=agent,
    wake=waker.wake,
)
rehearsal = Rehearsal(phone.answer_call, exchange, routes.DEQUEUED)
snapshots.ready(exchange.secrets, exchange.secrets.warm, exchange.store.warm, waker.warm, rehearsal=rehearsal)


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one inbound call."""
    return phone.answer_call(exchange, event)
