"""Every TwiML document is valid, says what it was given, and ends in an action, whatever values go into it."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devkit import corpus_requests, corpus_values
from devkit.twiml_lint import Kind, faults
from switchboard import twiml

BASE = "https://voice.example.com"
STEP = f"{BASE}/voice/step?after=queue&cause=vapi#rc=2&rp=5xx,ct,rt"
WAIT = f"{BASE}/voice/wait?n=1&said=0&turn=0"
TUNE = f"{BASE}/voice/tune"
ROOM = "transfer-CA" + "0f" * 16
HEAD = '<?xml version="1.0" encoding="UTF-8"?><Response>'
STEP_XML, WAIT_XML = STEP.replace("&", "&amp;"), WAIT.replace("&", "&amp;")

# What XML 1.0 may hold (https://www.w3.org/TR/xml/#charsets).
LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

GOLDEN: list[tuple[str, Kind, str, str]] = [
    ("an apology", "call", twiml.say_and_hang_up("We are sorry."), "<Say>We are sorry.</Say><Hangup />"),
    ("the end", "call", twiml.hang_up(), "<Hangup />"),
    ("another document", "call", twiml.redirect(STEP), f"<Redirect>{STEP_XML}</Redirect>"),
    ("a number", "call", twiml.dial("+15550100100"), '<Dial timeout="20">+15550100100</Dial><Hangup />'),
    (
        "a number, with words",
        "call",
        twiml.dial("+15550100100", "One moment."),
        '<Say>One moment.</Say><Dial timeout="20">+15550100100</Dial><Hangup />',
    ),
    (
        "a number, and what is next",
        "call",
        twiml.dial("+15550100100", "One moment.", action=STEP, timeout=12, caller_id="+15550100199"),
        f'<Say>One moment.</Say><Dial action="{STEP_XML}" callerId="+15550100199" timeout="12">+15550100100</Dial>',
    ),
    (
        "a SIP URI",
        "call",
        twiml.sip("sip:acme@sip.vapi.ai;transport=tls", STEP, headers={"X-Call-Sid": "CA1", "x-name": "Ann & Bob"}),
        (
            f'<Dial action="{STEP_XML}" answerOnBridge="true" timeout="20"><Sip>sip:acme@sip.vapi.ai;transport=tls'
            "?X-Call-Sid=CA1&amp;x-name=Ann%20%26%20Bob</Sip></Dial>"
        ),
    ),
    (
        "a SIP URI without headers",
        "call",
        twiml.sip("sip:acme@sip.vapi.ai", STEP, timeout=10),
        f'<Dial action="{STEP_XML}" answerOnBridge="true" timeout="10"><Sip>sip:acme@sip.vapi.ai</Sip></Dial>',
    ),
    (
        "a queue",
        "call",
        twiml.enqueue("switchboard", WAIT, STEP, "All lines are busy."),
        f'<Say>All lines are busy.</Say><Enqueue action="{STEP_XML}" waitUrl="{WAIT_XML}">switchboard</Enqueue>',
    ),
    (
        "a place in the queue",
        "wait",
        twiml.wait("You are the second in line.", TUNE, WAIT),
        f"<Say>You are the second in line.</Say><Play>{TUNE}</Play><Redirect>{WAIT_XML}</Redirect>",
    ),
    ("a turn in the queue", "wait", twiml.wait("", TUNE, WAIT), f"<Play>{TUNE}</Play><Redirect>{WAIT_XML}</Redirect>"),
    ("the head of the queue", "wait", twiml.leave(), "<Leave />"),
    (
        "a voicemail",
        "call",
        twiml.voicemail("Please leave a message.", STEP, max_seconds=90),
        (
            f'<Say>Please leave a message.</Say><Record action="{STEP_XML}" finishOnKey="#" maxLength="90" playBeep="true"'
            ' trim="trim-silence" /><Say>We did not hear a message. Goodbye.</Say><Hangup />'
        ),
    ),
    (
        "a hold",
        "call",
        twiml.hold(ROOM, WAIT, STEP, "One moment."),
        (
            f'<Say>One moment.</Say><Dial action="{STEP_XML}"><Conference beep="false" endConferenceOnExit="true"'
            f' startConferenceOnEnter="false" waitUrl="{WAIT_XML}">{ROOM}</Conference></Dial>'
        ),
    ),
    (
        "the music of a hold",
        "conference_wait",
        twiml.music(TUNE, WAIT),
        f"<Play>{TUNE}</Play><Redirect>{WAIT_XML}</Redirect>",
    ),
    (
        "a briefing",
        "call",
        twiml.brief("Ann needs help. Press 1.", STEP),
        (
            f'<Gather action="{STEP_XML}" numDigits="1" timeout="6"><Say>Ann needs help. Press 1.</Say><Pause length="1" />'
            f"<Say>Ann needs help. Press 1.</Say></Gather><Redirect>{STEP_XML}</Redirect>"
        ),
    ),
    (
        "a human joins",
        "call",
        twiml.join(ROOM),
        (
            f'<Dial><Conference beep="false" endConferenceOnExit="true" startConferenceOnEnter="true">{ROOM}</Conference>'
            "</Dial><Hangup />"
        ),
    ),
]


@pytest.mark.parametrize(
    ("kind", "document", "golden"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN]
)
def test_a_document_is_as_it_was_agreed_and_valid(kind: Kind, document: str, golden: str) -> None:
    assert document == f"{HEAD}{golden}</Response>"
    assert faults(document, kind=kind) == []


def test_every_document_is_among_the_golden_ones() -> None:
    made = {name for name, function in vars(twiml).items() if callable(function) and not name.startswith("_")}
    made = {name for name in made if getattr(twiml, name).__module__ == twiml.__name__} - {"readable"}

    assert made == set(MAKERS)
    assert len(GOLDEN) >= len(made)


def tree(element: ElementTree.Element) -> tuple[Any, ...]:
    """An element as plain values: its name, attributes, text, and what is in it."""
    assert not (element.tail or "").strip()
    return (element.tag, element.attrib, element.text or "", *map(tree, element))


def parsed(document: str) -> list[tuple[Any, ...]]:
    """The verbs of a document."""
    assert document.startswith("<?xml")
    root = ElementTree.fromstring(document)  # noqa: S314 - our own document
    assert (root.tag, root.attrib) == ("Response", {})
    return [tree(verb) for verb in root]


def legal(text: str) -> str:
    return "".join(character for character in text if LEGAL.fullmatch(character))


def lines(text: str) -> str:
    """Every reader of XML makes one line feed of each line break in a text; in attributes they are escaped."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def say(words: str, otherwise: str = "") -> list[tuple[Any, ...]]:
    """The <Say> of some words: as many characters as fit, and none where nothing can be heard."""
    kept, size, encoded = "", 0, 0
    for character in legal(words):
        size, encoded = size + len(character.encode()), encoded + len(quote_plus(character))
        if size > 3_000 or encoded > 4_500:
            break
        kept += character
    heard = kept if kept.strip() else otherwise
    return [("Say", {}, lines(heard))] if heard else []


def name_of(name: str) -> str:
    plain = 0 < len(name) <= 64 and all(
        character.isascii() and (character.isalnum() or character in "_-") for character in name
    )
    return name if plain else sha256(name.encode(errors="surrogatepass")).hexdigest()


def number_of(text: str) -> str:
    number = legal(text).strip()
    return lines(number) if re.fullmatch(r"\+?[0-9][0-9 ().-]{0,31}", number) else ""


def header_values(headers: dict[str, str]) -> dict[str, str]:
    """What may go into a SIP header of these: printable, on one line."""
    kept = {}
    for name, value in headers.items():
        words = "".join(character for character in " ".join(value.split()) if character.isprintable())
        if re.fullmatch("[Xx]-[A-Za-z0-9_-]+", name) and words:
            kept[name] = words
    return kept


HANG_UP: tuple[Any, ...] = ("Hangup", {}, "")


class Made(NamedTuple):
    """Values that went into a document, and the verbs that must come out."""

    maker: Callable[..., str]
    values: tuple[Any, ...]
    named: dict[str, Any]
    verbs: list[tuple[Any, ...]]
    kind: Kind = "call"


def dialled(number: str, words: str, action: str, timeout: int, caller_id: str) -> Made:
    named = {"action": action, "timeout": timeout, "caller_id": caller_id}
    if not number_of(number):
        verbs = [("Redirect", {}, action)] if action else [*say(twiml.UNREACHABLE), HANG_UP]
    else:
        shown = {"callerId": number_of(caller_id)} if number_of(caller_id) else {}
        attributes = {"timeout": str(timeout)} | shown | ({"action": action} if action else {})
        verbs = [*say(words), ("Dial", attributes, number_of(number)), *([] if action else [HANG_UP])]
    return Made(twiml.dial, (number, words), named, verbs)


def sipped(uri: str, action: str, headers: dict[str, str], timeout: int) -> Made:
    plain = legal(uri).strip()
    verbs: list[tuple[Any, ...]]
    if re.fullmatch("sips?:[!->@-~]+@[!->@-~]+", plain) and len(plain) < 255:
        kept: list[str] = []
        for name, value in header_values(headers).items():
            if len("&".join([*kept, f"{name}={quote(value, safe='')}"])) < 1_024:
                kept.append(f"{name}={quote(value, safe='')}")
        target = "?".join([plain, "&".join(kept)]) if kept else plain
        attributes = {"action": action, "answerOnBridge": "true", "timeout": str(timeout)}
        verbs = [("Dial", attributes, "", ("Sip", {}, target))]
    else:
        verbs = [("Redirect", {}, action)]
    return Made(twiml.sip, (uri, action), {"headers": headers, "timeout": timeout}, verbs)


def queued(name: str, wait_url: str, action: str, words: str) -> Made:
    verbs = [*say(words), ("Enqueue", {"action": action, "waitUrl": wait_url}, name_of(name))]
    return Made(twiml.enqueue, (name, wait_url, action, words), {}, verbs)


def waited(words: str, music_url: str, again: str) -> Made:
    verbs = [*say(words), ("Play", {}, music_url), ("Redirect", {}, again)]
    return Made(twiml.wait, (words, music_url, again), {}, verbs, "wait")


def recorded(words: str, action: str, seconds: int) -> Made:
    attributes = {
        "action": action,
        "maxLength": str(seconds),
        "playBeep": "true",
        "trim": "trim-silence",
        "finishOnKey": "#",
    }
    spoken = say(words, twiml.LEAVE_A_MESSAGE)
    verbs = [*spoken, ("Record", attributes, ""), *say(twiml.NOTHING_HEARD), HANG_UP]
    return Made(twiml.voicemail, (words, action), {"max_seconds": seconds}, verbs)


def conference(room: str, start: str, **more: str) -> tuple[Any, ...]:
    attributes = {"beep": "false", "endConferenceOnExit": "true", "startConferenceOnEnter": start}
    return ("Conference", attributes | more, name_of(room))


def held(room: str, wait_url: str, action: str, words: str) -> Made:
    verbs = [*say(words), ("Dial", {"action": action}, "", conference(room, "false", waitUrl=wait_url))]
    return Made(twiml.hold, (room, wait_url, action, words), {}, verbs)


def briefed(words: str, accept_url: str, seconds: int) -> Made:
    spoken = say(words, twiml.PRESS_ONE)
    attributes = {"action": accept_url, "numDigits": "1", "timeout": str(seconds)}
    gather = ("Gather", attributes, "", *spoken, ("Pause", {"length": "1"}, ""), *spoken)
    verbs = [gather, ("Redirect", {}, accept_url)]
    return Made(twiml.brief, (words, accept_url), {"seconds": seconds}, verbs)


CORPUS = [
    corpus_values.text(entry["text"]) for entry in corpus_requests.load("twiml") if "megabyte" not in entry["name"]
]
MARKUP = st.lists(st.sampled_from(["<", ">", "&", "]]>", "<![CDATA[", "</Say>", "<Hangup/>", "\0", "\r\n", "a"]))
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(CORPUS),
    MARKUP.map("".join),
    # Long ones, whose ends do not fit.
    st.builds(lambda text, times: text * times, st.text(st.characters(exclude_categories=())), st.integers(1, 900)),
)
NUMBERS = st.one_of(TEXT, st.from_regex(r"\s?\+?[0-9]{1,15}", fullmatch=True), st.just("+1 (555) 010-0100"))
URLS = st.builds(
    lambda path, value: f"{BASE}/voice/{path}?{urlencode({'after': value}, errors='replace')}#rc=2&rp=5xx,ct,rt",
    st.sampled_from(["step", "wait", "back"]),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
URIS = st.one_of(TEXT, st.from_regex(r"sip:[a-z?.;=&<]{1,30}@[a-z.]{1,240}", fullmatch=True))
HEADERS = st.dictionaries(st.one_of(TEXT, st.from_regex(r"[Xx]-[A-Za-z_-]{1,9}", fullmatch=True)), TEXT, max_size=6)
ROOMS = st.one_of(TEXT, st.from_regex(r"transfer-CA[0-9a-f]{32}", fullmatch=True))
RINGING = st.integers(5, 600)

MAKERS: dict[str, st.SearchStrategy[Made]] = {
    "say_and_hang_up": st.builds(
        lambda words: Made(twiml.say_and_hang_up, (words,), {}, [*say(words, twiml.GOODBYE), HANG_UP]), TEXT
    ),
    "hang_up": st.just(Made(twiml.hang_up, (), {}, [HANG_UP])),
    "redirect": URLS.map(lambda url: Made(twiml.redirect, (url,), {}, [("Redirect", {}, url)])),
    "dial": st.builds(dialled, NUMBERS, TEXT, st.one_of(st.just(""), URLS), RINGING, NUMBERS),
    "sip": st.builds(sipped, URIS, URLS, HEADERS, RINGING),
    "enqueue": st.builds(queued, ROOMS, URLS, URLS, TEXT),
    "wait": st.builds(waited, TEXT, URLS, URLS),
    "leave": st.just(Made(twiml.leave, (), {}, [("Leave", {}, "")], "wait")),
    "voicemail": st.builds(recorded, TEXT, URLS, st.integers(2, 600)),
    "hold": st.builds(held, ROOMS, URLS, URLS, TEXT),
    "music": st.builds(
        lambda music, again: waited("", music, again)._replace(
            maker=twiml.music, values=(music, again), kind="conference_wait"
        ),
        URLS,
        URLS,
    ),
    "brief": st.builds(briefed, TEXT, URLS, st.integers(1, 60)),
    "join": ROOMS.map(
        lambda room: Made(twiml.join, (room,), {}, [("Dial", {}, "", conference(room, "true")), HANG_UP])
    ),
}
DOCUMENTS = st.one_of(*MAKERS.values())


def hold_against(made: Made) -> None:
    document = made.maker(*made.values, **made.named)

    assert faults(document, kind=made.kind) == []
    assert parsed(document) == made.verbs


@settings(
    max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(DOCUMENTS)
def test_any_values_make_a_valid_document_that_says_them(made: Made) -> None:
    hold_against(made)


@pytest.mark.nightly
@settings(max_examples=20_000, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS)
def test_twenty_thousand_documents_are_all_valid(made: Made) -> None:
    hold_against(made)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.lists(TEXT, min_size=4, max_size=4))
def test_even_urls_that_are_none_leave_a_document_well_formed(texts: list[str]) -> None:
    one, two, three, four = texts
    for document in (
        twiml.redirect(one),
        twiml.dial("+15550100100", two, action=three),
        twiml.enqueue(one, two, three, four),
        twiml.wait(one, two, three),
        twiml.voicemail(one, two),
        twiml.hold(one, two, three, four),
        twiml.brief(one, two),
    ):
        assert parsed(document)
        assert document.encode()


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\ud800", "\ufffe", "\uffff"],
)
def test_what_no_document_may_hold_is_left_out(character: str) -> None:
    assert parsed(twiml.say_and_hang_up(f"a{character}b"))[0] == ("Say", {}, "ab")
    assert parsed(twiml.dial(f"+1{character}5"))[0] == ("Dial", {"timeout": "20"}, "+15")
    assert parsed(twiml.redirect(f"{BASE}/{character}a"))[0] == ("Redirect", {}, f"{BASE}/a")


@pytest.mark.parametrize(
    "character", ["\t", "\n", " ", "~", "\x7f", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff"]
)
def test_what_a_document_may_hold_is_kept(character: str) -> None:
    assert parsed(twiml.say_and_hang_up(f"a{character}b"))[0] == ("Say", {}, f"a{character}b")


@pytest.mark.parametrize("blank", ["", "   ", "\n\n\n", "\x00\x01\x0b\ufffe\ud800", " " * 3_000 + "unheard"])
def test_blank_words_are_never_a_silent_document(blank: str) -> None:
    assert parsed(twiml.say_and_hang_up(blank)) == [("Say", {}, "Goodbye."), HANG_UP]
    assert parsed(twiml.voicemail(blank, STEP))[0] == ("Say", {}, "Please leave a message after the tone.")
    assert "Press 1" in parsed(twiml.brief(blank, STEP))[0][3][2]
    # Where there is something else to hear, nothing is said.
    assert [verb for verb, *_ in parsed(twiml.dial("+15550100100", blank))] == ["Dial", "Hangup"]
    assert [verb for verb, *_ in parsed(twiml.wait(blank, TUNE, WAIT))] == ["Play", "Redirect"]


@pytest.mark.parametrize(
    ("words", "most"),
    [("a", 3_000), ("é", 750), ("λ", 750), ("请", 500), ("🎉", 375), ("&", 1_500), ("a ", 3_000), ("a&", 2_250)],
)
def test_words_are_cut_to_what_one_say_takes(words: str, most: int) -> None:
    text = words * 3_001

    assert parsed(twiml.say_and_hang_up(text))[0] == ("Say", {}, text[:most])
    assert parsed(twiml.say_and_hang_up(text[:most]))[0] == ("Say", {}, text[:most])


@pytest.mark.parametrize(
    "number", ["", " ", "anonymous", "</Say><Dial>+19005550000</Dial>", "+1555x", "+", "client:ann"]
)
def test_what_is_no_number_is_never_dialled_not_even_in_part(number: str) -> None:
    assert parsed(twiml.dial(number, "One moment.")) == [("Say", {}, twiml.UNREACHABLE), HANG_UP]
    assert parsed(twiml.dial(number, "One moment.", action=STEP)) == [("Redirect", {}, STEP)]


@pytest.mark.parametrize("caller_id", ["", "anonymous", "+", "Restricted", "sip:a@b"])
def test_a_caller_id_that_twilio_would_refuse_is_left_out(caller_id: str) -> None:
    assert parsed(twiml.dial("+15550100100", caller_id=caller_id))[0][1] == {"timeout": "20"}


@pytest.mark.parametrize(
    "uri",
    ["", "acme", "https://example.com", "sip:acme", "sip:a b@c", "sip:a@b?X-A=1", "sip:ä@b", "sip:a@" + "b" * 249],
)
def test_what_is_no_sip_uri_leads_to_the_next_step_at_once(uri: str) -> None:
    assert parsed(twiml.sip(uri, STEP)) == [("Redirect", {}, STEP)]


def sip_uri(headers: dict[str, str]) -> str:
    dial = parsed(twiml.sip("sip:a@b", STEP, headers=headers))[0]
    return str(dial[3][2])


def test_a_sip_uri_may_be_as_long_as_twilio_takes_it() -> None:
    assert parsed(twiml.sip("sip:a@" + "b" * 248, STEP))[0][0] == "Dial"


@pytest.mark.parametrize("name", ["", "X-", "From", "Route", "x", "X-a b", "X-a=b&X-c", "X-ä", "X-a\r\nRoute"])
def test_a_header_of_another_name_is_left_out(name: str) -> None:
    assert sip_uri({name: "1", "X-Last": "2"}) == "sip:a@b?X-Last=2"


def test_a_header_cannot_begin_another_one() -> None:
    sent = sip_uri({"X-A": "1\r\nRoute: <sip:evil>\x00\x85\u2028&X-B=2", "X-C": " \n "})

    assert parse_qsl(sent.partition("?")[2]) == [("X-A", "1 Route: <sip:evil> &X-B=2")]


def test_headers_that_do_not_fit_together_are_left_out_whole() -> None:
    fits = {"X-A": "a" * 500, "X-B": "b" * 514}  # 504 characters, &, and 518: 1,023

    assert sip_uri(fits) == f"sip:a@b?X-A={'a' * 500}&X-B={'b' * 514}"
    assert sip_uri(fits | {"X-B": "b" * 515, "X-C": "c"}) == f"sip:a@b?X-A={'a' * 500}&X-C=c"
    assert sip_uri({"X-A": "🎉" * 100}) == "sip:a@b"


@pytest.mark.parametrize("room", ["", "a b", "a" * 65, "ä", "a\x00", "</Conference>", "\ud800"])
def test_no_two_names_become_one_room(room: str) -> None:
    names = {str(parsed(twiml.join(name))[0][3][2]) for name in (room, room + "b", room + "\x00")}

    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{64}|[A-Za-z0-9_-]{1,64}", name) for name in names)


VAPI = '<?xml version="1.0" encoding="UTF-8"?><Response><Connect><Stream url="wss://x.example/a"/></Connect></Response>'


@pytest.mark.parametrize(
    "document", [VAPI, "<Response/>", "\n <Response/>", f"<Response>{'a' * (65_536 - 21)}</Response>"]
)
def test_a_document_that_twilio_can_read_is_readable(document: str) -> None:
    assert twiml.readable(document)


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "We are sorry.",
        '{"twiml": ""}',
        "<html/>",
        "<response/>",
        "<Response>",
        "<Response>&</Response>",
        "<Response>\x00</Response>",
        "<Response>\ud800</Response>",
        "\n" + VAPI,
        "\ufeff" + VAPI,
        VAPI + "x",
        '<!DOCTYPE a [<!ENTITY b "b">]><Response>&b;</Response>',
        f"<Response>{'a' * (65_536 - 20)}</Response>",
    ],
)
def test_one_that_twilio_cannot_read_is_not(document: str) -> None:
    assert not twiml.readable(document)
