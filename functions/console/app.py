"""/console/calls*: what the console's page asks for, and what it wants done."""

import os
from typing import Any

from agent import agent
from switchboard import aws, console
from switchboard.console import Console
from switchboard.interventions import Operator
from switchboard.secrets import (
    CONSOLE,
    PUBLIC_BASE_URL,
    TWILIO_API_SECRET,
    TWILIO_AUTH_TOKEN,
    VAPI_PUBLIC_KEY,
    Secrets,
)
from switchboard.settings import Settings
from switchboard.store import Store
from switchboard.telemetry import measured
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio
from switchboard.vapi import Vapi

settings = Settings.from_env(os.environ)
names = (CONSOLE, VAPI_PUBLIC_KEY, TWILIO_AUTH_TOKEN, TWILIO_API_SECRET, PUBLIC_BASE_URL)
secrets = Secrets(settings.parameter_path, names, aws.client("ssm", settings.aws_url))
store = Store(settings.table, aws.client("dynamodb", settings.aws_url))
desk = Console(
    secrets=secrets,
    operator=Operator(
        settings=settings,
        store=store,
        vapi=Vapi(settings.vapi_url, local=settings.local),
        public_key=lambda: secrets.first(VAPI_PUBLIC_KEY) if settings.control_authentication else "",
        switch=Switch(settings, secrets, store, Twilio(settings.twilio_url), people=agent.people),
    ),
)
secrets.warm()


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request."""
    return console.respond(desk, event)
