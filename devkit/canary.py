"""`switchboard canary`: whether a deployed stack takes what is really signed, and nothing else. Costs no call.

What it sends goes through the public URLs. The webhook is of a type that nothing is stored for, and the phone leg is one
that no call has: its one row expires with the retention time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx

from devkit import deployed, target, twiml_lint
from devkit.deployed import Deployed
from devkit.errors import UserError
from devkit.target import Target
from switchboard import signatures
from switchboard.errors import SettingsError
from switchboard.secrets import TWILIO_AUTH_TOKEN, VAPI_WEBHOOK

TYPE = "switchboard.canary"  # no message of Vapi's, so it is acknowledged and nothing more
AGENT = "switchboard-canary"  # functions/voice_fallback counts callers, and not this
CALL_SID = "CA" + "ca" * 16
ACCOUNT_SID = "AC" + "ca" * 16
WRONG_SECRET = "bm90LXRoZS1zZWNyZXQtb2YtYW55LXN0YWNr"  # noqa: S105 - nobody's, and well formed for every scheme
SECONDS = 20.0  # a cold start, and Twilio's own patience
TRIES, PAUSE = 10, 3.0  # a new API's name may not be known everywhere at once


class Found(NamedTuple):
    """One check: what was asked, whether it went as it should, and what came."""

    asked: str
    good: bool
    came: str

    def __str__(self) -> str:
        return f"{'ok ' if self.good else 'BAD'}  {self.asked}: {self.came}"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    target.arguments(parser)
    parser.epilog = "Exit code 0: all is as it should be."


def run(args: argparse.Namespace) -> int:
    """Say a line for each check."""
    chosen = target.chosen(args)
    with target.explained():
        found = sing(chosen)
    for one in found:
        sys.stdout.write(f"{one}\n")
    if all(one.good for one in found):
        return 0
    sys.stdout.write(f"next: {advice(chosen)}\n")
    return 1


def advice(chosen: Target) -> str:
    """Where to look when something was not as it should be."""
    return f"`switchboard doctor --last{chosen.options}` says why the last request was refused"


def sing(
    chosen: Target,
    transport: httpx.BaseTransport | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Found]:
    """Ask everything once."""
    stack = deployed.read(chosen)
    scheme = stack.scheme
    vapi, twilio = _secret(chosen, stack), stack.value(TWILIO_AUTH_TOKEN)
    outputs = stack.outputs
    body = _message(stack, clock())
    form = _form(stack)

    def signed(secret: str) -> dict[str, str]:
        proof = signatures.sign(scheme, body, secret, timestamp=int(clock()), message_id="msg_canary")
        return {"content-type": "application/json", **proof}

    proof = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": signatures.sign_twilio(outputs["VoiceStatusUrl"], form, twilio),
    }
    with httpx.Client(transport=transport, timeout=SECONDS, headers={"user-agent": AGENT}) as http:
        line, called_back = _Line(http, sleep), "Twilio's status callback"
        webhook, status, fallback = (outputs[name] for name in ("VapiWebhookUrl", "VoiceStatusUrl", "VoiceFallbackUrl"))
        return [
            line.ask("GET /health", 200, "GET", outputs["HealthUrl"]),
            line.ask("a signed webhook", 200, "POST", webhook, body, _signed(signed, vapi)),
            line.ask("a forged webhook", 401, "POST", webhook, body, _signed(signed, WRONG_SECRET)),
            line.ask(called_back, 204, "POST", status, urlencode(form).encode(), proof)
            if twilio
            else Found(called_back, True, f"not asked, for {TWILIO_AUTH_TOKEN} is not stored"),
            line.ask("Twilio's fallback URL", 200, "POST", fallback, urlencode(form).encode(), look=_twiml),
        ]


def _signed(signed: Callable[[str], dict[str, str]], secret: str) -> dict[str, str]:
    try:
        return signed(secret)
    except SettingsError as error:
        raise UserError(f"{error}: store another with `switchboard secrets put vapi-webhook`") from None


def _secret(chosen: Target, stack: Deployed) -> str:
    if not stack.value(VAPI_WEBHOOK):
        raise UserError(f"{VAPI_WEBHOOK} is not stored: `switchboard secrets put {VAPI_WEBHOOK}{chosen.options}`")
    return stack.value(VAPI_WEBHOOK)


def _message(stack: Deployed, now: float) -> bytes:
    """A message of a type that means nothing, from an organisation that may send one."""
    message: dict[str, Any] = {"type": TYPE, "timestamp": int(now * 1000)}
    if allowed := _first(stack, "AllowedOrgIds"):
        message["call"] = {"id": AGENT, "orgId": allowed}
    return json.dumps({"message": message}).encode()


def _form(stack: Deployed) -> list[tuple[str, str]]:
    account = _first(stack, "TwilioAccountSids") or ACCOUNT_SID
    # Ringing, and so not at an end: nothing is looked up, freed or told because of it.
    return [("AccountSid", account), ("CallSid", CALL_SID), ("CallStatus", "ringing"), ("SequenceNumber", "0")]


def _first(stack: Deployed, parameter: str) -> str:
    return stack.parameters.get(parameter, "").partition(",")[0].strip()


def _twiml(answer: httpx.Response) -> str:
    """What is wrong with a TwiML answer, or ''."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    wrong = [] if kind in ("text/xml", "application/xml") else [f"content type {kind or 'missing'}"]
    return "; ".join(wrong + twiml_lint.faults(answer.text))


class _Line(NamedTuple):
    """Asks, and judges what comes."""

    http: httpx.Client
    sleep: Callable[[float], None]

    def ask(
        self,
        asked: str,
        status: int,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        look: Callable[[httpx.Response], str] = lambda answer: "",
    ) -> Found:
        answer = self._answer(method, url, body, dict(headers or {}))
        if answer is None:
            return Found(asked, False, f"no answer from {urlsplit(url).hostname}")
        if answer.status_code != status:
            return Found(asked, False, f"{answer.status_code} instead of {status}")
        wrong = look(answer)
        return Found(asked, not wrong, f"{status}, but {wrong}" if wrong else str(status))

    def _answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> httpx.Response | None:
        url, host = _loopback(url)
        for left in reversed(range(TRIES)):
            try:
                return self.http.request(method, url, content=body, headers={**headers, **host})
            except httpx.ConnectError:
                if left:
                    self.sleep(PAUSE)
            except httpx.TransportError:
                break
        return None


def _loopback(url: str) -> tuple[str, dict[str, str]]:
    """Names below `localhost` are this machine (RFC 6761), which not every resolver knows."""
    parts = urlsplit(url)
    if not (parts.hostname or "").endswith(".localhost"):
        return url, {}
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"127.0.0.1{port}")), {"host": parts.netloc}
