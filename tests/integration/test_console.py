"""The console: who may look, what they see, what they may do, and that it is done once and written down."""

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import boto3
import httpx
import pytest

from switchboard import (
    admission,
    audit,
    calls,
    console,
    endings,
    legs,
    livecalls,
    routes,
    telemetry,
    tokens,
    toolcalls,
    transfers,
)
from switchboard.console import Console
from switchboard.errors import Unavailable
from switchboard.interventions import Operator
from switchboard.secrets import CONSOLE, PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, VAPI_PUBLIC_KEY, Secrets
from switchboard.settings import Settings
from switchboard.store import Item, Put, Store, Update
from switchboard.tokens import ACT, WORDS, Token
from switchboard.transfers import Switch
from switchboard.twilio_rest import Twilio
from switchboard.vapi import Vapi
from tests.integration.conftest import BASE_URL, CALL, CALL_SID, CALLER, CONTROL, House, Twilios, Vapis
from tests.integration.test_worker import ask, say
from tests.remote import mocked

SECRET = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "d0" * 16
DIALLED = "+15550100200"
PERSON = "+15550100100"
HOST = "voice.example.com"
WORDS_SAID = "Actually make that Friday at eleven please"
OTHER = "c0ffee00-0000-4000-8000-000000000002"


class Page(NamedTuple):
    """The page in somebody's browser."""

    console: Console
    house: House
    vapis: Vapis
    twilios: Twilios
    token: str

    def ask(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send a request; its status, its body as JSON, its headers."""
        sent = {"host": HOST, "authorization": f"Bearer {self.token}"} | (
            {"origin": BASE_URL} if body is not None else {}
        )
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        event: dict[str, Any] = {
            "rawPath": path,
            "headers": {name: value for name, value in sent.items() if value},
            "requestContext": {"http": {"method": method}},
        }
        if body is not None:
            event["headers"] = {"content-type": "application/json", **event["headers"]}
            event["body"] = body if isinstance(body, str) else json.dumps(body)
        answer = console.respond(self.console, event)
        text = answer.get("body", "")
        return answer["statusCode"], json.loads(text) if text else None, answer["headers"]

    def calls(self) -> list[dict[str, Any]]:
        """The list."""
        status, body, _ = self.ask("/console/calls")
        assert status == 200
        listed: list[dict[str, Any]] = body["calls"]
        return listed

    def call(self, identity: str = CALL) -> dict[str, Any]:
        """One call."""
        status, body, _ = self.ask(f"/console/calls/{identity}")
        assert status == 200
        told: dict[str, Any] = body
        return told

    def act(self, action: str, number: int = 1, call: str = CALL, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Have something done; `number` names the request."""
        body = {"id": self.request_id(number), **fields}
        status, told, _ = self.ask(f"/console/calls/{call}/{action}", "POST", body)
        return status, told

    def request_id(self, number: int = 1) -> str:
        """A request's id, made now."""
        return f"{int(self.house.clock() * 1000)}-{number:032x}"

    def with_token(self, **changes: Any) -> "Page":
        """The same page with another token."""
        now = int(self.house.clock())
        told = Token("b0b0b0b0", now + 3600, frozenset({ACT}))._replace(**changes)
        return self._replace(token=tokens.issue(told, SECRET))

    def audit(self) -> list[Item]:
        """Today's rows."""
        now = self.house.clock()
        return audit.of_day(self.house.store, datetime.fromtimestamp(now, UTC).date(), now)


def console_of(house: House, twilios: Twilios) -> Console:
    """The console of a backend, and the secret that signs its tokens."""
    names = (CONSOLE, VAPI_PUBLIC_KEY, TWILIO_AUTH_TOKEN, PUBLIC_BASE_URL)
    text = json.dumps([{"id": "one", "secret": SECRET}])
    house.aws.ssm.put_parameter(Name=f"{house.settings.parameter_path}/{CONSOLE}", Value=text, Type="SecureString")
    secrets = Secrets(house.settings.parameter_path, names, house.aws.ssm, house.clock)
    twilio = Twilio(house.settings.twilio_url, httpx.MockTransport(twilios))
    people = {"reception": PERSON, "nowhere": "12"}
    switch = Switch(house.settings, secrets, house.store, twilio, house.clock, people)
    vapi = house.live.speaker.vapi
    return Console(secrets, Operator(house.settings, house.store, vapi, lambda: "public-key", switch, house.clock))


@pytest.fixture
def page(house: House, vapis: Vapis, twilios: Twilios) -> Page:
    """A page whose token may act, and sees no words."""
    return Page(console_of(house, twilios), house, vapis, twilios, "").with_token()


@pytest.fixture(autouse=True)
def refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a second is let through, and the second is shared with other tests."""
    monkeypatch.setattr(console, "turned_away", telemetry.Seldom())


def ring(house: House, call_sid: str = CALL_SID, call_id: str = CALL) -> None:
    """A phone call that was led to the assistant."""
    legs.open_leg(house.store, call_sid, {"account": ACCOUNT, "dialled": DIALLED}, 1800, house.clock())
    admission.enter(house.store, house.settings, call_sid, house.clock())
    legs.connect(house.store, call_sid, call_id, "<Response/>")
    admission.occupy(house.store, call_sid, call_id, house.clock())
    calls.link(house.store, call_id, call_sid, "", house.settings, house.clock())


@pytest.fixture
def phone_call(page: Page) -> Page:
    """A caller who talks to the assistant."""
    ring(page.house)
    say(page.house, "status-update", status="in-progress")
    return page


@pytest.fixture
def web_call(page: Page) -> Page:
    """A call that Vapi has told of, and that has no phone."""
    say(page.house, "status-update", status="in-progress")
    page.house.store.update(Update(calls.key(CALL), "REMOVE #call_sid"))
    return page


# Who may look


def test_without_a_token_nothing_is_told(phone_call: Page) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Basic x"}, {"authorization": "Bearer"}):
        status, body, answered = phone_call.ask("/console/calls", **headers)

        assert (status, body["error"]) == (401, "no_token")
        assert "switchboard console" in body["message"]
        assert answered["cache-control"] == "no-store"


def test_a_token_whose_time_is_over_says_how_to_get_another(phone_call: Page) -> None:
    phone_call.house.clock.advance(3600)
    status, body, _ = phone_call.ask("/console/calls")

    assert (status, body["error"]) == (401, "token_expired")
    assert "Ask for a new one with `switchboard console`" in body["message"]


def test_a_secret_that_was_made_a_moment_ago_is_looked_for_once_more(page: Page) -> None:
    page.house.aws.ssm.delete_parameter(Name=f"{page.house.settings.parameter_path}/{CONSOLE}")
    assert page.ask("/console/calls")[0] == 401
    page.house.clock.advance(61)
    text = json.dumps([{"id": "one", "secret": SECRET}])
    page.house.aws.ssm.put_parameter(
        Name=f"{page.house.settings.parameter_path}/{CONSOLE}", Value=text, Type="SecureString"
    )

    assert page.ask("/console/calls")[0] == 200


def test_another_secret_ends_all_tokens(page: Page) -> None:
    assert page.ask("/console/calls")[0] == 200
    name = f"{page.house.settings.parameter_path}/{CONSOLE}"
    text = json.dumps([{"id": "two", "secret": SECRET[::-1]}])
    page.house.aws.ssm.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
    page.house.clock.advance(300)
    status, body, _ = page.ask("/console/calls")

    assert (status, body["error"]) == (401, "signature_mismatch")


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"},
                                     {"origin": f"http://{HOST}"}, {"sec_fetch_site": "same-site"}])  # fmt: skip
def test_another_page_is_refused_whatever_token_it_has(phone_call: Page, headers: dict[str, str]) -> None:
    for path, method, body in (("/console/calls", "GET", None), (f"/console/calls/{CALL}/end", "POST", {})):
        status, told, _ = phone_call.ask(path, method, body, **headers)

        assert (status, told["error"]) == (403, "origin")
    assert phone_call.audit() == []


@pytest.mark.parametrize("origin", [BASE_URL, "https://other.example"])
def test_the_own_page_is_the_one_under_the_public_url_or_the_apis_own_name(page: Page, origin: str) -> None:
    assert page.ask("/console/calls", origin=origin, host="other.example", sec_fetch_site="same-origin")[0] == 200


@pytest.fixture
def local(phone_call: Page, settings: Settings) -> Page:
    """The page of a stack on this machine, which wants no token."""
    here = settings._replace(stage="local", emulated=True)
    operator = phone_call.console.operator._replace(settings=here)
    return phone_call._replace(console=phone_call.console._replace(operator=operator), token="none")


@pytest.mark.parametrize(
    "host", ["switchboard.localhost:4566", "localhost:4566", "127.0.0.1:4566", "[::1]:4566", "localhost"]
)
def test_a_stack_on_this_machine_wants_no_token(local: Page, host: str) -> None:
    assert local.ask("/console/calls", host=host)[0] == 200
    assert local.ask("/console/calls", host=host, origin=f"http://{host}", sec_fetch_site="same-origin")[0] == 200
    assert local.ask(f"/console/calls/{CALL}", host=host)[1]["words"] is True


@pytest.mark.parametrize(
    "host", ["evil.example:4566", "localhost.evil.example", "127.0.0.1.evil.example:4566", "evil.example/localhost", ""]
)
def test_a_name_of_somebody_else_that_leads_to_this_machine_is_refused(local: Page, host: str) -> None:
    status, body, _ = local.ask("/console/calls", host=host, origin=f"http://{host}")

    assert (status, body["error"]) == (403, "host")


def test_a_stack_in_an_account_wants_a_token_whatever_its_stage_is_called(local: Page, settings: Settings) -> None:
    operator = local.console.operator._replace(settings=settings._replace(stage="local"))
    deployed = local._replace(console=local.console._replace(operator=operator), token="")

    for host in (HOST, "localhost"):
        status, body, _ = deployed.ask("/console/calls", host=host)
        assert (status, body["error"]) == (401, "no_token")


def test_a_page_on_this_machine_that_is_not_this_stacks_is_refused(local: Page) -> None:
    for origin in ("http://switchboard.localhost:3000", "https://switchboard.localhost:4566", "https://evil.example"):
        status, body, _ = local.ask("/console/calls", host="switchboard.localhost:4566", origin=origin)

        assert (status, body["error"]) == (403, "origin")


def test_a_form_of_another_page_cannot_act(local: Page) -> None:
    # What a browser sends across origins without asking: no JSON. Old ones name no origin.
    body = json.dumps({"id": local.request_id()})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        status, told, _ = local.ask(
            f"/console/calls/{CALL}/end", "POST", body, host="localhost", origin="", content_type=kind
        )

        assert (status, told["error"]) == (400, "content_type")
    assert local.vapis.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/console"),
        ("GET", "/console/calls/"),
        ("GET", f"/console/calls/{CALL}/say"),
        ("POST", "/console/calls"),
        ("POST", f"/console/calls/{CALL}"),
        ("POST", f"/console/calls/{CALL}/dance"),
        ("DELETE", f"/console/calls/{CALL}"),
        ("GET", f"/console/calls/{'x' * 101}"),
        ("GET", "/console/calls/%2e%2e"),
    ],
)
def test_what_is_not_there_is_not_found(page: Page, method: str, path: str) -> None:
    assert page.ask(path, method, {} if method == "POST" else None)[0] == 404


def test_an_event_that_no_gateway_sends_is_no_crash(page: Page) -> None:
    assert console.respond(page.console, {})["statusCode"] == 404
    assert console.respond(page.console, {"rawPath": "/console/calls", "body": "é", "isBase64Encoded": True})[
        "statusCode"
    ] == 400  # fmt: skip


# The list


def test_a_phone_call_is_listed_with_what_goes_on_in_it(phone_call: Page) -> None:
    house = phone_call.house
    house.clock.advance(5)
    say(house, "speech-update", role="user", status="started")
    ask(house, "move", to="Thursday")

    assert phone_call.calls() == [
        {
            "call": CALL,
            "leg": CALL_SID,
            "caller": "…01",
            "since": int((house.clock() - 5) * 1000),
            "ended": 0,
            "speaks": "caller",
            "tools": ["move"],
            "transfer": "",
        }
    ]


def test_what_is_over_goes_out_of_the_list_and_the_newest_is_first(phone_call: Page) -> None:
    house = phone_call.house
    house.clock.advance(60)
    ring(house, CALL_SID[:-2] + "b2", OTHER)
    assert [row["call"] for row in phone_call.calls()] == [OTHER, CALL]

    say(house, "status-update", status="ended", endedReason="customer-ended-call")
    legs.record_status(house.store, CALL_SID, {"CallStatus": "completed"}, house.clock())
    admission.leave(house.store, holder=CALL_SID)
    assert [(row["call"], bool(row["ended"])) for row in phone_call.calls()] == [(OTHER, False), (CALL, True)]

    house.clock.advance(600)
    assert [row["call"] for row in phone_call.calls()] == [OTHER]


def test_a_caller_whom_nobody_has_answered_yet_is_listed_without_a_call(page: Page) -> None:
    legs.open_leg(page.house.store, CALL_SID, {}, 1800, page.house.clock())

    (row,) = page.calls()
    assert (row["call"], row["leg"], row["speaks"]) == ("", CALL_SID, "")


def test_a_call_that_vapi_takes_by_itself_is_listed_from_its_beginning_to_its_end(web_call: Page) -> None:
    house = web_call.house
    assert [(row["call"], row["leg"], row["tools"]) for row in web_call.calls()] == [(CALL, "", [])]
    ask(house)
    assert [row["tools"] for row in web_call.calls()] == [["move"]]
    house.run(house.live)
    say(house, "status-update", status="ended", endedReason="customer-ended-call")

    assert web_call.calls() == []


def test_the_report_ends_a_call_in_the_list_too_and_nothing_late_brings_it_back(web_call: Page) -> None:
    say(web_call.house, "end-of-call-report", endedReason="customer-ended-call")
    say(web_call.house, "status-update", status="in-progress")

    assert web_call.calls() == []
    assert "g1pk" not in (web_call.house.store.get(calls.key(CALL)) or {})


def test_a_call_whose_end_is_never_told_goes_out_of_the_list_when_it_must_be_over(web_call: Page) -> None:
    web_call.house.clock.advance(calls.LIVE_HOURS * 3600 - 1)
    assert len(web_call.with_token().calls()) == 1
    web_call.house.clock.advance(1)

    assert web_call.with_token().calls() == []


def test_the_sweeper_has_no_business_with_calls_that_are_only_listed(web_call: Page) -> None:
    item = web_call.house.store.get(calls.key(CALL)) or {}

    assert item["g1pk"] not in {f"OPEN#{shard}" for shard in range(toolcalls.OPEN_SHARDS)}


def test_a_placed_call_is_listed_by_its_slot(page: Page) -> None:
    admission.enter(page.house.store, page.house.settings, "DIAL#x", page.house.clock())
    admission.occupy(page.house.store, "DIAL#x", CALL, page.house.clock())
    assert page.calls() == []
    say(page.house, "status-update", status="in-progress")

    assert [row["call"] for row in page.calls()] == [CALL]


def test_the_list_is_bounded_and_says_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecalls, "MOST", 2)
    for number in range(3):
        legs.open_leg(page.house.store, f"CA{number:032x}", {}, 1800, page.house.clock())

    _, body, _ = page.ask("/console/calls")
    assert (len(body["calls"]), body["more"]) == (2, True)


def test_a_list_that_is_full_has_the_newest_calls(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecalls, "MOST", 2)
    # The newest has the smallest id, so that no order of ids can pass for one of time.
    for number in range(6, 0, -1):
        page.house.clock.advance(60)
        longest = page.house.settings.longest_leg
        legs.open_leg(page.house.store, f"CA{number:032x}", {}, longest, page.house.clock())
    assert [row["leg"][-1] for row in page.with_token().calls()] == ["1", "2"]

    for number in range(9, 4, -1):
        page.house.clock.advance(60)
        session = {**calls.key(f"call-{number}")._asdict(), "created_at": int(page.house.clock() * 1000)}
        listed = {"g1pk": calls.LIVE, "g1sk": int(page.house.clock()) + calls.LIVE_HOURS * 3600}
        page.house.store.put(Put({**session, **listed, "exp": listed["g1sk"]}))
    assert [row["call"] for row in page.with_token().calls()] == ["call-5", "call-6"]
    monkeypatch.setattr(livecalls, "MOST", 7)
    rows = page.with_token().calls()
    assert [row["call"] for row in rows if row["call"]] == [f"call-{number}" for number in range(5, 10)]
    assert [row["leg"][-1] for row in rows if row["leg"]] == ["1", "2"]


def test_what_is_stale_takes_no_place_in_the_list(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecalls, "MOST", 2)
    for number in range(2):
        page.house.clock.advance(60)
        legs.open_leg(page.house.store, f"CA{number:032x}", {}, 1800, page.house.clock())
    # Found in the index, and expired: never deleted, or the leg of another life.
    for number in range(2):
        gone = {"g1pk": legs.shard(CALL_SID), "g1sk": int(page.house.clock()) + 3000, "exp": int(page.house.clock())}
        page.house.store.put(Put({**legs.key(f"CA{'f' * 31}{number}")._asdict(), **gone}))

    _, body, _ = page.ask("/console/calls")
    assert ([row["leg"][-1] for row in body["calls"]], body["more"]) == (["1", "0"], False)


def test_people_are_listed_by_name_and_never_by_number(page: Page) -> None:
    _, body, _ = page.ask("/console/calls")

    assert body["people"] == ["nowhere", "reception"]
    assert PERSON not in json.dumps(body)


@pytest.mark.parametrize(
    ("session", "who"),
    [
        ({}, ""),
        ({"caller_started_at": 5, "caller_stopped_at": 4}, "caller"),
        ({"caller_started_at": 5, "caller_stopped_at": 5}, ""),
        ({"assistant_started_at": 5}, "assistant"),
        ({"assistant_started_at": 5, "caller_started_at": 5}, "caller"),
    ],
)
def test_who_speaks_is_who_began_and_has_not_stopped(session: dict[str, int], who: str) -> None:
    assert livecalls.speaker(session, 1) == who
    assert livecalls.speaker(session, 61) == ""


# One call


def interrupted(house: House) -> None:
    """An interruption, an utterance, a tool with its delivery."""
    ask(house, "move", to=WORDS_SAID)
    house.clock.advance(1)
    say(house, "user-interrupted")
    say(house, "transcript", role="user", transcriptType="final", transcript=WORDS_SAID)
    house.clock.advance(1)
    house.run(house.live)


def test_a_call_is_told_with_times_that_a_page_can_draw(phone_call: Page) -> None:
    interrupted(phone_call.house)
    told = phone_call.call()
    by_kind = {event["kind"]: event for event in told["events"]}

    assert (told["call"], told["leg"], told["caller"], told["ended"]) == (CALL, CALL_SID, "…01", False)
    assert by_kind["interruption"]["at"] == int((phone_call.house.clock() - 1) * 1000)
    assert by_kind["accepted"]["id"] == by_kind["settled"]["id"] == by_kind["delivery"]["id"] == "call_1"
    assert by_kind["settled"]["at"] - by_kind["accepted"]["at"] == 2000
    assert (by_kind["settled"]["state"], by_kind["delivery"]["outcome"]) == ("SUCCEEDED", "delivered")
    assert told["can"] == ["end", "say", "transfer"]
    assert told["transfers"] == "ours"


def test_words_are_shown_to_tokens_for_words_only_and_the_number_to_nobody(phone_call: Page) -> None:
    interrupted(phone_call.house)
    without = json.dumps(phone_call.call(), ensure_ascii=False)
    words = json.dumps(phone_call.with_token(scopes=frozenset({WORDS})).call(), ensure_ascii=False)

    assert WORDS_SAID not in without
    assert "[42 characters]" in without
    # Said, asked of the tool, and answered by it.
    assert words.count(WORDS_SAID) >= 3
    for text in (without, words):
        assert CALLER not in text
        assert CALLER[2:] not in text


def test_a_call_that_has_not_changed_is_not_told_again(phone_call: Page) -> None:
    for path in ("/console/calls", f"/console/calls/{CALL}"):
        _, _, first = phone_call.ask(path)
        status, body, second = phone_call.ask(path, if_none_match=first["etag"])
        assert (status, body, second["etag"]) == (304, None, first["etag"])

    say(phone_call.house, "user-interrupted")
    assert phone_call.ask(f"/console/calls/{CALL}", if_none_match=first["etag"])[0] == 200


def talk(house: House, utterances: int, words: str = WORDS_SAID) -> None:
    """So many final utterances, a second apart, up to now."""
    first = int(house.clock() * 1000) - utterances * 1000
    region = house.aws.dynamodb.meta.region_name
    with boto3.resource("dynamodb", region_name=region).Table(house.settings.table).batch_writer() as batch:
        for number in range(utterances):
            line = {"pk": calls.key(CALL).pk, "sk": f"TR#{first + number * 1000:013d}#user#{number:08x}"}
            batch.put_item(Item={**line, "v": 1, "words": f"{words} {number}", "exp": int(house.clock()) + 3600})


@pytest.fixture
def reads(phone_call: Page) -> Iterator[list[int]]:
    """How many items each query has read."""
    found: list[int] = []

    def count(parsed: Mapping[str, Any], **_: Any) -> None:
        found.append(parsed["ScannedCount"])

    events = phone_call.house.aws.dynamodb.meta.events
    events.register("after-call.dynamodb.Query", count, unique_id="reads")
    yield found
    events.unregister("after-call.dynamodb.Query", unique_id="reads")


def test_of_a_long_call_the_newest_is_told_and_no_more_is_read(phone_call: Page, reads: list[int]) -> None:
    ask(phone_call.house, "move", to="Thursday")
    talk(phone_call.house, 10_000)
    status, told, _ = phone_call.with_token(scopes=frozenset({WORDS})).ask(f"/console/calls/{CALL}")
    said = [event["text"] for event in told["events"] if event["kind"] == "said"]

    assert status == 200
    assert said == [f"“{WORDS_SAID} {number}”" for number in range(10_000 - console.MOST_ITEMS, 10_000)]
    assert told["older"] is True
    assert sum(reads) <= 2 * console.MOST_ITEMS + 5
    # What frames the call, and its tools, are told however long ago they were.
    assert {"answered", "began", "accepted"} <= {event["kind"] for event in told["events"]}
    assert told["caller"] == "…01"
    assert len(json.dumps(told, ensure_ascii=False).encode()) < 1_000_000


def test_a_call_of_which_everything_is_told_says_so(phone_call: Page) -> None:
    talk(phone_call.house, console.MOST_ITEMS)
    assert phone_call.call()["older"] is False

    talk(phone_call.house, console.MOST_ITEMS + 1)
    assert phone_call.call()["older"] is True


def test_of_long_words_as_many_are_told_as_fit_into_an_answer(phone_call: Page) -> None:
    talk(phone_call.house, console.MOST_ITEMS, "\N{EURO SIGN}" * calls.MAX_WORDS)
    status, told, _ = phone_call.with_token(scopes=frozenset({WORDS})).ask(f"/console/calls/{CALL}")
    size = len(json.dumps(told, ensure_ascii=False).encode())

    assert (status, told["older"]) == (200, True)
    assert console.MOST_BYTES / 2 < size < 1_000_000
    said = [event["text"].rpartition(" ")[2] for event in told["events"] if event["kind"] == "said"]
    assert said == [f"{number}”" for number in range(console.MOST_ITEMS - len(said), console.MOST_ITEMS)]
    assert phone_call.call()["older"] is True  # a page of the table is full of them


def test_of_many_tools_the_newest_steps_are_told(phone_call: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        phone_call.house.clock.advance(1)
        ask(phone_call.house, "move", f"call_{number}", to="Thursday")
    assert phone_call.call()["older"] is False

    monkeypatch.setattr(console, "MOST_EVENTS", 4)
    told = phone_call.call()
    assert told["older"] is True
    assert {event["id"] for event in told["events"] if event["who"] == "tool"} == {"call_4", "call_5"}

    monkeypatch.setattr(console, "MOST_EVENTS", 500)
    monkeypatch.setattr(console, "MOST_ITEMS", 3)
    assert phone_call.call()["older"] is True


def test_what_was_answered_in_a_call_is_not_read_to_tell_it(phone_call: Page, reads: list[int]) -> None:
    phone_call.call()
    before = sum(reads)
    reads.clear()
    for number in range(20):
        answer = {"pk": calls.key(CALL).pk, "sk": f"ANSWER#tool-calls#{number}"}
        phone_call.house.store.put(Put({**answer, "answer": "{}", "exp": int(phone_call.house.clock()) + 600}))
    phone_call.call()

    assert sum(reads) == before


def test_another_tokens_request_is_not_repeated(phone_call: Page) -> None:
    assert phone_call.act("end")[0] == 200
    status, told = phone_call.with_token(id="c0c0c0c0").act("end")

    assert (status, told["error"]) == (409, "conflict")
    assert len(phone_call.vapis.requests) == 1


def test_a_leg_is_told_as_one_story_and_acted_on_by_its_present_call(phone_call: Page) -> None:
    legs.adopt(phone_call.house.store, CALL_SID, OTHER)

    assert phone_call.call(CALL_SID)["call"] == OTHER


def test_an_unknown_call_is_one_short_sentence(page: Page) -> None:
    for identity in ("nobody", "CA" + "0" * 32):
        status, body, _ = page.ask(f"/console/calls/{identity}")
        assert (status, body["error"]) == (404, "call")
    assert page.act("end")[0] == 404
    assert page.audit() == []


def test_what_has_expired_is_not_told_deleted_or_not(phone_call: Page) -> None:
    phone_call.house.clock.advance(40 * 3600)

    assert phone_call.with_token().ask(f"/console/calls/{CALL}")[0] == 404


# Actions


def test_words_are_said_once_and_leave_a_row_without_them(phone_call: Page) -> None:
    assert phone_call.act("say", text="One moment, please.") == (200, {"outcome": "done", "reason": ""})
    assert phone_call.act("say", text="One moment, please.") == (200, {"outcome": "done", "reason": ""})

    assert phone_call.vapis.requests == [(CONTROL, {"type": "say", "content": "One moment, please."})]
    assert phone_call.vapis.headers[0]["authorization"] == "Bearer public-key"
    (row,) = phone_call.audit()
    assert [row[name] for name in ("who", "action", "call_id", "outcome")] == ["b0b0b0b0", "say", CALL, "done"]
    assert "moment" not in str(row)


def test_a_call_is_ended(phone_call: Page) -> None:
    assert phone_call.act("end")[0] == 200
    assert phone_call.vapis.requests == [(CONTROL, endings.END)]


def test_the_row_is_there_before_anything_happens(phone_call: Page) -> None:
    seen: list[Item] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.extend(phone_call.audit())
        return httpx.Response(200)

    operator = phone_call.console.operator._replace(vapi=Vapi("https://api.vapi.ai", mocked(respond)))
    page = phone_call._replace(console=phone_call.console._replace(operator=operator))
    page.act("end")

    assert [(row["outcome"], row["reason"]) for row in seen] == [("unknown", "under_way")]


@pytest.mark.parametrize("answer", [httpx.ReadTimeout("slow"), httpx.Response(502), httpx.RemoteProtocolError("cut")])
def test_where_the_answer_is_lost_nobody_knows_and_nothing_is_tried_again(
    phone_call: Page, answer: httpx.Response | Exception
) -> None:
    phone_call.vapis.answer = answer
    status, told = phone_call.act("say", text="Hello.")
    phone_call.vapis.answer = httpx.Response(200)

    assert (status, told["outcome"]) == (202, "unknown")
    assert "may have happened" in told["message"]
    assert phone_call.act("say", text="Hello.")[1]["outcome"] == "unknown"
    assert len(phone_call.vapis.requests) == 1
    assert [row["outcome"] for row in phone_call.audit()] == ["unknown"]


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "call_ended"), (410, "call_ended"), (400, "http_400"), (401, "http_401")]
)
def test_what_vapi_refuses_has_not_happened(phone_call: Page, status: int, reason: str) -> None:
    phone_call.vapis.answer = httpx.Response(status)
    answered, told = phone_call.act("end")

    assert (answered, told["outcome"], told["reason"]) == (409, "refused", reason)
    assert [row["reason"] for row in phone_call.audit()] == [reason]


def test_an_ended_call_is_left_alone_and_the_attempt_is_written_down(phone_call: Page) -> None:
    say(phone_call.house, "status-update", status="ended", endedReason="customer-ended-call")
    for number, (action, fields) in enumerate(
        [("say", {"text": "Hello."}), ("end", {}), ("transfer", {"person": "reception"})]
    ):
        status, told = phone_call.act(action, number, **fields)

        assert (status, told["error"]) == (409, "call_ended")
    assert phone_call.vapis.requests == phone_call.twilios.requests == []
    assert [row["outcome"] for row in phone_call.audit()] == ["refused"] * 3
    assert phone_call.call()["can"] == []


def test_a_call_that_vapi_gave_no_address_of_cannot_be_spoken_to(page: Page) -> None:
    calls.link(page.house.store, CALL, CALL_SID, "", page.house.settings, page.house.clock())

    assert page.act("say", text="Hello.")[1]["error"] == "no_control_url"


def test_an_id_stands_for_one_request_only(phone_call: Page) -> None:
    phone_call.act("say", text="Hello.")

    assert phone_call.act("end")[1]["error"] == "conflict"
    assert len(phone_call.vapis.requests) == 1


def test_a_token_that_may_only_watch_does_nothing(phone_call: Page) -> None:
    page = phone_call.with_token(scopes=frozenset({WORDS}))

    status, told = page.act("end")
    assert (status, told["error"]) == (403, "scope")
    assert page.call()["can"] == []
    assert not page.audit()
    assert not page.vapis.requests


@pytest.mark.parametrize(
    ("action", "body", "error"),
    [
        ("say", {"text": ""}, "text"),
        ("say", {}, "text"),
        ("say", {"text": "x" * 501}, "text"),
        ("say", {"text": "two\nlines"}, "text"),
        ("say", {"text": "bell\x07"}, "text"),
        ("say", {"text": 7}, "body"),
        ("say", {"text": "Hello.", "person": "reception"}, "body"),
        ("end", {"text": "Hello."}, "body"),
        ("end", {"id": 7}, "body"),
        ("end", {"id": "x"}, "body"),
        ("end", {"id": f"1500000000000-{1:032x}"}, "clock"),
        ("transfer", {"person": "nobody"}, "person"),
        ("transfer", {"person": PERSON}, "person"),
        ("transfer", {}, "person"),
        ("transfer", {"person": "reception", "summary": "x" * 401}, "summary"),
        ("transfer", {"person": "reception", "number": PERSON}, "body"),
    ],
)
def test_a_request_that_is_none_is_refused_before_anything_is_written(
    phone_call: Page, action: str, body: dict[str, Any], error: str
) -> None:
    asked = {"id": phone_call.request_id()} | body
    status, told, _ = phone_call.ask(f"/console/calls/{CALL}/{action}", "POST", asked)

    assert (status, told["error"]) == (400, error)
    assert told["message"]
    assert not phone_call.audit()
    assert not phone_call.vapis.requests


@pytest.mark.parametrize(
    ("body", "status"), [("", 400), ("[]", 400), ("{", 400), ("NaN", 400), ("[" * 4000, 400), ('"' + "x" * 5000, 413)]
)
def test_a_body_that_is_no_order_is_refused(phone_call: Page, body: str, status: int) -> None:
    assert phone_call.ask(f"/console/calls/{CALL}/end", "POST", body)[0] == status


class Down(Store):
    """A table that does not answer when it is asked for one thing."""

    def __init__(self, inner: Store, operation: str, at: int = 1) -> None:
        self.__dict__.update(vars(inner))
        self._operation, self._left = operation, at

    def _perhaps(self, operation: str) -> None:
        if operation == self._operation:
            self._left -= 1
            if self._left == 0:
                raise Unavailable("table: Timeout")

    def put(self, put: Put) -> None:
        """Write, or not."""
        self._perhaps("put")
        super().put(put)

    def update(self, update: Update) -> Item:
        """Change, or not."""
        self._perhaps("update")
        return super().update(update)


def on(page: Page, store: Store) -> Page:
    """The page of a stack with this table."""
    operator = page.console.operator
    operator = operator._replace(store=store, switch=operator.switch._replace(store=store))
    return page._replace(console=page.console._replace(operator=operator))


def test_without_a_row_nothing_is_done(phone_call: Page) -> None:
    status, told = on(phone_call, Down(phone_call.house.store, "put")).act("end")

    assert (status, told["error"]) == (503, "unavailable")
    assert phone_call.vapis.requests == []


def test_an_outcome_that_cannot_be_kept_is_told_all_the_same(phone_call: Page) -> None:
    status, _ = on(phone_call, Down(phone_call.house.store, "update")).act("end")

    assert status == 200
    # Nobody acts on it again, and who asks again is told that it is not known.
    assert phone_call.act("end")[1]["outcome"] == "unknown"
    assert len(phone_call.vapis.requests) == 1


def test_without_the_key_for_vapi_nothing_is_asked_of_it(phone_call: Page) -> None:
    def unavailable() -> str:
        raise Unavailable("secrets: Timeout")

    operator = phone_call.console.operator._replace(public_key=unavailable)
    page = phone_call._replace(console=phone_call.console._replace(operator=operator))

    assert page.act("end")[1]["reason"] == "unavailable"
    assert [row["outcome"] for row in page.audit()] == ["refused"]


# Transfers


def test_a_caller_whose_leg_we_brought_is_put_on_hold_and_the_person_called(phone_call: Page) -> None:
    status, told = phone_call.act("transfer", person="reception", summary="Asks about a bill.")
    moved = transfers.load(phone_call.house.store, CALL_SID, phone_call.house.clock())

    assert (status, told["outcome"]) == (200, "done")
    assert moved
    assert (moved.state, moved.to, moved.summary) == ("ringing", "reception", "Asks about a bill.")
    (hold, called) = phone_call.twilios.requests
    assert hold == (f"{CALL_SID}.json", {"Url": routes.url(BASE_URL, routes.HOLD, n=1), "Method": "POST"})
    assert (called[0], called[1]["To"], called[1]["From"]) == ("Calls.json", PERSON, DIALLED)
    assert phone_call.vapis.requests == []
    (row,) = phone_call.audit()
    assert (row["to"], row["outcome"]) == ("reception", "done")
    assert "bill" not in str(row)
    assert [entry["transfer"] for entry in phone_call.calls()] == ["ringing"]


def test_a_transfer_asked_for_twice_is_one(phone_call: Page) -> None:
    for _ in range(2):
        assert phone_call.act("transfer", person="reception")[0] == 200
    assert len(phone_call.twilios.requests) == 2

    status, told = phone_call.act("transfer", 2, person="reception")
    assert (status, told["error"]) == (409, "transfer_under_way")
    assert len(phone_call.twilios.requests) == 2


def test_a_caller_whom_twilio_does_not_move_is_still_there(phone_call: Page) -> None:
    phone_call.twilios.answer = httpx.Response(401)

    assert phone_call.act("transfer", person="reception")[1]["error"] == "not_moved"


def test_a_caller_who_has_hung_up_is_put_through_to_nobody(phone_call: Page) -> None:
    phone_call.twilios.answer = httpx.Response(404)

    assert phone_call.act("transfer", person="reception")[1]["error"] == "call_ended"


def test_a_person_without_a_number_is_not_called(phone_call: Page) -> None:
    assert phone_call.act("transfer", person="nowhere")[1]["error"] == "no_such_person"


def test_a_caller_who_was_perhaps_moved_is_an_outcome_that_nobody_knows(phone_call: Page) -> None:
    phone_call.twilios.answer = httpx.ReadTimeout("slow")

    assert phone_call.act("transfer", person="reception")[1]["outcome"] == "unknown"
    assert phone_call.act("transfer", person="reception")[1]["outcome"] == "unknown"
    # To the hold twice, which is moving once, and by the first request only.
    assert len(phone_call.twilios.requests) == 2


def test_a_table_that_is_down_in_the_middle_of_a_transfer_is_no_refusal(phone_call: Page) -> None:
    page = on(phone_call, Down(phone_call.house.store, "update"))

    assert page.act("transfer", person="reception")[1]["outcome"] == "unknown"


@pytest.mark.parametrize("way", ["bypass", "redirect"])
def test_a_leg_that_is_vapis_is_moved_by_vapi(page: Page, way: str) -> None:
    if way == "redirect":
        ring(page.house)
    say(page.house, "status-update", status="in-progress")
    operator = page.console.operator
    settings = operator.settings._replace(way=way)
    operator = operator._replace(settings=settings, switch=operator.switch._replace(settings=settings))
    page = page._replace(console=page.console._replace(operator=operator))

    assert page.call()["transfers"] == "vapi"
    assert page.act("transfer", person="reception")[0] == 200
    assert page.act("transfer", 2, person="nowhere")[1]["error"] == "no_such_person"
    destination = {"type": "number", "number": PERSON}
    assert page.vapis.requests == [(CONTROL, {"type": "transfer", "destination": destination})]
    assert page.twilios.requests == []


def test_a_call_from_a_web_page_cannot_be_put_through(web_call: Page) -> None:
    assert web_call.call()["can"] == ["end", "say"]
    status, told = web_call.act("transfer", person="reception")

    assert (status, told["error"]) == (409, "no_phone")
    assert web_call.vapis.requests == []


# What leaves it


def test_no_log_holds_words_numbers_or_tokens(phone_call: Page, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(telemetry.logger.name)
    logger.addHandler(caplog.handler)
    try:
        interrupted(phone_call.house)
        phone_call.with_token(scopes=frozenset({WORDS})).call()
        phone_call.act("say", text=WORDS_SAID)
        phone_call.act("transfer", 2, person="reception", summary=WORDS_SAID)
        phone_call.ask("/console/calls", authorization=f"Bearer {phone_call.token}x")
        phone_call.ask(
            f"/console/calls/{CALL}/say", "POST", {"id": phone_call.request_id(3), "text": f"{WORDS_SAID}\n"}
        )
    finally:
        logger.removeHandler(caplog.handler)
    said = " ".join(str(vars(record)) for record in caplog.records)

    assert "console" in said
    for private in (WORDS_SAID, CALLER, CALLER[1:], PERSON, phone_call.token, CONTROL):
        assert private not in said


def test_what_watching_costs(phone_call: Page) -> None:
    phone_call.ask("/console/calls")
    phone_call.house.aws.wire.take()
    phone_call.ask(f"/console/calls/{CALL}")
    # The call and its words, its leg and its transfer; then the session and the leg, for what can be done.
    assert phone_call.house.aws.wire.take() == ["Query"] * 4 + ["GetItem"] * 3

    phone_call.ask("/console/calls")
    taken = phone_call.house.aws.wire.take()
    # Slots, eight shards and the calls that were begun; and for each call its leg, session, tools and transfer.
    assert (taken.count("Query"), taken.count("GetItem"), len(taken)) == (11, 3, 14)
