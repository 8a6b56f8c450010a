"""`switchboard corpus` against servers on this machine: a right one, and wrong ones."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from devkit import cli, development
from devkit.loopback import Answer, Loopback, Request
from switchboard import callbacks, webhook
from switchboard.secrets import PUBLIC_BASE_URL
from tests.integration.conftest import House


class Door(Loopback):
    """Hands every request to a function, as the HTTP API does."""

    def __init__(self, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__(0)
        self._function = function

    def answer(self, request: Request) -> Answer:
        """What the function answers."""
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        event = {
            "rawPath": request.path,
            "rawQueryString": query,
            "headers": dict(request.headers),
            "body": base64.b64encode(request.body).decode(),
            "isBase64Encoded": True,
        }
        said = self._function(event)
        return Answer(said["statusCode"], said.get("body"), content_type="text/plain")


@pytest.fixture
def served(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The house behind HTTP, at the time that it is."""
    # A function runs on the main thread, which the limit of time needs; a server's requests do not.
    monkeypatch.setattr(callbacks, "limit", lambda _seconds: nullcontext())
    settings = house.settings._replace(account_sids=frozenset({development.TWILIO_ACCOUNT_SID}))
    desk = house.desk._replace(clock=time.time)

    def respond(event: dict[str, Any]) -> dict[str, Any]:
        if event["rawPath"] == "/webhook/vapi":
            return webhook.respond(desk, event)
        return callbacks.respond(house.attendant._replace(settings=settings, clock=time.time), event)

    with Door(respond) as door:
        name = f"{settings.parameter_path}/{PUBLIC_BASE_URL}"
        house.aws.ssm.put_parameter(Name=name, Value=door.url, Type="String", Overwrite=True)
        house.clock.advance(301)
        yield door


def play(door: Door, *corpora: str) -> int:
    """Run the command."""
    return cli.main(["corpus", *corpora, "--base-url", door.url])


def test_a_server_that_is_as_it_should_be_passes(served: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(served, "signatures", "control_urls", "twiml") == 0

    *lines, verdict = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "wrong" in line]
    assert verdict == "Every answer is as it should be."
    assert [line.split()[0] for line in told] == ["signatures", "control_urls", "twiml"]
    assert all(line.endswith("; 0 wrong") for line in told)


def test_a_server_that_lets_everybody_in_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    with Door(lambda _event: {"statusCode": 200, "body": "{}"}) as door:
        assert play(door, "signatures") == 1

    told = capsys.readouterr().out
    assert "✗ signatures: vapi-hmac: signature missing: answered 200, not 401 (signature_missing)" in told
    assert "as it should be: answered" not in told
    assert told.splitlines()[-1].endswith(" answers are wrong.")


def test_a_server_that_breaks_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    with Door(lambda _event: {"statusCode": 500, "body": "Traceback"}) as door:
        assert play(door, "tools") == 1

    assert "answered 500, not 200 (accepted)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('{"results":[]}', "not every call is answered once, in order"),
        ('{"results":[{"toolCallId":"call_corpus","result":"a\\nb"}]}', "a result is not one line of text"),
        ('{"results":[{"toolCallId":"call_corpus","result":{}}]}', "a result is not one line of text"),
        ('{"results":[{"toolCallId":"call_corpus"}]}', "a result is not one line of text"),
        ("", "the answer is no JSON object"),
    ],
)
def test_an_answer_that_vapi_would_not_read_is_found_out(
    capsys: pytest.CaptureFixture[str], body: str, fault: str
) -> None:
    with Door(lambda _event: {"statusCode": 200, "body": body}) as door:
        assert play(door, "tools") == 1

    assert f'text: "hello": {fault}' in capsys.readouterr().out


def test_a_server_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    door = Door(lambda _event: {})
    with door:
        pass

    assert play(door) == 1
    assert capsys.readouterr().err == "switchboard: the server does not answer (ConnectError)\n"
