"""Every single bit of a signed request of two kilobytes: none may be changed."""

import json
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from switchboard import gateway, webhook
from switchboard.errors import SignatureRefused
from switchboard.messages import Message
from switchboard.settings import Settings
from switchboard.signatures import PRESETS, Secret, sign, verify

NOW = 1_800_000_000
SECRET = Secret("now", "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNlY3JldCBrZXk=")
BODY = json.dumps({"message": {"type": "tool-calls", "words": "0123456789" * 201}}).encode()[:2048]
LEAST = 16_000  # changes of one request


def flipped(headers: dict[str, str], body: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The request with one bit changed, for every bit of its body and of its headers' values."""
    for place in range(len(body) * 8):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        yield headers, bytes(changed)
    for name, value in headers.items():
        for place in range(len(value) * 8):
            at = place // 8
            yield {**headers, name: f"{value[:at]}{chr(ord(value[at]) ^ 1 << place % 8)}{value[at + 1 :]}"}, body


@pytest.mark.parametrize("name", ["vapi-hmac", "standard-webhooks", "body-hmac"])
def test_no_bit_of_a_signed_request_can_be_changed(name: str) -> None:
    scheme = PRESETS[name]
    headers = sign(scheme, BODY, SECRET.value, timestamp=NOW, message_id="msg_2KQwe81")
    told: Counter[str] = Counter()
    for changed, body in flipped(headers, BODY):
        try:
            told[verify(scheme, changed, body, [SECRET], now=NOW, tolerance=300)] += 1
        except SignatureRefused as refused:
            told[refused.reason] += 1

    assert verify(scheme, headers, BODY, [SECRET], now=NOW, tolerance=300) == "now"
    assert told["now"] == 0
    assert told.total() == (len(BODY) + sum(map(len, headers.values()))) * 8 >= LEAST


def test_no_changed_request_is_parsed_or_handled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_body: bytes) -> Message:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr("switchboard.messages.read", read)
    secrets = SimpleNamespace(active=lambda _name: [SECRET], checked=lambda check: check())
    desk: Any = SimpleNamespace(settings=settings, secrets=secrets, clock=lambda: NOW)
    headers = sign(settings.scheme, BODY, SECRET.value, timestamp=NOW)
    refused = 0
    for changed, body in flipped(headers, BODY):
        with pytest.raises(SignatureRefused):
            webhook.take_in(desk, gateway.Request("POST", "/webhook/vapi", "", changed, body))
        refused += 1

    assert refused >= LEAST
    with pytest.raises(AssertionError, match="parsed"):
        webhook.take_in(desk, gateway.Request("POST", "/webhook/vapi", "", headers, BODY))
