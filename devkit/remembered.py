"""What `switchboard connect` keeps in SSM: what it made (`connection`), and what stood there before.

`connection` is read by the functions, with their secrets. `connection-before` is for this command alone; it is
encrypted, because the URLs that others had set may hold tokens of theirs.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from devkit import secrets
from devkit.errors import UserError
from switchboard.secrets import CONNECTION

BEFORE = "connection-before"
KEYS = ("phone_number_id", "credential_id", "assistant_id", "credential_secret")
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Before(NamedTuple):
    """What stood there when the stack was connected, and how it was connected."""

    number: str
    """The phone number, or '' where there is none to connect."""
    account_sid: str
    answers: str
    """Who is asked about a call: `switchboard`, or `vapi`."""
    twilio: Mapping[str, str]
    """The number's fields at Twilio (`twilio_numbers.FIELDS`)."""
    phone: Mapping[str, Any] | None
    """What decides who answers the number at Vapi, or None if it was not there."""
    assistant: Mapping[str, Any] | None = None
    """Of an assistant that the parameter AssistantId names: its `id` and its `server`."""


def connection(ssm: Any, stack: str) -> dict[str, str]:
    """The ids of what was made, and which value of `vapi-webhook` the credential was given; '' for what is not known."""
    found = _object(_text(ssm, stack, CONNECTION))
    return {key: value if isinstance(value := found.get(key), str) else "" for key in KEYS}


def write_connection(ssm: Any, stack: str, known: Mapping[str, str]) -> None:
    """Tell the functions; they read it within 5 minutes."""
    text = json.dumps({key: known[key] for key in KEYS if known.get(key)}, separators=(",", ":"))
    ssm.put_parameter(Name=secrets.path(stack, CONNECTION), Value=text, Type="String", Overwrite=True)


def before(ssm: Any, stack: str) -> Before | None:
    """What stood there before, or None while nothing was connected. `UserError` if it is there and cannot be read."""
    text = _text(ssm, stack, BEFORE)
    if not text:
        return None
    try:
        found = Before(**_object(text))
    except TypeError:
        found = None
    if found is None or not isinstance(found.twilio, dict):
        raise UserError(
            f"{secrets.path(stack, BEFORE)} is not as it was written: look at it, set the number's URLs yourself, "
            "and delete it"
        )
    return found


def write_before(ssm: Any, stack: str, made: Before, *, new: bool = False) -> None:
    """Remember; `UserError` if it is more than fits. `new` leaves alone what somebody else has remembered first."""
    text = json.dumps(made._asdict(), separators=(",", ":"))
    if len(text) > secrets.MAX_PARAMETER:
        raise UserError(
            f"what stands at Twilio and Vapi now is too long to be remembered ({len(text)} of {secrets.MAX_PARAMETER} "
            "characters): shorten its URLs or take its headers out first"
        )
    try:
        ssm.put_parameter(Name=secrets.path(stack, BEFORE), Value=text, Type="SecureString", Overwrite=not new)
    except ssm.exceptions.ParameterAlreadyExists:
        return


def forget(ssm: Any, stack: str, name: str) -> None:
    """Delete one of the two."""
    try:
        ssm.delete_parameter(Name=secrets.path(stack, name))
    except ssm.exceptions.ParameterNotFound:
        return


def _text(ssm: Any, stack: str, name: str) -> str:
    try:
        return str(ssm.get_parameter(Name=secrets.path(stack, name), WithDecryption=True)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return ""


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
