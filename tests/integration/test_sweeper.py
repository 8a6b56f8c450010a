"""The sweeper: nothing that was accepted stays unfinished past its deadline and ninety seconds."""

import uuid
from typing import Any

import pytest

from switchboard import toolcalls, worker
from switchboard.errors import Unavailable
from switchboard.store import Check, Key, Store
from switchboard.sweeper import Broom, sweep
from switchboard.toolcalls import Delivery, Row, State
from tests.integration import test_worker
from tests.integration.conftest import CALL, House, Ledger, Vapis
from tests.integration.test_worker import KEY, crashed_after_claim, crashed_after_intent, row
from tests.integration.test_worker import ask as accept


@pytest.fixture
def live_call(house: House) -> House:
    """A call under way."""
    test_worker.say(house, "status-update", status="in-progress")
    return house


def broom(house: House) -> Broom:
    """The sweeper of the house."""
    return Broom(house.store, house.desk.live_queue, house.clock)


def lose_tickets(house: House) -> None:
    """Nothing is left on the queue, as after a crash between storing and sending."""
    house.aws.sqs.purge_queue(QueueUrl=house.settings.live_queue)


def is_open(house: House) -> bool:
    """Whether the tool call is in the index of unfinished ones."""
    return "g1pk" in house.items(KEY.pk)[KEY.sk]


def finish(house: House, minutes: int = 2) -> None:
    """Let the sweeper and the worker go on for so long."""
    for _ in range(minutes):
        sweep(broom(house))
        while house.run(house.live):
            pass
        house.clock.advance(45)


def claim_delivery(house: House) -> None:
    """Somebody begins to speak the result."""
    session = Check(Key(KEY.pk, "META"), "attribute_exists(#pk)")
    assert toolcalls.claim_delivery(house.store, row(house), session, str(uuid.uuid4()), house.clock())


def test_a_call_whose_ticket_was_lost_expires_and_is_said_to(live_call: House, ledger: Ledger, vapis: Vapis) -> None:
    accept(live_call)
    lose_tickets(live_call)
    assert sweep(broom(live_call)) == 0
    live_call.clock.advance(60)
    finish(live_call, 1)

    assert (ledger.effects, row(live_call).state) == ([], State.EXPIRED)
    assert vapis.requests[0][1]["message"]["content"].startswith("The tool move was not done.")
    assert not is_open(live_call)


@pytest.mark.parametrize(
    ("name", "arguments", "state"),
    [
        ("pay", {"amount": 1}, State.UNKNOWN),
        ("move", {"to": "x"}, State.UNKNOWN),
        ("search", {"what": "x"}, State.EXPIRED),
    ],
)
def test_a_call_whose_worker_died_after_it_began_is_closed_by_its_class(
    live_call: House, ledger: Ledger, name: str, arguments: dict[str, Any], state: State
) -> None:
    crashed_after_intent(live_call, accept(live_call, name, **arguments))
    lose_tickets(live_call)
    live_call.clock.advance(60)
    finish(live_call)

    assert (row(live_call).state, ledger.effects) == (state, [])
    assert not is_open(live_call)


def test_a_worker_that_is_still_at_it_is_left_alone(live_call: House) -> None:
    claimed = crashed_after_claim(live_call, accept(live_call))
    assert claimed
    live_call.clock.advance(59)
    assert toolcalls.claim(live_call.store, claimed, "late", live_call.clock(), 8)
    live_call.clock.advance(2)

    assert sweep(broom(live_call)) == 0
    assert row(live_call).state is State.RUNNING


def committed(house: House) -> None:
    """A result that is recorded, and whose worker died before it was spoken."""
    accept(house)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_speak", lambda *_: None)
        house.run(house.live)
    assert row(house).delivery is Delivery.PENDING


def test_a_result_that_was_never_spoken_is_spoken_or_closed(live_call: House, vapis: Vapis) -> None:
    committed(live_call)
    live_call.clock.advance(60)
    finish(live_call, 1)

    assert row(live_call).delivery is Delivery.DELIVERED
    assert len(vapis.requests) == 1


def test_a_delivery_whose_owner_died_is_never_sent_again(live_call: House, vapis: Vapis) -> None:
    committed(live_call)
    claim_delivery(live_call)
    live_call.clock.advance(60)
    finish(live_call, 1)

    assert vapis.requests == []
    assert row(live_call).delivery is Delivery.UNDELIVERABLE
    assert not is_open(live_call)


def test_a_delivery_whose_owner_died_is_told_to_whoever_follows_up_once(live_call: House) -> None:
    told: list[tuple[str, str, State, str]] = []
    telling = broom(live_call)._replace(
        undelivered=lambda row, reason: told.append((row.call_id, row.tool, row.state, reason))
    )
    committed(live_call)
    claim_delivery(live_call)
    live_call.clock.advance(60)
    for _ in range(2):
        sweep(telling)

    assert told == [(CALL, "move", State.SUCCEEDED, "owner_lost")]


def test_a_delivery_whose_owner_comes_back_in_the_last_moment_is_told_to_nobody(
    live_call: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    committed(live_call)
    claim_delivery(live_call)
    live_call.clock.advance(60)
    void = toolcalls.void_delivery

    def late(store: Store, claimed: Row, before: float) -> bool:
        owner = row(live_call).delivery_owner
        assert toolcalls.end_delivery(store, claimed, owner, Delivery.DELIVERED, "speak")
        return void(store, claimed, before)

    monkeypatch.setattr(toolcalls, "void_delivery", late)

    assert sweep(broom(live_call)._replace(undelivered=lambda _, reason: told.append(reason))) == 0
    assert told == []
    assert row(live_call).delivery is Delivery.DELIVERED


def test_a_delivery_under_way_is_left_to_its_owner(live_call: House) -> None:
    committed(live_call)
    live_call.clock.advance(60)
    claim_delivery(live_call)
    live_call.clock.advance(14)
    sweep(broom(live_call))

    assert row(live_call).delivery is Delivery.CLAIMED


def test_an_after_call_tool_is_not_due_before_the_call_has_ended(live_call: House) -> None:
    accept(live_call, "send", text="Bye")
    live_call.clock.advance(2 * 3600)

    assert sweep(broom(live_call)) == 0
    assert row(live_call).state is State.RECEIVED


def test_an_after_call_tool_whose_end_never_came_is_closed_after_the_longest_call(live_call: House) -> None:
    accept(live_call, "send", text="Bye")
    live_call.clock.advance(13 * 3600)
    finish(live_call, 1)

    assert (row(live_call).state, row(live_call).delivery) == (State.EXPIRED, Delivery.NONE)
    assert not is_open(live_call)


def test_what_is_finished_is_not_looked_at(live_call: House) -> None:
    accept(live_call)
    live_call.run(live_call.live)
    live_call.clock.advance(3600)
    live_call.aws.wire.take()

    assert sweep(broom(live_call)) == 0
    assert live_call.aws.wire.take() == ["Query"] * 8


def test_one_that_cannot_be_moved_does_not_keep_the_others_waiting(
    live_call: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        accept(live_call, "move", f"call_{number}", to="x")
    live_call.clock.advance(60)
    original = toolcalls.settle
    failed: list[str] = []

    def sometimes(store: Any, stuck: Any, *rest: Any) -> Any:
        if not failed:
            failed.append(stuck.key.sk)
            raise Unavailable("table: ThrottlingException")
        return original(store, stuck, *rest)

    monkeypatch.setattr(toolcalls, "settle", sometimes)

    assert sweep(broom(live_call)) == 2
    assert sweep(broom(live_call)) == 3  # the stuck one, and the other two's results, which nobody has spoken yet
