"""Tools: plain functions that the model may call, with a schema made from their signature.

    tools = Toolbox()

    @tools.tool(effect="read")
    def opening_hours(day: Annotated[date, "The day that the caller asks about."]) -> str:
        '''Say when we are open.'''
        return "Nine to five."

The docstring is the description, `Annotated` words are the parameters' descriptions, and a parameter of type `Call` is
filled in and hidden from the model. What a model could not understand is a `TypeError` when the module loads.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, get_type_hints, overload
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from switchboard.errors import SwitchboardError
from switchboard.messages import canonical, one_line

Effect = Literal["read", "keyed", "once"]
Lane = Literal["inline", "live", "after_call"]
Interrupt = Literal["finish", "cancel"]
Reconcile = Callable[["Call", Mapping[str, Any]], str | None]

MAX_TIMEOUT = 30.0  # seconds; the live worker itself has 35
DEADLINES = {"inline": 60.0, "live": 60.0, "after_call": 1800.0}  # seconds from acceptance, or from the call's end
DEDUPE_CALL = 13 * 3600.0  # seconds; no call at Vapi is longer than twelve hours
OVERRUN = "This is taking a little longer. One moment, please."
NO_TRANSFER = "This call cannot be put through to anybody. Say so, and offer to help another way."
NOTHING = "Done; there is nothing to report."  # Vapi takes an empty result for none at all
_DATA = (BaseModel, date, Decimal, UUID)  # a set has no order, and bytes no meaning
_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)  # what Vapi accepts


class ToolError(SwitchboardError):
    """Raised by a tool to say its words to the caller: the only text of a failure that is ever quoted."""


class DefiniteFailure(SwitchboardError):
    """Raised by a tool when surely nothing has happened outside; with `retryable` it is tried again."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.retryable = retryable


class WrongArguments(SwitchboardError):
    """The model's arguments do not fit the tool; the text is one line for the model to mend them by."""


class Call:
    """What a tool may know of the call that it serves; every value comes from the signed message, none from the model."""

    def __init__(
        self,
        *,
        id: str,
        caller: str,
        idempotency_key: str,
        now: datetime,
        ends: datetime | None = None,
        attempt: int = 1,
        still_owner: Callable[[], bool] = lambda: True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        transfer: Callable[[str, str], str] | None = None,
    ) -> None:
        self.id = id
        self.caller = caller
        self.idempotency_key = idempotency_key
        self.now = now
        self.attempt = attempt
        self._ends = ends or now + timedelta(seconds=MAX_TIMEOUT)
        self.transferred = False
        self._still_owner = still_owner
        self._clock = clock
        self._transfer = transfer

    def remaining(self) -> float:
        """Seconds until this attempt is stopped."""
        return max(0.0, (self._ends - self._clock()).total_seconds())

    def still_owner(self) -> bool:
        """Ask the table whether this attempt may still act; worth a read before a late, irrevocable step."""
        return self._still_owner()

    def transfer(self, name: str, summary: str) -> str:
        """Put the caller through to `name`, one of the agent's `people`, who hears the summary before they decide.

        Ends the AI call, so nothing that the tool returns is heard; the caller comes back if nobody takes the call.
        `ToolError` where this call cannot be put through. Only tools with `meanwhile` can: the worker moves the phone.
        """
        if self._transfer is None:
            raise ToolError(NO_TRANSFER)
        said = self._transfer(name, summary)
        self.transferred = True
        return said


class Tool(NamedTuple):
    """One tool: the function, what the model is told, and how its calls are run."""

    name: str
    description: str
    function: Callable[..., object]
    schema: Mapping[str, Any]
    adapter: TypeAdapter[dict[str, Any]]
    call_parameter: str
    lane: Lane
    effect: Effect
    meanwhile: str
    timeout: float
    deadline: float
    overrun: str = ""
    dedupe: float = 0
    latest_wins: bool = False
    on_interrupt: Interrupt = "finish"
    verbatim: bool = False
    reconcile: Reconcile | None = None

    def parse(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the model's arguments, before anything happens; `WrongArguments` names the first that is wrong."""
        try:
            return self.adapter.validate_json(canonical(arguments))
        except ValidationError as error:
            raise WrongArguments(_complaint(error)) from error

    def run(self, call: Call, arguments: Mapping[str, Any]) -> str:
        """Run the function with parsed arguments and return what it says, on one line."""
        injected = {self.call_parameter: call} if self.call_parameter else {}
        said = self.function(**arguments, **injected)
        return one_line(said if isinstance(said, str) else data_text(said)) or NOTHING

    def definition(self, server: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Vapi's function tool (`CreateFunctionToolDTO`). `server` says where its calls go; default: the assistant's."""
        made: dict[str, Any] = {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "strict": _strict(self.schema),
                "parameters": self.schema,
            },
        }
        if self.lane != "inline":
            # Our answer carries the words that are spoken meanwhile; without this Vapi would add a filler of its own.
            made["messages"] = [{"type": "request-start", "content": ""}]
        if server:
            made["server"] = dict(server)
        return made


class Toolbox:
    """The tools of one agent."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def get(self, name: str) -> Tool | None:
        """The tool of that name, or None: the model invents names."""
        return self._tools.get(name)

    @property
    def after_call(self) -> bool:
        """Whether any tool waits for the end of the call."""
        return any(tool.lane == "after_call" for tool in self)

    @overload
    def tool[**P, R](self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def tool[**P, R](
        self,
        *,
        effect: Effect = "once",
        meanwhile: str = "",
        after_call: bool = False,
        timeout: float = 6.0,
        deadline: float | None = None,
        overrun: str = OVERRUN,
        dedupe: float | Literal["call"] = 0,
        latest_wins: bool = False,
        on_interrupt: Interrupt = "finish",
        verbatim: bool = False,
        reconcile: Reconcile | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def tool(  # type: ignore[misc]  # the second signature is generic in the function that it is given later
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        effect: Effect = "once",
        meanwhile: str = "",
        after_call: bool = False,
        timeout: float = 6.0,
        deadline: float | None = None,
        overrun: str = OVERRUN,
        dedupe: float | Literal["call"] = 0,
        latest_wins: bool = False,
        on_interrupt: Interrupt = "finish",
        verbatim: bool = False,
        reconcile: Reconcile | None = None,
    ) -> Any:
        """Make a function a tool; it stays the function that it was.

        `meanwhile` makes it run in the background and gives the words said at once. `after_call` runs it when the call
        has ended. `effect` is what it does outside: `read`, `keyed` (the other side takes an idempotency key) or `once`.
        `timeout` is seconds for one attempt, `deadline` seconds until nobody needs the result any more.

        `overrun` are the words said when an inline look-up takes too long and goes on in the background.
        `dedupe` gives the model that repeats itself (other id, same arguments) the first result, for so many seconds or
        for the whole `"call"`. `latest_wins` lets a newer call of the tool replace an older one that has not acted yet.
        `on_interrupt="cancel"` keeps a call from acting once the caller has spoken over the turn that asked for it: for
        tools that end or transfer the call. `verbatim` has a background result said word for word, without a turn of the
        model: for words that must be exact. `reconcile` asks the other side how a call ended that nobody knows the end
        of: it returns the result, or None if surely nothing happened; raising leaves it unknown.
        """
        if meanwhile and after_call:
            raise TypeError("a tool is either spoken about now (meanwhile) or run after the call (after_call)")
        lane: Lane = "after_call" if after_call else "live" if meanwhile else "inline"
        if latest_wins and lane == "inline":
            raise TypeError(
                "an inline tool is answered at once, so no newer call can replace it: latest_wins needs meanwhile"
            )
        if verbatim and lane != "live":
            raise TypeError("only what is spoken into a call later can be said word for word: verbatim needs meanwhile")

        def register(plain: Callable[..., Any]) -> Callable[..., Any]:
            _check_options(plain.__name__, lane, dedupe, on_interrupt, reconcile)
            made = _make(plain, lane, effect, meanwhile, timeout, DEADLINES[lane] if deadline is None else deadline)
            if made.name in self._tools:
                raise TypeError(f"there are two tools called {made.name}")
            self._tools[made.name] = made._replace(
                overrun=overrun,
                dedupe=DEDUPE_CALL if dedupe == "call" else float(dedupe),
                latest_wins=latest_wins,
                on_interrupt=on_interrupt,
                verbatim=verbatim,
                reconcile=reconcile,
            )
            return plain

        return register(function) if function else register


def _check_options(name: str, lane: Lane, dedupe: float | str, on_interrupt: str, reconcile: Reconcile | None) -> None:
    if dedupe != "call" and not (isinstance(dedupe, int | float) and 0 <= dedupe <= DEDUPE_CALL):
        raise TypeError(f"{name}: dedupe is 'call' or seconds, at most {DEDUPE_CALL:g}")
    if on_interrupt not in ("finish", "cancel"):
        raise TypeError(f"{name}: on_interrupt is 'finish' or 'cancel'")
    if reconcile and lane == "inline":
        raise TypeError(
            f"{name}: an inline tool is answered at once, so nobody asks later: reconcile needs meanwhile or after_call"
        )


def _make(
    function: Callable[..., Any], lane: Lane, effect: Effect, meanwhile: str, timeout: float, deadline: float
) -> Tool:
    name = function.__name__
    description = one_line(inspect.getdoc(function) or "")
    if not _NAME.fullmatch(name):
        raise TypeError(f"{name}: a tool's name has at most 64 letters, digits, '_' and '-'")
    if any(is_not_plain(function) for is_not_plain in _NOT_PLAIN):
        raise TypeError(f"{name}: a tool is a plain function, without async and yield; asyncio.run may stand in it")
    if not description:
        raise TypeError(f"{name}: a tool needs a docstring, it is what the model is told")
    if effect not in ("read", "keyed", "once"):
        raise TypeError(f"{name}: effect is 'read', 'keyed' or 'once'")
    if not 0 < timeout <= MAX_TIMEOUT:
        raise TypeError(f"{name}: timeout is more than 0 and at most {MAX_TIMEOUT:g} seconds")
    if deadline < timeout:
        raise TypeError(f"{name}: the deadline cannot be sooner than the timeout")
    hints, call_parameter = _parameters(function)
    adapter, schema = _schema(name, hints)
    return Tool(
        name=name,
        description=description,
        function=function,
        schema=schema,
        adapter=adapter,
        call_parameter=call_parameter,
        lane=lane,
        effect=effect,
        meanwhile=meanwhile,
        timeout=timeout,
        deadline=deadline,
    )


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, Any], str]:
    """The model's parameters with their types, and the name of the one that takes the `Call`."""
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
        if types[name] is Call:
            if call_parameter:
                raise TypeError(f"{function.__name__}: there is one Call, and both {call_parameter} and {name} want it")
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


def _schema(name: str, hints: Mapping[str, Any]) -> tuple[TypeAdapter[dict[str, Any]], dict[str, Any]]:
    """What checks the arguments, and what the model is told of them."""
    try:
        adapter = _adapter(name, hints)
        raw = adapter.json_schema()
    except PydanticUserError as error:
        if len(hints) == 1:
            [parameter] = hints
            raise TypeError(f"{name}: no model can give a value of the type of {parameter}") from error
        for parameter, hint in hints.items():
            _schema(name, {parameter: hint})
        raise
    definitions = raw.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(name, raw, definitions, ())
    return adapter, {"required": [], "properties": {}} | inlined


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


def data_text(value: object) -> str:
    """Compact JSON of what a tool returned, for tools that return data instead of words; '' for None."""
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> Any:
    if isinstance(value, _DATA) or is_dataclass(value):
        return to_jsonable_python(value)
    raise TypeError(f"a tool cannot return a {type(value).__name__}")
