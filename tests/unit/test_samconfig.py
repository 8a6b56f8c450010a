"""What `samconfig.toml` says of a deployment."""

from pathlib import Path

import pytest

from devkit import samconfig
from devkit.errors import UserError
from devkit.samconfig import Saved
from tests.markdown import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_file_says_nothing() -> None:
    assert samconfig.read() == Saved("", "", False)


@pytest.mark.parametrize(
    ("text", "saved"),
    [
        ('[default.global.parameters]\nstack_name = "acme"\nregion = "eu-west-1"', Saved("acme", "eu-west-1")),
        ('[default.global.parameters]\nregion = "a"\n[default.deploy.parameters]\nregion = "b"', Saved("", "b")),
        (
            '[default.deploy.parameters]\nparameter_overrides = "Stage=\\"prod\\""',
            Saved(parameters=True, overrides={"Stage": "prod"}),
        ),
        ('[default.deploy.parameters]\nparameter_overrides = ""', Saved()),
        ('[default.build.parameters]\nparameter_overrides = "Architecture=arm64"', Saved()),
        ('[other.deploy.parameters]\nregion = "b"', Saved()),
        ("[default.deploy.parameters]\nregion = 5", Saved()),
        ('deploy = "x"\ndefault = 3', Saved()),
    ],
)
def test_what_is_said_of_deploying_counts_before_what_is_said_of_all(folder: Path, text: str, saved: Saved) -> None:
    (folder / "samconfig.toml").write_text(text)

    assert samconfig.read() == saved


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ('"A=1 B=\\"two words\\" C="', {"A": "1", "B": "two words", "C": ""}),
        ('["A=1", "B=x=y"]', {"A": "1", "B": "x=y"}),
        ('"ParameterKey=A,ParameterValue=1 ParameterKey=B,ParameterValue="', {"A": "1", "B": ""}),
        ("{A = 1, B = 'x'}", {"A": "1", "B": "x"}),
        ('"nonsense"', {}),
        ("7", {}),
    ],
)
def test_parameters_are_read_in_every_form_that_sam_takes(folder: Path, given: str, parameters: dict[str, str]) -> None:
    (folder / "samconfig.toml").write_text(f"[default.deploy.parameters]\nparameter_overrides = {given}")

    assert samconfig.read().overrides == parameters


def test_parameters_that_cannot_be_read_are_one_line(folder: Path) -> None:
    (folder / "samconfig.toml").write_text('[default.deploy.parameters]\nparameter_overrides = "A=\'"')

    with pytest.raises(UserError, match="cannot read parameter_overrides"):
        samconfig.read()


def test_another_environment_has_its_own(folder: Path) -> None:
    (folder / "samconfig.toml").write_text('[dev.deploy.parameters]\nstack_name = "acme-dev"')

    assert samconfig.read("dev").stack_name == "acme-dev"
    assert samconfig.read().stack_name == ""


@pytest.mark.parametrize("content", [b"[default", b"\xff"])
def test_a_file_that_cannot_be_read_is_one_line(folder: Path, content: bytes) -> None:
    (folder / "samconfig.toml").write_bytes(content)

    with pytest.raises(UserError, match="give --stack-name"):
        samconfig.read()


def test_the_projects_own_file_names_a_stack_and_saves_no_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert samconfig.read() == Saved("switchboard")
