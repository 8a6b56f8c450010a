"""`switchboard door`: the local stack's API and nothing else of it, for a tunnel to stand before.

A tunnel that leads to the emulator's own port would open all of AWS's APIs to whoever knows its address, and with them a
way to run code on this machine.
"""

import argparse
import http.client
import re
import sys
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from devkit import facts
from devkit.errors import UserError

OFFSET = 3  # the door's port, behind the stack's own
MAX_BODY = 10_000_000  # bytes, as the HTTP API takes
SECONDS = 30  # as long as the HTTP API waits for a function
CONSOLE = "/console/"  # wants no token on this machine, because only this machine reaches it
HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade", "te", "trailer")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--port", type=int, help=f"default: the stack's first port and {OFFSET}")
    parser.epilog = "Ends with Ctrl-C."


def run(args: argparse.Namespace) -> int:
    """Let requests in until this is interrupted."""
    running = facts.running()
    port = args.port or running["port"] + OFFSET
    with opened(running, port) as server:
        sys.stdout.write(f"http://127.0.0.1:{port} leads to {', '.join(public(running['routes']))}, and nowhere else\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


def opened(running: dict[str, Any], port: int) -> ThreadingHTTPServer:
    """The door of the stack with these facts, on a port of this machine; `UserError` where that is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), _handler(running))
    except OSError as error:
        raise UserError(f"port {port} is in use: give another with --port") from error


def public(routes: Iterable[str]) -> list[str]:
    """The routes that are for everybody: not the console's."""
    return [route for route in routes if not route.partition(" ")[2].startswith(CONSOLE)]


def admits(routes: Iterable[str], method: str, path: str) -> bool:
    """Whether a request is one for the API."""
    for route in routes:
        wanted, _, pattern = route.partition(" ")
        parts = re.split(r"(\{\w+\+?\})", pattern)
        regex = "".join(
            (".+" if part.endswith("+}") else "[^/]+") if "{" in part else re.escape(part) for part in parts
        )
        if wanted in (method, "ANY") and re.fullmatch(regex, path):
            return True
    return False


def _handler(running: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a URL may hold what is personal."""

        def _serve(self) -> None:
            size = self.headers.get("content-length", "0")
            if not admits(public(running["routes"]), self.command, urlsplit(self.path).path):
                self._reply(404, b'{"message":"Not Found"}', [("content-type", "application/json")])
            elif not size.isdecimal() or int(size) > MAX_BODY:
                self._reply(413, b"", [])
            else:
                self._forward(self.rfile.read(int(size)))

        def _forward(self, body: bytes) -> None:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            onward = http.client.HTTPConnection("127.0.0.1", running["port"], timeout=SECONDS)
            try:
                # The API goes by this name; by another one the emulator would take a request for one of AWS's.
                onward.request(self.command, self.path, body or None, {**kept, "Host": running["host"]})
                answer = onward.getresponse()
                self._reply(answer.status, answer.read(), answer.getheaders())
            except (OSError, http.client.HTTPException):
                self._reply(502, b"", [])
            finally:
                onward.close()

        def _reply(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler._serve)
    return Handler
