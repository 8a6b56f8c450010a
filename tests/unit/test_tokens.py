"""Tokens of the console: whose, until when, for what; and everything that is none."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from switchboard import tokens
from switchboard.errors import SignatureRefused
from switchboard.signatures import Secret
from switchboard.tokens import ACT, MAX_SECONDS, WORDS, Token, issue, verify
from tests.conftest import NOW

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
TOKEN = Token("a1b2c3d4", int(NOW) + 3600, frozenset({ACT, WORDS}))


def known(*values: str) -> list[Secret]:
    return [Secret(f"id-{value[:2]}", value) for value in values]


def signed(payload: Any, secret: str = SECRET, context: bytes = tokens._CONTEXT) -> str:
    """A token with any payload, made apart from the code under test."""
    text = payload if isinstance(payload, str) else encoded(json.dumps(payload).encode())
    return f"v1.{text}.{encoded(hmac.new(secret.encode(), context + text.encode(), hashlib.sha256).digest())}"


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def payload(**changes: Any) -> dict[str, Any]:
    return {"id": TOKEN.id, "exp": TOKEN.exp, "scopes": [ACT, WORDS]} | changes


def refusal(text: str, *secrets: str, now: float = NOW) -> str:
    """Why a token is refused."""
    with pytest.raises(SignatureRefused) as refused:
        verify(text, known(*secrets), now)
    assert refused.value.status == 401
    return refused.value.reason


def test_a_token_says_what_was_put_into_it() -> None:
    assert verify(issue(TOKEN, SECRET), known(SECRET), NOW) == TOKEN
    assert verify(signed(payload()), known(SECRET), NOW) == TOKEN


def test_during_a_rotation_both_secrets_count() -> None:
    assert verify(issue(TOKEN, SECRET), known(OTHER, SECRET), NOW) == TOKEN
    assert verify(issue(TOKEN, OTHER), known(OTHER, SECRET), NOW) == TOKEN


def test_what_a_token_may_be_read_for_is_in_it_and_nothing_unknown_is() -> None:
    assert verify(issue(TOKEN._replace(scopes=frozenset()), SECRET), known(SECRET), NOW).scopes == frozenset()
    assert verify(signed(payload(scopes=[WORDS, "admin"])), known(SECRET), NOW).scopes == {WORDS}


@pytest.mark.parametrize(
    ("exp", "good"),
    [(NOW - 1, False), (NOW, False), (NOW + 1, True), (NOW + MAX_SECONDS, True), (NOW + MAX_SECONDS + 1, False)],
)
def test_a_token_counts_until_its_time_and_no_time_is_further_than_twelve_hours(exp: float, good: bool) -> None:
    text = signed(payload(exp=int(exp)))

    if good:
        assert verify(text, known(SECRET), NOW).exp == exp
    else:
        assert refusal(text, SECRET) == "token_expired"


def test_every_flipped_bit_is_noticed() -> None:
    text = issue(TOKEN, SECRET).encode()

    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            with pytest.raises(SignatureRefused):
                verify(flipped.decode("latin-1"), known(SECRET), NOW)


def test_every_truncated_token_is_none() -> None:
    text = issue(TOKEN, SECRET)

    assert {refusal(text[:length], SECRET) for length in range(len(text))} == {
        *("no_token", "token_malformed", "signature_mismatch")
    }


REFUSED = {
    "another secret": (issue(TOKEN, OTHER), "signature_mismatch"),
    "something else that this secret signed": (signed(payload(), context=b""), "signature_mismatch"),
    "another version": (issue(TOKEN, SECRET).replace("v1.", "v2."), "token_malformed"),
    "no version": (issue(TOKEN, SECRET).removeprefix("v1."), "token_malformed"),
    "a token of another kind that says it is not signed": ("eyJhbGciOiJub25lIn0.e30.", "token_malformed"),
    "no mac": (f"v1.{encoded(json.dumps(payload()).encode())}.", "token_malformed"),
    "no payload": (signed(""), "token_malformed"),
    "too long": (signed(payload(scopes=["x" * 400])), "token_malformed"),
    "not ascii": ("v1.é.ü", "token_malformed"),
    "not base64": (signed("a"), "token_malformed"),
    "not json": (signed(encoded(b"{")), "token_malformed"),
    "a list": (signed([]), "token_malformed"),
    "no time": (signed({"id": "x", "scopes": []}), "token_malformed"),
    "a time that is none": (signed(payload(exp="soon")), "token_malformed"),
    "an endless time": (signed(encoded(b'{"id":"x","exp":1e999,"scopes":[]}')), "token_malformed"),
    "scopes that are none": (signed(payload(scopes=7)), "token_malformed"),
    "nothing": ("", "no_token"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_token_of_this_stack_is_refused(text: str, reason: str) -> None:
    assert refusal(text, SECRET) == reason


def test_padding_makes_no_second_spelling_of_a_token() -> None:
    assert refusal(f"{issue(TOKEN, SECRET)}=", SECRET) == "signature_mismatch"


@pytest.mark.parametrize("secret", ["", "short", "x" * (tokens.MIN_SECRET - 1)])
def test_a_secret_that_could_be_guessed_signs_nothing_and_verifies_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="too short"):
        issue(TOKEN, secret)
    assert refusal(signed(payload(), secret), secret) == "no_secret"


def test_without_a_secret_there_is_no_token() -> None:
    assert refusal(issue(TOKEN, SECRET)) == "no_secret"
