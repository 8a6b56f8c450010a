"""One tool call in a backend whose processes can be killed at any named step, and everything that comes to its rescue.

Table, queues and clock are in memory; webhook, worker, sweeper and the conditions of every write are the real ones.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import httpx
import pytest

from switchboard import toolcalls, webhook, worker
from switchboard.desk import Agent, Caller
from switchboard.errors import ConditionFailed
from switchboard.messages import Assistant, Decision
from switchboard.queue import Queue, Ticket
from switchboard.settings import Settings
from switchboard.store import Item, Key, Update
from switchboard.sweeper import Broom, sweep
from switchboard.toolcalls import Delivery, Row, State
from switchboard.tools import Call, Reconcile, Toolbox
from switchboard.worker import work
from tests.conftest import Clock
from tests.memory import Memory
from tests.twin import twin

CALL = "c0ffee00-0000-4000-8000-000000000001"
CONTROL = f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control"
SK = "TOOL#call_1"
TICKET = Ticket(CALL, SK)
LIVE_VISIBILITY, AFTER_CALL_VISIBILITY = 210, 360  # seconds, as in the template
LAMBDA_SECONDS = 35.0
FIRST_SWEEP = 65  # seconds after the start; a result that expires at 60 can still be spoken then
PROMISE = 60 + 90  # seconds: a live call's deadline, and how long after it nothing may be unfinished
STEPS = ("accept", "claim", "begin", "commit", "settle", "claim_delivery", "end_delivery", "void_delivery")

type Effect = Literal["read", "keyed", "once"]
type Act = Callable[[], object]


class Killed(BaseException):
    """The process is gone; not an `Exception`, so that nothing of the package can catch it and go on."""


class Script:
    """What happens when somebody reaches a step, each thing once: `before claim`, `after commit`, ..."""

    def __init__(self) -> None:
        self._acts: dict[str, Act] = {}

    def at(self, moment: str, act: Act) -> None:
        """Let `act` happen the first time that anybody gets there."""
        self._acts[moment] = act

    def reach(self, moment: str) -> None:
        """Somebody is there."""
        # Taken away first: what happens there may lead others to the same step.
        act = self._acts.pop(moment, None)
        if act:
            act()

    @property
    def left(self) -> list[str]:
        """What was planned and never happened: then a test has proved nothing."""
        return sorted(self._acts)


class Table(Memory):
    """The table with its index, with answers that are lost on their way back, and with others who come in between."""

    def __init__(self) -> None:
        super().__init__()
        self.lose: Act | None = None
        self.refused: Act | None = None

    def due(self, shard: str, now: int) -> list[Key]:
        """Keys in the index whose time has come."""
        items = [item for item in self.table.values() if item.get("g1pk") == shard and item["g1sk"] <= now]
        return [Key(item["pk"], item["sk"]) for item in sorted(items, key=lambda item: (item["g1sk"], item["sk"]))]

    def open(self) -> list[Item]:
        """Everything that counts as unfinished."""
        return [item for item in self.table.values() if str(item.get("g1pk", "")).startswith("OPEN#")]

    def update(self, update: Update) -> Item:
        """Change an item; where the answer is lost, the SDK asks for the same once more."""
        try:
            answer = super().update(update)
        except ConditionFailed:
            refused, self.refused = self.refused, None
            if refused:
                refused()
            raise
        lost, self.lose = self.lose, None
        if not lost:
            return answer
        lost()
        return super().update(update)


class Message:
    """A message on a queue."""

    def __init__(self, ticket: Ticket, visible_at: float) -> None:
        self.ticket = ticket
        self.visible_at = visible_at


class Lane(Queue):
    """A queue with delays, visibility, and at-least-once delivery."""

    def __init__(self, script: Script, clock: Clock, visibility: int) -> None:
        self._script = script
        self._clock = clock
        self._visibility = visibility
        self.messages: dict[str, Message] = {}
        self.sent = 0
        self.lose_answer = False

    def send(self, ticket: Ticket, delay: int = 0) -> None:
        """Put a ticket on the queue, twice where the answer to the first try was lost."""
        self._script.reach("before send")
        for _ in range(2 if self.lose_answer else 1):
            self.sent += 1
            self.messages[f"receipt-{self.sent}"] = Message(ticket, self._clock() + delay)
        self.lose_answer = False
        self._script.reach("after send")

    def hide(self, receipt: str, seconds: int) -> None:
        """Let a message come back in `seconds`."""
        if receipt in self.messages:
            self.messages[receipt].visible_at = self._clock() + seconds

    def receive(self) -> tuple[str, Ticket] | None:
        """Hand out one message; it comes back unless it is deleted."""
        for receipt, message in self.messages.items():
            if message.visible_at <= self._clock():
                message.visible_at = self._clock() + self._visibility
                return receipt, message.ticket
        return None


class Scene:
    """A live call that asks for one tool."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        effect: Effect,
        reconcile: Reconcile | None = None,
        timeout: float = 6,
    ) -> None:
        self.clock = clock
        self.effect = effect
        self.script = Script()
        self.table = Table()
        self.lane = Lane(self.script, clock, LIVE_VISIBILITY)
        self.after = Lane(self.script, clock, AFTER_CALL_VISIBILITY)
        self.effects: list[str] = []
        self.trouble: dict[str, Exception] = {}
        self.answers: list[httpx.Response | Exception] = []
        self.heard: list[str] = []
        self.undelivered: list[str] = []
        self.sweeping = True
        self.accepted = 0
        self._next_sweep = clock() + FIRST_SWEEP
        self._twin = twin(self._agent(reconcile, timeout), settings, clock, self._vapi)
        self.desk = self._twin.desk._replace(store=self.table, live_queue=self.lane, after_call_queue=self.after)
        speaker = self._twin.live.speaker._replace(store=self.table)
        self.bench = self._twin.live._replace(
            store=self.table, queue=self.lane, speaker=speaker, undelivered=lambda _, reason: self.missed(reason)
        )
        self.after_bench = self.bench._replace(queue=self.after)
        self.say("status-update", status="in-progress")

    def _agent(self, reconcile: Reconcile | None, timeout: float) -> Agent:
        tools = Toolbox()

        def act(call: Call, what: Annotated[str, "What."]) -> str:
            """Do it."""
            return self._act(call, what)

        def act_later(call: Call, what: Annotated[str, "What."]) -> str:
            """Do it after the call."""
            return self._act(call, what)

        tools.tool(effect=self.effect, meanwhile="One moment.", timeout=timeout, reconcile=reconcile)(act)
        tools.tool(effect=self.effect, after_call=True)(act_later)

        def assistant(_caller: Caller) -> Decision:
            return Assistant(id="assistant")

        return Agent(tools, assistant, lambda _: None)

    def _act(self, call: Call, what: str) -> str:
        self.script.reach("before effect")
        if error := self.trouble.pop("before effect", None):
            raise error
        self.effects.append(call.idempotency_key)
        self.script.reach("after effect")
        if error := self.trouble.pop("after effect", None):
            raise error
        return f"Did {what}, attempt {call.attempt}."

    def _vapi(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers.pop(0) if self.answers else httpx.Response(200)
        self.script.reach("in the post")
        arrived = not isinstance(answer, httpx.ConnectError | httpx.ConnectTimeout)
        refused = isinstance(answer, httpx.Response) and 400 <= answer.status_code < 500
        if arrived and not refused:
            self.heard.append(request.content.decode())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def missed(self, reason: str) -> None:
        """Somebody is told of a result that the caller will never hear."""
        self.undelivered.append(reason)

    def say(self, kind: str, **fields: Any) -> Mapping[str, Any]:
        """Vapi sends a message and waits for the answer."""
        call = {"id": CALL, "orgId": "org-1", "monitor": {"controlUrl": CONTROL}}
        message = {"type": kind, "timestamp": int(self.clock() * 1000), "call": call, **fields}
        answer: Mapping[str, Any] = webhook.respond(self.desk, self._twin.event(message))
        assert answer["statusCode"] == 200
        return answer

    def ask(self, name: str = "act", id: str = "call_1") -> Mapping[str, Any]:
        """The model calls the tool; the same request however often it is sent."""
        entry = {"id": id, "type": "function", "function": {"name": name, "arguments": {"what": "it"}}}
        answer = self.say("tool-calls", toolCallList=[entry])
        self.accepted += 1
        return answer

    def row(self, id: str = "call_1") -> Row:
        """The tool call as it is stored."""
        row = toolcalls.load(self.table, Key(f"CALL#{CALL}", f"TOOL#{id}"))
        assert row
        return row

    def again(self) -> None:
        """Another worker is given the same ticket, now, and is not killed."""
        work(self.bench, TICKET, "another receipt", lambda: LAMBDA_SECONDS)

    def sweep(self) -> None:
        """The sweeper comes, now."""
        sweep(Broom(self.table, self.lane, self.clock))

    def hand_out(self) -> None:
        """Workers take what is visible; a message is deleted only if its worker lives to say so."""
        for bench, lane in ((self.bench, self.lane), (self.after_bench, self.after)):
            while taken := lane.receive():
                receipt, ticket = taken
                try:
                    work(bench, ticket, receipt, lambda: LAMBDA_SECONDS)
                except Killed:
                    continue
                lane.messages.pop(receipt, None)

    def finish(self, seconds: int = 400) -> float:
        """Let queues, workers and the sweeper go on until nothing is left; returns when the last row was closed."""
        closed_at = self.clock()
        for _ in range(seconds):
            self.hand_out()
            if self.sweeping and self.clock() >= self._next_sweep:
                self._next_sweep += 60
                self.sweep()
                self.hand_out()
            if self.table.open():
                closed_at = self.clock()
            elif not (self.lane.messages or self.after.messages):
                return closed_at
            self.clock.advance(1)
        raise AssertionError(f"unfinished: {self.table.open()}, {list(self.lane.messages)}")


class NoLimit:
    """In place of the timer, which does not nest: here one attempt may be played inside another."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


def watch(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    """Tell the scene's script of every step, whoever takes it."""

    def watched(name: str) -> Callable[..., Any]:
        step = getattr(toolcalls, name)

        def taken(*args: Any, **kwargs: Any) -> Any:
            scene.script.reach(f"before {name}")
            done = step(*args, **kwargs)
            scene.script.reach(f"after {name}")
            return done

        return taken

    for name in STEPS:
        monkeypatch.setattr(toolcalls, name, watched(name))
    monkeypatch.setattr(worker, "limit", NoLimit)
    # The jitter of a retry would be the only thing here that is not the same every time.
    monkeypatch.setattr("switchboard.worker.random.uniform", lambda _low, high: high)


FINAL = (Delivery.NONE, Delivery.DELIVERED, Delivery.UNDELIVERABLE, Delivery.DROPPED)


def assert_finished(scene: Scene) -> None:
    """What holds whatever happened: every row has its end, nothing is unfinished, and nobody was spoken to twice."""
    for row in toolcalls.of_call(scene.table, CALL):
        assert row.state.settled
        assert row.delivery in FINAL
        if row.lane == "live":
            assert row.delivery is not Delivery.NONE
        assert row.state is not State.SUCCEEDED or row.attempt
    assert scene.table.open() == []
    assert len(scene.heard) <= 1
