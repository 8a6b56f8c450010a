"""`switchboard doctor` on the running stack: its scheme, its secrets, its logs."""

import json
import time
from pathlib import Path

import pytest

from devkit import cli, development
from devkit.stack import Stack
from switchboard.signatures import PRESETS, sign
from tests import markdown
from tests.local.conftest import wait_for
from tests.markdown import ROOT

BODY = json.dumps({"message": {"type": "hang"}}).encode()


@pytest.fixture(autouse=True)
def running(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' stack, taken for the one that `make up` has left running."""
    monkeypatch.setattr("devkit.facts.running", lambda: stack.facts)
    monkeypatch.setattr("signal.signal", lambda *_: None)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the doctor says about the local stack."""
    capsys.readouterr()
    cli.main(["doctor", "--local", *arguments])
    return capsys.readouterr().out


def test_the_example_of_the_page_is_answered_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs/signatures.md"
    capture, answer = (block.text for block in markdown.blocks(page) if block.language == "text")
    file = tmp_path / "captured.txt"
    file.write_text(capture)

    assert said(capsys, str(file)) == answer


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("vapi_webhook/tool_call.json", "The signature verifies"),
        ("vapi_webhook/stale_timestamp.json", "days before the request arrived"),
        ("vapi_webhook/forged_signature.json", "none of the secrets"),
        ("vapi_webhook/forged_missing_signature.json", "there is no header x-signature"),
        ("twilio_voice/forged_signature.json", "none of the auth tokens"),
    ],
)
def test_events_are_judged_by_what_the_stack_expects(
    capsys: pytest.CaptureFixture[str], event: str, words: str
) -> None:
    assert words in said(capsys, str(ROOT / "events" / event))


def test_twilios_events_were_signed_for_the_usual_port(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    mistake = said(
        capsys, str(ROOT / "events/twilio_voice/incoming_call.json"), "--public-url", development.PUBLIC_BASE_URL
    )

    assert stack.facts["host"] != f"{development.HOST}:{development.PORT}"
    assert f"with the port {development.PORT}, and this stack expects it with the port {stack.port}" in mistake


@pytest.mark.parametrize(
    ("secret", "ago", "reason"),
    [("forged", 0, "signature_mismatch"), (development.VAPI_WEBHOOK_SECRET, 900, "timestamp_stale")],
)
def test_the_newest_refusal_is_read_from_the_functions_own_log(
    stack: Stack, capsys: pytest.CaptureFixture[str], secret: str, ago: int, reason: str
) -> None:
    def refuse() -> str:
        # The function logs one refusal a second at most, so one request may pass unseen.
        headers = sign(PRESETS["vapi-hmac"], BODY, secret, timestamp=int(time.time()) - ago)
        assert stack.request("POST", "/webhook/vapi", BODY, headers)[0] == 401
        found = said(capsys, "--last")
        return found if reason in found else ""

    head, sentence = wait_for(refuse).splitlines()
    assert head.endswith(f" UTC  POST /webhook/vapi  {reason}")
    assert sentence.startswith("Refused because ")
