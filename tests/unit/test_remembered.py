"""What `connect` keeps in SSM, and what the functions make of it."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import remembered
from devkit.errors import UserError
from devkit.remembered import BEFORE, Before
from switchboard import connection
from switchboard.connection import Connection
from switchboard.secrets import CONNECTION

STACK = "acme"
BEFORE_PATH = f"/switchboard/{STACK}/{BEFORE}"
MADE = Before("+15550100199", "AC1", "switchboard", {"voice_url": "https://old.example.com?token=1"}, None)


@pytest.fixture
def ssm() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("ssm", region_name="us-east-1")


def test_what_is_written_is_what_the_functions_read(ssm: Any) -> None:
    known = {"phone_number_id": "p-1", "credential_id": "c-1", "assistant_id": "a-1", "credential_secret": "s-1"}
    remembered.write_connection(ssm, STACK, known)
    parameter = ssm.get_parameter(Name=f"/switchboard/{STACK}/{CONNECTION}")["Parameter"]

    assert parameter["Type"] == "String"
    assert connection.parse(parameter["Value"]) == Connection("p-1", "c-1", "a-1")
    assert remembered.connection(ssm, STACK) == known


@pytest.mark.parametrize("text", ["", "[]", "{", '{"assistant_id": 5}', "null"])
def test_a_connection_that_cannot_be_read_knows_nothing(ssm: Any, text: str) -> None:
    if text:
        ssm.put_parameter(Name=f"/switchboard/{STACK}/{CONNECTION}", Value=text, Type="String")

    assert set(remembered.connection(ssm, STACK).values()) == {""}


def test_what_stood_there_is_kept_encrypted(ssm: Any) -> None:
    remembered.write_before(ssm, STACK, MADE)

    assert ssm.get_parameter(Name=BEFORE_PATH)["Parameter"]["Type"] == "SecureString"
    assert remembered.before(ssm, STACK) == MADE


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"number": "+1"}', '{"unknown": 1}'])
def test_what_stood_there_and_cannot_be_read_is_never_taken_for_nothing(ssm: Any, text: str) -> None:
    ssm.put_parameter(Name=BEFORE_PATH, Value=text, Type="SecureString")

    with pytest.raises(UserError, match="is not as it was written"):
        remembered.before(ssm, STACK)


def test_more_than_fits_is_refused_before_anything_is_changed(ssm: Any) -> None:
    with pytest.raises(UserError, match="too long to be remembered"):
        remembered.write_before(ssm, STACK, MADE._replace(twilio={"voice_url": "x" * 5000}))
    assert remembered.before(ssm, STACK) is None


def test_what_is_forgotten_may_be_forgotten_twice(ssm: Any) -> None:
    remembered.write_before(ssm, STACK, MADE)
    remembered.forget(ssm, STACK, BEFORE)
    remembered.forget(ssm, STACK, BEFORE)

    assert remembered.before(ssm, STACK) is None
