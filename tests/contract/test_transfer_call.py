"""A call that is moved, carried by the local Twilio in real time, and a stand-in for the backend that moves it."""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from devkit import development, facts, simulate, transfer_call
from devkit.errors import UserError
from devkit.local_twilio import LocalTwilio
from devkit.loopback import Answer, Loopback, Request
from devkit.player import Played
from devkit.script import Script, parse
from devkit.transfer_call import TAKEN_AWAY, Telephone, TransferPlayer
from devkit.vapi_fake import VapiFake
from devkit.wire import Backend, Doors
from switchboard import twiml
from switchboard.signatures import parse_form, sign_twilio

HOST = "backend.test"
BASE = f"http://{HOST}"
RECEPTION = "+15550100100"
ACCOUNT = development.TWILIO_ACCOUNT_SID
REST = f"/2010-04-01/Accounts/{ACCOUNT}/Calls"
# Half a second of nothing, in bytes that are text as well.
TUNE = "RIFF\x48\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0\x64\0\0\0\x64\0\0\0\x01\0\x08\0data\x32\0\0\0" + "\0" * 50
TOOL = {"tool": {"name": "transfer_to_person", "says": "One moment, I will see who is free."}}
CALL = {"kind": "bypass", "from": "+15555550134", "name": "Ana", "pace": 50}


class StandIn(Loopback):
    """A backend that transfers: by its answers at `pages`, and by what it has Twilio do when a tool is called."""

    def __init__(self, vapi: VapiFake) -> None:
        super().__init__(0)
        self.vapi = vapi
        self.twilio: LocalTwilio | None = None
        self.caller = ""
        self.messages: list[dict[str, Any]] = []
        self.on_tool: Callable[[], object] = self.put_through
        self.pages: dict[str, Callable[[dict[str, str]], Answer]] = {
            "/voice/inbound": lambda form: _document(self.order(form, "Hello.")),
            "/voice/hold": lambda form: _document(
                twiml.hold("room", f"{BASE}/voice/music", f"{BASE}/voice/back?n=1", "")
            ),
            "/voice/music": lambda form: _document(twiml.music(f"{BASE}/voice/tune", f"{BASE}/voice/music")),
            "/voice/back": lambda form: _document(self.order(form, "Nobody there.")),
            "/voice/leg": self.leg,
            "/voice/status": lambda form: Answer(204),
            "/voice/tune": lambda form: Answer(200, TUNE, content_type="audio/wav"),
        }

    def answer(self, request: Request) -> Answer:
        if request.path == "/webhook/vapi":
            return self.webhook(json.loads(request.body)["message"])
        if request.method == "POST":
            query = "&".join(f"{name}={value}" for name, [value] in request.query.items())
            url = f"{BASE}{request.path}" + (f"?{query}" if query else "")
            signed = sign_twilio(url, parse_form(request.body), development.TWILIO_AUTH_TOKEN)
            assert request.headers["x-twilio-signature"] == signed
        if request.path == "/voice/inbound":
            self.caller = request.form()["CallSid"]
        return self.pages[request.path](request.form())

    def webhook(self, message: dict[str, Any]) -> Answer:
        self.messages.append(message)
        if message["type"] != "tool-calls":
            return Answer(200, {})
        threading.Thread(target=self.on_tool).start()
        return Answer(200, {"results": [{"toolCallId": one["id"], "result": "ok"} for one in message["toolCallList"]]})

    def order(self, form: dict[str, str], words: str) -> str:
        order = {
            "phoneNumberId": development.PHONE_NUMBER_ID,
            "phoneCallProviderBypassEnabled": True,
            "customer": {"number": form["From"]},
            "assistantId": development.ASSISTANT_ID,
            "assistantOverrides": {"firstMessage": words},
        }
        key = {"authorization": f"Bearer {development.VAPI_API_KEY}"}
        answer = httpx.post(self.vapi.url + "/call", json=order, headers=key)
        return str(answer.json()["phoneCallProviderDetails"]["twiml"])

    def rest(self, path: str, **form: str) -> None:
        assert self.twilio
        answer = httpx.post(self.twilio.url + path, data=form, auth=(ACCOUNT, development.TWILIO_AUTH_TOKEN))
        answer.raise_for_status()

    def put_through(self) -> None:
        self.rest(f"{REST}/{self.caller}.json", Url=f"{BASE}/voice/hold")
        self.rest(
            f"{REST}.json",
            To=RECEPTION,
            From="+15555550100",
            Url=f"{BASE}/voice/brief",
            StatusCallback=f"{BASE}/voice/leg?call={self.caller}",
            Timeout="25",
        )

    def leg(self, form: dict[str, str]) -> Answer:
        if form["CallStatus"] == "no-answer":
            self.rest(f"{REST}/{self.caller}.json", Url=f"{BASE}/voice/back")
        return Answer(204)


def _document(text: str) -> Answer:
    return Answer(200, text, content_type="text/xml")


class House:
    """The fakes, the stand-in, and a way to play a script against them."""

    def __init__(self, vapi: VapiFake, twilio: LocalTwilio, backend: StandIn) -> None:
        self.vapi, self.twilio, self.backend = vapi, twilio, backend
        self.telephone = Telephone(twilio.url)

    def play(self, *steps: Any, after: float = 0.7) -> Played:
        backend, doors = Backend(self.backend.url, HOST), Doors(self.vapi.url, self.twilio.url)
        try:
            return TransferPlayer(script(*steps, after=after), backend, doors, self.telephone).play()
        finally:
            backend.close()
            doors.close()


def script(*steps: Any, after: float = 0.7) -> Script:
    reception = {"name": "reception", "behaviour": "no-answer", "after": after}
    return parse({"call": CALL, "phones": {RECEPTION: reception}, "steps": list(steps)}, "test.yaml")


@pytest.fixture
def house() -> Iterator[House]:
    with VapiFake() as vapi, StandIn(vapi) as backend, LocalTwilio(0, backend.url, HOST) as twilio:
        backend.twilio = twilio
        house = House(vapi, twilio, backend)
        yield house
        house.telephone.close()


def test_a_caller_is_moved_and_comes_back_in_another_call_at_vapi(house: House) -> None:
    played = house.play(
        {"assistant": "{{ greeting }}"},
        TOOL,
        {"hangup": "transfer"},
        {"report": {"summary": "One."}},
        "back",
        {"assistant": "{{ greeting }}"},
        {"hangup": "assistant"},
        "report",
    )
    transfer = played.transfer

    assert transfer
    assert played.unmet == []
    assert (played.status_callback, played.call_sid) == (204, house.backend.caller)
    assert transfer.before.call_id != played.call_id
    assert [one["assistantOverrides"]["firstMessage"] for one in transfer.orders] == ["Hello.", "Nobody there."]
    for part, words, reason in (
        (transfer.before, "Hello.", TAKEN_AWAY),
        (played, "Nobody there.", "assistant-ended-call"),
    ):
        sent = [one.message["message"] for one in part.exchanges]
        assert {one["call"]["id"] for one in sent} == {part.call_id}
        assert next(one["transcript"] for one in sent if one["type"] == "transcript") == words
        assert [one["endedReason"] for one in sent if one.get("status") == "ended"] == [reason]
        assert [one["endedReason"] for one in sent if one["type"] == "end-of-call-report"] == [reason]
        assert "<Stream" in part.twiml
    assert set(transfer.before.tools) == {"transfer_to_person"}
    assert played.tools == {}
    # Each call at Vapi has a record, and a beginning, of its own.
    last = played.exchanges[-1].message["message"]
    assert [line["message"] for line in last["artifact"]["messages"]] == ["Nobody there."]
    assert last["startedAt"] > transfer.before.exchanges[-1].message["message"]["startedAt"]


def test_the_timeline_tells_what_happens_on_the_telephones(house: House) -> None:
    played = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"}, "report")
    told = played.render()

    assert played.unmet == []
    for words in (
        "is told by REST to move Ana to /voice/hold → 200",
        f"is told by REST to call {RECEPTION} → 201",
        "Ana        waits in a room",
        "Ana        hears music",
        "reception  rings",
        "reception  ends no-answer",
        "is told by REST to move Ana to /voice/back → 200",
        "Ana        hangs up",
        "POST /voice/status → 204",
    ):
        assert words in told
    assert told.index("Ana        waits in a room") < told.index("reception  ends no-answer")


def test_nobody_rings_longer_than_the_persons_network_lets_them(house: House) -> None:
    began = time.time()
    played = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"}, after=0.3)

    assert played.unmet == []
    assert time.time() - began < 15  # of the 25 that the phone was to ring


def test_words_that_nobody_can_hear_are_not_spoken(house: House) -> None:
    webhook = house.backend.webhook

    def moved_before_the_answer(message: dict[str, Any]) -> Answer:
        answer = webhook(message)
        if message["type"] == "tool-calls":
            house.backend.put_through()
            assert wait_for(lambda: len(house.twilio.streams) == 2)  # opened, closed
        return answer

    house.backend.on_tool = lambda: None
    house.backend.webhook = moved_before_the_answer  # type: ignore[method-assign]  # for this test
    played = house.play(
        {"assistant": "{{ greeting }}"}, TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"}
    )

    assert played.transfer
    said = [one.message["message"] for one in played.transfer.before.exchanges]
    assert [one["transcript"] for one in said if one["type"] == "transcript"] == ["Hello."]
    assert "nobody hears the rest" in played.render()


def wait_for(ask: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not ask() and time.monotonic() < deadline:
        time.sleep(0.01)
    return ask()


def test_a_caller_who_is_not_moved_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_call, "MOVE_SECONDS", 0.3)
    house.backend.on_tool = lambda: None
    played = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"})

    assert played.unmet == ["the caller is not moved within 0.3 s"]
    assert played.transfer is None


def test_a_caller_who_is_hung_up_instead_is_told(house: House) -> None:
    house.backend.on_tool = lambda: house.backend.rest(f"{REST}/{house.backend.caller}.json", Status="completed")
    played = house.play(TOOL, {"hangup": "transfer"}, "report")

    assert played.unmet == ["the media stream was closed by the caller, not by a redirect"]


def test_a_caller_who_does_not_come_back_is_told(house: House) -> None:
    house.backend.pages["/voice/leg"] = lambda form: Answer(204)
    played = house.play(TOOL, {"hangup": "transfer"}, "report", {"back": {"within": 1}}, {"hangup": "caller"})

    assert played.unmet == ["the caller is not connected to the assistant within 1 s"]
    assert wait_for(lambda: house.telephone.told(played.call_sid)["status"] == "completed")  # and hangs up


def test_a_stream_that_leads_nowhere_is_told(house: House) -> None:
    nowhere = '<Response><Connect><Stream url="wss://elsewhere.invalid/x"/></Connect></Response>'
    house.backend.pages["/voice/inbound"] = lambda form: _document(nowhere)
    played = house.play(TOOL, {"hangup": "transfer"})

    assert played.unmet == ["the media stream leads to no call at Vapi"]


def test_a_question_that_fails_is_told(house: House) -> None:
    house.backend.pages["/voice/status"] = lambda form: Answer(503)
    played = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "assistant"}, "report")

    assert played.status_callback == 503
    assert len(played.unmet) == 1
    assert played.unmet[0].startswith("POST /voice/status → 503")


@pytest.mark.parametrize("tune", [Answer(404), Answer(200, "no recording", content_type="audio/wav")])
def test_music_that_cannot_be_had_is_silence(house: House, tune: Answer) -> None:
    house.backend.pages["/voice/tune"] = lambda form: tune
    silent = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"}, after=4).transfer

    assert silent
    assert silent.phone["silence"] > 0.9
    assert "hears nothing any more" in [entry["what"] for entry in silent.phone["timeline"]]


def test_music_is_no_silence(house: House) -> None:
    played = house.play(TOOL, {"hangup": "transfer"}, "report", "back", {"hangup": "caller"}, after=1.5).transfer

    assert played
    assert played.phone["silence"] < 3


def test_a_call_that_nobody_knows_has_no_door(house: House) -> None:
    assert httpx.get(f"{house.twilio.url}/_fake/calls/CA0").status_code == 404


def test_another_backend_is_not_reached_by_the_stacks_twilio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(facts, "running", dict)
    path = tmp_path / "call.yaml"
    path.write_text(yaml.safe_dump({"call": CALL, "steps": [{"hangup": "transfer"}]}))
    parser = argparse.ArgumentParser()
    simulate.arguments(parser)

    with pytest.raises(UserError, match="without --base-url"):
        simulate.run(parser.parse_args([str(path), "--base-url", "http://127.0.0.1:3000"]))
