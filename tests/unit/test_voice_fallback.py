import ast
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from devkit import canary
from switchboard.telemetry import Count

APP = Path(__file__).parents[2] / "functions" / "voice_fallback" / "app.py"

type Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """What the function answers in a given environment; it reads that once, when it is loaded."""

    def load(event: object = None, **environment: str) -> dict[str, Any]:
        for name in ("APOLOGY", "FALLBACK_NUMBER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        answered: dict[str, Any] = runpy.run_path(str(APP))["handler"](event, None)
        return answered

    return load


def verbs(answered: dict[str, Any]) -> list[tuple[str, str]]:
    """The document's verbs with their text, if it is a document."""
    root = ElementTree.fromstring(answered["body"])  # noqa: S314 - our own answer
    assert root.tag == "Response"
    return [(verb.tag, verb.text or "") for verb in root]


def test_the_caller_hears_the_apology_and_the_call_ends(answer: Answer) -> None:
    answered = answer(APOLOGY="Sorry, try later.")

    assert answered["statusCode"] == 200
    assert answered["headers"] == {"content-type": "text/xml; charset=utf-8"}
    assert verbs(answered) == [("Say", "Sorry, try later."), ("Hangup", "")]


def test_a_fallback_number_is_dialled_first(answer: Answer) -> None:
    answered = answer(APOLOGY="Sorry.", FALLBACK_NUMBER="+15550100123")

    assert verbs(answered) == [("Dial", "+15550100123"), ("Say", "Sorry."), ("Hangup", "")]


@pytest.mark.parametrize("apology", [None, "", "  ", "\x00\x0b"])
def test_there_are_words_even_without_any_configured(answer: Answer, apology: str | None) -> None:
    # A real environment cannot hold a NUL byte, so the last case is given to the function that makes the document.
    document = runpy.run_path(str(APP))["twiml"](apology, "") if apology else answer()["body"]

    assert verbs({"body": document})[0] == ("Say", runpy.run_path(str(APP))["APOLOGY"])


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("Smith & Sons <closed>", "Smith & Sons <closed>"),
        ("</Say><Dial>+1900</Dial>", "</Say><Dial>+1900</Dial>"),
        ("bell\x07 and escape\x1b", "bell and escape"),
        ("half \ud83d a pair, \ufffe and \uffff", "half  a pair,  and "),
        ("Grüße, 您好 😀", "Grüße, 您好 😀"),
    ],
)
def test_any_words_make_a_valid_document(words: str, heard: str) -> None:
    document = runpy.run_path(str(APP))["twiml"](words, "")

    assert verbs({"body": document})[0] == ("Say", heard.strip())
    assert document.encode()  # no half of a pair, which could not be sent


@pytest.mark.parametrize("event", [{}, None, [], {"body": "<", "isBase64Encoded": True}, {"requestContext": None}])
def test_nothing_in_the_request_changes_the_answer(answer: Answer, event: object) -> None:
    assert answer(event) == answer({"body": "CallSid=CA1", "rawPath": "/"})


def test_a_caller_is_counted_in_the_metric_that_the_alarm_watches(
    answer: Answer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
    for event in (None, {}, {"headers": None}, {"headers": {"user-agent": "TwilioProxy/1.1"}}):
        answer(event, POWERTOOLS_SERVICE_NAME="acme")

        line = json.loads(capsys.readouterr().out)
        assert line[Count.FALLBACK_ANSWERED] == 1
        assert line["service"] == "acme"
        assert line["_aws"] == {
            "Timestamp": 1_800_000_000_500,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Switchboard",
                    "Dimensions": [["service"]],
                    "Metrics": [{"Name": Count.FALLBACK_ANSWERED, "Unit": "Count"}],
                }
            ],
        }


def test_a_canary_gets_the_same_answer_and_is_not_counted(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    answered = answer({"headers": {"user-agent": canary.AGENT}})

    assert capsys.readouterr().out == ""
    assert answered == answer(None)


def test_it_imports_nothing_that_could_fail_with_the_rest() -> None:
    tree = ast.parse(APP.read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }

    assert imported == {"os", "html", "time"}
