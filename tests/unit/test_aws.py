"""The one seam to AWS: which client, that it gives up in time, and failures without content."""

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError, UnknownServiceError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from switchboard import aws, https, signed, trust
from switchboard.credentials import Container
from switchboard.errors import SettingsError, Unavailable
from switchboard.signed import Answered, Client, Keys, Unreachable

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys of nobody, so that botocore looks for no others, and no client of another test."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_CLIENT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


@pytest.fixture
def with_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch."""
    monkeypatch.setenv("AWS_CLIENT", "botocore")


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_client_is_made_once_for_the_region_of_the_function(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(name, "eu-west-1")

    client = aws.client("sqs")

    assert isinstance(client, Client)
    assert client is aws.client("sqs")
    assert client is not aws.client("ssm")
    assert client.url == "https://sqs.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("service", sorted(signed.OPERATIONS))
def test_a_service_is_where_botocore_finds_it(service: str) -> None:
    session = botocore.session.get_session()
    for partition in ("aws", "aws-us-gov", "aws-cn"):
        for region in session.get_available_regions(service, partition):
            theirs = session.create_client(service, region_name=region).meta.endpoint_url

            assert aws.url(service, region, {}) == theirs


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ({"AWS_ENDPOINT_URL_EVENTBRIDGE": "https://a.example"}, "https://a.example"),
        ({"AWS_ENDPOINT_URL_EVENTBRIDGE": "https://a", "AWS_ENDPOINT_URL": "https://b"}, "https://a"),
        ({"AWS_ENDPOINT_URL_SQS": "https://a.example"}, "https://events.us-east-1.amazonaws.com"),
    ],
)
def test_the_environment_may_say_where_a_service_is(variables: dict[str, str], url: str) -> None:
    assert aws.url("events", "us-east-1", variables) == url


@pytest.mark.parametrize(
    ("endpoint", "token", "keys"),
    [
        ("http://localhost:4566", "token", Keys("test", "test")),
        ("", "token", Keys("AKID", "secret", "token")),
        ("", "", Keys("AKID", "secret")),
    ],
)
def test_an_emulator_is_never_shown_the_keys_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, token: str, keys: Keys
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)

    client = aws.client("sqs", endpoint)

    assert client._keys == keys
    assert client.url == (endpoint or "https://sqs.eu-central-1.amazonaws.com")


# SnapStart


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that end, beside those that the environment had when the snapshot was taken."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9001/keys")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "proof")
    aws._container.cache_clear()


@pytest.mark.usefixtures("container")
def test_keys_that_end_are_taken_before_those_of_the_environment_and_shared() -> None:
    made = aws.client("sqs")

    assert isinstance(made, Client)
    assert isinstance(made._keys, Container)
    assert (made._keys._url, made._keys._token) == ("http://127.0.0.1:9001/keys", "proof")
    assert aws.client("ssm")._keys is made._keys


@pytest.mark.usefixtures("container")
def test_an_emulator_is_not_shown_keys_that_end_either() -> None:
    assert aws.client("sqs", "http://localhost:4566")._keys == Keys("test", "test")


@pytest.mark.usefixtures("container")
def test_all_that_was_made_is_forgotten_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "_made", [])
    closed: list[object] = []
    for kind in (Client, Container, BaseClient):
        monkeypatch.setattr(kind, "close", lambda made: closed.append(made))
    signed_one, container = aws.client("sqs"), aws.client("ssm")._keys
    monkeypatch.setenv("AWS_CLIENT", "botocore")
    theirs = aws.client("dynamodb")
    closed.clear()  # a container has nothing when it is made
    aws.forget()

    assert {id(made) for made in closed} == {id(made) for made in (container, signed_one, aws.client("ssm"), theirs)}


# botocore


@pytest.mark.usefixtures("with_botocore")
def test_botocore_can_be_switched_back_to_and_gives_up_as_soon() -> None:
    client = aws.client("dynamodb")
    config = client.meta.config

    assert isinstance(client, BaseClient)
    assert client.meta.endpoint_url == "https://dynamodb.eu-central-1.amazonaws.com"
    tries, slowest = config.retries["total_max_attempts"], config.connect_timeout + config.read_timeout
    assert (tries, slowest) == (signed.TRIES, https.CONNECT_TIMEOUT + signed.READ_TIMEOUT) == (2, 3)
    assert config.retries["mode"] == "standard"
    assert config.tcp_keepalive


@pytest.mark.usefixtures("with_botocore")
def test_botocore_too_asks_only_once_for_an_invocation() -> None:
    assert aws.client("lambda").meta.config.retries["total_max_attempts"] == 1


@pytest.mark.usefixtures("with_botocore")
@pytest.mark.parametrize(("endpoint", "key"), [("http://localhost:4566", "test"), ("", "AKID")])
def test_botocore_shows_an_emulator_no_keys_of_the_environment_either(endpoint: str, key: str) -> None:
    client = aws.client("sqs", endpoint)

    assert client._request_signer._credentials.access_key == key
    assert client.meta.endpoint_url == (endpoint or "https://sqs.eu-central-1.amazonaws.com")


@pytest.mark.usefixtures("with_botocore")
def test_botocore_trusts_amazons_roots_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "amazon", lambda: "/opt/roots/amazon.pem")

    assert aws.client("ssm")._endpoint.http_session._verify == "/opt/roots/amazon.pem"


def test_without_keys_in_the_environment_botocore_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a laptop, where a person's configuration has them.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert isinstance(aws.client("dynamodb"), BaseClient)


def test_a_service_that_only_botocore_knows_is_botocores() -> None:
    assert isinstance(aws.client("s3"), BaseClient)


def test_a_service_that_was_left_out_of_the_build_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise UnknownServiceError(service_name="s3", known_service_names="sqs")

    monkeypatch.setattr("botocore.session.Session.create_client", unknown)

    with pytest.raises(
        SettingsError, match=r"^this build has no model of s3: add it to layers/dependencies/services\.txt"
    ):
        aws.client("s3")


def test_what_botocore_tries_again_the_small_client_tries_again() -> None:
    # S3's and EC2's own words, and a transaction under way, which `Store` waits for.
    others = {"SlowDown", "EC2ThrottledException", "BandwidthLimitExceeded", "TransactionInProgressException"}

    throttled: Any = ThrottledRetryableChecker  # its stubs leave the lists out
    transient: Any = TransientRetryableChecker
    assert set(throttled._THROTTLED_ERROR_CODES) - others == signed.THROTTLED
    assert set(transient._TRANSIENT_STATUS_CODES) == signed.TRANSIENT


# Failures


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
        (Answered("AccessDenied", {"message": "private"}), "table: AccessDenied"),
        (Unreachable("ReadTimeoutError", "https://private"), "table: ReadTimeoutError"),
        (Unreachable("EndpointConnectionError", "https://private"), "table: EndpointConnectionError"),
        (
            Unreachable("EndpointConnectionError", "http://127.0.0.1:4566"),
            "table: nothing answers on 127.0.0.1:4566, start the local stack with `make up`",
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


def test_failures_are_known_without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(aws.sys.modules, "botocore.exceptions")  # type: ignore[attr-defined]  # only imported there

    assert aws.failures() == (signed.Failure,)
