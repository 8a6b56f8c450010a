"""Twilio's REST API for live calls, over httpx: move a call to another document, end it, place one, ask about it.

`redirect`, `hang_up` and `status` may be asked again; `place` may not, for Twilio takes no idempotency key: who gets
`Ambiguous` from it waits for the callbacks of the call that may have been placed. Nothing is retried here.
https://www.twilio.com/docs/voice/api/call-resource
"""

import logging
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from switchboard import trust
from switchboard.errors import Ambiguous, Gone, NotDone
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings

if TYPE_CHECKING:  # more than a bare handler's whole start: loaded with the first request, which few calls need
    import httpx

TIMEOUT = 3.0  # seconds
CONNECT_TIMEOUT = 1.0
NOT_IN_PROGRESS = 21220  # https://www.twilio.com/docs/api/errors/21220
EVENTS = ("initiated", "ringing", "answered", "completed")
_ACCOUNT_SID = re.compile(r"AC[0-9a-f]{32}", re.ASCII)
_CALL_SID = re.compile(r"CA[0-9a-f]{32}", re.ASCII)

# httpx writes every URL that it asks to the log, and these hold the account; its transport's log holds the headers.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Account(NamedTuple):
    """Whose calls they are, and who asks: an API key and its secret, or the account itself and its auth token."""

    sid: str
    user: str
    password: str


def account_of(settings: Settings, secrets: Secrets, account_sid: str) -> Account:
    """How to ask about this account; `NotDone` where no secret for it is set."""
    key = settings.twilio_api_key
    password = secrets.first(TWILIO_API_SECRET if key else TWILIO_AUTH_TOKEN)
    if not password:
        raise NotDone("no_secret")
    return Account(account_sid, key or account_sid, password)


class Twilio:
    """A client of Twilio's API. Errors: `Gone` (the call is over), `NotDone`, `Ambiguous`."""

    def __init__(self, base_url: str, transport: "httpx.BaseTransport | None" = None) -> None:
        self._base_url = base_url
        self._transport = transport

    @cached_property
    def _http(self) -> "httpx.Client":
        import httpx

        # No connection is kept: while a function is frozen, the other end forgets it, and a placed call that is lost
        # with it cannot be placed again. A new one costs a few dozen milliseconds, a few times per transfer.
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(
            transport=self._transport or httpx.HTTPTransport(verify=trust.context(), limits=limits, trust_env=False),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    def redirect(self, account: Account, call_sid: str, url: str) -> None:
        """Have a live call follow the document at `url`, whatever it does now."""
        self._ask("POST", account, _call(call_sid), {"Url": url, "Method": "POST"})

    def hang_up(self, account: Account, call_sid: str) -> None:
        """End a call that rings or talks."""
        self._ask("POST", account, _call(call_sid), {"Status": "completed"})

    def place(self, account: Account, *, to: str, caller_id: str, url: str, status_callback: str, timeout: int) -> str:
        """Call `to`, for `timeout` seconds of ringing, and return the new CallSid. Never to be repeated if `Ambiguous`."""
        answer = self._ask(
            "POST",
            account,
            "Calls.json",
            {
                "To": to,
                "From": caller_id,
                "Url": url,
                "Method": "POST",
                "Timeout": str(timeout),
                "StatusCallback": status_callback,
                "StatusCallbackMethod": "POST",
                "StatusCallbackEvent": list(EVENTS),
            },
        )
        sid = _read(answer).get("sid")
        if not isinstance(sid, str) or not _CALL_SID.fullmatch(sid):
            raise Ambiguous("answer_without_sid", answer.status_code)
        return sid

    def status(self, account: Account, call_sid: str) -> str:
        """What Twilio says of a call: `queued`, `ringing`, `in-progress`, `completed`, ... It may lag behind."""
        answer = self._ask("GET", account, _call(call_sid))
        status = _read(answer).get("status")
        if not isinstance(status, str) or not status:
            raise Ambiguous("answer_without_status", answer.status_code)
        return status

    def _ask(self, method: str, account: Account, path: str, form: dict[str, Any] | None = None) -> "httpx.Response":
        import httpx

        if not _ACCOUNT_SID.fullmatch(account.sid):
            raise NotDone("account_sid")
        url = f"{self._base_url}/2010-04-01/Accounts/{account.sid}/{path}"
        try:
            answer = self._http.request(method, url, data=form, auth=(account.user, account.password))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotDone("unreachable") from error
        except httpx.HTTPError as error:
            raise Ambiguous(type(error).__name__) from error
        if answer.is_success:
            return answer
        raise _failure(answer)


def _call(call_sid: str) -> str:
    if not _CALL_SID.fullmatch(call_sid):
        raise NotDone("call_sid")
    return f"Calls/{call_sid}.json"


def _failure(answer: "httpx.Response") -> NotDone | Ambiguous:
    """4xx means read and refused. 408 and 409 do not say that nothing happened, and neither does a 5xx or a redirect."""
    status = answer.status_code
    reason = f"http_{status}"
    if status == 404 or (status == 400 and _read(answer).get("code") == NOT_IN_PROGRESS):
        return Gone(reason, status)
    surely = 400 <= status < 500 and status not in (408, 409)
    return (NotDone if surely else Ambiguous)(reason, status)


def _read(answer: "httpx.Response") -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
