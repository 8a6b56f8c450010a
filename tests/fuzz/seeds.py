"""Where fuzzing begins: the entries of the corpora, as the bytes that each target takes."""

import random
from collections.abc import Sequence

from devkit import corpus_requests
from devkit.corpus_requests import Keys
from switchboard.signatures import PRESETS
from tests.fuzz.targets import NOW

LONGEST = 4096  # bytes of a seed; the corpora themselves have the large ones
# What parsers have stumbled over, to be put anywhere.
PIECES = (
    *(b"", b"\x00", b"\n", b"\r\n", b" ", b"\xff", b"\xed\xa0\xbd", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"%00", b"%ED%A0%BD"),
    *(b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u", b"\\ud83d", b"\\u0000", b",", b":", b"&", b"=", b";", b"%", b"+", b"."),
    *(b"null", b"true", b"-", b"0", b"9" * 39, b"1e999", b"NaN", b'"id":', b'"type":', b'"call":', b'"toolCallList":'),
    *(b"v1,", b"Bearer ", b"1800000000", b"CallSid", b"0" * 64, b"A" * 43 + b"="),
)  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """The seeds of one target."""
    keys, clock = Keys(), lambda: float(NOW)
    if target == "bodies":
        found = [one.body for name in ("bodies", "tools") for one in corpus_requests.requests(name, keys, clock)]
    elif target == "forms":
        found = [one.query.encode() + b"\n" + one.body for one in corpus_requests.requests("forms", keys, clock)]
    else:
        found = [
            "\n".join(value for _, value in one.headers).encode() + b"\n" + one.body
            for scheme in PRESETS.values()
            for one in corpus_requests.requests("signatures", keys._replace(scheme=scheme, secret="unknown"), clock)
        ]
    return sorted({seed for seed in found if len(seed) <= LONGEST})


def mutated(source: random.Random, known: Sequence[bytes]) -> bytes:
    """One seed with a few changes: bits, pieces, cuts, copies, and halves of other seeds."""
    made = bytearray(source.choice(known))
    for _ in range(source.randint(1, 6)):
        at = source.randint(0, len(made))
        end = min(len(made), at + source.choice((1, 2, 8, 64)))
        match source.randrange(5):
            case 0 if at < len(made):
                made[at] ^= 1 << source.randrange(8)
            case 1:
                made[at:at] = source.choice(PIECES)
            case 2:
                made[at:end] = source.choice(PIECES)
            case 3:
                made[at:at] = made[at:end] * source.choice((1, 2, 100))
            case _:
                made[at:] = source.choice(known)[at:]
    return bytes(made)
