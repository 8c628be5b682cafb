"""The types that expressions are checked against before they are saved.

A ``Schema`` gives each variable a type. Every field of a record may be absent at run time, which the
types do not track: ``has`` asks, and reading an absent field is an evaluation error. ``Dyn`` is a value
whose type is known only at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scalar:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class List:
    element: Type

    def __str__(self) -> str:
        return f"list({self.element})"


@dataclass(frozen=True, slots=True)
class Map:
    """Any string keys, all values of one type."""

    value: Type

    def __str__(self) -> str:
        return f"map(string, {self.value})"


@dataclass(frozen=True, slots=True)
class Record:
    """Known field names, each with its own type."""

    fields: Mapping[str, Type]

    def __str__(self) -> str:
        return "record"


Type = Scalar | List | Map | Record
Schema = Mapping[str, Type]

Bool: Final = Scalar("bool")
Int: Final = Scalar("int")
Double: Final = Scalar("double")
String: Final = Scalar("string")
Null: Final = Scalar("null")
Dyn: Final = Scalar("dyn")

NUMBERS: Final = (Int, Double)


def comparable(left: Type, right: Type) -> bool:
    """Whether ``left == right`` can be true. Numbers compare across int and double; null is only null."""
    if Dyn in {_shape(left), _shape(right)}:
        return True
    if isinstance(left, List) and isinstance(right, List):
        return comparable(left.element, right.element)
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return left == right or (left in NUMBERS and right in NUMBERS)
    return isinstance(left, Map | Record) and isinstance(right, Map | Record)


def ordered(left: Type, right: Type) -> bool:
    """Whether ``left < right`` has a value: two numbers, two strings or two bools."""
    if not all(isinstance(side, Scalar) and side != Null for side in (left, right)):
        return False
    return comparable(left, right)


def joined(left: Type, right: Type) -> Type | None:
    """The type of a value that is one or the other; None if no one type covers both."""
    if left == right:
        return left
    if Dyn in {_shape(left), _shape(right)}:
        return Dyn
    if isinstance(left, List) and isinstance(right, List):
        element = joined(left.element, right.element)
        return None if element is None else List(element)
    return None


def _shape(of: Type) -> Scalar | None:
    """The scalar itself, or None: records hold mappings, which do not hash."""
    return of if isinstance(of, Scalar) else None
