"""Vapi's published schemas, as far as we need them: what a message, a command or an assistant must look like.

`Spec.load()` checks values against a slice kept as data; `cut` makes that slice from the whole OpenAPI document:

    python -m devkit.vapi_spec openapi.json devkit/vapi_spec.json "commit, date"

The document has bugs that would reject valid values or accept none; `mend` corrects them and nothing else.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from jsonschema import Draft202012Validator

SLICE = Path(__file__).with_suffix(".json")
PREFIX = "#/components/schemas/"
SOURCE = "https://github.com/VapiAI/docs/blob/main/fern/apis/api/openapi.json"
ROOTS = (
    "ServerMessage",
    "ClientInboundMessage",
    "Call",
    "CreateCallDTO",
    # What is sent to set up an organisation, and what comes back.
    "CreateAssistantDTO",
    "UpdateAssistantDTO",
    "Assistant",
    "CreateFunctionToolDTO",
    "UpdateFunctionToolDTO",
    "FunctionTool",
    "CreateTwilioPhoneNumberDTO",
    "ImportTwilioPhoneNumberDTO",
    "UpdateTwilioPhoneNumberDTO",
    "TwilioPhoneNumber",
    "CreateVapiPhoneNumberDTO",
    "UpdateVapiPhoneNumberDTO",
    "VapiPhoneNumber",
    "CreateCustomCredentialDTO",
    "CustomCredential",
)
# Large, and reached only through fields that this project never sends: kept as "any object".
OPAQUE = re.compile(r"(Create)?(Squad|Workflow)(DTO|UserEditable)?$|WorkflowOverrides$|Chat$|Session$")
MENDED = (
    "an enum meant for the items stood on the array serverMessages or clientMessages: removed from the array",
    "BackoffPlan.type is text and excludedStatusCodes holds integers; both were typed object",
    "patterns were written with slashes around them, and with \\p{L}, which not every reader of patterns knows",
    "oneOf over overlapping types: anyOf",
    "nullable: null is one of the allowed types",
    "ToolCallFunction.arguments may be an object, as published captures of tool-calls show, not only JSON text",
    "endedReason stands once, as EndedReason, without repeated values",
    "descriptions, examples and titles are left out",
)
# What these describe is itself a JSON Schema, with keywords that they do not list.
JSON_SCHEMAS = ("JsonSchema", "OpenAIFunctionParameters")
_PROSE = {"description", "example", "examples", "title", "deprecated", "externalDocs"}


class Spec(NamedTuple):
    """A slice of the published schemas, by name."""

    schemas: dict[str, Any]

    @classmethod
    def load(cls, path: Path = SLICE) -> Self:
        """Read a slice that `main` wrote."""
        return cls(json.loads(path.read_text("utf-8"))["components"]["schemas"])

    def closed(self) -> Self:
        """The same schemas, but a field that none of them has is a fault: Vapi ignores what it does not know."""
        return self._replace(
            schemas={name: schema if name in JSON_SCHEMAS else _close(schema) for name, schema in self.schemas.items()}
        )

    def message_types(self) -> set[str]:
        """Every `message.type` in the union of server messages."""
        members = self.schemas["ServerMessage"]["properties"]["message"]["anyOf"]
        return {kind for member in members for kind in _types_of(self.schemas[next(_targets(member))])}

    def configurable_types(self) -> set[str]:
        """Every value that an assistant's `serverMessages` may list."""
        return set(self.schemas["CreateAssistantDTO"]["properties"]["serverMessages"]["items"]["enum"])

    def faults(self, name: str, value: object) -> list[str]:
        """Say where `value` is not what the schema `name` describes; an empty list when it is."""
        document = {"$ref": PREFIX + name, "components": {"schemas": self.schemas}}
        found = Draft202012Validator(document).iter_errors(value)
        return [f"{'.'.join(str(part) for part in fault.absolute_path) or name}: {fault.message}" for fault in found]

    def name_of(self, kind: str, message_type: str) -> str:
        """Return the schema of a `kind` ("ServerMessage", ...) for one `message.type`; KeyError when there is none."""
        for name, schema in self.schemas.items():
            if name.startswith(kind) and message_type in _types_of(schema):
                return name
        raise KeyError(f"{kind} has no schema for {message_type!r}")


def _close(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_close(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: _close(value) for key, value in schema.items()}
    # A property may be called "properties": then it is one schema, and not a map of them.
    if isinstance(shut.get("properties"), dict) and shut.get("type") == "object":
        shut.setdefault("additionalProperties", False)
    return shut


def _types_of(schema: dict[str, Any]) -> list[str]:
    values: list[str] = schema.get("properties", {}).get("type", {}).get("enum", [])
    return values


def cut(schemas: dict[str, Any], roots: Iterable[str] = ROOTS) -> dict[str, Any]:
    """Return the mended schemas that the roots reach; a root also stands for the names that begin with it."""
    waiting = [name for name in schemas for root in roots if name == root or _begins(name, root)]
    kept: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept[name] = {"type": "object"} if OPAQUE.match(name) else mend(schemas[name], name)
        waiting += [target for target in _targets(kept[name]) if target in schemas]
    if any(target == "EndedReason" for schema in kept.values() for target in _targets(schema)):
        kept["EndedReason"] = schemas.get("EndedReason") or _ended_reason(schemas)
    return dict(sorted(kept.items()))


def _begins(name: str, root: str) -> bool:
    return root in ("ServerMessage", "ClientInboundMessage") and name.startswith(root)


def _targets(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(PREFIX)
        for value in schema.values():
            yield from _targets(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _targets(value)


def _ended_reason(schemas: dict[str, Any]) -> dict[str, Any]:
    values = schemas["Call"]["properties"]["endedReason"]["enum"]
    return {"type": "string", "enum": list(dict.fromkeys(values))}


def mend(schema: Any, name: str = "") -> Any:
    """Return a schema without the faults that `MENDED` lists; mending twice changes nothing."""
    if isinstance(schema, list):
        return [mend(value, name) for value in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {key: _mend_part(key, value, name) for key, value in schema.items() if not _is_prose(key, value)}
    # A property may be called "oneOf" too: then it is one schema, and not a list of them.
    if isinstance(mended.get("oneOf"), list):
        mended["anyOf"] = mended.pop("oneOf")
    if mended.get("type") == "array":
        mended.pop("enum", None)
    if isinstance(mended.get("pattern"), str):
        plain = re.sub(r"^/(.*)/[a-z]*$", r"\1", mended["pattern"])
        mended["pattern"] = plain.replace(r"[\p{L}\d]", r"[^\W_]").replace(r"\p{L}", r"[^\W\d_]")
    if mended.get("nullable") in (True, False) and mended.pop("nullable"):
        return {"anyOf": [mended, {"type": "null"}]}
    return mended


def _is_prose(key: str, value: object) -> bool:
    # A property may be called "description" or "title": then its value is a schema, which stays.
    return key in _PROSE and not isinstance(value, dict)


def _mend_part(key: str, value: Any, name: str) -> Any:
    if name == "BackoffPlan" and key == "type" and isinstance(value, dict):
        return {"type": "string", "enum": ["fixed", "exponential"]}
    if name == "BackoffPlan" and key == "excludedStatusCodes":
        return {"type": "array", "items": {"type": "integer"}}
    if name == "ToolCallFunction" and key == "arguments" and isinstance(value, dict):
        return {"type": ["string", "object"]}
    if key == "endedReason" and isinstance(value, dict):
        return {"$ref": PREFIX + "EndedReason"}
    return mend(value, name)


def render(schemas: dict[str, Any], version: str) -> str:
    """Return the slice as JSON, one schema a line, so that a change of the spec reads as one line."""
    header = {"source": SOURCE, "version": version, "mended": MENDED}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(schema, sort_keys=True)}" for name, schema in schemas.items())
    return f'{{"x-slice": {json.dumps(header, indent=1)},\n"components": {{"schemas": {{\n{lines}\n}}}}}}\n'


def main(arguments: list[str]) -> None:
    """Write a slice: whole document, file to write, version."""
    whole, sliced, version = arguments
    schemas = json.loads(Path(whole).read_text("utf-8"))["components"]["schemas"]
    Path(sliced).write_text(render(cut(schemas), version), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
