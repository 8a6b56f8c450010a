"""What the sweeper does about legs whose end nobody told, and calls whose report never came: found out, kept, or given up."""

import time
from typing import Any

import httpx
import pytest

from devkit import development
from switchboard import admission, calls, legs, reconciliation, sweeper, telemetry, toolcalls, transfers, webhook
from switchboard.budget import Overrun
from switchboard.errors import Ambiguous, Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.reconciliation import AGAIN_SECONDS, Clerk, reconcile
from switchboard.store import Key
from switchboard.sweeper import Broom, sweep
from switchboard.telemetry import Count
from switchboard.tools import DEADLINES
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio, account_of
from switchboard.vapi import Vapi
from tests.integration.conftest import CALL, CALL_SID, CALLER, House, Twilios, message, tool_call
from tests.integration.test_endings import say
from tests.integration.test_legs import LONGEST, end, opened
from tests.remote import mocked

LOOKS = 3  # here, where each takes a while
LEG = Key(f"SID#{CALL_SID}", "META")
LEG_OVER = Ticket(CALL, CALL_SID, "leg_over")
ASKED_TWILIO: tuple[str, dict[str, str]] = (f"{CALL_SID}.json", {})
# What Vapi says of a call that is over, as its report would have said it.
SAID = {
    "endedReason": "customer-ended-call",
    "startedAt": "2027-01-15T08:00:05.000Z",
    "endedAt": "2027-01-15T08:02:00.000Z",
    "cost": 0.0412,
    "artifact": {
        "recordingUrl": "https://storage.example/private.wav",
        "transcript": "private",
        "structuredOutputs": {"so_1": {"name": "outcome", "result": {"changed": True}}},
    },
    "analysis": {"summary": "They moved the appointment.", "successEvaluation": "true", "structuredData": {"a": 1}},
}
OVER = {
    "id": CALL,
    "orgId": "org-1",
    "status": "ended",
    "type": "inboundPhoneCall",
    "phoneCallProviderId": CALL_SID,
    "customer": {"number": CALLER},
    "monitor": {"controlUrl": "https://a.vapi.ai/x/control"},
    "messages": [{"role": "user", "message": "private"}],
    **SAID,
}


class Calls:
    """Vapi's `GET /call/{id}`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, httpx.Response] = {}
        self.answer: httpx.Response | Exception = httpx.Response(200, json=OVER)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.host) == ("GET", "api.vapi.ai")
        assert request.headers["authorization"] == f"Bearer {development.VAPI_API_KEY}"
        self.asked.append(request.url.path.rpartition("/")[2])
        answer = self.answers.get(self.asked[-1], self.answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leg is given up after three looks."""
    assert reconciliation.LOOKS * AGAIN_SECONDS == 3600
    monkeypatch.setattr(reconciliation, "LOOKS", LOOKS)


@pytest.fixture
def known() -> Calls:
    """What Vapi knows."""
    return Calls()


@pytest.fixture
def broom(house: House, twilios: Twilios, known: Calls) -> Broom:
    """The sweeper, with both sides' APIs."""
    settings, secrets = house.settings, house.desk.secrets
    twilio = Twilio(settings.twilio_url, httpx.MockTransport(twilios))
    clerk = Clerk(
        settings=settings,
        store=house.store,
        live_queue=house.desk.live_queue,
        after_call_queue=house.desk.after_call_queue,
        vapi=Vapi(settings.vapi_url, mocked(known)),
        twilio=twilio,
        vapi_key=lambda: development.VAPI_API_KEY,
        account=lambda sid: account_of(settings, secrets, sid),
    )
    switch = Switch(settings, secrets, house.store, twilio, house.clock)
    return Broom(house.store, house.desk.live_queue, house.clock, clerk=clerk, switch=switch)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Count, str]]:
    """What was counted."""
    made: list[tuple[Count, str]] = []
    monkeypatch.setattr(reconciliation, "count", lambda what, reason="": made.append((what, reason)))
    return made


def is_open(house: House) -> bool:
    """Whether the leg is in the index of unfinished things."""
    return "g1pk" in (house.store.get(LEG) or {})


def looks(house: House) -> int:
    """How often somebody has asked about it."""
    return int((house.store.get(LEG) or {}).get("looks", 0))


def report(house: House) -> dict[str, Any]:
    """The kept report."""
    return house.items(f"CALL#{CALL}").get("REPORT", {})


def forgotten(house: House) -> House:
    """A leg whose end was told neither by Twilio nor by Vapi."""
    opened(house)
    house.clock.advance(LONGEST + legs.LATE_SECONDS)
    return house


def unreported(house: House) -> House:
    """A leg whose end was told, and whose call has no report."""
    opened(house)
    end(house)
    house.aws.sqs.purge_queue(QueueUrl=house.settings.live_queue)
    house.clock.advance(legs.LATE_SECONDS)
    return house


# The leg whose end was not told


def test_a_call_that_ended_as_it_should_is_closed_without_asking_anybody(
    house: House, broom: Broom, twilios: Twilios, known: Calls, counted: list[Any]
) -> None:
    unreported(house)
    say(house, "end-of-call-report", **SAID)

    assert sweep(broom) == 1
    assert (twilios.requests, known.asked, counted) == ([], [], [])
    assert not is_open(house)
    assert sweep(broom) == 0


def test_a_leg_is_not_looked_at_before_it_is_due(house: House, broom: Broom, twilios: Twilios) -> None:
    opened(house)
    house.clock.advance(LONGEST + legs.LATE_SECONDS - 1)

    assert sweep(broom) == 0
    # The index may say so too early, or still.
    assert not reconcile(broom.clerk, LEG, house.clock())  # type: ignore[arg-type]  # the fixture has one
    assert twilios.requests == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        *((httpx.Response(200, json={"status": over}), over) for over in legs.OVER),
        (httpx.Response(404, json={"code": 20404}), "completed"),
    ],
)
def test_a_leg_that_twilio_says_is_over_is_over(
    house: House,
    broom: Broom,
    twilios: Twilios,
    known: Calls,
    counted: list[Any],
    answer: httpx.Response,
    status: str,
) -> None:
    forgotten(house)
    assert admission.enter(house.store, house.settings, CALL_SID, house.clock())
    twilios.answer = answer

    assert sweep(broom) == 1
    leg = house.store.get(LEG) or {}
    assert (leg["status"], leg["looks"], leg["g1sk"]) == (status, 0, house.clock() + legs.LATE_SECONDS)
    assert admission.active(house.store, house.clock()) == 0
    assert counted == [(Count.RECONCILED, "leg")]

    house.clock.advance(legs.LATE_SECONDS)
    assert sweep(broom) == 1
    assert (twilios.requests, known.asked) == ([ASKED_TWILIO], [CALL])
    assert not is_open(house)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"status": "in-progress"}),
        httpx.Response(200, json={"status": "never-heard-of"}),
        httpx.Response(200, json={}),
        httpx.Response(401),
        httpx.Response(500),
        httpx.ReadTimeout("x"),
        httpx.ConnectError("x"),
    ],
)
def test_a_leg_that_is_up_or_not_found_out_about_is_looked_at_again_but_not_for_ever(
    house: House, broom: Broom, twilios: Twilios, known: Calls, counted: list[Any], answer: Any
) -> None:
    forgotten(house)
    twilios.answer = answer

    for look in range(LOOKS):
        assert sweep(broom) == 0
        assert sweep(broom) == 0  # not before it is due again
        assert len(twilios.requests) == looks(house) == look + 1
        house.clock.advance(AGAIN_SECONDS)
    assert (is_open(house), sweep(broom), is_open(house)) == (True, 1, False)
    assert len(twilios.requests) == LOOKS
    assert (known.asked, counted) == ([], [(Count.RECONCILED, "given_up")])


def test_a_leg_that_was_given_up_and_then_ends_is_reconciled_all_the_same(
    house: House, broom: Broom, known: Calls
) -> None:
    forgotten(house)
    for _ in range(LOOKS + 1):
        sweep(broom)
        house.clock.advance(AGAIN_SECONDS)
    assert not is_open(house)

    end(house)
    house.clock.advance(legs.LATE_SECONDS)
    sweep(broom)

    assert known.asked == [CALL]
    assert report(house)


def test_a_callback_that_comes_while_twilio_is_asked_is_not_undone(
    house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch, counted: list[Any]
) -> None:
    forgotten(house)

    def status(*_: Any) -> str:
        assert end(house, CallStatus="busy", SequenceNumber="4") == 204
        return "completed"

    monkeypatch.setattr(Twilio, "status", status)

    assert sweep(broom) == 1
    assert (house.store.get(LEG) or {})["status"] == "busy"
    assert counted == []


def test_without_a_secret_the_leg_is_looked_at_later(house: House, broom: Broom, twilios: Twilios) -> None:
    forgotten(house)
    house.aws.ssm.delete_parameter(Name=f"{house.settings.parameter_path}/twilio-auth-token")
    house.clock.advance(3600)

    assert sweep(broom) == 0
    assert (twilios.requests, looks(house), is_open(house)) == ([], 1, True)


# The report that never came


def test_the_fetched_report_is_the_one_that_the_message_would_have_left(
    house: House, broom: Broom, counted: list[Any]
) -> None:
    unreported(house)
    assert sweep(broom) == 1
    fetched, session = report(house), house.items(f"CALL#{CALL}")["META"]
    assert fetched["summary"] == "They moved the appointment."
    assert fetched["cost_micros"] == 41200
    assert fetched["outputs"] == {"outcome": '{"changed":true}'}
    assert counted == [(Count.RECONCILED, "report")]
    assert not is_open(house)

    for sk in ("META", "REPORT"):
        house.aws.dynamodb.delete_item(
            TableName=house.settings.table, Key={"pk": {"S": f"CALL#{CALL}"}, "sk": {"S": sk}}
        )
    calls.link(house.store, CALL, CALL_SID, "a.vapi.ai", house.settings, house.clock())
    say(house, "end-of-call-report", **SAID)
    told = house.items(f"CALL#{CALL}")

    assert fetched == told["REPORT"]
    assert {name: value for name, value in session.items() if name != "created_at"} == {
        name: value for name, value in told["META"].items() if name != "created_at"
    }


def test_a_fetched_report_keeps_no_more_than_the_owner_wants(house: House, broom: Broom) -> None:
    unreported(house)
    assert broom.clerk
    discreet = broom.clerk._replace(settings=house.settings._replace(store_transcripts=False))

    assert sweep(broom._replace(clerk=discreet)) == 1
    assert set(report(house)) == {"pk", "sk", "v", "exp", "ended_reason", "started_at", "ended_at", "cost_micros"}
    assert "private" not in str(house.items(f"CALL#{CALL}"))


def test_a_call_that_vapi_does_not_know_is_over(house: House, broom: Broom, known: Calls) -> None:
    unreported(house)
    known.answer = httpx.Response(404)

    assert sweep(broom) == 1
    session = calls.load(house.store, CALL, house.clock())
    assert session
    assert session.ended
    assert report(house)["ended_reason"] == "unknown"
    assert not is_open(house)


@pytest.mark.parametrize("status", ["scheduled", "queued", "ringing", "in-progress", "forwarding"])
def test_an_ai_call_that_goes_on_without_its_leg_is_ended_and_looked_at_again(
    house: House, broom: Broom, known: Calls, status: str
) -> None:
    unreported(house)
    known.answer = httpx.Response(200, json={**OVER, "status": status})

    assert sweep(broom) == 0
    assert [ticket for ticket, _ in house.tickets(house.live)] == [LEG_OVER]
    assert (report(house), is_open(house)) == ({}, True)

    known.answer = httpx.Response(200, json=OVER)
    house.clock.advance(AGAIN_SECONDS)
    assert sweep(broom) == 1
    assert report(house)
    assert not is_open(house)


@pytest.mark.parametrize("status", ["ended", "not-found", "deletion-failed", "", None, {}])
def test_whatever_else_vapi_says_of_a_call_without_a_leg_is_its_end(
    house: House, broom: Broom, known: Calls, status: Any
) -> None:
    unreported(house)
    known.answer = httpx.Response(200, json={**OVER, "status": status})

    assert sweep(broom) == 1
    assert report(house)["ended_reason"] == "customer-ended-call"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(500),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.ReadTimeout("x"),
        httpx.ConnectError("x"),
    ],
)
def test_while_vapi_does_not_say_the_report_is_asked_for_again_but_not_for_ever(
    house: House, broom: Broom, known: Calls, counted: list[Any], answer: Any
) -> None:
    unreported(house)
    known.answer = answer

    for _ in range(LOOKS + 3):
        sweep(broom)
        house.clock.advance(AGAIN_SECONDS)
    assert known.asked == [CALL] * LOOKS
    assert (report(house), is_open(house)) == ({}, False)
    assert counted == [(Count.RECONCILED, "given_up")]


def test_half_a_character_in_a_report_does_not_stop_the_sweeper(house: House, broom: Broom, known: Calls) -> None:
    unreported(house)
    known.answer = httpx.Response(200, content=b'{"status":"ended","analysis":{"summary":"x \\ud83d"}}')

    assert sweep(broom) == 1
    assert report(house)["summary"] == "x \N{REPLACEMENT CHARACTER}"


def test_every_call_of_a_leg_is_looked_for(house: House, broom: Broom, known: Calls) -> None:
    opened(house)
    legs.reopen(house.store, CALL_SID, "transfer-1", house.clock())
    legs.connect(house.store, CALL_SID, "call-2", "<Response/>")
    calls.link(house.store, "call-2", CALL_SID, "", house.settings, house.clock())
    end(house)
    house.clock.advance(legs.LATE_SECONDS)

    sweep(broom)

    assert sorted(known.asked) == sorted([CALL, "call-2"])
    assert not is_open(house)


@pytest.mark.parametrize("late", [CALL, "call-2"])
def test_one_report_that_is_missing_keeps_the_leg_open(house: House, broom: Broom, known: Calls, late: str) -> None:
    opened(house)
    legs.connect(house.store, CALL_SID, "call-2", "<Response/>")
    calls.link(house.store, "call-2", CALL_SID, "", house.settings, house.clock())
    end(house)
    house.clock.advance(legs.LATE_SECONDS)
    known.answers[late] = httpx.Response(500)

    assert sweep(broom) == 1
    assert is_open(house)
    known.answers.clear()
    house.clock.advance(AGAIN_SECONDS)
    sweep(broom)

    assert sorted(known.asked) == sorted([CALL, "call-2", late])
    assert not is_open(house)


def test_a_slot_that_nobody_gave_back_is_given_back_while_vapi_is_down(
    house: House, broom: Broom, known: Calls
) -> None:
    opened(house)
    legs.record_status(house.store, CALL_SID, {"CallStatus": "completed"}, house.clock())
    house.clock.advance(legs.LATE_SECONDS)
    known.answer = httpx.Response(500)
    assert admission.active(house.store, house.clock()) == 1

    sweep(broom)

    assert admission.active(house.store, house.clock()) == 0


def test_of_a_session_that_is_no_more_nothing_is_fetched(house: House, broom: Broom, known: Calls) -> None:
    legs.open_leg(house.store, CALL_SID, {}, LONGEST, house.clock())
    legs.connect(house.store, CALL_SID, CALL, "<Response/>")
    end(house)
    house.clock.advance(legs.LATE_SECONDS)

    assert sweep(broom) == 1
    assert known.asked == []
    assert house.items(f"CALL#{CALL}") == {}


def test_a_web_call_is_nobodys_business_here(house: House, broom: Broom, twilios: Twilios, known: Calls) -> None:
    body = message("status-update", house.clock, status="in-progress")
    body["call"] = {"id": CALL, "orgId": "org-1", "type": "webCall"}
    assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200
    before = house.items(f"CALL#{CALL}")
    house.clock.advance(12 * 3600)

    assert sweep(broom) == 0
    assert (house.items(f"CALL#{CALL}"), twilios.requests, known.asked) == (before, [], [])


def test_a_fetched_report_sets_the_after_call_tools_going(house: House, broom: Broom) -> None:
    say(
        opened(house),
        "tool-calls",
        toolCallList=[tool_call("send", {"text": "Bye"}), tool_call("move", {"to": "x"}, "2")],
    )
    end(house)
    house.clock.advance(legs.LATE_SECONDS)

    sweep(broom)

    sk = "TOOL#call_1"
    assert [ticket for ticket, _ in house.tickets(house.after)] == [Ticket(CALL, sk)]
    row = house.items(f"CALL#{CALL}")[sk]
    assert row["deadline"] == int((house.clock() + DEADLINES["after_call"]) * 1000)
    assert house.run(house.after) == 1
    assert house.items(f"CALL#{CALL}")[sk]["state"] == "SUCCEEDED"


# Whoever dies half-way


@pytest.mark.parametrize("place", range(12))
def test_whatever_write_is_the_last_one_a_later_run_finishes(
    house: House, broom: Broom, twilios: Twilios, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(opened(house), "tool-calls", toolCallList=[tool_call("send", {"text": "Bye"})])
    house.clock.advance(LONGEST + legs.LATE_SECONDS)
    twilios.answer = httpx.Response(200, json={"status": "completed"})
    left = [place]
    with monkeypatch.context() as patch:
        for owner, name in ((house.store, "_write"), (Queue, "send")):
            original = getattr(owner, name)

            def mortal(*args: Any, original: Any = original, **kwargs: Any) -> Any:
                if left[0] == 0:
                    raise Unavailable("killed")
                left[0] -= 1
                return original(*args, **kwargs)

            patch.setattr(owner, name, mortal)
        sweep(broom)
        house.clock.advance(AGAIN_SECONDS)
        sweep(broom)
    for _ in range(4):
        house.clock.advance(AGAIN_SECONDS)
        sweep(broom)

    assert not is_open(house)
    assert report(house)["ended_reason"] == "customer-ended-call"
    assert admission.active(house.store, house.clock()) == 0
    assert {ticket for ticket, _ in house.tickets(house.after)} == {Ticket(CALL, "TOOL#call_1")}


def test_a_look_that_is_cut_short_counts(house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten(house)

    def die(*_: Any) -> str:
        raise Overrun

    monkeypatch.setattr(Twilio, "status", die)

    assert sweep(broom) == 0
    assert looks(house) == 1


# The sweeper goes on


def test_what_asks_others_comes_after_every_tool_call_and_callers_on_hold_come_first(
    house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    keys = [LEG, Key(f"XFER#{CALL_SID}", "META"), Key(f"CALL#{CALL}", "TOOL#call_1")]
    monkeypatch.setattr(sweeper, "_due", lambda _: iter(keys))
    monkeypatch.setattr(toolcalls, "load", lambda _store, key: seen.append(key.pk))

    def look(_of: Any, key: Key, _now: float) -> bool:
        seen.append(key.pk)
        return False

    monkeypatch.setattr(sweeper, "reconcile", look)
    monkeypatch.setattr(transfers, "sweep", look)

    sweep(broom)

    assert [pk.partition("#")[0] for pk in seen] == ["CALL", "XFER", "SID"]


@pytest.mark.parametrize("error", [Unavailable("table: down"), Ambiguous("x"), KeyError("x"), Overrun()])
def test_one_leg_that_cannot_be_looked_after_does_not_keep_the_others_waiting(
    house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    keys = [Key(f"SID#CA{number:032x}", "META") for number in range(3)]

    def look(_clerk: Clerk, key: Key, _now: float) -> bool:
        if key == keys[0]:
            raise error
        return True

    monkeypatch.setattr(sweeper, "_due", lambda _: iter(keys))
    monkeypatch.setattr(sweeper, "reconcile", look)

    assert sweep(broom) == 2


def test_a_look_takes_no_longer_than_it_may(house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten(house)
    monkeypatch.setattr(sweeper, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Twilio, "status", lambda *_: time.sleep(30))
    began = time.monotonic()

    assert sweep(broom) == 0
    assert time.monotonic() - began < 10


def test_when_the_time_is_up_no_further_leg_is_begun(
    house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [Key(f"SID#CA{number:032x}", "META") for number in range(5)]
    monkeypatch.setattr(sweeper, "_due", lambda _: iter(keys))

    def look(*_: Any) -> bool:
        house.clock.advance(sweeper.PHONE_SECONDS / 2)
        return True

    monkeypatch.setattr(sweeper, "reconcile", look)

    assert sweep(broom) == 2


def test_the_number_of_active_calls_is_said_once_a_run(house: House, broom: Broom) -> None:
    said: list[list[float]] = []
    for number in range(3):
        telemetry.metrics.clear_metrics()
        sweep(broom)
        said.append(telemetry.metrics.metric_set[Count.ACTIVE_CALLS]["Value"])
        admission.enter(house.store, house.settings, f"holder-{number}", house.clock())

    assert said == [[0.0], [1.0], [2.0]]


def test_a_sweep_whose_count_fails_has_swept(house: House, broom: Broom, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> int:
        raise Unavailable("table: ThrottlingException")

    say(unreported(house), "end-of-call-report", **SAID)
    monkeypatch.setattr(admission, "active", down)

    assert sweep(broom) == 1
