"""What a caller is offered instead of the assistant: the next step of the configured ladder, as a document.

Where a caller stands on the ladder travels in the URLs that Twilio asks next, and Twilio signs those: so every step
works while the table is down, and each of them ends in words and an orderly end.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from switchboard import routes, twiml
from switchboard.settings import REDIRECT, Settings

QUEUE_WORDS = "All our lines are busy. Please stay on the line, you keep your place."
HUMAN_WORDS = "One moment, I am putting you through."
VOICEMAIL_WORDS = (
    "Nobody can talk to you right now. Please leave a message after the tone, and press the pound key when done."
)
THANKS = "Thank you for your message. Goodbye."


class Cause(StrEnum):
    """Why a caller is not talking to the assistant."""

    VAPI = "vapi"
    CONCURRENCY = "concurrency"
    CAP = "cap"
    DAY = "day"
    CALLER = "caller"
    UNAVAILABLE = "unavailable"
    TOO_SLOW = "too_slow"
    CONFIGURATION = "configuration"
    ERROR = "error"
    REPEATED = "repeated"
    NO_ANSWER = "no_answer"
    """The other end of a <Dial> was not reached."""


ROUNDS = 5  # times in the queue that may end at a Vapi that is full; before the k-th try pass k - 1 turns of music
BACK = 10  # a caller who was away for a transfer begins a new ten of them: no two times in the queue have one number

BUSY = (Cause.CAP, Cause.CONCURRENCY)  # waiting helps
PLANNED = (Cause.CAP, Cause.DAY, Cause.CALLER)  # what its owner wanted to happen, so no alarm


class Step(NamedTuple):
    """A step of the ladder and what Twilio is told to do."""

    name: str
    document: str


def document(settings: Settings, base: str, cause: Cause, *, after: str = "", queued: int = 0) -> Step:
    """The first step behind `after` that can be taken. `base` is the origin of our URLs, '' where it is not known.

    `queued` counts this caller's times in the queue.
    """
    # Whoever calls all day long is not put through to a person, and does not fill a voicemail box.
    steps = ("apology",) if cause is Cause.CALLER else _behind(settings.ladder, after)
    for name in steps:
        if made := _STEPS[name](settings, base, cause, queued):
            return Step(name, made)
    return Step("apology", twiml.say_and_hang_up(settings.apology))


def _behind(ladder: tuple[str, ...], after: str) -> tuple[str, ...]:
    return ladder[ladder.index(after) + 1 :] if after in ladder else ladder


def _queue(settings: Settings, base: str, cause: Cause, queued: int) -> str:
    # Who has been in a queue is answered, and Vapi takes over a call by redirect only while it still rings.
    if not base or cause not in BUSY or settings.way == REDIRECT or queued % BACK >= ROUNDS:
        return ""
    wait = routes.url(base, routes.WAIT, n=queued + 1, said=0, turn=0)
    # Two stacks of one Twilio account must not stand in one line: who is first there would hold up the other's callers.
    name = settings.parameter_path.rpartition("/")[2]
    return twiml.enqueue(name, wait, routes.url(base, routes.DEQUEUED, n=queued + 1), QUEUE_WORDS)


def _human(settings: Settings, base: str, cause: Cause, queued: int) -> str:
    if not settings.human_number or not base:
        return ""
    action = routes.url(base, routes.STEP, after="human", cause=cause.value, n=queued)
    return twiml.dial(settings.human_number, HUMAN_WORDS, action=action)


def _voicemail(_settings: Settings, base: str, cause: Cause, _queued: int) -> str:
    if not base:
        return ""
    return twiml.voicemail(VOICEMAIL_WORDS, routes.url(base, routes.STEP, after="voicemail", cause=cause.value))


def _apology(settings: Settings, _base: str, _cause: Cause, _queued: int) -> str:
    return twiml.say_and_hang_up(settings.apology)


_STEPS: dict[str, Callable[[Settings, str, Cause, int], str]] = {
    "queue": _queue,
    "human": _human,
    "voicemail": _voicemail,
    "apology": _apology,
}
