"""What Vapi sends by itself about a call that nobody has joined: signed by the credential that the assistant names."""

import base64
import hashlib
import hmac
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from devkit import server_messages
from devkit.server_messages import Conversation
from devkit.vapi_account_fake import Account


def proof(plan: Mapping[str, Any], body: bytes, timestamp: int, message_id: str) -> dict[str, str]:
    """The headers that an authentication plan puts on a request; the defaults are those of the published schemas."""
    if plan["type"] == "bearer":
        prefix = "Bearer " if plan.get("bearerPrefixEnabled", True) else ""
        return {plan.get("headerName", "Authorization"): prefix + plan["token"]}
    stamp, stamped = str(timestamp), plan.get("includeTimestamp", True)
    values = {b"{timestamp}": stamp.encode(), b"{svix-id}": message_id.encode(), b"{body}": body}
    payload = str(plan.get("payloadFormat", "{timestamp}.{body}" if stamped else "{body}")).encode()
    for name, value in values.items():  # the body last: what looks like a part of the format in it is none
        payload = payload.replace(name, value)
    secret = str(plan["secretKey"])
    key = base64.b64decode(secret) if plan.get("secretIsBase64") else secret.encode()
    digest = hmac.new(key, payload, getattr(hashlib, plan["algorithm"])).digest()
    text = base64.b64encode(digest).decode() if plan.get("signatureEncoding") == "base64" else digest.hex()
    headers = {plan.get("signatureHeader", "x-signature"): plan.get("signaturePrefix", "") + text}
    if stamped:
        headers[plan.get("timestampHeader", "x-timestamp")] = stamp
    if plan.get("messageIdHeader"):
        headers[plan["messageIdHeader"]] = message_id
    return headers


class Sender:
    """Tells the server of a call's assistant that the call is under way. `backend` is where the HTTP API listens."""

    def __init__(self, account: Account, backend: str, host: str, clock: Callable[[], float] = time.time) -> None:
        self._account, self._clock = account, clock
        self._http = httpx.Client(base_url=backend, headers={"host": host}, timeout=20, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def later(self, call: Mapping[str, Any]) -> None:
        """Send it soon, whatever becomes of it."""
        threading.Thread(target=self._send, args=(dict(call),), daemon=True).start()

    def _send(self, call: dict[str, Any]) -> None:
        server = self._account.objects["assistant"].get(str(call.get("assistantId")), {}).get("server") or {}
        credential = self._account.objects["credential"].get(str(server.get("credentialId")), {})
        now = self._clock()
        record = Conversation(now, "")
        message = server_messages.message("status-update", call, now, record, status="in-progress")
        body = server_messages.encode(message)
        plan = credential.get("authenticationPlan")
        signed = proof(plan, body, round(now), f"msg_{uuid.uuid4().hex}") if plan else {}
        with suppress(httpx.HTTPError):
            path = httpx.URL(server.get("url", "/")).raw_path.decode()
            self._http.post(path, content=body, headers={"content-type": "application/json", **signed})
