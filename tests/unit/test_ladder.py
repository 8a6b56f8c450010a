"""The ladder in every configuration: which step a caller gets, and that each of them ends in words or an action."""

from itertools import permutations
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import pytest

from devkit.twiml_lint import faults
from switchboard import ladder, routes
from switchboard.ladder import BUSY, PLANNED, Cause
from switchboard.settings import BYPASS, REDIRECT, SIP, STEPS, Settings
from tests.conftest import ENVIRONMENT

BASE = "https://voice.example.com"
HUMAN = "+15550100777"


def configured(steps: str, human: str = HUMAN, way: str = BYPASS) -> Settings:
    """Settings with this ladder, as a function reads them."""
    return Settings.from_env({**ENVIRONMENT, "LADDER": steps, "HUMAN_NUMBER": human, "VOICE_WAY": way})


@pytest.mark.parametrize(
    ("steps", "human", "way", "cause", "after", "expected"),
    [
        # Waiting helps only where somebody hangs up sooner or later.
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CAP, "", "queue"),
        ("queue,human,voicemail", HUMAN, SIP, Cause.CAP, "", "queue"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CONCURRENCY, "", "queue"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.VAPI, "", "human"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.UNAVAILABLE, "", "human"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.DAY, "", "human"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.REPEATED, "", "human"),
        ("queue", HUMAN, BYPASS, Cause.VAPI, "", "apology"),
        # Vapi takes over only a leg that still rings, and who has been in a queue was answered.
        ("queue,human,voicemail", HUMAN, REDIRECT, Cause.CAP, "", "human"),
        ("queue", HUMAN, REDIRECT, Cause.CAP, "", "apology"),
        # Without a number there is no human.
        ("human,voicemail", "", BYPASS, Cause.VAPI, "", "voicemail"),
        ("human", "", BYPASS, Cause.VAPI, "", "apology"),
        ("queue,human,voicemail", "", BYPASS, Cause.CAP, "queue", "voicemail"),
        # One after the other.
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CAP, "queue", "human"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CAP, "human", "voicemail"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CAP, "voicemail", "apology"),
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CAP, "apology", "apology"),
        ("human,queue", HUMAN, BYPASS, Cause.CAP, "human", "queue"),
        ("voicemail,human", HUMAN, BYPASS, Cause.VAPI, "", "voicemail"),
        # What is on no ladder is before its first step.
        ("human,voicemail", HUMAN, BYPASS, Cause.NO_ANSWER, "assistant", "human"),
        ("human,voicemail", HUMAN, BYPASS, Cause.VAPI, "nowhere", "human"),
        ("human,voicemail", HUMAN, BYPASS, Cause.VAPI, "queue", "human"),
        # Nothing configured.
        ("", HUMAN, BYPASS, Cause.CAP, "", "apology"),
        # Who calls all day long gets words only.
        ("queue,human,voicemail", HUMAN, BYPASS, Cause.CALLER, "", "apology"),
    ],
)
def test_the_first_step_that_can_be_taken_is_taken(
    steps: str, human: str, way: str, cause: Cause, after: str, expected: str
) -> None:
    step = ladder.document(configured(steps, human, way), BASE, cause, after=after)

    assert step.name == expected
    assert faults(step.document) == []


def test_each_stack_has_a_line_of_its_own() -> None:
    lines = []
    for stack in ("clinic", "clinic-staging"):
        settings = configured("queue")._replace(parameter_path=f"/switchboard/{stack}")
        document = ElementTree.fromstring(ladder.document(settings, BASE, Cause.CAP).document)  # noqa: S314 - our own
        lines.append(document.findtext("Enqueue"))

    assert lines == ["clinic", "clinic-staging"]


LADDERS = [",".join(steps) for length in range(5) for steps in permutations(STEPS, length)]


@pytest.mark.parametrize("way", [BYPASS, SIP, REDIRECT])
@pytest.mark.parametrize("human", [HUMAN, "", "not a number"])
def test_every_ladder_leads_from_every_step_to_its_end(human: str, way: str) -> None:
    for steps in LADDERS:
        settings = configured(steps, human, way)
        for cause in Cause:
            seen: list[str] = []
            after = ""
            while not seen or seen[-1] != "apology":
                step = ladder.document(settings, BASE, cause, after=after)
                assert faults(step.document) == []
                assert step.name not in seen
                seen.append(step.name)
                after = step.name
            assert set(seen) <= {*settings.ladder}


def test_where_our_own_address_is_not_known_there_is_only_the_apology() -> None:
    settings = configured("queue,human,voicemail")

    for cause in Cause:
        step = ladder.document(settings, "", cause)
        assert step.name == "apology"
        assert settings.apology in step.document


def test_each_step_says_where_the_caller_stands() -> None:
    settings = configured("queue,human,voicemail")
    documents = {
        name: ElementTree.fromstring(ladder.document(settings, BASE, Cause.CAP, after=after, queued=2).document)  # noqa: S314 - our own
        for name, after in (("queue", ""), ("human", "queue"), ("voicemail", "human"))
    }
    [queue], [dial], [record] = (
        documents[name].findall(verb)
        for name, verb in (("queue", "Enqueue"), ("human", "Dial"), ("voicemail", "Record"))
    )

    assert query(queue.get("action")) == (routes.DEQUEUED, {"n": "3"})
    assert query(queue.get("waitUrl")) == (routes.WAIT, {"n": "3", "said": "0", "turn": "0"})
    assert dial.text == HUMAN
    # So that a queue behind the human does not have the number of one before.
    assert query(dial.get("action")) == (routes.STEP, {"after": "human", "cause": "cap", "n": "2"})
    assert query(record.get("action")) == (routes.STEP, {"after": "voicemail", "cause": "cap"})


def query(url: str | None) -> tuple[str, dict[str, str]]:
    """Path and parameters of a URL of ours, which hold no number."""
    parts = urlsplit(url or "")
    assert f"{parts.scheme}://{parts.netloc}" == BASE
    assert HUMAN not in (url or "")
    return parts.path, dict(parse_qsl(parts.query))


@pytest.mark.parametrize(
    ("queued", "expected"), [(0, "queue"), (4, "queue"), (5, "human"), (9, "human"), (10, "queue"), (15, "human")]
)
def test_nobody_is_sent_to_a_full_vapi_for_ever(queued: int, expected: str) -> None:
    settings = configured("queue,human")

    assert ladder.document(settings, BASE, Cause.CONCURRENCY, queued=queued).name == expected


def test_what_its_owner_wanted_is_no_alarm_and_what_broke_is() -> None:
    assert set(PLANNED) == {Cause.CAP, Cause.DAY, Cause.CALLER}
    assert set(BUSY) == {Cause.CAP, Cause.CONCURRENCY}
