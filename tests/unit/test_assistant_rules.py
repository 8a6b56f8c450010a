"""What is wrong with an assistant, in plain sentences; and nothing is with the one that ships."""

import copy
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from agent import agent
from devkit import assistant_rules
from devkit.assistant_rules import LIMITS, STALE, STALE_VALUES, Needs, faults
from devkit.vapi_spec import PREFIX, Spec
from switchboard import desk
from switchboard.connection import Connection
from switchboard.desk import FINAL_TRANSCRIPTS, SERVER_MESSAGES, Backend
from switchboard.tools import Call, Toolbox

BASE_URL = "https://voice.example.com"
FINAL = FINAL_TRANSCRIPTS


def stack(known: Connection = Connection(), *, stored: bool = True, secured: bool = False) -> Backend:  # noqa: B008 - it cannot be changed
    return desk.describe(BASE_URL, known, store_transcripts=stored, control_authentication=secured)


STACK = stack()
NEEDS = Needs.of(STACK, agent)
GOOD: Mapping[str, Any] = dict(agent.configuration(STACK))


def put(value: Any, place: str, config: Mapping[str, Any] = GOOD) -> dict[str, Any]:
    """A copy of the configuration with another value at a place; `*` is the first of a list."""
    changed = copy.deepcopy(dict(config))
    *way, last = place.split(".")
    inner: Any = changed
    for part, following in itertools.pairwise((*way, last)):
        inner = inner[0] if part == "*" else inner.setdefault(part, [{}] if following == "*" else {})
    if last == "*":
        inner[0] = value
    else:
        inner[last] = value
    return changed


def told(value: Any, place: str, config: Mapping[str, Any] = GOOD) -> list[str]:
    return faults(put(value, place, config), NEEDS)


@pytest.mark.parametrize("known", [Connection(), Connection("phone-1", "cred-1", "asst-1")], ids=["alone", "connected"])
@pytest.mark.parametrize("secured", [True, False])
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("returned", [{}, {"outcome": "busy", "to": "reception", "summary": "They want to move it."}])
def test_the_agent_that_ships_is_one_that_vapi_takes(
    known: Connection, secured: bool, stored: bool, returned: dict[str, str]
) -> None:
    backend = stack(known, stored=stored, secured=secured)
    caller = desk.Caller("+15550100001", "+15550100002", "", backend._replace(assistant_id=""), returned)
    decision: Any = agent.assistant(caller)

    assert faults(agent.configuration(backend), Needs.of(backend, agent)) == []
    assert faults(decision.config, Needs.of(backend, agent)) == []


# Fields and values of older days


@pytest.mark.parametrize(("place", "instead"), STALE.items())
def test_a_field_of_older_days_is_told_once_with_what_to_use_instead(place: str, instead: str) -> None:
    values: tuple[Any, ...] = (True, "x", 30, {"enabled": True}, [])
    for value in values:
        assert told(value, place) == [f"{place} is a field of older days: {instead}"]


def test_no_field_that_vapi_lists_today_counts_as_one_of_older_days() -> None:
    schemas = Spec.load().schemas
    listed = [place for place in STALE if place.split(".")[0] in schemas["CreateAssistantDTO"]["properties"]]

    # What is still listed there is deprecated; the slice keeps no such marks, so they stand here.
    assert sorted(listed) == [
        "analysisPlan",
        "model.functions",
        "server.secret",
        "startSpeakingPlan.smartEndpointingEnabled",
    ]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.model", "gpt-4"),
        ("model.model", "gpt-4-0613"),
        ("model.model", "gpt-4-turbo"),
        ("model.model", "gpt-4-turbo-preview"),
        ("model.model", "gpt-3.5-turbo"),
        ("model.model", "gpt-3.5-turbo-16k"),
        ("transcriber.model", "nova-2"),
        ("transcriber.model", "nova-2-phonecall"),
        ("transcriber.model", "nova"),
        ("transcriber.model", "base"),
        ("transcriber.model", "whisper"),
        ("voice.provider", "playht"),
    ],
)
def test_a_value_of_older_days_is_told_with_what_to_use_instead(place: str, value: str) -> None:
    config = put({"provider": "deepgram", "model": "nova-3"}, "transcriber")

    assert told(value, place, config) == [f"{place} is {value}, {STALE_VALUES[place][1]}"]


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-5-chat-latest", "gpt-4.1-2025-04-14"])
def test_a_model_of_today_is_no_fault(model: str) -> None:
    assert told(model, "model.model") == []


@pytest.mark.parametrize("model", ["nova-3", "nova-3-medical", "flux-general-en", "flux-general-multi"])
def test_keywords_are_keyterms_today(model: str) -> None:
    config = put({"provider": "deepgram", "model": model, "keywords": ["Maple"]}, "transcriber")

    assert faults(config, NEEDS) == ["transcriber.keywords is for models before nova-3: use transcriber.keyterm"]


# Limits

NOVA = {"provider": "deepgram", "model": "nova-3"}
HOLDERS = {
    "transcriber.endpointing": put(NOVA, "transcriber"),
    "startSpeakingPlan.transcriptionEndpointingPlan": put(NOVA, "transcriber"),
    "startSpeakingPlan.customEndpointingRules": put(
        [{"type": "customer", "regex": "x", "timeoutSeconds": 1}], "startSpeakingPlan.customEndpointingRules"
    ),
    "server.timeoutSeconds": GOOD,
}


def holder(place: str) -> Mapping[str, Any]:
    """A configuration in which the number may stand."""
    return next((config for start, config in HOLDERS.items() if place.startswith(start)), GOOD)


@pytest.mark.parametrize("place", LIMITS)
def test_a_number_may_be_just_inside_its_limits_and_not_just_outside(place: str) -> None:
    limit = LIMITS[place]
    named = place.replace("*", "0")
    # A time-out that Vapi takes may still be too short for us.
    least = assistant_rules.TOOL_SECONDS if place == "server.timeoutSeconds" else limit.least

    for value in (least, limit.most, (least + limit.most) / 2):
        assert told(value, place, holder(place)) == []
    for value in (limit.least - 0.001, limit.most + 0.001, -1e9, 1e9):
        [sentence] = told(value, place, holder(place))
        assert sentence == f"{named} is {value:g}: {limit.counts}, {limit.least:g} to {limit.most:g}"


def test_the_limit_that_people_take_for_seconds_is_told_in_milliseconds() -> None:
    assert told(0.3, "transcriber.endpointing", put(NOVA, "transcriber")) == [
        "transcriber.endpointing is 0.3: milliseconds, 10 to 500"
    ]
    assert told(1, "stopSpeakingPlan.voiceSeconds") == ["stopSpeakingPlan.voiceSeconds is 1: seconds, 0 to 0.5"]


def bounds(schema: Any, way: list[str]) -> list[tuple[Any, Any]]:
    """The limits that Vapi's schemas set at a place, in each alternative that has it."""
    schemas = Spec.load().schemas
    if "$ref" in schema:
        return bounds(schemas[schema["$ref"].removeprefix(PREFIX)], way)
    found = [one for part in (*schema.get("anyOf", ()), *schema.get("allOf", ())) for one in bounds(part, way)]
    if not way:
        return [*found, (schema["minimum"], schema["maximum"])] if "maximum" in schema else found
    first, *rest = way
    if first == "*":
        return [*found, *bounds(schema["items"], rest)] if "items" in schema else found
    inner = schema.get("properties", {}).get(first)
    return [*found, *bounds(inner, rest)] if inner else found


@pytest.mark.parametrize("place", LIMITS)
def test_every_limit_is_vapis_own(place: str) -> None:
    found = bounds({"$ref": f"{PREFIX}CreateAssistantDTO"}, place.split("."))

    assert (LIMITS[place].least, LIMITS[place].most) in found


# What Vapi's schema says


@pytest.mark.parametrize(
    ("value", "place", "sentence"),
    [
        ("x", "firstMesage", "firstMesage is no field of Vapi's, did you mean firstMessage?"),
        ("x", "qqqq", "qqqq is no field of Vapi's"),
        (0.4, "startSpeakingPlan.waitSecond", "startSpeakingPlan.waitSecond is no field of Vapi's, did you mean wait"),
        ("x" * 41, "name", "name has 41 characters, but must have at most 40"),
        ("x", "endCallPhrases.*", "endCallPhrases.0 has 1 characters, but must have at least 2"),
        (None, "name", "name is null, but must be of type string"),
        (True, "maxDurationSeconds", "maxDurationSeconds is true, but must be of type number"),
        ("later", "firstMessageMode", "firstMessageMode is later, but must be one of assistant-speaks-first, "),
        ("a" * 31, "firstMessageMode", "firstMessageMode is a long text, but must be one of "),
        ("opnai", "model.provider", "model.provider is opnai, but must be one of anthropic, "),
        ("gpt-4.1-mni", "model.model", "model.model is gpt-4.1-mni, but must be one of gpt-5.6-sol, "),
        ("gpt-4.1-mni", "model.model", "(did you mean gpt-4.1-mini?)"),
        (3, "voice.voiceId", "voice.voiceId is 3, but must be of type string"),
        ({"provider": "vapi"}, "voice", "voice has no voiceId"),
        ({"provider": "vapi", "voiceId": "x", "speed": 3}, "voice", "voice.speed is 3, but must be at most 2"),
        ({"provider": "vapi", "voiceId": "x", "speed": 0.1}, "voice", "voice.speed is 0.1, but must be at least 0.25"),
        ({"provider": "11labs", "voiceId": "x", "model": "gone"}, "voice", "voice.model is gone, but must be one of "),
        ([{"role": "sytem", "content": "x"}], "model.messages", "model.messages.0.role is sytem, but must be one of "),
        ("gpt-4.1", "model", "model is gpt-4.1, which Vapi does not take here"),
        ([], "server", "server is a list, but must be of type object"),
        ({}, "name", "name is an object, but must be of type string"),
        (["#"], "keypadInputPlan.delimiters", 'keypadInputPlan.delimiters is a list, but must be one of #, *, ""'),
        ([{"name": "x"}], "artifactPlan.structuredOutputs", "artifactPlan.structuredOutputs.0 has no schema"),
        ("on", "voicemailDetection", "voicemailDetection is on, which Vapi does not take here"),
    ],
)
def test_what_the_schema_refuses_is_said_plainly(value: Any, place: str, sentence: str) -> None:
    assert any(sentence in said for said in told(value, place))


def test_the_name_of_a_tool_is_checked_with_the_tool() -> None:
    tools = [{"type": "function", "function": {"name": "a b"}}]

    assert "model.tools.0.function.name must look like ^[a-zA-Z0-9_-]{1,64}$" in told(tools, "model.tools")


def test_no_sentence_quotes_what_callers_or_owners_have_written() -> None:
    secret = "a prompt that nobody else shall read " * 3
    for place in ("model.provider", "model", "name", "voice.provider", "hooks", "backgroundSound", "firstMessageMode"):
        assert secret not in str(told(secret, place))


def test_tuples_and_other_mappings_are_taken_as_what_they_become() -> None:
    assert faults({**GOOD, "serverMessages": tuple(GOOD["serverMessages"]), "server": STACK.server}, NEEDS) == []


def test_an_empty_configuration_has_faults_and_no_errors() -> None:
    assert faults({}, NEEDS)
    for name, value in itertools.product(GOOD, (None, 7, "x", [], {}, [[]], [None], {"x": None})):
        faults({**GOOD, name: value}, NEEDS)


# What does not go together


@pytest.mark.parametrize(
    ("transcriber", "plan", "sentence"),
    [
        ("flux-general-en", {"smartEndpointingPlan": {"provider": "livekit"}}, "switches off what Flux hears"),
        ("flux-general-en", {"transcriptionEndpointingPlan": {"onNumberSeconds": 1}}, "does nothing with Flux"),
        ("nova-3", {"smartEndpointingPlan": {"provider": "livekit"}}, ""),
        ("nova-3", {"transcriptionEndpointingPlan": {"onNumberSeconds": 1}}, ""),
        ("flux-general-en", {"customEndpointingRules": []}, ""),
    ],
)
def test_a_plan_that_flux_has_no_use_for_is_told(transcriber: str, plan: dict[str, Any], sentence: str) -> None:
    config = put({"provider": "deepgram", "model": transcriber}, "transcriber", put(plan, "startSpeakingPlan"))

    found = faults(config, NEEDS)
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


@pytest.mark.parametrize(("name", "value"), [("eotThreshold", 0.7), ("eotTimeoutMs", 5000)])
def test_a_field_of_flux_does_nothing_elsewhere(name: str, value: float) -> None:
    config = put({"provider": "deepgram", "model": "nova-3", name: value}, "transcriber")

    assert faults(config, NEEDS) == [f"transcriber.{name} does nothing without a Flux model"]


@pytest.mark.parametrize("event", ["customer.speech.timeout", "customer.speech.timeout[name=a]", "session.created"])
def test_a_hook_that_vapi_knows_is_no_fault(event: str) -> None:
    do = [{"type": "message.add", "message": {"role": "system", "content": "x"}}]

    assert told([{"on": event, "do": do}], "hooks") == []


def test_a_hook_that_vapi_would_drop_is_told() -> None:
    [sentence] = told([{"on": "customer.speech.timout", "do": [{"type": "say", "exact": "x"}]}], "hooks")

    assert sentence.startswith("hooks.0.on is customer.speech.timout, which is none of customer.speech.timeout, ")
    assert sentence.endswith("Vapi would drop the hook")


def test_nobody_is_spoken_to_when_the_call_ends() -> None:
    hooks = [{"on": "call.ending", "do": [{"type": "tool", "toolId": "t"}, {"type": "say", "exact": "Bye."}]}]

    assert told(hooks, "hooks") == ["hooks.0.do says something when the call ends, and nobody is left to hear it"]


# What the stack needs


def test_the_stack_says_why_it_needs_each_type() -> None:
    assert set(assistant_rules.REASONS) == {*SERVER_MESSAGES, FINAL}


@pytest.mark.parametrize("kind", [*SERVER_MESSAGES, FINAL])
def test_each_type_that_the_stack_needs_is_missed(kind: str) -> None:
    rest = [one for one in GOOD["serverMessages"] if one != kind]

    [sentence] = told(rest, "serverMessages")
    assert sentence.startswith(f"serverMessages lacks {kind}: {assistant_rules.REASONS[kind]}")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("speech-update", "(change_appointment, transfer_to_person)"),
        ("user-interrupted", "(change_appointment, transfer_to_person)"),
        ("end-of-call-report", "(send_confirmation)"),
    ],
)
def test_a_missing_type_names_the_tools_that_need_it(kind: str, names: str) -> None:
    rest = [one for one in GOOD["serverMessages"] if one != kind]

    assert told(rest, "serverMessages")[0].endswith(names)
    assert not faults(put(rest, "serverMessages"), NEEDS._replace(tools=()))[0].endswith(")")


def test_a_tool_that_an_interruption_cancels_needs_to_hear_of_it() -> None:
    box = Toolbox()

    @box.tool(on_interrupt="cancel")
    def hang_up(call: Call) -> str:
        """End it."""
        return "x"

    rest = [one for one in GOOD["serverMessages"] if one != "user-interrupted"]
    config = put([one.definition() for one in box], "model.tools", put(rest, "serverMessages"))
    assert faults(config, NEEDS._replace(tools=tuple(box)))[0].endswith("anyway (hang_up)")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("phone-call-control", "Vapi would then leave hanging up and forwarding to the server"),
        ("transcript", "every guess on the way would be a paid request"),
        ("conversation-update", "nothing here reads it"),
        ("assistant.started", "nothing here reads it"),
    ],
)
def test_a_type_that_costs_and_does_not_help_is_told(kind: str, why: str) -> None:
    [sentence] = told([*GOOD["serverMessages"], kind], "serverMessages")

    assert sentence.startswith(f"serverMessages has {kind}: {why}")


def test_final_transcripts_are_refused_where_they_are_not_stored() -> None:
    backend = stack(stored=False)

    [sentence] = faults(GOOD, Needs.of(backend, agent))
    assert sentence == (
        f"serverMessages has {FINAL}: StoreTranscripts is false, so nothing reads it, and each is a paid request"
    )


def test_what_this_backend_counts_may_be_asked_for() -> None:
    assert told([*GOOD["serverMessages"], "hang"], "serverMessages") == []


def test_a_type_that_vapi_does_not_know_is_told() -> None:
    assert (
        "serverMessages.8 is tool-call, but must be one of "
        in told([*GOOD["serverMessages"], "tool-call"], "serverMessages")[0]
    )


def test_a_list_that_is_missing_or_says_something_twice_is_told() -> None:
    config = {name: value for name, value in GOOD.items() if name != "serverMessages"}

    assert faults(config, NEEDS)[0].startswith("serverMessages is missing")
    assert told([*GOOD["serverMessages"], "tool-calls"], "serverMessages") == [
        "serverMessages has tool-calls more than once"
    ]


@pytest.mark.parametrize(
    ("value", "place", "sentence"),
    [
        ({}, "server", "server.url is missing, so messages go wherever the number or the organisation says"),
        ("https://other.example.com/webhook/vapi", "server.url", "server.url is not this stack's"),
        (None, "server.backoffPlan", "server.backoffPlan is missing, so a message that is lost is not sent again"),
        (14, "server.timeoutSeconds", "server.timeoutSeconds is 14: tools may take 15 seconds to answer"),
        (False, "monitorPlan.controlEnabled", "monitorPlan.controlEnabled is false, so no result of change_appoin"),
        (True, "monitorPlan.controlAuthenticationEnabled", "ControlAuthentication is not: what we say is refused"),
    ],
)
def test_what_would_keep_the_stack_from_doing_its_work_is_told(value: Any, place: str, sentence: str) -> None:
    assert any(sentence in said for said in told(value, place))


def test_a_url_that_nobody_knows_yet_is_not_compared() -> None:
    assert faults(put("https://other.example.com", "server.url"), NEEDS._replace(url="")) == []


def test_a_stack_whose_tools_never_speak_needs_no_control() -> None:
    box = Toolbox()

    @box.tool
    def inline(call: Call) -> str:
        """Look."""
        return "x"

    config = put([one.definition() for one in box], "model.tools", put(False, "monitorPlan.controlEnabled"))
    assert faults(config, NEEDS._replace(tools=tuple(box))) == []


@pytest.mark.parametrize("value", [False, None])
def test_a_stack_that_sends_its_key_wants_it_asked_for(value: bool | None) -> None:
    plan = (
        {"controlEnabled": True} if value is None else {"controlEnabled": True, "controlAuthenticationEnabled": value}
    )

    [sentence] = faults(put(plan, "monitorPlan"), NEEDS._replace(control_authentication=True))
    assert sentence.startswith("monitorPlan.controlAuthenticationEnabled is not true, but ControlAuthentication is")


def test_the_models_tools_are_the_agents() -> None:
    tools = GOOD["model"]["tools"]
    invented = {"type": "function", "function": {"name": "fly"}}
    elsewhere = {**invented, "server": {"url": "https://other.example.com"}}

    assert told(tools[1:], "model.tools") == ["model.tools lacks find_appointment, so the assistant cannot call it"]
    assert told([*tools, tools[0]], "model.tools") == ["model.tools has find_appointment more than once"]
    assert told([*tools, invented], "model.tools") == [
        "model.tools has fly, which is no tool of the agent: every call of it would fail"
    ]
    assert told([*tools, elsewhere], "model.tools") == []
    assert told([*tools, {"type": "endCall"}], "model.tools") == []


def test_tools_that_are_named_by_their_ids_are_not_missed() -> None:
    config = put([], "model.tools", put(["tool-1"], "model.toolIds"))

    assert faults(config, NEEDS) == []


def test_the_configuration_can_be_sent() -> None:
    assert json.loads(json.dumps(GOOD)) == GOOD
