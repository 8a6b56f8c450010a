"""Whether what was connected works: messages of our own, and one that Vapi is made to send.

Nobody but Vapi can show that Vapi signs as this stack expects. So it is asked for a call that nobody joins, and the
stack's table shows whether a message about it was accepted.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from devkit import refusals
from devkit.canary import AGENT
from devkit.deployed import Deployed
from devkit.rest import Failed
from devkit.session import Session
from devkit.target import Target
from switchboard import control, desk
from switchboard.secrets import VAPI_PUBLIC_KEY, VAPI_WEBHOOK
from switchboard.settings import LOCAL
from switchboard.signatures import sign
from switchboard.store import Key, Store

UNKNOWN_TYPE = "switchboard-probe"  # a message type that the functions acknowledge, and nothing more
LOOK_SECONDS = 0.5  # between two looks into the table
END_SECONDS = 5.0
TIMEOUT = 20.0  # a function's first start is slow
LOCALHOST = ".localhost"


class Verdict(NamedTuple):
    """What a probe has shown: it works (True), it does not (False), or nobody knows (None)."""

    ok: bool | None
    said: str


def ours(
    known: Deployed, transport: httpx.BaseTransport | None = None, now: Callable[[], float] = time.time
) -> Verdict:
    """Send what Vapi would, signed by the stored secret and by another one, and what Twilio asks when all else fails."""
    with httpx.Client(transport=transport, timeout=TIMEOUT, trust_env=transport is None) as http:
        try:
            faults = list(_faults(http, known, now()))
        except httpx.HTTPError as error:
            return Verdict(False, f"the stack does not answer ({type(error).__name__}): see its URLs and PublicBaseUrl")
    if faults:
        return Verdict(False, "; ".join(faults))
    return Verdict(True, "the stack takes a signed message, refuses a forged one, and has words for when it is down")


def _faults(http: httpx.Client, known: Deployed, now: float) -> Iterator[str]:
    url = known.outputs["VapiWebhookUrl"]
    message = {"type": UNKNOWN_TYPE, "timestamp": int(now * 1000), "call": _call(known)}
    body = json.dumps({"message": message}).encode()
    for secret, wanted in ((known.value(VAPI_WEBHOOK), 200), ("Zm9yZ2Vk", 401)):
        headers = {"content-type": "application/json"}
        headers |= sign(known.scheme, body, secret, timestamp=int(now), message_id="msg_probe")
        answer = _post(http, url, body, headers)
        if answer.status_code != wanted:
            whose = "signed" if wanted == 200 else "forged"
            yield f"a {whose} message is answered {answer.status_code}: see `switchboard doctor --last`"
        answer = _post(http, desk.tools_url(url), body, headers)
        if answer.status_code != wanted:
            # A stack that was deployed before there was such a route, or a domain of one's own that does not pass it on.
            yield f"/webhook/vapi/tools, for calls of tools, answers {answer.status_code} instead of {wanted}: deploy first"
    fallback = _post(http, known.outputs["VoiceFallbackUrl"], b"", {})
    if fallback.status_code != 200 or "<Response" not in fallback.text:
        yield f"the fallback URL answers {fallback.status_code}: see the log of VoiceFallbackFunction"


def _call(known: Deployed) -> dict[str, str]:
    allowed = [one for one in known.parameters.get("AllowedOrgIds", "").split(",") if one]
    return {"orgId": allowed[0]} if allowed else {}


def _post(http: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(LOCALHOST):
        # Not every machine knows that such names are its own.
        headers = {**headers, "host": parts.netloc}
        url = url.replace(parts.netloc, f"127.0.0.1:{parts.port}", 1)
    # The fallback counts who asks, and this is no caller.
    return http.post(url, content=body, headers={"user-agent": AGENT, **headers})


def vapi(made: Session, seconds: float, clock: Callable[[], float] = time.time) -> Verdict:
    """Have Vapi send a message about a call of nobody's, and see whether it was accepted."""
    assistant_id = made.there.connection["assistant_id"] or made.want.assistant_id
    if not assistant_id:
        return Verdict(None, "no assistant is stored, so Vapi has nothing to send a message about: call the number")
    began = clock()
    try:
        call = made.scene.clients.vapi.call({"assistantId": assistant_id, "transport": {"provider": "vapi.websocket"}})
    except Failed as failed:
        return Verdict(None, f"Vapi's own signature was not tried: {failed}")
    table = Store(made.deployed.outputs["TableName"], made.chosen.client("dynamodb"))
    arrived = _arrived(made, table, call, seconds, clock)
    _end(made, call)
    arrived = arrived or _arrived(made, table, call, seconds, clock)
    if arrived:
        return Verdict(True, "a message that Vapi has signed itself has arrived")
    refusal = _refusal(made.chosen, began)
    if refusal:
        return Verdict(False, f"a message was refused meanwhile. {refusal}")
    return Verdict(
        None,
        "nothing of Vapi's has arrived yet, so nobody knows how it signs: call the number, then run `switchboard doctor "
        "--last`",
    )


def _end(made: Session, call: Mapping[str, Any]) -> None:
    """If Vapi has not sent anything by itself, it tells that the call is over."""
    url, id = (call.get("monitor") or {}).get("controlUrl"), str(call.get("id"))
    local = made.deployed.parameters.get("Stage") == LOCAL
    # The key goes to no host but Vapi's.
    host = control.host(url, id, local=local) if isinstance(url, str) else ""
    if not host:
        return
    secured = made.deployed.flag("ControlAuthentication")
    headers = {"authorization": f"Bearer {made.deployed.value(VAPI_PUBLIC_KEY)}"} if secured else {}
    with suppress(httpx.HTTPError), httpx.Client(timeout=END_SECONDS, trust_env=not local) as http:
        http.post(control.url(host, id, local=local), json={"type": "end-call"}, headers=headers)


def _arrived(made: Session, table: Store, call: Mapping[str, Any], seconds: float, clock: Callable[[], float]) -> bool:
    deadline = clock() + seconds
    while True:
        if table.get(Key(f"CALL#{call.get('id')}", "META")):
            return True
        if clock() >= deadline:
            return False
        made.scene.sleep(LOOK_SECONDS)


def _refusal(chosen: Target, since: float) -> str:
    try:
        newest = refusals.newest(chosen.client("logs"), chosen.stack, time.time())
    except LookupError:
        return ""
    return newest.sentence if newest and newest.at >= since and newest.door == refusals.DOORS["vapi-webhook"] else ""
