"""What one background tool call costs: write units and messages, counted from the requests that are really sent."""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from switchboard import webhook
from switchboard.tools import Toolbox
from switchboard.worker import work
from tests.integration.conftest import CALL, Aws, House, Vapis, message, tool_call
from tests.integration.test_worker import TICKET
from tests.units import KB, Raw, Write, bytes_of

UNITS = 12  # of one background call, accepted to delivered, rows up to 1 KB
CPU_SECONDS = 0.05  # from the end of a tool to the POST, our own
IMPORT_SECONDS = 0.002  # of one tool

type Table = dict[tuple[str, str], Raw]


class Meter:
    """Reads every request on its way out, and the table around it."""

    def __init__(self, aws: Aws, table: str) -> None:
        self._aws = aws
        self._table = table
        self._open: list[tuple[str, list[tuple[str, tuple[str, str]]], Table]] = []
        self.writes: list[Write] = []
        self.messages = 0
        self._reading = False

    def note(self, request: Any, operation_name: str, **_: Any) -> None:
        """Called by botocore for every request that it sends, retries included."""
        if self._reading:
            return
        if operation_name == "SendMessage":
            self.messages += 1
        if operation_name not in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"):
            return
        now = self._snapshot()
        self._settle(now)
        body = json.loads(request.data)
        parts = [part for item in body.get("TransactItems", [{"": body}]) for part in item.items()]
        named = [(kind or operation_name, self._key(part)) for kind, part in parts]
        self._open.append((operation_name, named, now))

    def total(self) -> int:
        """Write units of all requests so far."""
        self._settle(self._snapshot())
        return sum(write.units for write in self.writes)

    def _settle(self, now: Table) -> None:
        """The request before has had its effect by now."""
        for operation, named, before in self._open:
            transactional = operation == "TransactWriteItems"
            for kind, key in named:
                self.writes.append(Write(kind, key, before.get(key), now.get(key), transactional))
        self._open.clear()

    def _snapshot(self) -> Table:
        self._reading = True
        try:
            items = self._aws.dynamodb.scan(TableName=self._table)["Items"]
        finally:
            self._reading = False
        return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}

    @staticmethod
    def _key(part: Raw) -> tuple[str, str]:
        read = TypeDeserializer().deserialize
        where = part.get("Key") or part["Item"]
        return read(where["pk"]), read(where["sk"])


@pytest.fixture
def meter(house: House) -> Iterator[Meter]:
    """Runs from here on."""
    made = Meter(house.aws, house.settings.table)
    say(house, "status-update", status="in-progress")
    clients = (house.aws.dynamodb, house.aws.sqs)
    for client in clients:
        client.meta.events.register("request-created", made.note, unique_id="meter")
    yield made
    for client in clients:
        client.meta.events.unregister("request-created", unique_id="meter")


def say(house: House, kind: str, **fields: Any) -> None:
    """Send a message of the call."""
    assert webhook.respond(house.desk, house.event(message(kind, house.clock, **fields)))["statusCode"] == 200


ARGUMENTS = {"move": {"to": "Thursday at two in the afternoon"}, "pay": {"amount": 1}}
INTENT = {"move": [], "pay": [("UpdateItem", 1)]}  # a step of its own for what may act only once


def ask(house: House, name: str) -> None:
    """Have a background tool accepted."""
    say(house, "tool-calls", toolCallList=[tool_call(name, ARGUMENTS[name])])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_background_call_costs_at_most_twelve_write_units_and_one_message(
    house: House, meter: Meter, name: str
) -> None:
    ask(house, name)
    house.run(house.live)
    units = meter.total()

    assert [(write.operation, write.units) for write in meter.writes] == [
        ("PutItem", 2),  # accepted; enters the index
        ("UpdateItem", 1),  # claimed
        *INTENT[name],
        ("UpdateItem", 1),  # done
        ("ConditionCheck", 2),  # the session is as it was
        ("Update", 2),  # mine to speak
        ("UpdateItem", 2),  # spoken; leaves the index
    ]
    assert units == 10 + len(INTENT[name]) <= UNITS
    assert meter.messages == 1
    assert max(bytes_of(write.after) for write in meter.writes) <= KB


@pytest.mark.parametrize("seconds", [1, 3, 6])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_waiting_for_a_speaking_caller_costs_one_message_a_second_and_one_write(
    house: House, meter: Meter, name: str, seconds: int
) -> None:
    say(house, "speech-update", role="user", status="started")
    spent = meter.total()
    ask(house, name)
    handle = receipt(house)
    for _ in range(seconds):
        work(house.live, TICKET, handle, lambda: 35.0)
        house.clock.advance(1)
    waited = meter.total() - spent

    assert meter.messages == 1 + seconds
    assert waited == 2 + 2 + len(INTENT[name]) + 1  # accepted, run, and once: who is waiting

    say(house, "speech-update", role="user", status="stopped")
    assert meter.messages == 1 + seconds + 1  # at once, instead of within a second
    work(house.live, TICKET, handle, lambda: 35.0)
    assert meter.total() - spent - 1 <= UNITS  # the caller's own message is not the call's


def receipt(house: House) -> str:
    """The receipt of the call's first message."""
    found = house.aws.sqs.receive_message(QueueUrl=house.settings.live_queue, VisibilityTimeout=0)["Messages"]
    handle: str = found[0]["ReceiptHandle"]
    return handle


def test_the_meter_knows_what_an_index_and_a_large_item_cost() -> None:
    large: Raw = {"pk": {"S": "x" * KB}, "g1pk": {"S": "OPEN#1"}, "g1sk": {"N": "1"}}
    moved: Raw = {**large, "g1sk": {"N": "2"}}
    left: Raw = {"pk": {"S": "x"}}

    assert [
        Write("Put", ("", ""), before, after, transactional).units
        for before, after, transactional in (
            (None, large, False),
            (large, large, False),
            (large, moved, False),
            (large, left, False),
            (large, large, True),
        )
    ] == [3, 2, 4, 3, 4]


def test_from_the_end_of_a_tool_to_the_post_little_is_computed(house: House, tools: Toolbox, vapis: Vapis) -> None:
    # With the emulator's own work in the same process, so what is ours is still less.
    ended: list[float] = []
    spent: list[float] = []

    @tools.tool(effect="keyed", meanwhile="One moment.")
    def touch(number: Annotated[int, "A number."]) -> str:
        """End, and look at the clock."""
        ended.append(time.process_time())
        return "Done."

    original = vapis.requests.append

    class Watched(list[tuple[str, dict[str, Any]]]):
        def append(self, request: tuple[str, dict[str, Any]], /) -> None:
            spent.append(time.process_time() - ended[-1])
            original(request)

    vapis.requests = Watched()
    say(house, "status-update", status="in-progress")
    for number in range(8):
        say(house, "tool-calls", toolCallList=[tool_call("touch", {"number": number}, f"call_{number}")])
        house.run(house.live)

    assert len(spent) == 8
    assert sorted(spent)[3] <= CPU_SECONDS


def test_a_tool_costs_little_when_it_is_imported() -> None:
    def register(count: int) -> float:
        box = Toolbox()
        began = time.process_time()
        for number in range(count):

            def tool(
                name: Annotated[str, "A name."], number: Annotated[int, "How many."], when: Annotated[str, "When."] = ""
            ) -> str:
                """Do something useful with a name, a number and a time."""
                return name

            tool.__name__ = f"tool_{number}"
            box.tool(effect="read", meanwhile="One moment.")(tool)
        return (time.process_time() - began) / count

    register(1)  # what pydantic loads with its first type is paid once
    assert min(register(20) for _ in range(3)) <= IMPORT_SECONDS


def test_a_call_is_the_one_that_is_counted(house: House, meter: Meter) -> None:
    ask(house, "move")
    meter.total()

    assert {write.key[0] for write in meter.writes} == {f"CALL#{CALL}"}
