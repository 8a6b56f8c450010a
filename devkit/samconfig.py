"""What `samconfig.toml` in this folder says of a deployment: SAM keeps the answers of `sam deploy --guided` there."""

import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from devkit.errors import UserError

FILE = "samconfig.toml"
ENVIRONMENT = "default"  # SAM's own name for what counts without --config-env


class Saved(NamedTuple):
    """What one environment of the file says of `sam deploy`; '' and False where it says nothing."""

    stack_name: str = ""
    region: str = ""
    parameters: bool = False
    """Whether template parameters were saved, which `sam deploy --guided` does."""
    overrides: Mapping[str, str] = MappingProxyType({})
    """Those parameters, as far as they can be read."""


def read(environment: str = ENVIRONMENT) -> Saved:
    """Read the file of this folder; one that is not there says nothing."""
    try:
        told = tomllib.loads(Path(FILE).read_text("utf-8"))
    except FileNotFoundError:
        return Saved()
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {FILE} here, which may name the stack and the region: give --stack-name and --region"
        ) from error

    def first(name: str) -> Any:
        # What is said of one command counts before what is said of all.
        found = (_within(told, environment, command, "parameters", name) for command in ("deploy", "global"))
        return next((value for value in found if value), "")

    def text(name: str) -> str:
        value = first(name)
        return value if isinstance(value, str) else ""

    given = first("parameter_overrides")
    return Saved(text("stack_name"), text("region"), bool(given), _overrides(given))


def _overrides(given: Any) -> dict[str, str]:
    """SAM takes a text, a list of such or a table, and in a text `Name=value` as well as CloudFormation's own form."""
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    texts = given if isinstance(given, list) else [given]
    words = [word for text in texts if isinstance(text, str) for word in _words(text)]
    plain = (re.sub(r"^ParameterKey=([^,]*),ParameterValue=", r"\1=", word).partition("=") for word in words)
    return {name: value for name, equals, value in plain if equals}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"cannot read parameter_overrides in {FILE}: {error}") from error


def _within(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
