"""Calls that we place: once for a key whatever is lost or comes twice, never over the cap, and no number left behind."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from devkit import development
from devkit.vapi_fake import order_faults
from devkit.vapi_spec import Spec
from switchboard import admission, outbound
from switchboard.budget import limit
from switchboard.desk import Agent, Caller, backend
from switchboard.errors import Unavailable
from switchboard.messages import Assistant, Decision, Refusal, Transfer
from switchboard.outbound import Dialler, Rules, Wanted
from switchboard.secrets import CONNECTION, FRESH, Secrets
from switchboard.settings import Settings
from switchboard.store import Item, Store
from switchboard.telemetry import Count
from switchboard.vapi import Vapi
from tests.conftest import Clock
from tests.integration.conftest import Aws, Vapis
from tests.remote import mocked

SPEC = Spec.load().closed()
NUMBER = "+15550100001"
OTHER = "+15550100002"
KEY = "reminder-apt_1"
CALL = "c0ffee00-0000-4000-8000-0000000000d1"
EVENT = {"to": NUMBER, "key": KEY}
NAME = Wanted(NUMBER, KEY, "", {}).name
PLACED = {"state": "placed", "callId": CALL}


def created(**changes: Any) -> httpx.Response:
    """Vapi's answer to `POST /call`, a few of its fields."""
    return httpx.Response(201, json={"id": CALL, "type": "outboundPhoneCall", "status": "queued"} | changes)


@pytest.fixture
def vapis() -> Vapis:
    """A Vapi that makes the call."""
    made = Vapis()
    made.answer = created()
    return made


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    """Two prefixes may be called; it is 8 o'clock in London, 13:30 in Kolkata."""
    return settings._replace(
        outbound_prefixes="+1555=Europe/London,+91=Asia/Kolkata", quiet_hours="21-8", max_calls=2, max_call_minutes=30
    )


@pytest.fixture
def dialler(
    open_settings: Settings, store: Store, secrets: Secrets, agent: Agent, vapis: Vapis, clock: Clock
) -> Dialler:
    """What places the calls, over the real table and a Vapi that is told what to answer."""
    vapi = Vapi(open_settings.vapi_url, mocked(vapis))
    return Dialler(open_settings, secrets, store, vapi, agent, Rules.read(open_settings), clock)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every metric of this module, with its reason."""
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(outbound, "count", lambda what, reason="": seen.append((what, reason)))
    return seen


def ask(dialler: Dialler, **changes: Any) -> dict[str, str]:
    """Ask for the call, or for another one."""
    return outbound.place(dialler, {**EVENT, **changes})


def row(dialler: Dialler) -> Item | None:
    """The key's item."""
    return dialler.store.get(outbound.key(NAME))


def slots(dialler: Dialler) -> int:
    """How many are taken."""
    return admission.active(dialler.store, dialler.clock())


def table(aws: Aws, settings: Settings) -> str:
    """Everything that is stored, as text."""
    return json.dumps(aws.dynamodb.scan(TableName=settings.table)["Items"])


def bad_agent(caller: Caller) -> Decision:
    """Raises something with the number in it."""
    raise LookupError(f"nobody at {caller.number}")


# Placing


def test_a_call_is_placed_and_written_down(dialler: Dialler, vapis: Vapis, counted: list[tuple[str, str]]) -> None:
    assert ask(dialler) == PLACED

    [(url, body)] = vapis.requests
    assert url == "https://api.vapi.ai/call"
    assert vapis.headers[0]["authorization"] == f"Bearer {development.VAPI_API_KEY}"
    assert body == {
        "phoneNumberId": development.PHONE_NUMBER_ID,
        "customer": {"number": NUMBER},
        "assistantId": development.ASSISTANT_ID,
        "assistantOverrides": {"variableValues": {"number": NUMBER}, "metadata": {"dial": NAME}},
    }
    stored = row(dialler)
    assert stored
    assert (stored["state"], stored["call_id"], stored["v"]) == ("placed", CALL, 1)
    assert stored["exp"] == int(dialler.clock()) + outbound.KEEP_SECONDS
    assert counted == [(Count.CALL_PLACED, "")]


def test_the_values_of_a_request_go_over_those_of_the_agent(dialler: Dialler, vapis: Vapis) -> None:
    ask(dialler, variableValues={"name": "Zoë", "visits": 3, "new": False, "number": "withheld"})

    [(_, body)] = vapis.requests
    assert body["assistantOverrides"]["variableValues"] == {
        "name": "Zoë",
        "visits": 3,
        "new": False,
        "number": "withheld",
    }


def test_an_assistant_that_is_named_speaks_and_the_agent_is_not_asked(dialler: Dialler, vapis: Vapis) -> None:
    agent = dialler.agent._replace(assistant=bad_agent)

    assert ask(dialler._replace(agent=agent), assistantId="asst_1") == PLACED
    [(_, body)] = vapis.requests
    assert body["assistantId"] == "asst_1"
    assert body["assistantOverrides"] == {"metadata": {"dial": NAME}}


def test_the_agent_is_told_whom_we_call_and_where_messages_go(dialler: Dialler) -> None:
    asked: list[Caller] = []

    def assistant(caller: Caller) -> Decision:
        asked.append(caller)
        return Assistant(id="asst_1")

    ask(dialler._replace(agent=dialler.agent._replace(assistant=assistant)))

    assert asked[0].backend.server["url"] == "https://voice.example.com/webhook/vapi"
    assert asked == [Caller(NUMBER, "", "", backend(dialler.settings, dialler.secrets))]


def test_vapi_accepts_every_body_that_is_sent(dialler: Dialler, vapis: Vapis, clock: Clock) -> None:
    whole = Assistant(
        config={"name": "Reminder", "firstMessage": "Hello.", "model": {"provider": "openai", "model": "gpt-4.1"}},
        overrides={"metadata": {"own": "kept"}, "firstMessage": "Good morning."},
    )
    givers = [dialler.agent, dialler.agent._replace(assistant=lambda caller: whole)]
    for number, agent in enumerate(givers):
        for values in ({}, {"name": "Zoë"}):
            answer = ask(dialler._replace(agent=agent), key=f"{KEY}-{number}-{len(values)}", variableValues=values)
            assert answer == PLACED
            admission.leave(dialler.store, call_id=CALL)

    bodies = [body for _, body in vapis.requests]
    assert len(bodies) == 4
    assert [order_faults(body) for body in bodies] == [[]] * 4
    assert [SPEC.faults("CreateCallDTO", body) for body in bodies] == [[]] * 4
    assert bodies[-1]["assistantOverrides"]["metadata"]["own"] == "kept"
    assert not any("phoneCallProviderBypassEnabled" in body for body in bodies)
    # The checks themselves see something.
    assert order_faults({**bodies[0], "dial": 1})
    assert SPEC.faults("CreateCallDTO", {**bodies[0], "customer": {"number": 1}})


# Refusing


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (None, "event"),
        ("+15550100001", "event"),
        ([EVENT], "event"),
        ({}, "to"),
        ({**EVENT, "assistant_id": "x"}, "event"),
        ({**EVENT, "to": None}, "to"),
        ({**EVENT, "to": 15550100001}, "to"),
        ({**EVENT, "to": "15550100001"}, "to"),
        ({**EVENT, "to": "911"}, "to"),
        ({**EVENT, "to": "+1 555 010 0001"}, "to"),
        ({**EVENT, "to": "+155501"}, "to"),
        ({**EVENT, "to": "+" + "1" * 16}, "to"),
        ({**EVENT, "to": "+15550100001\n"}, "to"),
        ({**EVENT, "to": "+1555010000\u0661"}, "to"),
        ({**EVENT, "to": "sip:a@b.example"}, "to"),
        ({"to": NUMBER}, "key"),
        ({**EVENT, "key": ""}, "key"),
        ({**EVENT, "key": 7}, "key"),
        ({**EVENT, "key": "a b"}, "key"),
        ({**EVENT, "key": "ä"}, "key"),
        ({**EVENT, "key": "x" * 201}, "key"),
        ({**EVENT, "assistantId": None}, "assistant_id"),
        ({**EVENT, "assistantId": 7}, "assistant_id"),
        ({**EVENT, "assistantId": "a/b"}, "assistant_id"),
        ({**EVENT, "variableValues": None}, "variable_values"),
        ({**EVENT, "variableValues": ["a"]}, "variable_values"),
        ({**EVENT, "variableValues": {"a": None}}, "variable_values"),
        ({**EVENT, "variableValues": {"a": {"b": "c"}}}, "variable_values"),
        ({**EVENT, "variableValues": {"a": float("nan")}}, "variable_values"),
        ({**EVENT, "variableValues": {"a": float("inf")}}, "variable_values"),
        ({**EVENT, "variableValues": {"a": "\ud800"}}, "variable_values"),
        ({**EVENT, "variableValues": {"\ud800": "a"}}, "variable_values"),
        ({**EVENT, "variableValues": {"a": "x" * outbound.MAX_VALUES}}, "variable_values"),
        ({**EVENT, "to": "+33142920000"}, "not_allowed"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_written(
    dialler: Dialler, vapis: Vapis, aws: Aws, counted: list[tuple[str, str]], event: object, reason: str
) -> None:
    assert outbound.place(dialler, event) == {"state": "refused", "reason": reason}
    assert vapis.requests == []
    assert table(aws, dialler.settings) == "[]"
    assert counted == [(Count.CALL_NOT_PLACED, reason)]


def test_values_up_to_the_limit_are_taken(dialler: Dialler) -> None:
    assert ask(dialler, variableValues={"a": "x" * (outbound.MAX_VALUES - len('{"a": ""}'))}) == PLACED


def test_an_assistant_whose_messages_would_be_refused_is_refused(dialler: Dialler, vapis: Vapis) -> None:
    made = dialler._replace(settings=dialler.settings._replace(assistant_ids=frozenset({"asst_1"})))

    assert ask(made, assistantId="asst_2") == {"state": "refused", "reason": "assistant_id"}
    assert vapis.requests == []
    assert ask(made, assistantId="asst_1") == PLACED


def test_without_a_number_to_call_from_nothing_is_asked(dialler: Dialler, vapis: Vapis) -> None:
    made = dialler._replace(settings=dialler.settings._replace(phone_number_id=""))

    assert ask(made) == {"state": "refused", "reason": "phone_number_id"}
    assert (vapis.requests, row(dialler)) == ([], None)


def test_the_connected_number_is_called_from_unless_a_parameter_names_another(
    dialler: Dialler, aws: Aws, vapis: Vapis, clock: Clock
) -> None:
    path = f"{dialler.settings.parameter_path}/{CONNECTION}"
    aws.ssm.put_parameter(Name=path, Value='{"phone_number_id": "phone-1"}', Type="String")
    clock.advance(FRESH)
    made = dialler._replace(settings=dialler.settings._replace(phone_number_id=""))

    assert ask(made, key="first") == PLACED
    assert ask(dialler, key="second") == PLACED
    numbers = [body["phoneNumberId"] for _, body in vapis.requests]
    assert numbers == ["phone-1", development.PHONE_NUMBER_ID]


def test_at_night_nobody_is_called_and_in_the_morning_the_same_key_is_good(
    dialler: Dialler, vapis: Vapis, clock: Clock
) -> None:
    clock.advance(-1)

    assert ask(dialler) == {"state": "refused", "reason": "quiet_hours"}
    assert (vapis.requests, row(dialler)) == ([], None)
    assert ask(dialler, to="+919876543210", key="other") == PLACED  # the same moment elsewhere

    clock.advance(1)
    assert ask(dialler) == PLACED


@pytest.mark.parametrize(
    ("assistant", "reason"),
    [
        (bad_agent, "agent"),
        (lambda caller: Refusal("We do not call you."), "no_assistant"),
        (lambda caller: Transfer("+15550100100"), "no_assistant"),
        (lambda caller: Assistant(), "no_assistant"),
        (lambda caller: None, "no_assistant"),
        (lambda caller: Assistant(config={"name": {1, 2}}), "agent"),
        (lambda caller: Assistant(config={"name": float("nan")}), "agent"),
        (lambda caller: Assistant(config={"name": "\ud800"}), "agent"),
    ],
)
def test_without_a_decision_no_fallback_calls_a_stranger(
    dialler: Dialler, vapis: Vapis, assistant: Callable[[Caller], Any], reason: str
) -> None:
    made = dialler._replace(agent=dialler.agent._replace(assistant=assistant))

    assert ask(made) == {"state": "refused", "reason": reason}
    assert (vapis.requests, row(dialler)) == ([], None)
    assert ask(dialler) == PLACED


def test_an_agent_that_takes_too_long_is_stopped(
    dialler: Dialler, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forever(caller: Caller) -> Decision:
        while True:
            pass

    monkeypatch.setattr(outbound, "ASSISTANT_SECONDS", 0.01)
    with limit(30):  # should the limit under test be gone
        assert ask(dialler._replace(agent=dialler.agent._replace(assistant=forever))) == {
            "state": "refused",
            "reason": "agent",
        }
    assert vapis.requests == []


# Once for a key


def test_a_repetition_is_answered_the_same_and_calls_nobody(
    dialler: Dialler, vapis: Vapis, clock: Clock, counted: list[tuple[str, str]]
) -> None:
    answers = [ask(dialler)]
    clock.advance(outbound.PENDING_SECONDS * 100)
    answers.append(ask(dialler))
    clock.advance(14 * 3600)  # at night, and the prefix is allowed no more
    answers.append(ask(dialler._replace(rules=Rules({}))))

    assert answers == [PLACED] * 3
    assert len(vapis.requests) == 1
    assert counted == [(Count.CALL_PLACED, "")]


@pytest.mark.parametrize("before", [created(), httpx.Response(400), httpx.Response(500)], ids=str)
@pytest.mark.parametrize(
    "changes",
    [{"to": OTHER}, {"to": "+33142920000"}, {"assistantId": "asst_1"}, {"variableValues": {"a": "b"}}],
    ids=str,
)
def test_a_key_stands_for_one_request(
    dialler: Dialler, vapis: Vapis, before: httpx.Response, changes: dict[str, Any]
) -> None:
    vapis.answer = before
    first = ask(dialler)

    assert ask(dialler, **changes) == {"state": "refused", "reason": "conflict"}
    assert len(vapis.requests) == 1
    vapis.answer = created()
    assert ask(dialler) == (first if first["state"] != "refused" else PLACED)


def test_two_keys_are_two_calls(dialler: Dialler, vapis: Vapis) -> None:
    assert ask(dialler) == ask(dialler, key="other") == PLACED
    assert len(vapis.requests) == 2


def test_a_key_is_forgotten_in_the_end(dialler: Dialler, vapis: Vapis, clock: Clock) -> None:
    ask(dialler)
    clock.advance(outbound.KEEP_SECONDS - 1)
    ask(dialler)
    assert len(vapis.requests) == 1

    clock.advance(1)
    # DynamoDB deletes expired items days later.
    assert row(dialler)
    assert ask(dialler, to=OTHER) == PLACED
    assert len(vapis.requests) == 2


@pytest.mark.parametrize("answer", [created(), httpx.Response(400), httpx.ReadTimeout("slow")], ids=str)
def test_a_second_request_while_vapi_is_asked_does_not_ask(
    dialler: Dialler, vapis: Vapis, answer: httpx.Response | Exception
) -> None:
    seconds: list[dict[str, str]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seconds.append(ask(dialler))
        seconds.append(ask(dialler, to=OTHER))
        return vapis(request)

    vapis.answer = answer
    ask(dialler._replace(vapi=Vapi(dialler.settings.vapi_url, mocked(respond))))

    assert seconds == [{"state": "unknown", "reason": "under_way"}, {"state": "refused", "reason": "conflict"}]
    assert len(vapis.requests) == 1


class Between(Store):
    """A store in which something happens right before, or after, the n-th write."""

    def __init__(self, inner: Store, at: int, what: Callable[[], Any], *, after: bool = False) -> None:
        self.__dict__.update(vars(inner))
        self._at, self._what, self._after, self.writes = at, what, after, 0

    def _write(self, call: Callable[..., Any], request: dict[str, Any]) -> Any:
        self.writes += 1
        if self.writes != self._at:
            return super()._write(call, request)
        if not self._after:
            self._what()
            return super()._write(call, request)
        done = super()._write(call, request)
        self._what()
        return done


def test_of_two_that_have_both_looked_one_asks(dialler: Dialler, vapis: Vapis) -> None:
    inner: list[dict[str, str]] = []
    # The other one comes from beginning to end between our look and our claim.
    store = Between(dialler.store, 1, lambda: inner.append(ask(dialler)))

    assert ask(dialler._replace(store=store)) == PLACED
    assert inner == [PLACED]
    assert len(vapis.requests) == 1


def test_a_refused_request_is_claimed_again_by_one_of_two(dialler: Dialler, vapis: Vapis) -> None:
    vapis.answer = httpx.Response(429)
    ask(dialler)
    vapis.answer = created()
    store = Between(dialler.store, 1, lambda: ask(dialler))

    assert ask(dialler._replace(store=store)) == PLACED
    assert len(vapis.requests) == 2


def test_a_key_that_another_request_took_and_lost_meanwhile_is_not_ours(dialler: Dialler, vapis: Vapis) -> None:
    vapis.answer = httpx.Response(400)
    store = Between(dialler.store, 1, lambda: ask(dialler))

    assert ask(dialler._replace(store=store), to=OTHER) == {"state": "refused", "reason": "conflict"}
    assert len(vapis.requests) == 1


def test_a_claim_that_the_sdk_repeats_is_still_ours(dialler: Dialler, vapis: Vapis) -> None:
    class Twice(Store):
        """Sends its first write twice, as the SDK does when the answer is lost."""

        def _write(self, call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if "Item" in request:
                call(**request)
            return super()._write(call, request)

    store = Twice(dialler.settings.table, dialler.store._client)

    assert ask(dialler._replace(store=store)) == PLACED
    assert len(vapis.requests) == 1


# What Vapi answers


BLOCKED = {"subscriptionLimits": {"concurrencyBlocked": True, "concurrencyLimit": 10, "remainingConcurrentCalls": 0}}
SURELY_NOT = {
    "over the limit": ("concurrency", httpx.Response(400, json={"message": "Over Concurrency Limit"})),
    "blocked, no call": ("concurrency", created(id=None, **BLOCKED)),
    "blocked, and over": ("concurrency", created(status="ended", **BLOCKED)),
    "asked too often": ("concurrency", httpx.Response(429)),
    "malformed": ("http_400", httpx.Response(400, json={"message": ["customer.number must be a string"]})),
    "wrong key": ("http_401", httpx.Response(401)),
    "no such assistant": ("http_404", httpx.Response(404)),
    "not there": ("unreachable", httpx.ConnectError("down")),
}


@pytest.mark.parametrize(("reason", "answer"), SURELY_NOT.values(), ids=SURELY_NOT)
def test_what_vapi_surely_did_not_do_may_be_asked_again(
    dialler: Dialler,
    vapis: Vapis,
    counted: list[tuple[str, str]],
    reason: str,
    answer: httpx.Response | Exception,
) -> None:
    vapis.answer = answer

    assert ask(dialler) == {"state": "refused", "reason": reason}
    assert slots(dialler) == 0
    vapis.answer = created()
    assert ask(dialler) == PLACED
    assert len(vapis.requests) == 2
    assert counted == [(Count.CALL_NOT_PLACED, reason), (Count.CALL_PLACED, "")]


PERHAPS = {
    "ReadTimeout": httpx.ReadTimeout("slow"),
    "RemoteProtocolError": httpx.RemoteProtocolError("closed"),
    "http_500": httpx.Response(500),
    "http_408": httpx.Response(408),
    "http_409": httpx.Response(409),
    "answer_not_json": httpx.Response(201, content=b"<html>"),
    "answer_not_an_object": httpx.Response(201, json=[]),
    "no_call_id": created(id="../../x"),
}


@pytest.mark.parametrize(("reason", "answer"), PERHAPS.items(), ids=PERHAPS)
def test_what_vapi_may_have_done_is_never_asked_again(
    dialler: Dialler, vapis: Vapis, clock: Clock, reason: str, answer: httpx.Response | Exception
) -> None:
    vapis.answer = answer
    expected = {"state": "unknown", "reason": reason}

    assert ask(dialler) == expected
    # There may be a call: its slot stays taken until it would have ended.
    assert slots(dialler) == 1
    vapis.answer = created()
    clock.advance(3600)
    assert ask(dialler) == expected
    assert len(vapis.requests) == 1
    assert slots(dialler) == 0


def test_a_blocked_call_that_vapi_has_made_may_still_wait_for_a_line(dialler: Dialler, vapis: Vapis) -> None:
    vapis.answer = created(**BLOCKED)
    expected = {"state": "unknown", "reason": "concurrency", "callId": CALL}

    assert [ask(dialler), ask(dialler)] == [expected] * 2
    assert len(vapis.requests) == 1
    assert slots(dialler) == 1
    # Whatever becomes of it, Vapi tells how it ended.
    assert admission.leave(dialler.store, call_id=CALL) == 1


@pytest.mark.parametrize("limits", [None, [], {"concurrencyBlocked": False}, {}], ids=str)
def test_limits_that_do_not_block_say_nothing(dialler: Dialler, vapis: Vapis, limits: object) -> None:
    vapis.answer = created(subscriptionLimits=limits)

    assert ask(dialler) == PLACED


# Admission


def test_over_the_cap_nothing_is_asked_and_the_key_stays_good(dialler: Dialler, vapis: Vapis) -> None:
    for holder in ("CA" + "1" * 32, "CA" + "2" * 32):
        assert admission.enter(dialler.store, dialler.settings, holder, dialler.clock())

    assert ask(dialler) == {"state": "refused", "reason": "cap"}
    assert vapis.requests == []
    assert slots(dialler) == 2
    admission.leave(dialler.store, holder="CA" + "1" * 32)
    assert ask(dialler) == PLACED


def test_a_placed_call_takes_a_slot_until_its_end(dialler: Dialler) -> None:
    ask(dialler)
    ask(dialler, key="other")

    assert slots(dialler) == 2
    assert ask(dialler, key="third") == {"state": "refused", "reason": "cap"}
    # What the webhook does when Vapi says that the call has ended.
    assert admission.leave(dialler.store, call_id=CALL) >= 1
    assert ask(dialler, key="third") == PLACED


def test_with_no_cap_there_are_no_slots(dialler: Dialler, aws: Aws) -> None:
    settings = dialler.settings._replace(max_calls=0)

    assert ask(dialler._replace(settings=settings)) == PLACED
    assert "SLOT" not in table(aws, settings)


# What is down


def test_without_the_table_nothing_is_asked(dialler: Dialler, vapis: Vapis, aws: Aws) -> None:
    aws.dynamodb.delete_table(TableName=dialler.settings.table)

    assert ask(dialler) == {"state": "refused", "reason": "unavailable"}
    assert vapis.requests == []


def test_without_the_secrets_nothing_is_asked(dialler: Dialler, vapis: Vapis, clock: Clock) -> None:
    class Down:
        """No secret store."""

        def get_parameters(self, **_: Any) -> None:
            raise Unavailable("secrets: Down")

    secrets = Secrets("/x", (), Down(), clock)

    assert ask(dialler._replace(secrets=secrets)) == {"state": "refused", "reason": "unavailable"}
    assert (vapis.requests, row(dialler)) == ([], None)


def down(*_: Any, **__: Any) -> None:
    """Like a table that does not answer."""
    raise Unavailable("table: Down")


def test_without_a_slot_nothing_is_asked_and_the_key_stays_good(
    dialler: Dialler, vapis: Vapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(admission, "enter", down)
        assert ask(dialler) == {"state": "refused", "reason": "unavailable"}

    assert vapis.requests == []
    assert ask(dialler) == PLACED


@pytest.mark.parametrize(("answer", "state"), [(created(), "placed"), (httpx.Response(400), "refused")], ids=str)
def test_a_slot_that_cannot_be_updated_changes_nothing_about_the_call(
    dialler: Dialler, vapis: Vapis, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, state: str
) -> None:
    vapis.answer = answer
    with monkeypatch.context() as patched:
        patched.setattr(admission, "leave", down)
        patched.setattr(admission, "occupy", down)
        assert ask(dialler)["state"] == state

    assert slots(dialler) == 1
    assert ask(dialler)["state"] == state


@pytest.mark.parametrize("answer", [created(), httpx.Response(400)], ids=str)
def test_an_outcome_that_cannot_be_written_down_is_told_once_and_not_acted_on_again(
    dialler: Dialler, vapis: Vapis, clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response
) -> None:
    vapis.answer = answer
    with monkeypatch.context() as patched:
        patched.setattr(Store, "update", down)
        patched.setattr(admission, "enter", lambda *_, **__: True)
        patched.setattr(admission, "occupy", down)
        patched.setattr(admission, "leave", down)
        assert ask(dialler)["state"] == ("placed" if answer.is_success else "refused")

    assert ask(dialler) == {"state": "unknown", "reason": "under_way"}
    clock.advance(outbound.PENDING_SECONDS)
    assert ask(dialler) == {"state": "unknown", "reason": "interrupted"}
    assert len(vapis.requests) == 1


# Crashes


class Crash(BaseException):
    """The function is ended from outside."""


def crash() -> None:
    """End here."""
    raise Crash


# Before and after every write of a call that is placed: claim, slot, call id in the slot, outcome.
POINTS = [(write, after) for write in range(1, 5) for after in (False, True)]


def test_the_points_are_all_there_are(dialler: Dialler) -> None:
    store = Between(dialler.store, 0, crash)

    assert ask(dialler._replace(store=store)) == PLACED
    assert store.writes == len({write for write, _ in POINTS})


@pytest.mark.parametrize(("write", "after"), POINTS)
def test_a_crash_at_any_write_never_makes_a_second_call(
    dialler: Dialler, vapis: Vapis, clock: Clock, write: int, after: bool
) -> None:
    with pytest.raises(Crash):
        ask(dialler._replace(store=Between(dialler.store, write, crash, after=after)))
    asked = len(vapis.requests)

    soon = ask(dialler)
    clock.advance(outbound.PENDING_SECONDS - 0.1)
    just_before = ask(dialler)
    clock.advance(0.1)
    late = ask(dialler)

    if (write, after) == (1, False):  # nothing was claimed yet
        assert (asked, soon, late, len(vapis.requests)) == (0, PLACED, PLACED, 1)
        return
    assert len(vapis.requests) == asked <= 1
    if (write, after) == (4, True):  # all was written
        assert (asked, soon, late) == (1, PLACED, PLACED)
        return
    assert soon == just_before == {"state": "unknown", "reason": "under_way"}
    assert late == {"state": "unknown", "reason": "interrupted"}


@pytest.mark.parametrize("sent", [False, True])
def test_a_crash_while_vapi_is_asked_never_makes_a_second_call(
    dialler: Dialler, vapis: Vapis, clock: Clock, sent: bool
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if sent:
            vapis(request)
        raise Crash

    with pytest.raises(Crash):
        ask(dialler._replace(vapi=Vapi(dialler.settings.vapi_url, mocked(respond))))
    clock.advance(outbound.PENDING_SECONDS)

    assert ask(dialler) == {"state": "unknown", "reason": "interrupted"}
    assert len(vapis.requests) == int(sent)
    # The slot of a call that may be there is free again when that would have ended.
    assert slots(dialler) == 1
    clock.advance(3600)
    assert slots(dialler) == 0


# Whose number


@pytest.mark.parametrize("answer", [created(), httpx.Response(400), httpx.ReadTimeout("slow")], ids=str)
def test_no_number_and_no_key_is_left_behind(
    dialler: Dialler, vapis: Vapis, aws: Aws, answer: httpx.Response | Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    vapis.answer = answer
    told = ask(dialler, key=f"call-{NUMBER}", variableValues={"name": "Zoë"})
    left = table(aws, dialler.settings) + json.dumps(told) + "".join(capsys.readouterr())

    assert "DIAL#" in left  # this is what is left
    for private in (NUMBER, NUMBER[1:], NUMBER[-7:], "call-", "Zoë", "Zo\\u00eb"):
        assert private not in left


def test_the_digest_of_a_request_cannot_be_searched_for_its_number() -> None:
    one, other = Wanted(NUMBER, "k1", "", {}), Wanted(NUMBER, "k2", "", {})

    # Without the key, which is not stored, no number can be tried out.
    assert one.digest != other.digest
    assert one.digest == Wanted(NUMBER, "k1", "", {}).digest
