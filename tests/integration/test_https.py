"""One HTTP request over real sockets: what is sent, when a connection serves again, and what a failure means."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Self

import pytest

from switchboard import https
from switchboard.budget import Overrun, limit
from switchboard.https import Answer, Lost, Request, Sender, Unreached
from tests.conftest import Clock

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
GONE = b""  # closes without a word


class Remote:
    """A server that answers one connection after another, each request with what comes next; then it closes."""

    def __init__(self, *connections: list[bytes]) -> None:
        self._connections = list(connections)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[list[bytes]] = []
        self.closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A listener that is only closed goes on waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        for answers in self._connections:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            caller.settimeout(5)
            asked: list[bytes] = []
            self.requests.append(asked)
            with caller:
                for answer in answers:
                    if not (request := _request(caller)):
                        break
                    asked.append(request)
                    caller.sendall(answer)
            self.closed.set()


def _request(caller: socket.socket) -> bytes:
    """One request, head and body; b"" where none comes."""
    request = b""
    while b"\r\n\r\n" not in request or (b"POST" in request and not request.endswith(b"}")):
        if not (more := caller.recv(65536)):
            return b""
        request += more
    return request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(clock: Clock) -> Iterator[Sender]:
    made = Sender(keep=5, clock=clock)
    yield made
    made.close()


def ask(remote: Remote, path: str = "/call", timeout: float = 5) -> Request:
    return Request("POST", f"{remote.url}{path}", {"content-type": "application/json"}, b'{"a":1}', timeout)


def test_a_request_is_sent_whole_and_its_answer_read_whole(sender: Sender) -> None:
    with Remote([OK]) as remote:
        answer = sender(ask(remote, "/call?x=1"))

    assert answer == Answer(200, b"{}", {"content-length": "2"})
    head, _, body = remote.requests[0][0].partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == "POST /call?x=1 HTTP/1.1"
    assert {f"host: 127.0.0.1:{remote.port}", "content-type: application/json", "content-length: 7"} <= set(headers)
    assert body == b'{"a":1}'


def test_a_get_has_no_body(sender: Sender) -> None:
    with Remote([OK]) as remote:
        sender(Request("GET", remote.url, {}, None, 5))

    assert remote.requests[0][0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"content-" not in remote.requests[0][0]


def test_an_answer_in_chunks_is_put_together(sender: Sender) -> None:
    with Remote([CHUNKED]) as remote:
        assert sender(ask(remote))[:2] == (201, b"{}")


@pytest.mark.parametrize(
    ("status", "good"), [(200, True), (201, True), (299, True), (302, False), (404, False), (500, False)]
)
def test_a_redirect_is_an_answer_like_any_other(sender: Sender, status: int, good: bool) -> None:
    words = f"HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
    with Remote([words.encode()]) as remote:
        answer = sender(ask(remote))

    assert (answer.status, answer.good) == (status, good)


def test_a_connection_serves_again(sender: Sender, clock: Clock) -> None:
    with Remote([OK, OK]) as remote:
        sender(ask(remote))
        clock.advance(4.9)
        sender(ask(remote))

    assert [len(asked) for asked in remote.requests] == [2]


def test_a_connection_that_was_idle_for_long_does_not(sender: Sender, clock: Clock) -> None:
    with Remote([OK, OK], [OK]) as remote:
        sender(ask(remote))
        clock.advance(5)
        sender(ask(remote))

    assert [len(asked) for asked in remote.requests] == [1, 1]


def test_a_connection_that_the_other_end_has_closed_is_noticed_before_anything_is_sent(sender: Sender) -> None:
    with Remote([OK], [OK]) as remote:
        sender(ask(remote))
        assert remote.closed.wait(5)
        sender(ask(remote))

    assert [len(asked) for asked in remote.requests] == [1, 1]


def test_a_connection_that_the_other_end_wants_closed_is(sender: Sender) -> None:
    with Remote([CLOSING], [OK]) as remote:
        sender(ask(remote))
        sender(ask(remote))

    assert [len(asked) for asked in remote.requests] == [1, 1]


def test_without_keeping_each_request_has_its_own_connection() -> None:
    with Remote([OK, OK], [OK]) as remote:
        sender = Sender()
        sender(ask(remote))
        sender(ask(remote))

    assert [len(asked) for asked in remote.requests] == [1, 1]


def test_connections_of_two_hosts_are_kept_apart(sender: Sender) -> None:
    with Remote([OK, OK]) as one, Remote([OK]) as other:
        sender(ask(one))
        sender(ask(other))
        sender(ask(one))

    assert [len(asked) for asked in (*one.requests, *other.requests)] == [2, 1]


def test_a_connection_that_was_idle_for_long_is_closed_when_another_host_is_asked(sender: Sender, clock: Clock) -> None:
    with Remote([OK, OK]) as one, Remote([OK, OK]) as other:
        sender(ask(one))
        clock.advance(4.9)
        sender(ask(other))
        assert not one.closed.is_set()

        clock.advance(0.1)
        sender(ask(other))
        assert one.closed.wait(5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GONE, "IncompleteRead"),
        (b"SSH-2.0-x\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "IncompleteRead"),
    ],
)
def test_an_answer_that_does_not_come_whole_is_lost(sender: Sender, answer: bytes, reason: str) -> None:
    with Remote([answer]) as remote, pytest.raises(Lost, match=f"^{reason}$"):
        sender(ask(remote))

    assert len(remote.requests[0]) == 1  # and nothing is sent a second time


def test_an_answer_that_does_not_come_in_time_is_lost(sender: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Lost, match=r"^ReadTimeout$"):
        sender(Request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, None, 0.05))


def test_nobody_is_reached_where_nobody_listens(sender: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Unreached):
        sender(Request("GET", f"http://127.0.0.1:{port}/", {}, None, 1))


def test_what_a_timer_has_cut_off_is_not_the_answer_to_the_next_request(sender: Sender) -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{}"
    with Remote([half, OK], [CHUNKED]) as remote:
        with pytest.raises(Overrun), limit(0.2):
            sender(ask(remote))

        assert sender(ask(remote))[:2] == (201, b"{}")


def test_the_addresses_of_a_host_are_tried_in_turn_and_the_name_is_what_is_asked_for() -> None:
    asked: list[tuple[str, int]] = []

    def addresses(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.255.255.254", "127.0.0.1"]

    with Remote([OK]) as remote:
        Sender(addresses=addresses)(Request("GET", f"http://vapi.example:{remote.port}/", {}, None, 5))

    assert asked == [("vapi.example", remote.port)]
    assert f"host: vapi.example:{remote.port}".encode() in remote.requests[0][0]


def test_a_host_without_an_address_is_not_reached() -> None:
    with pytest.raises(Unreached):
        Sender(addresses=lambda _host, _port: [])(Request("GET", "http://vapi.example/", {}, None, 5))


def test_connecting_takes_a_second_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []

    def connect(_address: tuple[str, int], timeout: float) -> socket.socket:
        seconds.append(timeout)
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", connect)
    for timeout in (0.3, 5.0):
        with pytest.raises(Unreached):
            Sender()(Request("GET", "https://vapi.example/", {}, None, timeout))

    assert seconds == [0.3, https.CONNECT_TIMEOUT]


def test_nothing_waits_to_be_sent_and_a_silent_connection_is_watched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with closing(https.opened(url, 1)) as made:
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_an_idle_connection_is_quiet_until_something_comes_or_it_is_closed() -> None:
    for act in (lambda far: far.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), socket.socket.close):
        near, far = socket.socketpair()
        with near, far:
            assert https.quiet(near)

            act(far)
            assert not https.quiet(near)
