"""What the compiled operators and functions do with values: CEL's semantics on plain Python.

Only the compiler uses this module; the interpreter has its own account of the same semantics, and a
test compares the two. Every function raises EvaluationError where CEL has no value.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from math import copysign, isfinite, isinf, isnan, nan

from caio.routing.expressions.errors import (
    CODE_POINTS_PER_STEP,
    INT_MAX,
    INT_MIN,
    MAX_DEPTH,
    MAX_STEPS,
    EvaluationError,
)
from caio.routing.expressions.syntax import Function, Operator


class Exhausted(Exception):
    """No steps are left. Not an EvaluationError, so that no ``||`` can absorb it."""


class Steps:
    """What one evaluation may still spend."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Exhausted


#: Values of one kind can be equal. By exact type: a bool is an int to Python, and not to CEL.
KINDS: Mapping[type, str] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    type(None): "null",
    list: "list",
    tuple: "list",
    dict: "map",
}
#: The kinds whose values have an order.
ORDERED = frozenset({"bool", "number", "string"})


def name_of(value: object) -> str:
    """The CEL name of the value's type."""
    if type(value) is int:
        return "int"
    return "double" if type(value) is float else KINDS.get(type(value), f"unknown ({type(value).__name__})")


def no_overload(what: str, *values: object) -> EvaluationError:
    return EvaluationError(f"no such overload: {what} of {', '.join(map(name_of, values))}")


# comparison -----------------------------------------------------------------------------------------

ORDER: Mapping[Operator, Callable[..., bool]] = {
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}


def equal(left: object, right: object, steps: Steps, depth: int = 0) -> bool:
    """Numbers across int and double, lists and maps by their elements; false between kinds.

    Never Python's own list or dict equality, which calls a NaN equal to itself and 1 equal to True.
    """
    kind, other = KINDS.get(type(left)), KINDS.get(type(right))
    if kind is None or other is None:
        raise no_overload("==", left, right)
    if kind is not other:
        return False
    if kind == "list":
        return _equal_lists(left, right, steps, depth)  # type: ignore[arg-type]
    if kind == "map":
        return _equal_maps(left, right, steps, depth)  # type: ignore[arg-type]
    return left == right


def _equal_lists(left: Sequence[object], right: Sequence[object], steps: Steps, depth: int) -> bool:
    _descend(depth)
    if len(left) != len(right):
        return False
    steps.spend(len(left))
    return all(equal(one, other, steps, depth + 1) for one, other in zip(left, right, strict=True))


def _equal_maps(left: dict[object, object], right: dict[object, object], steps: Steps, depth: int) -> bool:
    _descend(depth)
    if len(left) != len(right):
        return False
    steps.spend(len(left))
    return all(key in right and equal(value, right[key], steps, depth + 1) for key, value in left.items())


def _descend(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise EvaluationError(f"values nested deeper than {MAX_DEPTH} levels cannot be compared")


def holds(value: object, container: object, steps: Steps) -> bool:
    """``value in container``"""
    if type(container) is list or type(container) is tuple:
        steps.spend(len(container))
        for one in container:
            if type(one) is str and type(value) is str:
                if one == value:
                    return True
            elif equal(value, one, steps):
                return True
        return False
    if type(container) is dict and KINDS.get(type(value)) in ORDERED:
        return type(value) is str and value in container
    raise no_overload("in", value, container)


def element(container: object, key: object) -> object:
    """``container[key]``; a double that is a whole number is an index, too."""
    if type(container) is dict:
        if type(key) is str and key in container:
            return container[key]
        raise EvaluationError("the map has no such key")
    if type(key) is float and key.is_integer():
        key = int(key)
    if (type(container) is not list and type(container) is not tuple) or type(key) is not int:
        raise no_overload("[]", container, key)
    if not 0 <= key < len(container):
        raise EvaluationError(f"index {key} is outside a list of {len(container)}")
    return container[key]


# arithmetic -----------------------------------------------------------------------------------------


def _fitting(result: int) -> int:
    if INT_MIN <= result <= INT_MAX:
        return result
    raise EvaluationError("the integer overflows 64 bits")


def negative(value: object) -> object:
    if type(value) is int:
        return _fitting(-value)
    if type(value) is float:
        return -value
    raise no_overload("-", value)


def _add(left: object, right: object, steps: Steps) -> object:
    if type(left) is str and type(right) is str:
        joined = left + right
        steps.spend(len(joined) // CODE_POINTS_PER_STEP)
        return joined
    if type(left) in {list, tuple} and type(right) in {list, tuple}:
        steps.spend(len(left) + len(right))  # type: ignore[arg-type]
        return [*left, *right]  # type: ignore[misc]
    if type(left) is int and type(right) is int:
        return _fitting(left + right)
    if type(left) is float and type(right) is float:
        return left + right
    raise no_overload("+", left, right)


def _subtract(left: object, right: object, steps: Steps) -> object:
    if type(left) is int and type(right) is int:
        return _fitting(left - right)
    if type(left) is float and type(right) is float:
        return left - right
    raise no_overload("-", left, right)


def _multiply(left: object, right: object, steps: Steps) -> object:
    if type(left) is int and type(right) is int:
        return _fitting(left * right)
    if type(left) is float and type(right) is float:
        return left * right
    raise no_overload("*", left, right)


def _divide(left: object, right: object, steps: Steps) -> object:
    """Truncated for ints; IEEE 754 for doubles, where Python would raise at zero."""
    if type(left) is int and type(right) is int:
        if right == 0:
            raise EvaluationError("division by zero")
        quotient = abs(left) // abs(right)
        return _fitting(quotient if (left < 0) is (right < 0) else -quotient)
    if type(left) is float and type(right) is float:
        if right != 0.0:
            return left / right
        return nan if left == 0.0 or isnan(left) else copysign(1.0, left) * copysign(float("inf"), right)
    raise no_overload("/", left, right)


def _remainder(left: object, right: object, steps: Steps) -> object:
    """With the sign of the dividend."""
    if type(left) is int and type(right) is int:
        if right == 0:
            raise EvaluationError("remainder of a division by zero")
        if left == INT_MIN and right == -1:
            raise EvaluationError("the integer overflows 64 bits")
        remainder = abs(left) % abs(right)
        return -remainder if left < 0 else remainder
    raise no_overload("%", left, right)


ARITHMETIC: Mapping[Operator, Callable[[object, object, Steps], object]] = {
    Operator.ADD: _add,
    Operator.SUBTRACT: _subtract,
    Operator.MULTIPLY: _multiply,
    Operator.DIVIDE: _divide,
    Operator.REMAINDER: _remainder,
}


# functions ------------------------------------------------------------------------------------------

_INT_TEXT = re.compile(r"([+-]?)0*([0-9]{1,19})")
_DOUBLE_TEXT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _size(value: object, steps: Steps) -> int:
    if type(value) in {str, list, tuple, dict}:
        return len(value)  # type: ignore[arg-type]
    raise no_overload("size()", value)


def _int(value: object, steps: Steps) -> int:
    if type(value) is int:
        return _fitting(value)
    if type(value) is float:
        if isfinite(value) and -(2.0**63) < value < 2.0**63:
            return int(value)
        raise EvaluationError("the double does not fit an int")
    if type(value) is str:
        steps.spend(len(value) // CODE_POINTS_PER_STEP)
        if (match := _INT_TEXT.fullmatch(value)) is not None:
            return _fitting(int(match[1] + match[2]))
        raise EvaluationError("the text is no int")
    raise no_overload("int()", value)


def _double(value: object, steps: Steps) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(_fitting(value))
    if type(value) is str:
        steps.spend(len(value) // CODE_POINTS_PER_STEP)
        if _DOUBLE_TEXT.fullmatch(value) is not None and not isinf(number := float(value)):
            return number
        raise EvaluationError("the text is no double")
    raise no_overload("double()", value)


def _string(value: object, steps: Steps) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(_fitting(value))
    if value is True or value is False:
        return "true" if value else "false"
    raise no_overload("string()", value)


def _starts_with(value: object, prefix: object, steps: Steps) -> bool:
    if type(value) is str and type(prefix) is str:
        return value.startswith(prefix)
    raise no_overload("startsWith()", value, prefix)


def _ends_with(value: object, suffix: object, steps: Steps) -> bool:
    if type(value) is str and type(suffix) is str:
        return value.endswith(suffix)
    raise no_overload("endsWith()", value, suffix)


def _contains(value: object, part: object, steps: Steps) -> bool:
    if type(value) is str and type(part) is str:
        steps.spend(len(value) // CODE_POINTS_PER_STEP)
        return part in value
    raise no_overload("contains()", value, part)


FUNCTIONS: Mapping[Function, Callable[..., object]] = {
    Function.SIZE: _size,
    Function.INT: _int,
    Function.DOUBLE: _double,
    Function.STRING: _string,
    Function.STARTS_WITH: _starts_with,
    Function.ENDS_WITH: _ends_with,
    Function.CONTAINS: _contains,
}
