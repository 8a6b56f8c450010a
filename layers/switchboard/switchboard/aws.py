"""The one seam to AWS: which client, which time-outs. Everything that calls AWS goes through here.

Two clients do the same: `signed`, small enough for a cold start, and botocore, with `AWS_CLIENT=botocore`, for services
that the small one does not know, and where there are no keys that a function would be given.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from switchboard import https, signed, trust
from switchboard.errors import SettingsError, Unavailable
from switchboard.settings import LOOPBACK

BOTOCORE = "botocore"
CLIENT_VARIABLE = "AWS_CLIENT"
CONTAINER, CONTAINER_TOKEN = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"
TEST_KEYS = signed.Keys("test", "test")
# As botocore spells them in AWS_ENDPOINT_URL_..., https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html
ENDPOINTS = {"dynamodb": "DYNAMODB", "sqs": "SQS", "ssm": "SSM", "events": "EVENTBRIDGE", "lambda": "LAMBDA"}
_made: list[Any] = []  # every client, and what gives them keys


@cache
def client(service: str, endpoint: str = "") -> Any:
    """A client with botocore's methods, made once per process. `endpoint` is '' except on a laptop."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    # Whatever keys the environment holds, perhaps somebody's real ones: they are not for an emulator.
    keys = TEST_KEYS if endpoint else _keys(os.environ)
    if os.environ.get(CLIENT_VARIABLE) == BOTOCORE or service not in signed.OPERATIONS or not keys:
        made = _botocore(service, region, endpoint)
    else:
        made = signed.Client(service, endpoint or url(service, region, os.environ), region, keys)
    _made.append(made)
    return made


def connect(made: Any) -> None:
    """Open a client's connection ahead of its first request. botocore's clients cannot, and need not."""
    if open_it := getattr(made, "connect", None):
        open_it()


def forget() -> None:
    """Close all connections, and forget keys that were fetched: this process may go on elsewhere, and much later."""
    for made in _made:
        made.close()


def url(service: str, region: str, env: Mapping[str, str]) -> str:
    """Where a service is: as the environment says, else in the region."""
    configured = env.get(f"AWS_ENDPOINT_URL_{ENDPOINTS[service]}") or env.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return configured or f"https://{service}.{region}.{suffix}"


def _keys(env: Mapping[str, str]) -> signed.Keys | Callable[[], signed.Keys] | None:
    """What Lambda gives to a function; None where it is somewhere else."""
    # First, for with SnapStart any others would be those of the day when the snapshot was taken.
    if env.get(CONTAINER):
        return _container(env[CONTAINER], env.get(CONTAINER_TOKEN, ""))
    if not env.get("AWS_ACCESS_KEY_ID"):
        return None
    return signed.Keys(env["AWS_ACCESS_KEY_ID"], env.get("AWS_SECRET_ACCESS_KEY", ""), env.get("AWS_SESSION_TOKEN", ""))


@cache
def _container(url: str, token: str) -> Callable[[], signed.Keys]:
    from switchboard.credentials import Container

    made = Container(url, token)
    _made.append(made)
    return made


def _botocore(service: str, region: str, endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import UnknownServiceError

    # botocore says at every cold start where it has found its keys.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = Config(
        connect_timeout=https.CONNECT_TIMEOUT,
        read_timeout=signed.READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": signed.tries(service)},
        tcp_keepalive=True,
    )
    keys = {"aws_access_key_id": TEST_KEYS.id, "aws_secret_access_key": TEST_KEYS.secret} if endpoint else {}
    # boto3 brings S3's transfers along, which is a quarter of its cold start.
    make: Callable[..., Any] = botocore.session.get_session().create_client
    try:
        return make(
            service,
            **keys,
            endpoint_url=endpoint or None,
            region_name=region or None,
            config=config,
            verify=trust.amazon(),
        )
    except UnknownServiceError as error:
        raise SettingsError(
            f"this build has no model of {service}: add it to layers/dependencies/services.txt and build again"
        ) from error


def failures() -> tuple[type[Exception], ...]:
    """What a client raises when AWS fails: to be used as `except aws.failures() as error`.

    botocore's too where anybody has loaded it, for a client of its making is as good as one of ours.
    """
    loaded = sys.modules.get("botocore.exceptions")
    return (signed.Failure, loaded.ClientError, loaded.BotoCoreError) if loaded else (signed.Failure,)


@contextmanager
def available(what: str) -> Iterator[None]:
    """Turn every failure of `what` that the caller has not handled into `Unavailable`, with a code and no content."""
    try:
        yield
    except failures() as error:
        raise Unavailable(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why AWS did not do it; on a laptop, what to do about it."""
    if answer(error) is not None:
        return code(error)
    kind, where = _silence(error)
    parts = urlsplit(where)
    if kind == "EndpointConnectionError" and parts.hostname in LOOPBACK:
        return f"nothing answers on {parts.hostname}:{parts.port}, start the local stack with `make up`"
    return kind


def _silence(error: Exception) -> tuple[str, str]:
    """What went wrong with a request that was not answered, and where it went."""
    if isinstance(error, signed.Unreachable):
        return error.kind, error.url
    details: Mapping[str, Any] = getattr(error, "kwargs", {})
    return type(error).__name__, str(details.get("endpoint_url", ""))


def answer(error: Exception) -> Mapping[str, Any] | None:
    """The error that a service answered with, in the shape that botocore gives it; None if it gave no answer."""
    response: Mapping[str, Any] | None = getattr(error, "response", None)
    return response


def code(error: Exception) -> str:
    """The error code that the service answered with."""
    return str((answer(error) or {}).get("Error", {}).get("Code", "Unknown"))


Clock = Callable[[], float]
