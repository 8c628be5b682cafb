"""The conjuncts of a condition: what they are, and the shapes that are answered many at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from caio.routing.expressions.compiler import Evaluate, compile_node
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Function,
    ListLiteral,
    Literal,
    Node,
    Operator,
    children,
    names_of,
)

#: Comparisons, each with the one that says the same the other way round.
_TURNED = {
    Operator.LESS: Operator.GREATER,
    Operator.LESS_OR_EQUAL: Operator.GREATER_OR_EQUAL,
    Operator.GREATER: Operator.LESS,
    Operator.GREATER_OR_EQUAL: Operator.LESS_OR_EQUAL,
}


def conjuncts_of(node: Node) -> Iterable[Node]:
    """What must all be true, without the literal ``true``."""
    if isinstance(node, And):
        for operand in node.operands:
            yield from conjuncts_of(operand)
    elif not (isinstance(node, Literal) and node.value is True):
        yield node


def equality_of(node: Node) -> tuple[tuple[str, ...], Sequence[object]] | None:
    """The path and literals of ``path == literal`` (either way round) or ``path in [literal, …]``."""
    match node:
        case Binary(operator=Operator.EQUAL, left=side, right=Literal(value=value)):
            literals: Sequence[object] = (value,)
        case Binary(operator=Operator.EQUAL, left=Literal(value=value), right=side):
            literals = (value,)
        case Binary(operator=Operator.IN, left=side, right=ListLiteral(items=items)) if items:
            literals = [item.value for item in items if isinstance(item, Literal)]
            if len(literals) < len(items):
                return None
        case _:
            return None
    path = names_of(side)
    return None if path is None else (path, literals)


def order_of(node: Node) -> tuple[tuple[str, ...], Operator, int | float] | None:
    """The path, comparison and number of ``path < number``; ``number < path`` is ``path > number``."""
    match node:
        case Binary(operator=operation, left=side, right=Literal(value=value)) if operation in _TURNED:
            pass
        case Binary(operator=turned, left=Literal(value=value), right=side) if turned in _TURNED:
            operation = _TURNED[turned]
        case _:
            return None
    path = names_of(side)
    if path is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return path, operation, value


def membership_of(node: Node) -> tuple[tuple[str, ...], str] | None:
    """The path and text of ``"text" in path``."""
    match node:
        case Binary(operator=Operator.IN, left=Literal(value=str(text)), right=side):
            path = names_of(side)
            return None if path is None else (path, text)
    return None


def reading_of(node: Node) -> Evaluate:
    """The closure of the path's side of an equality or a membership."""
    left, right = children(node)
    return compile_node(right if names_of(left) is None else left)


def key_of(value: object) -> Hashable:
    """Equal where CEL's ``==`` is: numbers across int and double, and a bool never a number."""
    return ("bool", value) if value is True or value is False else value


#: What spends no step, whatever its operands.
_FREE_OPERATORS = frozenset(
    {
        Operator.SUBTRACT,
        Operator.MULTIPLY,
        Operator.DIVIDE,
        Operator.REMAINDER,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
    }
)
_FREE_FUNCTIONS = frozenset({Function.SIZE, Function.STRING, Function.STARTS_WITH, Function.ENDS_WITH})


def is_free(node: Node) -> bool:
    """Whether evaluating it spends no step, whatever the variables."""
    match node:
        case Comprehension():
            return False
        case Binary(operator=Operator.EQUAL | Operator.NOT_EQUAL, left=left, right=right):
            if not isinstance(left, Literal) and not isinstance(right, Literal):
                return False
        case Binary(operator=operation) if operation not in _FREE_OPERATORS:
            return False
        case Call(function=function) if function not in _FREE_FUNCTIONS:
            return False
    return all(map(is_free, children(node)))
