"""Reason codes: each has words, and the newest one that was logged is found."""

import ast
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import refusals
from devkit.refusals import DOORS, PHONE_REASONS, REASONS, Refusal, newest
from switchboard import errors
from switchboard.console import SENTENCES
from tests.markdown import ROOT

NOW = 1_800_000_000.0
PACKAGE = ROOT / "layers/switchboard/switchboard"
PAGE = ("console.py", "tokens.py")  # who is refused there reads why at once: tests/integration/test_console.py
RAISED = {"SignatureRefused": 0, "MessageRefused": 1, "Refused": 1}  # where the reason is among the arguments


def reasons() -> set[str]:
    """Every reason code of the signed doors in the package's source."""
    return codes(path for path in PACKAGE.glob("*.py") if path.name not in PAGE)


def codes(paths: Iterable[Path]) -> set[str]:
    """Every reason code in these files."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in RAISED:
                    found |= texts(node.args[RAISED[name]])
    return found


def texts(argument: ast.expr) -> set[str]:
    """What an argument may be: a code, or one of two."""
    if isinstance(argument, ast.IfExp):
        return texts(argument.body) | texts(argument.orelse)
    assert isinstance(argument, ast.Constant), "a reason is a constant, so that it can be looked up"
    return {str(argument.value)}


def test_every_reason_of_the_package_has_words_and_no_other_does() -> None:
    assert reasons() == REASONS.keys()
    assert reasons() == PHONE_REASONS.keys()
    assert {"signature_mismatch", "body_not_utf8", "org_not_allowed"} <= REASONS.keys()


def test_whoever_is_refused_at_the_console_reads_why() -> None:
    # Each has a sentence of its own, or the one of its status says enough.
    plain = {"path", "body", "content_type", "body_too_large", "summary", "token_malformed", "no_secret"}
    plain |= {"signature_mismatch"}

    assert codes(PACKAGE / name for name in PAGE) == plain | (SENTENCES.keys() - set(OUTCOMES))


# What comes of an action is no refusal of the request.
OUTCOMES = (
    *("call_ended", "no_control_url", "no_phone", "no_such_person", "not_moved", "transfer_under_way", "unavailable"),
)


def test_nothing_else_is_a_refusal() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.Refused)}

    assert kinds == RAISED.keys()


@pytest.mark.parametrize("reason", sorted(REASONS))
@pytest.mark.parametrize("door", DOORS.values())
def test_a_refusal_says_when_where_and_what_to_do(reason: str, door: str) -> None:
    head, sentence = str(Refusal(NOW, door, reason)).splitlines()

    assert head == f"2027-01-15 08:00:00 UTC  {door}  {reason}"
    assert sentence.startswith("Refused because ")
    assert sentence.endswith(".")
    assert ": " in sentence


def test_a_reason_of_another_version_is_said_to_be_one() -> None:
    assert "another version" in Refusal(NOW, DOORS["vapi-webhook"], "invented").sentence


def test_the_same_code_means_something_else_at_the_phone() -> None:
    mine, phone = (Refusal(NOW, door, "signature_mismatch").sentence for door in list(DOORS.values())[:2])

    assert "Vapi" in mine
    assert "auth token" in phone


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CloudWatch Logs with the groups of a stack, at NOW: it takes no lines of the future or of long ago."""
    monkeypatch.setattr("moto.logs.models.utcnow", lambda: datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None))
    with mock_aws():
        client = boto3.client("logs", region_name="us-east-1")
        for suffix in (*DOORS, "health"):
            client.create_log_group(logGroupName=f"/aws/lambda/acme-{suffix}")
        yield client


def write(logs: Any, suffix: str, *lines: tuple[float, Any]) -> None:
    """Log lines, each so many seconds before NOW."""
    group, stream = f"/aws/lambda/acme-{suffix}", f"s{len(lines)}-{lines[0][0]}"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [
        {"timestamp": int((NOW - ago) * 1000), "message": line if isinstance(line, str) else json.dumps(line)}
        for ago, line in lines
    ]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def refused(reason: str, message: str = "signature refused") -> dict[str, str]:
    """A line as telemetry writes it."""
    return {"level": "INFO", "message": message, "reason": reason}


@pytest.mark.parametrize("message", sorted(refusals.LINES))
@pytest.mark.parametrize("ago", [5, 700, 4000, 9 * 86400])
def test_the_newest_refusal_of_all_doors_is_found(logs: Any, ago: float, message: str) -> None:
    write(logs, "vapi-webhook", (ago + 4, refused("timestamp_stale")), (ago + 2, refused("no_secret")))
    write(logs, "twilio-voice", (ago + 1, refused("fields", message)), (ago, {"message": "caller connected"}))
    write(logs, "twilio-callbacks", (ago + 3, refused("account", "phone request refused")))

    assert newest(logs, "acme", NOW) == Refusal(NOW - ago - 1, "POST /voice/inbound", "fields")


def test_lines_about_other_things_are_passed_over(logs: Any) -> None:
    write(
        logs,
        "vapi-webhook",
        (5, refused("no_secret")),
        (4, "refused, but no JSON"),
        (3, "[1]"),
        (2, {"message": "somebody refused", "reason": "x"}),
        (1, {"message": "signature refused"}),
    )

    found = newest(logs, "acme", NOW)
    assert found
    assert found.reason == "no_secret"


def test_without_a_refusal_there_is_none(logs: Any) -> None:
    assert newest(logs, "acme", NOW) is None


def test_a_stack_without_logs_is_not_taken_for_one_without_refusals(logs: Any) -> None:
    with pytest.raises(LookupError):
        newest(logs, "other", NOW)


def test_a_door_whose_log_is_gone_is_passed_over(logs: Any) -> None:
    write(logs, "twilio-voice", (5, refused("fields", "phone request refused")))
    logs.delete_log_group(logGroupName="/aws/lambda/acme-vapi-webhook")

    found = newest(logs, "acme", NOW)
    assert found
    assert found.reason == "fields"
