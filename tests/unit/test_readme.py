"""The documents: their examples run, their links lead somewhere, and what they name exists."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from mypy import api

from agent import agent
from devkit.assistant_rules import LIMITS, Needs, faults
from devkit.cli import COMMANDS
from switchboard.connection import Connection
from switchboard.desk import describe
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

# Every command of the documents that is not marked as needing an account, and the test that runs it.
HOW = {
    "make demo": ".ci/run",
    "make test": ".ci/run: this very test",
    "make build": ".ci/run: `make test` begins with it",
    "make deploy": "tests/unit/test_makefile.py; tests/local/test_deploy.py",
    "make undeploy": "tests/unit/test_makefile.py; tests/local/test_deploy.py",
    "switchboard canary": "tests/local/test_deploy.py",
    "switchboard status": "tests/integration/test_admission.py",
    "switchboard dial +12025550143 --key reminder-apt_1 --set name=Maria": "tests/unit/test_dial.py; the number is made up",
    "make up": "tests/local/test_stack.py runs `switchboard up`",
    "make down": "tests/local/test_stack.py runs `switchboard down`",
    "switchboard curl | sh": "tests/local/test_readme.py",
    "switchboard simulate devkit/calls/clinic_bypass.yaml": "tests/local/test_readme.py",
    "switchboard secrets list": "tests/local/test_readme.py",
    "switchboard secrets rotate vapi-webhook --generate ~/new-secret": "tests/unit/test_devkit_secrets.py",
    "switchboard secrets rotate twilio-auth-token": "tests/unit/test_devkit_secrets.py",
    "switchboard secrets put vapi-public-key": "tests/unit/test_devkit_secrets.py",
    "switchboard plan": "tests/local/test_connect.py, with --local",
    "switchboard connect": "tests/contract/test_connect.py; tests/local/test_connect.py, with --local",
    "switchboard disconnect": "tests/local/test_connect.py, with --local",
    "switchboard connect --local --yes": "tests/local/test_connect.py",
    "switchboard disconnect --local --yes": "tests/local/test_connect.py",
    "switchboard doctor --last": "tests/local/test_doctor.py",
    "switchboard doctor --local captured.txt": "tests/local/test_doctor.py; tests/unit/test_doctor.py",
    "switchboard call 5c0ffee0-0000-4000-8000-000000000001": "tests/integration/test_story.py; the id is made up",
    "switchboard call CA00000000000000000000000000000000 --json": "tests/integration/test_story.py; the id is made up",
    "python -m tests.benchmarks.front_door": "tests/unit/test_benchmarks.py",
    "python -m tests.benchmarks.cold": "tests/contract/test_cold_start.py starts the same functions in the same way",
    "python -m tests.benchmarks.cost": "tests/contract/test_cost.py plays the same call, faster; tests/unit/test_cost.py",
    "python -m tests.benchmarks.inbound": "tests/unit/test_benchmarks.py",
    "switchboard console": "tests/unit/test_devkit_console.py",
    "switchboard console --minutes 240 --words": "tests/unit/test_devkit_console.py",
    "switchboard audit --day 2026-03-31": "tests/unit/test_devkit_console.py",
    "switchboard dlq list": "tests/integration/test_dlq.py",
    "switchboard dlq redrive --lane live": "tests/integration/test_dlq.py",
    "switchboard invoke VapiWebhookFunction events/vapi_webhook/tool_call.json -n events/env.json": (
        "tests/contract/test_events.py, on every event"
    ),
    "sam local invoke VapiWebhookFunction -e events/vapi_webhook/tool_call.json -n events/env.json --add-host localhost:host-gateway": (
        "tests/contract/test_events.py runs the same events; this way needs a container engine"
    ),
    "source .venv/bin/activate": "devkit/setup makes the folder",
}


def test_every_command_of_the_documents_is_run_by_a_test_or_marked_as_needing_an_account() -> None:
    assert set(markdown.commands()) == set(HOW)


@pytest.mark.parametrize(("command", "how"), HOW.items(), ids=str)
def test_what_runs_a_command_exists(command: str, how: str) -> None:
    named = re.findall(r"(?:tests|devkit|\.ci)/[\w/.]*\w", how)

    assert named
    assert all((ROOT / name).exists() for name in named)


def test_a_block_is_marked_by_the_line_before_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Needs an account:\n\n```sh\none\n```\n\nNeeds an account, too:\n\n```sh\ntwo\n```\n")

    assert [(block.text, block.marked) for block in markdown.blocks(page)] == [("one\n", True), ("two\n", False)]


def test_every_make_target_of_the_documents_exists() -> None:
    targets = re.findall(r"^\.PHONY: (\w+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {
        command.split()[1]
        for marked in (True, False)
        for command in markdown.commands(marked=marked)
        if command.startswith("make ")
    }

    assert named <= set(targets)


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
    assert tool.arguments.schema["properties"]["day"]["description"] == "The weekday that the caller asks about."
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


def test_six_lines_at_the_end_of_one_file_are_a_tool_that_the_assistant_offers(tmp_path: Path) -> None:
    first, _ = [block for block in markdown.blocks(ROOT / "docs/tools.md") if block.language == "python"]
    assert len(first.text.splitlines()) == 6

    shutil.copytree(ROOT / "layers/agent/agent", tmp_path / "agent")
    with (tmp_path / "agent/tools.py").open("a") as file:
        file.write(f"\n\n{first.text}")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from agent import agent\n"
        "from switchboard.desk import Backend\n"
        "print([one['function'] for one in agent.configuration(Backend())['model']['tools'] if 'function' in one][-1])"
    )
    offered = ast.literal_eval(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )

    assert offered["name"] == "opening_hours"
    assert offered["parameters"]["properties"]["day"]["description"] == "The weekday that the caller asks about."


def test_the_tool_of_the_page_about_tools_works() -> None:
    _, example = [block for block in markdown.blocks(ROOT / "docs/tools.md") if block.language == "python"]
    scope: dict[str, Any] = {}
    exec(compile(example.text, "tools.md", "exec"), scope)  # noqa: S102 - our own documentation

    call = Call(id="c-1", caller="+15550100001", idempotency_key="abcdef", now=datetime(2027, 1, 1, tzinfo=UTC))
    tool = scope["tools"].get("book_table")
    arguments = tool.parse({"table": "tab_7", "start": "2027-01-02T19:00:00-05:00"})
    assert tool.run(call, arguments) == "Table tab_7 is booked under abcd."
    with pytest.raises(ToolError):
        tool.run(call, tool.parse({"table": "tab_7", "start": "2026-01-02T19:00:00-05:00"}))


RECIPES = [block.text for block in markdown.blocks(ROOT / "docs/latency.md") if block.language == "python"]
STACK = describe("https://voice.example.com", Connection(), store_transcripts=True, control_authentication=False)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda text: text.split("def ")[1].split("(")[0])
def test_a_recipe_makes_an_assistant_that_vapi_takes(recipe: str) -> None:
    scope: dict[str, Any] = {}
    exec(compile(recipe, "latency.md", "exec"), scope)  # noqa: S102 - our own documentation
    [change] = [value for value in scope.values() if inspect.isfunction(value)]
    changed = change(agent.configuration(STACK))

    assert changed != agent.configuration(STACK)
    assert faults(changed, Needs.of(STACK, agent)) == []


def test_the_recipes_have_the_types_of_an_assistant(tmp_path: Path) -> None:
    assert len(RECIPES) == 3
    for number, recipe in enumerate(RECIPES):
        (tmp_path / f"recipe_{number}.py").write_text(recipe)

    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    said, _, code = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), *files])
    assert code == 0, said


def test_every_limit_on_the_page_about_latency_is_the_checked_one() -> None:
    rows = [line.split("|") for line in (ROOT / "docs/latency.md").read_text().splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): row[3].strip() for row in rows if row[1].strip(" `") in LIMITS}

    assert len(told) == 14
    assert told == {place: f"{LIMITS[place].least:g} to {LIMITS[place].most:g}" for place in told}


def test_the_faults_on_the_page_about_latency_are_really_told() -> None:
    [block] = [block for block in markdown.blocks(ROOT / "docs/latency.md") if block.language == "text"]
    config = {
        **agent.configuration(STACK),
        "recordingEnabled": True,
        "transcriber": {"provider": "deepgram", "model": "nova-3", "endpointing": 0.3},
        "serverMessages": [*STACK.server_messages, "phone-call-control"],
    }

    assert sorted(faults(config, Needs.of(STACK, agent))) == sorted(block.text.splitlines())


def test_every_type_of_message_is_on_the_page_about_latency() -> None:
    text = (ROOT / "docs/latency.md").read_text()

    assert {kind for kind in STACK.server_messages if f"`{kind}`" not in text} == set()


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
    for command in [*markdown.commands(), *markdown.commands(marked=True)]:
        if command.startswith("switchboard "):
            assert command.split()[1] in COMMANDS


@pytest.mark.parametrize(
    "block", [block for path in DOCUMENTS for block in markdown.blocks(path)], ids=lambda b: b.language
)
def test_no_block_names_a_path_of_somebodys_machine(block: Block) -> None:
    assert not re.search(r"/(home|root|Users)/", block.text)
