"""A stack that was just deployed, an organisation at Vapi and an account at Twilio, for the tests of `connect`."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import httpx
from moto import mock_aws

from agent import agent
from devkit import connect, development, disconnect, plan, remembered
from devkit.deployed import Deployed
from devkit.session import Ways
from devkit.target import Target
from devkit.twilio_fake import TwilioFake
from devkit.vapi_fake import VapiFake
from devkit.wanted import Asked
from switchboard.desk import Agent
from switchboard.errors import SignatureRefused
from switchboard.signatures import Secret, verify

STACK = "acme"
NUMBER = "+15550100199"
BASE = "https://voice.example.com"
KEY_SID, KEY_SECRET = "SK" + "5e" * 16, "development-only-twilio-api-secret"
OLD_URL = "https://demo.twilio.com/welcome/voice/"
PARAMETERS: Mapping[str, str] = {
    "Stage": "prod",
    "VapiApiUrl": "https://api.vapi.ai",
    "TwilioApiUrl": "https://api.twilio.com",
    "SignatureScheme": "vapi-hmac",
    "SignatureOverrides": "",
    "AssistantId": "",
    "PhoneNumberId": "",
    "CredentialId": "",
    "TwilioAccountSids": development.TWILIO_ACCOUNT_SID,
    "TwilioApiKeySid": "",
    "ControlAuthentication": "true",
    "StoreTranscripts": "true",
    "VoiceWay": "bypass",
    "SipUri": "",
    "VapiInboundUrl": "https://api.vapi.ai/twilio/inbound_call",
    "AllowedOrgIds": "",
}
OUTPUTS: Mapping[str, str] = {
    "VapiWebhookUrl": f"{BASE}/webhook/vapi",
    "VoiceUrl": f"{BASE}/voice/inbound",
    "VoiceFallbackUrl": "https://fallback.example.com/",
    "VoiceStatusUrl": f"{BASE}/voice/status",
    "TableName": f"{STACK}-calls",
}
SECRETS = development.SECRETS | {"twilio-api-secret": KEY_SECRET}


TLS = ssl.create_default_context()  # made once, because that takes long; the fakes speak plain HTTP


class Crash(BaseException):
    """The command dies, here and now."""


class Wire(httpx.BaseTransport):
    """Carries requests to a fake, and can cut the command down after one that changes something."""

    def __init__(self, world: "World", url: str) -> None:
        self._world, self._url = world, url
        self._http = httpx.HTTPTransport(verify=TLS, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one."""
        request.url = httpx.URL(self._url).copy_with(raw_path=request.url.raw_path)
        request.headers["host"] = request.url.netloc.decode()
        answer = self._http.handle_request(request)
        answer.read()
        if request.method != "GET":
            self._world.step()
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class Parameters:
    """SSM, in which the command can be cut down as well."""

    def __init__(self, world: "World", ssm: Any) -> None:
        self._world, self._ssm = world, ssm
        self.exceptions = ssm.exceptions

    def get_parameter(self, **asked: Any) -> Any:
        """As SSM."""
        return self._ssm.get_parameter(**asked)

    def put_parameter(self, **asked: Any) -> Any:
        """As SSM, and a step."""
        made = self._ssm.put_parameter(**asked)
        self._world.step()
        return made

    def delete_parameter(self, **asked: Any) -> Any:
        """As SSM, and a step."""
        made = self._ssm.delete_parameter(**asked)
        self._world.step()
        return made


class World:
    """Everything outside, and how the commands are run in it.

    A step is a change of the world; `crash_at` is the one, counted from 1, that is the last. Before a step there is what
    there was after the one before it, so nothing is gained by crashes between.
    """

    def __init__(self, vapi: VapiFake, twilio: TwilioFake, ssm: Any) -> None:
        self.vapi, self.twilio, self.ssm = vapi, twilio, ssm
        self.parameters = dict(PARAMETERS)
        self.secrets: dict[str, str] = dict(SECRETS)
        self.secret_id = "first"
        self.agent: Agent = agent
        self.slept: list[float] = []
        self.seconds = 5.0
        self.steps = 0
        self.crash_at = 0
        self.sid = twilio.numbers.add(NUMBER, voice_url=OLD_URL, voice_method="GET", status_callback="")

    def step(self) -> None:
        """Something has changed."""
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash

    @property
    def known(self) -> Deployed:
        """The stack as it was deployed."""
        return Deployed(
            stack=STACK,
            stack_id=f"arn:aws:cloudformation:us-east-1:123456789012:stack/{STACK}/1",
            parameters=self.parameters,
            outputs=OUTPUTS,
            secrets={name: {"id": self.secret_id, "secret": value} for name, value in self.secrets.items() if value},
            base_url=BASE,
        )

    @property
    def target(self) -> Target:
        """The stack's AWS account."""
        return Target(STACK, self._client)

    def _client(self, service: str) -> Any:
        if service == "ssm":
            return Parameters(self, self.ssm)
        make: Any = boto3.client  # its overloads want the name of the service as a literal
        return make(service, region_name="us-east-1")

    @property
    def ways(self) -> Ways:
        """How the commands reach it all."""
        return Ways(
            agent=self.agent,
            vapi=Wire(self, self.vapi.url),
            twilio=Wire(self, self.twilio.url),
            stack=httpx.MockTransport(self._stack),
            seconds=self.seconds,
            probe_seconds=0,
            sleep=self.slept.append,
        )

    def connect(self, *, probing: bool = False, **asked: Any) -> int:
        """Run `switchboard connect --yes`."""
        return connect.connect(self.target, self.known, Asked(**asked), self.ways, yes=True, probing=probing)

    def plan(self, **asked: Any) -> int:
        """Run `switchboard plan`."""
        return plan.plan(self.target, self.known, Asked(**asked), self.ways)

    def disconnect(self) -> int:
        """Run `switchboard disconnect --yes`."""
        return disconnect.disconnect(self.target, self.known, self.ways, yes=True)

    def _stack(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) == OUTPUTS["VoiceFallbackUrl"]:
            return httpx.Response(200, text="<Response><Say>Sorry.</Say></Response>")
        secret = Secret("s", self.secrets["vapi-webhook"])
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            now = float(headers.get("x-timestamp", "0"))
            verify(self.known.scheme, headers, request.content, [secret], now=now, tolerance=300)
        except SignatureRefused:
            return httpx.Response(401)
        return httpx.Response(200, json={})

    @property
    def line(self) -> dict[str, Any]:
        """The number at Twilio."""
        return self.twilio.numbers.numbers[self.sid]

    @property
    def connection(self) -> dict[str, str]:
        """What the functions know."""
        return remembered.connection(self.ssm, STACK)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """What Vapi has of a kind."""
        return list(self.vapi.account.objects[kind].values())

    def only(self, kind: str) -> dict[str, Any]:
        """The one object that Vapi has of a kind."""
        [found] = self.objects(kind)
        return found

    def state(self) -> dict[str, Any]:
        """All that there is outside, ids by what they stand for, so that two worlds can be compared."""
        names = {
            str(one["id"]): f"<{kind} {_name(one)}>" for kind in self.vapi.account.objects for one in self.objects(kind)
        }
        kept = {
            kind: sorted(
                (
                    {key: value for key, value in one.items() if key not in ("createdAt", "updatedAt")}
                    for one in self.objects(kind)
                ),
                key=_name,
            )
            for kind in self.vapi.account.objects
        }
        parameters = {
            one["Name"]: self.ssm.get_parameter(Name=one["Name"], WithDecryption=True)["Parameter"]["Value"]
            for one in self.ssm.describe_parameters()["Parameters"]
        }
        line = {name: value for name, value in self.line.items() if name != "sid"}
        text = json.dumps({"vapi": kept, "ssm": parameters, "twilio": line}, sort_keys=True)
        for id, name in names.items():
            text = text.replace(id, name)
        return dict(json.loads(text))


def _name(one: Mapping[str, Any]) -> str:
    function = one.get("function") or {}
    return str(function.get("name") or one.get("number") or one.get("sipUri") or one.get("name") or one["id"])


@contextmanager
def world() -> Iterator[World]:
    """A world of one's own."""
    with mock_aws(), TwilioFake(keys={KEY_SID: KEY_SECRET}) as twilio, VapiFake(twilio=twilio.numbers) as vapi:
        yield World(vapi, twilio, boto3.client("ssm", region_name="us-east-1"))
