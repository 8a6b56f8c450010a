"""Vapi's REST API and live call control. Not Vapi's SDK: it costs seconds of a cold start.

`POST /call` and a spoken message take no idempotency key, so what matters about a failure is whether Vapi may have
acted: `NotDone` if surely not, `Ambiguous` if perhaps.
"""

import ipaddress
import json
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from switchboard import messages
from switchboard.errors import Ambiguous, Gone, MessageRefused, NotDone
from switchboard.https import Answer, Lost, Request, Send, Sender, Unreached

# Seconds for the whole answer, once connected; also how long a caller's interruption can come too late for a result
# under way.
CONTROL_TIMEOUT = 2.0
KEEP_SECONDS = 5.0  # that an idle connection is kept
LOOPBACK = "127.0.0.1"
AGENT = {"user-agent": "switchboard"}  # edges challenge who does not say
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address as networks without IPv4 see it


class Vapi:
    """A client of one Vapi account.

    Only public addresses are connected to, beside the host of `base_url`, which is its owner's own word, and, where
    `local`, a simulator on loopback.
    """

    def __init__(self, base_url: str, send: Send | None = None, *, local: bool = False) -> None:
        self._base_url = base_url
        own = {urlsplit(base_url).hostname or ""} | ({LOOPBACK} if local else set())
        self._send = send or Sender(keep=KEEP_SECONDS, addresses=partial(_addresses, own))

    def create_call(self, key: str, call: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """`POST /call`: returns Vapi's `Call`. `timeout` is seconds for the whole answer, once connected."""
        answer = self._post(f"{self._base_url}/call", call, key, timeout)
        try:
            made = json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise Ambiguous("answer_not_json", answer.status) from error
        if not isinstance(made, dict):
            raise Ambiguous("answer_not_an_object", answer.status)
        return made

    def get_call(self, key: str, call_id: str) -> dict[str, Any]:
        """`GET /call/{id}`: Vapi's `Call` as it is now, within `CONTROL_TIMEOUT`.

        `Gone` where Vapi does not know it (any more), else `NotDone`.
        """
        if not key:
            raise NotDone("no_secret")
        url = f"{self._base_url}/call/{quote(call_id, safe='')}"
        try:
            answer = self._send(Request("GET", url, {**AGENT, **_bearer(key)}, None, CONTROL_TIMEOUT))
        except Unreached as error:
            raise NotDone("unreachable") from error
        except Lost as error:
            raise NotDone(str(error)) from error
        if answer.status == 404:
            raise Gone("http_404", 404)
        if not answer.good:
            raise NotDone(f"http_{answer.status}", answer.status)
        try:
            # As strictly as a message: what is kept of it goes into the same item.
            call = messages.parse(answer.content)
        except MessageRefused as error:
            raise NotDone("answer_not_json", answer.status) from error
        if not isinstance(call, dict):
            raise NotDone("answer_not_an_object", answer.status)
        return call

    def speak(self, url: str, command: Mapping[str, Any], public_key: str = "") -> None:
        """Send a live call control command (`say`, `add-message`, ...) to the control URL of a call.

        Its answer may take `CONTROL_TIMEOUT`.
        """
        self._post(url, command, public_key, CONTROL_TIMEOUT)

    def _post(self, url: str, body: Mapping[str, Any], key: str, timeout: float) -> Answer:
        headers = {**AGENT, "content-type": "application/json", **(_bearer(key) if key else {})}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        try:
            answer = self._send(Request("POST", url, headers, text.encode(), timeout))
        except Unreached as error:
            raise NotDone("unreachable") from error
        except Lost as error:
            raise Ambiguous(str(error)) from error
        if answer.good:
            return answer
        # 4xx means read and refused. 408 and 409 do not say that nothing happened, and neither does a 5xx or a redirect.
        surely = 400 <= answer.status < 500 and answer.status not in (408, 409)
        # Over its limit of calls at once Vapi says 400 and words only; waiting helps then, as after a 429.
        busy = surely and (answer.status == 429 or b"concurrency" in answer.content[:2000].lower())
        reason = "concurrency" if busy else f"http_{answer.status}"
        raise (NotDone if surely else Ambiguous)(reason, answer.status)


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def add_message(content: str, *, respond: bool) -> dict[str, Any]:
    """Put a fact into the conversation; with `respond` the assistant speaks about it at once."""
    return {
        "type": "add-message",
        "message": {"role": "system", "content": content},
        "triggerResponseEnabled": respond,
    }


def say(words: str) -> dict[str, Any]:
    """Have the assistant say `words` as they are, without asking the model."""
    return {"type": "say", "content": words}


def transfer(number: str) -> dict[str, Any]:
    """Have Vapi put the caller through to a number, and leave the call. Only for a phone leg that Vapi has."""
    return {"type": "transfer", "destination": {"type": "number", "number": number}}


def _addresses(own: set[str], host: str, port: int) -> list[str]:
    """The public addresses of a host, or an own one by its name; `NotDone` if it has none.

    What is looked at here is what is connected to, so that a second answer of DNS cannot differ.
    """
    if host in own:
        return [host]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreached from error
    public = [address for address in dict.fromkeys(str(entry[4][0]) for entry in found) if is_public(address)]
    if not public:
        raise NotDone("address_not_public")
    return public


def is_public(address: str) -> bool:
    """Whether an IP address is somebody's on the internet: not this machine, a private network or a metadata service."""
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or getattr(ip, "is_site_local", False))
