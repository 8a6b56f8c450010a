"""The one seam to AWS: which client, which time-outs. Everything that calls AWS goes through here."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from switchboard.errors import Unavailable
from switchboard.settings import LOOPBACK

# botocore says at every cold start where it has found its keys.
logging.getLogger("botocore").setLevel(logging.WARNING)

# A caller is waiting behind most calls: two quick tries fit into every route's budget, one slow one does not.
CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
)


@cache
def client(service: str, endpoint: str = "") -> Any:
    """A botocore client, made once per process. `endpoint` is '' except on a laptop."""
    make: Callable[..., Any] = boto3.client  # its typed overloads want the name as a literal
    # Whatever keys the environment holds, perhaps somebody's real ones: they are not for an emulator.
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"} if endpoint else {}
    return make(
        service,
        **keys,
        endpoint_url=endpoint or None,
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        config=CONFIG,
    )


@contextmanager
def available(what: str) -> Iterator[None]:
    """Turn every failure of `what` that the caller has not handled into `Unavailable`, with a code and no content."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"{what}: {code(error)}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{what}: {_reason(error)}") from error


def _reason(error: BotoCoreError) -> str:
    """Why AWS did not answer; on a laptop, what to do about it."""
    url = urlsplit(str(error.kwargs.get("endpoint_url", "")))
    if isinstance(error, EndpointConnectionError) and url.hostname in LOOPBACK:
        return f"nothing answers on {url.hostname}:{url.port}, start the local stack with `make up`"
    return type(error).__name__


def code(error: ClientError) -> str:
    """The error code that the service answered with."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


Clock = Callable[[], float]
