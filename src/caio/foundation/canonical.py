"""Canonical JSON: one byte string for one value, so that hashes and signatures mean something.

Theory of operation
-------------------
The form is RFC 8785 (JSON Canonicalization Scheme): any library of that name is a second
implementation. Numbers whose text is an integer beyond 2**53 - 1 are refused, because JSON readers
disagree on them: floats from there up to 1e21 too, which RFC 8785 prints without an exponent. Exact
quantities and money travel as decimal strings (see ``quantity``); floats occur only in free-form
parts, such as a tenant's own JSON Schema.

The fast path is msgspec's sorted encoder, whose bytes are already canonical when a value holds
no float and the output is ASCII; everything else takes the slow, obvious path. A document whose members
are known beforehand is a ``Form``: they are declared in canonical order, so that nothing is sorted or looked at.

Laws (each has a test of the same name)
---------------------------------------
- canonical_is_deterministic: key order and container type do not change the bytes.
- canonical_round_trips: reading the bytes gives the value back.
- other_values_are_refused: NaN, infinities, huge integers, lone surrogates and other types.
- depth_is_bounded: what nests deeper than MAX_DEPTH is refused, never a stack overflow.
- floats_print_as_ecmascript_does: RFC 8785 section 3.2.2.3 and its appendix B.
- keys_sort_by_utf16: as RFC 8785 section 3.2.3 demands, also beyond the basic plane.
- a_form_is_canonical: its bytes are those of the document with the same members.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

import msgspec

MAX_INTEGER = 2**53 - 1

#: From here on ECMAScript prints numbers with an exponent, so that every reader takes a float.
_EXPONENT_FROM = 1e21

#: Levels of nesting that have a canonical form: far above any document of ours, and far below the
#: interpreter's own limit, which would otherwise depend on who calls.
MAX_DEPTH = 100

_encoder = msgspec.json.Encoder(order="sorted")
_in_order = msgspec.json.Encoder()


class NotCanonical(ValueError):
    """A value has no canonical form: always a mistake of the calling code, not of a caller's input."""


class Form(msgspec.Struct, frozen=True, gc=False):
    """A document of known members, which its fields name in canonical order (TypeError where they do not).

    A member is text, a truth value, an integer, None, a list or form of these, a dict of them whose keys are in
    canonical order, or ``msgspec.Raw`` canonical bytes; one that is ``msgspec.UNSET`` is left out. Nothing of it
    is checked, but for integers that are given to ``exact``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        names = list(cls.__annotations__)
        if names != sorted(names) or not "".join(names).isascii():
            raise TypeError(f"the fields of {cls.__name__} are not in canonical order")

    def canonical(self) -> bytes:
        """The canonical bytes; raises NotCanonical for a lone surrogate."""
        try:
            return _in_order.encode(self)
        except UnicodeEncodeError as error:
            raise NotCanonical("a string holds a lone surrogate") from error


def exact(*numbers: int) -> None:
    """Raises NotCanonical when one of the natural ``numbers`` has no canonical form."""
    if max(numbers) > MAX_INTEGER:
        raise NotCanonical("an integer beyond 2**53 - 1 must travel as a string")


def canonical_json(value: Any) -> bytes:
    """The canonical UTF-8 bytes of ``value``; raises NotCanonical when it has none."""
    has_floats = _check(value, MAX_DEPTH)
    try:
        if not has_floats and (encoded := _encoder.encode(value)).isascii():
            # Code-point order and UTF-16 order agree on ASCII.
            return encoded
        return _write(value).encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("a string holds a lone surrogate") from error


def canonical_plain(value: Any) -> bytes:
    """``canonical_json`` of a value that is known to be plain, without looking: str, bool, None, integers
    within MAX_INTEGER, and lists and dicts of these with str as keys. Of anything else the bytes may
    not be canonical. Raises NotCanonical for a lone surrogate.
    """
    try:
        encoded = _encoder.encode(value)
        return encoded if encoded.isascii() else _write(value).encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("a string holds a lone surrogate") from error


def read_canonical(raw: bytes) -> Any:
    """The value of ``raw``, which must be in canonical form; raises NotCanonical otherwise."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotCanonical(f"not JSON: {error}") from error
    if canonical_json(value) != raw:
        raise NotCanonical("the bytes are JSON but not in canonical form")
    return value


def _check(value: Any, depth: int) -> bool:
    """Whether ``value`` holds a float; raises NotCanonical for what JSON cannot hold exactly."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return False
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise NotCanonical("an integer beyond 2**53 - 1 must travel as a string")
        return False
    if kind is float:
        if not isfinite(value):
            raise NotCanonical("NaN and infinities have no JSON form")
        if MAX_INTEGER < abs(value) < _EXPONENT_FROM:
            raise NotCanonical("a number from 2**53 up to 1e21 must travel as a string")
        return True
    if kind is dict or kind is list or kind is tuple:
        if not depth:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels")
        if kind is dict and any(type(key) is not str for key in value):
            raise NotCanonical("object keys must be strings")
        floats = False
        for item in value.values() if kind is dict else value:
            # Text is most of what there is; not recursing for it halves the time of the whole.
            if type(item) is not str and _check(item, depth - 1):
                floats = True
        return floats
    if isinstance(value, str) and isinstance(value, Enum):  # a StrEnum
        return False
    raise NotCanonical(f"{kind.__name__} has no canonical JSON form")


def _write(value: Any) -> str:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_write(key)}:{_write(item)}" for key, item in ordered) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_write, value)) + "]"
    if type(value) is float:
        return _ecmascript(value)
    return _encoder.encode(value).decode()


def _ecmascript(number: float) -> str:
    """``Number.prototype.toString`` of ECMA-262: Python's shortest digits, laid out its way."""
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - finite, as checked before
    point = len(digits) + exponent
    text = "".join(map(str, digits)).rstrip("0")
    if 0 < point <= 21:
        body = text.ljust(point, "0") if point >= len(text) else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = f"0.{'0' * -point}{text}"
    else:
        mantissa = text if len(text) == 1 else f"{text[0]}.{text[1:]}"
        body = f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"-{body}" if sign else body
