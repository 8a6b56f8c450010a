"""The crash table: a process dies, or an answer is lost, at each of 26 points, for each class of effect, alone and while
a second copy of the same request or ticket is worked on at the worst moment. However it goes, the call reaches its end.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest

from switchboard import toolcalls
from switchboard.settings import Settings
from switchboard.store import Key
from switchboard.toolcalls import Delivery, State
from switchboard.tools import Call, DefiniteFailure
from switchboard.worker import work
from tests.chaos.scene import (
    CALL,
    LAMBDA_SECONDS,
    PROMISE,
    SK,
    TICKET,
    Act,
    Effect,
    Killed,
    Scene,
    assert_finished,
    watch,
)
from tests.conftest import Clock

KEY = Key(f"CALL#{CALL}", SK)
CLASSES: tuple[Effect, ...] = ("read", "keyed", "once")
UNSURE = "may or may not"
NOT_DONE = "was not done"

S, F, E, U = State.SUCCEEDED, State.FAILED, State.EXPIRED, State.UNKNOWN
SPOKEN, LOST, DROPPED = Delivery.DELIVERED, Delivery.UNDELIVERABLE, Delivery.DROPPED


class Want(NamedTuple):
    """How a case must end: how often the tool acted, the final states, and how often Vapi was told a result."""

    runs: int
    state: State = S
    delivery: Delivery = SPOKEN
    heard: int = 1
    words: str = ""


DONE = Want(1)
GONE = None

type Play = Callable[[Scene, Act], None]
type Wants = Mapping[Effect, Want | None]


class Point(NamedTuple):
    """A row of the table: what happens, and how each class ends, alone and with a second copy."""

    play: Play
    alone: Wants
    concurrent: Wants


def nothing() -> None:
    """Nobody else is there."""


def classes(read: Want, keyed: Want, once: Want) -> Wants:
    """Each class ends in its own way."""
    return {"read": read, "keyed": keyed, "once": once}


def every(want: Want | None) -> Wants:
    """All classes end alike."""
    return dict.fromkeys(CLASSES, want)


def dies(scene: Scene, moment: str, other: Act = nothing) -> None:
    """Let the process that reaches `moment` first be killed there, after the second copy has had its way."""

    def die() -> None:
        other()
        raise Killed

    scene.script.at(moment, die)


def knock(scene: Scene) -> None:
    """A request whose process may be killed: then Vapi gets no answer."""
    with suppress(Killed):
        scene.ask()


def c0(scene: Scene, other: Act) -> None:
    """Nothing was stored, so nothing was promised, and Vapi sends the message again."""
    dies(scene, "before accept", other)
    knock(scene)
    if other is nothing:
        assert toolcalls.of_call(scene.table, CALL) == []
    scene.ask()


def c1(scene: Scene, other: Act) -> None:
    """Stored, but not on the queue, and nobody asks again: it expires, and the caller is told."""
    dies(scene, "after accept", other)
    knock(scene)


def c2(scene: Scene, other: Act) -> None:
    """Sent, but never answered: it runs although nobody was told so."""
    dies(scene, "after send", other)
    knock(scene)


def c3(scene: Scene, other: Act) -> None:
    """The queue took the message, its answer was lost, the SDK sent it again."""
    scene.lane.lose_answer = True
    scene.script.at("after claim", other)
    scene.ask()
    assert scene.lane.sent == 2


def c4(scene: Scene, other: Act) -> None:
    """Two identical webhooks in the same millisecond: alone, too, for that is what this row is about."""
    answers: list[Any] = []
    scene.script.at("before accept", lambda: answers.append(scene.ask()))
    scene.script.at("after claim", other)
    answers.append(scene.ask())
    assert answers[0] == answers[1]


def c5(scene: Scene, other: Act) -> None:
    """The worker has the message, and dies before it has claimed the call."""
    dies(scene, "before claim", other)
    scene.ask()


def c6(scene: Scene, other: Act) -> None:
    """The claim was applied, its answer was lost, and the SDK's second try fails on the first one's success."""
    scene.script.at("before claim", lambda: setattr(scene.table, "lose", other))
    scene.ask()


def c7(scene: Scene, other: Act) -> None:
    """Claimed, and nothing begun."""
    dies(scene, "after claim", other)
    scene.ask()


def c8(scene: Scene, other: Act) -> None:
    """About to act: nobody can tell whether it has."""
    dies(scene, "after begin", other)
    scene.ask()


def c9(scene: Scene, other: Act) -> None:
    """Has acted, and could not say so."""
    dies(scene, "before commit", other)
    scene.ask()


def c10(scene: Scene, other: Act) -> None:
    """The tool failed, perhaps after acting."""
    scene.script.at("after effect", other)
    scene.trouble["after effect"] = TimeoutError()
    scene.ask()


def c11(scene: Scene, other: Act) -> None:
    """The tool failed, surely without acting, and says that trying again is useless."""
    scene.script.at("before effect", other)
    scene.trouble["before effect"] = DefiniteFailure("refused", retryable=False)
    scene.ask()


def c12(scene: Scene, other: Act) -> None:
    """The outcome was recorded, the answer was lost, and the SDK's second try fails on the first one's success."""
    scene.script.at("before commit", lambda: setattr(scene.table, "lose", other))
    scene.ask()


def c13(scene: Scene, other: Act) -> None:
    """The lease runs out under a worker that lives. Alone it is still the owner, and its result counts."""

    def pause() -> None:
        scene.clock.advance(9)
        other()

    scene.script.at("after effect", pause)
    scene.ask()


def c14(scene: Scene, other: Act) -> None:
    """Recorded, and not yet spoken."""
    dies(scene, "after commit", other)
    scene.ask()


def c15(scene: Scene, other: Act) -> None:
    """About to speak: nobody can tell whether it has, so nobody speaks again."""
    dies(scene, "after claim_delivery", other)
    scene.ask()


def c16(scene: Scene, other: Act) -> None:
    """The result surely never arrived, so it is sent once more."""
    scene.answers.append(httpx.ConnectError("refused"))
    scene.script.at("in the post", other)
    scene.ask()


def c17(scene: Scene, other: Act) -> None:
    """The result may have arrived, so it is never sent again."""
    scene.answers.append(httpx.ReadTimeout("slow"))
    scene.script.at("in the post", other)
    scene.ask()


def c18(scene: Scene, other: Act) -> None:
    """Vapi does not know the call any more."""
    scene.answers.append(httpx.Response(404))
    scene.script.at("in the post", other)
    scene.ask()


def c19(scene: Scene, other: Act) -> None:
    """Spoken, and could not say so: never spoken again."""
    dies(scene, "before end_delivery", other)
    scene.ask()


def c20(scene: Scene, other: Act) -> None:
    """The caller interrupts between the claim and the POST: too late to be heeded, and nothing else may come of it."""

    def interrupt() -> None:
        scene.clock.advance(0.1)
        scene.say("user-interrupted")
        scene.say("speech-update", role="user", status="started")
        other()

    scene.script.at("after claim_delivery", interrupt)
    scene.ask()


def c21(scene: Scene, other: Act) -> None:
    """The sweeper closes the call in the moment in which a worker, whose clock is a little behind, claims it."""

    def sweep() -> None:
        scene.clock.advance(0.1)
        scene.sweep()
        other()

    scene.ask()
    scene.clock.advance(59.9)
    scene.script.at("before claim", sweep)


def c22(scene: Scene, other: Act) -> None:
    """The function's time is up in the middle of a batch: one done, one under way, one not begun; all come back."""
    for id in ("call_0", "call_1", "call_2"):
        scene.ask("act_later", id)
    scene.say("status-update", status="ended")
    batch = [taken for _ in range(3) if (taken := scene.after.receive())]
    assert [ticket.sk for _, ticket in batch] == ["TOOL#call_0", SK, "TOOL#call_2"]

    def work_on(index: int) -> None:
        receipt, ticket = batch[index]
        work(scene.after_bench, ticket, receipt, lambda: LAMBDA_SECONDS)

    work_on(0)
    dies(scene, "after effect", other)
    with pytest.raises(Killed):
        work_on(1)


def c23(scene: Scene, other: Act) -> None:
    """A deployment between claim and commit: the row lacks what the release before did not write, and has more."""

    def deploy() -> None:
        other()
        row = scene.table.table[KEY]
        del row["delivery_at"], row["quiet"]
        row["of_a_later_release"] = "x"
        raise Killed

    scene.script.at("after claim", deploy)
    scene.ask()


def c24(scene: Scene, other: Act) -> None:
    """The row has expired and is deleted, its message is not: nothing may happen without a record."""
    scene.ask()
    del scene.table.table[KEY]
    other()


def c25(scene: Scene, other: Act) -> None:
    """Begun, dead-lettered, and redriven an hour later, with no sweeper to have closed it: far too late to act."""
    dies(scene, "after begin")
    scene.ask()
    scene.sweeping = False
    scene.hand_out()
    scene.lane.messages.clear()
    scene.clock.advance(3600)
    scene.script.at("before settle", other)
    scene.lane.send(TICKET)


def begun(runs: int, delivery: Delivery = SPOKEN) -> Wants:
    """A crash after the intent: what may be repeated is, what may not is reported as unknown."""
    heard = int(delivery is SPOKEN)
    again = Want(runs + 1, S, delivery, heard)
    return classes(again, again, Want(runs, U, delivery, heard, UNSURE if heard else ""))


ROWS: dict[str, tuple[Play, Wants] | tuple[Play, Wants, Wants]] = {
    "C0": (c0, every(DONE)),
    "C1": (c1, every(Want(0, E, words=NOT_DONE)), every(DONE)),  # the second copy puts it on the queue
    "C2": (c2, every(DONE)),
    "C3": (c3, every(DONE)),
    "C4": (c4, every(DONE)),
    "C5": (c5, every(DONE)),
    "C6": (c6, every(DONE)),
    "C7": (c7, every(DONE)),
    "C8": (c8, begun(0)),
    "C9": (c9, begun(1)),
    "C10": (c10, begun(1)),
    "C11": (c11, every(Want(0, F, words=NOT_DONE))),
    "C12": (c12, every(DONE)),
    # A second worker takes over what may be repeated. A `once` call it gives up aloud, and its owner mends the record.
    "C13": (c13, every(DONE), classes(Want(2), Want(2), Want(1, words=UNSURE))),
    "C14": (c14, every(DONE)),
    "C15": (c15, every(Want(1, S, LOST, 0))),
    "C16": (c16, every(DONE)),
    "C17": (c17, every(Want(1, S, LOST))),
    "C18": (c18, every(Want(1, S, DROPPED, 0))),
    "C19": (c19, every(Want(1, S, LOST))),
    "C20": (c20, every(DONE)),
    "C21": (c21, every(Want(0, E, words=NOT_DONE))),
    # After the call nothing is spoken.
    "C22": (c22, begun(1, Delivery.NONE)),
    "C23": (c23, every(DONE)),
    "C24": (c24, every(GONE)),
    "C25": (c25, classes(Want(0, E, DROPPED, 0), Want(0, U, DROPPED, 0), Want(0, U, DROPPED, 0))),
}
TABLE = {name: Point(row[0], row[1], row[-1] if len(row) == 3 else row[1]) for name, row in ROWS.items()}
AT_THE_DOOR = ("C0", "C1", "C2")  # where the second copy is a second webhook, and not a second worker


@pytest.fixture
def stage(settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scene]:
    """Makes a scene for a class of effect."""

    def make(effect: Effect, **options: Any) -> Scene:
        scene = Scene(settings, clock, effect, **options)
        watch(monkeypatch, scene)
        return scene

    return make


def second_copy(scene: Scene, point: str) -> Act:
    """What is worked on at the same moment."""
    if point in AT_THE_DOOR:
        return scene.ask
    if point == "C22":
        return lambda: work(scene.after_bench, TICKET, "another receipt", lambda: LAMBDA_SECONDS)
    return scene.again


@pytest.mark.parametrize(
    ("point", "effect", "mode"),
    [
        pytest.param(point, effect, mode, id=f"{point}-{effect}-{mode}")
        for point in TABLE
        for effect in CLASSES
        for mode in ("none", "concurrent")
    ],
)
def test_crash(stage: Callable[..., Scene], point: str, effect: Effect, mode: str) -> None:
    scene = stage(effect)
    play, alone, concurrent = TABLE[point]
    began = scene.clock()
    play(scene, second_copy(scene, point) if mode == "concurrent" else nothing)
    closed_at = scene.finish()

    assert scene.script.left == []
    assert_finished(scene)
    want = (concurrent if mode == "concurrent" else alone)[effect]
    if want is None:
        assert (scene.effects, scene.heard, toolcalls.of_call(scene.table, CALL)) == ([], [], [])
        return
    row = scene.row()
    assert (scene.effects.count(row.idempotency_key), row.state, row.delivery, len(scene.heard)) == want[:4]
    assert want.words in "".join(scene.heard)
    assert len(set(scene.effects)) == (min(want.runs, 1) if point != "C22" else 3)
    if point not in ("C22", "C25"):  # the one has half an hour, in the other the sweeper itself was gone
        assert closed_at - began <= PROMISE


def test_the_table_is_complete() -> None:
    assert list(TABLE) == [f"C{number}" for number in range(26)]
    assert len(TABLE) * len(CLASSES) * 2 == 156


@pytest.mark.parametrize("effect", CLASSES)
def test_c1_a_repeat_of_the_webhook_puts_the_stored_call_on_the_queue(
    stage: Callable[..., Scene], effect: Effect
) -> None:
    scene = stage(effect)
    c1(scene, nothing)
    scene.clock.advance(1)
    scene.ask()
    scene.finish()

    assert (len(scene.effects), scene.row().state, scene.row().delivery) == (1, S, SPOKEN)


@pytest.mark.parametrize("effect", CLASSES)
def test_c5_a_worker_that_dies_as_it_is_handed_the_message_leaves_the_call_to_the_sweeper(
    stage: Callable[..., Scene], effect: Effect
) -> None:
    # Before its first statement nobody can have brought the message forward: it is back after the call's deadline.
    scene = stage(effect)
    scene.ask()
    assert scene.lane.receive()
    closed_at = scene.finish()

    assert (scene.effects, scene.row().state, scene.row().delivery) == ([], E, SPOKEN)
    assert closed_at - scene.row().accepted_at / 1000 <= PROMISE


@pytest.mark.parametrize("effect", CLASSES)
def test_c7_a_killed_worker_is_followed_as_soon_as_the_time_of_the_tool_is_over(
    stage: Callable[..., Scene], effect: Effect
) -> None:
    scene = stage(effect)
    c7(scene, nothing)
    began = scene.clock()
    assert (
        scene.finish() - began <= 6 + 2 + 1
    )  # the tool's own timeout, and what the lease and the second are rounded to


@pytest.mark.parametrize(
    ("effect", "moment"),
    [("read", "before effect"), ("keyed", "before effect"), ("once", "before begin"), ("keyed", "before claim")],
)
def test_a_worker_killed_on_a_tool_of_four_seconds_is_followed_within_eight(
    stage: Callable[..., Scene], effect: Effect, moment: str
) -> None:
    scene = stage(effect, timeout=4)
    dies(scene, moment)
    scene.ask()
    began = scene.clock()
    scene.hand_out()
    assert scene.effects == []
    [message] = scene.lane.messages.values()
    assert message.visible_at - began == 4 + 2 + 1  # its timeout, the grace, and what the lease is rounded up by
    while not scene.effects:
        scene.clock.advance(0.1)
        scene.hand_out()

    assert 4 + 2 < scene.clock() - began < 8
    assert scene.row().attempt == (1 if moment == "before claim" else 2)


@pytest.mark.parametrize("point", ["C8", "C9", "C10"])
@pytest.mark.parametrize(("found", "state"), [("Done after all.", S), (None, F)])
def test_an_unknown_end_is_asked_for_where_the_tool_can_ask(
    stage: Callable[..., Scene], point: str, found: str | None, state: State
) -> None:
    asked: list[Mapping[str, Any]] = []

    def reconcile(_call: Call, arguments: Mapping[str, Any]) -> str | None:
        asked.append(arguments)
        return found

    scene = stage("once", reconcile=reconcile)
    TABLE[point].play(scene, nothing)
    scene.finish()

    assert asked == [{"what": "it"}]
    assert (scene.row().state, scene.row().delivery, len(scene.heard)) == (state, SPOKEN, 1)
    assert UNSURE not in scene.heard[0]
    assert len(scene.effects) <= 1


@pytest.mark.parametrize("effect", CLASSES)
def test_c11_a_definite_failure_that_may_pass_is_tried_again_in_every_class(
    stage: Callable[..., Scene], effect: Effect
) -> None:
    scene = stage(effect)
    scene.trouble["before effect"] = DefiniteFailure("busy")
    scene.ask()
    scene.finish()

    assert (len(scene.effects), scene.row().state, scene.row().attempt) == (1, S, 2)


@pytest.mark.parametrize("effect", CLASSES)
def test_c13_the_result_of_the_later_owner_is_the_one_that_stays(stage: Callable[..., Scene], effect: Effect) -> None:
    scene = stage(effect)
    c13(scene, scene.again)
    scene.finish()

    attempt = 1 if effect == "once" else 2
    assert scene.row().result == f"Did it, attempt {attempt}."


@pytest.mark.parametrize(
    ("answers", "heard", "end"),
    [
        pytest.param([httpx.Response(429)], 1, SPOKEN, id="C16-429"),
        pytest.param([httpx.ConnectTimeout("slow")], 1, SPOKEN, id="C16-connect-timeout"),
        pytest.param([httpx.ConnectError("1"), httpx.ConnectError("2")], 0, LOST, id="C16-twice"),
        pytest.param([httpx.Response(500)], 1, LOST, id="C17-500"),
        pytest.param([httpx.RemoteProtocolError("reset")], 1, LOST, id="C17-reset"),
        pytest.param([httpx.Response(429), httpx.Response(503)], 1, LOST, id="C17-after-C16"),
        pytest.param([httpx.Response(410)], 0, DROPPED, id="C18-410"),
    ],
)
def test_what_vapi_answers_decides_whether_a_result_is_sent_again(
    stage: Callable[..., Scene], answers: list[httpx.Response | Exception], heard: int, end: Delivery
) -> None:
    scene = stage("keyed")
    scene.answers = answers
    scene.ask()
    scene.finish()

    assert (len(scene.heard), scene.row().delivery) == (heard, end)
    assert scene.answers == []
    assert len(scene.undelivered) == (end is not SPOKEN)


def test_c16_before_the_second_try_the_turn_is_looked_at_again(stage: Callable[..., Scene]) -> None:
    scene = stage("keyed")
    scene.answers.append(httpx.ConnectError("refused"))
    scene.script.at("in the post", lambda: scene.say("status-update", status="ended"))
    scene.ask()
    scene.finish()

    assert (scene.heard, scene.row().delivery) == ([], DROPPED)


@pytest.mark.parametrize("effect", CLASSES)
def test_c21_the_sweeper_that_comes_in_the_moment_of_the_claim_leaves_the_worker_alone(
    stage: Callable[..., Scene], effect: Effect
) -> None:
    scene = stage(effect)
    scene.ask()
    scene.clock.advance(60)

    def claim() -> None:
        scene.clock.advance(-0.4)  # the worker's clock is behind the sweeper's
        scene.hand_out()
        scene.clock.advance(0.4)

    scene.script.at("before settle", claim)
    scene.sweep()
    scene.finish()

    assert (len(scene.effects), scene.row().state, len(scene.heard)) == (1, S, 1)


def test_c25_what_was_never_begun_is_not_begun_by_a_late_redrive(stage: Callable[..., Scene]) -> None:
    scene = stage("once")
    scene.ask()
    scene.lane.messages.clear()
    scene.sweeping = False
    scene.clock.advance(3600)
    scene.lane.send(TICKET)
    scene.finish()

    assert (scene.effects, scene.row().state, scene.row().delivery) == ([], E, DROPPED)
