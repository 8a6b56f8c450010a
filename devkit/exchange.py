"""Twilio as an exchange of phone calls: it interprets TwiML, signs its webhooks, and serves REST for its calls.

    exchange = Exchange(post, VirtualClock(), public_url="https://voice.example.com", seed=7)
    exchange.people["+15555550199"] = Person(behaviour="no-answer")
    leg = exchange.call("+15555550134")
    exchange.run(until=exchange.clock.now + 60)
    print(exchange.story()); exchange.words(leg); exchange.silence(leg)

`post` carries every webhook, to handlers in process or over HTTP (`over`). `exchange.handle` is a handler for
`httpx.MockTransport`; `TwilioFake(exchange=...)` serves the same over HTTP. In virtual time nothing sleeps; with
`real=True` give it a `RealClock` and call `start()`, and its thread waits for what is due. Everything random (SIDs,
the fate of status callbacks) comes from one seed.

Webhooks are posted one after the other: in real time a slow one keeps the other legs waiting.

Not read in Twilio's documentation, and so supposed: that a <Dial> that a caller ends by hanging up still asks its
action, that a lone member of a conference that has begun hears nothing, that a number's fallback URL also stands in
for a document that REST pushed, and that a call that rings cannot be redirected.
"""

import base64
import binascii
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit

import httpx

from devkit import development
from devkit.exchange_legs import Clock, Entry, Leg, Page, Person, Program, RealClock, Sound, Taken, VirtualClock
from devkit.exchange_verbs import Verbs, person_of
from devkit.twilio_fake import (
    TERMINAL,
    WEBHOOK_SECONDS,
    ApplicationError,
    NoAnswer,
    Verb,
    ending_fields,
    read_twiml,
    voice_fields,
    webhook_headers,
)
from devkit.twiml_lint import Kind, faults

__all__ = ["Callbacks", "Exchange", "Person", "RealClock", "Reply", "TimedOut", "VirtualClock", "over"]

DIALLED = "+15555550100"
MAX_PUSHED = 4_000  # characters of `Twiml` when a call is placed
ROUND_IN_CIRCLES = 100  # requests of one leg at one moment
_BOTH = {"Url", "Method", "Twiml", "FallbackUrl", "FallbackMethod", "TimeLimit"}
_BOTH |= {"StatusCallback", "StatusCallbackMethod"}
CREATE = frozenset(_BOTH | {"To", "From", "Timeout", "StatusCallbackEvent", "MachineDetection"})
UPDATE = frozenset(_BOTH | {"Status"})
_CALLS = re.compile(r"/2010-04-01/Accounts/(?P<account>[^/]+)/Calls(?:/(?P<sid>[^/]+))?\.json")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")

type Form = list[tuple[str, str]]
type What = Literal["create", "update", "read"]
type How = Literal["refuse", "limit", "error", "timeout", "lost"]


class Response(Protocol):
    """What `post` returns. `seconds`, if it has that, is how long the answer took on the exchange's clock."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Reply(NamedTuple):
    """A response."""

    status: int = 200
    content_type: str = "text/xml"
    body: bytes = b""
    seconds: float = 0.0


class TimedOut(Exception):
    """Raised by `post`: no connection ("ct"), or no answer ("rt")."""

    def __init__(self, what: Literal["ct", "rt"] = "rt") -> None:
        super().__init__(what)
        self.what = what


class Asked(NamedTuple):
    """One webhook as it was sent, and its answer; status 0 for none."""

    at: float
    sid: str
    url: str
    fields: dict[str, str]
    status: int

    @property
    def path(self) -> str:
        """Where it went, without the query."""
        return urlsplit(self.url).path


class Callbacks(NamedTuple):
    """The fate of status callbacks: probabilities, and the longest delay in seconds, which brings them out of order."""

    duplicate: float = 0.0
    drop: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0


class Overrides(NamedTuple):
    """The connection overrides in a URL's fragment, in seconds; the defaults are Twilio's."""

    retries: int = 1
    on: tuple[str, ...] = ("ct",)
    connect: float = 5.0
    read: float = float(WEBHOOK_SECONDS)
    total: float = float(WEBHOOK_SECONDS)

    @classmethod
    def of(cls, fragment: str) -> "Overrides":
        """Read `rc=2&rp=5xx,ct,rt`."""
        given = dict(parse_qsl(fragment))
        on = tuple(given.get("rp", "ct").split(","))
        return cls(
            int(given.get("rc", "1")),
            ("4xx", "5xx", "ct", "rt") if "all" in on else on,
            float(given.get("ct", "5000")) / 1000,
            float(given.get("rt", "15000")) / 1000,
            float(given.get("tt", "15000")) / 1000,
        )


class Exchange(Verbs):
    """One Twilio account with one kind of number. Read `legs`, `timeline` and `asked`; `people` may change any time."""

    def __init__(
        self,
        post: Callable[[str, bytes, dict[str, str]], Response],
        clock: Clock | RealClock,
        *,
        public_url: str,
        account: str = development.TWILIO_ACCOUNT_SID,
        token: str = development.TWILIO_AUTH_TOKEN,
        keys: Mapping[str, str] | None = None,
        voice_url: str = "/voice/inbound",
        fallback_url: str = "",
        status_url: str = "/voice/status",
        people: Mapping[str, Person | Sequence[Person]] | None = None,
        on_stream: Callable[[Leg, str, Mapping[str, str]], float | None] = lambda leg, url, parameters: None,
        on_closed: Callable[[Leg, str, str], object] = lambda leg, url, by: None,
        callbacks: Callbacks = Callbacks(),  # noqa: B008 - a tuple, which nobody can change
        queue_limit: int = 100,
        strict: bool = True,
        seed: int = 0,
        real: bool = False,
    ) -> None:
        """`keys` are API keys with their secrets. `strict`: what the linter finds is an application error as well.

        `on_stream(leg, url, parameters)` says after how many seconds the far end closes, None for `close_stream`;
        `on_closed(leg, url, by)` hears of the end of a stream: by the "far end", the "caller" or a "redirect".
        """
        super().__init__(clock, real=real)
        self.begin()
        self.people = dict(people or {})
        self.callbacks = callbacks
        self.legs: dict[str, Leg] = {}
        self.timeline: list[Entry] = []
        self.asked: list[Asked] = []
        self.on_stream, self.on_closed, self.queue_limit = on_stream, on_closed, queue_limit
        self._post, self._public_url, self.account, self.token = post, public_url, account, token
        self._users = {account: token, **(keys or {})}
        self._numbers = [urljoin(public_url + "/", url) if url else "" for url in (voice_url, fallback_url, status_url)]
        self._strict, self._random = strict, random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._troubles: dict[What, list[How]] = {}
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def call(self, caller: str, dialled: str = DIALLED, person: Person | None = None) -> Leg:
        """Somebody calls one of the account's numbers, now."""
        person = person or person_of(self.people, caller, 0)
        leg = Leg(self.make_sid("CA"), self.account, caller, dialled, "inbound", person, self.clock.now)
        voice_url, leg.fallback_url, leg.status_url = self._numbers
        leg.status = "ringing"
        leg.sounds.append(Sound(self.clock.now))
        self._know(leg)
        self.note(leg, "calls", dialled)
        self.launch(leg, self.follow(leg, Page(voice_url)))
        if person.hangs_up_after is not None:
            self.after(person.hangs_up_after, lambda: self.hang_up(leg))
        return leg

    def press(self, leg: Leg, digits: str) -> None:
        """Whoever is on the leg presses keys; heard only by a <Gather>."""
        self.tell(leg, leg.keypad, digits)

    def close_stream(self, leg: Leg) -> None:
        """The far end of the leg's media stream closes it."""
        self.tell(leg, leg.stream, "closed")

    def fail(self, what: What, how: How, times: int = 1) -> None:
        """Let the next REST requests fail: refused (400), over the limit (429), an error (500), a timeout before
        anything is done, or done and the answer lost."""
        self._troubles.setdefault(what, []).extend([how] * times)

    def silence(self, leg: Leg) -> float:
        """The longest time in seconds in which the leg heard nothing: no words, music, ringing, stream or person."""
        return leg.silence(self.clock.now)

    def words(self, leg: Leg) -> list[str]:
        """All that was said to the leg, in order."""
        return [entry.detail.strip("“”") for entry in self.timeline if entry.sid == leg.sid and entry.what == "hears"]

    def story(self, names: Mapping[str, str] | None = None) -> str:
        """The timeline as text: seconds since its beginning, who (`names` by SID, or the far number), what."""
        lines = []
        for entry in self.timeline:
            leg = self.legs[entry.sid]
            number = leg.caller if leg.direction == "inbound" else leg.dialled
            who = (names or {}).get(entry.sid, number)
            lines.append(f"{entry.at - self.timeline[0].at:6.1f}  {who:<12}  {entry.what} {entry.detail}".rstrip())
        return "\n".join(lines)

    def start(self) -> None:
        """Run in a thread of its own, in real time, until `stop()`."""
        self._thread = threading.Thread(target=self.run, args=(float("inf"),), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do nothing more, and wait for what is being done."""
        super().stop()
        if self._thread:
            self._thread.join()

    def make_sid(self, prefix: str) -> str:
        """The next SID, from the seed."""
        with self._lock:
            return prefix + f"{self._random.getrandbits(128):032x}"

    def new_leg(
        self, caller: str, dialled: str, direction: Literal["outbound-api", "outbound-dial"], **more: Any
    ) -> Leg:
        """Make a leg to whoever answers there."""
        nth = sum(leg.dialled == dialled and leg.direction != "inbound" for leg in self.legs.values())
        person = person_of(self.people, dialled, nth)
        sid = self.make_sid("CA")
        leg = Leg(sid, self.account, caller, dialled, direction, person, self.clock.now, **more)
        self._know(leg)
        return leg

    def note(self, leg: Leg, what: str, detail: str = "") -> None:
        """Add to the timeline; music that goes on is written once."""
        last = next((entry for entry in reversed(self.timeline) if entry.sid == leg.sid), None)
        if last is None or (last.what, what) != ("hears music",) * 2:
            self.timeline.append(Entry(self.clock.now, leg.sid, what, detail))

    def fetch(self, leg: Leg, page: Page, kind: Kind) -> Program[list[Verb]]:
        """Ask for a document, or take the one that was pushed; `ApplicationError` where Twilio gives up."""
        first = leg.answered_at is None
        if page.twiml is not None:
            reply: Response = Reply(body=page.twiml.encode())
        else:
            reply = yield from self._request(leg, page.url, [*self._fields(leg), *page.fields])
        verbs = read_twiml(reply.status, reply.content_type, reply.body)
        # What is whispered goes on with the talk, not with an action of its own.
        whispered = leg.direction == "outbound-dial" and not leg.taken
        if self._strict and not whispered and (found := faults(reply.body.decode(), first=first, kind=kind)):
            raise ApplicationError(12200, "; ".join(found))
        return verbs

    def report(self, leg: Leg, page: Page) -> None:
        """Request a page of which the answer is not followed, because the leg goes elsewhere."""

        def told() -> Program[None]:
            try:
                yield from self._request(leg, page.url, [*self._fields(leg), *page.fields])
            except ApplicationError as error:
                self.note(leg, "cannot be reported", str(error.code))

        self.spawn(told())

    def progress(self, leg: Leg, event: str) -> None:
        """Tell the leg's status callback, if it wants to know of this event; what becomes of that is in `callbacks`."""
        sequence, leg.sequence = leg.sequence, leg.sequence + 1
        if leg.direction == "inbound":
            sequence = 0  # it has no other
        if not leg.status_url or event not in leg.events:
            return
        seconds = 0 if leg.answered_at is None else round(self.clock.now - leg.answered_at)
        ending = ending_fields(leg.status, seconds, sequence, self.clock.now)
        told = Page(leg.status_url, (*self._fields(leg), *ending))
        for _ in range(2 if self._random.random() < self.callbacks.duplicate else 1):
            if self._random.random() >= self.callbacks.drop:
                late = 5.0 * (self._random.random() < self.callbacks.reorder)
                late += self._random.uniform(0, self.callbacks.delay)
                self.after(late, lambda: self.spawn(self._deliver(leg, told)))

    def _deliver(self, leg: Leg, told: Page) -> Program[None]:
        try:
            yield from self._request(leg, told.url, list(told.fields))
        except ApplicationError as error:
            self.note(leg, "has a status callback that fails", str(error.code))

    def _fields(self, leg: Leg) -> Form:
        pairs = voice_fields(leg.sid, leg.account, leg.caller, leg.dialled, leg.status, leg.direction)
        return pairs + ([("ParentCallSid", leg.parent.sid)] if leg.parent else [])

    def _request(self, leg: Leg, url: str, pairs: Form) -> Program[Response]:
        """Send a webhook, again where its overrides say so, within 15 s of everything."""
        bare, fragment = urldefrag(url)
        limits = Overrides.of(fragment)
        headers = webhook_headers(bare, pairs, self.token, self.make_sid(""))
        end = self.clock.now + min(limits.total, WEBHOOK_SECONDS)
        self._require_progress(leg)
        for attempt in range(limits.retries + 1):
            reply, fault = yield from self._try(leg, bare, pairs, headers, limits, end)
            if fault not in limits.on or attempt == limits.retries or self.clock.now >= end:
                break
        if reply is None:
            raise ApplicationError(11205, "the backend did not answer")
        if fault:
            raise ApplicationError(11217, f"HTTP error response code {reply.status}")
        return reply

    def _try(
        self, leg: Leg, url: str, pairs: Form, headers: dict[str, str], limits: Overrides, end: float
    ) -> Program[tuple[Response | None, str]]:
        """One attempt: the answer, and what a retry policy calls its fault."""
        began = self.clock.now
        reply: Response | None = None
        try:
            reply = self._post(url, urlencode(pairs).encode(), dict(headers))
            fault = f"{reply.status // 100}xx" if reply.status >= 400 else ""
            took = float(getattr(reply, "seconds", 0.0))
        except TimedOut as timeout:
            fault, took = timeout.what, limits.connect if timeout.what == "ct" else limits.read
        took = max(took, self.clock.now - began)
        if took > min(limits.read, end - began):
            reply, fault, took = None, fault or "rt", min(limits.read, end - began)
        self.asked.append(Asked(began, leg.sid, url, dict(pairs), reply.status if reply else 0))
        # Whoever moved the clock has taken the time already, and real time has gone by.
        if not self._real and began + took > self.clock.now:
            yield began + took - self.clock.now
        return reply, fault

    def _require_progress(self, leg: Leg) -> None:
        recent = self.asked[-ROUND_IN_CIRCLES:]
        if len(recent) == ROUND_IN_CIRCLES and all((one.sid, one.at) == (leg.sid, self.clock.now) for one in recent):
            raise RecursionError(f"the documents of {leg.sid} go round in circles")

    def _know(self, leg: Leg) -> None:
        with self._lock:
            self.legs[leg.sid] = leg

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a REST request; a handler for `httpx.MockTransport`. `httpx.ReadTimeout` where none comes."""
        pairs = parse_qsl(request.content.decode(), keep_blank_values=True)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(given if scheme.lower() == "basic" else "").decode().partition(":")
            status, body = self.rest(request.method, request.url.path, (user, password), pairs)
        except binascii.Error:
            status, body = 401, _error(401, 20003, "Authenticate")
        except NoAnswer as none:
            raise httpx.ReadTimeout("no answer", request=request) from none
        return httpx.Response(status, json=body, request=request)

    def rest(self, method: str, path: str, basic: tuple[str, str], pairs: Form) -> tuple[int, dict[str, Any]]:
        """Answer a REST request with a status and JSON; `NoAnswer` where none comes.

        A live leg only changes at the next event, so this may be called from any thread, and within a webhook.
        """
        match = _CALLS.fullmatch(path)
        if self._users.get(basic[0]) != basic[1] or (match and match["account"] != self.account):
            return 401, _error(401, 20003, "Authenticate")
        if not match or (method, bool(match["sid"])) not in (("GET", True), ("POST", True), ("POST", False)):
            return 404, _error(404, 20404, "The requested resource was not found")
        what: What = "read" if method == "GET" else "update" if match["sid"] else "create"
        with self._lock:
            how = self._troubles[what].pop(0) if self._troubles.get(what) else ""
            if how == "timeout":
                raise NoAnswer
            failures = {"refuse": (400, 20001), "limit": (429, 20429), "error": (500, 20500)}
            if how in failures:
                return failures[how][0], _error(*failures[how], "as arranged")
            status, body = self._create(pairs) if what == "create" else self._change(what, match["sid"], pairs)
        if how == "lost":
            raise NoAnswer
        return status, body

    def _create(self, pairs: Form) -> tuple[int, dict[str, Any]]:
        form = dict(pairs)
        refusal = (
            _unknown(form, CREATE)
            or ((21201, "No 'To' number is specified") if not form.get("To") else None)
            or ((21213, "No 'From' number is specified") if not form.get("From") else None)
            or ((21211, "Invalid 'To' Phone Number") if not _callable(form["To"]) else None)
            or ((21212, "Invalid 'From' Phone Number") if not _callable(form["From"]) else None)
            or _no_document(form, required=True)
            or ((20001, "Twiml is too long") if len(form.get("Twiml", "")) > MAX_PUSHED else None)
        )
        if refusal:
            return 400, _error(400, *refusal)
        events = tuple(value for name, value in pairs if name == "StatusCallbackEvent") or ("completed",)
        leg = self.new_leg(form["From"], form["To"], "outbound-api", events=events)
        self._configure(leg, form)
        page = _pushed(form)

        def dial() -> Program[Any]:
            yield from self.ring(leg, float(form.get("Timeout", "60")))
            return (yield from self.follow(leg, page))

        self.launch(leg, dial())
        return 201, _resource(leg)

    def _change(self, what: What, sid: str, pairs: Form) -> tuple[int, dict[str, Any]]:
        leg, form = self.legs.get(sid), dict(pairs)
        if leg is None:
            return 404, _error(404, 20404, "The requested resource was not found")
        if what == "read":
            return 200, _resource(leg)
        moved, status = "Url" in form or "Twiml" in form, form.get("Status", "")
        refusal = _unknown(form, UPDATE) or _no_document(form, required=False)
        if not refusal and status not in ("", "completed", "canceled"):
            refusal = 20001, "Invalid Status"
        if not refusal and (leg.over or (moved and leg.status != "in-progress")):
            refusal = 21220, "Call is not in-progress. Cannot redirect."
        if not refusal and status == "canceled" and leg.status == "in-progress":
            refusal = 21220, "Call is in-progress. Cannot cancel."
        if refusal:
            return 400, _error(400, *refusal)
        self._configure(leg, form)
        if status:
            self.hang_up(leg, "completed" if leg.answered_at is not None else "canceled", "is hung up")
        elif moved:
            self.at(self.clock.now, lambda: None if leg.over else self.note(leg, "is redirected"))
            self.interrupt(leg, Taken(_pushed(form)))
        return 200, _resource(leg)

    def _configure(self, leg: Leg, form: Mapping[str, str]) -> None:
        leg.status_url = form.get("StatusCallback", leg.status_url)
        leg.fallback_url = form.get("FallbackUrl", leg.fallback_url)
        if "TimeLimit" in form:
            self.after(float(form["TimeLimit"]), lambda: self.hang_up(leg, what="is hung up"))


def over(post_form: Callable[[str, bytes, dict[str, str]], httpx.Response]) -> Callable[..., Reply]:
    """A `post` over HTTP, from one that takes a path with its query, such as that of `devkit.wire.Backend`."""

    def post(url: str, body: bytes, headers: dict[str, str]) -> Reply:
        parts = urlsplit(url)
        try:
            answer = post_form(parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
        except httpx.ConnectError as error:
            raise TimedOut("ct") from error
        except httpx.TransportError as error:
            raise TimedOut from error
        return Reply(answer.status_code, answer.headers.get("content-type", ""), answer.content)

    return post


def _pushed(form: Mapping[str, str]) -> Page:
    return Page(form.get("Url", ""), twiml=form.get("Twiml"))


def _callable(number: str) -> bool:
    return bool(_NUMBER.fullmatch(number)) or number.startswith(("sip:", "client:"))


def _unknown(form: Mapping[str, str], known: frozenset[str]) -> tuple[int, str] | None:
    strange = form.keys() - known
    return (20001, f"the exchange does not know the field {min(strange)}") if strange else None


def _no_document(form: Mapping[str, str], *, required: bool) -> tuple[int, str] | None:
    if "Twiml" in form and "Url" in form:
        return 21218, "Twiml and Url exclude each other"
    if required and "Twiml" not in form and not form.get("Url"):
        return 21205, "Url parameter is required"
    if "Url" in form and urlsplit(form["Url"]).scheme not in ("http", "https"):
        return 21205, "Url is not a valid URL"
    return (20001, "only POST is played") if form.get("Method", "POST").upper() != "POST" else None


def _error(status: int, code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "status": status}


def _resource(leg: Leg) -> dict[str, Any]:
    seconds = round(leg.ended_at - leg.answered_at) if leg.ended_at and leg.answered_at else 0
    return {
        "sid": leg.sid,
        "account_sid": leg.account,
        "parent_call_sid": leg.parent.sid if leg.parent else None,
        "from": leg.caller,
        "to": leg.dialled,
        "direction": leg.direction,
        "status": leg.status,
        "duration": str(seconds) if leg.status in TERMINAL else None,
        "uri": f"/2010-04-01/Accounts/{leg.account}/Calls/{leg.sid}.json",
    }
