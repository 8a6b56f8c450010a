"""Messages on a queue carry ids only, and what this code never wrote blocks nothing."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from switchboard.errors import Unavailable
from switchboard.queue import Queue, Ticket

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/switchboard-live"


class Sqs:
    """Keeps what was asked of it."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._fails = fails

    def send_message(self, **request: Any) -> dict[str, Any]:
        return self._take("send", request)

    def change_message_visibility(self, **request: Any) -> dict[str, Any]:
        return self._take("hide", request)

    def _take(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append((what, request))
        if self._fails:
            raise self._fails
        return {}


def test_a_ticket_is_sent_as_ids_and_nothing_else() -> None:
    sqs = Sqs()

    Queue(URL, sqs).send(Ticket("c-1", "TOOL#t1"))
    Queue(URL, sqs).send(Ticket("c-1", "TOOL#t1", due="speak"), 7)

    (_, first), (_, second) = sqs.requests
    assert first == {
        "QueueUrl": URL,
        "MessageBody": '{"v":1,"c":"c-1","t":"TOOL#t1","d":"run"}',
        "DelaySeconds": 0,
    }
    assert (json.loads(second["MessageBody"])["d"], second["DelaySeconds"]) == ("speak", 7)


def test_a_message_is_hidden_by_its_receipt() -> None:
    sqs = Sqs()

    Queue(URL, sqs).hide("receipt", 9)

    assert sqs.requests == [("hide", {"QueueUrl": URL, "ReceiptHandle": "receipt", "VisibilityTimeout": 9})]


def test_a_queue_that_does_not_answer_is_an_outage_without_content() -> None:
    refusal = ClientError({"Error": {"Code": "AccessDenied", "Message": "private"}}, "SendMessage")

    with pytest.raises(Unavailable, match=r"^queue: AccessDenied$"):
        Queue(URL, Sqs(refusal)).send(Ticket("c", "t"))
    with pytest.raises(Unavailable, match=r"^queue: AccessDenied$"):
        Queue(URL, Sqs(refusal)).hide("receipt", 1)


@given(st.builds(Ticket, st.text(min_size=1), st.text(min_size=1), st.sampled_from(["run", "speak"])))
def test_a_ticket_reads_back_as_it_was_written(ticket: Ticket) -> None:
    assert Ticket.read(ticket.body()) == ticket


def test_a_ticket_without_a_purpose_is_for_running() -> None:
    assert Ticket.read('{"c":"c-1","t":"TOOL#t1"}') == Ticket("c-1", "TOOL#t1", "run")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "null",
        "[]",
        "5",
        '"text"',
        "{}",
        '{"c":"c-1"}',
        '{"t":"TOOL#t1"}',
        '{"c":"","t":"TOOL#t1"}',
        '{"c":"c-1","t":""}',
        '{"c":5,"t":"TOOL#t1"}',
        '{"c":"c-1","t":["TOOL#t1"]}',
        '{"c":"c-1","t":null}',
        '{"c":"c-1","t":"TOOL#t1","d":"jump"}',
        '{"c":"c-1","t":"TOOL#t1","d":null}',
        '{"c":"c-1","t":"TOOL#t1","d":["run"]}',
        '{"c":"c-1","t":"TOOL#t1","d":' + "9" * 5_000 + "}",
    ],
)
def test_what_this_code_never_wrote_is_no_ticket(body: str) -> None:
    assert Ticket.read(body) is None


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"c":"c-1","t":['])
def test_a_body_of_any_depth_is_no_ticket(opening: str) -> None:
    # As deep as SQS carries: 256 KB.
    assert Ticket.read(opening * (256 * 1024 // len(opening))) is None


@given(st.text())
def test_no_text_makes_reading_a_ticket_fail(body: str) -> None:
    assert Ticket.read(body) is None
