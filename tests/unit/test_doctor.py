"""`switchboard doctor`: what it asks of a stack, what it takes from the command line, and that it gives nothing away."""

import io
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import cli, development, events, secrets
from devkit.refusals import REASONS
from switchboard import signatures
from switchboard.signatures import PRESETS
from tests import markdown
from tests.conftest import NOW
from tests.markdown import ROOT

SECRET = "hunter2-is-not-shown"
OTHER = "correct-horse-is-not-shown"
BODY = b'{"message":{"type":"hang","note":"private words"}}'
TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "https://voice.example.com"
FORM = b"CallSid=CA" + b"2" * 32 + b"&From=%2B15550100001&AccountSid=AC1"
TEMPLATE = {
    "Parameters": {
        "SignatureScheme": {"Type": "String", "Default": "vapi-hmac"},
        "SignatureOverrides": {"Type": "String", "Default": ""},
        "SignatureTolerance": {"Type": "Number", "Default": 300},
        "AllowedOrgIds": {"Type": "String", "Default": ""},
        "TwilioAccountSids": {"Type": "String", "Default": ""},
        "LogLevel": {"Type": "String", "Default": "INFO"},
    },
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
}

type Doctor = Callable[..., tuple[int, str]]


class Input(io.TextIOWrapper):
    """Standard input that holds `text`."""

    def __init__(self, text: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(text.encode()), newline="")
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether somebody sits there."""
        return self._terminal


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """An AWS account, by ordinary credentials; a function that makes clients."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    make: Any = boto3.client
    with mock_aws():
        yield lambda service: make(service)


@pytest.fixture
def deployed(account: Callable[[str], Any]) -> Callable[..., None]:
    """Deploy a stack with these template parameters and these stored secrets."""

    def deploy(name: str = "switchboard", stored: dict[str, Any] | None = None, **parameters: str) -> None:
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        account("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(TEMPLATE), Parameters=given)
        for parameter, value in (stored or {"vapi-webhook": SECRET, "twilio-auth-token": TOKEN}).items():
            text = json.dumps([{"id": f"id-{parameter}", "secret": value}]) if isinstance(value, str) else value[0]
            account("ssm").put_parameter(Name=secrets.path(name, parameter), Value=text, Type="SecureString")
        account("ssm").put_parameter(Name=secrets.path(name, "public-base-url"), Value=BASE, Type="String")

    return deploy


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Doctor:
    """Ask the doctor about a captured request; the exit code and all that it wrote, which never gives anything away."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("time.time", lambda: NOW)

    def ask(capture: Any, *arguments: str, typed: str | None = None) -> tuple[int, str]:
        file = tmp_path / "captured"
        file.write_bytes(capture if isinstance(capture, bytes) else json.dumps(capture).encode())
        monkeypatch.setattr("sys.stdin", Input(typed or "", terminal=typed is None))
        code = cli.main(["doctor", str(file), *arguments])
        shown = capsys.readouterr()
        for private in (SECRET, OTHER, TOKEN, "private words", "5550100001", *development.SECRETS.values()):
            assert private not in shown.out + shown.err
        return code, shown.out + shown.err

    return ask


def vapi(secret: str = SECRET, at: float = NOW, body: bytes = BODY, **parts: str) -> dict[str, Any]:
    """A captured request of Vapi."""
    headers = signatures.sign(PRESETS["vapi-hmac"]._replace(**parts), body, secret, timestamp=int(at))
    return {"url": f"{BASE}/webhook/vapi", "headers": headers, "body": body.decode()}


def twilio(token: str = TOKEN, url: str = f"{BASE}/voice/inbound") -> bytes:
    """A captured request of Twilio, as a raw dump."""
    made = signatures.sign_twilio(url, signatures.parse_form(FORM), token)
    return b"POST /voice/inbound HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: " + made.encode() + b"\r\n\r\n" + FORM


def test_a_good_request_verifies_by_the_stacks_own_scheme_and_secret(
    deployed: Callable[..., None], doctor: Doctor
) -> None:
    deployed()

    assert doctor(vapi()) == (0, "The signature verifies, by the secret id-vapi-webhook.\n")
    assert doctor(twilio()) == (0, "The signature verifies, by the auth token id-twilio-auth-token.\n")


def test_another_stack_and_scheme_are_looked_up_by_name(deployed: Callable[..., None], doctor: Doctor) -> None:
    deployed("acme", SignatureScheme="body-hmac", SignatureOverrides='{"signature_header": "x-signature"}')
    unsigned_time = vapi(payload="{body}", timestamp_header="")

    assert doctor(unsigned_time, "--stack-name", "acme")[0] == 0
    code, said = doctor(unsigned_time, "--stack-name", "acme", "--scheme", "vapi-hmac")
    assert code == 1
    assert "signs the body alone" in said
    assert (
        doctor(
            vapi(payload="{body}.{timestamp}"),
            "--stack-name",
            "acme",
            "--scheme",
            "vapi-hmac",
            "--overrides",
            '{"payload": "{body}.{timestamp}"}',
        )[0]
        == 0
    )


def test_a_secret_of_another_stack_or_parameter_is_named_and_not_shown(
    deployed: Callable[..., None], doctor: Doctor
) -> None:
    deployed(stored={"vapi-webhook": SECRET, "vapi-api-key": "key-of-ours", "twilio-auth-token": TOKEN})
    deployed("staging", {"vapi-webhook": OTHER})

    code, said = doctor(vapi(OTHER))
    assert code == 1
    assert "of another environment, the stack staging" in said
    assert "the value of vapi-api-key" in doctor(vapi("key-of-ours"))[1]
    assert "the stack of `switchboard up`" in doctor(vapi(development.VAPI_WEBHOOK_SECRET))[1]
    assert "none of the secrets" in doctor(vapi("nobody's"))[1]


def test_who_may_not_read_the_others_is_told_of_the_own_only(
    deployed: Callable[..., None], doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed()
    deployed("staging", {"vapi-webhook": OTHER})
    real = boto3.Session.client

    def client(self: Any, service: str, **options: Any) -> Any:
        made: Any = real(self, service, **options)  # type: ignore[call-overload]  # the name is not a literal here
        if service == "ssm":
            denied = made.exceptions.ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath")

            def paginate(**_: Any) -> Any:
                raise denied

            monkeypatch.setattr(
                made, "get_paginator", lambda _: type("Pages", (), {"paginate": staticmethod(paginate)})
            )
        return made

    monkeypatch.setattr(boto3.Session, "client", client)

    assert "none of the secrets" in doctor(vapi(OTHER))[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "has no secret"), ("[]", "has no secret"), (SECRET, "typed by hand"), ("[1]", "typed by hand")],
)
def test_a_parameter_that_holds_no_secret_is_told_from_a_wrong_one(
    deployed: Callable[..., None], doctor: Doctor, text: str | None, words: str
) -> None:
    deployed(stored={"vapi-webhook": [text]} if text else {"vapi-api-key": OTHER})

    assert words in doctor(vapi())[1]


def test_a_secret_ends_at_its_time(deployed: Callable[..., None], doctor: Doctor) -> None:
    entries = [{"id": "old", "secret": SECRET, "not_after": NOW}, {"id": "new", "secret": OTHER}]
    deployed(stored={"vapi-webhook": [json.dumps(entries)]})

    assert "the secret old, whose time" in doctor(vapi())[1]
    assert doctor(vapi(at=NOW - 1), "--now", str(int(NOW) - 1))[0] == 0


def test_with_a_secret_of_ones_own_aws_is_not_asked(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devkit.target.chosen", None)

    assert doctor(vapi(), "--secret-stdin", typed=f"{SECRET}\n")[0] == 0
    assert "white space" in doctor(vapi(), "--secret-stdin", typed=f"{SECRET} \n")[1]
    assert "white space" in doctor(vapi(), "--secret-stdin", typed=f"{SECRET}\n\n")[1]
    assert doctor(twilio(), "--secret-stdin", "--public-url", BASE, typed=TOKEN)[0] == 0
    assert doctor(twilio(), "--secret-stdin", "--public-url", f"{BASE}/voice/inbound?a=1", typed=TOKEN)[0] == 0
    said = doctor(twilio(), "--secret-stdin", "--public-url", "https://x.example", typed=TOKEN)[1]
    assert "none of the auth tokens" in said


def test_at_a_terminal_the_secret_is_asked_for_without_echo(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: SECRET if "vapi-webhook" in prompt else "")

    assert doctor(vapi(), "--secret-stdin", typed=None)[0] == 0


def test_a_secret_of_ones_own_may_be_tried_on_a_stacks_settings(deployed: Callable[..., None], doctor: Doctor) -> None:
    deployed("acme", {"vapi-webhook": OTHER}, SignatureOverrides='{"algorithm": "sha512"}')

    assert doctor(vapi(algorithm="sha512"), "--stack-name", "acme", "--secret-stdin", typed=SECRET)[0] == 0


def test_the_url_at_twilio_explains_what_the_stack_does_not_expect(
    deployed: Callable[..., None], doctor: Doctor
) -> None:
    deployed()
    elsewhere = twilio(url="https://own.example/voice/inbound")

    assert "another URL" in doctor(elsewhere)[1]
    code, said = doctor(elsewhere, "--public-url", "https://own.example/voice/inbound")
    assert code == 1
    assert "the host own.example, and this stack expects voice.example.com" in said


def test_without_any_url_twilios_signature_cannot_be_judged(doctor: Doctor) -> None:
    nowhere = twilio().replace(b"Host: x\r\n", b"")

    assert doctor(nowhere, "--secret-stdin", typed=TOKEN) == (
        1,
        "switchboard: the URL that Twilio signs is not known: give --public-url\n",
    )


@pytest.mark.parametrize(
    "moment", [str(int(NOW)), str(int(NOW * 1000)), "2027-01-15T08:00:00Z", "2027-01-15T10:00:00+02:00"]
)
def test_when_it_arrived_can_be_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + 9e6)

    assert "not judged" in doctor(vapi(), "--secret-stdin", typed=SECRET)[1]
    assert "judged" not in doctor(vapi(), "--secret-stdin", "--now", moment, typed=SECRET)[1]
    code, said = doctor(vapi(at=NOW - 400), "--secret-stdin", "--now", moment, typed=SECRET)
    assert (code, "400 seconds before" in said) == (1, True)
    assert doctor(vapi(at=NOW - 400), "--secret-stdin", "--now", moment, "--skew-ok", typed=SECRET)[0] == 0


@pytest.mark.parametrize(
    "option",
    [
        ("--now", "soon"),
        ("--public-url", "https://[::1"),
        ("--public-url", "voice.example.com"),
        ("--public-url", "ftp://voice.example.com"),
        ("--public-url", "https:///voice"),
    ],
)
def test_a_moment_or_a_url_that_is_none_is_refused(doctor: Doctor, option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        doctor(vapi(), "--secret-stdin", *option, typed=SECRET)


@pytest.mark.parametrize("overrides", ["no json", "5", '{"payload": "{body}{secret}"}', '{"invented": "x"}'])
def test_a_scheme_that_cannot_work_is_said_to_be_one(doctor: Doctor, overrides: str) -> None:
    code, said = doctor(vapi(), "--secret-stdin", "--overrides", overrides, typed=SECRET)

    assert code == 1
    assert "no function starts with" in said


def test_a_body_that_a_function_could_not_read_is_said_to_be_one(doctor: Doctor) -> None:
    event = {"rawPath": "/webhook/vapi", "headers": {}, "body": "!", "isBase64Encoded": True}

    code, said = doctor(event, "--secret-stdin", typed=SECRET)

    assert code == 1
    assert said.startswith("The request is refused before its signature is looked at, because ")


def test_the_request_may_come_from_standard_input(
    deployed: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed()
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("sys.stdin", Input(json.dumps(vapi())))

    assert cli.main(["doctor", "-"]) == 0
    assert cli.main(["doctor", "-", "--secret-stdin"]) == 1
    assert "both the request and the secret" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "FILE"),
        (["--last", "x"], "FILE"),
        (["no-such-file"], "cannot read no-such-file"),
        (["events/env.json", "--stack-name", "nowhere"], "no headers"),
        (["events/vapi_webhook/hang.json", "--stack-name", "nowhere"], "there is no stack 'nowhere'"),
        (["--last", "--stack-name", "nowhere"], "stack 'nowhere' has no logs"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    account: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.chdir(ROOT)

    assert cli.main(["doctor", *arguments]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("level", "words"), [("INFO", ""), ("WARN", "; with LogLevel=WARN it would not be there, only in the metrics")]
)
def test_the_newest_refusal_is_explained(
    account: Callable[[str], Any],
    deployed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
    words: str,
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    deployed("acme", LogLevel=level)
    logs = account("logs")
    group = {"logGroupName": "/aws/lambda/acme-vapi-webhook"}
    logs.create_log_group(**group)

    assert cli.main(["doctor", "--last", "--stack-name", "acme"]) == 0
    assert capsys.readouterr().out == f"no refusal is in the logs of acme{words}\n"

    logs.create_log_stream(**group, logStreamName="s")
    line = {"message": "signature refused", "reason": "timestamp_stale"}
    moment = {"timestamp": int(time.time() * 1000), "message": json.dumps(line)}
    logs.put_log_events(**group, logStreamName="s", logEvents=[moment])

    assert cli.main(["doctor", "--last", "--stack-name", "acme"]) == 1
    head, sentence = capsys.readouterr().out.splitlines()
    assert head.endswith(" UTC  POST /webhook/vapi  timestamp_stale")
    assert sentence.startswith("Refused because the request is older than SignatureTolerance allows: ")


SIGNED = [path for path in sorted((ROOT / "events").glob("*/*.json")) if events.is_signed(events.read(path))]


@pytest.mark.parametrize("path", SIGNED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_signed_event_is_judged_as_its_name_says(doctor: Doctor, path: Path) -> None:
    name = "twilio-auth-token" if "twilio" in path.parent.name else "vapi-webhook"
    typed = development.SECRETS[name]
    code, said = doctor(path.read_bytes(), "--secret-stdin", "--public-url", development.PUBLIC_BASE_URL, typed=typed)

    assert code == path.name.startswith(("forged_", "stale_", "not_json"))
    assert said.startswith("The signature")


# docs/signatures.md

PAGE = ROOT / "docs/signatures.md"


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without their first two lines."""
    lines = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = itertools.takewhile(
        lambda line: line.startswith("|"), itertools.dropwhile(lambda line: line[:1] != "|", lines)
    )
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows][2:]


def test_the_example_of_the_page_is_answered_as_it_says(doctor: Doctor) -> None:
    capture, answer = (block.text for block in markdown.blocks(PAGE) if block.language == "text")

    assert doctor(capture.encode(), "--secret-stdin", typed=development.VAPI_WEBHOOK_SECRET) == (1, answer)


def test_the_page_knows_every_scheme_its_headers_and_its_protection() -> None:
    rows = {row[0]: row for row in table("How Vapi signs")}

    assert list(rows) == [f"`{name}`" for name in PRESETS]
    for name, scheme in PRESETS.items():
        _, headers, _, protection = rows[f"`{name}`"]
        named = [scheme.signature_header, scheme.timestamp_header, scheme.id_header]
        assert headers == ", ".join(f"`{header}`" for header in named if header)
        assert protection == ("yes" if scheme.replay_protected else "no")


def test_the_page_knows_every_part_of_a_scheme() -> None:
    parts = PAGE.read_text().split("The parts, with")[1].split("For example")[0]
    named = re.findall(
        r"`(\w+)`", " ".join(line.split("|")[1] for line in parts.splitlines() if line.startswith("| `"))
    )

    assert named == [*signatures.Scheme._fields[1:]]


def test_the_page_explains_every_reason_code_as_the_doctor_does() -> None:
    assert table("Reason codes") == [[f"`{code}`", row.why, row.change] for code, row in REASONS.items()]
