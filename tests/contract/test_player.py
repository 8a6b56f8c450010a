"""A player, both fakes and a stand-in for a backend that answers by hand: whole calls without a stack."""

import argparse
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devkit import development, facts, server_messages, simulate
from devkit.errors import UserError
from devkit.loopback import DOOR, Answer, Loopback, Request
from devkit.player import FORGED_REASON, Played, Player
from devkit.script import parse
from devkit.twilio_fake import TwilioFake
from devkit.vapi_fake import VapiFake
from devkit.wire import Backend, Doors, Network
from switchboard.errors import SignatureRefused
from switchboard.signatures import PRESETS, Secret, parse_form, sign_twilio, verify

HOST = "backend.test"
BYPASS = {"kind": "bypass", "from": "+15555550134", "pace": 50}
IMPORTED = {"kind": "imported", "from": "+15555550134", "pace": 50}


class StandIn(Loopback):
    """A backend with the behaviour that a test gives it: `answers` maps a message type to a function of the message."""

    def __init__(self, vapi: VapiFake) -> None:
        super().__init__(0)
        self.vapi = vapi
        self.answers: dict[str, Callable[[dict[str, Any]], Answer]] = {}
        self.messages: list[dict[str, Any]] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.twiml = ""
        self.checks = True

    def answer(self, request: Request) -> Answer:
        if request.path == "/webhook/vapi":
            return self._webhook(request)
        fields = parse_form(request.body)
        signature = request.headers["x-twilio-signature"]
        if sign_twilio(f"http://{HOST}{request.path}", fields, development.TWILIO_AUTH_TOKEN) != signature:
            return Answer(403)
        self.forms.append((request.path, dict(fields)))
        if request.path == "/voice/status":
            return Answer(204)
        return Answer(200, self.twiml or self.order(dict(fields)), content_type="text/xml")

    def order(self, fields: dict[str, str], **more: Any) -> str:
        order = {
            "phoneNumberId": development.PHONE_NUMBER_ID,
            "phoneCallProviderBypassEnabled": True,
            "customer": {"number": fields["From"]},
            "assistantId": development.ASSISTANT_ID,
        }
        key = {"authorization": f"Bearer {development.VAPI_API_KEY}"}
        answer = httpx.post(self.vapi.url + "/call", json=order | more, headers=key)
        return str(answer.json()["phoneCallProviderDetails"]["twiml"])

    def _webhook(self, request: Request) -> Answer:
        try:
            secret = Secret("s", development.VAPI_WEBHOOK_SECRET)
            verify(PRESETS["vapi-hmac"], request.headers, request.body, [secret], now=request.at, tolerance=300)
        except SignatureRefused:
            return Answer(401 if self.checks else 200, {})
        message = json.loads(request.body)["message"]
        self.messages.append(message)
        answer = self.answers.get(message["type"])
        return answer(message) if answer else Answer(200, {})

    def types(self) -> list[str]:
        return [" ".join(filter(None, (one["type"], one.get("role"), one.get("status")))) for one in self.messages]

    def accept_and_speak(self, *commands: dict[str, Any]) -> None:
        """Accept tool calls, and send commands to the call's control URL a little later, as a worker would."""

        def answer(message: dict[str, Any]) -> Answer:
            threading.Thread(target=speak, args=[message["call"]["monitor"]["controlUrl"]]).start()
            return result("Accepted.")(message)

        def speak(url: str) -> None:
            for command in commands:
                httpx.post(url, json=command)

        self.answers["tool-calls"] = answer


class House:
    """The fakes and the stand-in, and a way to play a script against them."""

    def __init__(self, vapi: VapiFake, twilio: TwilioFake, backend: StandIn) -> None:
        self.vapi, self.twilio, self.backend = vapi, twilio, backend

    def play(self, call: dict[str, Any], *steps: Any, duplicate: bool = False) -> Played:
        script = parse({"call": call, "steps": list(steps)}, "test.yaml")
        backend, doors = Backend(self.backend.url, HOST), Doors(self.vapi.url, self.twilio.url)
        try:
            return Player(script, backend, doors, Network(duplicate=duplicate)).play()
        finally:
            backend.close()
            doors.close()


@pytest.fixture
def house() -> Iterator[House]:
    with VapiFake() as vapi, TwilioFake() as twilio, StandIn(vapi) as backend:
        yield House(vapi, twilio, backend)


def result(text: str, **more: Any) -> Callable[[dict[str, Any]], Answer]:
    """An answer to tool calls with the same text for each."""
    return lambda message: Answer(
        200,
        {
            "results": [
                {"toolCallId": entry["id"], "name": "t", "result": text} | more for entry in message["toolCallList"]
            ]
        },
    )


def test_a_bypass_call_goes_through_twilio_and_vapi_to_its_report(house: House) -> None:
    played = house.play(
        BYPASS,
        {"assistant": "Good morning."},
        {"caller": "Hello."},
        {"hangup": "caller"},
        {"report": {"summary": "A short call."}},
    )

    assert played.unmet == []
    assert [path for path, _ in house.backend.forms] == ["/voice/inbound", "/voice/status"]
    assert house.backend.forms[1][1]["CallStatus"] == "completed"
    assert house.backend.types() == [
        "status-update in-progress",
        "speech-update assistant started",
        "speech-update assistant stopped",
        "transcript assistant",
        "conversation-update",
        "speech-update user started",
        "speech-update user stopped",
        "transcript user",
        "conversation-update",
        "status-update ended",
        "end-of-call-report",
    ]
    assert house.backend.messages[-1]["artifact"]["transcript"] == "AI: Good morning.\nUser: Hello.\n"
    assert {one["call"]["id"] for one in house.backend.messages} == {played.call_id}
    assert house.twilio.legs[played.call_sid]["status"] == "completed"


def test_an_imported_call_begins_with_a_question_for_an_assistant(house: House) -> None:
    assistant = {"name": "Desk", "firstMessage": "Clinic, good day.", "serverMessages": ["status-update"]}
    house.backend.answers["assistant-request"] = lambda _: Answer(200, {"assistant": assistant})
    played = house.play(IMPORTED, {"assistant": "{{ greeting }}"}, {"hangup": "caller"})

    assert played.unmet == []
    assert house.backend.forms == []
    # Only what the assistant's serverMessages ask for is sent.
    assert house.backend.types() == ["assistant-request", "status-update in-progress", "status-update ended"]
    assert (
        house.backend.messages[0]["call"]["transport"]["callSid"]
        == house.backend.messages[0]["call"]["phoneCallProviderId"]
    )
    assert house.backend.messages[1]["call"]["assistant"] == assistant
    assert any("Clinic, good day." in moment.what for moment in played.moments)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(500, {}), "HTTP 500"),
        (Answer(200, {}), "returned no assistant"),
        (Answer(200, {"error": "We are closed."}), "We are closed."),
        (Answer(200, {"destination": {"type": "number", "number": "+15555550199"}}), "transferred to +15555550199"),
    ],
)
def test_a_call_without_an_assistant_ends_there(house: House, answer: Answer, said: str) -> None:
    house.backend.answers["assistant-request"] = lambda _: answer
    played = house.play(IMPORTED, {"assistant": "never said"}, {"hangup": "caller"})

    assert said in played.unmet[-1]
    assert house.backend.types() == ["assistant-request"]


def test_twiml_without_a_stream_of_vapi_leaves_the_caller_unconnected(house: House) -> None:
    house.backend.twiml = "<Response><Say>Sorry.</Say><Hangup/></Response>"
    played = house.play(BYPASS, {"assistant": "never said"})

    assert played.unmet == ["the caller is not connected to a call at Vapi"]
    assert any("“Sorry.” end" in moment.what for moment in played.moments)
    assert house.backend.messages == []


def test_twiml_that_twilio_cannot_read_is_heard_as_an_application_error(house: House) -> None:
    house.backend.twiml = "<Response><Say>unclosed</Response>"
    played = house.play(BYPASS, {"assistant": "never said"})

    assert ["12100" in unmet for unmet in played.unmet] == [True]


def test_a_stream_is_good_for_one_leg(house: House) -> None:
    house.backend.twiml = house.backend.order({"From": "+15555550134"})
    first = house.play(BYPASS, {"hangup": "caller"})
    second = house.play(BYPASS, {"hangup": "caller"})

    assert first.unmet == []
    assert second.unmet == ["the caller is not connected to a call at Vapi"]


def test_an_interruption_cuts_the_assistant_off(house: House) -> None:
    words = "One two three four five six seven eight nine ten."
    played = house.play(
        BYPASS | {"pace": 10},
        {"assistant": words},
        {"caller": "Wait, I need to change the time.", "interrupts": True},
        {"hangup": "caller"},
    )

    assert played.unmet == []
    assert house.backend.types()[1:9] == [
        "speech-update assistant started",
        "speech-update user started",
        "user-interrupted",
        "speech-update assistant stopped",
        "transcript assistant",
        "conversation-update",
        "speech-update user stopped",
        "transcript user",
    ]
    transcripts = [one["transcript"] for one in house.backend.messages if one["type"] == "transcript"]
    assert transcripts == ["One two three four five", "Wait, I need to change the time."]
    stamps = [one["timestamp"] for one in house.backend.messages]
    assert stamps == sorted(stamps)


def test_a_tool_is_run_and_its_result_is_spoken(house: House) -> None:
    house.backend.answers["tool-calls"] = result("You have apt_7 on Monday.")
    played = house.play(
        BYPASS,
        {"tool": {"name": "find", "arguments": {"day": "monday"}, "expect": "APT_7"}},
        {
            "tool": {
                "name": "change",
                "arguments": {"appointment": "{{ result /apt_[0-9]+/ }}"},
                "says": "Done: {{ result }}",
            }
        },
        {"hangup": "assistant"},
    )

    sent = [one for one in house.backend.messages if one["type"] == "tool-calls"]
    assert played.unmet == []
    assert sent[1]["toolCallList"][0]["function"] == {"name": "change", "arguments": {"appointment": "apt_7"}}
    assert any(moment.what == "“Done: You have apt_7 on Monday.”" for moment in played.moments)
    assert sent[1]["artifact"]["messages"][-2]["role"] == "tool_call_result"
    assert house.backend.messages[-1]["endedReason"] == "assistant-ended-call"


def test_words_in_the_answer_are_spoken_instead_of_the_models(house: House) -> None:
    house.backend.answers["tool-calls"] = result(
        "Accepted.", message={"type": "request-complete", "content": "One moment."}
    )
    played = house.play(
        BYPASS, {"tool": {"name": "t", "says": "not this", "expect": {"spoken": "moment"}}}, {"hangup": "caller"}
    )

    assert played.unmet == []
    assert [one["transcript"] for one in house.backend.messages if one["type"] == "transcript"] == ["One moment."]


@pytest.mark.parametrize(
    ("answer", "unmet"),
    [
        (result("no such words"), "t: expected “thursday” in its result, which is “no such words”"),
        (result("two\nlines"), "t: no result returned: the result has more than one line"),
        (lambda _: Answer(500, {}), "t: no result returned: HTTP 500"),
    ],
)
def test_a_tool_answer_that_is_not_as_expected_is_told(
    house: House, answer: Callable[[dict[str, Any]], Answer], unmet: str
) -> None:
    house.backend.answers["tool-calls"] = answer
    played = house.play(BYPASS, {"tool": {"name": "t", "expect": "thursday"}}, {"hangup": "caller"})

    assert unmet in played.unmet


def test_a_duplicated_tool_call_is_the_same_request_twice_and_must_be_answered_alike(house: House) -> None:
    texts = iter(["first", "second"])
    house.backend.answers["tool-calls"] = lambda message: result(next(texts))(message)
    played = house.play(BYPASS, {"tool": {"name": "t", "duplicate": True}}, {"hangup": "caller"})

    twice = [one for one in house.backend.messages if one["type"] == "tool-calls"]
    assert len(twice) == 2
    assert twice[0] == twice[1]
    assert len(played.unmet) == 1
    assert "t: the duplicate was answered otherwise" in played.unmet[0]


def test_a_duplicating_network_delivers_every_message_twice(house: House) -> None:
    house.backend.answers["tool-calls"] = result("fine")
    played = house.play(
        BYPASS, {"caller": "Hi."}, {"tool": {"name": "t"}}, {"hangup": "caller"}, {"report": None}, duplicate=True
    )

    types = house.backend.types()
    paths = [path for path, _ in house.backend.forms]
    assert played.unmet == ["POST /voice/inbound again → 200, another answer"]  # the stand-in keeps no record
    assert paths == ["/voice/inbound"] * 2 + ["/voice/status"] * 2
    assert house.backend.forms[2] == house.backend.forms[3]
    assert types[::2] == types[1::2]
    assert len(types) == 2 * len(played.exchanges)


def test_what_the_backend_speaks_into_the_call_is_heard(house: House) -> None:
    house.backend.accept_and_speak({"type": "say", "content": "Your visit is on Thursday now."})
    played = house.play(
        BYPASS, {"tool": {"name": "t"}}, {"hear": {"contains": "thursday", "within": 5}}, {"hangup": "caller"}
    )

    assert played.unmet == []
    assert [request["body"]["type"] for request in played.deliveries] == ["say"]
    assert [one["transcript"] for one in house.backend.messages if one["type"] == "transcript"][
        -1
    ] == "Your visit is on Thursday now."


def test_a_silent_message_is_not_heard(house: House) -> None:
    silent = {
        "type": "add-message",
        "message": {"role": "system", "content": "Thursday"},
        "triggerResponseEnabled": False,
    }
    house.backend.accept_and_speak(silent)
    played = house.play(
        BYPASS, {"tool": {"name": "t"}}, {"hear": {"contains": "thursday", "within": 0.5}}, {"hangup": "caller"}
    )

    assert played.unmet == ["“thursday” was not spoken into the call within 0.5 s"]
    assert any("add-message, silently → 200: Thursday" in moment.what for moment in played.moments)


def test_results_are_heard_in_the_order_of_the_script_whatever_the_order_of_their_coming(house: House) -> None:
    house.backend.accept_and_speak({"type": "say", "content": "Second."}, {"type": "say", "content": "First."})
    played = house.play(BYPASS, {"tool": {"name": "t"}}, {"hear": "first"}, {"hear": "second"}, {"hangup": "caller"})

    said = [one["transcript"] for one in house.backend.messages if one["type"] == "transcript"]
    assert played.unmet == []
    assert said == ["Accepted.", "First.", "Second."]


def test_what_was_said_once_is_heard_once(house: House) -> None:
    house.backend.accept_and_speak({"type": "say", "content": "Thursday."})
    steps = [{"tool": {"name": "t"}}, {"hear": "thursday"}, {"hear": {"contains": "thursday", "within": 0.2}}]

    assert house.play(BYPASS, *steps).unmet == ["“thursday” was not spoken into the call within 0.2 s"]


def test_what_another_call_hears_is_not_heard(house: House) -> None:
    def answer(message: dict[str, Any]) -> Answer:
        other = httpx.post(house.vapi.url + DOOR + "calls", json={"customer": {"number": "+15555550199"}}).json()
        httpx.post(other["monitor"]["controlUrl"], json={"type": "say", "content": "Thursday."})
        return result("Accepted.")(message)

    house.backend.answers["tool-calls"] = answer
    played = house.play(BYPASS, {"tool": {"name": "t"}}, {"hear": {"contains": "thursday", "within": 0.2}})

    assert played.unmet == ["“thursday” was not spoken into the call within 0.2 s"]
    assert played.deliveries == []


def test_a_caller_who_finds_nothing_to_interrupt_speaks_all_the_same(house: House) -> None:
    house.backend.answers["tool-calls"] = lambda _: Answer(500, {})
    house.play(BYPASS, {"tool": {"name": "t"}}, {"caller": "Hello?", "interrupts": True}, {"hangup": "caller"})

    assert [one["transcript"] for one in house.backend.messages if one["type"] == "transcript"] == ["Hello?"]
    assert "user-interrupted" not in house.backend.types()


@pytest.mark.parametrize("what", ["webhook", "phone"])
def test_a_forgery_that_is_refused_is_fine(house: House, what: str) -> None:
    played = house.play(BYPASS, {"forged": what}, {"hangup": "caller"})

    assert played.unmet == []
    assert played.refused == [401 if what == "webhook" else 403]
    assert all(one.get("endedReason") != FORGED_REASON for one in house.backend.messages)


def test_a_forgery_that_is_accepted_is_told(house: House) -> None:
    house.backend.checks = False
    played = house.play(BYPASS, {"forged": "webhook"}, {"hangup": "caller"})

    assert played.unmet == ["sends a forged webhook → 200"]


def test_a_message_that_is_refused_is_told(house: House) -> None:
    house.backend.answers["transcript"] = lambda _: Answer(503, {})
    played = house.play(BYPASS, {"caller": "Hi."}, {"hangup": "caller"})

    assert len(played.unmet) == 1
    assert "transcript user → 503" in played.unmet[0]


def test_the_canary_of_credentials_is_in_every_message(house: House) -> None:
    house.play(BYPASS, {"caller": "Hi."}, {"hangup": "caller"}, "report")

    assert all(server_messages.CANARY in json.dumps(one) for one in house.backend.messages)


@pytest.fixture
def command(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """`switchboard simulate` with a script of these steps, on the house as if `make up` had left it running."""
    stack = {"api_url": house.backend.url, "host": HOST, "vapi_url": house.vapi.url, "twilio_url": house.twilio.url}
    monkeypatch.setattr(facts, "running", lambda: stack)

    def run(steps: list[Any], *options: str) -> int:
        path = tmp_path / "call.yaml"
        path.write_text(yaml.safe_dump({"call": IMPORTED, "steps": steps}))
        parser = argparse.ArgumentParser()
        simulate.arguments(parser)
        return simulate.run(parser.parse_args([str(path), *options]))

    house.backend.answers["assistant-request"] = lambda _: Answer(200, {"assistantId": "a"})
    return run


def test_the_command_prints_the_timeline_and_says_that_all_is_well(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    code = command([{"assistant": "Hello."}, {"hangup": "caller"}])
    shown = capsys.readouterr().out

    assert code == 0
    assert "“Hello.”" in shown
    assert shown.endswith("Everything went as the script says.\n")


def test_the_command_fails_when_something_went_otherwise(
    house: House, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    house.backend.answers["transcript"] = lambda _: Answer(500, {})

    assert command([{"caller": "Hello."}, {"hangup": "caller"}]) == 1
    assert "1 not as it should be" in capsys.readouterr().out


def test_the_command_duplicates_on_request(house: House, command: Callable[..., int]) -> None:
    assert command([{"hangup": "caller"}], "--duplicate") == 0
    assert house.backend.types() == [
        *["assistant-request"] * 2,
        *["status-update in-progress"] * 2,
        *["status-update ended"] * 2,
    ]


def test_the_command_signs_by_the_scheme_that_it_is_given(house: House, command: Callable[..., int]) -> None:
    assert command([{"hangup": "caller"}], "--scheme", "bearer") == 1  # the stand-in wants vapi-hmac
    assert house.backend.messages == []
    with pytest.raises(UserError, match="cannot sign as standard-webhooks: the secret is not base64"):
        command([{"hangup": "caller"}], "--scheme", "standard-webhooks")


def test_the_command_plays_against_another_backend_on_this_machine_only(
    house: House, command: Callable[..., int]
) -> None:
    assert command([{"hangup": "caller"}], "--base-url", house.backend.url) == 0
    with pytest.raises(UserError, match="refusing to touch"):
        command([{"hangup": "caller"}], "--base-url", "https://api.example.com")


def test_the_command_says_that_nothing_answers(house: House, command: Callable[..., int]) -> None:
    house.vapi.stop()

    with pytest.raises(UserError, match="start it with `make up`"):
        command([{"hangup": "caller"}])
