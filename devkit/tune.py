"""The music that callers hear while they wait: `python -m devkit.tune` writes functions/twilio_callbacks/tune.wav.

Four bars of broken chords, 8 s, as the phone network carries sound: 8,000 samples a second, mono, 8-bit mu-law. What
still rings at the end sounds on at the beginning, so that the loop has no seam. All arithmetic is on integers, so that
every machine makes the same file.
"""

import struct
from pathlib import Path

FILE = Path(__file__).parents[1] / "functions" / "twilio_callbacks" / "tune.wav"
RATE = 8_000
BEAT = RATE // 2  # samples from one note to the next
ATTACK = RATE // 50  # samples in which a note rises, so that it does not click
LOUDNESS, BASS_LOUDNESS = 2_800, 1_800  # of 32,767: below the voices that callers came for
MU_LAW = 7  # WAVE_FORMAT_MULAW

# Hundredths of a hertz.
PITCHES = {"F2": 8731, "G2": 9800, "A2": 11000, "C3": 13081, "F3": 17461, "G3": 19600, "A3": 22000, "B3": 24694}
PITCHES |= {"C4": 26163, "D4": 29366, "E4": 32963, "G4": 39200, "B4": 49388}
# A bass, and four notes above it: C major 7, A minor 7, F major 7, G 6.
BARS = (
    ("C3", ("C4", "E4", "G4", "B4")),
    ("A2", ("A3", "C4", "E4", "G4")),
    ("F2", ("F3", "A3", "C4", "E4")),
    ("G2", ("G3", "B3", "D4", "E4")),
)


def samples() -> list[int]:
    """The tune, as signed 16-bit samples."""
    tune = [0] * (len(BARS) * 4 * BEAT)
    for bar, (bass, notes) in enumerate(BARS):
        _play(tune, 4 * bar * BEAT, PITCHES[bass], BASS_LOUDNESS, 6 * BEAT)
        for beat, note in enumerate(notes):
            _play(tune, (4 * bar + beat) * BEAT, PITCHES[note], LOUDNESS, 4 * BEAT)
    return tune


def _play(tune: list[int], start: int, pitch: int, loudness: int, length: int) -> None:
    """Add one note that fades to nothing in `length` samples; behind the end of the tune comes its beginning."""
    for sample in range(length):
        fade = (length - sample) ** 2 * min(sample, ATTACK)
        # An octave, more quietly, makes it less of a whistle.
        wave = 4 * _sine(sample * pitch) + _sine(2 * sample * pitch)
        tune[(start + sample) % len(tune)] += loudness * wave * fade // (5 * 2**15 * ATTACK * length**2)


def _sine(phase: int) -> int:
    """A sine of amplitude 2**15, by Bhaskara's formula; a period is 100 * RATE long."""
    half = 50 * RATE
    turn, within = divmod(phase, half)
    product = within * (half - within)
    height = 16 * product * 2**15 // (5 * half**2 - 4 * product)
    return -height if turn % 2 else height


def mu_law(sample: int) -> int:
    """One signed 16-bit sample as a byte of G.711 mu-law."""
    sign, level = (0x80 if sample < 0 else 0), min(abs(sample), 32_635) + 132
    exponent = level.bit_length() - 8
    return ~(sign | exponent << 4 | level >> exponent + 3 & 0x0F) & 0xFF


def wav() -> bytes:
    """The whole file."""
    data = bytes(map(mu_law, samples()))
    chunks = (
        (b"fmt ", struct.pack("<HHIIHHH", MU_LAW, 1, RATE, RATE, 1, 8, 0)),
        (b"fact", struct.pack("<I", len(data))),
        (b"data", data),
    )
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


if __name__ == "__main__":
    FILE.write_bytes(wav())
