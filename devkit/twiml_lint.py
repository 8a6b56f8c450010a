"""What Twilio would refuse in a TwiML document for a call, and what would leave a caller in silence.

Which elements and attributes there are, and what stands in what, is read off the official library's builder; the tables
below hold what it does not check: values, limits, and where a document may lead. They are stricter than Twilio in one
thing: URLs must be absolute, so that a document means the same wherever it was fetched.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import quote_plus, unquote, urlsplit
from xml.etree import ElementTree as ET

from twilio.twiml import TwiML, lower_camel  # type: ignore[import-untyped]  # it ships no types
from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped]  # as above

Kind = Literal["call", "wait", "conference_wait"]

MAX_DOCUMENT = 64 * 1024  # bytes
MAX_WORDS, MAX_ENCODED_WORDS = 3_000, 4_500  # bytes; characters, as in a URL
MAX_QUEUE_NAME = 64
MAX_PARAMETER = 499  # characters of name and value
MAX_SIP_URI, MAX_SIP_HEADERS = 254, 1_023  # characters before and behind its question mark

# A call's document; what a queue's waitUrl may answer; what a conference's may.
VERBS: Mapping[Kind, frozenset[str]] = {
    "call": frozenset(
        {"Connect", "Dial", "Enqueue", "Gather", "Hangup", "Pause", "Pay", "Play", "Record", "Redirect", "Refer"}
        | {"Reject", "Say", "Sms", "Start", "Stop"}
    ),
    "wait": frozenset({"Gather", "Hangup", "Leave", "Pause", "Play", "Redirect", "Say"}),
    "conference_wait": frozenset({"Pause", "Play", "Redirect", "Say"}),
}
ENDS = frozenset({"Hangup", "Redirect", "Reject", "Leave"})
# With an `action`, Twilio goes on with its answer and never comes back to the document. Not so Gather and Record: without
# a key, or without a sound, the next verb is next.
LEADS = frozenset({"Dial", "Enqueue", "Connect", "Pay", "Refer"})

SSML = frozenset({"break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub", "w"})
NEEDS_TEXT = frozenset({"Conference", "Number", "Queue", "Redirect", "Sip", "Sms"})
TAKES_TEXT = NEEDS_TEXT | SSML | {"Client", "Dial", "Enqueue", "Identity", "Play", "Room", "Say", "Sim", "Task"}

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]+", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]*", re.ASCII)
_SIP = re.compile(r"sips?:[!-~]+@[!-~]+", re.ASCII)
_SIP_HEADER = re.compile(
    r"[Xx]-[A-Za-z0-9_-]+|User-to-User|Remote-Party-ID|P-Preferred-Identity|P-Called-Party-ID", re.ASCII
)


class Noun(NamedTuple):
    """One element as the official library builds it."""

    builder: type
    attributes: frozenset[str]


def faults(document: str, *, first: bool = True, kind: Kind = "call") -> list[str]:
    """Everything that is wrong with a document, in words; [] if it is valid.

    `first`: it is the first one of its call, which may still be rejected. `kind`: "wait" for what a queue's waitUrl
    answers, "conference_wait" for what a conference's does.
    """
    root, unreadable = _read(document)
    if root is None:
        return [unreadable]
    if root.tag != "Response" or root.attrib:
        return [f"the root must be <Response> without attributes, not <{root.tag}>"]
    found = [*_inside(root, VoiceResponse)]
    strange = nouns(VoiceResponse).keys() - VERBS[kind]
    found += [f"<{verb.tag}> may not stand in such a document" for verb in root if verb.tag in strange]
    found += _route(list(root), first)
    return list(dict.fromkeys(found))


def _read(document: str) -> tuple[ET.Element | None, str]:
    try:
        size = len(document.encode())
    except UnicodeEncodeError:
        return None, "half of a surrogate pair cannot be sent"
    if size > MAX_DOCUMENT:
        return None, f"{size} bytes are more than {MAX_DOCUMENT}"
    if not document.lstrip().startswith("<"):  # white space is well before a root, but not before <?xml
        return None, "something stands before the first <"
    if "<!DOCTYPE" in document:
        return None, "a document type has no place in TwiML"
    try:
        return ET.fromstring(document), ""  # noqa: S314 - a document type, and so any entity, was refused above
    except ET.ParseError as error:
        return None, f"no XML: {error}"


def _inside(element: ET.Element, builder: type) -> Iterator[str]:
    known = nouns(builder)
    for child in element:
        noun = known.get(child.tag)
        if noun is None:
            yield f"<{child.tag}> is not known in <{element.tag}>"
            continue
        yield from _attributes(child, noun)
        yield from _text(child)
        yield from CHECKS.get(child.tag, _nothing)(child, element)
        yield from _inside(child, noun.builder)
    # Words between elements are heard only in <Say>, where they stand between SSML's.
    if element.tag == "Response" and _words(element):
        yield "text stands between the verbs"


def _attributes(element: ET.Element, noun: Noun) -> Iterator[str]:
    for key, value in element.attrib.items():
        name = key.replace("{http://www.w3.org/XML/1998/namespace}", "xml:")
        rule = VALUES.get(f"{element.tag} {name}") or next(
            (rule for pattern, rule in BY_NAME if re.fullmatch(pattern, name)), None
        )
        if name not in noun.attributes:
            yield f"<{element.tag}> has no attribute {name!r}"
        elif rule is not None and not rule(value):
            yield f"<{element.tag}> {name} cannot be {value[:80]!r}"


def _text(element: ET.Element) -> Iterator[str]:
    words = _words(element)
    if element.tag in NEEDS_TEXT and not words:
        yield f"<{element.tag}> is empty"
    if words and element.tag not in TAKES_TEXT:
        yield f"<{element.tag}> takes no text"


def _words(element: ET.Element) -> str:
    return "".join([element.text or "", *(child.tail or "" for child in element)]).strip()


def _nothing(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    yield from ()


def _say(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    words = "".join(element.itertext())
    if not words.strip() and not len(element):
        yield "<Say> is empty"
    if len(words.encode()) > MAX_WORDS or len(quote_plus(words)) > MAX_ENCODED_WORDS:
        yield "<Say> is too long to be said"


def _play(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if not _words(element) and not element.get("digits"):
        yield "<Play> is empty"
    elif _words(element) and not web_url(_words(element)):
        yield "<Play> needs an absolute URL"


def _redirect(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if _words(element) and not web_url(_words(element)):
        yield "<Redirect> needs an absolute URL"


def _number(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if _words(element) and not _NUMBER.fullmatch(_words(element)):
        yield f"<{element.tag}> needs a phone number"


def _dial(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if not _words(element) and not len(element):
        yield "<Dial> dials nobody"
    if _words(element) and len(element):
        yield "<Dial> takes a number or nouns, not both"
    if len(element) > 1 and any(noun.tag in ("Conference", "Queue") for noun in element):
        yield "<Dial> takes one <Conference> or <Queue>, and nothing beside it"
    yield from _number(element, parent)


def _sip(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    uri, _, headers = _words(element).partition("?")
    if not _SIP.fullmatch(uri):
        yield "<Sip> needs a SIP URI"
    if len(uri) > MAX_SIP_URI or len(headers) > MAX_SIP_HEADERS:
        yield "<Sip> is too long"
    for header in headers.split("&") if headers else ():
        name, equals, value = header.partition("=")
        if not _SIP_HEADER.fullmatch(name) or not equals or not unquote(value).isprintable():
            yield f"<Sip> cannot send the header {name[:40]!r}"


def _enqueue(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if not _words(element) and "workflowSid" not in element.attrib:
        yield "<Enqueue> names no queue"
    if len(_words(element)) > MAX_QUEUE_NAME:
        yield f"<Enqueue> takes a name of {MAX_QUEUE_NAME} characters"


def _stream(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if parent.tag != "Stop" and not element.get("url") and not element.get("connectorName"):
        yield "<Stream> needs a URL"
    if parent.tag == "Connect" and element.get("track", "inbound_track") != "inbound_track":
        yield "<Stream> in <Connect> has the inbound track only"


def _parameter(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if not element.get("name") or "value" not in element.attrib:
        yield "<Parameter> needs a name and a value"
    if len(element.get("name", "") + element.get("value", "")) > MAX_PARAMETER:
        yield "<Parameter> must have fewer than 500 characters"


def _filled(element: ET.Element, parent: ET.Element) -> Iterator[str]:
    if not len(element):
        yield f"<{element.tag}> is empty"


def _route(verbs: list[ET.Element], first: bool) -> Iterator[str]:
    """Where the verbs lead: all of them are reached, and the last one says how it goes on."""
    for place, verb in enumerate(verbs):
        if _is_last(verb) and place < len(verbs) - 1:
            yield f"nothing behind <{verb.tag}> is reached"
        if verb.tag == "Reject" and (place or not first):
            yield "<Reject> must be the first verb of the first document"
    # When a stream ends without an action, the far end has ended the call, and said what there was to say.
    if not verbs or not (_is_last(verbs[-1]) or verbs[-1].tag == "Connect"):
        yield "the document does not end in an action"


def _is_last(verb: ET.Element) -> bool:
    answered_anyhow = verb.tag == "Gather" and verb.get("actionOnEmptyResult") == "true"
    return verb.tag in ENDS or ((verb.tag in LEADS or answered_anyhow) and bool(verb.get("action")))


@cache
def nouns(builder: type) -> Mapping[str, Noun]:
    """What may stand in one of the library's elements, by name: its methods, tried."""
    parent = builder(**_blanks(builder))
    known: dict[str, Noun] = {}
    for name, method in vars(builder).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        built = method(parent, **_blanks(method))
        text = _parameters(type(built))  # what the class itself takes becomes text, all the rest attributes
        attributes = {lower_camel(TwiML.MAP.get(name, name)) for name in _parameters(method) if name not in text}
        known[built.name] = Noun(type(built), frozenset(attributes))
    return known


def _parameters(of: Callable[..., Any]) -> list[str]:
    kept = inspect.signature(of).parameters.values()
    return [one.name for one in kept if one.kind is not one.VAR_KEYWORD and one.name != "self"]


def _blanks(of: Callable[..., Any]) -> dict[str, str]:
    required = inspect.signature(of).parameters
    return {name: "" for name in _parameters(of) if required[name].default is inspect.Parameter.empty}


def web_url(value: str) -> bool:
    """Whether it is an absolute http(s) URL, printable and without white space."""
    return _url(value, "http", "https")


def _url(value: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return (
        parts.scheme in schemes
        and bool(_HOST.fullmatch(host))
        and port != 0
        and all(character.isprintable() and not character.isspace() for character in value)
    )


def _stream_url(value: str) -> bool:
    return _url(value, "wss") and "?" not in value


def _relay_url(value: str) -> bool:
    return _url(value, "wss")


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda value: value in values


def _some_of(*values: str) -> Callable[[str], bool]:
    return lambda value: bool(value.split()) and set(value.split()) <= set(values)


def _whole(least: int, most: int = 2**31) -> Callable[[str], bool]:
    return lambda value: bool(re.fullmatch("[0-9]{1,10}", value)) and least <= int(value) <= most


def _matching(pattern: str) -> Callable[[str], bool]:
    return lambda value: bool(re.fullmatch(pattern, value, re.ASCII))


def _url_or_nothing(value: str) -> bool:
    return not value or web_url(value)


CALL_EVENTS = _some_of("initiated", "ringing", "answered", "completed")
TRIM = _one_of("trim-silence", "do-not-trim")
VALUES: Mapping[str, Callable[[str], bool]] = {
    "Stream url": _stream_url,
    "ConversationRelay url": _relay_url,
    "Stream track": _one_of("inbound_track", "outbound_track", "both_tracks"),
    "Dial timeout": _whole(5, 600),
    "Dial timeLimit": _whole(1),
    "Dial callerId": _matching(r"\+?[0-9][0-9 ().-]*|client:.+"),
    "Dial record": _one_of(
        "do-not-record",
        "record-from-answer",
        "record-from-ringing",
        "record-from-answer-dual",
        "record-from-ringing-dual",
        "true",
        "false",
    ),
    "Dial trim": TRIM,
    "Number statusCallbackEvent": CALL_EVENTS,
    "Sip statusCallbackEvent": CALL_EVENTS,
    "Client statusCallbackEvent": CALL_EVENTS,
    "Number sendDigits": _matching("[0-9*#wW]+"),
    "Conference beep": _one_of("true", "false", "onEnter", "onExit"),
    "Conference maxParticipants": _whole(2, 250),
    "Conference record": _one_of("do-not-record", "record-from-start"),
    "Conference trim": TRIM,
    "Conference jitterBufferSize": _one_of("small", "medium", "large", "off"),
    "Conference statusCallbackEvent": _some_of(
        "start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement"
    ),
    "Conference waitUrl": _url_or_nothing,  # nothing: silence on purpose
    "Enqueue waitUrl": _url_or_nothing,
    "Gather input": _some_of("dtmf", "speech"),
    "Gather timeout": _whole(1),
    "Gather numDigits": _whole(1),
    "Gather speechTimeout": lambda value: value == "auto" or _whole(1)(value),
    "Gather finishOnKey": _matching("[0-9*#]*"),
    "Record timeout": _whole(1),
    "Record maxLength": _whole(2, 14_400),
    "Record finishOnKey": _matching("[0-9*#]*"),
    "Record trim": TRIM,
    "Pause length": _whole(1),
    "Play digits": _matching("[0-9*#wW]+"),
    "Reject reason": _one_of("rejected", "busy"),
}
# For any element; the first pattern that fits the attribute's name counts.
BY_NAME: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (r"method|\w+Method", _one_of("GET", "POST")),
    (r"action|url|\w+Url|\w+Callback|\w+CallbackUrl", web_url),
    (r"loop", _whole(0, 1_000)),
    (
        r"answerOnBridge|hangupOnStar|sequential|muted|startConferenceOnEnter|endConferenceOnExit|playBeep|transcribe",
        _one_of("true", "false"),
    ),
    (r"actionOnEmptyResult|bargeIn|enhanced", _one_of("true", "false")),
)
CHECKS: Mapping[str, Callable[[ET.Element, ET.Element], Iterator[str]]] = {
    "Say": _say,
    "Play": _play,
    "Redirect": _redirect,
    "Dial": _dial,
    "Number": _number,
    "Sip": _sip,
    "Enqueue": _enqueue,
    "Stream": _stream,
    "Parameter": _parameter,
    "Connect": _filled,
    "Start": _filled,
    "Stop": _filled,
}
