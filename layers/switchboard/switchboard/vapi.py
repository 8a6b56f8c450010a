"""Vapi's REST API and live call control, over httpx. Not Vapi's SDK: it costs seconds of a cold start.

`POST /call` and a spoken message take no idempotency key, so what matters about a failure is whether Vapi may have
acted: `NotDone` if surely not, `Ambiguous` if perhaps.
"""

import ipaddress
import json
import logging
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from switchboard import messages, trust
from switchboard.errors import Ambiguous, Gone, MessageRefused, NotDone

CONTROL_TIMEOUT = 2.0  # seconds; also how long a caller's interruption can come too late for a result under way
CONNECT_TIMEOUT = 1.0
KEEP_SECONDS = 5.0  # that an idle connection is kept
LOOPBACK = "127.0.0.1"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address as networks without IPv4 see it

# httpx writes every URL that it asks to the log, and a control URL is a key to the call.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Vapi:
    """A client of one Vapi account.

    Only public addresses are connected to, beside the host of `base_url`, which is its owner's own word, and, where
    `local`, a simulator on loopback.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None, *, local: bool = False) -> None:
        self._base_url = base_url
        own = {urlsplit(base_url).hostname or ""} | ({LOOPBACK} if local else set())
        # A redirect could lead anywhere, and nothing of Vapi's needs one.
        self._http = httpx.Client(
            transport=transport or _Transport(own),
            follow_redirects=False,
            timeout=httpx.Timeout(CONTROL_TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    def create_call(self, key: str, call: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """`POST /call`: returns Vapi's `Call`. `timeout` is seconds for the whole answer."""
        answer = self._post(f"{self._base_url}/call", call, key, timeout)
        try:
            made = json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise Ambiguous("answer_not_json", answer.status_code) from error
        if not isinstance(made, dict):
            raise Ambiguous("answer_not_an_object", answer.status_code)
        return made

    def get_call(self, key: str, call_id: str) -> dict[str, Any]:
        """`GET /call/{id}`: Vapi's `Call` as it is now. `Gone` where Vapi does not know it (any more), else `NotDone`."""
        if not key:
            raise NotDone("no_secret")
        try:
            answer = self._http.get(f"{self._base_url}/call/{call_id}", headers={"authorization": f"Bearer {key}"})
        except httpx.HTTPError as error:
            raise NotDone(type(error).__name__) from error
        if answer.status_code == 404:
            raise Gone("http_404", 404)
        if not answer.is_success:
            raise NotDone(f"http_{answer.status_code}", answer.status_code)
        try:
            # As strictly as a message: what is kept of it goes into the same item.
            call = messages.parse(answer.content)
        except MessageRefused as error:
            raise NotDone("answer_not_json", answer.status_code) from error
        if not isinstance(call, dict):
            raise NotDone("answer_not_an_object", answer.status_code)
        return call

    def speak(self, url: str, command: Mapping[str, Any], public_key: str = "") -> None:
        """Send a live call control command (`say`, `add-message`, ...) to the control URL of a call."""
        self._post(url, command, public_key, CONTROL_TIMEOUT)

    def _post(self, url: str, body: Mapping[str, Any], key: str, timeout: float) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            answer = self._http.post(
                url, json=body, headers=headers, timeout=httpx.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout))
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotDone("unreachable") from error
        except httpx.HTTPError as error:
            raise Ambiguous(type(error).__name__) from error
        if answer.is_success:
            return answer
        # 4xx means read and refused. 408 and 409 do not say that nothing happened, and neither does a 5xx or a redirect.
        surely = 400 <= answer.status_code < 500 and answer.status_code not in (408, 409)
        # Over its limit of calls at once Vapi says 400 and words only; waiting helps then, as after a 429.
        busy = surely and (answer.status_code == 429 or b"concurrency" in answer.content[:2000].lower())
        reason = "concurrency" if busy else f"http_{answer.status_code}"
        raise (NotDone if surely else Ambiguous)(reason, answer.status_code)


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


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over connections that are looked at; TLS still verifies the name, not the address."""

    def __init__(self, own: set[str]) -> None:
        verified = trust.context()
        super().__init__(verify=verified)
        # httpx has no way to hand a network backend to its pool. A test connects, so that an update cannot lose this.
        self._pool = httpcore.ConnectionPool(
            ssl_context=verified, keepalive_expiry=KEEP_SECONDS, network_backend=_Backend(own)
        )


class _Backend(httpcore.SyncBackend):
    """Looks a host up once and connects to what it has looked at, so that a second answer of DNS cannot differ."""

    def __init__(self, own: set[str]) -> None:
        super().__init__()
        self._own = own

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first public address of `host` that answers; `NotDone` if it has none."""
        failure: Exception = NotDone("address_not_public")
        for address in (host,) if host in self._own else _public(host, port):
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def _public(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return [address for address in dict.fromkeys(str(entry[4][0]) for entry in found) if is_public(address)]


def is_public(address: str) -> bool:
    """Whether an IP address is somebody's on the internet: not this machine, a private network or a metadata service."""
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or getattr(ip, "is_site_local", False))
