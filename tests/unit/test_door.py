"""`switchboard door`: which requests are for the API. tests/local/test_door.py sends some through it."""

import re
from argparse import Namespace

import pytest

from devkit import development, door, up
from devkit.errors import UserError
from devkit.stack import Stack
from tests.local.conftest import held
from tests.unit.test_template import TEMPLATE

ROUTES = ["POST /webhook/vapi", "GET /health", "GET /assets/{name}", "ANY /console/{proxy+}"]


@pytest.mark.parametrize(
    ("method", "path", "admitted"),
    [
        ("POST", "/webhook/vapi", True),
        ("GET", "/webhook/vapi", False),
        ("POST", "/webhook/vapi/", False),
        ("POST", "/webhook/vapiX", False),
        ("POST", "/webhookXvapi", False),
        ("GET", "/assets/main.js", True),
        ("GET", "/assets/a/b", False),
        ("DELETE", "/console/a/b", True),
        ("POST", "/", False),
        ("GET", "/_ministack/health", False),
        ("POST", "/_aws/lambda-url/abc/", False),
        ("POST", "/2015-03-31/functions", False),
    ],
)
def test_only_the_apis_own_routes_are_let_in(method: str, path: str, admitted: bool) -> None:
    assert door.admits(ROUTES, method, path) is admitted


def test_a_port_that_is_taken_is_one_line(socket_enabled: None) -> None:
    with held(48731), pytest.raises(UserError, match="port 48731 is in use: give another with --port"):
        door.opened({"routes": ROUTES}, 48731)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://quick-brown-fox.trycloudflare.com", True),
        ("https://abc.ngrok-free.app", True),
        ("https://abc.ngrok-free.app/", False),
        ("http://abc.ngrok-free.app", False),
    ],
)
def test_a_tunnels_origin_may_be_the_public_base_url(url: str, allowed: bool) -> None:
    pattern = TEMPLATE["Parameters"]["PublicBaseUrl"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, url)) is allowed


def test_up_deploys_with_the_tunnels_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Stack] = []
    monkeypatch.setattr(Stack, "start", lambda stack: made.append(stack))
    monkeypatch.setattr(up, "summary", lambda stack: "")
    for given in ("https://abc.ngrok-free.app", ""):
        up.run(Namespace(no_build=True, public_url=given))

    tunnelled, plain = (stack._parameters()["PublicBaseUrl"] for stack in made)
    assert tunnelled == "https://abc.ngrok-free.app"
    assert plain.startswith(f"http://{development.HOST}:")
