"""`switchboard door` before the running stack, as a tunnel sees it: requests that come under another name."""

import http.client
import json
import time
from collections.abc import Iterator
from threading import Thread
from urllib.parse import urlencode

import pytest

from devkit import curl, development, door
from devkit.stack import Stack
from switchboard.signatures import PRESETS, sign, sign_twilio

TUNNEL = "quick-brown-fox.trycloudflare.com"
FORM = [("AccountSid", development.TWILIO_ACCOUNT_SID), ("CallSid", "CA" + "d0" * 16), ("CallStatus", "ringing")]


@pytest.fixture
def port(stack: Stack) -> Iterator[int]:
    """The door's port."""
    with door.opened(stack.facts, 0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """A request as a tunnel hands it over: with the Host header of its own name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"host": TUNNEL, **(headers or {})})
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


def test_a_signed_webhook_comes_through_as_it_was_sent(port: int) -> None:
    body = json.dumps(curl.tool_call(time.time())).encode()
    proof = sign(PRESETS["vapi-hmac"], body, development.VAPI_WEBHOOK_SECRET, timestamp=int(time.time()))

    status, answer = ask(port, "POST", "/webhook/vapi", body, {"content-type": "application/json", **proof})

    assert status == 200
    assert json.loads(answer)["results"]
    assert ask(port, "POST", "/webhook/vapi", body + b" ", {"content-type": "application/json", **proof})[0] == 401


def test_twilios_signature_counts_for_the_public_url_and_never_for_the_host_that_comes(stack: Stack, port: int) -> None:
    kind = "application/x-www-form-urlencoded"
    for origin, status in ((f"http://{stack.host}", 204), (f"https://{TUNNEL}", 403)):
        made = sign_twilio(f"{origin}/voice/status", FORM, development.TWILIO_AUTH_TOKEN)
        headers = {"content-type": kind, "x-twilio-signature": made}

        assert ask(port, "POST", "/voice/status", urlencode(FORM).encode(), headers)[0] == status


def test_the_console_which_wants_no_token_here_is_not_reached(stack: Stack, port: int) -> None:
    routes = [route.split() for route in stack.facts["routes"] if "/console" in route]

    assert routes
    assert {ask(port, method, path.replace("{call_id}", "c-1"))[0] for method, path in routes} == {404}
    assert stack.request("GET", "/console/calls")[0] == 200


def test_nothing_else_of_the_emulator_is_reached(port: int) -> None:
    for path in ("/_ministack/health", "/_", "/2015-03-31/functions", "/webhook/vapi/../../_ministack/health"):
        assert ask(port, "GET", path) == (404, b'{"message":"Not Found"}')
    listing = {
        "x-amz-target": "AmazonSSM.DescribeParameters",
        "content-type": "application/x-amz-json-1.1",
        "authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, "
        "Signature=0",
    }
    assert ask(port, "POST", "/webhook/vapi", b"{}", listing)[0] == 401
