"""Every TwiML document that this project writes itself. Vapi's own documents pass through untouched.

Each one is well-formed for any words, holds no secret, and ends in an action, so that no caller is left in silence.
"""

import re

from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped]  # it ships no types

# The official builder escapes markup but lets through what no XML 1.0 document may hold.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_WORDS = 3_000  # characters of one <Say>


def say_and_hang_up(words: str) -> str:
    """Say something and end the call in order: an apology, or a refusal."""
    response = VoiceResponse()
    response.say(_clean(words))
    response.hangup()
    return str(response)


def dial(number: str, words: str = "") -> str:
    """Put the caller through to `number` (E.164); the call ends when that leg does."""
    response = VoiceResponse()
    if words:
        response.say(_clean(words))
    response.dial(_clean(number))
    response.hangup()
    return str(response)


def _clean(words: str) -> str:
    return _ILLEGAL.sub("", words)[:MAX_WORDS]
