"""The Makefile: no target reaches a real account, but for the two that are about one."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.markdown import ROOT

OWN = {
    "AWS_PROFILE": "of-the-user",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEUSER",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-user",
    "AWS_SESSION_TOKEN": "session-of-the-user",
    "AWS_REGION": "eu-west-3",
    "AWS_CONFIG_FILE": "/etc/aws-of-the-user",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ROLE_ARN": "arn:of-the-user",
}
DUMP = '#!/bin/sh\necho "switchboard $*"\nenv\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile, with a `switchboard` and a set-up that do nothing but tell."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name, text in {".venv/bin/switchboard": DUMP, "devkit/setup": "#!/bin/sh\n"}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.chmod(0o755)
    return tmp_path


def make(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run make in the user's shell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAKE"))} | OWN
    return subprocess.run(
        ["make", *arguments],  # noqa: S607 - the make of the machine
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def variables(said: str) -> dict[str, str]:
    """What `env` told, of AWS."""
    return dict(line.split("=", 1) for line in said.splitlines() if line.startswith("AWS_"))


@pytest.mark.parametrize("target", ["deploy", "undeploy"])
def test_deploying_finds_the_shell_as_it_is(project: Path, target: str) -> None:
    done = make(project, target, "ARGS=--yes --region eu-west-1")

    assert done.stdout.splitlines()[0] == f"switchboard {target} --yes --region eu-west-1"
    assert variables(done.stdout) == OWN
    assert f"PATH={project}/.local/bin:{project}/.venv/bin:" in done.stdout


@pytest.mark.parametrize("target", ["demo", "up", "down"])
def test_no_other_target_reaches_an_account(project: Path, target: str) -> None:
    found = variables(make(project, target).stdout)

    assert found == {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.mark.parametrize("targets", [("deploy", "test"), ("down", "undeploy"), ("deploy", "undeploy")])
def test_a_target_about_a_real_account_goes_alone(project: Path, targets: tuple[str, ...]) -> None:
    done = make(project, *targets)

    assert done.returncode
    assert "real account: run it alone" in done.stderr
    assert done.stdout == ""


def test_make_alone_lists_its_targets(project: Path) -> None:
    listed = make(project).stdout

    assert {"make deploy", "make undeploy", "make demo"} <= {" ".join(line.split()[:2]) for line in listed.splitlines()}
