"""Reading what `sam build` made."""

from pathlib import Path

import pytest

from devkit import sam
from devkit.built import Built
from devkit.errors import UserError

TEMPLATE = """
Parameters:
  Stage: {Type: String, Default: prod}
  Architecture: {Type: String, Default: neither}
  Hours: {Type: Number, Default: 24}
Conditions:
  Native: {"Fn::Equals": [{Ref: Architecture}, NATIVE]}
  Foreign: {"Fn::Not": [{Condition: Native}]}
  Both: {"Fn::And": [{Condition: Native}, {Condition: Foreign}]}
  Any: {"Fn::Or": [{Condition: Native}, {Condition: Foreign}]}
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Timeout: 10
    LoggingConfig: {LogFormat: JSON}
    Environment:
      Variables:
        STAGE: {Ref: Stage}
        HOURS: {Ref: Hours}
        TABLE_NAME: {Ref: Table}
        QUEUE_URL: {Ref: Queue}
        PARAMETER_PATH: {"Fn::Sub": "/switchboard/${AWS::StackName}"}
        BOTH: {"Fn::If": [Both, yes, no]}
        ANY: {"Fn::If": [Any, yes, no]}
        NOTHING: {"Fn::If": [Foreign, set, {Ref: "AWS::NoValue"}]}
Resources:
  Table: {Type: "AWS::DynamoDB::Table", Properties: {TableName: {"Fn::Sub": "${AWS::StackName}-calls"}}}
  Queue: {Type: "AWS::SQS::Queue", Properties: {QueueName: {"Fn::Sub": "${AWS::StackName}-live"}}}
  Logs: {Type: "AWS::Logs::LogGroup", Properties: {LogGroupName: /aws/lambda/one}}
  Native: {Type: "AWS::Serverless::LayerVersion", Properties: {ContentUri: NativeLayer}}
  Other: {Type: "AWS::Serverless::LayerVersion", Properties: {ContentUri: OtherLayer}}
  OneFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: OneFunction
      Timeout: 35
      LoggingConfig: {LogGroup: {Ref: Logs}}
      Layers: [{"Fn::If": [Native, {Ref: Native}, {Ref: Other}]}, {Ref: Other}]
      Environment: {Variables: {OWN: "1", STAGE: own}}
  BareFunction:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: BareFunction}
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build directory."""
    (tmp_path / "template.yaml").write_text(TEMPLATE.replace("NATIVE", sam.architecture()))
    return tmp_path


def test_a_function_has_its_own_properties_over_the_shared_ones(build: Path) -> None:
    one = Built(build).function("OneFunction")

    assert (one.handler, one.runtime, one.timeout, one.memory) == ("app.handler", "python3.13", 35, 128)
    assert one.json_logs
    assert one.code == build / "OneFunction"


def test_variables_are_filled_in_as_a_deployment_would(build: Path) -> None:
    assert Built(build).function("BareFunction").variables == {
        "STAGE": "prod",
        "HOURS": "24",
        "TABLE_NAME": "switchboard-local-calls",
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/switchboard-local-live",
        "PARAMETER_PATH": "/switchboard/switchboard-local",
        "BOTH": "False",
        "ANY": "True",
    }


def test_parameters_override_defaults_and_a_function_overrides_both(build: Path) -> None:
    built = Built(build, {"Stage": "local"})

    assert built.function("BareFunction").variables["STAGE"] == "local"
    assert built.function("OneFunction").variables["STAGE"] == "own"
    assert built.function("OneFunction").variables["OWN"] == "1"


def test_the_layers_are_those_for_this_machine_in_their_order(build: Path) -> None:
    assert Built(build).function("OneFunction").layers == (build / "NativeLayer", build / "OtherLayer")
    assert Built(build, {"Architecture": "other"}).function("OneFunction").layers[0] == build / "OtherLayer"
    assert Built(build).function("BareFunction").layers == ()


def test_an_unknown_function_is_refused_with_those_that_exist(build: Path) -> None:
    with pytest.raises(UserError, match="BareFunction, OneFunction"):
        Built(build).function("Nope")


def test_a_missing_build_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sam build"):
        Built(tmp_path)
