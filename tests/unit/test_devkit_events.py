"""Signing event files again, and the curl command."""

import base64
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from devkit import cli, curl, development, events
from devkit.errors import UserError
from switchboard import signatures
from switchboard.signatures import PRESETS, Secret

MOMENT = 1_767_625_207
BODY = '{"message": {"type": "hang"}}'


def vapi_event(**headers: str) -> dict[str, Any]:
    """A webhook with these headers."""
    return {
        "rawPath": "/webhook/vapi",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"timeEpoch": MOMENT * 1000},
        "body": BODY,
    }


def twilio_event(**changes: Any) -> dict[str, Any]:
    """A request of Twilio's."""
    body = base64.b64encode(urlencode([("CallSid", "CA1"), ("From", "+15550100001"), ("Empty", "")]).encode()).decode()
    event = vapi_event() | {"rawPath": "/voice/inbound", "body": body, "isBase64Encoded": True}
    return event | changes


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command leaves the test process's signals alone."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


@pytest.mark.parametrize("name", PRESETS)
def test_an_event_is_signed_by_the_scheme_of_the_header_it_has(name: str) -> None:
    scheme = PRESETS[name]
    signed = events.sign(vapi_event(**{scheme.signature_header: "old"}))

    secret = development.VAPI_WEBHOOK_SECRET
    if scheme.secret_encoding == "base64":
        secret = base64.b64encode(secret.encode()).decode()
    assert (
        signatures.verify(
            scheme, signed["headers"], BODY.encode(), [Secret("development", secret)], now=MOMENT, tolerance=1
        )
        == "development"
    )


def test_an_event_without_a_signature_gets_the_one_of_vapi() -> None:
    assert {"x-signature", "x-timestamp"} <= events.sign(vapi_event())["headers"].keys()


def test_the_timestamp_that_an_event_carries_is_kept() -> None:
    assert events.sign(vapi_event(**{"x-timestamp": "1700000000123"}))["headers"]["x-timestamp"] == "1700000000123"


def test_headers_keep_their_spelling_and_the_length_follows_the_body() -> None:
    event = vapi_event(**{"X-Signature": "old", "Content-Length": "1"})
    signed = events.sign(event)

    assert list(signed["headers"])[:3] == ["content-type", "X-Signature", "Content-Length"]
    assert signed["headers"]["Content-Length"] == str(len(BODY))
    assert signed["headers"]["X-Signature"] != "old"


@pytest.mark.parametrize("query", ["", "attempt=2"])
def test_a_request_of_twilio_is_signed_over_the_public_url(query: str) -> None:
    signed = events.sign(twilio_event(rawQueryString=query), "https://voice.example.com")

    signatures.verify_twilio(
        "https://voice.example.com/voice/inbound" + ("?" + query if query else ""),
        [("CallSid", "CA1"), ("From", "+15550100001"), ("Empty", "")],
        signed["headers"]["x-twilio-signature"],
        [Secret("development", development.TWILIO_AUTH_TOKEN)],
    )


def test_a_body_that_is_no_form_cannot_be_signed_as_one() -> None:
    with pytest.raises(UserError, match="not a form"):
        events.sign(twilio_event(body="\u2603", isBase64Encoded=False))


def test_the_command_signs_an_edited_file_and_is_content_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tool_call.json"
    file.write_text(json.dumps(vapi_event(**{"x-signature": "old", "x-timestamp": str(MOMENT)})))

    assert cli.main(["sign", "--check", str(file)]) == 1
    assert json.loads(file.read_text())["headers"]["x-signature"] == "old"
    assert cli.main(["sign", str(file)]) == 0
    assert cli.main(["sign", "--check", str(file)]) == 0
    assert capsys.readouterr().out == f"out of date: {file}\nsigned: {file}\n"


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("forged_signature.json", vapi_event(**{"x-signature": "old"})),
        ("get.json", vapi_event() | {"rawPath": "/health"}),
        ("batch.json", {"Records": []}),
    ],
)
def test_forged_files_and_events_without_a_signature_are_left_alone(
    tmp_path: Path, name: str, event: dict[str, Any]
) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(event))
    before = file.read_text()

    assert cli.main(["sign", str(file)]) == 0
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_no_event_is_one_line(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "event.json"
    file.write_text(text)

    assert cli.main(["sign", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sign", str(tmp_path / "nothing.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_curl_sends_exactly_what_it_signed() -> None:
    body = json.dumps(curl.tool_call(MOMENT) | {"words": 'it\'s "quoted" $HOME'}).encode()
    words = shlex.split(curl.command("http://127.0.0.1:4566", "switchboard.localhost:4566", body, MOMENT))

    assert words[0] == "curl"
    assert words[-1] == "http://127.0.0.1:4566/webhook/vapi"
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "--header")
    assert headers["host"] == "switchboard.localhost:4566"
    sent = words[words.index("--data-binary") + 1].encode()
    secret = Secret("development", development.VAPI_WEBHOOK_SECRET)
    assert signatures.verify(PRESETS["vapi-hmac"], headers, sent, [secret], now=MOMENT, tolerance=1) == "development"
