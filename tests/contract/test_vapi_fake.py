"""The fake Vapi: as strict as the published schemas, and everything that it sends is valid by them."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from devkit import development, server_messages
from devkit.errors import UserError
from devkit.loopback import DOOR
from devkit.server_messages import Conversation
from devkit.vapi_fake import CALL_FIELDS, VapiFake, command_fault, order_faults
from devkit.vapi_spec import Spec
from switchboard.messages import Assistant
from switchboard.settings import Settings
from switchboard.ways import Leg, call_request

ORDER: dict[str, Any] = {
    "phoneNumberId": development.PHONE_NUMBER_ID,
    "phoneCallProviderBypassEnabled": True,
    "customer": {"number": "+15555550134"},
    "assistantId": development.ASSISTANT_ID,
}
SAY = {"type": "say", "content": "Hello."}
ADD = {"type": "add-message", "message": {"role": "system", "content": "News."}, "triggerResponseEnabled": False}
KEY = {"authorization": f"Bearer {development.VAPI_API_KEY}"}


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec.load()


@pytest.fixture
def vapi() -> Iterator[VapiFake]:
    with VapiFake() as fake:
        yield fake


def make(vapi: VapiFake, **changes: Any) -> dict[str, Any]:
    answer = httpx.post(vapi.url + "/call", json=ORDER | changes, headers=KEY)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def every_message() -> Iterator[dict[str, Any]]:
    """One message of every kind that a script can bring about, late in a call with some history."""
    call = {
        "id": "c-1",
        "orgId": "o-1",
        "type": "inboundPhoneCall",
        "status": "in-progress",
        "createdAt": "2026-11-22T13:00:00.000Z",
        "updatedAt": "2026-11-22T13:00:00.000Z",
        "customer": {"number": "+15555550134"},
        "assistantId": development.ASSISTANT_ID,
        "transport": {"provider": "twilio", "callSid": "CA" + "0" * 32},
        "monitor": {"controlUrl": "http://127.0.0.1:1/c-1/control"},
    }
    record = Conversation(0, "+15555550100")
    entry = server_messages.tool_call("call_1", "find", {"day": "monday"})
    record.said("assistant", "Hello.", 1, 1)
    record.said("user", "Hi.", 2, 1)
    record.called([entry], 3)
    record.returned("call_1", "find", "Monday.", 4)

    def made(kind: str, **fields: Any) -> dict[str, Any]:
        return server_messages.message(kind, call, 5, record, **fields)

    yield made("assistant-request")
    yield made("status-update", status="in-progress")
    yield made("status-update", status="ended", endedReason="customer-ended-call")
    yield made("speech-update", status="started", role="user", turn=1)
    yield made("user-interrupted")
    yield made("transcript", role="user", transcriptType="final", transcript="Hi.")
    yield made(
        "conversation-update", **{key: record.artifact()[key] for key in ("messages", "messagesOpenAIFormatted")}
    )
    yield server_messages.tool_calls(call, 5, record, [entry])
    yield made("end-of-call-report", endedReason="customer-ended-call", analysis={"summary": "Short."}, cost=0.05)


@pytest.mark.parametrize("message", list(every_message()), ids=lambda message: message["message"]["type"])
def test_every_message_is_valid_by_the_published_schema(spec: Spec, message: dict[str, Any]) -> None:
    inner = message["message"]

    assert spec.faults(spec.name_of("ServerMessage", inner["type"]), inner) == []
    assert spec.faults("ServerMessage", message) == []


def test_a_bypass_call_is_made_with_twiml_and_a_control_url(vapi: VapiFake, spec: Spec) -> None:
    call = make(vapi)

    assert call["type"] == "inboundPhoneCall"
    assert call["status"] == "queued"
    assert call["monitor"]["controlUrl"] == f"{vapi.url}/{call['id']}/control"
    assert call["phoneCallProviderDetails"]["twiml"].startswith('<Response><Connect><Stream url="wss://')
    assert not call["subscriptionLimits"]["concurrencyBlocked"]
    assert spec.faults("Call", call) == []


def test_without_bypass_vapi_dials_itself(vapi: VapiFake) -> None:
    call = make(vapi, phoneCallProviderBypassEnabled=False)

    assert call["type"] == "outboundPhoneCall"
    assert "phoneCallProviderDetails" not in call


def test_every_call_has_a_stream_of_its_own_that_leads_one_leg_to_it(vapi: VapiFake) -> None:
    first, second = make(vapi), make(vapi)
    streams = [call["phoneCallProviderDetails"]["twiml"].split('"')[1] for call in (first, second)]
    connected = [httpx.post(vapi.url + DOOR + "streams", json={"url": stream}) for stream in (*streams, streams[0])]

    assert streams[0] != streams[1]
    assert [answer.status_code for answer in connected] == [200, 200, 404]
    assert [answer.json()["id"] for answer in connected[:2]] == [first["id"], second["id"]]
    assert connected[0].json()["status"] == "in-progress"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metadata": {}}, "property metadata should not exist"),
        ({"assistantId": None}, "one of assistantId"),
        ({"phoneNumberId": None}, "phoneNumberId or phoneNumber must be given"),
        ({"phoneCallProviderBypassEnabled": "true"}, "phoneCallProviderBypassEnabled must be a boolean value"),
        ({"customer": None}, "customer.number must be a string"),
        ({"customer": {"number": "anonymous"}}, "customer.number must be a valid phone number"),
        ({"customer": {"number": "1", "numberE164CheckEnabled": False}}, "between 3 and 40"),
    ],
)
def test_an_order_that_vapi_would_refuse_is_refused(vapi: VapiFake, changes: dict[str, Any], told: str) -> None:
    answer = httpx.post(vapi.url + "/call", json=ORDER | changes, headers=KEY)

    assert answer.status_code == 400
    assert told in answer.text
    assert vapi.calls == {}


def test_a_withheld_number_is_taken_when_the_check_is_switched_off() -> None:
    assert order_faults(ORDER | {"customer": {"number": "anonymous", "numberE164CheckEnabled": False}}) == []


def test_an_order_may_have_the_published_fields_and_the_one_that_is_not_published(spec: Spec) -> None:
    assert set(spec.schemas["CreateCallDTO"]["properties"]) | {"phoneCallProviderBypassEnabled"} == CALL_FIELDS


@pytest.mark.parametrize("number", ["+15555550134", "anonymous", "", "+266696687"])
def test_the_calls_that_this_project_asks_for_are_taken(spec: Spec, settings: Settings, number: str) -> None:
    leg = Leg("CA" + "1" * 32, number, rings=True)
    for assistant in (Assistant(id=development.ASSISTANT_ID), Assistant(config={"name": "Desk"})):
        order = call_request(settings, settings.phone_number_id, leg, assistant)

        assert order_faults(order) == []
        assert spec.faults("CreateCallDTO", order) == []


@pytest.mark.parametrize(
    "key", ["", "Bearer", "Bearer wrong", f"Basic {development.VAPI_API_KEY}", f"Bearer {development.VAPI_PUBLIC_KEY}"]
)
def test_only_the_private_key_may_make_and_read_calls(vapi: VapiFake, key: str) -> None:
    call = make(vapi)
    headers = {"authorization": key}

    assert httpx.post(vapi.url + "/call", json=ORDER, headers=headers).status_code == 401
    assert httpx.get(f"{vapi.url}/call/{call['id']}", headers=headers).status_code == 401
    assert list(vapi.calls) == [call["id"]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain"), (b"", "application/json")],
)
def test_a_body_that_is_no_json_object_is_refused(vapi: VapiFake, body: bytes, kind: str) -> None:
    answer = httpx.post(vapi.url + "/call", content=body, headers=KEY | {"content-type": kind})

    assert answer.status_code == 400


def test_a_call_can_be_read_while_it_lives_and_after(vapi: VapiFake, spec: Spec) -> None:
    call = make(vapi)
    httpx.patch(f"{vapi.url}{DOOR}calls/{call['id']}", json={"status": "ended", "endedReason": "customer-ended-call"})
    read = httpx.get(f"{vapi.url}/call/{call['id']}", headers=KEY).json()

    assert (read["status"], read["endedReason"]) == ("ended", "customer-ended-call")
    assert read["endedAt"]
    assert spec.faults("Call", read) == []
    assert httpx.get(f"{vapi.url}/call/nobody", headers=KEY).status_code == 404


@pytest.mark.parametrize(
    "command",
    [
        SAY,
        {"type": "say"},
        {
            "type": "say",
            "content": "Bye.",
            "endCallAfterSpoken": True,
            "interruptionsEnabled": False,
            "interruptAssistantEnabled": True,
        },
        ADD,
        {"type": "add-message", "message": {"role": "user", "content": None}},
        {"type": "control", "control": "mute-assistant"},
        {"type": "end-call"},
        {"type": "transfer"},
        {"type": "transfer", "destination": {"type": "number", "number": "+15555550199"}, "content": "One moment."},
        {"type": "transfer", "destination": {"type": "sip", "sipUri": "sip:a@b.example"}},
    ],
)
def test_every_command_that_is_taken_is_valid_by_the_published_schema(spec: Spec, command: dict[str, Any]) -> None:
    assert command_fault(command) == ""
    assert spec.faults(spec.name_of("ClientInboundMessage", command["type"]), command) == []


@pytest.mark.parametrize(
    "command",
    [
        {"type": "say", "content": 5},
        {"type": "say", "content": "Hi.", "endCallAfterSpoken": "yes"},
        {"type": "add-message"},
        {"type": "add-message", "message": "News."},
        {"type": "add-message", "message": {"role": "system"}},
        {"type": "add-message", "message": {"role": "boss", "content": "News."}},
        {"type": "add-message", "message": {"role": "system", "content": ["News."]}},
        {"type": "add-message", "message": {"role": "system", "content": "News."}, "triggerResponseEnabled": 1},
        {"type": "control"},
        {"type": "control", "control": "shout"},
        {"type": "transfer", "destination": "+15555550199"},
        {"type": "transfer", "destination": {"type": "number"}},
        {"type": "transfer", "destination": {"type": "number", "number": "1"}},
        {"type": "transfer", "destination": {"type": "sip"}},
        {"type": "transfer", "destination": {"type": "pigeon"}},
    ],
)
def test_a_command_that_the_published_schema_forbids_is_refused(spec: Spec, command: dict[str, Any]) -> None:
    assert spec.faults(spec.name_of("ClientInboundMessage", command["type"]), command) != []
    assert command_fault(command) != ""


@pytest.mark.parametrize("command", [{}, {"type": "dance"}, {"type": None}])
def test_an_unknown_command_is_refused(vapi: VapiFake, command: dict[str, Any]) -> None:
    call = make(vapi)

    assert httpx.post(call["monitor"]["controlUrl"], json=command).status_code == 400


def test_a_live_call_is_controlled_without_a_key_and_the_command_is_written_down(vapi: VapiFake) -> None:
    call = make(vapi)
    answer = httpx.post(call["monitor"]["controlUrl"], json=SAY)

    assert answer.status_code == 200
    assert vapi.requests[-1]["call"] == call["id"]
    assert vapi.requests[-1]["body"] == SAY
    assert vapi.requests[-1]["number"] == 2
    assert development.VAPI_API_KEY not in json.dumps(vapi.requests)


def test_a_call_that_ended_or_never_was_cannot_be_controlled(vapi: VapiFake) -> None:
    url = make(vapi)["monitor"]["controlUrl"]
    assert httpx.get(url).status_code == 404
    statuses = [httpx.post(one, json=SAY).status_code for one in (url, url.replace("-", "", 1))]
    ending = httpx.post(url, json={"type": "end-call"}).status_code
    after = httpx.post(url, json=SAY).status_code

    assert statuses == [200, 404]
    assert (ending, after) == (200, 404)


@pytest.mark.parametrize("holder", ["assistant", "assistantOverrides"])
def test_a_secured_control_url_wants_the_public_key(vapi: VapiFake, holder: str) -> None:
    url = make(vapi, **{holder: {"monitorPlan": {"controlAuthenticationEnabled": True}}})["monitor"]["controlUrl"]
    keys = {"": 401, f"Bearer {development.VAPI_API_KEY}": 401, f"Bearer {development.VAPI_PUBLIC_KEY}": 200}

    assert {key: httpx.post(url, json=SAY, headers={"authorization": key}).status_code for key in keys} == keys


@pytest.mark.parametrize(("how", "status"), [("refuse", 400), ("error", 500)])
def test_a_failure_that_does_nothing(vapi: VapiFake, how: str, status: int) -> None:
    vapi.fail("call", how)

    assert httpx.post(vapi.url + "/call", json=ORDER, headers=KEY).status_code == status
    assert vapi.calls == {}
    assert make(vapi)["id"] in vapi.calls


def test_an_answer_that_is_lost_after_the_call_was_made(vapi: VapiFake) -> None:
    vapi.fail("call", "lose")

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(vapi.url + "/call", json=ORDER, headers=KEY)
    assert len(vapi.calls) == 1
    assert vapi.requests[-1]["lost"]


def test_an_answer_that_comes_too_late(vapi: VapiFake) -> None:
    vapi.fail("call", "timeout")

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(vapi.url + "/call", json=ORDER, headers=KEY, timeout=0.2)
    assert len(vapi.calls) == 1


def test_a_late_answer_does_not_keep_the_fake_from_stopping() -> None:
    vapi = VapiFake().start()
    vapi.fail("call", "timeout")
    answers: list[int] = []
    waiting = threading.Thread(
        target=lambda: answers.append(httpx.post(vapi.url + "/call", json=ORDER, headers=KEY, timeout=30).status_code)
    )
    waiting.start()
    while not vapi.requests:
        threading.Event().wait(0.01)
    vapi.stop()
    waiting.join(10)

    assert answers == [201]


def test_failures_are_for_the_requests_they_were_ordered_for(vapi: VapiFake) -> None:
    order = {"what": "control", "how": "error", "times": 2}
    assert httpx.post(vapi.url + DOOR + "failures", json=order).status_code == 200
    url = make(vapi)["monitor"]["controlUrl"]

    assert [httpx.post(url, json=SAY).status_code for _ in range(3)] == [500, 500, 200]
    with pytest.raises(ValueError, match="cannot fail"):
        vapi.fail("call", "politely")


def test_records_can_be_read_from_any_point_on(vapi: VapiFake) -> None:
    make(vapi)
    make(vapi)
    everything = httpx.get(vapi.url + DOOR + "requests").json()["requests"]

    assert [one["number"] for one in everything] == [1, 2]
    assert httpx.get(vapi.url + DOOR + "requests?after=1").json()["requests"] == everything[1:]


def test_a_taken_port_is_told_in_one_line(vapi: VapiFake) -> None:
    with pytest.raises(UserError, match=f"port {vapi.port} is in use"):
        VapiFake(vapi.port).start()


def test_it_listens_on_loopback_only(vapi: VapiFake) -> None:
    assert vapi.url.startswith("http://127.0.0.1:")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{vapi.port}/call/x")


def test_a_body_beyond_all_measure_is_refused(vapi: VapiFake) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", vapi.port, timeout=5)
    connection.putrequest("POST", "/call")
    connection.putheader("content-length", "99999999")
    connection.endheaders()

    assert connection.getresponse().status == 413
    connection.close()
