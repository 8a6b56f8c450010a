"""Vapi's messages: every documented and captured shape is read, nothing but strict JSON is, answers are exact."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard import messages
from switchboard.errors import MessageRefused
from switchboard.messages import (
    HOOK_CALL_ID,
    MANY,
    MAX_TEXT,
    MIN_ENTRY,
    Assistant,
    Message,
    Refusal,
    ToolAnswer,
    ToolCall,
    Transfer,
    one_line,
)
from tests import recorded

SID = "CA" + "0123456789abcdef" * 2


def refusal_of(body: bytes) -> str:
    with pytest.raises(MessageRefused) as refused:
        messages.read(body)
    assert refused.value.status == (413 if refused.value.reason == "body_too_large" else 400)
    return refused.value.reason


def wrapped(inner: str) -> bytes:
    return b'{"message":{"type":"hang","x":' + inner.encode() + b"}}"


def said(**fields: Any) -> Message:
    return messages.read(json.dumps({"message": {"type": "hang", **fields}}).encode())


# The envelope


def test_a_message_is_an_object_with_a_type() -> None:
    message = messages.read(b' {"message": {"type": "status-update", "status": "ended"}}\n')

    assert (message.type, message.status) == ("status-update", "ended")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"null",
        b"1",
        b'"message"',
        b'[{"message":{"type":"hang"}}]',
        b'{"message":null}',
        b'{"message":"hang"}',
        b'{"message":[{"type":"hang"}]}',
        b'{"type":"hang"}',
        b'{"Message":{"type":"hang"}}',
    ],
)
def test_a_body_without_a_message_is_refused(body: bytes) -> None:
    assert refusal_of(body) == "no_message"


@pytest.mark.parametrize("message", ["{}", '{"type":""}', '{"type":null}', '{"type":1}', '{"type":["hang"]}'])
def test_a_message_without_a_type_is_refused(message: str) -> None:
    assert refusal_of(f'{{"message":{message}}}'.encode()) == "no_type"


def test_types_that_were_not_invented_yet_are_read() -> None:
    assert messages.read(b'{"message":{"type":"assistant.dreamt"}}').type == "assistant.dreamt"


# Strict JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"hello",
        b"{'message':{}}",
        b'{"message":{"type":"hang"},}',
        b'{"message":{"type":"hang"}} {}',
        b'{"message":{"type":"hang"}}x',
        b'{"message":{"type":"hang"',
        b'{"message":{"type":"hang}}',
        b'{"message":{"type":"ha\nng"}}',
        b'{"message":{"type":"ha\\xng"}}',
        b'{"message":{"type":"hang"}]',
        b'\xef\xbb\xbf{"message":{"type":"hang"}}',
        b'{"message":{"type":"\xff"}}',
        b'{"message":{"type":"\xc0\xaf"}}',
        b'{"message":{"type":"\xed\xa0\x80"}}',
        '{"message":{"type":"hang"}}'.encode("utf-16"),
        b'{"message":{"type":"hang"}}\x00',
    ],
)
def test_what_is_not_utf_8_and_json_is_refused(body: bytes) -> None:
    assert refusal_of(body) in ("not_json", "too_deep")


@pytest.mark.parametrize("body", [b"", b"\xff", b'{"message":{"type":"\xff"}}', b'"unclosed'])
def test_a_flat_body_that_is_no_json_is_said_to_be_that(body: bytes) -> None:
    assert refusal_of(body) == "not_json"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_javascript_constants_are_not_json(constant: str) -> None:
    assert refusal_of(wrapped(constant)) == "not_json"


@pytest.mark.parametrize(
    "inner",
    [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":1}',
        '[{"b":{"a":1,"a":1}}]',
    ],
)
def test_a_repeated_key_is_refused_however_it_is_written(inner: str) -> None:
    assert refusal_of(wrapped(inner)) == "not_json"


def test_a_repeated_envelope_key_is_refused() -> None:
    assert refusal_of(b'{"message":{"type":"hang"},"message":{"type":"tool-calls"}}') == "not_json"


@pytest.mark.parametrize("number", ["1" * 38, "-" + "1" * 38, "0", "-0", "1e308", "0." + "1" * 400])
def test_numbers_of_thirty_eight_digits_are_read(number: str) -> None:
    assert messages.read(wrapped(number)).body["x"] == json.loads(number)


@pytest.mark.parametrize("number", ["1" * 39, "-" + "1" * 39, "1" * 5000, "1e999", "-1e999", "1" * 400 + ".0"])
def test_numbers_that_no_table_can_hold_are_refused(number: str) -> None:
    assert refusal_of(wrapped(number)) == "not_json"


@pytest.mark.parametrize("number", ["01", "+1", "1.", ".5", "0x10", "1_000", "--1", "\u0661"])
def test_numbers_have_the_form_of_json(number: str) -> None:
    assert refusal_of(wrapped(number)) == "not_json"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_sixty_four_levels_are_read_and_no_more(opening: str, closing: str) -> None:
    # The envelope is two levels of its own.
    def nested(levels: int) -> bytes:
        return wrapped(opening * levels + "1" + closing * levels)

    assert messages.read(nested(62)).type == "hang"
    assert refusal_of(nested(63)) == "too_deep"
    assert refusal_of(nested(100_000)) == "too_deep"


def test_brackets_in_texts_are_not_levels() -> None:
    text = "[" * 100 + '\\"' + "{" * 100 + "\\\\"

    assert messages.read(wrapped(f'"{text}"')).body["x"] == "[" * 100 + '"' + "{" * 100 + "\\"
    assert messages.read(wrapped(f'{{"{text}":[[]]}}')).type == "hang"


def test_many_shallow_brackets_are_not_levels() -> None:
    assert messages.read(wrapped("[" + ",".join(["[]"] * 1000 + ["{}"] * 1000) + "]")).type == "hang"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000_000,
        b'{"a":' * 1_000_000,
        b"[]" * 2_500_000,
        b"[" * 2_500_000 + b"]" * 2_500_000,
        b'"' + b'\\"' * 2_500_000,
        b'"' + b"\\" * 5_000_000,
        b'["' * 2_500_000,
    ],
    ids=["arrays", "objects", "pairs", "nested", "unclosed text", "backslashes", "texts"],
)
def test_five_megabytes_of_nonsense_are_refused_without_trying_every_way_to_read_them(body: bytes) -> None:
    # No limit on time here: read in more than linear time, this suite would not end.
    assert refusal_of(body) in ("not_json", "too_deep", "body_too_large")


def test_twenty_thousand_entries_are_read_however_short_they_are() -> None:
    # The envelope has no list of its own.
    for entry in ("1", "[1]", '"a"', '{"a":1}'):
        most = MANY // (2 if entry == "[1]" else 1)
        document = messages.read(wrapped("[" + ",".join([entry] * most) + "]"))
        assert len(document.body["x"]) == most
        assert refusal_of(wrapped("[" + ",".join([entry] * (most + 1)) + "]")) == "body_too_large"
        assert refusal_of(wrapped("[[" + ",".join([entry] * most) + "]")) == "too_deep"


def test_of_more_entries_each_has_its_bytes_on_average() -> None:
    entries = ",".join(["1"] * 50_000)
    text = "a,[{" * (50_000 * MIN_ENTRY // 4)

    assert len(messages.read(wrapped(f'["{text}",{entries}]')).body["x"]) == 50_001
    assert refusal_of(wrapped(f'["{text[:-130_000]}",{entries}]')) == "body_too_large"


def test_twenty_thousand_different_keys_are_read_and_any_number_of_equal_ones() -> None:
    def keys(many: int) -> str:
        return ",".join(f'"{number}" : 1' for number in range(many))

    # `message`, `type` and `x` are keys as well.
    assert len(messages.read(wrapped(f"{{{keys(MANY - 3)}}}")).body["x"]) == MANY - 3
    assert refusal_of(wrapped(f"{{{keys(MANY)}}}")) == "body_too_large"
    objects = ",".join([f"{{{keys(1000)}}}"] * 50)
    assert len(messages.read(wrapped(f"[{objects}]")).body["x"]) == 50


WORD = {"word": "a", "start": 1.2, "end": 1.3, "confidence": 0.9, "punctuated_word": "A"}


@pytest.mark.parametrize("word", [WORD, {"word": "a", "confidence": 1}, {"word": "a", "start": 1.2, "end": 1.4}])
@pytest.mark.parametrize("spaces", [False, True])
@pytest.mark.parametrize("size", [1_000_000, 6 * 1024 * 1024])
def test_the_longest_report_is_read_with_every_word_of_twelve_hours(
    word: dict[str, Any], spaces: bool, size: int
) -> None:
    # 180 words a minute, one letter each: twelve hours of them, or what fits into a request.
    separators = (", ", ": ") if spaces else (",", ":")
    turn = {
        "role": "user",
        "message": "a " * 6,
        "time": 1_800_000_000_000,
        "endTime": 1_800_000_002_000,
        "secondsFromStart": 1.2,
        "duration": 2000,
        "metadata": {"wordLevelConfidence": [word] * 6},
    }
    formatted = {"role": "user", "content": "a"}
    latency = {"modelLatency": 9, "voiceLatency": 9, "transcriberLatency": 9, "endpointingLatency": 9, "turnLatency": 9}
    length = sum(len(json.dumps(one, separators=separators)) + len(separators[0]) for one in (turn, formatted, latency))
    turns = min(12 * 60 * 180 // 6, (size - 5_000) // length)
    artifact = {
        "messages": [turn] * turns,
        "messagesOpenAIFormatted": [formatted] * turns,
        "performanceMetrics": {"turnLatencies": [latency] * turns},
    }
    report = {"type": "end-of-call-report", "call": recorded.call(), "artifact": artifact, "endedReason": "hangup"}
    body = json.dumps({"message": report}, separators=separators).encode()

    assert len(body) <= size
    assert messages.read(body).body == report


def test_half_an_emoji_is_mended_and_the_rest_is_kept() -> None:
    body = b'{"message":{"type":"hang","x":["a\\ud83dz","\\udE00",{"k\\uDBFF":"\\ud83d\\ude00"}],"n":[1,null,true]}}'

    message = messages.read(body)

    assert message.body["x"] == ["a\ufffdz", "\ufffd", {"k\ufffd": "\U0001f600"}]
    assert message.body["n"] == [1, None, True]
    json.dumps(message.body, ensure_ascii=False).encode()


def test_whole_emoji_and_byte_order_marks_inside_texts_are_kept() -> None:
    assert messages.parse(b'["\\ud83d\\ude00", "\\uFEFFx", "\\\\ud800", "\xf0\x9f\x98\x80"]') == [
        "\U0001f600",
        "\ufeffx",
        "\\ud800",
        "\U0001f600",
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**37), 10**37)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Every character, halves of pairs too.
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_arrives_is_read_or_refused_as_a_message_and_nothing_else(body: bytes) -> None:
    with suppress(MessageRefused):
        assert messages.read(body).type


@given(JSON)
def test_any_body_of_any_shape_is_parsed_to_what_can_be_stored(value: Any) -> None:
    parsed = messages.parse(json.dumps(value).encode())

    json.dumps(parsed, ensure_ascii=False).encode()
    if "\\ud" not in json.dumps(value):
        assert parsed == value


READERS = (
    "call_id",
    "org_id",
    "assistant_id",
    "timestamp",
    "status",
    "role",
    "ended_reason",
    "customer_number",
    "dialled_number",
    "call_sid",
    "control_url",
    "transcript",
)
NAMES = ("call", "assistant", "customer", "phoneNumber", "timestamp", "toolCallList", "toolCalls", "transcript")


@given(
    fields=st.dictionaries(st.sampled_from((*NAMES, "toolWithToolCallList", "transcriptType")), JSON),
    call=JSON | st.dictionaries(st.sampled_from((*NAMES, "id", "monitor", "transport", "metadata")), JSON),
)
def test_no_reader_raises_or_returns_another_kind_of_value(fields: dict[str, Any], call: Any) -> None:
    message = said(**fields, **({} if "call" in fields else {"call": call}))

    for name in READERS:
        assert isinstance(getattr(message, name), int if name == "timestamp" else str)
    for entry in message.tool_calls():
        assert isinstance(entry.id, str)
        assert isinstance(entry.name, str)
        assert entry.arguments is None or isinstance(entry.arguments, dict)


# Where the usual facts live


@pytest.mark.parametrize(
    ("fields", "reader", "expected"),
    [
        ({"call": {"id": "c-1_A"}}, "call_id", "c-1_A"),
        ({"call": {"id": "x" * 100}}, "call_id", "x" * 100),
        ({"call": {"orgId": "org-1"}}, "org_id", "org-1"),
        ({"call": {"assistantId": "asst-1"}, "assistant": {"id": "asst-2"}}, "assistant_id", "asst-1"),
        ({"call": {"assistantId": None}, "assistant": {"id": "asst-2"}}, "assistant_id", "asst-2"),
        ({"assistant": {"name": "transient"}}, "assistant_id", ""),
        ({"status": "ended", "call": {"status": "queued"}}, "status", "ended"),
        ({"call": {"status": "queued"}}, "status", ""),
        ({"role": "user"}, "role", "user"),
        ({"endedReason": "a", "call": {"endedReason": "b"}}, "ended_reason", "a"),
        ({"call": {"endedReason": "b"}}, "ended_reason", "b"),
        ({"call": {"customer": {"number": "+1"}}, "customer": {"number": "+2"}}, "customer_number", "+1"),
        ({"call": {"customer": {}}, "customer": {"number": "+2"}}, "customer_number", "+2"),
        ({"call": {"customer": {"sipUri": "sip:a"}}}, "customer_number", ""),
        ({"phoneNumber": {"number": "+3"}, "call": {"phoneNumber": {"number": "+4"}}}, "dialled_number", "+3"),
        ({"call": {"phoneNumber": {"number": "+4"}}}, "dialled_number", "+4"),
        ({"call": {}}, "dialled_number", ""),
        (
            {"call": {"monitor": {"controlUrl": "https://a.vapi.ai/c/control"}}},
            "control_url",
            "https://a.vapi.ai/c/control",
        ),
        ({"call": {"monitor": None}}, "control_url", ""),
        ({"call": {"transport": {"callSid": SID}, "phoneCallProviderId": "CA" + "9" * 32}}, "call_sid", SID),
        ({"call": {"transport": {}, "phoneCallProviderId": SID}}, "call_sid", SID),
        ({"call": {"phoneCallProviderId": "other-carrier", "metadata": {"callSid": SID}}}, "call_sid", SID),
        ({"call": {"assistantOverrides": {"metadata": {"callSid": SID}}}}, "call_sid", SID),
        ({"assistant": {"metadata": {"callSid": SID}}}, "call_sid", SID),
        ({"metadata": {"callSid": SID}}, "call_sid", ""),
    ],
)
def test_a_fact_is_found_wherever_vapi_puts_it(fields: dict[str, Any], reader: str, expected: str) -> None:
    assert getattr(said(**fields), reader) == expected


@pytest.mark.parametrize("call_id", ["", "x" * 101, "a#b", "a b", "a\n", "../a", "é", "\u0661", 5, None, ["a"]])
def test_a_call_id_that_could_name_another_item_is_none(call_id: Any) -> None:
    assert said(call={"id": call_id}).call_id == ""


@pytest.mark.parametrize("sid", [SID[:-1], SID + "0", SID.upper(), "RE" + "0" * 32, SID + "\n", 5])
def test_a_call_sid_has_one_exact_form(sid: Any) -> None:
    assert said(call={"phoneCallProviderId": sid}).call_sid == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_767_225_600_123, 1_767_225_600_123),
        (1_767_225_600_123.9, 1_767_225_600_123),
        ("2026-01-01T00:00:00.123Z", 1_767_225_600_123),
        ("2026-01-01T01:00:00.123+01:00", 1_767_225_600_123),
        (1, 1),
        (99_999_999_999_999, 99_999_999_999_999),
        (10**14, 0),
        (10**37, 0),
        (0, 0),
        (-1, 0),
        (True, 0),
        ("", 0),
        ("yesterday", 0),
        ("1767225600123", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("9999-12-31T23:59:59Z", 0),
        ("0001-01-01T00:00:00+23:59", 0),
        (None, 0),
        ([1], 0),
    ],
)
def test_a_time_is_epoch_milliseconds_or_an_old_iso_text_or_none(value: Any, expected: int) -> None:
    assert said(timestamp=value).timestamp == expected


@given(st.datetimes().map(str) | st.text() | st.floats() | st.integers())
def test_a_time_is_never_negative_and_never_beyond_believing(value: Any) -> None:
    assert 0 <= messages.milliseconds(value) < 10**14


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "transcript", "transcriptType": "final", "transcript": "Hello."}, "Hello."),
        ({"type": "transcript", "transcriptType": "partial", "transcript": "Hel"}, ""),
        ({"type": "transcript", "transcript": "Hello."}, ""),
        ({"type": 'transcript[transcriptType="final"]', "transcript": "Hello."}, "Hello."),
        ({"type": "transcript", "transcriptType": "final", "transcript": None}, ""),
        ({"type": "end-of-call-report", "transcript": "AI: Hello."}, ""),
    ],
)
def test_only_the_words_of_a_final_transcript_count(fields: dict[str, Any], expected: str) -> None:
    assert said(**fields).transcript == expected


# Tool calls, in every shape that Vapi's documents and captures show

SLOT = {"day": "2026-01-05"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(
            {
                "toolCallList": [
                    {"id": "t1", "type": "function", "function": {"name": "f", "arguments": json.dumps(SLOT)}}
                ]
            },
            id="openapi: arguments are a text",
        ),
        pytest.param({"toolCallList": [{"id": "t1", "name": "f", "parameters": SLOT}]}, id="events page"),
        pytest.param({"toolCallList": [{"id": "t1", "name": "f", "arguments": SLOT}]}, id="custom tools page"),
        pytest.param(
            {"toolWithToolCallList": [{"toolCall": {"id": "t1", "function": {"name": "f", "parameters": SLOT}}}]},
            id="custom tools page: with its tool",
        ),
        pytest.param(
            {
                "toolWithToolCallList": [
                    {"type": "function", "toolCall": {"id": "t1", "function": {"name": "f", "arguments": SLOT}}}
                ]
            },
            id="transfers page",
        ),
        pytest.param(
            {"toolCallList": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": SLOT}}]},
            id="capture",
        ),
        pytest.param({"toolCalls": [{"id": "t1", "function": {"name": "f", "arguments": SLOT}}]}, id="alias"),
        pytest.param(
            {
                "toolCallList": [{"id": "t1", "function": {"name": "f", "arguments": SLOT}}],
                "toolCalls": [{"id": "t1", "function": {"name": "f", "arguments": SLOT}}],
                "toolWithToolCallList": [{"toolCall": {"id": "t1", "function": {"name": "f", "arguments": SLOT}}}],
            },
            id="all lists at once are one call",
        ),
        pytest.param(
            {
                "toolCallList": [],
                "toolCalls": None,
                "toolWithToolCallList": [{"toolCall": {"id": "t1", "name": "f", "arguments": SLOT}}],
            },
            id="empty lists are passed over",
        ),
        pytest.param(
            {"toolCallList": [{"id": "t1", "name": "f", "function": {"arguments": None, "parameters": SLOT}}]},
            id="null arguments are passed over",
        ),
        pytest.param(
            {"toolCallList": [None, "x", {"id": "t1", "function": {"name": "f", "arguments": SLOT}}]},
            id="entries that are no objects are passed over",
        ),
    ],
)
def test_a_tool_call_is_read_from_every_shape(fields: dict[str, Any]) -> None:
    assert said(**fields).tool_calls() == [ToolCall("t1", "f", SLOT)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ("", {}),
        ("  ", {}),
        ("{}", {}),
        (None, {}),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("nonsense", None),
        ("[]", None),
        ('"{}"', None),
        ('{"a":1,"a":2}', None),
        ('{"a":NaN}', None),
        ("[" * 65, None),
        ([], None),
        (0, None),
        (False, None),
    ],
)
def test_arguments_are_an_object_or_the_model_is_told(given: Any, expected: Any) -> None:
    message = said(toolCallList=[{"id": "t1", "function": {"name": "f", "arguments": given}}])

    assert message.tool_calls() == [ToolCall("t1", "f", expected)]


def test_the_places_of_name_and_arguments_have_an_order() -> None:
    entry = {
        "id": "t1",
        "name": "outer",
        "arguments": {"from": "entry arguments"},
        "parameters": {"from": "entry parameters"},
        "function": {"name": "inner", "arguments": {"from": "arguments"}, "parameters": {"from": "parameters"}},
    }

    for place in ("arguments", "parameters"):
        assert said(toolCalls=[entry]).tool_calls() == [ToolCall("t1", "inner", {"from": place})]
        del entry["function"][place]  # type: ignore[attr-defined]  # the entry is any JSON
    del entry["function"]
    for place in ("arguments", "parameters"):
        assert said(toolCalls=[entry]).tool_calls() == [ToolCall("t1", "outer", {"from": f"entry {place}"})]
        del entry[place]
    assert said(toolCalls=[entry]).tool_calls() == [ToolCall("t1", "outer", {})]


def test_tool_calls_keep_their_order_and_their_odd_ids() -> None:
    entries = [{"id": HOOK_CALL_ID, "name": "b"}, {"id": 7, "name": "a"}, {"id": "t2", "name": None}]

    assert said(toolCallList=entries).tool_calls() == [
        ToolCall("hook-function-call", "b", {}),
        ToolCall("", "a", {}),
        ToolCall("t2", "", {}),
    ]


def test_a_message_without_tool_calls_has_none() -> None:
    assert said().tool_calls() == []


# Answers


def test_a_result_is_one_line_behind_its_id_and_name() -> None:
    answers = [
        ToolAnswer(ToolCall("t1", "f", {}), result="line one\r\nline two"),
        ToolAnswer(ToolCall("t2", "g", {}), error="no\nslot", spoken="Sorry,\nno slot."),
        ToolAnswer(ToolCall("t3", "h", {}), result="accepted", spoken="One\tmoment."),
        ToolAnswer(ToolCall("", "", None)),
    ]

    assert messages.tool_results(answers) == {
        "results": [
            {"toolCallId": "t1", "name": "f", "result": "line one line two"},
            {
                "toolCallId": "t2",
                "name": "g",
                "error": "no slot",
                "message": {"type": "request-failed", "content": "Sorry, no slot."},
            },
            {
                "toolCallId": "t3",
                "name": "h",
                "result": "accepted",
                "message": {"type": "request-complete", "content": "One moment."},
            },
            {"toolCallId": "", "name": "", "result": ""},
        ]
    }


def test_texts_are_cut_to_what_may_stay_in_the_models_context_and_what_may_be_said() -> None:
    answer = ToolAnswer(ToolCall("t1", "f", {}), result="x" * 20_000, spoken="y" * 2_000)

    entry = messages.tool_results([answer])["results"][0]

    assert len(entry["result"]) == MAX_TEXT == 16_384
    assert len(entry["message"]["content"]) == 1_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b  ", "a b"),
        ("a\r\nb\x0b\x0cc\x1c\x1d\x1ed\x85e\u2028f\u2029g", "a b c d e f g"),
        ("a\x00b\x1f\x7f\x80\x9fc", "a b c"),
        ("José 日本 \U0001f600", "José 日本 \U0001f600"),
        ("", ""),
        ("\n", ""),
    ],
)
def test_white_space_and_control_characters_become_single_spaces(text: str, expected: str) -> None:
    assert one_line(text) == expected


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 20))
def test_one_line_is_one_line_of_at_most_the_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)

    assert len(line.splitlines()) <= 1
    assert len(line) <= limit
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert "  " not in line


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Assistant(id="asst-1"), {"assistantId": "asst-1"}),
        (Assistant(config={"name": "a"}), {"assistant": {"name": "a"}}),
        (
            Assistant(id="asst-1", config={"name": "a"}, overrides={"metadata": {"k": "v"}}),
            {"assistantId": "asst-1", "assistantOverrides": {"metadata": {"k": "v"}}},
        ),
        (Refusal("We cannot\ntake this call."), {"error": "We cannot take this call."}),
        (
            Transfer("+15550100100", "One\nmoment."),
            {"destination": {"type": "number", "number": "+15550100100", "message": "One moment."}},
        ),
    ],
)
def test_a_decision_is_answered_in_vapis_fields(decision: messages.Decision, expected: dict[str, Any]) -> None:
    assert messages.assistant_answer(decision) == expected


def test_a_destination_is_answered_or_it_is_said_why_there_is_none() -> None:
    destination = {"type": "number", "number": "+15550100100"}

    assert messages.destination_answer(destination, "unused") == {"destination": destination}
    assert messages.destination_answer(None, "Nobody\nis there.") == {"error": "Nobody is there."}
    assert messages.destination_answer({}, "Nobody.") == {"error": "Nobody."}


def test_equal_arguments_have_one_byte_form() -> None:
    assert messages.canonical({"b": [1, 2], "a": "é"}) == '{"a":"é","b":[1,2]}'.encode()
    assert messages.canonical({"a": 1, "b": {"d": 1, "c": 2}}) == messages.canonical({"b": {"c": 2, "d": 1}, "a": 1})
