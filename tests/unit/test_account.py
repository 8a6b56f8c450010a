"""The account that a deployment is about: which region, whose credentials, and how `sam` is run there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from devkit import account, facts
from devkit.account import Region
from devkit.errors import UserError
from devkit.target import Target


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in which AWS is not set up."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def chosen() -> Target:
    """A stack by the shell's credentials."""
    make: Any = boto3.client
    return Target("switchboard", lambda service: make(service, region_name="eu-west-1"))


@pytest.mark.parametrize(
    ("given", "saved", "environment", "expected"),
    [
        ("eu-west-1", "eu-west-2", {"AWS_REGION": "eu-west-3"}, Region("eu-west-1", "--region")),
        (None, "eu-west-2", {"AWS_REGION": "eu-west-3"}, Region("eu-west-2", "samconfig.toml")),
        (None, "", {"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "sa-east-1"}, Region("eu-west-3", "AWS_REGION")),
        (None, "", {"AWS_DEFAULT_REGION": "sa-east-1"}, Region("sa-east-1", "your AWS configuration")),
        ("cn-north-1", "", {}, Region("cn-north-1", "--region")),
    ],
)
def test_the_region_is_the_one_that_was_said_most_plainly(
    monkeypatch: pytest.MonkeyPatch, given: str | None, saved: str, environment: dict[str, str], expected: Region
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert account.region(given, saved) == expected


def test_no_region_at_all_is_one_line() -> None:
    with pytest.raises(UserError, match="none is chosen: give --region, or set AWS_REGION"):
        account.region(None, "")


@pytest.mark.parametrize("name", ["mars-1", "eu-west", "us-east-1a", "EU-WEST-1", "--yes"])
def test_a_region_that_aws_does_not_have_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match=f"AWS has none called '{name}' \\(samconfig.toml\\): give --region"):
        account.region(None, name)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials of an account."""
    with mock_aws():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        yield


def test_the_account_is_the_one_of_the_credentials(credentials: None) -> None:
    assert account.identify(chosen()) == "123456789012"


def test_no_credentials_are_one_line_that_says_where_they_come_from() -> None:
    with pytest.raises(UserError, match="there are none in this shell: see AWS_PROFILE, or run `aws configure`"):
        account.identify(chosen())


def test_the_local_stacks_credentials_are_refused_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    with pytest.raises(UserError, match="local stack's"):
        account.identify(chosen())


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            ClientError({"Error": {"Code": "ExpiredToken", "Message": "of AKIAIOSFODNN7EXAMPLE"}}, "GetCallerIdentity"),
            "AWS refuses them (ExpiredToken): see AWS_PROFILE",
        ),
        (
            EndpointConnectionError(endpoint_url="https://sts.example.com"),
            "AWS does not answer (EndpointConnectionError)",
        ),
    ],
)
def test_what_aws_says_to_them_is_told_by_its_code(credentials: None, failure: Exception, said: str) -> None:
    class Refusing:
        def get_caller_identity(self) -> dict[str, str]:
            raise failure

    with pytest.raises(UserError) as refused:
        account.identify(Target("switchboard", lambda service: Refusing()))

    assert str(refused.value).startswith(said)
    assert "AKIA" not in str(refused.value)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `sam` that tells its arguments and its environment, and ends with code 3."""
    file = tmp_path / "bin/sam"
    file.parent.mkdir()
    file.write_text('#!/bin/sh\necho "args $*"\nenv\nexit 3\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(facts, "LOCAL", tmp_path)
    monkeypatch.chdir(tmp_path)
    return file


def test_sam_runs_in_the_users_own_environment(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of-the-user")
    monkeypatch.delenv("SAM_CLI_TELEMETRY", raising=False)
    log = Path("logs/sam.log")

    assert account.sam(["build", "--cached"], log) == 3
    said = log.read_text().splitlines()
    assert said[0] == "args build --cached"
    assert {"AWS_PROFILE=of-the-user", "SAM_CLI_TELEMETRY=0"} <= set(said)
    assert f"PATH={program.parent}:{os.environ['PATH']}" in said


def test_a_log_holds_one_run(program: Path) -> None:
    log = Path("sam.log")
    for _ in range(2):
        account.sam(["build"], log)

    assert log.read_text().count("args build") == 1


def test_without_a_log_the_terminal_is_sams_own(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert account.sam(["deploy", "--guided"]) == 3
    assert capfd.readouterr().out.startswith("args deploy --guided\n")


def test_without_the_tools_it_says_how_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "LOCAL", tmp_path)

    with pytest.raises(UserError, match="make setup"):
        account.sam(["build"])
