"""Connecting under every failure there is: refused, lost after it was done, too late, cut down at any step."""

from collections.abc import Iterator
from typing import Any

import pytest

from devkit.errors import UserError
from devkit.execution import PAUSES
from tests import connecting
from tests.connecting import Crash, World

TOO_LATE = 0.3  # seconds that a client waits here, so that a late answer is soon one
CREATES = ["POST /credential", "POST /tool", "POST /assistant", "POST /phone-number"]
UPDATES = ["PATCH /credential", "PATCH /tool", "PATCH /assistant", "PATCH /phone-number"]
READS = ["GET /credential", "GET /tool", "GET /assistant", "GET /phone-number"]
DELETES = ["DELETE /credential", "DELETE /tool", "DELETE /assistant", "DELETE /phone-number"]
UNSURE = ["lose", "timeout", "error", "limit"]


@pytest.fixture
def world() -> Iterator[World]:
    with connecting.world() as made:
        yield made


@pytest.fixture(scope="module")
def clean() -> dict[str, Any]:
    """What there is after a run in which nothing failed."""
    with connecting.world() as made:
        made.connect()
        return made.state()


def fail(world: World, what: str, how: str, times: int = 1) -> None:
    if what.startswith("Twilio "):
        world.twilio.fail(what.removeprefix("Twilio "), how, times)
    else:
        world.vapi.fail(what, how, times)


@pytest.mark.parametrize("how", UNSURE)
@pytest.mark.parametrize("what", [*CREATES, *READS, "Twilio GET", "Twilio POST"])
def test_one_failure_changes_nothing_about_the_end(world: World, clean: dict[str, Any], what: str, how: str) -> None:
    world.seconds = TOO_LATE
    fail(world, what, how)

    assert world.connect() == 0
    assert world.state() == clean
    assert world.slept[0] in PAUSES


@pytest.mark.parametrize("how", UNSURE)
@pytest.mark.parametrize("what", UPDATES)
def test_neither_does_one_of_an_update(world: World, clean: dict[str, Any], what: str, how: str) -> None:
    world.connect()
    for kind in world.vapi.account.objects:
        world.objects(kind)[0]["server"] = {"url": "https://other.example.com"}
    world.only("credential").pop("server")
    world.only("credential")["authenticationPlan"]["signatureHeader"] = "x-other"
    world.seconds = TOO_LATE
    world.vapi.fail(what, how)

    assert world.connect() == 0
    assert world.state() == clean


@pytest.mark.parametrize("how", UNSURE)
@pytest.mark.parametrize("what", [*DELETES, "Twilio POST"])
def test_neither_does_one_of_disconnecting(world: World, what: str, how: str) -> None:
    before = world.state()
    world.connect()
    world.seconds = TOO_LATE
    fail(world, what, how)

    assert world.disconnect() == 0
    assert world.state() == before


@pytest.mark.parametrize("what", [*CREATES, "GET /tool", "Twilio GET", "Twilio POST"])
def test_a_refusal_ends_the_run_at_once_and_the_next_one_goes_on(
    world: World, clean: dict[str, Any], what: str
) -> None:
    fail(world, what, "refuse")

    with pytest.raises(UserError, match="answered 400"):
        world.connect()
    assert world.slept == []
    assert world.connect() == 0
    assert world.state() == clean


@pytest.mark.parametrize("what", [*CREATES, "GET /tool", "Twilio POST"])
def test_an_outage_is_waited_for_a_while_and_then_told(world: World, clean: dict[str, Any], what: str) -> None:
    fail(world, what, "error", len(PAUSES) + 1)

    with pytest.raises(UserError, match="answered 500"):
        world.connect()
    assert world.slept == list(PAUSES)
    assert world.connect() == 0
    assert world.state() == clean


def test_the_old_urls_are_not_lost_to_an_import_whose_answer_is(world: World) -> None:
    before = world.state()
    world.vapi.fail("POST /phone-number", "lose", len(PAUSES) + 1)
    world.connect()
    world.disconnect()

    assert world.state() == before


def steps_of_a_clean_run() -> int:
    with connecting.world() as made:
        made.connect()
        return made.steps


def steps_of_a_clean_end() -> int:
    with connecting.world() as made:
        made.connect()
        made.steps = 0
        made.disconnect()
        return made.steps


def test_cut_down_at_any_step_the_next_run_ends_as_a_clean_one(clean: dict[str, Any]) -> None:
    for step in range(1, steps_of_a_clean_run() + 1):
        with connecting.world() as world:
            before = world.state()
            world.crash_at = step
            with pytest.raises(Crash):
                world.connect()

            assert world.connect() == 0, step
            assert world.state() == clean, step
            world.disconnect()
            assert world.state() == before, step


def test_cut_down_at_any_step_a_run_can_be_undone() -> None:
    for step in range(1, steps_of_a_clean_run() + 1):
        with connecting.world() as world:
            before = world.state()
            world.crash_at = step
            with pytest.raises(Crash):
                world.connect()

            assert world.disconnect() == 0, step
            assert world.state() == before, step


def test_cut_down_at_any_step_disconnecting_goes_on() -> None:
    for step in range(1, steps_of_a_clean_end() + 1):
        with connecting.world() as world:
            before = world.state()
            world.connect()
            world.steps, world.crash_at = 0, step
            with pytest.raises(Crash):
                world.disconnect()

            assert world.disconnect() == 0, step
            assert world.state() == before, step


def test_at_no_step_is_a_caller_sent_to_a_stack_that_is_not_connected_yet() -> None:
    for step in range(1, steps_of_a_clean_run() + 1):
        with connecting.world() as world:
            world.crash_at = step
            with pytest.raises(Crash):
                world.connect()

            if world.line["voice_url"] == connecting.OUTPUTS["VoiceUrl"]:
                assert all(world.connection.values())
            if world.line["voice_url"] == world.parameters["VapiInboundUrl"]:
                assert world.only("phone-number")["server"]["credentialId"] == world.connection["credential_id"]
                assert world.connection["assistant_id"] == world.only("assistant")["id"]


def test_two_stacks_in_one_organisation_do_not_touch_each_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.connect()
    first = world.state()
    monkeypatch.setattr(connecting, "STACK", "other")
    monkeypatch.setattr(connecting, "BASE", "https://other.example.com")
    outputs = dict(connecting.OUTPUTS)
    moved = {name: url.replace("voice.example", "other.example") for name, url in outputs.items()}
    monkeypatch.setattr(connecting, "OUTPUTS", moved)
    number = "+15550100177"
    world.twilio.numbers.add(number)
    assert world.connect(number=number) == 0
    assert len(world.objects("assistant")) == 2
    assert world.disconnect() == 0

    world.twilio.numbers.numbers = {world.sid: world.line}
    assert world.state() == first
