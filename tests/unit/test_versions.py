"""What SnapStart makes of the template: versions, and an alias that every event goes to; and nothing of it without."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit import versions
from tests.unit.test_template import FUNCTION, FUNCTIONS, RESOURCES, TEXT, expand, expanded, get_att, load, woken_by

__all__ = ["expanded"]  # a fixture

WAITED_FOR = (
    "LiveToolWorkerFunction",
    "TwilioCallbacksFunction",
    "TwilioVoiceFunction",
    "VapiToolsFunction",
    "VapiWebhookFunction",
)
ON = {"SnapStart": "true"}


DEFAULTS = {"SnapStart": "false", "LogLevel": "INFO", "MaxCalls": "10"}
SMALL: dict[str, Any] = {
    "Parameters": {name: {"Type": "String", "Default": default} for name, default in DEFAULTS.items()},
    "Resources": {
        "Waited": {"Type": FUNCTION, "Properties": {"SnapStart": {"ApplyOn": "PublishedVersions"}}},
        "Other": {"Type": FUNCTION, "Properties": {"CodeUri": "Other"}},
        "Policy": {"Type": "AWS::SNS::TopicPolicy"},
    },
}


def written(folder: Path, template: dict[str, Any]) -> Path:
    """What `sam build` leaves: the template in its long form, and code."""
    (folder / "template.yaml").write_text(yaml.safe_dump(template))
    for name in ("Waited/app.py", "AgentLayer/python/agent/tools.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("one")
    return folder


def read(build: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((build / "template.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The resources that SAM makes of it, as CloudFormation will see them."""
    build = written(tmp_path_factory.mktemp("build"), load(TEXT))
    versions.publish(build, ON)
    return expand(read(build))


def kind(resources: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [resource for resource in resources.values() if resource["Type"] == name]


def target(value: Any) -> str:
    """The logical id at the end of an ARN, in whatever form it is written."""
    return next(name for name in (*ALIASES.values(), *RESOURCES) if name in json.dumps(value))


ALIASES = {name: f"{name}Alias{versions.ALIAS}" for name in WAITED_FOR}


def test_those_that_a_caller_waits_for_start_from_snapshots_if_so_wished() -> None:
    wish = {"Fn::If": ["Snapshots", {"ApplyOn": "PublishedVersions"}, {"Ref": "AWS::NoValue"}]}

    assert {
        name: resource["Properties"]["SnapStart"]
        for name, resource in RESOURCES.items()
        if "SnapStart" in resource["Properties"]
    } == dict.fromkeys(WAITED_FOR, wish)


def test_without_it_there_are_no_versions(expanded: dict[str, dict[str, Any]]) -> None:
    assert kind(expanded, "AWS::Lambda::Version") == []
    assert kind(expanded, "AWS::Lambda::Alias") == []


@pytest.mark.parametrize(
    ("parameters", "wanted"), [({}, False), ({"SnapStart": "false"}, False), ({"SnapStart": "true"}, True)]
)
def test_it_is_for_who_asks_for_it(parameters: dict[str, str], wanted: bool) -> None:
    assert versions.wanted(parameters) is wanted


def test_every_event_goes_to_the_alias_and_is_allowed_to(published: dict[str, dict[str, Any]]) -> None:
    integrations = [
        method["x-amazon-apigateway-integration"]["uri"]
        for api in kind(published, "AWS::ApiGatewayV2::Api")
        for path in api["Properties"]["Body"]["paths"].values()
        for method in path.values()
    ]
    mappings = [made["Properties"]["FunctionName"] for made in kind(published, "AWS::Lambda::EventSourceMapping")]
    allowed = [
        made["Properties"]["FunctionName"]
        for made in kind(published, "AWS::Lambda::Permission")
        if made["Properties"]["Principal"] == "apigateway.amazonaws.com"
    ]

    for values in (integrations, mappings, allowed):
        assert not {target(value) for value in values} & set(WAITED_FOR)
    assert {target(value) for value in integrations} >= set(ALIASES.values()) - {ALIASES["LiveToolWorkerFunction"]}
    assert {target(value) for value in mappings} == {ALIASES["LiveToolWorkerFunction"], "AfterCallToolWorkerFunction"}
    assert sorted(map(target, allowed)) == sorted(map(target, integrations))


def test_an_alias_stands_for_the_newest_version_which_goes_when_it_is_not_that_any_more(
    published: dict[str, dict[str, Any]],
) -> None:
    for name, alias in ALIASES.items():
        properties = published[alias]["Properties"]
        version = published[properties["FunctionVersion"]["Fn::GetAtt"][0]]

        assert properties["Name"] == versions.ALIAS
        assert version["Type"] == "AWS::Lambda::Version"
        assert version["Properties"]["FunctionName"] == {"Ref": name}
        assert version["DeletionPolicy"] == "Delete"
    assert len(kind(published, "AWS::Lambda::Version")) == len(ALIASES)


def test_a_call_wakes_the_versions_that_will_answer_it(published: dict[str, dict[str, Any]]) -> None:
    waking = [name for name in FUNCTIONS if woken_by(name)]
    lists = {name: published[name]["Properties"]["Environment"]["Variables"]["WARM_FUNCTIONS"] for name in waking}
    roles = {name: json.dumps(published[get_att(FUNCTIONS[name]["Role"])]) for name in waking}

    assert {name: made["Fn::If"][1]["Fn::Join"][1] for name, made in lists.items()} == {
        name: [{"Fn::Sub": f"${{{one}}}:{versions.ALIAS}"} for one in woken_by(name)] for name in waking
    }
    for name, role in roles.items():
        assert all(f"${{{one}.Arn}}:{versions.ALIAS}" in role for one in woken_by(name))


def test_all_other_resources_are_what_they_were(
    published: dict[str, dict[str, Any]],
    expanded: dict[str, dict[str, Any]],
) -> None:
    changed = {name for name, resource in expanded.items() if published.get(name) != resource}
    kinds = {expanded[name]["Type"] for name in changed}

    # The deployment of the API has its content in its name.
    assert kinds - {"AWS::ApiGatewayV2::Deployment"} == {
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::ApiGatewayV2::Api",
        "AWS::IAM::Role",
    }
    # Whoever wakes a function may wake the version that will answer, and that one forgets a wake that fails.
    roles = {name for name in changed if expanded[name]["Type"] == "AWS::IAM::Role"}
    assert roles == {get_att(FUNCTIONS[name]["Role"]) for name in FUNCTIONS if woken_by(name)}
    assert {name for name in changed if expanded[name]["Type"] == "AWS::Lambda::Function"} == set(WAITED_FOR)
    for name in WAITED_FOR:
        before, after = (made[name]["Properties"] for made in (expanded, published))
        # Lambda publishes nothing where nothing has changed, so the digest stands in the function.
        assert after["Description"].startswith(f"{before['Description']} ")
        told = {"Description": "", "Environment": {}}
        assert after | told == before | told


@pytest.mark.parametrize(
    ("file", "parameters"),
    [
        ("Waited/app.py", ON),
        ("AgentLayer/python/agent/tools.py", ON),  # SAM's own look at layers and parameters sees neither change
        ("", ON | {"LogLevel": "DEBUG"}),
        ("", ON | {"MaxCalls": "20"}),
    ],
)
def test_whatever_changes_is_published(tmp_path: Path, file: str, parameters: dict[str, str]) -> None:
    before = digest(written(tmp_path, SMALL), ON)
    written(tmp_path, SMALL)
    if file:
        (tmp_path / file).write_text("two")

    assert digest(tmp_path, parameters) != before


def test_who_invokes_such_a_function_invokes_its_alias_and_is_allowed_to(tmp_path: Path) -> None:
    names = {"Fn::If": ["Warm", {"Fn::Join": [",", [{"Ref": "Waited"}, {"Ref": "Other"}]]}, ""]}
    allowed = [{"Fn::GetAtt": ["Waited", "Arn"]}, {"Fn::GetAtt": ["Other", "Arn"]}, {"Fn::GetAtt": ["Waited", "Id"]}]
    changed = json.loads(json.dumps(SMALL))
    changed["Resources"]["Other"]["Properties"]["Environment"] = {"Variables": {"WAKE": names, "X": {"Ref": "X"}}}
    changed["Resources"]["Role"] = {"Type": "AWS::IAM::Role", "Properties": {"Policies": [{"Resource": allowed}]}}
    changed["Resources"]["Alarm"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Name": {"Ref": "Waited"}}}
    versions.publish(written(tmp_path, changed), ON)
    resources = read(tmp_path)["Resources"]

    assert resources["Other"]["Properties"]["Environment"]["Variables"] == {
        "WAKE": {"Fn::If": ["Warm", {"Fn::Join": [",", [{"Fn::Sub": "${Waited}:live"}, {"Ref": "Other"}]]}, ""]},
        "X": {"Ref": "X"},
    }
    assert resources["Role"]["Properties"]["Policies"][0]["Resource"] == [
        {"Fn::Sub": "${Waited.Arn}:live"}, *allowed[1:]
    ]  # fmt: skip
    assert resources["Alarm"] == changed["Resources"]["Alarm"]


def test_a_changed_property_is_published(tmp_path: Path) -> None:
    before = digest(written(tmp_path, SMALL), ON)
    changed = json.loads(json.dumps(SMALL))
    changed["Resources"]["Waited"]["Properties"]["Timeout"] = 7

    assert digest(written(tmp_path, changed), ON) != before


@pytest.mark.parametrize("parameters", [ON, DEFAULTS | ON])
def test_what_does_not_change_is_not_published_anew(tmp_path: Path, parameters: dict[str, str]) -> None:
    before = digest(written(tmp_path, SMALL), ON)

    assert digest(written(tmp_path, SMALL), parameters) == before


def digest(build: Path, parameters: dict[str, str]) -> str:
    """The one of the function that starts from a snapshot; the other is left alone."""
    assert versions.publish(build, parameters) == ["Waited"]
    resources = read(build)["Resources"]
    assert resources["Other"] == SMALL["Resources"]["Other"]
    found: str = resources["Waited"]["Properties"]["AutoPublishCodeSha256"]
    return found
