"""The one seam to AWS: clients that give up in time, and failures without content."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from switchboard import aws
from switchboard.errors import Unavailable


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys of nobody, so that botocore looks for no others, and no client of another test."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


def test_a_client_gives_up_before_a_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    config = aws.client("dynamodb").meta.config

    tries, slowest = config.retries["total_max_attempts"], config.connect_timeout + config.read_timeout
    assert (tries, slowest) == (2, 3)
    assert config.retries["mode"] == "standard"
    assert config.tcp_keepalive


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_client_is_made_once_for_the_region_of_the_function(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "eu-central-1")

    client = aws.client("sqs")

    assert client is aws.client("sqs")
    assert client is not aws.client("ssm")
    assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"


def test_a_client_on_a_laptop_goes_to_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    assert aws.client("sqs", "http://127.0.0.1:4566").meta.endpoint_url == "http://127.0.0.1:4566"


@pytest.mark.parametrize(("endpoint", "key"), [("http://localhost:4566", "test"), ("", "somebody's own")])
def test_an_emulator_is_never_shown_the_keys_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, key: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody's own")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the keys of the first client

    assert aws.client("sqs", endpoint)._request_signer._credentials.access_key == key


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "private"}}, "GetItem"), "table: AccessDenied"),
        (ClientError({}, "GetItem"), "table: Unknown"),
        (ReadTimeoutError(endpoint_url="https://private"), "table: ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="https://private"), "table: EndpointConnectionError"),
        (
            EndpointConnectionError(endpoint_url="http://localhost:4566/"),
            "table: nothing answers on localhost:4566, start the local stack with `make up`",
        ),
    ],
)
def test_a_failure_becomes_a_code_without_content(error: Exception, words: str) -> None:
    with pytest.raises(Unavailable) as outage, aws.available("table"):
        raise error

    assert str(outage.value) == words
    assert outage.value.__cause__ is error


def test_our_own_mistakes_are_not_outages() -> None:
    with pytest.raises(KeyError), aws.available("table"):
        raise KeyError("a mistake of ours")
