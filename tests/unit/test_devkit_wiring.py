"""Completing a deployed stack: only ever on this machine."""

from types import SimpleNamespace
from typing import Any

import pytest

from devkit import facts, wiring
from devkit.errors import UserError


@pytest.mark.parametrize(
    "url",
    [
        "https://cloudformation.us-east-1.amazonaws.com",
        "http://10.0.0.1:4566",
        "http://localhost.example.com:4566",
        "http://127.0.0.1@example.com/",
        "file:///etc/passwd",
    ],
)
def test_an_endpoint_that_is_not_on_this_machine_is_refused_before_any_request(url: str) -> None:
    def client(_service: str) -> Any:
        return SimpleNamespace(meta=SimpleNamespace(endpoint_url=url))  # any operation would be an AttributeError

    with pytest.raises(UserError, match="refusing to touch"):
        wiring.wire("switchboard-local", "switchboard.localhost", client)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566"])
def test_loopback_is_accepted(url: str) -> None:
    facts.require_loopback(url)


def test_an_administrators_client_is_refused_for_a_real_account() -> None:
    with pytest.raises(UserError, match="refusing to touch"):
        facts.client("ssm", "https://ssm.us-east-1.amazonaws.com")


@pytest.mark.parametrize(
    ("path", "method", "key"),
    [
        ("/webhook/vapi", "post", "POST /webhook/vapi"),
        ("/x", "x-amazon-apigateway-any-method", "ANY /x"),
        ("/$default", "x-amazon-apigateway-any-method", "$default"),
    ],
)
def test_a_route_of_an_openapi_document_has_a_key(path: str, method: str, key: str) -> None:
    assert wiring._route_key(path, method) == key
