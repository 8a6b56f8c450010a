"""What the HTTP API hands over and takes back, in the dialects of AWS, `sam local` and emulators."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard import gateway
from switchboard.errors import MessageRefused
from switchboard.gateway import MAX_BODY


def event(**fields: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": "/voice/inbound",
        "rawQueryString": "a=1&b=",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}},
        "body": "{}",
        "isBase64Encoded": False,
        **fields,
    }


def refusal_of(given: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(MessageRefused) as refused:
        gateway.read(given)
    return refused.value.status, refused.value.reason


def test_a_request_is_read_as_it_arrived() -> None:
    request = gateway.read(event())

    assert request == ("POST", "/voice/inbound", "a=1&b=", {"content-type": "application/json"}, b"{}")


@pytest.mark.parametrize("bare", [{}, {"body": None, "headers": None, "requestContext": None}, {"requestContext": {}}])
def test_what_an_event_lacks_reads_as_empty(bare: dict[str, Any]) -> None:
    assert gateway.read(bare) == ("", "", "", {}, b"")


def test_header_names_are_lower_case_whoever_hands_them_over() -> None:
    headers = gateway.read(event(headers={"X-Twilio-Signature": "a", "X-SIGNATURE": "B"})).headers

    assert headers == {"x-twilio-signature": "a", "x-signature": "B"}


def test_a_header_that_was_sent_twice_is_joined_as_the_gateway_does() -> None:
    headers = gateway.read(event(headers={"X-Signature": "a", "x-signature": "b", "X-SIGNATURE": "c"})).headers

    assert headers == {"x-signature": "a,b,c"}


@given(body=st.binary())
def test_a_base64_body_is_the_bytes_that_were_sent(body: bytes) -> None:
    encoded = base64.b64encode(body).decode()

    assert gateway.read(event(body=encoded, isBase64Encoded=True)).body == body


@given(body=st.text())
def test_a_plain_body_is_the_bytes_that_were_sent(body: str) -> None:
    assert gateway.read(event(body=body)).body == body.encode()


def test_a_plain_body_that_looks_like_base64_stays_as_it_is() -> None:
    assert gateway.read(event(body="e30=")).body == b"e30="


@pytest.mark.parametrize("body", ["e30", "e3", "e30==", "e30=\n", "e30 =", "e-_=", "é30=", "{}", "e30=e30="])
def test_what_is_not_base64_is_refused(body: str) -> None:
    assert refusal_of(event(body=body, isBase64Encoded=True)) == (400, "body_not_base64")


def test_a_body_that_no_bytes_could_have_been_is_refused() -> None:
    assert refusal_of(event(body="\ud800")) == (400, "body_not_utf8")


def test_a_plain_body_is_at_most_what_lambda_takes() -> None:
    assert len(gateway.read(event(body="x" * MAX_BODY)).body) == 6 * 1024 * 1024
    assert refusal_of(event(body="x" * (MAX_BODY + 1))) == (413, "body_too_large")


def test_a_base64_body_is_measured_by_what_it_carries() -> None:
    largest = "A" * (MAX_BODY // 3 * 4)

    assert len(gateway.read(event(body=largest, isBase64Encoded=True)).body) == MAX_BODY
    assert refusal_of(event(body=largest + "AAAA", isBase64Encoded=True)) == (413, "body_too_large")


def test_too_large_is_said_before_anything_is_decoded() -> None:
    assert refusal_of(event(body="!" * MAX_BODY * 2, isBase64Encoded=True)) == (413, "body_too_large")


def test_an_answer_is_compact_json_that_keeps_letters() -> None:
    answer = gateway.answer(200, {"name": "José", "list": [1, 2]})

    assert answer == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"name":"José","list":[1,2]}',
    }


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 503])
def test_a_refusal_is_one_constant_json_object_per_status(status: int) -> None:
    answer = gateway.refusal(status)

    assert answer == gateway.refusal(status)
    assert answer["statusCode"] == status
    assert answer["headers"] == {"content-type": "application/json"}
    assert list(json.loads(answer["body"])) == ["error"]


def test_every_refusal_says_something_else() -> None:
    bodies = {gateway.refusal(status)["body"] for status in gateway.REFUSALS}

    assert len(bodies) == len(gateway.REFUSALS) == 6


def test_twiml_is_always_a_200() -> None:
    assert gateway.xml("<Response/>") == {
        "statusCode": 200,
        "headers": {"content-type": "text/xml; charset=utf-8"},
        "body": "<Response/>",
    }
