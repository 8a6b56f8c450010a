"""The console's questions: which calls are live, what happened in one of them, and what an operator wants done.

Whoever asks shows a token (`Authorization: Bearer`). A stack on somebody's machine wants none, so there the request must
come from this stack's own page, or from no page at all: another page could make the browser ask.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from switchboard import audit, calls, gateway, interventions, legs, livecalls, messages, story, transfers
from switchboard.audit import DONE, REFUSED
from switchboard.calls import Session
from switchboard.errors import MessageRefused, Refused, SignatureRefused, Unavailable
from switchboard.gateway import Request
from switchboard.interventions import ACTIONS, SAY, TRANSFER, Operator, Order
from switchboard.secrets import CONSOLE, PUBLIC_BASE_URL, Secrets
from switchboard.store import Item, Store
from switchboard.story import Event
from switchboard.telemetry import Seldom, warn
from switchboard.tokens import ACT, SCOPES, WORDS, Token, verify

MAX_BODY = 4096  # bytes
MAX_SAY = 500  # characters; half a minute of speech
MOST_ITEMS = 200  # utterances, and as many tool calls, that a look reads of a call
MOST_EVENTS = 500  # utterances and steps of tools in an answer
MOST_BYTES = 500_000  # of these; Lambda answers with 6 MB at most

_PATH = re.compile(r"/console/calls(?:/([A-Za-z0-9_-]{1,100})(?:/([a-z]{1,20}))?)?", re.ASCII)
_LOCAL_HOST = re.compile(r"(localhost|[a-z0-9-]+\.localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.ASCII)
FIELDS: Mapping[str, frozenset[str]] = {
    "say": frozenset({"id", "text"}),
    "transfer": frozenset({"id", "person", "summary"}),
    "end": frozenset({"id"}),
}
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
LOCAL = Token("local", 0, frozenset(SCOPES))

ASK = "Ask for a new one with `switchboard console`."
SENTENCES: Mapping[str, str] = {
    "no_token": "This needs a token. Ask for one with `switchboard console`.",
    "token_expired": f"The token's time is over. {ASK}",
    "scope": "This token may only watch. Ask for one that may act with `switchboard console`.",
    "origin": "This request comes from another page.",
    "host": "This stack answers only under the name of this machine.",
    "call": "Nothing is stored about this call: it never came here, or has expired.",
    "clock": "This request is too old, or the clock of this computer is wrong. Reload the page.",
    "conflict": "The id of this request stands for another one.",
    "text": f"Give one line of at most {MAX_SAY} characters.",
    "person": "Choose one of the people of the agent.",
    "call_ended": "The call has ended.",
    "no_control_url": "Vapi has not said how this call can be reached.",
    "no_phone": "This call has no phone leg that could be put through.",
    "no_such_person": "Nobody of that name may be called.",
    "not_moved": "Twilio did not move the caller, who is still with the assistant.",
    "unavailable": "AWS does not answer, and nothing has happened. Try again.",
    "transfer_under_way": "Another transfer has this caller.",
}
OTHERWISE = {
    400: "The request is not one that can be understood.",
    401: f"The token is not valid. {ASK}",
    403: "This is not allowed.",
    404: "There is nothing here.",
    409: "Vapi refused it, and nothing has happened.",
    413: "The request is too large.",
    503: "AWS does not answer. Try again.",
}
PERHAPS = "The answer was lost: it may have happened. Look at the call before you try again."

turned_away = Seldom()


class Console(NamedTuple):
    """What the console needs. `operator.switch.people` are whom a caller may be put through to."""

    secrets: Secrets
    operator: Operator


class Visit(NamedTuple):
    """One request, and who makes it."""

    request: Request
    token: Token
    now: float


def respond(console: Console, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request of the page."""
    try:
        request = gateway.read(event)
        found = _PATH.fullmatch(request.path)
        if found is None:
            raise MessageRefused(404, "path")
        call_id, action = found[1] or "", found[2] or ""
        _expect_own_page(console, request)
        now = console.operator.clock()
        visit = Visit(request, _token(console, request, now), now)
        if request.method == "POST" and action in ACTIONS:
            return _acted(console, visit, call_id, action)
        if request.method != "GET" or action:
            raise MessageRefused(404, "path")
        return _told(visit, _call(console, visit, call_id) if call_id else _calls(console, visit))
    except Refused as refused:
        turned_away.log("console refused", status=refused.status, reason=refused.reason)
        return _answer(refused.status, _error(refused.status, refused.reason))
    except Unavailable as error:
        warn("unavailable", code=str(error))
        return _answer(503, _error(503, "unavailable"))


# Who asks


def _expect_own_page(console: Console, request: Request) -> None:
    """No other page may drive this one: neither by a request across origins, nor by a name that leads to this machine."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    local = console.operator.settings.emulated
    if local and not _LOCAL_HOST.fullmatch(host):
        raise MessageRefused(403, "host")
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise MessageRefused(403, "origin")
    if origin is None:
        return
    own = {f"http://{host}"} if local else {f"https://{host}", console.secrets.text(PUBLIC_BASE_URL).rstrip("/")}
    if origin not in own:
        raise MessageRefused(403, "origin")


def _token(console: Console, request: Request, now: float) -> Token:
    if console.operator.settings.emulated:
        return LOCAL
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise SignatureRefused("no_token")
    # A secret that was made a moment ago is not known yet: then SSM is asked once more.
    return console.secrets.checked(lambda: verify(text.strip(), console.secrets.active(CONSOLE), now))


# What it shows


def _calls(console: Console, visit: Visit) -> dict[str, Any]:
    """The live calls, and whom they may be put through to."""
    found = livecalls.read(console.operator.store, console.operator.settings.longest_leg, visit.now)
    people = sorted(console.operator.switch.people)
    return {"calls": [row._asdict() for row in found.rows], "more": found.more, "people": people}


def _call(console: Console, visit: Visit, identity: str) -> dict[str, Any]:
    """A call's story, and what can be done to it. Times are epoch milliseconds; `older` where some of it is left out."""
    store, now = console.operator.store, visit.now
    newest = Newest(store, now)
    try:
        told = story.read(newest.partition, identity, reveal=WORDS in visit.token.scopes)
    except story.Untold as untold:
        raise MessageRefused(404, "call") from untold
    events, cut = _newest(told.events)
    leg = legs.load(store, identity, now) if story.CALL_SID.fullmatch(identity) else None
    call_id = str(leg["call_id"]) if leg and leg.get("call_id") else told.call_id
    session = calls.load(store, call_id, now) or Session()
    return {
        "call": call_id,
        "leg": told.call_sid,
        "caller": told.caller,
        "ended_reason": told.ended_reason,
        "ended": session.ended,
        "speaks": "" if session.ended else livecalls.speaker(session._asdict(), now),
        "words": WORDS in visit.token.scopes,
        "can": sorted(_possible(console, visit, session)),
        "transfers": interventions.way(console.operator, session, now),
        "older": newest.older or cut,
        "events": events,
    }


class Newest:
    """Partitions as a look once a second can afford them: of a call its newest words, and not what was answered in it."""

    def __init__(self, store: Store, now: float) -> None:
        self.older = False  # whether something was left out
        self._store = store
        self._now = now

    def partition(self, pk: str) -> list[Item]:
        """The items of a partition that have not expired, in at most two requests of 1 MB each."""
        items = self._of_call(pk) if pk.startswith("CALL#") else self._store.partition(pk)
        return [item for item in items if item.get("exp", self._now + 1) > self._now]

    def _of_call(self, pk: str) -> list[Item]:
        # In the order of sort keys: ANSWER#..., META, REPORT, TOOL#..., TR#<time>...
        known, tools_left = self._store.between(pk, calls.META, "TOOL$", MOST_ITEMS)
        words, words_left = self._store.between(pk, "TR#", "TR$", MOST_ITEMS, newest=True)
        self.older |= tools_left or words_left
        return known + words[::-1]


def _newest(events: Sequence[Event]) -> tuple[list[dict[str, Any]], bool]:
    """The newest events as they are sent, and whether there are older ones. What frames the call is never left out."""
    kept: list[dict[str, Any]] = []
    many, size, cut = 0, 0, False
    for event in reversed(events):
        told = {"at": event.at, "who": event.who, "kind": event.kind, "text": event.text, "ok": event.ok, **event.facts}
        if event.kind == "said" or event.who in ("tool", "delivery"):
            many, size = many + 1, size + len(_compact(told).encode())
            if cut := cut or many > MOST_EVENTS or size > MOST_BYTES:
                continue
        kept.append(told)
    return kept[::-1], cut


def _possible(console: Console, visit: Visit, session: Session) -> set[str]:
    if session.ended or ACT not in visit.token.scopes:
        return set()
    possible = set(ACTIONS) if session.control_host else {TRANSFER}
    movable = console.operator.switch.people and interventions.way(console.operator, session, visit.now)
    return possible if movable else possible - {TRANSFER}


# Actions


def _acted(console: Console, visit: Visit, call_id: str, action: str) -> dict[str, Any]:
    if ACT not in visit.token.scopes:
        raise MessageRefused(403, "scope")
    order = _order(console, visit, call_id, action)
    if calls.load(console.operator.store, call_id, visit.now) is None:
        raise MessageRefused(404, "call")
    outcome = interventions.act(console.operator, order)
    if outcome is None:
        raise MessageRefused(409, "conflict")
    told = {"outcome": outcome.outcome, "reason": outcome.reason}
    if outcome.outcome == DONE:
        return _answer(200, told)
    if outcome.outcome == REFUSED:
        return _answer(409, told | _error(409, outcome.reason))
    return _answer(202, told | {"message": PERHAPS})


def _order(console: Console, visit: Visit, call_id: str, action: str) -> Order:
    request = visit.request
    # A form of another page could not send JSON without being asked whether it may.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise MessageRefused(400, "content_type")
    if len(request.body) > MAX_BODY:
        raise MessageRefused(413, "body_too_large")
    body = messages.parse(request.body)
    if not isinstance(body, dict) or body.keys() - FIELDS[action]:
        raise MessageRefused(400, "body")
    given = {name: body.get(name, "") for name in ("id", "text", "person", "summary")}
    if not all(isinstance(value, str) for value in given.values()) or audit.asked_at(given["id"]) is None:
        raise MessageRefused(400, "body")
    if not audit.is_current(given["id"], visit.now):
        raise MessageRefused(400, "clock")
    if action == SAY and not _is_line(given["text"], MAX_SAY):
        raise MessageRefused(400, "text")
    if action == TRANSFER and given["person"] not in console.operator.switch.people:
        raise MessageRefused(400, "person")
    if given["summary"] and not _is_line(given["summary"], transfers.MAX_SUMMARY):
        raise MessageRefused(400, "summary")
    return Order(who=visit.token.id, action=action, call_id=call_id, **given)


def _is_line(text: str, most: int) -> bool:
    """Whether it is something to say, in one line."""
    return 0 < len(text) <= most and messages.one_line(text, most) == text


# Answers


def _told(visit: Visit, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a page asks for again and again: without a body where nothing has changed since."""
    text = _compact(body)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = HEADERS | {"etag": tag, "x-now": str(int(visit.now * 1000))}
    if visit.request.headers.get("if-none-match") == tag:
        return {"statusCode": 304, "headers": headers}
    return {"statusCode": 200, "headers": headers | {"content-type": "application/json"}, "body": text}


def _compact(body: Mapping[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def _answer(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = gateway.answer(status, body)
    return answer | {"headers": answer["headers"] | HEADERS}


def _error(status: int, reason: str) -> dict[str, Any]:
    return {"error": reason, "message": SENTENCES.get(reason, OTHERWISE[status])}
