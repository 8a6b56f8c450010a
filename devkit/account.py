"""The AWS account that the user's own credentials lead to, and the real `sam` run in it.

`devkit.sam` is the other one: it knows the emulator and nothing else.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, UnknownRegionError

from devkit import facts, processes
from devkit.errors import UserError
from devkit.target import Target

RENEW = "see AWS_PROFILE, or run `aws configure` or `aws sso login`"


class Region(NamedTuple):
    """A region's name, and where it was said."""

    name: str
    source: str


def region(given: str | None, saved: str) -> Region:
    """The region to deploy to: said on the command line, to SAM before, or to AWS's tools; `UserError` for none."""
    session = botocore.session.get_session()
    said = (
        Region(given or "", "--region"),
        Region(saved, "samconfig.toml"),
        Region(os.environ.get("AWS_REGION", ""), "AWS_REGION"),
        Region(session.get_config_variable("region") or "", "your AWS configuration"),
    )
    chosen = next((one for one in said if one.name), None)
    if chosen is None:
        raise UserError("none is chosen: give --region, or set AWS_REGION")
    try:
        session.get_partition_for_region(chosen.name)
    except UnknownRegionError:
        raise UserError(f"AWS has none called {chosen.name!r} ({chosen.source}): give --region") from None
    return chosen


def usual_region() -> str:
    """The region that a command takes which is told none."""
    return os.environ.get("AWS_REGION") or botocore.session.get_session().get_config_variable("region") or ""


def identify(chosen: Target) -> str:
    """The id of the account; `UserError` where the credentials are none, or not an account's."""
    credentials = botocore.session.get_session().get_credentials()
    if credentials is None:
        raise UserError(f"there are none in this shell: {RENEW}")
    if credentials.access_key == facts.FAKE_KEY:
        raise UserError(f"these are the local stack's ({facts.FAKE_KEY}), which no account has: {RENEW}")
    try:
        return str(chosen.client("sts").get_caller_identity()["Account"])
    except ClientError as error:
        code = error.response["Error"].get("Code", "unknown")
        raise UserError(f"AWS refuses them ({code}): {RENEW}, and see that the region is enabled there") from None
    except BotoCoreError as error:
        raise UserError(f"AWS does not answer ({type(error).__name__}): see your network, and {RENEW}") from None


def sam(arguments: Sequence[str], log: Path | None = None) -> int:
    """Run `sam` here with the user's own environment; its exit code.

    Without a `log` the terminal is its own, so that it can ask.
    """
    program = facts.LOCAL / "bin/sam"
    if not program.exists():
        raise UserError("the tools are not set up: run `make setup` first")
    environment = {
        "SAM_CLI_TELEMETRY": "0",
        **os.environ,
        # SAM looks for python3.13 on PATH, and so do the layers' makefiles.
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    command = [str(program), *arguments]
    if log is None:
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - our own tool
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    return processes.finish(processes.start(command, cwd=Path.cwd(), env=environment, log=log))
