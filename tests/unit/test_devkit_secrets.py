"""`switchboard secrets`: what it stores, what it shows, and that it never shows a value."""

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from devkit import cli, development, secrets
from devkit.errors import UserError
from switchboard import secrets as names
from switchboard.secrets import Secrets

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
VALUE = "hunter2-is-not-shown"
PATH = "/switchboard/switchboard/vapi-webhook"


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """SSM without any parameter, by ordinary credentials."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with mock_aws():
        yield boto3.client("ssm")


def stored(ssm: Any) -> list[dict[str, Any]]:
    """The entries of vapi-webhook."""
    found: list[dict[str, Any]] = json.loads(ssm.get_parameter(Name=PATH, WithDecryption=True)["Parameter"]["Value"])
    return found


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let `text` be what is piped in."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_put_stores_a_secure_string_that_the_functions_can_read(ssm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, VALUE)

    assert cli.main(["secrets", "put", "vapi-webhook"]) == 0
    assert ssm.get_parameter(Name=PATH)["Parameter"]["Type"] == "SecureString"
    assert Secrets("/switchboard/switchboard", ["vapi-webhook"], ssm).first("vapi-webhook") == VALUE


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[default.global.parameters]\nstack_name = "acme"', "acme"),
        ('[default.deploy.parameters]\nstack_name = "acme"', "acme"),
        (
            '[default.global.parameters]\nstack_name = "all"\n[default.deploy.parameters]\nstack_name = "acme"',
            "acme",
        ),
        ('[other.global.parameters]\nstack_name = "acme"', ""),
        ('[default.deploy.parameters]\nregion = "eu-west-1"', ""),
        ('stack_name = "acme"\ndefault = "deploy"', ""),
        ("[default.deploy.parameters]\nstack_name = 5", ""),
        ("", ""),
    ],
)
def test_the_stack_is_the_one_that_sam_deploys_from_here(
    ssm: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str,
    named: str,
) -> None:
    (tmp_path / "samconfig.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    stack = named or "switchboard"

    for arguments in (["put", "vapi-webhook"], ["rotate", "vapi-webhook"], ["list"]):
        give(monkeypatch, f"{VALUE}-{arguments[0]}")
        assert cli.main(["secrets", *arguments]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"stack {stack}{', named in samconfig.toml' if named else ''}\n")
    parameters = ssm.describe_parameters()["Parameters"]
    assert [parameter["Name"] for parameter in parameters] == [f"/switchboard/{stack}/vapi-webhook"]


def test_a_stack_that_is_given_counts_before_sam(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "samconfig.toml").write_text('[default.global.parameters]\nstack_name = "other"')
    monkeypatch.chdir(tmp_path)
    give(monkeypatch, VALUE)

    assert cli.main(["secrets", "put", "vapi-webhook", "--stack-name", "acme"]) == 0

    assert capsys.readouterr().out.startswith("stack acme\nstored /switchboard/acme/vapi-webhook;")
    assert ssm.describe_parameters()["Parameters"][0]["Name"] == "/switchboard/acme/vapi-webhook"


@pytest.mark.parametrize("content", [b"[default", b"\xff"])
def test_a_file_of_sam_that_cannot_be_read_stores_nothing(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "samconfig.toml").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    give(monkeypatch, VALUE)

    assert cli.main(["secrets", "put", "vapi-webhook"]) == 1

    assert "give --stack-name" in capsys.readouterr().err
    assert ssm.describe_parameters()["Parameters"] == []


def test_put_and_list_print_no_value(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["put", "vapi-webhook"], ["put", "vapi-webhook", "--add"], ["list"]):
        give(monkeypatch, f" {VALUE}\n")
        assert cli.main(["secrets", *arguments]) == 0

    shown = capsys.readouterr()
    assert VALUE not in shown.out + shown.err
    assert shown.out.count("vapi-webhook") == 4  # two puts and the two values listed
    assert "not set" in shown.out


def test_put_replaces_what_was_there(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)
    secrets.put(ssm, "switchboard", "vapi-webhook", "new", now=NOW)

    assert [entry["secret"] for entry in stored(ssm)] == ["new"]


def test_add_keeps_the_old_value_valid_and_makes_the_new_one_first_choice(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)
    secrets.put(ssm, "switchboard", "vapi-webhook", "new", now=NOW, add=True)

    read = Secrets("/switchboard/switchboard", ["vapi-webhook"], ssm)
    assert {secret.value for secret in read.active("vapi-webhook")} == {"old", "new"}
    assert read.first("vapi-webhook") == "new"
    assert len({entry["id"] for entry in stored(ssm)}) == 2


def test_add_with_hours_ends_the_old_value_then_and_never_later_than_it_would_have(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "oldest", now=NOW)
    secrets.put(ssm, "switchboard", "vapi-webhook", "older", now=NOW, add=True, keep_hours=1)
    secrets.put(ssm, "switchboard", "vapi-webhook", "new", now=NOW, add=True, keep_hours=3)

    ends = {entry["secret"]: entry.get("not_after") for entry in stored(ssm)}
    assert ends == {"oldest": NOW.timestamp() + 3600, "older": NOW.timestamp() + 3 * 3600, "new": None}


def test_add_drops_what_has_ended(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)
    secrets.put(ssm, "switchboard", "vapi-webhook", "new", now=NOW, add=True, keep_hours=1)
    secrets.put(ssm, "switchboard", "vapi-webhook", "newer", now=NOW + timedelta(hours=2), add=True)

    assert [entry["secret"] for entry in stored(ssm)] == ["new", "newer"]


def test_a_list_shows_ids_ends_and_ages(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)
    secrets.put(ssm, "switchboard", "vapi-webhook", "new", now=NOW, add=True, keep_hours=1)

    lines = secrets.listing(ssm, "switchboard", now=datetime.now(UTC) + timedelta(days=3, minutes=1))

    first, second = (line for line in lines if line.startswith("vapi-webhook"))
    assert stored(ssm)[0]["id"] in first
    assert "2026-01-05 16:00 UTC (ended)" in first
    assert "3 days ago" in first
    assert "it is replaced" in second


def test_a_parameter_that_was_typed_wrong_counts_as_not_set(ssm: Any) -> None:
    for text in ("hunter2", "{}", '[{"id": 1}]', "[1]"):
        ssm.put_parameter(Name=PATH, Value=text, Type="SecureString", Overwrite=True)

        assert [line.split() for line in secrets.listing(ssm, "switchboard", now=NOW)][1][:3] == [
            "vapi-webhook",
            "not",
            "set",
        ]


def test_white_space_around_a_pasted_value_is_removed_with_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, f"\t{VALUE} \n")

    assert secrets.read_value("vapi-webhook") == VALUE
    assert "white space" in capsys.readouterr().err


def test_a_line_end_alone_is_no_reason_for_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, f"{VALUE}\n")

    assert secrets.read_value("vapi-webhook") == VALUE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["", " \n", "two words", "two\nlines", "snow\u2603man"])
def test_what_cannot_be_a_secret_is_refused_unshown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    give(monkeypatch, text)

    with pytest.raises(UserError) as refused:
        secrets.read_value("vapi-webhook")

    assert not text.strip() or text not in str(refused.value)


def test_at_a_terminal_the_value_is_asked_for_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: VALUE if "vapi-webhook" in prompt else "")

    assert secrets.read_value("vapi-webhook") == VALUE


@pytest.mark.parametrize("name", ["vapi", "VAPI-WEBHOOK", "../x"])
def test_other_names_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["secrets", "put", name])

    assert ended.value.code == 2


def test_a_value_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["secrets", "put", "vapi-webhook", VALUE])

    assert ended.value.code == 2


def test_more_values_than_a_parameter_holds_are_refused(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "x" * 3000, now=NOW)

    with pytest.raises(UserError, match="without --add"):
        secrets.put(ssm, "switchboard", "vapi-webhook", "y" * 3000, now=NOW, add=True)


def test_an_answer_of_aws_is_shown_by_its_code_only(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ssm.put_parameter(Name=PATH, Value="[]", Type="String")
    give(monkeypatch, VALUE)

    def refuse(*_args: object, **_named: object) -> None:
        # As services do: the message quotes what was sent.
        raise ssm.exceptions.ClientError(
            {"Error": {"Code": "ValidationException", "Message": f"value {VALUE} is not valid"}}, "PutParameter"
        )

    monkeypatch.setattr(secrets, "put", refuse)

    assert cli.main(["secrets", "put", "vapi-webhook"]) == 1
    assert capsys.readouterr().err == "switchboard: AWS refused: ValidationException\n"


def test_without_a_region_it_says_so(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    assert cli.main(["secrets", "list"]) == 1
    assert "--region" in capsys.readouterr().err


def test_keeping_hours_without_add_is_refused_before_anything_is_asked(
    ssm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["secrets", "put", "vapi-webhook", "--keep-hours", "1"]) == 1
    assert "--add" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second"), [("vapi-api-key", "vapi-public-key"), ("vapi-public-key", "vapi-api-key")]
)
@pytest.mark.parametrize("store", [secrets.put, partial(secrets.rotate, keep_hours=24)])
def test_the_private_key_is_never_stored_as_the_public_one(ssm: Any, first: str, second: str, store: Any) -> None:
    secrets.put(ssm, "switchboard", first, VALUE, now=NOW)

    with pytest.raises(UserError, match=f"that is what {first} holds; nothing was stored") as refused:
        store(ssm, "switchboard", second, VALUE, now=NOW)

    assert VALUE not in str(refused.value)
    assert [line.split()[1:] for line in secrets.listing(ssm, "switchboard", now=NOW) if line.startswith(second)] == [
        ["not", "set"]
    ]


def test_two_keys_that_differ_are_stored_side_by_side(ssm: Any) -> None:
    for name in ("vapi-api-key", "vapi-public-key"):
        secrets.put(ssm, "switchboard", name, f"{VALUE}-{name}", now=NOW)

    read = Secrets("/switchboard/switchboard", ["vapi-api-key", "vapi-public-key"], ssm)
    assert read.first("vapi-public-key") == f"{VALUE}-vapi-public-key"


def test_every_development_secret_is_stored_under_a_known_name(ssm: Any) -> None:
    secrets.store_development(ssm)

    lines = secrets.listing(ssm, "switchboard-local", now=NOW)[1:]
    assert {line.split()[0] for line in lines if "development" in line} == set(development.SECRETS)


def test_every_secret_that_a_function_reads_can_be_stored() -> None:
    read = {value for name, value in vars(names).items() if name.startswith(("VAPI_", "TWILIO_", "CONSOLE"))}

    assert set(secrets.NAMES) == read == set(secrets.NEXT)


# Rotation


def test_a_rotation_keeps_the_old_value_for_a_day_and_says_what_is_next(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)

    said = secrets.rotate(ssm, "switchboard", "vapi-webhook", "new", keep_hours=24, now=NOW)

    assert [(one["secret"], one.get("not_after")) for one in stored(ssm)] == [
        ("old", NOW.timestamp() + 24 * 3600),
        ("new", None),
    ]
    assert "the old value is valid until 2026-01-06 15:00 UTC" in said
    assert "wait 5 minutes" in said
    assert "paste the new value at Vapi" in said


def test_rotating_twice_ends_the_oldest_value_no_later_than_was_said(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "oldest", now=NOW)
    secrets.rotate(ssm, "switchboard", "vapi-webhook", "older", keep_hours=24, now=NOW)
    secrets.rotate(ssm, "switchboard", "vapi-webhook", "new", keep_hours=24, now=NOW + timedelta(hours=3))

    ends = [one.get("not_after") for one in stored(ssm)]
    assert ends == [NOW.timestamp() + 24 * 3600, NOW.timestamp() + 27 * 3600, None]


def test_the_value_that_is_stored_is_nothing_to_rotate_to(ssm: Any) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", VALUE, now=NOW)

    with pytest.raises(UserError, match="stored already") as refused:
        secrets.rotate(ssm, "switchboard", "vapi-webhook", VALUE, keep_hours=24, now=NOW)

    assert VALUE not in str(refused.value)
    assert "not_after" not in stored(ssm)[0]


def test_a_first_value_is_stored_although_there_is_none_to_keep(ssm: Any) -> None:
    said = secrets.rotate(ssm, "switchboard", "vapi-webhook", "new", keep_hours=24, now=NOW)

    assert [one["secret"] for one in stored(ssm)] == ["new"]
    assert "no valid value to keep" in said


@pytest.mark.parametrize("name", secrets.NAMES)
def test_rotate_prints_the_next_step_of_every_secret_and_no_value(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for value in (f"{VALUE}-1", f"{VALUE}-2"):
        give(monkeypatch, value)
        assert cli.main(["secrets", "rotate", name]) == 0

    shown = capsys.readouterr()
    assert VALUE not in shown.out + shown.err
    assert secrets.NEXT[name] in shown.out
    assert ("promote the secondary token" in shown.out) == (name == "twilio-auth-token")


@pytest.mark.parametrize("hours", ["0", "-1", "0.9", "nan"])
def test_the_old_value_is_kept_for_an_hour_at_least(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hours: str
) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=NOW)
    give(monkeypatch, VALUE)

    assert cli.main(["secrets", "rotate", "vapi-webhook", "--keep-hours", hours]) == 1
    assert "at least 1 hour" in capsys.readouterr().err
    assert [one["secret"] for one in stored(ssm)] == ["old"]


def test_hours_may_be_chosen(ssm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.put(ssm, "switchboard", "vapi-webhook", "old", now=datetime.now(UTC))
    give(monkeypatch, VALUE)
    before = int(datetime.now(UTC).timestamp())  # whole seconds are stored

    assert cli.main(["secrets", "rotate", "vapi-webhook", "--keep-hours", "2"]) == 0
    assert 0 <= stored(ssm)[0]["not_after"] - before - 2 * 3600 <= 60


def test_a_generated_value_goes_to_a_file_of_its_owner_alone(
    ssm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new-secret"

    assert cli.main(["secrets", "rotate", "vapi-webhook", "--generate", str(file)]) == 0

    [entry] = stored(ssm)
    assert file.read_text() == entry["secret"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(entry["secret"], validate=True)) == 32
    shown = capsys.readouterr()
    assert entry["secret"] not in shown.out + shown.err
    assert str(file) in shown.out


def test_two_generated_values_differ(ssm: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli.main(["secrets", "rotate", "vapi-webhook", "--generate", str(tmp_path / name)]) == 0

    assert len({entry["secret"] for entry in stored(ssm)}) == 2


def test_a_file_that_is_there_is_not_written_over_nor_a_link_followed(
    ssm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")

    for file in (there, link, tmp_path / "no-such-folder/file"):
        assert cli.main(["secrets", "rotate", "vapi-webhook", "--generate", str(file)]) == 1
        assert "nothing was stored" in capsys.readouterr().err

    assert there.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    assert ssm.get_parameters(Names=[PATH])["Parameters"] == []


def test_only_a_value_of_our_own_can_be_generated(ssm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"

    assert cli.main(["secrets", "rotate", "twilio-auth-token", "--generate", str(file)]) == 1
    assert "made by the other side" in capsys.readouterr().err
    assert not file.exists()


def test_a_generated_value_that_was_surely_not_stored_is_thrown_away(ssm: Any, tmp_path: Path) -> None:
    for number in range(3):
        secrets.put(ssm, "switchboard", "vapi-webhook", f"{number}" * 1300, now=NOW, add=True)
    file = tmp_path / "new-secret"

    assert cli.main(["secrets", "rotate", "vapi-webhook", "--generate", str(file)]) == 1
    assert not file.exists()


def test_a_generated_value_that_may_have_been_stored_is_kept(
    ssm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_args: object, **_named: object) -> None:
        raise ssm.exceptions.ClientError({"Error": {"Code": "InternalServerError"}}, "PutParameter")

    monkeypatch.setattr(secrets, "rotate", lose)
    file = tmp_path / "new-secret"

    assert cli.main(["secrets", "rotate", "vapi-webhook", "--generate", str(file)]) == 1
    assert file.read_text()
    shown = capsys.readouterr()
    assert str(file) in shown.err
    assert file.read_text() not in shown.out + shown.err
