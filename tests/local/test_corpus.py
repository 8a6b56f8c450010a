"""A sample of the corpora at the deployed stack: the gateway in front of the functions changes no outcome."""

import time
from itertools import islice

import pytest

from devkit import corpus_requests
from devkit.corpus_requests import Keys
from devkit.stack import Stack

EVERY = {"signatures": 12, "bodies": 30, "forms": 9, "control_urls": 30, "twiml": 20, "tools": 25}
MAX_SENT = 1_000_000  # bytes; larger ones are for `switchboard corpus`


def is_text(body: bytes) -> bool:
    """Whether the gateway hands a body over as it came: the emulator's replaces what is not UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", corpus_requests.NAMES)
def test_a_sample_of_a_corpus_is_answered_as_it_should_be(stack: Stack, name: str) -> None:
    keys = Keys(base_url=f"http://{stack.host}")
    sendable = (one for one in corpus_requests.requests(name, keys, time.time) if one.sendable and is_text(one.body))
    faults = []
    for request in islice((one for one in sendable if len(one.body) < MAX_SENT), 0, None, EVERY[name]):
        path = request.path + (f"?{request.query}" if request.query else "")
        if fault := request.fault(*stack.request("POST", path, request.body, dict(request.headers))):
            faults.append(f"{request.name}: {fault}")

    assert not faults, "\n".join(faults)
