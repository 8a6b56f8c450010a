"""What is fuzzed: three parsers, each given any bytes. A typed refusal is fine; any other exception is a find.

Nothing but the package and the standard library is imported, so that a coverage-guided fuzzer needs no more either.
"""

import json
import re
from collections.abc import Callable

from switchboard import messages, signatures
from switchboard.errors import MessageRefused, SignatureRefused
from switchboard.messages import Message, ToolAnswer
from switchboard.signatures import PRESETS, Secret

NOW = 1_800_000_000
URL = "https://voice.example.com/voice/status"
ONE = [Secret("one", "whsec_b25lIHNlY3JldCBvZiBhIGZ1enplcg==")]
OTHER = [Secret("other", "whsec_YW5vdGhlciBzZWNyZXQgb2YgYSBmdXp6ZXI=")]


def forms(given: bytes) -> None:
    """A form as the body of a phone request; before its first line feed, the query of the URL."""
    query, _, body = given.rpartition(b"\n")
    try:
        pairs = signatures.parse_form(body)
    except ValueError:
        return
    url = f"{URL}?{query.decode('latin-1')}"
    signature = signatures.sign_twilio(url, pairs, ONE[0].value)
    assert signatures.verify_twilio(url, pairs, signature, ONE) == "one"
    assert not accepted(lambda: signatures.verify_twilio(url, pairs, signature, OTHER))
    assert not accepted(lambda: signatures.verify_twilio(url, pairs, query.decode("latin-1"), ONE))


def bodies(given: bytes) -> None:
    """The body of a webhook: what is read of it, and what it is answered."""
    try:
        message = messages.read(given)
    except MessageRefused:
        return
    for name, kind in Message.__dict__.items():
        if isinstance(kind, property):
            value = getattr(message, name)
            assert isinstance(value, str | int), name
            if isinstance(value, str):
                value.encode()
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,100}", message.call_id)
    calls = message.tool_calls()
    answers = messages.tool_results(ToolAnswer(call, result=str(call.arguments)) for call in calls)
    assert [answer["toolCallId"] for answer in answers["results"]] == [call.id for call in calls]
    assert all(len(answer["result"].splitlines()) <= 1 for answer in answers["results"])
    json.dumps(answers, ensure_ascii=False).encode()
    for call in calls:
        if call.arguments is not None:
            messages.canonical(call.arguments)


def headers(given: bytes) -> None:
    """Three header values, a line each, then a body: nobody who does not know the secret gets in, by any scheme."""
    signature, timestamp, message_id, body = (*given.split(b"\n", 3), b"", b"", b"", b"")[:4]
    for scheme in PRESETS.values():
        sent = {
            scheme.signature_header: signature.decode("latin-1"),
            scheme.timestamp_header: timestamp.decode("utf-8", "surrogateescape"),
            scheme.id_header: message_id.decode("latin-1"),
        }
        assert not accepted(lambda: signatures.verify(scheme, sent, body, ONE, now=NOW, tolerance=300))  # noqa: B023 - called at once


def accepted(check: Callable[[], str]) -> bool:
    """Whether a check lets something in; only `SignatureRefused` is a way to say no."""
    try:
        check()
    except SignatureRefused:
        return False
    return True


TARGETS: dict[str, Callable[[bytes], None]] = {"forms": forms, "bodies": bodies, "headers": headers}
