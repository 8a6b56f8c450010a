"""A story out of items that are not as today's code writes them: old, half, or of a call that nobody ever ended."""

from typing import Any

from devkit import story
from switchboard.story import tell

ROW: dict[str, Any] = {
    "pk": "CALL#c1",
    "sk": "TOOL#t1",
    "state": "SUCCEEDED",
    "tool": "move",
    "lane": "live",
    "effect": "keyed",
    "arguments": '{"to":"x"}',
    "digest": "d",
    "emitted_at": 1_000,
    "accepted_at": 2_000,
    "deadline": 62_000,
    "delivery": "undeliverable",
    "delivery_reason": "timeout",
    "delivery_at": 5_000,
    "result": "Done.",
    "caller": "+15550100042",
    "exp": 10,
}


def test_a_row_from_before_its_times_were_kept_is_told_without_them() -> None:
    told = tell("c1", [ROW], {}, reveal=False)

    assert [(event.kind, event.at) for event in told.events] == [
        ("accepted", 2_000),
        ("settled", 2_000),
        ("delivery", 5_000),
    ]
    assert told.events[1].facts["seconds"] is None
    assert told.caller == "…42"


def test_a_result_that_nobody_heard_is_marked() -> None:
    told = tell("c1", [ROW], {}, reveal=False)

    assert "✗   3.00  delivery  move: undeliverable, timeout" in story.as_text(told)


def test_a_result_that_still_waits_is_marked_too() -> None:
    told = tell("c1", [ROW | {"delivery": "pending", "settled_at": 4_000}], {}, reveal=False)

    assert [event.ok for event in told.events if event.kind == "delivery"] == [False]


def test_a_second_attempt_says_that_it_is_one() -> None:
    told = tell("c1", [ROW | {"attempt": 2, "claimed_at": 3_000, "settled_at": 3_500}], {}, reveal=False)
    text = story.as_text(told)

    assert "move attempt 2 begins, 1.00 s after it was accepted" in text
    assert "move SUCCEEDED in attempt 2, 0.50 s after it began" in text


def test_a_result_that_the_assistant_was_reminded_of_says_so() -> None:
    told = tell("c1", [ROW | {"followed_up": True}], {}, reveal=False)

    assert told.events[-1].facts["followed_up"] is True
    assert "followed up" in told.events[-1].text


def test_who_said_what_is_told_apart() -> None:
    lines = [
        {"sk": "TR#0000000001000#user#aa", "words": "hello"},
        {"sk": "TR#0000000002000#assistant#bb", "words": "hi"},
    ]
    told = tell("c1", lines, {}, reveal=True)

    assert [(event.who, event.text) for event in told.events] == [("caller", "“hello”"), ("assistant", "“hi”")]


def test_a_leg_that_twilio_only_told_the_end_of_is_told() -> None:
    told = tell("c1", [], {"pk": "SID#CA1", "status": "no-answer", "status_at": 7_000, "duration": 0}, reveal=False)

    assert [event.text for event in told.events] == ["Twilio says: no-answer"]
    assert told.call_sid == "CA1"


def test_a_result_is_only_said_to_be_from_before_an_interruption_if_it_is() -> None:
    session = {"sk": "META", "created_at": 500, "interrupted_at": 900}
    earlier = tell("c1", [ROW, session], {}, reveal=False)
    later = tell("c1", [ROW, session | {"interrupted_at": 1_500}], {}, reveal=False)

    assert [event.facts["interrupted"] for event in (earlier.events[-1], later.events[-1])] == [False, True]
