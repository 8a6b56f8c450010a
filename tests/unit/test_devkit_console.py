"""`switchboard console` and `switchboard audit`: what they print, what they store, and whom they refuse."""

import argparse
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import audit as listing
from devkit import console, secrets, target
from devkit.errors import UserError
from devkit.target import Target
from switchboard import audit
from switchboard.audit import DONE, Entry, Outcome
from switchboard.secrets import CONSOLE
from switchboard.signatures import Secret
from switchboard.tokens import ACT, WORDS, Token, verify
from tests.conftest import NOW
from tests.memory import Memory

STACK = "clinic"
URL = "https://voice.example.com"


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    console.arguments(parser)
    return parser.parse_args(given)


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The parameters of a stack that was deployed, and has no secret for the console yet."""
    with mock_aws():
        client = boto3.client("ssm", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.put_parameter(Name=f"/switchboard/{STACK}/public-base-url", Value=URL, Type="String")
        monkeypatch.setattr(target, "chosen", lambda _: Target(STACK, lambda service: client))
        yield client


def stored(ssm: Any) -> list[Secret]:
    """The secrets that sign."""
    value = ssm.get_parameter(Name=f"/switchboard/{STACK}/{CONSOLE}", WithDecryption=True)["Parameter"]["Value"]
    return [Secret(entry["id"], entry["secret"]) for entry in json.loads(value)]


def printed(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[str, str]:
    """What a run prints: the address, and what is said beside it."""
    assert console.run(options(*given)) == 0
    said = capsys.readouterr()
    return said.out.strip(), said.err


def read(ssm: Any, url: str) -> Token:
    """The token in an address."""
    return verify(url.partition("#console=")[2], stored(ssm), time.time())


def test_the_address_holds_a_token_in_its_fragment(ssm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url, said = printed(capsys)
    token = read(ssm, url)

    assert re.fullmatch(rf"{URL}/#console=v1\.[\w-]+\.[\w-]+", url)
    assert token.scopes == {ACT}
    assert 3590 < token.exp - time.time() <= 3600
    # The audit names who acted by it.
    assert f"token {token.id}, valid until" in said
    assert url not in said


@pytest.mark.parametrize(
    ("given", "scopes"),
    [([], {ACT}), (["--words"], {ACT, WORDS}), (["--read-only"], set()), (["--read-only", "--words"], {WORDS})],
)
def test_a_token_allows_what_was_asked_for(
    ssm: Any, capsys: pytest.CaptureFixture[str], given: list[str], scopes: set[str]
) -> None:
    assert read(ssm, printed(capsys, *given)[0]).scopes == scopes


def test_the_secret_is_made_once_and_is_none_that_could_be_guessed(
    ssm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = printed(capsys)[0]
    (secret,) = stored(ssm)
    second = printed(capsys)[0]

    assert stored(ssm) == [secret]
    assert len(secret.value) == 44
    assert read(ssm, first).id != read(ssm, second).id
    parameter = ssm.get_parameter(Name=f"/switchboard/{STACK}/{CONSOLE}")["Parameter"]
    assert parameter["Type"] == "SecureString"


def test_of_two_who_make_the_secret_at_once_both_use_one(
    ssm: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, looks = secrets.newest, iter([True, False])
    # The first look is from before the other one's secret was stored.
    monkeypatch.setattr(secrets, "newest", lambda *given: "" if next(looks) else newest(*given))
    secrets.put(ssm, STACK, CONSOLE, "x" * 44, now=datetime.now(UTC))

    assert read(ssm, printed(capsys)[0])
    assert [secret.value for secret in stored(ssm)] == ["x" * 44]


def test_after_a_rotation_the_newest_signs(ssm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    old = printed(capsys)[0]
    secrets.rotate(ssm, STACK, CONSOLE, "y" * 44, keep_hours=1, now=datetime.now(UTC))
    new = printed(capsys)[0]

    assert read(ssm, old).id
    assert verify(new.partition("#console=")[2], stored(ssm)[-1:], time.time())


def test_revoking_ends_every_token(ssm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url = printed(capsys)[0]
    said = printed(capsys, "--revoke")[0]

    assert said == "revoked; the stack refuses the old tokens within 5 minutes"
    with pytest.raises(Exception, match="signature_mismatch"):
        read(ssm, url)
    assert read(ssm, printed(capsys)[0])


@pytest.mark.parametrize("minutes", ["0", "-5", "721"])
def test_a_token_is_for_twelve_hours_at_most(ssm: Any, minutes: str) -> None:
    with pytest.raises(UserError, match="from 1 to 720"):
        console.run(options("--minutes", minutes))


def test_a_secret_that_somebody_typed_is_not_signed_with(ssm: Any) -> None:
    secrets.put(ssm, STACK, CONSOLE, "hunter2", now=datetime.now(UTC))

    with pytest.raises(UserError, match="too short to sign with"):
        console.run(options())


def test_a_stack_that_is_not_there_is_one_clear_line(ssm: Any) -> None:
    ssm.delete_parameter(Name=f"/switchboard/{STACK}/public-base-url")

    with pytest.raises(UserError, match="there is no stack 'clinic' here"):
        console.run(options())


def test_the_local_stack_wants_no_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("devkit.facts.running", lambda: {"host": "switchboard.localhost:4566"})

    assert printed(capsys, "--local") == ("http://switchboard.localhost:4566/#console", "")


# The audit

DAY = date(2027, 1, 15)


@pytest.fixture
def table() -> Memory:
    """One request that was done, and one whose process died."""
    made = Memory()
    for number, (action, to) in enumerate([("say", ""), ("transfer", "reception")]):
        entry = Entry(f"{int(NOW * 1000) + number}-{number:032x}", "a1b2c3d4", action, "call-1", to)
        audit.claim(made, entry, NOW + number)
    audit.settle(made, f"{int(NOW * 1000)}-{0:032x}", Outcome(DONE), NOW)
    return made


def test_a_day_is_a_line_for_each_request(table: Memory) -> None:
    lines = listing.as_text(audit.of_day(table, DAY, NOW), DAY).splitlines()

    assert [line.split() for line in lines[1:]] == [
        ["2027-01-15", "08:00:00", "a1b2c3d4", "say", "call-1", "done"],
        ["2027-01-15", "08:00:01", "a1b2c3d4", "transfer", "call-1", "reception", "unknown", "under_way"],
    ]


def test_a_day_for_programs(table: Memory) -> None:
    first, _ = json.loads(listing.as_json(audit.of_day(table, DAY, NOW)))

    assert (first["action"], first["outcome"], first["at"]) == ("say", "done", "2027-01-15 08:00:00")


def test_a_day_on_which_nothing_was_done_says_so() -> None:
    assert listing.as_text([], DAY) == "nothing on 2027-01-15; rows are kept for 30 days"


def test_what_is_no_day_is_refused() -> None:
    assert listing.day("2027-01-15") == DAY
    with pytest.raises(argparse.ArgumentTypeError, match="not a day like"):
        listing.day("yesterday")
