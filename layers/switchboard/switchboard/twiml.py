"""Every TwiML document that this project writes itself. Vapi's own documents pass through untouched.

Each one is well-formed for any words, holds no secret, and ends in an action (Hangup, Redirect, or a verb whose `action`
is asked), so that no caller is left in silence. URLs are absolute, and the caller of these functions has encoded them.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote, quote_plus
from xml.etree import ElementTree

from twilio.twiml.voice_response import Dial, VoiceResponse  # type: ignore[import-untyped]  # it ships no types

# The official builder escapes markup but lets through what no XML 1.0 document may hold.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIALABLE = re.compile(r"\+?[0-9][0-9 ().-]{0,31}", re.ASCII)
_SIP_URI = re.compile(r"sips?:[!-~]+@[!-~]+", re.ASCII)
_HEADER = re.compile(r"[Xx]-[A-Za-z0-9_-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# What one <Say> takes, or else it says nothing at all (https://www.twilio.com/docs/api/errors/13521).
MAX_WORDS = 3_000  # bytes
MAX_ENCODED_WORDS = 4_500  # characters, encoded as in a URL: 1,500 ampersands, 750 letters of Greek, 375 emoji
MAX_DOCUMENT = 64 * 1024  # bytes
MAX_SIP_URI = 254  # characters; Twilio wants fewer than 255
MAX_SIP_HEADERS = 1_023  # characters of all of them, encoded; Twilio wants fewer than 1,024

# An empty <Say> is refused, and a silent end sounds like a fault: these are said where the words given are blank.
GOODBYE = "Goodbye."
UNREACHABLE = "We are sorry, we cannot put you through right now."
LEAVE_A_MESSAGE = "Please leave a message after the tone."
NOTHING_HEARD = "We did not hear a message. Goodbye."
PRESS_ONE = "You have a call. Press 1 to take it."


def say_and_hang_up(words: str) -> str:
    """Say something and end the call in order: an apology, or a refusal."""
    response = VoiceResponse()
    _say(response, words, GOODBYE)
    response.hangup()
    return str(response)


def hang_up() -> str:
    """End the call: everything has been said."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def redirect(url: str) -> str:
    """Ask `url` what to do with the call."""
    response = VoiceResponse()
    response.redirect(_clean(url))
    return str(response)


def dial(number: str, words: str = "", *, action: str = "", timeout: int = 20, caller_id: str = "") -> str:
    """Put the caller through to `number` (E.164), which rings for `timeout` seconds.

    `action` is asked how it went; without one the call ends when that leg does. What is no number is never dialled, not
    even in part: `action` is asked at once, or the caller hears that it cannot be. A `caller_id` that is no number is
    left out, as Twilio would not dial at all.
    """
    number, shown = _clean(number).strip(), _clean(caller_id).strip()
    if not _DIALABLE.fullmatch(number):
        return redirect(action) if action else say_and_hang_up(UNREACHABLE)
    response = VoiceResponse()
    _say(response, words)
    response.dial(
        number,
        action=_clean(action) or None,
        timeout=timeout,
        caller_id=shown if _DIALABLE.fullmatch(shown) else None,
    )
    if not action:
        response.hangup()
    return str(response)


def sip(uri: str, action: str, *, headers: Mapping[str, str] = {}, timeout: int = 20) -> str:
    """Put the caller through to a SIP URI; `action` is asked how it went, or at once where it is no URI that fits.

    A header whose name is not X-something, or that does not fit any more, is left out whole.
    """
    uri = _clean(uri).strip()
    if not _SIP_URI.fullmatch(uri) or "?" in uri or len(uri) > MAX_SIP_URI:
        return redirect(action)
    response = VoiceResponse()
    # The caller hears it ring until the other side picks up.
    leg = Dial(action=_clean(action), timeout=timeout, answer_on_bridge=True)
    leg.sip("?".join(part for part in (uri, _sip_headers(headers)) if part))
    response.append(leg)
    return str(response)


def enqueue(name: str, wait_url: str, action: str, words: str = "") -> str:
    """Let the caller wait in the queue `name`; `action` is asked when they leave it, `wait_url` what they hear until then."""
    response = VoiceResponse()
    _say(response, words)
    response.enqueue(_name(name), wait_url=_clean(wait_url), action=_clean(action))
    return str(response)


def wait(words: str, music_url: str, again: str) -> str:
    """What a caller in a queue hears: words if there are any, the music once, and then what `again` answers."""
    response = VoiceResponse()
    _say(response, words)
    response.play(_clean(music_url))
    response.redirect(_clean(again))
    return str(response)


def leave() -> str:
    """Take the caller out of the queue: the queue's `action` is asked at once."""
    response = VoiceResponse()
    response.leave()
    return str(response)


def voicemail(words: str, action: str, *, max_seconds: int = 120) -> str:
    """Record a message of at most `max_seconds`; `action` is told of it. A caller who says nothing hears a goodbye."""
    response = VoiceResponse()
    _say(response, words, LEAVE_A_MESSAGE)
    response.record(
        action=_clean(action), max_length=max_seconds, play_beep=True, trim="trim-silence", finish_on_key="#"
    )
    _say(response, NOTHING_HEARD)  # reached only where nothing was heard
    response.hangup()
    return str(response)


def hold(room: str, wait_url: str, action: str, words: str = "") -> str:
    """Let the caller hold in a conference of their own, which starts when a human joins and ends with either of them."""
    response = VoiceResponse()
    _say(response, words)
    leg = Dial(action=_clean(action))
    leg.conference(
        _name(room),
        start_conference_on_enter=False,
        end_conference_on_exit=True,
        beep=False,
        wait_url=_clean(wait_url),
    )
    response.append(leg)
    return str(response)


def music(music_url: str, again: str) -> str:
    """What a caller on hold hears: the music once, and then what `again` answers."""
    return wait("", music_url, again)


def brief(words: str, accept_url: str, *, seconds: int = 6) -> str:
    """Tell a human, twice, who is waiting; `accept_url` is asked with the key pressed, or with none after `seconds`."""
    response = VoiceResponse()
    keys = response.gather(num_digits=1, timeout=seconds, action=_clean(accept_url))
    _say(keys, words, PRESS_ONE)
    keys.pause(length=1)
    _say(keys, words, PRESS_ONE)
    response.redirect(_clean(accept_url))
    return str(response)


def join(room: str) -> str:
    """Put a human into the conference that a caller holds in; the call ends when either of them leaves."""
    response = VoiceResponse()
    leg = Dial()
    leg.conference(_name(room), start_conference_on_enter=True, end_conference_on_exit=True, beep=False)
    response.append(leg)
    response.hangup()
    return str(response)


def readable(document: str) -> bool:
    """Whether Twilio can read a document that was written elsewhere: XML without a document type, and small enough."""
    if not document.lstrip().startswith("<") or "<!DOCTYPE" in document:  # a byte order mark is no white space
        return False
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - without a document type it has no entities
        return root.tag == "Response" and len(document.encode()) <= MAX_DOCUMENT
    except (ElementTree.ParseError, UnicodeEncodeError):
        return False


def _say(verb: VoiceResponse, words: str, otherwise: str = "") -> None:
    said = _cut(_clean(words))
    if said := said if said.strip() else otherwise:
        verb.say(said)


def _cut(words: str) -> str:
    kept = words.encode()[:MAX_WORDS].decode(errors="ignore")
    while (over := len(quote_plus(kept)) - MAX_ENCODED_WORDS) > 0:
        kept = kept[: -max(1, over // 12)]  # no character is encoded in more than 12
    return kept


def _clean(text: str) -> str:
    return _ILLEGAL.sub("", text)


def _name(name: str) -> str:
    """The name of a queue or a room. One that does not fit is hashed: cut off, two callers could meet in one room."""
    return name if _NAME.fullmatch(name) else sha256(name.encode(errors="surrogatepass")).hexdigest()


def _sip_headers(headers: Mapping[str, str]) -> str:
    sent = ""
    for name, value in headers.items():
        # A line break would start another header.
        printable = "".join(character for character in " ".join(value.split()) if character.isprintable())
        header = ("&" if sent else "") + f"{name}={quote(printable, safe='')}"
        if _HEADER.fullmatch(name) and printable and len(sent) + len(header) <= MAX_SIP_HEADERS:
            sent += header
    return sent
