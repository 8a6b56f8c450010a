"""Tools: what a signature becomes for the model, what is refused when the module loads, and how a call is run."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, Field

from switchboard.tools import (
    NOTHING,
    Call,
    DefiniteFailure,
    Tool,
    Toolbox,
    ToolError,
    WrongArguments,
)

START = datetime(2027, 1, 15, 8, tzinfo=UTC)


class Address(BaseModel):
    """Where somebody lives."""

    street: Annotated[str, Field(description="The street and its number.")]
    title: str = "home"


@dataclass
class Slot:
    day: date


class Guest(BaseModel):
    name: str
    address: Address


class Family(BaseModel):
    name: str
    children: list["Family"]


def call(**fields: Any) -> Call:
    return Call(**{"id": "c-1", "caller": "+15550100001", "idempotency_key": "key", "now": START, **fields})


def only(toolbox: Toolbox) -> Tool:
    (tool,) = toolbox
    return tool


def made(function: Callable[..., Any], **options: Any) -> Tool:
    toolbox = Toolbox()
    toolbox.tool(**options)(function)
    return only(toolbox)


def book(
    call: Call,
    day: Annotated[date, "The day that the caller agreed to."],
    guests: Annotated[int, "How many come.", Field(ge=1, le=8)] = 2,
    *,
    title: Annotated[Literal["Mr", "Ms"] | None, Field(description="How to address the caller.")] = None,
) -> str:
    """Book a table.

    Once the caller has agreed.
    """
    return f"{day:%A} for {guests}, {title or 'guest'} at {call.caller}"


# Definitions


def test_a_tool_stays_the_function_that_it_was() -> None:
    tools = Toolbox()

    assert tools.tool(book) is book
    assert tools.tool(effect="read", meanwhile="One moment.")(hello) is hello


def hello() -> str:
    """Say hello."""
    return "Hello."


def test_a_toolbox_knows_its_tools_in_order_and_no_other_names() -> None:
    tools = Toolbox()
    tools.tool(book)
    tools.tool(hello)

    assert [tool.name for tool in tools] == ["book", "hello"]
    assert len(tools) == 2
    found = tools.get("book")
    assert found is not None
    assert found.function is book
    assert tools.get("Book") is None
    assert tools.get("") is None


def test_the_schema_says_what_the_signature_says_and_hides_the_call() -> None:
    assert made(book).definition() == {
        "type": "function",
        "function": {
            "name": "book",
            "description": "Book a table. Once the caller has agreed.",
            "strict": False,
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "day": {"type": "string", "format": "date", "description": "The day that the caller agreed to."},
                    "guests": {"type": "integer", "minimum": 1, "maximum": 8, "description": "How many come."},
                    "title": {
                        "anyOf": [{"type": "string", "enum": ["Mr", "Ms"]}, {"type": "null"}],
                        "description": "How to address the caller.",
                    },
                },
                "required": ["day"],
            },
        },
    }


def test_a_tool_without_parameters_has_an_empty_object_of_them() -> None:
    function = made(hello).definition()["function"]

    assert function["parameters"] == {
        "type": "object",
        "additionalProperties": False,
        "properties": {},
        "required": [],
    }
    assert function["strict"] is True


def test_a_tool_is_strict_where_everything_is_required() -> None:
    def strict(a: Annotated[int, "A."], b: Annotated[str, "B."]) -> None:
        """Do."""

    def loose(a: Annotated[int, "A."], b: Annotated[str, "B."] = "") -> None:
        """Do."""

    assert made(strict).definition()["function"]["strict"] is True
    assert made(loose).definition()["function"]["strict"] is False


def test_nested_models_are_written_out_where_they_are_used() -> None:
    def visit(
        guest: Annotated[Guest, "Who comes."],
        also: Annotated[list[Guest], "Who else comes."],
        back: Annotated[Address | None, "Where to go afterwards."] = None,
    ) -> None:
        """Plan a visit."""

    address = {
        "type": "object",
        "description": "Where somebody lives.",
        "properties": {
            "street": {"type": "string", "description": "The street and its number."},
            "title": {"type": "string", "default": "home"},
        },
        "required": ["street"],
        "additionalProperties": False,
    }
    guest = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "address": address},
        "required": ["name", "address"],
        "additionalProperties": False,
    }

    schema = made(visit).arguments.schema

    assert schema["properties"] == {
        "guest": {**guest, "description": "Who comes."},
        "also": {"type": "array", "items": guest, "description": "Who else comes."},
        "back": {"anyOf": [address, {"type": "null"}], "description": "Where to go afterwards."},
    }
    assert "$" not in str(schema)


class Exact(BaseModel):
    name: str


class Named(TypedDict):
    name: str


class PartlyNamed(TypedDict, total=False):
    name: str


@dataclass
class Plain:
    name: str


class Open(BaseModel, extra="allow"):
    name: str


@pytest.mark.parametrize("kind", [Exact, Named, Plain, list[Exact], Exact | None])
def test_what_is_strict_is_strict_all_the_way_down(kind: Any) -> None:
    def greet(guest: Annotated[kind, "Whom."]) -> None:
        """Greet."""

    function = made(greet).definition()["function"]
    objects = [part for part in parts(function["parameters"]) if part.get("type") == "object"]

    assert function["strict"] is True
    assert len(objects) == 2
    assert all(part["additionalProperties"] is False for part in objects)


def parts(value: Any) -> list[dict[str, Any]]:
    """Every object in a schema."""
    if isinstance(value, list):
        return [part for one in value for part in parts(one)]
    if not isinstance(value, dict):
        return []
    return [value, *(part for one in value.values() for part in parts(one))]


@pytest.mark.parametrize("kind", [Open, Address, PartlyNamed, dict[str, int], list[Address], Address | None])
def test_what_leaves_something_open_is_not_strict(kind: Any) -> None:
    def greet(guest: Annotated[kind, "Whom."]) -> None:
        """Greet."""

    assert made(greet).definition()["function"]["strict"] is False


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]


def test_a_schema_holds_nothing_that_vapi_has_no_word_for() -> None:
    def pay(
        how: Annotated[Card | Cash, "How.", Field(discriminator="kind")],
        discriminator: Annotated[str, "A parameter."],
        const: Annotated[Literal["x"], "Another."],
    ) -> str:
        """Pay."""
        return f"{how.kind} {discriminator} {const}"

    tool = made(pay)

    assert tool.arguments.schema["properties"] == {
        "how": {
            "description": "How.",
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"type": "string", "enum": ["card"]}, "number": {"type": "string"}},
                    "required": ["kind", "number"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"kind": {"type": "string", "enum": ["cash"]}},
                    "required": ["kind"],
                    "additionalProperties": False,
                },
            ],
        },
        "discriminator": {"type": "string", "description": "A parameter."},
        "const": {"type": "string", "enum": ["x"], "description": "Another."},
    }
    given = {"how": {"kind": "cash"}, "discriminator": "d", "const": "x"}
    assert tool.run(call(), tool.parse(given)) == "cash d x"


def test_parameters_may_be_called_anything() -> None:
    def odd(
        title: Annotated[str, "A title."],
        copy: Annotated[int, "A copy."],
        schema: Annotated[int, "A schema."],
        model_config: Annotated[int, "A config."],
        self: Annotated[int, "A self."],
    ) -> str:
        """Do."""
        return f"{title}{copy}{schema}{model_config}{self}"

    tool = made(odd)
    arguments = {"title": "t", "copy": 1, "schema": 2, "model_config": 3, "self": 4}

    assert sorted(tool.arguments.schema["properties"]) == sorted(arguments)
    assert tool.run(call(), tool.parse(arguments)) == "t1234"


def test_the_call_may_stand_anywhere_under_any_name_or_nowhere() -> None:
    def last(day: Annotated[str, "A day."], who: Call) -> str:
        """Do."""
        return f"{day} {who.id}"

    def named(*, day: Annotated[str, "A day."], it: Call) -> str:
        """Do."""
        return f"{day} {it.id}"

    for function in (last, named):
        tool = made(function)
        assert list(tool.arguments.schema["properties"]) == ["day"]
        assert tool.run(call(), tool.parse({"day": "Monday"})) == "Monday c-1"
    assert made(hello).run(call(), {}) == "Hello."


def test_inline_tools_let_vapi_choose_the_filler_and_the_others_silence_it() -> None:
    silent = [{"type": "request-start", "content": ""}]

    assert "messages" not in made(hello).definition()
    assert made(hello, meanwhile="One moment.").definition()["messages"] == silent
    assert made(hello, after_call=True).definition()["messages"] == silent


def test_a_definition_says_where_its_calls_go_only_if_asked_to() -> None:
    server = {"url": "https://voice.example.com/webhook/vapi"}

    assert "server" not in made(hello).definition()
    assert made(hello).definition(server)["server"] == server


@pytest.mark.parametrize(
    ("options", "lane", "deadline"),
    [
        ({}, "inline", 60),
        ({"meanwhile": "One moment."}, "live", 60),
        ({"after_call": True}, "after_call", 1800),
        ({"meanwhile": "One moment.", "deadline": 20}, "live", 20),
        ({"after_call": True, "timeout": 30}, "after_call", 1800),
    ],
)
def test_words_for_meanwhile_make_a_tool_background(options: Any, lane: str, deadline: float) -> None:
    tool = made(hello, **options)

    assert (tool.lane, tool.deadline) == (lane, deadline)
    assert tool.meanwhile == options.get("meanwhile", "")


def test_a_tool_is_run_once_and_for_six_seconds_unless_it_says_otherwise() -> None:
    assert (made(hello).effect, made(hello).timeout) == ("once", 6)
    for effect in ("read", "keyed", "once"):
        tool = made(hello, effect=effect, timeout=1.5)
        assert (tool.effect, tool.timeout) == (effect, 1.5)


def test_a_toolbox_knows_whether_anything_waits_for_the_end_of_the_call() -> None:
    tools = Toolbox()
    assert not tools.after_call
    tools.tool(hello)
    assert not tools.after_call
    tools.tool(after_call=True)(book)
    assert tools.after_call


# What a model could not understand stops the module from loading


def refused(function: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(TypeError) as error:
        made(function, **options)
    return str(error.value)


def test_two_tools_of_one_name_are_refused() -> None:
    tools = Toolbox()
    tools.tool(hello)

    with pytest.raises(TypeError, match="two tools called hello"):
        tools.tool(effect="read")(hello)
    assert only(tools).effect == "once"


def test_a_tool_is_spoken_about_now_or_run_after_the_call() -> None:
    with pytest.raises(TypeError, match="either"):
        Toolbox().tool(meanwhile="One moment.", after_call=True)


def test_a_tool_needs_words_of_its_own() -> None:
    def silent() -> None: ...

    def blank() -> None: ...

    blank.__doc__ = " \n "
    assert "needs a docstring" in refused(silent)
    assert "needs a docstring" in refused(blank)


@pytest.mark.parametrize("name", ["größe", "a" * 65, "<lambda>", "a b", ""])
def test_a_name_that_vapi_does_not_take_is_refused(name: str) -> None:
    def function() -> None:
        """Do."""

    function.__name__ = name

    assert "name has at most 64 letters" in refused(function)


def test_a_name_of_sixty_four_letters_is_taken() -> None:
    def function() -> None:
        """Do."""

    function.__name__ = "a-Z_9" + "a" * 59

    assert len(made(function).name) == 64


@pytest.mark.parametrize("effect", ["write", "", "READ", None])
def test_an_unknown_effect_is_refused(effect: Any) -> None:
    assert "effect is 'read', 'keyed' or 'once'" in refused(hello, effect=effect)


@pytest.mark.parametrize("timeout", [0, -1, 30.01, float("nan"), float("inf")])
def test_a_timeout_that_no_worker_can_keep_is_refused(timeout: float) -> None:
    assert "at most 30 seconds" in refused(hello, timeout=timeout)


def test_a_timeout_of_thirty_seconds_is_kept() -> None:
    assert made(hello, timeout=30).timeout == 30


def test_a_deadline_sooner_than_the_timeout_is_refused() -> None:
    assert "deadline cannot be sooner" in refused(hello, timeout=6, deadline=5.9)
    assert made(hello, timeout=6, deadline=6).deadline == 6
    assert "deadline cannot be sooner" in refused(hello, deadline=0)


@pytest.mark.parametrize("dedupe", ["Call", "30", -1, float("nan"), float("inf"), None])
def test_a_window_for_repetitions_is_the_call_or_seconds(dedupe: Any) -> None:
    assert "hello: dedupe is 'call' or seconds" in refused(hello, dedupe=dedupe)


@pytest.mark.parametrize("on_interrupt", ["cancle", "", None])
def test_an_unknown_way_to_meet_an_interruption_is_refused(on_interrupt: Any) -> None:
    assert "hello: on_interrupt is 'finish' or 'cancel'" in refused(hello, on_interrupt=on_interrupt)


def test_nobody_asks_later_how_an_inline_tool_ended() -> None:
    assert "hello: an inline tool is answered at once" in refused(hello, reconcile=lambda _call, _arguments: None)


def test_a_tool_is_neither_async_nor_a_generator() -> None:
    async def wait() -> None:
        """Do."""

    def count() -> Iterator[int]:
        """Do."""
        yield 1

    async def stream() -> AsyncIterator[int]:
        """Do."""
        yield 1

    for function in (wait, count, stream):
        assert "without async and yield" in refused(function)


def test_a_parameter_needs_a_type_and_words_and_a_name() -> None:
    def untyped(day) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - this is what is refused
        """Do."""

    def wordless(day: str) -> None:
        """Do."""

    def blank(day: Annotated[str, ""]) -> None:
        """Do."""

    def constrained(day: Annotated[int, Field(ge=1)]) -> None:
        """Do."""

    def many(*days: Annotated[str, "Days."]) -> None:
        """Do."""

    def any_names(**days: Annotated[str, "Days."]) -> None:
        """Do."""

    def positional(day: Annotated[str, "A day."], /) -> None:
        """Do."""

    assert refused(untyped) == "untyped: day has no type"
    for function in (wordless, blank, constrained):
        assert "day has no words for the model" in refused(function)
    assert "named parameters only, days is not one" in refused(many)
    assert "named parameters only, days is not one" in refused(any_names)
    assert "named parameters only, day is not one" in refused(positional)


class Thing:
    """Nothing that JSON knows."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Thing, "act: no model can give a value of the type of what"),
        (Callable[[], None], "act: no model can give a value of the type of what"),
        (Call | None, "act: no model can give a value of the type of what"),
        (Any, "act: what may be anything, so no model can know what to give"),
        (list[Any], "act: what a list holds may be anything, so no model can know what to give"),
        (object, "act: what may be anything, so no model can know what to give"),
        (dict, "act: what a dictionary holds may be anything, so no model can know what to give"),
        (list[dict[str, Any]], "act: what a dictionary holds may be anything, so no model can know what to give"),
    ],
)
def test_a_parameter_that_no_model_can_fill_is_named(kind: Any, words: str) -> None:
    def act(day: Annotated[str, "A day."], what: Annotated[kind, "What."], also: Annotated[str, "A."]) -> None:
        """Do."""

    assert refused(act) == words


def test_a_type_that_does_not_exist_is_named() -> None:
    def act(what: "Annotated[Missing, 'What.']") -> None:  # type: ignore[name-defined]  # noqa: F821 - what is refused
        """Do."""

    assert refused(act) == "act: there is no type Missing"


def test_there_is_one_call() -> None:
    def act(one: Call, two: Call) -> None:
        """Do."""

    assert refused(act) == "act: there is one Call, and both one and two want it"


def test_arguments_that_contain_themselves_are_refused() -> None:
    def invite(family: Annotated[Family, "Who comes."]) -> None:
        """Invite."""

    assert "cannot contain themselves (Family)" in refused(invite)


def test_the_same_model_twice_does_not_contain_itself() -> None:
    def move(old: Annotated[Address, "Old."], new: Annotated[Address, "New."]) -> None:
        """Move."""

    assert "$ref" not in str(made(move).arguments.schema)


def test_a_tool_that_was_refused_is_not_in_the_box() -> None:
    tools = Toolbox()

    with pytest.raises(TypeError):
        tools.tool(timeout=0)(hello)

    assert len(tools) == 0


# Arguments


def test_arguments_become_what_the_signature_says() -> None:
    tool = made(book)

    assert tool.parse({"day": "2027-01-18"}) == {"day": date(2027, 1, 18)}
    assert tool.run(call(), tool.parse({"day": "2027-01-18"})) == "Monday for 2, guest at +15550100001"
    full = {"day": "2027-01-18", "guests": 3, "title": "Ms"}
    assert tool.run(call(), tool.parse(full)) == "Monday for 3, Ms at +15550100001"


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ({}, "day: "),
        ({"day": "Monday"}, "day: "),
        ({"day": None}, "day: "),
        ({"day": "2027-01-18", "guests": 0}, "guests: "),
        ({"day": "2027-01-18", "guests": 9}, "guests: "),
        ({"day": "2027-01-18", "guests": "many"}, "guests: "),
        ({"day": "2027-01-18", "guests": None}, "guests: "),
        ({"day": "2027-01-18", "title": "Dr"}, "title: "),
        ({"day": "2027-01-18", "price": 1}, "price: "),
        ({"day": "2027-01-18", "call": {"caller": "+1900"}}, "call: "),
    ],
)
def test_wrong_arguments_are_refused_by_their_name_on_one_line(arguments: dict[str, Any], start: str) -> None:
    with pytest.raises(WrongArguments) as error:
        made(book).parse(arguments)

    assert str(error.value).startswith(start)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) <= 300
    assert "pydantic" not in str(error.value)


def test_a_wrong_argument_deep_inside_is_named_by_its_path() -> None:
    def visit(guests: Annotated[list[Guest], "Who comes."]) -> None:
        """Plan a visit."""

    with pytest.raises(WrongArguments, match=r"^guests\.0\.address\.street: "):
        made(visit).parse({"guests": [{"name": "A", "address": {}}]})


def test_a_complaint_is_short_and_does_not_repeat_the_value() -> None:
    def choose(which: Annotated[Literal[tuple("x" * n for n in range(1, 60))], "Which."]) -> None:  # type: ignore[valid-type]  # made at run time
        """Choose."""

    with pytest.raises(WrongArguments) as error:
        made(choose).parse({"which": "private"})

    assert len(str(error.value)) == 300
    assert "private" not in str(error.value)


def test_a_tool_may_check_more_than_one_argument_at_once() -> None:
    def between(first: Annotated[int, "First.", Field(ge=0)], last: Annotated[int, "Last.", Field(ge=0)]) -> None:
        """Do."""

    with pytest.raises(WrongArguments, match=r"^first: [^;]*$"):
        made(between).parse({"first": -1, "last": -1})


def test_dates_need_the_form_that_json_has_for_them() -> None:
    def at(start: Annotated[datetime, "When."]) -> None:
        """Do."""

    assert made(at).parse({"start": "2027-01-15T10:00:00-05:00"})["start"].utcoffset() == timedelta(hours=-5)


# Results


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Two\r\nlines  and\ttabs.", "Two lines and tabs."),
        # Vapi takes an empty result for none at all.
        ("", NOTHING),
        (" \n", NOTHING),
        (None, NOTHING),
        ([], "[]"),
        # Half an emoji, as a JavaScript service may cut it.
        ("a \ud83d b", "a b"),
        ({"a": "\ud83d"}, '{"a":" "}'),
        ({"slots": ["9:00", "14:30"], "a": "é"}, '{"a":"é","slots":["9:00","14:30"]}'),
        ([1, 2], "[1,2]"),
        (7, "7"),
        ({"words": "two\nlines"}, '{"words":"two\\nlines"}'),
        ({"at": START, "price": Decimal("9.50")}, '{"at":"2027-01-15T08:00:00Z","price":"9.50"}'),
        (
            [Address(street="Elm 5"), Slot(date(2027, 1, 15))],
            '[{"street":"Elm 5","title":"home"},{"day":"2027-01-15"}]',
        ),
    ],
)
def test_what_a_tool_returns_is_one_line(said: Any, line: str) -> None:
    def function() -> Any:
        """Do."""
        return said

    assert made(function).run(call(), {}) == line


@pytest.mark.parametrize("error", [ToolError("Sorry."), DefiniteFailure("no answer"), KeyError("x")])
def test_what_a_tool_raises_is_for_its_caller_to_judge(error: Exception) -> None:
    def function() -> None:
        """Do."""
        raise error

    with pytest.raises(type(error)) as raised:
        made(function).run(call(), {})
    assert raised.value is error


def test_a_definite_failure_may_be_tried_again_unless_it_says_otherwise() -> None:
    assert DefiniteFailure("no answer").retryable
    assert not DefiniteFailure("refused", retryable=False).retryable
    assert str(DefiniteFailure("refused")) == "refused"


# What a tool may know of its call


def test_a_call_says_what_the_signed_message_said() -> None:
    known = call(attempt=3)

    assert (known.id, known.caller, known.idempotency_key) == ("c-1", "+15550100001", "key")
    assert (known.now, known.attempt) == (START, 3)
    assert call().attempt == 1


def test_a_call_says_how_long_there_still_is() -> None:
    now = START
    known = call(ends=START + timedelta(seconds=4), clock=lambda: now)

    assert known.remaining() == 4
    now += timedelta(seconds=3)
    assert known.remaining() == 1
    now += timedelta(seconds=3)
    assert known.remaining() == 0


def test_a_call_without_an_end_ends_with_the_longest_timeout() -> None:
    assert call(clock=lambda: START).remaining() == 30


def test_a_call_uses_the_real_clock_unless_given_one() -> None:
    assert call(ends=datetime.now(UTC) + timedelta(seconds=60)).remaining() == pytest.approx(60, abs=30)


def test_a_call_asks_the_table_whether_it_is_still_its_turn() -> None:
    assert call().still_owner()
    assert not call(still_owner=lambda: False).still_owner()


def test_a_call_is_made_by_names_only() -> None:
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in inspect.signature(Call).parameters.values())


def test_only_what_is_spoken_later_can_be_said_word_for_word() -> None:
    box = Toolbox()

    with pytest.raises(TypeError, match="verbatim needs meanwhile"):

        @box.tool(verbatim=True)
        def number() -> str:
            """Say a number."""
            return "1"
