"""Canonical JSON against RFC 8785's own examples and numbers."""

import json
import struct
import subprocess
import sys
from decimal import Decimal, localcontext
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from caio.foundation.canonical import MAX_DEPTH, MAX_INTEGER, NotCanonical, _ecmascript, canonical_json, read_canonical

# RFC 8785, appendix B: the bits of an IEEE 754 double and its text.
APPENDIX_B = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


class Colour(StrEnum):
    RED = "rød"


class Number(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


def double(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


def nested(depth):
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("bits", "text"), APPENDIX_B)
def test_floats_print_as_ecmascript_does(bits, text):
    assert _ecmascript(double(bits)) == text
    if not MAX_INTEGER < abs(double(bits)) < 1e21:
        assert canonical_json(double(bits)) == text.encode()
        assert canonical_json([double(bits)]) == f"[{text}]".encode()


def test_floats_do_not_depend_on_the_decimal_context():
    with localcontext() as context:
        context.prec = 3
        assert canonical_json(1424953923781206.2) == b"1424953923781206.2"


def test_the_example_of_section_3_2_2():
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    assert (
        canonical_json(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_keys_sort_by_utf16():
    names = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\x80": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    # Section 3.2.3: by code point, the emoji would follow the Hebrew letter.
    expected = ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(names))) == expected
    assert list(json.loads(canonical_json({"outer": [names, 0.5]}))["outer"][0]) == expected


def test_strings_are_escaped_as_section_3_2_2_2_demands():
    value = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028é'
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}
    escaped = "".join(short.get(code, f"\\u{code:04x}") for code in range(0x20)) + '\\"\\\\/\x7f\u2028é'
    assert canonical_json(value) == f'"{escaped}"'.encode()
    assert canonical_json({value: 1}) == f'{{"{escaped}":1}}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        2.0**53,
        -(2.0**53),
        999999999999999900000.0,
        "\ud800",
        {"\udfff": 1},
        {"\udfff": 0.5},
        {"a": ["\ud800", 0.5]},
        {1: "a"},
        {Colour.RED: 1},
        Number.ONE,
        Text("a"),
        [Text("a"), 0.5],
        b"bytes",
        Decimal(1),
        {1, 2},
        object(),
        [0.5, {"deep": float("nan")}],
    ],
)
def test_other_values_are_refused(value):
    with pytest.raises(NotCanonical):
        canonical_json(value)


def test_every_item_is_checked_also_after_a_float():
    with pytest.raises(NotCanonical):
        canonical_json([0.5, MAX_INTEGER + 1])


def test_depth_is_bounded():
    assert read_canonical(canonical_json(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 500, 5_000):
        with pytest.raises(NotCanonical):
            canonical_json(nested(depth))
        with pytest.raises(NotCanonical):
            read_canonical(b"[" * depth + b"1" + b"]" * depth)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" 1",
        b"1 ",
        b"1.0",
        b"-0",
        b"1e2",
        b"1E2",
        b"01",
        b"9007199254740992",
        b"1e400",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'"\\u00e9"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf1",
        b"NaN",
        b"[1,]",
        b"'a'",
    ],
)
def test_only_the_canonical_form_is_read(raw):
    with pytest.raises(NotCanonical):
        read_canonical(raw)


def test_an_enum_is_its_text():
    assert canonical_json([Colour.RED]) == canonical_json(["rød"])
    assert canonical_json([Colour.RED, 0.5]) == canonical_json(["rød", 0.5])


def test_canonical_is_deterministic_across_processes():
    program = (
        "from caio.foundation.canonical import canonical_json as c;"
        "print(c({name: {name: 0.1} for name in {'b', 'a', 'é', 'z', 'q'}}).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
