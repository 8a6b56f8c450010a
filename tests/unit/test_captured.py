"""A captured request is read as it was sent, in every shape that people have one in."""

import base64
import json
from typing import Any

import pytest

from devkit import captured
from devkit.captured import read
from devkit.errors import UserError
from switchboard.errors import MessageRefused

BODY = b'{"a": "\xc3\xab"}'
EVENT: dict[str, Any] = {
    "rawPath": "/webhook/vapi",
    "rawQueryString": "a=1",
    "headers": {"X-Signature": "one", "Host": "a.example"},
    "requestContext": {
        "http": {"method": "POST"},
        "timeEpoch": 1767625200123,
        "domainName": "b.example",
        "stage": "dev",
    },
    "body": BODY.decode(),
    "isBase64Encoded": False,
}


def test_a_lambda_event_is_read_as_the_functions_read_it() -> None:
    found = read(json.dumps(EVENT).encode())

    assert found.headers == (("x-signature", "one"), ("host", "a.example"))
    assert (found.method, found.path, found.query, found.body) == ("POST", "/webhook/vapi", "a=1", BODY)
    assert (found.arrived, found.host, found.stage) == (1767625200.123, "b.example", "dev")


def test_the_body_of_an_event_may_be_in_base64() -> None:
    event = EVENT | {"body": base64.b64encode(BODY).decode(), "isBase64Encoded": True}

    assert read(json.dumps(event).encode()).body == BODY
    with pytest.raises(MessageRefused, match="body_not_base64"):
        read(json.dumps(event | {"body": "!"}).encode())


def test_the_default_stage_is_none_and_a_query_in_parts_only_is_lost() -> None:
    context = EVENT["requestContext"] | {"stage": "$default"}
    found = read(
        json.dumps(
            EVENT | {"requestContext": context, "rawQueryString": "", "queryStringParameters": {"a": "1", "b": ""}}
        ).encode()
    )

    assert (found.stage, found.query, found.lost_query) == ("", "", "a=1&b=")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_raw_dump_is_read_with_its_body_untouched(end: str) -> None:
    head = ["POST /voice/inbound?a=1 HTTP/1.1", "Host: a.example", "X-Signature:  one ", "X-Signature: two", "", ""]
    found = read(end.join(head).encode() + BODY + b"\n\n")

    assert (found.method, found.path, found.query, found.host) == ("POST", "/voice/inbound", "a=1", "a.example")
    assert found.body == BODY + b"\n\n"
    assert found.headers == (("host", "a.example"), ("x-signature", "one"), ("x-signature", "two"))
    assert found.fields["x-signature"] == "one,two"
    assert found.arrived is None


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_line_break_that_an_editor_adds_is_not_of_the_body(end: bytes) -> None:
    head = b"POST / HTTP/1.1\nContent-Length: %d\n\n" % len(BODY)

    assert read(head + BODY + end).body == BODY
    assert read(head + BODY + b"  ").body == BODY + b"  "


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Signature": "one", "X-Twice": ["a", "b"], "X-Null": None},
        [["X-Signature", "one"], ["X-Twice", "a"], ["x-twice", "b"], ["X-Null", None]],
        [{"name": n, "value": v} for n, v in (("X-Signature", "one"), ("X-Twice", ["a", "b"]), ("X-Null", ""))],
    ],
)
def test_a_json_object_is_read_with_headers_in_any_usual_form(headers: Any) -> None:
    found = read(json.dumps({"url": "https://u@a.example:8443/p?q=1", "headers": headers, "body": "x"}).encode())

    assert found.fields == {"x-signature": "one", "x-twice": "a,b", "x-null": ""}
    assert (found.method, found.url_scheme, found.host) == ("POST", "https", "a.example:8443")
    assert (found.path, found.query, found.body) == ("/p", "q=1", b"x")


def test_a_body_that_was_parsed_is_written_as_most_clients_write_it() -> None:
    given = json.dumps({"url": "", "headers": {}, "body": {"a": "ë"}}).encode()

    assert read(given).body == '{"a":"ë"}'.encode()
    assert read(b'\xef\xbb\xbf {"headers": {}}').body == b""
    assert read(b'{"headers": {}, "body": null}').body == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"{nonsense",
        b'{"url": "https://a.example"}',
        b'{"headers": 1}',
        b'{"headers": [1]}',
        b'{"headers": {}, "url": "https://[::1"}',
        b'{"rawPath": "/", "headers": []}',
        b"POST / HTTP/1.1\nHost: a",
        b"POST / HTTP/1.1\nno colon\n\n",
        b"GET /\n\n",
        b"\xff\xfe",
    ],
)
def test_what_is_no_request_is_said_to_be_none_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(UserError) as refused:
        read(raw)

    assert raw.decode("latin-1") not in str(refused.value) or not raw


def test_a_query_is_read_in_order_with_blanks() -> None:
    assert captured.query_pairs("b=&a=1&b=2") == [("b", ""), ("a", "1"), ("b", "2")]
