"""Exact quantities: integers of a billionth, so that comparisons agree on every machine.

A contract says ``accuracy: 0.95`` or ``p95: 800``. Both become integers of *nanos* (1e-9 of the
stated unit). The domain is |x| <= 1e9 with at most 9 decimal places, so that every quantity fits
a signed 64-bit column. What lies outside is refused at the door, never rounded.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

NANO_PLACES = 9
NANO: int = 10**NANO_PLACES
MAX_NANOS = 10**18
MAX_DIGITS = 60

_PLAIN = re.compile(r"-?\d{1,10}(\.\d{1,9})?")


class NotExact(ValueError):
    """A number lies outside the exact domain; the message says how."""


def nanos(value: Decimal | float | str) -> int:
    """``value`` as an integer of nanos; raises NotExact outside the domain above. A float stands for the shortest
    decimal that reads as it, as in the text it came from."""
    if isinstance(value, float):
        value = repr(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        # Most are plain, and their digits need no more than to be put together.
        whole, _, part = value.partition(".")
        amount = int(whole + part.ljust(9, "0"))
        if abs(amount) <= MAX_NANOS:
            return amount
    return scaled(value, places=9, most=10**9)


def scaled(value: Decimal | int | str, *, places: int, most: int) -> int:
    """``value`` times ``10 ** places`` as an integer; raises NotExact when it is not finite,
    larger in magnitude than ``most``, or has more decimal places than ``places``."""
    if isinstance(value, bool):
        raise NotExact("a truth value is not a number")
    if isinstance(value, int):
        if abs(value) > most:
            raise NotExact(f"must be at most {most} in magnitude")
        return value * _power(places)
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise NotExact("not a decimal number") from error
    if not number.is_finite():
        raise NotExact("must be a finite number")
    # copy_abs and comparison are exact; abs() would round to the context's precision.
    if number.copy_abs() > most:
        raise NotExact(f"must be at most {most} in magnitude")
    if not number:
        return 0
    # The size is bounded before any arithmetic: 1e-999999 must not become a huge integer.
    if len(number.as_tuple().digits) > MAX_DIGITS or number.adjusted() < -places:
        raise NotExact(f"may have at most {places} decimal places")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - finite, as checked above
    magnitude, shift = int("".join(map(str, digits))), exponent + places
    if shift < 0:
        magnitude, rest = divmod(magnitude, _power(-shift))
        if rest:
            raise NotExact(f"may have at most {places} decimal places")
    else:
        magnitude *= _power(shift)
    return -magnitude if sign else magnitude


def decimal_text(amount: int, places: int = NANO_PLACES) -> str:
    """The shortest plain decimal of ``amount`` units of ``10 ** -places``: ``0.95``, ``800``, ``-1.5``."""
    if amount < 0:
        return f"-{decimal_text(-amount, places)}"
    whole, part = divmod(amount, NANO if places == NANO_PLACES else _power(places))
    return f"{whole}.{part:0{places}d}".rstrip("0") if part else str(whole)


def _power(places: int) -> int:
    return int(10**places)


def read_nanos(text: str) -> int:
    """The inverse of ``decimal_text``; raises NotExact unless ``text`` is its own shortest form."""
    if not _PLAIN.fullmatch(text) or decimal_text(value := nanos(text)) != text:
        raise NotExact(f"{text!r} is not a plain decimal in shortest form")
    return value
