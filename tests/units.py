"""What DynamoDB bills for a request: read and write request units, from what was really sent and stored.

AWS's arithmetic (DynamoDB developer guide, "Read/write capacity", "Transactions", "Global secondary indexes"):
- a write costs one unit per started KB of the larger one of the item before and after it, also where its condition fails;
- in a transaction it costs two, one to prepare and one to commit, and so does a condition check;
- an index costs a unit more where the item enters or leaves it, or where an attribute that it holds changes, and two
  where the index's own key changes; a write that touches nothing of the index costs nothing there;
- a consistent read costs one unit per started 4 KB of all that is read together, at least one; any other read half of that.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

KB = 1024
PAGE = 4 * KB  # of a read
INDEX = ("g1pk", "g1sk")
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
READS = ("GetItem", "Query")

type Raw = dict[str, Any]
"""An item, or a request, in DynamoDB's JSON."""


class Write(NamedTuple):
    """One item in one write request, before and after it."""

    operation: str
    key: tuple[str, str]
    before: Raw | None
    after: Raw | None
    transactional: bool

    @property
    def units(self) -> int:
        """What it costs."""
        size = max(bytes_of(self.before), bytes_of(self.after), 1)
        return -(-size // KB) * (2 if self.transactional else 1) + self.index_units

    @property
    def index_units(self) -> int:
        """What it costs in the index, whose entries are keys only and so never more than 1 KB."""
        before, after = (tuple((item or {}).get(name) for name in INDEX) for item in (self.before, self.after))
        if before == after:
            return 0
        return 2 if None not in before and None not in after else 1


class Spent(NamedTuple):
    """One request and its cost. Bytes are of the JSON that goes there and back."""

    operation: str
    reads: float
    writes: int
    sent: int
    answered: int


def bytes_of(item: Raw | None) -> int:
    """The size of an item: names and values in UTF-8; numbers and containers at their most."""
    return sum(len(name.encode()) + _bytes(value) for name, value in (item or {}).items())


def _bytes(value: Raw) -> int:
    [(kind, held)] = value.items()
    match kind:
        case "S":
            return len(held.encode())
        case "N":
            return 21
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return 3 + sum(len(str(one).encode()) + 1 for one in held)
        case "L":
            return 3 + sum(_bytes(one) + 1 for one in held)
        case "M":
            return 3 + sum(len(name.encode()) + _bytes(one) + 1 for name, one in held.items())
    raise AssertionError(f"no size is known of {kind}")


def read_units(request: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
    """What a `GetItem` or a `Query` costs. Every item that is looked at is answered here: nothing filters."""
    assert "FilterExpression" not in request
    items = answer["Items"] if "Items" in answer else [answer.get("Item")]
    pages = max(1, -(-sum(map(bytes_of, items)) // PAGE))
    return pages if request.get("ConsistentRead") else pages / 2


def parts(operation: str, request: Mapping[str, Any]) -> list[tuple[str, tuple[str, str]]]:
    """The items that a write request names: what is done to each, and its key."""
    listed = request["TransactItems"] if operation == "TransactWriteItems" else [{operation: request}]
    return [(kind, _key(part)) for entry in listed for kind, part in entry.items()]


def _key(part: Mapping[str, Any]) -> tuple[str, str]:
    where = part.get("Key") or part["Item"]
    return where["pk"]["S"], where["sk"]["S"]


class Meter:
    """Stands between somebody and a table, and notes what each request costs. `look` reads an item, uncounted."""

    def __init__(self, look: Callable[[tuple[str, str]], Raw | None]) -> None:
        self._look = look
        self.spent: list[Spent] = []
        self.writes: list[Write] = []

    def take(self) -> list[Spent]:
        """What was spent since the last look."""
        spent, self.spent = self.spent, []
        return spent

    def through(self, operation: str, request: Mapping[str, Any], send: Callable[[], Raw]) -> Raw:
        """Send a request, and note it. What `send` raises was a write whose condition failed: that costs, too."""
        touched = parts(operation, request) if operation in WRITES else []
        before = {key: self._look(key) for _, key in touched}
        answer: Raw = {}
        try:
            answer = send()
        finally:
            writes = [
                Write(kind, key, before[key], self._look(key), operation == "TransactWriteItems")
                for kind, key in touched
            ]
            self.writes += writes
            self.spent.append(
                Spent(
                    operation,
                    read_units(request, answer) if operation in READS else 0,
                    sum(write.units for write in writes),
                    len(json.dumps(request)),
                    len(json.dumps(answer)),
                )
            )
        return answer


class Metered:
    """A botocore client of DynamoDB whose every request goes through a meter."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self.meter = Meter(lambda key: looked_up(client, table, key))

    def __getattr__(self, name: str) -> Any:
        operation = "".join(word.capitalize() for word in name.split("_"))
        ask = getattr(self._client, name)
        return lambda **request: self.meter.through(operation, request, lambda: _bare(ask(**request)))


def looked_up(client: Any, table: str, key: tuple[str, str]) -> Raw | None:
    """An item as it is stored."""
    named = dict(zip(("pk", "sk"), ({"S": part} for part in key), strict=True))
    found: Raw | None = client.get_item(TableName=table, Key=named, ConsistentRead=True).get("Item")
    return found


def _bare(answer: Raw) -> Raw:
    """An answer as DynamoDB's body has it."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
