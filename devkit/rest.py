"""Requests to the APIs that a stack is set up at: one answer, or one `Failed` that says whether anything happened."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

KEYS = {"Vapi": "vapi-api-key", "Twilio": "twilio-auth-token (twilio-api-secret with TwilioApiKeySid)"}
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 20.0
LONGEST_PAUSE = 60.0  # seconds that the other side may ask us to wait
MAX_WORDS = 300  # of what the other side says about a refusal
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Failed(Exception):
    """A request that was not answered as asked.

    `status` is 0 without an answer. `refused` if surely nothing was done, and nothing will be if it is asked again;
    otherwise asking again after `pause` seconds may help, but what was asked may have been done already.
    """

    def __init__(self, who: str, what: str, status: int, words: str = "", pause: float = 0) -> None:
        told = f"answered {status} to {what}" if status else f"did not answer {what}"
        # A key of another kind or organisation is stored, and no command asks for it again.
        advice = f": store another with `switchboard secrets put {KEYS[who]}`" if status == 401 and who in KEYS else ""
        super().__init__(f"{who} {told}{f' ({words})' if words else ''}{advice}")
        self.status = status
        self.pause = pause
        self.refused = 400 <= status < 500 and status not in (408, 425, 429)


class Rest:
    """A client of one API. `secrets` are texts that no error may quote."""

    def __init__(
        self,
        who: str,
        base_url: str,
        *,
        secrets: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        local: bool = False,
        transport: httpx.BaseTransport | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        self.who = who
        self._secrets = secrets
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers,
            auth=auth,
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            # What is on this machine is reached without a proxy.
            trust_env=not local,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of the answer. `more` is what httpx takes: `params`, `json`, `data`."""
        what = f"{method} {path}"
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Failed(self.who, what, 0, type(error).__name__) from error
        if not answer.is_success:
            raise Failed(self.who, what, answer.status_code, self._words(answer), _pause(answer))
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise Failed(self.who, what, 0, "no JSON") from error

    def _words(self, answer: httpx.Response) -> str:
        try:
            told = answer.json()
        except ValueError:
            return ""
        words = told.get("message", "") if isinstance(told, dict) else ""
        text = "; ".join(map(str, words)) if isinstance(words, list) else str(words)
        for secret in self._secrets:
            text = text.replace(secret, "...") if secret else text
        return _CONTROL.sub(" ", text)[:MAX_WORDS]


def _pause(answer: httpx.Response) -> float:
    told = answer.headers.get("retry-after", "")
    return min(float(told), LONGEST_PAUSE) if told.isdecimal() else 0
