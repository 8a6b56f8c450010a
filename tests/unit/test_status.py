"""How busy a stack is, out of a table as the package writes it."""

import argparse
import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from devkit import status, target
from devkit.errors import UserError
from devkit.status import LATE_SECONDS, Limits
from devkit.target import Target
from switchboard import admission
from switchboard.errors import Unavailable
from switchboard.settings import Settings
from switchboard.store import Item, Put, Store
from tests.conftest import NOW
from tests.memory import Memory

NUMBER = "+15550100042"
LIMITS = Limits(10, 1000)


@pytest.fixture
def table(settings: Settings) -> Memory:
    """Two calls, one of them for 65 seconds, somebody in line, three calls today and things that are unfinished."""
    made = Memory()
    rules = settings._replace(max_calls=10, daily_calls=1000)
    admission.enter(made, rules, "CA1", NOW - 65)
    admission.enter(made, rules, "CA2", NOW)
    admission.enter(made, rules, "CA3", NOW - 9000)
    admission.still_waiting(made, NOW)
    for _ in range(3):
        admission.count_call(made, rules, NUMBER, "secret", NOW)
    admission.count_call(made, rules, NUMBER, "secret", NOW - 24 * 3600)
    open_items = [
        ("CALL#1", "TOOL#a", 0, int(NOW) + 60),
        ("CALL#1", "TOOL#b", 7, int(NOW) - LATE_SECONDS),
        ("XFER#CA1", "META", 3, int(NOW) + 30),
        ("SID#CA1", "META", 3, int(NOW) - 9000),
    ]
    for pk, sk, shard, due in open_items:
        made.put(Put({"pk": pk, "sk": sk, "g1pk": f"OPEN#{shard}", "g1sk": due}))
    return made


def test_it_tells_what_the_table_knows(table: Memory) -> None:
    assert status.read(table, NOW) == status.Status(
        active=2,
        oldest_seconds=65,
        somebody_waits=True,
        calls_today=3,
        unfinished_tool_calls=2,
        transfers=1,
        overdue=1,
    )


def test_people_read_four_lines(table: Memory) -> None:
    assert status.as_text(status.read(table, NOW), LIMITS).splitlines() == [
        "active calls  2 of 10, the oldest for 1:05 minutes",
        "in line       somebody waits",
        "calls today   3 of 1000",
        "unfinished    2 tool calls, 1 transfers; 1 overdue, see the sweeper's log",
    ]


def test_a_quiet_stack_without_limits_says_so() -> None:
    quiet = status.read(Memory(), NOW)

    assert status.as_text(quiet, Limits(0, 0)).splitlines() == [
        "active calls  0 (no cap: nobody is counted)",
        "in line       nobody",
        "calls today   0 (no limit: not counted)",
        "unfinished    0 tool calls, 0 transfers",
    ]
    assert status.as_text(quiet, Limits(None, None)).splitlines()[0] == "active calls  0"


def test_programs_read_the_same(table: Memory) -> None:
    told = json.loads(status.as_json(status.read(table, NOW), Limits(10, None)))

    assert told == {
        "active": 2,
        "oldest_seconds": 65,
        "somebody_waits": True,
        "calls_today": 3,
        "unfinished_tool_calls": 2,
        "transfers": 1,
        "overdue": 1,
        "max_calls": 10,
        "daily_calls": None,
    }


def deployed(table: Store, monkeypatch: pytest.MonkeyPatch, stacks: Any) -> argparse.Namespace:
    """A stack whose table is this one, and the command line that names it."""
    monkeypatch.setattr(target, "chosen", lambda _: Target("shop", lambda _: SimpleNamespace(**stacks)))
    monkeypatch.setattr(status, "Store", lambda name, _: {"shop-calls": table}[name])
    monkeypatch.setattr(status, "time", SimpleNamespace(time=lambda: NOW))
    parser = argparse.ArgumentParser()
    status.arguments(parser)
    return parser.parse_args([])


def stack(**parameters: str) -> dict[str, Any]:
    """CloudFormation's answer."""
    listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    return {"describe_stacks": lambda StackName: {"Stacks": [{"Parameters": listed}]}}


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_it_with_the_stacks_own_limits_and_no_number(
    table: Memory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    args = deployed(table, monkeypatch, stack(MaxCalls="12", DailyCalls="50"))
    args.json = as_json

    assert status.run(args) == 0
    printed = capsys.readouterr().out
    assert NUMBER[-4:] not in printed
    if as_json:
        assert json.loads(printed)["max_calls"] == 12
    else:
        assert "2 of 12" in printed
        assert "3 of 50" in printed


def test_a_stack_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(StackName: str) -> None:
        raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")

    args = deployed(Memory(), monkeypatch, {"describe_stacks": missing})

    with pytest.raises(UserError, match="there is no stack 'shop' here"):
        status.run(args)


def test_whatever_else_aws_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(StackName: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeStacks")

    args = deployed(Memory(), monkeypatch, {"describe_stacks": denied})

    with pytest.raises(UserError, match="AWS refused: AccessDenied"):
        status.run(args)


def test_a_table_that_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(Memory):
        def query(self, pk: str, prefix: str) -> list[Item]:
            raise Unavailable("table: ResourceNotFoundException")

    args = deployed(Down(), monkeypatch, stack())

    with pytest.raises(UserError, match="the table does not answer: table: ResourceNotFoundException"):
        status.run(args)
