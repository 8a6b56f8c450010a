"""What `switchboard connect` has learnt from Vapi about this stack: the ids that nobody has to deploy again for.

They stand in a String parameter beside the secrets, as JSON: `{"phone_number_id", "credential_id", "assistant_id"}`, all
optional. A parameter of the template that is set wins over what is stored there.
"""

import json
import re
from typing import NamedTuple

from switchboard.secrets import CONNECTION, Secrets
from switchboard.settings import Settings

_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)  # what the template's parameters take


class Connection(NamedTuple):
    """Vapi's ids of this stack's phone number, credential and assistant; '' where there is none."""

    phone_number_id: str = ""
    credential_id: str = ""
    assistant_id: str = ""


def read(settings: Settings, secrets: Secrets) -> Connection:
    """The ids that count now. `Unavailable` while SSM does not answer, and never has."""
    stored = parse(secrets.text(CONNECTION))
    return Connection(
        settings.phone_number_id or stored.phone_number_id,
        settings.credential_id or stored.credential_id,
        settings.assistant_id or stored.assistant_id,
    )


def parse(text: str) -> Connection:
    """What a parameter holds; whatever in it is no id counts as none."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Connection()
    given = found if isinstance(found, dict) else {}
    return Connection(*(_id(given.get(name)) for name in Connection._fields))


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""
