"""What Vapi reports while people speak, and when. Values in, values out."""

from typing import Any, NamedTuple

WORDS_PER_SECOND = 2.5
CUT_OFF = 0.5  # how far into the assistant's words an interrupting caller begins
BARGE_IN = 0.1  # seconds until Vapi has noticed


class Cue(NamedTuple):
    """A message that is due `after` seconds of a turn."""

    after: float
    kind: str
    fields: dict[str, Any]


def speaking(role: str, words: str, turn: int, seconds: float) -> list[Cue]:
    """What Vapi reports of an utterance that is heard out."""
    return [
        Cue(0, "speech-update", {"status": "started", "role": role, "turn": turn}),
        Cue(seconds, "speech-update", {"status": "stopped", "role": role, "turn": turn}),
        *_transcribed(seconds, role, words),
    ]


def interrupted(words: str, turn: int, seconds: float, caller_words: str, caller_seconds: float) -> list[Cue]:
    """What Vapi reports when a caller speaks into the assistant's words: those are cut off where the caller began."""
    begins = seconds * CUT_OFF
    noticed = min(begins + BARGE_IN, begins + caller_seconds)
    return [
        Cue(0, "speech-update", {"status": "started", "role": "assistant", "turn": turn}),
        Cue(begins, "speech-update", {"status": "started", "role": "user", "turn": turn + 1}),
        Cue(noticed, "user-interrupted", {}),
        Cue(noticed, "speech-update", {"status": "stopped", "role": "assistant", "turn": turn}),
        *_transcribed(noticed, "assistant", cut_off(words)),
        Cue(begins + caller_seconds, "speech-update", {"status": "stopped", "role": "user", "turn": turn + 1}),
        *_transcribed(begins + caller_seconds, "user", caller_words),
    ]


def cut_off(words: str) -> str:
    """The words that were heard before the caller began, at least one."""
    heard = words.split()
    return " ".join(heard[: max(1, round(len(heard) * CUT_OFF))])


def _transcribed(after: float, role: str, words: str) -> list[Cue]:
    final = {"role": role, "transcriptType": "final", "transcript": words}
    return [Cue(after, "transcript", final), Cue(after, "conversation-update", {})]


def duration(words: str, pace: float) -> float:
    """Seconds that words take when people speak `pace` times as fast as usual."""
    return max(1.0, len(words.split()) / WORDS_PER_SECOND) / pace
