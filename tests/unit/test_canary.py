"""`switchboard canary`: what it asks of a stack, what it takes for an answer, and that it gives nothing away."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from moto import mock_aws

from devkit import canary, cli, secrets
from devkit.errors import UserError
from devkit.target import Target
from switchboard import signatures
from switchboard.errors import SignatureRefused
from switchboard.signatures import PRESETS, Secret
from tests.conftest import NOW

SECRET = "hunter2-is-not-shown"
TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "https://voice.example.com"
FALLBACK = "https://abc.lambda-url.eu-west-1.on.aws/"
PARAMETERS = ("SignatureScheme", "SignatureOverrides", "AllowedOrgIds", "TwilioAccountSids")
TEMPLATE = {
    "Parameters": {name: {"Type": "String", "Default": ""} for name in PARAMETERS},
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    "Outputs": {
        "HealthUrl": {"Value": f"{BASE}/health"},
        "VapiWebhookUrl": {"Value": f"{BASE}/webhook/vapi"},
        "VoiceStatusUrl": {"Value": f"{BASE}/voice/status"},
        "VoiceFallbackUrl": {"Value": FALLBACK},
        "VoiceUrl": {"Value": f"{BASE}/voice/inbound"},
    },
}
TWIML = "<Response><Say>Sorry.</Say><Hangup/></Response>"

type Deploy = Callable[..., Target]


class Door:
    """A stack's public side: checks signatures with the project's own verifier. What it is told to, it answers wrongly."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.scheme = PRESETS["vapi-hmac"]
        self.secret = SECRET
        self.instead: dict[str, httpx.Response | Exception] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        instead = self.instead.get(request.url.path)
        if isinstance(instead, Exception):
            raise instead
        return instead or self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) == FALLBACK:
            return httpx.Response(200, text=TWIML, headers={"content-type": "text/xml; charset=utf-8"})
        match request.method, request.url.path:
            case "GET", "/health":
                return httpx.Response(200, json={"status": "ok"})
            case "POST", "/webhook/vapi":
                return httpx.Response(200 if self._vapi_signed(request) else 401)
            case "POST", "/voice/status":
                pairs = signatures.parse_form(request.content)
                expected = signatures.sign_twilio(f"{BASE}/voice/status", pairs, TOKEN)
                return httpx.Response(204 if request.headers["x-twilio-signature"] == expected else 403)
        return httpx.Response(404)

    def _vapi_signed(self, request: httpx.Request) -> bool:
        try:
            signatures.verify(
                self.scheme, request.headers, request.content, [Secret("s", self.secret)], now=NOW, tolerance=300
            )
        except SignatureRefused:
            return False
        return True

    def bodies(self, path: str) -> list[bytes]:
        """What was sent there."""
        return [request.content for request in self.asked if request.url.path == path]


@pytest.fixture
def door() -> Door:
    """A front door that is as it should be."""
    return Door()


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Make a stack with these parameters and secrets."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    make: Any = boto3.client

    def made(stored: dict[str, str] | None = None, **parameters: str) -> Target:
        given = {"SignatureScheme": "vapi-hmac", **parameters}
        make("cloudformation").create_stack(
            StackName="switchboard",
            TemplateBody=json.dumps(TEMPLATE),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        for name, value in (stored or {"vapi-webhook": SECRET, "twilio-auth-token": TOKEN}).items():
            text = json.dumps([{"id": "one", "secret": value}])
            make("ssm").put_parameter(Name=secrets.path("switchboard", name), Value=text, Type="SecureString")
        return Target("switchboard", make)

    with mock_aws():
        yield made


def sing(chosen: Target, door: Door, naps: list[float] | None = None) -> list[canary.Found]:
    """Ask everything of the door."""
    slept = [] if naps is None else naps
    return canary.sing(chosen, httpx.MockTransport(door), lambda: NOW, slept.append)


def test_a_stack_that_is_as_it_should_be_passes_every_check(deploy: Deploy, door: Door) -> None:
    found = sing(deploy(), door)

    assert [str(one) for one in found] == [
        "ok   GET /health: 200",
        "ok   a signed webhook: 200",
        "ok   a forged webhook: 401",
        "ok   Twilio's status callback: 204",
        "ok   Twilio's fallback URL: 200",
    ]


def test_it_sends_nothing_that_a_stack_acts_on(deploy: Deploy, door: Door) -> None:
    sing(deploy(), door)

    signed, forged = door.bodies("/webhook/vapi")
    assert json.loads(signed) == {"message": {"type": "switchboard.canary", "timestamp": int(NOW * 1000)}}
    assert signed == forged
    [form] = door.bodies("/voice/status")
    assert form == f"AccountSid=AC{'ca' * 16}&CallSid=CA{'ca' * 16}&CallStatus=ringing&SequenceNumber=0".encode()
    assert {request.headers["user-agent"] for request in door.asked} == {"switchboard-canary"}


def test_it_comes_from_whom_the_stack_admits(deploy: Deploy, door: Door) -> None:
    account = "AC" + "7" * 32
    sing(deploy(AllowedOrgIds="org-1,org-2", TwilioAccountSids=f"{account},AC{'8' * 32}"), door)

    assert json.loads(door.bodies("/webhook/vapi")[0])["message"]["call"]["orgId"] == "org-1"
    assert f"AccountSid={account}&".encode() in door.bodies("/voice/status")[0]


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/health", httpx.Response(503), "BAD  GET /health: 503 instead of 200"),
        ("/webhook/vapi", httpx.Response(401), "BAD  a signed webhook: 401 instead of 200"),
        ("/webhook/vapi", httpx.Response(200), "BAD  a forged webhook: 200 instead of 401"),
        ("/voice/status", httpx.Response(403), "BAD  Twilio's status callback: 403 instead of 204"),
        ("/", httpx.Response(500), "BAD  Twilio's fallback URL: 500 instead of 200"),
        (
            "/",
            httpx.Response(200, text="<Response/>", headers={"content-type": "text/plain"}),
            "BAD  Twilio's fallback URL: 200, but content type text/plain",
        ),
        ("/", httpx.Response(200, text="<oh", headers={"content-type": "text/xml"}), "BAD  Twilio's fallback URL: 200"),
        ("/health", httpx.ReadTimeout("slow"), "BAD  GET /health: no answer from voice.example.com"),
    ],
)
def test_what_is_not_as_it_should_be_is_told_in_one_line(
    deploy: Deploy, door: Door, path: str, answer: httpx.Response | Exception, said: str
) -> None:
    door.instead[path] = answer

    bad = [str(one) for one in sing(deploy(), door) if not one.good]

    assert len(bad) == 1
    assert bad[0].startswith(said)


def test_a_new_name_that_is_not_known_yet_is_waited_for_and_nothing_else_is_tried_again(
    deploy: Deploy, door: Door
) -> None:
    naps: list[float] = []
    door.instead["/health"] = httpx.ConnectError("unknown name")
    door.instead["/voice/status"] = httpx.ReadTimeout("slow")

    bad = [one for one in sing(deploy(), door, naps) if not one.good]

    assert len(bad) == 2
    assert len(naps) == canary.TRIES - 1
    assert len(door.bodies("/voice/status")) == 1


def test_names_below_localhost_are_this_machine_and_keep_their_name(deploy: Deploy) -> None:
    assert canary._loopback("http://acme.localhost:4566/health") == (
        "http://127.0.0.1:4566/health",
        {"host": "acme.localhost:4566"},
    )
    assert canary._loopback("https://localhost.example.com/") == ("https://localhost.example.com/", {})


@pytest.mark.parametrize("scheme", sorted(PRESETS))
def test_it_signs_as_the_stack_expects(deploy: Deploy, door: Door, scheme: str) -> None:
    door.scheme, door.secret = PRESETS[scheme], "c2VjcmV0LW9mLW91ci1vd24="
    stored = {"vapi-webhook": door.secret, "twilio-auth-token": TOKEN}

    assert all(one.good for one in sing(deploy(stored, SignatureScheme=scheme), door))


@pytest.mark.parametrize(
    ("stored", "parameters", "said"),
    [
        ({"twilio-auth-token": TOKEN}, {}, "vapi-webhook is not stored: `switchboard secrets put vapi-webhook`"),
        (
            {"vapi-webhook": "not base64!", "twilio-auth-token": TOKEN},
            {"SignatureScheme": "standard-webhooks"},
            "not base64",
        ),
        (None, {"SignatureScheme": "none"}, "no function starts"),
        (None, {"SignatureOverrides": "{"}, "no function starts"),
    ],
)
def test_a_stack_that_cannot_check_anything_is_one_line(
    deploy: Deploy, door: Door, stored: dict[str, str] | None, parameters: dict[str, str], said: str
) -> None:
    chosen = deploy(stored, **parameters)

    with pytest.raises(UserError, match=said):
        sing(chosen, door)


def test_a_stack_without_a_phone_is_not_asked_as_twilio_would(deploy: Deploy, door: Door) -> None:
    found = sing(deploy({"vapi-webhook": SECRET}), door)

    assert all(one.good for one in found)
    assert "ok   Twilio's status callback: not asked, for twilio-auth-token is not stored" in map(str, found)
    assert door.bodies("/voice/status") == []


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[canary.Found]
) -> tuple[int, str]:
    """The exit code and the words of the command when this is found."""
    monkeypatch.setattr(canary, "sing", lambda chosen: found)
    code = cli.main(["canary", "--stack-name", "acme"])
    return code, capsys.readouterr().out


def test_the_command_succeeds_when_all_is_well(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, capsys, [canary.Found("GET /health", True, "200")]) == (0, "ok   GET /health: 200\n")


def test_the_command_fails_with_what_to_do_next(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = command(monkeypatch, capsys, [canary.Found("a signed webhook", False, "401 instead of 200")])

    assert code == 1
    assert said.splitlines()[-1] == (
        "next: `switchboard doctor --last --stack-name acme` says why the last request was refused"
    )


def test_without_a_stack_it_says_so(deploy: Deploy, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["canary"]) == 1
    assert "there is no stack 'switchboard' here" in capsys.readouterr().err
