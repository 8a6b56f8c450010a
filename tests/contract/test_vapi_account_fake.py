"""The fake Vapi's objects: as strict as the published schemas, lists as published, failures that may have acted."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from devkit import development
from devkit.loopback import DOOR
from devkit.twilio_fake import TwilioFake
from devkit.vapi_account_fake import KINDS, MASKED
from devkit.vapi_fake import VapiFake
from devkit.vapi_sender_fake import proof
from devkit.vapi_spec import Spec
from devkit.wanted import plan
from switchboard.errors import SignatureRefused
from switchboard.signatures import PRESETS, Scheme, Secret, choose, sign, verify

NUMBER = "+15550100199"
ASSISTANT: dict[str, Any] = {"name": "Desk", "server": {"url": "https://a.example.com"}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "find"}}
PHONE: dict[str, Any] = {
    "provider": "twilio",
    "number": NUMBER,
    "twilioAccountSid": development.TWILIO_ACCOUNT_SID,
    "twilioAuthToken": development.TWILIO_AUTH_TOKEN,
}
PLAN = {"type": "hmac", "secretKey": "s3cret", "algorithm": "sha256"}
CREDENTIAL: dict[str, Any] = {"provider": "custom-credential", "name": "mine", "authenticationPlan": PLAN}
BODIES = {"assistant": ASSISTANT, "tool": TOOL, "phone-number": PHONE, "credential": CREDENTIAL}
ANSWERS = {
    "assistant": "Assistant",
    "tool": "FunctionTool",
    "phone-number": "TwilioPhoneNumber",
    "credential": "CustomCredential",
}


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec.load().closed()


@pytest.fixture
def twilio() -> Iterator[TwilioFake]:
    with TwilioFake() as fake:
        fake.numbers.add(NUMBER, voice_url="https://old.example.com")
        yield fake


@pytest.fixture
def vapi(twilio: TwilioFake) -> Iterator[VapiFake]:
    with VapiFake(twilio=twilio.numbers) as fake:
        yield fake


@pytest.fixture
def api(vapi: VapiFake) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {development.VAPI_API_KEY}"}
    with httpx.Client(base_url=vapi.url, headers=headers, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_made_read_listed_changed_and_deleted_and_every_answer_is_as_published(
    api: httpx.Client, spec: Spec, kind: str
) -> None:
    made = api.post(f"/{kind}", json=BODIES[kind])
    id = made.json()["id"]
    read, listed = api.get(f"/{kind}/{id}"), api.get(f"/{kind}")
    changed = api.patch(f"/{kind}/{id}", json={"provider": "twilio"} if kind == "phone-number" else {})
    deleted = api.delete(f"/{kind}/{id}")

    assert [one.status_code for one in (made, read, listed, changed, deleted)] == [201, 200, 200, 200, 200]
    assert read.json() == made.json() == deleted.json() | {"updatedAt": made.json()["updatedAt"]}
    assert listed.json() == [made.json()]
    assert spec.faults(ANSWERS[kind], made.json()) == []
    assert api.get(f"/{kind}/{id}").status_code == api.delete(f"/{kind}/{id}").status_code == 404
    assert api.get(f"/{kind}").json() == []


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("assistant", {"recordingEnabled": True}, "property recordingEnabled should not exist"),
        ("assistant", {"server": {"url": "https://a", "secret": "x"}}, "server.property secret should not exist"),
        ("assistant", {"name": "n" * 41}, "too long"),
        ("assistant", {"serverMessages": ["shout"]}, "serverMessages.0"),
        ("assistant", {"model": {"provider": "openai", "model": "gpt-4.1", "toolIds": ["none"]}}, "does not exist"),
        ("assistant", {"server": {"url": "https://a", "credentialId": "none"}}, "does not exist"),
        ("tool", {"type": "dance"}, "type must be one of"),
        ("tool", {"type": "function", "function": {}}, "'name' is a required property"),
        ("phone-number", {"provider": "pigeon"}, "provider must be one of"),
        ("phone-number", {"provider": "twilio", "number": NUMBER}, "'twilioAccountSid' is a required property"),
        ("phone-number", PHONE | {"twilioAuthToken": "wrong"}, "Twilio: Authenticate"),
        ("phone-number", PHONE | {"number": "+15550100100"}, "is not a number of this account"),
        ("credential", {"provider": "custom-credential"}, "'authenticationPlan' is a required property"),
        ("credential", CREDENTIAL | {"secret": "x"}, "property secret should not exist"),
    ],
)
def test_what_the_published_schemas_forbid_is_refused(
    api: httpx.Client, vapi: VapiFake, kind: str, body: dict[str, Any], told: str
) -> None:
    answer = api.post(f"/{kind}", json=body)

    assert answer.status_code == 400
    assert told in answer.text
    assert vapi.account.objects[kind] == {}


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("assistant", {"shout": True}, "property shout should not exist"),
        ("tool", {"async": "yes"}, "async"),
        ("phone-number", {"name": "n"}, "provider must be one of"),
        ("phone-number", {"provider": "twilio", "assistantId": "none"}, "does not exist"),
        ("credential", {"authenticationPlan": {"type": "hmac"}}, "authenticationPlan"),
    ],
)
def test_so_is_such_a_change(api: httpx.Client, kind: str, change: dict[str, Any], told: str) -> None:
    made = api.post(f"/{kind}", json=BODIES[kind]).json()
    answer = api.patch(f"/{kind}/{made['id']}", json=change)

    assert answer.status_code == 400
    assert told in answer.text
    assert api.get(f"/{kind}/{made['id']}").json() == made


def test_a_change_replaces_each_field_as_a_whole(api: httpx.Client) -> None:
    id = api.post("/assistant", json=ASSISTANT | {"monitorPlan": {"listenEnabled": False}}).json()["id"]
    changed = api.patch(f"/assistant/{id}", json={"monitorPlan": {"controlEnabled": True}}).json()

    assert changed["monitorPlan"] == {"controlEnabled": True}
    assert changed["server"] == ASSISTANT["server"]


def test_an_id_that_is_set_to_null_is_unset(api: httpx.Client) -> None:
    assistant = api.post("/assistant", json=ASSISTANT).json()["id"]
    id = api.post("/phone-number", json=PHONE | {"assistantId": assistant}).json()["id"]
    changed = api.patch(f"/phone-number/{id}", json={"provider": "twilio", "assistantId": None, "server": None}).json()

    assert "assistantId" not in changed
    assert "server" not in changed


def test_lists_are_cut_and_begin_with_the_newest(api: httpx.Client) -> None:
    ids = [api.post("/tool", json=TOOL).json()["id"] for _ in range(4)]
    newest = api.get("/tool", params={"limit": 2}).json()
    older = api.get("/tool", params={"limit": 2, "createdAtLt": newest[-1]["createdAt"]}).json()

    assert [one["id"] for one in newest + older] == ids[::-1]
    assert [api.get("/tool", params=query).status_code for query in ({"limit": 1001}, {"page": 1})] == [400, 400]


def test_only_the_private_key_may_ask(api: httpx.Client, vapi: VapiFake) -> None:
    for key in ("wrong", development.VAPI_PUBLIC_KEY):
        answer = api.post("/assistant", json=ASSISTANT, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 401
    assert vapi.account.objects["assistant"] == {}


def test_an_import_overwrites_the_numbers_urls(api: httpx.Client, twilio: TwilioFake) -> None:
    api.post("/phone-number", json=PHONE | {"smsEnabled": False})
    [number] = twilio.numbers.numbers.values()

    assert number["voice_url"] == "https://api.vapi.ai/twilio/inbound_call"
    assert number["status_callback"] == "https://api.vapi.ai/twilio/status"
    assert number["sms_url"] == ""
    assert "Existing" in api.post("/phone-number", json=PHONE).text


def test_text_messages_go_along_unless_told_otherwise(api: httpx.Client, twilio: TwilioFake) -> None:
    api.post("/phone-number", json=PHONE)
    [number] = twilio.numbers.numbers.values()

    assert number["sms_url"] == "https://api.vapi.ai/twilio/sms"


def test_secrets_are_never_shown_and_not_written_down(api: httpx.Client, vapi: VapiFake) -> None:
    credential = api.post("/credential", json=CREDENTIAL)
    number = api.post("/phone-number", json=PHONE)

    assert credential.json()["authenticationPlan"]["secretKey"] == MASKED
    for secret in ("s3cret", development.TWILIO_AUTH_TOKEN, development.VAPI_API_KEY):
        assert secret not in credential.text + number.text + str(vapi.requests)


def test_credentials_may_not_be_offered(api: httpx.Client, vapi: VapiFake) -> None:
    vapi.account.credentials_offered = False

    assert api.get("/credential").status_code == api.post("/credential", json=CREDENTIAL).status_code == 404


def test_what_is_pinned_is_not_deleted(api: httpx.Client, vapi: VapiFake) -> None:
    id = api.post("/tool", json=TOOL).json()["id"]
    vapi.account.pinned.add(id)
    answer = api.delete(f"/tool/{id}")

    assert (answer.status_code, answer.json()["error"]) == (409, "tool_pinned")
    assert id in vapi.account.objects["tool"]


@pytest.mark.parametrize(("how", "acted"), [("refuse", 0), ("limit", 0), ("error", 0), ("lose", 1), ("timeout", 1)])
def test_failures_come_when_ordered_and_two_of_them_act(
    api: httpx.Client, vapi: VapiFake, how: str, acted: int
) -> None:
    order = {"what": "POST /tool", "how": how}
    assert httpx.post(vapi.url + DOOR + "failures", json=order).status_code == 200
    assert api.post("/assistant", json=ASSISTANT).status_code == 201
    try:
        status = api.post("/tool", json=TOOL, timeout=0.3).status_code
    except httpx.HTTPError:
        status = 0

    assert status == {"refuse": 400, "limit": 429, "error": 500}.get(how, 0)
    assert len(vapi.account.objects["tool"]) == acted
    assert api.post("/tool", json=TOOL).status_code == 201


def test_a_call_over_a_web_socket_needs_no_number_and_is_told(api: httpx.Client, vapi: VapiFake, spec: Spec) -> None:
    told: list[dict[str, Any]] = []
    vapi.tell = told.append
    order = {"assistantId": development.ASSISTANT_ID, "transport": {"provider": "vapi.websocket"}}
    call = api.post("/call", json=order)

    assert call.status_code == 201
    assert spec.faults("CreateCallDTO", order) == []
    assert call.json()["type"] == "vapi.websocketCall"
    assert [one["id"] for one in told] == [call.json()["id"]]


SCHEMES = [
    *PRESETS.values(),
    choose("vapi-hmac", {"prefix": "sha256=", "encoding": "base64"}),
    choose("vapi-hmac", {"algorithm": "sha512", "signature_header": "x-mine", "timestamp_header": "x-mine-at"}),
    choose("body-hmac", {"algorithm": "sha1", "secret_encoding": "base64"}),
    choose("bearer", {"signature_header": "x-token", "prefix": ""}),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: f"{scheme.name}-{scheme.algorithm}-{scheme.encoding}")
def test_a_credential_made_for_a_scheme_signs_what_the_functions_accept(
    api: httpx.Client, spec: Spec, scheme: Scheme
) -> None:
    body, secret, now = b'{"message":{}}', "whsec_c2VjcmV0IGtleSBvZiBvdXJz", 1_800_000_000
    if scheme.secret_encoding != "base64":
        secret = secret.removeprefix("whsec_")
    made = plan(scheme, secret)
    headers = {name.lower(): value for name, value in proof(made, body, now, "msg_1").items()}

    assert api.post("/credential", json=CREDENTIAL | {"authenticationPlan": made}).status_code == 201
    assert verify(scheme, headers, body, [Secret("s", secret)], now=now, tolerance=300) == "s"
    assert headers == sign(scheme, body, secret, timestamp=now, message_id="msg_1")
    with pytest.raises(SignatureRefused):
        verify(scheme, headers, body, [Secret("s", "YW5vdGhlcg==")], now=now, tolerance=300)


def test_a_plan_without_its_options_signs_by_the_published_defaults() -> None:
    body, now = b"{}", 1_800_000_000

    assert proof(PLAN, body, now, "") == sign(PRESETS["vapi-hmac"], body, "s3cret", timestamp=now)
    assert proof({"type": "bearer", "token": "t"}, body, now, "") == {"Authorization": "Bearer t"}
