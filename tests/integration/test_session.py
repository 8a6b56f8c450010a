"""The session: merged so that neither order nor repetition can matter, and dead when its time is over."""

import itertools
import random
from typing import Any

import pytest

from switchboard import calls, webhook
from tests.conftest import Clock
from tests.integration.conftest import CALL, CALL_SID, CONTROL, House, message


def say(house: House, kind: str, **fields: Any) -> dict[str, Any]:
    """Send a message and return the HTTP answer."""
    return webhook.respond(house.desk, house.event(message(kind, house.clock, **fields)))


def session(house: House) -> dict[str, Any]:
    """The stored session."""
    return house.items(f"CALL#{CALL}")["META"]


def test_a_status_update_makes_the_session(house: House) -> None:
    answer = say(house, "status-update", status="in-progress")

    assert (answer["statusCode"], answer["body"]) == (200, "{}")
    stored = session(house)
    assert (stored["rank"], stored["status"], stored["interrupted_at"]) == (40, "in-progress", 0)
    assert stored["control_host"] == "phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai"
    assert stored["call_sid"] == CALL_SID
    assert CONTROL not in str(stored)


def test_the_rank_only_rises(house: House) -> None:
    for status in ("in-progress", "ringing", "queued"):
        say(house, "status-update", status=status)

    assert session(house)["status"] == "in-progress"


def test_an_ended_call_stays_ended_and_forgets_its_control_host(house: House) -> None:
    say(house, "status-update", status="in-progress")
    say(house, "status-update", status="ended", endedReason="customer-ended-call")
    say(house, "status-update", status="in-progress")

    stored = session(house)
    assert (stored["status"], stored["ended_reason"]) == ("ended", "customer-ended-call")
    assert "control_host" not in stored


def test_the_end_cuts_the_life_of_the_session_to_the_retention(house: House) -> None:
    say(house, "status-update", status="in-progress")
    assert session(house)["exp"] == int(house.clock()) + (13 + 24) * 3600

    house.clock.advance(60)
    say(house, "status-update", status="ended")

    assert session(house)["exp"] == int(house.clock()) + 24 * 3600


def test_a_report_alone_ends_the_call(house: House) -> None:
    say(house, "end-of-call-report", endedReason="silence-timed-out", cost=0.11, analysis={"summary": "Asked."})

    items = house.items(f"CALL#{CALL}")
    assert items["META"]["rank"] == calls.ENDED
    assert items["REPORT"]["ended_reason"] == "silence-timed-out"
    assert items["REPORT"]["cost_micros"] == 110_000
    assert items["REPORT"]["summary"] == "Asked."


def test_a_report_keeps_no_words_where_transcripts_are_off(house: House) -> None:
    quiet = house.desk._replace(settings=house.settings._replace(store_transcripts=False))
    outputs = {"so_1": {"name": "outcome", "result": "Private."}}
    report = message(
        "end-of-call-report",
        house.clock,
        endedReason="x",
        analysis={"summary": "Private."},
        artifact={"structuredOutputs": outputs},
    )

    webhook.respond(quiet, house.event(report))

    assert "Private." not in str(house.items(f"CALL#{CALL}"))


def kept(house: House, outputs: Any) -> Any:
    say(house, "end-of-call-report", endedReason="x", artifact={"structuredOutputs": outputs})
    return house.items(f"CALL#{CALL}")["REPORT"].get("outputs")


def test_a_report_keeps_what_was_read_off_the_conversation(house: House) -> None:
    outputs = {
        "so_1": {"name": "outcome", "result": {"changed": True, "score": 0.5, "wanted": "é"}},
        "so_2": {"name": "satisfied", "result": False},
        "so_3": {"name": "nothing", "result": None},
    }

    assert kept(house, outputs) == {"outcome": '{"changed":true,"score":0.5,"wanted":"é"}', "satisfied": "false"}


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        [],
        "x",
        {},
        {"so_1": None},
        {"so_1": {"result": 1}},
        {"so_1": {"name": 1, "result": 1}},
        {"so_1": {"name": "", "result": 1}},
        {"so_1": {"name": "x" * 41, "result": 1}},
        {"so_1": {"name": "long", "result": "x" * 999}},
    ],
)
def test_of_outputs_that_are_none_nothing_is_kept(house: House, outputs: Any) -> None:
    assert kept(house, outputs) is None


def test_a_report_stays_small_however_much_is_read_off(house: House) -> None:
    outputs = {f"so_{n}": {"name": f"{n:040}", "result": "x" * 998} for n in range(11)}

    found = kept(house, outputs)
    assert list(found.values()) == ['"' + "x" * 998 + '"'] * 10


def test_a_report_keeps_only_what_is_on_the_list(house: House) -> None:
    say(house, "end-of-call-report", endedReason="x", artifact={"recordingUrl": "https://secret.example"}, cost="a lot")

    report = house.items(f"CALL#{CALL}")["REPORT"]
    assert set(report) == {"pk", "sk", "v", "exp", "ended_reason", "started_at", "ended_at"}


@pytest.mark.parametrize("interruptions", [(5, 1), (1, 5), (5, 5)])
def test_the_latest_interruption_counts_whatever_came_last(house: House, interruptions: tuple[int, int]) -> None:
    base = int(house.clock() * 1000)
    for seconds in interruptions:
        say(house, "user-interrupted", timestamp=base - 60_000 + seconds * 1000)

    assert session(house)["interrupted_at"] == base - 60_000 + 5000


def test_an_interruption_from_the_future_is_not_believed(house: House) -> None:
    say(house, "user-interrupted", timestamp=int((house.clock() + 301) * 1000))

    assert "META" not in house.items(f"CALL#{CALL}")


def test_who_speaks_is_two_times_per_speaker(house: House) -> None:
    base = int(house.clock() * 1000)
    say(house, "speech-update", role="user", status="started", timestamp=base)
    say(house, "speech-update", role="user", status="stopped", timestamp=base + 900)
    say(house, "speech-update", role="assistant", status="started", timestamp=base + 1000)

    stored = session(house)
    assert (stored["caller_started_at"], stored["caller_stopped_at"]) == (base, base + 900)
    assert stored["assistant_started_at"] == base + 1000


def test_a_final_utterance_is_an_item_of_its_own_and_a_partial_one_is_none(house: House) -> None:
    say(house, "transcript", role="user", transcriptType="partial", transcript="I")
    say(house, "transcript", role="user", transcriptType="final", transcript="I need to change the time")
    say(house, "transcript", role="user", transcriptType="final", transcript="I need to change the time")

    lines = [item["words"] for sk, item in house.items(f"CALL#{CALL}").items() if sk.startswith("TR#")]
    assert lines == ["I need to change the time"]


def test_the_bracketed_type_of_a_transcript_is_understood(house: House) -> None:
    say(house, 'transcript[transcriptType="final"]', role="user", transcript="Thursday")

    assert any(sk.startswith("TR#") for sk in house.items(f"CALL#{CALL}"))


def test_no_transcript_is_stored_where_that_is_off(house: House) -> None:
    quiet = house.desk._replace(settings=house.settings._replace(store_transcripts=False))
    spoken = message("transcript", house.clock, role="user", transcriptType="final", transcript="Thursday")

    assert webhook.respond(quiet, house.event(spoken))["statusCode"] == 200
    assert house.items(f"CALL#{CALL}") == {}


def recorded(clock: Clock) -> list[dict[str, Any]]:
    """A call's messages that change state, each with a time of its own."""
    at = int(clock() * 1000)
    described: list[tuple[str, dict[str, Any]]] = [
        ("status-update", {"status": "ringing"}),
        ("status-update", {"status": "in-progress"}),
        ("speech-update", {"role": "assistant", "status": "started"}),
        ("user-interrupted", {}),
        ("speech-update", {"role": "user", "status": "started"}),
        ("transcript", {"role": "user", "transcriptType": "final", "transcript": "Wait."}),
        ("speech-update", {"role": "user", "status": "stopped"}),
        ("status-update", {"status": "ended", "endedReason": "customer-ended-call"}),
        ("end-of-call-report", {"endedReason": "customer-ended-call", "cost": 0.1}),
    ]
    return [message(kind, clock, timestamp=at + step, **fields) for step, (kind, fields) in enumerate(described)]


@pytest.mark.parametrize("seed", range(25))
def test_any_order_and_repetition_of_a_calls_messages_end_in_the_same_items(house: House, seed: int) -> None:
    messages = recorded(house.clock)
    for body in messages:
        webhook.respond(house.desk, house.event(body))
    in_order = house.items(f"CALL#{CALL}")
    for sk in in_order:
        house.aws.dynamodb.delete_item(
            TableName=house.settings.table, Key={"pk": {"S": f"CALL#{CALL}"}, "sk": {"S": sk}}
        )

    order = random.Random(seed)
    shuffled = messages + order.sample(messages, 4)
    order.shuffle(shuffled)
    for body in shuffled:
        webhook.respond(house.desk, house.event(body))

    assert house.items(f"CALL#{CALL}") == in_order


def test_a_session_past_its_time_is_not_read_even_if_it_is_not_deleted_yet(house: House) -> None:
    say(house, "status-update", status="in-progress")
    stored = session(house)

    assert calls.load(house.store, CALL, stored["exp"] - 1) is not None
    assert calls.load(house.store, CALL, stored["exp"]) is None


def test_a_message_after_that_starts_over_and_keeps_nothing_old(house: House) -> None:
    say(house, "user-interrupted")
    say(house, "status-update", status="ended")
    house.clock.advance(38 * 3600)
    say(house, "status-update", status="in-progress")

    stored = session(house)
    assert (stored["status"], stored["interrupted_at"]) == ("in-progress", 0)
    assert "ended_at" not in stored


STATE_CHANGING: list[tuple[str, dict[str, Any]]] = [
    ("status-update", {"status": "in-progress"}),
    ("status-update", {"status": "forwarding"}),
    ("speech-update", {"role": "user", "status": "started"}),
    ("speech-update", {"role": "assistant", "status": "stopped"}),
    ("user-interrupted", {}),
    ("transcript", {"role": "user", "transcriptType": "final", "transcript": "Thursday"}),
]


@pytest.mark.parametrize(("kind", "fields"), STATE_CHANGING)
@pytest.mark.parametrize("known", [True, False], ids=["known call", "first message of a call"])
def test_a_message_that_changes_state_costs_one_write(
    house: House, kind: str, fields: dict[str, Any], known: bool
) -> None:
    if known:
        say(house, "status-update", status="ringing")
    house.aws.wire.take()
    say(house, kind, **fields)

    sent = house.aws.wire.take()
    assert len(sent) == 1
    assert sent[0] in ("UpdateItem", "PutItem")


IGNORABLE: list[tuple[str, dict[str, Any]]] = [
    ("conversation-update", {"messages": [{"role": "user", "message": "hi"}] * 50}),
    ("hang", {}),
    ("model-output", {"output": "x"}),
    ("voice-input", {"input": "x"}),
    ("assistant.started", {}),
    ("assistant.speechStarted", {"text": "x"}),
    ("session.created", {}),
    ("invented.tomorrow", {"x": [1]}),
    ("transcript", {"role": "user", "transcriptType": "partial", "transcript": "Thu"}),
    ("status-update", {"status": "not-found"}),
    ("speech-update", {"role": "tool", "status": "started"}),
]


@pytest.mark.parametrize(("kind", "fields"), IGNORABLE)
def test_an_ignorable_message_costs_nothing_and_is_acknowledged(
    house: House, kind: str, fields: dict[str, Any]
) -> None:
    answer = say(house, kind, **fields)

    assert (answer["statusCode"], answer["body"]) == (200, "{}")
    assert house.aws.wire.take() == []


def test_a_message_of_no_call_is_acknowledged_and_costs_nothing(house: House) -> None:
    for call, kind in itertools.product(({}, {"id": "../x"}, None, "c-1"), ("status-update", "user-interrupted")):
        body = message(kind, house.clock, status="ended") | {"call": call}
        assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200

    assert house.aws.wire.take() == []
