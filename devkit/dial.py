"""`switchboard dial`: have a stack place a call, once for its key. The right to invoke the function is the right to call."""

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from devkit import target
from devkit.errors import UserError

OUTPUT = "OutboundFunctionName"
AGAIN = "ask again with the same key"

LOOK = "look for the call at Vapi before you take another key"

# Reason of a refusal -> what to do about it.
REFUSED = {
    "to": "give the number in full, such as +15550100123",
    "key": "a key is 1 to 200 letters, digits and signs without a space",
    "assistant_id": "the assistant's id is malformed, or not among AllowedAssistantIds",
    "variable_values": "the values are too long, 8,000 bytes together",
    "event": "the stack knows fewer fields than this command sends: deploy it again",
    "not_allowed": "OutboundPrefixes does not allow the number",
    "quiet_hours": "it is night where the number is, see QuietHours",
    "conflict": "this key stands for another request: take another key",
    "phone_number_id": "PhoneNumberId is not set and nothing is connected, so there is no number to call from",
    "agent": "the agent could not choose an assistant: the function's log says why",
    "no_assistant": "the agent gave no assistant for this number",
    "cap": f"as many calls as MaxCalls allows are under way: {AGAIN} later",
    "unavailable": f"the table or the secrets did not answer: {AGAIN}",
    "concurrency": f"Vapi has no free line, or is asked too often: {AGAIN} later",
    "http_401": "Vapi does not know the API key: see `switchboard secrets put vapi-api-key`",
}
# Why it is not known whether there is a call -> what to do about it.
UNKNOWN = {
    "under_way": f"another request with this key is under way: {AGAIN} in a minute",
    "interrupted": f"an earlier request with this key was cut off: {LOOK}",
    "concurrency": f"Vapi had no free line, and may call as soon as it has one: {LOOK}",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("number", metavar="NUMBER", help="whom to call, such as +15550100123")
    parser.add_argument("--key", metavar="K", help="names this call: a second request with it calls nobody twice")
    parser.add_argument("--assistant", metavar="ID", help="assistant stored at Vapi; default: the agent chooses")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value for the assistant's prompt"
    )
    target.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Place the call and say its id; `UserError` says why there is none, or perhaps none."""
    event = request(args)
    chosen = target.chosen(args)
    if not args.key:
        # First of all, so that it is known whatever happens next.
        sys.stdout.write(f"key {event['key']}\n")
    with target.explained():
        function = _function(chosen.client("cloudformation"), chosen.stack)
        answer = invoke(chosen.client("lambda"), function, event)
    sys.stdout.write(f"{said(answer)}\n")
    return 0


def request(args: argparse.Namespace) -> dict[str, Any]:
    """The event that the command line asks for."""
    event = {"to": args.number, "key": args.key or str(uuid.uuid4())}
    if args.assistant:
        event["assistantId"] = args.assistant
    values = _values(args.set)
    return event | ({"variableValues": values} if values else {})


def _values(pairs: Sequence[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError("--set wants NAME=VALUE")
        values[name] = value
    return values


def _function(cloudformation: Any, stack: str) -> str:
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    found = [output["OutputValue"] for output in outputs if output["OutputKey"] == OUTPUT]
    if not found:
        raise UserError(f"stack {stack} has no output {OUTPUT}: it was deployed before there were such calls")
    return str(found[0])


def invoke(functions: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The function's answer; `UserError` where it failed, with its settings' own words if they are the cause."""
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    told = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError") or not isinstance(told, dict):
        kind = told.get("errorType") if isinstance(told, dict) else None
        # Other errors may quote what they failed on.
        words = f": {told['errorMessage']}" if kind == "SettingsError" else f" ({kind}); its log says why"
        raise UserError(f"the function failed{words}")
    return told


def said(answer: dict[str, Any]) -> str:
    """The answer in words, if the call is placed; `UserError` if it is not, or perhaps not."""
    state, reason, call_id = (str(answer.get(name, "")) for name in ("state", "reason", "callId"))
    if state == "placed":
        return f"placed: call {call_id}"
    which = f", call {call_id}" if call_id else ""
    if state == "refused":
        raise UserError(
            f"not placed ({reason}): {REFUSED.get(reason, f'Vapi refused it; {AGAIN} once that is mended')}"
        )
    raise UserError(f"perhaps placed ({reason}{which}): {UNKNOWN.get(reason, f'the answer of Vapi was lost: {LOOK}')}")
