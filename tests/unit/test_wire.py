import argparse
import json
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from devkit import simulate
from devkit.player import exchange_moments, replay_moments
from devkit.wire import LOST_SHARE, RETRY_PAUSES, VAPI_PATH, Backend, Exchange, Network, Replay, Sent, Wire
from tests.conftest import Clock


class BackendStub(Backend):
    """Takes what is sent to it; every signature is another one."""

    def __init__(self, meeting: threading.Barrier | None = None) -> None:
        self.meeting = meeting
        self.signed = 0
        self.ahead = 0.0
        self.taken: list[tuple[bytes, Mapping[str, str]]] = []
        self.paths: list[str] = []

    def sign(self, _body: bytes, _secret: str | None = None, *, ahead: float = 0) -> dict[str, str]:
        self.signed += 1
        self.ahead = ahead
        return {"signature": str(self.signed)}

    def send(self, body: bytes, headers: Mapping[str, str], _seconds: float, path: str = VAPI_PATH) -> Sent:
        if self.meeting:
            self.meeting.wait(5)
        self.taken.append((body, headers))
        self.paths.append(path)
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


class Scripted(random.Random):
    """Chance that goes as a test says: `losses` are the fates of deliveries in order, and then all arrive."""

    def __init__(self, losses: Sequence[str] = (), delays: Sequence[float] = ()) -> None:
        super().__init__(0)
        self.losses, self.delays = list(losses), list(delays)

    def random(self) -> float:
        return 0.0 if self.losses else 1.0

    def choice(self, _options: Any) -> Any:
        return self.losses.pop(0)

    def uniform(self, a: float, b: float) -> float:
        return self.delays.pop(0) if self.delays else a


def carried(network: Network, *messages: dict[str, Any], backend: BackendStub | None = None) -> tuple[Wire, Clock]:
    """A wire that has carried these messages, all posted at 0, and its clock: time passes while the wire sleeps."""
    rest, posted = Clock(0), threading.Event()

    def sleep(seconds: float) -> None:
        assert posted.wait(5)
        rest.advance(seconds)

    wire = Wire(backend or BackendStub(), network, clock=rest, sleep=sleep)
    for one in messages:
        wire.post(one)
    posted.set()
    wire.close()
    return wire, rest


def test_a_lost_request_is_sent_again_and_arrives_once() -> None:
    backend = BackendStub()
    wire = Wire(backend, Network(drop=True, choose=Scripted(["request", "request"])), sleep=lambda _: None)
    exchange = wire.post(message("hang")).result()
    wire.close()

    assert (len(backend.taken), len(exchange.deliveries), exchange.lost) == (1, 1, 2)
    assert exchange.accepted


def test_a_lost_answer_means_that_the_same_request_arrives_again() -> None:
    backend = BackendStub()
    wire = Wire(backend, Network(drop=True, choose=Scripted(["answer"])), sleep=lambda _: None)
    exchange = wire.post(message("tool-calls")).result()
    wire.close()

    assert backend.taken[0] == backend.taken[1]
    assert (len(backend.taken), len(exchange.deliveries), exchange.lost) == (2, 1, 1)


def test_the_last_try_arrives_however_bad_the_network_is() -> None:
    backend = BackendStub()
    always = Network(drop=True, choose=Scripted(["request"] * 99))
    _, rest = carried(always, message("hang"), backend=backend)

    assert len(backend.taken) == 1
    assert rest() == pytest.approx(sum(RETRY_PAUSES))


def test_a_network_that_drops_loses_about_its_share() -> None:
    network = Network(drop=True, choose=random.Random(1))
    lost = [network.loss() for _ in range(1000)]

    assert abs(sum(map(bool, lost)) / 1000 - LOST_SHARE) < 0.05
    assert {"request", "answer"} <= set(lost)
    assert not any(Network(choose=random.Random(1)).loss() for _ in range(100))


def test_messages_that_are_long_under_way_keep_their_order_and_do_not_add_up() -> None:
    backend = BackendStub()
    slow = Network(jitter=(0.1, 0.8), choose=Scripted(delays=[0.8, 0.1, 0.3]))
    _, rest = carried(slow, *(message("hang", number) for number in range(3)), backend=backend)

    assert [json.loads(body)["message"]["number"] for body, _ in backend.taken] == [0, 1, 2]
    assert rest() == pytest.approx(0.8)


def test_messages_overtake_each_other_on_a_network_that_reorders() -> None:
    backend = BackendStub()
    first_waits = threading.Event()

    def sleep(seconds: float) -> None:
        if seconds > 0.5:
            assert first_waits.wait(5)

    wire = Wire(backend, Network(reorder=True, choose=Scripted(delays=[9.0, 0.0])), clock=lambda: 0.0, sleep=sleep)
    first = wire.post(message("hang", 1))
    wire.post(message("hang", 2)).result(5)
    first_waits.set()
    first.result(5)
    wire.close()

    assert [json.loads(body)["message"]["number"] for body, _ in backend.taken] == [2, 1]


def test_replay_sends_everything_once_more_when_the_call_is_over_with_the_first_signature() -> None:
    backend = BackendStub()
    wire, _ = carried(Network(replay=True), message("hang"), message("tool-calls"), backend=backend)

    assert backend.taken[:2] == backend.taken[2:]
    assert [replay.same for replay in wire.replays] == [True, True]


@pytest.mark.parametrize(("kind", "same"), [("hang", True), ("tool-calls", False), ("assistant-request", False)])
def test_a_replay_that_is_answered_otherwise_shows_where_somebody_reads_the_answer(kind: str, same: bool) -> None:
    backend = BackendStub()
    answers = iter([b"{}", b"other"])
    backend.send = lambda *_: Sent(0, 200, next(answers), 0)  # type: ignore[method-assign]
    wire, _ = carried(Network(replay=True), message(kind), backend=backend)

    assert [replay.same for replay in wire.replays] == [same]


def test_a_skewed_clock_shows_in_the_message_and_in_its_signature() -> None:
    backend = BackendStub()
    said = message("hang") | {"message": {"type": "hang", "timestamp": 1000}}
    carried(Network(skew=0.4), said, backend=backend)

    assert json.loads(backend.taken[0][0])["message"]["timestamp"] == 1400
    assert backend.ahead == 0.4
    assert said["message"]["timestamp"] == 1000  # the player's own is left alone


def test_the_signature_of_a_sender_that_is_ahead_is_ahead() -> None:
    backend = Backend("http://127.0.0.1:1", "localhost", clock=Clock(1000))
    headers = backend.sign(b"{}", ahead=400)
    backend.close()

    assert "1400" in headers.values() or "1400000" in headers.values()


def options(*given: str) -> Network:
    """The network that a command line asks for."""
    parser = argparse.ArgumentParser()
    simulate.arguments(parser)
    return simulate.network(parser.parse_args(["call.yaml", *given]))


def test_the_command_line_speaks_of_milliseconds() -> None:
    network = options("--reorder", "--jitter", "100-800", "--drop", "--replay", "--skew", "400")

    assert network[:-1] == (False, True, (0.1, 0.8), True, True, 0.4)
    assert network.faulty
    assert not options().faulty
    assert options("--reorder").jitter == simulate.REORDER_JITTER
    assert options("--skew=-400").skew == -0.4


@pytest.mark.parametrize("text", ["800-100", "100", "a-b", "-100"])
def test_a_jitter_that_is_no_range_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(f"--jitter={text}")
    assert "milliseconds" in capsys.readouterr().err


def test_delays_lie_within_the_range_that_was_asked_for() -> None:
    network = Network(jitter=(0.1, 0.8), choose=random.Random(3))
    delays = [network.delay() for _ in range(200)]

    assert 0.1 <= min(delays) < max(delays) <= 0.8
    assert max(delays) - min(delays) > 0.5


def test_the_timeline_shows_what_was_lost_and_what_a_replay_changed() -> None:
    taken, refused = Sent(1, 200, b"{}", 0), Sent(9, 500, b"", 0)
    [lost] = exchange_moments(Exchange(message("hang"), [taken], lost=2))
    [changed] = replay_moments(Replay(message("hang"), taken, refused))

    assert lost.what == "hang (lost and sent again, 2 x)"
    assert (changed.ok, changed.what) == (False, "hang replayed → 500, not as the first time")
    assert list(replay_moments(Replay(message("hang"), taken, taken))) == []


def test_calls_of_tools_go_to_the_tools_own_server_and_all_else_to_the_usual_one() -> None:
    own = {"server": {"url": "https://voice.example.com/webhook/vapi/tools"}}
    lists = {
        "toolWithToolCallList": [own],
        "toolCallList": [{}],
    }
    backend = BackendStub()
    wire = Wire(backend, Network(replay=True))
    wire.post({"message": {"type": "tool-calls", **lists}})
    wire.post({"message": {"type": "tool-calls", "toolWithToolCallList": [{}]}})
    wire.post(message("hang"))
    wire.close()

    assert sorted(backend.paths) == sorted([f"{VAPI_PATH}/tools", VAPI_PATH, VAPI_PATH] * 2)
    assert wire.replays[0].message["message"]["type"] == "tool-calls"
