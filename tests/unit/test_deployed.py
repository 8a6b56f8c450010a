"""A stack as `connect` reads it from AWS, and the options that say what is connected."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import cli, deployed, session, target
from devkit.deployed import OUTPUTS
from devkit.errors import UserError
from devkit.target import Target
from devkit.wanted import Asked

STACK = "acme"
TEMPLATE = {
    "Parameters": {
        "Stage": {"Type": "String", "Default": "prod"},
        "SignatureScheme": {"Type": "String", "Default": "vapi-hmac"},
        "SignatureOverrides": {"Type": "String", "Default": ""},
        "TwilioAccountSids": {"Type": "String", "Default": ""},
        "StoreTranscripts": {"Type": "String", "Default": "true"},
    },
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    "Outputs": {name: {"Value": f"https://a.example.com/{name}"} for name in OUTPUTS},
}


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        make: Any = boto3.client
        yield Target(STACK, make)


def create(chosen: Target, **changes: Any) -> None:
    template = json.dumps(TEMPLATE | changes)
    chosen.client("cloudformation").create_stack(StackName=STACK, TemplateBody=template)


def put(chosen: Target, name: str, value: str) -> None:
    chosen.client("ssm").put_parameter(Name=f"/switchboard/{STACK}/{name}", Value=value, Type="String")


def test_a_stack_is_read_with_the_newest_valid_secret_of_each_name(chosen: Target) -> None:
    create(chosen)
    entries = [
        {"id": "old", "secret": "1"},
        {"id": "new", "secret": "2"},
        {"id": "ended", "secret": "3", "not_after": 1},
    ]
    put(chosen, "vapi-webhook", json.dumps(entries))
    put(chosen, "vapi-api-key", "typed by hand")
    put(chosen, "public-base-url", "https://mine.example.com")
    known = deployed.read(chosen)

    assert (known.stack, known.base_url) == (STACK, "https://mine.example.com")
    assert known.stack_id.startswith("arn:aws:cloudformation:")
    assert known.value("vapi-webhook") == "2"
    assert known.value("vapi-api-key") == known.value("twilio-auth-token") == ""
    assert (known.parameters["Stage"], known.flag("StoreTranscripts"), known.accounts) == ("prod", True, [])
    assert known.scheme.name == "vapi-hmac"


def test_a_stack_that_is_not_there_is_told_in_one_line(chosen: Target) -> None:
    with pytest.raises(UserError, match="there is no stack 'acme' here"):
        deployed.read(chosen)


def test_a_stack_without_its_outputs_is_not_connected(chosen: Target) -> None:
    create(chosen, Outputs={})

    with pytest.raises(UserError, match="has no output VapiWebhookUrl"):
        deployed.read(chosen)


@pytest.mark.parametrize("overrides", ["[]", "{", '{"payload": "x"}', '{"encoding": 1}'])
def test_a_scheme_that_no_function_starts_with_is_refused(chosen: Target, overrides: str) -> None:
    create(chosen)
    known = deployed.read(chosen)._replace(parameters={"SignatureScheme": "vapi-hmac", "SignatureOverrides": overrides})

    with pytest.raises(UserError, match="no function starts"):
        _ = known.scheme


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    session.arguments(parser)
    return parser.parse_args(given)


def test_the_options_say_what_is_connected() -> None:
    account = "AC" + "d" * 32
    given = ("--number", "+15550100199", "--account-sid", account, "--answers", "vapi", "--sms")

    assert session.asked(options()) == Asked()
    assert session.asked(options("--number", "none")).number == ""
    assert session.asked(options(*given)) == Asked("+15550100199", account, "", "vapi", sms=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--number", "555"), "in full"),
        (("--number", ""), "in full"),
        (("--account-sid", "AC1"), "32 hexadecimal digits"),
    ],
)
def test_an_option_that_is_none_is_refused(given: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        session.asked(options(*given))


@pytest.mark.parametrize("command", ["plan", "connect", "disconnect"])
def test_the_commands_say_the_stack_first_and_fail_in_one_line(
    chosen: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    yes = [] if command == "plan" else ["--yes"]

    assert cli.main([command, "--stack-name", STACK, *yes]) == 1
    told = capsys.readouterr()
    assert told.out == f"stack {STACK}\n"
    assert told.err.startswith("switchboard: there is no stack 'acme' here")


def test_the_stack_is_the_one_that_sam_deploys_from_here(
    chosen: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "samconfig.toml").write_text('[default.global.parameters]\nstack_name = "acme"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    cli.main(["plan"])

    assert capsys.readouterr().out == "stack acme, named in samconfig.toml\n"


def test_every_command_finds_the_stack_and_the_region_that_sam_deploys_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = '[default.deploy.parameters]\nstack_name = "acme"\nregion = "eu-west-2"'
    (tmp_path / "samconfig.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for name, value in (("REGION", "us-east-1"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    saved = target.chosen(argparse.Namespace(stack_name=None, region=None, local=False))
    given = target.chosen(argparse.Namespace(stack_name="mine", region="eu-west-3", local=False))

    assert (saved.stack, saved.client("ssm").meta.region_name) == ("acme", "eu-west-2")
    assert (given.stack, given.client("ssm").meta.region_name) == ("mine", "eu-west-3")


def test_a_profile_that_is_not_there_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")

    with pytest.raises(UserError, match="ProfileNotFound; check your credentials"):
        target.chosen(argparse.Namespace(stack_name=None, region="us-east-1", local=False))
