"""Waking: nothing that goes wrong with it can be heard, and whoever is woken does nothing."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from switchboard import telemetry, waking
from switchboard.budget import limit
from switchboard.signed import Answered, Unreachable
from switchboard.telemetry import Count, count, measured
from switchboard.waking import EVENT, PAYLOAD, Waker, wakeable

NAMES = ("one", "two")


class Lambda:
    """Fails in turn, as it is told, and keeps what it was asked for."""

    def __init__(self, *failures: BaseException | Callable[[], None] | None) -> None:
        self.failures = list(failures)
        self.asked: list[dict[str, Any]] = []
        self.connected = 0

    def connect(self) -> None:
        self.connected += 1

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, BaseException):
            raise failure
        if failure:
            failure()
        return {}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every line about what should not have happened."""
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(waking, "warn", lambda event, **fields: said.append((event, fields)))
    return said


def test_each_is_asked_for_by_an_invocation_that_nobody_waits_for() -> None:
    client = Lambda()
    Waker(NAMES, client).wake()

    assert client.asked == [{"FunctionName": name, "InvocationType": "Event", "Payload": PAYLOAD} for name in NAMES]


def test_where_nobody_is_woken_nothing_is_asked_or_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "limit", None)
    client = Lambda()
    waker = Waker((), client)
    waker.warm()
    waker.wake()

    assert (client.asked, client.connected) == ([], 0)


def test_a_connection_is_opened_ahead_where_the_client_can() -> None:
    client = Lambda()
    Waker(NAMES, client).warm()
    Waker(NAMES, object()).warm()

    assert client.connected == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (
            Answered("AccessDeniedException", {"message": "arn:aws:iam::1:user/private"}),
            "lambda: AccessDeniedException",
        ),
        (Unreachable("ConnectTimeoutError", "https://private"), "lambda: ConnectTimeoutError"),
    ],
)
def test_one_that_cannot_be_woken_is_no_reason_to_leave_the_next_asleep(
    failure: Exception, code: str, warnings: list[tuple[str, dict[str, Any]]]
) -> None:
    client = Lambda(failure)
    Waker(NAMES, client).wake()

    assert [request["FunctionName"] for request in client.asked] == list(NAMES)
    assert warnings == [("function not woken", {"code": code})]


def test_whatever_goes_wrong_is_one_line_without_content(warnings: list[tuple[str, dict[str, Any]]]) -> None:
    Waker(NAMES, Lambda(KeyError("private"))).wake()

    assert warnings == [("functions not woken", {"code": "KeyError"})]


def test_a_wake_takes_no_longer_than_its_time(
    monkeypatch: pytest.MonkeyPatch, warnings: list[tuple[str, dict[str, Any]]]
) -> None:
    monkeypatch.setattr(waking, "SECONDS", 0.01)
    slow = Lambda(lambda: time.sleep(20))
    with limit(10):
        Waker(NAMES, slow).wake()

    assert [request["FunctionName"] for request in slow.asked] == ["one"]
    assert warnings == [("functions not woken", {"code": "Overrun"})]


def test_a_callers_patience_is_hardly_touched() -> None:
    assert waking.SECONDS <= 0.3


@pytest.mark.parametrize(
    ("event", "work"),
    [
        (EVENT, False),
        ({**EVENT, "rawPath": "/webhook/vapi"}, True),
        ({"switchboard": "work"}, True),
        ({"body": PAYLOAD.decode()}, True),
        ({"Records": [{"body": PAYLOAD.decode()}]}, True),
        ({}, True),
    ],
)
def test_a_wake_does_nothing_and_everything_else_is_work(
    event: dict[str, Any], work: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @wakeable
    @measured
    def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
        """Work."""
        count(Count.WEBHOOK_RECEIVED)
        return {"statusCode": 200}

    assert handler(event, None) == ({"statusCode": 200} if work else None)
    assert bool(capsys.readouterr().out) is work
    assert handler.__doc__ == "Work."
    assert not telemetry.metrics.metric_set
