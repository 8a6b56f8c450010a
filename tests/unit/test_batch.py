"""A batch from SQS: every record is attended to, and only those that failed come back."""

from collections.abc import Mapping
from typing import Any

import pytest

from switchboard import worker
from switchboard.errors import Unavailable

RECORDS = [{"messageId": f"m-{number}", "body": str(number)} for number in range(4)]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is said about failures."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(worker, "warn", lambda event, **fields: said.append({"event": event, **fields}))
    return said


def test_records_that_fail_come_back_alone(warned: list[dict[str, Any]]) -> None:
    attended = []

    def attend(record: Mapping[str, Any]) -> None:
        attended.append(record["body"])
        if record["body"] == "1":
            raise Unavailable("table: ThrottlingException")
        if record["body"] == "2":
            raise KeyError("words of a caller")

    answer = worker.each(RECORDS, attend)

    assert attended == ["0", "1", "2", "3"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}, {"itemIdentifier": "m-2"}]}
    # The outage has its line already.
    assert warned == [{"event": "record failed", "code": "KeyError"}]


def test_a_batch_without_failures_is_done(warned: list[dict[str, Any]]) -> None:
    assert worker.each(RECORDS, lambda _: None) == {"batchItemFailures": []}
    assert not warned


def test_what_ends_the_process_ends_the_batch() -> None:
    def interrupted(_: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.each(RECORDS, interrupted)
