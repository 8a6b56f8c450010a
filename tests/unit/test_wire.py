import threading
from collections.abc import Mapping
from typing import Any

from devkit.wire import Backend, Network, Sent, Wire


class BackendStub(Backend):
    """Takes what is sent to it; every signature is another one."""

    def __init__(self, meeting: threading.Barrier | None = None) -> None:
        self.meeting = meeting
        self.signed = 0
        self.taken: list[tuple[bytes, Mapping[str, str]]] = []

    def sign(self, _body: bytes, _secret: str | None = None) -> dict[str, str]:
        self.signed += 1
        return {"signature": str(self.signed)}

    def send(self, body: bytes, headers: Mapping[str, str], _seconds: float) -> Sent:
        if self.meeting:
            self.meeting.wait(5)
        self.taken.append((body, headers))
        return Sent(0, 200, b"{}", 0)


def message(kind: str, number: int = 0) -> dict[str, Any]:
    return {"message": {"type": kind, "number": number}}


def test_messages_arrive_in_the_order_in_which_they_were_sent() -> None:
    backend = BackendStub()
    wire = Wire(backend, Network())
    sent = [wire.post(message("hang", number)) for number in range(20)]
    wire.close()

    assert [body for body, _ in backend.taken] == [
        b'{"message":{"type":"hang","number":%d}}' % number for number in range(20)
    ]
    assert all(exchange.result().accepted for exchange in sent)


def test_a_second_delivery_is_the_same_request_again() -> None:
    for kind in ("hang", "tool-calls"):
        backend = BackendStub()
        wire = Wire(backend, Network())
        exchange = wire.post(message(kind), twice=True).result()
        wire.close()

        assert len(exchange.deliveries) == 2
        assert backend.taken[0] == backend.taken[1]


def test_duplicated_tool_calls_arrive_at_the_same_time() -> None:
    # Neither delivery gets through unless both are under way.
    wire = Wire(BackendStub(threading.Barrier(2)), Network(duplicate=True))
    exchange = wire.post(message("tool-calls")).result(10)
    wire.close()

    assert exchange.accepted


def test_a_message_that_was_not_taken_every_time_is_not_accepted() -> None:
    backend = BackendStub()
    statuses = iter([200, 503])
    backend.send = lambda *_: Sent(0, next(statuses), b"", 0)  # type: ignore[method-assign]
    wire = Wire(backend, Network(duplicate=True))
    exchange = wire.post(message("hang")).result()
    wire.close()

    assert not exchange.accepted
