"""Every TwiML document is well-formed for any words, and ends in an action."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard import twiml

ANY_TEXT = st.text(st.characters(exclude_categories=()))
# What XML 1.0 may hold (https://www.w3.org/TR/xml/#charsets).
LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def verbs(document: str) -> list[tuple[str, str]]:
    root = ElementTree.fromstring(document)  # noqa: S314 - our own document
    assert root.tag == "Response"
    assert root.attrib == {}
    assert document.startswith("<?xml")
    document.encode()
    return [(verb.tag, verb.text or "") for verb in root]


def test_an_apology_is_said_before_the_call_ends() -> None:
    assert verbs(twiml.say_and_hang_up("We are sorry.")) == [("Say", "We are sorry."), ("Hangup", "")]


def test_a_caller_is_put_through_with_words_or_without() -> None:
    assert verbs(twiml.dial("+15550100100")) == [("Dial", "+15550100100"), ("Hangup", "")]
    assert verbs(twiml.dial("+15550100100", "One moment.")) == [
        ("Say", "One moment."),
        ("Dial", "+15550100100"),
        ("Hangup", ""),
    ]


def test_markup_in_words_is_words() -> None:
    words = "</Say><Dial>+1900</Dial> & \"quotes\" 'more' ]]> <!-- -->"

    assert verbs(twiml.say_and_hang_up(words)) == [("Say", words), ("Hangup", "")]
    assert verbs(twiml.dial(words, words)) == [("Say", words), ("Dial", words), ("Hangup", "")]


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\ud800", "\ufffe", "\uffff"],
)
def test_what_no_document_may_hold_is_left_out(character: str) -> None:
    assert verbs(twiml.say_and_hang_up(f"a{character}b"))[0] == ("Say", "ab")
    assert verbs(twiml.dial(f"+1{character}5", f"a{character}b"))[:2] == [("Say", "ab"), ("Dial", "+15")]


@pytest.mark.parametrize(
    "character", ["\t", "\n", " ", "~", "\x7f", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff"]
)
def test_what_a_document_may_hold_is_kept(character: str) -> None:
    assert verbs(twiml.say_and_hang_up(f"a{character}b"))[0] == ("Say", f"a{character}b")


def test_words_are_cut_to_what_one_say_takes() -> None:
    assert verbs(twiml.say_and_hang_up("x" * 3_001))[0] == ("Say", "x" * 3_000)
    assert verbs(twiml.dial("+1", "x" * 3_001))[0] == ("Say", "x" * 3_000)


@given(words=ANY_TEXT, number=ANY_TEXT)
def test_any_words_make_a_document_that_parses(words: str, number: str) -> None:
    kept = "".join(character for character in words if LEGAL.fullmatch(character))

    (say, text), hangup = verbs(twiml.say_and_hang_up(words))
    assert (say, hangup) == ("Say", ("Hangup", ""))
    # Every reader of XML makes one line break of each of them.
    assert text == kept.replace("\r\n", "\n").replace("\r", "\n")

    assert verbs(twiml.dial(number, words))[-1] == ("Hangup", "")
    assert [verb for verb, _ in verbs(twiml.dial(number, words))][-2:] == ["Dial", "Hangup"]
