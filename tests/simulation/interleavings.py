"""Every order in which the steps of a small configuration can happen, with the real code taking the steps.

One tool call, its ticket handed out twice, two workers, the sweeper, an interruption that is followed by words, time that
may pass between any two steps, and one trouble anywhere: a process killed, or the reply of the tool or of Vapi lost.

What is bounded is how often one process is left for another while it could go on; killed and waiting ones do not count.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from switchboard import calls, sweeper, toolcalls, worker
from switchboard.delivery import Speaker
from switchboard.desk import Agent
from switchboard.errors import Ambiguous, Unavailable
from switchboard.messages import Assistant, Message
from switchboard.queue import Ticket
from switchboard.settings import Settings
from switchboard.store import Item, Key
from switchboard.sweeper import Broom
from switchboard.toolcalls import Row, State
from switchboard.tools import Call
from switchboard.worker import Bench
from tests.conftest import ENVIRONMENT, NOW
from tests.simulation import process
from tests.simulation.process import Answer, Line, Process, Table, Voice
from tests.simulation.rules import Rules, Violation, Watched, Write, is_open
from tests.simulation.toolbox import toolbox

CALL = "c0ffee00-0000-4000-8000-000000000a11"
KEY = Key(f"CALL#{CALL}", "TOOL#call_1")
SAID = 2  # an interruption, and then words
WORDS = "No, I would rather have it on Thursday."
RUN = Ticket(CALL, KEY.sk)
LEASE = 5.0  # seconds; then a lease of four is over
DEADLINE = 80.0  # seconds; then it is over, and the time to speak is, too
WORKERS = ("A", "B")
TOOLS = {"once": "pay", "keyed": "move", "read": "search"}


class Alive(NamedTuple):
    """A process under way."""

    name: str
    ticket: Ticket | None
    answers: tuple[Answer, ...]
    seen: tuple[str, ...]
    wants: str
    clock: float


@dataclass(frozen=True)
class Situation:
    """Everything that there is at one moment."""

    table: dict[Key, Item]
    tickets: tuple[Ticket, ...]
    alive: tuple[Alive, ...]
    rules: Rules
    time: int = 0
    trouble: bool = True
    said: int = 0
    switches: int = 0
    at_it: str = ""

    def key(self) -> tuple[Any, ...]:
        """What makes two situations the same."""
        table = tuple((key, repr(sorted(item.items()))) for key, item in sorted(self.table.items()))
        alive = tuple(sorted((one.name, one.ticket or (), one.seen) for one in self.alive))
        heard = len(self.rules.effects), tuple(self.rules.heard), tuple(self.rules.reminded)
        at_it = self.at_it if any(one.name == self.at_it for one in self.alive) else ""
        rest = self.time, self.trouble, self.said, self.switches, at_it
        return table, tuple(sorted(self.tickets)), alive, heard, rest

    def switched(self, name: str) -> "Situation":
        """Somebody goes on: a switch if somebody else could have gone on."""
        left = self.at_it != name and any(one.name == self.at_it for one in self.alive)
        return replace(self, at_it=name, switches=self.switches + left)

    def row(self) -> Item:
        """The tool call."""
        return self.table[KEY]

    def over(self) -> bool:
        """Whether nothing is left to do."""
        return not self.alive and not self.tickets and not is_open(self.row())


class Found(NamedTuple):
    """What there was to see."""

    situations: int
    steps: int
    ends: int
    stuck: int


class Model:
    """The code, and an outside that is whatever the situation says."""

    def __init__(
        self,
        effect: str,
        switches: int,
        *,
        interruption: bool = True,
        times: tuple[float, ...] = (LEASE, DEADLINE),
        weaken: Callable[[Write], Write] = lambda write: write,
    ) -> None:
        self.now = NOW
        self._switches = switches
        self._interruption = interruption
        self._times = 0.0, *times
        self._weaken = weaken
        self._rules = Rules()
        self._settings = Settings.from_env(ENVIRONMENT)
        self._table = Table(Watched(lambda: self._rules))
        agent = Agent(toolbox(), lambda _: Assistant(id="assistant"), lambda _: None)
        speaker = Speaker(self._table, Voice(), lambda: "", self._settings.local)
        self._bench = Bench(agent, self._table, Line("live"), speaker, process.clock, process.sleep)
        self._broom = Broom(self._table, Line("live"), process.clock)
        self._tickets: list[Ticket] = []
        self._lost = False
        self._effect = effect

    def beginning(self) -> Situation:
        """A live call, and a tool call that has just been accepted."""
        memory = Watched(lambda: self._rules)
        row = Row(
            key=KEY,
            state=State.RECEIVED,
            tool=TOOLS[self._effect],
            lane="live",
            effect=self._effect,
            arguments='{"what":"this"}',
            digest="digest",
            emitted_at=int(NOW * 1000),
            accepted_at=int(NOW * 1000),
            deadline=int((NOW + 60) * 1000),
            control_host="voice.vapi.ai",
        )
        toolcalls.accept(memory, row, NOW, 24)
        calls.record_status(memory, self._said("status-update", status="in-progress"), self._settings, NOW)
        return Situation(memory.table, (RUN, RUN), (), Rules(), said=0 if self._interruption else SAID)

    def explore(self) -> Found:
        """Look at every situation that can come about; `Violation`, with the way there, if one breaks a rule."""
        first = self.beginning()
        numbers = {first.key(): 0}
        came: list[tuple[int, str]] = [(0, "")]
        before: list[list[int]] = [[]]
        ends: list[int] = []
        ahead = deque([(0, first)])
        steps = 0
        while ahead:
            number, situation = ahead.pop()
            if situation.over():
                ends.append(number)
            try:
                for what, then in self._next(situation):
                    steps += 1
                    key = then.key()
                    if key not in numbers:
                        numbers[key] = len(came)
                        came.append((number, what))
                        before.append([])
                        ahead.append((numbers[key], then))
                    before[numbers[key]].append(number)
            except Violation as violation:
                raise Violation(f"{violation}\n{_way(came, number)}") from violation
        return Found(len(came), steps, len(ends), len(came) - len(_reaching(before, ends)))

    def _next(self, now: Situation) -> Iterator[tuple[str, Situation]]:
        """Every step that can be next."""
        for one in now.alive:
            then = now.switched(one.name)
            if then.switches > self._switches:
                continue
            yield f"{one.name}: {one.wants}", self._step(then, one)
            if now.trouble:
                back = (one.ticket,) if one.ticket else ()
                rest = _without(now.alive, one)
                yield f"{one.name} is killed", replace(now, alive=rest, tickets=now.tickets + back, trouble=False)
                if one.wants == "post" or one.wants.endswith("acts"):
                    yield f"{one.name}: {one.wants}, reply lost", self._step(then, one, lost=True)
        if now.time + 1 < len(self._times):
            yield f"{self._times[now.time + 1]} s", replace(now, time=now.time + 1)
        if now.switched("somebody new").switches > self._switches:
            return
        slots = [slot for slot in WORKERS if not any(one.name.startswith(slot) for one in now.alive)]
        for ticket in set(now.tickets) if slots else ():
            # A name is never used twice by those that come to own anything.
            name = f"{slots[0]}{now.row()['attempt']}{now.row()['delivery_tries']}"
            rest_of_tickets = _without(now.tickets, ticket)
            begun = replace(now.switched(name), tickets=rest_of_tickets)
            yield f"{name} takes {ticket.due}", self._begin(begun, Alive(name, ticket, (), (), "", 0))
        if not any(one.name == "sweeper" for one in now.alive) and self._due(now):
            yield "the sweeper begins", self._begin(now.switched("sweeper"), Alive("sweeper", None, (), (), "", 0))
        if now.said < SAID:
            begun = replace(now.switched("caller"), said=now.said + 1)
            yield f"the caller says {now.said}", self._begin(begun, Alive(f"caller {now.said}", None, (), (), "", 0))

    def _due(self, now: Situation) -> bool:
        return int(now.row().get("g1sk", NOW * 2)) <= NOW + self._times[now.time]

    def _begin(self, now: Situation, one: Alive) -> Situation:
        """Beginning is the first look at the table: before it nothing can be told from not having begun."""
        then = self._advance(now, one, granted=False)
        return self._step(then, then.alive[-1]) if len(then.alive) > len(now.alive) else then

    def _step(self, now: Situation, one: Alive, *, lost: bool = False) -> Situation:
        self._lost = lost
        then = self._advance(replace(now, alive=_without(now.alive, one)), one, granted=True)
        self._lost = False
        then = replace(then, trouble=now.trouble and not lost)
        if len(then.alive) == len(now.alive) and _alone(then, then.alive[-1].wants):
            return self._step(then, then.alive[-1])
        return then

    def _advance(self, now: Situation, one: Alive, *, granted: bool) -> Situation:
        self.now = NOW + self._times[now.time]
        self._rules = now.rules.copy()
        self._tickets = list(now.tickets)
        self._table.memory = Watched(lambda: self._rules, self._weaken)
        self._table.memory.table = dict(now.table)
        made = Process(one.name, self._body(one), self, one.ticket.sk if one.ticket else "")
        made.answers = list(one.answers)
        made.clock = one.clock
        try:
            over = made.advance(granted=granted)
        except Unavailable as error:
            raise Violation(f"{one.name} gives up: {error}") from error
        then = replace(now, table=self._table.memory.table, tickets=tuple(self._tickets), rules=self._rules)
        if over:
            return then
        seen = one.seen + tuple(_text(answer) for answer in made.answers[len(one.answers) :])
        gone_on = one._replace(answers=tuple(made.answers), seen=seen, wants=made.wants, clock=made.clock)
        return replace(then, alive=(*then.alive, gone_on))

    def _body(self, one: Alive) -> Callable[[], Any]:
        if one.ticket:
            return partial(worker.work, self._bench, one.ticket, "receipt", lambda: 35.0)
        said = {"caller 0": self._interrupt, "caller 1": self._go_on}
        return said.get(one.name) or partial(sweeper.sweep, self._broom)

    def _interrupt(self) -> None:
        """The caller speaks over the turn."""
        interruption = self._said("user-interrupted", at=1)
        calls.record_interruption(self._table, interruption, self._settings, process.clock())

    def _go_on(self) -> None:
        """And then wants something else."""
        words = self._said("transcript", at=2, role="user", transcriptType="final", transcript=WORDS)
        calls.record_transcript(self._table, words, self._settings, process.clock())

    def _said(self, kind: str, at: float = 0, **fields: Any) -> Message:
        return Message({"type": kind, "timestamp": int((NOW + at) * 1000), "call": {"id": CALL}, **fields})

    def act(self, call: Call, tool: str, what: str) -> None:
        """The tool acts."""
        self._rules.acted(Row.of(self._table.memory.table[KEY]), what)
        if self._lost:
            raise TimeoutError

    def returned(self, call: Call) -> None:
        """It has acted."""

    def reconciled(self, call: Call) -> str | None:
        """Nobody can be asked."""
        raise ConnectionError

    def hear(self, words: str, triggered: bool) -> None:
        """Vapi hears it."""
        self._rules.posted(process.current(), words, triggered, heard=True)
        if self._lost:
            raise Ambiguous("ReadTimeout")

    def send(self, lane: str, ticket: Ticket, delay: int) -> None:
        """Whatever its delay, it may be handed out at any time from now on."""
        # Whether the assistant speaks about what it was told in silence is no matter of the row.
        if ticket not in self._tickets and ticket.due != "follow":
            self._tickets.append(ticket)

    def hide(self, receipt: str, seconds: int) -> None:
        """Time passes at any moment, so nothing is hidden for longer than somebody is at it."""


def _alone(now: Situation, wants: str) -> bool:
    """Whether a step neither sees nor changes what any other can: then it need not wait for them."""
    about_the_caller = wants in ("table get META", "table query TOOL#", "table query TR#")
    said = now.said == SAID and about_the_caller
    return wants.startswith("queue hide") or wants.endswith("returns") or said


def _without[T](some: tuple[T, ...], one: T) -> tuple[T, ...]:
    place = some.index(one)
    return some[:place] + some[place + 1 :]


def _text(answer: Answer) -> str:
    return f"{answer.value!r} {answer.error!r} {getattr(answer.error, 'item', '')!r}"


def _way(came: list[tuple[int, str]], number: int) -> str:
    steps: list[str] = []
    while number:
        number, what = came[number]
        steps.append(what)
    return "\n".join(reversed(steps))


def _reaching(before: list[list[int]], ends: list[int]) -> set[int]:
    """The situations from which an end can still be reached."""
    reaching = set(ends)
    ahead = list(ends)
    while ahead:
        new = [number for number in before[ahead.pop()] if number not in reaching]
        reaching.update(new)
        ahead += new
    return reaching
