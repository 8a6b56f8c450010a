"""The real `sam`, run against the emulator and nothing else: its environment, its log, its failures in one line."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from devkit import bootstrap, catalogue, development, facts, processes
from devkit.errors import UserError

TEMPLATE = Path(".aws-sam/build/template.yaml")
ERROR = re.compile(r"\b(?:[A-Z]\w*Error|ERROR|error)\b:? ")
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def architecture() -> str:
    """This machine's, in Lambda's words: functions run right here, so they are built for it."""
    return ARCHITECTURES.get(platform.machine().lower(), "x86_64")


def environment(root: Path, endpoint: str) -> dict[str, str]:
    """The user's environment with every way to a real AWS account taken out and `endpoint` put in its place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
    return kept | {
        "PATH": f"{root}/.local/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": development.REGION,
        "AWS_DEFAULT_REGION": development.REGION,
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "1",  # its 5 seconds are made for a real CloudFormation
        "__SAM_CLI_APP_DIR": f"{root}/.local/sam-home",
    }


def start_build(root: Path, endpoint: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `sam build` of the template for this machine."""
    catalogue.write()
    options = ["--cached", "--parallel", "--parameter-overrides", f"Architecture={architecture()}"]
    log.unlink(missing_ok=True)
    return _run(root, ["build", *options], endpoint, log)


def deploy(root: Path, endpoint: str, parameters: Mapping[str, str], log: Path) -> None:
    """Deploy what was built as the local stack; `UserError` with the end of the log if that fails."""
    log.unlink(missing_ok=True)
    command = [
        *("deploy", "--template-file", str(TEMPLATE), "--stack-name", development.STACK_NAME),
        *("--region", development.REGION, "--resolve-s3", "--capabilities", "CAPABILITY_IAM"),
        *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
        "--parameter-overrides",
        *(f"{name}={value}" for name, value in parameters.items()),
    ]
    process = _run(root, command, endpoint, log)
    if processes.finish(process) == 0:
        return
    if reasons := _failures(endpoint):
        raise UserError(f"sam deploy failed: {'; '.join(reasons)} (log: {log})")
    raise UserError(f"sam deploy failed: {reason(log)} (log: {log})")


def require_success(process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Wait for a tool; `UserError` with the end of its log if it failed."""
    if code := processes.finish(process):
        raise UserError(f"{what} failed (exit code {code}): {reason(log)} (log: {log})")


def reason(log: Path) -> str:
    """The one line of a log that most likely says why: the first that names an error, else the last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if ERROR.search(line)), lines[-1] if lines else "it said nothing")


def _run(root: Path, arguments: list[str], endpoint: str, log: Path) -> subprocess.Popen[bytes]:
    become = bootstrap.request([str(_program(root)), *arguments], root)
    # Through the bootstrap, so that it does not go on when this process is killed.
    command = [sys.executable, "-I", bootstrap.__file__]
    return processes.start(command, cwd=root, env=environment(root, endpoint) | become, log=log)


def _failures(endpoint: str) -> list[str]:
    """What CloudFormation could not make and why, which sam buries in a table of everything that it undid."""
    cloudformation = facts.client("cloudformation", endpoint)
    try:
        events = cloudformation.describe_stack_events(StackName=development.STACK_NAME)["StackEvents"]
    except (BotoCoreError, ClientError):
        return []
    return [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason")
    ]


def _program(root: Path) -> Path:
    program = root / ".local/bin/sam"
    if not program.exists():
        raise UserError("the tools are not set up: run `make setup` first")
    return program
