"""What is written and read of HTTP/1.1: held against Python's own client where both may read it, and strict elsewhere."""

import http.client
import io
import socket
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard import https
from switchboard.https import Answer, Lost, Request, Sender, Unreached
from tests.conftest import Clock


class Line:
    """A connection on which everything has come already, in pieces of some size."""

    def __init__(self, data: bytes, size: int = 65536) -> None:
        self._data = data
        self._size = size
        self.sent = b""
        self.closed = False

    def settimeout(self, _seconds: float) -> None:
        """Nothing is waited for."""

    def sendall(self, message: bytes) -> None:
        self.sent += message

    def recv(self, size: int) -> bytes:
        found, self._data = self._data[: min(size, self._size)], self._data[min(size, self._size) :]
        return found

    def close(self) -> None:
        self.closed = True


def read(data: bytes, size: int = 65536) -> tuple[Answer, bool]:
    line: Any = Line(data, size)
    return https.exchange(line, b"", 1)


class Kept:
    """What `http.client` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def pythons(data: bytes) -> tuple[int, bytes, dict[str, str], bool]:
    """The same answer as Python's own client reads it."""
    kept: Any = Kept(data)
    response = http.client.HTTPResponse(kept, method="POST")
    response.begin()
    content = response.read()
    names = {name.lower() for name, _ in response.getheaders()}
    return (
        response.status,
        content,
        {name: ", ".join(response.headers.get_all(name, [])) for name in names},
        response.will_close,
    )


bodies = st.binary(max_size=300)
names = st.from_regex(r"x-[a-z0-9-]{1,12}", fullmatch=True)
values = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


def chunked(body: bytes, size: int, extension: str) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension.encode(), part) for part in parts) + b"0\r\n\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Answers as servers give them, framed in every way that there is."""
    body = draw(bodies)
    status = draw(st.sampled_from([200, 201, 202, 204, 301, 304, 400, 403, 404, 413, 429, 500, 502, 503]))
    fields = draw(st.dictionaries(names, values, max_size=4))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    if status in (204, 304):
        body = b""
    elif framing == "length":
        fields["Content-Length"] = str(len(body))
    elif framing == "chunks":
        fields["Transfer-Encoding"] = draw(st.sampled_from(["chunked", "Chunked"]))
        body = chunked(body, draw(st.integers(1, 100)), draw(st.sampled_from(["", ";a=b", " ; a"])))
    if draw(st.booleans()):
        fields["Connection"] = draw(st.sampled_from(["close", "keep-alive", "Close"]))
    version = draw(st.sampled_from(["1.1", "1.0"]))
    reason = draw(st.sampled_from([" OK", "", " Not Really At All"]))
    before = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    colon = draw(st.sampled_from([": ", ":", ":\t "]))
    lines = "".join(f"{name}{colon}{value}\r\n" for name, value in fields.items())
    return before + f"HTTP/{version} {status}{reason}\r\n{lines}\r\n".encode() + body


@given(answers(), st.integers(1, 400))
def test_an_answer_is_read_as_pythons_own_client_reads_it(data: bytes, size: int) -> None:
    answer, reusable = read(data, size)

    status, content, headers, closes = pythons(data)
    assert (answer.status, answer.content, answer.headers) == (status, content, headers)
    # Python's leaves connections open that an old server closes; here that is no reason to trust one.
    assert not (reusable and closes)


@given(answers(), st.data())
def test_an_answer_that_ends_early_is_lost_or_said_to_be_the_last(whole: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(whole) - 1))
    line: Any = Line(whole[:cut])
    try:
        _, reusable = https.exchange(line, b"", 1)
    except Lost:
        assert line.closed
    else:
        # Without a length only the end of the connection tells the end.
        assert not reusable


@given(st.binary(max_size=400) | st.builds(lambda a, b: a[: len(a) // 2] + b + a[len(a) // 2 :], answers(), bodies))
def test_whatever_comes_is_an_answer_or_lost(data: bytes) -> None:
    line: Any = Line(data)
    with suppress(Lost):
        answer, _ = https.exchange(line, b"", 1)
        assert 200 <= answer.status <= 999
        return
    assert line.closed


HEAD = "HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("lines", "body", "reason"),
    [
        ("content-length: 2\r\ncontent-length: 3\r\n", b"{} ", "ContentLength"),
        ("content-length: -2\r\n", b"{}", "ContentLength"),
        ("content-length: 0x2\r\n", b"{}", "ContentLength"),
        ("content-length: 99999999999\r\n", b"{}", "ContentLength"),
        (f"content-length: {https.MAX_BODY + 1}\r\n", b"{}", "BodyTooLarge"),
        ("transfer-encoding: gzip, chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n", "TransferEncoding"),
        ("transfer-encoding: chunked\r\ncontent-length: 2\r\n", b"2\r\n{}\r\n0\r\n\r\n", "TransferEncoding"),
        ("transfer-encoding: chunked\r\n", b"z\r\n{}\r\n0\r\n\r\n", "Chunk"),
        ("transfer-encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n", "Chunk"),
        ("transfer-encoding: chunked\r\n", b"2\r\n{}xx0\r\n\r\n", "Chunk"),
        ("transfer-encoding: chunked\r\n", b"ffffff1\r\n", "BodyTooLarge"),
        ("transfer-encoding: chunked\r\n", b"1" * (https.MAX_HEAD + 1), "Chunk"),
        ("x: a\r\n folded\r\ncontent-length: 0\r\n", b"", "BadHeader"),
        ("x : a\r\ncontent-length: 0\r\n", b"", "BadHeader"),
        ("x: a\rb\r\ncontent-length: 0\r\n", b"", "BadHeader"),
        ("x: a\nb: c\r\ncontent-length: 0\r\n", b"", "BadHeader"),
        ("no colon\r\ncontent-length: 0\r\n", b"", "BadHeader"),
    ],
)
def test_what_may_be_read_in_two_ways_is_not_read(lines: str, body: bytes, reason: str) -> None:
    with pytest.raises(Lost, match=f"^{reason}$"):
        read(f"{HEAD}{lines}\r\n".encode() + body)


@pytest.mark.parametrize("first", ["HTTP/2 200", "HTTP/1.1 20", "HTTP/1.1 2000 OK", "ICY 200 OK", "", "HTTP/1.1 099 X"])
def test_what_is_no_answer_is_not_read(first: str) -> None:
    with pytest.raises(Lost, match=r"^BadStatusLine$"):
        read(f"{first}\r\ncontent-length: 0\r\n\r\n".encode())


def test_a_head_without_an_end_is_given_up() -> None:
    with pytest.raises(Lost, match=r"^HeadTooLarge$"):
        read(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * https.MAX_HEAD)


def test_a_body_without_an_end_is_given_up() -> None:
    with pytest.raises(Lost, match=r"^BodyTooLarge$"):
        read(HEAD.encode() + b"\r\n" + bytes(https.MAX_BODY + 1))


def test_chunks_without_an_end_are_given_up() -> None:
    size = https.MAX_BODY - 1
    with pytest.raises(Lost, match=r"^BodyTooLarge$"):
        read(
            f"{HEAD}transfer-encoding: chunked\r\n\r\n{size:x}\r\n".encode() + bytes(size) + b"\r\n2\r\n{}\r\n0\r\n\r\n"
        )


class Drip(Line):
    """A connection on which a second passes before each piece, of which there is no end."""

    def __init__(self, clock: Clock, begin: bytes, piece: bytes) -> None:
        super().__init__(b"")
        self._clock = clock
        self._pieces = chain([begin], repeat(piece, 100))
        self.waits: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.waits.append(seconds)

    def recv(self, _size: int) -> bytes:
        self._clock.advance(1)
        return next(self._pieces)


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        ("HTTP/1.1 ", b"2"),
        (HEAD, b"x: y\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (f"{HEAD}content-length: 1000\r\n\r\n", b"x"),
        (f"{HEAD}transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (f"{HEAD}transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        (f"{HEAD}\r\n", b"x"),
    ],
)
def test_an_answer_that_comes_in_drops_is_lost_when_its_time_is_over(begin: str, piece: bytes, clock: Clock) -> None:
    line: Any = Drip(clock, begin.encode(), piece)
    with pytest.raises(Lost, match=r"^ReadTimeout$"):
        https.exchange(line, b"", 3, clock)

    assert line.waits == [3, 3, 2, 1]
    assert line.closed


def test_sending_is_part_of_the_time(clock: Clock) -> None:
    class Slow(Drip):
        def sendall(self, _message: bytes) -> None:
            clock.advance(2)

    line: Any = Slow(clock, b"HTTP/1.1 204 No Content\r\n\r\n", b"")
    https.exchange(line, b"", 3, clock)

    assert line.waits == [3, 1]


def test_the_same_length_twice_is_one() -> None:
    assert read(f"{HEAD}content-length: 2\r\nContent-Length: 2\r\n\r\n".encode() + b"{}")[0].content == b"{}"


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: TE, Close\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}more", False),
    ],
)
def test_a_connection_serves_again_only_where_its_answer_is_surely_over(data: bytes, reusable: bool) -> None:
    assert read(data)[1] is reusable


# Requests


def asked(url: str = "https://api.vapi.ai/call", body: bytes | None = b"{}", **headers: str) -> Request:
    return Request("POST", url, headers, body, 1)


def test_a_request_is_one_message() -> None:
    assert https.written(asked(authorization="Bearer key")) == (
        b"POST /call HTTP/1.1\r\nhost: api.vapi.ai\r\nauthorization: Bearer key\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert https.written(asked("http://127.0.0.1:9", None)) == b"POST / HTTP/1.1\r\nhost: 127.0.0.1:9\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://api.vapi.ai/call x", {}),
        ("https://api.vapi.ai/call\r\nx: y", {}),
        ("https://api.vapi.ai/c\u00e4ll", {}),
        ("https://api.vapi.ai\r\nx: y/call", {}),
        ("https://api.vapi.ai/call", {"authorization": "Bearer key\n"}),
        ("https://api.vapi.ai/call", {"authorization": "Bearer k\r\nx: y"}),
        ("https://api.vapi.ai/call", {"authorization": "Bearer \u00e9"}),
        ("https://api.vapi.ai/call", {"authorization": "Bearer \x00"}),
        ("https://api.vapi.ai/call", {"x: y\r\nz": "a"}),
        ("https://api.vapi.ai/call", {"x\n": "a"}),
        ("https://api.vapi.ai/call", {"x\r": "a"}),
        ("https://api.vapi.ai/call", {"x\0": "a"}),
        ("https://api.vapi.ai/call", {"x:y": "a"}),
        ("https://api.vapi.ai/call", {"content-length ": "9"}),
        ("https://api.vapi.ai/call", {"\u00e9": "a"}),
    ],
)
def test_what_would_be_another_request_is_not_sent(url: str, headers: Mapping[str, str]) -> None:
    with pytest.raises(Unreached):
        https.written(Request("POST", url, headers, b"{}", 1))


# Connections


@pytest.mark.parametrize("url", ["http://api.vapi.ai:port/", "http://api.vapi.ai:99999/", "http://[::1/"])
def test_where_a_url_leads_nowhere_nobody_is_reached(url: str) -> None:
    with pytest.raises(Unreached):
        Sender(addresses=lambda _host, _port: [])(Request("GET", url, {}, None, 1))


def test_only_the_first_addresses_of_a_host_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        tried.append(address[0])
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(Unreached):
        https.opened("http://api.vapi.ai/", 1, lambda _host, _port: [f"192.0.2.{number}" for number in range(9)])

    assert tried == ["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_of_two_connections_to_one_place_one_is_kept_and_the_other_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    lines = [Line(answer), Line(answer)]
    free = list(lines)

    def opened(*_: Any) -> Line:
        line = free.pop()
        if free:  # as another thread asks meanwhile
            sender(asked())
        return line

    monkeypatch.setattr(https, "opened", opened)
    sender = Sender(keep=5)
    sender(asked())
    assert sorted(line.closed for line in lines) == [False, True]

    sender.close()
    assert all(line.closed for line in lines)
