"""What counts as different, and how a difference is shown."""

from typing import Any

import pytest

from devkit.differences import NEW, Change, changed, same, shown, told


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (1, 1),
        (20, 20.0),
        ("a", "a"),
        ("", None),
        (None, None),
        ([], None),
        ({"url": "a"}, {"url": "a", "headers": {}}),
        (["b", "a"], ["a", "b"]),
        ([{"a": 1}, {"a": 2}], [{"a": 1, "b": 0}, {"a": 2}]),
        ((1, 2), [2, 1]),
        ({"server": {"backoffPlan": {"maxRetries": 3}}}, {"server": {"url": "x", "backoffPlan": {"maxRetries": 3}}}),
    ],
)
def test_these_are_the_same(wanted: Any, there: Any) -> None:
    assert same(wanted, there)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (1, 2),
        (True, 1),
        (False, 0),
        ("a", None),
        (None, "a"),
        ("", "a"),
        ([], ["a"]),
        (["a"], ["a", "b"]),
        (["a", "a"], ["a", "b"]),
        ([{"a": 2}, {"a": 1}], [{"a": 1}, {"a": 2}]),
        ([{"a": 1}], [1]),
        ({"a": 1}, None),
        ({"a": 1}, [1]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, {}),
    ],
)
def test_these_are_not(wanted: Any, there: Any) -> None:
    assert not same(wanted, there)


def test_a_field_that_differs_deep_down_is_sent_whole_and_told_deep_down() -> None:
    wanted = {"server": {"url": "https://a", "timeoutSeconds": 20}, "name": "n"}
    there = {"server": {"url": "https://a", "timeoutSeconds": 5}, "name": "n"}

    assert changed(wanted, there) == {"server": wanted["server"]}
    assert told(wanted, there) == ("server.timeoutSeconds: 5 -> 20",)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("name", None, "(none)"),
        ("name", "", "(none)"),
        ("flag", False, "false"),
        ("url", "https://user:pass@host.example/path?token=1#f", "https://host.example/path?..."),
        ("url", "https://[", "(a URL)"),
        ("secretKey", "s3cret", "(secret)"),
        ("headers", {"authorization": "s3cret"}, "(secret)"),
        ("server", {"url": "https://a.example/x", "headers": {"k": "s3cret"}}, "https://a.example/x"),
        ("plan", {"token": "s3cret", "type": "bearer"}, "{token: (secret), type: bearer}"),
        ("messages", [{"content": "a"}, {"content": "b"}], "(2 entries)"),
        ("kinds", ["a", "b"], "a, b"),
        ("words", "two\nlines", "two lines"),
        ("words", "x" * 100, "x" * 67 + "..."),
        ("id", NEW, "(new)"),
    ],
)
def test_a_value_is_shown_on_one_line_and_without_secrets(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


def test_a_change_is_a_line_for_each_field_or_one() -> None:
    made = Change("create", "tool", "tool find")
    mended = Change("update", "twilio", "number +1", {}, "PN", ("voice_url: a -> b", "status_callback: c -> d"))

    assert made.lines() == ["+ Vapi    tool find"]
    assert mended.lines() == [
        "~ Twilio  number +1  voice_url: a -> b",
        "~ Twilio  number +1  status_callback: c -> d",
    ]
    assert Change("delete", "connection", "what the functions know").lines() == ["- stack   what the functions know"]


def test_headers_and_secrets_that_stand_on_both_sides_are_not_shown_either() -> None:
    wanted = {"server": {"url": "https://a.example.com", "secret": "hush-1", "headers": {"x-mine": "hush-2"}}}
    there = {"server": {"url": "https://a.example.com", "secret": "hush-3", "headers": {"x-mine": "hush-4"}}}
    lines = told(wanted, there)

    assert lines == ("server.secret: (secret) -> (secret)", "server.headers: (secret) -> (secret)")
