"""A transfer to a person that comes back when nobody takes it.

requested ─ holding ─ ringing ─ briefing ─ bridged
                                  └ no_answer | busy | declined | voicemail | failed ─ returned        gone: hung up

The caller holds in a conference of their own, the person is called, hears what it is about, and presses 1 to join. Each
step is one conditional write on the transfer's item, so of all who want to take it one does, and a late one changes
nothing. Whoever dies between two steps is replaced: by Twilio, which asks again; by the hold music, which Twilio asks for
every few seconds while the caller is alone; and by the sweeper.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from switchboard import admission, calls, legs, line, routes, twiml
from switchboard.errors import Ambiguous, ConditionFailed, Gone, NotDone, RemoteError, SwitchboardError, Unavailable
from switchboard.line import Asked
from switchboard.messages import E164, one_line
from switchboard.secrets import Secrets
from switchboard.settings import REDIRECT, Settings
from switchboard.store import Item, Key, Put, Store, Update
from switchboard.telemetry import Count, count, log, warn
from switchboard.twilio_rest import Account, Twilio, account_of

VERSION = 1
PREFIX = "XFER#"
KEEP_SECONDS = 3600  # of a transfer and its summary
BRIDGED_SECONDS = 13 * 3600  # of one that two people talk in; its summary is gone by then
MAX_SUMMARY = 400  # characters
MOST = 5  # transfers of one phone call: nobody's phone is rung all day long by one caller

START_SECONDS = 30  # from the request until the person's phone must ring
RING_SECONDS = 25  # that it rings; Twilio adds up to 5
LATE_SECONDS = 15  # that a callback may take
BRIEF_SECONDS = 120  # both announcements, each twice, and the time to press a key
JOIN_SECONDS = 12  # after which a person who pressed 1 is in the caller's room, or never will be
REDIRECT_SECONDS = 6  # that a redirect may take before the next one is tried
LONGEST_TURNS = 25  # of the hold music, about 8 seconds each, before a caller is brought back without the table

CONFERENCE = "transfer-{call_sid}"
HOLD_WORDS = "One moment, please."  # what the assistant was saying may have been cut off
OPENING = "Hello. A caller would like to talk to you. Press any key to hear what it is about."
SUMMARY = "{summary} Press 1 to talk to the caller, or any other key if you cannot."
NO_SUMMARY = "Nothing is known about the caller's request."
NOBODY = "The caller is no longer waiting. Thank you, goodbye."
THANKS = "Thank you, goodbye."

STARTED = "The caller is on hold and is being put through. If nobody takes the call, the caller comes back."
NOT_NOW = (
    "Putting the caller through did not work, and the caller is still here. Say so, and offer to help another way."
)
NOBODY_OF_THAT_NAME = "Callers cannot be put through to that person. Say so, and offer to help another way."
NO_PHONE = "This call cannot be put through to anybody. Say so, and offer to help another way."


class State(StrEnum):
    """Where a transfer stands."""

    REQUESTED = "requested"
    HOLDING = "holding"
    RINGING = "ringing"
    BRIEFING = "briefing"
    BRIDGED = "bridged"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    VOICEMAIL = "voicemail"
    FAILED = "failed"
    RETURNED = "returned"
    GONE = "gone"


S = State
WAITING = (S.REQUESTED, S.HOLDING, S.RINGING, S.BRIEFING)
UNANSWERED = (S.NO_ANSWER, S.BUSY, S.DECLINED, S.VOICEMAIL, S.FAILED)
OVER = (S.RETURNED, S.GONE)

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        # A caller who was never moved is still with the assistant: nobody needs to bring them back.
        S.REQUESTED: frozenset({S.HOLDING, *OVER}),
        S.HOLDING: frozenset({S.RINGING, S.FAILED, *OVER}),
        S.RINGING: frozenset({S.BRIEFING, S.NO_ANSWER, S.BUSY, S.DECLINED, S.FAILED, *OVER}),
        S.BRIEFING: frozenset({S.BRIDGED, S.DECLINED, S.VOICEMAIL, S.FAILED, *OVER}),
        # Failed: the person who pressed 1 was gone before they were in the room.
        S.BRIDGED: frozenset({S.FAILED, *OVER}),
        **{state: frozenset(OVER) for state in UNANSWERED},
        **{state: frozenset() for state in OVER},
    }
)

WORDS: Mapping[str, str] = MappingProxyType(
    {
        S.NO_ANSWER.value: "I am sorry, nobody picked up. What else can I do for you?",
        S.BUSY.value: "I am sorry, the line is busy. What else can I do for you?",
        S.DECLINED.value: "I am sorry, nobody can take your call right now. What else can I do for you?",
        S.VOICEMAIL.value: "I am sorry, nobody could be reached. What else can I do for you?",
        S.FAILED.value: "I am sorry, I could not put you through. What else can I do for you?",
    }
)
"""What an assistant says first to a caller who is back, by outcome."""

# How the person's leg ended that was never in the room.
_ENDED = {"busy": S.BUSY, "no-answer": S.NO_ANSWER, "completed": S.DECLINED}


class Impossible(SwitchboardError):
    """The caller cannot be put through, and nothing has happened; the text is for the model."""


class Switch(NamedTuple):
    """What moving phone legs needs. `people` is the allow-list, needed only where transfers start."""

    settings: Settings
    secrets: Secrets
    store: Store
    twilio: Twilio
    clock: Callable[[], float] = time.time
    people: Mapping[str, str] = MappingProxyType({})


class Moved(NamedTuple):
    """A transfer as it is stored. Times are epoch milliseconds; `due` is the second in which it needs a look, 0 for never."""

    call_sid: str
    n: int
    state: State
    to: str
    call_id: str
    account: str
    asked_by: str
    leg: str = ""
    summary: str = ""
    outcome: str = ""
    holding_at: int = 0
    bridged_at: int = 0
    due: int = 0

    @classmethod
    def of(cls, item: Item) -> Self:
        """Read a stored item."""
        fields = {name: item[name] for name in cls._fields if name in item}
        fields |= {"call_sid": item["pk"].removeprefix(PREFIX), "state": State(item["state"])}
        return cls(**fields | {"due": item.get("g1sk", 0)})


class Back(NamedTuple):
    """A caller whose transfer is over: `number` says which of the call's transfers it was, the first is 1."""

    outcome: str
    name: str = ""
    summary: str = ""
    number: int = 0

    @property
    def returns(self) -> bool:
        """Whether the assistant takes over again; else everything has been said."""
        return self.outcome in UNANSWERED


def key(call_sid: str) -> Key:
    """The item of the transfer of this caller's leg."""
    return Key(f"{PREFIX}{call_sid}", "META")


def load(store: Store, call_sid: str, now: float) -> Moved | None:
    """The latest transfer of a caller's leg, or None where there is none or it has expired."""
    item = store.get(key(call_sid))
    return Moved.of(item) if item and item["exp"] > now else None


# Starting


def put_through(switch: Switch, call_id: str, asked_by: str, name: str, summary: str) -> str:
    """Put the caller of an AI call through to `name`; returns words for the model. `Impossible` if that cannot be."""
    now = switch.clock()
    session = calls.load(switch.store, call_id, now)
    stored = start(switch, session.call_sid if session else "", call_id, name, summary, now, asked_by=asked_by)
    if stored.state is S.RETURNED and not stored.holding_at:
        raise Impossible(NOT_NOW)
    return STARTED


def start(switch: Switch, call_sid: str, call_id: str, name: str, summary: str, now: float, *, asked_by: str) -> Moved:
    """Put the caller on hold and call `name`; returns the transfer. `asked_by` tells a repetition from a new request.

    A repetition goes on where the first attempt ended; a request while another transfer is under way changes nothing.
    `Impossible` before anything has happened, `RemoteError` or `Unavailable` where a repetition should go on.
    """
    number = switch.people.get(name, "")
    if not E164.fullmatch(number):
        raise Impossible(NOBODY_OF_THAT_NAME)
    leg = legs.load(switch.store, call_sid, now) if call_sid and switch.settings.way != REDIRECT else None
    if leg is None or not E164.fullmatch(str(leg.get("dialled", ""))) or not leg.get("account"):
        raise Impossible(NO_PHONE)
    try:
        account = account_of(switch.settings, switch.secrets, leg["account"])
    except NotDone as error:
        warn("nobody can be called", call_sid=call_sid, code=error.reason)
        raise Impossible(NOT_NOW) from error
    stored = _request(
        switch.store,
        Moved(call_sid, 1, S.REQUESTED, name, call_id, account.sid, asked_by, summary=one_line(summary, MAX_SUMMARY)),
        now,
    )
    if stored.asked_by != asked_by:
        return stored
    if stored.state is S.REQUESTED:
        stored = _to_hold(switch, stored, account, now)
    if stored.state is S.HOLDING:
        stored = _ring(switch, stored, account, number, str(leg["dialled"]), switch.clock())
    return stored


def _request(store: Store, wanted: Moved, now: float) -> Moved:
    """Store a new transfer; what is stored instead where one is under way, or was asked for by this very request."""
    item = store.get(key(wanted.call_sid))
    before = Moved.of(item) if item and item["exp"] > now else None
    if before and (before.state is not S.RETURNED or before.asked_by == wanted.asked_by):
        return before
    if before and before.n >= MOST:
        raise Impossible(NOT_NOW)
    wanted = wanted._replace(n=before.n + 1 if before else 1)
    condition = "attribute_not_exists(#pk) OR #exp <= :now OR (#state = :returned AND #n < :n)"
    values = {"now": int(now), "returned": S.RETURNED.value, "n": wanted.n}
    try:
        store.put(Put(_item(wanted, now), condition, values))
    except ConditionFailed as lost:
        # Another request was faster, or the first try of this very write was applied and its answer lost.
        return Moved.of(dict(lost.item or {}))
    count(Count.TRANSFER_STARTED)
    log("transfer", call_sid=wanted.call_sid, call_id=wanted.call_id, state=wanted.state.value)
    return wanted


def _item(wanted: Moved, now: float) -> Item:
    names = ("n", "to", "call_id", "account", "asked_by", "summary")
    return {
        **key(wanted.call_sid)._asdict(),
        "v": VERSION,
        **{name: value for name, value in wanted._asdict().items() if name in names},
        "state": wanted.state.value,
        "requested_at": int(now * 1000),
        "exp": int(now) + KEEP_SECONDS,
        "g1pk": legs.shard(wanted.call_sid),
        "g1sk": int(now) + START_SECONDS,
    }


def _to_hold(switch: Switch, stored: Moved, account: Account, now: float) -> Moved:
    """Have Twilio move the caller's leg into the hold, which ends the AI call."""
    # From here on the end of the AI call must not give the caller's slot away.
    admission.reserve(switch.store, stored.call_sid, now)
    url = routes.url(line.base_url(switch.secrets), routes.HOLD, n=stored.n)
    try:
        try:
            switch.twilio.redirect(account, stored.call_sid, url)
        except Ambiguous as doubt:
            # Moving twice is moving once. Still in doubt, the request is repeated, by when the hold may have been asked for.
            _redirect_again(switch, account, stored.call_sid, url, doubt)
    except Gone:
        return caller_gone(switch, stored.call_sid, now) or stored
    except NotDone as error:
        warn("caller not put on hold", call_sid=stored.call_sid, code=error.reason)
        admission.occupy(switch.store, stored.call_sid, stored.call_id, now)
        return _move(switch.store, stored, S.RETURNED, now, outcome=S.FAILED) or _again(switch, stored, now)
    now = switch.clock()
    return _move(switch.store, stored, S.HOLDING, now, due=START_SECONDS) or _again(switch, stored, now)


def _redirect_again(switch: Switch, account: Account, call_sid: str, url: str, doubt: Ambiguous) -> None:
    try:
        switch.twilio.redirect(account, call_sid, url)
    except Gone:
        raise
    except NotDone as error:
        # What this one did not do, the first one may have done.
        raise doubt from error


def _ring(switch: Switch, stored: Moved, account: Account, number: str, caller_id: str, now: float) -> Moved:
    """Call the person: only by whoever wins this step, and never again, whatever comes of it."""
    ringing = _move(switch.store, stored, S.RINGING, now, due=RING_SECONDS + LATE_SECONDS)
    if ringing is None:
        return _again(switch, stored, now)
    base = line.base_url(switch.secrets)
    about: dict[str, str | int] = {"call": stored.call_sid, "n": stored.n}
    try:
        leg = switch.twilio.place(
            account,
            to=number,
            caller_id=caller_id,
            url=routes.url(base, routes.BRIEF, **about),
            status_callback=routes.url(base, routes.LEG, **about),
            timeout=RING_SECONDS,
        )
    except NotDone as error:
        warn("person not called", call_sid=stored.call_sid, code=error.reason)
        return _end(switch, ringing, S.FAILED, now)
    except Ambiguous as error:
        # It may ring. Its callbacks say so, and if none comes the transfer has failed when it is due.
        warn("person perhaps called", call_sid=stored.call_sid, code=error.reason)
        return ringing
    return _met(switch, ringing, leg)


# What Twilio asks


def hold(switch: Switch, asked: Asked, now: float) -> str:
    """The caller's leg comes to wait."""
    base, n = line.base_url(switch.secrets), asked.number("n")
    back_url = routes.url(base, routes.BACK, n=n)
    stored = load(switch.store, asked.call_sid, now)
    if stored is None or stored.n != n:
        return twiml.redirect(back_url)
    if stored.state is S.REQUESTED:
        stored = _move(switch.store, stored, S.HOLDING, now, due=START_SECONDS) or _again(switch, stored, now)
    if stored.state is S.GONE:
        return twiml.hang_up()
    if stored.state is S.RETURNED:
        return twiml.redirect(back_url)
    # Where nobody has taken the call already, a redirect is on its way, and a second way back would be a second turn.
    wait_url = routes.url(base, routes.MUSIC, call=asked.call_sid, n=n, turn=0)
    return twiml.hold(_room(asked.call_sid), wait_url, back_url, HOLD_WORDS)


def music(switch: Switch, asked: Asked, now: float) -> str:
    """The caller is alone in the room and hears music: the moment to see that somebody still cares for them."""
    call_sid, n, turn = asked.query.get("call", ""), asked.number("n"), asked.number("turn")
    base = line.base_url(switch.secrets)
    try:
        stored = load(switch.store, call_sid, now)
        if stored and stored.n == n:
            if stored.state is S.REQUESTED:
                stored = _move(switch.store, stored, S.HOLDING, now, due=START_SECONDS) or _again(switch, stored, now)
            _tend(switch, stored, now)
    except Unavailable as error:
        warn("hold not looked after", call_sid=call_sid, code=str(error))
        if turn >= LONGEST_TURNS:
            with suppress(Gone):
                _redirect_back(switch, asked.fields.get("AccountSid", ""), call_sid, n)
    again = routes.url(base, routes.MUSIC, call=call_sid, n=n, turn=turn + 1)
    return twiml.music(switch.settings.hold_music_url or routes.url(base, routes.TUNE), again)


def brief(switch: Switch, asked: Asked, now: float) -> str:
    """Somebody, or a machine, has picked up. What the call is about is said only to who presses a key."""
    stored = _of_leg(switch, asked, now)
    if stored and stored.state is S.RINGING:
        stored = _move(switch.store, stored, S.BRIEFING, now, due=BRIEF_SECONDS, leg=asked.call_sid) or _of_leg(
            switch, asked, now
        )
    if stored is None or stored.state is not S.BRIEFING:
        return twiml.say_and_hang_up(NOBODY)
    return twiml.brief(OPENING, _accept_url(switch, stored, "opening"))


def accept(switch: Switch, asked: Asked, now: float) -> str:
    """A key was pressed, or none in time: first for hearing what it is about, then for taking the call."""
    stored = _of_leg(switch, asked, now)
    pressed = asked.fields.get("Digits", "")
    if stored and stored.state is S.BRIDGED and pressed == "1":
        return twiml.join(_room(stored.call_sid))
    if stored is None or stored.state is not S.BRIEFING:
        return twiml.say_and_hang_up(NOBODY)
    if asked.query.get("after") == "opening":
        if pressed:
            words = SUMMARY.format(summary=_sentence(stored.summary) or NO_SUMMARY)
            return twiml.brief(words, _accept_url(switch, stored, "summary"))
        _end(switch, stored, S.VOICEMAIL, now)
        return twiml.hang_up()
    if pressed != "1":
        _end(switch, stored, S.DECLINED, now)
        return twiml.say_and_hang_up(THANKS)
    bridged = _bridge(switch, stored, now)
    return twiml.join(_room(stored.call_sid)) if bridged else twiml.say_and_hang_up(NOBODY)


def leg_status(switch: Switch, asked: Asked, now: float) -> None:
    """What becomes of the person's leg. Any order, any repetition."""
    status = asked.fields.get("CallStatus", "")
    stored = _of_leg(switch, asked, now)
    if status in legs.OVER:
        if stored and stored.state in (S.RINGING, S.BRIEFING):
            answered = stored.state is S.BRIEFING
            _end(switch, stored, S.DECLINED if answered else _ENDED.get(status, S.FAILED), now)
        elif stored and stored.state in UNANSWERED:
            _bring_back(switch, stored, now)
    elif stored is None or stored.state not in (S.RINGING, S.BRIEFING, S.BRIDGED):
        # It was placed, or told of, after the caller was lost or taken back.
        _hang_up(switch, asked.fields.get("AccountSid", ""), asked.call_sid)
    elif not stored.leg:
        _met(switch, stored, asked.call_sid)


def back(store: Store, call_sid: str, now: float, *, number: int = 0, over: bool = False) -> Back:
    """The caller's leg is out of the hold: by a redirect, or because the conference ended; `over` if it has hung up.

    `number` is the transfer that the leg comes back from. Asked again, the answer is the same.
    """
    stored = load(store, call_sid, now)
    if stored is None or (number and stored.n != number):
        return Back(S.FAILED.value, number=number)
    if stored.state not in OVER:
        to, unfinished = (S.GONE, S.GONE) if over else (S.RETURNED, S.FAILED)
        waits = stored.state in WAITING
        outcome = unfinished if waits else stored.state
        # A person who still rings, or has just picked up, is hung up on by whoever looks next.
        due = 0 if waits else None
        stored = _move(store, stored, to, now, outcome=outcome, due=due) or load(store, call_sid, now) or stored
    return Back(stored.outcome, stored.to, stored.summary, stored.n)


def caller_gone(switch: Switch, call_sid: str, now: float) -> Moved | None:
    """The caller has hung up: nobody is called any more on their behalf. The transfer as it is then, None if none."""
    stored = load(switch.store, call_sid, now)
    if stored and stored.state not in OVER:
        outcome = S.GONE if stored.state in WAITING else stored.state
        stored = _move(switch.store, stored, S.GONE, now, outcome=outcome, due=0) or load(switch.store, call_sid, now)
    if stored and stored.state in OVER:
        _tidy(switch, stored)
    return stored


def sweep(switch: Switch, key: Key, now: float) -> bool:
    """Look after a transfer that the index of unfinished items says is due; True if it was."""
    stored = load(switch.store, key.pk.removeprefix(PREFIX), now)
    if stored is None or not stored.due or stored.due > now:
        return False
    _tend(switch, stored, now)
    return True


# What is due


def _tend(switch: Switch, stored: Moved, now: float) -> None:
    """Do what has been left undone, or has taken too long."""
    late = stored.due <= now
    match stored.state:
        case S.REQUESTED if late:
            _move(switch.store, stored, S.RETURNED, now, outcome=S.FAILED)
        case S.HOLDING if late:
            _end(switch, stored, S.FAILED, now)
        case S.RINGING if late:
            _end(switch, stored, S.NO_ANSWER if stored.leg else S.FAILED, now)
            _hang_up(switch, stored.account, stored.leg)
        case S.BRIEFING if late:
            _end(switch, stored, S.VOICEMAIL, now)
            _hang_up(switch, stored.account, stored.leg)
        case S.BRIDGED if now * 1000 >= stored.bridged_at + JOIN_SECONDS * 1000:
            _check_bridge(switch, stored, now)
        case state if state in UNANSWERED:
            _bring_back(switch, stored, now)
        case state if state in OVER:
            _tidy(switch, stored)


def _check_bridge(switch: Switch, stored: Moved, now: float) -> None:
    """A person who pressed 1 and was gone before they were in the room has left the caller alone in it."""
    try:
        account = account_of(switch.settings, switch.secrets, stored.account)
        over = switch.twilio.status(account, stored.leg) in legs.OVER
    except Gone:
        over = True
    except RemoteError as error:
        warn("person not found out about", call_sid=stored.call_sid, code=error.reason)
        return
    if over:
        _end(switch, stored, S.FAILED, now)
    elif stored.due:
        _forget(switch.store, stored)


def _tidy(switch: Switch, stored: Moved) -> None:
    """Hang up on the person, once the caller is not there to talk to them any more."""
    if stored.due and (not stored.leg or _hang_up(switch, stored.account, stored.leg)):
        _forget(switch.store, stored)


def _end(switch: Switch, stored: Moved, outcome: State, now: float) -> Moved:
    """Nobody takes the call: say why, and bring the caller back."""
    ended = _move(switch.store, stored, outcome, now, outcome=outcome, due=REDIRECT_SECONDS)
    if ended is None:
        return _again(switch, stored, now)
    return _redirected(switch, ended, now)


def _bring_back(switch: Switch, stored: Moved, now: float) -> None:
    """Try to bring the caller back once more, unless somebody has just tried."""
    if stored.due > now:
        return
    mine = str(uuid.uuid4())
    change = "SET #g1sk = :due, #by = :mine"
    condition = "#n = :n AND #state = :state AND #g1sk = :seen"
    values = {"due": int(now) + REDIRECT_SECONDS, "mine": mine, "n": stored.n}
    values |= {"state": stored.state.value, "seen": stored.due}
    try:
        switch.store.update(Update(key(stored.call_sid), change, condition, values))
    except ConditionFailed as lost:
        if not lost.item or lost.item.get("by") != mine:
            return
    _redirected(switch, stored, now)


def _redirected(switch: Switch, stored: Moved, now: float) -> Moved:
    try:
        _redirect_back(switch, stored.account, stored.call_sid, stored.n)
    except Gone:
        return caller_gone(switch, stored.call_sid, now) or stored
    return stored


def _redirect_back(switch: Switch, account_sid: str, call_sid: str, n: int) -> None:
    """Ask Twilio to take the caller out of the hold; `Gone` if they have hung up. What fails is tried again later."""
    url = routes.url(line.base_url(switch.secrets), routes.BACK, n=n)
    try:
        switch.twilio.redirect(account_of(switch.settings, switch.secrets, account_sid), call_sid, url)
    except Gone:
        raise
    except RemoteError as error:
        warn("caller not yet brought back", call_sid=call_sid, code=error.reason)


def _bridge(switch: Switch, stored: Moved, now: float) -> bool:
    """Take the call: True for the one who wins it, however often they ask."""
    bridged = _move(switch.store, stored, S.BRIDGED, now, outcome=S.BRIDGED, due=JOIN_SECONDS)
    if bridged:
        # Two people talk now, so another caller may have the assistant.
        admission.leave(switch.store, holder=stored.call_sid)
    bridged = bridged or _again(switch, stored, now)
    return bridged.state is S.BRIDGED and bridged.leg == stored.leg and bridged.n == stored.n


def _hang_up(switch: Switch, account_sid: str, call_sid: str) -> bool:
    """End a leg; True if it is over."""
    if not call_sid:
        return True
    try:
        switch.twilio.hang_up(account_of(switch.settings, switch.secrets, account_sid), call_sid)
    except Gone:
        return True
    except RemoteError as error:
        warn("leg not hung up", call_sid=call_sid, code=error.reason)
        return False
    return True


# The item


def _of_leg(switch: Switch, asked: Asked, now: float) -> Moved | None:
    """The transfer that a person's leg belongs to, if it still is the one that it was placed for."""
    stored = load(switch.store, asked.query.get("call", ""), now)
    mine = stored and stored.n == asked.number("n") and stored.leg in ("", asked.call_sid)
    return stored if mine else None


def _met(switch: Switch, stored: Moved, leg: str) -> Moved:
    """Keep which leg is the person's; hang it up if the caller does not wait any more."""
    condition = "#n = :n AND (attribute_not_exists(#leg) OR #leg = :leg)"
    values = {"n": stored.n, "leg": leg}
    try:
        met = Moved.of(switch.store.update(Update(key(stored.call_sid), "SET #leg = :leg", condition, values)))
    except ConditionFailed as lost:
        met = Moved.of(dict(lost.item)) if lost.item else stored
        _hang_up(switch, stored.account, leg)
        return met
    if met.state not in (S.RINGING, S.BRIEFING, S.BRIDGED):
        _hang_up(switch, stored.account, leg)
    return met


def _move(
    store: Store,
    stored: Moved,
    to: State,
    now: float,
    *,
    outcome: State | None = None,
    due: int | None = None,
    leg: str = "",
) -> Moved | None:
    """Take one step; None if somebody else has taken one from there. `due` is seconds until it needs a look, if ever."""
    if to not in MOVES[stored.state]:
        return None
    mine = str(uuid.uuid4())
    sets: dict[str, Any] = {"state": to.value, f"{to.value}_at": int(now * 1000), "by": mine}
    removed: list[str] = []
    if outcome:
        sets["outcome"] = outcome.value
    if leg:
        sets["leg"] = leg
    if due is None:
        removed += ["g1pk", "g1sk"]
    else:
        sets |= {"g1pk": legs.shard(stored.call_sid), "g1sk": int(now) + due}
    if to is S.BRIDGED:
        # Who talks needs no summary, and may talk for long.
        sets["exp"] = int(now) + BRIDGED_SECONDS
        removed.append("summary")
    change = "SET " + ", ".join(f"#{name} = :{name}" for name in sets)
    change += " REMOVE " + ", ".join(f"#{name}" for name in removed) if removed else ""
    condition = "#n = :n AND #state = :from"
    condition += " AND (attribute_not_exists(#leg) OR #leg = :leg)" if leg else ""
    values = sets | {"n": stored.n, "from": stored.state.value}
    try:
        item = store.update(Update(key(stored.call_sid), change, condition, values))
    except ConditionFailed as lost:
        # The SDK repeats a write whose answer was lost: then the winner that stands in the way is this very step.
        if not lost.item or lost.item.get("by") != mine:
            return None
        item = dict(lost.item)
    _tell(stored, to, outcome)
    return Moved.of(item)


def _tell(stored: Moved, to: State, outcome: State | None) -> None:
    log("transfer", call_sid=stored.call_sid, call_id=stored.call_id, state=to.value)
    if outcome and not stored.outcome:
        count(Count.TRANSFER_ENDED, outcome.value)


def _again(switch: Switch, stored: Moved, now: float) -> Moved:
    """The transfer as it is now, after a step that somebody else has taken."""
    return load(switch.store, stored.call_sid, now) or stored


def _forget(store: Store, stored: Moved) -> None:
    """Nothing is left to do, as long as nobody has taken a step meanwhile."""
    condition = "#n = :n AND #state = :state"
    try:
        store.update(
            Update(key(stored.call_sid), "REMOVE #g1pk, #g1sk", condition, {"n": stored.n, "state": stored.state.value})
        )
    except ConditionFailed:
        return


def _room(call_sid: str) -> str:
    return CONFERENCE.format(call_sid=call_sid)


def _accept_url(switch: Switch, stored: Moved, after: str) -> str:
    base = line.base_url(switch.secrets)
    return routes.url(base, routes.ACCEPT, call=stored.call_sid, n=stored.n, after=after)


def _sentence(words: str) -> str:
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."
