"""The ways from a leg to the assistant: what Vapi and Twilio are sent, and what each way forbids."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from devkit import development
from devkit.twiml_lint import faults
from switchboard import ways
from switchboard.errors import Ambiguous, NotDone, SettingsError
from switchboard.messages import Assistant
from switchboard.secrets import CONNECTION, Secrets
from switchboard.settings import BYPASS, REDIRECT, SIP, Settings
from switchboard.vapi import Vapi
from switchboard.ways import Connected, Leg
from tests.remote import mocked

BASE = "https://voice.example.com"
CALL_SID = "CA" + "a1" * 16
CALL = "c0ffee00-0000-4000-8000-000000000001"
TWIML = '<Response><Connect><Stream url="wss://x.vapi.ai/a"/></Connect></Response>'
SIP_URI = "sip:clinic@sip.vapi.ai"
LEG = Leg(CALL_SID, "+15550100001", rings=True)
ASSISTANT = Assistant(id=development.ASSISTANT_ID)


class Keys:
    """A store of secrets with one key, or none, and what `switchboard connect` has stored."""

    def __init__(self, key: str = "key", stored: str = "") -> None:
        self._key = key
        self._stored = stored

    def text(self, name: str) -> str:
        """The plain parameter."""
        return self._stored if name == CONNECTION else ""

    def first(self, _name: str) -> str:
        """The key."""
        return self._key


def connect(
    settings: Settings,
    answer: Any = None,
    *,
    leg: Leg = LEG,
    assistant: Assistant = ASSISTANT,
    key: str = "key",
    stored: str = "",
    sent: list[dict[str, Any]] | None = None,
) -> Connected:
    """Lead the leg to the assistant, with a Vapi that answers so; `sent` are the calls that it was asked for."""

    def vapi(request: httpx.Request) -> httpx.Response:
        if sent is not None:
            sent.append(json.loads(request.content))
        return httpx.Response(201, json=answer)

    client = Vapi(settings.vapi_url, mocked(vapi))
    return ways.connect(settings, cast(Secrets, Keys(key, stored)), client, BASE, leg, assistant, timeout=1)


def made(**changes: Any) -> dict[str, Any]:
    """Vapi's `Call`."""
    return {"id": CALL, "phoneCallProviderDetails": {"twiml": TWIML}} | changes


def test_bypass_hands_on_vapis_document_and_says_which_call_it_is(settings: Settings) -> None:
    url = f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control"

    made_ = connect(settings, made(monitor={"controlUrl": url}))
    assert made_ == Connected(TWIML, CALL, "phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai")


@pytest.mark.parametrize(
    "url", [None, 7, "", "https://evil.example/c/control", f"http://x.vapi.ai/{CALL}/control", ["x"]]
)
def test_a_control_url_that_is_not_vapis_is_not_kept(settings: Settings, url: Any) -> None:
    assert connect(settings, made(monitor={"controlUrl": url})).control_host == ""


@pytest.mark.parametrize("blocked", [True, "yes", 1])
def test_a_call_that_vapi_has_blocked_surely_was_not_made(settings: Settings, blocked: Any) -> None:
    with pytest.raises(NotDone) as refused:
        connect(settings, made(subscriptionLimits={"concurrencyBlocked": blocked}))

    assert refused.value.reason == "concurrency"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": 7},
        {"id": ""},
        {"id": "../../x"},
        {"id": "x" * 101},
        {"phoneCallProviderDetails": None},
        {"phoneCallProviderDetails": "x"},
        {"phoneCallProviderDetails": {}},
        {"phoneCallProviderDetails": {"twiml": None}},
        {"phoneCallProviderDetails": {"twiml": ""}},
        {"phoneCallProviderDetails": {"twiml": "<Response><Say>"}},
        {"phoneCallProviderDetails": {"twiml": "<html/>"}},
        {"phoneCallProviderDetails": {"twiml": '<!DOCTYPE x [<!ENTITY a "b">]><Response/>'}},
        {"phoneCallProviderDetails": {"twiml": f"<Response>{'x' * 70_000}</Response>"}},
        {"phoneCallProviderDetails": {"twiml": TWIML}, "id": None, "subscriptionLimits": []},
    ],
    ids=repr,
)
def test_a_yes_that_leads_nowhere_may_have_made_a_call(settings: Settings, changes: dict[str, Any]) -> None:
    with pytest.raises(Ambiguous):
        connect(settings, made(**changes))


@pytest.mark.parametrize(("phone_number_id", "key"), [("", "key"), (development.PHONE_NUMBER_ID, "")])
def test_bypass_needs_a_number_and_a_key(settings: Settings, phone_number_id: str, key: str) -> None:
    sent: list[dict[str, Any]] = []
    with pytest.raises(SettingsError):
        connect(settings._replace(phone_number_id=phone_number_id), made(), key=key, sent=sent)

    assert sent == []


def test_bypass_calls_with_the_connected_number_unless_a_parameter_names_another(settings: Settings) -> None:
    sent: list[dict[str, Any]] = []
    stored = '{"phone_number_id": "phone-1"}'
    connect(settings._replace(phone_number_id=""), made(), stored=stored, sent=sent)
    connect(settings, made(), stored=stored, sent=sent)

    assert [order["phoneNumberId"] for order in sent] == ["phone-1", development.PHONE_NUMBER_ID]


@pytest.mark.parametrize(
    ("overrides", "config", "expected"),
    [
        (None, None, None),
        ({"maxDurationSeconds": 600}, None, 600),
        ({"maxDurationSeconds": 7200}, None, 1800),
        (None, {"maxDurationSeconds": 7200}, 1800),
        (None, {"maxDurationSeconds": 600}, None),
        ({"maxDurationSeconds": "long"}, None, "long"),
    ],
)
def test_no_call_is_asked_to_outlive_its_slot(
    settings: Settings, overrides: Mapping[str, Any] | None, config: Mapping[str, Any] | None, expected: Any
) -> None:
    sent: list[dict[str, Any]] = []
    assistant = Assistant(id="" if config else "a", config=config, overrides=overrides)
    connect(settings, made(), assistant=assistant, sent=sent)

    assert sent[0]["assistantOverrides"].get("maxDurationSeconds") == expected
    assert sent[0]["assistantOverrides"]["metadata"] == {"callSid": CALL_SID}


def test_the_agents_own_overrides_are_not_written_into(settings: Settings) -> None:
    overrides: dict[str, Any] = {"metadata": {"tenant": "t"}}
    connect(settings, made(), assistant=Assistant(id="a", overrides=overrides))

    assert overrides == {"metadata": {"tenant": "t"}}


def test_sip_dials_the_assistant_and_tells_it_which_leg_it_is(settings: Settings) -> None:
    values = {"name": "Ann & Co", "7up": "no name", "a b": "nor this", "call_sid": "CA-other"}
    connection = connect(
        settings._replace(way=SIP, sip_uri=SIP_URI), assistant=Assistant(id="a", overrides={"variableValues": values})
    )
    [dial] = ElementTree.fromstring(connection.document)  # noqa: S314 - our own document
    uri, _, headers = (dial.findtext("Sip") or "").partition("?")

    assert faults(connection.document) == []
    assert (connection.call_id, connection.control_host) == ("", "")
    assert uri == SIP_URI
    assert dict(parse_qsl(headers)) == {"X-call_sid": CALL_SID, "X-name": "Ann & Co"}
    action = urlsplit(dial.get("action") or "")
    assert (action.path, dict(parse_qsl(action.query))) == (
        "/voice/step",
        {"after": "assistant", "cause": "no_answer"},
    )
    assert dial.get("timeout") == str(ways.SIP_SECONDS)
    assert dial.get("answerOnBridge") == "true"


def test_sip_asks_nothing_of_vapi(settings: Settings) -> None:
    sent: list[dict[str, Any]] = []
    connect(settings._replace(way=SIP, sip_uri=SIP_URI, phone_number_id=""), made(), key="", sent=sent)

    assert sent == []


def test_a_sip_address_that_is_none_leads_to_the_next_step(settings: Settings) -> None:
    connection = connect(settings._replace(way=SIP, sip_uri="clinic"))

    assert faults(connection.document) == []
    assert "<Redirect>https://voice.example.com/voice/step?after=assistant" in connection.document


def test_without_a_sip_address_there_is_no_such_way(settings: Settings) -> None:
    with pytest.raises(SettingsError):
        connect(settings._replace(way=SIP, sip_uri=""))


def test_redirect_hands_a_ringing_leg_to_vapi(settings: Settings) -> None:
    connection = connect(settings._replace(way=REDIRECT))

    assert faults(connection.document) == []
    assert f"<Redirect>{settings.inbound_url}</Redirect>" in connection.document


def test_redirect_takes_no_leg_that_was_answered(settings: Settings) -> None:
    with pytest.raises(SettingsError):
        connect(settings._replace(way=REDIRECT), leg=LEG._replace(rings=False))


def test_bypass_is_what_is_configured_by_default(settings: Settings) -> None:
    assert settings.way == BYPASS
