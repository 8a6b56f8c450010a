"""The types of an assistant's configuration: each field and each value in them is one that Vapi has published."""

import re
import subprocess
import sys
import typing
from typing import Any, Literal, is_typeddict

import pytest
from mypy import api

from devkit.vapi_spec import PREFIX, Spec
from switchboard import assistants

SCHEMAS = Spec.load().schemas
SCHEMA_OF = {
    "Words": "OpenAIMessage",
    "Model": "OpenAIModel",
    "OpenAIModel": "OpenAIModel",
    "AnthropicModel": "AnthropicModel",
    "ChunkPlan": "ChunkPlan",
    "VapiVoice": "VapiVoice",
    "ElevenLabsVoice": "ElevenLabsVoice",
    "CartesiaVoice": "CartesiaVoice",
    "FluxTranscriber": "DeepgramTranscriber",
    "NovaTranscriber": "DeepgramTranscriber",
    "VapiEndpointing": "VapiSmartEndpointingPlan",
    "LivekitEndpointing": "LivekitSmartEndpointingPlan",
    "CustomEndpointing": "CustomEndpointingModelSmartEndpointingPlan",
    "RegexOption": "RegexOption",
    "AssistantRule": "AssistantCustomEndpointingRule",
    "CustomerRule": "CustomerCustomEndpointingRule",
    "BothRule": "BothCustomEndpointingRule",
    "TranscriptionEndpointingPlan": "TranscriptionEndpointingPlan",
    "StartSpeakingPlan": "StartSpeakingPlan",
    "StopSpeakingPlan": "StopSpeakingPlan",
    "SmartDenoisingPlan": "SmartDenoisingPlan",
    "BackgroundSpeechDenoisingPlan": "BackgroundSpeechDenoisingPlan",
    "KeypadInputPlan": "KeypadInputPlan",
    "TranscriptPlan": "TranscriptPlan",
    "StructuredOutput": "CreateStructuredOutputDTO",
    "ArtifactPlan": "ArtifactPlan",
    "MonitorPlan": "MonitorPlan",
    "CompliancePlan": "CompliancePlan",
    "VoicemailBackoffPlan": "VoicemailDetectionBackoffPlan",
    "VapiVoicemailDetection": "VapiVoicemailDetectionPlan",
    "Say": "SayHookAction",
    "RunTool": "ToolCallHookAction",
    "AddMessage": "MessageAddHookAction",
    "SilenceOptions": "CustomerSpeechTimeoutOptions",
    "SilenceHook": "CallHookCustomerSpeechTimeout",
    "AssistantInterruptedHook": "CallHookAssistantSpeechInterrupted",
    "CallerInterruptedHook": "CallHookCustomerSpeechInterrupted",
    "EndedReasonFilter": "CallHookFilter",
    "CallEndingHook": "CallHookCallEnding",
    "BackoffPlan": "BackoffPlan",
    "Server": "Server",
    "Configuration": "CreateAssistantDTO",
}
TYPES = {name: made for name, made in vars(assistants).items() if is_typeddict(made)}


def literals(hint: Any) -> list[Any]:
    """The values of every literal in a type that is one, or a choice of some."""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    if typing.get_origin(hint) is typing.Required:
        return literals(typing.get_args(hint)[0])
    return []


def allowed(schema: Any) -> list[Any] | None:
    """The values that a schema lists, or None where it takes others too."""
    if "$ref" in schema:
        return allowed(SCHEMAS[schema["$ref"].removeprefix(PREFIX)])
    if "enum" in schema:
        return list(schema["enum"])
    parts = [allowed(part) for part in schema.get("anyOf", [])]
    return None if not parts or None in parts else [value for part in parts for value in part or ()]


def test_every_type_has_its_schema() -> None:
    assert set(TYPES) == set(SCHEMA_OF)


@pytest.mark.parametrize("name", SCHEMA_OF)
def test_a_type_has_only_fields_and_values_that_are_published(name: str) -> None:
    schema = SCHEMAS[SCHEMA_OF[name]]
    hints = typing.get_type_hints(TYPES[name], include_extras=True)

    assert set(hints) - set(schema["properties"]) == set()
    for field, hint in hints.items():
        values = allowed(schema["properties"][field])
        assert values is None or set(literals(hint)) <= set(values), field


@pytest.mark.parametrize("name", SCHEMA_OF)
def test_what_vapi_requires_is_required(name: str) -> None:
    required = set(SCHEMAS[SCHEMA_OF[name]].get("required", []))
    own = set(TYPES[name].__annotations__)

    assert required & own <= set(TYPES[name].__required_keys__)


def test_the_models_are_all_that_a_phone_call_wants() -> None:
    hints = typing.get_type_hints(assistants.OpenAIModel, include_extras=True)

    assert not {"gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "o3"} & set(literals(hints["model"]))


def test_a_function_does_not_pay_for_the_types() -> None:
    code = "import sys, agent; print('switchboard.assistants' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


WRONG = {
    '"recordingEnabled": True': 'Extra key "recordingEnabled"',
    '"startSpeakingPlan": {"waitSecs": 0.4}': 'Extra key "waitSecs"',
    '"stopSpeakingPlan": {"numWords": "2"}': "has type .str.",
    '"transcriber": {"provider": "deepgram", "model": "nova-2"}': "nova-2|ambiguous",
    '"transcriber": {"provider": "deepgram", "model": "flux-general-en", "endpointing": 300}': "nova-3|ambiguous",
    '"model": {"provider": "openai", "model": "gpt-4", "messages": []}': "gpt-4|ambiguous",
}


def test_mypy_refuses_what_is_stale_or_misspelt(tmp_path: Any) -> None:
    head = "from switchboard.assistants import Configuration\n"
    good = {
        '"name": "x"',
        '"model": {"provider": "openai", "model": "gpt-4.1", "messages": []}',
        '"voice": {"provider": "vapi", "voiceId": "Elliot"}',
        '"transcriber": {"provider": "deepgram", "model": "flux-general-en"}',
    }
    lines: list[str] = []
    for wrong in ("", *WRONG):
        fields = [field for field in sorted(good) if field.split(":")[0] != wrong.split(":")[0]]
        lines.append(f"c{len(lines)}: Configuration = {{{', '.join([*fields, wrong])}}}")
    path = tmp_path / "configurations.py"
    path.write_text(head + "\n".join(lines) + "\n")

    stdout, _, _ = api.run(["--strict", "--no-incremental", "--cache-dir", str(tmp_path / "cache"), str(path)])
    complaints = [line for line in stdout.splitlines() if ": error:" in line]
    by_line = {number: [one for one in complaints if f".py:{number}:" in one] for number in range(2, 3 + len(WRONG))}

    assert by_line[2] == []
    for number, pattern in enumerate(WRONG.values(), 3):
        assert any(re.search(pattern, one) for one in by_line[number]), (pattern, complaints)
