"""The arithmetic of request units, by AWS's own examples and its rules."""

import json
from typing import Any

import pytest

from tests.units import KB, Meter, Raw, bytes_of, parts, read_units

KEY = {"pk": {"S": "p"}, "sk": {"S": "s"}}


def sized(size: int) -> Raw:
    """An item of so many bytes."""
    item: Raw = {**KEY, "w": {"S": ""}}
    item["w"]["S"] = "x" * (size - bytes_of(item))
    return item


@pytest.mark.parametrize(
    ("items", "consistent", "units"),
    [
        ([], True, 1),
        ([], False, 0.5),
        ([sized(4 * KB)], True, 1),
        ([sized(4 * KB + 1)], True, 2),
        ([sized(2 * KB), sized(2 * KB)], True, 1),  # what is queried is added up before it is rounded
        ([sized(8 * KB)], False, 1),
    ],
)
def test_a_query_costs_a_unit_for_each_started_four_kilobytes(items: list[Raw], consistent: bool, units: float) -> None:
    assert read_units({"ConsistentRead": consistent}, {"Items": items}) == units


def test_an_item_that_is_not_there_costs_a_unit_all_the_same() -> None:
    assert read_units({"ConsistentRead": True}, {}) == 1
    assert read_units({}, {"Item": sized(5 * KB)}) == 1


def test_a_read_that_filters_is_not_measured_by_what_it_answers() -> None:
    with pytest.raises(AssertionError):
        read_units({"FilterExpression": "a = b"}, {"Items": []})


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "\N{EURO SIGN}"}, 3),
        ({"N": "1"}, 21),
        ({"BOOL": True}, 1),
        ({"SS": ["ab", "c"]}, 3 + 3 + 2),
        ({"L": [{"S": "ab"}]}, 3 + 3),
        ({"M": {"k": {"S": "ab"}}}, 3 + 4),
    ],
)
def test_a_value_is_as_large_as_aws_says(value: dict[str, Any], size: int) -> None:
    assert bytes_of({"n": value}) == 1 + size


def test_a_value_of_another_kind_has_no_size() -> None:
    with pytest.raises(AssertionError):
        bytes_of({"n": {"B": b""}})


def test_every_item_of_a_transaction_is_a_part_of_it() -> None:
    request = {"TransactItems": [{"Put": {"Item": KEY}}, {"ConditionCheck": {"Key": {**KEY, "sk": {"S": "t"}}}}]}

    assert parts("TransactWriteItems", request) == [("Put", ("p", "s")), ("ConditionCheck", ("p", "t"))]
    assert parts("PutItem", {"Item": KEY}) == [("PutItem", ("p", "s"))]


class Shelf:
    """One item."""

    def __init__(self, item: Raw | None) -> None:
        self.item = item

    def look(self, _key: tuple[str, str]) -> Raw | None:
        """It, whatever is asked for."""
        return self.item

    def put(self, item: Raw) -> Raw:
        """Another one."""
        self.item = item
        return {}


def test_a_write_is_measured_by_the_larger_of_what_was_and_what_is() -> None:
    shelf = Shelf(sized(3 * KB))
    meter = Meter(shelf.look)
    meter.through("PutItem", {"Item": KEY}, lambda: shelf.put(KEY))
    meter.through("PutItem", {"Item": KEY}, lambda: shelf.put(sized(2 * KB)))

    assert [spent.writes for spent in meter.take()] == [3, 2]
    assert meter.take() == []


def test_a_write_whose_condition_failed_costs_what_it_looked_at() -> None:
    meter = Meter(Shelf(sized(2 * KB)).look)

    def refuse() -> Raw:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        meter.through("UpdateItem", {"Key": KEY}, refuse)

    assert [(spent.operation, spent.writes, spent.reads) for spent in meter.take()] == [("UpdateItem", 2, 0)]


def test_bytes_are_those_of_the_request_and_of_the_answer() -> None:
    meter = Meter(lambda _: None)
    request, answer = {"Key": KEY, "ConsistentRead": True}, {"Item": KEY}
    meter.through("GetItem", request, lambda: answer)
    (spent,) = meter.take()

    assert (spent.sent, spent.answered) == (len(json.dumps(request)), len(json.dumps(answer)))
    assert (spent.reads, spent.writes) == (1, 0)
