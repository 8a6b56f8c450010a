"""Vapi's REST API and live call control, over httpx. Not Vapi's SDK: it costs seconds of a cold start.

`POST /call` and a spoken message take no idempotency key, so what matters about a failure is whether Vapi may have
acted: `NotDone` if surely not, `Ambiguous` if perhaps.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx

from switchboard.errors import Ambiguous, NotDone

CONTROL_TIMEOUT = 2.0  # seconds; also how long a caller's interruption can come too late for a result under way
CONNECT_TIMEOUT = 1.0

# httpx writes every URL that it asks to the log, and a control URL is a key to the call.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Vapi:
    """A client of one Vapi account."""

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._base_url = base_url
        # A redirect could lead anywhere, and nothing of Vapi's needs one.
        self._http = httpx.Client(
            transport=transport, follow_redirects=False, timeout=httpx.Timeout(CONTROL_TIMEOUT, connect=CONNECT_TIMEOUT)
        )

    def create_call(self, key: str, call: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """`POST /call`: returns Vapi's `Call`. `timeout` is seconds for the whole answer."""
        answer = self._post(f"{self._base_url}/call", call, key, timeout)
        try:
            made = json.loads(answer.content)
        except ValueError as error:
            raise Ambiguous("answer_not_json", answer.status_code) from error
        if not isinstance(made, dict):
            raise Ambiguous("answer_not_an_object", answer.status_code)
        return made

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
        raise (NotDone if surely else Ambiguous)(f"http_{answer.status_code}", answer.status_code)


def add_message(content: str, *, respond: bool) -> dict[str, Any]:
    """Put a fact into the conversation; with `respond` the assistant speaks about it at once."""
    return {
        "type": "add-message",
        "message": {"role": "system", "content": content},
        "triggerResponseEnabled": respond,
    }
