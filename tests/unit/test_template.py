"""What the template promises, checked on the template itself: the emulator knows neither alarms nor throttles, and sends
nobody a bill."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchboard import secrets
from switchboard.settings import Settings
from switchboard.telemetry import Count

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden_iam.yaml")
TEXT = (ROOT / "template.yaml").read_text()

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
ALARM = "AWS::CloudWatch::Alarm"
QUEUE = "AWS::SQS::Queue"
ROLE = "AWS::IAM::Role"
LOG_GROUP = "AWS::Logs::LogGroup"

# Lane: function, queue, dead-letter queue.
LANES = {
    "live": ("LiveToolWorkerFunction", "LiveQueue", "LiveDeadLetterQueue"),
    "after-call": ("AfterCallToolWorkerFunction", "AfterCallQueue", "AfterCallDeadLetterQueue"),
}
ROUTES = {
    "POST /webhook/vapi": "VapiWebhookFunction",
    "POST /webhook/vapi/tools": "VapiToolsFunction",
    **{f"POST /voice/{name}": "TwilioVoiceFunction" for name in ("inbound", "dequeued", "back")},
    **{
        f"POST /voice/{name}": "TwilioCallbacksFunction"
        for name in ("status", "step", "wait", "hold", "music", "brief", "accept", "leg")
    },
    "GET /voice/tune": "TwilioCallbacksFunction",
    "GET /health": "HealthFunction",
    "GET /console/calls": "ConsoleFunction",
    "GET /console/calls/{call_id}": "ConsoleFunction",
    **{f"POST /console/calls/{{call_id}}/{action}": "ConsoleFunction" for action in ("say", "transfer", "end")},
    "GET /": "WebClientFunction",
    "GET /assets/{name}": "WebClientFunction",
}
BARE = ("VoiceFallbackFunction", "HealthFunction")  # no layer, and no permission but to log
AGENTLESS = ("WebClientFunction",)  # an agent that cannot be imported takes nobody's page away

# SAM's translator pins another pydantic than ours, so it runs where the emulator has it; it wants code in S3.
EXPAND = """
import json, sys
from samtranslator.translator.transform import transform
class NoManagedPolicies:
    def load(self):
        return {}
print(json.dumps(transform(json.load(sys.stdin), {}, NoManagedPolicies())))
"""


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, as the JSON that they stand for."""


def _intrinsic(loader: Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt":
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", _intrinsic)


def load(text: str) -> dict[str, Any]:
    template: dict[str, Any] = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    return template


TEMPLATE = load(TEXT)
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of one type."""
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


FUNCTIONS = of_type(FUNCTION)
ALARMS = of_type(ALARM)


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RESOURCES[name]["Properties"]
    return found


def function_property(name: str, key: str) -> Any:
    """A function's own property, or the one that it shares."""
    return FUNCTIONS[name].get(key, GLOBALS.get(key))


def event(name: str) -> dict[str, Any]:
    """The properties of a function's only event."""
    (only,) = FUNCTIONS[name]["Events"].values()
    found: dict[str, Any] = only["Properties"]
    return found


def routed(route: str) -> str:
    """The function that a route of the API leads to."""
    method, path = route.split(" ")
    (name,) = (
        name
        for name, function in FUNCTIONS.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi" and (event["Properties"]["Method"], event["Properties"]["Path"]) == (method, path)
    )
    return name


def woken_by(name: str) -> tuple[str, ...]:
    """Whom a function wakes when a call begins, in their order."""
    variables = FUNCTIONS[name].get("Environment", {}).get("Variables", {})
    match variables.get("WARM_FUNCTIONS"):
        case None:
            return ()
        case {"Fn::If": ["Warm", {"Fn::Join": [",", [*functions]]}, ""]}:
            return tuple(function["Ref"] for function in functions)
    raise AssertionError(f"{name} wakes in a way that nobody has thought about")


def get_att(value: object) -> str:
    """The resource that a `!GetAtt Resource.Attribute` names."""
    assert isinstance(value, dict)
    resource: str = value["Fn::GetAtt"][0]
    return resource


def default(name: str) -> Any:
    return PARAMETERS[name]["Default"]


def references(value: object) -> Iterator[str]:
    """Every name that a value refers to, through Ref, GetAtt or Sub."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield inner[0]
            elif key == "Fn::Sub":
                yield from (found.split(".")[0] for found in re.findall(r"\$\{([^}]+)\}", inner))
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# What belongs together


def test_every_function_folder_is_deployed_and_every_deployed_folder_exists() -> None:
    folders = {app.parent.relative_to(ROOT).as_posix() for app in ROOT.glob("functions/*/app.py")}

    assert {function["CodeUri"] for function in FUNCTIONS.values()} == folders


def test_every_function_folder_has_its_events() -> None:
    folders = {app.parent.name for app in ROOT.glob("functions/*/app.py")}

    assert {sample.parent.name for sample in ROOT.glob("events/*/*.json")} == folders


def test_every_layer_is_built_by_the_makefile_of_its_folder() -> None:
    for name, layer in of_type(LAYER).items():
        makefile = (ROOT / layer["ContentUri"] / "Makefile").read_text()

        assert RESOURCES[name]["Metadata"]["BuildMethod"] == "makefile"
        assert re.search(rf"^build-{name}\b.*:", makefile, re.MULTILINE) or re.search(
            rf"^build-\w+ build-{name}:", makefile, re.MULTILINE
        )


def test_old_versions_of_layers_are_not_kept() -> None:
    assert {layer["RetentionPolicy"] for layer in of_type(LAYER).values()} == {"Delete"}


def test_each_architecture_has_its_own_dependencies() -> None:
    chosen = [{"Fn::If": ["Arm64", {"Ref": "DependenciesArm64Layer"}, {"Ref": "DependenciesX86Layer"}]}]
    machinery, agent = {"Ref": "SwitchboardLayer"}, {"Ref": "AgentLayer"}

    assert {name: function.get("Layers") for name, function in FUNCTIONS.items()} == {
        name: None if name in BARE else [*chosen, machinery, *([] if name in AGENTLESS else [agent])]
        for name in FUNCTIONS
    }
    assert GLOBALS["Architectures"] == [{"Ref": "Architecture"}]
    for architecture, layer, condition in (
        ("arm64", "DependenciesArm64Layer", "Arm64"),
        ("x86_64", "DependenciesX86Layer", "X86"),
    ):
        assert RESOURCES[layer]["Condition"] == condition
        assert RESOURCES[layer]["Metadata"]["BuildArchitecture"] == architecture
        assert properties(layer)["CompatibleArchitectures"] == [architecture]


def test_no_function_refers_to_the_api_that_refers_to_it() -> None:
    shared = set(references(GLOBALS))

    for name, function in FUNCTIONS.items():
        own = {key: value for key, value in function.items() if key != "Events"}
        assert not {"HttpApi", "PublicBaseUrlParameter"} & (shared | set(references(own))), name


# Parameters and environment


def test_every_parameter_has_a_default_and_says_what_it_is() -> None:
    assert [name for name, parameter in PARAMETERS.items() if "Default" not in parameter] == []
    assert [name for name, parameter in PARAMETERS.items() if not parameter.get("Description")] == []


def test_every_parameter_is_shown_in_a_group_and_used() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    used = set(references([TEMPLATE[part] for part in ("Conditions", "Globals", "Resources", "Outputs")]))

    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    assert set(PARAMETERS) <= used


def test_the_defaults_make_an_environment_that_the_functions_accept() -> None:
    environment = {
        name: str(default(value["Ref"])) if isinstance(value, dict) and value.get("Ref") in PARAMETERS else "x"
        for name, value in GLOBALS["Environment"]["Variables"].items()
    }

    settings = Settings.from_env(environment)

    assert (settings.stage, settings.scheme.name, settings.tolerance) == ("prod", "vapi-hmac", 300)


def test_every_variable_that_is_read_is_declared() -> None:
    class Recorder(dict[str, str]):
        def get(self, name: str, otherwise: Any = None) -> Any:
            asked.add(name)
            return super().get(name, otherwise)

    asked: set[str] = set()
    declared = GLOBALS["Environment"]["Variables"]
    Settings.from_env(
        Recorder(
            {
                name: str(default(value["Ref"])) if isinstance(value, dict) and value.get("Ref") in PARAMETERS else "x"
                for name, value in declared.items()
            }
        )
    )

    # AWS's own name for an endpoint is what an emulator tells its functions, and nobody else; and one of two functions with
    # the same code says in its own block which it is.
    assert asked - {"AWS_ENDPOINT_URL", "PRELOAD_TOOLS"} <= set(declared)
    assert {name for name, function in FUNCTIONS.items() if "PRELOAD_TOOLS" in str(function)} == {"VapiToolsFunction"}
    # The emulator's address above all: `sam local` overrides a declared variable only.
    assert "AWS_API_URL" in asked


def test_no_secret_is_a_parameter_or_in_an_environment() -> None:
    secret = re.compile(r"secret|token|password|credential(?!id$)|private|(?<!primary)key(?!sid$)", re.IGNORECASE)
    variables = [GLOBALS["Environment"]["Variables"]] + [
        function["Environment"]["Variables"] for function in FUNCTIONS.values() if "Environment" in function
    ]
    names = [name.replace("_", "") for declared in variables for name in declared]

    assert [name for name in [*PARAMETERS, *names] if secret.search(name)] == []
    assert "{{resolve:" not in TEXT
    assert "NoEcho" not in TEXT


def test_an_emulator_can_only_be_named_by_the_local_stage() -> None:
    (assertion,) = TEMPLATE["Rules"]["EmulatorIsLocal"]["Assertions"]

    assert assertion["Assert"] == {
        "Fn::Or": [{"Fn::Equals": [{"Ref": "AwsApiUrl"}, ""]}, {"Fn::Equals": [{"Ref": "Stage"}, "local"]}]
    }


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("PublicBaseUrl", ["", "https://voice.example.com", "http://switchboard.localhost:4566"],
         ["https://voice.example.com/", "http://voice.example.com", "voice.example.com", "https://a b"]),
        ("VapiApiUrl", ["https://api.vapi.ai", "http://127.0.0.1:4567"], ["", "http://api.vapi.ai", "https://x/y"]),
        ("TwilioApiUrl", ["https://api.twilio.com", "http://localhost:4568"], ["", "http://twilio.example"]),
        ("AwsApiUrl", ["", "http://127.0.0.1:4566"], ["https://aws.example", "http://10.0.0.1"]),
        ("FallbackNumber", ["", "+15550100123"], ["15550100123", "+1555</Dial>", "+0123456789"]),
        ("TwilioAccountSids", ["", "AC" + "d0" * 16, ",".join(["AC" + "d0" * 16] * 2)], ["AC", "AC" + "d0" * 16 + ","]),
        ("Apology", ["Sorry.", "Grüße & <Gruß>"], ["", "x" * 501, "a\nb"]),
        ("AlarmEmail", ["", "a@b.example"], ["a", "a b@c"]),
        ("ReservedConcurrency", ["", "5", "1000"], ["0", "-1", "x"]),
        ("SignatureOverrides", ["", '{"prefix": "v0="}'], ["[]", "x"]),
    ],
)  # fmt: skip
def test_a_parameter_takes_what_is_right_and_refuses_what_is_not(
    parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(PARAMETERS[parameter]["AllowedPattern"])

    assert [value for value in good if not pattern.fullmatch(value)] == []
    assert [value for value in bad if pattern.fullmatch(value)] == []


def test_the_fallback_says_what_the_template_says() -> None:
    assert f'"{default("Apology")}"' in (ROOT / "functions/voice_fallback/app.py").read_text()


# Waking


WAKING = [name for name in FUNCTIONS if woken_by(name)]
WOKEN = sorted({woken for name in WAKING for woken in woken_by(name)})


def test_functions_are_woken_unless_the_parameter_says_otherwise() -> None:
    assert default("WarmUp") == "true"
    assert TEMPLATE["Conditions"]["Warm"] == {"Fn::Equals": [{"Ref": "WarmUp"}, "true"]}
    assert GLOBALS["Environment"]["Variables"]["WARM_FUNCTIONS"] == ""
    assert WAKING == ["VapiWebhookFunction", "TwilioVoiceFunction"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_wake_exactly_those_whom_it_wakes(name: str, expanded: dict[str, dict[str, Any]]) -> None:
    role = granted(expanded)["roles"][get_att(FUNCTIONS[name]["Role"])]

    assert role.get("lambda:InvokeFunction", []) == [f"{woken} if Warm" for woken in woken_by(name)]


def test_nobody_is_woken_twice_by_one_function_or_wakes_themselves() -> None:
    for name in WAKING:
        assert len(set(woken_by(name))) == len(woken_by(name))
        assert name not in woken_by(name)


def test_whoever_answers_the_phone_wakes_whom_vapis_first_message_would_and_whoever_takes_that() -> None:
    # Of a call that we have answered, the message wakes nobody any more.
    voice = routed("POST /voice/inbound")

    assert set(woken_by(voice)) == {routed("POST /webhook/vapi"), *woken_by(routed("POST /webhook/vapi"))}


@pytest.mark.parametrize("name", WOKEN)
def test_a_wake_that_fails_or_is_late_is_forgotten(name: str) -> None:
    # Lambda would try twice more, and for six hours where there is no concurrency left.
    assert FUNCTIONS[name]["EventInvokeConfig"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}


@pytest.mark.parametrize("name", WOKEN)
def test_whoever_is_woken_knows_a_wake_before_all_else(name: str) -> None:
    code = (ROOT / FUNCTIONS[name]["CodeUri"] / "app.py").read_text()

    assert re.search(r"^@wakeable\n(@\w+\n)*def handler\(", code, re.MULTILINE)


# Time


def test_a_webhook_ends_before_whoever_called_gives_up() -> None:
    vapi, twilio = 20, 15  # seconds: Vapi's default for a tool, Twilio's limit for a webhook

    assert function_property("VapiWebhookFunction", "Timeout") < vapi
    assert function_property("TwilioVoiceFunction", "Timeout") < twilio
    assert function_property("TwilioCallbacksFunction", "Timeout") < twilio
    assert function_property("VoiceFallbackFunction", "Timeout") < twilio
    assert PARAMETERS["VoiceBudgetSeconds"]["MaxValue"] <= function_property("TwilioVoiceFunction", "Timeout") - 2


def test_a_signature_is_valid_for_five_minutes_at_most() -> None:
    assert PARAMETERS["SignatureTolerance"]["MaxValue"] == 300


@pytest.mark.parametrize("lane", LANES)
def test_a_message_stays_invisible_for_six_timeouts(lane: str) -> None:
    worker, queue, _ = LANES[lane]

    assert get_att(event(worker)["Queue"]) == queue
    assert properties(queue)["VisibilityTimeout"] == 6 * function_property(worker, "Timeout")


def test_the_live_lane_has_time_for_the_longest_tool() -> None:
    assert function_property("LiveToolWorkerFunction", "Timeout") == 35
    assert function_property("AfterCallToolWorkerFunction", "Timeout") == 60


@pytest.mark.parametrize("lane", LANES)
def test_a_dead_message_outlives_its_queue(lane: str) -> None:
    _, queue, dead = LANES[lane]

    assert properties(queue)["MessageRetentionPeriod"] == 3600
    assert properties(dead)["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert get_att(properties(queue)["RedrivePolicy"]["deadLetterTargetArn"]) == dead
    assert properties(queue)["RedrivePolicy"]["maxReceiveCount"] == 5


# The queues and their workers


def test_every_queue_belongs_to_a_lane() -> None:
    assert set(of_type(QUEUE)) == {name for _, *queues in LANES.values() for name in queues}


@pytest.mark.parametrize("lane", LANES)
def test_one_failed_message_does_not_fail_its_batch(lane: str) -> None:
    assert event(LANES[lane][0])["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("name", ["LiveToolWorkerFunction", "AfterCallToolWorkerFunction"])
def test_a_worker_may_send_to_its_own_queue_for_as_long_as_a_deadline_lasts(name: str) -> None:
    # Lambda's default drops the seventeenth message of such a chain, https://github.com/boto/boto3/issues/3899
    assert properties(name)["RecursiveLoop"] == "Allow"


@pytest.mark.parametrize(
    ("lane", "parameter"), [("live", "LiveMaximumConcurrency"), ("after-call", "AfterCallMaximumConcurrency")]
)
def test_the_workers_leave_room_for_the_front_door(lane: str, parameter: str) -> None:
    smallest_account = 10

    assert event(LANES[lane][0])["ScalingConfig"] == {"MaximumConcurrency": {"Ref": parameter}}
    assert PARAMETERS[parameter]["MinValue"] == 2
    assert default("LiveMaximumConcurrency") + default("AfterCallMaximumConcurrency") < smallest_account
    assert default("ReservedConcurrency") == ""


def test_no_live_call_waits_for_another() -> None:
    live, after_call = event("LiveToolWorkerFunction"), event("AfterCallToolWorkerFunction")

    assert (live["BatchSize"], live["MaximumBatchingWindowInSeconds"]) == (1, 0)
    assert after_call["BatchSize"] == 5


def test_queues_are_encrypted_and_refuse_plain_http() -> None:
    policy = properties("QueuesOverTlsOnly")
    (statement,) = statements(policy["PolicyDocument"])

    assert {name: queue.get("SqsManagedSseEnabled") for name, queue in of_type(QUEUE).items()} == dict.fromkeys(
        of_type(QUEUE), True
    )
    assert {queue["Ref"] for queue in policy["Queues"]} == set(of_type(QUEUE))
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert "Condition" not in RESOURCES["QueuesOverTlsOnly"]


def test_the_alarm_topic_is_this_accounts_alarms_only_and_refuses_plain_http() -> None:
    allow, deny = statements(properties("AlarmTopicPolicy")["PolicyDocument"])

    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# The table


def test_items_expire_and_mistakes_can_be_undone() -> None:
    table = properties("Table")

    assert table["TimeToLiveSpecification"] == {"AttributeName": "exp", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_index_holds_keys_of_what_is_open() -> None:
    table = properties("Table")
    (index,) = table["GlobalSecondaryIndexes"]
    types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]}

    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert index["IndexName"] == "open"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["g1pk", "g1sk"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert types == {"pk": "S", "sk": "S", "g1pk": "S", "g1sk": "N"}


# The API


def test_the_routes_are_these_with_payload_two() -> None:
    found = {
        f"{route['Method']} {route['Path']}": name
        for name, function in FUNCTIONS.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
        for route in [event["Properties"]]
    }

    assert found == ROUTES
    for name in set(ROUTES.values()):
        for route in FUNCTIONS[name]["Events"].values():
            assert route["Properties"]["PayloadFormatVersion"] == "2.0"
            assert route["Properties"]["ApiId"] == {"Ref": "HttpApi"}


def test_every_route_is_throttled_and_a_call_never_meets_it() -> None:
    throttles = properties("HttpApi")["RouteSettings"]
    calls_per_second = 100

    assert set(throttles) == set(ROUTES)
    for throttle in [*throttles.values(), properties("HttpApi")["DefaultRouteSettings"]]:
        assert throttle["ThrottlingBurstLimit"] >= throttle["ThrottlingRateLimit"] > 0
    # Twilio takes 429 for a failure and does not ask again.
    assert throttles["POST /voice/inbound"]["ThrottlingRateLimit"] >= calls_per_second
    assert throttles["POST /voice/status"]["ThrottlingRateLimit"] >= calls_per_second
    assert throttles["POST /webhook/vapi"]["ThrottlingRateLimit"] >= 5 * calls_per_second
    assert throttles["POST /webhook/vapi/tools"]["ThrottlingRateLimit"] >= 2 * calls_per_second


def test_the_access_log_names_no_caller() -> None:
    access_log = properties("HttpApi")["AccessLogSettings"]
    values = json.loads(access_log["Format"]).values()

    assert set(values) == {
        "$context.requestTimeEpoch",
        "$context.requestId",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationStatus",
        "$context.integrationLatency",
        "$context.error.responseType",
    }
    assert get_att(access_log["DestinationArn"]) == "HttpApiLogs"


def test_the_fallback_shares_nothing_with_the_api() -> None:
    fallback = FUNCTIONS["VoiceFallbackFunction"]

    assert fallback["FunctionUrlConfig"] == {"AuthType": "NONE"}
    assert "Events" not in fallback
    assert "Layers" not in fallback
    assert [name for name, function in FUNCTIONS.items() if "FunctionUrlConfig" in function] == [
        "VoiceFallbackFunction"
    ]


def test_the_outputs_are_what_a_person_must_paste() -> None:
    base = "${PublicBaseUrlParameter.Value}"
    urls = {name: output["Value"] for name, output in TEMPLATE["Outputs"].items() if name.endswith("Url")}

    assert urls == {
        "VapiWebhookUrl": {"Fn::Sub": f"{base}/webhook/vapi"},
        "VoiceUrl": {"Fn::Sub": f"{base}/voice/inbound"},
        "VoiceStatusUrl": {"Fn::Sub": f"{base}/voice/status"},
        "HealthUrl": {"Fn::Sub": f"{base}/health"},
        "WebUrl": {"Fn::Sub": f"{base}/"},
        "VoiceFallbackUrl": {"Fn::GetAtt": ["VoiceFallbackFunctionUrl", "FunctionUrl"]},
    }


# Logs and alarms


def test_every_function_logs_json_to_a_group_of_its_own() -> None:
    groups = {name: function["LoggingConfig"]["LogGroup"]["Ref"] for name, function in FUNCTIONS.items()}

    assert set(groups.values()) | {"HttpApiLogs"} == set(of_type(LOG_GROUP))
    assert len(set(groups.values())) == len(groups)
    assert GLOBALS["LoggingConfig"]["LogFormat"] == "JSON"


def test_no_level_silences_the_metrics_or_opens_other_libraries_logs() -> None:
    # Lambda takes a metrics line for INFO; at DEBUG its root logger would let HTTP clients log bodies and keys.
    assert GLOBALS["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
    assert "DEBUG" not in PARAMETERS["LogLevel"]["AllowedValues"]


def test_logs_are_kept_for_a_month_at_most() -> None:
    assert {str(group.get("RetentionInDays")) for group in of_type(LOG_GROUP).values()} == {
        str({"Ref": "LogRetentionDays"})
    }
    assert default("LogRetentionDays") in PARAMETERS["LogRetentionDays"]["AllowedValues"]
    assert max(PARAMETERS["LogRetentionDays"]["AllowedValues"]) <= 30


def test_every_alarm_says_what_silence_means_and_reaches_somebody() -> None:
    assert len(ALARMS) >= 7
    for name, alarm in ALARMS.items():
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert alarm["AlarmActions"] == {"Fn::If": ["Mailed", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}, name
        assert alarm["AlarmDescription"], name
        assert RESOURCES[name].get("Condition") == ("OnAws" if "Metrics" in alarm else None), name
    assert TEMPLATE["Conditions"]["OnAws"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "Stage"}, "local"]}]}


@pytest.mark.parametrize("lane", LANES)
def test_a_dead_message_is_an_alarm(lane: str) -> None:
    (alarm,) = queue_alarms("ApproximateNumberOfMessagesVisible", LANES[lane][2])

    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Statistic"]) == (60, 1, "Maximum")


@pytest.mark.parametrize(("lane", "seconds"), [("live", 10), ("after-call", 300)])
def test_waiting_messages_are_an_alarm(lane: str, seconds: int) -> None:
    (alarm,) = queue_alarms("ApproximateAgeOfOldestMessage", LANES[lane][1])

    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", seconds)
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Statistic"]) == (60, 2, "Maximum")


def queue_alarms(metric: str, queue: str) -> list[dict[str, Any]]:
    dimensions = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
    return [
        alarm
        for alarm in ALARMS.values()
        if (alarm.get("Namespace"), alarm.get("MetricName"), alarm.get("Dimensions")) == ("AWS/SQS", metric, dimensions)
    ]


def test_server_errors_are_an_alarm() -> None:
    (alarm,) = (alarm for alarm in ALARMS.values() if alarm.get("MetricName") == "5xx")

    assert alarm["Dimensions"] == [{"Name": "ApiId", "Value": {"Ref": "HttpApi"}}]
    assert (alarm["Statistic"], alarm["Period"], alarm["Threshold"]) == ("Sum", 300, 5)


def test_a_share_of_refused_signatures_is_an_alarm_and_silence_divides_nothing_by_nothing() -> None:
    alarm = ALARMS["SignatureRefusedAlarm"]
    share, *inputs = alarm["Metrics"]
    counted = {metric["Id"]: metric["MetricStat"]["Metric"]["MetricName"] for metric in inputs}

    assert counted == {"refused": "SignatureRefused", "received": "WebhookReceived"}
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 1)
    for refused, received, expected in ((0, 0, 0), (2, 2, 0), (3, 3, 100), (3, 300, 1), (4, 300, 4 / 3)):
        assert evaluate(share["Expression"], refused=refused, received=received) == pytest.approx(expected)


def evaluate(expression: str, **values: float) -> float:
    """The value of the one form of metric math used here: IF(condition, yes, no)."""
    found = re.fullmatch(r"IF\((.+), (.+), (.+)\)", expression)
    assert found
    condition, yes, no = (part.replace("AND", "and") for part in found.groups())
    result: float = eval(f"({yes}) if ({condition}) else ({no})", {"__builtins__": {}}, values)  # noqa: S307 - our own template
    return result


def test_a_caller_who_hears_an_apology_is_an_alarm_whoever_says_it_and_a_canary_is_none() -> None:
    callers, *inputs = ALARMS["ApologyAlarm"]["Metrics"]

    # Not the invocations of the fallback: a canary is one.
    assert {metric["MetricStat"]["Metric"]["MetricName"] for metric in inputs} == {
        "InboundApology", "FallbackAnswered", "Errors"
    }  # fmt: skip
    assert callers["Expression"] == " + ".join(f"FILL({metric['Id']}, 0)" for metric in inputs)


def test_sam_is_told_that_no_route_of_the_api_has_an_authorizer_so_that_it_does_not_ask_for_each(
    expanded: dict[str, dict[str, Any]],
) -> None:
    assert of_type("AWS::Serverless::HttpApi")["HttpApi"]["Auth"] == {"EnableIamAuthorizer": False}
    # It changes nothing of what is deployed.
    body = expanded["HttpApi"]["Properties"]["Body"]
    assert "components" not in body
    assert not any("security" in operation for path in body["paths"].values() for operation in path.values())


def test_alarms_watch_metrics_that_exist() -> None:
    own = [
        query["MetricStat"]["Metric"]
        for alarm in ALARMS.values()
        for query in alarm.get("Metrics", [])
        if query.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "Switchboard"
    ]

    assert {metric["MetricName"] for metric in own} == {
        Count.SIGNATURE_REFUSED, Count.WEBHOOK_RECEIVED, Count.INBOUND_APOLOGY, Count.FALLBACK_ANSWERED
    }  # fmt: skip
    # Powertools' own dimension, with the value that the functions are given.
    assert all(metric["Dimensions"] == [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}] for metric in own)
    variables = GLOBALS["Environment"]["Variables"]
    assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Switchboard"


# Permissions


@pytest.fixture(scope="module")
def expanded() -> dict[str, dict[str, Any]]:
    """The resources that SAM makes of the template, as CloudFormation will see them."""
    return expand(load(TEXT))


def expand(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources that SAM makes of a template."""
    python = ROOT / ".local/emulator/bin/python"
    if not python.exists():
        pytest.fail("SAM's translator is in .local/emulator, which is not there: run `make test`, which makes it")
    for resource in template["Resources"].values():
        for code in ("CodeUri", "ContentUri"):
            if code in resource["Properties"]:
                resource["Properties"][code] = "s3://bucket/key"
    run = subprocess.run(
        [python, "-c", EXPAND],
        input=json.dumps(template),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"},
    )
    assert run.returncode == 0, run.stderr
    resources: dict[str, dict[str, Any]] = json.loads(run.stdout)["Resources"]
    return resources


def test_permissions_are_exactly_the_recorded_ones(expanded: dict[str, dict[str, Any]]) -> None:
    assert granted(expanded) == yaml.safe_load(GOLDEN.read_text())


def granted(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every permission that the expanded template gives away, by who gets it: action -> resources."""
    found: dict[str, dict[str, Any]] = {"roles": {}, "policies": {}, "invocation": {}}
    for name, resource in resources.items():
        inner = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::Role":
                found["roles"][name] = {"attached": [spell(arn) for arn in as_list(inner.get("ManagedPolicyArns", []))]}
                for policy in inner.get("Policies", []):
                    for action, on in actions(policy["PolicyDocument"]):
                        found["roles"][name].setdefault(action, []).append(on)
            case "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy" | "AWS::IAM::RolePolicy":
                found["policies"][name] = {}
                for action, on in actions(inner["PolicyDocument"]):
                    found["policies"][name].setdefault(action, []).append(on)
            case "AWS::Lambda::Permission":
                found["invocation"].setdefault(spell(inner["FunctionName"]), []).append(
                    " ".join([inner["Action"], "by", inner["Principal"], *conditions(inner)])
                )
    return found


def actions(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for found in statements(document):
        statement, condition = unconditional(found)
        # Anything else (Deny, NotAction, NotResource, another condition) would say less than the list that it would end up in.
        assert set(statement) - {"Condition"} == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                yield action, spell(resource) + keys(statement.get("Condition")) + condition


def unconditional(statement: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A statement, and the template's condition under which it is one."""
    match statement:
        case {"Fn::If": [str(condition), dict(inner), {"Ref": "AWS::NoValue"}]}:
            return inner, f" if {condition}"
    return statement, ""


def keys(condition: Any) -> str:
    """The one condition used here in words: which partitions of the table."""
    match condition:
        case None:
            return ""
        case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(patterns), **others}, **more} if not (
            others or more
        ):
            return f" where pk is {' or '.join(patterns)}"
    raise AssertionError(f"a condition that nobody has thought about: {condition}")


def conditions(permission: dict[str, Any]) -> Iterator[str]:
    if source := permission.get("SourceArn"):
        yield f"from {spell(source)}"
    if auth := permission.get("FunctionUrlAuthType"):
        yield f"with authentication {auth}"
    if permission.get("InvokedViaFunctionUrl"):
        yield "through the function URL"


def spell(value: Any) -> str:
    """A reference in as few words as name it."""
    match value:
        case {"Fn::GetAtt": [resource, "Arn"]}:
            return str(resource)
        case {"Ref": resource}:
            return str(resource)
        case {"Fn::If": [condition, [{"Ref": policy}], {"Ref": "AWS::NoValue"}]}:
            return f"{policy} if {condition}"
        case {"Fn::Sub": str(text)}:
            return text.removeprefix("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:")
        case {"Fn::Sub": [str(text), {"__ApiId__": {"Ref": api}, "__Stage__": "*"}]}:
            return text.removeprefix("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:").replace(
                "${__ApiId__}/${__Stage__}", f"{api}/*"
            )
        case str():
            return value
        case _:
            return json.dumps(value)


def test_every_function_has_a_role_of_its_own_and_sam_adds_none(expanded: dict[str, dict[str, Any]]) -> None:
    roles = {name: get_att(function.get("Role")) for name, function in FUNCTIONS.items()}

    assert sorted(roles.values()) == sorted(of_type(ROLE))
    assert not any("Policies" in function for function in FUNCTIONS.values())
    assert {name for name, resource in expanded.items() if resource["Type"] == ROLE} == set(of_type(ROLE))


def test_a_function_logs_to_its_own_group_and_cannot_make_one(expanded: dict[str, dict[str, Any]]) -> None:
    permissions = granted(expanded)["roles"]

    for function in FUNCTIONS.values():
        role = permissions[get_att(function["Role"])]
        own = [function["LoggingConfig"]["LogGroup"]["Ref"]]
        assert {action: on for action, on in role.items() if action.startswith("logs:")} == {
            "logs:CreateLogStream": own,
            "logs:PutLogEvents": own,
        }


def test_bare_functions_may_do_nothing_but_log(expanded: dict[str, dict[str, Any]]) -> None:
    permissions = granted(expanded)["roles"]

    for name in BARE:
        assert set(permissions[get_att(FUNCTIONS[name]["Role"])]) == {
            "attached", "logs:CreateLogStream", "logs:PutLogEvents"
        }  # fmt: skip


def test_nothing_is_granted_with_a_star_but_traces(expanded: dict[str, dict[str, Any]]) -> None:
    permissions = granted(expanded)
    starred = {
        (holder, action)
        for group in ("roles", "policies")
        for holder, allowed in permissions[group].items()
        for action, resources in allowed.items()
        # The stars behind it say which partitions of the table: they take away.
        if "*" in action or any("*" in resource.partition(" where ")[0] for resource in resources)
    }

    # X-Ray has no resources to name for these two.
    assert starred == {("TracingPolicy", "xray:PutTraceSegments"), ("TracingPolicy", "xray:PutTelemetryRecords")}
    assert RESOURCES["TracingPolicy"]["Condition"] == "Traced"


# Suppressed checks


def test_every_suppressed_check_has_a_reason_and_there_are_eight_at_most() -> None:
    text = (ROOT / ".checkov.yaml").read_text()
    skipped = yaml.safe_load(text)["skip-check"]

    assert len(skipped) <= 8
    # A comment directly above each.
    assert re.findall(r"^  #.*\n  - (\w+)$", text, re.MULTILINE) == skipped
    assert "checkov:skip" not in TEXT
    assert not any("checkov" in resource.get("Metadata", {}) for resource in RESOURCES.values())


@pytest.mark.parametrize(
    ("folder", "role"),
    [
        ("vapi_webhook", "VapiWebhookRole"),
        ("vapi_webhook", "VapiToolsRole"),
        ("twilio_voice", "TwilioVoiceRole"),
        ("twilio_callbacks", "TwilioCallbacksRole"),
        ("outbound", "OutboundRole"),
        ("sweeper", "SweeperRole"),
        ("tool_worker", "LiveToolWorkerRole"),
    ],
)
def test_a_function_may_read_exactly_the_parameters_that_it_asks_for(folder: str, role: str) -> None:
    # SSM refuses a whole request for one name too many, and nothing would verify any more.
    code = (ROOT / "functions" / folder / "app.py").read_text()
    imported = re.findall(r"from switchboard.secrets import \(?([^)]+?)(?:\)|\nfrom )", code)[0]
    asked = {getattr(secrets, name) for name in re.findall(r"[A-Z_]{2,}", imported)}
    granted = yaml.safe_load(GOLDEN.read_text())["roles"][role]["ssm:GetParameters"]

    assert {parameter.rpartition("/")[2] for parameter in granted} == asked
