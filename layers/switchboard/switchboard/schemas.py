"""What a tool's arguments may be: checked by pydantic, and told to the model as a JSON schema.

Only `switchboard.tools` needs this, once a tool is registered.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from switchboard.messages import canonical, one_line
from switchboard.tools import WrongArguments

_DATA = (BaseModel, date, Decimal, UUID)  # a set has no order, and bytes no meaning


class Arguments(NamedTuple):
    """The arguments of one tool: `schema` is what the model is told of them."""

    schema: Mapping[str, Any]
    adapter: TypeAdapter[dict[str, Any]]

    @property
    def strict(self) -> bool:
        """Whether a provider can hold the model to the schema."""
        return _strict(self.schema)

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check what the model has given; `WrongArguments` names the first that is wrong."""
        try:
            return self.adapter.validate_json(canonical(given))
        except ValidationError as error:
            raise WrongArguments(_complaint(error)) from error


def parameters(function: Callable[..., Any], *, injected: type) -> tuple[dict[str, Any], str]:
    """The model's parameters with their types, and the name of the one of the type `injected`, '' where there is none."""
    try:
        types = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{function.__name__}: there is no type {error.name}") from error
    hints: dict[str, Any] = {}
    call_parameter = ""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{function.__name__}: a tool has named parameters only, {name} is not one")
        if name not in types:
            raise TypeError(f"{function.__name__}: {name} has no type")
        if types[name] is injected:
            if call_parameter:
                raise TypeError(
                    f"{function.__name__}: there is one {injected.__name__}, and both {call_parameter} and {name} want it"
                )
            call_parameter = name
            continue
        described = _described(types[name])
        if described is None:
            raise TypeError(f'{function.__name__}: {name} has no words for the model: Annotated[type, "words"]')
        hints[name] = described if parameter.default is parameter.empty else NotRequired[described]
    return hints, call_parameter


def _described(hint: Any) -> Any:
    """The type with its words as pydantic's description, or None where it has none."""
    metadata = getattr(hint, "__metadata__", ())
    words = next((entry for entry in metadata if isinstance(entry, str)), "")
    if words:
        return Annotated[hint, Field(description=words)]
    return hint if any(getattr(entry, "description", None) for entry in metadata) else None


def _adapter(name: str, hints: Mapping[str, Any]) -> TypeAdapter[dict[str, Any]]:
    # A typed dictionary, because defaults stay the function's own business and any parameter name is fine in it.
    make: Any = TypedDict  # mypy knows typed dictionaries only as literals
    shape = make(name, dict(hints))
    shape.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    return TypeAdapter(shape)


def arguments(tool: str, hints: Mapping[str, Any]) -> Arguments:
    """What checks the arguments of a tool, and what the model is told of them."""
    try:
        adapter = _adapter(tool, hints)
        raw = adapter.json_schema()
    except PydanticUserError as error:
        if len(hints) == 1:
            [parameter] = hints
            raise TypeError(f"{tool}: no model can give a value of the type of {parameter}") from error
        for parameter, hint in hints.items():
            arguments(tool, {parameter: hint})
        raise
    definitions = raw.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(tool, raw, definitions, ())
    return Arguments({"required": [], "properties": {}} | inlined, adapter)


def _inlined(name: str, value: Mapping[str, Any], definitions: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    """A schema in the words of Vapi's: no `$ref`, `const`, `oneOf` and `discriminator`, and titles say nothing new.

    Definitions are written out where they are used. An object takes what it names and nothing else.
    """
    if reference := value.get("$ref"):
        target = reference.rpartition("/")[2]
        if target in seen:
            raise TypeError(f"{name}: a tool's arguments cannot contain themselves ({target})")
        rest = {key: entry for key, entry in value.items() if key != "$ref"}
        return _inlined(name, definitions[target] | rest, definitions, (*seen, target))

    def inlined(entry: Any) -> Any:
        return _inlined(name, entry, definitions, seen) if isinstance(entry, dict) else entry

    made: dict[str, Any] = {"additionalProperties": False} if "properties" in value else {}
    for key, entry in value.items():
        match key:
            case "title" | "discriminator":
                continue
            case "const":
                made["enum"] = [entry]
            case "properties":
                made[key] = {parameter: _told(name, parameter, inlined(one)) for parameter, one in entry.items()}
            case "anyOf" | "oneOf":
                made["anyOf"] = [inlined(one) for one in entry]
            case "allOf" | "prefixItems":
                made[key] = [inlined(one) for one in entry]
            case "patternProperties":
                made[key] = {pattern: inlined(one) for pattern, one in entry.items()}
            case "items":
                made[key] = _told(name, "what a list holds", inlined(entry))
            case "additionalProperties":
                if entry is True and "properties" not in value:
                    raise TypeError(
                        f"{name}: what a dictionary holds may be anything, so no model can know what to give"
                    )
                made[key] = inlined(entry)
            case _:
                made[key] = entry
    return made


def _told(name: str, parameter: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, if it says what kind of value is wanted: Vapi's must."""
    if not {"type", "anyOf", "enum"} & schema.keys():
        raise TypeError(f"{name}: {parameter} may be anything, so no model can know what to give")
    return schema


def _strict(schema: Mapping[str, Any]) -> bool:
    """Whether a provider can hold the model to the schema: every object wants exactly what it names."""
    if schema.get("type") == "object":
        named = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", [])) != set(named):
            return False
    items = [schema["items"]] if "items" in schema else []
    return all(_strict(part) for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", []), *items))


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the arguments"
    return one_line(f"{where}: {first['msg']}", 300)


def plain(value: object) -> Any:
    """What a tool has returned, as JSON knows it; `TypeError` for what is no data."""
    if isinstance(value, _DATA) or is_dataclass(value):
        return to_jsonable_python(value)
    raise TypeError(f"a tool cannot return a {type(value).__name__}")
