"""DynamoDB in a dictionary: a `Store` that evaluates the package's own expressions.

So a simulation runs the real state machines, a thousand times faster than on moto; tests/integration/test_memory.py
holds the two against each other. An expression that is not understood raises: nothing is ever true by accident.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from switchboard.errors import ConditionFailed
from switchboard.store import Check, Due, Item, Key, Put, Store, Update, Values

type Term = Callable[[Item, Values], Any]
type Step = Callable[[Item, Item, Values], None]  # as it was, as it will be, values


class Missing:
    """An attribute that an item does not have: it equals nothing, and is in no order."""


MISSING = Missing()


class Parser:
    """Reads one expression. Attributes are `#name`, values `:name`, as `Store` demands; there are no paths."""

    _TOKEN = re.compile(r"\s*(#\w+|:\w+|<=|>=|[=<>(),+\-]|\w+)")

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s+", "", text):
            raise ValueError(f"not an expression: {text}")

    def condition(self) -> Term:
        """The whole text as a condition."""
        return self._finished(self._any())

    def change(self) -> list[Step]:
        """The whole text as an update: each clause at most once, and no attribute twice."""
        clauses: dict[str, Callable[[], tuple[str, Step]]] = {
            "SET": self._set,
            "REMOVE": self._remove,
            "ADD": self._add,
            "DELETE": self._delete,
        }
        steps: list[Step] = []
        names: list[str] = []
        while self._tokens:
            action = self._choice(clauses)
            clauses = {clause: made for clause, made in clauses.items() if made is not action}
            while True:
                name, step = action()
                names.append(name)
                steps.append(step)
                if not self._accept(","):
                    break
        if len(set(names)) != len(names):
            raise ValueError(f"an attribute is changed twice: {self._text}")
        return self._finished(steps)

    def _choice[T](self, known: Mapping[str, T]) -> T:
        token = self._take()
        if token not in known:
            raise ValueError(f"{token} is not expected in: {self._text}")
        return known[token]

    def _finished[T](self, made: T) -> T:
        if self._tokens:
            raise ValueError(f"{self._tokens[0]} is not expected in: {self._text}")
        return made

    def _take(self) -> str:
        if not self._tokens:
            raise ValueError(f"something is missing at the end of: {self._text}")
        return str(self._tokens.pop(0))

    def _accept(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise ValueError(f"{token} is missing in: {self._text}")

    def _listed[T](self, part: Callable[[], T]) -> list[T]:
        """`(a, b, …)`."""
        self._expect("(")
        parts = [part()]
        while self._accept(","):
            parts.append(part())
        self._expect(")")
        return parts

    def _any(self) -> Term:
        parts = [self._all()]
        while self._accept("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda item, values: any(part(item, values) for part in parts)

    def _all(self) -> Term:
        parts = [self._one()]
        while self._accept("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item, values: all(part(item, values) for part in parts)

    def _one(self) -> Term:
        if self._accept("NOT"):
            inner = self._one()
            return lambda item, values: not inner(item, values)
        if self._accept("("):
            if self._redundant():
                raise ValueError(f"redundant parentheses, which DynamoDB refuses, in: {self._text}")
            inner = self._any()
            self._expect(")")
            return inner
        if self._tokens and self._tokens[0] in FUNCTIONS:
            return self._function()
        return self._comparison()

    def _redundant(self) -> bool:
        """Whether what stands in these parentheses is only something else in parentheses."""
        depth = 0
        for place, token in enumerate(self._tokens):
            depth += (token == "(") - (token == ")")
            if depth == 0:
                return place > 0 and self._tokens[place + 1 : place + 2] == [")"]
        return False

    def _function(self) -> Term:
        count, test = self._choice(FUNCTIONS)
        terms = self._listed(self._term)
        if len(terms) != count:
            raise ValueError(f"a function with {len(terms)} operands in: {self._text}")
        return lambda item, values: test(*(term(item, values) for term in terms))

    def _comparison(self) -> Term:
        left = self._term()
        if self._accept("IN"):
            listed = self._listed(self._term)
            return lambda item, values: any(_equal(left(item, values), one(item, values)) for one in listed)
        holds, right = self._choice(COMPARISONS), self._term()
        return lambda item, values: holds(left(item, values), right(item, values))

    def _term(self) -> Term:
        token = self._take()
        name = token[1:]
        if token.startswith("#"):
            return lambda item, _: item.get(name, MISSING)
        if token.startswith(":"):
            return lambda _, values: stored(values[name])
        raise ValueError(f"{token} is no operand in: {self._text}")

    def _name(self) -> str:
        token = self._take()
        if not token.startswith("#"):
            raise ValueError(f"{token} is no attribute in: {self._text}")
        return token[1:]

    def _set(self) -> tuple[str, Step]:
        name = self._name()
        self._expect("=")
        made = self._sum()

        def step(was: Item, will: Item, values: Values) -> None:
            will[name] = _present(made(was, values))

        return name, step

    def _sum(self) -> Term:
        left = self._operand()
        for sign, factor in (("+", 1), ("-", -1)):
            if self._accept(sign):
                right = self._operand()
                return lambda item, values: _number(left(item, values)) + factor * _number(right(item, values))
        return left

    def _operand(self) -> Term:
        if not self._accept("if_not_exists"):
            return self._term()
        self._expect("(")
        kept = self._term()
        self._expect(",")
        otherwise = self._operand()
        self._expect(")")

        def choose(item: Item, values: Values) -> Any:
            found = kept(item, values)
            return otherwise(item, values) if found is MISSING else found

        return choose

    def _remove(self) -> tuple[str, Step]:
        name = self._name()
        return name, lambda _was, will, _values: will.pop(name, None)

    def _add(self) -> tuple[str, Step]:
        name, term = self._name(), self._term()

        def step(was: Item, will: Item, values: Values) -> None:
            more = term(was, values)
            if isinstance(more, set):
                will[name] = _set_of(was.get(name, set()), more) | more
            else:
                will[name] = _number(was.get(name, 0)) + _number(more)

        return name, step

    def _delete(self) -> tuple[str, Step]:
        name, term = self._name(), self._term()

        def step(was: Item, will: Item, values: Values) -> None:
            less = term(was, values)
            left = _set_of(was.get(name, set()), less) - less
            # DynamoDB keeps no empty set.
            will.pop(name, None)
            will |= {name: left} if left else {}

        return name, step


def _kind(value: Any) -> str:
    """DynamoDB's type: values of two types are never equal, and in no order."""
    if isinstance(value, set):
        return f"{_kind(next(iter(value)))}S"
    kinds = {bool: "BOOL", int: "N", str: "S", bytes: "B", type(None): "NULL", list: "L", dict: "M", Missing: "-"}
    return kinds[type(value)]


def _equal(left: Any, right: Any) -> bool:
    return left is not MISSING and _kind(left) == _kind(right) and left == right


def _order(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: _kind(left) == _kind(right) in ("N", "S", "B") and holds(left, right)


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    return isinstance(whole, set | list) and any(_equal(one, part) for one in whole)


def _begins(text: Any, prefix: Any) -> bool:
    return isinstance(text, str) and isinstance(prefix, str) and text.startswith(prefix)


FUNCTIONS: dict[str, tuple[int, Callable[..., bool]]] = {
    "attribute_exists": (1, lambda value: value is not MISSING),
    "attribute_not_exists": (1, lambda value: value is MISSING),
    "begins_with": (2, _begins),
    "contains": (2, _contains),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": _equal,
    "<": _order(lambda left, right: left < right),
    "<=": _order(lambda left, right: left <= right),
    ">": _order(lambda left, right: left > right),
    ">=": _order(lambda left, right: left >= right),
}


def _present(value: Any) -> Any:
    if value is MISSING:
        raise ValueError("an expression takes the value of an attribute that is not there")
    return value


def _number(value: Any) -> int:
    if _kind(value) != "N":
        raise ValueError(f"{value!r} is no number")
    return int(value)


def _set_of(value: Any, like: Any) -> set[Any]:
    if not isinstance(value, set) or not isinstance(like, set) or (value and _kind(value) != _kind(like)):
        raise ValueError(f"{value!r} is no set of the kind of {like!r}")
    return value


@cache
def condition(text: str) -> Term:
    """A condition as a function of item and values; `ValueError` for one that is not understood."""
    return Parser(text).condition()


@cache
def change(text: str) -> list[Step]:
    """An update as its steps."""
    return Parser(text).change()


def stored(value: Any) -> Any:
    """A value as DynamoDB gives it back; `TypeError` or `ValueError` for one that it does not take."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            if abs(value) >= 10**38:
                raise ValueError("a number of more than 38 digits")
            return int(value)
        case set() | frozenset():
            if len({type(stored(one)) for one in value}) != 1:
                raise ValueError("a set is not empty, and of one type")
            return {stored(one) for one in value}
        case list() | tuple():
            return [stored(one) for one in value]
        case Mapping():
            return {str(name): stored(one) for name, one in value.items()}
    raise TypeError(f"{type(value).__name__} is not stored")


class Memory(Store):
    """One table. Whatever it hands out or takes is a copy."""

    def __init__(self) -> None:
        self.table: dict[Key, Item] = {}
        self._tokens: set[str] = set()

    def get(self, key: Key) -> Item | None:
        """Read one item."""
        return self._copy(key)

    def query(self, pk: str, prefix: str) -> list[Item]:
        """Items of a partition, in the order of their sort keys."""
        if not prefix:
            raise ValueError("DynamoDB takes no empty prefix")
        return [item for item in self.partition(pk) if item["sk"].startswith(prefix)]

    def partition(self, pk: str) -> list[Item]:
        """A whole partition, in the order of its sort keys."""
        keys = sorted((key for key in self.table if key.pk == pk), key=_bytes)
        return [stored(self.table[key]) for key in keys]

    def due(self, shard: str, now: int) -> list[Key]:
        """Keys in a shard of the index of unfinished items, oldest first: here the index never lags behind."""
        found = [
            key for key, item in self.table.items() if item.get("g1pk") == shard and item.get("g1sk", now + 1) <= now
        ]
        return sorted(found, key=lambda key: int(self.table[key]["g1sk"]))

    def between(self, pk: str, first: str, last: str, most: int, *, newest: bool = False) -> tuple[list[Item], bool]:
        """Some items of a partition, and whether there are more; 1 MB is as good as endless here."""
        low, high = _bytes(Key(pk, first)), _bytes(Key(pk, last))
        found = [item for item in self.partition(pk) if low <= _bytes(Key(pk, item["sk"])) <= high]
        return (found[::-1] if newest else found)[:most], len(found) > most

    def undue(self, shard: str, now: int) -> list[Due]:
        """What a shard of that index has whose time is still to come, the last first."""
        found = [
            Due(key, int(item["g1sk"]))
            for key, item in self.table.items()
            if item.get("g1pk") == shard and item.get("g1sk", now) > now
        ]
        return sorted(found, key=lambda due: due.at, reverse=True)

    def put(self, put: Put) -> None:
        """Write an item where the condition holds."""
        self._check(put)
        self._apply(put)

    def update(self, update: Update) -> Item:
        """Change an item where the condition holds."""
        self._check(update)
        before = self._copy(update.key) or {}
        self._apply(update)
        return before if update.before else self._copy(update.key) or {}

    def transact(self, writes: Iterable[Put | Update | Check], token: str) -> None:
        """All or nothing; the same token twice is one transaction."""
        if token in self._tokens:
            return
        listed = list(writes)
        if len({_key(write) for write in listed}) != len(listed):
            raise ValueError("a transaction touches an item twice")
        for write in listed:
            self._check(write)
        for write in listed:
            self._apply(write)
        self._tokens.add(token)

    def expire(self, now: float) -> None:
        """Delete what has expired, as DynamoDB does when it finds the time."""
        self.table = {key: item for key, item in self.table.items() if item.get("exp", now + 1) > now}

    def living(self, now: float) -> dict[Key, Item]:
        """What counts: everything that has not expired, deleted already or not."""
        return {key: stored(item) for key, item in self.table.items() if item.get("exp", now + 1) > now}

    def _copy(self, key: Key) -> Item | None:
        item = self.table.get(key)
        return None if item is None else stored(item)

    def _check(self, write: Put | Update | Check) -> None:
        key = _key(write)
        if write.condition and not condition(write.condition)(self.table.get(key, {}), write.values):
            raise ConditionFailed(self._copy(key))

    def _apply(self, write: Put | Update | Check) -> None:
        match write:
            case Put(item):
                self.table[_key(write)] = stored(item)
            case Update(key, text):
                was = self.table.get(key, dict(key._asdict()))
                will = dict(was)
                for step in change(text):
                    step(was, will, write.values)
                self.table[key] = will


def _key(write: Put | Update | Check) -> Key:
    return Key(write.item["pk"], write.item["sk"]) if isinstance(write, Put) else write.key


def _bytes(key: Key) -> bytes:
    return key.sk.encode()
