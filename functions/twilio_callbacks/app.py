"""/voice/*, behind the first answer: how a phone leg goes on, and what became of it. GET /voice/tune is what waiting sounds like."""

import base64
import os
from functools import cache
from pathlib import Path
from typing import Any

from switchboard import aws, callbacks, routes, snapshots
from switchboard.bus import Bus
from switchboard.callbacks import Attendant
from switchboard.queue import Queue
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.snapshots import Rehearsal
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.twilio_rest import Twilio

settings = Settings.from_env(os.environ)
names = (TWILIO_AUTH_TOKEN, TWILIO_API_SECRET, PUBLIC_BASE_URL)
attendant = Attendant(
    settings=settings,
    secrets=Secrets(settings.parameter_path, names, aws.client("ssm", settings.aws_url)),
    store=Store(settings.table, aws.client("dynamodb", settings.aws_url)),
    live_queue=Queue(settings.live_queue, aws.client("sqs", settings.aws_url)),
    twilio=Twilio(settings.twilio_url),
    left_voicemail=Bus(aws.client("events", settings.aws_url)).left_voicemail,
)
rehearsal = Rehearsal(callbacks.respond, attendant, routes.MUSIC)
snapshots.ready(attendant.secrets, attendant.secrets.warm, attendant.store.warm, rehearsal=rehearsal)


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request of Twilio's."""
    if event.get("rawPath") == routes.TUNE:
        return tune()
    return callbacks.respond(attendant, event)


@cache
def tune() -> dict[str, Any]:
    """The hold music. Nothing about it is anybody's, so nobody has to sign for it."""
    sound = (Path(__file__).parent / "tune.wav").read_bytes()
    headers = {"content-type": "audio/wav", "cache-control": "public, max-age=86400"}
    return {
        "statusCode": 200,
        "headers": headers,
        "body": base64.b64encode(sound).decode(),
        "isBase64Encoded": True,
    }
