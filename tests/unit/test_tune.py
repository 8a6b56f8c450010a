"""The hold music: the committed file is what its script makes, and a phone network can play it."""

import math
import struct
from itertools import pairwise

import pytest

from devkit import tune

HEADER = struct.Struct("<4sI4s 4sIHHIIHHH 4sII 4sI")


def heard(byte: int) -> int:
    """The sample that a byte of mu-law stands for, as G.711 decodes it."""
    inverted = ~byte & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << (inverted >> 4 & 7)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


def test_the_committed_file_is_what_the_script_makes() -> None:
    assert tune.FILE.read_bytes() == tune.wav(), "run `python -m devkit.tune`"


def test_it_is_mu_law_as_the_phone_network_carries_it() -> None:
    sound = tune.FILE.read_bytes()
    riff, size, wave, fmt, fmt_size, *form, fact, fact_size, samples, data, data_size = HEADER.unpack_from(sound)

    assert (riff, wave, fmt, fact, data) == (b"RIFF", b"WAVE", b"fmt ", b"fact", b"data")
    assert form == [7, 1, 8_000, 8_000, 1, 8, 0]  # format, channels, rate, bytes a second, bytes a frame, bits, extra
    assert (fmt_size, fact_size) == (18, 4)
    assert (size, data_size) == (len(sound) - 8, len(sound) - HEADER.size)
    assert samples == data_size
    assert data_size % 2 == 0
    assert 7 <= data_size / 8_000 <= 9


def test_it_is_quiet_and_never_clips() -> None:
    sound = [heard(byte) for byte in tune.FILE.read_bytes()[HEADER.size :]]
    loudness = math.sqrt(sum(sample**2 for sample in sound) / len(sound))

    assert max(map(abs, sound)) < 32_767 / 4
    assert 500 < loudness < 3_000
    assert abs(sum(sound)) / len(sound) < 10  # no constant part, which would click at both ends
    # It is never silent: who waits does not think that the line is dead.
    assert all(any(abs(sample) > 200 for sample in sound[start : start + 400]) for start in range(0, len(sound), 400))


def test_the_loop_has_no_seam() -> None:
    sound = tune.samples()
    steps = [abs(after - before) for before, after in pairwise(sound)]

    assert abs(sound[0] - sound[-1]) <= max(steps) / 4


@pytest.mark.parametrize(
    ("sample", "byte"),
    # The ends, zero, and edges of G.711's decision values, which have 14 bits: 1 is 4 here, 31 is 124, 8159 is 32,636.
    [
        (0, 0xFF),
        (3, 0xFF),
        (4, 0xFE),
        (-3, 0x7F),
        (-4, 0x7E),
        (123, 0xF0),
        (124, 0xEF),
        (32_767, 0x80),
        (-32_768, 0x00),
    ],
)
def test_a_sample_becomes_the_byte_of_the_standard(sample: int, byte: int) -> None:
    assert tune.mu_law(sample) == byte


def test_decoding_comes_back_to_the_sample_within_the_step_of_its_segment() -> None:
    for sample in range(-32_635, 32_636, 7):
        byte = tune.mu_law(sample)
        step = 8 << (~byte >> 4 & 7)

        assert abs(heard(byte) - sample) <= step / 2, sample


def test_every_byte_is_the_code_of_its_own_sample() -> None:
    # Two codes stand for zero; the one of minus zero is never sent.
    assert [byte for byte in range(256) if tune.mu_law(heard(byte)) != byte] == [0x7F]
