"""The corpora as data: they are what their scripts write, no entry is there twice, and there are enough of them."""

import argparse
import json
from collections import Counter
from typing import Any

import pytest

from devkit import corpus, corpus_requests, corpus_values, development
from devkit.corpus_requests import Keys
from devkit.errors import UserError
from switchboard import signatures
from tests.corpus import write

LEAST = {"signatures": 500, "bodies": 600, "forms": 200, "control_urls": 150, "twiml": 200, "tools": 350}


@pytest.mark.parametrize("name", corpus_requests.NAMES)
def test_a_corpus_is_what_its_script_writes(name: str) -> None:
    assert (corpus_requests.FOLDER / f"{name}.jsonl").read_text() == write.lines(name), (
        "run `python -m tests.corpus.write`"
    )


@pytest.mark.parametrize("name", corpus_requests.NAMES)
def test_no_entry_is_there_twice(name: str) -> None:
    entries = corpus_requests.load(name)
    names = Counter(entry["name"] for entry in entries)
    inputs = Counter(json.dumps({key: value for key, value in entry.items() if key != "name"}) for entry in entries)

    assert [text for text, times in (names + inputs).items() if times > 1] == []


@pytest.mark.parametrize("name", corpus_requests.NAMES)
def test_a_corpus_is_as_large_as_was_promised(name: str) -> None:
    assert len(corpus_requests.load(name)) >= LEAST[name]


def test_a_corpus_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="cannot read the corpus nothing"):
        corpus_requests.load("nothing")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (["a", "b", ["c"]], "abc"),
        ({"repeat": ["a", "b"], "times": 2}, "abab"),
        ({"now": -1}, "99"),
        ({"now": 1, "unit": "ms"}, "101000"),
        ({"use": "digest"}, "<digest>"),
        ({"use": "digest", "as": "upper"}, "<DIGEST>"),
        ({"use": "digest", "as": "beheaded"}, "digest>"),
    ],
)
def test_a_value_stands_for_a_text(value: Any, text: str) -> None:
    assert corpus_values.text(value, lambda name: f"<{name}>", 100.9) == text


@pytest.mark.parametrize("value", [None, 5, {}, {"times": 2}])
def test_a_value_that_stands_for_nothing_is_a_mistake(value: Any) -> None:
    with pytest.raises(ValueError, match="no text"):
        corpus_values.text(value)


def test_a_value_stands_for_bytes_too() -> None:
    value = ["é", {"bytes": "ff00"}, {"text": "a", "encoding": "utf-16-le"}, {"repeat": {"bytes": "01"}, "times": 2}]

    assert corpus_values.data(value) == b"\xc3\xa9\xff\x00a\x00\x01\x01"


def test_other_spare_bits_are_another_spelling_of_the_same_bytes() -> None:
    other = corpus_values.OPERATIONS["spare"]("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")

    assert other == "AAAAAAAAAAAAAAAAAAAAAAAAAAB="


@pytest.mark.parametrize("preset", signatures.PRESETS)
def test_it_signs_as_the_package_does(preset: str) -> None:
    scheme = signatures.PRESETS[preset]
    secret = corpus_values.secret_for(scheme, "secret")
    proof = corpus_values.digest(scheme, secret, "1800000000", "msg_1", b"{}")

    headers = signatures.sign(scheme, b"{}", secret, timestamp=1_800_000_000, message_id="msg_1")
    assert headers[scheme.signature_header] == scheme.prefix + proof


def test_it_signs_as_twilio_does() -> None:
    fields = [("b", "2"), ("a", "1"), ("b", "1"), ("b", "2")]

    assert corpus_values.twilio_digest("https://a.example/b", fields, "token") == signatures.sign_twilio(
        "https://a.example/b", fields, "token"
    )


def test_what_http_cannot_carry_is_not_sent() -> None:
    left_out = {
        request.name: request
        for scheme in (signatures.PRESETS["vapi-hmac"], signatures.PRESETS["standard-webhooks"])
        for request in corpus_requests.requests("signatures", Keys(scheme=scheme), lambda: 1_800_000_000)
        if not request.sendable
    }

    assert "vapi-hmac: signature with a line feed behind it" in left_out
    assert "vapi-hmac: signature with a space behind it" in left_out
    assert "vapi-hmac: signature with a Cyrillic letter" in left_out
    assert "vapi-hmac: signature of a hundred kilobytes" in left_out
    assert "vapi-hmac: header written 'x-signature '" in left_out
    # Its clock would have to stand still.
    assert "vapi-hmac: time a second past the old end" in left_out
    assert "vapi-hmac: as it should be" not in left_out
    assert "vapi-hmac: signature empty" not in left_out
    assert "vapi-hmac: time in ISO 8601" not in left_out


def test_a_server_elsewhere_must_be_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("https://voice.example.com", "http://10.0.0.1", "http://127.0.0.1.evil.example"):
        with pytest.raises(UserError, match="say --mine if the server is yours"):
            corpus.run(arguments("--base-url", url))

    assert capsys.readouterr().out == ""


def test_a_corpus_that_does_not_exist_is_not_played() -> None:
    with pytest.raises(UserError, match="no such corpus: words; there are signatures, bodies"):
        corpus.run(arguments("words"))


def test_the_keys_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPI_WEBHOOK_SECRET", "s")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "t")
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC1")
    args = arguments(
        "--base-url", "https://a.example/", "--mine", "--scheme", "bearer", "--public-url", "https://b.example/v1/"
    )

    assert corpus.target(args) == (
        "https://a.example/",
        "a.example",
        Keys("s", "t", "https://b.example/v1", "AC1", signatures.PRESETS["bearer"]),
    )


def test_without_keys_of_its_own_it_signs_for_a_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAPI_WEBHOOK_SECRET", "TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"):
        monkeypatch.delenv(name, raising=False)
    _, host, keys = corpus.target(arguments("--base-url", "http://127.0.0.1:3000"))

    assert host == "127.0.0.1:3000"
    assert keys == Keys(base_url="http://127.0.0.1:3000")
    assert keys.secret == development.VAPI_WEBHOOK_SECRET


def arguments(*given: str) -> Any:
    """The command line, read."""
    parser = argparse.ArgumentParser()
    corpus.arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    ("body", "expect", "status", "fault"),
    [
        (b"{}", "not_json", 400, ""),
        (b"{}", "not_json", 401, "answered 401, not 400 (not_json)"),
        # A gateway may have replaced what is no text.
        (b"\xff", "not_json", 401, ""),
        (b"\xff", "not_json", 200, "answered 200, not 400 (not_json)"),
        (b"{}", "body_too_large", 413, ""),
        (b"{}", "accepted", 200, "said b'more'"),
        (b"{}", "accepted", 503, "answered 503, not 200 (accepted)"),
    ],
)
def test_an_answer_is_judged_by_its_status_and_then_by_its_body(
    body: bytes, expect: str, status: int, fault: str
) -> None:
    hang = next(corpus_requests.requests("control_urls", Keys(), lambda: 0))
    request = hang._replace(corpus="bodies", body=body, expect=expect)

    assert request.fault(status, b"more") == fault
