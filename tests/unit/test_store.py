"""DynamoDB requests are exactly what the expressions say; a lost condition, a conflict and an outage stay apart."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from switchboard.errors import ConditionFailed, Unavailable
from switchboard.store import Check, Key, Put, Store, Update, deserialized, serialized

KEY = Key("CALL#c-1", "META")
PLAIN_KEY = {"pk": {"S": "CALL#c-1"}, "sk": {"S": "META"}}
ASKED_FOR_THE_WINNER = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class Dynamo:
    """Records every request and answers what it was told to, the last answer again and again."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers) or [{}]

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            # Copied, because a pager adds to its request.
            self.requests.append((operation, dict(request)))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def only(self) -> dict[str, Any]:
        ((_, request),) = self.requests
        return request


def store(dynamo: Dynamo) -> Store:
    return Store("calls", dynamo, sleep=lambda _seconds: None)


def failure(code: str, *, reasons: list[dict[str, Any]] | None = None, **fields: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "private"}, **fields}
    if reasons is not None:
        response["CancellationReasons"] = reasons
    return ClientError(response, "Operation")


def cancelled(*codes: str, item: dict[str, Any] | None = None) -> ClientError:
    reasons: list[dict[str, Any]] = [{"Code": code} for code in codes]
    if item is not None:
        next(reason for reason in reasons if reason["Code"] == "ConditionalCheckFailed")["Item"] = item
    return failure("TransactionCanceledException", reasons=reasons)


def test_a_connection_is_opened_ahead_where_the_client_can() -> None:
    dynamo = Dynamo()
    store(dynamo).warm()
    assert dynamo.requests == [("connect", {})]

    Store("calls", object()).warm()


# Requests


def test_an_item_is_read_as_it_is_now() -> None:
    dynamo = Dynamo({"Item": {**PLAIN_KEY, "rank": {"N": "40"}, "live": {"BOOL": True}}})

    assert store(dynamo).get(KEY) == {"pk": "CALL#c-1", "sk": "META", "rank": 40, "live": True}
    assert dynamo.requests == [("get_item", {"TableName": "calls", "Key": PLAIN_KEY, "ConsistentRead": True})]


def test_an_item_that_is_not_there_is_none() -> None:
    assert store(Dynamo({})).get(KEY) is None


def test_numbers_are_whole_however_deep_they_lie() -> None:
    raw = {"n": {"N": "1767225600123"}, "l": {"L": [{"N": "1"}, {"M": {"m": {"N": "2"}}}]}, "s": {"S": "3"}}

    item = store(Dynamo({"Item": raw})).get(KEY)

    assert item == {"n": 1767225600123, "l": [1, {"m": 2}], "s": "3"}
    assert "Decimal" not in repr(item)


def test_a_put_without_a_condition_writes_the_whole_item() -> None:
    dynamo = Dynamo()

    store(dynamo).put(Put({**KEY._asdict(), "rank": 1, "words": ["a", None, True, Decimal(2)]}))

    assert dynamo.requests == [
        (
            "put_item",
            {
                "TableName": "calls",
                "Item": {
                    **PLAIN_KEY,
                    "rank": {"N": "1"},
                    "words": {"L": [{"S": "a"}, {"NULL": True}, {"BOOL": True}, {"N": "2"}]},
                },
                **ASKED_FOR_THE_WINNER,
            },
        )
    ]


def test_names_and_values_of_an_expression_become_its_maps() -> None:
    dynamo = Dynamo({"Attributes": {**PLAIN_KEY, "rank": {"N": "40"}}})
    update = Update(
        KEY,
        "SET #rank = :rank, #status = if_not_exists(#status, :status) REMOVE #g1pk",
        "attribute_not_exists(#pk) OR #rank < :rank",
        {"rank": 40, "status": "in-progress"},
    )

    assert store(dynamo).update(update) == {"pk": "CALL#c-1", "sk": "META", "rank": 40}
    assert dynamo.requests == [
        (
            "update_item",
            {
                "TableName": "calls",
                "Key": PLAIN_KEY,
                "UpdateExpression": update.change,
                "ConditionExpression": update.condition,
                "ExpressionAttributeNames": {"#g1pk": "g1pk", "#pk": "pk", "#rank": "rank", "#status": "status"},
                "ExpressionAttributeValues": {":rank": {"N": "40"}, ":status": {"S": "in-progress"}},
                "ReturnValues": "ALL_NEW",
                **ASKED_FOR_THE_WINNER,
            },
        )
    ]


def test_values_that_no_expression_uses_are_left_out_because_dynamodb_refuses_them() -> None:
    dynamo = Dynamo()

    store(dynamo).update(Update(KEY, "SET #a = :a", values={"a": 1, "b": 2}))

    assert dynamo.only()["ExpressionAttributeValues"] == {":a": {"N": "1"}}
    assert "ConditionExpression" not in dynamo.only()


def test_maps_that_would_be_empty_are_left_out_because_dynamodb_refuses_them() -> None:
    dynamo = Dynamo()

    store(dynamo).put(Put({**KEY._asdict()}, "attribute_not_exists(#pk)"))
    assert "ExpressionAttributeValues" not in dynamo.only()

    dynamo.requests.clear()
    store(dynamo).put(Put({**KEY._asdict()}))
    assert "ExpressionAttributeNames" not in dynamo.only()


def test_a_value_that_an_expression_lacks_is_a_mistake_before_anything_is_sent() -> None:
    dynamo = Dynamo()

    with pytest.raises(KeyError, match="rank"):
        store(dynamo).update(Update(KEY, "SET #rank = :rank"))
    assert dynamo.requests == []


@pytest.mark.parametrize(
    ("fields", "asked"), [({}, "ALL_NEW"), ({"before": True}, "ALL_OLD"), ({"blind": True}, "NONE")]
)
def test_an_update_asks_for_no_more_of_the_item_than_is_looked_at(fields: dict[str, bool], asked: str) -> None:
    dynamo = Dynamo()
    store(dynamo).update(Update(KEY, "SET #a = :a", "", {"a": 1}, **fields))

    assert dynamo.only()["ReturnValues"] == asked


def test_an_update_without_an_answer_is_an_empty_item() -> None:
    assert store(Dynamo({})).update(Update(KEY, "SET #a = :a", values={"a": 1})) == {}


def test_a_transaction_is_all_of_its_writes_under_one_token() -> None:
    dynamo = Dynamo()
    writes: list[Put | Update | Check] = [
        Check(KEY, "#rank < :ended", {"ended": 50}),
        Update(Key("CALL#c-1", "TOOL#t1"), "SET #delivery = :to", "#delivery = :from", {"to": "a", "from": "b"}),
        Put({"pk": "DEDUP#x", "sk": "-"}, "attribute_not_exists(#pk)"),
    ]

    store(dynamo).transact(iter(writes), "token-1")

    assert dynamo.requests == [
        (
            "transact_write_items",
            {
                "ClientRequestToken": "token-1",
                "TransactItems": [
                    {
                        "ConditionCheck": {
                            "TableName": "calls",
                            "Key": PLAIN_KEY,
                            "ConditionExpression": "#rank < :ended",
                            "ExpressionAttributeNames": {"#rank": "rank"},
                            "ExpressionAttributeValues": {":ended": {"N": "50"}},
                            **ASKED_FOR_THE_WINNER,
                        }
                    },
                    {
                        "Update": {
                            "TableName": "calls",
                            "Key": {"pk": {"S": "CALL#c-1"}, "sk": {"S": "TOOL#t1"}},
                            "UpdateExpression": "SET #delivery = :to",
                            "ConditionExpression": "#delivery = :from",
                            "ExpressionAttributeNames": {"#delivery": "delivery"},
                            "ExpressionAttributeValues": {":from": {"S": "b"}, ":to": {"S": "a"}},
                            **ASKED_FOR_THE_WINNER,
                        }
                    },
                    {
                        "Put": {
                            "TableName": "calls",
                            "Item": {"pk": {"S": "DEDUP#x"}, "sk": {"S": "-"}},
                            "ConditionExpression": "attribute_not_exists(#pk)",
                            "ExpressionAttributeNames": {"#pk": "pk"},
                            **ASKED_FOR_THE_WINNER,
                        }
                    },
                ],
            },
        )
    ]


def test_a_query_reads_every_page_as_it_is_now() -> None:
    dynamo = Dynamo(
        {"Items": [{"n": {"N": "1"}}, {"n": {"N": "2"}}], "LastEvaluatedKey": PLAIN_KEY},
        {"Items": [], "LastEvaluatedKey": {"pk": {"S": "next"}}},
        {"Items": [{"n": {"N": "3"}}]},
    )
    request = {
        "TableName": "calls",
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
        "ExpressionAttributeValues": {":pk": {"S": "CALL#c-1"}, ":sk": {"S": "TOOL#"}},
        "ConsistentRead": True,
    }

    assert store(dynamo).query("CALL#c-1", "TOOL#") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert dynamo.requests == [
        ("query", request),
        ("query", {**request, "ExclusiveStartKey": PLAIN_KEY}),
        ("query", {**request, "ExclusiveStartKey": {"pk": {"S": "next"}}}),
    ]


# What can go wrong

STORED = {**PLAIN_KEY, "rank": {"N": "50"}}
WRITES: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put(Put({**KEY._asdict()}, "attribute_not_exists(#pk)")),
    "update": lambda store: store.update(Update(KEY, "SET #a = :a", "#a < :a", {"a": 1})),
    "transact": lambda store: store.transact([Check(KEY, "attribute_exists(#pk)")], "token"),
}
CONFLICTS = {
    "put": failure("TransactionConflictException"),
    "update": failure("TransactionConflictException"),
    "transact": cancelled("None", "TransactionConflict"),
}
every_write = pytest.mark.parametrize("write", WRITES)


@pytest.mark.parametrize("write", ["put", "update"])
@pytest.mark.parametrize(
    ("answered", "item"), [({"Item": STORED}, {"pk": "CALL#c-1", "sk": "META", "rank": 50}), ({}, None)]
)
def test_a_lost_condition_carries_the_item_that_stands_in_the_way(write: str, answered: Any, item: Any) -> None:
    dynamo = Dynamo(failure("ConditionalCheckFailedException", **answered))

    with pytest.raises(ConditionFailed) as lost:
        WRITES[write](store(dynamo))

    assert lost.value.item == item
    assert len(dynamo.requests) == 1


@pytest.mark.parametrize("item", [STORED, None])
def test_a_transaction_that_lost_carries_the_first_item_that_stands_in_the_way(item: Any) -> None:
    dynamo = Dynamo(cancelled("None", "ConditionalCheckFailed", "ConditionalCheckFailed", item=item))

    with pytest.raises(ConditionFailed) as lost:
        WRITES["transact"](store(dynamo))

    assert lost.value.item == (item and {"pk": "CALL#c-1", "sk": "META", "rank": 50})
    assert len(dynamo.requests) == 1


def test_a_transaction_that_lost_and_was_disturbed_at_once_has_lost() -> None:
    dynamo = Dynamo(cancelled("TransactionConflict", "ConditionalCheckFailed"))

    with pytest.raises(ConditionFailed):
        WRITES["transact"](store(dynamo))
    assert len(dynamo.requests) == 1


@every_write
def test_a_write_that_meets_a_transaction_is_tried_three_times_more(write: str) -> None:
    conflict = CONFLICTS[write]
    dynamo = Dynamo(conflict, conflict, conflict, {})

    WRITES[write](store(dynamo))

    assert len(dynamo.requests) == 4
    assert all(request == dynamo.requests[0] for request in dynamo.requests)


@every_write
def test_a_write_that_keeps_meeting_transactions_is_an_outage(write: str) -> None:
    dynamo = Dynamo(CONFLICTS[write])

    with pytest.raises(Unavailable, match=r"^table: Transaction"):
        WRITES[write](store(dynamo))
    assert len(dynamo.requests) == 4


def test_a_transaction_that_is_still_under_way_is_tried_again() -> None:
    dynamo = Dynamo(failure("TransactionInProgressException"), {})

    WRITES["transact"](store(dynamo))

    assert len(dynamo.requests) == 2


@every_write
def test_a_condition_lost_after_a_conflict_is_lost(write: str) -> None:
    lost = failure("ConditionalCheckFailedException", Item=STORED)
    dynamo = Dynamo(CONFLICTS[write], lost if write != "transact" else cancelled("ConditionalCheckFailed", item=STORED))

    with pytest.raises(ConditionFailed) as error:
        WRITES[write](store(dynamo))
    assert error.value.item is not None
    assert len(dynamo.requests) == 2


def test_waits_between_tries_are_short_and_grow() -> None:
    waits: list[float] = []

    with pytest.raises(Unavailable):
        WRITES["put"](Store("calls", Dynamo(CONFLICTS["put"]), sleep=waits.append))

    assert len(waits) == 3
    for turn, wait in enumerate(waits, start=1):
        assert 0.01 * turn <= wait <= 0.05 * turn


@pytest.mark.parametrize(
    "error",
    [
        failure("ThrottlingException"),
        failure("ProvisionedThroughputExceededException"),
        failure("ResourceNotFoundException"),
        failure("ValidationException"),
        cancelled("None", "ThrottlingError"),
        ConnectTimeoutError(endpoint_url="https://dynamodb"),
    ],
)
@pytest.mark.parametrize("act", [*WRITES, "get", "query"])
def test_every_other_failure_is_an_outage_at_once_and_without_content(error: Exception, act: str) -> None:
    dynamo = Dynamo(error)
    acts = WRITES | {"get": lambda store: store.get(KEY), "query": lambda store: store.query("CALL#c-1", "TR#")}

    with pytest.raises(Unavailable) as outage:
        acts[act](store(dynamo))

    assert str(outage.value).startswith("table: ")
    assert "private" not in str(outage.value)
    assert "https" not in str(outage.value)
    assert len(dynamo.requests) == 1


# Values


numbers = st.integers(-(10**37), 10**37)
plain = st.none() | st.booleans() | numbers | st.text(max_size=20)
values = st.recursive(
    plain | st.sets(st.text(max_size=5), min_size=1, max_size=4) | st.sets(numbers, min_size=1, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def ordered(value: Any) -> Any:
    """The same with its sets in order, for theirs have none."""
    if isinstance(value, dict):
        return {name: sorted(entry) if name in ("SS", "NS") else ordered(entry) for name, entry in value.items()}
    return [ordered(entry) for entry in value] if isinstance(value, list) else value


@given(values)
def test_values_are_written_as_boto3_writes_them_and_read_as_it_reads_them(value: Any) -> None:
    theirs = TypeSerializer().serialize(value)

    assert ordered(serialized(value)) == ordered(theirs)
    assert deserialized(theirs) == value == TypeDeserializer().deserialize(theirs)


@pytest.mark.parametrize("value", [1.5, b"bytes", set(), {1, "a"}, {None}, {b"a"}, {True}, object(), {"a": [0.5]}])
def test_what_no_item_holds_is_a_mistake_of_ours(value: Any) -> None:
    with pytest.raises(TypeError):
        serialized(value)


@pytest.mark.parametrize("value", [10**38, -(10**38), Decimal(10**38)])
def test_a_number_that_is_too_long_is_not_stored_as_another_one(value: Any) -> None:
    assert serialized(10**38 - 1) == {"N": "9" * 38}
    with pytest.raises(ValueError, match="more than 38 digits"):
        serialized(value)


@pytest.mark.parametrize("value", [{"BS": ["YQ=="]}])
def test_what_no_item_of_ours_has_is_not_read(value: Any) -> None:
    with pytest.raises(TypeError, match="no item of ours"):
        deserialized(value)


def test_a_fraction_that_somebody_else_has_stored_loses_its_part() -> None:
    assert deserialized({"N": "2.9"}) == 2
    assert deserialized({"N": "1E+3"}) == 1000
