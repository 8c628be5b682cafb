"""From an expression's tree to a formula: which of its parts are understood, and as what.

Understood are, over one field or one list of texts: truth values, ``has``, comparisons with constants,
``in``, beginnings, ends and parts of texts, ``all`` and ``exists`` over conditions on the element
alone, and whether a list is empty. Everything else is opaque: arithmetic, two fields compared with
each other, sizes, other macros. An opaque part may be anything, as far as a proof is concerned.
"""

from __future__ import annotations

from collections.abc import Iterator

from caio.routing.analysis.formulas import (
    FALSE,
    TRUE,
    Choosing,
    Constant,
    Elements,
    Formula,
    Junction,
    Negation,
    Opaque,
    Reading,
    condition_of,
    outcome,
)
from caio.routing.analysis.values import Constants, Path, Value, is_list, is_scalar, type_at
from caio.routing.expressions import Bool, Map, String
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Function,
    Has,
    Identifier,
    ListLiteral,
    Literal,
    Macro,
    Negate,
    Node,
    Not,
    Operator,
    Or,
    children,
    names_of,
)

_EQUALITY = {Operator.EQUAL, Operator.NOT_EQUAL}
_ORDER = {Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL}
_ABOUT_TEXT = {Function.STARTS_WITH: "prefixes", Function.ENDS_WITH: "suffixes", Function.CONTAINS: "parts"}

#: ``size(l) OP n`` that ask whether ``l`` is empty, written with the size on the left; true: it is not.
_EMPTINESS = {
    (Operator.GREATER, 0): True,
    (Operator.NOT_EQUAL, 0): True,
    (Operator.GREATER_OR_EQUAL, 1): True,
    (Operator.EQUAL, 0): False,
    (Operator.LESS, 1): False,
    (Operator.LESS_OR_EQUAL, 0): False,
}


def formula_of(node: Node) -> Formula:
    match node:
        case Literal(value=True):
            return Constant(TRUE)
        case Literal(value=False):
            return Constant(FALSE)
        case Not(operand=operand):
            return Negation(formula_of(operand))
        case And(operands=operands):
            return Junction(tuple(map(formula_of, operands)), FALSE)
        case Or(operands=operands):
            return Junction(tuple(map(formula_of, operands)), TRUE)
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return Choosing(formula_of(condition), formula_of(then), formula_of(otherwise))
    return _reading(node) or _elements(node) or _opaque(node)


def _reading(node: Node) -> Formula | None:
    """An atom over the value, or the presence, at one path."""
    match node:
        case Has(operand=operand, field=field):
            owner = names_of(operand)
            return None if owner is None or type_at((*owner, field)) is None else _read(node, (*owner, field))
        case Binary(operator=Operator.IN, left=Literal(value=str(key)), right=right) if _is_map(names_of(right)):
            return _read(node, (*(names_of(right) or ()), key))
        case Binary(operator=Operator.IN, left=left, right=ListLiteral(items=items)):
            path, stated = names_of(left), [_constant(item) for item in items]
            if path is None or not is_scalar(path) or None in stated:
                return None
            return _read(node, path, Constants(equal={each for each in stated if each is not None}))
        case Binary(operator=operator, left=left, right=right) if operator in _EQUALITY | _ORDER:
            path, value = names_of(left), _constant(right)
            if path is None:
                path, value = names_of(right), _constant(left)
            if path is None or value is None or not is_scalar(path) or (operator in _ORDER and isinstance(value, str)):
                return None
            return _read(node, path, Constants(equal={value}))
        case Call(function=function, arguments=(receiver, Literal(value=str(text)))) if function in _ABOUT_TEXT:
            path = names_of(receiver)
            about = Constants()
            getattr(about, _ABOUT_TEXT[function]).add(text)
            return None if path is None or type_at(path) != String else _read(node, path, about)
    path = names_of(node)
    return None if path is None or type_at(path) != Bool else _read(node, path)


def _read(node: Node, path: Path, constants: Constants | None = None) -> Reading:
    return Reading(node, path, constants or Constants())


def _is_map(path: Path | None) -> bool:
    return path is not None and isinstance(type_at(path), Map)


def _constant(node: Node) -> Value | None:
    match node:
        case Literal(value=value):
            return value
        case Negate(operand=Literal(value=int(value) | float(value))) if not isinstance(value, bool):
            return -value
    return None


def _elements(node: Node) -> Formula | None:
    """An atom over the elements of a list of texts."""
    match node:
        case Binary(operator=Operator.IN, left=Literal(value=str(text)), right=right) if _is_list(names_of(right)):
            own = Identifier(0, "element")
            equals = Binary(0, Operator.EQUAL, own, Literal(0, text))
            return Elements(condition_of(equals), "element", names_of(right) or (), Constants(equal={text}), TRUE)
        case Comprehension(macro=(Macro.ALL | Macro.EXISTS) as macro, domain=domain, variable=variable, body=body):
            path, constants = names_of(domain), _about_element(body, variable)
            if not _is_list(path) or constants is None:
                return None
            absorbing = FALSE if macro is Macro.ALL else TRUE
            return Elements(condition_of(body), variable, path or (), constants, absorbing)
        case Binary(operator=operator, left=Call(function=Function.SIZE, arguments=(listed,)), right=Literal(value=n)):
            if not _is_list(names_of(listed)) or type(n) is not int or (operator, n) not in _EMPTINESS:
                return None
            some = Elements(condition_of(Literal(0, True)), "element", names_of(listed) or (), Constants(), TRUE)
            return some if _EMPTINESS[operator, n] else Negation(some)
    return None


def _is_list(path: Path | None) -> bool:
    return path is not None and is_list(path)


def _about_element(body: Node, variable: str) -> Constants | None:
    """The constants that a condition compares the element with; None for any other condition."""
    found = Constants()
    match body:
        case Literal(value=bool()):
            return found
        case Not(operand=operand):
            return _about_element(operand, variable)
        case And(operands=operands) | Or(operands=operands):
            for operand in operands:
                constants = _about_element(operand, variable)
                if constants is None:
                    return None
                found.add(constants)
            return found
        case Binary(operator=Operator.IN, left=Identifier(name=name), right=ListLiteral(items=items)):
            stated = [_constant(item) for item in items]
            found.equal = {each for each in stated if each is not None}
            return found if name == variable and None not in stated else None
        case Binary(operator=Operator.EQUAL | Operator.NOT_EQUAL, left=left, right=right):
            one, other = (left, right) if isinstance(left, Identifier) else (right, left)
            if not isinstance(one, Identifier) or one.name != variable or not isinstance(other, Literal):
                return None
            found.equal = {other.value} if isinstance(other.value, str) else set()
            return found
        case Call(function=function, arguments=(Identifier(name=name), Literal(value=str(text)))):
            if name != variable or function not in _ABOUT_TEXT:
                return None
            getattr(found, _ABOUT_TEXT[function]).add(text)
            return found
    return None


def _opaque(node: Node) -> Formula:
    if not any(isinstance(each, Identifier) for each in _nodes(node)):
        return Constant(outcome(condition_of(node), {}))
    constants = Constants()
    for each in _nodes(node):
        if isinstance(each, Literal) and each.value is not None:
            constants.equal |= _near(each.value)
    paths = dict.fromkeys(path for path in _paths(node, frozenset()) if type_at(path) is not None)
    return Opaque(tuple(paths), constants)


def _near(value: Value) -> set[Value]:
    """Values worth a try where ``value`` is computed with."""
    if isinstance(value, str):
        return {value, f"{value}-x", f"x-{value}"}
    # Not a bool: true equals 1, and a set would keep only one of them.
    return set() if isinstance(value, bool) else {value, value * 2, value / 2, value * 10}


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _nodes(child)


def _paths(node: Node, bound: frozenset[str]) -> Iterator[Path]:
    match node:
        case Has(operand=operand, field=field):
            names = names_of(operand)
            if names is not None and names[0] not in bound:
                yield (*names, field)
                return
        case Comprehension(domain=domain, variable=variable, body=body):
            yield from _paths(domain, bound)
            yield from _paths(body, bound | {variable})
            return
    path = names_of(node)
    if path is None:
        for child in children(node):
            yield from _paths(child, bound)
    elif path[0] not in bound:
        yield path
