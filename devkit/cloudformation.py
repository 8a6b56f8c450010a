"""A stack as CloudFormation knows it: how it stands, what it was deployed with, and what it has to offer."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from devkit import facts
from devkit.errors import UserError
from devkit.target import Target

_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
_FUNCTION_URL = "VoiceFallbackUrl"


class Standing(NamedTuple):
    """A stack: its id, its status, its template parameters, its outputs."""

    id: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]


def find(chosen: Target) -> Standing | None:
    """The stack, or None where there is no such one."""
    cloudformation = chosen.client("cloudformation")
    try:
        [found] = cloudformation.describe_stacks(StackName=chosen.stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"].get("Code") == "ValidationError":
            return None
        raise
    outputs = {one["OutputKey"]: one.get("OutputValue", "") for one in found.get("Outputs", [])}
    if _FUNCTION_URL in outputs:
        outputs[_FUNCTION_URL] = _function_url(outputs[_FUNCTION_URL], cloudformation.meta.endpoint_url)
    return Standing(
        str(found.get("StackId", "")),
        found["StackStatus"],
        {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])},
        outputs,
    )


def read(chosen: Target) -> Standing:
    """The stack; `UserError` where there is no such one."""
    found = find(chosen)
    if found is None:
        raise UserError(f"there is no stack {chosen.stack!r} here: see --stack-name and --region")
    return found


def failures(chosen: Target) -> list[str]:
    """What CloudFormation could not make in the last attempt, and why: the first cause first."""
    events: list[dict[str, Any]] = chosen.client("cloudformation").describe_stack_events(StackName=chosen.stack)[
        "StackEvents"
    ]
    found: list[str] = []
    for event in events:  # newest first
        if event["LogicalResourceId"] == chosen.stack and event["ResourceStatus"] in _BEGINNINGS:
            break
        # What is undone because something else has failed says nothing.
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in event.get("ResourceStatusReason", ""):
            found.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}")
    return found[::-1]


def _function_url(url: str, endpoint: str) -> str:
    """Where a function URL is served: an emulator reports the one that AWS would give."""
    if not facts.is_loopback(endpoint):
        return url
    return f"{endpoint}/_aws/lambda-url/{(urlsplit(url).hostname or '').partition('.')[0]}/"
