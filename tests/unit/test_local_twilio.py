"""How long a recording plays, from its bytes."""

import struct

import pytest

from devkit import tune
from devkit.local_twilio import seconds_of


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


FORMAT = struct.pack("<HHIIHH", 1, 1, 100, 200, 2, 16)  # 100 samples of two bytes a second


def test_our_own_tune_is_as_long_as_it_should_be() -> None:
    assert seconds_of(tune.wav()) == 8.0


@pytest.mark.parametrize(
    ("recording", "seconds"),
    [
        (wav((b"fmt ", FORMAT), (b"data", bytes(300))), 1.5),
        (wav((b"fmt ", FORMAT), (b"LIST", b"odd"), (b"data", bytes(300))), 1.5),
        (wav((b"data", bytes(300)), (b"fmt ", FORMAT)), 0),
        (wav((b"fmt ", FORMAT[:8]), (b"data", bytes(300))), 0),
        (wav((b"fmt ", FORMAT)), 0),
        (b"ID3 an mp3 perhaps", 0),
        (b"RIFF\0\0\0\0AVI LIST", 0),
        (b"", 0),
    ],
)
def test_what_is_no_wav_plays_no_time(recording: bytes, seconds: float) -> None:
    assert seconds_of(recording) == seconds
