"""Twilio on loopback: the REST API that a backend calls, and one phone leg that asks for TwiML and follows it.

A leg does what a caller's line does: it posts the signed form, reads the document that comes back as strictly as
Twilio (an unreadable one is an application error and a dead line), walks through its verbs until one keeps the caller,
and reports the end.
"""

import re
import secrets
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from devkit import development
from devkit.loopback import DOOR, Answer, Loopback, Request
from devkit.twilio_numbers_fake import Numbers, Users
from switchboard.signatures import sign_twilio

MAX_TWIML = 64 * 1024
WEBHOOK_SECONDS = 15  # Twilio waits no longer for any call-related request
XML_TYPES = ("text/xml", "application/xml", "text/html", "text/plain")
TERMINAL = ("completed", "busy", "failed", "no-answer", "canceled")
# Verbs that keep the caller: the document goes on only when they end, and the fake lets the player say when.
KEEPING = ("Connect", "Dial", "Enqueue", "Record", "Gather", "Redirect")
VERBS = ("Say", "Play", "Pause", "Hangup", "Reject", "Leave", *KEEPING)
# Status and code of failures that do nothing; the other two act, but the answer comes too late or never.
FAILURES: Mapping[str, tuple[int, int] | None] = {
    "refuse": (400, 20001),
    "limit": (429, 20429),
    "error": (500, 20500),
    "timeout": None,
    "lose": None,
}
TIMEOUT = 60.0  # longer than any client waits
_CALL_PATH = re.compile(r"/2010-04-01/Accounts/(?P<account>AC[0-9a-f]{32})/Calls/(?P<sid>CA[0-9a-f]{32})\.json")


class ApplicationError(Exception):
    """What Twilio tells a caller as "an application error has occurred"; `code` is the one in its debugger."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class NoAnswer(Exception):
    """A REST request gets no answer, whether it was done or not."""


class Rest(Protocol):
    """What answers for calls that are played elsewhere: `devkit.exchange.Exchange`."""

    def rest(
        self, method: str, path: str, basic: tuple[str, str], pairs: list[tuple[str, str]]
    ) -> tuple[int, dict[str, Any]]:
        """Answer a request with a status and JSON; `NoAnswer` where none comes."""


class Verb(NamedTuple):
    """One TwiML verb. `nouns` are the elements inside it; `text` is what stands directly in it."""

    name: str
    attributes: Mapping[str, str]
    text: str
    nouns: tuple["Verb", ...] = ()


class Line(NamedTuple):
    """Where a document leaves the caller: words heard on the way, then the verb that keeps the line, or None at its end."""

    heard: tuple[str, ...]
    kept_by: Verb | None

    @property
    def stream(self) -> str:
        """The media stream that the caller is connected to, or ''."""
        if self.kept_by is None or self.kept_by.name != "Connect":
            return ""
        return next((noun.attributes.get("url", "") for noun in self.kept_by.nouns if noun.name == "Stream"), "")


def read_twiml(status: int, content_type: str, body: bytes) -> list[Verb]:
    """Return the verbs of an answer to a voice webhook; `ApplicationError` where Twilio would give up."""
    if status >= 400:
        raise ApplicationError(11217, f"HTTP error response code {status}")
    if content_type.partition(";")[0].strip().lower() not in XML_TYPES:
        raise ApplicationError(12300, f"invalid content type {content_type!r}")
    if len(body) > MAX_TWIML:
        raise ApplicationError(11750, "TwiML response body too large")
    try:
        root = ET.fromstring(body)  # noqa: S314 - our own backend's answer, parsed in a development tool
    except ET.ParseError as error:
        raise ApplicationError(12100, f"document parse failure: {error}") from error
    if root.tag != "Response":
        raise ApplicationError(12100, f"the root must be <Response>, not <{root.tag}>")
    verbs = [_verb(element) for element in root]
    for verb in verbs:
        _check(verb)
    return verbs


def _verb(element: ET.Element) -> Verb:
    return Verb(
        element.tag, dict(element.attrib), (element.text or "").strip(), tuple(_verb(child) for child in element)
    )


def _check(verb: Verb) -> None:
    if verb.name not in VERBS:
        raise ApplicationError(12200, f"<{verb.name}> is not a verb that a voice call knows")
    for noun in verb.nouns:
        url = noun.attributes.get("url", "") if noun.name == "Stream" else ""
        if noun.name == "Stream" and (urlsplit(url).scheme != "wss" or not urlsplit(url).netloc):
            raise ApplicationError(31922, f"a stream needs a wss URL, not {url!r}")
        if urlsplit(url).query:
            raise ApplicationError(31920, "a stream URL cannot have a query string")


def follow(verbs: list[Verb]) -> Line:
    """Walk through a document from its beginning to the first verb that keeps the caller, or to the end."""
    heard: list[str] = []
    for verb in verbs:
        if verb.name in KEEPING:
            return Line(tuple(heard), verb)
        if verb.name in ("Hangup", "Reject"):
            break
        if verb.name == "Say":
            heard.append(verb.text)
    return Line(tuple(heard), None)


def voice_fields(
    sid: str, account: str, caller: str, dialled: str, status: str, direction: str = "inbound"
) -> list[tuple[str, str]]:
    """The form that Twilio posts with every webhook of a leg. Blank values are usual, and they are signed."""
    place = {"City": "", "State": "CA", "Zip": "", "Country": "US"}
    pairs = [
        ("AccountSid", account),
        ("ApiVersion", "2010-04-01"),
        ("CallSid", sid),
        ("CallStatus", status),
        ("Direction", direction),
    ]
    if direction == "inbound":
        pairs += [("CallToken", '{"parentCallInfoToken":"development"}'), ("StirVerstat", "TN-Validation-Passed-A")]
    for role, number in (("From", caller), ("Caller", caller), ("To", dialled), ("Called", dialled)):
        pairs.append((role, number))
        pairs += [(role + part, value) for part, value in place.items()]
    return sorted(pairs)


def ending_fields(status: str, seconds: int, sequence: int, at: float) -> list[tuple[str, str]]:
    """What a status callback says besides; how long the call took only when it is over. `at` is epoch seconds."""
    over = [("CallDuration", str(seconds)), ("SipResponseCode", "200" if status == "completed" else "487")]
    billed = [("Duration", str(-(-seconds // 60)))]
    return [
        *(over if status in TERMINAL else []),
        *(billed if status == "completed" else []),
        ("Timestamp", format_datetime(datetime.fromtimestamp(at, UTC))),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", str(sequence)),
    ]


def webhook_headers(url: str, fields: list[tuple[str, str]], token: str, idempotency: str) -> dict[str, str]:
    """The headers of a webhook: a real signature over `url`, and the token that its retries share."""
    return {
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        "x-twilio-signature": sign_twilio(url, fields, token),
        "i-twilio-idempotency-token": idempotency,
        "user-agent": "TwilioProxy/1.1",
    }


class PhoneLeg:
    """One inbound call as Twilio sees it. `post(path, form, headers)` carries a webhook to the backend."""

    def __init__(
        self,
        post: Callable[[str, bytes, dict[str, str]], httpx.Response],
        *,
        public_url: str,
        caller: str,
        dialled: str,
        token: str = development.TWILIO_AUTH_TOKEN,
        account: str = development.TWILIO_ACCOUNT_SID,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sid = "CA" + secrets.token_hex(16)
        self.account = account
        self.status = "ringing"
        self.line = Line((), None)
        self.twiml = ""
        self._post, self._public_url, self._token, self._clock = post, public_url, token, clock
        self._caller, self._dialled = caller, dialled
        self._answered_at = 0.0
        self._sequence = 0
        self._last: tuple[str, bytes, dict[str, str]] = ("", b"", {})

    def ask(self, path: str = "/voice/inbound") -> httpx.Response:
        """Ask the backend what to do with the call."""
        return self._send(path, self.fields())

    def ring(self) -> httpx.Response:
        """Ask what to do with the call and follow the answer; `ApplicationError` where a caller would hear one."""
        response = self.ask()
        self.twiml = response.text
        verbs = read_twiml(response.status_code, response.headers.get("content-type", ""), response.content)
        self.line = follow(verbs)
        self.status, self._answered_at = "in-progress", self._clock()
        return response

    def hang_up(self, path: str = "/voice/status", status: str = "completed") -> httpx.Response:
        """End the leg and tell the backend, as the number's status callback does: once, at the end."""
        self.status = status
        seconds = max(0, round(self._clock() - self._answered_at)) if self._answered_at else 0
        ending = ending_fields(status, seconds, self._sequence, self._clock())
        self._sequence += 1
        return self._send(path, self.fields() + ending)

    def repeat(self) -> httpx.Response:
        """Send the last request once more, as Twilio does when no answer came: the same bytes, the same token."""
        return self._post(*self._last)

    def fields(self) -> list[tuple[str, str]]:
        """The form that Twilio posts with every webhook of a leg. Blank values are usual, and they are signed."""
        return voice_fields(self.sid, self.account, self._caller, self._dialled, self.status)

    def _send(self, path: str, fields: list[tuple[str, str]]) -> httpx.Response:
        headers = webhook_headers(self._public_url + path, fields, self._token, secrets.token_hex(18))
        self._last = (path, urlencode(fields).encode(), headers)
        return self.repeat()


class TwilioFake(Loopback):
    """Twilio's REST API for live calls: for those of `exchange`, and for legs that were made known at the door."""

    def __init__(
        self,
        port: int = 0,
        *,
        account: str = development.TWILIO_ACCOUNT_SID,
        token: str = development.TWILIO_AUTH_TOKEN,
        keys: Mapping[str, str] = MappingProxyType({}),
        exchange: Rest | None = None,
    ) -> None:
        super().__init__(port)
        self.exchange = exchange
        self.account = account
        self.token = token
        self.numbers = Numbers(Users(account, {account: token, **keys}))
        self._failures: list[tuple[str, str]] = []
        self.legs: dict[str, dict[str, str]] = {}

    def answer(self, request: Request) -> Answer:
        """Answer as Twilio's REST API would."""
        if request.path.startswith(DOOR):
            return self._door(request)
        if self.numbers.serves(request.path):
            return self._failing(request)
        match = _CALL_PATH.fullmatch(request.path)
        if self.exchange and not (match and match["sid"] in self.legs):
            return self._ask_exchange(self.exchange, request)
        if request.basic != (self.account, self.token) or (match and match["account"] != self.account):
            return _error(401, 20003, "Authenticate")
        leg = self.legs.get(match["sid"]) if match else None
        if leg is None or request.method not in ("GET", "POST"):
            return _error(404, 20404, "The requested resource was not found")
        return self._change(leg, request.form()) if request.method == "POST" else Answer(200, leg)

    def fail(self, method: str, how: str, times: int = 1) -> None:
        """Let the next requests of a method about phone numbers fail, as `VapiFake.fail` does."""
        if how not in FAILURES:
            raise ValueError(f"cannot fail {method!r} by {how!r}")
        with self.lock:
            self._failures += [(method, how)] * times

    def _failing(self, request: Request) -> Answer:
        how = next((how for method, how in self._failures if method == request.method), "")
        if how:
            self._failures.remove((request.method, how))
        if told := FAILURES.get(how):
            return _error(*told, "as arranged")
        answer = self.numbers.answer(request)
        return answer._replace(hold=TIMEOUT if how == "timeout" else 0, lost=how == "lose")

    def _ask_exchange(self, exchange: Rest, request: Request) -> Answer:
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        try:
            return Answer(*exchange.rest(request.method, request.path, request.basic, pairs))
        except NoAnswer:
            return Answer(0, lost=True)

    def record(self, request: Request, answer: Answer) -> dict[str, Any] | None:
        """Keep the form too."""
        entry = super().record(request, answer)
        return entry and entry | {"form": request.form()}

    def _change(self, leg: dict[str, str], form: dict[str, str]) -> Answer:
        if leg["status"] in TERMINAL:
            return _error(400, 21220, "Call is not in-progress. Cannot redirect.")
        if "Twiml" in form and "Url" in form:
            return _error(400, 21218, "Twiml and Url exclude each other")
        if "Status" in form:
            leg["status"] = form["Status"]
        if "Twiml" in form:
            leg["twiml"] = form["Twiml"]
        return Answer(200, leg)

    def _door(self, request: Request) -> Answer:
        path = request.path.removeprefix(DOOR)
        if (request.method, path) == ("GET", "requests"):
            return Answer(200, {"requests": self.requests[int(request.query.get("after", ["0"])[0]) :]})
        body = request.json()
        if (request.method, path) == ("POST", "legs") and body:
            self.legs[body["sid"]] = {"sid": body["sid"], "account_sid": self.account, "status": body["status"]}
            return Answer(200, self.legs[body["sid"]])
        return _error(404, 20404, "the fake has no such door")


def _error(status: int, code: int, message: str) -> Answer:
    return Answer(status, {"code": code, "message": message, "status": status})
