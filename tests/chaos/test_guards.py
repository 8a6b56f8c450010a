"""Every guard of a tool call's state machine, met head on: each of these fails when its condition is taken away.

tests/mutants takes them away, one by one.
"""

from collections.abc import Callable
from typing import Any

import pytest

from switchboard import calls, toolcalls, worker
from switchboard.calls import Session
from switchboard.messages import Message
from switchboard.settings import Settings
from switchboard.store import Check, Key, Store
from switchboard.toolcalls import Conflict, Delivery, Overtaken, Row, State
from switchboard.tools import Call, DefiniteFailure, ToolError
from tests.chaos.scene import CALL, Effect, Scene, assert_finished, watch
from tests.conftest import Clock

SESSION = Check(Key(f"CALL#{CALL}", "META"), "attribute_exists(#pk)")
LEASE = 8.0
DEADLINE = 60.0
PATIENCE = 15.0


@pytest.fixture
def stage(settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[Effect], Scene]:
    """Makes a scene for a class of effect."""

    def make(effect: Effect) -> Scene:
        scene = Scene(settings, clock, effect)
        watch(monkeypatch, scene)
        return scene

    return make


@pytest.fixture
def scene(stage: Callable[[Effect], Scene]) -> Scene:
    """A live call that has asked for a `keyed` tool."""
    scene = stage("keyed")
    scene.ask()
    return scene


def claim(scene: Scene, owner: str = "me") -> Row | None:
    """Try to become the one who runs it."""
    return toolcalls.claim(scene.table, scene.row(), owner, scene.clock(), LEASE)


def claimed(scene: Scene, owner: str = "me") -> Row:
    """Become the one who runs it."""
    row = claim(scene, owner)
    assert row
    return row


def settle(scene: Scene, row: Row) -> Row | None:
    """Try to close it, from what was read of it."""
    return toolcalls.settle(scene.table, row, scene.clock(), "Over.")


def committed(scene: Scene) -> Row:
    """A result that waits to be spoken."""
    row = toolcalls.commit(scene.table, claimed(scene), State.SUCCEEDED, "Done.")
    assert row
    return row


def committed_by(scene: Scene, owner: str) -> None:
    """Somebody who goes by the same name has ended it meanwhile."""
    row = scene.row()
    assert row.owner == owner
    assert toolcalls.commit(scene.table, row, State.SUCCEEDED, "Done.")


def spoken_by(scene: Scene, owner: str) -> bool:
    """Try to become the one who speaks."""
    return toolcalls.claim_delivery(scene.table, scene.row(), SESSION, owner, scene.clock())


def test_a_repeat_after_the_work_is_done_does_not_begin_it_again(scene: Scene) -> None:
    scene.hand_out()
    scene.ask()
    scene.finish()

    assert len(scene.effects) == len(scene.heard) == 1


def test_a_row_that_has_expired_but_is_not_deleted_stands_in_nobodys_way(scene: Scene) -> None:
    row = scene.row()
    scene.table.table[row.key]["exp"] = int(scene.clock())

    assert toolcalls.accept(scene.table, row, scene.clock(), 24) is row
    assert scene.table.table[row.key]["exp"] > scene.clock()


def test_other_arguments_under_the_same_id_are_a_conflict(scene: Scene) -> None:
    with pytest.raises(Conflict):
        toolcalls.accept(scene.table, scene.row()._replace(digest="other"), scene.clock(), 24)


def test_an_inline_call_whose_own_row_stands_in_the_way_goes_on(stage: Callable[[Effect], Scene]) -> None:
    # The put was applied, its answer was lost, and the SDK's second try fails on the first one's success.
    scene = stage("once")
    scene.ask()
    mine = scene.row()._replace(key=Key(f"CALL#{CALL}", "TOOL#inline"), owner="me", state=State.RUNNING)
    assert toolcalls.accept(scene.table, mine, scene.clock(), 24) is mine

    assert toolcalls.accept(scene.table, mine, scene.clock(), 24) is mine
    assert toolcalls.accept(scene.table, mine._replace(owner="you"), scene.clock(), 24).owner == "me"


def test_nothing_is_claimed_at_its_deadline(scene: Scene) -> None:
    scene.clock.advance(DEADLINE)
    assert claim(scene) is None
    scene.clock.advance(-0.001)
    assert claim(scene)


def test_a_lease_is_respected_to_its_last_moment(scene: Scene) -> None:
    claimed(scene, "me")
    scene.clock.advance(LEASE)
    assert claim(scene, "you") is None
    scene.clock.advance(0.001)
    assert claim(scene, "you")


def test_a_call_is_not_claimed_by_what_was_read_before_another_attempt(scene: Scene) -> None:
    seen = scene.row()
    assert toolcalls.release(scene.table, claimed(scene), acted=False)
    scene.clock.advance(0.001)

    assert toolcalls.claim(scene.table, seen, "you", scene.clock(), LEASE) is None
    assert claimed(scene, "you") == scene.row()


def test_a_claim_that_meets_itself_is_ones_own(scene: Scene) -> None:
    seen = scene.row()
    first, second = (toolcalls.claim(scene.table, seen, "me", scene.clock(), LEASE) for _ in range(2))

    assert first == second == scene.row()


def test_a_claim_that_meets_itself_still_knows_what_may_have_been_done_before(scene: Scene) -> None:
    toolcalls.release(scene.table, claimed(scene), acted=True)
    scene.clock.advance(0.001)
    seen = scene.row()
    first, second = (toolcalls.claim(scene.table, seen, "you", scene.clock(), LEASE) for _ in range(2))

    assert first == second
    assert second
    assert second.doubt


@pytest.mark.parametrize(("effect", "again"), [("read", True), ("keyed", True), ("once", False)])
def test_what_was_begun_is_claimed_again_only_where_repeating_is_harmless(
    stage: Callable[[Effect], Scene], effect: Effect, again: bool
) -> None:
    scene = stage(effect)
    scene.ask()
    assert toolcalls.begin(scene.table, claimed(scene))
    scene.clock.advance(LEASE + 1)

    assert bool(claim(scene, "you")) is again


def test_a_claim_that_meets_itself_after_its_end_is_none(scene: Scene) -> None:
    seen = scene.row()
    scene.table.lose = lambda: committed_by(scene, "me")

    assert toolcalls.claim(scene.table, seen, "me", scene.clock(), LEASE) is None


@pytest.mark.parametrize(("effect", "at_once"), [("read", True), ("keyed", True), ("once", False)])
def test_the_intent_is_recorded_with_the_claim_where_repeating_is_harmless(
    stage: Callable[[Effect], Scene], effect: Effect, at_once: bool
) -> None:
    scene = stage(effect)
    scene.ask()
    owner = claimed(scene)
    assert scene.row().intent is at_once

    assert toolcalls.begin(scene.table, owner) == scene.row()
    assert scene.row().intent


STRANGERS: dict[str, dict[str, Any]] = {"owner": {"owner": "you"}, "attempt": {"attempt": 7}}


@pytest.mark.parametrize("part", STRANGERS)
def test_a_stranger_neither_begins_nor_releases_nor_commits(stage: Callable[[Effect], Scene], part: str) -> None:
    scene = stage("once")
    scene.ask()
    stranger = claimed(scene)._replace(**STRANGERS[part])

    assert not toolcalls.begin(scene.table, stranger)
    assert not toolcalls.release(scene.table, stranger, acted=False)
    assert toolcalls.commit(scene.table, stranger, State.FAILED, "No.") is None
    assert (scene.row().state, scene.row().intent, scene.row().lease > 0) == (State.RUNNING, False, True)


def test_what_is_over_is_neither_begun_nor_released_nor_committed_again(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")
    scene.ask()
    done = committed(scene)

    assert not toolcalls.begin(scene.table, done)
    assert not toolcalls.release(scene.table, done, acted=False)
    assert toolcalls.commit(scene.table, done, State.FAILED, "No.") is None
    assert toolcalls.commit(scene.table, done._replace(owner="you"), State.SUCCEEDED, "Mine.") is None
    assert scene.row() == done


@pytest.mark.parametrize("effect", ["read", "keyed", "once"])
@pytest.mark.parametrize("taken", [True, False])
def test_a_worker_that_is_held_up_before_it_began_does_not_act(
    stage: Callable[[Effect], Scene], effect: Effect, taken: bool
) -> None:
    scene = stage(effect)

    def hold_up() -> None:
        scene.clock.advance(9)
        if taken:
            scene.again()

    scene.script.at("after claim", hold_up)
    scene.ask()
    scene.finish()

    assert len(scene.effects) == 1
    assert scene.row().attempt == 2


def test_a_worker_begins_to_the_last_moment_of_its_claim(scene: Scene) -> None:
    scene.script.at("after claim", lambda: scene.clock.advance(LEASE))
    scene.hand_out()
    scene.finish()

    assert (scene.row().state, scene.row().attempt) == (State.SUCCEEDED, 1)


def test_a_worker_that_was_held_up_past_the_deadline_has_done_nothing(scene: Scene) -> None:
    scene.script.at("after claim", lambda: scene.clock.advance(DEADLINE))
    scene.hand_out()
    scene.finish()

    assert (scene.row().state, scene.effects) == (State.EXPIRED, [])


@pytest.mark.parametrize(("effect", "moment"), [("keyed", "after claim"), ("once", "before begin")])
def test_who_was_held_up_looks_again_after_whoever_has_the_call_now(
    stage: Callable[[Effect], Scene], effect: Effect, moment: str
) -> None:
    # The message came back meanwhile, and the one who has it now dies: it is deleted with the answer of the first one.
    scene = stage(effect)

    def hold_up() -> None:
        scene.clock.advance(9)
        assert claim(scene, "one who dies")

    scene.script.at(moment, hold_up)
    scene.ask()
    scene.hand_out()
    scene.finish()

    assert (scene.row().state, scene.row().attempt, len(scene.effects)) == (State.SUCCEEDED, 3, 1)


def test_the_same_end_at_another_moment_is_not_ones_own(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")
    scene.ask()
    owner = claimed(scene)
    assert toolcalls.begin(scene.table, owner)
    scene.clock.advance(LEASE + 1)
    assert settle(scene, scene.row())
    scene.clock.advance(1)

    assert toolcalls.commit(scene.table, owner, State.UNKNOWN, "Perhaps.", now=scene.clock()) is None


def test_a_worker_that_lost_the_call_sends_no_ticket_for_it(scene: Scene) -> None:
    def hold_up() -> None:
        scene.clock.advance(9)
        scene.again()

    scene.script.at("after claim", hold_up)
    sent = scene.lane.sent
    scene.hand_out()

    assert scene.row().delivery is Delivery.DELIVERED
    assert scene.lane.sent == sent


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(DefiniteFailure("refused", retryable=False), id="closes"),
        pytest.param(DefiniteFailure("busy"), id="gives back"),
        pytest.param(ToolError("That time is taken."), id="says"),
    ],
)
def test_what_an_earlier_attempt_may_have_done_is_never_said_not_to_be_done(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def act(call: Call, _what: str) -> str:
        if call.attempt == 1:
            scene.effects.append(call.idempotency_key)
            raise TimeoutError
        raise failure

    monkeypatch.setattr(scene, "_act", act)
    scene.hand_out()
    scene.finish()

    assert scene.row().attempt > 1
    assert (scene.row().state, len(scene.effects)) == (State.UNKNOWN, 1)
    assert "may or may not" in scene.heard[0]


def test_a_late_owner_who_says_how_it_ended_has_a_line_in_the_log(
    stage: Callable[[Effect], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(worker, "log", lambda event, **fields: lines.append((event, fields["state"])))
    scene = stage("once")

    def late() -> None:
        scene.clock.advance(LEASE + 1)
        scene.again()

    scene.script.at("after effect", late)
    scene.ask()
    scene.finish()

    assert (scene.row().state, scene.row().delivery) == (State.SUCCEEDED, Delivery.DELIVERED)
    assert lines == [
        ("tool call closed", "UNKNOWN"),
        ("result delivery", "UNKNOWN"),
        ("tool call ended", "SUCCEEDED"),
    ]


def test_a_look_up_that_failed_twice_has_failed(
    stage: Callable[[Effect], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = stage("read")

    def act(call: Call, _what: str) -> str:
        raise TimeoutError if call.attempt == 1 else DefiniteFailure("refused", retryable=False)

    monkeypatch.setattr(scene, "_act", act)
    scene.ask()
    scene.finish()

    assert (scene.row().state, scene.row().attempt) == (State.FAILED, 2)


def test_a_worker_that_lost_the_call_before_it_began_does_not_act(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")

    def lose() -> None:
        scene.clock.advance(9)
        scene.again()

    scene.script.at("before begin", lose)
    scene.ask()
    scene.finish()

    assert len(scene.effects) == 1
    assert scene.row().attempt == 2


def test_a_call_that_was_given_back_after_acting_is_unknown_when_its_time_is_over(scene: Scene) -> None:
    scene.trouble["after effect"] = TimeoutError()
    scene.hand_out()
    scene.lane.messages.clear()
    scene.finish()

    assert (scene.row().state, len(scene.effects)) == (State.UNKNOWN, 1)


def test_a_call_that_nobody_has_begun_is_not_closed_before_its_deadline(scene: Scene) -> None:
    scene.clock.advance(DEADLINE - 0.001)
    assert settle(scene, scene.row()) is None
    scene.clock.advance(0.001)
    assert settle(scene, scene.row())


def test_a_call_under_way_is_not_closed_while_its_lease_lasts(scene: Scene) -> None:
    scene.clock.advance(DEADLINE - 1)
    claimed(scene)
    scene.clock.advance(LEASE)
    assert settle(scene, scene.row()) is None
    scene.clock.advance(0.001)
    assert settle(scene, scene.row())


def test_a_call_that_may_be_repeated_is_not_closed_before_its_deadline(scene: Scene) -> None:
    toolcalls.begin(scene.table, claimed(scene))
    scene.clock.advance(LEASE + 1)

    assert settle(scene, scene.row()) is None


def test_a_call_is_not_closed_by_what_was_read_before_another_attempt(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")
    scene.ask()
    seen = scene.row()
    claimed(scene)
    scene.clock.advance(DEADLINE)

    assert settle(scene, seen) is None


def test_a_call_is_not_closed_as_never_begun_by_what_was_read_before_it_began(
    stage: Callable[[Effect], Scene],
) -> None:
    scene = stage("once")
    scene.ask()
    owner = claimed(scene)
    seen = scene.row()
    toolcalls.begin(scene.table, owner)
    scene.clock.advance(DEADLINE)

    assert settle(scene, seen) is None


@pytest.mark.parametrize("part", STRANGERS)
def test_an_unknown_end_is_mended_only_by_the_owner(stage: Callable[[Effect], Scene], part: str) -> None:
    scene = stage("once")
    scene.ask()
    owner = claimed(scene)
    toolcalls.begin(scene.table, owner)
    scene.clock.advance(LEASE + 1)
    assert settle(scene, scene.row())

    assert toolcalls.commit(scene.table, owner._replace(**STRANGERS[part]), State.SUCCEEDED, "Mine.") is None
    assert toolcalls.commit(scene.table, owner, State.SUCCEEDED, "Done.")
    assert toolcalls.commit(scene.table, owner, State.FAILED, "No.") is None


def test_an_unknown_end_that_was_given_away_is_not_reconciled(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")
    scene.ask()
    unknown = toolcalls.commit(scene.table, claimed(scene), State.UNKNOWN, "Perhaps.")
    assert unknown
    assert spoken_by(scene, "me")

    assert toolcalls.resolve(scene.table, unknown, State.SUCCEEDED, "Done.") is None


def test_two_who_mend_an_unknown_end_at_once_do_so_once(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("once")
    scene.ask()
    owner = claimed(scene)
    unknown = toolcalls.commit(scene.table, owner, State.UNKNOWN, "Perhaps.")
    assert unknown

    # The owner has seen that it is unknown; the other side is asked, and answers, before the owner's write.
    def reconcile() -> None:
        assert toolcalls.resolve(scene.table, unknown, State.FAILED, "Nothing happened.")

    scene.table.refused = reconcile
    assert toolcalls.commit(scene.table, owner, State.SUCCEEDED, "Done.") is None
    assert scene.row().state is State.FAILED


def test_only_an_unknown_end_is_reconciled(scene: Scene) -> None:
    assert toolcalls.resolve(scene.table, committed(scene), State.FAILED, "No.") is None


def test_a_result_is_claimed_by_one(scene: Scene) -> None:
    committed(scene)

    assert spoken_by(scene, "me")
    assert not spoken_by(scene, "you")


def told_meanwhile(scene: Scene, kind: str, **fields: Any) -> None:
    """Let a message be stored between the decision to speak and the claim of it."""

    def tell() -> None:
        scene.clock.advance(0.5)
        scene.say(kind, **fields)

    scene.script.at("before claim_delivery", tell)


def test_a_call_that_ends_between_decision_and_claim_is_not_spoken_to(scene: Scene) -> None:
    told_meanwhile(scene, "status-update", status="ended")
    scene.finish()

    assert (scene.heard, scene.row().delivery) == ([], Delivery.DROPPED)


def test_a_caller_who_begins_to_speak_between_decision_and_claim_is_not_interrupted(scene: Scene) -> None:
    told_meanwhile(scene, "speech-update", role="user", status="started")
    scene.hand_out()

    assert (scene.heard, scene.row().delivery) == ([], Delivery.PENDING)


def test_a_turn_that_is_interrupted_between_decision_and_claim_is_looked_at_again(scene: Scene) -> None:
    def leave() -> None:
        scene.clock.advance(0.5)
        scene.say("user-interrupted")
        scene.clock.advance(0.5)
        words = "No wait, I would like something else"
        scene.say("transcript", role="user", transcriptType="final", transcript=words)

    scene.script.at("before claim_delivery", leave)
    scene.hand_out()

    assert [('"triggerResponseEnabled":false' in body) for body in scene.heard] == [True]


def test_the_session_of_an_older_call_says_nothing_about_this_one(scene: Scene) -> None:
    scene.say("user-interrupted")
    scene.table.table[SESSION.key]["exp"] = int(scene.clock())
    scene.finish()

    assert (len(scene.heard), scene.row().delivery) == (1, Delivery.DELIVERED)


def test_a_delivery_is_ended_by_the_one_who_claimed_it(scene: Scene) -> None:
    committed(scene)
    assert spoken_by(scene, "me")

    assert not toolcalls.end_delivery(scene.table, scene.row(), "you", Delivery.DELIVERED, "x")
    assert not toolcalls.end_delivery(scene.table, scene.row(), "", Delivery.DROPPED, "x")
    assert toolcalls.end_delivery(scene.table, scene.row(), "me", Delivery.DELIVERED, "x")
    assert not toolcalls.end_delivery(scene.table, scene.row(), "me", Delivery.PENDING, "x")


def test_a_delivery_is_not_claimed_for_an_end_that_is_no_longer_the_stored_one(scene: Scene) -> None:
    owned = claimed(scene)
    assert toolcalls.begin(scene.table, owned)
    scene.clock.advance(DEADLINE)
    given_up = settle(scene, scene.row())
    assert given_up
    assert given_up.state is State.UNKNOWN
    assert toolcalls.commit(scene.table, owned, State.SUCCEEDED, "Done.")

    assert not toolcalls.claim_delivery(scene.table, given_up, SESSION, "me", scene.clock())
    assert spoken_by(scene, "me")


def test_an_end_of_a_delivery_whose_answer_was_lost_counts_as_recorded(scene: Scene) -> None:
    committed(scene)
    assert spoken_by(scene, "me")
    for _ in range(2):
        assert toolcalls.end_delivery(scene.table, scene.row(), "me", Delivery.DELIVERED, "speak")

    assert not toolcalls.end_delivery(scene.table, scene.row(), "", Delivery.DROPPED, "call_ended")


def test_a_delivery_under_way_is_left_to_its_owner_for_a_while(scene: Scene) -> None:
    committed(scene)
    assert spoken_by(scene, "me")
    row = scene.row()

    assert not toolcalls.void_delivery(scene.table, row, scene.clock())
    scene.clock.advance(PATIENCE)
    assert toolcalls.void_delivery(scene.table, row, scene.clock())
    assert not toolcalls.void_delivery(scene.table, row, scene.clock())


def test_a_result_that_was_added_in_silence_is_followed_up_once(scene: Scene) -> None:
    committed(scene)
    assert not toolcalls.claim_follow_up(scene.table, scene.row())
    assert spoken_by(scene, "me")
    toolcalls.end_delivery(scene.table, scene.row(), "me", Delivery.DELIVERED, "silent")

    assert toolcalls.claim_follow_up(scene.table, scene.row())
    assert not toolcalls.claim_follow_up(scene.table, scene.row())


def test_a_result_whose_ticket_is_lost_is_found_by_the_sweeper(scene: Scene) -> None:
    scene.lane.messages.clear()
    committed(scene)
    scene.finish()

    assert_finished(scene)
    assert len(scene.heard) == 1


def test_the_deadline_of_an_after_call_tool_starts_once(stage: Callable[[Effect], Scene]) -> None:
    scene = stage("keyed")
    scene.ask("act_later")
    scene.say("status-update", status="ended")
    deadline = scene.row().deadline
    scene.clock.advance(60)
    toolcalls.start_after_call(scene.table, scene.row(), scene.clock(), 1800)

    assert scene.row().deadline == deadline == int((scene.clock() - 60 + 1800) * 1000)


def test_the_first_of_a_repetition_keeps_its_place_until_its_window_is_over(scene: Scene) -> None:
    first = scene.row()
    second = first._replace(key=Key(first.key.pk, "TOOL#call_2"))

    assert toolcalls.first_of(scene.table, first, scene.clock(), 10) is None
    assert toolcalls.first_of(scene.table, first, scene.clock(), 10) is None
    assert toolcalls.first_of(scene.table, second, scene.clock(), 10) == first
    scene.clock.advance(10)
    assert toolcalls.first_of(scene.table, second, scene.clock(), 10) is None


def test_a_first_call_that_failed_gives_its_place_to_one_only(scene: Scene) -> None:
    first = scene.row()
    second, third = (first._replace(key=Key(first.key.pk, f"TOOL#call_{number}")) for number in (2, 3))
    assert toolcalls.first_of(scene.table, first, scene.clock(), 10) is None
    assert toolcalls.commit(scene.table, claimed(scene), State.FAILED, "No.")
    assert toolcalls.accept(scene.table, second, scene.clock(), 24) is second

    assert toolcalls.first_of(scene.table, second, scene.clock(), 10) is None
    assert toolcalls.first_of(scene.table, third, scene.clock(), 10) == second


def test_an_attempt_can_ask_whether_it_may_still_act(scene: Scene) -> None:
    owner = claimed(scene)
    assert toolcalls.owns(scene.table, owner)

    scene.clock.advance(LEASE + 1)
    claimed(scene, "you")
    assert not toolcalls.owns(scene.table, owner)


def test_of_two_that_take_the_place_of_a_failed_first_call_one_does(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.row()
    second, third = (first._replace(key=Key(first.key.pk, f"TOOL#call_{number}")) for number in (2, 3))
    assert toolcalls.first_of(scene.table, first, scene.clock(), 10) is None
    assert toolcalls.commit(scene.table, claimed(scene), State.FAILED, "No.")
    assert toolcalls.accept(scene.table, third, scene.clock(), 24) is third
    load = toolcalls.load
    overtaken: list[Row | None] = []

    def overtake(store: Store, key: Key) -> Row | None:
        found = load(store, key)
        monkeypatch.undo()
        overtaken.append(toolcalls.first_of(store, third, scene.clock(), 10))
        return found

    monkeypatch.setattr(toolcalls, "load", overtake)

    assert toolcalls.first_of(scene.table, second, scene.clock(), 10) == third
    assert overtaken == [None]


def equal_calls(scene: Scene) -> tuple[Row, Row]:
    """Two calls with the same arguments, neither of them stored."""
    first, second = (scene.row()._replace(key=Key(f"CALL#{CALL}", f"TOOL#call_{number}")) for number in (8, 9))
    return first, second


def become_first(scene: Scene, row: Row) -> Row | None:
    """Take the place of the first of equal calls; None where that worked."""
    return toolcalls.first_of(scene.table, row, scene.clock(), 60)


def store_as_first(scene: Scene, row: Row) -> Row:
    """Store it, while it still is the first."""
    return toolcalls.accept(scene.table, row, scene.clock(), 24, first=True)


def test_a_first_call_that_is_not_stored_loses_its_place_and_is_not_stored_any_more(scene: Scene) -> None:
    # It may have died between the two: then nobody would ever answer for it.
    first, second = equal_calls(scene)
    assert become_first(scene, first) is None
    assert become_first(scene, second) is None
    with pytest.raises(Overtaken):
        store_as_first(scene, first)

    assert store_as_first(scene, second) is second
    assert become_first(scene, first) == second


def test_a_first_call_that_is_stored_just_now_keeps_its_place(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = equal_calls(scene)
    assert become_first(scene, first) is None
    load = toolcalls.load

    def stored_meanwhile(store: Store, key: Key) -> Row | None:
        found = load(store, key)
        monkeypatch.undo()
        assert store_as_first(scene, first) is first
        return found

    monkeypatch.setattr(toolcalls, "load", stored_meanwhile)

    assert become_first(scene, second) == first
    with pytest.raises(Overtaken):
        store_as_first(scene, second)


def test_a_call_that_was_refused_for_its_arguments_is_nobodys_first(scene: Scene) -> None:
    # It has taken a place for its arguments under an id whose row has others.
    stored = scene.row()
    refused = stored._replace(digest="other")
    assert become_first(scene, refused) is None
    with pytest.raises(Conflict):
        store_as_first(scene, refused)
    second = refused._replace(key=Key(f"CALL#{CALL}", "TOOL#call_9"))

    assert become_first(scene, second) is None
    assert store_as_first(scene, second) is second


def test_a_first_call_whose_place_is_deleted_takes_it_again(scene: Scene) -> None:
    first, _ = equal_calls(scene)
    assert become_first(scene, first) is None
    scene.table.expire(scene.clock() + 60)
    with pytest.raises(Overtaken):
        store_as_first(scene, first)

    assert become_first(scene, first) is None
    assert store_as_first(scene, first) is first


def test_one_that_is_overtaken_again_and_again_gives_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = equal_calls(scene)
    assert become_first(scene, first) is None
    monkeypatch.setattr(toolcalls, "load", lambda *_: None)
    assert store_as_first(scene, first) is first

    with pytest.raises(Overtaken):
        become_first(scene, second)


def heard_of(scene: Scene, kind: str, **fields: Any) -> Message:
    """A message of the call, read."""
    return Message({"type": kind, "timestamp": int(scene.clock() * 1000), "call": {"id": CALL}, **fields})


def test_the_end_of_a_call_is_news_once(scene: Scene, settings: Settings) -> None:
    told = [
        calls.record_status(scene.table, heard_of(scene, "status-update", status="ended"), settings, scene.clock())
        for _ in range(2)
    ]

    assert [one.news for one in told] == [True, False]


def test_an_utterance_is_news_once(scene: Scene, settings: Settings) -> None:
    utterance = heard_of(scene, "transcript", role="user", transcriptType="final", transcript="Hello.")
    told = [calls.record_transcript(scene.table, utterance, settings, scene.clock()) for _ in range(2)]

    assert told == [True, False]


def session(scene: Scene) -> Session:
    """What is known of the call."""
    found = calls.load(scene.table, CALL, scene.clock())
    assert found
    return found


def test_a_status_that_arrives_late_is_old_news(scene: Scene) -> None:
    scene.say("status-update", status="forwarding")
    scene.say("status-update", status="in-progress")

    assert (session(scene).rank, session(scene).status) == (calls.RANKS["forwarding"], "forwarding")


def test_an_interruption_that_arrives_late_is_old_news(scene: Scene) -> None:
    scene.clock.advance(5)
    scene.say("user-interrupted")
    told = session(scene).interrupted_at
    scene.clock.advance(-3)
    scene.say("user-interrupted")

    assert session(scene).interrupted_at == told > 0


def test_nothing_of_an_expired_session_lives_on(scene: Scene) -> None:
    scene.say("user-interrupted")
    scene.table.table[SESSION.key]["exp"] = int(scene.clock())
    scene.say("speech-update", role="user", status="started")

    assert session(scene).interrupted_at == session(scene).rank == 0
    assert session(scene).caller_started_at > 0
