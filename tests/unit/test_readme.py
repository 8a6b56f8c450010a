"""The documents: their examples run, their links lead somewhere, and what they name exists."""

import inspect
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.cli import COMMANDS
from switchboard.tools import Call, Toolbox, ToolError
from tests import markdown
from tests.markdown import DOCUMENTS, ROOT, Block

README = ROOT / "README.md"
LANGUAGES = {
    "sh",
    "python",
    "yaml",
    "text",
    "mermaid",
}  # python runs below, yaml in the test of call scripts, sh see HOW


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, which are not of interest here."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: None)

# Every command of the documents, and where it is run.
HOW = {
    "make demo": "`.ci/run` runs it",
    "make test": "`.ci/run` runs it: this very test",
    "switchboard dial +12025550143 --key reminder-apt_1 --set name=Maria": "tests/unit/test_dial.py; the number is made up",
    "make up": "tests/local/test_stack.py runs `switchboard up`",
    "make down": "tests/local/test_stack.py runs `switchboard down`",
    "source .venv/bin/activate": "the set-up's own folder",
    'export PATH="$PWD/.local/bin:$PATH"': "what the Makefile does",
    "switchboard curl | sh": "tests/local/test_readme.py",
    "switchboard simulate devkit/calls/clinic_bypass.yaml": "tests/local/test_readme.py",
    "sam build": "`make test` runs it",
    "sam deploy --guided": "needs an account; tests/local deploys the same template with `sam deploy`",
    "sam delete": "needs an account",
    "switchboard secrets put vapi-webhook": "tests/local/test_readme.py",
    "switchboard secrets put vapi-api-key": "tests/local/test_readme.py",
    "switchboard secrets put twilio-auth-token": "tests/local/test_readme.py",
    "switchboard secrets list": "tests/local/test_readme.py",
    "switchboard secrets rotate vapi-webhook --generate ~/new-secret": "tests/unit/test_devkit_secrets.py",
    "switchboard secrets rotate twilio-auth-token": "tests/unit/test_devkit_secrets.py",
    "switchboard doctor --last": "tests/local/test_doctor.py",
    "switchboard doctor --local captured.txt": "tests/local/test_doctor.py; tests/unit/test_doctor.py",
    "switchboard call 5c0ffee0-0000-4000-8000-000000000001": "tests/integration/test_story.py; the id is made up",
    "switchboard call CA00000000000000000000000000000000 --json": "tests/integration/test_story.py; the id is made up",
    "python -m tests.benchmarks.front_door": "tests/unit/test_benchmarks.py",
    "python -m tests.benchmarks.cold": "tests/contract/test_cold_start.py starts the same functions in the same way",
    "python -m tests.benchmarks.inbound": "tests/unit/test_benchmarks.py",
    "switchboard dlq list": "tests/integration/test_dlq.py",
    "switchboard dlq redrive --lane live": "tests/integration/test_dlq.py",
    "switchboard invoke VapiWebhookFunction events/vapi_webhook/tool_call.json -n events/env.json": (
        "tests/contract runs it on every event"
    ),
    "sam local invoke VapiWebhookFunction -e events/vapi_webhook/tool_call.json -n events/env.json --add-host localhost:host-gateway": (
        "needs a container engine"
    ),
}


def test_every_command_of_the_documents_is_accounted_for() -> None:
    assert set(markdown.commands()) == set(HOW)


def test_every_block_says_its_language() -> None:
    found = {block.language for path in DOCUMENTS for block in markdown.blocks(path)}

    assert found <= LANGUAGES


def test_the_tool_of_the_readme_works() -> None:
    example, _ = [block for block in markdown.blocks(README) if block.language == "python"]
    scope: dict[str, Any] = {}
    exec(compile(example.text, "README.md", "exec"), scope)  # noqa: S102 - our own documentation

    tools = scope["tools"]
    assert isinstance(tools, Toolbox)
    tool = tools.get("opening_hours")
    assert tool
    assert tool.schema["properties"]["day"]["description"] == "The weekday that the caller asks about."
    assert [scope["opening_hours"](day) for day in ("Sunday", "Monday")] == ["Closed.", "Nine to five."]


def test_the_test_of_the_readme_passes_and_would_notice_a_fault(tmp_path: Path) -> None:
    _, example = [block for block in markdown.blocks(README) if block.language == "python"]
    assert len([line for line in example.text.splitlines() if line]) <= 5

    (tmp_path / "test_example.py").write_text(example.text)
    (tmp_path / "test_fault.py").write_text(example.text.replace("cannot see", "lost"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 failed, 1 passed" in ran.stdout
    assert "FAILED test_fault.py" in ran.stdout


def test_the_tool_of_the_page_about_tools_works() -> None:
    [example] = [block for block in markdown.blocks(ROOT / "docs/tools.md") if block.language == "python"]
    scope: dict[str, Any] = {}
    exec(compile(example.text, "tools.md", "exec"), scope)  # noqa: S102 - our own documentation

    call = Call(id="c-1", caller="+15550100001", idempotency_key="abcdef", now=datetime(2027, 1, 1, tzinfo=UTC))
    tool = scope["tools"].get("book_table")
    arguments = tool.parse({"table": "tab_7", "start": "2027-01-02T19:00:00-05:00"})
    assert tool.run(call, arguments) == "Table tab_7 is booked under abcd."
    with pytest.raises(ToolError):
        tool.run(call, tool.parse({"table": "tab_7", "start": "2026-01-02T19:00:00-05:00"}))


def test_every_option_of_a_tool_is_on_the_page_about_tools() -> None:
    text = (ROOT / "docs/tools.md").read_text()
    options = set(inspect.signature(Toolbox.tool).parameters) - {"self", "function"}

    assert {option for option in options if option not in text} == set()


def linked() -> list[tuple[Path, str]]:
    """Every link of every document."""
    return [(path, target) for path in DOCUMENTS for target in markdown.links(path)]


@pytest.mark.parametrize(("document", "target"), linked(), ids=str)
def test_every_link_leads_somewhere(document: Path, target: str) -> None:
    assert (document.parent / target).exists()


def test_the_readme_is_as_long_as_a_person_reads() -> None:
    assert 150 <= len(README.read_text().splitlines()) <= 250


def test_every_parameter_that_the_readme_names_exists_with_that_default() -> None:
    parameters = yaml.load((ROOT / "template.yaml").read_text(), Loader)["Parameters"]  # noqa: S506 - a safe loader
    table = README.read_text().split("## Parameters")[1].split("## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    named = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}

    assert set(parameters) - set(named) == {"Stage", "VapiApiUrl", "TwilioApiUrl", "AwsApiUrl"}
    assert set(named) <= set(parameters)
    for name, default in named.items():
        wanted = parameters[name]["Default"]
        assert not re.fullmatch(r"[\w-]{1,12}", str(wanted)) or f"`{wanted}`" in default, name


def test_every_output_that_the_readme_names_exists() -> None:
    outputs = yaml.load((ROOT / "template.yaml").read_text(), Loader)["Outputs"]  # noqa: S506 - a safe loader

    deploy = README.read_text().split("## Deploy")[1].split("## ")[0]

    assert {name for name in outputs if name.endswith("Url")} - {"HealthUrl"} == set(
        re.findall(r"^\| `(\w+)`", deploy, re.MULTILINE)
    )


def test_every_switchboard_command_of_the_documents_exists() -> None:
    for command in markdown.commands():
        if command.startswith("switchboard "):
            assert command.split()[1] in COMMANDS


@pytest.mark.parametrize(
    "block", [block for path in DOCUMENTS for block in markdown.blocks(path)], ids=lambda b: b.language
)
def test_no_block_names_a_path_of_somebodys_machine(block: Block) -> None:
    assert not re.search(r"/(home|root|Users)/", block.text)
