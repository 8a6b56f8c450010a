"""Once a minute: nothing accepted stays unfinished."""

import os
from typing import Any

from switchboard import aws
from switchboard.bus import Bus
from switchboard.queue import Queue
from switchboard.reconciliation import Clerk
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_API_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.sweeper import Broom, sweep
from switchboard.telemetry import measured
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio, account_of
from switchboard.vapi import Vapi

settings = Settings.from_env(os.environ)
names = (PUBLIC_BASE_URL, TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, VAPI_API_KEY)
secrets = Secrets(settings.parameter_path, names, aws.client("ssm", settings.aws_url))
store = Store(settings.table, aws.client("dynamodb", settings.aws_url))
sqs = aws.client("sqs", settings.aws_url)
live_queue = Queue(settings.live_queue, sqs)
twilio = Twilio(settings.twilio_url)
broom = Broom(
    store=store,
    live_queue=live_queue,
    undelivered=Bus(aws.client("events", settings.aws_url)).undelivered,
    clerk=Clerk(
        settings=settings,
        store=store,
        live_queue=live_queue,
        after_call_queue=Queue(settings.after_call_queue, sqs),
        vapi=Vapi(settings.vapi_url),
        twilio=twilio,
        vapi_key=lambda: secrets.first(VAPI_API_KEY),
        account=lambda sid: account_of(settings, secrets, sid),
    ),
    switch=Switch(settings, secrets, store, twilio),
)


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Sweep once."""
    return {"moved": sweep(broom)}
