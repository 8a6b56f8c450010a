"""The slice of Vapi's published schemas that the other tests lean on."""

import json
import re
from collections.abc import Iterator

import pytest

from devkit.vapi_spec import MENDED, ROOTS, SLICE, Spec, cut, mend, render


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec.load()


def test_the_slice_says_where_it_is_from_and_what_was_mended() -> None:
    header = json.loads(SLICE.read_text())["x-slice"]

    assert header["version"].endswith("2026-08-20")
    assert header["mended"] == list(MENDED)


def test_the_slice_is_what_cutting_it_again_gives(spec: Spec) -> None:
    header = json.loads(SLICE.read_text())["x-slice"]

    assert cut(spec.schemas) == spec.schemas
    assert render(spec.schemas, header["version"]) == SLICE.read_text()


def test_every_root_is_in_the_slice(spec: Spec) -> None:
    assert set(ROOTS) <= set(spec.schemas)


def patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


def test_every_pattern_can_be_read(spec: Spec) -> None:
    found = set(patterns(spec.schemas))

    assert len(found) > 3
    for pattern in found:
        re.compile(pattern)


@pytest.mark.parametrize(
    ("name", "broken", "mended"),
    [
        ("X", {"type": "array", "enum": ["a"], "items": {"enum": ["a"]}}, {"type": "array", "items": {"enum": ["a"]}}),
        ("X", {"pattern": "/^a$/"}, {"pattern": "^a$"}),
        ("X", {"pattern": r"/^\p{L}[\p{L}\d]*(?::\d)?$/u"}, {"pattern": r"^[^\W\d_][^\W_]*(?::\d)?$"}),
        ("X", {"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ("X", {"properties": {"oneOf": {"type": "string"}}}, {"properties": {"oneOf": {"type": "string"}}}),
        ("X", {"properties": {"nullable": {"type": "string"}}}, {"properties": {"nullable": {"type": "string"}}}),
        ("X", {"type": "string", "nullable": False}, {"type": "string"}),
        ("X", {"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            "X",
            {"properties": {"title": {"type": "string", "title": "T"}}},
            {"properties": {"title": {"type": "string"}}},
        ),
        (
            "BackoffPlan",
            {"properties": {"type": {"type": "object"}, "excludedStatusCodes": {"type": "array"}}},
            {
                "properties": {
                    "type": {"type": "string", "enum": ["fixed", "exponential"]},
                    "excludedStatusCodes": {"type": "array", "items": {"type": "integer"}},
                }
            },
        ),
        (
            "ToolCallFunction",
            {"properties": {"arguments": {"type": "string"}}},
            {"properties": {"arguments": {"type": ["string", "object"]}}},
        ),
    ],
)
def test_each_known_fault_of_the_document_is_mended(
    name: str, broken: dict[str, object], mended: dict[str, object]
) -> None:
    assert mend(broken, name) == mended
    assert mend(mended, name) == mended


def test_faults_are_told_with_their_place(spec: Spec) -> None:
    message = {"type": "speech-update", "status": "paused", "role": "user"}

    assert spec.faults("ServerMessageSpeechUpdate", message | {"status": "started"}) == []
    assert spec.faults("ServerMessageSpeechUpdate", message)[0].startswith("status: 'paused' is not one of")
    assert spec.faults("ServerMessageSpeechUpdate", {"type": "speech-update"})[0].startswith(
        "ServerMessageSpeechUpdate: "
    )


def test_a_schema_is_found_by_message_type(spec: Spec) -> None:
    assert spec.name_of("ServerMessage", 'transcript[transcriptType="final"]') == "ServerMessageTranscript"
    assert spec.name_of("ClientInboundMessage", "say") == "ClientInboundMessageSay"
    with pytest.raises(KeyError):
        spec.name_of("ServerMessage", "not-invented-yet")
