"""Source text to tokens, with CEL's lexis minus what the README leaves out.

Numbers and strings are already values here. Each pattern matches in time linear in its input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from math import isinf

from caio.routing.expressions.errors import MAX_SOURCE_BYTES, fault_at


class Kind(StrEnum):
    INT = "an integer"
    DOUBLE = "a number"
    STRING = "a string"
    NAME = "a name"
    SYMBOL = "a symbol"
    END = "the end of the expression"


@dataclass(frozen=True, slots=True)
class Token:
    """``number`` and ``string`` are a literal's value; a number's minus is a token of its own."""

    kind: Kind
    offset: int
    text: str
    number: int | float = 0
    string: str = ""


_TOKEN = re.compile(
    r"""
      (?P<blank>  [\t\n\f\r\ ]+ | //[^\n]* )
    | (?P<double> (?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
    | (?P<int>    0x[0-9a-fA-F]+ | [0-9]+ )
    | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<string> "(?:[^"\\\r\n]|\\[^\r\n])*" | '(?:[^'\\\r\n]|\\[^\r\n])*' )
    | (?P<symbol> && | \|\| | [<>=!]= | [-+*/%<>!?:.,()\[\]] )
    """,
    re.VERBOSE,
)

_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv?\"'`\\])"
    r"|[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2}))"
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_STRAY = {
    "{": "map and message literals are left out of this language",
    "`": "quoted field names are left out of this language; use an index, as in a['name']",
    "=": "a single '=' is no operator; equality is '=='",
    "&": "a single '&' is no operator; conjunction is '&&'",
    "|": "a single '|' is no operator; disjunction is '||'",
    '"': "the string is not closed on its line",
    "'": "the string is not closed on its line",
}


def tokenize(source: str) -> list[Token]:
    """All tokens, the last of kind END. Raises ExpressionError for text that is no token."""
    _refuse_unusable(source)
    tokens: list[Token] = []
    offset = 0
    while offset < len(source):
        match = _TOKEN.match(source, offset)
        if match is None:
            character = source[offset]
            raise fault_at(source, offset, _STRAY.get(character, f"unexpected character {character!r}"))
        if match.lastgroup != "blank":
            tokens.append(_token(source, match))
        offset = match.end()
    tokens.append(Token(Kind.END, offset, ""))
    return tokens


def _refuse_unusable(source: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise fault_at(source, error.start, "the text holds half of a surrogate pair, which is no character") from None
    if size > MAX_SOURCE_BYTES:
        raise fault_at(source, 0, f"the expression has {size} bytes; the limit is {MAX_SOURCE_BYTES}")


def _token(source: str, match: re.Match[str]) -> Token:
    text, offset, next_character = match.group(), match.start(), source[match.end() : match.end() + 1]
    match match.lastgroup:
        case "double":
            value = float(text)
            if isinf(value):
                raise fault_at(source, offset, "the number is too large for a double")
            return Token(Kind.DOUBLE, offset, text, value)
        case "int":
            if next_character and next_character in "uU":
                raise fault_at(source, offset, "unsigned integers are left out of this language")
            return Token(Kind.INT, offset, text, _magnitude(source, offset, text))
        case "string":
            if next_character == text[0] and len(text) == 2:
                raise fault_at(source, offset, "triple-quoted strings are left out of this language")
            return Token(Kind.STRING, offset, text, string=_unescape(source, offset, text))
        case "name":
            if next_character and next_character in "\"'" and text.lower() in {"r", "b", "br", "rb"}:
                raise fault_at(source, offset, "raw strings and bytes are left out of this language")
            return Token(Kind.NAME, offset, text)
        case _:
            return Token(Kind.SYMBOL, offset, text)


def _magnitude(source: str, offset: int, text: str) -> int:
    """At most 2**63, which only a minus in front makes valid; the parser decides that."""
    if text.startswith("0x"):
        value = int(text, 16)
    else:
        digits = text.lstrip("0")
        value = int(digits or "0") if len(digits) <= 19 else 2**64
    if value > 2**63:
        raise fault_at(source, offset, "the integer does not fit 64 bits")
    return value


def _unescape(source: str, offset: int, text: str) -> str:
    characters: list[str] = []
    position, end = 1, len(text) - 1
    while position < end:
        if text[position] != "\\":
            characters.append(text[position])
            position += 1
            continue
        escape = _ESCAPE.match(text, position, end)
        if escape is None:
            raise fault_at(source, offset + position, f"unknown escape '{text[position : position + 2]}'")
        characters.append(_escaped(source, offset + position, escape))
        position = escape.end()
    return "".join(characters)


def _escaped(source: str, offset: int, escape: re.Match[str]) -> str:
    if plain := escape["plain"]:
        return _PLAIN.get(plain, plain)
    digits = escape["x"] or escape["u"] or escape["U"]
    code_point = int(digits, 16) if digits else int(escape["octal"], 8)
    if 0xD800 <= code_point <= 0xDFFF or code_point > 0x10FFFF:
        raise fault_at(source, offset, f"'{escape.group()}' is no Unicode character")
    return chr(code_point)
