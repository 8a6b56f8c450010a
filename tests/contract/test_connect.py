"""`switchboard connect`, `plan` and `disconnect` against fakes that are as strict as Vapi and Twilio."""

import io
import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from agent import agent
from devkit import connect, development, disconnect, execution, remembered, session
from devkit.differences import Change
from devkit.errors import UserError
from devkit.there import Clients, There
from devkit.twilio_numbers_fake import Users
from devkit.vapi_account_fake import ORG_ID
from devkit.vapi_rest import VapiRest
from devkit.wanted import Asked
from switchboard.desk import Backend
from switchboard.tools import Toolbox
from tests import connecting
from tests.connecting import BASE, KEY_SECRET, KEY_SID, NUMBER, OLD_URL, OUTPUTS, World

WEBHOOK = OUTPUTS["VapiWebhookUrl"]
ELSEWHERE = {"url": "https://other.example.com/hook"}
WRITES = ("POST", "PATCH", "DELETE")


@pytest.fixture
def world() -> Iterator[World]:
    with connecting.world() as made:
        yield made


def writes(world: World) -> list[str]:
    """What was asked to be changed so far."""
    asked = [*world.vapi.requests, *world.twilio.requests]
    return [f"{one['method']} {one['path']}" for one in asked if one["method"] in WRITES]


def tool_named(world: World, name: str) -> dict[str, Any]:
    [found] = [one for one in world.objects("tool") if one["function"]["name"] == name]
    return found


def test_a_stack_is_connected_from_nothing(world: World) -> None:
    assert world.connect() == 0

    assistant, number, credential = world.only("assistant"), world.only("phone-number"), world.only("credential")
    assert {one["id"] for one in world.objects("tool")} == set(assistant["model"]["toolIds"])
    assert {one["function"]["name"] for one in world.objects("tool")} == {tool.name for tool in agent.tools}
    assert assistant["model"]["tools"] == []
    for one in (assistant, number, *world.objects("tool")):
        assert one["server"]["url"] == (f"{WEBHOOK}/tools" if "function" in one else WEBHOOK)
        assert one["server"]["credentialId"] == credential["id"]
        assert one["server"]["timeoutSeconds"] == 20
        assert one["server"]["backoffPlan"]["excludedStatusCodes"] == [400, 401, 403, 404, 413]
    assert number["number"] == NUMBER
    assert not number["smsEnabled"]
    assert "assistantId" not in number
    assert world.connection == {
        "phone_number_id": number["id"],
        "credential_id": credential["id"],
        "assistant_id": assistant["id"],
        "credential_secret": "first",
    }
    assert {name: world.line[name] for name in ("voice_url", "voice_fallback_url", "status_callback")} == {
        "voice_url": f"{BASE}/voice/inbound",
        "voice_fallback_url": OUTPUTS["VoiceFallbackUrl"],
        "status_callback": f"{BASE}/voice/status",
    }
    assert (world.line["voice_method"], world.line["sms_url"]) == ("POST", "")


def test_the_plan_shows_it_and_touches_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.state()

    assert world.plan() == 2
    told = capsys.readouterr().out.splitlines()
    assert f"~ Twilio  number {NUMBER}  voice_url: {OLD_URL} -> {BASE}/voice/inbound" in told
    assert "+ Vapi    tool find_appointment" in told
    assert writes(world) == []
    assert world.state() == before


def test_once_connected_there_is_nothing_to_do(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.connect()
    state, asked = world.state(), writes(world)
    capsys.readouterr()

    assert (world.plan(), world.connect()) == (0, 0)
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert writes(world) == asked
    assert world.state() == state


def test_callers_are_sent_here_only_when_all_else_is_there(world: World) -> None:
    world.connect()
    changed = [one for one in world.twilio.requests if one["method"] == "POST"]

    assert len(changed) == 1
    assert changed[0]["at"] > max(one["at"] for one in world.vapi.requests if one["method"] in WRITES)


def test_what_an_import_elsewhere_has_overwritten_is_mended(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.connect()
    state = world.state()
    account = (development.TWILIO_ACCOUNT_SID, development.TWILIO_AUTH_TOKEN)
    world.twilio.numbers.overwrite(account[0], account, NUMBER, world.parameters["VapiInboundUrl"], sms=False)
    capsys.readouterr()

    assert world.plan() == 2
    assert "voice_url: https://api.vapi.ai/twilio/inbound_call -> " in capsys.readouterr().out
    assert world.connect() == 0
    assert world.state() == state


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("assistant", {"firstMessage": "Who is it?"}),
        ("assistant", {"server": ELSEWHERE}),
        ("assistant", {"serverMessages": ["hang"]}),
        ("tool", {"server": ELSEWHERE | {"timeoutSeconds": 1}}),
        ("phone-number", {"server": ELSEWHERE}),
        ("credential", {"authenticationPlan": {"type": "hmac", "secretKey": "x", "algorithm": "sha1"}}),
    ],
)
def test_what_somebody_has_changed_at_vapi_is_put_right(world: World, kind: str, change: dict[str, Any]) -> None:
    world.connect()
    state = world.state()
    world.objects(kind)[0].update(change)

    assert world.plan() == 2
    assert world.connect() == 0
    assert world.state() == state


@pytest.mark.parametrize("kind", ["assistant", "tool", "phone-number", "credential"])
def test_what_somebody_has_deleted_at_vapi_is_made_again(world: World, kind: str) -> None:
    world.connect()
    state = world.state()
    world.vapi.account.objects[kind].popitem()

    assert world.connect() == 0
    assert world.state() == state


def test_fields_that_the_code_does_not_set_are_left_alone(world: World) -> None:
    world.connect()
    world.only("assistant")["backgroundSound"] = "off"

    assert world.plan() == 0


def test_disconnect_puts_back_what_was_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.state()
    world.connect()

    assert world.disconnect() == 0
    assert world.state() == before
    assert world.disconnect() == 0
    assert "not connected" in capsys.readouterr().out


def test_what_was_there_is_not_forgotten_by_connecting_twice(world: World) -> None:
    before = world.state()
    world.connect()
    world.line["voice_url"] = "https://api.vapi.ai/twilio/inbound_call"
    world.connect()
    world.disconnect()

    assert world.state() == before


def test_a_url_that_somebody_has_changed_since_stays(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.connect()
    world.line["voice_url"] = "https://mine.example.com/calls"
    world.disconnect()

    assert world.line["voice_url"] == "https://mine.example.com/calls"
    assert world.line["status_callback"] == ""
    assert f"voice_url of {NUMBER} was changed since, and stays as it is" in capsys.readouterr().out


def test_urls_that_were_pasted_by_hand_are_not_taken_for_what_was_there_before(world: World) -> None:
    world.line["voice_url"] = OUTPUTS["VoiceUrl"] + "#rc=1&rp=ct"
    world.connect()

    assert world.line["voice_url"] == OUTPUTS["VoiceUrl"]  # the import has overwritten it
    world.disconnect()
    assert world.line["voice_url"] == ""


def test_a_fragment_that_says_how_often_twilio_tries_is_no_difference(world: World) -> None:
    world.connect()
    world.line["status_callback"] += "#rc=5&rp=all"

    assert world.plan() == 0


def test_a_number_that_vapi_had_already_is_not_imported_and_not_taken_away(world: World) -> None:
    old = {"provider": "twilio", "number": NUMBER, "twilioAccountSid": development.TWILIO_ACCOUNT_SID}
    id = world.vapi.account.add("phone-number", old | {"server": ELSEWHERE})
    before = world.state()
    world.connect()

    assert world.only("phone-number")["server"]["url"] == WEBHOOK
    assert world.connection["phone_number_id"] == id
    world.disconnect()
    assert world.state() == before


def test_an_application_or_a_trunk_that_comes_before_the_urls_gives_way_and_comes_back(world: World) -> None:
    application = "AP" + "a" * 32
    world.line["voice_application_sid"] = application
    before = world.state()
    world.parameters["PhoneNumberId"] = world.vapi.account.add(
        "phone-number", {"provider": "twilio", "number": NUMBER, "twilioAccountSid": development.TWILIO_ACCOUNT_SID}
    )
    world.connect()

    assert world.line["voice_application_sid"] == ""
    world.disconnect()
    assert world.line["voice_application_sid"] == application
    assert world.state()["twilio"] == before["twilio"]


@pytest.mark.parametrize(("field", "sid"), [("voice_application_sid", "AP" + "a" * 32), ("trunk_sid", "TK" + "b" * 32)])
def test_an_application_or_a_trunk_that_is_put_on_later_is_taken_off(world: World, field: str, sid: str) -> None:
    world.connect()
    world.line[field] = sid

    assert world.plan() == 2
    assert world.connect() == 0
    assert not world.line[field]


def test_an_application_does_not_come_back_over_a_url_that_somebody_has_set_since(world: World) -> None:
    world.line["voice_application_sid"] = "AP" + "a" * 32
    world.connect()
    world.line["voice_url"] = "https://mine.example.com/calls"
    world.disconnect()

    assert (world.line["voice_url"], world.line["voice_application_sid"]) == ("https://mine.example.com/calls", "")


def test_another_assistant_of_the_same_name_is_left_alone_and_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = world.vapi.account.add("assistant", {"name": "Maple Street Clinic", "server": ELSEWHERE})
    world.connect()

    assert len(world.objects("assistant")) == 2
    assert world.connection["assistant_id"] != theirs
    assert f"another assistant of that name stays as it is: {theirs}" in capsys.readouterr().out
    world.disconnect()
    assert world.only("assistant")["id"] == theirs


def test_another_stacks_tool_of_the_same_name_is_left_alone(world: World) -> None:
    body = {"type": "function", "function": {"name": "find_appointment"}, "server": ELSEWHERE}
    theirs = world.vapi.account.add("tool", body)
    world.connect()

    assert theirs not in world.only("assistant")["model"]["toolIds"]
    world.disconnect()
    assert world.only("tool")["id"] == theirs


def test_another_stacks_credential_is_left_alone(world: World) -> None:
    plan = {"type": "hmac", "secretKey": "x", "algorithm": "sha256"}
    body = {"provider": "custom-credential", "name": "acme 00000000", "authenticationPlan": plan}
    theirs = world.vapi.account.add("credential", body)
    world.connect()

    assert world.connection["credential_id"] != theirs
    world.disconnect()
    assert world.only("credential")["id"] == theirs


def test_a_tool_that_the_agent_no_longer_has_is_taken_away_after_the_assistant_has_let_go_of_it(world: World) -> None:
    world.connect()
    fewer = Toolbox()
    fewer._tools.update({tool.name: tool for tool in list(agent.tools)[1:]})
    world.agent = agent._replace(tools=fewer, configuration=without_the_first_tool)
    world.vapi.requests.clear()

    assert world.connect() == 0
    assert len(world.objects("tool")) == len(agent.tools) - 1
    assert [one["method"] for one in world.vapi.requests if one["method"] in WRITES] == ["PATCH", "DELETE"]


def without_the_first_tool(backend: Backend) -> dict[str, Any]:
    made = dict(agent.configuration(backend))
    return made | {"model": made["model"] | {"tools": made["model"]["tools"][1:]}}


def test_a_tool_of_somebody_elses_that_was_put_on_the_assistant_is_taken_off_and_not_deleted(world: World) -> None:
    world.connect()
    function = {"name": "theirs", "description": "Theirs."}
    id = world.vapi.account.add("tool", {"type": "function", "function": function, "server": ELSEWHERE})
    world.only("assistant")["model"]["toolIds"].append(id)

    assert world.connect() == 0
    assert id not in world.only("assistant")["model"]["toolIds"]
    assert tool_named(world, "theirs")["id"] == id


def test_a_tool_that_was_made_twice_is_there_once_afterwards(world: World) -> None:
    world.connect()
    state = world.state()
    first = dict(tool_named(world, "find_appointment"))
    world.vapi.account.add("tool", {name: first[name] for name in ("type", "function", "server")})

    assert world.connect() == 0
    assert world.state() == state


def test_vapi_may_answer_the_phone_and_ask_for_the_assistant(world: World) -> None:
    before = world.state()
    old = {"provider": "twilio", "number": NUMBER, "twilioAccountSid": development.TWILIO_ACCOUNT_SID}
    theirs = world.vapi.account.add("assistant", {"name": "old"})
    id = world.vapi.account.add("phone-number", old | {"assistantId": theirs})
    assert world.connect(answers="vapi") == 0

    assert world.line["voice_url"] == "https://api.vapi.ai/twilio/inbound_call"
    assert world.line["voice_fallback_url"] == OUTPUTS["VoiceFallbackUrl"]
    assert world.line["status_callback"] == ""
    assert "assistantId" not in world.only("phone-number")
    assert world.plan() == 0  # and it is remembered who answers
    world.disconnect()
    assert world.only("phone-number")["assistantId"] == theirs
    assert world.only("phone-number")["id"] == id
    assert world.state()["twilio"] == before["twilio"]


def test_who_answers_the_phone_can_be_changed_to_and_fro(world: World) -> None:
    before = world.state()
    world.connect()
    connected = world.state()
    assert world.connect(answers="vapi") == 0
    by_vapi = dict(world.line)
    assert world.connect(answers="switchboard") == 0

    assert by_vapi["voice_url"] == "https://api.vapi.ai/twilio/inbound_call"
    assert by_vapi["status_callback"] == "https://api.vapi.ai/twilio/status"
    assert world.state() == connected
    world.connect(answers="vapi")
    world.disconnect()
    assert world.state() == before


def test_by_sip_the_address_is_made_and_no_number_is_imported(world: World) -> None:
    before = world.state()
    world.parameters |= {"VoiceWay": "sip", "SipUri": "sip:acme@sip.vapi.ai;transport=tls"}
    assert world.connect() == 0

    assert world.only("phone-number")["sipUri"] == "sip:acme@sip.vapi.ai"
    assert world.only("phone-number")["server"]["url"] == WEBHOOK
    assert world.connection["phone_number_id"] == ""
    assert world.line["voice_url"] == OUTPUTS["VoiceUrl"]
    assert world.plan() == 0
    world.disconnect()
    assert world.state() == before


def test_without_a_number_only_vapi_is_set_up(world: World) -> None:
    world.secrets["twilio-auth-token"] = ""
    before = world.state()["twilio"]

    assert world.connect(number="") == 0
    assert len(world.objects("assistant")) == 1
    assert world.objects("phone-number") == []
    assert world.state()["twilio"] == before
    assert world.twilio.requests == []
    assert world.disconnect() == 0
    assert world.objects("assistant") == []


def test_an_assistant_of_the_owners_own_is_told_the_server_and_nothing_else(world: World) -> None:
    config = {**agent.configuration(backend_of(world)), "server": ELSEWHERE, "name": "mine"}
    world.parameters["AssistantId"] = id = world.vapi.account.add("assistant", config)
    mine = dict(world.only("assistant"))
    before = world.state()
    assert world.connect() == 0

    stored = world.only("assistant")
    assert stored["server"]["url"] == WEBHOOK
    assert stored["model"] == mine["model"]
    assert world.objects("tool") == []
    assert world.connection["assistant_id"] == id
    world.disconnect()
    assert world.state() == before


def backend_of(world: World) -> Backend:
    with session.start(world.target, world.known, Asked(), world.ways, print) as made:
        return made.want.backend("")


def test_a_credential_of_the_owners_own_is_used_as_it_is(world: World) -> None:
    plan = {"type": "hmac", "secretKey": "x", "algorithm": "sha256"}
    body = {"provider": "custom-credential", "name": "mine", "authenticationPlan": plan}
    id = world.vapi.account.add("credential", body)
    before = dict(world.only("credential"))
    assert world.connect(credential_id=id) == 0

    assert world.connection["credential_id"] == id
    assert world.only("credential") == before
    assert world.plan() == 0  # without the option: it is known
    world.disconnect()
    assert world.only("credential") == before


def test_a_rotated_secret_is_given_to_the_credential(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.connect()
    world.secrets["vapi-webhook"], world.secret_id = "another-secret-of-our-own", "second"
    capsys.readouterr()

    assert world.plan() == 2
    assert "its secret -> second" in capsys.readouterr().out
    assert world.connect() == 0
    assert world.only("credential")["authenticationPlan"]["secretKey"] == "another-secret-of-our-own"
    assert world.plan() == 0


def test_a_rotated_secret_of_a_credential_made_by_hand_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"type": "hmac", "secretKey": "x", "algorithm": "sha256"}
    body = {"provider": "custom-credential", "name": "mine", "authenticationPlan": plan}
    id = world.vapi.account.add("credential", body)
    world.connect(credential_id=id)
    world.secret_id = "second"

    assert world.plan() == 0
    assert "vapi-webhook has a newer value than the credential was given" in capsys.readouterr().out
    world.connect(credential_id=id)
    capsys.readouterr()
    world.plan()
    assert "newer value" not in capsys.readouterr().out


def test_where_the_api_makes_no_credentials_it_is_said_what_to_type(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.vapi.account.credentials_offered = False
    with pytest.raises(UserError, match="--credential-id"):
        world.connect()
    told = capsys.readouterr().out

    for line in (
        "  type: hmac",
        "  algorithm: sha256",
        "  signature header: x-signature",
        "  include timestamp: true",
        "  timestamp header: x-timestamp",
        "  payload format: {timestamp}.{body}",
        "  signature encoding: hex",
        "  secret is base64: false",
    ):
        assert line in told.splitlines()
    assert development.VAPI_WEBHOOK_SECRET not in told
    assert writes(world) == []
    plan = {"type": "hmac", "secretKey": "x", "algorithm": "sha256"}
    id = world.vapi.account.add("credential", {"provider": "custom-credential", "authenticationPlan": plan})
    typed = Terminal(f"{id}\ny\n")
    monkeypatch.setattr("sys.stdin", typed)
    assert connect.connect(world.target, world.known, Asked(), world.ways, probing=False) == 0
    assert world.connection["credential_id"] == id
    assert world.plan() == 0


class Terminal(io.StringIO):
    """Somebody at the keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("typed", ["\n", "n\n", "no\n", "yess\n"])
def test_nothing_is_done_without_a_yes(world: World, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    before = world.state()

    with pytest.raises(UserError, match="nothing was changed"):
        connect.connect(world.target, world.known, Asked(), world.ways)
    assert world.state() == before


def test_an_end_of_input_is_not_a_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))

    with pytest.raises(UserError, match="nothing was changed"):
        connect.connect(world.target, world.known, Asked(), world.ways)


@pytest.mark.parametrize("command", ["connect", "disconnect"])
def test_what_has_changed_while_somebody_thought_about_it_is_not_worked_on(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    if command == "disconnect":
        world.connect()

    def slow(_: str) -> str:
        world.line["voice_fallback_url"] = "https://mine.example.com/"
        return "y"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", slow)
    run = {
        "connect": lambda: connect.connect(world.target, world.known, Asked(), world.ways),
        "disconnect": lambda: disconnect.disconnect(world.target, world.known, world.ways),
    }
    asked = writes(world)

    with pytest.raises(UserError, match="has changed since it was shown"):
        run[command]()
    assert writes(world) == asked


def test_what_somebody_else_has_remembered_first_counts(world: World) -> None:
    world.connect()
    first = remembered.before(world.ssm, connecting.STACK)
    assert first is not None
    change = Change("create", "before", "", first._replace(twilio={"voice_url": WEBHOOK}))
    execution.do(Clients(VapiRest(world.vapi.url, ""), None, world.ssm), connecting.STACK, change)

    assert remembered.before(world.ssm, connecting.STACK) == first


def test_nobody_at_the_keyboard_is_not_a_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    before = world.state()

    with pytest.raises(UserError, match="--yes"):
        connect.connect(world.target, world.known, Asked(), world.ways)
    assert world.state() == before


def test_which_number_is_meant_is_asked_where_there_are_several(world: World) -> None:
    world.twilio.numbers.add("+15550100111")

    with pytest.raises(UserError, match="the Twilio account has 2 numbers: say with --number"):
        world.connect()
    assert world.connect(number=NUMBER) == 0
    assert world.plan() == 0  # it is remembered


def test_a_number_of_another_account_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.connect(number="+15550100111") == 1
    assert "+15550100111 is not a number of the Twilio account" in capsys.readouterr().err
    assert writes(world) == []


def test_another_number_has_to_wait_until_the_first_is_disconnected(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.twilio.numbers.add("+15550100111")
    world.connect(number=NUMBER)

    assert world.connect(number="+15550100111") == 1
    assert f"connected to {NUMBER}: run `switchboard disconnect` first" in capsys.readouterr().err


def test_the_account_has_to_be_known(world: World) -> None:
    world.parameters["TwilioAccountSids"] = ""

    with pytest.raises(UserError, match="--account-sid"):
        world.connect()
    assert world.connect(account_sid=development.TWILIO_ACCOUNT_SID) == 0
    assert world.plan() == 0


def test_with_an_api_key_the_accounts_token_goes_nowhere(world: World) -> None:
    world.parameters["TwilioApiKeySid"] = KEY_SID
    world.connect()
    number = world.only("phone-number")

    assert (number["twilioApiKey"], number["twilioApiSecret"]) == (KEY_SID, KEY_SECRET)
    assert "twilioAuthToken" not in number


def test_text_messages_are_taken_over_only_when_asked_for(world: World) -> None:
    world.connect(sms=True)

    assert world.only("phone-number")["smsEnabled"]
    assert world.line["sms_url"] == "https://api.vapi.ai/twilio/sms"


def test_nothing_that_is_printed_holds_a_secret(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.line["voice_url"] = "https://user:pass@old.example.com/hook?token=t0psecret"
    world.plan()
    world.connect()
    world.secret_id = "second"
    world.connect()
    world.disconnect()
    told = capsys.readouterr()

    for secret in (*world.secrets.values(), "t0psecret", "pass@"):
        assert secret not in told.out + told.err
    assert "https://old.example.com/hook?..." in told.out


@pytest.mark.parametrize("name", ["vapi-api-key", "vapi-webhook", "twilio-auth-token", "vapi-public-key"])
def test_a_missing_secret_is_refused(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    world.secrets[name] = ""

    assert (world.connect(), world.plan()) == (1, 1)
    told = f"{name} is not stored, without which nothing works: run `switchboard secrets put {name}`"
    assert told in capsys.readouterr().err
    assert world.vapi.requests == []


def test_an_api_keys_secret_is_needed_only_with_the_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.secrets["twilio-api-secret"] = ""
    assert world.plan() == 2
    world.parameters["TwilioApiKeySid"] = KEY_SID

    assert world.plan() == 1
    assert "secrets put twilio-api-secret" in capsys.readouterr().err


def test_in_production_open_control_urls_are_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.parameters["ControlAuthentication"] = "false"

    assert world.connect() == 1
    assert "deploy with ControlAuthentication=true" in capsys.readouterr().err
    world.parameters["Stage"] = "staging"
    assert world.connect() == 0


def configured(world: World, **changes: Any) -> None:
    """Give the agent an assistant with other fields."""

    def configuration(backend: Backend) -> dict[str, Any]:
        made = dict(agent.configuration(backend))
        return made | {name: change(made.get(name)) for name, change in changes.items()}

    world.agent = agent._replace(configuration=configuration)


TRANSFER = {"type": "transferCall", "destinations": [{"type": "number", "number": "+15550100123"}]}


@pytest.mark.parametrize("way", ["bypass", "sip"])
def test_transfers_by_vapi_are_refused_where_vapi_cannot_move_the_leg(
    world: World, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    world.parameters |= {"VoiceWay": way, "SipUri": "sip:acme@sip.vapi.ai"}
    configured(world, model=lambda model: model | {"tools": [*model["tools"], TRANSFER]})

    assert (world.connect(), world.plan()) == (1, 1)
    assert f"with VoiceWay={way} Vapi cannot move the leg" in capsys.readouterr().err
    assert writes(world) == []
    assert world.connect(answers="vapi") == 0
    world.parameters["VoiceWay"] = "redirect"
    assert world.connect(answers="switchboard") == 0


def test_a_tool_that_is_not_ours_stays_inline(world: World) -> None:
    world.parameters["VoiceWay"] = "redirect"
    configured(world, model=lambda model: model | {"tools": [*model["tools"], TRANSFER]})
    world.connect()

    assert world.only("assistant")["model"]["tools"] == [TRANSFER]
    assert len(world.objects("tool")) == len(agent.tools)


def test_a_background_tool_without_live_call_control_is_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(world, monitorPlan=lambda plan: plan | {"controlEnabled": False})

    assert world.connect() == 1
    told = "monitorPlan.controlEnabled is false, so no result of change_appointment, transfer_to_person can be spoken"
    assert f"{told}; mend it in assistant.py" in capsys.readouterr().err
    assert writes(world) == []


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("tool-calls", "serverMessages lacks tool-calls: no tool of yours can run"),
        ("speech-update", "serverMessages lacks speech-update: results are spoken into the caller's words"),
        ("end-of-call-report", "serverMessages lacks end-of-call-report: a call whose end is not told keeps its slot"),
    ],
)
@pytest.mark.parametrize("whose", ["the agent's", "the owner's"])
def test_an_assistant_that_does_not_tell_what_a_tool_needs_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], missing: str, told: str, whose: str
) -> None:
    configured(world, serverMessages=lambda kinds: [kind for kind in kinds if kind != missing])
    if whose == "the owner's":
        config = world.agent.configuration(backend_of(world))
        world.parameters["AssistantId"] = world.vapi.account.add("assistant", config)

    assert world.connect() == 1
    assert told in capsys.readouterr().err
    assert writes(world) == []


def test_an_assistant_that_vapi_would_not_take_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    configured(world, stopSpeakingPlan=lambda plan: plan | {"voiceSeconds": 2})

    assert world.connect() == 1
    assert "stopSpeakingPlan.voiceSeconds is 2" in capsys.readouterr().err
    assert writes(world) == []


def test_a_sip_way_without_an_address_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.parameters["VoiceWay"] = "sip"

    assert world.connect() == 1
    assert "deploy with SipUri" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("AssistantId", "Vapi has no assistant of the id in AssistantId"),
        ("CredentialId", "Vapi has no credential of the id that is given"),
        ("PhoneNumberId", "the id in PhoneNumberId is not that of"),
    ],
)
def test_a_parameter_that_names_nothing_at_vapi_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], parameter: str, told: str
) -> None:
    world.parameters[parameter] = "00000000-0000-4000-8000-0000000000ee"

    assert world.connect() == 1
    assert told in capsys.readouterr().err
    assert writes(world) == []


@pytest.mark.parametrize("name", ["vapi-api-key", "twilio-auth-token"])
def test_a_key_that_the_other_side_does_not_know_is_named(world: World, name: str) -> None:
    world.secrets[name] = "of-another-kind"

    with pytest.raises(UserError, match=f"answered 401 .*store another with `switchboard secrets put {name}"):
        world.connect()


def test_a_private_key_that_is_stored_as_the_public_one_is_refused(world: World) -> None:
    world.secrets["vapi-public-key"] = world.vapi.api_key

    with pytest.raises(UserError, match="vapi-public-key is a private key of Vapi's") as refused:
        world.connect()

    assert writes(world) == []
    assert world.vapi.api_key not in str(refused.value)


def test_a_refusal_that_quotes_the_secret_as_it_was_sent_is_told_without_it(world: World) -> None:
    world.secrets["vapi-webhook"] = "whsec_c2VjcmV0c2VjcmV0"
    quoting = httpx.MockTransport(lambda request: httpx.Response(400, json={"message": "bad key c2VjcmV0c2VjcmV0"}))

    with pytest.raises(UserError, match=r"\(bad key \.\.\.\)"):
        connect.connect(world.target, world.known, Asked(), world.ways._replace(vapi=quoting))


@pytest.mark.parametrize(
    ("parameters", "asked", "told"),
    [
        ({}, {"account_sid": "AC" + "1" * 32}, "TwilioAccountSids"),
        ({"AllowedOrgIds": "another"}, {}, "not in AllowedOrgIds"),
        ({"AllowedAssistantIds": "another"}, {}, "the assistant that would be made are refused"),
        ({"AllowedAssistantIds": "another", "AssistantId": "theirs"}, {}, "the assistant theirs are refused"),
        ({"VapiApiUrl": "https://api.eu.vapi.ai"}, {"answers": "vapi"}, "sent to api.vapi.ai"),
        ({"VapiApiUrl": "https://api.eu.vapi.ai", "VoiceWay": "redirect"}, {}, "sent to api.vapi.ai"),
    ],
)
def test_whoever_would_be_turned_away_is_not_connected(
    world: World, capsys: pytest.CaptureFixture[str], parameters: dict[str, str], asked: dict[str, Any], told: str
) -> None:
    world.vapi.account.add("assistant", agent.configuration(Backend()), "theirs")
    if sid := asked.get("account_sid"):
        world.twilio.numbers.users = Users(sid, {sid: development.TWILIO_AUTH_TOKEN})
    world.parameters |= parameters

    assert world.connect(**asked) == 1
    assert told in capsys.readouterr().err
    assert writes(world) == []


def test_who_is_on_the_lists_is_connected(world: World) -> None:
    world.connect()
    world.parameters |= {"AllowedOrgIds": ORG_ID, "AllowedAssistantIds": world.only("assistant")["id"]}
    world.parameters |= {"VapiApiUrl": "https://api.eu.vapi.ai"}

    assert world.plan() == 0


def test_an_agent_without_an_assistant_of_its_own_stores_none(world: World) -> None:
    world.connect()
    world.agent = agent._replace(configuration=lambda backend: {})

    assert world.connect() == 0
    assert (world.objects("assistant"), world.objects("tool")) == ([], [])
    assert world.connection["assistant_id"] == ""


def test_what_vapi_does_not_want_to_delete_stays_and_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.connect()
    assistant = world.only("assistant")
    world.vapi.account.pinned.add(assistant["id"])

    assert world.disconnect() == 0
    assert world.only("assistant") == assistant
    assert "left as it is" in capsys.readouterr().out
    assert world.line["voice_url"] == OLD_URL


def test_a_number_that_vapi_empties_when_it_is_taken_away_is_put_back_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.state()
    world.connect()
    delete = world.vapi.account._delete

    def emptying(kind: str, id: str) -> dict[str, Any]:
        if kind == "phone-number":
            world.line["voice_url"] = ""
        return delete(kind, id)

    monkeypatch.setattr(world.vapi.account, "_delete", emptying)
    world.disconnect()

    assert world.state() == before


def test_a_stack_that_does_not_answer_is_not_called_connected(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(world, "_stack", lambda request: httpx.Response(502))

    before = world.state()

    assert world.connect() == 1
    assert "FAILED: a signed message is answered 502" in capsys.readouterr().out
    assert world.state() == before
    assert writes(world) == []


def test_a_stack_that_takes_forged_messages_is_not_called_connected(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(world, "_stack", lambda request: httpx.Response(200, text="<Response/>"))

    assert world.connect() == 1
    assert "a forged message is answered 200" in capsys.readouterr().out


def test_no_tool_is_sent_to_a_stack_that_has_no_route_for_it_yet(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack, before = world._stack, world.state()
    older = lambda request: httpx.Response(404) if request.url.path.endswith("/tools") else stack(request)
    monkeypatch.setattr(world, "_stack", older)

    assert world.connect() == 1
    assert (
        "FAILED: /webhook/vapi/tools, for calls of tools, answers 404 instead of 200: deploy first; "
        "/webhook/vapi/tools, for calls of tools, answers 404 instead of 401: deploy first\n"
    ) in capsys.readouterr().out
    assert world.state() == before


def test_tools_of_an_older_deployment_are_taken_over_and_not_made_twice(world: World) -> None:
    world.connect()
    tools = world.objects("tool")
    for tool in tools:
        tool["server"]["url"] = WEBHOOK
    gone = {**tools[0], "id": "old", "function": {**tools[0]["function"], "name": "no_longer_there"}}
    world.vapi.account.objects["tool"]["old"] = gone

    assert world.connect() == 0
    assert [one["id"] for one in world.objects("tool")] == [one["id"] for one in tools]
    assert {one["server"]["url"] for one in world.objects("tool")} == {f"{WEBHOOK}/tools"}


def test_a_field_that_vapi_shows_otherwise_is_told_and_does_not_hold_up_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = world.vapi.account._listed

    def capped(kind: str, query: Any) -> list[dict[str, Any]]:
        more = {"maxDurationSeconds": 60} if kind == "assistant" else {}
        return [one | more for one in listed(kind, query)]

    monkeypatch.setattr(world.vapi.account, "_listed", capped)

    assert world.connect() == 0
    told = capsys.readouterr().out
    assert "note: it was told so, and shows it otherwise: ~ Vapi    assistant Maple Street Clinic" in told
    assert world.line["voice_url"] == OUTPUTS["VoiceUrl"]
    assert world.plan() == 2


def test_what_was_made_and_is_not_there_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = world.vapi.account._listed
    monkeypatch.setattr(
        world.vapi.account, "_listed", lambda kind, query: [] if kind == "tool" else listed(kind, query)
    )

    with pytest.raises(UserError, match="tool find_appointment was made, and is not there"):
        world.connect()
    assert len(world.objects("tool")) == 1


def test_the_stack_on_this_machine_reaches_nobody_else(world: World) -> None:
    world.parameters["Stage"] = "local"

    with pytest.raises(UserError, match="refusing to touch https://api"):
        world.connect()
    assert world.vapi.requests == []


@pytest.mark.parametrize("name", ["vapi-api-key", "twilio-auth-token"])
def test_without_its_secret_nothing_is_put_back_by_halves(world: World, name: str) -> None:
    world.connect()
    state = world.state()
    world.secrets[name] = ""

    with pytest.raises(UserError, match=f"{name} is not stored, so nothing can be put back"):
        world.disconnect()
    assert world.state() == state


def test_changes_that_never_end_are_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MOST", 3)
    numbers = itertools.count()

    def always(there: There) -> list[Change]:
        return [Change("update", "connection", "what the functions know", {"assistant_id": f"a-{next(numbers)}"})]

    started = session.start(world.target, world.known, Asked(), world.ways, print)
    with started as made, pytest.raises(UserError, match="always something left to do"):
        execution.converge(made.scene, made.there, always)
    assert world.connection["assistant_id"] == "a-2"
