"""What is wrong with an assistant's configuration, in plain sentences: `faults(config, needs)`, empty when nothing is.

Four kinds of rules: fields that Vapi has given up, with what to use today; limits; Vapi's published schema, in which a
field that it does not list is a fault; and what this backend needs to be told and to be able to do. A test of your own
agent:

    def test_my_assistant_is_one_that_vapi_takes():
        assert assistant_rules.faults(agent.configuration(backend), Needs.of(backend, agent)) == []
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple, Self

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from devkit.vapi_spec import PREFIX, Spec
from switchboard.desk import FINAL_TRANSCRIPTS, Agent, Backend
from switchboard.tools import Tool
from switchboard.webhook import HANDLERS

ROOT = "CreateAssistantDTO"
HOW_MANY = 12  # allowed values that a sentence lists
KINDS = ("provider", "type", "on")  # fields that tell alternatives of Vapi's apart
TOOL_SECONDS = 15  # that VapiWebhookFunction may take for its answer

type Place = tuple[str | int, ...]


class Needs(NamedTuple):
    """What this stack needs of an assistant."""

    server_messages: tuple[str, ...]
    url: str = ""
    """Where its messages must go; '' where that is not known."""
    control_authentication: bool = False
    tools: tuple[Tool, ...] = ()

    @classmethod
    def of(cls, backend: Backend, agent: Agent) -> Self:
        """What a stack that runs this agent needs."""
        return cls(
            backend.server_messages,
            str(backend.server.get("url", "")),
            backend.control_authentication,
            tuple(agent.tools),
        )


# Fields of older days, and values, by where they stand; `*` is any place of a list. From Vapi's changelog and schema:
# https://docs.vapi.ai/changelog, and the fields that CreateAssistantDTO does not list any more or lists as deprecated.
STALE: Mapping[str, str] = {
    "recordingEnabled": "use artifactPlan.recordingEnabled",
    "videoRecordingEnabled": "use artifactPlan.videoRecordingEnabled",
    "hipaaEnabled": "use compliancePlan.hipaaEnabled",
    "serverUrl": "use server.url",
    "serverUrlSecret": "use server.credentialId, the id of a credential that signs",
    "server.secret": "use server.credentialId, the id of a credential that signs",
    "analysisPlan": "use artifactPlan.structuredOutputs",
    "summaryPrompt": "use artifactPlan.structuredOutputs",
    "structuredDataPrompt": "use artifactPlan.structuredOutputs",
    "structuredDataSchema": "use artifactPlan.structuredOutputs",
    "successEvaluationPrompt": "use artifactPlan.structuredOutputs",
    "successEvaluationRubric": "use artifactPlan.structuredOutputs",
    "silenceTimeoutSeconds": "use a hook on customer.speech.timeout that runs the tool endCall",
    "customerJoinTimeoutSeconds": "leave it out, Vapi waits 15 seconds",
    "responseDelaySeconds": "use startSpeakingPlan.waitSeconds",
    "llmRequestDelaySeconds": "use startSpeakingPlan.waitSeconds",
    "numWordsToInterruptAssistant": "use stopSpeakingPlan.numWords",
    "interruptionsEnabled": "use stopSpeakingPlan, whose numWords may be up to 10",
    "startSpeakingPlan.smartEndpointingEnabled": "use startSpeakingPlan.smartEndpointingPlan",
    "messagePlan": "use a hook on customer.speech.timeout that says something",
    "backgroundDenoisingEnabled": "use backgroundSpeechDenoisingPlan.smartDenoisingPlan.enabled",
    "endCallFunctionEnabled": 'use the tool {"type": "endCall"}',
    "dialKeypadFunctionEnabled": 'use the tool {"type": "dtmf"}',
    "forwardingPhoneNumber": "use a tool that calls Call.transfer",
    "model.functions": "use model.tools",
    "workflow": "use a handoff to another assistant",
    "workflowId": "use a handoff to another assistant",
}
STALE_VALUES: Mapping[str, tuple[str, str]] = {
    "model.model": (r"gpt-4(-turbo.*|-\d{4}.*)?|gpt-3\.5-.*", "obsolete and slow: use gpt-4.1 or gpt-4.1-mini"),
    "transcriber.model": (
        r"nova-2(-.*)?|nova(-[a-z].*)?|(enhanced|base)(-.*)?|whisper",
        "an older model: use flux-general-en, or nova-3 for another language",
    ),
    "voice.provider": (r"playht", "a provider that is being given up: use vapi, cartesia or 11labs"),
}


HOOKS = (
    "customer.speech.timeout",
    "assistant.speech.interrupted",
    "customer.speech.interrupted",
    "call.ending",
    "session.created",
)


class Limit(NamedTuple):
    """The least and the most that a number may be, and what it counts."""

    least: float
    most: float
    counts: str


# The limits that people run into; Vapi's schema knows the rest, and each of these too.
LIMITS: Mapping[str, Limit] = {
    "transcriber.endpointing": Limit(10, 500, "milliseconds"),
    "transcriber.eotThreshold": Limit(0.5, 0.9, "a probability"),
    "transcriber.eotTimeoutMs": Limit(500, 10_000, "milliseconds"),
    "transcriber.confidenceThreshold": Limit(0, 1, "a probability"),
    "startSpeakingPlan.waitSeconds": Limit(0, 5, "seconds"),
    "startSpeakingPlan.transcriptionEndpointingPlan.onPunctuationSeconds": Limit(0, 3, "seconds"),
    "startSpeakingPlan.transcriptionEndpointingPlan.onNoPunctuationSeconds": Limit(0, 3, "seconds"),
    "startSpeakingPlan.transcriptionEndpointingPlan.onNumberSeconds": Limit(0, 3, "seconds"),
    "startSpeakingPlan.customEndpointingRules.*.timeoutSeconds": Limit(0, 15, "seconds"),
    "stopSpeakingPlan.numWords": Limit(0, 10, "words"),
    "stopSpeakingPlan.voiceSeconds": Limit(0, 0.5, "seconds"),
    "stopSpeakingPlan.backoffSeconds": Limit(0, 10, "seconds"),
    "keypadInputPlan.timeoutSeconds": Limit(0, 10, "seconds"),
    "model.temperature": Limit(0, 2, "a degree of randomness"),
    "model.maxTokens": Limit(50, 10_000, "tokens"),
    "voice.chunkPlan.minCharacters": Limit(1, 80, "characters"),
    "maxDurationSeconds": Limit(10, 43_200, "seconds"),
    "server.timeoutSeconds": Limit(1, 300, "seconds"),
    "server.backoffPlan.maxRetries": Limit(0, 10, "repetitions"),
    "server.backoffPlan.baseDelaySeconds": Limit(0, 10, "seconds"),
    "hooks.*.options.timeoutSeconds": Limit(1, 1000, "seconds"),
    "hooks.*.options.triggerMaxCount": Limit(1, 10, "times"),
}

# Why the stack needs a type of message.
REASONS: Mapping[str, str] = {
    "tool-calls": "no tool of yours can run",
    "status-update": "a call has no beginning, so no result can be spoken into it",
    "end-of-call-report": "a call whose end is not told keeps its slot, and its after-call tools wait",
    "speech-update": "results are spoken into the caller's words",
    "user-interrupted": "results that the caller has moved on from are spoken anyway",
    "transfer-destination-request": "a transfer that Vapi makes has nowhere to go",
    "handoff-destination-request": "a handoff has nowhere to go",
    FINAL_TRANSCRIPTS: "StoreTranscripts is true and there is nothing to store",
}


def faults(config: Mapping[str, Any], needs: Needs) -> list[str]:
    """One sentence for each fault. No sentence quotes a prompt, or any other text of more than a word or two."""
    told: dict[Place, list[str]] = {}
    for where, sentence in (*_stale(config), *_limits(config)):
        told.setdefault(where, []).append(sentence)
    for where, sentence in _schema(config):
        # What is said already, in better words, or lies inside what is stale as a whole.
        if not any(where[: len(known)] == known for known in told):
            told.setdefault(where, []).append(sentence)
    found = [sentence for sentences in told.values() for sentence in sentences]
    return [*found, *_combinations(config), *_messages(config, needs), *_abilities(config, needs)]


# Fields and limits


def _stale(config: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for pattern, instead in STALE.items():
        for where, _ in _at(config, pattern):
            yield where, f"{_name(where)} is a field of older days: {instead}"
    if _at(config, "transcriber.keywords") and _transcriber(config).startswith(("nova-3", "flux-")):
        yield ("transcriber", "keywords"), "transcriber.keywords is for models before nova-3: use transcriber.keyterm"
    for pattern, (values, instead) in STALE_VALUES.items():
        for where, value in _at(config, pattern):
            if isinstance(value, str) and re.fullmatch(values, value):
                yield where, f"{_name(where)} is {value}, {instead}"


def _limits(config: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for pattern, limit in LIMITS.items():
        for where, value in _at(config, pattern):
            if _is_number(value) and not limit.least <= value <= limit.most:
                yield where, f"{_name(where)} is {value:g}: {limit.counts}, {limit.least:g} to {limit.most:g}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at(config: object, pattern: str) -> list[tuple[Place, Any]]:
    """What stands where a pattern says: none, one, or with `*` many."""
    found: list[tuple[Place, Any]] = [((), config)]
    for part in pattern.split("."):
        if part == "*":
            found = [
                ((*where, place), one)
                for where, value in found
                if isinstance(value, list | tuple)
                for place, one in enumerate(value)
            ]
        else:
            found = [
                ((*where, part), value[part]) for where, value in found if isinstance(value, Mapping) and part in value
            ]
    return found


def _name(where: Place) -> str:
    return ".".join(str(part) for part in where)


# Vapi's schema


@cache
def _schemas() -> Mapping[str, Any]:
    return Spec.load().closed().schemas


@cache
def _validator() -> Any:
    extend: Any = validators.extend  # it has no types
    return extend(Draft202012Validator, {"anyOf": _any_of})(
        {"$ref": PREFIX + ROOT, "components": {"schemas": _schemas()}}
    )


def _any_of(validator: Any, alternatives: list[Any], value: Any, _schema: Any) -> Iterator[ValidationError]:
    """The faults by the one alternative that is meant: the one that the value says it is, or the one it comes closest to."""
    for name in KINDS if isinstance(value, Mapping) else ():
        kinds = [_kinds(one, name) for one in alternatives]
        if name in value and all(kinds):
            alternatives = [one for one, kind in zip(alternatives, kinds, strict=True) if value[name] in kind]
            if not alternatives:
                allowed = list(dict.fromkeys(itertools.chain(*kinds)))
                yield ValidationError("", "enum", [name], instance=value[name], validator_value=allowed)
                return
    found = [list(validator.descend(value, one)) for one in alternatives]
    if not all(found):
        return
    meant = [some for some in found if not any(one.validator in ("type", "enum") and not one.path for one in some)]
    yield from min(meant, key=len) if meant else [ValidationError("", "anyOf", instance=value)]


def _kinds(schema: Any, name: str) -> list[str]:
    """What `name` may be in an alternative; empty where it may be anything."""
    fields = _schemas().get(schema.get("$ref", "").removeprefix(PREFIX), schema).get("properties", {})
    values: list[str] = fields.get(name, {}).get("enum", [])
    return values


def _schema(config: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for fault in _validator().iter_errors(_plain(config)):
        where = tuple(fault.absolute_path)
        if fault.validator == "additionalProperties":
            yield from _unknown_fields(fault, where)
        else:
            yield where, f"{_name(where) or 'the assistant'} {_wrong(fault)}"


def _plain(value: Any) -> Any:
    """The value as JSON has it: lists and dictionaries."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _listed(values: Sequence[object], given: object = "") -> str:
    """The values that are allowed; of many, the first and the one that was perhaps meant."""
    names = [str(value) or '""' for value in values]
    if len(names) <= HOW_MANY:
        return ", ".join(names)
    alike = get_close_matches(str(given), names, 1)
    return ", ".join(names[:HOW_MANY]) + ", ..." + (f" (did you mean {alike[0]}?)" if alike else "")


def _unknown_fields(fault: ValidationError, where: Place) -> Iterator[tuple[Place, str]]:
    schema: Any = fault.schema
    given: Any = fault.instance
    known = schema.get("properties", {})
    for name in given:
        if name not in known:
            alike = get_close_matches(name, known, 1)
            hint = f", did you mean {alike[0]}?" if alike else ""
            yield (*where, name), f"{_name((*where, name))} is no field of Vapi's{hint}"


def _wrong(fault: ValidationError) -> str:
    """What is wrong with a value, without a long text in it."""
    limit: Any = fault.validator_value
    value: Any = fault.instance
    match fault.validator:
        case "required":
            return f"has no {', '.join(name for name in limit if name not in value)}"
        case "enum":
            return f"is {_shown(value)}, but must be one of {_listed(limit, value)}"
        case "type":
            return f"is {_shown(value)}, but must be of type {limit}"
        case "minimum":
            return f"is {value:g}, but must be at least {limit:g}"
        case "maximum":
            return f"is {value:g}, but must be at most {limit:g}"
        case "maxLength":
            return f"has {len(value)} characters, but must have at most {limit}"
        case "minLength":
            return f"has {len(value)} characters, but must have at least {limit}"
        case "pattern":
            return f"must look like {limit}"
        case _:
            return f"is {_shown(value)}, which Vapi does not take here"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 30 else "a long text"


# Fields that do not go together


def _transcriber(config: Mapping[str, Any]) -> str:
    transcriber = config.get("transcriber")
    model = transcriber.get("model") if isinstance(transcriber, Mapping) else ""
    return model if isinstance(model, str) else ""


def _combinations(config: Mapping[str, Any]) -> Iterator[str]:
    flux = _transcriber(config).startswith("flux-")
    plan = "startSpeakingPlan"
    if flux and _at(config, f"{plan}.smartEndpointingPlan"):
        yield f"{plan}.smartEndpointingPlan switches off what Flux hears by itself: leave it out, or take nova-3"
    if flux and _at(config, f"{plan}.transcriptionEndpointingPlan"):
        yield f"{plan}.transcriptionEndpointingPlan does nothing with Flux, which hears the end of a turn by itself"
    if not flux and _transcriber(config):
        for name in ("eotThreshold", "eotTimeoutMs"):
            if _at(config, f"transcriber.{name}"):
                yield f"transcriber.{name} does nothing without a Flux model"


# What this backend needs


def _messages(config: Mapping[str, Any], needs: Needs) -> Iterator[str]:
    if "serverMessages" not in config:
        yield "serverMessages is missing, so Vapi sends a list of its own, of which you pay for what nobody reads"
        return
    given = config["serverMessages"]
    asked = [kind for kind in given if isinstance(kind, str)] if isinstance(given, list | tuple) else []
    for kind in needs.server_messages:
        if kind not in asked:
            yield f"serverMessages lacks {kind}: {REASONS.get(kind, 'this stack needs it')}{_who(kind, needs.tools)}"
    for kind in dict.fromkeys(asked):
        if kind not in needs.server_messages and (why := _needless(kind)):
            yield f"serverMessages has {kind}: {why}"
        elif asked.count(kind) > 1:
            yield f"serverMessages has {kind} more than once"


def _who(kind: str, tools: Iterable[Tool]) -> str:
    """The tools that a missing type is missing for."""
    concerned = {
        "speech-update": lambda tool: tool.lane == "live",
        "user-interrupted": lambda tool: tool.lane == "live" or tool.on_interrupt == "cancel",
        "end-of-call-report": lambda tool: tool.lane == "after_call",
    }.get(kind)
    names = [tool.name for tool in tools if concerned and concerned(tool)]
    return f" ({', '.join(names)})" if names else ""


def _needless(kind: str) -> str:
    if kind == "phone-call-control":
        return "Vapi would then leave hanging up and forwarding to the server, and this one does neither"
    if kind == "transcript":
        return f"every guess on the way would be a paid request, use {FINAL_TRANSCRIPTS}"
    if kind == FINAL_TRANSCRIPTS:
        return "StoreTranscripts is false, so nothing reads it, and each is a paid request"
    if kind in HANDLERS:
        return ""
    return "nothing here reads it, and each is a paid request"


def _abilities(config: Mapping[str, Any], needs: Needs) -> Iterator[str]:
    yield from _server(config, needs)
    yield from _monitor(config, needs)
    yield from _tools(config, needs)
    yield from _hooks(config)


def _server(config: Mapping[str, Any], needs: Needs) -> Iterator[str]:
    server = config.get("server")
    if not isinstance(server, Mapping) or not server.get("url"):
        yield "server.url is missing, so messages go wherever the number or the organisation says"
        return
    if needs.url and server["url"] != needs.url:
        yield "server.url is not this stack's"
    if not server.get("backoffPlan"):
        yield "server.backoffPlan is missing, so a message that is lost is not sent again"
    seconds = server.get("timeoutSeconds", TOOL_SECONDS)
    if _is_number(seconds) and 1 <= seconds < TOOL_SECONDS:
        yield f"server.timeoutSeconds is {seconds:g}: tools may take {TOOL_SECONDS} seconds to answer"


def _monitor(config: Mapping[str, Any], needs: Needs) -> Iterator[str]:
    plan = config.get("monitorPlan")
    given = plan if isinstance(plan, Mapping) else {}
    spoken = [tool.name for tool in needs.tools if tool.lane == "live"]
    if spoken and given.get("controlEnabled") is False:
        yield f"monitorPlan.controlEnabled is false, so no result of {', '.join(spoken)} can be spoken"
    secured = given.get("controlAuthenticationEnabled", False)
    if secured is True and not needs.control_authentication:
        yield "monitorPlan.controlAuthenticationEnabled is true, but ControlAuthentication is not: what we say is refused"
    if needs.control_authentication and secured is not True:
        yield "monitorPlan.controlAuthenticationEnabled is not true, but ControlAuthentication is: the key proves nothing"


def _tools(config: Mapping[str, Any], needs: Needs) -> Iterator[str]:
    given = config.get("model")
    if not isinstance(given, Mapping):
        return
    inline = given.get("tools")
    entries = [one for one in inline if isinstance(one, Mapping)] if isinstance(inline, list | tuple) else []
    named = [str(function.get("name")) for one in entries if isinstance(function := one.get("function"), Mapping)]
    own = {tool.name for tool in needs.tools}
    # A tool with a server of its own is somebody else's; ones that are named by id cannot be looked into from here.
    elsewhere = {str(one["function"].get("name")) for one in entries if one.get("server") and one.get("function")}
    for name in dict.fromkeys(named):
        if named.count(name) > 1:
            yield f"model.tools has {name} more than once"
        if needs.tools and name not in own | elsewhere:
            yield f"model.tools has {name}, which is no tool of the agent: every call of it would fail"
    if not given.get("toolIds"):
        for tool in needs.tools:
            if tool.name not in named:
                yield f"model.tools lacks {tool.name}, so the assistant cannot call it"


def _hooks(config: Mapping[str, Any]) -> Iterator[str]:
    """Vapi drops a hook that it does not know without a word, and its schema takes any name for one of them."""
    for where, hook in _at(config, "hooks.*"):
        event = hook.get("on") if isinstance(hook, Mapping) else None
        if not isinstance(event, str):
            continue
        if event.partition("[")[0] not in HOOKS:
            yield f"{_name(where)}.on is {_shown(event)}, which is none of {_listed(HOOKS)}: Vapi would drop the hook"
        if event == "call.ending" and any(action == "say" for _, action in _at(hook, "do.*.type")):
            yield f"{_name(where)}.do says something when the call ends, and nobody is left to hear it"
