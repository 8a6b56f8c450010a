"""The line of waiting callers and the ladder's later steps, as Twilio asks for them."""

import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from devkit import development
from devkit.twiml_lint import faults
from switchboard import admission, callbacks, ladder, legs, phone, routes, signatures
from switchboard.errors import Unavailable
from switchboard.store import Put, Store
from switchboard.telemetry import Count
from tests.integration.conftest import BASE_URL, CALL_SID, House, Twilios, Vapis
from tests.integration.test_phone import FORM, TWIML, created, event

HUMAN = "+15550100777"
TUNE = f"{BASE_URL}/voice/tune#{routes.RETRIES}"


@pytest.fixture
def vapis() -> Vapis:
    """A Vapi that makes the call."""
    made = Vapis()
    made.answer = created()
    return made


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Everything that the phone's code counts."""
    made: list[tuple[str, str]] = []
    for module in (phone, callbacks):
        monkeypatch.setattr(module, "count", lambda what, reason="": made.append((what, reason)))
    return made


@pytest.fixture
def full(house: House) -> House:
    """A house with one slot, which somebody else has, and a ladder with every step."""
    settings = house.settings._replace(
        max_calls=1, human_number=HUMAN, ladder=("queue", "human", "voicemail", "apology")
    )
    assert admission.enter(house.store, settings, other(1), house.clock())
    return with_settings(house, settings)


def with_settings(house: House, settings: Any) -> House:
    """The same house, configured otherwise."""
    return house._replace(
        settings=settings,
        exchange=house.exchange._replace(settings=settings),
        attendant=house.attendant._replace(settings=settings),
    )


def without_table(house: House) -> House:
    """The same house, whose table is down."""
    store = Store("none", house.aws.dynamodb)
    return house._replace(
        exchange=house.exchange._replace(store=store), attendant=house.attendant._replace(store=store)
    )


def other(number: int) -> str:
    """Somebody else's leg."""
    return f"CA{number:032x}"


def ask(house: House, path: str, query: str = "", **fields: str) -> ElementTree.Element:
    """One signed request of Twilio's to whichever function serves it; returns the document, which is valid."""
    fields = {"CallStatus": "in-progress"} | fields
    request = event(path, query=query, **fields)
    inbound = path in (routes.INBOUND, routes.DEQUEUED, routes.BACK)
    answer = phone.answer_call(house.exchange, request) if inbound else callbacks.respond(house.attendant, request)
    assert answer["statusCode"] == 200
    kind = "wait" if path == routes.WAIT else "call"
    assert faults(answer["body"], first=path == routes.INBOUND, kind=kind) == []  # type: ignore[arg-type]  # one of two
    return ElementTree.fromstring(answer["body"])  # noqa: S314 - the linter has read it


def wait(house: House, query: str = "n=1&said=0&turn=0", **fields: str) -> ElementTree.Element:
    """The queue's waitUrl."""
    given = {"QueuePosition": "1", "QueueTime": "8", "CurrentQueueSize": "3"} | fields
    return ask(house, routes.WAIT, query, **given)


def verbs(document: ElementTree.Element) -> list[str]:
    """What a document does."""
    return [verb.tag for verb in document]


def again(document: ElementTree.Element) -> dict[str, str]:
    """What a document's <Redirect> carries."""
    url = urlsplit(document.findtext("Redirect") or "")
    assert f"{url.scheme}://{url.netloc}" == BASE_URL
    assert url.path == routes.WAIT
    return dict(parse_qsl(url.query))


def held(house: House, holder: str = CALL_SID) -> int:
    """How many slots somebody has."""
    return sum(slot.get("holder") == holder for slot in house.items(admission.SLOTS).values())


def test_a_caller_over_the_cap_is_put_into_the_queue(full: House, vapis: Vapis, counted: list[tuple[str, str]]) -> None:
    document = ask(full, routes.INBOUND, CallStatus="ringing")

    assert verbs(document) == ["Say", "Enqueue"]
    [queue] = document.findall("Enqueue")
    assert queue.text == "switchboard"
    assert queue.get("waitUrl") == f"{BASE_URL}/voice/wait?n=1&said=0&turn=0#{routes.RETRIES}"
    assert queue.get("action") == f"{BASE_URL}/voice/dequeued?n=1#{routes.RETRIES}"
    assert vapis.requests == []
    assert (Count.INBOUND_LADDER, "cap") in counted
    assert (Count.QUEUE_ENTERED, "") in counted
    # The cap is what its owner wanted: nobody is alarmed.
    assert (Count.INBOUND_APOLOGY, "cap") not in counted


@pytest.mark.parametrize(
    ("position", "query", "words"),
    [
        ("1", "n=1&said=0&turn=0", callbacks.NEXT),
        ("3", "n=1&said=0&turn=0", "You are number 3 in line."),
        ("3", "n=1&said=3&turn=1", ""),
        ("2", "n=1&said=3&turn=1", "You are number 2 in line."),
        ("2", "n=1&said=2&turn=3", ""),
        ("2", "n=1&said=2&turn=4", "You are number 2 in line."),
        ("1", "n=1&said=1&turn=5", ""),
        ("0", "n=1&said=0&turn=0", callbacks.NEXT),
        ("", "n=1&said=0&turn=0", callbacks.NEXT),
        ("x", "n=1&said=0&turn=0", callbacks.NEXT),
    ],
)
def test_who_waits_hears_music_and_where_they_stand_when_that_is_news(
    full: House, position: str, query: str, words: str
) -> None:
    document = wait(full, query, QueuePosition=position)

    assert verbs(document) == [*(["Say"] if words else []), "Play", "Redirect"]
    assert (document.findtext("Say") or "") == words
    assert document.findtext("Play") == TUNE
    asked = dict(parse_qsl(query))
    said = position if position not in ("", "0", "x") else "1"
    assert again(document) == {"n": "1", "said": said, "turn": str(int(asked["turn"]) + 1)}
    assert held(full) == 0


def test_the_owners_own_music_is_played(full: House) -> None:
    own = with_settings(full, full.settings._replace(hold_music_url="https://music.example/a.mp3"))

    assert wait(own).findtext("Play") == "https://music.example/a.mp3"


def test_the_first_in_line_takes_a_free_slot_once_however_often_they_ask(full: House) -> None:
    admission.leave(full.store, holder=other(1))

    assert [verbs(wait(full)) for _ in range(3)] == [["Leave"]] * 3
    assert held(full) == 1
    # Whoever comes next finds it taken.
    assert verbs(wait(full, CallSid=other(2))) == ["Say", "Play", "Redirect"]


def test_the_second_in_line_leaves_the_only_slot_to_the_first(full: House) -> None:
    admission.leave(full.store, holder=other(1))

    assert verbs(wait(full, QueuePosition="2")) == ["Say", "Play", "Redirect"]
    assert held(full) == 0


def test_newcomers_line_up_behind_who_waits_and_not_behind_who_has_left(full: House) -> None:
    wait(full, CallSid=other(2))
    admission.leave(full.store, holder=other(1))

    assert verbs(ask(full, routes.INBOUND, CallStatus="ringing")) == ["Say", "Enqueue"]
    assert verbs(wait(full, CallSid=other(2), CurrentQueueSize="1")) == ["Leave"]
    admission.leave(full.store, holder=other(2))
    assert verbs(ask(full, routes.INBOUND, CallStatus="ringing", CallSid=other(3))) == ["Connect"]


@pytest.mark.parametrize("position", ["1", "2"])
def test_only_the_first_in_line_says_that_there_is_one(full: House, position: str) -> None:
    wait(full, QueuePosition=position)

    assert (admission.WAIT.sk in full.items(admission.SLOTS)) is (position == "1")


def test_nobody_waits_for_longer_than_they_should(full: House) -> None:
    over = str(full.settings.queue_minutes * 60)

    assert verbs(wait(full, QueueTime=over)) == ["Leave"]
    assert verbs(wait(full, QueueTime=str(int(over) - 1))) == ["Say", "Play", "Redirect"]
    assert held(full) == 0
    assert verbs(wait(without_table(full), QueueTime=over)) == ["Leave"]


def test_while_the_table_is_down_the_music_goes_on(full: House, counted: list[tuple[str, str]]) -> None:
    document = wait(without_table(full), "n=2&said=3&turn=4", QueuePosition="2")

    assert verbs(document) == ["Play", "Redirect"]
    # Where they stood stays said, so that it is not said twice afterwards.
    assert again(document) == {"n": "2", "said": "3", "turn": "5"}
    assert (Count.UNAVAILABLE, "") in counted


def test_a_table_that_hangs_stops_the_music_for_no_longer_than_the_limit(
    full: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "SECONDS", 0.1)
    monkeypatch.setattr(admission, "enter", lambda *_, **__: time.sleep(30))
    began = time.monotonic()

    assert verbs(wait(full)) == ["Play", "Redirect"]
    assert time.monotonic() - began < 10


def test_who_comes_out_of_the_line_with_a_slot_is_connected_once(full: House, vapis: Vapis) -> None:
    admission.leave(full.store, holder=other(1))
    wait(full)
    answers = [phone.answer_call(full.exchange, left()) for _ in range(3)]

    assert [answer["body"] for answer in answers] == [TWIML] * 3
    assert len(vapis.requests) == 1
    assert held(full) == 1


def left(query: str = "n=1", **fields: str) -> dict[str, Any]:
    """The Enqueue's action."""
    return event(
        routes.DEQUEUED, query=query, **{"CallStatus": "in-progress", "QueueResult": "leave", "QueueTime": "9"} | fields
    )


def test_who_comes_out_without_a_slot_goes_on_to_the_next_step(
    full: House, vapis: Vapis, counted: list[tuple[str, str]]
) -> None:
    document = ask(full, routes.DEQUEUED, "n=1", QueueResult="leave")

    assert document.findtext("Dial") == HUMAN
    assert vapis.requests == []
    assert (Count.INBOUND_LADDER, "cap") in counted
    # Asked again: the same, and nothing is taken.
    assert ask(full, routes.DEQUEUED, "n=1", QueueResult="leave").findtext("Dial") == HUMAN
    assert held(full) == 0


def test_who_comes_out_when_the_time_is_up_takes_a_slot_that_is_free_just_then(full: House) -> None:
    admission.leave(full.store, holder=other(1))

    assert phone.answer_call(full.exchange, left(QueueTime="600"))["body"] == TWIML


@pytest.mark.parametrize("result", ["error", "queue-full", "system-error", "bridged", "redirected", ""])
def test_who_was_thrown_out_of_the_line_goes_on_and_gives_back_what_they_have(
    full: House, vapis: Vapis, result: str
) -> None:
    admission.leave(full.store, holder=other(1))
    wait(full)
    assert held(full) == 1

    assert ask(full, routes.DEQUEUED, "n=1", QueueResult=result).findtext("Dial") == HUMAN
    assert held(full) == 0
    assert vapis.requests == []


@pytest.mark.parametrize("fields", [{"QueueResult": "hangup"}, {"QueueResult": "leave", "CallStatus": "completed"}])
def test_who_hung_up_in_the_line_is_not_connected(full: House, vapis: Vapis, fields: dict[str, str]) -> None:
    admission.leave(full.store, holder=other(1))

    assert verbs(ask(full, routes.DEQUEUED, "n=1", **fields)) == ["Hangup"]
    assert vapis.requests == []
    assert held(full) == 0
    assert full.items(f"SID#{CALL_SID}") == {}


def test_who_hangs_up_between_a_free_slot_and_the_way_out_leaves_it_to_others(full: House) -> None:
    admission.leave(full.store, holder=other(1))
    assert verbs(wait(full)) == ["Leave"]
    assert held(full) == 1

    assert verbs(ask(full, routes.DEQUEUED, "n=1", QueueResult="hangup", CallStatus="completed")) == ["Hangup"]
    assert held(full) == 0


@pytest.mark.parametrize("state", ["holding", "no_answer", "returned", ""])
def test_who_hung_up_on_hold_is_not_connected_again(full: House, vapis: Vapis, state: str) -> None:
    admission.leave(full.store, holder=other(1))
    assert admission.enter(full.store, full.settings, CALL_SID, full.clock())
    if state:
        transfer = {"pk": f"XFER#{CALL_SID}", "sk": "META", "n": 1, "to": "desk", "call_id": "c-1", "account": "AC1"}
        transfer |= {"asked_by": "tool-1", "exp": int(full.clock()) + 3600, "state": state, "outcome": "no_answer"}
        full.store.put(Put(transfer))

    assert verbs(ask(full, routes.BACK, "n=1", CallStatus="completed")) == ["Hangup"]
    assert vapis.requests == []
    assert held(full) == 0


def test_music_is_played_to_a_conference_that_names_no_leg(full: House) -> None:
    query = f"call={CALL_SID}&n=1&turn=3"

    answer = callbacks.respond(full.attendant, without_leg(event(routes.MUSIC, query=query), query))
    assert answer["statusCode"] == 200
    assert f"/voice/music?call={CALL_SID}&amp;n=1&amp;turn=4" in answer["body"]

    for path, asked in [(routes.MUSIC, "call=CA1&n=1&turn=3"), (routes.MUSIC, ""), (routes.HOLD, query)]:
        refused = callbacks.respond(full.attendant, without_leg(event(path, query=asked), asked))
        assert refused["statusCode"] == 403


def without_leg(request: dict[str, Any], query: str) -> dict[str, Any]:
    """The same request, signed without a CallSid."""
    pairs = [(name, value) for name, value in FORM.items() if name != "CallSid"]
    url = f"{BASE_URL}{request['rawPath']}" + (f"?{query}" if query else "")
    signature = signatures.sign_twilio(url, pairs, development.TWILIO_AUTH_TOKEN)
    headers = request["headers"] | {"x-twilio-signature": signature}
    return request | {"headers": headers, "body": urlencode(pairs), "isBase64Encoded": False}


def test_a_turn_is_answered_once_however_late_it_is_asked_again(full: House, vapis: Vapis) -> None:
    admission.leave(full.store, holder=other(1))
    for number in (1, 2):
        phone.answer_call(full.exchange, left(f"n={number}"))
    assert len(vapis.requests) == 2

    for number in (1, 2, 1):
        phone.answer_call(full.exchange, left(f"n={number}"))
    assert len(vapis.requests) == 2


def test_who_is_sent_back_by_a_full_vapi_waits_longer_each_time_and_not_for_ever(full: House, vapis: Vapis) -> None:
    admission.leave(full.store, holder=other(1))
    vapis.answer = httpx.Response(400, json={"message": "Over Concurrency Limit"})
    document = ask(full, routes.INBOUND, CallStatus="ringing")
    waits = []
    while (queue := document.find("Enqueue")) is not None:
        waits.append(0)
        url = urlsplit(queue.get("waitUrl") or "")
        while verbs(pending := wait(full, url.query)) != ["Leave"]:
            waits[-1] += 1
            url = urlsplit(pending.findtext("Redirect") or "")
        assert held(full) == 1
        document = ask(full, routes.DEQUEUED, urlsplit(queue.get("action") or "").query, QueueResult="leave")
        assert held(full) == 0

    assert waits == [0, 1, 2, 3, 4]
    assert document.findtext("Dial") == HUMAN
    assert len(vapis.requests) == 6


def test_who_lines_up_after_a_transfer_has_a_turn_of_their_own(full: House, vapis: Vapis) -> None:
    """The number of a transfer and of a time in the queue are two things: a stored answer of one is not the other's."""
    admission.leave(full.store, holder=other(1))
    phone.answer_call(full.exchange, left("n=2"))
    vapis.answer = httpx.Response(429, json={})

    document = ask(full, routes.BACK, "n=1")

    action = urlsplit(document.find("Enqueue").get("action") or "")  # type: ignore[union-attr]  # the assert below fails
    vapis.answer = created()
    assert phone.answer_call(full.exchange, left(action.query))["body"] == TWIML
    assert len(vapis.requests) == 3


def step(house: House, query: str, **fields: str) -> ElementTree.Element:
    """What follows a step of the ladder."""
    return ask(house, routes.STEP, query, **fields)


VOICEMAIL = ["Say", "Record", "Say", "Hangup"]
APOLOGY = ["Say", "Hangup"]


@pytest.mark.parametrize("table", ["up", "down"])
@pytest.mark.parametrize(
    ("query", "result", "expected"),
    [
        ("after=human&cause=vapi", "no-answer", VOICEMAIL),
        ("after=human&cause=cap", "busy", VOICEMAIL),
        ("after=human&cause=no_answer", "failed", VOICEMAIL),
        ("after=human&cause=vapi", "canceled", VOICEMAIL),
        ("after=human&cause=vapi", "completed", ["Hangup"]),
        ("after=human&cause=vapi", "answered", ["Hangup"]),
        ("after=assistant&cause=no_answer", "no-answer", ["Say", "Dial"]),
        ("after=assistant&cause=no_answer", "completed", ["Hangup"]),
        ("after=assistant&cause=vapi", "", ["Say", "Dial"]),
        ("after=voicemail&cause=vapi", "", APOLOGY),
        ("after=queue&cause=cap", "", ["Say", "Dial"]),
        ("after=apology&cause=vapi", "", APOLOGY),
        ("after=nothing&cause=nothing", "failed", ["Say", "Dial"]),
        ("after=nothing&cause=cap", "failed", ["Say", "Enqueue"]),
        ("", "", ["Say", "Dial"]),
    ],
)
def test_after_a_step_comes_the_next_one_whether_or_not_there_is_a_table(
    full: House, query: str, result: str, expected: list[str], table: str
) -> None:
    house = full if table == "up" else without_table(full)

    assert verbs(step(house, query, **({"DialCallStatus": result} if result else {}))) == expected


@pytest.mark.parametrize("table", ["up", "down"])
def test_why_the_caller_did_not_get_through_travels_on(full: House, table: str) -> None:
    house = full if table == "up" else without_table(full)
    document = step(house, "after=assistant&cause=vapi&n=2", DialCallStatus="failed")

    [dial] = document.findall("Dial")
    assert dict(parse_qsl(urlsplit(dial.get("action") or "").query)) == {"after": "human", "cause": "vapi", "n": "2"}


def test_the_ladder_asks_nobody(full: House, vapis: Vapis, twilios: Twilios) -> None:
    full.aws.wire.take()
    step(full, "after=human&cause=vapi", DialCallStatus="busy")

    assert full.aws.wire.take() == []
    assert vapis.requests == []
    assert twilios.requests == []


def test_an_assistant_that_does_not_pick_up_frees_its_slot_and_is_an_alarm(
    full: House, counted: list[tuple[str, str]]
) -> None:
    admission.leave(full.store, holder=other(1))
    assert admission.enter(full.store, full.settings, CALL_SID, full.clock())
    step(full, "after=assistant&cause=no_answer", DialCallStatus="failed")

    assert held(full) == 0
    assert [reason for what, reason in counted if what is Count.INBOUND_LADDER] == ["no_answer"]
    assert [reason for what, reason in counted if what is Count.INBOUND_APOLOGY] == ["no_answer"]


def test_a_caller_who_hangs_up_while_it_rings_alarms_nobody(full: House, counted: list[tuple[str, str]]) -> None:
    document = step(full, "after=assistant&cause=no_answer", DialCallStatus="canceled", CallStatus="completed")

    assert verbs(document) == ["Hangup"]
    assert counted == []


def told(house: House) -> tuple[House, list[tuple[str, str]]]:
    """The house, and the messages that its owner is told of."""
    heard: list[tuple[str, str]] = []
    attendant = house.attendant._replace(left_voicemail=lambda sid, recording: heard.append((sid, recording)))
    return house._replace(attendant=attendant), heard


def test_a_message_is_told_of_and_the_caller_thanked(full: House, counted: list[tuple[str, str]]) -> None:
    house, heard = told(full)
    # Who hangs up after the tone has left a message, too.
    document = step(house, "after=voicemail&cause=vapi", RecordingSid="RE" + "1" * 32, CallStatus="completed")

    assert document.findtext("Say") == ladder.THANKS
    assert heard == [(CALL_SID, "RE" + "1" * 32)]
    assert counted == [(Count.VOICEMAIL_LEFT, "")]


def test_without_a_recording_there_is_no_message(full: House, counted: list[tuple[str, str]]) -> None:
    house, heard = told(full)
    step(house, "after=voicemail&cause=vapi")

    assert heard == []
    assert counted == []


def test_a_message_that_nobody_can_be_told_of_is_still_one(full: House) -> None:
    def down(_sid: str, _recording: str) -> None:
        raise Unavailable("bus: down")

    house = full._replace(attendant=full.attendant._replace(left_voicemail=down))
    document = step(house, "after=voicemail&cause=vapi", RecordingSid="RE" + "1" * 32)

    assert document.findtext("Say") == ladder.THANKS


@pytest.mark.parametrize("path", [routes.INBOUND, "/voice/nothing", "/voice/dequeued", "/"])
def test_a_signed_request_for_another_path_is_refused(full: House, path: str) -> None:
    assert callbacks.respond(full.attendant, event(path))["statusCode"] == 403


@pytest.mark.parametrize("path", sorted({*callbacks._TOLD, *callbacks._DOCUMENTS}))
def test_what_twilio_has_not_signed_learns_and_changes_nothing(full: House, twilios: Twilios, path: str) -> None:
    full.aws.wire.take()
    forged = event(path, token="wrong", query="after=human&cause=vapi&n=1")
    other_query = event(path, query="after=human") | {"rawQueryString": "after=queue&cause=cap"}

    for request in (forged, other_query):
        answer = callbacks.respond(full.attendant, request)
        assert (answer["statusCode"], answer["body"]) == (403, '{"error":"forbidden"}')
    assert full.aws.wire.take() == []
    assert twilios.requests == []


def test_a_turn_of_a_leg_that_nobody_has_opened_is_answered_too(house: House) -> None:
    """The table may have been down when it rang."""
    assert legs.load(house.store, CALL_SID, house.clock()) is None

    assert phone.answer_call(house.exchange, left())["body"] == TWIML
    assert phone.answer_call(house.exchange, left())["body"] == TWIML


def test_a_talk_by_sip_that_is_over_frees_its_slot(full: House) -> None:
    admission.leave(full.store, holder=other(1))
    assert admission.enter(full.store, full.settings, CALL_SID, full.clock())
    before = admission.active(full.store, full.clock())

    assert verbs(step(full, "after=human&cause=cap", DialCallStatus="completed")) == ["Hangup"]
    assert admission.active(full.store, full.clock()) == before
    assert verbs(step(full, "after=assistant&cause=no_answer", DialCallStatus="completed")) == ["Hangup"]
    assert admission.active(full.store, full.clock()) == before - 1
