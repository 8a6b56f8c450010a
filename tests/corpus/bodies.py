"""JSON bodies, all of them truly signed: what is strict JSON and a message, and what is not."""

# ruff: noqa: RUF001, SIM905 - odd characters are the subject, and a list of words reads best as a text

import json
from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]
CALL = "c0ffee00-0000-4000-8000-0000000000c0"
HANG = '{"message":{"type":"hang"}}'
NOT_JSON, TOO_DEEP, NO_MESSAGE, NO_TYPE = "not_json", "too_deep", "no_message", "no_type"


def entry(name: str, body: Any, expect: str = "accepted") -> Entry:
    """One entry."""
    return {"name": name, "body": body, "expect": expect}


def within(value: Any, kind: str = "hang") -> list[Any]:
    """A message with some JSON text, or bytes, as the value of a field that nobody reads."""
    return [f'{{"message":{{"type":"{kind}","x":', value, "}}"]


def entries() -> Iterator[Entry]:
    """Every entry."""
    yield from numbers()
    yield from texts()
    yield from structures()
    yield from keys()
    yield from encodings()
    yield from sizes()
    yield from envelopes()
    yield from types()
    yield from confusions()
    yield from captures()


def numbers() -> Iterator[Entry]:
    """Numbers: JSON's grammar, and what fits."""
    for text in (
        "0 -0 1 -1 10 1.0 0.0 -0.0 0.1 1e1 1E1 1e+1 1e-1 1E+01 1e00 0e0 0e+1 123.456e78 1e308 -1e308 1e-400 -1e-400 "
        "1.7976931348623157e308 2.2250738585072011e-308 5e-324 9007199254740993 18446744073709551616 "
        "-9223372036854775809 0.1000000000000000055511151231257827021181583404541015625 1e-7 1.5E-10"
    ).split():
        yield entry(f"number {text}", within(text))
    yield entry("number of 38 digits", within("9" * 38))
    yield entry("negative number of 38 digits", within("-" + "9" * 38))
    yield entry("number with a thousand decimals", within(["0.", {"repeat": "1", "times": 1000}]))
    yield entry("number of a thousand digits with an exponent", within([{"repeat": "1", "times": 300}, "e0"]))
    for text in (
        "01 -01 00 1. .1 -.1 1.e1 .e1 1e 1e+ 1e- 1E 1e1.5 1ee1 1e1e1 +1 ++1 --1 -+1 - + . e1 0x1 0xFF 0b1 0o7 1_000 "
        "1,000 1f 1L 1n 0.1.2 1a a1 NaN -NaN nan Infinity -Infinity +Infinity infinity inf -inf 1#INF 1/2 2^8 (1) "
        "1e999 -1e999 1e309 1e400 1e1000000000 Inf -Inf NAN -nan 0e 0e+ -1x 1;"
    ).split():
        yield entry(f"no number: {text}", within(text), NOT_JSON)
    long: dict[str, Any] = {
        "39 digits": "9" * 39,
        "39 digits and a minus": "-" + "9" * 39,
        "5,000 digits": {"repeat": "9", "times": 5_000},
        "a million digits": {"repeat": "9", "times": 1_000_000},
        "a million digits and an exponent": [{"repeat": "9", "times": 1_000_000}, "e9"],
        "an exponent of a million digits": ["1e", {"repeat": "9", "times": 1_000_000}],
        "fullwidth digits": "１２３",  # other digits than ours
        "Arabic digits": "١٢٣",
        "Bengali digits": "১২৩",
        "a superscript": "1²",
        "a fraction sign": "½",
        "a minus that is none": "\u22121",
        "a digit in a decimal of another alphabet": "1.٢",
        "a digit in an exponent of another alphabet": "1e٢",
        "a space in it": "1 2",
        "a space behind the minus": "- 1",
        "a line feed in it": "1\n2",
        "a NUL behind it": "1\x00",
        "a comment behind it": "1/*one*/",
    }
    for name, value in long.items():
        yield entry(f"number of or with {name}", within(value), NOT_JSON)


def texts() -> Iterator[Entry]:
    """Texts: escapes, control characters, halves of surrogate pairs."""
    for name, text in {
        "empty": '""',
        "blank": '" "',
        "every simple escape": r'"\"\\\/\b\f\n\r\t"',
        "an escaped NUL": r'"\u0000"',
        "an escaped unit separator": r'"\u001f"',
        "an escaped delete": r'"\u007f"',
        "delete itself": '"\x7f"',
        "C1 controls": '"\x80\x9f"',
        "line separators": '"\u2028\u2029"',
        "a byte order mark": '"\ufeff"',
        "what is no character": '"\uffff\ufdd0"',
        "a pair": r'"\ud83d\ude00"',
        "a pair in capitals": r'"\uD83D\uDE00"',
        "a private character": '"\ue000\U000f0000"',
        "the last character": '"\U0010ffff"',
        "combining marks": '"e\u0301\u0301\u0301"',
        "text that turns around": '"\u202e\u2066abc\u2069"',
        "an emoji of many": '"👩\u200d👩\u200d👧\u200d👦"',
        "brackets": '"[[[[{{{{"',
        "a closing bracket and a quote": r'"]}\""',
        "many backslashes": '"' + "\\\\" * 50 + '"',
        "escapes of escapes": r'"\\u0041 \\\\n"',
        "a comment": '"/* no comment */ // either"',
        "a key of JavaScript": '"__proto__"',
        "markup": '"</script><script>alert(1)</script>"',
        "a template": '"{{7*7}} ${7*7} #{7*7} %{7*7}"',
        "a format": '"%s%n%x {0} {}"',
        "a query": '"\'; DROP TABLE calls; --"',
        "a hundred kilobytes": ['"', {"repeat": "0123456789", "times": 10_000}, '"'],
        # A JavaScript sender can cut an emoji in half; the report is worth more than the half.
        "the first half of a pair": r'"\ud83d"',
        "the second half of a pair": r'"\ude00"',
        "two first halves": r'"\ud83d\ud83d"',
        "a pair the wrong way round": r'"\ude00\ud83d"',
        "a half between words": r'"one \ud83d two"',
        "a half before an escape": r'"\ud83d\n"',
        "a half before an escaped backslash": r'"\ud83d\\ude00"',
        "halves in a thousand places": ['"', {"repeat": r"\ud83d ", "times": 1_000}, '"'],
    }.items():
        yield entry(f"text: {name}", within(text))
    for name, text in {
        "unclosed": '"abc',
        "unopened": 'abc"',
        "closed twice": '"abc""',
        "a quote in it": '"a"b"',
        "an escaped end": r'"abc\"',
        "apostrophes": "'abc'",
        "backquotes": "`abc`",
        "typographic quotes": "\u201cabc\u201d",
        "no quotes": "abc",
        "joined": '"a" "b"',
        "added": '"a"+"b"',
        "a prefix": 'b"abc"',
        "escape x": r'"\x41"',
        "escape a": r'"\a"',
        "escape v": r'"\v"',
        "escape 0": r'"\0"',
        "escape e": r'"\e"',
        "escape of an apostrophe": r'"\'"',
        "escape of a line feed": '"\\\n"',
        "escape U": r'"\U0001F600"',
        "escape u in braces": r'"\u{1F600}"',
        "escape of a space": r'"\ "',
        "escape of an emoji": '"\\🎉"',
        "escape u of no digits": r'"\u"',
        "escape u of three digits": r'"\u004"',
        "escape u of a letter g": r'"\u00g1"',
        "escape u with a plus": r'"\u+041"',
        "escape u with a minus": r'"\u-041"',
        "escape u with a space": r'"\u 041"',
        "escape u with an x": r'"\u0x41"',
        "escape u with an underscore": r'"\u0_41"',
        "escape u of fullwidth digits": '"\\u\uff10\uff10\uff14\uff11"',
        "half a pair and a broken escape": r'"\ud83d\u12"',
        "half a pair and no digits": r'"\ud83d\u"',
        "a lone backslash": '"\\"',
        "a NUL": '"a\x00b"',
        "a line feed": '"a\nb"',
        "a carriage return": '"a\rb"',
        "a tab": '"a\tb"',
        "a bell": '"a\x07b"',
        "an escape character": '"a\x1bb"',
        "a unit separator": '"a\x1fb"',
    }.items():
        # An unclosed text hides the brackets behind it.
        open_ended = unbalanced("".join(within(text)))
        yield entry(f"no text: {name}", within(text), TOO_DEEP if open_ended else NOT_JSON)


def structures() -> Iterator[Entry]:
    """Arrays, objects, words, white space, and whole documents."""
    for text in (
        *"[] {} null true false [[]] [{}] [1,2] [null] [[],[]] [[[[[]]]]]".split(),
        *('{"a":{}}', '{"a":[1,{"b":null}]}', '{"":0}', '{"a":1,"b":2}', '[1,"a",null,true,{}]'),
        *(" [ 1 , 2 ] ", "\t{\t}\t", "\n[\r\n]\n", '{ "a" : 1 }'),
    ):
        yield entry(f"value {text!r}", within(text))
    for text in (
        "[1,] [,1] [,] [1,,2] [1;2] [1:2] [ ] [1}] [(] []] [1 [[] {,} {1:2} {a:1} {'a':1} "
        '{"a"} {"a":} {:1} {"a":1,} {,"a":1} {"a":1,,"b":2} {"a":1;"b":2} {"a"=1} {"a"=>1} {"a","b"} {"a":1:2} '
        '{"a":1]} {null:1} {true:1} {[]:1} {{}:1} {{}} {"a":1}} True False None TRUE FALSE NULL Null nul tru '
        "fals truee nullnull undefined yes no on off () <> <a/> @a #a $a %a &a *a ~ ? !a a,b ; : = | ^ \\ / // # "
        "/**/ /*a*/1 //1 #1 1//a [/**/] [1]/**/ ... [...] [1...2] function(){} new() Date() 1..2 set() {1,2} [1][0]"
    ).split():
        yield entry(f"no value: {text}", within(text), TOO_DEEP if unbalanced(text) else NOT_JSON)
    for text in ("[1 2]", "[1, 2 3]", '["a" "b"]', '{"a" 1}', '{"a":1 "b":2}', "[true false]", "{ , }", "not a number"):
        yield entry(f"no value: {text}", within(text), NOT_JSON)
    for name, space in {
        "form feed": "\f",
        "vertical tab": "\v",
        "no-break space": "\xa0",
        "em space": "\u2003",
        "line separator": "\u2028",
        "zero-width space": "\u200b",
        "byte order mark": "\ufeff",
        "NUL": "\x00",
        "next line": "\x85",
        "ideographic space": "\u3000",
    }.items():
        yield entry(f"{name} as white space within", within(f"[1,{space}2]"), NOT_JSON)
        yield entry(f"{name} as white space behind", HANG + space, NOT_JSON)
        yield entry(f"{name} as white space before", space + HANG, NOT_JSON)
    for name, space in {"spaces": "   ", "line feeds": "\n\n", "CRLF": "\r\n", "tabs": "\t\t"}.items():
        yield entry(f"{name} around", space + HANG + space)
    yield entry("a megabyte of spaces around", [{"repeat": " ", "times": 1_000_000}, HANG])
    for name, body in {
        "nothing": "",
        "a space": " ",
        "a line feed": "\n",
        "a quote": '"',
        "a word": "hang",
        "two documents": HANG + HANG,
        "two lines": f"{HANG}\n{HANG}",
        "a document and a word": HANG + "x",
        "a document and a comma": HANG + ",",
        "a document and a semicolon": HANG + ";",
        "a document and a comment": HANG + "//",
        "a comment and a document": "/**/" + HANG,
        "a shebang": "#!/bin/sh\n" + HANG,
        "a guard against hijacking": ")]}',\n" + HANG,
        "an endless loop as a guard": "for(;;);" + HANG,
        "a callback": f"callback({HANG});",
        "an assignment": f"x={HANG}",
        "a form": "message=%7B%22type%22%3A%22hang%22%7D",
        "a form with JSON": f"payload={HANG}",
        "multipart": f"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n{HANG}\r\n--x--",
        "XML": '<?xml version="1.0"?><message type="hang"/>',
        "an entity": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "YAML": "message:\n  type: hang",
        "YAML with a tag": "!!python/object/apply:os.system ['true']",
        "TOML": '[message]\ntype = "hang"',
        "JSON5": "{message:{type:'hang',},}",
        "HTML": "<html>502 Bad Gateway</html>",
        "an event stream": f"data: {HANG}\n\n",
        "a record separator": "\x1e" + HANG + "\n",
        "GraphQL": '{"query":"{message{type}}"',
        "base64": "eyJtZXNzYWdlIjp7InR5cGUiOiJoYW5nIn19",
        "JSON in a JSON text that is unclosed": '"{\\"message\\"',
        "half of it": HANG[:13],
    }.items():
        yield entry(f"document: {name}", body, TOO_DEEP if unbalanced(body) else NOT_JSON)
    for cut in range(2, len(HANG), 4):
        yield entry(f"a message cut after {cut} bytes", HANG[:cut], TOO_DEEP)


def unbalanced(text: str) -> bool:
    """Whether brackets outside of texts do not close one another: told by the look that is taken before parsing."""
    outside, quoted, escaped = [], False, False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "[]{}":
            outside.append({"{": "[", "}": "]"}.get(character, character))
    depth = 0
    for bracket in outside:
        depth += 1 if bracket == "[" else -1
        if depth < 0:
            return True
    return depth != 0


def keys() -> Iterator[Entry]:
    """Keys: two readers must not see two different values."""
    for name, text in {
        "in a field": '{"a":1,"a":2}',
        "with the same value": '{"a":1,"a":1}',
        "that are empty": '{"":1,"":2}',
        "written with an escape": r'{"a":1,"\u0061":2}',
        "written with an escaped slash": r'{"/":1,"\/":2}',
        "deep within": '[[[{"b":[{"a":1,"a":2}]}]]]',
        "far apart": ['{"a":1,', {"repeat": '"b":[],', "times": 1}, '"c":2,"a":2}'],
        "of a pair and its escape": '{"\U0001f600":1,"\\ud83d\\ude00":2}',
    }.items():
        yield entry(f"repeated keys {name}", within(text), NOT_JSON)
    for name, body in {
        "message": '{"message":{"type":"hang"},"message":{"type":"tool-calls"}}',
        "message with an escape": '{"message":{"type":"hang"},"m\\u0065ssage":{"type":"tool-calls"}}',
        "type": '{"message":{"type":"hang","type":"tool-calls"}}',
        "type, equal": '{"message":{"type":"hang","type":"hang"}}',
        "call": '{"message":{"type":"hang","call":{"id":"a"},"call":{"id":"b"}}}',
        "call id": '{"message":{"type":"hang","call":{"id":"a","id":"b"}}}',
    }.items():
        yield entry(f"repeated key: {name}", body, NOT_JSON)
    for name, text in {
        "that differ in case": '{"a":1,"A":2}',
        "that look alike": '{"a":1,"а":2}',  # the second one is Cyrillic
        "that are equal after normalisation": '{"\u00e9":1,"e\u0301":2}',
        "with a NUL": '{"a\\u0000":1,"a":2}',
        "of prototypes": '{"__proto__":{"admin":true},"constructor":{"prototype":{}}}',
        "of Python": '{"__class__":"x","__reduce__":[],"py/object":"os.system"}',
        "of operators": '{"$ne":null,"$where":"1","$ref":"#"}',
        "with dots and slashes": '{"a.b":1,"a/b":2,"../a":3}',
        "of numbers": '{"1":1,"01":2,"1.0":3}',
        "of words": '{"null":1,"true":2}',
        "of ten thousand characters": ['{"', {"repeat": "k", "times": 10_000}, '":1}'],
        "of half a pair": r'{"\ud83d":1}',
    }.items():
        yield entry(f"keys {name}", within(text))
    yield entry("a second message in another case", '{"message":{"type":"hang"},"Message":{"type":"tool-calls"}}')


def encodings() -> Iterator[Entry]:
    """Bytes that are not UTF-8, or are it in disguise."""
    for encoding in "utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be utf-8-sig cp037 cp500".split():
        yield entry(f"the whole in {encoding}", {"text": HANG, "encoding": encoding}, NOT_JSON)
    for name, digits in {
        "Latin-1": "e9",
        "Windows-1252": "93",
        "Shift-JIS": "93fa967b",
        "an overlong slash": "c0af",
        "an overlong NUL, as Java writes it": "c080",
        "an overlong slash of three": "e080af",
        "an overlong quote": "c0a2",
        "half a surrogate pair": "eda0bd",
        "a surrogate pair of six bytes": "eda0bdedb880",
        "beyond Unicode": "f4908080",
        "five bytes": "f888808080",
        "six bytes": "fc8480808080",
        "a start without the rest": "e282",
        "a rest without a start": "82ac",
        "FE": "fe",
        "FF": "ff",
        "FF FE": "fffe",
        "a start and a quote": "c3",
        "two starts": "c3c3a9",
    }.items():
        yield entry(f"bytes of {name} in a text", within(['"', {"bytes": digits}, '"']), NOT_JSON)
        yield entry(f"bytes of {name} in the type", ['{"message":{"type":"', {"bytes": digits}, '"}}'], NOT_JSON)
    for name, digits in {
        "gzip": "1f8b08000000000000ff",
        "zlib": "789c",
        "brotli": "8b0580",
        "zstd": "28b52ffd",
        "MessagePack": "81a76d65737361676581a474797065a468616e67",
        "CBOR": "a1676d657373616765a1647479706564",
        "a pickle": "80049503000000",
        "a PNG": "89504e470d0a1a0a",
        "protobuf": "0a0668616e67",
        "NULs": "00000000",
    }.items():
        yield entry(f"a document of {name}", {"bytes": digits}, NOT_JSON)


def sizes() -> Iterator[Entry]:
    """Depth, length, number."""
    # The envelope has two levels of its own.
    for name, opening, closing in (("arrays", "[", "]"), ("objects", '{"a":', "}")):
        inner = "" if name == "arrays" else "0"
        for levels, expect in ((62, "accepted"), (63, TOO_DEEP), (1_000, TOO_DEEP), (100_000, TOO_DEEP)):
            value = [{"repeat": opening, "times": levels}, inner, {"repeat": closing, "times": levels}]
            yield entry(f"{levels} levels of {name}", within(value), expect)
    for name, body in {
        "a hundred thousand opening brackets": {"repeat": "[", "times": 100_000},
        "a hundred thousand opening braces": {"repeat": "{", "times": 100_000},
        "a hundred thousand opened objects": {"repeat": '{"a":', "times": 100_000},
        "a million closing brackets": {"repeat": "]", "times": 1_000_000},
        "mixed brackets": {"repeat": '[{"a":', "times": 50_000},
        "brackets behind a quote that is escaped": ['"\\""', {"repeat": "[", "times": 1_000}],
        "brackets behind a document": [HANG, {"repeat": "[", "times": 1_000}],
    }.items():
        yield entry(name, body, TOO_DEEP)
    long = {"repeat": "a", "times": 2_000_000}
    for name, one in {"empty arrays": "[]", "empty objects": "{}", "numbers": "0", "fractions": "0.5"}.items():
        few, many = ({"repeat": f"{one},", "times": times} for times in (9_999, 49_999))
        yield entry(f"ten thousand {name}", within(["[", few, one, "]"]))
        yield entry(f"fifty thousand {name} beside a long text", within(['["', long, '",', many, one, "]"]))
    yield entry("a megabyte of text", within(['"', {"repeat": "a", "times": 1_000_000}, '"']))
    yield entry("a megabyte of escapes", within(['"', {"repeat": "\\u0041", "times": 170_000}, '"']))
    yield entry("a megabyte of halves of pairs", within(['"', {"repeat": "\\ud83d", "times": 170_000}, '"']))
    yield entry("a megabyte of four-byte characters", within(['"', {"repeat": "🎉", "times": 250_000}, '"']))
    yield entry("a megabyte of escaped quotes", within(['"', {"repeat": '\\"', "times": 500_000}, '"']))
    yield entry("a megabyte of quotes", {"repeat": '"', "times": 1_000_000}, NOT_JSON)
    yield entry("a megabyte of backslashes", {"repeat": "\\", "times": 1_000_000}, NOT_JSON)
    yield entry("a megabyte of an unclosed text", ['{"a":"', {"repeat": "a", "times": 1_000_000}], TOO_DEEP)
    yield entry("a megabyte of minus signs", {"repeat": "-", "times": 1_000_000}, NOT_JSON)
    yield entry("a megabyte of NULs", {"repeat": "\x00", "times": 1_000_000}, NOT_JSON)
    yield entry("ten thousand commas", within(["[", {"repeat": ",", "times": 10_000}, "]"]), NOT_JSON)
    yield entry("more than a function takes", {"repeat": " ", "times": 6 * 1024 * 1024 + 1}, "body_too_large")


def envelopes() -> Iterator[Entry]:
    """JSON, and no message."""
    for text in ("null", "true", "false", "0", "-1", "1.5", '""', '"message"', "[]", f"[{HANG}]", f'"{"a" * 50}"'):
        yield entry(f"document {text}", text, NO_MESSAGE)
    for name, body in {
        "empty": "{}",
        "of another name": '{"event":{"type":"hang"}}',
        "in capitals": '{"Message":{"type":"hang"}}',
        "with a space in its name": '{"message ":{"type":"hang"}}',
        "in another alphabet": '{"m\u0435ssage":{"type":"hang"}}',  # the second letter is Cyrillic
        "flat": '{"type":"hang"}',
        "one level too deep": '{"body":{"message":{"type":"hang"}}}',
        "that has only a call": '{"call":{"id":"a"}}',
    }.items():
        yield entry(f"envelope {name}", body, NO_MESSAGE)
    for text in ("null", "true", "0", '"hang"', '""', "[]", '[{"type":"hang"}]', '["type","hang"]'):
        yield entry(f"message {text}", f'{{"message":{text}}}', NO_MESSAGE)
    for text in ("null", "true", "0", "1.5", '""', "[]", '["hang"]', "{}", '{"hang":1}'):
        yield entry(f"type {text}", f'{{"message":{{"type":{text}}}}}', NO_TYPE)
    for name, message in {
        "of nothing": "{}",
        "in capitals": '{"Type":"hang"}',
        "elsewhere": '{"call":{"type":"hang"}}',
    }.items():
        yield entry(f"type {name}", f'{{"message":{message}}}', NO_TYPE)
    for name, fields in {
        "beside the message": '"message":{"type":"hang"},"type":"tool-calls","timestamp":0',
        "behind an odd field": '"a":null,"message":{"type":"hang"}',
        "of a batch": '"message":{"type":"hang"},"messages":[{"type":"tool-calls"}]',
    }.items():
        yield entry(f"fields {name}", f"{{{fields}}}")


def types() -> Iterator[Entry]:
    """Every published type with a call and without, and types that are not published."""
    published = (
        "assistant-request tool-calls transfer-destination-request handoff-destination-request knowledge-base-request "
        "voice-request call.endpointing.request campaign.predial status-update end-of-call-report conversation-update "
        "speech-update user-interrupted hang assistant.started function-call transcript model-output voice-input "
        "assistant.speechStarted transfer-update language-change-detected language-changed phone-call-control "
        "chat.created chat.deleted session.created session.updated session.deleted call.deleted call.delete.failed "
        "call.artifact.upload"
    ).split()
    for kind in [*published, 'transcript[transcriptType="final"]', 'transcript[transcriptType="partial"]']:
        yield entry(f"{kind} about a call", message({"type": kind, "call": {"id": CALL}}))
        yield entry(f"{kind} about no call", message({"type": kind}))
    for name, kind in {
        "not yet invented": "assistant.dreamt",
        "in capitals": "TOOL-CALLS",
        "with a space": "hang ",
        "with a NUL": "hang\x00",
        "with a line feed": "hang\n",
        "with underscores": "tool_calls",
        "of a method": "__init__",
        "of a path": "../tool-calls",
        "of markup": "<b>hang</b>",
        "in another alphabet": "\u0442ool-calls",
        "of half a pair": "\ud83d",
        "of an unclosed bracket": "transcript[",
        "of something like a transcript": "transcripts",
        "of a list": "hang,tool-calls",
    }.items():
        yield entry(f"a type {name}", message({"type": kind, "call": {"id": CALL}}))
    yield entry("a type of ten thousand characters", ['{"message":{"type":"', {"repeat": "t", "times": 10_000}, '"}}'])


def confusions() -> Iterator[Entry]:
    """A field that has another type than it should: whoever reads it must not stumble."""
    values: dict[str, Any] = {
        "null": None,
        "true": True,
        "minus one": -1,
        "a huge number": 10**37,
        "a float": 1e300,
        "an empty text": "",
        "an odd text": "a#b\n\u0000\u2028",
        "a list": ["a"],
        "an object": {"a": 1},
        "objects in lists": [{"id": {"id": []}}],
    }
    base: dict[str, Any] = {"call": {"id": CALL}, "timestamp": 1_800_000_000_000}
    places: dict[str, tuple[str, ...]] = {
        "status-update": ("call", "call.id", "call.monitor", "call.monitor.controlUrl", "status", "timestamp"),
        "end-of-call-report": ("endedReason", "analysis", "analysis.summary", "cost", "startedAt"),
        "speech-update": ("role", "status"),
        "transcript": ("transcript", "transcriptType", "role"),
        "assistant-request": ("call.customer", "call.customer.number", "phoneNumber", "phoneNumber.number"),
        "tool-calls": ("toolCallList", "toolWithToolCallList", "call.orgId"),
        "user-interrupted": ("timestamp", "call.transport", "call.transport.callSid", "call.phoneCallProviderId"),
        "hang": ("assistant", "call.assistantOverrides"),
        "function-call": ("functionCall", "functionCall.parameters"),
    }
    usual = {
        "status-update": {"status": "in-progress"},
        "speech-update": {"role": "user", "status": "started"},
        "transcript": {"role": "user", "transcriptType": "final", "transcript": "Hello."},
        "end-of-call-report": {"endedReason": "customer-ended-call"},
    }
    for kind, paths in places.items():
        for path in paths:
            for name, value in values.items():
                body = json.loads(json.dumps({"type": kind, **base, **usual.get(kind, {})}))
                put(body, path, value)
                yield entry(f"{kind}: {path} is {name}", message(body))


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a field deep within, making what is missing on the way."""
    *way, last = path.split(".")
    for step in way:
        body = body.setdefault(step, {})
    body[last] = value


def captures() -> Iterator[Entry]:
    """Shapes as they have been seen on the wire, and values at their edges."""
    call = {
        "id": CALL,
        "orgId": "org-1",
        "type": "inboundPhoneCall",
        "status": "ringing",
        "assistantId": None,
        "customer": {"number": "+15550100001"},
        "monitor": {
            "controlUrl": f"https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/control",
            "listenUrl": f"wss://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/{CALL}/listen",
        },
        "transport": {"provider": "twilio", "callSid": "CA" + "c0" * 16},
    }
    for status in ("scheduled", "queued", "ringing", "in-progress", "forwarding", "ended", "paused"):
        yield entry(f"status {status}", message({"type": "status-update", "status": status, "call": call}))
    for name, timestamp in {
        "as text of ISO 8601": "2024-07-10T20:05:20.000Z",
        "without a zone": "2024-07-10T20:05:20",
        "as a date": "2024-07-10",
        "of the year one": "0001-01-01T00:00:00",
        "of the year 9999": "9999-12-31T23:59:59+00:00",
        "with a zone of a day": "2024-07-10T20:05:20+23:59",
        "as a week": "2024-W28-3",
        "as digits in a text": "1720641920000",
        "of nothing": 0,
        "before 1970": -1_720_641_920_000,
        "as a fraction": 1720641920000.25,
        "in seconds": 1_720_641_920,
        "of the far future": 99_999_999_999_999,
        "beyond all years": 10**30,
    }.items():
        yield entry(f"timestamp {name}", message({"type": "user-interrupted", "timestamp": timestamp, "call": call}))
    for name, reason in {
        "usual": "customer-ended-call",
        "with dots": "call.in-progress.error-providerfault-openai-llm-failed",
        "not published": "assistant-was-tired",
        "with a space": "customer ended call",
        "very long": "r" * 1_000,
    }.items():
        yield entry(
            f"ended reason {name}", message({"type": "end-of-call-report", "endedReason": reason, "call": call})
        )
    for name, fields in {
        "partial": {"transcriptType": "partial", "transcript": "Hel"},
        "with halves of pairs": {"transcriptType": "final", "transcript": "\ud83d Hello \ude00"},
        "of twenty words": {"transcriptType": "final", "transcript": "words " * 20},
        "of a role with a hash": {"transcriptType": "final", "transcript": "Hello.", "role": "user#assistant"},
        "of a role of two thousand characters": {
            "transcriptType": "final",
            "transcript": "Hello.",
            "role": "r" * 2_000,
        },
    }.items():
        yield entry(f"transcript {name}", message({"type": "transcript", "role": "user", "call": call} | fields))
    yield entry("a captured call in a report", message({"type": "end-of-call-report", "call": call, "cost": 0.0123}))
    yield entry("a cost of a million", message({"type": "end-of-call-report", "call": call, "cost": 10**6}))
    yield entry("a call id of a hundred characters", message({"type": "hang", "call": {"id": "i" * 100}}))


def message(body: dict[str, Any]) -> str:
    """A message as JSON, its odd characters escaped."""
    return json.dumps({"message": body}, separators=(",", ":"))
