"""Nothing personal and nothing secret in logs, metrics, queues or answers, whatever a message carries."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from devkit import development
from switchboard import phone, telemetry, webhook
from switchboard.tools import Toolbox
from tests.integration.conftest import CALL, House, Ledger, Vapis, message, tool_call
from tests.integration.test_phone import event as phone_event

CANARY = "canary-7f3a"
NUMBER = "+15550100177"


def infested(value: Any) -> Any:
    """The same message with a canary in every text that is not needed to understand it."""
    if isinstance(value, dict):
        return {key: infested(entry) if key not in KEPT else entry for key, entry in value.items()}
    if isinstance(value, list):
        return [infested(entry) for entry in value]
    return f"{value} {CANARY}" if isinstance(value, str) else value


KEPT = {"type", "status", "role", "transcriptType", "id", "controlUrl", "name", "timestamp", "number"}


@pytest.fixture
def whole_call(house: House, tools: Toolbox) -> House:
    """A backend with a tool that says what it should not when it fails."""

    @tools.tool(effect="read")
    def leak() -> str:
        """Fail with what was said."""
        raise RuntimeError(f"{CANARY} {NUMBER}")

    return house


class Written:
    """What a function writes: its log, and the metrics that it prints."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.log = io.StringIO()

    def text(self) -> str:
        """All of it so far."""
        return self.log.getvalue() + "".join(self._capture.readouterr())


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Powertools keeps the stream that it finds when it is imported, so it is given another one."""
    handler = telemetry.logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    made = Written(capsys)
    original = handler.setStream(made.log)
    yield made
    handler.setStream(original)


def play(house: House, vapis: Vapis, ledger: Ledger) -> list[Any]:
    """Send everything, infested, and return the answers."""
    told = [
        message("assistant-request", house.clock),
        message("status-update", house.clock, status="in-progress"),
        message("transcript", house.clock, role="user", transcriptType="final", transcript="my name is Ann"),
        message(
            "tool-calls",
            house.clock,
            toolCallList=[
                tool_call("move", {"to": "x"}, "call_1"),
                tool_call("pay", {"amount": "much"}, "call_2"),
                tool_call("fly", {"to": "x"}, "call_3"),
                tool_call("search", {"what": "x"}, "call_4"),
                tool_call("pay", {"amount": 7}, "call_5"),
                tool_call("leak", {}, "call_6"),
            ],
        ),
        message("user-interrupted", house.clock),
        message("invented", house.clock, secret="x"),
        message("hang", house.clock),
        message("end-of-call-report", house.clock, endedReason="x", artifact={"transcript": "x", "recordingUrl": "x"}),
    ]
    answers = []
    for body in told:
        body = infested(body)
        body["call"]["customer"] = {"number": NUMBER}
        body["phoneNumber"] = {"twilioAuthToken": CANARY, "number": NUMBER}
        answers.append(webhook.respond(house.desk, house.event(body)))
    ledger.fails_with = RuntimeError(f"{CANARY} {NUMBER}")
    vapis.answer = httpx.Response(500, text=f"{CANARY} {NUMBER}")
    house.run(house.live)
    for changes in ({}, {"From": NUMBER}, {"CallSid": "CA" + "9" * 32}):
        answers.append(phone.answer_call(house.exchange, phone_event(**changes)))
    answers.append(phone.answer_call(house.exchange, phone_event(token="wrong", From=NUMBER)))
    telemetry.metrics.flush_metrics()
    return answers


def test_logs_and_metrics_name_nobody_and_quote_nothing(
    whole_call: House, vapis: Vapis, ledger: Ledger, written: Written
) -> None:
    play(whole_call, vapis, ledger)

    text = written.text()
    said = {json.loads(line).get("message") for line in text.splitlines()}
    assert {
        "phone request refused",
        "tool call accepted",
        "inline tool failed",
        "tool attempt failed",
        "a caller did not reach the assistant",
        "the pipeline is slow",
    } <= said
    for secret in (CANARY, NUMBER, NUMBER.removeprefix("+"), "vapi.ai", *development.SECRETS.values()):
        assert secret not in text


def test_a_field_that_is_not_allowed_never_reaches_a_log(written: Written) -> None:
    telemetry.log("something happened", caller=NUMBER, call_id=CALL)

    line = json.loads(written.text())
    assert (line["call_id"], line["left_out"]) == (CALL, ["caller"])
    assert NUMBER not in str(line)


def test_queues_carry_no_words(whole_call: House, vapis: Vapis, ledger: Ledger) -> None:
    bodies: list[str] = []
    for queue in (whole_call.desk.live_queue, whole_call.desk.after_call_queue):
        original = queue.send

        def send(ticket: Any, delay: int = 0, original: Any = original) -> None:
            bodies.append(ticket.body())
            original(ticket, delay)

        queue.send = send  # type: ignore[method-assign]  # a spy for one test
    play(whole_call, vapis, ledger)

    assert len(bodies) > 3
    assert not [body for body in bodies if CANARY in body or NUMBER in body]


def test_answers_hold_no_secret_and_echo_no_number(whole_call: House, vapis: Vapis, ledger: Ledger) -> None:
    answers = str(play(whole_call, vapis, ledger))

    for secret in (*development.SECRETS.values(), "password"):
        assert secret not in answers


def test_the_table_keeps_no_control_url_and_no_foreign_secret(whole_call: House, vapis: Vapis, ledger: Ledger) -> None:
    play(whole_call, vapis, ledger)

    items = whole_call.items(f"CALL#{CALL}")
    assert "/control" not in str(items)
    assert "twilioAuthToken" not in str(items)
    assert CANARY not in str(items["META"]) + str(items["REPORT"])
