"""The exchange: TwiML is interpreted as Twilio documents it, webhooks are really signed, REST changes live legs."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # it ships no types

from devkit import development
from devkit.exchange import Callbacks, Exchange, Person, RealClock, Reply, TimedOut, VirtualClock, over
from devkit.exchange_legs import Leg
from devkit.twilio_fake import TwilioFake
from switchboard import twiml

PUBLIC = "https://voice.example.com"
CALLER, OTHER, HUMAN = "+15555550134", "+15555550135", "+15555550199"
AUTH = (development.TWILIO_ACCOUNT_SID, development.TWILIO_AUTH_TOKEN)
STREAM = '<Connect><Stream url="wss://media.example.com/one"/></Connect>'
BYE = "<Say>Bye now.</Say><Hangup/>"
type Answer = str | Reply | Exception | Callable[[dict[str, str]], str | Reply]


class Sent(NamedTuple):
    """A webhook as `post` saw it."""

    url: str
    body: bytes
    headers: dict[str, str]


class Backend:
    """Answers by path: the verbs of a document, a whole reply, or what a function makes of the fields."""

    def __init__(self, pages: dict[str, Answer]) -> None:
        self.pages = pages
        self.sent: list[Sent] = []

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        self.sent.append(Sent(url, body, headers))
        parts = urlsplit(url)
        whole = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = self.pages.get(whole, self.pages.get(parts.path, ""))
        if callable(answer):
            answer = answer(dict(parse_qsl(body.decode(), keep_blank_values=True)))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else document(answer)


def document(verbs: str, **more: Any) -> Reply:
    return Reply(body=f"<Response>{verbs}</Response>".encode(), **more)


def one_of(*answers: Answer) -> Callable[[dict[str, str]], str | Reply]:
    """Answer by turns; the last one stays."""
    left = list(answers)

    def next_one(fields: dict[str, str]) -> str | Reply:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(fields) if callable(answer) else answer

    return next_one


def exchange(pages: dict[str, Answer], **more: Any) -> Exchange:
    """An exchange that asks for these pages, in virtual time. Not every document here ends as ours must."""
    return Exchange(Backend(pages), VirtualClock(), public_url=PUBLIC, **{"strict": False, **more})


def sent(made: Exchange) -> list[Sent]:
    backend = made._post
    assert isinstance(backend, Backend)
    return backend.sent


def asked(made: Exchange, path: str) -> list[dict[str, str]]:
    """The fields of every request to a path."""
    return [one.fields for one in made.asked if one.path == path]


def told(made: Exchange, leg: Leg) -> list[str]:
    """The timeline of one leg, with the seconds since it began."""
    entries = [entry for entry in made.timeline if entry.sid == leg.sid]
    return [f"{entry.at - leg.began:g} {entry.what} {entry.detail}".strip() for entry in entries]


def rest(made: Exchange, path: str, **options: Any) -> httpx.Response:
    method = "POST" if "data" in options else "GET"
    client = httpx.Client(transport=httpx.MockTransport(made.handle), auth=options.pop("auth", AUTH))
    return client.request(method, f"https://api.twilio.com/2010-04-01/Accounts/{AUTH[0]}/{path}", **options)


def change(made: Exchange, leg: Leg, **form: str) -> httpx.Response:
    return rest(made, f"Calls/{leg.sid}.json", data=form)


def place(made: Exchange, **form: Any) -> httpx.Response:
    return rest(made, "Calls.json", data={"To": HUMAN, "From": CALLER, **form})


def test_every_webhook_is_signed_as_twilios_own_validator_wants_it() -> None:
    made = exchange({"/voice/inbound": "<Redirect>/next?n=1&amp;who=a%20b#rc=2&amp;rp=5xx</Redirect>", "/next": BYE})
    made.call(CALLER)
    made.run_until_idle()
    validator = RequestValidator(AUTH[1])

    assert [one.url for one in sent(made)] == [
        PUBLIC + "/voice/inbound",
        PUBLIC + "/next?n=1&who=a%20b",
        PUBLIC + "/voice/status",
    ]
    for one in sent(made):
        form = dict(parse_qsl(one.body.decode(), keep_blank_values=True))
        assert form["CalledCity"] == ""
        assert validator.validate(one.url, form, one.headers["x-twilio-signature"])
        assert not validator.validate(one.url, form | {"To": "+1"}, one.headers["x-twilio-signature"])


def test_a_call_rings_until_its_first_verb_and_ends_with_the_numbers_status_callback() -> None:
    made = exchange({"/voice/inbound": "<Say>One two three four.</Say><Pause length='2'/><Say>Five.</Say><Hangup/>"})
    leg = made.call(CALLER)
    made.run_until_idle()
    [first], [last] = asked(made, "/voice/inbound"), asked(made, "/voice/status")

    assert told(made, leg) == [
        "0 calls +15555550100",
        "0 hears “One two three four.”",
        "3.4 hears “Five.”",
        "3.75 ends",
    ]
    assert (first["CallStatus"], last["CallStatus"], last["CallDuration"], last["Duration"]) == (
        "ringing",
        "completed",
        "4",
        "1",
    )
    assert (last["SequenceNumber"], last["CallbackSource"]) == ("0", "call-progress-events")
    assert last["Timestamp"] == "Fri, 15 Jan 2027 08:00:03 +0000"
    assert made.words(leg) == ["One two three four.", "Five."]


def test_a_redirect_does_not_answer_the_call() -> None:
    made = exchange({"/voice/inbound": "<Redirect>/next</Redirect>", "/next": BYE})
    made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/next")[0]["CallStatus"] == "ringing"


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "failed")])
def test_a_rejected_call_is_never_answered(reason: str, status: str) -> None:
    made = exchange({"/voice/inbound": f'<Reject reason="{reason}"/>'})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert (leg.status, leg.answered_at, asked(made, "/voice/status")[0]["CallDuration"]) == (status, None, "0")


def test_a_document_without_a_verb_ends_the_call() -> None:
    made = exchange({"/voice/inbound": ""})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert (leg.status, leg.ended_at) == ("completed", leg.began)


def test_a_caller_who_hangs_up_while_it_rings_was_not_answered() -> None:
    made = exchange({"/voice/inbound": document(BYE, seconds=9.0)})
    leg = made.call(CALLER, person=Person(hangs_up_after=3))
    made.run_until_idle()

    assert (leg.status, told(made, leg)[1:]) == ("no-answer", ["3 hangs up", "3 ends no-answer"])


GATHER = '<Gather action="/keys?x=1" timeout="4" numDigits="1"><Say>Press one.</Say></Gather><Say>Nothing.</Say>'


@pytest.mark.parametrize(
    ("digits", "heard", "keys"), [(["17"], ["Press one."], ["1"]), ([], ["Press one.", "Nothing."], [])]
)
def test_gathered_digits_go_to_the_action_and_silence_goes_on(
    digits: list[str], heard: list[str], keys: list[str]
) -> None:
    made = exchange({"/voice/inbound": GATHER})
    leg = made.call(CALLER, person=Person(digits=digits))
    made.run_until_idle()

    assert made.words(leg) == heard
    assert [fields["Digits"] for fields in asked(made, "/keys")] == keys


def test_an_empty_result_goes_to_the_action_where_it_is_wanted() -> None:
    made = exchange({"/voice/inbound": GATHER.replace("<Gather", '<Gather actionOnEmptyResult="true"')})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert (made.words(leg), asked(made, "/keys")[0]["Digits"]) == (["Press one."], "")


def test_keys_cut_a_prompt_short() -> None:
    made = exchange({"/voice/inbound": GATHER.replace("Press one.", "word " * 100)})
    leg = made.call(CALLER)
    made.run(made.clock.now + 2)
    made.press(leg, "1")
    made.run_until_idle()

    assert leg.ended_at == leg.began + 2


RECORD = '<Say>Speak.</Say><Record action="/kept" maxLength="60" timeout="3"/><Say>You said nothing.</Say>'


def test_a_message_is_recorded_and_goes_to_the_action() -> None:
    made = exchange({"/voice/inbound": RECORD, "/kept": BYE})
    leg = made.call(CALLER, person=Person(speaks=12))
    made.run_until_idle()
    [kept] = asked(made, "/kept")

    assert made.words(leg) == ["Speak.", "Bye now."]
    assert (kept["RecordingDuration"], kept["RecordingSid"][:2], len(kept["RecordingSid"])) == ("12", "RE", 34)
    assert kept["RecordingUrl"].endswith(f"/Recordings/{kept['RecordingSid']}")
    assert told(made, leg)[3] == "15.35 hears “Bye now.”"  # after three seconds of silence


def test_silence_is_no_message() -> None:
    made = exchange({"/voice/inbound": RECORD})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert (made.words(leg), asked(made, "/kept")) == (["Speak.", "You said nothing."], [])


def test_a_message_that_ends_with_hanging_up_is_kept() -> None:
    made = exchange({"/voice/inbound": RECORD, "/kept": BYE})
    leg = made.call(CALLER, person=Person(speaks=30, hangs_up_after=5))
    made.run_until_idle()
    [kept] = asked(made, "/kept")

    assert (kept["Digits"], kept["RecordingDuration"], kept["CallStatus"]) == ("hangup", "5", "completed")
    assert made.words(leg) == ["Speak."]


DIAL = f'<Dial action="/dialled" timeout="10"><Number>{HUMAN}</Number></Dial>'


@pytest.mark.parametrize(
    ("person", "status", "duration"),
    [
        (Person(hangs_up_after=20), "completed", "20"),
        (Person(behaviour="no-answer"), "no-answer", None),
        (Person(answers_after=11), "no-answer", None),
        (Person(behaviour="busy"), "busy", None),
        (Person(behaviour="failed"), "failed", None),
        (Person(behaviour="voicemail"), "completed", "30"),
    ],
)
def test_a_dialled_person_answers_or_not(person: Person, status: str, duration: str | None) -> None:
    made = exchange({"/voice/inbound": DIAL, "/dialled": BYE}, people={HUMAN: person})
    leg = made.call(CALLER)
    made.run_until_idle()
    [fields] = asked(made, "/dialled")
    child = made.legs[fields["DialCallSid"]]

    assert (fields["DialCallStatus"], fields.get("DialCallDuration")) == (status, duration)
    assert (child.parent, child.direction, child.over, child.caller) == (leg, "outbound-dial", True, CALLER)
    assert made.words(leg) == ["Bye now."]
    assert made.silence(leg) == 0


def test_a_dialled_leg_has_status_callbacks_of_its_own() -> None:
    noun = '<Number statusCallback="/leg?n=1" statusCallbackEvent="ringing completed">'
    made = exchange({"/voice/inbound": DIAL.replace("<Number>", noun)}, people={HUMAN: Person(behaviour="busy")})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert [(one["CallStatus"], one["ParentCallSid"], one["Direction"]) for one in asked(made, "/leg")] == [
        ("ringing", leg.sid, "outbound-dial"),
        ("busy", leg.sid, "outbound-dial"),
    ]


def test_a_dial_without_an_action_goes_on_with_the_next_verb() -> None:
    made = exchange(
        {"/voice/inbound": f"<Dial timeout='5'>{HUMAN}</Dial>" + BYE}, people={HUMAN: Person(behaviour="busy")}
    )
    leg = made.call(CALLER)
    made.run_until_idle()

    assert made.words(leg) == ["Bye now."]


def test_a_time_limit_ends_the_talk() -> None:
    made = exchange({"/voice/inbound": DIAL.replace("<Dial", '<Dial timeLimit="60"'), "/dialled": BYE})
    made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/dialled")[0]["DialCallDuration"] == "60"


def test_a_caller_who_hangs_up_ends_the_dialled_leg_and_the_action_is_told() -> None:
    made = exchange({"/voice/inbound": DIAL, "/dialled": BYE})
    leg = made.call(CALLER, person=Person(hangs_up_after=30))
    made.run_until_idle()
    [fields] = asked(made, "/dialled")

    assert (fields["CallStatus"], fields["DialCallStatus"]) == ("completed", "completed")
    assert made.legs[fields["DialCallSid"]].ended_at == leg.began + 30
    assert made.words(leg) == []


def test_answer_on_bridge_keeps_the_caller_ringing() -> None:
    people = {HUMAN: [Person(behaviour="busy"), Person(hangs_up_after=5)]}
    again = DIAL.replace("<Dial", '<Dial answerOnBridge="true"')
    made = exchange({"/voice/inbound": again, "/dialled": one_of(again, BYE)}, people=people)
    leg = made.call(CALLER)
    made.run_until_idle()

    assert [fields["CallStatus"] for fields in asked(made, "/dialled")] == ["ringing", "in-progress"]
    assert leg.answered_at == leg.began + 1 + 4


def test_sip_tells_its_response_code_and_a_person_is_found_without_headers() -> None:
    sip = "<Dial action='/dialled'><Sip>sip:desk@sip.example.com;transport=tls?X-Call=1</Sip></Dial>"
    made = exchange({"/voice/inbound": sip}, people={"sip:desk@sip.example.com": Person(behaviour="failed")})
    made.call(CALLER)
    made.run_until_idle()
    [fields] = asked(made, "/dialled")

    assert (fields["DialCallStatus"], fields["DialSipResponseCode"]) == ("failed", "503")


WHISPER = f'<Dial action="/dialled"><Number url="/whisper">{HUMAN}</Number></Dial>'


def test_the_called_side_hears_a_whisper_before_the_talk() -> None:
    made = exchange({"/voice/inbound": WHISPER, "/whisper": "<Say>A call for you.</Say>"})
    leg = made.call(CALLER, person=Person(hangs_up_after=30))
    made.run_until_idle()
    [child] = [other for other in made.legs.values() if other.parent is leg]
    [fields] = asked(made, "/whisper")

    assert (fields["CallSid"], fields["ParentCallSid"]) == (child.sid, leg.sid)
    assert made.words(child) == ["A call for you."]
    assert told(made, leg)[1] == f"{4 + 4 * 0.35:g} talks to {HUMAN}"


def test_a_whisper_that_hangs_up_keeps_the_caller_apart() -> None:
    made = exchange({"/voice/inbound": WHISPER, "/whisper": "<Hangup/>", "/dialled": BYE})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/dialled")[0]["DialBridged"] == "false"
    assert made.words(leg) == ["Bye now."]


@pytest.mark.parametrize("fault", [Reply(500), Reply(body=b"<Response>")])
def test_a_whisper_that_fails_keeps_the_caller_apart(fault: Reply) -> None:
    made = exchange({"/voice/inbound": WHISPER, "/whisper": fault, "/dialled": BYE})
    made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/dialled")[0]["DialBridged"] == "false"


def test_a_whisper_need_not_end_in_an_action() -> None:
    absolute = WHISPER.replace('="/', f'="{PUBLIC}/')
    pages: dict[str, Answer] = {"/voice/inbound": absolute, "/whisper": "<Say>A call for you.</Say>", "/dialled": BYE}
    made = exchange(pages, strict=True, people={HUMAN: Person(hangs_up_after=20)})
    made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/dialled")[0]["DialBridged"] == "true"


def test_a_voicemail_presses_nothing() -> None:
    people = {HUMAN: Person(behaviour="voicemail", digits=["1"])}
    made = exchange({"/voice/inbound": WHISPER, "/whisper": GATHER + "<Hangup/>", "/dialled": BYE}, people=people)
    made.call(CALLER)
    made.run_until_idle()

    assert (asked(made, "/keys"), asked(made, "/dialled")[0]["DialBridged"]) == ([], "false")


def test_a_stream_keeps_the_call_until_the_far_end_closes_it() -> None:
    seen: list[Any] = []
    stream = STREAM.replace('"/>', '"><Parameter name="key" value="k1"/></Stream>', 1).replace(
        "<Connect", "<Connect action='/next'"
    )

    def on_stream(leg: Leg, url: str, parameters: Any) -> float:
        seen.append((leg.caller, url, dict(parameters)))
        return 40

    made = exchange(
        {"/voice/inbound": stream, "/next": BYE}, on_stream=on_stream, on_closed=lambda *end: seen.append(end)
    )
    leg = made.call(CALLER)
    made.run_until_idle()

    assert seen == [
        (CALLER, "wss://media.example.com/one", {"key": "k1"}),
        (leg, "wss://media.example.com/one", "far end"),
    ]
    assert told(made, leg)[1:4] == [
        "0 is connected to the assistant wss://media.example.com/one",
        "40 loses the assistant",
        "40 hears “Bye now.”",
    ]


def test_a_stream_without_an_action_ends_the_call_with_it() -> None:
    made = exchange({"/voice/inbound": STREAM})
    leg = made.call(CALLER)
    made.run(made.clock.now + 60)
    made.close_stream(leg)
    made.run_until_idle()

    assert (leg.status, leg.ended_at) == ("completed", leg.began + 60)


def test_a_stream_hears_of_a_caller_who_hangs_up() -> None:
    ends: list[str] = []
    made = exchange({"/voice/inbound": STREAM}, on_closed=lambda leg, url, by: ends.append(by))
    made.call(CALLER, person=Person(hangs_up_after=7))
    made.run_until_idle()

    assert ends == ["caller"]


HOLD = '<Dial action="/left"><Conference waitUrl="/music" endConferenceOnExit="true">room-1</Conference></Dial>'
JOIN = '<Dial action="/gone"><Conference beep="false">room-1</Conference></Dial>'


def test_a_room_plays_its_music_again_and_again_until_somebody_joins() -> None:
    made = exchange(
        {
            "/voice/inbound": HOLD,
            "/music": "<Say>Please hold.</Say><Play>https://x.example.com/tune</Play>",
            "/join": JOIN,
        }
    )
    leg = made.call(CALLER)
    made.run(made.clock.now + 20)
    assert place(made, Url=PUBLIC + "/join").status_code == 201
    made.run(made.clock.now + 10)
    made.hang_up(made.legs[asked(made, "/join")[0]["CallSid"]])
    made.run(made.clock.now + 5)

    assert len(asked(made, "/music")) == 3
    assert asked(made, "/music")[0]["ConferenceSid"].startswith("CF")
    assert told(made, leg)[1:] == [
        "0 waits in a room",
        "0 hears “Please hold.”",
        "0.7 hears music",
        "8.7 hears “Please hold.”",
        "9.4 hears music",
        "17.4 hears “Please hold.”",
        "18.1 hears music",
        "24 is in the room with 1",
        "30 is in the room alone",
    ]
    assert made.silence(leg) == 5
    assert asked(made, "/gone")[0]["DialCallStatus"] == "answered"


def test_the_end_of_a_room_ends_it_for_everybody_in_it() -> None:
    made = exchange({"/voice/inbound": HOLD, "/join": JOIN, "/gone": BYE})
    made.call(CALLER, person=Person(hangs_up_after=30))
    place(made, Url=PUBLIC + "/join")
    made.run_until_idle()
    human = made.legs[asked(made, "/join")[0]["CallSid"]]

    assert (made.words(human), human.ended_at) == (["Bye now."], 1_800_000_030.7)
    assert [fields["CallStatus"] for fields in asked(made, "/left")] == ["completed"]
    assert made.rooms == {}


def test_a_room_waits_for_whoever_may_start_it() -> None:
    waiting = '<Dial><Conference waitUrl="" startConferenceOnEnter="false">r</Conference></Dial>'
    made = exchange({"/voice/inbound": one_of(waiting, waiting, waiting.replace("false", "true"))})
    first, second = made.call(CALLER), made.call(OTHER)
    made.run(made.clock.now + 10)
    third = made.call(HUMAN)
    made.run(made.clock.now + 10)

    assert (made.silence(first), made.silence(second), made.silence(third)) == (10, 10, 0)
    assert told(made, first)[-1] == "10 is in the room with 2"


def test_two_rooms_are_two_rooms() -> None:
    room = "<Dial><Conference>{}</Conference></Dial>"
    made = exchange({"/voice/inbound": one_of(room.format("a"), room.format("b"))})
    first, second = made.call(CALLER), made.call(OTHER)
    made.run(made.clock.now + 10)

    assert [told(made, leg)[-1] for leg in (first, second)] == ["0 hears music"] * 2


@pytest.mark.parametrize("music", [Reply(500), document("<Hangup/>")])
def test_a_room_whose_music_fails_is_silent(music: Reply) -> None:
    made = exchange({"/voice/inbound": HOLD, "/music": music})
    leg = made.call(CALLER)
    made.run(made.clock.now + 30)

    assert (leg.status, made.silence(leg)) == ("in-progress", 30)


LINE = '<Enqueue action="/dequeued?n=1" waitUrl="/wait">line</Enqueue>'
TUNE = "<Play>https://x.example.com/tune</Play>"


def test_callers_wait_in_order_and_leave_when_their_document_says_so() -> None:
    leave = "<Leave/>"
    made = exchange(
        {"/voice/inbound": LINE, "/wait": lambda f: leave if f["QueueTime"] == "16" else TUNE, "/dequeued": BYE}
    )
    first = made.call(CALLER)
    made.run(made.clock.now + 4)
    second = made.call(OTHER)
    made.run_until_idle()
    waits = asked(made, "/wait")

    assert [
        (one["CallSid"] == first.sid, one["QueuePosition"], one["QueueTime"], one["CurrentQueueSize"]) for one in waits
    ] == [
        (True, "1", "0", "1"),
        (False, "2", "0", "2"),
        (True, "1", "8", "2"),
        (False, "2", "8", "2"),
        (True, "1", "16", "2"),
        (False, "1", "16", "1"),
    ]
    assert [waits[n]["AvgQueueTime"] for n in (0, 5)] == ["0", "16"]
    assert [
        (one["QueueResult"], one["QueueTime"], one["QueueSid"] == waits[0]["QueueSid"])
        for one in asked(made, "/dequeued")
    ] == [("leave", "16", True)] * 2
    assert told(made, second)[1:] == [
        "0 waits in line as number 2",
        "0 hears music",
        "16 hears “Bye now.”",
        "16.7 ends",
    ]


def test_a_caller_who_hangs_up_makes_room_in_the_queue() -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": TUNE, "/dequeued": BYE})
    first = made.call(CALLER, person=Person(hangs_up_after=5))
    made.call(OTHER)
    made.run(made.clock.now + 9)

    assert asked(made, "/wait")[-1]["QueuePosition"] == "1"
    assert [(one["QueueResult"], one["CallStatus"]) for one in asked(made, "/dequeued")] == [("hangup", "completed")]
    assert made.words(first) == []


def test_a_queue_that_is_full_takes_nobody() -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": TUNE, "/dequeued": BYE}, queue_limit=1)
    made.call(CALLER)
    second = made.call(OTHER)
    made.run(made.clock.now + 9)
    [fields] = asked(made, "/dequeued")

    assert (fields["QueueResult"], "QueueSid" in fields, made.words(second)) == ("queue-full", False, ["Bye now."])


@pytest.mark.parametrize("fault", [Reply(500), document("<Dial>+15555550199</Dial>"), Reply(body=b"<Response>")])
def test_a_wait_document_that_fails_is_an_error_of_the_queue(fault: Reply) -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": fault, "/dequeued": BYE})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/dequeued")[0]["QueueResult"] == "error"
    assert made.words(leg) == ["Bye now."]


def test_a_wait_document_may_redirect_gather_and_hang_up() -> None:
    pages: dict[str, Answer] = {
        "/voice/inbound": LINE,
        "/wait": "<Gather action='/pressed' timeout='3'><Say>Press one.</Say></Gather><Redirect>/more</Redirect>",
        "/more": "<Say>More.</Say>",
        "/pressed": "<Hangup/>",
    }
    made = exchange(pages)
    leg = made.call(CALLER, person=Person(digits=["", "1"]))
    made.run_until_idle()

    assert made.words(leg) == ["Press one.", "More.", "Press one."]
    assert [asked(made, path)[0]["QueuePosition"] for path in ("/more", "/pressed")] == ["1", "1"]


def test_a_document_that_takes_no_time_is_asked_for_once_a_second() -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": ""})
    made.call(CALLER)
    made.run(made.clock.now + 10.5)

    assert len(asked(made, "/wait")) == 11


@pytest.mark.parametrize("waits", [True, False])
def test_whoever_dials_a_queue_talks_to_the_first_in_line(waits: bool) -> None:
    made = exchange(
        {
            "/voice/inbound": lambda f: (
                LINE if f["From"] == CALLER else "<Dial action='/done'><Queue>line</Queue></Dial>"
            ),
            "/wait": TUNE,
            "/dequeued": BYE,
        }
    )
    legs = {number: made.call(number) for number in ((CALLER, OTHER) if waits else (OTHER, CALLER))}
    made.run(made.clock.now + 30)
    made.hang_up(legs[OTHER])
    made.run_until_idle()

    assert [one["QueueResult"] for one in asked(made, "/dequeued")] == ["bridged"]
    assert asked(made, "/done")[0]["DialCallSid"] == legs[CALLER].sid
    assert asked(made, "/done")[0]["DialCallStatus"] == "completed"
    assert made.words(legs[CALLER]) == ["Bye now."]


def test_a_queued_caller_who_hangs_up_ends_the_talk_of_the_other_side() -> None:
    made = exchange(
        {
            "/voice/inbound": lambda f: LINE if f["From"] == CALLER else "<Dial><Queue>line</Queue></Dial>" + BYE,
            "/wait": TUNE,
        }
    )
    made.call(CALLER, person=Person(hangs_up_after=20))
    other = made.call(OTHER)
    made.run_until_idle()

    assert (made.words(other), asked(made, "/dequeued")[0]["QueueResult"]) == (["Bye now."], "bridged")


DIAL_QUEUE = "<Dial><Queue>line</Queue></Dial>"


def test_whoever_gives_up_on_an_empty_queue_takes_nobody_out_of_it() -> None:
    made = exchange({"/voice/inbound": lambda f: LINE if f["From"] == CALLER else DIAL_QUEUE, "/wait": TUNE})
    made.call(OTHER, person=Person(hangs_up_after=5))
    patient = made.call(HUMAN)
    made.run(made.clock.now + 10)
    made.call(CALLER)
    made.run(made.clock.now + 1)

    assert told(made, patient)[-1] == "10 talks to the next in line"


def test_a_caller_is_taken_out_of_whatever_the_wait_document_does() -> None:
    pages: dict[str, Answer] = {"/wait": '<Gather timeout="60" actionOnEmptyResult="true" action="/keys"/>'}
    made = exchange(pages | {"/voice/inbound": lambda f: LINE if f["From"] == CALLER else DIAL_QUEUE, "/dequeued": BYE})
    leg = made.call(CALLER)
    made.run(made.clock.now + 10)
    other = made.call(OTHER)
    made.run(made.clock.now + 10)
    made.hang_up(other)
    made.run(made.clock.now + 1)

    assert (asked(made, "/keys"), asked(made, "/dequeued")[0]["QueueTime"]) == ([], "20")
    assert made.words(leg) == ["Bye now."]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Reply(500), "11217"),
        (Reply(403), "11217"),
        (Reply(200, "application/json", b"{}"), "12300"),
        (Reply(body=b"<Response><Say>"), "12100"),
        (document("<Shout/>"), "12200"),
        (TimedOut(), "11205"),
        (document(BYE, seconds=15.5), "11205"),
    ],
)
def test_what_cannot_be_executed_goes_to_the_fallback_url_or_ends_the_call(fault: Answer, code: str) -> None:
    safe = exchange({"/voice/inbound": fault, "/fallback": "<Say>Sorry.</Say><Hangup/>"}, fallback_url="/fallback")
    saved = safe.call(CALLER)
    safe.run_until_idle()
    bare = exchange({"/voice/inbound": fault, "/fallback": fault}, fallback_url="/fallback" if code == "12300" else "")
    lost = bare.call(CALLER)
    bare.run_until_idle()
    [fields] = asked(safe, "/fallback")

    assert (fields["ErrorCode"], fields["ErrorUrl"]) == (code, PUBLIC + "/voice/inbound")
    assert safe.words(saved) == ["Sorry."]
    assert f"hears an application error {code}" in told(bare, lost)[-2]
    assert lost.status == "completed"


def test_what_the_linter_finds_is_an_application_error_as_well() -> None:
    made = exchange({"/voice/inbound": "<Say>Nothing follows.</Say>"}, strict=True)
    leg = made.call(CALLER)
    made.run_until_idle()

    assert told(made, leg)[1] == "0 hears an application error 12200"


def test_a_stretch_without_any_sound_is_silence() -> None:
    made = exchange(
        {
            "/voice/inbound": "<Say>One</Say><Pause length='6'/><Redirect>/slow</Redirect>",
            "/slow": document(BYE, seconds=4),
        }
    )
    leg = made.call(CALLER)
    made.run_until_idle()

    assert made.silence(leg) == pytest.approx(10)


@pytest.mark.parametrize(
    ("overrides", "faults", "seconds", "heard"),
    [
        ("", [TimedOut("ct")], 5, True),  # by default once more, where no connection was made
        ("", [TimedOut("ct")] * 2, 10, False),
        ("", [Reply(503)], 0, False),
        ("#rc=2&amp;rp=5xx,ct,rt", [Reply(503), Reply(502)], 0, True),
        ("#rc=1&amp;rp=5xx", [Reply(503)] * 2, 0, False),
        ("#rc=5&amp;rp=5xx", [Reply(404)], 0, False),
        ("#rc=1&amp;rp=4xx", [Reply(404)], 0, True),
        ("#rc=2&amp;rp=rt&amp;rt=4000", [TimedOut(), document(BYE, seconds=4.1)], 8, True),
        ("#rc=5&amp;rp=all&amp;rt=6000", [TimedOut()] * 5, 15, False),  # 15 s with every retry
        ("#rc=5&amp;rp=all&amp;ct=2000&amp;tt=5000", [TimedOut("ct")] * 5, 5, False),
    ],
)
def test_retries_follow_the_overrides_in_the_url(overrides: str, faults: list[Any], seconds: int, heard: bool) -> None:
    made = exchange({"/voice/inbound": f"<Redirect>{PUBLIC}/next{overrides}</Redirect>", "/next": one_of(*faults, BYE)})
    leg = made.call(CALLER)
    made.run_until_idle()
    tokens = {one.headers["i-twilio-idempotency-token"] for one in sent(made) if one.url.endswith("/next")}

    assert made.words(leg) == (["Bye now."] if heard else [])
    assert leg.ended_at == leg.began + seconds + (0.7 if heard else 3.0)
    assert len(tokens) == 1


def test_a_backend_that_moves_the_clock_has_taken_that_time() -> None:
    clock = VirtualClock()

    def post(url: str, body: bytes, headers: dict[str, str]) -> Reply:
        clock.now += 16 if url.endswith("/voice/inbound") else 2
        return document(BYE)

    made = Exchange(post, clock, public_url=PUBLIC, fallback_url="/fallback")
    leg = made.call(CALLER)
    made.run_until_idle()

    assert asked(made, "/fallback")[0]["ErrorCode"] == "11205"
    assert made.words(leg) == ["Bye now."]


def test_documents_that_lead_in_a_circle_are_not_followed_for_ever() -> None:
    made = exchange({"/voice/inbound": "<Redirect>/voice/inbound</Redirect>"})
    made.call(CALLER)

    with pytest.raises(RecursionError):
        made.run_until_idle()


def talking(**more: Any) -> tuple[Exchange, Leg]:
    """A call that is connected to the assistant."""
    made = exchange({"/voice/inbound": STREAM, "/next": "<Say>Moved.</Say><Hangup/>", "/join": JOIN}, **more)
    leg = made.call(CALLER)
    made.run(made.clock.now + 10)
    return made, leg


@pytest.mark.parametrize(
    "form", [{"Url": PUBLIC + "/next", "Method": "POST"}, {"Twiml": "<Response><Say>Moved.</Say></Response>"}]
)
def test_a_redirect_takes_a_leg_out_of_its_stream(form: dict[str, str]) -> None:
    ends: list[str] = []
    made, leg = talking(on_closed=lambda leg, url, by: ends.append(by))
    answer = change(made, leg, **form)
    made.run_until_idle()

    assert (answer.status_code, answer.json()["sid"], answer.json()["status"]) == (200, leg.sid, "in-progress")
    assert (made.words(leg), ends) == (["Moved."], ["redirect"])
    assert told(made, leg)[2] == "10 is redirected"


def test_a_redirect_out_of_a_queue_tells_the_action_and_does_not_follow_it() -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": TUNE, "/dequeued": BYE, "/next": "<Say>Moved.</Say>"})
    leg = made.call(CALLER)
    made.run(made.clock.now + 5)
    change(made, leg, Url=PUBLIC + "/next")
    made.run_until_idle()

    assert [one["QueueResult"] for one in asked(made, "/dequeued")] == ["redirected"]
    assert (made.words(leg), made.queues["line"].waiting) == (["Moved."], [])


def test_a_redirect_out_of_a_room_leaves_it_and_ends_it_for_the_others() -> None:
    made = exchange({"/voice/inbound": HOLD, "/music": TUNE, "/join": JOIN, "/gone": BYE, "/next": "<Say>Moved.</Say>"})
    leg = made.call(CALLER)
    place(made, Url=PUBLIC + "/join")
    made.run(made.clock.now + 10)
    change(made, leg, Url=PUBLIC + "/next")
    made.run_until_idle()
    human = made.legs[asked(made, "/join")[0]["CallSid"]]

    assert (made.words(leg), made.words(human), asked(made, "/left")) == (["Moved."], ["Bye now."], [])


def test_a_redirect_out_of_a_dial_ends_the_dialled_leg() -> None:
    made = exchange({"/voice/inbound": DIAL, "/next": "<Pause length='60'/>"})
    leg = made.call(CALLER)
    made.run(made.clock.now + 10)
    [child] = [other for other in made.legs.values() if other.parent]
    change(made, leg, Url=PUBLIC + "/next")
    made.run(made.clock.now + 1)

    assert (child.status, leg.status, asked(made, "/dialled")) == ("completed", "in-progress", [])


def test_a_dialled_leg_that_is_redirected_leaves_the_caller_to_the_action() -> None:
    made = exchange({"/voice/inbound": DIAL, "/dialled": BYE, "/next": "<Pause length='60'/>"})
    leg = made.call(CALLER)
    made.run(made.clock.now + 10)
    [child] = [other for other in made.legs.values() if other.parent]
    change(made, child, Url=PUBLIC + "/next")
    made.run(made.clock.now + 10)

    assert (leg.over, child.status, made.words(leg)) == (True, "in-progress", ["Bye now."])
    assert "DialCallDuration" not in asked(made, "/dialled")[0]


def test_twiml_that_was_pushed_needs_absolute_urls() -> None:
    made, leg = talking()
    change(made, leg, Twiml="<Response><Redirect>/next</Redirect></Response>")
    made.run_until_idle()

    assert told(made, leg)[-2] == "10 hears an application error 15004"


def test_a_call_is_ended_by_rest_and_then_cannot_be_changed() -> None:
    made, leg = talking()
    ended = change(made, leg, Status="completed")
    made.run_until_idle()
    again = change(made, leg, Url=PUBLIC + "/next")

    assert ended.status_code == 200
    assert told(made, leg)[2:] == ["10 is hung up", "10 ends"]
    assert (again.status_code, again.json()["code"]) == (400, 21220)
    assert rest(made, f"Calls/{leg.sid}.json").json()["status"] == "completed"
    assert rest(made, f"Calls/{leg.sid}.json").json()["duration"] == "10"


def test_a_call_that_is_not_answered_can_be_canceled_but_not_redirected() -> None:
    made = exchange({})
    leg = made.legs[place(made, Url=PUBLIC + "/join").json()["sid"]]
    made.run(made.clock.now + 1)
    refused = change(made, leg, Url=PUBLIC + "/next")
    canceled = change(made, leg, Status="canceled")
    made.run_until_idle()

    assert (refused.json()["code"], canceled.status_code, leg.status) == (21220, 200, "canceled")


def test_a_call_that_goes_on_cannot_be_canceled() -> None:
    made, leg = talking()

    assert change(made, leg, Status="canceled").json()["code"] == 21220


def test_a_redirect_that_comes_too_late_changes_nothing() -> None:
    made, leg = talking()
    made.hang_up(leg)
    answer = change(made, leg, Url=PUBLIC + "/next")
    made.run_until_idle()

    assert answer.status_code == 200
    assert told(made, leg)[2:] == ["10 hangs up", "10 ends"]


def test_a_webhook_may_redirect_its_own_leg() -> None:
    def act(fields: dict[str, str]) -> str:
        change(made, made.legs[fields["CallSid"]], Url=PUBLIC + "/next")
        return "<Say>Never said to the end.</Say>" + STREAM

    pages: dict[str, Answer] = {"/voice/inbound": "<Pause/><Redirect>/act</Redirect>", "/act": act, "/next": BYE}
    made = exchange(pages)
    leg = made.call(CALLER)
    made.run_until_idle()

    assert made.words(leg)[-1] == "Bye now."
    assert leg.ended_at == leg.began + 1 + 0.7


EVENTS = ["initiated", "ringing", "answered", "completed"]


@pytest.mark.parametrize(
    ("person", "events", "statuses"),
    [
        (Person(hangs_up_after=9), EVENTS, ["initiated", "ringing", "in-progress", "completed"]),
        (Person(hangs_up_after=9), ["answered", "completed"], ["in-progress", "completed"]),
        (Person(hangs_up_after=9), None, ["completed"]),
        (Person(behaviour="no-answer"), EVENTS, ["initiated", "ringing", "no-answer"]),
        (Person(behaviour="busy"), EVENTS, ["initiated", "ringing", "busy"]),
        (Person(behaviour="failed"), EVENTS, ["initiated", "ringing", "failed"]),
    ],
)
def test_a_placed_call_tells_the_events_that_were_asked_for(
    person: Person, events: list[str] | None, statuses: list[str]
) -> None:
    made = exchange({"/join": JOIN}, people={HUMAN: person})
    wanted = {"StatusCallbackEvent": events} if events else {}
    answer = place(made, Url=PUBLIC + "/join", StatusCallback=PUBLIC + "/leg?call=1", Timeout="20", **wanted)
    made.run_until_idle()
    callbacks = asked(made, "/leg")
    numbers = [int(one["SequenceNumber"]) for one in callbacks]

    assert (answer.status_code, answer.json()["status"], answer.json()["direction"]) == (201, "queued", "outbound-api")
    assert [one["CallStatus"] for one in callbacks] == statuses
    assert numbers == sorted(set(numbers))
    assert {one["CallSid"] for one in callbacks} == {answer.json()["sid"]}
    assert [("CallDuration" in one) for one in callbacks] == [False] * (len(statuses) - 1) + [True]
    assert made.legs[answer.json()["sid"]].ended_at == 1_800_000_000 + {"completed": 13, "no-answer": 20}.get(
        statuses[-1], 1
    )


def test_a_placed_call_asks_for_its_document_when_it_is_answered() -> None:
    made = exchange({"/join": BYE})
    place(made, Url=PUBLIC + "/join?call=1", Method="POST", MachineDetection="Enable")
    made.run_until_idle()
    [one] = made.asked

    assert (one.at, one.url, one.fields["CallStatus"], one.fields["Direction"]) == (
        1_800_000_004,
        PUBLIC + "/join?call=1",
        "in-progress",
        "outbound-api",
    )
    assert (one.fields["To"], one.fields["From"]) == (HUMAN, CALLER)


def test_rest_may_name_another_fallback_and_another_status_callback() -> None:
    made, leg = talking()
    urls = {"FallbackUrl": PUBLIC + "/safe", "StatusCallback": PUBLIC + "/leg"}
    made._post.pages |= {"/broken": Reply(500), "/safe": BYE}  # type: ignore[attr-defined]  # it is a Backend
    change(made, leg, Url=PUBLIC + "/broken", **urls)
    made.run_until_idle()

    assert made.words(leg) == ["Bye now."]
    assert (len(asked(made, "/leg")), asked(made, "/voice/status")) == (1, [])


def test_a_placed_call_ends_at_its_time_limit() -> None:
    made = exchange({"/join": JOIN})
    sid = place(made, Url=PUBLIC + "/join", TimeLimit="30").json()["sid"]
    made.run_until_idle()

    assert (made.legs[sid].status, made.clock.now) == ("completed", 1_800_000_030)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, 21201),
        ({"From": ""}, 21213),
        ({"To": "555"}, 21211),
        ({"From": "me"}, 21212),
        ({}, 21205),
        ({"Url": "/relative"}, 21205),
        ({"Url": PUBLIC, "Twiml": "<Response/>"}, 21218),
        ({"Twiml": "x" * 4_001}, 20001),
        ({"Url": PUBLIC, "Colour": "red"}, 20001),
        ({"Url": PUBLIC, "Method": "GET"}, 20001),
    ],
)
def test_a_call_that_twilio_would_not_place(form: dict[str, str], code: int) -> None:
    made = exchange({})
    answer = place(made, **form)

    assert (answer.status_code, answer.json()["code"], made.legs) == (400, code, {})


@pytest.mark.parametrize(
    ("form", "code"),
    [({"Status": "paused"}, 20001), ({"Colour": "red"}, 20001), ({"Url": PUBLIC, "Twiml": "<Response/>"}, 21218)],
)
def test_a_change_that_twilio_would_not_make(form: dict[str, str], code: int) -> None:
    made, leg = talking()
    answer = change(made, leg, **form)
    made.run(made.clock.now + 1)

    assert (answer.status_code, answer.json()["code"], told(made, leg)[2:]) == (400, code, [])


def test_rest_knows_its_account_its_keys_and_its_calls() -> None:
    made, leg = talking(keys={"SK1": "key secret"})
    path = f"Calls/{leg.sid}.json"

    assert rest(made, path, auth=("SK1", "key secret")).json()["status"] == "in-progress"
    assert [rest(made, path, auth=auth).status_code for auth in (("SK1", ""), ("SK2", "key secret"), None)] == [401] * 3
    assert rest(made, "Calls/CA1.json").json()["code"] == 20404
    assert rest(made, "Queues.json").status_code == 404


@pytest.mark.parametrize(("how", "status"), [("refuse", 400), ("limit", 429), ("error", 500)])
def test_a_rest_request_can_be_made_to_fail(how: Any, status: int) -> None:
    made, leg = talking()
    made.fail("update", how, times=2)
    answers = [change(made, leg, Status="completed").status_code for _ in range(3)]

    assert answers == [status, status, 200]


@pytest.mark.parametrize(("how", "done"), [("timeout", False), ("lost", True)])
def test_a_rest_request_without_an_answer_may_have_been_done(how: Any, done: bool) -> None:
    made = exchange({"/join": JOIN})
    made.fail("create", how)
    with pytest.raises(httpx.ReadTimeout):
        place(made, Url=PUBLIC + "/join")
    made.run(made.clock.now + 5)

    assert bool(asked(made, "/join")) == done
    assert place(made, Url=PUBLIC + "/join").status_code == 201


def callbacks_of(**fate: float) -> list[tuple[int, float]]:
    """The number and the time of every status callback of 20 placed calls."""
    made = exchange(
        {"/join": JOIN}, callbacks=Callbacks(**fate), people={HUMAN: Person(hangs_up_after=1, answers_after=1)}
    )
    for _ in range(20):
        place(made, Url=PUBLIC + "/join", StatusCallback=PUBLIC + "/leg", StatusCallbackEvent=EVENTS)
        made.run(made.clock.now + 30)
    return [(int(one.fields["SequenceNumber"]), one.at) for one in made.asked if one.path == "/leg"]


def test_status_callbacks_can_be_repeated_lost_late_and_out_of_order() -> None:
    plain, repeated = callbacks_of(), callbacks_of(duplicate=0.5)
    lost, mixed = callbacks_of(drop=0.5), callbacks_of(reorder=0.5)
    late = callbacks_of(delay=3)

    assert [number for number, _ in plain] == [0, 1, 2, 3] * 20
    assert 80 < len(repeated) < 160
    assert 0 < len(lost) < 80
    assert sorted(number for number, _ in mixed) == sorted([0, 1, 2, 3] * 20)
    assert [number for number, _ in mixed] != [0, 1, 2, 3] * 20
    assert len(late) == 80
    assert max(at - first for (_, at), (_, first) in zip(sorted(late), sorted(plain), strict=True)) > 1


def test_the_same_seed_plays_the_same_calls() -> None:
    def play(seed: int) -> tuple[list[Any], list[Sent]]:
        made = exchange({"/voice/inbound": LINE, "/wait": TUNE}, seed=seed, callbacks=Callbacks(duplicate=0.5, delay=5))
        for number in range(5):
            made.call(f"+1555555020{number}", person=Person(hangs_up_after=20))
        made.run_until_idle()
        return made.timeline, sent(made)

    assert play(1) == play(1)
    assert play(1) != play(2)


def test_a_status_callback_that_is_refused_is_in_the_timeline() -> None:
    made = exchange({"/voice/inbound": BYE, "/voice/status": Reply(500)})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert told(made, leg)[-1] == "0.7 has a status callback that fails 11217"


def test_a_story_tells_when_who_and_what() -> None:
    made = exchange({"/voice/inbound": DIAL, "/dialled": BYE}, people={HUMAN: Person(behaviour="busy")})
    leg = made.call(CALLER)
    made.run_until_idle()

    assert made.story({leg.sid: "caller"}).splitlines() == [
        "   0.0  caller        calls +15555550100",
        f"   0.0  {HUMAN}  rings",
        f"   1.0  {HUMAN}  ends busy",
        "   1.0  caller        hears “Bye now.”",
        "   1.7  caller        ends",
    ]


def test_people_behave_from_call_to_call() -> None:
    made = exchange(
        {"/voice/inbound": DIAL, "/dialled": one_of(DIAL, BYE)},
        people={HUMAN: [Person(behaviour="busy"), Person(hangs_up_after=1)]},
    )
    made.call(CALLER)
    made.run_until_idle()

    assert [one["DialCallStatus"] for one in asked(made, "/dialled")] == ["busy", "completed"]


def test_an_exchange_that_is_never_done_says_so() -> None:
    made = exchange({"/voice/inbound": LINE, "/wait": TUNE})
    made.call(CALLER)

    with pytest.raises(TimeoutError):
        made.run_until_idle(100)


def test_real_time_over_http_a_backend_redirects_a_call_within_its_own_webhook() -> None:
    """Webhooks are posted by the exchange's thread, while REST is served by the fake's: neither waits for the other."""

    def post_form(path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        verbs = BYE
        if path == "/voice/inbound":
            verbs = STREAM
            sid = dict(parse_qsl(body.decode()))["CallSid"]
            moves.append(
                lambda: httpx.post(
                    f"{fake.url}/2010-04-01/Accounts/{AUTH[0]}/Calls/{sid}.json",
                    data={"Url": PUBLIC + "/next?a=1"},
                    auth=AUTH,
                )
            )
        elif path == "/next?a=1":
            placed.append(httpx.post(f"{fake.url}/2010-04-01/Accounts/{AUTH[0]}/Calls.json", data=form, auth=AUTH))
        return httpx.Response(200, text=f"<Response>{verbs}</Response>", headers={"content-type": "text/xml"})

    moves: list[Callable[[], httpx.Response]] = []
    placed: list[httpx.Response] = []
    form = {"To": HUMAN, "From": CALLER, "Twiml": "<Response><Hangup/></Response>"}
    made = Exchange(
        over(post_form), RealClock(), public_url=PUBLIC, real=True, people={HUMAN: Person(answers_after=0.01)}
    )
    made.word_seconds = 0.005
    leg = made.call(CALLER)
    with TwilioFake(exchange=made) as fake:
        made.run(made.clock.now + 0.2)
        made.start()
        assert moves[0]().status_code == 200
        until(lambda: leg.over and bool(placed) and made.legs[placed[0].json()["sid"]].over)
        made.stop()

    assert (made.words(leg), placed[0].status_code) == (["Bye now."], 201)


def test_in_real_time_a_timeout_has_taken_its_time_already() -> None:
    backend = Backend({"/voice/inbound": TimedOut(), "/fallback": "<Hangup/>"})
    made = Exchange(backend, RealClock(), public_url=PUBLIC, fallback_url="/fallback", real=True)
    leg = made.call(CALLER)
    made.run(made.clock.now + 0.1)

    assert (leg.over, asked(made, "/fallback")[0]["ErrorCode"]) == (True, "11205")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_over_http_no_connection_and_no_answer_are_told_apart() -> None:
    def post_form(path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        raise errors[path]

    errors: dict[str, Exception] = {"/a": httpx.ConnectError("no"), "/b?c=1": httpx.ReadTimeout("late")}
    for url, what in ((PUBLIC + "/a", "ct"), (PUBLIC + "/b?c=1", "rt")):
        with pytest.raises(TimedOut) as raised:
            over(post_form)(url, b"", {})
        assert raised.value.what == what


def test_the_fake_answers_for_calls_of_the_exchange_and_loses_answers_with_it() -> None:
    made, leg = talking()
    with TwilioFake(exchange=made) as fake:
        url = f"{fake.url}/2010-04-01/Accounts/{AUTH[0]}/Calls/{leg.sid}.json"
        made.fail("read", "timeout")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(url, auth=AUTH)

        assert httpx.get(url, auth=AUTH).json()["status"] == "in-progress"
        assert httpx.get(url).status_code == 401


def test_this_projects_own_documents_do_what_they_are_for() -> None:
    """A caller holds, a human is briefed and takes the call, and the end of the room brings the caller back."""

    def url(path: str) -> str:
        return PUBLIC + path

    def raw(text: str) -> Reply:
        return Reply(body=text.encode())

    made = exchange(
        {
            "/voice/inbound": raw(twiml.hold("transfer-1", url("/music"), url("/back"), "One moment.")),
            "/music": raw(twiml.music(url("/tune"), url("/music"))),
            "/brief": raw(twiml.brief("A caller about a bill. Press 1.", url("/accept"))),
            "/accept": lambda form: raw(twiml.join("transfer-1") if form.get("Digits") == "1" else twiml.hang_up()),
            "/back": raw(twiml.enqueue("line", url("/wait"), url("/out"), "All lines are busy.")),
            "/wait": one_of(raw(twiml.wait("You are next.", url("/tune"), url("/wait"))), raw(twiml.leave())),
            "/out": raw(twiml.sip("sip:desk@sip.example.com", url("/after"))),
            "/after": raw(twiml.voicemail("Leave a message.", url("/kept"))),
            "/kept": raw(twiml.say_and_hang_up("Thank you.")),
        },
        strict=True,
        people={
            HUMAN: [Person(digits=["2"]), Person(digits=["1"], hangs_up_after=60)],
            "sip:desk@sip.example.com": Person(behaviour="busy"),
        },
    )
    leg = made.call(CALLER, person=Person(speaks=9))
    first, second = (place(made, Url=url("/brief")).json()["sid"] for _ in range(2))
    made.run_until_idle()

    assert [entry.what for entry in made.timeline if "error" in entry.what] == []
    assert asked(made, "/back")[0]["DialCallStatus"] == "answered"
    assert ("is in the room" in "".join(told(made, made.legs[first])), made.legs[second].status) == (False, "completed")
    assert made.words(leg) == [
        "One moment.",
        "All lines are busy.",
        "You are next.",
        "Leave a message.",
        "Thank you.",
    ]
    assert made.silence(leg) <= 5  # after the message
