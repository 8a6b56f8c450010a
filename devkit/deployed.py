"""A stack as it was deployed, as far as the world outside has to be told about it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from devkit import cloudformation, secrets
from devkit.errors import UserError
from devkit.secrets import NAMES, Entry
from devkit.target import Target
from switchboard.errors import SettingsError
from switchboard.secrets import PUBLIC_BASE_URL
from switchboard.signatures import Scheme, choose

OUTPUTS = ("VapiWebhookUrl", "VoiceUrl", "VoiceFallbackUrl", "VoiceStatusUrl")


class Deployed(NamedTuple):
    """Parameters and outputs of the template, and the secrets that are stored, the newest valid value of each."""

    stack: str
    stack_id: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    secrets: Mapping[str, Entry]
    base_url: str
    options: str = ""
    """What another command has to be told to be about the same stack, with a space before it."""

    def value(self, name: str) -> str:
        """A secret's newest value, or ''."""
        return self.secrets[name]["secret"] if name in self.secrets else ""

    def flag(self, name: str) -> bool:
        """A parameter that is true or false."""
        return self.parameters.get(name) == "true"

    @property
    def scheme(self) -> Scheme:
        """How Vapi is expected to sign; `UserError` if the functions would not start with it."""
        try:
            overrides = json.loads(self.parameters.get("SignatureOverrides") or "{}")
            return choose(self.parameters["SignatureScheme"], dict(overrides.items()))
        except (ValueError, TypeError, AttributeError, SettingsError):
            raise UserError(
                "no function starts with SignatureScheme and SignatureOverrides as they are: deploy with others"
            ) from None

    @property
    def accounts(self) -> list[str]:
        """The Twilio accounts whose calls are taken."""
        return [one for one in self.parameters.get("TwilioAccountSids", "").split(",") if one]


def read(chosen: Target) -> Deployed:
    """Ask AWS; `UserError` where there is no such stack, or none that can be connected."""
    found = cloudformation.read(chosen)
    outputs = found.outputs
    if missing := [name for name in OUTPUTS if not outputs.get(name)]:
        raise UserError(f"stack {chosen.stack} has no output {missing[0]}: its deployment has not come to an end")
    paths = [secrets.path(chosen.stack, name) for name in (*NAMES, PUBLIC_BASE_URL)]
    stored = {
        one["Name"].rpartition("/")[2]: one["Value"]
        for first in range(0, len(paths), 10)  # the most that SSM takes at once
        for one in chosen.client("ssm").get_parameters(Names=paths[first : first + 10], WithDecryption=True)[
            "Parameters"
        ]
    }
    valid = {name: secrets.valid(stored.get(name, "[]"), datetime.now(UTC)) for name in NAMES}
    return Deployed(
        stack=chosen.stack,
        stack_id=found.id,
        parameters=found.parameters,
        outputs=outputs,
        secrets={name: entries[-1] for name, entries in valid.items() if entries},
        base_url=stored.get(PUBLIC_BASE_URL, "") or outputs["VapiWebhookUrl"].removesuffix("/webhook/vapi"),
        options=chosen.options,
    )
