"""Transfers under crashes, lost answers, duplicates and every order: the caller ends with a person, with the assistant, or
has hung up; nobody is called twice; and nobody keeps ringing for a caller who is not there.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, Literal, NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from devkit import development
from devkit.exchange import Callbacks, Person
from devkit.exchange_legs import Leg
from switchboard import legs, routes, transfers
from switchboard.errors import Unavailable
from switchboard.line import Asked
from switchboard.settings import Settings
from switchboard.store import Item, Key, Put, Update
from switchboard.toolcalls import OPEN_SHARDS
from switchboard.transfers import MOVES, OVER, UNANSWERED, WAITING, Moved, State
from tests.chaos.scene import Act
from tests.conftest import ENVIRONMENT, Clock
from tests.handover import CALL, Handover, Killed
from tests.memory import Memory

SETTINGS = Settings.from_env(ENVIRONMENT)
CALLER_SID, PERSON_SID, OTHER_SID = "CA" + "a1" * 16, "CA" + "b2" * 16, "CA" + "c3" * 16
LEASE = 17  # seconds after which a worker that died is replaced


class Case(NamedTuple):
    """Who is called, whether the caller hangs up, and where the caller may end."""

    person: Person
    ends: frozenset[str]
    hangs_up_after: float | None = None


ASSISTANT, GONE = frozenset({"assistant"}), frozenset({"gone"})
CASES = {
    "takes": Case(Person(digits=("5", "1")), ASSISTANT | {"person"}),
    "is gone when taking": Case(Person(digits=("5", "1"), hangs_up_after=32.7), ASSISTANT | GONE),
    "no answer": Case(Person(behaviour="no-answer"), ASSISTANT),
    "busy": Case(Person(behaviour="busy"), ASSISTANT),
    "declines": Case(Person(digits=("5", "2")), ASSISTANT),
    "hangs up": Case(Person(hangs_up_after=6), ASSISTANT),
    "voicemail": Case(Person(behaviour="voicemail"), ASSISTANT),
    "caller leaves while it rings": Case(Person(answers_after=20), GONE, hangs_up_after=9),
    "caller leaves during the briefing": Case(Person(digits=("5", "1")), GONE, hangs_up_after=12),
    "caller leaves the talk": Case(Person(digits=("5", "1")), GONE, hangs_up_after=60),
}


class Dying(Memory):
    """Kills the process around one write to a transfer, or loses its answer, so that the SDK writes it again."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.fate: dict[int, str] = {}

    def put(self, put: Put) -> None:
        """Write an item."""
        self._around(put.item["pk"], lambda: super(Dying, self).put(put))

    def update(self, update: Update) -> Item:
        """Change an item."""
        item: Item = self._around(update.key.pk, lambda: super(Dying, self).update(update))
        return item

    def _around(self, pk: str, write: Callable[[], Any]) -> Any:
        if not pk.startswith(transfers.PREFIX):
            return write()
        self.writes += 1
        fate = self.fate.pop(self.writes, "")
        if fate == "killed before":
            raise Killed
        if fate == "down":
            raise Unavailable("table")
        done = write()
        if fate == "killed after":
            raise Killed
        return write() if fate == "answer lost" else done


class Wire:
    """Twilio's REST API, with trouble around one request."""

    def __init__(self, handover: Handover) -> None:
        self.requests = 0
        self.fate: dict[int, str] = {}
        self._answer = handover.rest
        handover.rest = self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        fate = self.fate.pop(self.requests, "")
        if fate == "killed before":
            raise Killed
        if fate == "not done":
            raise httpx.ReadTimeout("nothing was done", request=request)
        answer = self._answer(request)
        if fate == "killed after":
            raise Killed
        if fate == "answer lost":
            raise httpx.ReadTimeout("it was done", request=request)
        if fate == "busy":
            return httpx.Response(429, json={"code": 20429}, request=request)
        return answer


WRITES = ("killed before", "killed after", "answer lost", "down")
REQUESTS = ("killed before", "killed after", "answer lost", "not done")
RESCUES = ("music", "sweeper", "not told twice")


class Played(NamedTuple):
    """One play, and how often it wrote and asked."""

    handover: Handover
    leg: Leg
    writes: int
    requests: int


def play(case: Case, rescue: str = "", write: tuple[int, str] = (0, ""), request: tuple[int, str] = (0, "")) -> Played:
    """One transfer in which something goes wrong, and only one kind of rescue comes besides Twilio's retries."""
    table = Dying()
    handover = Handover(SETTINGS, Clock(), table, case.person)
    wire = Wire(handover)
    table.fate, wire.fate = dict([write]), dict([request])
    if rescue == "music":
        handover.sweeps = False
    if rescue == "sweeper":
        handover.before = no_music
    handover.told_twice = rescue != "not told twice"
    leg = handover.ring(hangs_up_after=case.hangs_up_after)
    handover.run(3)
    again = handover.ask(leg) is None
    handover.run(LEASE if again else 0)
    if again and rescue != "not told twice":
        handover.ask(leg)
    handover.run(240)
    assert not table.fate.get(write[0])
    assert not wire.fate.get(request[0])
    return Played(handover, leg, table.writes, wire.requests)


def no_music(asked: Asked) -> None:
    """The webhook of the hold music is down, so the caller hears nothing and nobody looks after them there."""
    if asked.path == routes.MUSIC:
        raise Killed


def assert_cared_for(played: Played, ends: frozenset[str]) -> None:
    """What holds whatever happened."""
    handover, leg = played.handover, played.leg
    told = f"\n{handover.story(leg)}"
    end = handover.callers_end(leg)
    assert end in ends, told
    # At most one person was called, and none is left alone on the line.
    assert len(handover.persons()) <= 1, told
    assert all(person.over for person in handover.persons()) or end == "person", told
    # The assistant took the caller back at most once: a second turn would cut the first one off.
    assert handover.story(leg).count("is connected to the assistant") <= 2, told
    stored = transfers.load(handover.store, leg.sid, handover.clock.now)
    if stored:
        assert stored.state in ((State.BRIDGED,) if end == "person" else OVER), told
        assert stored.due == 0 or not handover.sweeps, told


@pytest.mark.parametrize("rescue", RESCUES)
@pytest.mark.parametrize("name", CASES)
def test_whoever_dies_is_replaced(name: str, rescue: str) -> None:
    case = CASES[name]
    whole = play(case, rescue)
    assert_cared_for(whole, case.ends)
    troubles = [*product(["write"], range(1, whole.writes + 1), WRITES)]
    troubles += product(["request"], range(1, whole.requests + 1), REQUESTS)
    for kind, number, fate in troubles:
        played = play(case, rescue, **{kind: (number, fate)})
        try:
            assert_cared_for(played, case.ends)
            if (kind, fate) == ("write", "answer lost"):
                # The SDK asked for it once more, and so nothing has happened at all.
                assert steps(played) == steps(whole)
        except AssertionError as error:
            raise AssertionError(f"{kind} {number} {fate}: {error}") from error


def steps(played: Played) -> str:
    """The steps that the transfer took, and when."""
    return played.handover.story(played.leg).rpartition("\n")[2]


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        ("answer lost", "person"),  # it was placed: its own callbacks say so
        ("not done", "assistant"),  # it was not: nothing ever comes, and the caller is taken back when it is due
    ],
)
def test_a_call_that_was_perhaps_placed_is_waited_for_and_never_placed_again(trouble: str, ends: str) -> None:
    played = play(CASES["takes"], request=(2, trouble))

    placed = [request for request in played.handover.requests if request.url.path.endswith("/Calls.json")]
    assert len(placed) == 1
    assert played.handover.callers_end(played.leg) == ends
    if ends == "assistant":
        (back,) = played.handover.backs
        assert back.outcome == "failed"
        due = transfers.RING_SECONDS + transfers.LATE_SECONDS
        ended_at = (played.handover.store.get(transfers.key(played.leg.sid)) or {})["failed_at"] / 1000
        assert 0 <= ended_at - (played.leg.began + 5 + due) <= 10


@pytest.mark.parametrize("trouble", ["answer lost", "not done"])
def test_a_move_that_was_perhaps_made_is_made_again(trouble: str) -> None:
    played = play(CASES["takes"], request=(1, trouble))

    assert played.handover.callers_end(played.leg) == "person"
    moves = [request for request in played.handover.requests if b"voice%2Fhold" in request.content]
    assert len(moves) == 2


@pytest.mark.parametrize("second", ["timeout", "limit", "refuse"])
def test_a_move_that_stays_in_doubt_calls_nobody(clock: Clock, second: Literal["timeout", "limit", "refuse"]) -> None:
    handover = Handover(SETTINGS, clock, Memory(), CASES["takes"].person)
    handover.exchange.fail("update", "timeout")
    handover.exchange.fail("update", second)
    leg = handover.ring()

    assert handover.ask(leg) is None
    assert (handover.persons(), handover.callers_end(leg)) == ([], "assistant")
    handover.run(100)

    # Nobody asked again, and the caller was never moved: they are left where they are.
    assert (handover.stored(leg).state, handover.callers_end(leg), handover.backs) == ("returned", "assistant", [])


def test_with_the_table_down_the_music_brings_the_caller_back_in_the_end(clock: Clock) -> None:
    handover = Handover(SETTINGS, clock, Memory(), Person(behaviour="no-answer", answers_after=900))
    leg = handover.ring()
    handover.ask(leg)
    handover.run(10)
    handover.switch = handover.switch._replace(store=Down())
    handover.told_twice = False

    handover.run(8 * transfers.LONGEST_TURNS - 40)
    assert handover.callers_end(leg) == "lost"
    handover.run(60)

    assert handover.callers_end(leg) == "assistant"


class Down(Memory):
    """A table that does not answer."""

    def get(self, key: Key) -> Item | None:
        """Nothing."""
        raise Unavailable("table")


# The table of steps


def stored_in(table: Memory, state: State, **more: Any) -> Moved:
    """A transfer that has got as far as this."""
    item = {"v": 1, "n": 1, "state": state.value, "to": "reception", "call_id": CALL, "asked_by": "row"}
    item |= {"account": development.TWILIO_ACCOUNT_SID, "summary": "", "exp": int(Clock().now) + 3600, **more}
    table.put(Put({**transfers.key(CALLER_SID)._asdict(), **item}))
    stored = transfers.load(table, CALLER_SID, Clock().now)
    assert stored
    return stored


def test_the_steps_are_those_that_are_promised() -> None:
    on = {state: "|".join(sorted(to - set(OVER))) for state, to in MOVES.items()}

    assert on == {
        "requested": "holding",
        "holding": "failed|ringing",
        "ringing": "briefing|busy|declined|failed|no_answer",
        "briefing": "bridged|declined|failed|voicemail",
        "bridged": "failed",
        **dict.fromkeys(("no_answer", "busy", "declined", "voicemail", "failed", "returned", "gone"), ""),
    }
    assert {state for state, to in MOVES.items() if not to} == set(OVER)
    assert all(set(OVER) <= to for state, to in MOVES.items() if state not in OVER)


@pytest.mark.parametrize(("from_", "to"), [*product(State, State)])
def test_a_step_is_taken_if_the_table_of_steps_has_it(from_: State, to: State) -> None:
    table = Memory()
    before = stored_in(table, from_)

    moved = transfers._move(table, before, to, 1.0)

    assert (moved is not None) == (to in MOVES[from_])
    assert (transfers.load(table, CALLER_SID, 1.0) or before).state == (to if moved else from_)


@pytest.mark.parametrize("one", [pair for pair in product(State, State) if pair[1] in MOVES[pair[0]]])
def test_of_two_who_take_a_step_from_the_same_place_one_does(one: tuple[State, State]) -> None:
    table = Memory()
    seen = stored_in(table, one[0])
    for other in MOVES[one[0]]:
        stored_in(table, one[0])
        first = transfers._move(table, seen, one[1], 1.0)
        second = transfers._move(table, seen, other, 2.0)

        assert first
        assert second is None


def test_a_step_of_an_earlier_transfer_changes_nothing_in_a_later_one() -> None:
    table = Memory()
    seen = stored_in(table, State.RINGING)
    stored_in(table, State.RINGING, n=2)

    assert transfers._move(table, seen, State.BUSY, 1.0) is None


# Any order


def asked(path: str, sid: str, n: int = 1, **more: str) -> Asked:
    """A request of Twilio's."""
    query = {"call": CALLER_SID, "n": str(n)} | {name: more.pop(name) for name in ("after",) if name in more}
    fields = {"CallSid": sid, "AccountSid": development.TWILIO_ACCOUNT_SID, "CallStatus": "in-progress"}
    return Asked({**fields, **more}, path, query)


class Anybody:
    """A transfer on whose routes anything may be asked, by a Twilio that only counts."""

    def __init__(self, state: State = State.REQUESTED, **more: Any) -> None:
        self.clock = Clock()
        self.table = Memory()
        self.handover = Handover(SETTINGS, self.clock, self.table, Person())
        self.handover.rest = lambda request: httpx.Response(
            201 if request.url.path.endswith("Calls.json") else 200, json={"sid": PERSON_SID, "status": "in-progress"}
        )
        facts = {"account": development.TWILIO_ACCOUNT_SID, "dialled": "+15555550100"}
        legs.open_leg(self.table, CALLER_SID, facts, 1800, self.clock.now)
        if more or state is not State.REQUESTED:
            stored_in(self.table, state, **more)

    @property
    def state(self) -> State | None:
        """Where it stands."""
        stored = transfers.load(self.table, CALLER_SID, self.clock.now)
        return stored.state if stored else None

    def forms(self) -> list[str]:
        """What was asked of Twilio, as paths and forms."""
        return [f"{request.url.path} {request.content.decode()}" for request in self.handover.requests]

    def start(self) -> object:
        """The tool, for the first time or again."""
        switch, now = self.handover.switch, self.clock.now
        return transfers.start(switch, CALLER_SID, CALL, "reception", "x", now, asked_by="row")

    def sweep(self) -> object:
        """The sweeper looks."""
        return transfers.sweep(self.handover.switch, transfers.key(CALLER_SID), self.clock.now)

    def wait(self) -> None:
        """Time goes by."""
        self.clock.advance(20)

    def webhook(self, one: Asked) -> Act:
        """Twilio asks."""
        return lambda: self.handover.answer(one)


def everything(anybody: Anybody) -> dict[str, Act]:
    """All that may happen to a transfer."""
    caller = CALLER_SID
    webhooks = {
        "hold": asked(routes.HOLD, caller),
        "music": asked(routes.MUSIC, caller),
        "back": asked(routes.BACK, caller),
        "back, hung up": asked(routes.BACK, caller, CallStatus="completed"),
        "hung up": asked(routes.STATUS, caller, CallStatus="completed"),
        "brief": asked(routes.BRIEF, PERSON_SID),
        "key": asked(routes.ACCEPT, PERSON_SID, after="opening", Digits="5"),
        "no key": asked(routes.ACCEPT, PERSON_SID, after="opening", Digits=""),
        "one": asked(routes.ACCEPT, PERSON_SID, after="summary", Digits="1"),
        "two": asked(routes.ACCEPT, PERSON_SID, after="summary", Digits="2"),
        "stranger's one": asked(routes.ACCEPT, OTHER_SID, after="summary", Digits="1"),
        "stranger's brief": asked(routes.BRIEF, OTHER_SID),
        "another transfer's one": asked(routes.ACCEPT, PERSON_SID, 2, after="summary", Digits="1"),
        **{
            status: asked(routes.LEG, PERSON_SID, CallStatus=status)
            for status in ("initiated", "ringing", "in-progress", *legs.OVER)
        },
    }
    acts: dict[str, Act] = {name: anybody.webhook(one) for name, one in webhooks.items()}
    return acts | {"start": anybody.start, "sweep": anybody.sweep, "wait": anybody.wait}


NAMES = sorted(everything(Anybody()))


@example_settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NAMES), max_size=25))
def test_in_any_order_and_any_repetition_the_steps_are_legal_and_end(names: list[str]) -> None:
    anybody = Anybody()
    acts = everything(anybody)
    anybody.start()
    joined = set()
    for name in names:
        before = anybody.state
        answer = acts[name]()
        after = anybody.state
        assert before
        assert after
        assert after == before or reachable(before, after), name
        if "<Conference" in str(answer) and name not in ("hold",):
            joined.add(name)
            assert after is State.BRIDGED
    # Only the person who was called, and pressed 1 for this transfer, is ever let into the room.
    assert joined <= {"one"}
    assert len([form for form in anybody.forms() if "/Calls.json" in form]) == 1
    # Then nothing more comes, but the music and the sweeper; a person who is in a room goes on talking.
    for _ in range(20):
        anybody.wait()
        acts["music"]()
        anybody.sweep()
    final = anybody.state
    stored = transfers.load(anybody.table, CALLER_SID, anybody.clock.now)
    assert stored
    # The caller was asked to come back until they did, or there is nobody to bring back.
    assert final in (*UNANSWERED, State.BRIDGED, *OVER)
    if final in UNANSWERED:
        assert "voice%2Fback" in anybody.forms()[-1]
    else:
        assert stored.due == 0


def reachable(before: State, after: State) -> bool:
    """Whether some steps lead from one to the other: a single act may take two."""
    return after in MOVES[before] or any(reachable(step, after) for step in MOVES[before])


@example_settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(CASES)), st.integers(0, 2**20), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))
)
def test_duplicates_late_ones_and_reordered_ones_change_nothing(
    name: str, seed: int, late: list[tuple[int, int]]
) -> None:
    case = CASES[name]
    callbacks = Callbacks(duplicate=0.5, reorder=0.5, delay=3)
    handover = Handover(SETTINGS, Clock(), Memory(), case.person, callbacks, seed)
    seen: list[Asked] = []

    def replay(one: Asked) -> None:
        """Earlier requests come once more, right before this one."""
        for at, which in late:
            if at == len(seen) and which < at:
                handover.answer(seen[which])
        seen.append(one)

    handover.before = replay
    leg = handover.ring(hangs_up_after=case.hangs_up_after)
    handover.run(3)
    handover.ask(leg)
    handover.run(240)

    assert_cared_for(Played(handover, leg, 0, 0), case.ends)
    if name == "takes":
        assert handover.callers_end(leg) == "person"


# Late, and too late


def test_a_person_who_presses_one_after_the_caller_has_left_hears_so() -> None:
    for state in (*UNANSWERED, *OVER, *set(WAITING) - {State.BRIEFING}):
        anybody = Anybody(state, leg=PERSON_SID)

        answer = str(everything(anybody)["one"]())

        assert transfers.NOBODY in answer
        assert "<Hangup" in answer
        assert anybody.state is state


def test_a_person_who_picks_up_after_the_caller_has_left_hears_so() -> None:
    for state in (*UNANSWERED, *OVER):
        anybody = Anybody(state)

        assert transfers.NOBODY in str(everything(anybody)["brief"]())
        assert anybody.state is state


@pytest.mark.parametrize(
    ("state", "name"),
    [(State.RINGING, "brief"), (State.BRIEFING, "key"), (State.BRIEFING, "one"), (State.BRIDGED, "one")],
)
def test_a_leg_that_the_transfer_does_not_know_gets_nowhere(state: State, name: str) -> None:
    anybody = Anybody(state, leg=OTHER_SID)

    assert transfers.NOBODY in str(everything(anybody)[name]())
    assert (anybody.state, anybody.forms()) == (state, [])


def test_another_request_does_not_go_on_where_the_first_one_stopped() -> None:
    for state in WAITING:
        anybody = Anybody(state, asked_by="another row")

        anybody.start()

        assert (anybody.state, anybody.forms()) == (state, [])


def test_two_presses_bridge_once() -> None:
    anybody = Anybody(State.BRIEFING, leg=PERSON_SID)
    press = everything(anybody)["one"]

    first, second = press(), press()

    assert first == second
    assert f"transfer-{CALLER_SID}" in str(first)
    assert anybody.state is State.BRIDGED


@pytest.mark.parametrize("state", [*UNANSWERED, *OVER, State.HOLDING])
def test_a_leg_that_rings_for_nobody_is_hung_up(state: State) -> None:
    anybody = Anybody(state)

    everything(anybody)["ringing"]()

    assert anybody.forms()[-1].endswith(f"{PERSON_SID}.json Status=completed")


def test_a_second_leg_of_one_transfer_is_hung_up() -> None:
    anybody = Anybody(State.RINGING, leg=OTHER_SID)

    everything(anybody)["ringing"]()

    assert anybody.forms() == [f"{anybody.handover.requests[0].url.path} Status=completed"]
    assert PERSON_SID in anybody.forms()[0]


def test_a_leg_that_is_placed_while_the_caller_hangs_up_is_hung_up() -> None:
    anybody = Anybody()
    answer = anybody.handover.rest

    def placed_too_late(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/Calls.json"):
            transfers.caller_gone(anybody.handover.switch, CALLER_SID, anybody.clock.now)
        return answer(request)

    anybody.handover.rest = placed_too_late
    anybody.start()

    assert anybody.state is State.GONE
    assert anybody.forms()[-1].endswith(f"{PERSON_SID}.json Status=completed")


def test_a_person_in_the_room_is_left_alone_by_late_music() -> None:
    anybody = Anybody(State.BRIDGED, leg=PERSON_SID, bridged_at=int(Clock().now * 1000))
    anybody.clock.advance(60)

    everything(anybody)["music"]()

    assert anybody.state is State.BRIDGED
    assert [request.method for request in anybody.handover.requests] == ["GET"]


def test_music_right_after_a_person_has_pressed_one_asks_nobody() -> None:
    anybody = Anybody(State.BRIDGED, leg=PERSON_SID, bridged_at=int(Clock().now * 1000))
    anybody.clock.advance(transfers.JOIN_SECONDS - 1)

    everything(anybody)["music"]()

    assert anybody.forms() == []


def test_the_sweeper_leaves_alone_what_is_not_due() -> None:
    due = int(Clock().now) + 10
    anybody = Anybody(State.HOLDING, g1pk="OPEN#1", g1sk=due)

    assert not anybody.sweep()
    assert anybody.state is State.HOLDING
    anybody.clock.advance(10)
    assert anybody.sweep()
    assert str(anybody.state) == "failed"


def test_the_sweeper_knows_nothing_of_a_transfer_that_is_not_there() -> None:
    assert not Anybody().sweep()


def test_the_index_of_unfinished_items_has_every_transfer_that_is() -> None:
    anybody = Anybody()
    anybody.start()

    found = [key for shard in range(OPEN_SHARDS) for key in anybody.table.due(f"OPEN#{shard}", int(Clock().now) + 60)]

    assert transfers.key(CALLER_SID) in found
