"""The console on the deployed stack: a call is watched while it is played, and told what to say; with its role's rights."""

import http.client
import json
import threading
import time
from typing import Any

import pytest

from devkit import cli
from devkit.demo import CALLS
from devkit.script import load
from devkit.simulate import player
from devkit.stack import Stack
from tests.local.conftest import wait_for


def ask(stack: Stack, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
    """A request of the console's page."""
    sent = {"content-type": "application/json", **headers}
    method = "GET" if body is None else "POST"
    status, answer = stack.request(method, path, None if body is None else json.dumps(body).encode(), sent)
    return status, json.loads(answer) if answer else None


def request_id(number: int) -> str:
    """The id of a request that is made now."""
    return f"{int(time.time() * 1000)}-{number:032x}"


def listed(stack: Stack) -> list[dict[str, Any]]:
    """The calls that are under way."""
    status, body = ask(stack, "/console/calls")
    assert status == 200
    return [row for row in body["calls"] if row["call"] and not row["ended"]]


def test_a_call_is_watched_while_it_goes_on_and_then_ended(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load(CALLS / "clinic_bypass.yaml")
    others = {row["call"] for row in listed(stack)}  # of other tests: some never end
    calling = threading.Thread(target=lambda: play(stack, script))
    calling.start()
    try:
        (row,) = wait_for(lambda: [row for row in listed(stack) if row["call"] not in others])
        path = f"/console/calls/{row['call']}"
        wait_for(lambda: "running" in states(stack, path) or "settled" in states(stack, path))
        said = ask(stack, f"{path}/say", {"id": request_id(1), "text": "This is the console speaking."})
        again = ask(stack, f"{path}/say", {"id": request_id(2), "text": "And once more."})
        told = ask(stack, path)[1]
        ended = ask(stack, f"{path}/end", {"id": request_id(3)})
    finally:
        calling.join()

    assert said == again == ended == (200, {"outcome": "done", "reason": ""})
    assert told["caller"] == "…34"
    assert {"answered", "began", "accepted"} <= {event["kind"] for event in told["events"]}
    assert told["can"] == ["end", "say", "transfer"]
    assert spoken(stack, row["call"])[:2] == ["This is the console speaking.", "And once more."]
    monkeypatch.setattr("devkit.facts.running", lambda: stack.facts)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main(["audit", "--local"]) == 0
    kept = [line.split()[3:6] for line in capsys.readouterr().out.splitlines()[1:] if row["call"] in line]
    assert kept == [[action, row["call"], "done"] for action in ("say", "say", "end")]


def play(stack: Stack, script: Any) -> None:
    """The call. That it does not end as its script says is what is tested here."""
    with player(script, stack.facts) as one:
        one.play()


def states(stack: Stack, path: str) -> set[str]:
    """What has happened to the call's tools."""
    _, told = ask(stack, path)
    return {event["kind"] for event in told.get("events", ()) if event["who"] == "tool"}


def spoken(stack: Stack, call: str) -> list[str]:
    """What the fake Vapi was told to say in a call."""
    assert stack.fakes
    commands = [entry["body"] for entry in stack.fakes.vapi.requests if entry.get("call") == call]
    return [command["content"] for command in commands if command.get("type") == "say"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [({"origin": "https://evil.example"}, "origin"), ({"sec-fetch-site": "cross-site"}, "origin")],
)
def test_another_page_is_refused(stack: Stack, headers: dict[str, str], reason: str) -> None:
    status, told = ask(stack, "/console/calls", None, **headers)

    assert (status, told["error"]) == (403, reason)
    assert ask(stack, "/console/calls", origin=f"http://{stack.host}")[0] == 200


def test_the_page_on_this_machine_offers_calls_without_further_ado(stack: Stack) -> None:
    status, body = stack.request("GET", "/")

    assert status == 200
    assert b"switched off" not in body


def test_what_has_not_changed_is_not_sent_again(stack: Stack) -> None:
    # Calls of other tests may still be coming to their ends.
    assert wait_for(lambda: ask(stack, "/console/calls", None, **{"if-none-match": tag(stack)}) == (304, None))


def tag(stack: Stack) -> str:
    """The list's present version, by the header that the gateway hands out."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    try:
        connection.request("GET", "/console/calls", headers={"Host": stack.host})
        answer = connection.getresponse()
        answer.read()
        return str(answer.getheader("etag"))
    finally:
        connection.close()
