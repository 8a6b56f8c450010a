"""A process that can be stopped, or killed, between any two of its steps: the real code, without threads.

Whatever the code asks of the outside goes through `ask`. To do one more step, the code is run again from its start with
the answers that it has had so far, up to the first question that has none. So a process is nothing but its answers: it
can be left alone for a while, copied, or forgotten, and nothing in it depends on the machine.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol, Self

import pytest

from switchboard import delivery, lanes, telemetry, toolcalls, worker
from switchboard.budget import Overrun
from switchboard.errors import Unavailable
from switchboard.queue import Queue, Ticket
from switchboard.store import Check, Item, Key, Put, Store, Update
from switchboard.tools import Call
from switchboard.vapi import Vapi
from tests.memory import Memory

LOST = "reply lost"  # it was done, and the code is told that it was not
TWICE = "done twice"  # the reply was lost, and the SDK asked again
DOWN = "down"  # it was not done


class Suspended(BaseException):
    """The next step has not been granted yet. Not an `Exception`: no tool and no code of ours may swallow it."""


class Answer(NamedTuple):
    """What a question was answered."""

    value: Any = None
    error: BaseException | None = None

    @classmethod
    def to(cls, act: Callable[[], Any]) -> Self:
        """Do it now."""
        try:
            return cls(act())
        except (Exception, Overrun) as error:  # noqa: BLE001 - whatever it raises is the answer
            return cls(None, error)


class Outside(Protocol):
    """What a world has to offer to the code in it."""

    now: float

    def act(self, call: Call, tool: str, what: str) -> None:
        """A tool acts, or fails to."""

    def returned(self, call: Call) -> None:
        """A tool hears how that went."""

    def reconciled(self, call: Call) -> str | None:
        """The other side is asked whether it happened."""

    def hear(self, words: str, triggered: bool) -> None:
        """Vapi is sent a command."""

    def send(self, lane: str, ticket: Ticket, delay: int) -> None:
        """A queue takes a message."""

    def hide(self, receipt: str, seconds: int) -> None:
        """A queue hides a message."""


class Process:
    """One invocation. `wants` says what its next step is; `clock` is the time that it last read."""

    running: "Process | None" = None

    def __init__(self, name: str, body: Callable[[], Any], outside: Outside, subject: str = "") -> None:
        self.name = name
        self.subject = subject
        self.outside = outside
        self.answers: list[Answer] = []
        self.wants = ""
        self.result: Any = None
        self.clock = 0.0
        self.seconds = 0.0
        self._body = body
        self._place = 0
        self._granted = False
        self._fault = ""
        self._made = 0

    def advance(self, fault: str = "", *, granted: bool = True) -> bool:
        """Do the step that it wants, and go on to the next; whether it has come to its end. Raises what it raises."""
        self._place, self._made, self._granted, self._fault = 0, 0, granted, fault
        Process.running = self
        try:
            self.result = self._body()
        except Suspended:
            return False
        finally:
            Process.running = None
        return True

    def ask(self, what: str, act: Callable[[], Any]) -> Any:
        """One step: the world does `act`, and the code goes on with its result."""
        if self._place == len(self.answers):
            if not self._granted:
                self.wants = what
                raise Suspended
            self._granted = False
            self.answers.append(self._done(act))
        return self._next()

    def note(self, look: Callable[[], Any]) -> Any:
        """Something that the code looks up on its way, as a part of the step before."""
        if self._place == len(self.answers):
            self.answers.append(Answer.to(look))
        return self._next()

    def made(self) -> uuid.UUID:
        """A new id: the same one whenever the code is run again."""
        self._made += 1
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name}/{self._made}")

    def _done(self, act: Callable[[], Any]) -> Answer:
        if self._fault == DOWN:
            return Answer(error=Unavailable("simulated: down"))
        answer = Answer.to(act)
        if self._fault == TWICE:
            return Answer.to(act)
        return Answer(error=Unavailable("simulated: reply lost")) if self._fault == LOST else answer

    def _next(self) -> Any:
        answer = self.answers[self._place]
        self._place += 1
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return answer.value


def current() -> Process:
    """The process whose code is running."""
    assert Process.running
    return Process.running


class Table(Store):
    """The table as the code sees it: every request is a step."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def get(self, key: Key) -> Item | None:
        """Read one item."""
        found: Item | None = current().ask(f"table get {key.sk}", lambda: self.memory.get(key))
        return found

    def query(self, pk: str, prefix: str) -> list[Item]:
        """Read some items."""
        found: list[Item] = current().ask(f"table query {prefix}", lambda: self.memory.query(pk, prefix))
        return found

    def between(self, pk: str, first: str, last: str, most: int, *, newest: bool = False) -> tuple[list[Item], bool]:
        """Read some of the items of one kind."""
        kind = first.partition("#")[0]
        found: tuple[list[Item], bool] = current().ask(
            f"table query {kind}#", lambda: self.memory.between(pk, first, last, most, newest=newest)
        )
        return found

    def due(self, shard: str, now: int) -> list[Key]:
        """Read the index. Eight shards are looked through, nearly always in vain: that is no step of its own."""
        found: list[Key] = current().note(lambda: self.memory.due(shard, now))
        return found

    def put(self, put: Put) -> None:
        """Write an item."""
        current().ask(f"table put {put.item['sk']}", lambda: self.memory.put(put))

    def update(self, update: Update) -> Item:
        """Change an item."""
        item: Item = current().ask(f"table update {update.key.sk}", lambda: self.memory.update(update))
        return item

    def transact(self, writes: Iterable[Put | Update | Check], token: str) -> None:
        """All or nothing."""
        listed = list(writes)
        current().ask("table transact", lambda: self.memory.transact(listed, token))


class Line(Queue):
    """A queue as the code sees it."""

    def __init__(self, lane: str) -> None:
        self._lane = lane

    def send(self, ticket: Ticket, delay: int = 0) -> None:
        """Put a ticket on the queue."""
        what = f"queue send {ticket.sk} {ticket.due} +{delay}s"
        current().ask(what, lambda: current().outside.send(self._lane, ticket, delay))

    def hide(self, receipt: str, seconds: int) -> None:
        """Change when a message comes back."""
        current().ask(f"queue hide {seconds}s", lambda: current().outside.hide(receipt, seconds))


class Voice(Vapi):
    """Live call control as the code sees it."""

    def __init__(self) -> None:
        """Nothing is opened."""

    def speak(self, url: str, command: Any, public_key: str = "") -> None:
        """Send a command to a live call."""
        words, triggered = command["message"]["content"], command["triggerResponseEnabled"]
        current().ask("post", lambda: current().outside.hear(words, triggered))


def clock() -> float:
    """The clock as the code sees it."""
    process = current()
    process.clock = process.note(lambda: process.outside.now)
    return process.clock


def sleep(seconds: float) -> None:
    """Sleeping as the code sees it."""
    current().ask(f"sleep {seconds}", lambda: None)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """The tool is told how long it may take: simulated seconds ring no bell."""
    current().seconds = seconds
    yield


class _Chance:
    """The module `random`: the same number whenever the code is run again."""

    def __getattr__(self, name: str) -> Any:
        return getattr(Random(current().made().int), name)


@contextmanager
def simulated() -> Iterator[None]:
    """Nothing in the package depends on chance, a signal or the real clock; nothing is logged."""
    ids = SimpleNamespace(uuid4=lambda: current().made())
    with pytest.MonkeyPatch.context() as patch:
        for module in (worker, delivery, lanes, toolcalls):
            patch.setattr(module, "uuid", ids)
        for limited in (worker, lanes):
            patch.setattr(limited, "limit", _limit)
        patch.setattr(worker, "random", _Chance())
        patch.setattr(telemetry, "metrics", SimpleNamespace(add_metric=lambda **_: None, clear_metrics=lambda: None))
        patch.setattr(
            telemetry, "single_metric", lambda **_: nullcontext(SimpleNamespace(add_dimension=lambda **_: None))
        )
        patch.setattr(telemetry, "logger", SimpleNamespace(info=lambda *_, **__: None, warning=lambda *_, **__: None))
        yield
