"""POST /voice/status: what became of a phone leg."""

import os
import time
from typing import Any

from switchboard import aws, phone
from switchboard.phone import Line
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import measured

settings = Settings.from_env(os.environ)
secrets = Secrets(settings.parameter_path, (TWILIO_AUTH_TOKEN, PUBLIC_BASE_URL), aws.client("ssm", settings.aws_url))
line = Line(settings, secrets)
store = Store(settings.table, aws.client("dynamodb", settings.aws_url))
line.secrets.warm()


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Merge one status callback."""
    return phone.record_status(line, store, event, time.time())
