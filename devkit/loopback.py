"""A small HTTP server on 127.0.0.1 that stands in for a host on the internet, and writes down what it was asked."""

import base64
import binascii
import errno
import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from devkit.errors import UserError

JSON = "application/json; charset=utf-8"
MAX_BODY = 2_000_000
DOOR = "/_fake/"  # the fake's own door, for whoever plays a call; the host that it stands in for has no such path


class Request(NamedTuple):
    """One request as it came. Header names are in lower case."""

    at: float
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def bearer(self) -> str:
        """The bearer token, or ''."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    @property
    def basic(self) -> tuple[str, str]:
        """User and password of Basic authentication, or two empty texts."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = (
                base64.b64decode(token if scheme.lower() == "basic" else "", validate=True).decode().partition(":")
            )
        except (binascii.Error, ValueError):
            return "", ""
        return user, password

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None when it is not one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def form(self) -> dict[str, str]:
        """The body as a form; of a repeated field the last value."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class Answer(NamedTuple):
    """What goes back: JSON, or text or bytes of another type.

    `hold` is a time in seconds before it does; a lost answer closes the connection instead.
    """

    status: int
    body: Any = None
    hold: float = 0
    lost: bool = False
    content_type: str = JSON
    headers: Mapping[str, str] = MappingProxyType({})


class Loopback(ABC):
    """A threaded server; `answer` is what a subclass decides. Nothing but loopback is ever bound."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lock = threading.RLock()
        self.requests: list[dict[str, Any]] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where the server is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Listen; port 0 takes a free one. `UserError` when the port is taken."""
        try:
            self._server = _Server(("127.0.0.1", self.port), _handler(self))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(f"port {self.port} is in use; stop what uses it, or set SWITCHBOARD_PORT") from error
            raise
        self.port = self._server.server_address[1]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and let go of answers that are being held back."""
        if self._server and self._thread:
            self._stopping.set()
            with suppress(OSError):  # wakes the thread that listens, which looks up only now and then, where it can
                self._server.socket.shutdown(socket.SHUT_RD)
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Decide the answer to one request."""

    def record(self, request: Request, answer: Answer) -> dict[str, Any] | None:
        """What is written down of a request, or None for nothing. Never its credentials."""
        if request.path.startswith(DOOR):
            return None
        return {
            "at": request.at,
            "method": request.method,
            "path": request.path,
            "status": answer.status,
            "lost": answer.lost,
        }

    def take(self, request: Request) -> Answer:
        """Answer a request and write it down, before anybody can see the answer."""
        with self.lock:
            answer = self.answer(request)
            if entry := self.record(request, answer):
                self.requests.append({"number": len(self.requests) + 1, **entry})
        if answer.hold:
            self._stopping.wait(answer.hold)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that was told nothing goes away before it has read its answer: no news.
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about connections that break; what they asked is in the records."""


def _handler(owner: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        wbufsize = -1  # headers and body in one packet: in two, the second one would wait 40 ms for an acknowledgement

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PATCH(self) -> None:
            self._serve()

        def do_OPTIONS(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: Any) -> None:
            """The records are the log."""

        def _serve(self) -> None:
            at = time.time()
            size = self.headers.get("content-length", "0")
            if not size.isdecimal() or int(size) > MAX_BODY:
                self.close_connection = True
                return self._reply(Answer(413, {"message": "Payload Too Large"}))
            parts = urlsplit(self.path)
            answer = owner.take(
                Request(
                    at=at,
                    method=self.command,
                    path=parts.path,
                    query=parse_qs(parts.query),
                    headers={name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers},
                    body=self.rfile.read(int(size)),
                )
            )
            if answer.lost:
                self.close_connection = True
                return None
            return self._reply(answer)

        def _reply(self, answer: Answer) -> None:
            body = _encoded(answer)
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("content-length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _encoded(answer: Answer) -> bytes:
    if answer.body is None:
        return b""
    if isinstance(answer.body, bytes):
        return answer.body
    text: str = json.dumps(answer.body) if answer.content_type == JSON else answer.body
    return text.encode()
