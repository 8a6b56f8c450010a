"""Places a call when somebody with the right to invoke this function asks for one. No route, no URL."""

import os
from typing import Any

from agent import agent
from switchboard import aws, outbound
from switchboard.outbound import Dialler, Rules
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, VAPI_API_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.vapi import Vapi

settings = Settings.from_env(os.environ)
dialler = Dialler(
    settings=settings,
    secrets=Secrets(
        settings.parameter_path, (VAPI_API_KEY, PUBLIC_BASE_URL, CONNECTION), aws.client("ssm", settings.aws_url)
    ),
    store=Store(settings.table, aws.client("dynamodb", settings.aws_url)),
    vapi=Vapi(settings.vapi_url),
    agent=agent,
    rules=Rules.read(settings),
)
dialler.secrets.warm()
dialler.store.warm()


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Place one call, or say why not."""
    return outbound.place(dialler, event)
