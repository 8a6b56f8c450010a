"""Requests to the APIs that a stack is set up at: what a failure says, and what it never says."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from devkit import vapi_rest
from devkit.rest import LONGEST_PAUSE, Failed, Rest
from devkit.vapi_rest import VapiRest

KEY = "a-private-key"


def asked(answer: Callable[[httpx.Request], httpx.Response]) -> Failed:
    rest = Rest("Vapi", "https://api.vapi.ai", secrets=(KEY,), transport=httpx.MockTransport(answer))
    with pytest.raises(Failed) as failed:
        rest.ask("POST", "/tool", json={})
    return failed.value


@pytest.mark.parametrize(
    ("status", "refused"),
    [(400, True), (403, True), (404, True), (409, True), (302, False), (408, False), (429, False), (500, False)],
)
def test_a_refusal_is_told_from_what_may_help_to_ask_again(status: int, refused: bool) -> None:
    failed = asked(lambda request: httpx.Response(status))

    assert (failed.status, failed.refused) == (status, refused)
    assert str(failed) == f"Vapi answered {status} to POST /tool"


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_no_refusal(error: type[httpx.HTTPError]) -> None:
    def none(request: httpx.Request) -> httpx.Response:
        raise error("somewhere")

    failed = asked(none)

    assert (failed.status, failed.refused) == (0, False)
    assert str(failed) == f"Vapi did not answer POST /tool ({error.__name__})"


def test_an_answer_that_is_no_json_is_none() -> None:
    assert asked(lambda request: httpx.Response(201, text="<html>")).status == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": ["a is wrong", "b too"]}, "(a is wrong; b too)"),
        ({"message": f"{KEY} is unknown\x1b[0m\n"}, "(... is unknown [0m )"),
        ({"message": "x" * 500}, f"({'x' * 300})"),
        ({}, ""),
        ([], ""),
    ],
)
def test_the_words_of_the_other_side_are_cut_and_quote_no_secret(body: Any, words: str) -> None:
    said = str(asked(lambda request: httpx.Response(400, json=body)))

    assert said.removeprefix("Vapi answered 400 to POST /tool").strip() == words


@pytest.mark.parametrize(("told", "pause"), [("7", 7), ("100000", LONGEST_PAUSE), ("soon", 0), ("-1", 0)])
def test_the_other_side_may_ask_for_a_pause_of_some_length(told: str, pause: float) -> None:
    assert asked(lambda request: httpx.Response(429, headers={"retry-after": told})).pause == pause


def organisation(objects: list[dict[str, Any]]) -> VapiRest:
    def answer(request: httpx.Request) -> httpx.Response:
        before = request.url.params.get("createdAtLt", "9")
        found = [one for one in objects if one["createdAt"] < before]
        return httpx.Response(200, json=found[: int(request.url.params["limit"])])

    return VapiRest("https://api.vapi.ai", KEY, transport=httpx.MockTransport(answer))


def test_a_list_that_is_longer_than_a_page_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vapi_rest, "PAGE", 2)
    objects = [{"id": f"o-{place}", "createdAt": str(place)} for place in (5, 4, 3, 2, 1)]

    assert organisation(objects).listed("tool") == objects


@pytest.mark.parametrize("answer", [{}, [1], [{"name": "no id"}]])
def test_a_list_that_is_none_is_no_list_of_nothing(answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=json.dumps(answer)))

    with pytest.raises(Failed, match="no list of objects"):
        VapiRest("https://api.vapi.ai", KEY, transport=transport).listed("tool")


@pytest.mark.parametrize(("status", "offered"), [(404, None), (405, None)])
def test_a_list_that_is_not_offered_is_told_from_a_failure(status: int, offered: None) -> None:
    client = VapiRest("https://api.vapi.ai", KEY, transport=httpx.MockTransport(lambda _: httpx.Response(status)))

    assert client.offered("credential") is offered
    failing = VapiRest("https://api.vapi.ai", KEY, transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    with pytest.raises(Failed):
        failing.offered("credential")


def test_what_is_gone_already_counts_as_deleted() -> None:
    client = VapiRest("https://api.vapi.ai", KEY, transport=httpx.MockTransport(lambda _: httpx.Response(404)))

    client.delete("tool", "t-1")
