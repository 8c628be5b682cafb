"""The syntax tree of an expression: frozen nodes, each with the place it came from.

The tree is all that the compiler and the interpreter share. What parses is already well-formed:
functions exist and have their arguments, macros are their own node, operators are members of an
enumeration. ``offset`` counts code points from the start of the source: of an operator for binary
nodes, of the name for selections, calls and macros, of the first character otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, StrEnum


class Operator(StrEnum):
    """Strict binary operators: both sides are evaluated, and an error on either side is the result."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    REMAINDER = "%"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    EQUAL = "=="
    NOT_EQUAL = "!="
    IN = "in"


class Function(StrEnum):
    """Functions; a member call ``x.f(y)`` is the call ``f(x, y)``."""

    SIZE = "size"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    STARTS_WITH = "startsWith"
    ENDS_WITH = "endsWith"
    CONTAINS = "contains"


class Macro(StrEnum):
    """Walks over a list, with a variable for its elements."""

    ALL = "all"
    EXISTS = "exists"
    EXISTS_ONE = "exists_one"
    FILTER = "filter"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Literal:
    offset: int
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class ListLiteral:
    offset: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Identifier:
    offset: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``"""

    offset: int
    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Has:
    """``has(operand.field)``"""

    offset: int
    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """``operand[key]``"""

    offset: int
    operand: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Not:
    offset: int
    operand: Node


@dataclass(frozen=True, slots=True)
class Negate:
    offset: int
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    offset: int
    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class And:
    """``a && b && c``, flat: the operator is associative, also in what it does with errors."""

    offset: int
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """``a || b || c``, flat."""

    offset: int
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """``condition ? then : otherwise``"""

    offset: int
    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Call:
    offset: int
    function: Function
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """``domain.macro(variable, body)``"""

    offset: int
    macro: Macro
    domain: Node
    variable: str
    body: Node


Node = (
    Literal
    | ListLiteral
    | Identifier
    | Select
    | Has
    | Index
    | Not
    | Negate
    | Binary
    | And
    | Or
    | Conditional
    | Call
    | Comprehension
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression and the source it came from."""

    source: str
    root: Node


def children(node: Node) -> tuple[Node, ...]:
    """The direct sub-expressions, from left to right."""
    match node:
        case Literal() | Identifier():
            return ()
        case ListLiteral(items=nodes) | And(operands=nodes) | Or(operands=nodes) | Call(arguments=nodes):
            return nodes
        case Select(operand=operand) | Has(operand=operand) | Not(operand=operand) | Negate(operand=operand):
            return (operand,)
        case Index(operand=operand, key=key):
            return (operand, key)
        case Binary(left=left, right=right):
            return (left, right)
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case Comprehension(domain=domain, body=body):
            return (domain, body)


def fields_of(expression: Expression) -> frozenset[str]:
    """The dotted paths that the expression may read, each as long as the source spells it.

    ``service.cost.per_request`` for a selection or a ``has``, ``service`` for the bare variable. A path
    ends at an index or a call, and a macro's own variable is not a path.
    """
    paths: set[str] = set()
    pending: list[tuple[Node, frozenset[str]]] = [(expression.root, frozenset())]
    while pending:
        node, bound = pending.pop()
        path = _path(node)
        if path is not None:
            if path[0] not in bound:
                paths.add(".".join(path))
        elif isinstance(node, Comprehension):
            pending += [(node.domain, bound), (node.body, bound | {node.variable})]
        else:
            pending += [(child, bound) for child in children(node)]
    return frozenset(paths)


def _path(node: Node) -> list[str] | None:
    """The names of ``a.b.c``, or None if the node is anything else."""
    names: list[str] = []
    while isinstance(node, Select | Has):
        names.append(node.field)
        node = node.operand
    if not isinstance(node, Identifier):
        return None
    return [node.name, *reversed(names)]


def names_of(node: Node) -> tuple[str, ...] | None:
    """The names of ``a.b.c``, also written ``a.b["c"]``; None for any other node.

    The two have the same value and fail together, though with different messages.
    """
    names: list[str] = []
    while True:
        match node:
            case Identifier(name=name):
                return (name, *reversed(names))
            case Select(operand=operand, field=field) | Index(operand=operand, key=Literal(value=str(field))):
                names.append(field)
                node = operand
            case _:
                return None


def shape_of(node: Node) -> Hashable:
    """Equal for nodes that differ at most in where they were written: ``1``, ``1.0`` and ``true`` differ."""
    return (type(node), *(_shape(getattr(node, name)) for name in node.__slots__ if name != "offset"))


def _shape(part: object) -> Hashable:
    if isinstance(part, tuple):
        return tuple(_shape(one) for one in part)
    if isinstance(part, Node):
        return shape_of(part)
    return part if isinstance(part, str | Enum) else (type(part), repr(part))
