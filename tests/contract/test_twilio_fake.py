"""The fake Twilio: legs that ask with real signatures and read TwiML strictly, and the REST API for live calls."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from devkit import development
from devkit.loopback import DOOR
from devkit.twilio_fake import ApplicationError, PhoneLeg, TwilioFake, follow, read_twiml
from switchboard.signatures import Secret, verify_twilio

PUBLIC = "https://voice.example.com"
CONNECT = '<Response><Connect><Stream url="wss://media.example.com/one/transport"/></Connect></Response>'
AUTH = (development.TWILIO_ACCOUNT_SID, development.TWILIO_AUTH_TOKEN)
type Post = tuple[str, bytes, dict[str, str]]


def leg(
    twiml: str = CONNECT, clock: Callable[[], float] = lambda: 1_800_000_000.0, **more: Any
) -> tuple[PhoneLeg, list[Post]]:
    """A leg whose backend answers `twiml`, and what it posted."""
    posted: list[Post] = []

    def post(path: str, form: bytes, headers: dict[str, str]) -> httpx.Response:
        posted.append((path, form, headers))
        return httpx.Response(200, text=twiml, headers={"content-type": "text/xml"})

    return PhoneLeg(post, public_url=PUBLIC, caller="+15555550134", dialled="+15555550100", clock=clock, **more), posted


def fields(post: Post) -> dict[str, str]:
    return dict(parse_qsl(post[1].decode(), keep_blank_values=True))


def test_a_leg_asks_with_a_signature_over_every_field_blank_ones_too() -> None:
    phone, posted = leg()
    phone.ring()
    pairs = parse_qsl(posted[0][1].decode(), keep_blank_values=True)

    assert posted[0][0] == "/voice/inbound"
    assert ("CalledCity", "") in pairs
    token = [Secret("t", development.TWILIO_AUTH_TOKEN)]
    assert verify_twilio(PUBLIC + "/voice/inbound", pairs, posted[0][2]["x-twilio-signature"], token) == "t"


def test_a_leg_asks_with_all_the_usual_fields() -> None:
    phone, posted = leg()
    phone.ring()
    asked = fields(posted[0])

    assert asked["CallStatus"] == "ringing"
    assert asked["CallSid"] == phone.sid
    assert asked["AccountSid"] == development.TWILIO_ACCOUNT_SID
    assert (asked["From"], asked["Caller"], asked["To"], asked["Called"]) == ("+15555550134",) * 2 + (
        "+15555550100",
    ) * 2
    assert asked["Direction"] == "inbound"


def test_a_leg_follows_the_document_to_its_stream() -> None:
    phone, _ = leg()
    phone.ring()

    assert phone.twiml == CONNECT
    assert phone.line.stream == "wss://media.example.com/one/transport"
    assert phone.status == "in-progress"


def test_a_leg_reports_its_end_with_seconds_minutes_and_a_sequence() -> None:
    times = iter([1_800_000_000.0, 1_800_000_061.0, 1_800_000_061.0])
    phone, posted = leg(clock=lambda: next(times))
    phone.ring()
    phone.hang_up()
    told = fields(posted[1])

    assert posted[1][0] == "/voice/status"
    assert (told["CallStatus"], told["CallDuration"], told["Duration"], told["SequenceNumber"]) == (
        "completed",
        "61",
        "2",
        "0",
    )
    assert told["Timestamp"] == "Fri, 15 Jan 2027 08:01:01 +0000"
    assert told["CallbackSource"] == "call-progress-events"


def test_a_repeated_request_is_the_same_request() -> None:
    phone, posted = leg()
    phone.ring()
    phone.repeat()

    assert posted[0] == posted[1]


def test_a_stranger_signs_with_a_token_of_their_own() -> None:
    mine, my_posts = leg()
    theirs, their_posts = leg(token="stolen")
    theirs.sid = mine.sid
    mine.ask()
    theirs.ask()

    assert my_posts[0][1] == their_posts[0][1]
    assert my_posts[0][2]["x-twilio-signature"] != their_posts[0][2]["x-twilio-signature"]


@pytest.mark.parametrize(
    ("document", "heard", "kept_by"),
    [
        (CONNECT, (), "Connect"),
        ("<Response><Say>Sorry.</Say><Hangup/><Say>Never.</Say></Response>", ("Sorry.",), None),
        (
            "<Response><Say>One</Say><Pause/><Say>Two</Say><Dial>+15555550199</Dial><Say>Later</Say></Response>",
            ("One", "Two"),
            "Dial",
        ),
        ("<Response/>", (), None),
        ("<Response><Reject/></Response>", (), None),
    ],
)
def test_a_document_is_followed_to_the_verb_that_keeps_the_caller(
    document: str, heard: tuple[str, ...], kept_by: str | None
) -> None:
    line = follow(read_twiml(200, "text/xml; charset=utf-8", document.encode()))

    assert line.heard == heard
    assert (line.kept_by.name if line.kept_by else None) == kept_by
    assert line.stream == ("wss://media.example.com/one/transport" if document == CONNECT else "")


@pytest.mark.parametrize(
    ("status", "kind", "body", "code"),
    [
        (500, "text/xml", CONNECT, 11217),
        (403, "text/xml", "", 11217),
        (200, "application/json", CONNECT, 12300),
        (200, "", CONNECT, 12300),
        (200, "text/xml", "<Response><Say>a</Response>", 12100),
        (200, "text/xml", "<Response><Say>a & b</Say></Response>", 12100),
        (200, "text/xml", "<Response><Say>\x0b</Say></Response>", 12100),
        (200, "text/xml", ' <?xml version="1.0"?><Response/>', 12100),
        (200, "text/xml", "<response/>", 12100),
        (200, "text/xml", "", 12100),
        (200, "text/xml", f"<Response><Say>{'a' * 65536}</Say></Response>", 11750),
        (200, "text/xml", "<Response><Shout>a</Shout></Response>", 12200),
        (200, "text/xml", CONNECT.replace("wss", "https"), 31922),
        (200, "text/xml", CONNECT.replace("wss://media.example.com/one/transport", "wss:///x"), 31922),
        (200, "text/xml", CONNECT.replace("transport", "transport?key=1"), 31920),
    ],
)
def test_what_twilio_gives_up_on_is_an_application_error(status: int, kind: str, body: str, code: int) -> None:
    with pytest.raises(ApplicationError) as raised:
        read_twiml(status, kind, body.encode())

    assert raised.value.code == code


@pytest.fixture
def twilio() -> Iterator[TwilioFake]:
    with TwilioFake() as fake:
        yield fake


SID = "CA" + "1" * 32


def call_url(fake: TwilioFake, account: str = development.TWILIO_ACCOUNT_SID, sid: str = SID) -> str:
    return f"{fake.url}/2010-04-01/Accounts/{account}/Calls/{sid}.json"


def know(fake: TwilioFake, status: str = "in-progress") -> None:
    assert httpx.post(fake.url + DOOR + "legs", json={"sid": SID, "status": status}).status_code == 200


def test_a_live_call_can_be_given_new_twiml_and_ended(twilio: TwilioFake) -> None:
    know(twilio)
    told = httpx.post(call_url(twilio), data={"Twiml": "<Response><Say>Hi.</Say></Response>"}, auth=AUTH)
    ended = httpx.post(call_url(twilio), data={"Status": "completed"}, auth=AUTH)

    assert (told.status_code, ended.status_code) == (200, 200)
    assert httpx.get(call_url(twilio), auth=AUTH).json()["status"] == "completed"
    assert [one["form"] for one in twilio.requests[:2]] == [
        {"Twiml": "<Response><Say>Hi.</Say></Response>"},
        {"Status": "completed"},
    ]


def test_a_call_that_is_over_cannot_be_changed(twilio: TwilioFake) -> None:
    know(twilio, "completed")
    answer = httpx.post(call_url(twilio), data={"Status": "completed"}, auth=AUTH)

    assert (answer.status_code, answer.json()["code"]) == (400, 21220)


def test_an_unknown_call_is_not_found(twilio: TwilioFake) -> None:
    answer = httpx.post(call_url(twilio), data={"Status": "completed"}, auth=AUTH)

    assert (answer.status_code, answer.json()["code"]) == (404, 20404)


@pytest.mark.parametrize("auth", [None, ("AC" + "1" * 32, AUTH[1]), (AUTH[0], "wrong")])
def test_only_the_account_itself_may_change_its_calls(twilio: TwilioFake, auth: tuple[str, str] | None) -> None:
    know(twilio)

    assert httpx.post(call_url(twilio), data={"Status": "completed"}, auth=auth).status_code == 401
    assert twilio.legs[SID]["status"] == "in-progress"


def test_another_accounts_calls_are_out_of_reach(twilio: TwilioFake) -> None:
    know(twilio)

    assert httpx.post(call_url(twilio, "AC" + "1" * 32), data={"Status": "completed"}, auth=AUTH).status_code == 401


def test_twiml_and_url_exclude_each_other(twilio: TwilioFake) -> None:
    know(twilio)
    answer = httpx.post(call_url(twilio), data={"Twiml": "<Response/>", "Url": PUBLIC}, auth=AUTH)

    assert answer.status_code == 400
    assert "twiml" not in twilio.legs[SID]


def test_no_credential_is_written_down(twilio: TwilioFake) -> None:
    know(twilio)
    httpx.post(call_url(twilio), data={"Status": "completed"}, auth=AUTH)

    assert development.TWILIO_AUTH_TOKEN not in str(twilio.requests)
