"""Comparisons of sums and products of doubles, for all services at once.

Arithmetic on contract fields seldom meets the same operands twice, so that evaluating it once for each
combination of values saves nothing. Doubles are IEEE 754 in the compiler and in numpy alike, and to the
bit: one operation here is one operation there, in the same order. Ints are left to the compiler, for
theirs may overflow, and their comparison with doubles is exact only outside of an array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import numpy as np

from caio.routing.expressions.columns import Doubles, ServiceColumns
from caio.routing.expressions.syntax import Binary, Literal, Negate, Node, Operator, names_of

#: The values, of any number where there is an error, and where those are. None unless all operands are doubles.
Vector = Callable[[ServiceColumns], Doubles | None]

_ARITHMETIC: Mapping[Operator, Callable[..., np.ndarray]] = {
    Operator.ADD: np.add,
    Operator.SUBTRACT: np.subtract,
    Operator.MULTIPLY: np.multiply,
    Operator.DIVIDE: np.divide,
}
_COMPARISONS: Mapping[Operator, Callable[..., np.ndarray]] = {
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
}


def compile_comparison(node: Node) -> Vector | None:
    """A comparison of what is made of fields of ``service`` and literal doubles; None for other nodes.

    The values of the vector are bools; those with an error mean nothing.
    """
    if isinstance(node, Binary) and node.operator in _COMPARISONS:
        return _binary(_COMPARISONS[node.operator], node)
    return None


def _vector(node: Node) -> Vector | None:
    match node:
        case Literal(value=float(value)):
            return lambda services: (np.full(len(services), value), np.zeros(len(services), np.bool_))
        case Negate(operand=operand) if (vector := _vector(operand)) is not None:
            return _negated(vector)
        case Binary(operator=operation) if operation in _ARITHMETIC:
            return _binary(_ARITHMETIC[operation], node)
    names = names_of(node)
    if names is None or names[0] != "service":
        return None
    return lambda services: services.doubles(names[1:])


def _negated(vector: Vector) -> Vector:
    def negated(services: ServiceColumns) -> Doubles | None:
        found = vector(services)
        return None if found is None else (-found[0], found[1])

    return negated


def _binary(apply: Callable[..., np.ndarray], node: Binary) -> Vector | None:
    left, right = _vector(node.left), _vector(node.right)
    if left is None or right is None:
        return None

    def binary(services: ServiceColumns) -> Doubles | None:
        one, other = left(services), right(services)
        if one is None or other is None:
            return None
        with np.errstate(all="ignore"):
            return apply(one[0], other[0]), one[1] | other[1]

    return binary
