"""The fault matrix: what a caller meets for every fault, on every way to the assistant, at every moment that one is due.

Each cell says the step that the caller gets, the cause that is counted, and whether the caller's slot is held
afterwards. Time is the injected clock's: who hangs moves it, and is stopped as the real limits stop it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from xml.etree import ElementTree

import httpx
import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from devkit import development
from devkit.twiml_lint import faults
from switchboard import admission, legs, lookups, phone, routes
from switchboard.budget import Overrun
from switchboard.desk import Agent, Caller
from switchboard.ladder import Cause
from switchboard.messages import Assistant, Transfer
from switchboard.queue import Queue
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, Secrets
from switchboard.settings import STEPS, WAYS
from switchboard.store import Put, Store
from switchboard.telemetry import Count
from switchboard.vapi import Vapi
from tests.conftest import NOW, Clock
from tests.integration.conftest import CALL_SID, House, Vapis
from tests.integration.test_phone import TWIML, created, event
from tests.remote import mocked

HUMAN = "+15550100777"
SIP_URI = "sip:clinic@sip.vapi.ai"
MOMENTS = ("rings", "dequeued", "back")

# Step, cause, and what has become of the slot.
REACHED = "assistant - held"
CONFIGURATION = "human configuration free"
UNAVAILABLE = ("human unavailable free", "human unavailable held", "human unavailable held")  # held since before
TOO_SLOW = ("human too_slow free", "human too_slow held", "human too_slow held")
NOT_DONE = "human vapi free"
AMBIGUOUS = "human vapi held"
ERROR = "human error free"
FULL = "queue concurrency free"
SORRY = "apology - free"

type Cell = str | tuple[str, str, str]


class Row(NamedTuple):
    """What happens, and what callers meet on each way: one cell, or one per moment."""

    inject: "Callable[[Scene], None]"
    bypass: Cell = REACHED
    sip: Cell = REACHED
    # Vapi takes over a leg by redirect only while it rings: later there is no way, and the ladder is what remains.
    redirect: Cell = (REACHED, CONFIGURATION, CONFIGURATION)

    def expected(self, way: str, moment: str) -> str:
        """The cell."""
        cell: Cell = getattr(self, way)
        return cell if isinstance(cell, str) else cell[MOMENTS.index(moment)]


class Timer:
    """The limits of the real code, on the injected clock: who takes too long is stopped when the time is up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: list[float] = []

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Stands for `budget.limit`."""
        self._ends.append(min([self._clock.now + seconds, *self._ends]))
        try:
            yield
        finally:
            self._ends.pop()

    def spend(self, seconds: float) -> None:
        """Take that long."""
        end = min(self._ends, default=float("inf"))
        late = self._clock.now + seconds >= end
        self._clock.now = end if late else self._clock.now + seconds
        if late:
            raise Overrun


class Scene:
    """One backend with one fault, and what it counts."""

    def __init__(self, house: House, vapis: Vapis, timer: Timer, patch: pytest.MonkeyPatch, way: str) -> None:
        settings = house.settings._replace(way=way, sip_uri=SIP_URI, human_number=HUMAN, ladder=STEPS)
        self.house = house
        self.vapis = vapis
        self.timer = timer
        self.patch = patch
        self.exchange = house.exchange._replace(settings=settings)
        self.counted: Counter[tuple[Count, str]] = Counter()

    def set(self, **changes: Any) -> None:
        """Change settings."""
        self.exchange = self.exchange._replace(settings=self.exchange.settings._replace(**changes))

    def agent(self, assistant: Callable[[Caller], Any]) -> None:
        """Choose the assistant otherwise."""
        agent = self.exchange.agent
        self.exchange = self.exchange._replace(agent=Agent(agent.tools, assistant, agent.destination))

    def count(self, what: Count, reason: str = "") -> None:
        """Stands for `telemetry.count`."""
        self.counted[what, reason] += 1


class Broken:
    """A client of AWS of which some operations fail, and the others go through to the real one."""

    def __init__(self, client: Any, fail: Callable[[], Any], *operations: str) -> None:
        self._client = client
        self._fail = fail
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        fails = not self._operations or name in self._operations
        return (lambda **_: self._fail()) if fails else getattr(self._client, name)


def refused() -> Any:
    """What botocore raises when nobody listens."""
    raise EndpointConnectionError(endpoint_url="https://aws.example")


def vapi(answer: httpx.Response | Exception) -> Callable[[Scene], None]:
    """Vapi answers so."""

    def inject(scene: Scene) -> None:
        scene.vapis.answer = answer

    return inject


def vapi_after(seconds: float, failure: Exception | None) -> Callable[[Scene], None]:
    """Vapi takes that long, and then it fails, or answers."""

    def inject(scene: Scene) -> None:
        def wait(request: httpx.Request) -> httpx.Response:
            scene.vapis(request)
            scene.timer.spend(seconds)
            if failure:
                raise failure
            return created()

        client = Vapi(scene.exchange.settings.vapi_url, mocked(wait))
        scene.exchange = scene.exchange._replace(vapi=client)

    return inject


def table(fail: Callable[[Scene], None], *operations: str) -> Callable[[Scene], None]:
    """The table fails, as a whole or in some operations."""

    def inject(scene: Scene) -> None:
        client = Broken(scene.house.aws.dynamodb, lambda: fail(scene), *operations)
        scene.exchange = scene.exchange._replace(store=Store(scene.exchange.settings.table, client))

    return inject


def down(_scene: Scene) -> None:
    """At once."""
    refused()


def hang(scene: Scene) -> None:
    """As slow as the client's two tries of one and two seconds."""
    scene.timer.spend(6)
    raise ReadTimeoutError(endpoint_url="https://aws.example")


def table_hangs_after_vapi(scene: Scene) -> None:
    """The call is made, and cannot be recorded."""
    scene.patch.setattr(legs, "connect", lambda *_: scene.timer.spend(60))


def secrets(fail: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Five minutes after the secrets were read, SSM fails; what was read then serves on."""

    def inject(scene: Scene) -> None:
        names = (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION)
        broken = Secrets(
            scene.exchange.settings.parameter_path,
            names,
            Broken(None, lambda: fail(scene)),
            scene.house.clock,
        )
        scene.patch.setattr(broken, "_values", dict(scene.exchange.secrets._values))
        scene.patch.setattr(broken, "_read_at", NOW)
        scene.house.clock.advance(301)
        scene.exchange = scene.exchange._replace(secrets=broken)

    return inject


def ssm_slow(scene: Scene) -> None:
    """One try that runs into its timeout."""
    scene.timer.spend(3)
    raise ReadTimeoutError(endpoint_url="https://aws.example")


def no_key(scene: Scene) -> None:
    """The owner has stored no key of Vapi's."""
    values = {name: text for name, text in scene.exchange.secrets._values.items() if name != "vapi-api-key"}
    scene.patch.setattr(scene.exchange.secrets, "_values", values)


def queue_down(scene: Scene) -> None:
    """The look-up was too slow, and cannot be put on the queue."""
    agent_hangs(scene)
    scene.exchange = scene.exchange._replace(
        live_queue=Queue(scene.exchange.settings.live_queue, Broken(None, refused))
    )


def agent_raises(scene: Scene) -> None:
    """The agent's own code breaks, and a stored assistant takes over."""
    customers: dict[str, Assistant] = {}
    scene.agent(lambda caller: customers[caller.number])


def agent_raises_alone(scene: Scene) -> None:
    """As before, and there is no stored assistant."""
    agent_raises(scene)
    scene.set(fallback_assistant_id="", assistant_id="")


def agent_hangs(scene: Scene) -> None:
    """The agent waits for something that does not come."""
    scene.agent(lambda _: scene.timer.spend(60))


def agent_says(decision: Any) -> Callable[[Scene], None]:
    """The agent returns this."""
    return lambda scene: scene.agent(lambda _: decision)


def setting(**changes: Any) -> Callable[[Scene], None]:
    """The stack is configured so."""
    return lambda scene: scene.set(**changes)


def cap_reached(scene: Scene) -> None:
    """Every slot is somebody else's, also the one that this caller had."""
    store, clock = scene.house.store, scene.house.clock
    admission.leave(store, holder=CALL_SID)
    scene.set(max_calls=2)
    for holder in ("CA" + "d1" * 16, "CA" + "d2" * 16):
        assert admission.enter(store, scene.exchange.settings, holder, clock())


def called(settings_name: str) -> Callable[[Scene], None]:
    """This number has made its one call already."""

    def inject(scene: Scene) -> None:
        scene.set(**{settings_name: 1})
        secret = scene.exchange.secrets.first(TWILIO_AUTH_TOKEN)
        number = "+15550100001"
        store, clock = scene.house.store, scene.house.clock
        assert admission.count_call(store, scene.exchange.settings, number, secret, clock()) == ""

    return inject


ROWS: dict[str, Row] = {
    "vapi_400": Row(vapi(httpx.Response(400, json={"message": "phoneNumberId must be a UUID"})), NOT_DONE),
    "vapi_401": Row(vapi(httpx.Response(401, json={"message": "Invalid Key"})), NOT_DONE),
    "vapi_408": Row(vapi(httpx.Response(408, json={})), AMBIGUOUS),
    "vapi_500": Row(vapi(httpx.Response(500, text=development.VAPI_API_KEY)), AMBIGUOUS),
    "vapi_not_reached": Row(vapi_after(1, httpx.ConnectTimeout("slow")), NOT_DONE),
    "vapi_too_slow": Row(vapi_after(5, httpx.ReadTimeout("slow")), AMBIGUOUS),
    "vapi_hangs": Row(vapi_after(60, None), "human too_slow held"),
    "vapi_answer_lost": Row(vapi(httpx.RemoteProtocolError("gone")), AMBIGUOUS),
    "vapi_answer_not_json": Row(vapi(httpx.Response(201, content=b"<html>")), AMBIGUOUS),
    "vapi_answer_not_an_object": Row(vapi(httpx.Response(201, json=[])), AMBIGUOUS),
    "vapi_answer_of_other_types": Row(
        vapi(created(monitor=[], subscriptionLimits="x", phoneCallProviderDetails=[1])), AMBIGUOUS
    ),
    "vapi_without_id": Row(vapi(created(id=None)), AMBIGUOUS),
    "vapi_without_twiml": Row(vapi(created(phoneCallProviderDetails=None)), AMBIGUOUS),
    "vapi_twiml_malformed": Row(vapi(created(phoneCallProviderDetails={"twiml": "<Response><Say>"})), AMBIGUOUS),
    "vapi_full_400": Row(vapi(httpx.Response(400, json={"message": "Over Concurrency Limit"})), FULL),
    "vapi_full_429": Row(vapi(httpx.Response(429, json={})), FULL),
    "vapi_full_201": Row(vapi(created(subscriptionLimits={"concurrencyBlocked": True})), FULL),
    "cap_reached": Row(
        cap_reached,
        ("queue cap free", "human cap free", "queue cap free"),
        ("queue cap free", "human cap free", "queue cap free"),
        "human cap free",
    ),
    "day_cap": Row(
        called("daily_calls"),
        ("human day free", REACHED, REACHED),
        ("human day free", REACHED, REACHED),
        ("human day free", CONFIGURATION, CONFIGURATION),
    ),
    "caller_cap": Row(
        called("caller_hourly_calls"),
        ("apology caller free", REACHED, REACHED),
        ("apology caller free", REACHED, REACHED),
        ("apology caller free", CONFIGURATION, CONFIGURATION),
    ),
    "table_down": Row(table(down), UNAVAILABLE, UNAVAILABLE, UNAVAILABLE),
    "table_hangs": Row(table(hang), TOO_SLOW, TOO_SLOW, TOO_SLOW),
    "table_not_readable": Row(table(down, "get_item"), UNAVAILABLE, UNAVAILABLE, UNAVAILABLE),
    "table_not_queryable": Row(table(down, "query"), UNAVAILABLE, UNAVAILABLE, UNAVAILABLE),
    "table_not_writable": Row(table(down, "update_item", "put_item"), UNAVAILABLE, UNAVAILABLE, UNAVAILABLE),
    "table_hangs_after_vapi": Row(table_hangs_after_vapi),
    "secrets_down": Row(secrets(down)),
    "secrets_slow": Row(secrets(ssm_slow)),
    "queue_down": Row(queue_down),
    "agent_raises": Row(agent_raises),
    "agent_raises_without_fallback": Row(agent_raises_alone, SORRY, SORRY, SORRY),
    "agent_hangs": Row(agent_hangs),
    "agent_returns_a_number": Row(agent_says(42)),
    "agent_returns_no_assistant": Row(agent_says(Assistant())),
    "agent_returns_broken_overrides": Row(
        agent_says(Assistant(id="a", overrides=[1])),  # type: ignore[arg-type]  # on purpose
    ),
    "agent_returns_no_number": Row(agent_says(Transfer(None)), ERROR, ERROR, ERROR),  # type: ignore[arg-type]  # as above
    "no_phone_number_id": Row(setting(phone_number_id=""), CONFIGURATION),
    "no_key": Row(no_key, CONFIGURATION),
    "no_sip_uri": Row(setting(sip_uri=""), sip=CONFIGURATION),
}


@pytest.fixture
def vapis() -> Vapis:
    """A Vapi that makes the call."""
    made = Vapis()
    made.answer = created()
    return made


@pytest.fixture
def timer(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Timer:
    """All limits of the answer."""
    made = Timer(clock)
    monkeypatch.setattr(phone, "limit", made.limit)
    monkeypatch.setattr(lookups, "limit", made.limit)
    return made


def ask(scene: Scene, moment: str) -> str:
    """Twilio's request at that moment; returns the document."""
    match moment:
        case "rings":
            request = event()
        case "dequeued":
            request = event(routes.DEQUEUED, query="n=1", CallStatus="in-progress", QueueResult="leave")
        case _:
            request = event(routes.BACK, query="n=1", CallStatus="in-progress")
    answer = phone.answer_call(scene.exchange, request)
    assert answer["statusCode"] == 200
    assert answer["headers"] == {"content-type": "text/xml; charset=utf-8"}
    document: str = answer["body"]
    assert faults(document, first=moment == "rings") == []
    return document


def prepare(house: House, moment: str) -> None:
    """What has been before: a call that was answered, holds a slot, and comes out of the queue or of a transfer."""
    if moment == "rings":
        return
    facts = {"account": development.TWILIO_ACCOUNT_SID, "dialled": "+15550100199"}
    assert legs.open_leg(house.store, CALL_SID, facts, 600, NOW) is None
    assert admission.enter(house.store, house.settings, CALL_SID, NOW)
    if moment == "back":
        transfer = {"pk": f"XFER#{CALL_SID}", "sk": "META", "v": 1, "n": 1, "to": "desk", "call_id": "c-1"}
        transfer |= {"account": facts["account"], "asked_by": "tool-1", "summary": "A cut.", "exp": int(NOW) + 3600}
        house.store.put(Put(transfer | {"state": "no_answer", "outcome": "no_answer", "holding_at": int(NOW * 1000)}))


def met(document: str) -> str:
    """Where a document leads the caller."""
    root = ElementTree.fromstring(document)  # noqa: S314 - the linter has read it
    verbs = [verb.tag for verb in root]
    uri, redirected = root.findtext("Dial/Sip"), root.findtext("Redirect")
    if document == TWIML or (uri or "").startswith(SIP_URI) or (redirected or "").startswith("https://api.vapi.ai/"):
        return "assistant"
    if verbs == ["Say", "Enqueue"]:
        return "queue"
    if verbs == ["Say", "Dial"] and root.findtext("Dial") == HUMAN:
        return "human"
    if verbs == ["Say", "Record", "Say", "Hangup"]:
        return "voicemail"
    return "apology" if verbs == ["Say", "Hangup"] else f"something else: {document}"


def outcome(scene: Scene, document: str) -> str:
    """A cell, as it came out."""
    causes = [reason for what, reason in scene.counted if what is Count.INBOUND_LADDER]
    slots = scene.house.items(admission.SLOTS).values()
    held = any(slot.get("holder") == CALL_SID for slot in slots)
    return " ".join([met(document), "+".join(causes) or "-", "held" if held else "free"])


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ROWS)
def test_whatever_is_broken_the_caller_is_answered_in_time(
    house: House, vapis: Vapis, timer: Timer, monkeypatch: pytest.MonkeyPatch, fault: str, way: str, moment: str
) -> None:
    prepare(house, moment)
    scene = Scene(house, vapis, timer, monkeypatch, way)
    ROWS[fault].inject(scene)
    monkeypatch.setattr(phone, "count", scene.count)
    began = house.clock()

    document = ask(scene, moment)

    assert outcome(scene, document) == ROWS[fault].expected(way, moment)
    assert house.clock() - began <= scene.exchange.settings.voice_budget
    assert [secret for secret in development.SECRETS.values() if secret in document] == []
    # Asked again, nobody is called a second time, and the caller is answered as before.
    asked = len(vapis.requests)
    assert asked <= (way == "bypass")
    again = met(ask(scene, moment))
    assert len(vapis.requests) == asked
    assert again == ("human" if fault == "table_hangs_after_vapi" else met(document))


def test_the_matrix_is_as_large_as_it_is_said_to_be() -> None:
    assert len(ROWS) * len(WAYS) * len(MOMENTS) >= 300
    assert {row.expected(way, moment).split()[1] for row in ROWS.values() for way in WAYS for moment in MOMENTS} >= {
        cause.value for cause in Cause if cause not in (Cause.NO_ANSWER, Cause.REPEATED)
    }
