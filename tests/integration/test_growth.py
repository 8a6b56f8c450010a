"""What an event costs in a long call, and among many calls: as much as the first event of the first call.

Requests, bytes and units are those that are really sent, to a table with 10,000 utterances of one call, or 1,000 calls.
"""

from typing import Any

import boto3
import pytest

from switchboard import admission, calls, legs, livecalls, webhook
from switchboard.settings import Settings
from switchboard.store import Item, Store, Update
from switchboard.sweeper import Broom, sweep
from switchboard.worker import work
from tests.integration.conftest import CALL, CALL_SID, Aws, House, message, tool_call
from tests.integration.test_console import ring
from tests.units import Metered, Spent

SHORT, LONG = CALL, "c0ffee00-0000-4000-8000-00000000ffff"
UTTERANCES = 10_000
CALLS = 1_000  # at once; the most that MaxCalls may be
SLOT_READS = 50  # read units of all slots when all of them are taken
LIST_REQUESTS = 10 + 2 * livecalls.MOST * 4  # slots, eight shards and the sessions; each call that is looked at: four
LIST_READS = SLOT_READS + 60  # of those ten

type Costs = dict[str, list[Spent]]


@pytest.fixture
def metered(aws: Aws, settings: Settings) -> Metered:
    """The client of the table, with every request counted."""
    return Metered(aws.dynamodb, settings.table)


@pytest.fixture
def store(metered: Metered, settings: Settings) -> Store:
    """The table of the whole house, behind that client."""
    return Store(settings.table, metered)


def write(house: House, items: list[Item]) -> None:
    """Store all of it, uncounted."""
    region = house.aws.dynamodb.meta.region_name
    with boto3.resource("dynamodb", region_name=region).Table(house.settings.table).batch_writer() as batch:
        for item in items:
            batch.put_item(Item=item)


def talk(house: House, call_id: str, utterances: int) -> None:
    """So many final utterances, a tenth of a second apart, up to now."""
    now, pk = int(house.clock() * 1000), calls.key(call_id).pk
    write(
        house,
        [
            {
                "pk": pk,
                "sk": f"TR#{now - (utterances - number) * 100:013d}#{('user', 'assistant')[number % 2]}#{number:08x}",
                "v": 1,
                "words": "I would like to move my appointment to Thursday at two, if that is possible.",
                "exp": int(house.clock()) + 3600,
            }
            for number in range(utterances)
        ],
    )


def say(house: House, call_id: str, kind: str, **fields: Any) -> None:
    """Send a message of this call."""
    body = message(kind, house.clock, **fields)
    told = body["call"]
    told |= {"id": call_id, "monitor": {"controlUrl": told["monitor"]["controlUrl"].replace(CALL, call_id)}}
    assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200


def lived(house: House, metered: Metered, call_id: str) -> Costs:
    """What each event costs of a call's further life, to its end."""
    meter = metered.meter
    costs: Costs = {}
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("status", "status-update", {"status": "forwarding"}),
        ("speech", "speech-update", {"role": "user", "status": "started"}),
        ("utterance", "transcript", {"role": "user", "transcriptType": "final", "transcript": "Thursday, please."}),
        ("silence", "speech-update", {"role": "user", "status": "stopped"}),
        ("history", "conversation-update", {}),
        ("inline tool", "tool-calls", {"toolCallList": [tool_call("look_up", {"name": "x"}, "call_1")]}),
        ("background tool", "tool-calls", {"toolCallList": [tool_call("move", {"to": "x"}, "call_2")]}),
        ("after-call tool", "tool-calls", {"toolCallList": [tool_call("send", {"text": "x"}, "call_3")]}),
        ("interruption", "user-interrupted", {}),
        ("a word", "transcript", {"role": "user", "transcriptType": "final", "transcript": "Hello?"}),
        ("worker", "", {}),
        ("end", "status-update", {"status": "ended", "endedReason": "customer-ended-call"}),
        ("report", "end-of-call-report", {"endedReason": "customer-ended-call"}),
    ]
    for name, kind, fields in told:
        house.clock.advance(1)
        meter.take()
        if kind:
            say(house, call_id, kind, **fields)
        else:
            # Its turn was interrupted: whether the caller has gone on since is looked for in what was said.
            ((ticket, receipt),) = [found for found in house.tickets(house.live) if found[0].call_id == call_id]
            work(house.live, ticket, receipt, lambda: 35.0)
        costs[name] = meter.take()
    return costs


def test_an_event_costs_the_same_after_ten_utterances_and_after_ten_thousand(house: House, metered: Metered) -> None:
    costs: list[Costs] = []
    for call_id, utterances in ((SHORT, 10), (LONG, UTTERANCES)):
        say(house, call_id, "status-update", status="in-progress")
        talk(house, call_id, utterances)
        costs.append(lived(house, metered, call_id))
        house.clock.advance(1)

    short, long = costs
    assert long == short
    assert {name: total(spent) for name, spent in long.items()} == {
        "status": (0, 1),
        "speech": (0, 1),
        "utterance": (0, 1),
        "silence": (0, 1),
        "history": (0, 0),
        "inline tool": (1, 1),
        "background tool": (0, 2),
        "after-call tool": (1, 2),
        "interruption": (0, 1),
        "a word": (0, 1),
        "worker": (6, 8),
        "end": (2, 5),
        "report": (2, 3),
    }


def total(spent: list[Spent]) -> tuple[float, int]:
    """Read and write units."""
    return sum(each.reads for each in spent), sum(each.writes for each in spent)


def crowd(house: House) -> None:
    """Beside the call that is under way, so many others that are just like it, each on its own slot."""
    (leg,) = house.items(f"SID#{CALL_SID}").values()
    session = house.items(calls.key(CALL).pk)[calls.META]
    (slot,) = house.items(admission.SLOTS).values()
    others: list[Item] = []
    for number in range(CALLS):
        call_id, call_sid = f"c0ffee00-0000-4000-8000-1{number:011x}", f"CA{number:032x}"
        others += [
            {**leg, "pk": f"SID#{call_sid}", "g1pk": legs.shard(call_sid), "call_id": call_id, "calls": {call_id}},
            {**session, "pk": calls.key(call_id).pk, "call_sid": call_sid},
        ]
        key = admission.slot_key(number + 1)._asdict()
        if key["sk"] != slot["sk"]:
            others.append({**slot, **key, "holder": call_sid, "call": call_id})
    write(house, others)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As many calls may be under way as a stack can be told to take."""
    return settings._replace(max_calls=CALLS)


@pytest.fixture
def phone_call(house: House) -> House:
    """A call with its leg, its session and its slot."""
    ring(house)
    say(house, CALL, "status-update", status="in-progress")
    return house


def minute(house: House, metered: Metered) -> list[Spent]:
    """What one look of the sweeper costs, in which nothing is due."""
    metered.meter.take()
    assert sweep(Broom(house.store, house.desk.live_queue, house.clock)) == 0
    assert admission.active(house.store, house.clock()) in (1, CALLS)
    return metered.meter.take()


def test_an_event_costs_the_same_among_a_thousand_calls_but_for_the_slots(phone_call: House, metered: Metered) -> None:
    crowd(phone_call)
    among_many = lived(phone_call, metered, CALL)
    leave_alone(phone_call)
    say(phone_call, LONG, "status-update", status="in-progress")
    alone = lived(phone_call, metered, LONG)

    # Only the end of a call asks for the slots: once for each message that tells of it, in one request.
    ends = ("end", "report")
    assert {name: cost for name, cost in among_many.items() if name not in ends} == {
        name: cost for name, cost in alone.items() if name not in ends
    }
    for name in ends:
        asked = [spent for spent in among_many[name] if spent.operation == "Query"]
        assert [spent.operation for spent in asked] == ["Query"] * 2
        assert 20 < sum(spent.reads for spent in asked) <= SLOT_READS + 1


def leave_alone(house: House) -> None:
    """Nobody else has a slot any more."""
    region = house.aws.dynamodb.meta.region_name
    with boto3.resource("dynamodb", region_name=region).Table(house.settings.table).batch_writer() as batch:
        for sk in house.items(admission.SLOTS):
            batch.delete_item(Key={"pk": admission.SLOTS, "sk": sk})


def test_a_caller_among_a_thousand_costs_as_many_requests_as_the_first(house: House, metered: Metered) -> None:
    metered.meter.take()
    ring(house)
    first = metered.meter.take()
    crowd(house)
    sid = f"CA{CALLS:032x}"
    house.store.update(Update(admission.slot_key(7), "REMOVE #holder"))
    metered.meter.take()
    ring(house, sid, LONG)
    last = metered.meter.take()

    assert [spent.operation for spent in last] == [spent.operation for spent in first]
    assert [spent.writes for spent in last] == [spent.writes for spent in first]
    assert sum(spent.reads for spent in last) <= sum(spent.reads for spent in first) + 3 * SLOT_READS


def test_a_minute_of_the_sweeper_is_the_same_nine_requests_for_one_call_and_for_a_thousand(
    phone_call: House, metered: Metered
) -> None:
    one = minute(phone_call, metered)
    crowd(phone_call)
    many = minute(phone_call, metered)

    assert [spent.operation for spent in many] == [spent.operation for spent in one] == ["Query"] * 9
    # Calls that go on are not due, so the index has nothing to tell of them.
    assert [spent.reads for spent in many[:8]] == [spent.reads for spent in one[:8]] == [0.5] * 8
    assert many[8].reads <= SLOT_READS


def test_the_list_of_live_calls_reads_no_more_than_it_can_show(phone_call: House, metered: Metered) -> None:
    crowd(phone_call)
    metered.meter.take()
    found = livecalls.read(phone_call.store, phone_call.settings.longest_leg, phone_call.clock())
    spent = metered.meter.take()

    assert (len(found.rows), found.more) == (livecalls.MOST, True)
    assert 100 < len(spent) <= LIST_REQUESTS
    assert sum(each.reads for each in spent) <= LIST_REQUESTS + LIST_READS
