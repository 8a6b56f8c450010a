"""The demo's own part: it stops what it started, and its exit code is the table's."""

from argparse import Namespace
from pathlib import Path
from typing import Any, Self

import pytest

from devkit import demo
from devkit.errors import UserError
from devkit.timeline import Promise


class StackStub:
    """Stands where the stack would be started."""

    made: list["StackStub"]
    running = False
    dead_letters = 0

    def __init__(self, **_: Any) -> None:
        self.stopped = False
        self.facts: dict[str, Any] = {
            "outputs": {"LiveDeadLetterQueueName": "live-dlq", "AfterCallDeadLetterQueueName": "after-call-dlq"}
        }
        self.made.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True

    def client(self, _service: str) -> Any:
        return self

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def get_queue_attributes(self, **_: Any) -> dict[str, dict[str, str]]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.dead_letters)}}


class PlayedStub:
    def render(self) -> str:
        return "the timeline"


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[StackStub]:
    monkeypatch.setattr(StackStub, "made", [], raising=False)
    monkeypatch.setattr(demo, "Stack", StackStub)
    return StackStub.made


def plays(monkeypatch: pytest.MonkeyPatch, *kept: bool) -> list[str]:
    """Let the calls keep their promises, or not; returns the names of the scripts as they are played."""
    names: list[str] = []

    def play(script: Any, _stack: Any) -> tuple[PlayedStub, list[Promise]]:
        names.append(Path(script.name).name)
        return PlayedStub(), [Promise("a promise", "seen", ok=kept[len(names) - 1])]

    monkeypatch.setattr(demo, "play", play)
    return names


def test_every_call_is_played_and_shown(
    stacks: list[StackStub], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = plays(monkeypatch, True, True, True)
    code = demo.run(Namespace())
    shown = capsys.readouterr().out

    assert code == 0
    assert names == ["clinic_bypass.yaml", "clinic_imported.yaml", "clinic_transfer.yaml"]
    assert shown.count("the timeline") == 3
    assert "Every promise was kept" in shown
    assert stacks[0].stopped


@pytest.mark.parametrize("kept", [(False, True, True), (True, False, True), (True, True, False)])
def test_a_broken_promise_of_any_call_fails(
    stacks: list[StackStub],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: tuple[bool, ...],
) -> None:
    plays(monkeypatch, *kept)

    assert demo.run(Namespace()) == 1
    assert "NOT every promise was kept" in capsys.readouterr().out
    assert stacks[0].stopped


def test_a_dead_letter_fails(stacks: list[StackStub], monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, True, True, True)
    monkeypatch.setattr(StackStub, "dead_letters", 1)

    assert demo.run(Namespace()) == 1


def test_everything_is_stopped_when_a_call_breaks_off(stacks: list[StackStub], monkeypatch: pytest.MonkeyPatch) -> None:
    def play(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "play", play)

    with pytest.raises(KeyboardInterrupt):
        demo.run(Namespace())
    assert stacks[0].stopped


def test_a_stack_of_the_users_is_left_alone(stacks: list[StackStub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackStub, "running", True)

    with pytest.raises(UserError, match="make down"):
        demo.run(Namespace())
    assert not stacks[0].stopped
