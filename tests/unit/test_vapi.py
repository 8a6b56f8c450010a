"""Vapi's APIs: what is sent, and whether a failure may have acted."""

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from switchboard.errors import Ambiguous, NotDone, RemoteError
from switchboard.vapi import Vapi, add_message

BASE = "https://api.vapi.ai"
CONTROL = "https://a.vapi.ai/c-1/control"


class Remote:
    """Vapi's end: keeps the requests, and answers or fails as it was told to."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = httpx.Response(201, json={"id": "c-1"}) if answer is None else answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def client(self) -> Vapi:
        return Vapi(BASE, httpx.MockTransport(self))


def create(remote: Remote) -> dict[str, Any]:
    return remote.client().create_call("key", {"phoneNumberId": "p"}, timeout=5)


def speak(remote: Remote) -> None:
    remote.client().speak(CONTROL, add_message("Done.", respond=True), "public")


both = pytest.mark.parametrize("act", [create, speak])


def test_a_call_is_asked_for_with_the_key_and_answered_whole() -> None:
    remote = Remote(httpx.Response(201, json={"id": "c-1", "monitor": {}}))

    assert create(remote) == {"id": "c-1", "monitor": {}}
    (request,) = remote.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.vapi.ai/call")
    assert request.headers["authorization"] == "Bearer key"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"phoneNumberId": "p"}
    assert request.extensions["timeout"] == {"connect": 1, "read": 5, "write": 5, "pool": 5}


def test_connecting_takes_no_longer_than_the_whole_may() -> None:
    remote = Remote()

    remote.client().create_call("key", {}, timeout=0.5)

    assert set(remote.requests[0].extensions["timeout"].values()) == {0.5}


def test_a_command_goes_to_the_control_url_within_two_seconds() -> None:
    remote = Remote(httpx.Response(200))

    speak(remote)

    (request,) = remote.requests
    assert (request.method, str(request.url)) == ("POST", CONTROL)
    assert request.headers["authorization"] == "Bearer public"
    assert json.loads(request.content) == {
        "type": "add-message",
        "message": {"role": "system", "content": "Done."},
        "triggerResponseEnabled": True,
    }
    assert request.extensions["timeout"] == {"connect": 1, "read": 2, "write": 2, "pool": 2}


def test_a_silent_fact_makes_the_assistant_say_nothing() -> None:
    assert add_message("Done.", respond=False)["triggerResponseEnabled"] is False


def test_without_a_key_no_authorization_is_sent() -> None:
    remote = Remote(httpx.Response(200))

    remote.client().speak(CONTROL, {})

    assert "authorization" not in remote.requests[0].headers


@both
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 422, 429, 499])
def test_what_vapi_read_and_refused_was_surely_not_done(act: Callable[[Remote], Any], status: int) -> None:
    remote = Remote(httpx.Response(status, json={"message": "private"}))

    with pytest.raises(NotDone) as error:
        act(remote)

    assert (error.value.reason, error.value.status) == (f"http_{status}", status)
    assert str(error.value) == f"http_{status}"
    assert len(remote.requests) == 1


@both
@pytest.mark.parametrize("status", [300, 302, 307, 399, 408, 409, 500, 502, 503, 504])
def test_what_vapi_may_have_done_is_ambiguous(act: Callable[[Remote], Any], status: int) -> None:
    remote = Remote(httpx.Response(status, headers={"location": "https://example.com/"}))

    with pytest.raises(Ambiguous) as error:
        act(remote)

    assert (error.value.reason, error.value.status) == (f"http_{status}", status)
    # Neither tried again nor sent on to where a redirect points.
    assert len(remote.requests) == 1


@both
@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")])
def test_whom_we_never_reached_has_done_nothing(act: Callable[[Remote], Any], error: Exception) -> None:
    with pytest.raises(NotDone) as failure:
        act(Remote(error))

    assert (failure.value.reason, failure.value.status) == ("unreachable", None)


@both
@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("x"),
        httpx.WriteTimeout("x"),
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.DecodingError("x"),
    ],
)
def test_a_request_whose_answer_was_lost_is_ambiguous(act: Callable[[Remote], Any], error: Exception) -> None:
    remote = Remote(error)

    with pytest.raises(Ambiguous) as failure:
        act(remote)

    assert (failure.value.reason, failure.value.status) == (type(error).__name__, None)
    assert len(remote.requests) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b'{"id":'])
def test_a_call_that_was_made_and_cannot_be_read_is_ambiguous(content: bytes) -> None:
    with pytest.raises(Ambiguous) as failure:
        create(Remote(httpx.Response(201, content=content)))

    assert (failure.value.reason, failure.value.status) == ("answer_not_json", 201)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"c-1"', b"1"])
def test_a_call_that_is_no_object_is_ambiguous(content: bytes) -> None:
    with pytest.raises(Ambiguous) as failure:
        create(Remote(httpx.Response(200, content=content)))

    assert (failure.value.reason, failure.value.status) == ("answer_not_an_object", 200)


def test_no_url_reaches_the_log_because_a_control_url_is_a_key_to_the_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    speak(Remote(httpx.Response(200)))

    assert "vapi.ai" not in caplog.text


def test_the_answer_to_a_command_is_not_read() -> None:
    speak(Remote(httpx.Response(204)))
    speak(Remote(httpx.Response(200, content=b"<html>")))


def test_both_kinds_of_failure_are_one_family() -> None:
    assert issubclass(NotDone, RemoteError)
    assert issubclass(Ambiguous, RemoteError)
