"""Vapi's APIs: what is sent, and whether a failure may have acted."""

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from switchboard import trust
from switchboard.errors import Ambiguous, Gone, NotDone, RemoteError
from switchboard.vapi import Vapi, add_message, is_public
from tests.remote import mocked

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
        return Vapi(BASE, mocked(self))


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


@pytest.mark.parametrize("act", [create, speak, lambda remote: remote.client().get_call("key", "c-1")])
def test_each_request_says_who_asks(act: Callable[[Remote], Any]) -> None:
    remote = Remote(httpx.Response(200, json={"id": "c-1"}))

    act(remote)

    assert remote.requests[0].headers["user-agent"] == "switchboard"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_json_is_not_sent(number: float) -> None:
    remote = Remote(httpx.Response(200))

    with pytest.raises(ValueError, match="not JSON compliant"):
        remote.client().speak(CONTROL, {"content": number})
    assert remote.requests == []


def test_without_a_key_no_authorization_is_sent() -> None:
    remote = Remote(httpx.Response(200))

    remote.client().speak(CONTROL, {})

    assert "authorization" not in remote.requests[0].headers


@both
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 422, 499])
def test_what_vapi_read_and_refused_was_surely_not_done(act: Callable[[Remote], Any], status: int) -> None:
    remote = Remote(httpx.Response(status, json={"message": "private"}))

    with pytest.raises(NotDone) as error:
        act(remote)

    assert (error.value.reason, error.value.status) == (f"http_{status}", status)
    assert str(error.value) == f"http_{status}"
    assert len(remote.requests) == 1


@both
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429),
        httpx.Response(400, json={"message": "Over Concurrency Limit. Upgrade your plan."}),
        httpx.Response(403, text="concurrency"),
    ],
)
def test_a_vapi_that_has_no_free_line_says_so_in_words_or_by_429(
    act: Callable[[Remote], Any], answer: httpx.Response
) -> None:
    with pytest.raises(NotDone) as error:
        act(Remote(answer))

    assert (error.value.reason, error.value.status) == ("concurrency", answer.status_code)


@both
@pytest.mark.parametrize("status", [409, 500])
def test_what_vapi_may_have_done_is_ambiguous_whatever_its_words(act: Callable[[Remote], Any], status: int) -> None:
    with pytest.raises(Ambiguous) as error:
        act(Remote(httpx.Response(status, text="concurrency")))

    assert error.value.reason == f"http_{status}"


@both
def test_words_far_down_an_answer_are_not_looked_for(act: Callable[[Remote], Any]) -> None:
    with pytest.raises(NotDone) as error:
        act(Remote(httpx.Response(400, text="x" * 2000 + "concurrency")))

    assert error.value.reason == "http_400"


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


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b'{"id":', b"[" * 100_000])
def test_a_call_that_was_made_and_cannot_be_read_is_ambiguous(content: bytes) -> None:
    with pytest.raises(Ambiguous) as failure:
        create(Remote(httpx.Response(201, content=content)))

    assert (failure.value.reason, failure.value.status) == ("answer_not_json", 201)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"c-1"', b"1"])
def test_a_call_that_is_no_object_is_ambiguous(content: bytes) -> None:
    with pytest.raises(Ambiguous) as failure:
        create(Remote(httpx.Response(200, content=content)))

    assert (failure.value.reason, failure.value.status) == ("answer_not_an_object", 200)


# A call that is looked up


def look_up(remote: Remote, key: str = "key") -> dict[str, Any]:
    return remote.client().get_call(key, "c-1")


def test_a_call_is_looked_up_with_the_key_within_two_seconds() -> None:
    remote = Remote(httpx.Response(200, json={"id": "c-1", "status": "ended"}))

    assert look_up(remote) == {"id": "c-1", "status": "ended"}
    (request,) = remote.requests
    assert (request.method, str(request.url)) == ("GET", "https://api.vapi.ai/call/c-1")
    assert request.headers["authorization"] == "Bearer key"
    assert request.extensions["timeout"] == {"connect": 1, "read": 2, "write": 2, "pool": 2}


def test_without_a_key_nobody_is_asked() -> None:
    remote = Remote()

    with pytest.raises(NotDone) as error:
        look_up(remote, "")

    assert (error.value.reason, remote.requests) == ("no_secret", [])


def test_a_call_that_vapi_does_not_know_is_gone() -> None:
    with pytest.raises(Gone) as error:
        look_up(Remote(httpx.Response(404, json={"message": "private"})))

    assert str(error.value) == "http_404"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 408, 409, 410, 429, 500, 503])
def test_a_refusal_to_look_up_is_no_end_of_the_call_and_harms_nobody(status: int) -> None:
    remote = Remote(httpx.Response(status, headers={"location": "https://example.com/"}))

    with pytest.raises(NotDone) as error:
        look_up(remote)

    assert (error.value.reason, type(error.value), len(remote.requests)) == (f"http_{status}", NotDone, 1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("x"), "unreachable"),
        (httpx.ReadTimeout("x"), "ReadTimeout"),
        (httpx.RemoteProtocolError("x"), "RemoteProtocolError"),
    ],
)
def test_a_look_up_whose_answer_was_lost_may_be_tried_again(error: Exception, reason: str) -> None:
    with pytest.raises(NotDone) as failure:
        look_up(Remote(error))

    assert failure.value.reason == reason


def test_an_id_that_is_no_path_stays_one_part_of_it() -> None:
    remote = Remote(httpx.Response(200, json={"id": "a"}))
    remote.client().get_call("key", "../phone-number?x= \u00e9")

    assert remote.requests[0].url.raw_path == b"/call/..%2Fphone-number%3Fx%3D%20%C3%A9"


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\xff", b'{"id":', b"[" * 100_000, b'{"cost": NaN}', b'{"id": "a", "id": "b"}']
)
def test_a_call_that_cannot_be_read_is_not_looked_up(content: bytes) -> None:
    with pytest.raises(NotDone) as failure:
        look_up(Remote(httpx.Response(200, content=content)))

    assert failure.value.reason == "answer_not_json"


@pytest.mark.parametrize("content", [b"[]", b"null", b'"c-1"', b"1"])
def test_a_looked_up_call_is_an_object(content: bytes) -> None:
    with pytest.raises(NotDone) as failure:
        look_up(Remote(httpx.Response(200, content=content)))

    assert failure.value.reason == "answer_not_an_object"


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


# Where is connected to


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2600::1", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),  # noqa: S104 - an address that is refused
        ("10.0.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff0e::1", False),
        ("5f00::1", False),
    ],
)
def test_an_address_is_public_or_not(address: str, public: bool) -> None:
    assert is_public(address) is public


class Connections:
    """Stands in for the network below TLS and HTTP: notes who is connected to, and answers nobody."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self.made: list[tuple[str, float | None]] = []
        found = [(0, 0, 0, "", (address, 443)) for address in addresses]
        self.resolve: Callable[..., Any] = lambda *_args, **_fields: found
        # Not in the module of all: pytest-socket puts its own there for each test, and would have it put back too late.
        names = SimpleNamespace(getaddrinfo=lambda *args, **fields: self.resolve(*args, **fields), SOCK_STREAM=1)
        monkeypatch.setattr("switchboard.vapi.socket", names)
        monkeypatch.setattr("socket.create_connection", self._connect)

    def _connect(self, address: tuple[str, int], timeout: float | None) -> None:
        self.made.append((address[0], timeout))
        raise TimeoutError


def spoken_to(url: str = CONTROL, *, local: bool = False) -> str:
    """Why speaking to a URL surely did nothing."""
    with pytest.raises(NotDone) as failure:
        Vapi(BASE, local=local).speak(url, {})
    return failure.value.reason


def test_only_the_public_addresses_of_a_name_are_connected_to_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Connections(monkeypatch, "10.0.0.1", "8.8.8.8", "::1", "2600::1", "8.8.8.8")

    assert spoken_to() == "unreachable"
    assert network.made == [("8.8.8.8", 1), ("2600::1", 1)]


def test_a_name_without_a_public_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Connections(monkeypatch, "169.254.169.254", "fd00:ec2::254")

    assert spoken_to() == "address_not_public"
    assert network.made == []


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
def test_a_name_that_cannot_be_looked_up_is_unreachable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    network = Connections(monkeypatch)

    def fail(*_args: Any, **_fields: Any) -> Any:
        raise error

    network.resolve = fail
    assert spoken_to() == "unreachable"
    assert network.made == []


def test_the_owners_own_host_is_connected_to_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Connections(monkeypatch, "10.0.0.1")

    with pytest.raises(NotDone):
        Vapi(BASE).create_call("key", {}, timeout=5)

    assert network.made == [("api.vapi.ai", 1)]


@pytest.mark.parametrize(("local", "made"), [(True, [("127.0.0.1", 1)]), (False, [])])
def test_a_simulator_on_loopback_is_connected_to_from_a_laptop_only(
    monkeypatch: pytest.MonkeyPatch, local: bool, made: list[Any]
) -> None:
    network = Connections(monkeypatch, "127.0.0.1")

    spoken_to("http://127.0.0.1:4567/c-1/control", local=local)

    assert network.made == made


def test_no_proxy_of_the_environment_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    network = Connections(monkeypatch, "8.8.8.8")

    assert spoken_to() == "unreachable"
    assert network.made == [("8.8.8.8", 1)]


def test_tls_is_asked_for_the_name_whatever_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Context:
        def wrap_socket(self, plain: Any, server_hostname: str) -> Any:
            asked.append((plain, server_hostname))
            raise OSError("enough")

    plain = Plain()
    Connections(monkeypatch, "8.8.8.8")
    monkeypatch.setattr("socket.create_connection", lambda *_args: plain)
    monkeypatch.setattr(trust, "context", Context)

    assert spoken_to() == "unreachable"
    assert asked == [(plain, "a.vapi.ai")]
    assert plain.closed


class Plain:
    """A connection before TLS."""

    closed = False

    def setsockopt(self, *_: int) -> None:
        """Nothing to set."""

    def close(self) -> None:
        """Remember it."""
        self.closed = True
