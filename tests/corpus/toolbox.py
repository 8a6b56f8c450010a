"""Tools with a parameter of every kind that a model gets wrong. Each says what it was given."""

from datetime import date
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AwareDatetime, Field

from switchboard.tools import Call, Toolbox

tools = Toolbox()


class Person(TypedDict):
    """Somebody."""

    name: str
    age: int


@tools.tool(effect="read")
def nothing() -> str:
    """Take no arguments."""
    return "nothing"


@tools.tool(effect="read")
def text(value: Annotated[str, "Words."]) -> str:
    """Take words."""
    return f"text {value}"


@tools.tool(effect="read")
def number(value: Annotated[int, "A whole number."]) -> str:
    """Take a whole number."""
    return f"number {value}"


@tools.tool(effect="read")
def amount(value: Annotated[float, "A number."]) -> str:
    """Take a number."""
    return f"amount {value}"


@tools.tool(effect="read")
def small(value: Annotated[int, "From 1 to 9.", Field(ge=1, le=9)]) -> str:
    """Take a number within bounds."""
    return f"small {value}"


@tools.tool(effect="read")
def flag(value: Annotated[bool, "Yes or no."]) -> str:
    """Take yes or no."""
    return f"flag {value}"


@tools.tool(effect="read")
def day(value: Annotated[date, "A day."]) -> str:
    """Take a day."""
    return f"day {value}"


@tools.tool(effect="read")
def moment(value: Annotated[AwareDatetime, "A moment, with its offset."]) -> str:
    """Take a moment."""
    return f"moment {value.isoformat()}"


@tools.tool(effect="read")
def choice(value: Annotated[Literal["red", "blue"], "A colour."]) -> str:
    """Take one of two words."""
    return f"choice {value}"


@tools.tool(effect="read")
def ticket(value: Annotated[str, "An id.", Field(pattern=r"^apt_\d+$", max_length=12)]) -> str:
    """Take an id that was handed out."""
    return f"ticket {value}"


@tools.tool(effect="read")
def many(value: Annotated[list[int], "Numbers.", Field(max_length=3)]) -> str:
    """Take a few numbers."""
    return f"many {value}"


@tools.tool(effect="read")
def person(value: Annotated[Person, "Somebody."]) -> str:
    """Take somebody."""
    return f"person {value['name']} {value['age']}"


@tools.tool(effect="read")
def maybe(value: Annotated[str | None, "Words, or nothing."] = "usual") -> str:
    """Take words or nothing."""
    return f"maybe {value}"


@tools.tool(effect="read")
def two(first: Annotated[str, "One."], second: Annotated[int, "Two."] = 2) -> str:
    """Take two things."""
    return f"two {first} {second}"


@tools.tool(effect="read")
def who(call: Call) -> str:
    """Say who is calling: known from the call, and from no argument."""
    return f"who {call.id} {call.caller}"


def returning(value: Any) -> Toolbox:
    """A toolbox whose tool `it` returns a value, or raises it."""
    box = Toolbox()

    @box.tool(effect="read")
    def it() -> Any:
        """Return it."""
        if isinstance(value, Exception):
            raise value
        return value

    return box
