"""What happens in one simulated call: the model calls tools, the caller talks, interrupts, and hangs up."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.simulation.world import World

PLAIN = ("pay", "move", "search")
TOOLS = ("look", "book", "jot", "fetch", "order", "change", "charge", "hang_up", "send", "mail", *PLAIN, *PLAIN, *PLAIN)
LONG = "No, I would rather have it on Thursday."
SHORT = "Hello?"
MANY = 6


def tell(world: World, tools: Sequence[str] = TOOLS) -> World:
    """Put the whole call on the world's agenda."""
    random = world.random
    _later(world, 0, "status-update", status="in-progress")
    _call_tools(world, tools)
    if world.chance(0.6):
        _interrupt(world, random.uniform(0, 12))
    world.meddle = partial(_meddle, world)
    if world.chance(0.4):
        _speak(world, random.uniform(0, 20), random.uniform(0.5, 20))
    if world.chance(0.5):
        _later(world, random.uniform(0, 30), "speech-update", role="assistant", status="started")
    _hang_up(world, random.uniform(0, 15) if world.chance(0.5) else random.uniform(15, 100))
    return world


def _call_tools(world: World, tools: Sequence[str]) -> None:
    random = world.random
    at = random.uniform(0.5, 4)
    for number in range(random.randint(1, 3)):
        name = random.choice(tools)
        _ask(world, at, [_entry(name, f"{name}_{number}", "this")])
        if world.duplicates and world.chance(0.5):
            world.duplicates -= 1
            _repeat(world, at + random.uniform(0, 4), name, number)
        at += random.choice((0.0, 0.065, 2.0, 5.0))


def _repeat(world: World, at: float, name: str, number: int) -> None:
    """The same once more: as the same call, as one with other arguments, or as the model's own second thought."""
    same, other = f"{name}_{number}", f"{name}_{number}_again"
    entry = world.random.choice(
        [
            _entry(name, same, "this"),
            _entry(name, same, "that"),
            _entry(name, other, "this"),
            _entry(name, other, "that"),
        ]
    )
    _ask(world, at, [entry])


def _entry(name: str, id: str, what: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": {"what": what}}}


def _ask(world: World, at: float, entries: list[dict[str, Any]]) -> None:
    _later(world, at, "tool-calls", tries=world.random.choice((1, 3)), toolCallList=entries)


def _interrupt(world: World, at: float) -> None:
    random = world.random
    _later(world, at, "user-interrupted")
    if world.chance(0.3):
        _later(world, at + random.uniform(0, 2), "user-interrupted")
    if world.chance(0.8):
        words = LONG if world.chance(0.7) else SHORT
        after = at + random.uniform(0.2, 2)
        _later(world, after, "transcript", role="user", transcriptType="final", transcript=words)
    if world.chance(0.6):
        _speak(world, at - 0.1, random.uniform(0.2, 4))


def _speak(world: World, at: float, seconds: float) -> None:
    _later(world, at, "speech-update", role="user", status="started")
    if world.chance(0.9):
        _later(world, at + seconds, "speech-update", role="user", status="stopped")


def _meddle(world: World) -> None:
    """Just now, of all moments."""
    match world.random.randint(0, 2):
        case 0:
            _later(world, 0, "user-interrupted")
            _later(world, 0.2, "transcript", role="user", transcriptType="final", transcript=LONG)
        case 1:
            _later(world, 0, "speech-update", role="user", status="started")
        case 2:
            _later(world, 0, "status-update", tries=MANY, status="ended", endedReason="customer-ended-call")


def _hang_up(world: World, at: float) -> None:
    def end() -> None:
        world.ended = True

    world.at(at, end)
    _later(world, at, "status-update", tries=MANY, status="ended", endedReason="customer-ended-call")
    _later(world, at + 1, "end-of-call-report", tries=MANY, endedReason="customer-ended-call")


def _later(world: World, at: float, kind: str, tries: int = 2, **fields: Any) -> None:
    """Vapi sends a message; the network takes its time, so that messages overtake each other."""

    def send() -> None:
        made = world.message(kind, **fields)
        world.at(world.random.uniform(0.01, 0.8), partial(world.deliver, made, tries))

    world.at(max(0, at), send)
