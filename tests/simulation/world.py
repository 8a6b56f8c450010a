"""A small world around the real code: a clock, two queues, Lambda, Vapi, and everything that goes wrong with them.

One seed is one world, and the same seed always plays the same: what is killed, paused, repeated, reordered or lost, and
when. Simulated minutes pass in milliseconds.
"""

import heapq
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from devkit import development
from switchboard import signatures, sweeper, webhook, worker
from switchboard.budget import Overrun
from switchboard.delivery import Speaker
from switchboard.desk import Agent, Desk
from switchboard.errors import Ambiguous, NotDone, Unavailable
from switchboard.lanes import ACCEPTED, AFTER_CALL
from switchboard.messages import Assistant
from switchboard.queue import Ticket
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.sweeper import Broom
from switchboard.toolcalls import Row
from switchboard.tools import Call, DefiniteFailure, ToolError
from switchboard.worker import Bench
from tests.conftest import ENVIRONMENT, NOW
from tests.simulation import process
from tests.simulation.process import DOWN, LOST, TWICE, Line, Process, Table, Voice
from tests.simulation.rules import Rules, Violation, Watched, Write, is_open, rows
from tests.simulation.toolbox import toolbox
from tests.twin import Parameters

CALL = "c0ffee00-0000-4000-8000-00000000d157"
CONTROL = f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control"
WEBHOOK_SECONDS = 15.0
SWEEPER_SECONDS = 50.0
WORKER_SECONDS = {"live": 35.0, "after_call": 60.0}
HIDDEN_SECONDS = {"live": 210.0, "after_call": 360.0}  # while a worker may be at it: six times its own limit
RETENTION_SECONDS = 3600.0  # of a message
RECEIVES = 5  # then a message goes to the dead letters
SLACK = 90.0  # seconds within which a tool call is over, after its deadline or after the last trouble
PAUSES = (3.0, 5.0, 9.0, 13.0, 20.0, 40.0)  # seconds; leases are 4, 8 and 14

LATENCY = {"table": (0.002, 0.02), "queue": (0.005, 0.05), "post": (0.02, 0.4), "tool": (0.001, 0.1)}


@dataclass
class Message:
    """A message on a queue."""

    ticket: Ticket
    lane: str
    sent_at: float
    visible_at: float
    received: int = 0
    gone: bool = False


@dataclass
class Fate:
    """What becomes of one process, by the number of its step; -1 for never."""

    ends_at: float
    killed_at: int = -1
    paused_at: int = -1
    fault_at: int = -1


class World:
    """One seed. `weaken` takes a guard away from every write."""

    def __init__(self, seed: int, weaken: Callable[[Write], Write] = lambda write: write) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.started = self.now = NOW + self.random.random()
        self.rules = Rules()
        self.memory = Watched(lambda: self.rules, weaken)
        self.trace: list[tuple[float, str, str]] = []
        self.accepted: set[tuple[str, str, str]] = set()
        self.ended = False
        self.trouble_at = self.now
        self.crashes = self.random.randint(0, 3)
        self.duplicates = self.random.randint(0, 2)
        self._pauses = self.random.randint(0, 2)
        self._faults = self.random.randint(0, 2)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._messages: list[Message] = []
        self._acting: dict[str, tuple[float, BaseException | None]] = {}
        self._redriven = self.chance(0.8)
        self._sweep_seconds = self.random.choice((60, 60, 7))
        self.meddle: Callable[[], None] = lambda: None
        """What the caller does just when somebody is about to claim a delivery."""
        self._build()

    def _build(self) -> None:
        settings = Settings.from_env(ENVIRONMENT)
        names = (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION)
        secrets = Secrets(settings.parameter_path, names, Parameters(settings), lambda: self.now)
        table, live, after = Table(self.memory), Line("live"), Line("after_call")
        agent = Agent(toolbox(), lambda _: Assistant(id=development.ASSISTANT_ID), lambda _: None)
        speaker = Speaker(table, Voice(), lambda: "public-key", settings.local)
        self._settings = settings
        self._desk = Desk(settings, secrets, table, live, after, agent, process.clock)
        self._benches = {
            "live": Bench(agent, table, live, speaker, process.clock, process.sleep),
            "after_call": Bench(agent, table, after, speaker, process.clock, process.sleep),
        }
        self._broom = Broom(table, live, process.clock)

    def run(self) -> None:
        """Until nothing is left to do; `Violation`, with the whole story, if a rule is broken on the way."""
        self.at(self.random.uniform(1, 60), self._sweep)
        try:
            while self._agenda:
                self.now, _, happens = heapq.heappop(self._agenda)
                happens()
            self.rules.over(self.memory.table)
            self._demand_that_nothing_accepted_is_missing()
        except Violation as violation:
            raise Violation(f"seed {self.seed}: {violation}\n{self.story()}") from violation

    def story(self) -> str:
        """What happened, one line each."""
        return "\n".join(f"{at - self.started:9.3f}  {who:24} {what}" for at, who, what in self.trace)

    def at(self, delay: float, happens: Callable[[], None]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._agenda, (self.now + delay, self._count, happens))

    def chance(self, probability: float) -> bool:
        """Whether something unlikely happens."""
        return self.random.random() < probability

    def _start(
        self,
        name: str,
        body: Callable[[], Any],
        seconds: float,
        done: Callable[[Any], None],
        died: Callable[[], None] = lambda: None,
        subject: str = "",
    ) -> None:
        self._count += 1
        made = Process(f"{name} {self._count}", body, self, subject)
        fate = Fate(self.now + seconds)
        if self.crashes and self.chance(0.3):
            self.crashes -= 1
            fate.killed_at = self.random.randint(0, 11)
        if self._pauses and self.chance(0.2):
            self._pauses -= 1
            fate.paused_at = self.random.randint(0, 9)
        if self._faults and self.chance(0.15):
            self._faults -= 1
            fate.fault_at = self.random.randint(0, 9)
        self._advance(made, fate, done, died, 0)

    def _advance(
        self, made: Process, fate: Fate, done: Callable[[Any], None], died: Callable[[], None], step: int
    ) -> None:
        """One step of a process, unless this is its last hour."""
        if step and self.now > fate.ends_at:
            self._note(made, "is cut off")
            return self._die(died)
        if step and step - 1 == fate.killed_at:
            self._note(made, f"is killed before: {made.wants}")
            return self._die(died)
        fault = ""
        if step and step - 1 == fate.fault_at and made.wants.startswith(("table", "queue")):
            fault = self.random.choice((DOWN, LOST, TWICE))
            self._trouble()
        if step:
            self._note(made, f"{made.wants} {fault}")
        try:
            over = made.advance(fault, granted=bool(step))
        except Unavailable as error:
            self._note(made, f"gives up: {error}")
            return self._die(died)
        if over:
            return done(made.result)
        self.at(self._delay(made, fate, step), partial(self._advance, made, fate, done, died, step + 1))

    def _delay(self, made: Process, fate: Fate, step: int) -> float:
        """How long its next step takes to happen."""
        kind, *rest = made.wants.split(" ")
        if kind == "sleep":
            return float(rest[0])
        if made.wants.endswith("returns"):
            return self.random.uniform(0.01, 0.9 * made.seconds)
        pause = 0.0
        if step == fate.paused_at:
            pause = self.random.choice(PAUSES)
            self.trouble_at = max(self.trouble_at, self.now + pause)
            self._note(made, f"is paused for {pause} s before: {made.wants}")
        hesitation = self.random.uniform(0.1, 1.5) if self.chance(0.08) else 0.0
        if made.wants == "table transact" and self.chance(0.15):
            hesitation = 1.5
            self.meddle()
        return pause + hesitation + self.random.uniform(*LATENCY[kind])

    def _die(self, died: Callable[[], None]) -> None:
        self._trouble()
        died()

    def _trouble(self) -> None:
        self.trouble_at = max(self.trouble_at, self.now)

    def _note(self, made: Process, what: str) -> None:
        self.trace.append((self.now, f"{made.name} {made.subject.removeprefix('TOOL#')}", what))

    def send(self, lane: str, ticket: Ticket, delay: int) -> None:
        """A queue takes a message; now and then it is behind, or hands it out twice."""
        behind = self.random.choice((self.random.uniform(20, 75), 57.0)) if self.chance(0.04) else 0.0
        message = Message(ticket, lane, self.now, self.now + delay + behind)
        if behind:
            self.trouble_at = max(self.trouble_at, message.visible_at)
        self._messages.append(message)
        self.at(delay + behind + self.random.uniform(0, 0.2), partial(self._poll, message))
        if self.duplicates and self.chance(0.2):
            self.duplicates -= 1
            self.at(delay + self.random.uniform(0, 5), partial(self._receive, message))

    def hide(self, receipt: str, seconds: int) -> None:
        """A queue hides a message."""
        message = self._messages[int(receipt)]
        message.visible_at = self.now + seconds
        self.at(seconds, partial(self._poll, message))

    def _poll(self, message: Message) -> None:
        if not message.gone and self.now >= message.visible_at and self.now < message.sent_at + RETENTION_SECONDS:
            self._receive(message)

    def _receive(self, message: Message) -> None:
        message.received += 1
        if message.gone or message.received > RECEIVES:
            return
        self.hide(str(self._messages.index(message)), int(HIDDEN_SECONDS[message.lane]))
        seconds = WORKER_SECONDS[message.lane]
        started, receipt = self.now, str(self._messages.index(message))

        def remaining() -> float:
            return seconds - (process.clock() - started)

        def body() -> None:
            worker.work(self._benches[message.lane], message.ticket, receipt, remaining)

        def done(_: Any) -> None:
            message.gone = True

        self._start(f"worker {message.ticket.due}", body, seconds, done, subject=message.ticket.sk)

    def redrive(self) -> None:
        """Everything that was ever on a queue comes back."""
        for message in self._messages[:20]:
            self.send(message.lane, message.ticket, 0)

    def message(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A message as Vapi would send it now."""
        call = {"id": CALL, "orgId": "org-1", "type": "inboundPhoneCall", "monitor": {"controlUrl": CONTROL}}
        return {"type": kind, "timestamp": int(self.now * 1000), "call": call, **fields}

    def deliver(self, message: Mapping[str, Any], tries: int = 1) -> None:
        """A message comes in."""

        def again() -> None:
            if tries > 1:
                self.at(self.random.uniform(0.5, 2), partial(self.deliver, message, tries - 1))

        def done(answer: Mapping[str, Any]) -> None:
            if answer["statusCode"] != 200:
                again()
            elif message["type"] == "tool-calls":
                self._answered(message, json.loads(answer["body"]))

        body = partial(webhook.respond, self._desk, self._event(message))
        self._start(f"webhook {message['type']}", body, WEBHOOK_SECONDS, done, again)

    def _event(self, message: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps({"message": message})
        secret, at = development.VAPI_WEBHOOK_SECRET, int(self.now * 1000)
        headers = signatures.sign(self._settings.scheme, body.encode(), secret, timestamp=at)
        return {"rawPath": "/webhook/vapi", "headers": headers, "body": body, "isBase64Encoded": False}

    def _answered(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        for asked, answer in zip(message["toolCallList"], body["results"], strict=True):
            if answer.get("result") in (ACCEPTED, AFTER_CALL):
                self.accepted.add((asked["id"], asked["function"]["name"], asked["function"]["arguments"]["what"]))

    def act(self, call: Call, tool: str, what: str) -> None:
        """A tool acts, or fails to."""
        made = process.current()
        late = self.now - made.clock > made.seconds
        if late and self.chance(0.5):
            raise Overrun
        error: BaseException | None = None
        match self.random.randint(0, 19):
            case 0:
                raise DefiniteFailure("refused")
            case 1:
                raise DefiniteFailure("refused", retryable=False)
            case 2:
                raise ToolError("No.")
            case 3:
                raise RuntimeError
            case 4:
                error = RuntimeError()
            case 5:
                error = Overrun()
        row = self._row(call)
        # Two inline look-ups at once are recorded when they are done, and a conflict noticed only then; it changes nothing.
        inline = not made.subject
        if row and not (inline and row.effect == "read"):
            self.rules.acted(row, what)
        self._acting[made.name] = self.now, error

    def returned(self, call: Call) -> None:
        """A tool hears how that went, unless its time is over."""
        made = process.current()
        began, error = self._acting[made.name]
        if error or self.now - began > made.seconds:
            raise error or Overrun

    def reconciled(self, call: Call) -> str | None:
        """The other side says whether it happened, or nothing."""
        if self.chance(0.3):
            raise RuntimeError
        row = self._row(call)
        return "It was done." if any(other.key == row.key for other, _ in self.rules.effects if row) else None

    def _row(self, call: Call) -> Row | None:
        found = (Row.of(item) for item in rows(self.memory.table))
        return next((row for row in found if row.idempotency_key == call.idempotency_key), None)

    def hear(self, words: str, triggered: bool) -> None:
        """Vapi is sent a command."""
        made = process.current()
        luck = self.random.random()
        error: Exception | None = None
        if self.ended and luck < 0.8:
            error = NotDone("http_404", 404)
        elif luck < 0.05:
            error = NotDone("unreachable")
        elif luck < 0.10:
            error = NotDone("http_429", 429)
        elif luck < 0.12:
            error = NotDone("http_404", 404)
        elif luck < 0.18:
            error = Ambiguous("http_500", 500)
        elif luck < 0.30:
            error = Ambiguous("ReadTimeout")
        heard = error is None or (isinstance(error, Ambiguous) and self.chance(0.5))
        self.rules.posted(made, words, triggered, heard=heard)
        if error:
            raise error

    def _sweep(self) -> None:
        self._start("sweeper", partial(sweeper.sweep, self._broom), SWEEPER_SECONDS, lambda _: None)
        unfinished = [row for row in rows(self.memory.table) if is_open(row)]
        for row in unfinished:
            if self.now > max(row["deadline"] / 1000, self.trouble_at) + SLACK:
                raise Violation(f"{row['sk']} is unfinished: {row['state']}, its delivery {row['delivery']}")
        if self._agenda:
            self.at(self._sweep_seconds, self._sweep)
        elif unfinished:
            # Nothing happens until something is due.
            idle = min(row.get("g1sk", 0) for row in unfinished) - self.now
            self.at(max(60, idle - idle % 60 + 60), self._sweep)
        elif not self._redriven:
            self._redriven = True
            self.redrive()
            self.at(60, self._sweep)

    def _demand_that_nothing_accepted_is_missing(self) -> None:
        stored = [Row.of(item) for item in rows(self.memory.table)]
        for id, tool, what in self.accepted:
            # What only repeats another call is accepted in its name.
            same = [row for row in stored if row.tool == tool and what in row.arguments]
            if not any(tool == "order" or row.key.sk == f"TOOL#{id}" for row in same):
                raise Violation(f"{id} was accepted and is lost")
