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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from switchboard.errors import SwitchboardError
from switchboard.messages import one_line

if TYPE_CHECKING:  # pydantic is behind it, three times a bare handler's whole start: loaded with the first tool
    from switchboard.schemas import Arguments

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
_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)  # what Vapi accepts


class ToolError(SwitchboardError):
    """Raised by a tool to say its words to the caller: the only text of a failure that is ever quoted."""


class DefiniteFailure(SwitchboardError):
    """Raised by a tool when this attempt has surely done nothing outside; with `retryable` it is tried again."""

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
    arguments: "Arguments"
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
        return self.arguments.parse(arguments)

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
                "strict": self.arguments.strict,
                "parameters": self.arguments.schema,
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

    def load(self) -> None:
        """Nothing: they are here. A `Shelf` has something to load."""

    def get(self, name: str) -> Tool | None:
        """The tool of that name, or None: the model invents names."""
        return self._tools.get(name)

    @property
    def after_call(self) -> dict[str, float]:
        """The tools that wait for the end of the call, each with the seconds that it then has."""
        return {tool.name: tool.deadline for tool in self if tool.lane == "after_call"}

    def definitions(self, server: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Vapi's function tools, in order. `server` says where their calls go; default: the assistant's."""
        return [tool.definition(server) for tool in self]

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
    from switchboard import schemas

    hints, call_parameter = schemas.parameters(function, injected=Call)
    return Tool(
        name=name,
        description=description,
        function=function,
        arguments=schemas.arguments(name, hints),
        call_parameter=call_parameter,
        lane=lane,
        effect=effect,
        meanwhile=meanwhile,
        timeout=timeout,
        deadline=deadline,
    )


def data_text(value: object) -> str:
    """Compact JSON of what a tool returned, for tools that return data instead of words; '' for None."""
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> Any:
    from switchboard import schemas

    return schemas.plain(value)
