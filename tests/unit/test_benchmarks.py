"""The benchmarks run, and each case is what it says: what they print is for people, and is asserted nowhere."""

import httpx
import pytest

from devkit.twilio_fake import ApplicationError
from tests.benchmarks import front_door, inbound

CONNECT = '<Response><Connect><Stream url="wss://m.example.com/1"/></Connect></Response>'


def test_the_front_door_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(front_door, "SIZE", 20_000)
    front_door.main(["--runs", "1", "--requests", "60"])

    printed = capsys.readouterr().out
    assert printed.startswith("memory growth over 60 requests: ")
    for case in front_door.cases():
        assert f"\n{case.name} " in printed


def test_what_is_malformed_is_as_large_as_it_says() -> None:
    bodies = front_door.malformed(front_door.SIZE)

    assert len(bodies) > 20
    assert all(0.9 * front_door.MB <= len(body) <= 1.2 * front_door.MB for body in bodies.values())


class Voice:
    """A backend that answers every call with one document."""

    public_url = "https://voice.example.com"

    def __init__(self, document: str) -> None:
        self.asked: list[str] = []
        self._document = document

    def post_form(self, path: str, _form: bytes, _headers: dict[str, str]) -> httpx.Response:
        """Answer, and note what was asked."""
        self.asked.append(path)
        return httpx.Response(200, text=self._document, headers={"content-type": "text/xml"})


def test_every_call_is_answered_and_ended_before_the_next_one() -> None:
    voice = Voice(CONNECT)
    moments = iter(range(100))

    assert inbound.measured(voice, 2, lambda: float(next(moments))) == [1.0, 1.0, 1.0]  # type: ignore[arg-type]  # its public face
    assert voice.asked == ["/voice/inbound", "/voice/status"] * 3


def test_a_caller_who_is_not_connected_is_no_figure() -> None:
    with pytest.raises(AssertionError):
        inbound.measured(Voice("<Response><Say>Wait.</Say><Hangup/></Response>"), 0)  # type: ignore[arg-type]  # as above
    with pytest.raises(ApplicationError):
        inbound.measured(Voice("no document"), 0)  # type: ignore[arg-type]  # as above


def test_waiting_is_told_in_milliseconds() -> None:
    assert inbound.table(1.5, [number / 1000 for number in range(101)]) == (
        "POST /voice/inbound, first call 1500 ms; 101 more calls: p50 50 ms, p95 95 ms, p99 99 ms\n"
    )
