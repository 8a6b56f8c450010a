"""AWS's JSON protocols, and `Invoke` of Lambda's, without botocore: one signed POST over a kept connection.

botocore is 6 times a bare handler's cold start and its calls five times these. What is here is what the functions ask for:
requests named as botocore's clients name them, with the same answers and error codes. The rest is botocore's.

Signature: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
Protocols: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html and, of Lambda, aws-restjson1-protocol.html
"""

import hashlib
import hmac
import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from switchboard import https
from switchboard.https import Answer, Request

READ_TIMEOUT = 2.0  # seconds, for a whole answer
TRIES = 2  # a caller is waiting behind most calls: two quick ones fit into every budget, one slow one does not
ONCE = frozenset({"lambda"})  # whose request may have been done though nobody said so, and is not to be done twice
PAUSE, LONG_PAUSE = 0.1, 0.5  # seconds before the second try, at most: after a failure, and where we are too many
SKEW = 240  # seconds by which our clock may differ before AWS's is believed; it refuses signatures at 300

OPERATIONS = {
    "dynamodb": ("get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items"),
    "sqs": ("send_message", "change_message_visibility"),
    "ssm": ("get_parameters",),
    "events": ("put_events",),
    "lambda": ("invoke",),
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
LOST = {"ReadTimeout": "ReadTimeoutError", "SSLError": "SSLError"}
_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` makes one for each call


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


class Signer(NamedTuple):
    """An HMAC with the key of one day, kept because beginning one costs as much as the rest of it."""

    secret: str
    scope: str
    begun: hmac.HMAC


class Asked(NamedTuple):
    """A request: where it goes, and what stands in it but for the date and who signs."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def tries(service: str) -> int:
    """How often a request is sent at the most."""
    return 1 if service in ONCE else TRIES


def asked(service: str, operation: str, request: Mapping[str, Any]) -> Asked:
    """What is sent for an operation with these arguments."""
    if service == "lambda":
        return _invocation(**request)
    target, version = TARGETS[service]
    headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": f"{target}.{operation}"}
    return Asked("/", headers, _encode(request).encode())


def _invocation(*, FunctionName: str, InvocationType: str, Payload: bytes) -> Asked:
    if InvocationType != "Event":
        raise ValueError("the signed client of lambda waits for no answer: use boto3.client('lambda')")
    # A name, or an ARN, each perhaps with an alias behind a colon.
    path = f"/2015-03-31/functions/{quote(FunctionName, safe='')}/invocations"
    return Asked(path, {"x-amz-invocation-type": InvocationType}, Payload)


def dial(url: str) -> socket.socket:
    """An open connection to the host of `url`; `Unreachable` if there is none in a second."""
    try:
        return https.opened(url, https.CONNECT_TIMEOUT)
    except https.Unreached as error:
        raise Unreachable(_kind(error.__cause__), url) from error


def _kind(error: BaseException | None) -> str:
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
        dial: Callable[[str], socket.socket] = dial,
    ) -> None:
        self.url = url
        self._service, self._region, self._keys = service, region, keys
        self._clock, self._sleep, self._dial = clock, sleep, dial
        self._host = urlsplit(url).netloc
        self._skew = 0.0  # seconds that AWS's clock is ahead of ours, once it has said so
        # Taken out while in use, so that threads share none, and one that was left in the middle of an answer never returns.
        self._idle: list[socket.socket] = []
        self._signer: Signer | None = None

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
        self._skew, self._signer = 0.0, None

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        wanted = asked(self._service, operation, request)
        for last in [False] * (tries(self._service) - 1) + [True]:
            try:
                answer = self._post(wanted)
            except Unreachable:
                if last:
                    raise
                self._sleep(random.uniform(0, PAUSE))  # noqa: S311 - jitter, not a secret
                continue
            if answer.status in (200, 202):
                return self._read(answer.content)
            error = _error(answer)
            if last or not self._again(answer, str(error)):
                raise error
        raise AssertionError("unreachable: the last try returns or raises")

    def _read(self, content: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(content or b"{}")
        except ValueError as error:
            raise Unreachable("ResponseParserError", self.url) from error
        return answer

    def _again(self, answer: Answer, code: str) -> bool:
        """Whether to try again after this error, having waited or set the clock."""
        if code in SKEWED:
            return self._believe(answer.headers.get("date", ""))
        if code in THROTTLED or answer.status == 429:
            self._sleep(random.uniform(0, LONG_PAUSE))  # noqa: S311 - jitter, not a secret
            return True
        if answer.status in TRANSIENT:
            self._sleep(random.uniform(0, PAUSE))  # noqa: S311 - as above
            return True
        return False

    def _believe(self, date: str) -> bool:
        """Take the service's time where ours is so far from it that this is why a signature was refused."""
        from email.utils import parsedate_to_datetime  # a tenth of a bare start, for what hardly ever happens

        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return False
        if abs(told - self._clock() - self._skew) < SKEW:
            return False
        self._skew = told - self._clock()
        return True

    def _post(self, wanted: Asked) -> Answer:
        message = https.written(
            Request("POST", self.url + wanted.path, self._headers(wanted), wanted.body, READ_TIMEOUT)
        )
        kept = self._kept()
        if kept is None:
            return self._exchange(self._dial(self.url), message)
        try:
            return self._exchange(kept, message)
        except Unreachable as error:
            # The other end forgets a connection while a function is frozen, which says nothing about the service.
            if error.kind == "ReadTimeoutError" or self._service in ONCE:
                raise
        return self._exchange(self._dial(self.url), message)

    def _kept(self) -> socket.socket | None:
        try:
            connection = self._idle.pop()
        except IndexError:  # none, or another thread was faster
            return None
        if https.quiet(connection):
            return connection
        connection.close()
        return None

    def _exchange(self, connection: socket.socket, message: bytes) -> Answer:
        try:
            answer, reusable = https.exchange(connection, message, READ_TIMEOUT)
        except https.Lost as error:
            raise Unreachable(LOST.get(str(error), "ConnectionClosedError"), self.url) from error
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _headers(self, wanted: Asked) -> dict[str, str]:
        keys = self._keys if isinstance(self._keys, Keys) else self._keys()
        headers = {**wanted.headers, "host": self._host, "x-amz-date": _date(int(self._clock() + self._skew))}
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        headers = dict(sorted(headers.items()))
        return {**headers, "authorization": self._authorization(keys, wanted, headers)}

    def _authorization(self, keys: Keys, wanted: Asked, headers: Mapping[str, str]) -> str:
        moment = headers["x-amz-date"]
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        signer = self._signer
        if signer is None or signer[:2] != (keys.secret, scope):
            signer = Signer(keys.secret, scope, hmac.new(signing_key(keys.secret, scope), digestmod="sha256"))
            self._signer = signer
        names = ";".join(headers)  # in order already
        path = _signed_path(wanted.path)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        said = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(wanted.body).hexdigest()}"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(said.encode()).hexdigest()}"
        signature = signer.begun.copy()
        signature.update(text.encode())
        credential = f"Credential={keys.id}/{scope}, SignedHeaders={names}"
        return f"AWS4-HMAC-SHA256 {credential}, Signature={signature.hexdigest()}"


@lru_cache(1)
def _date(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@lru_cache(16)
def _signed_path(path: str) -> str:
    return quote(path)  # once more than where it is sent to: only S3 signs a path as it is


def signing_key(secret: str, scope: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _error(answer: Answer) -> Answered:
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    kind = str(answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or answer.status)
    # As `com.amazonaws.dynamodb.v20120810#ThrottlingException:http://...`
    return Answered(kind.partition(":")[0].rpartition("#")[2], body)
