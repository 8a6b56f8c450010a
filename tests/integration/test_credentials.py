"""Keys from a real endpoint on this machine."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from switchboard.credentials import Container
from switchboard.signed import Keys, Unreachable
from tests.conftest import Clock

KEYS = Keys("AKID1", "secret1", "token1")
ANSWER = json.dumps(
    {
        "AccessKeyId": KEYS.id,
        "SecretAccessKey": KEYS.secret,
        "Token": KEYS.token,
        "Expiration": "2040-01-01T00:00:00Z",
        "RoleArn": "arn:aws:iam::123456789012:role/switchboard",
    }
).encode()


class Served(BaseHTTPRequestHandler):
    """Answers as it is told to, and keeps what it was asked."""

    status = 200
    content = b""
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("authorization")))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def served() -> Iterator[tuple[type[Served], str]]:
    """A real endpoint."""
    kind = type("One", (Served,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield kind, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_endpoint_is_asked_with_its_token(served: tuple[type[Served], str], clock: Clock) -> None:
    endpoint, url = served
    endpoint.content = ANSWER

    assert Container(f"{url}/a/b?c=d", "proof", clock=clock)() == KEYS
    assert Container(url, "", clock=clock)() == KEYS
    assert endpoint.asked == [("/a/b?c=d", "proof"), ("/", None)]


@pytest.mark.parametrize("status", [404, 500])
def test_what_is_not_a_200_holds_no_keys(status: int, served: tuple[type[Served], str], clock: Clock) -> None:
    endpoint, url = served
    endpoint.status, endpoint.content = status, ANSWER

    with pytest.raises(Unreachable):
        Container(url, "proof", clock=clock)()


def test_an_endpoint_that_is_not_there_is_no_crash(clock: Clock) -> None:
    with pytest.raises(Unreachable):
        Container("http://127.0.0.1:9/", "proof", clock=clock)()
