"""GET / is the page to talk to the assistant, GET /assets/{name} its files. The page is for everybody who finds it."""

import os
from pathlib import Path
from typing import Any

from switchboard import aws, pages
from switchboard.secrets import CONNECTION, VAPI_PUBLIC_KEY, Secrets
from switchboard.settings import Settings
from switchboard.telemetry import measured

settings = Settings.from_env(os.environ)
secrets = Secrets(settings.parameter_path, (VAPI_PUBLIC_KEY, CONNECTION), aws.client("ssm", settings.aws_url))
site = pages.open_site(Path(__file__).parent / "assets", settings, secrets)
secrets.warm()


@measured
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request of a browser's."""
    return pages.respond(site, event)
