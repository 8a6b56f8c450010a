"""AWS's JSON protocols without botocore: signed as botocore signs, tried again as it tries, over one kept connection."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from switchboard import https, signed
from switchboard.signed import Answered, Client, Keys, Unreachable
from tests.conftest import NOW, Clock

URL = "https://dynamodb.eu-central-1.amazonaws.com"
KEYS = Keys("AKIDEXAMPLE", "secret", "token")
SERVICES = sorted(signed.TARGETS)


class Answer:
    """An HTTP answer: status, body, headers."""

    def __init__(self, status: int = 200, body: Any = None, *, close: bool = False, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        fields = {name.replace("_", "-").title(): value for name, value in headers.items()}
        fields |= {"Content-Length": str(len(content))} | ({"Connection": "close"} if close else {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.whole = f"HTTP/1.1 {status} OK\r\n{lines}\r\n".encode() + content


class Aws:
    """The other end: answers or fails in turn, and keeps what it was sent over which connection."""

    def __init__(self, *answers: Answer | BaseException | bytes) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[int, Mapping[str, str], bytes]] = []
        self.paths: list[str] = []
        self.dialled: list[str] = []
        self.closed: list[int] = []
        self.refused: list[Exception] = []
        self.noisy: set[int] = set()  # connections on which something lies unread

    def dial(self, url: str) -> Any:
        self.dialled.append(url)
        if self.refused:
            raise self.refused.pop()
        return Line(self, len(self.dialled))


class Line:
    """One connection to it."""

    def __init__(self, aws: Aws, number: int) -> None:
        self._aws, self._number = aws, number
        self.timeout = 0.0

    @property
    def quiet(self) -> bool:
        return self._number not in self._aws.noisy

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def sendall(self, message: bytes) -> None:
        head, _, body = message.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, version = first.split(" ")
        assert (method, version) == ("POST", "HTTP/1.1")
        self._aws.paths.append(path)
        assert self.timeout == signed.READ_TIMEOUT
        self._aws.requests.append((self._number, dict(line.split(": ", 1) for line in lines), body))

    def recv(self, _size: int) -> bytes:
        answer = self._aws.answers.pop(0) if self._aws.answers else Answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer.whole if isinstance(answer, Answer) else answer

    def close(self) -> None:
        self._aws.closed.append(self._number)


class Pauses:
    """Sleeps not at all, and remembers how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is no socket that could be looked at."""
    monkeypatch.setattr(https, "quiet", lambda line: line.quiet)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def client(aws: Aws, pauses: Pauses, clock: Clock, service: str = "dynamodb", keys: Keys = KEYS) -> Client:
    return Client(service, URL, "eu-central-1", keys, clock=clock, sleep=pauses, dial=aws.dial)


def signatures(
    sent: Mapping[str, str], service: str, body: bytes, keys: Keys, moment: float, path: str = "/"
) -> tuple[str, str]:
    """Ours, and botocore's for the same request."""
    request = AWSRequest("POST", f"{URL}{path}", data=body)
    for name in sent.keys() & {"content-type", "x-amz-target", "x-amz-invocation-type"}:
        request.headers[name] = sent[name]
    credentials = Credentials(keys.id, keys.secret, keys.token or None)
    with patch("botocore.auth.get_current_datetime", return_value=datetime.fromtimestamp(int(moment), UTC)):
        SigV4Auth(credentials, service, "eu-central-1").add_auth(request)
    return sent["authorization"], request.headers["Authorization"]


words = st.text(st.characters(codec="utf-8"), max_size=40)
tokens = st.from_regex(r"[A-Za-z0-9/+=]{0,60}", fullmatch=True)
signers = st.builds(Keys, st.from_regex(r"[A-Z0-9]{4,20}", fullmatch=True), tokens, tokens)
moments = st.floats(0, 4_000_000_000)


@given(
    st.sampled_from(SERVICES),
    st.dictionaries(words, words | st.integers() | st.lists(words), max_size=4),
    signers,
    moments,
)
def test_requests_are_signed_as_botocore_signs_them(
    service: str, request: dict[str, Any], keys: Keys, moment: float
) -> None:
    aws = Aws(*[Answer()] * 3)
    made = client(aws, Pauses(), Clock(moment), service, keys)
    operation = signed.OPERATIONS[service][0]
    getattr(made, operation)(**request)

    ((_, sent, body),) = aws.requests
    ours, botocores = signatures(sent, service, body, keys, moment)
    assert ours == botocores
    assert aws.paths == ["/"]
    assert json.loads(body) == request


@pytest.mark.parametrize("service", SERVICES)
def test_requests_go_where_and_as_botocore_sends_them(service: str, pauses: Pauses, clock: Clock) -> None:
    make: Any = boto3.client
    theirs = make(service, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    model = theirs.meta.service_model
    aws = Aws(*[Answer()] * 20)
    ours = client(aws, pauses, clock, service)
    for method in signed.OPERATIONS[service]:
        getattr(ours, method)()
        (_, sent, _) = aws.requests[-1]

        operation = model.operation_model(theirs.meta.method_to_api_mapping[method])
        assert sent["x-amz-target"] == f"{model.metadata['targetPrefix']}.{operation.name}"
        assert sent["content-type"] == f"application/x-amz-json-{model.metadata['jsonVersion']}"
        assert (operation.http["method"], operation.http["requestUri"]) == ("POST", "/")


# Lambda's: a path and a header instead of a target


functions = st.from_regex(
    r"(arn:aws:lambda:[a-z]{2}-[a-z]{4}-[1-9]:[0-9]{12}:function:)?[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_-]{1,20})?",
    fullmatch=True,
)


@given(functions, st.binary(max_size=40), signers, moments)
def test_an_invocation_is_signed_as_botocore_signs_it(function: str, payload: bytes, keys: Keys, moment: float) -> None:
    aws = Aws(Answer(202, b""))
    made = client(aws, Pauses(), Clock(moment), "lambda", keys)

    assert made.invoke(FunctionName=function, InvocationType="Event", Payload=payload) == {}
    ((_, sent, body),) = aws.requests
    ours, botocores = signatures(sent, "lambda", body, keys, moment, aws.paths[0])
    assert ours == botocores
    assert body == payload


@given(functions)
def test_an_invocation_goes_where_and_as_botocore_sends_it(function: str) -> None:
    make: Any = boto3.client
    theirs = make("lambda", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    botocores: list[Any] = []

    def note(request: Any, **_: Any) -> AWSResponse:
        botocores.append(request)
        return AWSResponse(request.url, 202, HTTPHeaders(), BytesIO())

    theirs.meta.events.register("before-send", note)
    wanted = {"FunctionName": function, "InvocationType": "Event", "Payload": b"{}"}
    theirs.invoke(**wanted)
    aws = Aws(Answer(202, b""))
    client(aws, Pauses(), Clock(), "lambda", Keys("a", "b")).invoke(**wanted)

    ((_, sent, body),) = aws.requests
    (request,) = botocores
    assert f"https://lambda.eu-central-1.amazonaws.com{aws.paths[0]}" == request.url
    signed_headers = re.compile(r"SignedHeaders=([^,]+)")
    assert signed_headers.findall(sent["authorization"]) == signed_headers.findall(
        request.headers["Authorization"].decode()
    )
    assert (sent["x-amz-invocation-type"], body) == (request.headers["X-Amz-Invocation-Type"].decode(), request.body)


@pytest.mark.parametrize(
    "failure", [Answer(500), Answer(429, b""), Answer(400, {"__type": "ThrottlingException"}), TimeoutError()]
)
def test_an_invocation_that_may_have_begun_is_not_asked_for_again(
    failure: Answer | BaseException, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(failure)
    with pytest.raises(signed.Failure):
        client(aws, pauses, clock, "lambda").invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")

    assert len(aws.requests) == 1
    assert not pauses.seconds


@pytest.mark.parametrize("stale", [b"", BrokenPipeError(), ConnectionResetError()])
def test_an_invocation_over_a_forgotten_connection_is_not_sent_again(
    stale: Exception | bytes, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(Answer(202, b""), stale)
    made = client(aws, pauses, clock, "lambda")
    wanted = {"FunctionName": "f", "InvocationType": "Event", "Payload": b"{}"}
    made.invoke(**wanted)

    with pytest.raises(Unreachable, match="ConnectionClosedError"):
        made.invoke(**wanted)
    assert [number for number, _, _ in aws.requests] == [1, 1]


def test_an_invocation_whose_answer_somebody_waits_for_is_botocores(pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    with pytest.raises(ValueError, match=r"use boto3\.client\('lambda'\)"):
        client(aws, pauses, clock, "lambda").invoke(FunctionName="f", InvocationType="RequestResponse", Payload=b"{}")

    assert not aws.requests


def test_a_key_without_a_token_sends_none(pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    client(aws, pauses, clock, keys=Keys("AKID", "secret")).get_item()

    assert "x-amz-security-token" not in aws.requests[0][1]


def test_what_nobody_needed_yet_says_where_it_is(pauses: Pauses, clock: Clock) -> None:
    with pytest.raises(AttributeError, match=r"dynamodb has no scan: use boto3\.client\('dynamodb'\)"):
        client(Aws(), pauses, clock).scan()


# One connection


def test_a_connection_is_kept(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(body={"Item": {"pk": {"S": "a"}}}))
    made = client(aws, pauses, clock)

    assert made.get_item(TableName="t") == {"Item": {"pk": {"S": "a"}}}
    assert made.put_item(TableName="t") == {}
    assert [number for number, _, _ in aws.requests] == [1, 1]
    assert aws.dialled == [URL]


def test_a_connection_that_was_opened_ahead_is_used(pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    made = client(aws, pauses, clock)
    made.connect()
    made.connect()
    assert aws.dialled == [URL]

    made.get_item()
    assert aws.dialled == [URL]


def test_a_connection_that_cannot_be_opened_ahead_is_met_by_the_request(pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    aws.refused = [Unreachable("ConnectTimeoutError", URL)]
    made = client(aws, pauses, clock)
    made.connect()

    assert made.get_item() == {}


@pytest.mark.parametrize("service", ["dynamodb", "lambda"])
def test_what_came_unasked_over_a_kept_connection_answers_nothing(service: str, pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    made = client(aws, pauses, clock, service)
    made.connect()
    aws.noisy = {1}
    if service == "lambda":
        made.invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")
    else:
        made.get_item()

    assert [number for number, _, _ in aws.requests] == [2]
    assert aws.closed == [1]


@pytest.mark.parametrize("stale", [b"", BrokenPipeError(), ConnectionResetError()])
def test_a_connection_that_the_other_end_has_forgotten_costs_no_try(
    stale: Exception | bytes, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(Answer(), stale, Answer(503), Answer(body={"Item": {}}))
    made = client(aws, pauses, clock)
    made.get_item()

    assert made.get_item() == {"Item": {}}
    assert [number for number, _, _ in aws.requests] == [1, 1, 2, 2]
    assert aws.closed == [1]


def test_a_slow_answer_over_a_kept_connection_is_no_forgotten_one(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(), TimeoutError(), TimeoutError())
    made = client(aws, pauses, clock)
    made.get_item()

    with pytest.raises(Unreachable, match="ReadTimeoutError"):
        made.get_item()
    assert [number for number, _, _ in aws.requests] == [1, 1, 2]


def test_a_connection_that_the_service_closes_is_not_used_again(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(close=True))
    made = client(aws, pauses, clock)
    made.get_item()
    made.get_item()

    assert [number for number, _, _ in aws.requests] == [1, 2]


class Overrun(BaseException):
    """A timer that goes off in the middle of an answer."""


def test_a_request_that_was_cut_off_leaves_no_answer_for_the_next_one(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Overrun(), Answer(body={"Item": {}}))
    made = client(aws, pauses, clock)
    with pytest.raises(Overrun):
        made.get_item()

    assert made.get_item() == {"Item": {}}
    assert [number for number, _, _ in aws.requests] == [1, 2]
    assert aws.closed == [1]


# What fails


ERRORS = [
    (
        Answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}),
        "ResourceNotFoundException",
    ),
    (Answer(400, {"__type": "AccessDeniedException", "Message": "m"}), "AccessDeniedException"),
    (Answer(400, {}, x_amzn_errortype="ValidationException:http://internal.amazon.com/"), "ValidationException"),
    (Answer(400, {"code": "Odd"}), "Odd"),
    (Answer(413, b"<html>too large"), "413"),
    (Answer(400, b"[]"), "400"),
]


@pytest.mark.parametrize(("answer", "code"), ERRORS)
def test_an_error_has_the_code_of_the_service_and_is_not_asked_for_again(
    answer: Answer, code: str, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(answer)
    with pytest.raises(Answered) as error:
        client(aws, pauses, clock).get_item()

    assert error.value.response["Error"]["Code"] == str(error.value) == code
    assert len(aws.requests) == 1
    assert not pauses.seconds


def test_an_error_carries_what_the_service_said() -> None:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"pk": {"S": "a"}},
    }
    make: Any = boto3.client
    theirs = make("dynamodb", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(theirs)
    stub.add_client_error(
        "put_item",
        "ConditionalCheckFailedException",
        "The conditional request failed",
        modeled_fields={"Item": body["Item"]},
    )
    with stub, pytest.raises(theirs.exceptions.ClientError) as botocores:
        theirs.put_item(TableName="t", Item={})
    aws = Aws(Answer(400, body))
    with pytest.raises(Answered) as ours:
        client(aws, Pauses(), Clock()).put_item()

    for field in ("Error", "Item"):
        assert ours.value.response[field] == botocores.value.response[field]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_of_the_service_is_tried_once_more_after_a_moment(status: int, pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(status), Answer(body={"Item": {}}))

    assert client(aws, pauses, clock).get_item() == {"Item": {}}
    assert [seconds <= signed.PAUSE for seconds in pauses.seconds] == [True]
    assert aws.requests[0][2] == aws.requests[1][2]


@pytest.mark.parametrize("code", sorted(signed.THROTTLED))
def test_a_throttled_request_is_tried_once_more(code: str, pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(400, {"__type": code}), Answer(body={"Item": {}}))

    assert client(aws, pauses, clock).get_item() == {"Item": {}}
    assert len(pauses.seconds) == 1


def test_what_is_throttled_without_a_code_is_tried_once_more(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(429, b""), Answer(body={"Item": {}}))

    assert client(aws, pauses, clock).get_item() == {"Item": {}}


@pytest.mark.parametrize("answer", [Answer(500), Answer(400, {"__type": "ThrottlingException"})])
def test_the_second_failure_is_the_last(answer: Answer, pauses: Pauses, clock: Clock) -> None:
    aws = Aws(*[answer] * 5)
    with pytest.raises(Answered):
        client(aws, pauses, clock).get_item()

    assert len(aws.requests) == signed.TRIES == 2
    assert len(pauses.seconds) == 1


def test_waits_differ_so_that_those_who_failed_together_do_not_come_back_together(clock: Clock) -> None:
    pauses = Pauses()
    for _ in range(50):
        client(Aws(Answer(503)), pauses, clock).get_item()

    assert len(set(pauses.seconds)) > 40
    assert all(0 <= seconds <= signed.PAUSE for seconds in pauses.seconds)


@pytest.mark.parametrize(
    ("failure", "kind"), [(TimeoutError(), "ReadTimeoutError"), (ConnectionResetError(), "ConnectionClosedError")]
)
def test_a_service_that_does_not_answer_is_tried_once_more(
    failure: Exception, kind: str, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(failure, Answer(body={"Item": {}}))
    assert client(aws, pauses, clock).get_item() == {"Item": {}}

    silent = Aws(failure, failure)
    with pytest.raises(Unreachable) as error:
        client(silent, pauses, clock).get_item()
    assert (error.value.kind, error.value.url) == (kind, URL)
    assert len(silent.requests) == 2


def test_a_service_that_cannot_be_reached_is_dialled_once_more(pauses: Pauses, clock: Clock) -> None:
    aws = Aws()
    aws.refused = [Unreachable("EndpointConnectionError", URL)]
    assert client(aws, pauses, clock).get_item() == {}

    aws.refused = [Unreachable("EndpointConnectionError", URL)] * 5
    with pytest.raises(Unreachable):
        client(aws, pauses, clock).get_item()
    assert len(aws.dialled) == 4


def test_an_answer_that_is_no_json_is_an_outage_and_no_answer(pauses: Pauses, clock: Clock) -> None:
    aws = Aws(Answer(200, b"<html>"))
    with pytest.raises(Unreachable, match="ResponseParserError"):
        client(aws, pauses, clock).get_item()

    assert len(aws.requests) == 1


# The clock


@pytest.mark.parametrize("code", sorted(signed.SKEWED))
@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_a_wrong_clock_is_set_by_the_services(code: str, off: float, pauses: Pauses) -> None:
    clock = Clock(NOW + off)
    told = datetime.fromtimestamp(NOW, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    aws = Aws(Answer(400, {"__type": code}, date=told), Answer(body={"Item": {}}))
    made = client(aws, pauses, clock)

    assert made.get_item() == {"Item": {}}
    made.get_item()
    moments = [headers["x-amz-date"] for _, headers, _ in aws.requests]
    assert moments[1] == moments[2] == "20270115T080000Z"
    for _, sent, body in aws.requests[1:]:
        assert re.fullmatch(r".*/20270115/.*", sent["authorization"])
        assert len(set(signatures(sent, "dynamodb", body, KEYS, NOW))) == 1


@pytest.mark.parametrize(
    "date", ["", "yesterday", datetime.fromtimestamp(NOW, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")]
)
def test_a_signature_that_is_wrong_for_another_reason_is_not_sent_again(
    date: str, pauses: Pauses, clock: Clock
) -> None:
    aws = Aws(Answer(403, {"__type": "InvalidSignatureException"}, date=date))
    with pytest.raises(Answered):
        client(aws, pauses, clock).get_item()

    assert len(aws.requests) == 1


def test_the_key_of_a_day_is_made_once(pauses: Pauses, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = signed.signing_key

    def noted(secret: str, scope: str) -> bytes:
        made.append(scope)
        return original(secret, scope)

    monkeypatch.setattr(signed, "signing_key", noted)
    one = client(Aws(), pauses, clock)
    one.get_item()
    one.get_item()
    clock.advance(86400)
    one.get_item()

    assert made == [f"{day}/eu-central-1/dynamodb/aws4_request" for day in ("20270115", "20270116")]


# Keys that end, and a process that goes on elsewhere


def test_each_request_is_signed_with_the_keys_of_its_moment(pauses: Pauses, clock: Clock) -> None:
    aws, later = Aws(*[Answer()] * 2), Keys("AKIDLATER", "another secret", "another token")
    given = [KEYS, later]
    made = Client("dynamodb", URL, "eu-central-1", lambda: given.pop(0), clock=clock, sleep=pauses, dial=aws.dial)
    made.get_item()
    made.get_item()

    for (_, sent, body), keys in zip(aws.requests, (KEYS, later), strict=True):
        ours, botocores = signatures(sent, "dynamodb", body, keys, clock.now)
        assert ours == botocores
        assert sent["x-amz-security-token"] == keys.token


def test_without_keys_a_request_is_an_outage_that_is_tried_once_more(pauses: Pauses, clock: Clock) -> None:
    def none() -> Keys:
        asked.append(1)
        raise Unreachable("CredentialRetrievalError", "http://127.0.0.1")

    asked: list[int] = []
    aws = Aws()
    made = Client("dynamodb", URL, "eu-central-1", none, clock=clock, sleep=pauses, dial=aws.dial)

    with pytest.raises(Unreachable, match="CredentialRetrievalError"):
        made.get_item()
    assert len(asked) == 2
    assert aws.requests == []


def test_nothing_of_before_is_used_after_it_was_closed(pauses: Pauses, clock: Clock) -> None:
    date = datetime.fromtimestamp(NOW + 3600, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    refused = Answer(403, {"__type": "InvalidSignatureException"}, date=date)
    aws = Aws(refused, Answer(), Answer())
    made = client(aws, pauses, clock)
    made.get_item()
    ahead = aws.requests[-1][1]["x-amz-date"]
    made.close()
    kept = made._signer
    made.get_item()

    assert aws.closed == [1]
    assert kept is None
    assert len(aws.dialled) == 2
    assert aws.requests[-1][1]["x-amz-date"] != ahead
    assert aws.requests[-1][1]["x-amz-date"] == datetime.fromtimestamp(NOW, UTC).strftime("%Y%m%dT%H%M%SZ")
