"""Twilio's REST API: what is sent, whether a failure may have acted, and that nothing is said that must stay secret."""

import base64
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import httpcore
import httpx
import pytest

from devkit import development
from switchboard.errors import Ambiguous, Gone, NotDone
from switchboard.secrets import TWILIO_API_SECRET, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import Settings
from switchboard.twilio_rest import Account, Twilio, account_of
from tests.conftest import Clock
from tests.twin import Parameters

BASE = "https://api.twilio.com"
SID, LEG = "CA" + "a1" * 16, "CA" + "b2" * 16
ACCOUNT = Account(development.TWILIO_ACCOUNT_SID, "SK" + "5" * 32, "hush-hush")
CALLS = f"{BASE}/2010-04-01/Accounts/{ACCOUNT.sid}"
TO, FROM = "+15550100100", "+15550100900"
HOLD = "https://voice.example.com/voice/hold?n=1#rc=2"


class Remote:
    """Twilio's end: keeps the requests, and answers or fails as it was told to."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = httpx.Response(200, json={"sid": LEG, "status": "in-progress"}) if answer is None else answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def client(self) -> Twilio:
        return Twilio(BASE, httpx.MockTransport(self))


def redirect(remote: Remote) -> None:
    remote.client().redirect(ACCOUNT, SID, HOLD)


def hang_up(remote: Remote) -> None:
    remote.client().hang_up(ACCOUNT, SID)


def place(remote: Remote) -> str:
    return remote.client().place(
        ACCOUNT, to=TO, caller_id=FROM, url="https://b.example/", status_callback="https://c.example/", timeout=25
    )


def status(remote: Remote) -> str:
    return remote.client().status(ACCOUNT, SID)


every = pytest.mark.parametrize("act", [redirect, hang_up, place, status])


def sent(remote: Remote) -> list[tuple[str, str]]:
    (request,) = remote.requests
    return parse_qsl(request.content.decode())


def test_a_live_call_is_moved_to_another_document() -> None:
    remote = Remote()

    redirect(remote)

    assert (remote.requests[0].method, str(remote.requests[0].url)) == ("POST", f"{CALLS}/Calls/{SID}.json")
    assert sent(remote) == [("Url", HOLD), ("Method", "POST")]


def test_a_call_is_ended() -> None:
    remote = Remote()

    hang_up(remote)

    assert str(remote.requests[0].url) == f"{CALLS}/Calls/{SID}.json"
    assert sent(remote) == [("Status", "completed")]


def test_a_call_is_placed_with_every_event_asked_for() -> None:
    remote = Remote(httpx.Response(201, json={"sid": LEG}))

    assert place(remote) == LEG
    assert (remote.requests[0].method, str(remote.requests[0].url)) == ("POST", f"{CALLS}/Calls.json")
    assert sent(remote) == [
        ("To", TO),
        ("From", FROM),
        ("Url", "https://b.example/"),
        ("Method", "POST"),
        ("Timeout", "25"),
        ("StatusCallback", "https://c.example/"),
        ("StatusCallbackMethod", "POST"),
        ("StatusCallbackEvent", "initiated"),
        ("StatusCallbackEvent", "ringing"),
        ("StatusCallbackEvent", "answered"),
        ("StatusCallbackEvent", "completed"),
    ]


def test_a_call_is_asked_about() -> None:
    remote = Remote()

    assert status(remote) == "in-progress"
    assert (remote.requests[0].method, str(remote.requests[0].url)) == ("GET", f"{CALLS}/Calls/{SID}.json")


@every
def test_each_request_is_signed_in_and_short(act: Callable[[Remote], Any]) -> None:
    remote = Remote()

    act(remote)

    (request,) = remote.requests
    login = base64.b64encode(f"{ACCOUNT.user}:{ACCOUNT.password}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {login}"
    assert request.extensions["timeout"] == {"connect": 1, "read": 3, "write": 3, "pool": 3}


@every
@pytest.mark.parametrize(
    ("code", "body"), [(404, {"code": 20404}), (404, {}), (400, {"code": 21220, "message": "not in-progress"})]
)
def test_a_call_that_is_over_is_gone(act: Callable[[Remote], Any], code: int, body: dict[str, Any]) -> None:
    remote = Remote(httpx.Response(code, json=body))

    with pytest.raises(Gone) as error:
        act(remote)

    assert (error.value.reason, error.value.status) == (f"http_{code}", code)
    assert len(remote.requests) == 1


@every
@pytest.mark.parametrize("code", [400, 401, 403, 410, 422, 429, 499])
def test_what_twilio_read_and_refused_was_surely_not_done(act: Callable[[Remote], Any], code: int) -> None:
    remote = Remote(httpx.Response(code, json={"code": 20003, "message": f"no {TO}"}))

    with pytest.raises(NotDone) as error:
        act(remote)

    assert not isinstance(error.value, Gone)
    assert (str(error.value), error.value.status) == (f"http_{code}", code)
    assert len(remote.requests) == 1


@every
@pytest.mark.parametrize("code", [300, 302, 307, 399, 408, 409, 500, 502, 503, 504])
def test_what_twilio_may_have_done_is_ambiguous(act: Callable[[Remote], Any], code: int) -> None:
    remote = Remote(httpx.Response(code, headers={"location": "https://example.com/"}))

    with pytest.raises(Ambiguous) as error:
        act(remote)

    assert (error.value.reason, error.value.status) == (f"http_{code}", code)
    # Neither tried again nor sent on to where a redirect points.
    assert len(remote.requests) == 1


@every
@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")])
def test_whom_we_never_reached_has_done_nothing(act: Callable[[Remote], Any], error: Exception) -> None:
    with pytest.raises(NotDone) as failure:
        act(Remote(error))

    assert (failure.value.reason, failure.value.status) == ("unreachable", None)


@every
@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout("x"), httpx.WriteTimeout("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x")]
)
def test_a_request_whose_answer_was_lost_is_ambiguous(act: Callable[[Remote], Any], error: Exception) -> None:
    remote = Remote(error)

    with pytest.raises(Ambiguous) as failure:
        act(remote)

    assert (failure.value.reason, failure.value.status) == (type(error).__name__, None)
    assert len(remote.requests) == 1


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"sid": null}', b'{"sid": "CA1"}', b'{"sid": "AC"']
)
def test_a_placed_call_without_a_sid_may_have_been_placed(content: bytes) -> None:
    with pytest.raises(Ambiguous) as failure:
        place(Remote(httpx.Response(201, content=content)))

    assert (failure.value.reason, failure.value.status) == ("answer_without_sid", 201)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"status": ""}', b'{"status": 1}'])
def test_a_call_about_which_nothing_is_said_is_ambiguous(content: bytes) -> None:
    with pytest.raises(Ambiguous, match="answer_without_status"):
        status(Remote(httpx.Response(200, content=content)))


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"code": "21220"}'])
def test_a_refusal_that_cannot_be_read_is_a_refusal(content: bytes) -> None:
    with pytest.raises(NotDone) as failure:
        redirect(Remote(httpx.Response(400, content=content)))

    assert not isinstance(failure.value, Gone)


@pytest.mark.parametrize("sid", ["", "CA1", "../../Accounts", SID + "\n", SID.upper(), "CA" + "g" * 32])
def test_what_is_no_call_is_not_asked_about(sid: str) -> None:
    remote = Remote()
    for act in (remote.client().hang_up, remote.client().status):
        with pytest.raises(NotDone, match=r"^call_sid$"):
            act(ACCOUNT, sid)
    with pytest.raises(NotDone, match=r"^call_sid$"):
        remote.client().redirect(ACCOUNT, sid, HOLD)

    assert remote.requests == []


@every
def test_what_is_no_account_is_not_asked(act: Callable[[Remote], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_twilio_rest.ACCOUNT", ACCOUNT._replace(sid="AC1/../AC2"))
    remote = Remote()

    with pytest.raises(NotDone, match=r"^account_sid$"):
        act(remote)

    assert remote.requests == []


@every
def test_nothing_of_a_request_reaches_the_log(act: Callable[[Remote], Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    act(Remote())

    assert caplog.text == ""


@pytest.mark.parametrize("name", ["httpx", "httpcore"])
def test_the_loggers_below_stay_silent(name: str) -> None:
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)


@every
@pytest.mark.parametrize("failure", [httpx.ReadTimeout(f"{TO} {ACCOUNT}"), httpx.Response(400, text=f"{TO} {ACCOUNT}")])
def test_no_error_says_a_number_an_account_or_a_secret(
    act: Callable[[Remote], Any], failure: httpx.Response | Exception
) -> None:
    with pytest.raises((NotDone, Ambiguous)) as error:
        act(Remote(failure))

    said = f"{error.value!s} {error.value!r} {error.value.reason}"
    assert not any(secret in said for secret in (TO, FROM, *ACCOUNT))


# The connection


class Network:
    """Stands in for the network below TLS and HTTP: every connection answers each request, and stays open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connected: list[str] = []
        monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", self._connect)

    def _connect(self, host: str, *_: Any, **__: Any) -> httpcore.MockStream:
        self.connected.append(host)
        return httpcore.MockStream([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"] * 3)


def test_no_request_is_sent_over_a_connection_that_the_other_end_may_have_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Network(monkeypatch)
    twilio = Twilio(BASE)

    twilio.hang_up(ACCOUNT, SID)
    twilio.hang_up(ACCOUNT, LEG)

    assert network.connected == ["api.twilio.com"] * 2


def test_no_proxy_of_the_environment_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    network = Network(monkeypatch)

    Twilio(BASE).hang_up(ACCOUNT, SID)

    assert network.connected == ["api.twilio.com"]


# Whose account


def secrets_of(settings: Settings, clock: Clock, api_secret: str = "") -> Secrets:
    """The secrets of a stack, with that of an API key where there is one."""
    parameters = Parameters(settings)
    parameters.values[f"{settings.parameter_path}/{TWILIO_API_SECRET}"] = json.dumps(
        [{"id": "1", "secret": api_secret}]
    )
    return Secrets(settings.parameter_path, (TWILIO_AUTH_TOKEN, TWILIO_API_SECRET), parameters, clock)


def test_without_an_api_key_the_account_asks_with_its_token(settings: Settings, clock: Clock) -> None:
    made = account_of(settings, secrets_of(settings, clock), ACCOUNT.sid)

    assert made == (ACCOUNT.sid, ACCOUNT.sid, development.TWILIO_AUTH_TOKEN)


def test_with_an_api_key_its_secret_is_used(settings: Settings, clock: Clock) -> None:
    secrets = secrets_of(settings, clock, "key-secret")

    made = account_of(settings._replace(twilio_api_key="SK1"), secrets, ACCOUNT.sid)

    assert made == (ACCOUNT.sid, "SK1", "key-secret")


def test_an_api_key_without_its_secret_never_falls_back_to_the_token(settings: Settings, clock: Clock) -> None:
    with pytest.raises(NotDone, match=r"^no_secret$"):
        account_of(settings._replace(twilio_api_key="SK1"), secrets_of(settings, clock), ACCOUNT.sid)
