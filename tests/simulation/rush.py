"""A rush: far more callers at once than may talk, with Twilio's side played and our side real.

Twilio's queue is a list here: callers stand in it in order, ask every few seconds what to do, and hang up when they have
enough. What they ask is answered by the real functions, one step of theirs at a time, in virtual time; requests come
twice, functions die after any of their writes, and the end of a call is told once, twice, late or never.
"""

import heapq
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from devkit import development, twiml_lint
from switchboard import admission, callbacks, legs, phone, routes, signatures, webhook
from switchboard.admission import PREFIX, SLOTS, WAIT
from switchboard.callbacks import Attendant
from switchboard.desk import Agent, Desk
from switchboard.errors import Ambiguous, NotDone
from switchboard.messages import Assistant
from switchboard.phone import Exchange
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.store import Update
from switchboard.tools import Toolbox
from switchboard.twilio_rest import Twilio
from switchboard.vapi import Vapi
from tests.conftest import ENVIRONMENT, NOW
from tests.memory import Memory
from tests.simulation import process
from tests.simulation.process import DOWN, LOST, TWICE, Line, Process, Table
from tests.simulation.rules import Violation
from tests.twin import BASE_URL, Parameters

POLL = 8.0  # seconds of music before a waiting caller asks again
RETRIES = 2  # of Twilio's after a 5xx, as our URLs ask for
LATENCY = {"table": (0.002, 0.02), "queue": (0.005, 0.05), "post": (0.2, 1.0)}
SERVED, TOLD, HUNG_UP = "served", "told", "hung up"


@dataclass
class Fate:
    """What becomes of one invocation, by the number of its step; -1 for never."""

    killed_at: int = -1
    fault_at: int = -1
    unheard: bool = False
    """Its answer is lost on the way."""


@dataclass
class Caller:
    """Somebody who calls. Times are seconds; `patience` is for the queue, `talks` for the assistant."""

    name: str
    number: str
    patience: float
    talks: float
    place: str = "calls"  # "calls", "waits", "talks", "gone"
    outcome: str = ""
    arrived: float = 0.0
    joined: float = 0.0
    longest: float = 0.0
    asked: int = 0
    """How often their leg has gone on: an answer to an earlier question is no longer heard."""
    troubled: bool = False
    """Whether a request of theirs failed: then they may lose time to the others."""
    action: str = ""
    told: set[str] = field(default_factory=set)
    """What the end of this call was told to: a status, a report."""

    @property
    def sid(self) -> str:
        """The phone leg."""
        return "CA" + self.name.rjust(32, "0")


class Figures(NamedTuple):
    """What became of a rush."""

    callers: int
    served: int
    told: int
    hung_up: int
    longest_wait: float
    most_at_once: int
    posts: int
    requests: int
    killed: int
    untold: int
    """Talks whose end was told to nobody: their slots were free again when their leases were over."""

    def __str__(self) -> str:
        return (
            f"{self.callers} callers: {self.served} served, {self.told} told, {self.hung_up} hung up while they waited;"
            f" at most {self.most_at_once} at once, longest wait {self.longest_wait:.0f} s; {self.requests} requests,"
            f" {self.killed} of them killed or unheard, {self.posts} calls made at Vapi, {self.untold} ends told to nobody"
        )


class Slots(Memory):
    """The table, with an eye on every slot. `weaken` takes a guard away: then somebody must notice."""

    def __init__(self, cap: int, clock: Callable[[], float], weaken: Callable[[Update], Update]) -> None:
        super().__init__()
        self._cap = cap
        self._clock = clock
        self._weaken = weaken

    def update(self, update: Update) -> dict[str, Any]:
        """Change an item, under the eyes of the rules."""
        key, now = update.key, self._clock()
        before = self._holder(dict(self.table.get(key, {})), now)
        made = super().update(self._weaken(update))
        if key.pk == SLOTS and key != WAIT:
            after = self._holder(made if not update.before else self.table[key], now)
            if before and after and before != after:
                raise Violation(f"{key.sk} was taken from {before} and given to {after}")
            held = sum(bool(self._holder(item, now)) for at, item in self.table.items() if at.pk == SLOTS)
            if held > self._cap:
                raise Violation(f"{held} slots are taken of {self._cap}")
        return made

    @staticmethod
    def _holder(item: Mapping[str, Any], now: float) -> str:
        return str(item.get("holder", "")) if item.get("exp", 0) > now else ""


class Phones(Vapi):
    """Vapi's end of `POST /call`."""

    def __init__(self, rush: "Rush") -> None:
        self._rush = rush

    def create_call(self, key: str, call: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """Make a call, or not."""
        sid = call["assistantOverrides"]["metadata"]["callSid"]
        made: dict[str, Any] = process.current().ask("post", lambda: self._rush.made(sid))
        return made


class Nothing(Twilio):
    """Twilio's REST API, of which a rush needs nothing."""

    def __init__(self) -> None:
        """Nothing is opened."""


class Rush:
    """One seed. Callers talk for `talks` seconds, or minutes if they are one of the `long_ones`. `trouble` is how likely each request is to fail; `killed`: the path, which of its requests, and the step to die at."""

    now: float

    def __init__(
        self,
        seed: int,
        *,
        callers: int,
        cap: int,
        burst: float = 120.0,
        trouble: float = 0.04,
        talks: tuple[float, float] = (10, 80),
        long_ones: float = 0.1,
        killed: tuple[str, int, int] | None = None,
        weaken: Callable[[Update], Update] = lambda update: update,
        **settings: Any,
    ) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.cap = cap
        self.now = self.began = NOW
        self.settings = Settings.from_env(ENVIRONMENT)._replace(
            **{"max_calls": cap, "max_call_minutes": 5, "queue_minutes": 20, "caller_hourly_calls": 0, "daily_calls": 0}
            | {"ladder": ("queue", "apology")}
            | settings
        )
        self.memory = Slots(cap, lambda: self.now, weaken)
        self.callers = {
            caller.sid: caller for caller in (self._caller(number, talks, long_ones) for number in range(callers))
        }
        self.line: list[Caller] = []
        self.trace: list[tuple[float, str, str]] = []
        self.most = self.posts = self.requests = self.died = 0
        self.left: list[tuple[float, list[Caller]]] = []
        """Who was let in, and who stood before them."""
        self.overtaken = 0.0
        self._trouble = trouble
        self._killed = killed
        self._seen: Counter[str] = Counter()
        self.took: dict[str, int] = {}
        """For each path, which of its requests was the first one that took or freed a slot."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._build()
        for caller in self.callers.values():
            # A third of them in the same second.
            self.at(self.random.uniform(0, 1 if self.chance(0.3) else burst), partial(self._arrive, caller))

    def _caller(self, number: int, talks: tuple[float, float], long_ones: float) -> Caller:
        patience = self.random.uniform(5, 90) if self.chance(0.15) else 1e9
        seconds = self.random.uniform(*((200, 290) if self.chance(long_ones) else talks))
        return Caller(f"{number:x}", f"+1555{number:07}", patience, seconds)

    def _build(self) -> None:
        names = (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION)
        secrets = Secrets(self.settings.parameter_path, names, Parameters(self.settings), lambda: self.now)
        secrets.warm()
        table, live, after = Table(self.memory), Line("live"), Line("after_call")
        agent = Agent(Toolbox(), lambda _: Assistant(id=development.ASSISTANT_ID), lambda _: None)
        self._exchange = Exchange(self.settings, secrets, table, live, Phones(self), agent, process.clock)
        self._attendant = Attendant(self.settings, secrets, table, live, Nothing(), clock=process.clock)
        self._desk = Desk(self.settings, secrets, table, live, after, agent, process.clock)

    def run(self) -> Figures:
        """Until everybody is gone and everything is told; `Violation`, with the whole story, if a rule is broken."""
        try:
            while self._agenda:
                self.now, _, happens = heapq.heappop(self._agenda)
                happens()
            self._demand_order()
        except Violation as violation:
            raise Violation(f"seed {self.seed}: {violation}\n{self.story()}") from violation
        outcomes = Counter(caller.outcome for caller in self.callers.values())
        longest = max(caller.longest for caller in self.callers.values())
        untold = sum(caller.outcome == SERVED and not caller.told for caller in self.callers.values())
        return Figures(
            *(len(self.callers), outcomes[SERVED], outcomes[TOLD], outcomes[HUNG_UP], longest),
            *(self.most, self.posts, self.requests, self.died, untold),
        )

    def story(self) -> str:
        """What happened, one line each."""
        return "\n".join(f"{at - self.began:9.3f}  {who:6} {what}" for at, who, what in self.trace)

    def at(self, delay: float, happens: Callable[[], None]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._agenda, (self.now + delay, self._count, happens))

    def chance(self, probability: float) -> bool:
        """Whether something unlikely happens."""
        return self.random.random() < probability

    def _note(self, caller: Caller, what: str) -> None:
        self.trace.append((self.now, caller.name, what))

    def _arrive(self, caller: Caller) -> None:
        caller.arrived = self.now
        self._go(caller, BASE_URL + routes.INBOUND)

    def _go(self, caller: Caller, url: str, **fields: str) -> None:
        """The leg asks what to do next, and does it: unless it has gone on or hung up meanwhile."""
        caller.asked += 1
        turn = caller.asked

        def heard(document: str) -> None:
            if caller.asked == turn and caller.place != "gone":
                self._do(caller, document)

        def failed() -> None:
            # The number's fallback URL answers with words.
            if caller.asked == turn and caller.place != "gone":
                self._note(caller, "hears the fallback")
                self._over(caller, TOLD)

        self._ask(caller, url, fields, heard, failed)
        if self.chance(self._trouble):
            self.at(self.random.uniform(0, 5), partial(self._ask, caller, url, fields, lambda _: None, lambda: None))

    def _ask(
        self,
        caller: Caller,
        url: str,
        fields: Mapping[str, str],
        heard: Callable[[str], None],
        failed: Callable[[], None],
        tries: int = RETRIES,
    ) -> None:
        """One signed request, and Twilio's retries of it."""
        parts = urlsplit(url)
        handle = (
            partial(phone.answer_call, self._exchange)
            if parts.path in (routes.INBOUND, routes.DEQUEUED)
            else partial(callbacks.respond, self._attendant)
        )

        def died() -> None:
            caller.troubled = True
            if tries:
                self.at(0.5, partial(self._ask, caller, url, fields, heard, failed, tries - 1))
            else:
                failed()

        def done(answer: Mapping[str, Any]) -> None:
            if answer["statusCode"] not in (200, 204):
                died()
            else:
                heard(answer.get("body", ""))

        pairs = [("CallSid", caller.sid), ("From", caller.number), ("To", "+15550100100"), *fields.items()]
        pairs.append(("AccountSid", development.TWILIO_ACCOUNT_SID))
        asked = f"{parts.path}?{parts.query}" if parts.query else parts.path
        event = {
            "rawPath": parts.path,
            "rawQueryString": parts.query,
            "headers": {"x-twilio-signature": self._signature(BASE_URL + asked, pairs)},
            "body": urlencode(pairs),
        }
        self._start(caller, parts.path, partial(handle, event), done, died)

    @staticmethod
    def _signature(url: str, pairs: list[tuple[str, str]]) -> str:
        return signatures.sign_twilio(url, pairs, development.TWILIO_AUTH_TOKEN)

    def _do(self, caller: Caller, document: str) -> None:
        """What a document says, as far as our documents go."""
        kind: twiml_lint.Kind = "wait" if caller.place == "waits" else "call"
        if faults := _faults(re.sub("[0-9]+", "1", document), kind):
            raise Violation(f"{faults} in {document}")
        said = False
        for verb in ElementTree.fromstring(document):  # noqa: S314 - it was linted, and is ours
            said |= verb.tag == "Say"
            match verb.tag:
                case "Enqueue":
                    return self._join(caller, verb.attrib)
                case "Leave":
                    return self._leave(caller, "leave")
                case "Redirect":
                    delay = POLL if caller.place == "waits" else 0.0
                    return self.at(delay, partial(self._again, caller, caller.asked, str(verb.text)))
                case "Connect":
                    return self._talk(caller)
                case "Hangup":
                    if not said:
                        raise Violation(f"{caller.name} was hung up on without a word")
                    return self._over(caller, TOLD)
        raise Violation(f"the end of a document: {document}")

    def _again(self, caller: Caller, asked: int, url: str) -> None:
        if caller.asked == asked and caller.place != "gone":
            self._go(caller, url, **self._queue(caller))

    def _queue(self, caller: Caller) -> dict[str, str]:
        if caller not in self.line:
            return {}
        position = self.line.index(caller) + 1
        fields = {"QueuePosition": position, "QueueTime": int(self.now - caller.joined)}
        return {name: str(value) for name, value in (fields | {"CurrentQueueSize": len(self.line)}).items()}

    def _join(self, caller: Caller, attributes: Mapping[str, str]) -> None:
        self._note(caller, "waits")
        caller.place, caller.joined, caller.action = "waits", self.now, attributes["action"]
        self.line.append(caller)
        self.at(max(0.0, caller.arrived + caller.patience - self.now), partial(self._give_up, caller))
        self._go(caller, attributes["waitUrl"], **self._queue(caller))

    def _leave(self, caller: Caller, result: str) -> None:
        place = self.line.index(caller)
        due = self.now - caller.joined >= self.settings.queue_minutes * 60
        if result == "leave" and not due and caller.sid in self._holders():
            self.left.append((self.now, [one for one in self.line[:place] if not one.troubled]))
            self._overtook(caller)
        self._note(caller, f"leaves the line as number {place + 1}")
        self.line.remove(caller)
        caller.longest = max(caller.longest, self.now - caller.joined)
        caller.place = "calls"
        self._go(caller, caller.action, QueueResult=result)

    def _overtook(self, caller: Caller) -> None:
        """Somebody is let in: how long ago were those let in who stood behind them?"""
        earlier = [at for at, before in self.left if caller in before]
        if earlier and not caller.troubled:
            self.overtaken = max(self.overtaken, self.now - min(earlier))

    def _give_up(self, caller: Caller) -> None:
        if caller.place == "waits":
            self._note(caller, "has enough")
            self.line.remove(caller)
            caller.longest = max(caller.longest, self.now - caller.joined)
            self._ask(caller, caller.action, {"QueueResult": "hangup"}, lambda _: None, lambda: None)
            self._over(caller, HUNG_UP)

    def _talk(self, caller: Caller) -> None:
        self._note(caller, "talks")
        caller.place = "talks"
        talking = [one for one in self.callers.values() if one.place == "talks"]
        self.most = max(self.most, len(talking))
        if len(talking) > self.cap:
            raise Violation(f"{len(talking)} callers talk at once")
        if caller.sid not in self._holders():
            raise Violation(f"{caller.name} talks without a slot")
        first = self.line[0].joined if self.line and not any(one.troubled for one in self.line) else self.now
        if not caller.joined and first < caller.arrived - 2 * POLL:
            raise Violation(f"{caller.name} has just come, and others wait")
        self.at(caller.talks, partial(self._over, caller, SERVED))

    def _over(self, caller: Caller, outcome: str) -> None:
        """The leg ends; its end is told by Twilio and, where there was a call, by Vapi: in any order, twice, or never."""
        talked = caller.place == "talks"
        if caller in self.line:
            self.line.remove(caller)
        caller.place, caller.outcome = "gone", outcome
        self._note(caller, outcome)
        for _ in range(self.random.choice((0, 1, 1, 1, 1, 1, 1, 2))):
            self.at(self.random.uniform(0, 15), partial(self._status, caller))
        for _ in range(self.random.choice((0, 1, 1, 1, 1, 2)) if talked else 0):
            self.at(self.random.uniform(0, 30), partial(self._report, caller))

    def _status(self, caller: Caller) -> None:
        fields = {"CallStatus": "completed", "SequenceNumber": "3", "CallDuration": "60"}

        def heard(_: str) -> None:
            caller.told.add("status")
            if caller.sid in self._holders():
                raise Violation(f"the end of {caller.name} was told, and the slot is not free")

        self._ask(caller, BASE_URL + routes.STATUS, fields, heard, lambda: None)

    def _report(self, caller: Caller) -> None:
        call_id = str((self.memory.table.get(legs.key(caller.sid)) or {}).get("call_id", ""))
        if not call_id:
            return
        call = {"id": call_id, "orgId": "org-1", "type": "inboundPhoneCall", "phoneCallProviderId": caller.sid}
        message = {"type": "end-of-call-report", "timestamp": int(self.now * 1000), "call": call}
        body = json.dumps({"message": message | {"endedReason": "customer-ended-call"}})
        headers = signatures.sign(
            self.settings.scheme, body.encode(), development.VAPI_WEBHOOK_SECRET, timestamp=int(self.now * 1000)
        )
        event = {"rawPath": "/webhook/vapi", "headers": headers, "body": body}

        def done(answer: Mapping[str, Any]) -> None:
            if answer["statusCode"] == 200:
                caller.told.add("report")

        self._start(caller, "/webhook/vapi", partial(webhook.respond, self._desk, event), done, lambda: None)

    def made(self, sid: str) -> dict[str, Any]:
        """Vapi makes a call for a leg, or says that it does not, or says nothing."""
        luck = self.random.random()
        if luck < self._trouble / 3:
            raise NotDone("concurrency", 429)
        if luck < self._trouble / 2:
            raise NotDone("http_500", 500)
        self.posts += 1
        if luck < self._trouble:
            raise Ambiguous("ReadTimeout")
        document = '<Response><Connect><Stream url="wss://voice.example.com/a"/></Connect></Response>'
        return {"id": f"call-{sid[-4:]}-{self.posts}", "phoneCallProviderDetails": {"twiml": document}}

    def _start(
        self,
        caller: Caller,
        path: str,
        body: Callable[[], Any],
        done: Callable[[Any], None],
        died: Callable[[], None],
    ) -> None:
        self._count += 1
        self.requests += 1
        fate = Fate()
        self._seen[path] += 1
        if self._killed and self._killed[:2] == (path, self._seen[path]):
            fate.killed_at = self._killed[2]
        elif self.chance(self._trouble):
            fate.killed_at = self.random.randint(0, 9)
        elif self.chance(self._trouble):
            fate.fault_at = self.random.randint(0, 9)
        elif self.chance(self._trouble):
            fate.unheard = True
        made = Process(f"{caller.name}-{self._count}", body, self, str(self._seen[path]))  # type: ignore[arg-type]  # no tool is called
        self._advance(made, caller, path, fate, done, died, 0)

    def _advance(
        self,
        made: Process,
        caller: Caller,
        path: str,
        fate: Fate,
        done: Callable[[Any], None],
        died: Callable[[], None],
        step: int,
    ) -> None:
        """One step of an invocation, unless this is its last hour."""
        if step and step - 1 == fate.killed_at:
            return self._die(caller, f"{path} is killed before: {made.wants}", died)
        fault = ""
        if step and step - 1 == fate.fault_at and made.wants.startswith("table"):
            fault = self.random.choice((DOWN, LOST, TWICE))
            caller.troubled = True
        if step:
            self._note(caller, f"{path}: {made.wants} {fault}")
            if made.wants.startswith(f"table update {PREFIX}0"):
                self.took.setdefault(path, int(made.subject))
        if made.advance(fault, granted=bool(step)):
            if fate.unheard or step == fate.killed_at:
                return self._die(caller, f"{path} is not heard", died)
            return done(made.result)
        low, high = LATENCY[made.wants.split(" ")[0]]
        slow = self.random.uniform(0.2, 1.5) if self.chance(0.05) else 0.0
        happens = partial(self._advance, made, caller, path, fate, done, died, step + 1)
        return self.at(slow + self.random.uniform(low, high), happens)

    def _die(self, caller: Caller, what: str, died: Callable[[], None]) -> None:
        caller.troubled = True
        self.died += 1
        self._note(caller, what)
        died()

    def send(self, lane: str, ticket: Any, delay: int) -> None:
        """Tickets that end the other side are of no interest here: both sides know by themselves."""

    def _holders(self) -> list[str]:
        items = self.memory.query(SLOTS, f"{PREFIX}0")
        return [str(item["holder"]) for item in items if item.get("holder") and item["exp"] > self.now]

    def _demand_order(self) -> None:
        """What must be true when all is over."""
        for caller in self.callers.values():
            if not caller.outcome:
                raise Violation(f"{caller.name} was neither served nor told: {caller.place}")
        held = self._holders()
        if len(set(held)) != len(held):
            raise Violation(f"somebody has two slots: {held}")
        later = self.now + self.settings.max_call_minutes * 60 + admission.GRACE_SECONDS
        if admission.active(self.memory, later):
            raise Violation("a slot outlives its lease")


@cache
def _faults(document: str, kind: twiml_lint.Kind) -> list[str]:
    """What is wrong with a document; of those that differ in their numbers only, one is looked at."""
    return twiml_lint.faults(document, first=False, kind=kind)
