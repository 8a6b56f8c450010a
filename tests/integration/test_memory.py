"""The table in a dictionary says what moto's DynamoDB says: the same conditions hold, the same items remain."""

import itertools
import re
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

import pytest

from switchboard.errors import ConditionFailed, Unavailable
from switchboard.settings import Settings
from switchboard.store import Check, Due, Item, Key, Put, Store, Update, Values
from tests import memory
from tests.integration.conftest import Aws
from tests.memory import Memory

KEY = Key("CALL#1", "META")
OTHER = Key("CALL#1", "TOOL#1")
ITEM: Item = {
    **KEY._asdict(),
    "rank": 40,
    "exp": 1_800_000_000,
    "status": "in-progress",
    "intent": False,
    "empty": "",
    "nothing": None,
    "applied": {"a", "b"},
    "numbers": {1, 2},
    "words": ["a", 1],
    "zero": 0,
}

# Condition, values. Whether it holds is not said here: the two have to agree, and the package's own tests say the rest.
CONDITIONS: list[tuple[str, Values]] = [
    ("attribute_exists(#pk)", {}),
    ("attribute_not_exists(#pk)", {}),
    ("attribute_exists(#gone)", {}),
    ("attribute_not_exists(#gone)", {}),
    ("attribute_exists(#nothing)", {}),
    ("attribute_exists(#empty)", {}),
    ("#rank = :v", {"v": 40}),
    ("#rank = :v", {"v": 41}),
    ("#rank = :v", {"v": "40"}),
    ("#gone = :v", {"v": 40}),
    (":v = #rank", {"v": 40}),
    ("#rank < :v", {"v": 41}),
    ("#rank < :v", {"v": 40}),
    ("#rank <= :v", {"v": 40}),
    ("#rank > :v", {"v": 39}),
    ("#rank >= :v", {"v": 41}),
    ("#gone < :v", {"v": 1}),
    ("#gone > :v", {"v": 1}),
    (":v > #gone", {"v": 1}),
    ("#status < :v", {"v": "j"}),
    ("#status > :v", {"v": "In"}),
    ("#status >= :v", {"v": "in-progress"}),
    ("#zero < :v", {"v": 1}),
    ("#intent = :v", {"v": False}),
    ("#nothing = :v", {"v": ""}),
    ("#empty = :v", {"v": ""}),
    ("#applied = :v", {"v": {"b", "a"}}),
    ("#applied = :v", {"v": {"a"}}),
    ("#words = :v", {"v": ["a", 1]}),
    ("contains(#applied, :v)", {"v": "a"}),
    ("contains(#applied, :v)", {"v": "c"}),
    ("contains(#numbers, :v)", {"v": 2}),
    ("contains(#words, :v)", {"v": 1}),
    ("contains(#words, :v)", {"v": "1"}),
    ("contains(#status, :v)", {"v": "prog"}),
    ("contains(#gone, :v)", {"v": "a"}),
    ("NOT contains(#gone, :v)", {"v": "a"}),
    ("begins_with(#status, :v)", {"v": "in"}),
    ("begins_with(#status, :v)", {"v": "progress"}),
    ("begins_with(#gone, :v)", {"v": "in"}),
    ("#status IN (:a, :b)", {"a": "x", "b": "in-progress"}),
    ("#status IN (:a)", {"a": "x"}),
    ("#gone IN (:a)", {"a": "x"}),
    ("#rank IN (:a, :b)", {"a": "40", "b": 40}),
    ("NOT #gone = :v", {"v": 1}),
    ("NOT #gone < :v", {"v": 1}),
    ("NOT #rank = :v", {"v": 40}),
    ("NOT (#rank = :v AND #zero = :z)", {"v": 40, "z": 1}),
    ("#rank = :v OR #zero = :z AND #empty = :e", {"v": 40, "z": 1, "e": "x"}),
    ("(#rank = :v OR #zero = :z) AND #empty = :e", {"v": 40, "z": 1, "e": "x"}),
    ("#zero = :z AND #rank = :v OR #rank = :v", {"v": 40, "z": 1}),
    ("NOT #zero = :z AND #rank = :v", {"v": 40, "z": 1}),
    ("attribute_not_exists(#pk) OR (#exp > :now AND (#rank < :v))", {"now": 1_799_999_999, "v": 50}),
    ("attribute_not_exists(#pk) OR (#exp > :now AND (#rank < :v))", {"now": 1_800_000_000, "v": 50}),
    ("attribute_not_exists(#ended_at) AND NOT #status IN (:a, :b)", {"a": "ended", "b": "x"}),
    ("((#rank = :v))", {"v": 40}),
    ("#rank=:v AND(#zero<:v)", {"v": 40}),
]

# Where moto compares as Python does. DynamoDB compares within a type only, and what is missing equals nothing.
BEYOND_MOTO: list[tuple[str, Values, bool]] = [
    ("#gone = #absent", {}, False),
    ("#gone = :v", {"v": None}, False),
    ("#nothing = :v", {"v": None}, True),
    ("#zero = :v", {"v": False}, False),
    ("#intent = :v", {"v": 0}, False),
    ("#rank < :v", {"v": "z"}, False),
    ("#intent < :v", {"v": True}, False),
    ("#rank = #rank", {}, True),
]

CHANGES: list[tuple[str, Values]] = [
    ("SET #rank = :v", {"v": 50}),
    ("SET #new = :v, #rank = #rank + :one", {"v": "x", "one": 1}),
    ("SET #rank = #rank - :one", {"one": 1}),
    ("SET #rank = :one + #zero", {"one": 1}),
    ("SET #a = #rank, #rank = :v, #b = #rank", {"v": 1}),
    ("SET #rank = if_not_exists(#rank, :v), #new = if_not_exists(#new, :v)", {"v": 7}),
    ("SET #count = if_not_exists(#count, :zero) + :one", {"zero": 0, "one": 1}),
    ("SET #count = if_not_exists(#count, #rank)", {}),
    ("SET #a = #gone", {}),
    ("SET #gone = #gone + :one", {"one": 1}),
    ("SET #status = #status + :one", {"one": 1}),
    ("SET #rank = :v, #rank = :v", {"v": 1}),
    ("SET #rank = :v REMOVE #rank", {"v": 1}),
    ("REMOVE #rank, #gone, #applied", {}),
    ("REMOVE #status SET #rank = :v", {"v": 1}),
    ("SET #rank = :v SET #zero = :v", {"v": 1}),
    ("ADD #rank :v", {"v": 5}),
    ("ADD #gone :v", {"v": 5}),
    ("ADD #applied :v", {"v": {"b", "c"}}),
    ("ADD #gone :v", {"v": {"c"}}),
    ("ADD #applied :v", {"v": {1}}),
    ("ADD #applied :v", {"v": 1}),
    ("ADD #status :v", {"v": 1}),
    ("DELETE #applied :v", {"v": {"a"}}),
    ("DELETE #applied :v", {"v": {"a", "b"}}),
    ("DELETE #gone :v", {"v": {"a"}}),
    ("SET #rank = :v REMOVE #zero ADD #applied :s", {"v": 1, "s": {"z"}}),
    ("SET #list = :v, #map = :m, #bytes = :b", {"v": [1, "a", None], "m": {"k": [True, {"n": 2}]}, "b": "é"}),
]

REFUSED = "refused"
NOT_UNDERSTOOD = re.compile(r"in:|at the end of:|not an expression:")


def outcome(act: Callable[[], Any]) -> Any:
    """What a write says: its result, the item that stood in the way, or that it is not a valid write at all."""
    try:
        return act()
    except ConditionFailed as lost:
        return ("lost", lost.item)
    except (Unavailable, ValueError, TypeError):
        return REFUSED


def both(store: Store, write: Callable[[Store], Any], item: Item | None) -> tuple[Any, Any]:
    """The outcome of a write on both tables, each with all that is left in it."""
    made = []
    tables: tuple[Store, ...] = (store, Memory())
    for table in tables:
        if item:
            table.put(Put(item))
        made.append((outcome(partial(write, table)), [table.get(KEY), table.get(OTHER)]))
    return made[0], made[1]


def disagreements(
    aws: Aws, settings: Settings, rows: list[tuple[str, Values]], make: Callable[[str, Values], Update]
) -> list[str]:
    """Rows about which the two tables do not say the same, on an item and on none."""
    found = []
    for (text, values), item in itertools.product(rows, (ITEM, None)):
        store, update = Store(settings.table, aws.dynamodb), make(text, values)
        moto, mine = both(store, methodcaller("update", update), item)
        if moto != mine:
            found.append(f"{text} {dict(values)} on {'an item' if item else 'none'}: moto {moto}, here {mine}")
        aws.dynamodb.delete_item(TableName=settings.table, Key={"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}})
    return found


def test_a_condition_holds_in_both_or_in_neither(aws: Aws, settings: Settings) -> None:
    found = disagreements(
        aws, settings, CONDITIONS, lambda text, values: Update(KEY, "SET #hit = :hit", text, {**values, "hit": 1})
    )

    assert found == []


@pytest.mark.parametrize(("text", "values", "holds"), BEYOND_MOTO)
def test_values_of_two_types_are_neither_equal_nor_in_any_order(text: str, values: Values, holds: bool) -> None:
    assert memory.condition(text)(ITEM, values) is holds


@pytest.mark.parametrize("before", [False, True])
def test_a_change_leaves_the_same_item_in_both(aws: Aws, settings: Settings, before: bool) -> None:
    found = disagreements(aws, settings, CHANGES, lambda text, values: Update(KEY, text, "", values, before))

    assert found == []


WRITES: list[tuple[str, Callable[[Store], Any]]] = [
    ("put", lambda table: table.put(Put({**KEY._asdict(), "x": 1}))),
    ("put that loses", lambda table: table.put(Put({**KEY._asdict(), "x": 1}, "attribute_not_exists(#pk)"))),
    ("put of a float", lambda table: table.put(Put({**KEY._asdict(), "x": 0.5}))),
    ("put of an empty set", lambda table: table.put(Put({**KEY._asdict(), "x": set()}))),
    ("put of a mixed set", lambda table: table.put(Put({**KEY._asdict(), "x": {1, "a"}}))),
    ("query", lambda table: table.query(KEY.pk, "ME")),
    ("query with an empty prefix", lambda table: table.query(KEY.pk, "")),
    ("get", lambda table: table.get(KEY)),
    ("get of nothing", lambda table: table.get(KEY._replace(sk="-"))),
    (
        "transaction",
        lambda table: table.transact(
            [Check(KEY, "#rank = :v", {"v": 40}), Update(OTHER, "SET #x = :x", "", {"x": 1})], "t"
        ),
    ),
    (
        "transaction that loses",
        lambda table: table.transact(
            [Update(OTHER, "SET #x = :x", "", {"x": 1}), Check(KEY, "#rank = :v", {"v": 41})], "t"
        ),
    ),
    (
        "transaction on one item twice",
        lambda table: table.transact([Update(KEY, "SET #x = :x", "", {"x": 1}), Put({**KEY._asdict()})], "t"),
    ),
]


@pytest.mark.parametrize("item", [ITEM, None], ids=["on an item", "on none"])
@pytest.mark.parametrize("write", [write for _, write in WRITES], ids=[name for name, _ in WRITES])
def test_a_write_ends_in_both_alike(store: Store, write: Callable[[Store], Any], item: Item | None) -> None:
    moto, mine = both(store, write, item)

    assert moto == mine


def test_items_come_in_the_order_of_their_sort_keys(store: Store) -> None:
    table = Memory()
    for both_tables in (store, table):
        for sk in ("B", "A#2", "A#10", "A#\u00e9", "A#\U0001f600", "A#\uffff"):
            both_tables.put(Put({"pk": "P", "sk": sk}))

    assert table.query("P", "A#") == store.query("P", "A#")


def test_what_is_due_comes_oldest_first(store: Store) -> None:
    table = Memory()
    for both_tables in (store, table):
        for sk, shard, due in (("A", "OPEN#1", 30), ("B", "OPEN#1", 10), ("C", "OPEN#2", 10), ("D", "OPEN#1", 31)):
            both_tables.put(Put({"pk": "P", "sk": sk, "g1pk": shard, "g1sk": due}))
        both_tables.put(Put({"pk": "P", "sk": "E"}))

    assert table.due("OPEN#1", 30) == store.due("OPEN#1", 30) == [Key("P", "B"), Key("P", "A")]
    later = [Due(Key("P", "D"), 31), Due(Key("P", "A"), 30)]
    assert table.undue("OPEN#1", 10) == store.undue("OPEN#1", 10) == later


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_a_part_of_a_partition_comes_with_whether_there_is_more(store: Store, most: int, newest: bool) -> None:
    table = Memory()
    for both_tables in (store, table):
        for sk in ("A", "B", "C", "D", "E"):
            both_tables.put(Put({"pk": "P", "sk": sk}))
        both_tables.put(Put({"pk": "Q", "sk": "C"}))
    wanted = ["D", "C", "B"] if newest else ["B", "C", "D"]
    items, more = store.between("P", "B", "D", most, newest=newest)

    assert ([item["sk"] for item in items], more) == (wanted[:most], most < 3)
    assert table.between("P", "B", "D", most, newest=newest) == (items, more)


def test_the_same_transaction_twice_is_one() -> None:
    table = Memory()
    for _ in range(2):
        table.transact([Update(KEY, "ADD #n :one", "", {"one": 1})], "token")

    assert table.get(KEY) == {**KEY._asdict(), "n": 1}


def test_a_number_has_at_most_38_digits(store: Store) -> None:
    item = {**KEY._asdict(), "x": 10**38 - 1}
    for table in (store, Memory()):
        table.put(Put(item))
        with pytest.raises(ValueError, match="38 digits"):
            table.put(Put(item | {"x": 10**38 + 1}))

        assert table.get(KEY) == item


def test_what_is_handed_out_is_a_copy() -> None:
    table = Memory()
    table.put(Put(given := {**KEY._asdict(), "list": [1]}))
    given["list"] = []
    for item in (table.get(KEY), table.query(KEY.pk, "M")[0], table.living(0)[KEY]):
        assert item
        item["list"].append(2)

    assert (table.get(KEY) or {})["list"] == [1]


def test_only_what_has_expired_is_deleted() -> None:
    table = Memory()
    for sk, exp in (("A", {"exp": 100}), ("B", {"exp": 101}), ("C", {})):
        table.put(Put({"pk": "P", "sk": sk, **exp}))

    assert [key.sk for key in table.living(100)] == ["B", "C"]
    assert len(table.table) == 3
    table.expire(100)
    assert sorted(key.sk for key in table.table) == ["B", "C"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#a",
        "#a = ",
        "a = :b",
        "#a = :b AND",
        "#a = :b :c",
        "(#a = :b",
        "#a == :b",
        "#a <> :b",
        "#a.#b = :c",
        "size(#a) > :b",
        "#a BETWEEN :b AND :c",
        "attribute_exists(#a, #b)",
        "contains(#a)",
        "#a = :b; #c = :d",
    ],
)
def test_a_condition_that_is_not_understood_is_never_taken_for_true(text: str) -> None:
    with pytest.raises(ValueError, match=NOT_UNDERSTOOD):
        memory.condition(text)


@pytest.mark.parametrize("text", ["SET", "SET #a", "SET a = :b", "SET #a = :b,", "PUT #a = :b", "SET #a = list(:b)"])
def test_a_change_that_is_not_understood_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=NOT_UNDERSTOOD):
        memory.change(text)
