"""Replays, duplicates and wrong orders: whatever the network does to a call's messages, they end in the same items.

There is no list of deliveries seen. Every write is a conditional merge and every answer is read again from what was
stored, so a message that comes twice, late or before its time has nothing left to change.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from switchboard import lanes, telemetry, webhook
from switchboard.desk import Agent
from switchboard.settings import Settings
from switchboard.store import Item, Key
from switchboard.tools import Toolbox
from tests import recorded
from tests.conftest import NOW, Clock
from tests.integration.conftest import House, Ledger, message, tool_call
from tests.twin import Twin, twin

# The same examples on every day, other ones every night; a failure says which: SWITCHBOARD_SEED=… repeats that night.
SEED = 20260820
NIGHT = int(os.environ.get("SWITCHBOARD_SEED") or time.time())
REPLAYS = 100
HOUR = 3600
READS = {"look_up", "search"}  # what only looks may look again
ONCE = Counter({"book": 4, "pay": 1, "send Thursday at two": 1})  # a `keyed` effect is counted by its key, see below


def effects(ledger: Ledger) -> Counter[str]:
    """What was done outside, look-ups left out."""
    return Counter(effect for effect in ledger.effects if effect not in READS)


def is_key(effect: str) -> bool:
    """Whether an effect is known by its idempotency key."""
    return len(effect) == 43


def check_effects(ledger: Ledger) -> None:
    """Everything that the recorded call asks for was done exactly once."""
    done = effects(ledger)
    keys = [effect for effect in done if is_key(effect)]

    assert [done[key] for key in keys] == [1]
    assert done - Counter(keys) == ONCE


OWNERS = ("owner", "delivery_owner")


def rest(items: dict[Key, Item]) -> dict[Key, Item]:
    """Items without the random names of who ran and who spoke them."""
    return {key: {name: item[name] for name in item if name not in OWNERS} for key, item in items.items()}


def play(backend: Twin, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send signed events and return the answers."""
    return [webhook.respond(backend.desk, event) for event in events]


@pytest.fixture
def backend(agent: Agent, settings: Settings, clock: Clock) -> Twin:
    """A backend on the twin of the table, at the end of the recorded call."""
    return fresh(agent, settings, clock)


def fresh(agent: Agent, settings: Settings, clock: Clock) -> Twin:
    """A backend that has seen nothing; the recorded call has begun a minute ago."""
    clock.now = NOW + 60
    return twin(agent, settings, clock)


def events_of(backend: Twin) -> list[dict[str, Any]]:
    """The recorded call, signed."""
    return [backend.event(body) for body in recorded.messages(NOW)]


def test_the_recorded_call_is_a_whole_one() -> None:
    told = recorded.messages(NOW)
    calls = [entry for body in told for entry in body.get("toolCallList", []) + body.get("toolCalls", [])]

    assert len(told) >= 20
    assert {"assistant-request", "tool-calls", "function-call", "end-of-call-report"} <= {body["type"] for body in told}
    assert len(calls) >= 10
    assert len({json.dumps(body) for body in told}) == len(told)
    assert told[-1]["timestamp"] - told[0]["timestamp"] < 60_000


def test_a_whole_call_replayed_a_hundred_times_changes_nothing(backend: Twin, ledger: Ledger) -> None:
    events = events_of(backend)
    first = play(backend, events)
    backend.drain()
    items = backend.store.living(0)
    assert {answer["statusCode"] for answer in first} == {200}
    assert {key.sk.partition("#")[0] for key in items} == {"META", "REPORT", "ANSWER", "TOOL", "TR"}
    check_effects(ledger)

    for replay in range(REPLAYS):
        backend.clock.now = NOW + 60 + replay * 2
        assert play(backend, events) == first
        backend.drain()

    assert backend.store.living(0) == items
    check_effects(ledger)


def test_after_the_window_every_replay_is_refused(backend: Twin, ledger: Ledger) -> None:
    events = events_of(backend)
    play(backend, events)
    backend.drain()
    items, done = backend.store.living(0), list(ledger.effects)
    backend.clock.advance(backend.settings.tolerance + 1)

    assert {answer["statusCode"] for answer in play(backend, events)} == {401}
    assert backend.store.living(0) == items
    assert ledger.effects == done
    assert backend.run(backend.live) == backend.run(backend.after) == 0


def test_every_delivery_may_come_in_hundreds_before_anything_is_worked_off(backend: Twin, ledger: Ledger) -> None:
    for event in events_of(backend):
        answers = play(backend, [event] * REPLAYS)
        assert answers == [answers[0]] * REPLAYS
    backend.drain()

    check_effects(ledger)


def test_the_twin_ends_in_the_items_that_dynamodb_holds(house: House, ledger: Ledger, settings: Settings) -> None:
    house.clock.now = NOW + 60
    backend = twin(house.desk.agent, settings, house.clock)
    for body in recorded.messages(NOW):
        there, here = webhook.respond(house.desk, house.event(body)), webhook.respond(backend.desk, backend.event(body))
        assert there == here
    while house.run(house.live) + house.run(house.after):
        pass
    backend.drain()

    found = house.aws.dynamodb.scan(TableName=settings.table, ConsistentRead=True)["Items"]
    keys = [Key(item["pk"]["S"], item["sk"]["S"]) for item in found]
    assert rest({key: house.store.get(key) or {} for key in keys}) == rest(backend.store.living(0))


def examples(number: int, seed: int) -> Callable[[Any], Any]:
    """So many examples from this seed, which a failure names."""
    print(f"SWITCHBOARD_SEED={seed}")

    def decorate(test: Any) -> Any:
        made = hypothesis.settings(
            max_examples=number,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )
        return hypothesis.seed(seed)(made(test))

    return decorate


COUNT = len(recorded.messages(NOW))
# Every message at least once, some of them up to three times, in any order.
ORDERS = st.lists(st.integers(0, COUNT - 1), max_size=20).flatmap(
    lambda again: st.permutations([*range(COUNT), *again])
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A million lines of log are most of what such a test costs."""
    level = telemetry.logger.log_level
    telemetry.logger.setLevel(logging.ERROR)
    yield
    telemetry.logger.setLevel(level)


class Bare(NamedTuple):
    """What a fresh backend is made of, once more for every example."""

    agent: Agent
    settings: Settings
    clock: Clock
    ledger: Ledger

    def backend(self) -> Twin:
        """A backend that has seen nothing, and a world in which nothing was done."""
        self.ledger.effects.clear()
        return fresh(self.agent, self.settings, self.clock)


@pytest.fixture
def bare(agent: Agent, settings: Settings, clock: Clock, ledger: Ledger) -> Bare:
    """What backends are made of."""
    return Bare(agent, settings, clock, ledger)


def ends_alike(bare: Bare, number: int, seed: int) -> None:
    """Play the call in any order, over what an earlier, long forgotten call of the same id has left behind."""
    backend = bare.backend()
    in_order = play(backend, events := events_of(backend))
    backend.drain()
    expected = rest(backend.store.living(bare.clock()))

    @examples(number, seed)
    @given(order=ORDERS, earlier=st.lists(st.integers(0, COUNT - 1), max_size=12), deletes=st.booleans())
    def check(order: list[int], earlier: list[int], deletes: bool) -> None:
        backend = bare.backend()
        left_behind(backend, earlier)
        bare.ledger.effects.clear()
        for index in order:
            if deletes:
                backend.store.expire(bare.clock())
            assert play(backend, [events[index]]) == [in_order[index]]
        backend.drain()

        assert rest(backend.store.living(bare.clock())) == expected
        check_effects(bare.ledger)

    check()


def left_behind(backend: Twin, earlier: list[int]) -> None:
    """Items of a call that is over for so long that none of them counts; deleted or not, they must not matter."""
    now = backend.clock.now
    backend.clock.now -= 40 * HOUR
    old = recorded.messages(NOW - 40 * HOUR)
    play(backend, [backend.event(old[index]) for index in earlier])
    backend.forget(backend.live)
    backend.forget(backend.after)
    backend.clock.now = now


def test_any_order_with_any_repetition_ends_in_the_same_items(bare: Bare) -> None:
    ends_alike(bare, 200, SEED)


@pytest.mark.nightly
def test_any_order_with_any_repetition_ends_in_the_same_items_all_night(bare: Bare) -> None:
    ends_alike(bare, 2000, NIGHT)


# A message, or None for the workers, and the seconds that pass before it.
STEPS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, COUNT - 1)),
        st.sampled_from([0, 0, 0, 1, 30, 700, HOUR, 13 * HOUR, 25 * HOUR, 40 * HOUR]),
    ),
    max_size=40,
)


def lives(bare: Bare, steps: list[tuple[int | None, int]], deletes: bool) -> tuple[Any, ...]:
    """Answers, items that count, and effects of a call whose messages come late, each signed when it comes."""
    backend = bare.backend()
    told = recorded.messages(NOW)
    answers = []
    for index, seconds in [*steps, (None, 0)]:
        bare.clock.advance(seconds)
        if deletes:
            backend.store.expire(bare.clock())
        if index is None:
            # Not until nothing waits: a result for a caller who is speaking waits for time to pass.
            for _ in range(3):
                backend.run(backend.live)
                backend.run(backend.after)
        else:
            answers.append(webhook.respond(backend.desk, backend.event(told[index])))
    return answers, rest(backend.store.living(bare.clock())), sorted(bare.ledger.effects)


KINDS = [body["type"] for body in recorded.messages(NOW)]
SENDS = next(n for n, body in enumerate(recorded.messages(NOW)) if '"send"' in json.dumps(body.get("toolCallList", "")))


@pytest.mark.parametrize(
    "steps",
    [
        # The same utterance again, when its line has expired.
        [(KINDS.index("transcript") + 1, 0), (KINDS.index("transcript") + 1, 25 * HOUR)],
        # A result for a call whose session has expired.
        [(KINDS.index("status-update"), 0), (KINDS.index("tool-calls"), 40 * HOUR)],
        # The end of a call whose tool calls have expired: what was to be done after it is not done.
        [(SENDS, 0), (KINDS.index("end-of-call-report"), 40 * HOUR)],
    ],
    ids=["utterance", "session", "tool call"],
)
def test_what_has_expired_counts_no_more(bare: Bare, steps: list[tuple[int | None, int]]) -> None:
    assert lives(bare, steps, deletes=False) == lives(bare, steps, deletes=True)


def nobody_can_tell(bare: Bare, number: int, seed: int) -> None:
    """Deleting what has expired, or not, changes nothing that anybody sees."""

    @examples(number, seed)
    @given(steps=STEPS)
    def check(steps: list[tuple[int | None, int]]) -> None:
        assert lives(bare, steps, deletes=True) == lives(bare, steps, deletes=False)

    check()


def test_nobody_can_tell_whether_dynamodb_has_deleted_what_expired(bare: Bare) -> None:
    nobody_can_tell(bare, 200, SEED)


@pytest.mark.nightly
def test_nobody_can_tell_whether_dynamodb_has_deleted_what_expired_all_night(bare: Bare) -> None:
    nobody_can_tell(bare, 2000, NIGHT)


def ask(backend: Twin, body: dict[str, Any]) -> Callable[[], Any]:
    """Send one message as often as wanted: the same bytes, the same signature."""
    event = backend.event(body)

    def send() -> Any:
        answer = webhook.respond(backend.desk, event)
        assert answer["statusCode"] == 200
        return json.loads(answer["body"])

    return send


@pytest.mark.parametrize("kind", ["transfer-destination-request", "handoff-destination-request"])
def test_a_replayed_request_for_a_destination_is_answered_as_at_first(backend: Twin, kind: str) -> None:
    numbers = iter(range(10))
    agent = backend.desk.agent._replace(
        destination=lambda _: {"type": "sip", "sipUri": f"sip:{next(numbers)}@x.example"}
    )
    backend = backend._replace(desk=backend.desk._replace(agent=agent))
    send, send_later = (ask(backend, message(kind, backend.clock, **fields)) for fields in ({}, {"timestamp": 1}))

    first = send()
    assert [send(), send()] == [first, first]
    assert send_later() != first
    backend.clock.advance(backend.settings.tolerance)
    assert send() == first


def test_two_requests_without_a_time_are_two(backend: Twin) -> None:
    numbers = iter(range(10))
    agent = backend.desk.agent._replace(
        destination=lambda _: {"type": "sip", "sipUri": f"sip:{next(numbers)}@x.example"}
    )
    backend = backend._replace(desk=backend.desk._replace(agent=agent))
    body = message("transfer-destination-request", backend.clock, timestamp=None)

    assert ask(backend, body)() != ask(backend, body)()
    assert backend.store.table == {}


def test_a_replayed_look_up_that_went_on_in_the_background_is_answered_as_at_first(
    backend: Twin, tools: Toolbox
) -> None:
    runs: list[float] = []

    @tools.tool(effect="read", timeout=0.05)
    def dawdle() -> str:
        """Take too long, the first time only."""
        runs.append(0.5 if not runs else 0)
        time.sleep(runs[-1])
        return "Found."

    send = ask(backend, message("tool-calls", backend.clock, toolCallList=[tool_call("dawdle", {})]))
    first = send()
    assert first["results"][0]["result"] == lanes.ACCEPTED
    assert send() == first
    backend.drain()
    assert send() == first
    runs.clear()
    assert send() == first  # and it is too slow again


def test_a_replay_after_an_interruption_is_told_what_was_done_before_it(
    backend: Twin, tools: Toolbox, ledger: Ledger
) -> None:
    @tools.tool(on_interrupt="cancel")
    def hang_up(why: Annotated[str, "Why."]) -> str:
        """End the call."""
        ledger.act("hang up")
        return "Ended."

    body = message("tool-calls", backend.clock, toolCallList=[tool_call("hang_up", {"why": "done"})])
    send, other = ask(backend, body), ask(backend, body | {"toolCallList": [tool_call("hang_up", {"why": "else"})]})
    first = send()
    backend.clock.advance(1)
    ask(backend, message("user-interrupted", backend.clock))()

    assert send() == first
    assert other()["results"][0]["error"] == lanes.CONFLICT
    assert ledger.effects == ["hang up"]
