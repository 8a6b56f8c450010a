"""The ids at Vapi: what is stored by `switchboard connect`, and what a parameter of the template says instead."""

import json
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from devkit import development
from switchboard import connection
from switchboard.connection import Connection
from switchboard.errors import Unavailable
from switchboard.secrets import CONNECTION, Secrets
from switchboard.settings import Settings
from tests.conftest import Clock

PATH = "/switchboard/test"
STORED = Connection("phone-1", "cred-1", "asst-1")


class Ssm:
    """SSM with one parameter, or none."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def get_parameters(self, Names: list[str], **_: Any) -> dict[str, Any]:
        found = [] if self.text is None else [{"Name": f"{PATH}/{CONNECTION}", "Value": self.text}]
        return {"Parameters": [parameter for parameter in found if parameter["Name"] in Names]}


class Down:
    """SSM that does not answer."""

    def get_parameters(self, **_: Any) -> dict[str, Any]:
        raise ConnectTimeoutError(endpoint_url="https://ssm")


def secrets(text: str | None, clock: Clock) -> Secrets:
    return Secrets(PATH, (CONNECTION,), Ssm(text), clock)


@pytest.fixture
def bare(settings: Settings) -> Settings:
    """A stack that was deployed without any of the ids."""
    return settings._replace(phone_number_id="", credential_id="", assistant_id="")


def test_what_is_stored_counts_where_no_parameter_is_set(bare: Settings, clock: Clock) -> None:
    stored = secrets(json.dumps(STORED._asdict()), clock)

    assert connection.read(bare, stored) == STORED


@pytest.mark.parametrize("name", Connection._fields)
def test_a_parameter_of_the_template_wins(bare: Settings, clock: Clock, name: str) -> None:
    stored = secrets(json.dumps(STORED._asdict()), clock)
    mine: dict[str, Any] = {name: "mine"}
    settings = bare._replace(**mine)

    assert connection.read(settings, stored) == STORED._replace(**mine)


def test_a_stack_that_nobody_has_connected_has_the_ids_of_its_parameters(settings: Settings, clock: Clock) -> None:
    assert connection.read(settings, secrets(None, clock)) == Connection(phone_number_id=development.PHONE_NUMBER_ID)


def test_a_function_that_does_not_ask_for_the_parameter_has_the_ids_of_its_parameters(
    settings: Settings, clock: Clock
) -> None:
    made = Secrets(PATH, (), Ssm(json.dumps(STORED._asdict())), clock)

    assert connection.read(settings._replace(assistant_id="a"), made).credential_id == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "[]",
        '"phone-1"',
        "null",
        "7",
        "{",
        "[" * 100_000,
        '{"phone_number_id": null}',
        '{"phone_number_id": 7, "credential_id": ["cred-1"], "assistant_id": {"id": "asst-1"}}',
        '{"phone_number_id": "", "credential_id": "a/b", "assistant_id": "a b"}',
        '{"phone_number_id": "a\\n", "credential_id": "é", "assistant_id": "' + "a" * 65 + '"}',
        '{"phoneNumberId": "phone-1"}',
    ],
    ids=lambda text: text[:30],
)
def test_garbage_counts_as_nothing(text: str) -> None:
    assert connection.parse(text) == Connection()


def test_each_id_stands_for_itself() -> None:
    assert connection.parse('{"credential_id": "cred-1", "phone_number_id": 7, "other": 1}') == Connection(
        credential_id="cred-1"
    )
    assert connection.parse(json.dumps({"assistant_id": "a" * 64})) == Connection(assistant_id="a" * 64)


def test_an_outage_is_told_and_not_taken_for_an_unconnected_stack(bare: Settings, clock: Clock) -> None:
    with pytest.raises(Unavailable):
        connection.read(bare, Secrets(PATH, (CONNECTION,), Down(), clock))
