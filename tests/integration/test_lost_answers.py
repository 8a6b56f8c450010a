"""An answer of AWS's is lost after the write was applied, and the SDK itself sends the same request again (C3, C6, C12)."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from switchboard.toolcalls import Delivery, State
from tests.integration import test_worker
from tests.integration.conftest import House, Ledger, Vapis
from tests.integration.test_worker import ask, row

type Lose = Callable[[str, int], list[str]]


@pytest.fixture
def lose(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lose]:
    """Loses the answer to the n-th request of an operation; returns the list of all requests of it."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    clients = (house.aws.dynamodb, house.aws.sqs)

    def plan(operation: str, number: int) -> list[str]:
        seen: list[str] = []

        def reply(event_name: str, **_: Any) -> None:
            # moto's own handler comes before this one: the request has had its effect.
            if event_name.endswith(f".{operation}"):
                seen.append(operation)
                if len(seen) == number:
                    raise ReadTimeoutError(endpoint_url="https://aws.example")

        for client in clients:
            client.meta.events.register_last("before-send", reply, unique_id="lose")
        return seen

    yield plan
    for client in clients:
        client.meta.events.unregister("before-send", unique_id="lose")


@pytest.fixture
def live_call(house: House) -> House:
    """A call under way."""
    test_worker.say(house, "status-update", status="in-progress")
    return house


TOOLS: dict[str, dict[str, Any]] = {"search": {"what": "x"}, "move": {"to": "x"}, "pay": {"amount": 1}}
WRITES = {
    "accept": "PutItem",
    "C3-send": "SendMessage",
    "C6-claim": "UpdateItem",
    "intent": "UpdateItem",
    "C12-commit": "UpdateItem",
    "delivery-claim": "TransactWriteItems",
    "delivery-end": "UpdateItem",
}


def cases() -> Iterator[Any]:
    """Each write of each tool: only what may act once writes its intent apart."""
    for name in TOOLS:
        numbers: Counter[str] = Counter()
        for step, operation in WRITES.items():
            if step != "intent" or name == "pay":
                numbers[operation] += 1
                yield pytest.param(name, operation, numbers[operation], id=f"{name}-{step}")


@pytest.mark.parametrize(("name", "operation", "number"), list(cases()))
def test_a_write_whose_answer_was_lost_is_not_a_second_one(
    live_call: House,
    ledger: Ledger,
    vapis: Vapis,
    lose: Lose,
    name: str,
    operation: str,
    number: int,
) -> None:
    seen = lose(operation, number)
    ask(live_call, name, **TOOLS[name])
    while live_call.run(live_call.live):
        pass

    assert len(seen) > number  # the SDK has sent it again
    assert (len(ledger.effects), len(vapis.requests)) == (1, 1)
    done = row(live_call)
    assert (done.state, done.delivery, done.attempt) == (State.SUCCEEDED, Delivery.DELIVERED, 1)
