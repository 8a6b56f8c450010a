from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from devkit.errors import UserError
from devkit.exchange_legs import Person
from devkit.script import (
    Back,
    Hangup,
    Hear,
    Pause,
    Phone,
    Report,
    Scene,
    Speech,
    Tools,
    fill,
    load,
    parse,
    spoken,
    when,
)

CALL = {"kind": "bypass", "from": "+15555550134"}
SUNDAY = datetime(2026, 11, 22, 13, 5, tzinfo=ZoneInfo("America/New_York"))


def script(*steps: Any, **call: Any) -> Any:
    return parse({"call": CALL | call, "steps": list(steps)}, "call.yaml")


def test_every_kind_of_step_is_read() -> None:
    read = script(
        {"assistant": "Hello."},
        {"caller": "Wait.", "interrupts": True},
        {"tool": {"name": "find", "expect": "apt"}},
        {"hear": "Thursday"},
        {"forged": "phone"},
        {"pause": 2},
        {"hangup": "assistant"},
        "report",
        {"report": {"summary": "Short."}},
    )

    assert read.steps[0] == Speech("assistant", "Hello.")
    assert read.steps[1] == Speech("user", "Wait.", interrupts=True)
    assert read.steps[2].uses[0].expect == {"result": "apt"}
    assert read.steps[3] == Hear("Thursday", within=10)
    assert read.steps[5:] == (Pause(2), Hangup("assistant"), Report(), Report("Short."))


def test_several_tools_make_one_message() -> None:
    (step,) = script({"tool": [{"name": "a"}, {"name": "b", "arguments": {"x": 1}, "duplicate": True}]}).steps

    assert isinstance(step, Tools)
    assert [use.name for use in step.uses] == ["a", "b"]
    assert step.duplicate


def test_the_call_has_defaults_and_takes_its_own() -> None:
    plain = script("report").call
    own = script("report", to="+4930123456", name="Jane", zone="Europe/Berlin", pace=3).call

    assert (plain.name, plain.zone.key, plain.pace) == ("caller", "UTC", 1)
    assert (own.dialled, own.name, own.zone.key, own.pace) == ("+4930123456", "Jane", "Europe/Berlin", 3)


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([{"asistant": "x"}], "step 1: a step is exactly one of assistant, caller,"),
        ([{"assistant": "x", "caller": "y"}], "step 1: a step is exactly one of"),
        (["hangup"], "step 1: a step begins with one of"),
        ([{"assistant": ""}], "step 1: words are missing"),
        ([{"assistant": 5}], "step 1: words are missing, or not text: 5"),
        ([{"assistant": "x", "interrupts": True}], "step 1: interrupts does not belong beside assistant"),
        ([{"caller": "x", "interrupt": True}], "step 1: interrupt is not known here"),
        ([{"caller": "x", "interrupts": "yes"}], "step 1: interrupts is true or false"),
        ([{"caller": "x", "interrupts": True}], "step 1: there is nothing to interrupt"),
        ([{"caller": "x"}, {"caller": "y", "interrupts": True}], "step 2: there is nothing to interrupt"),
        ([{"tool": {"arguments": {}}}], "step 1: name is missing"),
        ([{"tool": {"name": "t", "arguments": [1]}}], "step 1: arguments is a mapping"),
        ([{"tool": {"name": "t", "expects": "x"}}], "step 1: expects is not known here; known: name, arguments,"),
        ([{"tool": {"name": "t", "expect": {"status": "x"}}}], "step 1: status is not known here"),
        ([{"tool": {"name": "t", "duplicate": 2}}], "step 1: duplicate is true or false"),
        ([{"hear": {"within": 3}}], "step 1: contains is missing"),
        ([{"hear": {"contains": "x", "within": 0}}], "step 1: within is a number above 0"),
        ([{"pause": True}], "step 1: pause is a number above 0"),
        ([{"forged": "letter"}], "step 1: forged is one of webhook, phone"),
        ([{"hangup": "nobody"}], "step 1: hangup is one of caller, assistant"),
        ([{"report": {"words": "x"}}], "step 1: words is not known here"),
        ([{"assistant": "at {{ noon }}"}], "step 1: {{ noon }} is not known; known are greeting,"),
        ([{"assistant": "{{ next caturday 10:00 }}"}], "step 1: {{ next caturday 10:00 }} is not known"),
        ([{"assistant": "{{ today 24:00 }}"}], "step 1: {{ today 24:00 }} is not known"),
        ([{"tool": {"name": "t", "arguments": {"a": ["{{ x }}"]}}}], "step 1: {{ x }} is not known"),
        ([{"assistant": "{{ result /[/ }}"}], "the pattern is not a regular expression"),
        ([{"hangup": "caller"}, {"caller": "x"}], "step 2: the call is over"),
        ([{"hangup": "caller"}, {"hangup": "caller"}], "step 2: the call is over"),
        ([], "steps is a list with at least one step"),
    ],
)
def test_a_wrong_step_is_told_in_one_line_with_file_and_number(steps: list[Any], error: str) -> None:
    with pytest.raises(UserError) as raised:
        script(*steps)

    assert str(raised.value).startswith("call.yaml, step")
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"kind": "web"}, "kind is bypass"),
        ({"from": 15555550134}, "from is a phone number in quotes"),
        ({"to": "anonymous"}, "to is a phone number in quotes"),
        ({"zone": "Mars/Olympus"}, "zone 'Mars/Olympus' is not a time zone"),
        ({"zone": "../etc"}, "zone '../etc' is not a time zone"),
        ({"pace": 0}, "pace is a number above 0"),
        ({"colour": "red"}, "colour is not known here"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(call: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=r"call\.yaml, call: ") as raised:
        script("report", **call)

    assert error in str(raised.value)


@pytest.mark.parametrize(
    "document", [None, [], "x", {"steps": []}, {"call": CALL}, {"call": CALL, "steps": ["report"], "more": 1}]
)
def test_what_is_no_script_is_told(document: Any) -> None:
    with pytest.raises(UserError, match=r"call\.yaml: a script has two parts"):
        parse(document, "call.yaml")


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    path.write_text("call:\n  kind: [bypass\nsteps: []\n")

    with pytest.raises(UserError, match=r"call\.yaml, line 3: this is not YAML"):
        load(path)
    with pytest.raises(UserError, match="No such file or directory"):
        load(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "devkit/calls").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_scripts_of_this_project_are_right(path: Path) -> None:
    assert load(path).steps


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("today 17:00", "2026-11-22T17:00:00-05:00"),
        ("tomorrow 9:30", "2026-11-23T09:30:00-05:00"),
        ("in 10 days 00:00", "2026-12-02T00:00:00-05:00"),
        ("next monday 8:00", "2026-11-23T08:00:00-05:00"),
        ("next thursday 14:00", "2026-11-26T14:00:00-05:00"),
        ("next Sunday 14:00", "2026-11-29T14:00:00-05:00"),
    ],
)
def test_times_are_counted_from_now_in_the_zone_of_the_call(words: str, moment: str) -> None:
    assert when(words, SUNDAY).isoformat() == moment


def test_a_time_keeps_its_hour_when_the_clocks_change() -> None:
    before = datetime(2026, 3, 6, 12, tzinfo=ZoneInfo("America/New_York"))

    assert when("next monday 14:00", before).isoformat() == "2026-03-09T14:00:00-04:00"


def test_a_time_is_spoken_as_people_do() -> None:
    assert spoken(when("next thursday 14:00", SUNDAY)) == "Thursday, November 26 at 2:00 PM"
    assert spoken(when("tomorrow 0:05", SUNDAY)) == "Monday, November 23 at 12:05 AM"


def test_expressions_are_filled_in_wherever_they_stand() -> None:
    scene = Scene(SUNDAY, "Good day.", {"find": "apt_7 on Monday", "change": "Accepted"})
    value = {"a": ["{{ result find /apt_[0-9]+/ }}", 3], "b": "{{greeting}} {{ result }}, {{ tomorrow 9:00 spoken }}."}

    assert fill(value, scene) == {"a": ["apt_7", 3], "b": "Good day. Accepted, Monday, November 23 at 9:00 AM."}


@pytest.mark.parametrize("expression", ["{{ result }}", "{{ result other }}", "{{ result find /apt_9/ }}"])
def test_a_result_that_nobody_gave_is_told(expression: str) -> None:
    results = {} if expression == "{{ result }}" else {"find": "apt_7"}

    with pytest.raises(UserError, match="no tool has answered that yet"):
        fill(expression, Scene(SUNDAY, "", results))


def test_a_transfer_ends_one_part_of_the_call_and_begins_another() -> None:
    read = script(
        {"hangup": "transfer"},
        "report",
        {"back": {"within": 5}},
        {"assistant": "Hello again."},
        {"hangup": "transfer"},
        "back",
        {"hangup": "assistant"},
        "report",
    )

    assert read.transferred
    assert [step for step in read.steps if isinstance(step, Back)] == [Back(5), Back(30)]
    assert not script({"hangup": "caller"}).transferred


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (["back"], "step 1: nobody can come back who has not left"),
        ([{"hangup": "caller"}, "back"], "step 2: nobody can come back who has not left"),
        ([{"hangup": "transfer"}, "back", "back"], "step 3: nobody can come back who has not left"),
        ([{"hangup": "transfer"}, {"assistant": "Hello?"}], "step 2: the call is over"),
        ([{"hangup": "transfer"}, "back", {"hangup": "caller"}, {"caller": "Hello?"}], "step 4: the call is over"),
        ([{"hangup": "transfer"}, {"back": {"within": 0}}], "step 2: within is a number"),
        ([{"hangup": "transfer"}, {"back": {"after": 1}}], "step 2: after is not known here"),
    ],
)
def test_what_follows_a_transfer_must_make_sense(steps: list[Any], error: str) -> None:
    with pytest.raises(UserError, match=error):
        script(*steps)


def test_only_a_leg_of_ours_can_be_transferred() -> None:
    with pytest.raises(UserError, match="only a call of kind bypass can be transferred"):
        script({"hangup": "transfer"}, kind="imported")


def with_phones(phones: Any) -> Any:
    return parse({"call": CALL, "phones": phones, "steps": ["report"]}, "call.yaml")


def test_phones_say_who_answers_there_and_how() -> None:
    read = with_phones(
        {
            "+15550100100": {"name": "reception", "behaviour": "no-answer", "after": 3},
            "+15550100101": {"name": "nurse", "behaviour": "busy"},
        }
    )

    assert read.phones == {
        "+15550100100": Phone("reception", Person("no-answer", answers_after=3)),
        "+15550100101": Phone("nurse", Person("busy")),
    }
    assert script("report").phones == {}


@pytest.mark.parametrize(
    ("phones", "error"),
    [
        (["reception"], "phones: phones is a mapping"),
        ({"reception": {"name": "x", "behaviour": "busy"}}, "phones: the key is a phone number in quotes"),
        ({"+15550100100": {"behaviour": "busy"}}, "phones: name is missing"),
        ({"+15550100100": {"name": "x", "behaviour": "answer"}}, "phones: behaviour is one of no-answer, busy"),
        ({"+15550100100": {"name": "x", "behaviour": "busy", "after": "soon"}}, "phones: after is a number"),
    ],
)
def test_a_mistake_in_a_phone_is_told(phones: Any, error: str) -> None:
    with pytest.raises(UserError, match=error):
        with_phones(phones)
