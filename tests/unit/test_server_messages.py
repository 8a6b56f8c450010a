import json
from typing import Any

import pytest

from devkit.server_messages import (
    CANARY,
    DEFAULT_MESSAGES,
    Conversation,
    ToolOutcome,
    definition,
    encode,
    is_wanted,
    message,
    read_assistant_answer,
    read_tool_answer,
    tool_call,
    tool_calls,
    wanted,
)

CALL: dict[str, Any] = {"id": "c-1", "type": "inboundPhoneCall", "customer": {"number": "+15555550134"}}
ENTRY = tool_call("call_1", "find", {"day": "monday"})
TOOL = {"type": "function", "function": {"name": "find"}}


def conversation() -> Conversation:
    return Conversation(1000.0, "+15555550100")


def results(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"results": list(entries)}).encode()


def test_a_message_is_wrapped_and_carries_the_call() -> None:
    inner = message("hang", CALL, 1767225600.1234, conversation())["message"]

    assert inner["type"] == "hang"
    assert inner["timestamp"] == 1767225600123
    assert inner["call"] == CALL
    assert inner["customer"] == CALL["customer"]
    assert inner["phoneNumber"]["number"] == "+15555550100"
    assert inner["phoneNumber"]["twilioAuthToken"] == CANARY


def test_the_bytes_are_those_of_a_javascript_sender() -> None:
    assert encode({"a": [1, "é"], "b": None}) == '{"a":[1,"é"],"b":null}'.encode()


def test_tool_calls_carry_three_lists_with_arguments_as_an_object() -> None:
    inner = tool_calls(CALL, 1.0, conversation(), [ENTRY])["message"]

    assert inner["toolCallList"] == inner["toolCalls"] == [ENTRY]
    assert inner["toolWithToolCallList"] == [TOOL | {"toolCall": ENTRY}]
    assert ENTRY["function"] == {"name": "find", "arguments": {"day": "monday"}}


def test_a_tool_is_as_the_assistant_defines_it() -> None:
    tool = {"type": "function", "function": {"name": "find", "description": "Look it up."}}
    call = CALL | {"assistant": {"model": {"tools": [tool]}}}

    assert definition(call, "find") == tool
    assert definition(call, "other") == {"type": "function", "function": {"name": "other"}}


def test_the_record_of_a_conversation_grows_and_keeps_arguments_as_text() -> None:
    record = conversation()
    record.said("assistant", "Hello.", 1001.0, 0.5)
    record.said("user", "Hi.", 1002.0, 0.25)
    record.called([ENTRY], 1003.0)
    record.returned("call_1", "find", "Monday", 1004.0)

    artifact = record.artifact()
    assert artifact["transcript"] == "AI: Hello.\nUser: Hi.\n"
    assert [line["role"] for line in artifact["messages"]] == ["bot", "user", "tool_calls", "tool_call_result"]
    assert [line["secondsFromStart"] for line in artifact["messages"]] == [1, 2, 3, 4]
    assert artifact["messagesOpenAIFormatted"][2]["tool_calls"][0]["function"]["arguments"] == '{"day": "monday"}'


@pytest.mark.parametrize(
    ("call", "kinds"),
    [
        ({"assistantId": "a"}, None),
        ({"assistantId": "a", "assistantOverrides": {"serverMessages": ["hang"]}}, ("hang", "assistant-request")),
        ({"assistant": {"serverMessages": []}}, ("assistant-request",)),
        ({"assistant": {}}, (*DEFAULT_MESSAGES, "assistant-request")),
        ({}, None),
    ],
)
def test_what_is_sent_is_what_the_assistant_asks_for(call: dict[str, Any], kinds: tuple[str, ...] | None) -> None:
    assert wanted(call) == kinds


def test_final_transcripts_can_be_asked_for_alone() -> None:
    final = message("transcript", CALL, 1, conversation(), transcriptType="final", role="user", transcript="Hi.")
    partial = message("transcript", CALL, 1, conversation(), transcriptType="partial", role="user", transcript="H")
    only_final = ['transcript[transcriptType="final"]']

    assert is_wanted(final, only_final)
    assert not is_wanted(partial, only_final)
    assert is_wanted(partial, ["transcript"])
    assert not is_wanted(final, DEFAULT_MESSAGES)
    assert is_wanted(final, None)


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (500, results({"toolCallId": "call_1", "result": "fine"}), "HTTP 500"),
        (0, b"", "HTTP 0"),
        (200, b"not json", "no list of results"),
        (200, b"[]", "no list of results"),
        (200, b"{}", "no list of results"),
        (200, results(), "none has the id call_1"),
        (200, results({"toolCallId": "call_2", "result": "fine"}), "none has the id call_1"),
        (200, results({"toolCallId": "call_1"}), "the result is not text"),
        (200, results({"toolCallId": "call_1", "result": {"a": 1}}), "the result is not text"),
        (200, results({"toolCallId": "call_1", "result": "a\nb"}), "more than one line"),
        (200, results({"toolCallId": "call_1", "error": "a\rb"}), "more than one line"),
    ],
)
def test_an_answer_that_vapi_would_drop_gives_no_result(status: int, body: bytes, fault: str) -> None:
    outcome = read_tool_answer(status, body, ENTRY, TOOL)

    assert outcome.fault.startswith("no result returned: ")
    assert fault in outcome.fault
    assert outcome.read == ""


def complete(content: str, **more: str) -> dict[str, str]:
    return {"type": "request-complete", "content": content, **more}


@pytest.mark.parametrize(
    ("entry", "configured", "outcome"),
    [
        ({"result": "ok"}, [], ToolOutcome("ok")),
        ({"result": "ok", "message": complete("Moving it.")}, [], ToolOutcome("ok", "Moving it.")),
        ({"result": "ok", "message": complete("Mine.")}, [complete("Configured.")], ToolOutcome("ok", "Mine.")),
        ({"result": "ok"}, [complete("Configured.")], ToolOutcome("ok", "Configured.")),
        ({"result": "ok", "message": complete("A hint.", role="system")}, [], ToolOutcome("ok")),
        ({"error": "no"}, [complete("Configured.")], ToolOutcome("no", failed=True)),
        (
            {"error": "no", "message": {"type": "request-failed", "content": "Sorry."}},
            [],
            ToolOutcome("no", "Sorry.", failed=True),
        ),
        ({"result": "ok", "error": "no"}, [], ToolOutcome("ok")),
    ],
)
def test_an_answer_is_read_and_spoken_by_vapis_rules(
    entry: dict[str, Any], configured: list[dict[str, str]], outcome: ToolOutcome
) -> None:
    body = results({"toolCallId": "call_0", "result": "another"}, {"toolCallId": "call_1"} | entry)

    assert read_tool_answer(200, body, ENTRY, TOOL | {"messages": configured}) == outcome


def test_an_assistant_is_read_with_its_overrides() -> None:
    body = encode({"assistantId": "a", "assistantOverrides": {"firstMessage": "Hi."}, "more": 1})

    assert read_assistant_answer(200, body).fields == {
        "assistantId": "a",
        "assistantOverrides": {"firstMessage": "Hi."},
    }


def test_a_refusal_beats_a_destination_and_that_an_assistant() -> None:
    destination = {"destination": {"type": "number", "number": "+15555550199"}, "assistantId": "a"}

    assert read_assistant_answer(200, encode(destination | {"error": "Closed."})).refusal == "Closed."
    assert read_assistant_answer(200, encode(destination)).destination == "+15555550199"
    assert read_assistant_answer(200, encode(destination)).fields is None


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"{}"), (200, b"nonsense"), (0, b"")])
def test_no_assistant_is_a_fault(status: int, body: bytes) -> None:
    outcome = read_assistant_answer(status, body)

    assert outcome.fault
    assert outcome.fields is None
