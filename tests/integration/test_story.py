"""The story of a call as `switchboard call` tells it, from a table that the real code has written."""

import json

import pytest

from devkit import story
from devkit.errors import UserError
from devkit.story import Story
from switchboard import legs, toolcalls
from tests.integration.conftest import CALL, CALL_SID, CALLER, House
from tests.integration.test_worker import ask, row, say

WORDS = "Actually make that Friday at eleven please"


def told(house: House, identity: str = CALL, *, reveal: bool = False) -> Story:
    """The story as it stands."""
    return story.read(house.aws.dynamodb, house.settings.table, identity, reveal=reveal, now=house.clock())


ARTIFACT = {"structuredOutputs": {"so_1": {"name": "outcome", "result": {"day": "Friday"}}}}


def interrupted_call(house: House) -> None:
    """A caller who changes her mind while the first change is being made, and then hangs up."""
    legs.open_leg(house.store, CALL_SID, {}, 1800, house.clock())
    legs.connect(house.store, CALL_SID, CALL, "<Response/>")
    house.clock.advance(1)
    say(house, "status-update", status="in-progress")
    house.clock.advance(2)
    ask(house, "move", to="Thursday")
    house.clock.advance(1)
    say(house, "user-interrupted")
    say(house, "transcript", role="user", transcriptType="final", transcript=WORDS)
    house.clock.advance(1)
    ask(house, "move", "call_2", to="Friday")
    house.run(house.live)
    house.clock.advance(3)
    say(house, "status-update", status="ended", endedReason="customer-ended-call")
    legs.record_status(house.store, CALL_SID, {"SequenceNumber": "1", "CallStatus": "completed"}, house.clock())
    say(
        house,
        "end-of-call-report",
        endedReason="customer-ended-call",
        cost=0.05,
        analysis={"summary": "Moved."},
        artifact=ARTIFACT,
    )


def test_an_interrupted_call_is_told_in_order_with_what_became_of_each_result(house: House) -> None:
    interrupted_call(house)
    text = story.as_text(told(house))

    order = [
        "Twilio asks who answers: connected",
        "first message about this call",
        "move …ll_1([17 characters]) accepted: live, keyed, 0.00 s after the model asked",
        "interrupts the assistant",
        f"[{len(WORDS)} characters]",
        "move …ll_2([15 characters]) accepted",
        "move …ll_1 attempt 1 begins, 2.00 s after it was accepted",
        "move …ll_1 SUCCEEDED, 0.00 s after it began",
        "move …ll_1: delivered, silent",
        "asked before the last interruption",
        "move …ll_2: delivered, speak",
        "ended: customer-ended-call",
        "Twilio says: completed",
        "end-of-call report: customer-ended-call, 0.0500 USD, summary [6 characters], outcome [16 characters]",
    ]
    flat = " ".join(text.split())
    # What happens at one moment may be told in any order.
    assert [part for part in order if part not in flat] == []
    assert flat.index("interrupts") < flat.index("ll_2(") < flat.index("ended: ") < flat.index("report")
    assert text.splitlines()[0] == f"call {CALL} · leg {CALL_SID} · caller …01 · 2027-01-15 08:00:00 UTC · 8.0 s"


def test_nothing_that_was_said_or_given_is_shown_unless_it_is_asked_for(house: House) -> None:
    interrupted_call(house)
    for shown in (story.as_text(told(house)), story.as_json(told(house))):
        for word in ("Thursday", "Friday", "eleven", "Moved", CALLER, CALLER[:-2]):
            assert word not in shown

    revealed = story.as_text(told(house, reveal=True))
    assert f"“{WORDS}”" in revealed
    assert '"to":"Thursday"' in revealed
    assert "Moved to Thursday." in revealed
    assert 'outcome “{"day":"Friday"}”' in revealed
    assert CALLER not in revealed


def test_a_call_is_found_by_its_phone_leg_too(house: House) -> None:
    interrupted_call(house)

    assert told(house, CALL_SID) == told(house)


def test_programs_get_seconds_from_the_first_moment(house: House) -> None:
    interrupted_call(house)
    read = json.loads(story.as_json(told(house)))
    [first, second] = [event for event in read["events"] if event["event"] == "delivery"]

    assert (read["call"], read["call_sid"], read["caller"], read["seconds"]) == (CALL, CALL_SID, "…01", 8.0)
    assert [event["at"] for event in read["events"]] == sorted(event["at"] for event in read["events"])
    assert (first["outcome"], first["reason"], first["interrupted"]) == ("delivered", "silent", True)
    assert (second["outcome"], second["reason"], second["interrupted"]) == ("delivered", "speak", False)
    [claimed] = [event for event in read["events"] if (event["event"], event.get("id")) == ("attempt", "call_2")]
    assert (claimed["at"], claimed["attempt"], claimed["seconds"]) == (5.0, 1, 0.0)


def test_what_is_still_open_or_not_known_is_marked(house: House) -> None:
    say(house, "status-update", status="in-progress")
    accepted = ask(house, "pay", amount=1)
    assert "✗" in story.as_text(told(house))
    assert "pay is still RECEIVED" in story.as_text(told(house))

    claimed = toolcalls.claim(house.store, accepted, "dead", house.clock(), 8)
    assert claimed
    assert toolcalls.begin(house.store, claimed)
    house.clock.advance(9)
    house.run(house.live)
    text = " ".join(story.as_text(told(house)).split())
    assert "✗ 9.00 tool pay UNKNOWN, 9.00 s after it began" in text


def test_the_moment_at_which_a_result_was_dropped_is_known(house: House) -> None:
    say(house, "status-update", status="in-progress")
    ask(house)
    say(house, "status-update", status="ended", endedReason="customer-ended-call")
    house.clock.advance(2)
    house.run(house.live)

    assert (row(house).delivery_at - row(house).accepted_at) / 1000 == 2
    assert "move: dropped, call_ended" in story.as_text(told(house))


def test_an_after_call_tool_is_told_from_when_it_was_let_go(house: House) -> None:
    say(house, "status-update", status="in-progress")
    ask(house, "send", text="hello")
    house.clock.advance(4)
    say(house, "status-update", status="ended", endedReason="customer-ended-call")
    house.clock.advance(1)
    house.run(house.after)
    text = story.as_text(told(house))

    assert "send let go: the call has ended" in text
    assert "send attempt 1 begins, 1.00 s after it was let go" in text
    assert "delivery" not in text


@pytest.mark.parametrize("identity", ["nobody", "CA" + "0" * 32])
def test_an_unknown_call_is_one_clear_line(house: House, identity: str) -> None:
    with pytest.raises(UserError, match=identity):
        told(house, identity)


def test_a_leg_that_was_never_connected_says_so(house: House) -> None:
    legs.open_leg(house.store, CALL_SID, {}, 1800, house.clock())

    with pytest.raises(UserError, match="never connected"):
        told(house, CALL_SID)


def test_what_has_expired_is_not_told(house: House) -> None:
    interrupted_call(house)
    house.clock.advance(30 * 24 * 3600)

    with pytest.raises(UserError, match="expired"):
        told(house)
