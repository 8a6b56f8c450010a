"""What an exchange is made of: time that can be injected, the legs of calls, and the people at their ends.

Everything that takes time is a program, a generator: it yields seconds to wait, or None to wait until it is told
something. A `Timetable` runs programs one event at a time, so that the same seed plays the same call again.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from devkit.twilio_fake import TERMINAL

type Program[T] = Generator[float | None, None, T]
type Behaviour = Literal["answer", "no-answer", "busy", "failed", "voicemail"]


class Clock(Protocol):
    """Epoch seconds. A `Timetable` in virtual time sets `now`; whoever answers a webhook slowly may set it too."""

    now: float


@dataclass
class VirtualClock:
    """A clock that moves only when somebody moves it."""

    now: float = 1_800_000_000.0


class RealClock:
    """The clock of the machine."""

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return time.time()


@dataclass(frozen=True)
class Person:
    """How somebody behaves on the phone. Times are seconds.

    A dialled person counts `hangs_up_after` from answering, a caller from calling. `digits` are pressed one entry per
    <Gather>, an empty one is none; `speaks` is how long they talk at a <Record>. A voicemail never presses anything.
    """

    behaviour: Behaviour = "answer"
    answers_after: float = 4.0
    digits: Sequence[str] = ()
    hangs_up_after: float | None = None
    speaks: float = 0.0


class Page(NamedTuple):
    """The next document of a leg: where it is asked for, with which fields besides the usual ones, or its very text."""

    url: str
    fields: tuple[tuple[str, str], ...] = ()
    twiml: str | None = None


class Entry(NamedTuple):
    """One line of the timeline, in plain words. `at` is epoch seconds."""

    at: float
    sid: str
    what: str
    detail: str = ""


class Signal(Exception):
    """Told to a program: `what` happened to `source`, which it listens to."""

    def __init__(self, source: object, what: Any) -> None:
        super().__init__(str(what))
        self.source, self.what = source, what


class Gone(Exception):
    """The leg ends now, with this status."""

    def __init__(self, status: str = "completed") -> None:
        super().__init__(status)
        self.status = status


class Taken(Exception):
    """The leg is taken out of whatever it does, by REST, and goes on with another document."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.url)
        self.page = page


class Left(Exception):
    """<Leave>: out of the queue."""


@dataclass
class Sound:
    """A stretch of time in which a leg hears something: words, music, ringing, a person. An open one goes on."""

    began: float
    ended: float | None = None


@dataclass(eq=False)
class Leg:
    """One leg of a call, as Twilio's Calls resource has it."""

    sid: str
    account: str
    caller: str
    dialled: str
    direction: Literal["inbound", "outbound-api", "outbound-dial"]
    person: Person
    began: float
    parent: "Leg | None" = None
    status: str = "queued"
    answered_at: float | None = None
    ended_at: float | None = None
    fallback_url: str = ""
    status_url: str = ""
    events: tuple[str, ...] = ("completed",)
    sequence: int = 0
    sounds: list[Sound] = field(default_factory=list)
    listens_to: list[object] = field(default_factory=list)
    digits: deque[str] = field(default_factory=deque)
    task: "Task | None" = None
    taken: bool = False  # out of its parent's <Dial>, by REST
    keypad: object = field(default_factory=object)
    stream: object = field(default_factory=object)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    def silence(self, now: float) -> float:
        """The longest time in seconds in which nothing was to be heard, since the call began or was answered."""
        reached = self.began if self.direction == "inbound" else self.answered_at or now
        end = now if self.ended_at is None else self.ended_at
        longest = 0.0
        for sound in sorted(self.sounds, key=lambda sound: sound.began):
            longest = max(longest, sound.began - reached)
            reached = max(reached, end if sound.ended is None else sound.ended)
        return max(longest, end - reached)


@dataclass(eq=False)
class Room:
    """A conference. It opens when two are in it and one of them may start it."""

    name: str
    sid: str
    members: list[tuple[Leg, bool]] = field(default_factory=list)  # with endConferenceOnExit
    started: bool = False
    opened: bool = False


@dataclass(eq=False)
class Place:
    """A leg's place in a queue."""

    leg: Leg
    since: float
    talks_to: Leg | None = None


@dataclass(eq=False)
class Queue:
    """A queue of callers, first come first served, and those who dialled it while nobody was there."""

    sid: str
    limit: int
    waiting: list[Place] = field(default_factory=list)
    dialers: list[Leg] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)


@dataclass(order=True)
class Due:
    """Something to do at a time; nothing any more without an action."""

    when: float
    number: int
    action: Callable[[], object] | None = field(compare=False)


class Task:
    """A program that runs, and what will wake it."""

    def __init__(self, program: Program[None]) -> None:
        self.program = program
        self.wake: Due | None = None
        self.over = False


class Timetable:
    """Runs what is due, in the order of time and then of asking, in virtual or in real time.

    Only the table itself is locked: whoever adds to it from another thread never waits for an action that runs.
    """

    def __init__(self, clock: Clock | RealClock, *, real: bool = False) -> None:
        self.clock = clock
        self._real = real
        self._due: list[Due] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def at(self, when: float, action: Callable[[], object]) -> Due:
        """Do something at a time, or now if that is over."""
        with self._changed:
            due = Due(when, next(self._count), action)
            heapq.heappush(self._due, due)
            self._changed.notify()
        return due

    def after(self, seconds: float, action: Callable[[], object]) -> Due:
        """Do something in so many seconds."""
        return self.at(self.clock.now + seconds, action)

    def run(self, until: float) -> None:
        """Do what is due up to a time, which it is afterwards."""
        while action := self._next(until):
            action()
        self._move(until)

    def run_until_idle(self, limit: float = 14_400.0) -> None:
        """Do everything there is to do; `TimeoutError` if that takes more than `limit` seconds of the clock."""
        end = self.clock.now + limit
        while action := self._next(end, idle=True):
            action()
        if self._due and not self._stopped:
            raise TimeoutError(f"still busy after {limit:g} s")

    def stop(self) -> None:
        """Do nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def spawn(self, program: Program[None]) -> Task:
        """Run a program from now on."""
        task = Task(program)
        self.at(self.clock.now, lambda: self._go_on(task))
        return task

    def tell(self, leg: Leg, source: object, what: Any) -> None:
        """Tell a leg that something happened; nothing if it does not listen to that any more."""

        def deliver() -> None:
            if source in leg.listens_to:
                self._go_on(leg.task, Signal(source, what))

        self.at(self.clock.now, deliver)

    def interrupt(self, leg: Leg, why: Exception) -> None:
        """Take a leg out of what it does."""
        self.at(self.clock.now, lambda: self._go_on(leg.task, why))

    @staticmethod
    def listen(leg: Leg, source: object, program: Program[None]) -> Program[Any]:
        """Run a program until it ends (None) or the leg is told something about `source` (what it is told)."""
        leg.listens_to.append(source)
        try:
            yield from program
        except Signal as signal:
            if signal.source is not source:
                raise
            return signal.what
        finally:
            leg.listens_to.remove(source)
        return None

    @contextmanager
    def hearing(self, leg: Leg) -> Iterator[None]:
        """As long as this lasts, the leg hears something."""
        sound = Sound(self.clock.now)
        leg.sounds.append(sound)
        try:
            yield
        finally:
            sound.ended = self.clock.now

    def _go_on(self, task: Task | None, error: Exception | None = None) -> None:
        if task is None or task.over:
            return
        if task.wake:
            task.wake.action = None
        try:
            seconds = task.program.throw(error) if error else next(task.program)
        except StopIteration:
            task.over = True
            return
        task.wake = None if seconds is None else self.after(seconds, lambda: self._go_on(task))

    def _next(self, until: float, *, idle: bool = False) -> Callable[[], object] | None:
        """Wait for the next action that is due before `until`; None when there is none, or with `idle` none at all."""
        with self._changed:
            while not self._stopped:
                while self._due and self._due[0].action is None:
                    heapq.heappop(self._due)
                due = self._due[0].when if self._due else None
                if due is not None and due <= (self.clock.now if self._real else until):
                    self._move(due)
                    return heapq.heappop(self._due).action
                if not self._real or (idle and due is None) or self.clock.now >= until:
                    return None
                # Never for ever: a condition cannot wait until the end of time.
                self._changed.wait(min(until - self.clock.now, 60.0, (due or until) - self.clock.now))
        return None

    def _move(self, to: float) -> None:
        if not isinstance(self.clock, RealClock):
            self.clock.now = max(self.clock.now, to)


def wait(seconds: float | None = None) -> Program[None]:
    """Let time go by: so many seconds, or until something is told."""
    yield seconds
