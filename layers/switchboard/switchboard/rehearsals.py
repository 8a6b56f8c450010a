"""A first event that never was: played before a snapshot, without network, so that the real one finds all code run once.

AWS is there and empty: what is written is accepted, what is looked for is not there. The request is signed with a secret
that nobody else knows of, and nothing is counted.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from switchboard import signatures, telemetry
from switchboard.queue import Queue
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, VAPI_WEBHOOK, Secrets
from switchboard.settings import Settings
from switchboard.snapshots import Rehearsal
from switchboard.store import Store

SECRET = "cmVoZWFyc2Fs"  # noqa: S105 - base64, as some schemes want it, and valid for as long as a rehearsal takes
ORIGIN = "https://rehearsal.invalid"  # https://www.rfc-editor.org/rfc/rfc6761#section-6.4
CALL_SID = "CA" + "0" * 32
# A caller who has hung up while they waited: whoever is told of it in whatever form has nothing more to do.
FORM = {"CallSid": CALL_SID, "CallStatus": "completed", "QueueResult": "hangup"}


class Failed(Exception):
    """A function does not answer what it should be able to: no version of it should be published."""


class Empty:
    """AWS, with nothing in it but the secrets of the rehearsal."""

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return lambda **request: {"Items": []}

    def get_parameters(self, **request: Any) -> dict[str, Any]:
        """The secrets that a sender and we have in common here."""
        secret = json.dumps([{"id": "rehearsal", "secret": SECRET}])
        values = {VAPI_WEBHOOK: secret, TWILIO_AUTH_TOKEN: secret, PUBLIC_BASE_URL: ORIGIN}
        return {"Parameters": [{"Name": f"/{name}", "Value": value} for name, value in values.items()]}


def play(rehearsal: Rehearsal) -> None:
    """Answer one event; `Failed` unless it is answered as it should be."""
    empty, desk = Empty(), rehearsal.desk
    queue = Queue("", empty)
    props = {
        "secrets": Secrets("", (), empty),
        "store": Store("", empty),
        "live_queue": queue,
        "after_call_queue": queue,
        "wake": lambda: None,
    }
    made = desk._replace(**{name: prop for name, prop in props.items() if name in desk._fields})
    write = _webhook if rehearsal.path.startswith("/webhook/") else _form
    answer = rehearsal.respond(made, write(desk.settings, rehearsal.path))
    telemetry.metrics.clear_metrics()
    if answer.get("statusCode") != 200:
        raise Failed(f"{rehearsal.path} is answered {answer.get('statusCode')}")


def _webhook(settings: Settings, path: str) -> dict[str, Any]:
    """A call of Vapi's that has begun."""
    call = {"id": "00000000-0000-4000-8000-000000000000", "orgId": min(settings.org_ids, default="")}
    body = json.dumps({"message": {"type": "status-update", "status": "in-progress", "call": call}}).encode()
    signed = signatures.sign(settings.scheme, body, SECRET, timestamp=int(time.time()), message_id="rehearsal")
    return _event(path, signed, body)


def _form(settings: Settings, path: str) -> dict[str, Any]:
    """What Twilio says of a caller who is gone."""
    fields = FORM | {"AccountSid": min(settings.account_sids, default="")}
    signature = signatures.sign_twilio(ORIGIN + path, fields.items(), SECRET)
    return _event(path, {"x-twilio-signature": signature}, urlencode(fields).encode())


def _event(path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    return {
        "rawPath": path,
        "requestContext": {"http": {"method": "POST"}},
        "headers": headers,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
