"""`switchboard dial`: what it asks for, what it says of each answer, and that a key is known whatever happens."""

import argparse
import io
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from devkit import dial, target
from devkit.errors import UserError
from devkit.target import Target

ROOT = Path(__file__).parents[2]
NUMBER = "+15550100123"
CALL = "c0ffee00-0000-4000-8000-0000000000d1"


class Functions:
    """Lambda: keeps what it is asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: object = {"state": "placed", "callId": CALL}
        self.error = ""

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        """One invocation."""
        self.asked.append((FunctionName, json.loads(Payload)))
        failed = {"FunctionError": self.error} if self.error else {}
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **failed}


class Stacks:
    """CloudFormation: one stack and its outputs."""

    def __init__(self, **outputs: str) -> None:
        self.outputs = outputs

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        """The stack, if it is asked for by its name."""
        if StackName != "frontdesk":
            raise ClientError({"Error": {"Code": "ValidationError", "Message": f"no {StackName}"}}, "DescribeStacks")
        found = [{"OutputKey": name, "OutputValue": value} for name, value in self.outputs.items()]
        return {"Stacks": [{"Outputs": found} if found else {}]}


@pytest.fixture
def functions() -> Functions:
    """Lambda."""
    return Functions()


@pytest.fixture
def stacks() -> Stacks:
    """CloudFormation."""
    return Stacks(OutboundFunctionName="frontdesk-OutboundFunction-1", TableName="frontdesk-calls")


@pytest.fixture
def aws(functions: Functions, stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account that the command finds."""
    clients: dict[str, Any] = {"lambda": functions, "cloudformation": stacks}
    monkeypatch.setattr(target, "chosen", lambda args: Target(args.stack_name or "switchboard", clients.__getitem__))


def run(*arguments: str) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser()
    dial.arguments(parser)
    return dial.run(parser.parse_args(["--stack", "frontdesk", NUMBER, *arguments]))


@pytest.mark.usefixtures("aws")
def test_it_asks_the_stacks_function_and_says_which_call_it_is(
    functions: Functions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--key", "apt_1", "--assistant", "asst_1", "--set", "name=Zoë", "--set", "time=9=00", "--set", "x=") == 0

    assert functions.asked == [
        (
            "frontdesk-OutboundFunction-1",
            {
                "to": NUMBER,
                "key": "apt_1",
                "assistantId": "asst_1",
                "variableValues": {"name": "Zoë", "time": "9=00", "x": ""},
            },
        )
    ]
    assert capsys.readouterr().out == f"placed: call {CALL}\n"


@pytest.mark.usefixtures("aws")
def test_a_key_that_it_makes_is_said_first_and_is_never_the_same(
    functions: Functions, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.answer = {"state": "unknown", "reason": "ReadTimeout"}
    for _ in range(2):
        with pytest.raises(UserError):
            run()

    keys = [event["key"] for _, event in functions.asked]
    assert all(set(event) == {"to", "key"} for _, event in functions.asked)
    assert len({uuid.UUID(key) for key in keys}) == 2
    assert capsys.readouterr().out == "".join(f"key {key}\n" for key in keys)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"state": "refused", "reason": "quiet_hours"}, "not placed (quiet_hours): it is night where the number is"),
        ({"state": "refused", "reason": "concurrency"}, "not placed (concurrency): Vapi has no free line"),
        ({"state": "refused", "reason": "http_404"}, "not placed (http_404): Vapi refused it; ask again"),
        (
            {"state": "unknown", "reason": "concurrency", "callId": CALL},
            f"perhaps placed (concurrency, call {CALL}): Vapi had no free line",
        ),
        ({"state": "unknown", "reason": "ReadTimeout"}, "perhaps placed (ReadTimeout): the answer of Vapi was lost"),
        ({}, "perhaps placed (): "),
    ],
    ids=str,
)
def test_what_is_not_placed_is_a_sentence(functions: Functions, answer: dict[str, str], words: str) -> None:
    functions.answer = answer

    with pytest.raises(UserError) as said:
        run("--key", "k")

    assert str(said.value).startswith(words)
    assert NUMBER not in str(said.value)


def test_every_reason_has_its_sentence() -> None:
    code = (ROOT / "layers/switchboard/switchboard/outbound.py").read_text()
    refused = re.findall(r'(?:NotPlaced\(|Outcome\(REFUSED, )"(\w+)"', code)
    refused += ["not_allowed", "quiet_hours"]  # what Rules.refusal says
    unknown = [*re.findall(r'Outcome\(UNKNOWN, "(\w+)"', code), "interrupted", "under_way"]

    assert all(f'"{reason}"' in code for reason in [*refused, *unknown])
    assert {*refused, "http_401"} == dial.REFUSED.keys()
    assert {*unknown} - {"no_call_id"} == dial.UNKNOWN.keys()  # an answer without an id is as good as a lost one


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"errorType": "SettingsError", "errorMessage": "QUIET_HOURS must be two different hours"},
            "the function failed: QUIET_HOURS must be two different hours",
        ),
        ({"errorType": "KeyError", "errorMessage": NUMBER}, "the function failed (KeyError); its log says why"),
        (None, "the function failed (None); its log says why"),
    ],
    ids=str,
)
def test_a_function_that_fails_is_said_without_what_it_failed_on(
    functions: Functions, answer: object, words: str
) -> None:
    functions.answer, functions.error = answer, "Unhandled"

    with pytest.raises(UserError) as said:
        run("--key", "k")

    assert str(said.value) == words


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("pair", ["name", "=value", ""])
def test_a_value_needs_a_name(functions: Functions, pair: str) -> None:
    with pytest.raises(UserError, match="--set wants NAME=VALUE"):
        run("--set", pair)

    assert functions.asked == []


@pytest.mark.usefixtures("aws")
def test_a_stack_from_before_says_so(stacks: Stacks, functions: Functions) -> None:
    stacks.outputs.clear()

    with pytest.raises(UserError, match="stack frontdesk has no output OutboundFunctionName"):
        run("--key", "k")

    assert functions.asked == []


@pytest.mark.usefixtures("aws")
def test_a_stack_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^AWS refused: ValidationError$"):
        run("--key", "k", "--stack-name", "nowhere")
