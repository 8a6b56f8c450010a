"""The fixture that ships for authors of tools: found by pytest on its own, without a word in a conftest."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from devkit.testing import CALLER, KEY, NOON, MakeCall

# What somebody writes who has read the README: a tool, and five lines to test it.
TOOL = '''
from switchboard.tools import Call, Toolbox

tools = Toolbox()


@tools.tool(effect="read")
def opening_hours(call: Call) -> str:
    """Say when we are open today."""
    return "Closed." if f"{call.now:%A}" == "Sunday" else "Nine to five."
'''
TEST = """
from datetime import UTC, datetime
from my_tools import opening_hours

def test_we_are_closed_on_sundays(call):
    assert opening_hours(call(now=datetime(2026, 11, 22, tzinfo=UTC))) == "Closed."
"""


def test_a_tool_is_tested_in_five_lines(tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text(TOOL)
    (tmp_path / "test_my_tools.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert len([line for line in TEST.splitlines() if line]) <= 5
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_what_a_test_does_not_care_about_is_the_same_every_time(call: MakeCall) -> None:
    made = call()

    assert (made.caller, made.now, made.idempotency_key, made.attempt) == (CALLER, NOON, KEY, 1)
    assert made.remaining() == call().remaining() > 0
    assert made.still_owner()


def test_what_a_test_cares_about_is_given(call: MakeCall) -> None:
    now = datetime(2026, 11, 22, 9, tzinfo=UTC)
    made = call(caller="+15550100002", now=now, key="k", attempt=2)

    assert (made.caller, made.now, made.idempotency_key, made.attempt) == ("+15550100002", now, "k", 2)
