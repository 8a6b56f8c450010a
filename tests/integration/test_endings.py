"""When one end of a call is over, so is the other; and what still has somebody at it is left alone."""

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from devkit.vapi_spec import Spec
from switchboard import admission, callbacks, calls, endings, legs, transfers, webhook, worker
from switchboard.endings import FAULTS, Endings
from switchboard.errors import NotDone, Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.telemetry import Count
from switchboard.transfers import State
from switchboard.twilio_rest import Twilio, account_of
from switchboard.worker import Bench
from tests.integration.conftest import BASE_URL, CALL, CALL_SID, CONTROL, House, Twilios, Vapis, message
from tests.integration.test_legs import FACTS, end, opened

SPEC = Spec.load().closed()
LEG = f"{CALL_SID}.json"
HUNG_UP = (LEG, {"Status": "completed"})
LADDER = f"{BASE_URL}/voice/step?after=assistant&cause=vapi#ct=2000&rc=2&rp=ct,5xx"
LEG_OVER = Ticket(CALL, CALL_SID, "leg_over")
CALL_OVER = Ticket(CALL, CALL_SID, "call_over")
FAULT = "pipeline-error-openai-llm-failed"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Count, str]]:
    """What the endings counted."""
    made: list[tuple[Count, str]] = []
    monkeypatch.setattr(endings, "count", lambda what, reason="": made.append((what, reason)))
    return made


@pytest.fixture
def bench(house: House, twilios: Twilios) -> Bench:
    """The live worker, with both sides' APIs."""
    tools = Endings(
        settings=house.settings,
        store=house.store,
        vapi=house.live.speaker.vapi,
        twilio=Twilio(house.settings.twilio_url, httpx.MockTransport(twilios)),
        public_key=lambda: "public-key",
        account=lambda sid: account_of(house.settings, house.desk.secrets, sid),
        base=lambda: BASE_URL,
    )
    return house.live._replace(endings=tools)


@pytest.fixture
def under_way(house: House) -> House:
    """A caller who talks to the assistant."""
    return opened(house)


def tend(bench: Bench, ticket: Ticket) -> None:
    """What the worker does with the ticket."""
    worker.work(bench, ticket, "receipt", lambda: 35.0)


def say(house: House, kind: str, **fields: Any) -> int:
    """Send a message of Vapi's; returns the status of our answer."""
    answer = webhook.respond(house.desk, house.event(message(kind, house.clock, **fields)))
    return int(answer["statusCode"])


def over(house: House, reason: str = "assistant-ended-call", **fields: Any) -> None:
    """Vapi tells that the assistant's call is over."""
    assert say(house, "status-update", status="ended", endedReason=reason, **fields) == 200


# The phone is hung up


def test_the_end_of_the_phone_leg_ends_the_ai_call(
    under_way: House, bench: Bench, vapis: Vapis, counted: list[tuple[Count, str]]
) -> None:
    end(under_way)
    tend(bench, LEG_OVER)

    assert vapis.requests == [(CONTROL, {"type": "end-call"})]
    assert vapis.headers[0]["authorization"] == "Bearer public-key"
    assert SPEC.faults("ClientInboundMessageEndCall", vapis.requests[0][1]) == []
    assert counted == [(Count.RECONCILED, "call_ended")]


@pytest.mark.parametrize("kind", ["status-update", "end-of-call-report"])
def test_an_ai_call_that_is_over_is_left_alone(under_way: House, bench: Bench, vapis: Vapis, kind: str) -> None:
    say(under_way, kind, status="ended")
    tend(bench, LEG_OVER)

    assert vapis.requests == []


def test_an_ai_call_that_was_over_before_it_was_linked_is_left_alone(house: House, bench: Bench, vapis: Vapis) -> None:
    body = message("status-update", house.clock, status="ended")
    del body["call"]["phoneCallProviderId"]
    assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200
    opened(house)
    session = calls.load(house.store, CALL, house.clock())
    assert session
    assert session.control_host

    tend(bench, LEG_OVER)

    assert vapis.requests == []


def test_an_ai_call_that_nobody_knows_or_can_reach_is_left_alone(house: House, bench: Bench, vapis: Vapis) -> None:
    tend(bench, LEG_OVER)
    calls.link(house.store, CALL, CALL_SID, "", house.settings, house.clock())
    tend(bench, LEG_OVER)

    assert vapis.requests == []


@pytest.mark.parametrize(
    ("answer", "warned"),
    [
        (httpx.Response(404), []),
        (httpx.Response(410), []),
        (httpx.Response(401), ["http_401"]),
        (httpx.Response(503), ["http_503"]),
        (httpx.ReadTimeout("x"), ["ReadTimeout"]),
        (httpx.ConnectError("x"), ["unreachable"]),
    ],
)
def test_what_vapi_does_not_end_is_told_to_the_owner_unless_it_is_over(
    under_way: House,
    bench: Bench,
    vapis: Vapis,
    counted: list[tuple[Count, str]],
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    warned: list[str],
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(endings, "warn", lambda _event, *, code, **_: seen.append(code))
    vapis.answer = answer

    tend(bench, LEG_OVER)

    assert (seen, counted, len(vapis.requests)) == (warned, [], 1)


def test_a_ticket_comes_back_where_our_own_table_is_down(
    under_way: House, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise Unavailable("table: ThrottlingException")

    monkeypatch.setattr(calls, "load", down)

    with pytest.raises(Unavailable):
        tend(bench, LEG_OVER)


# The assistant is gone


def test_the_end_of_the_ai_call_ends_the_phone_leg(
    under_way: House, bench: Bench, twilios: Twilios, counted: list[tuple[Count, str]]
) -> None:
    over(under_way)
    tend(bench, CALL_OVER)

    assert twilios.requests == [HUNG_UP]
    assert counted == [(Count.RECONCILED, "leg_ended")]


def test_where_the_assistant_failed_the_caller_goes_on_to_the_ladder(
    under_way: House, bench: Bench, twilios: Twilios, counted: list[tuple[Count, str]]
) -> None:
    over(under_way, FAULT)
    tend(bench, CALL_OVER)

    assert twilios.requests == [(LEG, {"Url": LADDER, "Method": "POST"})]
    assert counted == [(Count.RECONCILED, "leg_sent_on")]


def test_a_caller_who_was_sent_on_is_not_sent_on_or_hung_up_on_again(
    under_way: House, bench: Bench, twilios: Twilios
) -> None:
    # By now they may talk to a person.
    over(under_way, FAULT)
    for _ in range(2):
        tend(bench, CALL_OVER)

    assert len(twilios.requests) == 1


def test_a_leg_that_is_over_is_left_alone(under_way: House, bench: Bench, twilios: Twilios) -> None:
    over(under_way)
    end(under_way)
    twilios.requests.clear()
    tend(bench, CALL_OVER)

    assert twilios.requests == []


def test_a_leg_that_we_never_had_is_left_alone(house: House, bench: Bench, twilios: Twilios) -> None:
    over(house)
    tend(bench, CALL_OVER)

    assert twilios.requests == []
    assert house.items(f"SID#{CALL_SID}") == {}


def moved(house: House, *states: State) -> None:
    """A transfer of this call that has gone through these states."""
    wanted = transfers.Moved(CALL_SID, 1, State.REQUESTED, "reception", CALL, FACTS["account"], "row-1")
    stored = transfers._request(house.store, wanted, house.clock())
    for state in states:
        step = transfers._move(house.store, stored, state, house.clock(), outcome=State.BUSY)
        assert step
        stored = step


@pytest.mark.parametrize(
    "states",
    [
        (),
        (State.HOLDING,),
        (State.HOLDING, State.RINGING),
        (State.HOLDING, State.RINGING, State.BRIEFING),
        (State.HOLDING, State.RINGING, State.BRIEFING, State.BRIDGED),
        (State.HOLDING, State.RINGING, State.BUSY),
        # On the way back, and not yet with the assistant again.
        (State.HOLDING, State.RINGING, State.BUSY, State.RETURNED),
    ],
)
def test_a_caller_whom_a_transfer_has_taken_out_of_the_call_is_left_alone(
    under_way: House, bench: Bench, twilios: Twilios, states: tuple[State, ...]
) -> None:
    moved(under_way, *states)
    over(under_way, "call.in-progress.twilio-completed-call")
    tend(bench, CALL_OVER)

    assert twilios.requests == []


def test_a_transfer_that_never_moved_the_caller_keeps_nobody(under_way: House, bench: Bench, twilios: Twilios) -> None:
    moved(under_way, State.RETURNED)
    over(under_way)
    tend(bench, CALL_OVER)

    assert twilios.requests == [HUNG_UP]


def test_the_second_ai_call_of_a_returned_caller_ends_the_leg_and_the_first_does_not(
    under_way: House, bench: Bench, twilios: Twilios
) -> None:
    moved(under_way, State.HOLDING, State.FAILED, State.RETURNED)
    legs.reopen(under_way.store, CALL_SID, "transfer-1", under_way.clock())
    legs.connect(under_way.store, CALL_SID, "call-2", "<Response/>")

    tend(bench, CALL_OVER)
    assert twilios.requests == []
    tend(bench, Ticket("call-2", CALL_SID, "call_over"))
    assert twilios.requests == [HUNG_UP]


@pytest.mark.parametrize("turn", ["queue-1", "transfer-1"])
def test_a_leg_that_waits_for_its_next_call_is_left_alone(
    under_way: House, bench: Bench, twilios: Twilios, turn: str
) -> None:
    legs.reopen(under_way.store, CALL_SID, turn, under_way.clock())
    over(under_way)
    tend(bench, CALL_OVER)

    assert twilios.requests == []


@pytest.mark.parametrize(
    ("answer", "warned"),
    [
        (httpx.Response(404, json={"code": 20404}), []),
        (httpx.Response(400, json={"code": 21220}), []),
        (httpx.Response(401), ["http_401"]),
        (httpx.Response(500), ["http_500"]),
        (httpx.ReadTimeout("x"), ["ReadTimeout"]),
    ],
)
@pytest.mark.parametrize("reason", ["assistant-ended-call", FAULT])
def test_what_twilio_does_not_end_is_told_to_the_owner_unless_it_is_over(
    under_way: House,
    bench: Bench,
    twilios: Twilios,
    counted: list[tuple[Count, str]],
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    answer: Any,
    warned: list[str],
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(endings, "warn", lambda _event, *, code, **_: seen.append(code))
    twilios.answer = answer
    over(under_way, reason)

    tend(bench, CALL_OVER)

    assert (seen, counted, len(twilios.requests)) == (warned, [], 1)


def test_without_a_secret_for_twilio_the_ticket_is_done(under_way: House, bench: Bench, twilios: Twilios) -> None:
    def unknown(_sid: str) -> Any:
        raise NotDone("no_secret")

    assert bench.endings
    over(under_way)
    tend(bench._replace(endings=bench.endings._replace(account=unknown)), CALL_OVER)

    assert twilios.requests == []


def test_reasons_that_somebody_wanted_are_no_faults() -> None:
    reasons = SPEC.schemas["EndedReason"]["enum"]
    wanted = sorted(reason for reason in reasons if not any(word in reason for word in FAULTS))

    # All others of the hundreds name an error, a fault, or an assistant that never came.
    assert wanted == sorted(
        [
            "assistant-ended-call",
            "assistant-ended-call-after-message-spoken",
            "assistant-ended-call-with-hangup-task",
            "assistant-forwarded-call",
            "assistant-request-returned-forwarding-phone-number",
            "assistant-said-end-call-phrase",
            "call-deleted",
            "call.ending.hook-executed-say",
            "call.ending.hook-executed-transfer",
            "call.forwarding.no-answer",
            "call.forwarding.operator-busy",
            "call.in-progress.sip-completed-call",
            "call.in-progress.twilio-completed-call",
            "call.ringing.hook-executed-say",
            "call.ringing.hook-executed-transfer",
            "call.ringing.sip-inbound-caller-hungup-before-call-connect",
            "customer-busy",
            "customer-did-not-answer",
            "customer-did-not-give-microphone-permission",
            "customer-ended-call",
            "customer-ended-call-after-warm-transfer-attempt",
            "customer-ended-call-before-warm-transfer",
            "customer-ended-call-during-transfer",
            "exceeded-max-duration",
            "manually-canceled",
            "phone-call-provider-closed-websocket",
            "scheduled-call-deleted",
            "silence-timed-out",
            "twilio-failed-to-connect-call",
            "twilio-reported-customer-misdialed",
            "voicemail",
            "vonage-completed",
            "vonage-disconnected",
            "vonage-failed-to-connect-call",
            "vonage-rejected",
        ]
    )


# What the end of the AI call costs


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Ticket, int]]:
    """Every ticket that is put on a queue, and its delay."""
    made: list[tuple[Ticket, int]] = []
    monkeypatch.setattr(Queue, "send", lambda _queue, ticket, delay=0: made.append((ticket, delay)))
    return made


def test_a_phone_calls_end_costs_one_ticket_whatever_is_repeated(house: House, sent: list[tuple[Ticket, int]]) -> None:
    say(house, "status-update", status="in-progress")
    for _ in range(3):
        over(house)
    say(house, "end-of-call-report")

    assert sent == [(CALL_OVER, webhook.CALL_OVER_DELAY)]


@pytest.mark.parametrize("kind", webhook.WEB_CALLS)
def test_a_web_calls_end_costs_nothing(house: House, sent: list[tuple[Ticket, int]], kind: str) -> None:
    def ask(name: str, **fields: Any) -> None:
        body = message(name, house.clock, **fields)
        body["call"] = {"id": CALL, "orgId": "org-1", "type": kind}
        assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200

    house.aws.wire.take()
    ask("status-update", status="ended")
    ask("end-of-call-report")

    # No slots are read, and the one Query of each is for the after-call tools.
    assert house.aws.wire.take() == ["UpdateItem", "Query", "PutItem", "UpdateItem", "Query"]
    assert sent == []


def test_the_end_frees_the_slot_of_the_call(under_way: House) -> None:
    over(under_way)

    assert admission.active(under_way.store, under_way.clock()) == 0


def test_a_free_slot_that_failed_is_free_after_the_next_try(
    under_way: House, sent: list[tuple[Ticket, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def down(*_: Any, **__: Any) -> None:
            raise Unavailable("table: ThrottlingException")

        patch.setattr(admission, "leave", down)
        assert say(under_way, "status-update", status="ended") == 503
    assert say(under_way, "status-update", status="ended") == 200

    assert admission.active(under_way.store, under_way.clock()) == 0
    assert sent == [(CALL_OVER, webhook.CALL_OVER_DELAY)]


def test_what_answers_vapi_loads_no_client_of_anybody() -> None:
    # It only puts tickets on a queue, and loading an HTTP client is most of a cold start.
    code = "import sys, switchboard.webhook; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "switchboard.webhook" in loaded
    assert {"httpx", "httpcore", "switchboard.vapi", "switchboard.twilio_rest", "switchboard.transfers"}.isdisjoint(
        loaded
    )


def test_from_one_end_to_the_other(
    under_way: House, bench: Bench, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "LEG_OVER_DELAY", 0)
    end(under_way)
    under_way._replace(live=bench).run(bench)

    assert [json.dumps(command) for _, command in vapis.requests] == ['{"type": "end-call"}']


@pytest.mark.parametrize("way", ["sip", "redirect"])
def test_a_call_that_vapi_made_by_itself_is_known_to_its_leg_from_the_first_word_on(house: House, way: str) -> None:
    assert legs.open_leg(house.store, CALL_SID, {}, 1800, house.clock()) is None
    desk = house.desk._replace(settings=house.settings._replace(way=way))
    body = message("status-update", house.clock, status="in-progress")
    body["call"] = {**body["call"], "phoneCallProviderId": CALL_SID}
    house.aws.wire.take()
    for _ in range(2):
        assert webhook.respond(desk, house.event(body))["statusCode"] == 200

    leg = legs.load(house.store, CALL_SID, house.clock())
    assert leg
    assert (leg["call_id"], leg["calls"]) == (CALL, {CALL})
    # A replay is no news, so it writes nothing more.
    assert house.aws.wire.take().count("UpdateItem") == 3


def test_a_leg_that_is_none_of_ours_is_not_made_up(house: House) -> None:
    desk = house.desk._replace(settings=house.settings._replace(way="redirect"))
    body = message("status-update", house.clock, status="in-progress")
    body["call"] = {**body["call"], "phoneCallProviderId": CALL_SID}

    assert webhook.respond(desk, house.event(body))["statusCode"] == 200
    assert legs.load(house.store, CALL_SID, house.clock()) is None
