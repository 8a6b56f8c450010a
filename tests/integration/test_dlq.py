"""Dead letters: what `switchboard dlq` shows, that nothing is lost on the way back, and that the row decides."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from devkit import deadletters
from devkit.deadletters import Lane
from devkit.errors import UserError
from switchboard import toolcalls
from switchboard.queue import Ticket
from tests.integration.conftest import CALL, House, Ledger
from tests.integration.test_worker import ask, row, say


class Emulated:
    """SQS without message move tasks, as the emulators have it."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def start_message_move_task(self, **_: str) -> None:
        """What ministack answers."""
        raise ClientError({"Error": {"Code": "InvalidAction"}}, "StartMessageMoveTask")


class Moving(Emulated):
    """SQS with message move tasks: the task ends as it is told to."""

    def __init__(self, sqs: Any, *statuses: str) -> None:
        super().__init__(sqs)
        self.statuses = list(statuses)
        self.asked: list[dict[str, str]] = []

    def start_message_move_task(self, **arguments: str) -> None:
        """Remember what was asked."""
        self.asked.append(arguments)

    def list_message_move_tasks(self, **_: Any) -> dict[str, Any]:
        """The task so far."""
        status = self.statuses.pop(0)
        return {"Results": [{"Status": status, "ApproximateNumberOfMessagesMoved": 1, "FailureReason": "no right"}]}


@pytest.fixture
def lane(house: House) -> Lane:
    """The live lane, with a dead-letter queue."""
    dead = house.aws.sqs.create_queue(QueueName="switchboard-live-dlq")["QueueUrl"]
    say(house, "status-update", status="in-progress")
    return Lane("live", house.settings.live_queue, dead)


def bury(house: House, lane: Lane, body: str) -> None:
    """Put a message among the dead."""
    house.aws.sqs.send_message(QueueUrl=lane.dead, MessageBody=body)


def give_up(house: House, lane: Lane, id: str, name: str = "move", **arguments: Any) -> None:
    """A tool call whose ticket ended as a dead letter."""
    ask(house, name, id, **arguments)
    house.aws.sqs.purge_queue(QueueUrl=lane.queue)
    bury(house, lane, Ticket(CALL, f"TOOL#{id}").body())


def waiting(house: House, url: str) -> int:
    """How many messages can be received."""
    found = house.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def test_a_list_shows_ids_and_states_and_takes_nothing_away(house: House, lane: Lane) -> None:
    give_up(house, lane, "call_1")
    bury(house, lane, Ticket(CALL, "TOOL#gone").body())
    bury(house, lane, "not ours")

    head, *lines = deadletters.listing(house.aws.sqs, house.store, lane, house.clock())
    assert head.split() == ["LANE", "CALL", "TOOL", "CALL", "FOR", "AGE", "RECEIVED", "STATE"]
    [ours, gone, strange] = sorted(lines, key=lambda line: ("move" not in line, "gone" not in line))
    assert CALL in ours
    assert "call_1" in ours
    assert ours.endswith("move RECEIVED, delivery none")
    assert gone.endswith("no such tool call (any more)")
    assert strange.endswith("not a ticket")
    assert "not ours" not in strange  # what somebody else wrote may be anything
    assert waiting(house, lane.dead) == 3


def test_more_letters_than_one_answer_holds_are_all_listed(house: House, lane: Lane) -> None:
    for number in range(23):
        bury(house, lane, Ticket(CALL, f"TOOL#{number}").body())

    assert len(deadletters.listing(house.aws.sqs, house.store, lane, house.clock())) == 24
    assert waiting(house, lane.dead) == 23


def test_without_dead_letters_both_say_so(house: House, lane: Lane) -> None:
    assert deadletters.listing(house.aws.sqs, house.store, lane, house.clock()) == ["live: no dead letters"]
    assert deadletters.redrive(house.aws.sqs, house.store, lane) == ["live: no dead letters"]


def test_a_redriven_ticket_runs_what_never_ran_and_nothing_else(house: House, lane: Lane, ledger: Ledger) -> None:
    ask(house, "pay", "paid", amount=1)
    house.run(house.live)
    give_up(house, lane, "call_1")
    bury(house, lane, Ticket(CALL, "TOOL#paid").body())
    assert ledger.effects == ["pay"]

    said = deadletters.redrive(Emulated(house.aws.sqs), house.store, lane)
    assert said[0] == "live: moved 2 of 2, now it is up to the tool calls:"
    assert any("pay SUCCEEDED" in line and line.endswith("nothing more happens") for line in said)
    assert any("move RECEIVED" in line and "runs, unless its deadline is over" in line for line in said)
    assert (waiting(house, lane.dead), waiting(house, lane.queue)) == (0, 2)

    while house.run(house.live):
        pass
    assert ledger.effects == ["pay", row(house).idempotency_key]


def test_sqs_moves_them_itself_where_it_can(house: House, lane: Lane) -> None:
    give_up(house, lane, "call_1")
    sqs = Moving(house.aws.sqs, "RUNNING", "COMPLETED")

    assert deadletters.redrive(sqs, house.store, lane)[0].startswith("live: moved 1 of 1")
    [asked] = sqs.asked
    assert asked["SourceArn"].endswith(":switchboard-live-dlq")
    assert asked["DestinationArn"].endswith(":switchboard-live")
    # They were let go before: what is held by a look would be left behind.
    assert waiting(house, lane.dead) == 1


def test_a_move_that_fails_is_said(house: House, lane: Lane) -> None:
    give_up(house, lane, "call_1")

    with pytest.raises(UserError, match="no right"):
        deadletters.redrive(Moving(house.aws.sqs, "FAILED"), house.store, lane)


def test_a_refusal_is_no_reason_to_carry_them_by_hand(house: House, lane: Lane) -> None:
    give_up(house, lane, "call_1")
    sqs = Emulated(house.aws.sqs)
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "StartMessageMoveTask")

    def refuse(**_: str) -> None:
        raise denied

    sqs.start_message_move_task = refuse  # type: ignore[method-assign]
    with pytest.raises(ClientError, match="AccessDenied"):
        deadletters.redrive(sqs, house.store, lane)
    assert waiting(house, lane.queue) == 0


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [("pay", {"amount": 1}, "is not run again"), ("move", {"to": "x"}, "runs again")],
)
def test_what_is_said_of_an_attempt_that_died_follows_its_effect(
    house: House, lane: Lane, name: str, arguments: dict[str, Any], words: str
) -> None:
    give_up(house, lane, "call_1", name, **arguments)
    claimed = toolcalls.claim(house.store, row(house), "dead", house.clock(), 8)
    assert claimed
    assert toolcalls.begin(house.store, claimed)

    [letter] = deadletters.look(house.aws.sqs, house.store, lane)
    assert words in deadletters.prospect(letter)
