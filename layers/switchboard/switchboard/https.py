"""One HTTP/1.1 request, and an answer read whole: what Vapi is asked with, and AWS below its signatures.

Not httpx, which is more than a bare handler's whole start again, nor `http.client`, whose reader of headers is that of
e-mails: it is a third of a bare start, and two thirds of what a request to AWS costs. There is no redirect, no proxy, no
retry and no compression here, and nothing is written to a log: URLs and headers hold accounts and keys.

https://www.rfc-editor.org/rfc/rfc9112
"""

import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from switchboard import trust

CONNECT_TIMEOUT = 1.0  # seconds
MAX_ADDRESSES = 4  # of one host, that are tried
MAX_HEAD, MAX_BODY = 64 * 1024, 16 * 1024 * 1024  # bytes; DynamoDB's largest answer is 16 MB
CHUNK = 64 * 1024
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_SIZE = re.compile(r"[0-9]{1,10}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class Request(NamedTuple):
    """What is asked. `timeout` is seconds from the first byte sent to the last one of the answer.

    Connecting comes before, and takes as long for each of a few addresses, but at most a second.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float


class Answer(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str] = NO_HEADERS

    @property
    def good(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class Unreached(Exception):
    """Nothing was sent, so surely nothing has happened."""


class Lost(Exception):
    """It was sent, or some of it, and no whole answer came. The text is a constant code that says why."""


Send = Callable[[Request], Answer]
Addresses = Callable[[str, int], Iterable[str]]


def itself(host: str, _port: int) -> Iterable[str]:
    """A host by its name: whoever it leads to is connected to."""
    return (host,)


class Sender:
    """Sends requests. A connection is used again within `keep` seconds, unless the other end has closed it meanwhile.

    `addresses` looks a host up, once; what it raises is raised. TLS verifies the name, whatever the address.
    """

    def __init__(
        self,
        *,
        keep: float = 0.0,
        addresses: Addresses = itself,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keep = keep
        self._addresses = addresses
        self._clock = clock
        # Taken out while in use: what was left in the middle of an answer never comes back.
        self._idle: dict[str, tuple[float, socket.socket]] = {}

    def __call__(self, request: Request) -> Answer:
        """Send one; `Unreached` or `Lost` where there is no answer."""
        message = written(request)
        place = "/".join(request.url.split("/", 3)[:3])
        timeout = min(CONNECT_TIMEOUT, request.timeout)
        connection = self._kept(place) or opened(request.url, timeout, self._addresses)
        answer, reusable = exchange(connection, message, request.timeout, self._clock)
        if reusable and self.keep:
            self._store(place, connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.popitem()[1][1].close()

    def _kept(self, place: str) -> socket.socket | None:
        since, connection = self._idle.pop(place, (0.0, None))
        if connection is None:
            return None
        if self._clock() - since < self.keep and quiet(connection):
            return connection
        connection.close()
        return None

    def _store(self, place: str, connection: socket.socket) -> None:
        now = self._clock()
        for other, (since, _) in list(self._idle.items()):
            if now - since >= self.keep and (old := self._idle.pop(other, None)):
                old[1].close()
        made = (now, connection)
        # Another thread may have been faster; one of the two is enough.
        if self._idle.setdefault(place, made) is not made:
            connection.close()


def quiet(connection: socket.socket) -> bool:
    """Whether an idle connection is still open and nothing lies on it that would be taken for the next answer."""
    if not select.select([connection], [], [], 0)[0]:
        return True
    try:
        connection.settimeout(0)
        connection.recv(1)
    except ssl.SSLWantReadError:
        return True  # only what TLS has to say for itself: tickets, which come after the handshake
    except OSError:
        return False
    return False


def opened(url: str, timeout: float, addresses: Addresses = itself) -> socket.socket:
    """A connection to the first address of the host of `url` that answers; `Unreached` if none of the first few does."""
    try:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
    except ValueError as error:
        raise Unreached from error
    failure: Exception | None = None
    for address in islice(addresses(host, port), MAX_ADDRESSES):
        try:
            return _connected(host, address, port, timeout, secure=secure)
        except (OSError, UnicodeError) as error:
            failure = error
    raise Unreached from failure


def _connected(host: str, address: str, port: int, timeout: float, *, secure: bool) -> socket.socket:
    plain = socket.create_connection((address, port), timeout)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return trust.context().wrap_socket(plain, server_hostname=host) if secure else plain
    except BaseException:
        plain.close()
        raise


def written(request: Request) -> bytes:
    """A request as it is sent; `Unreached` for one that would be another request than it says."""
    _, _, host, *path = request.url.split("/", 3)
    target = "/" + "".join(path)
    fields = {"host": host, **request.headers}
    if request.body is not None:
        fields["content-length"] = str(len(request.body))
    names = "".join(fields)
    text = target + names + "".join(fields.values())
    if " " in target + names or ":" in names or not text.isascii() or "\r" in text or "\n" in text or "\0" in text:
        raise Unreached
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + (request.body or b"")


def exchange(
    connection: socket.socket, message: bytes, timeout: float, clock: Callable[[], float] = time.monotonic
) -> tuple[Answer, bool]:
    """Send over a connection and read the whole answer, and whether another request may follow; closes it if it fails.

    All of it takes `timeout` seconds at the most.
    """
    done = False
    try:
        end = clock() + timeout
        connection.settimeout(timeout)
        connection.sendall(message)
        made = _Reader(connection, end, clock).answer()
        done = True
    except TimeoutError as error:
        raise Lost("ReadTimeout") from error
    except OSError as error:
        raise Lost("SSLError" if isinstance(error, ssl.SSLError) else type(error).__name__) from error
    finally:
        # Also where a timer of ours has cut it off.
        if not done:
            connection.close()
    return made


class _Reader:
    """Reads one answer, until `end` on `clock`."""

    def __init__(self, connection: socket.socket, end: float, clock: Callable[[], float]) -> None:
        self._connection, self._end, self._clock = connection, end, clock
        self._data, self._at = b"", 0  # what has come, and how much of it was read

    def answer(self) -> tuple[Answer, bool]:
        """The answer, and whether the connection stands at the end of it."""
        old, status, headers = self._head()
        while status < 200:  # not the answer yet
            old, status, headers = self._head()
        said = headers.get("connection", "").lower()
        kept = "keep-alive" in said if old else "close" not in said
        content, framed = self._body(status, headers)
        return Answer(status, content, headers), kept and framed and self._at == len(self._data)

    def _head(self) -> tuple[bool, int, dict[str, str]]:
        first, *lines = self._until(b"\r\n\r\n", "HeadTooLarge").decode("latin-1").split("\r\n")
        found = _STATUS.fullmatch(first)
        if not found:
            _refuse("BadStatusLine")
        return found[1] == "0", int(found[2]), _fields(lines)

    def _body(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The content, and whether its end was told otherwise than by closing the connection."""
        if status in (204, 304):
            return b"", True
        coding = headers.get("transfer-encoding")
        if coding is not None:
            # With a length as well there are two ends, and who reads the other one takes the rest for the next answer.
            if coding.lower() != "chunked" or "content-length" in headers:
                _refuse("TransferEncoding")
            return self._chunks(), True
        size = headers.get("content-length")
        if size is not None:
            if not _SIZE.fullmatch(size):
                _refuse("ContentLength")
            return self._exactly(int(size)), True
        return self._rest(), False

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while size := self._chunk_size():
            total += size
            if total > MAX_BODY:
                _refuse("BodyTooLarge")
            parts.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                _refuse("Chunk")
        while self._line():  # trailers say nothing that is needed
            continue
        return b"".join(parts)

    def _chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(self._line())
        if not found:
            _refuse("Chunk")
        return int(found[1], 16)

    def _line(self) -> bytes:
        return self._until(b"\r\n", "Chunk")

    def _until(self, mark: bytes, reason: str) -> bytes:
        while (end := self._data.find(mark, self._at)) < 0:
            if len(self._data) - self._at > MAX_HEAD:
                _refuse(reason)
            self._data, self._at = self._data[self._at :] + self._more(), 0
        found = self._data[self._at : end]
        self._at = end + len(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        if size > MAX_BODY:
            _refuse("BodyTooLarge")
        if len(self._data) - self._at < size:
            parts = [self._data[self._at :]]
            missing = size - len(parts[0])
            while missing > 0:
                parts.append(self._more())
                missing -= len(parts[-1])
            self._data, self._at = b"".join(parts), 0
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def _rest(self) -> bytes:
        parts = [self._data[self._at :]]
        total = len(parts[0])
        while more := self._received():
            parts.append(more)
            total += len(more)
            if total > MAX_BODY:
                _refuse("BodyTooLarge")
        self._data, self._at = b"", 0
        return b"".join(parts)

    def _more(self) -> bytes:
        more = self._received()
        if not more:
            _refuse("IncompleteRead")
        return more

    def _received(self) -> bytes:
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv(CHUNK)


def _fields(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        spelt, colon, value = line.partition(":")
        name = _field(spelt)
        if not (name and colon) or "\r" in value or "\n" in value:
            _refuse("BadHeader")
        value = value.strip(" \t")
        # Twice the same length is one; two lengths are no length, and are refused as such.
        if name in headers and not (name == "content-length" and headers[name] == value):
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


@lru_cache(64)  # the same few names in each answer
def _field(spelt: str) -> str:
    """A header's name, or '' for what is none."""
    # One with a space at either end is a folded line, or one that others would take for another name.
    good = spelt.isascii() and spelt.isprintable() and " " not in spelt
    return spelt.lower() if good else ""


def _refuse(reason: str) -> NoReturn:
    raise Lost(reason)
