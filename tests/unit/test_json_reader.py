"""The JSON reader against a plain one: `json.loads` with a hook for everything, which is slow and easy to trust."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard.errors import MessageRefused
from switchboard.messages import MAX_DEPTH, MAX_DIGITS, parse

REFUSED = object()


def plainly(body: bytes) -> Any:
    """The value of strict JSON, or REFUSED."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    def integer(text: str) -> int:
        if len(text.lstrip("-")) > MAX_DIGITS:
            raise ValueError
        return int(text)

    def fraction(text: str) -> float:
        if abs(float(text)) == float("inf"):
            raise ValueError
        return float(text)

    def constant(_: str) -> Any:
        raise ValueError

    try:
        value = json.loads(
            body.decode(), object_pairs_hook=unique, parse_int=integer, parse_float=fraction, parse_constant=constant
        )
    except (ValueError, RecursionError):
        return REFUSED
    return value if depth(value) <= MAX_DEPTH else REFUSED


def depth(value: Any) -> int:
    """How many lists and objects a value has around its innermost one, that one included."""
    if not isinstance(value, dict | list):
        return 0
    within = value.values() if isinstance(value, dict) else value
    return 1 + max((depth(entry) for entry in within), default=0)


def strictly(body: bytes) -> Any:
    """What our reader makes of it."""
    try:
        return parse(body)
    except MessageRefused:
        return REFUSED


def same(body: bytes) -> bool:
    """Both refuse, or both read the same: 1 is not 1.0 and not true."""
    mine, plain = strictly(body), plainly(body)
    return mine is plain is REFUSED or repr(mine) == repr(plain)


NUMBERS = ["0", "-1", "1" * 38, "1" * 39, "-" + "9" * 38, "-" + "9" * 39, "0.5", "0." + "3" * 60, "1e5", "1E-5", "0e0"]
NUMBERS += ["1e999", "-1E999", "123456789.5e300", "1" * 400 + ".0", "NaN", "-Infinity", "1.", "01", "+1"]
TEXTS = ['"a"', '"b"', '"a:b"', '"[{"', '"}]"', r'"\""', r'"\\"', r'"\\\""', r'"a\\"', r'"\u0022"', r'"\u003a"', '"é"']
TEXTS += ['"NaN"', '"1e999"', f'"{"7" * 50}"', '"', "\\", r"\"", r'"\x"', '"\n"']
PIECES = [*NUMBERS, *TEXTS, *"{}[]:, ", "{}", "[]", '"a":1,', '"a":[1],', "null", "true", "x"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_pieces_are_read_as_plainly_as_can_be(pieces: list[str]) -> None:
    assert same("".join(pieces).encode())


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a":{}}}', '{{"a":"1e5","b":[0,{}]}}', '{{"a":[{{}},{}],"b":1}}'])
def test_a_number_is_read_as_plainly_as_can_be_wherever_it_stands(number: str, around: str) -> None:
    assert same(around.format(number).encode())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["a", "a:b", '"', "\\", '\\"', "[{", "7" * 50, "é\u2028", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b:", '"', "\\", ""]), inner),
)


@given(value=JSON, ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_whatever_is_json_is_read(value: Any, ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()

    assert plainly(body) is not REFUSED
    assert repr(strictly(body)) == repr(value)


@given(value=JSON, seed=st.integers())
def test_json_with_a_scratch_is_read_as_plainly_as_can_be(value: Any, seed: int) -> None:
    chance = random.Random(seed)
    text = json.dumps(value)
    place = chance.randint(0, len(text))

    assert same((text[:place] + chance.choice(PIECES) + text[place + chance.randint(0, 2) :]).encode())


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 200])
@pytest.mark.parametrize(
    ("opens", "closes"),
    [("[", "]"), ('{"a":', "}"), ("[[],", ",[]]"), ('[{"a":{}},', "]"), ("[1,", ",[]]"), ('[{"a":', "}]")],
)
def test_depth_is_counted_whatever_stands_beside_it(levels: int, opens: str, closes: str) -> None:
    assert same((opens * levels + "1" + closes * levels).encode())


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"c":2},"a":0}',
        '[{"a":1},{"b":1,"b":{}}]',
        '{"a":1,"\\u0061":2}',
        '{"a:":1,"a":2,"a":":"}',
        '{"":1,"":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_place(body: str) -> None:
    assert strictly(body.encode()) is REFUSED


@pytest.mark.parametrize(
    "body", ['{"a:b":":","\\"":":::"}', '{"\\\\":1,"\\\\\\"":2}', '{"a":"\\\\","b":":"}', '{"\\u003a":1}', '[":",":"]']
)
def test_a_colon_in_a_text_is_no_member(body: str) -> None:
    assert strictly(body.encode()) == json.loads(body)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_large_wide_message_is_read(size: int) -> None:
    document = [{"time": number, "words": [str(number)], "sure": 0.5} for number in range(size // 50)]

    assert strictly(json.dumps(document).encode()) == document
