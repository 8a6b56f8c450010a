"""AWS's JSON protocols without botocore: one signed POST over a kept connection.

botocore is 6 times a bare handler's cold start and its calls five times these. What is here is what the functions ask for:
requests named as botocore's clients name them, with the same answers and error codes. The rest is botocore's.

Signature: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
Protocols: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

import hashlib
import hmac
import http.client
import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from switchboard import trust

CONNECT_TIMEOUT, READ_TIMEOUT = 1.0, 2.0  # seconds
TRIES = 2  # a caller is waiting behind most calls: two quick ones fit into every budget, one slow one does not
PAUSE, LONG_PAUSE = (
    0.1,
    0.5,
)  # seconds before the second try, at the most: after a failure, and when there are too many of us
SKEW = 240  # seconds by which our clock may differ before AWS's is believed; it refuses signatures at 300

OPERATIONS = {
    "dynamodb": ("get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items"),
    "sqs": ("send_message", "change_message_visibility"),
    "ssm": ("get_parameters",),
    "events": ("put_events",),
}
TARGETS = {
    "dynamodb": ("DynamoDB_20120810", "1.0"),
    "sqs": ("AmazonSQS", "1.0"),
    "ssm": ("AmazonSSM", "1.1"),
    "events": ("AWSEvents", "1.1"),
}
THROTTLED = frozenset(
    {
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
TRANSIENT = frozenset({500, 502, 503, 504})
SKEWED = frozenset({"InvalidSignatureException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})


class Failure(Exception):
    """An AWS service did not do what it was asked."""


class Answered(Failure):
    """It answered with an error. `response` is as botocore's `ClientError` has it, with all that the service said."""

    def __init__(self, code: str, body: Mapping[str, Any]) -> None:
        super().__init__(code)
        words = body.get("message") or body.get("Message") or ""
        self.response = {**body, "Error": {"Code": code, "Message": words}}


class Unreachable(Failure):
    """It could not be reached, or gave no answer in time. `kind` is what botocore calls it."""

    def __init__(self, kind: str, url: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.url = url


class Keys(NamedTuple):
    """Who signs."""

    id: str
    secret: str
    token: str = ""


def dial(url: str) -> http.client.HTTPConnection:
    """An open connection to the host of `url`; `Unreachable` if there is none in a second."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        made = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT)
    else:
        made = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT, context=trust.context()
        )
    try:
        made.connect()
    except OSError as error:
        made.close()
        raise Unreachable(_kind(error), url) from error
    made.sock.settimeout(READ_TIMEOUT)
    made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _kind(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "ConnectTimeoutError"
    return "SSLError" if isinstance(error, ssl.SSLError) else "EndpointConnectionError"


class Client:
    """One service. Its operations are methods that take and return what those of botocore's client do."""

    def __init__(
        self,
        service: str,
        url: str,
        region: str,
        keys: Keys | Callable[[], Keys],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        dial: Callable[[str], http.client.HTTPConnection] = dial,
    ) -> None:
        self.url = url
        self._service, self._region, self._keys = service, region, keys
        self._clock, self._sleep, self._dial = clock, sleep, dial
        self._host = urlsplit(url).netloc
        self._skew = 0.0  # seconds that AWS's clock is ahead of ours, once it has said so
        # Taken out while in use, so that threads share none, and one that was left in the middle of an answer never returns.
        self._idle: list[http.client.HTTPConnection] = []
        self._key = ("", "", b"")

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        if name not in OPERATIONS[self._service]:
            raise AttributeError(
                f"the signed client of {self._service} has no {name}: use boto3.client({self._service!r})"
            )
        operation = "".join(word.capitalize() for word in name.split("_"))
        method = partial(self._call, operation)
        setattr(self, name, method)
        return method

    def connect(self) -> None:
        """Open a connection ahead of the first request; a failure is met by the request."""
        if not self._idle:
            try:
                self._idle.append(self._dial(self.url))
            except Unreachable:
                return

    def close(self) -> None:
        """Close what is kept, and forget what was known of the time: this process may go on elsewhere, and much later."""
        while self._idle:
            self._idle.pop().close()
        self._skew, self._key = 0.0, ("", "", b"")

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        body = json.dumps(request, separators=(",", ":")).encode()
        for last in [False] * (TRIES - 1) + [True]:
            try:
                status, headers, content = self._post(operation, body)
            except Unreachable:
                if last:
                    raise
                self._sleep(random.uniform(0, PAUSE))  # noqa: S311 - jitter, not a secret
                continue
            if status == 200:
                return self._read(content)
            error = _error(status, headers, content)
            if last or not self._again(status, str(error), headers):
                raise error
        raise AssertionError("unreachable: the last try returns or raises")

    def _read(self, content: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(content or b"{}")
        except ValueError as error:
            raise Unreachable("ResponseParserError", self.url) from error
        return answer

    def _again(self, status: int, code: str, headers: Mapping[str, str]) -> bool:
        """Whether to try again after this error, having waited or set the clock."""
        if code in SKEWED:
            return self._believe(headers.get("date", ""))
        if code in THROTTLED or status == 429:
            self._sleep(random.uniform(0, LONG_PAUSE))  # noqa: S311 - jitter, not a secret
            return True
        if status in TRANSIENT:
            self._sleep(random.uniform(0, PAUSE))  # noqa: S311 - as above
            return True
        return False

    def _believe(self, date: str) -> bool:
        """Take the service's time where ours is so far from it that this is why a signature was refused."""
        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return False
        if abs(told - self._clock() - self._skew) < SKEW:
            return False
        self._skew = told - self._clock()
        return True

    def _post(self, operation: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        try:
            kept = self._idle.pop()
        except IndexError:  # none, or another thread was faster
            return self._exchange(self._dial(self.url), operation, body)
        try:
            return self._exchange(kept, operation, body)
        except Unreachable as error:
            # The other end forgets a connection while a function is frozen, which says nothing about the service.
            if error.kind == "ReadTimeoutError":
                raise
        return self._exchange(self._dial(self.url), operation, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, operation: str, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        done = False
        try:
            connection.request("POST", "/", body, self._headers(operation, body))
            answer = connection.getresponse()
            content = answer.read()
            done = not answer.will_close
        except TimeoutError as error:
            raise Unreachable("ReadTimeoutError", self.url) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable("ConnectionClosedError", self.url) from error
        finally:
            # Also when a timer of ours has cut the request off: what is still to come would be read as the next answer.
            if done:
                self._idle.append(connection)
            else:
                connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        target, version = TARGETS[self._service]
        keys = self._keys if isinstance(self._keys, Keys) else self._keys()
        headers = {"content-type": f"application/x-amz-json-{version}", "host": self._host}
        headers["x-amz-date"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock() + self._skew))
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        headers["x-amz-target"] = f"{target}.{operation}"
        return {**headers, "authorization": self._authorization(keys, headers, body)}

    def _authorization(self, keys: Keys, headers: Mapping[str, str], body: bytes) -> str:
        moment = headers["x-amz-date"]
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        if self._key[:2] != (keys.secret, scope):
            self._key = (keys.secret, scope, signing_key(keys.secret, scope))
        names = ";".join(headers)  # in order already
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        asked = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        signature = hmac.digest(self._key[2], text.encode(), "sha256").hex()
        return f"AWS4-HMAC-SHA256 Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"


def signing_key(secret: str, scope: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _error(status: int, headers: Mapping[str, str], content: bytes) -> Answered:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    kind = str(headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or status)
    # As `com.amazonaws.dynamodb.v20120810#ThrottlingException:http://...`
    return Answered(kind.partition(":")[0].rpartition("#")[2], body)
