"""Every message that Vapi publishes, captures show, or that nobody has thought of yet, through the front door.

The lists of types are Vapi's own (devkit/vapi_spec.json), so a type that is added there has to be given its place
here. Whatever comes is answered 200; what it may cost in requests to AWS is said for each.
"""

import json
import re
from typing import Any

import pytest

from devkit.vapi_spec import Spec
from switchboard import lanes, telemetry, webhook
from switchboard.desk import Caller
from switchboard.messages import Assistant, Decision
from tests.integration.conftest import BASE_URL, CALL, CALL_SID, CALLER, House, Ledger, message, tool_call

SPEC = Spec.load()
DIALLED = "+15550100200"
LOOK_UP = tool_call("look_up", {"name": "Ann"})
HISTORY = {"messages": [], "messagesOpenAIFormatted": [{"role": "user", "content": "Hello."}]}
CONTACT = {"id": "p-1", "campaignId": "c-1", "orgId": "o-1", "number": CALLER, "createdAt": "2027-01-15T08:00:00.000Z"}
CHAT: dict[str, Any] = {"chat": {}}
SESSION: dict[str, Any] = {"session": {}}

# type → the fields that its schema wants, and the requests to AWS that it costs. Types without a schema stand below.
UNION: dict[str, tuple[dict[str, Any], list[str]]] = {
    "assistant-request": ({}, ["PutItem"]),
    "tool-calls": ({"toolCallList": [LOOK_UP], "toolWithToolCallList": []}, ["GetItem", "PutItem"]),
    "transfer-destination-request": ({}, ["PutItem"]),
    "handoff-destination-request": ({"parameters": {"topic": "billing"}}, ["PutItem"]),
    "knowledge-base-request": (HISTORY, []),
    "voice-request": ({"text": "Hello.", "sampleRate": 24000}, []),
    "call.endpointing.request": (HISTORY, []),
    "campaign.predial": ({"campaignId": "c-1", "contact": CONTACT}, []),
    "status-update": ({"status": "in-progress"}, ["UpdateItem"]),
    "end-of-call-report": (
        {"endedReason": "customer-ended-call", "artifact": {}, "analysis": {"summary": "Asked."}},
        ["PutItem", "UpdateItem", "Query", "Query"],
    ),
    "conversation-update": (HISTORY, []),
    "speech-update": ({"status": "started", "role": "user", "turn": 0}, ["UpdateItem"]),
    "user-interrupted": ({"turnId": "t-1"}, ["UpdateItem"]),
    "hang": ({}, []),
    "transcript": ({"role": "user", "transcriptType": "final", "transcript": "Hello."}, ["PutItem"]),
    'transcript[transcriptType="final"]': (
        {"role": "user", "transcriptType": "final", "transcript": "Hello."},
        ["PutItem"],
    ),
    "model-output": ({"output": {"content": "Hello."}}, []),
    "voice-input": ({"input": "Hello."}, []),
    "assistant.speechStarted": ({"text": "Hello.", "turn": 0, "source": "model"}, []),
    "transfer-update": ({"destination": {"type": "number", "number": DIALLED}}, []),
    "language-change-detected": ({"language": "es"}, []),
    "phone-call-control": ({"request": "forward", "destination": {"type": "number", "number": DIALLED}}, []),
    "chat.created": (CHAT, []),
    "chat.deleted": (CHAT, []),
    "session.created": (SESSION, []),
    "session.updated": (SESSION, []),
    "session.deleted": (SESSION, []),
    "call.deleted": ({}, []),
    "call.delete.failed": ({}, []),
    "call.artifact.upload": ({"artifacts": [{"type": "recording-mono", "success": True}]}, []),
}
WITHOUT_SCHEMA: dict[str, tuple[dict[str, Any], list[str]]] = {
    "assistant.started": ({"newAssistant": {"name": "Front desk"}}, []),
    "function-call": ({"functionCall": {"name": "look_up", "parameters": {"name": "Ann"}}}, ["GetItem", "PutItem"]),
    "language-changed": ({"language": "es"}, []),
}
SEEN = UNION | WITHOUT_SCHEMA
# Types that come in several forms which do not cost the same.
VARIANTS: list[tuple[str, dict[str, Any], list[str]]] = [
    # The second look is for the slot that the call has filled, the ticket for its phone leg.
    (
        "status-update",
        {"status": "ended", "endedReason": "silence-timed-out"},
        ["UpdateItem", "SendMessage", "Query", "Query"],
    ),
    ("status-update", {"status": "scheduled"}, ["UpdateItem"]),
    ("status-update", {"status": "queued"}, ["UpdateItem"]),
    ("status-update", {"status": "ringing"}, ["UpdateItem"]),
    ("status-update", {"status": "forwarding", "destination": {"type": "number", "number": DIALLED}}, ["UpdateItem"]),
    ("status-update", {"status": "not-found"}, []),
    ("status-update", {"status": "deletion-failed"}, []),
    ("transcript", {"role": "user", "transcriptType": "partial", "transcript": "Hel"}, []),
    ("transcript", {"role": "assistant", "transcriptType": "final", "transcript": "Hello."}, ["PutItem"]),
    ("speech-update", {"status": "stopped", "role": "assistant", "turn": 1}, ["UpdateItem"]),
    ("user-interrupted", {}, ["UpdateItem"]),
    ("tool-calls", {"toolCallList": [], "toolWithToolCallList": []}, []),
    ("phone-call-control", {"request": "hang-up"}, []),
]
INVENTED = [
    "invented.tomorrow",
    "Tool-Calls",
    "TOOL-CALLS",
    "tool-calls ",
    "tool_calls",
    "status-update\n",
    "transcripts",
    "transcript.deleted",
    "assistant-request-2",
    "..",
    "#$%&",
    "__class__",
    "日本語",
    "x" * 5000,
]


def tell(house: House, kind: str, **fields: Any) -> Any:
    """Send a message and return the body of the answer, which is 200."""
    answer = webhook.respond(house.desk, house.event(message(kind, house.clock, **fields)))
    assert answer["statusCode"] == 200
    return json.loads(answer["body"])


def counted(name: str) -> float:
    """How often a metric was counted in this test."""
    values: list[float] = telemetry.metrics.metric_set.get(name, {"Value": []})["Value"]
    return sum(values)


def test_every_published_type_has_its_place_here() -> None:
    members = SPEC.schemas["ServerMessage"]["properties"]["message"]["anyOf"]

    assert len(members) == 29
    assert len(SPEC.configurable_types()) == 28
    assert set(UNION) == SPEC.message_types()
    assert set(SEEN) == SPEC.message_types() | SPEC.configurable_types()


@pytest.mark.parametrize("kind", sorted(UNION))
def test_the_samples_are_what_vapi_publishes(kind: str, house: House) -> None:
    sample = message(kind, house.clock, **UNION[kind][0])
    sample["call"] |= {"createdAt": "2027-01-15T08:00:00.000Z", "updatedAt": "2027-01-15T08:00:00.000Z"}

    assert SPEC.closed().faults(SPEC.name_of("ServerMessage", kind), sample) == []


@pytest.mark.parametrize("kind", sorted(SEEN))
def test_every_type_is_answered_and_costs_what_it_may(house: House, kind: str) -> None:
    fields, requests = SEEN[kind]
    tell(house, kind, **fields)

    assert house.aws.wire.take() == requests
    # Acknowledged and counted is all that happens to what has no meaning here; a slow pipeline has a count of its own.
    known = kind.startswith("transcript[") or kind in webhook.HANDLERS
    assert counted("MessageIgnored") == (0 if known else 1)
    assert counted("Hang") == (1 if kind == "hang" else 0)


@pytest.mark.parametrize(("kind", "fields", "requests"), VARIANTS)
def test_every_form_of_a_type_costs_what_it_may(
    house: House, kind: str, fields: dict[str, Any], requests: list[str]
) -> None:
    tell(house, kind, **fields)

    assert house.aws.wire.take() == requests


@pytest.mark.parametrize("kind", INVENTED)
def test_a_type_that_nobody_has_invented_yet_is_acknowledged_and_counted(house: House, kind: str) -> None:
    answer = tell(
        house, kind, transcriptType="final", transcript="x", role="user", status="ended", toolCallList=[LOOK_UP]
    )

    assert answer == {}
    assert counted("MessageIgnored") == 1
    assert house.aws.wire.take() == []


def test_a_hang_is_a_delay_and_ends_nothing(house: House) -> None:
    tell(house, "status-update", status="in-progress")
    tell(house, "hang")

    assert house.items(f"CALL#{CALL}")["META"]["status"] == "in-progress"


@pytest.mark.parametrize("kind", sorted(SEEN))
def test_a_message_of_no_known_call_is_answered_and_stores_nothing(house: House, kind: str) -> None:
    for call in (None, {}, {"id": None}, {"id": 7}, {"id": "../x"}, {"id": ""}, {"id": "x" * 101}, "c-1", [1]):
        tell(house, kind, **(SEEN[kind][0] | {"call": call}))

    assert house.aws.wire.take() == []


@pytest.mark.parametrize("kind", sorted(SEEN))
def test_a_message_with_nothing_but_a_type_is_answered(house: House, kind: str) -> None:
    answer = webhook.respond(house.desk, house.event({"type": kind}))

    assert answer["statusCode"] == 200
    assert house.aws.wire.take() == []


ARGUMENTS = {"name": "Ann"}
TEXT = json.dumps(ARGUMENTS)
NESTED = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": ARGUMENTS}}

# One entry of a list, as each source shows it.
ENTRIES: dict[str, dict[str, Any]] = {
    "capture: nested, object": NESTED,
    "published schema: nested, text": NESTED | {"function": {"name": "look_up", "arguments": TEXT}},
    "server-url page: flat, parameters": {"id": "call_1", "name": "look_up", "parameters": ARGUMENTS},
    "custom-tools page: flat, arguments": {"id": "call_1", "name": "look_up", "arguments": ARGUMENTS},
    "flat, text": {"id": "call_1", "name": "look_up", "arguments": TEXT},
    "flat, parameters as text": {"id": "call_1", "name": "look_up", "parameters": TEXT},
    "custom-tools page: nested, parameters": NESTED | {"function": {"name": "look_up", "parameters": ARGUMENTS}},
    "nested, parameters as text": NESTED | {"function": {"name": "look_up", "parameters": TEXT}},
    "name beside the function": {"id": "call_1", "name": "look_up", "function": {"arguments": ARGUMENTS}},
    "arguments beside the function": {"id": "call_1", "function": {"name": "look_up"}, "arguments": ARGUMENTS},
    "nulls where nothing is": {
        "id": "call_1",
        "name": None,
        "arguments": None,
        "function": {"name": "look_up", "arguments": None, "parameters": ARGUMENTS},
    },
    "fields nobody knows": NESTED | {"index": 0, "server": {"url": "https://x.example"}, "new": {"a": [1]}},
}


def lists(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An entry in each of the lists that it may stand in."""
    with_tool = {"type": "function", "function": {"name": "look_up"}, "server": {"url": "x"}, "toolCall": entry}
    return {
        "toolCallList": {"toolCallList": [entry]},
        "toolCalls": {"toolCalls": [entry]},
        "toolWithToolCallList": {"toolWithToolCallList": [with_tool]},
        "all three": {"toolCallList": [entry], "toolCalls": [entry], "toolWithToolCallList": [with_tool]},
        "an empty one first": {"toolCallList": [], "toolCalls": None, "toolWithToolCallList": [with_tool]},
    }


@pytest.mark.parametrize("name", sorted(lists({})))
@pytest.mark.parametrize("shape", sorted(ENTRIES))
def test_a_tool_call_is_understood_in_every_shape(house: House, shape: str, name: str) -> None:
    answer = tell(house, "tool-calls", **lists(ENTRIES[shape])[name])

    assert answer == {"results": [{"toolCallId": "call_1", "name": "look_up", "result": "Found Ann."}]}
    assert house.items(f"CALL#{CALL}")["TOOL#call_1"]["arguments"] == '{"name":"Ann"}'


def test_parallel_calls_of_several_shapes_are_answered_once_each_in_their_order(house: House) -> None:
    entries = [entry | {"id": f"call_{n}"} for n, entry in enumerate(ENTRIES.values())]
    results = tell(house, "tool-calls", toolCallList=entries)["results"]

    assert results == [{"toolCallId": entry["id"], "name": "look_up", "result": "Found Ann."} for entry in entries]


def test_a_call_that_stands_twice_in_a_message_acts_once(house: House, ledger: Ledger) -> None:
    twice = [tool_call("book", {"name": "Ann"})] * 2
    results = tell(house, "tool-calls", toolCallList=twice)["results"]

    assert results == [{"toolCallId": "call_1", "name": "book", "result": "Booked Ann."}] * 2
    assert ledger.effects == ["book"]


def test_calls_that_hooks_fire_share_an_id_and_are_told_apart(house: House, ledger: Ledger) -> None:
    fired = [tool_call("book", {"name": name}, "hook-function-call") for name in ("Ann", "Bob")]
    results = tell(house, "tool-calls", toolCallList=fired)["results"]

    assert [result["result"] for result in results] == ["Booked Ann.", "Booked Bob."]
    assert {result["toolCallId"] for result in results} == {"hook-function-call"}
    assert ledger.effects == ["book", "book"]


@pytest.mark.parametrize("arguments", ["not json", "[1]", "7", '"text"', '{"a":', [1], 7, True])
def test_arguments_that_are_no_object_are_answered_in_words_for_the_model(house: House, arguments: Any) -> None:
    [result] = tell(house, "tool-calls", toolCallList=[tool_call("look_up", arguments)])["results"]

    assert result["error"] == lanes.NOT_AN_OBJECT


@pytest.mark.parametrize("arguments", ["", "  ", "{}", {}, None])
def test_no_arguments_are_no_arguments_however_they_are_written(house: House, arguments: Any) -> None:
    [result] = tell(house, "tool-calls", toolCallList=[tool_call("look_up", arguments)])["results"]

    assert result["error"].startswith("Wrong arguments: name:")


@pytest.mark.parametrize("junk", [None, "text", 7, [[]], {"id": "call_1"}])
def test_entries_that_are_no_calls_take_no_call_with_them(house: House, junk: Any) -> None:
    results = tell(house, "tool-calls", toolCallList=[junk, NESTED])["results"]

    assert results[-1] == {"toolCallId": "call_1", "name": "look_up", "result": "Found Ann."}


def caller_seen(house: House, **fields: Any) -> Caller:
    """What the agent is told about the caller of such an `assistant-request`."""
    seen: list[Caller] = []

    def remember(caller: Caller) -> Decision:
        seen.append(caller)
        return Assistant(id="a")

    desk = house.desk._replace(agent=house.desk.agent._replace(assistant=remember))
    body = {"type": "assistant-request", "timestamp": int(house.clock() * 1000), **fields}
    assert webhook.respond(desk, house.event(body))["statusCode"] == 200
    [caller] = seen
    return caller


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"call": {"id": CALL, "customer": {"number": CALLER}}}, CALLER),
        ({"call": {"id": CALL}, "customer": {"number": CALLER}}, CALLER),
        ({"call": {"id": CALL, "customer": {"number": CALLER}}, "customer": {"number": "+15550100999"}}, CALLER),
        ({"call": {"id": CALL, "customer": {"sipUri": "sip:a@b"}}, "customer": {"number": CALLER}}, CALLER),
        ({"call": {"id": CALL, "customer": None}, "customer": {"number": CALLER}}, CALLER),
        ({"call": {"id": CALL, "customer": {"number": 15550100001}}}, ""),
        ({"call": {"id": CALL, "customer": CALLER}}, ""),
        ({"customer": {"number": CALLER}}, CALLER),
        ({}, ""),
    ],
)
def test_the_caller_is_found_wherever_captures_have_them(house: House, fields: dict[str, Any], number: str) -> None:
    assert caller_seen(house, **fields).number == number


@pytest.mark.parametrize("fields", [{"call": {"customer": {"number": CALLER}}}, {"customer": {"number": CALLER}}])
def test_the_caller_of_a_tool_call_is_stored_with_it(house: House, fields: dict[str, Any]) -> None:
    fields = fields | {"call": {"id": CALL, **fields.get("call", {})}}
    tell(house, "tool-calls", toolCallList=[tool_call("move", {"to": "Friday"})], **fields)

    assert house.items(f"CALL#{CALL}")["TOOL#call_1"]["caller"] == CALLER


@pytest.mark.parametrize(
    ("fields", "dialled"),
    [
        ({"phoneNumber": {"provider": "twilio", "number": DIALLED}}, DIALLED),
        ({"phoneNumber": {"provider": "vapi", "number": DIALLED, "sipUri": "sip:a@b"}}, DIALLED),
        ({"call": {"id": CALL, "phoneNumber": {"number": DIALLED}}}, DIALLED),
        (
            {"call": {"id": CALL, "phoneNumber": {"number": "+15550100999"}}, "phoneNumber": {"number": DIALLED}},
            DIALLED,
        ),
        ({"phoneNumber": {"sipUri": "sip:desk@sip.vapi.ai"}}, ""),
        ({"call": {"id": CALL, "phoneNumberId": "p-1"}}, ""),
        ({"phoneNumber": None}, ""),
    ],
)
def test_the_dialled_number_is_found_wherever_captures_have_it(
    house: House, fields: dict[str, Any], dialled: str
) -> None:
    caller = caller_seen(house, **fields)

    assert caller.dialled == dialled
    assert caller.backend.server["url"] == f"{BASE_URL}/webhook/vapi"


OTHER_SID = "CA" + "0f" * 16


@pytest.mark.parametrize(
    ("call", "fields", "sid"),
    [
        ({"transport": {"provider": "twilio", "callSid": CALL_SID}}, {}, CALL_SID),
        ({"phoneCallProviderId": CALL_SID}, {}, CALL_SID),
        ({"transport": {"callSid": CALL_SID}, "phoneCallProviderId": OTHER_SID}, {}, CALL_SID),
        ({"transport": {"callSid": None}, "phoneCallProviderId": CALL_SID}, {}, CALL_SID),
        ({"metadata": {"callSid": CALL_SID}}, {}, CALL_SID),
        ({"assistantOverrides": {"metadata": {"callSid": CALL_SID}}}, {}, CALL_SID),
        ({}, {"assistant": {"metadata": {"callSid": CALL_SID}}}, CALL_SID),
        ({"phoneCallProviderId": "vonage-7"}, {}, None),
        ({"transport": "twilio"}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_phone_leg_is_found_wherever_captures_have_it(
    house: House, call: dict[str, Any], fields: dict[str, Any], sid: str | None
) -> None:
    tell(house, "status-update", status="in-progress", call={"id": CALL, **call}, **fields)

    assert house.items(f"CALL#{CALL}")["META"].get("call_sid") == sid


AT = 1_799_999_990_123  # ten seconds ago


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        (AT, AT),
        (float(AT), AT),
        (AT + 0.75, AT),
        ("2027-01-15T07:59:50.123Z", AT),
        ("2027-01-15T07:59:50.123+00:00", AT),
        ("2027-01-15T08:59:50.123+01:00", AT),
        ("2027-01-15T07:59:50Z", AT - 123),
        (None, 1_800_000_000_000),
        ("yesterday", 1_800_000_000_000),
        ("", 1_800_000_000_000),
        (True, 1_800_000_000_000),
        (-1, 1_800_000_000_000),
        (1e300, 1_800_000_000_000),
        ({}, 1_800_000_000_000),
    ],
)
def test_a_time_is_a_number_or_a_text_and_ours_where_it_is_neither(house: House, timestamp: Any, at: int) -> None:
    tell(house, "user-interrupted", timestamp=timestamp)

    assert house.items(f"CALL#{CALL}")["META"]["interrupted_at"] == at


def test_a_report_is_read_in_the_shape_of_every_year(house: House) -> None:
    tell(
        house,
        "end-of-call-report",
        endedReason="pipeline-error-openai-llm-failed",
        startedAt="2027-01-15T07:58:00.000Z",
        endedAt="2027-01-15T07:59:50.123Z",
        cost=0.1234567,
        durationSeconds=110.1,
        summary="At the top, as once.",
        analysis={"summary": "Asked.", "successEvaluation": "true", "structuredData": {"card": "4111"}},
        artifact={"recording": {"mono": {"combinedUrl": "https://x.example/secret.wav"}}},
    )

    report = house.items(f"CALL#{CALL}")["REPORT"]
    assert (report["started_at"], report["ended_at"], report["cost_micros"]) == (1_799_999_880_000, AT, 123_457)
    assert (report["ended_reason"], report["summary"]) == ("pipeline-error-openai-llm-failed", "Asked.")
    assert not re.search(r"4111|secret|At the top", str(report))


def test_the_end_of_a_call_may_stand_in_the_call_itself(house: House) -> None:
    tell(house, "status-update", status="ended", call={"id": CALL, "endedReason": "customer-busy"})

    assert house.items(f"CALL#{CALL}")["META"]["ended_reason"] == "customer-busy"


def test_the_calls_own_status_lags_behind_and_is_not_believed(house: House) -> None:
    tell(house, "status-update", status="in-progress", call={"id": CALL, "status": "ringing"})

    assert house.items(f"CALL#{CALL}")["META"]["status"] == "in-progress"
