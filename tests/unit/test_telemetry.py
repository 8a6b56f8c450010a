"""What leaves a function: log lines of allow-listed fields, and metrics that are written however it ends."""

import json
import logging
from typing import Any

import pytest

from switchboard import telemetry
from switchboard.telemetry import FIELDS, Count, Seldom, count, log, measured, metrics, warn
from tests.conftest import Clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """What reaches the logger: its level, the event, the fields."""
    seen: list[tuple[str, str, dict[str, Any]]] = []
    for level in ("info", "warning"):

        def note(event: str, *, extra: dict[str, Any], level: str = level, **_: Any) -> None:
            seen.append((level, event, extra))

        monkeypatch.setattr(telemetry.logger, level, note)
    return seen


def test_allowed_fields_are_logged(logged: list[Any]) -> None:
    log("tool ran", tool="find_appointment", milliseconds=12)
    warn("unavailable", code="table: ThrottlingException")

    assert logged == [
        ("info", "tool ran", {"tool": "find_appointment", "milliseconds": 12}),
        ("warning", "unavailable", {"code": "table: ThrottlingException"}),
    ]


def test_a_flood_of_refusals_is_one_line_a_second(logged: list[Any], clock: Clock) -> None:
    seldom = Seldom(clock)
    for _ in range(33):
        seldom.log("signature refused", reason="signature_mismatch", caller="+15550100001")
        clock.advance(0.125)

    # At 0, 1, 2, 3 and 4 seconds.
    line = ("info", "signature refused", {"reason": "signature_mismatch", "left_out": ["caller"]})
    assert logged == [line] * 5


def test_every_flood_has_its_own_first_line(logged: list[Any], clock: Clock) -> None:
    clock.now = 0
    Seldom(clock).log("signature refused")
    Seldom(clock).log("phone request refused")

    assert [event for _, event, _ in logged] == ["signature refused", "phone request refused"]


def test_a_field_that_is_not_allowed_is_left_out_and_its_name_is_said(logged: list[Any]) -> None:
    log("oops", caller="+15550100001", words="private", tool="x")

    assert logged == [("info", "oops", {"tool": "x", "left_out": ["caller", "words"]})]


@pytest.mark.parametrize(
    "name",
    [
        "caller",
        "number",
        "customer_number",
        "arguments",
        "result",
        "words",
        "transcript",
        "body",
        "headers",
        "url",
        "control_url",
        "signature",
        "secret",
        "token",
        "key",
        "twiml",
    ],
)
def test_nothing_personal_and_nothing_secret_may_be_logged(name: str) -> None:
    assert name not in FIELDS


class Records(logging.Handler):
    """Keeps the records that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


def test_a_log_line_names_the_place_that_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records()
    monkeypatch.setattr(logging.getLogger(telemetry.logger.name), "handlers", [records])

    log("tool ran")
    warn("unavailable")
    Seldom().log("signature refused")

    assert [record.funcName for record in records.seen] == ["test_a_log_line_names_the_place_that_wrote_it"] * 3


def test_a_log_line_is_json_with_its_fields_on_top() -> None:
    # The logger holds on to the stdout that it met first, so its formatter is asked.
    formatter = telemetry.logger.registered_formatter
    record = logging.makeLogRecord({"msg": "tool ran", "tool": "find_appointment"})

    line = json.loads(formatter.format(record))

    assert (line["message"], line["tool"]) == ("tool ran", "find_appointment")


def test_a_count_is_written_when_the_invocation_ends(capsys: pytest.CaptureFixture[str]) -> None:
    @measured
    def handler(event: str, *, times: int) -> str:
        for _ in range(times):
            count(Count.TOOL_ACCEPTED)
        assert lines(capsys) == []
        return event

    assert handler("answer", times=2) == "answer"

    (line,) = lines(capsys)
    assert line["ToolAccepted"] == [1.0, 1.0]
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Switchboard"
    assert metrics.metric_set == {}


def test_a_count_is_written_when_the_invocation_fails(capsys: pytest.CaptureFixture[str]) -> None:
    @measured
    def handler() -> None:
        count(Count.UNAVAILABLE)
        raise KeyError("trouble")

    with pytest.raises(KeyError, match="trouble"):
        handler()

    (line,) = lines(capsys)
    assert line["Unavailable"] == [1.0]


def test_an_invocation_that_counts_nothing_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @measured
    def handler() -> None:
        """Do nothing."""

    handler()

    assert lines(capsys) == []
    assert handler.__doc__ == "Do nothing."


def test_a_reason_is_counted_by_itself_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    @measured
    def handler() -> None:
        count(Count.SIGNATURE_REFUSED, "timestamp_stale")

    handler()

    by_reason, total = lines(capsys)
    assert (by_reason["SignatureRefused"], by_reason["reason"]) == ([1.0], "timestamp_stale")
    assert by_reason["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Switchboard"
    assert total["SignatureRefused"] == [1.0]
    assert "reason" not in total


def test_metrics_have_names_of_their_own() -> None:
    assert len({str(name) for name in Count}) == len(Count)
    assert all(str(name)[0].isupper() and str(name).isalpha() for name in Count)
