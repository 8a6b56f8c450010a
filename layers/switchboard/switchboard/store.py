"""DynamoDB, thin: one table, items as plain dicts, conditions as DynamoDB expressions.

Every attribute in an expression is written `#name` and every value `:name`; the maps that DynamoDB wants are made from
the text. So an expression reads as it does in AWS's documentation, and no reserved word can bite.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from switchboard import aws
from switchboard.errors import ConditionFailed

Item = dict[str, Any]
Values = Mapping[str, Any]

NO_VALUES: Values = MappingProxyType({})
INDEX = "open"
LARGEST = 10**38
CONFLICT_TRIES = 4  # the first and three more
_NAME = re.compile(r"#(\w+)")
_VALUE = re.compile(r":(\w+)")


class Key(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str


class Put(NamedTuple):
    """Write a whole item where `condition` holds."""

    item: Item
    condition: str = ""
    values: Values = NO_VALUES


class Update(NamedTuple):
    """Change an item where `condition` holds. DynamoDB makes the item if it is not there."""

    key: Key
    change: str
    condition: str = ""
    values: Values = NO_VALUES
    before: bool = False
    """Return the item as it was before the change, not as it is afterwards."""
    blind: bool = False
    """Return nothing: whoever does not look at the item need not have it sent and read."""


class Check(NamedTuple):
    """Write nothing, but fail the transaction unless `condition` holds."""

    key: Key
    condition: str
    values: Values = NO_VALUES


class Due(NamedTuple):
    """An entry of the index of unfinished items, and when its time comes, epoch seconds."""

    key: Key
    at: int


class Store:
    """One DynamoDB table."""

    def __init__(self, table: str, client: Any, sleep: Callable[[float], None] = time.sleep) -> None:
        self._table = table
        self._client = client
        self._sleep = sleep

    def warm(self) -> None:
        """Connect while the function starts, where there is more CPU for it than on the first request."""
        aws.connect(self._client)

    def get(self, key: Key) -> Item | None:
        """Read one item as it is now (strongly consistent), or None. Expired items count until they are deleted."""
        with aws.available("table"):
            found = self._client.get_item(TableName=self._table, Key=_plain(key._asdict()), ConsistentRead=True)
        return _item(found.get("Item"))

    def query(self, pk: str, prefix: str) -> list[Item]:
        """All items of `pk` whose sort key begins with `prefix`, in its order, as they are now."""
        return self._query("pk = :pk AND begins_with(sk, :sk)", {":pk": pk, ":sk": prefix})

    def partition(self, pk: str) -> list[Item]:
        """All items of `pk`, in the order of their sort keys, as they are now."""
        return self._query("pk = :pk", {":pk": pk})

    def between(self, pk: str, first: str, last: str, most: int, *, newest: bool = False) -> tuple[list[Item], bool]:
        """At most `most` items of `pk` with sort keys from `first` to `last`, in one request, so of at most 1 MB.

        They come in their order, with `newest` in the opposite one; and whether there are more of them.
        """
        with aws.available("table"):
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues=_plain({":pk": pk, ":first": first, ":last": last}),
                ConsistentRead=True,
                ScanIndexForward=not newest,
                Limit=most + 1,  # a full page says that there may be more, not that there are
            )
        items = [_item(raw) or {} for raw in page["Items"]]
        return items[:most], len(items) > most or "LastEvaluatedKey" in page

    def _query(self, condition: str, values: Values) -> list[Item]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _plain(values),
            "ConsistentRead": True,
        }
        items: list[Item] = []
        with aws.available("table"):
            while True:
                page = self._client.query(**request)
                items += [_item(raw) or {} for raw in page["Items"]]
                if "LastEvaluatedKey" not in page:
                    return items
                request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def due(self, shard: str, now: int) -> list[Key]:
        """Keys in a shard of the index of unfinished items whose time has come, oldest first, at most one page."""
        return [found.key for found in self._indexed("g1pk = :shard AND g1sk <= :now", shard, now)]

    def undue(self, shard: str, now: int) -> list[Due]:
        """What a shard of that index has whose time is still to come, the last first, at most one page."""
        return self._indexed("g1pk = :shard AND g1sk > :now", shard, now, forward=False)

    def _indexed(self, condition: str, shard: str, now: int, *, forward: bool = True) -> list[Due]:
        with aws.available("table"):
            page = self._client.query(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=_plain({":shard": shard, ":now": now}),
                ScanIndexForward=forward,
            )
        return [Due(Key(item["pk"]["S"], item["sk"]["S"]), int(item["g1sk"]["N"])) for item in page["Items"]]

    def put(self, put: Put) -> None:
        """Write an item; `ConditionFailed` carries the one that stands in the way."""
        self._write(self._client.put_item, _request(self._table, put))

    def update(self, update: Update) -> Item:
        """Change an item and return it as it is afterwards; `ConditionFailed` carries it as it is instead."""
        wanted = {"ReturnValues": "NONE" if update.blind else "ALL_OLD" if update.before else "ALL_NEW"}
        answer = self._write(self._client.update_item, _request(self._table, update) | wanted)
        return _item(answer.get("Attributes")) or {}

    def transact(self, writes: Iterable[Put | Update | Check], token: str) -> None:
        """All or nothing. `token` makes the SDK's own retries harmless; `ConditionFailed` carries the first loser."""
        items = [{_KINDS[type(write)]: _request(self._table, write)} for write in writes]
        self._write(self._client.transact_write_items, {"TransactItems": items, "ClientRequestToken": token})

    def _write(self, call: Callable[..., Any], request: dict[str, Any]) -> Any:
        for tries_left in reversed(range(CONFLICT_TRIES)):
            with aws.available("table"):
                try:
                    return call(**request)
                except aws.failures() as error:
                    if loser := _loser(error):
                        raise ConditionFailed(_item(loser.get("Item"))) from error
                    # A transaction touched the item at the same moment: neither a lost race nor an outage.
                    if not (tries_left and _conflict(error)):
                        raise
            self._sleep(random.uniform(0.01, 0.05) * (CONFLICT_TRIES - tries_left))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable: the last try returns or raises")


_KINDS = {Put: "Put", Update: "Update", Check: "ConditionCheck"}


def _request(table: str, write: Put | Update | Check) -> dict[str, Any]:
    request: dict[str, Any] = {"TableName": table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    change = ""
    match write:
        case Put(item):
            request["Item"] = _plain(item)
        case Update(key, change):
            request["Key"] = _plain(key._asdict())
            request["UpdateExpression"] = change
        case Check(key):
            request["Key"] = _plain(key._asdict())
    if write.condition:
        request["ConditionExpression"] = write.condition
    return request | _maps(f"{change} {write.condition}", write.values)


def _maps(text: str, values: Values) -> dict[str, Any]:
    names, used = _spoken_of(text)
    maps: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
    if used:
        maps["ExpressionAttributeValues"] = {f":{name}": serialized(values[name]) for name in used}
    return maps


@lru_cache(256)  # there are some dozens of expressions, and each is written again and again
def _spoken_of(text: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The attributes of an expression, as DynamoDB wants them named, and its values."""
    return {f"#{name}": name for name in sorted(set(_NAME.findall(text)))}, tuple(sorted(set(_VALUE.findall(text))))


def _loser(error: Exception) -> Mapping[str, Any] | None:
    """The part of an error that says which condition failed and what is stored, or None for other errors."""
    if aws.code(error) == "ConditionalCheckFailedException":
        return aws.answer(error)
    return next((reason for reason in _reasons(error) if reason.get("Code") == "ConditionalCheckFailed"), None)


def _conflict(error: Exception) -> bool:
    return aws.code(error) in ("TransactionConflictException", "TransactionInProgressException") or any(
        reason.get("Code") == "TransactionConflict" for reason in _reasons(error)
    )


def _reasons(error: Exception) -> list[Mapping[str, Any]]:
    """What became of each part of a transaction that was not written."""
    return list((aws.answer(error) or {}).get("CancellationReasons", []))


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: serialized(value) for name, value in item.items()}


def _item(raw: Mapping[str, Any] | None) -> Item | None:
    # Most attributes are texts, and a row has two dozen.
    return {name: value["S"] if "S" in value else deserialized(value) for name, value in raw.items()} if raw else None


def serialized(value: Any) -> dict[str, Any]:
    """A value as DynamoDB takes it. `TypeError` or `ValueError` for what it does not take, and for bytes and floats."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": _digits(value)}
        case None:
            return {"NULL": True}
        case Mapping():
            return {"M": _plain(value)}
        case list() | tuple():
            return {"L": [serialized(entry) for entry in value]}
        case set() | frozenset():
            return _set(value)
    raise TypeError(f"no item holds a {type(value).__name__}")


def _digits(number: int | Decimal) -> str:
    if not -LARGEST < number < LARGEST:
        raise ValueError("a number of more than 38 digits")
    return str(number)


def _set(value: Iterable[Any]) -> dict[str, Any]:
    """A set of texts, or of whole numbers."""
    entries = [serialized(entry) for entry in value]
    kinds = {kind for entry in entries for kind in entry}
    if kinds not in ({"S"}, {"N"}):
        raise TypeError("a set that is stored has entries, all of them texts or all numbers")
    (kind,) = kinds
    return {f"{kind}S": [entry[kind] for entry in entries]}


def _whole(digits: str) -> int:
    # A decimal only for what is written with an exponent: it is five times as slow, and rows are full of numbers.
    return int(digits) if digits.isdecimal() else int(Decimal(digits))


def deserialized(value: Mapping[str, Any]) -> Any:
    """A value as DynamoDB gave it. Every number that we store is whole."""
    ((kind, content),) = value.items()
    match kind:
        case "S" | "BOOL" | "B":
            return content
        case "N":
            return _whole(content)
        case "NULL":
            return None
        case "M":
            return {name: deserialized(entry) for name, entry in content.items()}
        case "L":
            return [deserialized(entry) for entry in content]
        case "SS":
            return set(content)
        case "NS":
            return {_whole(entry) for entry in content}
    raise TypeError(f"no item of ours has a value of the kind {kind}")
