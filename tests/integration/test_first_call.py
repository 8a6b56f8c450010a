"""The first call of a day, when no function runs yet: whichever way it comes, none of its tools is answered by a cold one.

The code is the real one, and whom it wakes is the template's; Lambda is a model of its environments.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from switchboard import admission, outbound, phone, waking, webhook
from switchboard.outbound import Dialler, Rules
from switchboard.settings import BYPASS, REDIRECT, SIP, Settings
from switchboard.vapi import Vapi
from switchboard.waking import Waker
from tests.conftest import ENVIRONMENT, Clock
from tests.integration.conftest import CALL, CALL_SID, CONTROL, House, message, tool_call
from tests.integration.test_phone import TWIML, event
from tests.lambdas import START, Lambdas
from tests.unit.test_template import routed, woken_by

VOICE, MESSAGES = routed("POST /voice/inbound"), routed("POST /webhook/vapi")
TOOL_CALLS = routed("POST /webhook/vapi/tools")
WORKER, OUTBOUND = "LiveToolWorkerFunction", "OutboundFunction"
NEEDED = {TOOL_CALLS, WORKER}
VAPI_SECONDS = 0.7  # for `POST /call`
# After the assistant has picked up: a short greeting, a short sentence of the caller's, and the model.
FIRST_TOOL_SECONDS = 2.0 + 1.5 + 0.5


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with something else takes nothing from what is simulated."""
    monkeypatch.setattr(waking, "SECONDS", 60.0)


class SlowVapi(Vapi):
    """Makes every call, and takes its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def create_call(self, *_: Any, **__: Any) -> dict[str, Any]:
        """The answer to `POST /call`."""
        self._clock.advance(VAPI_SECONDS)
        return {"id": CALL, "monitor": {"controlUrl": CONTROL}, "phoneCallProviderDetails": {"twiml": TWIML}}


class Day:
    """A stack in the morning. With `twice`, every request comes a second time, a moment later."""

    def __init__(self, house: House, *, way: str = BYPASS, warm: bool = True, twice: bool = False) -> None:
        variables = {
            **ENVIRONMENT,
            "VOICE_WAY": way,
            "SIP_URI": "sip:clinic@sip.vapi.ai",
            "OUTBOUND_PREFIXES": "+1=UTC",
        }
        self.settings = Settings.from_env(variables | {"QUIET_HOURS": ""})
        self.house, self.clock, self.twice = house, house.clock, twice
        self.lambdas = Lambdas(house.clock)
        vapi = SlowVapi(house.clock)
        wakers = {name: Waker(woken_by(name) if warm else (), self.lambdas) for name in (VOICE, MESSAGES)}
        self.exchange = house.exchange._replace(settings=self.settings, vapi=vapi, wake=wakers[VOICE].wake)
        self.desk = house.desk._replace(settings=self.settings, wake=wakers[MESSAGES].wake)
        rules = Rules.read(self.settings)
        desk = house.desk
        self.dialler = Dialler(self.settings, desk.secrets, house.store, vapi, desk.agent, rules, house.clock)

    def ring(self) -> None:
        """A phone call comes in at Twilio."""
        self._knock(VOICE, "ring", lambda: phone.answer_call(self.exchange, event()))

    def dial(self) -> None:
        """Somebody has a call placed."""
        self._knock(OUTBOUND, "dial", lambda: outbound.place(self.dialler, {"to": "+15550100001", "key": "k"}))

    def say(self, kind: str, call: dict[str, Any] | None = None, **fields: Any) -> None:
        """Vapi sends a message."""
        said = message(kind, self.clock, **fields)
        said["call"] |= call or {}
        function = TOOL_CALLS if kind == "tool-calls" else MESSAGES
        self._knock(function, kind, lambda: webhook.respond(self.desk, self.house.event(said)))
        while self.house.tickets(self.house.live):
            self.lambdas.run(WORKER, "ticket", lambda: self.house.run(self.house.live))

    def talk(self, **call: Any) -> None:
        """The assistant picks up, greets, and soon uses a tool of each kind."""
        self.say("status-update", call, status="in-progress")
        began = self.clock()
        self.say("speech-update", call, status="started", role="assistant")
        self.clock.now = max(self.clock(), began + FIRST_TOOL_SECONDS)
        wanted = [tool_call("look_up", {"name": "Zoë"}, "call_1"), tool_call("search", {"what": "a time"}, "call_2")]
        self.say("tool-calls", call, toolCallList=wanted)

    def _knock(self, function: str, what: str, body: Callable[[], dict[str, Any]]) -> None:
        for _ in range(1 + self.twice):
            arrived = self.clock()
            answer = self.lambdas.run(function, what, body)
            assert answer.get("statusCode", 200) == 200
            self.clock.now = max(self.clock(), arrived) + 0.05


def bypass(day: Day) -> None:
    """We answer the phone and ask Vapi for the call."""
    day.ring()
    day.clock.advance(0.3)
    day.talk(assistantOverrides={"metadata": {"callSid": CALL_SID}})


def sip(day: Day) -> None:
    """We answer the phone and dial the assistant's SIP address."""
    day.ring()
    day.clock.advance(1)
    day.talk(assistantOverrides={"variableValues": {"call_sid": CALL_SID}})


def redirect(day: Day) -> None:
    """We answer the phone, and Vapi takes the leg over."""
    day.ring()
    day.clock.advance(1)
    day.talk()


def imported(day: Day) -> None:
    """Vapi answers the phone, and asks which assistant takes the call."""
    day.say("assistant-request")
    day.clock.advance(0.3)
    day.say("status-update", status="ringing")
    day.talk()


def placed(day: Day) -> None:
    """We have Vapi call somebody."""
    day.dial()
    call = {"type": "outboundPhoneCall", "assistantOverrides": {"metadata": {"dial": "d" * 32}}}
    for status in ("queued", "ringing"):
        day.say("status-update", call, status=status)
    day.clock.advance(6)
    day.talk(**call)


def browser(day: Day) -> None:
    """Somebody talks to the assistant in the page."""
    day.talk(type="webCall")


WAYS = {
    "bypass": (bypass, BYPASS),
    "sip": (sip, SIP),
    "redirect": (redirect, REDIRECT),
    "imported": (imported, BYPASS),
    "placed": (placed, BYPASS),
    "browser": (browser, BYPASS),
}
OURS = ("bypass", "sip")  # we answer these, and so wake first
each_way = pytest.mark.parametrize("name", WAYS)


def played(house: House, name: str, **how: Any) -> Lambdas:
    """The functions after a first call that came that way."""
    play, way = WAYS[name]
    day = Day(house, way=way, **how)
    play(day)
    return day.lambdas


def tools_waited(lambdas: Lambdas) -> list[str]:
    """The functions that let a tool wait for their start."""
    return [one.function for one in lambdas.cold("tool-calls", "ticket")]


@each_way
def test_no_tool_of_the_first_call_is_answered_by_a_cold_function(house: House, name: str) -> None:
    lambdas = played(house, name)

    assert {one.function for one in lambdas.ran if one.what in ("tool-calls", "ticket")} == NEEDED
    assert tools_waited(lambdas) == []


@each_way
def test_without_it_a_tool_of_the_first_call_waits_for_a_function_to_start(house: House, name: str) -> None:
    lambdas = played(house, name, warm=False)

    assert WORKER in tools_waited(lambdas)
    assert not lambdas.woken


@each_way
@pytest.mark.parametrize("twice", [False, True])
def test_each_function_is_woken_once_for_a_call(house: House, name: str, twice: bool) -> None:
    lambdas = played(house, name, twice=twice)

    assert lambdas.woken == Counter(woken_by(VOICE if name in OURS else MESSAGES))


def test_a_message_that_comes_again_hours_later_wakes_nobody(house: House) -> None:
    day = Day(house)
    imported(day)
    day.clock.advance(3 * 3600)
    day.say("status-update", status="in-progress")
    day.say("status-update", status="ringing")

    assert set(day.lambdas.woken.values()) == {1}


@pytest.mark.parametrize("status", ["scheduled", "queued", "ended", "not-found", "unheard-of"])
def test_a_call_that_does_not_ring_wakes_nobody(house: House, status: str) -> None:
    day = Day(house)
    day.say("status-update", status=status, endedReason="customer-busy")

    assert not day.lambdas.woken


def test_a_call_that_was_scheduled_wakes_when_it_rings(house: House) -> None:
    day = Day(house)
    day.say("status-update", status="scheduled")
    day.clock.advance(12 * 3600)
    day.say("status-update", status="ringing")

    assert day.lambdas.woken == Counter(woken_by(MESSAGES))


def test_an_assistant_that_speaks_before_its_call_is_told_to_be_under_way_takes_nothing_away(house: House) -> None:
    day = Day(house)
    day.say("speech-update", status="started", role="assistant")
    day.say("status-update", status="in-progress")

    assert day.lambdas.woken == Counter(woken_by(MESSAGES))


def test_a_caller_who_does_not_get_to_the_assistant_wakes_nobody(house: House) -> None:
    day = Day(house)
    full = day.settings._replace(max_calls=1)
    day.exchange = day.exchange._replace(settings=full)
    assert admission.enter(house.store, full, "CA" + "b2" * 16, house.clock())
    day.ring()

    assert not day.lambdas.woken


def test_the_wake_is_sent_before_vapi_is_asked(house: House) -> None:
    day = Day(house)
    day.ring()
    first, *_ = day.lambdas.environments[WORKER]

    # The call is not there before the function is.
    assert first.free < house.clock.now + START - VAPI_SECONDS


def test_of_two_calls_that_ring_together_each_has_its_own(house: House) -> None:
    day = Day(house)
    day.say("status-update", status="ringing")
    day.clock.now -= 0.05
    day.say("status-update", {"id": "c0ffee00-0000-4000-8000-000000000002"}, status="ringing")

    assert [len(day.lambdas.environments[name]) for name in woken_by(MESSAGES)] == [2] * len(woken_by(MESSAGES))


def test_a_function_that_runs_already_is_not_started_again(house: House) -> None:
    day = Day(house)
    imported(day)
    day.clock.advance(60)
    day.say("status-update", {"id": "c0ffee00-0000-4000-8000-000000000002"}, status="ringing")

    for function in NEEDED:
        assert len([one for one in day.lambdas.cold("wake") if one.function == function]) == 1
        assert day.lambdas.woken[function] == 2
