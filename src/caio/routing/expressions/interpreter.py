"""An expression by a walk over its tree: slow, obvious, and independent of the compiler.

The checker of certificates uses it, so it shares the tree and the limits with the compiler and no
code. It is written the other way round: a failure is a value, not an exception, so that each rule of
CEL on errors is visible where it applies. A value is tagged with its CEL type when it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite, isnan, nan, trunc
from re import fullmatch
from typing import Any

from caio.routing.expressions.errors import (
    CODE_POINTS_PER_STEP,
    INT_MAX,
    INT_MIN,
    MAX_DEPTH,
    MAX_STEPS,
    EvaluationError,
)
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Conditional,
    Expression,
    Function,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Macro,
    Negate,
    Node,
    Not,
    Operator,
    Or,
    Select,
    children,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of an expression that has no value."""

    message: str
    final: bool = False  # out of steps: nothing absorbs it


def interpret(expression: Expression, variables: Mapping[str, object]) -> bool:
    """The value of the expression, or EvaluationError, exactly as its compiled form has it."""
    outcome = _Interpreter().outcome(expression.root, dict(variables))
    if isinstance(outcome, Failure):
        raise EvaluationError(outcome.message)
    if not isinstance(outcome, bool):
        raise EvaluationError(f"the result is of type {type_name(outcome)}, not bool")
    return outcome


def type_name(value: object) -> str:
    """The CEL type of a plain Python value, by exact class; ``unknown`` for any other class."""
    names = {bool: "bool", int: "int", float: "double", str: "string", type(None): "null"}
    names |= {list: "list", tuple: "list", dict: "map"}
    return names.get(type(value), "unknown")


class _Interpreter:
    def __init__(self) -> None:
        self._steps = 0

    def outcome(self, node: Node, scope: dict[str, object]) -> object:
        """The value of the node, or its Failure."""
        match node:
            case Literal():
                return node.value
            case Identifier():
                return scope[node.name] if node.name in scope else Failure(f"there is no variable '{node.name}'")
            case Conditional():
                return self._conditional(node, scope)
            case And():
                return _logic((self.outcome(one, scope) for one in node.operands), decisive=False)
            case Or():
                return _logic((self.outcome(one, scope) for one in node.operands), decisive=True)
            case Comprehension():
                return self._comprehension(node, scope)
        values = []
        for child in children(node):
            value = self.outcome(child, scope)
            if isinstance(value, Failure):
                return value
            values.append(value)
        return self._applied(node, values)

    def _conditional(self, node: Conditional, scope: dict[str, object]) -> object:
        condition = self.outcome(node.condition, scope)
        if isinstance(condition, Failure):
            return condition
        if not isinstance(condition, bool):
            return _no_overload("?:", condition)
        return self.outcome(node.then if condition else node.otherwise, scope)

    def _comprehension(self, node: Comprehension, scope: dict[str, object]) -> object:
        elements: Any = self.outcome(node.domain, scope)
        if isinstance(elements, Failure):
            return elements
        if type_name(elements) != "list":
            return Failure(f"a macro walks over a list, not over {type_name(elements)}")
        results = (self._body(node, scope, element) for element in elements)
        if node.macro is Macro.ALL:
            return _logic(results, decisive=False)
        if node.macro is Macro.EXISTS:
            return _logic(results, decisive=True)
        collected = []
        for result in results:
            if isinstance(result, Failure):
                return result
            if node.macro is not Macro.MAP and not isinstance(result, bool):
                return _no_overload(node.macro, result)
            collected.append(result)
        if node.macro is Macro.EXISTS_ONE:
            return collected.count(True) == 1
        if node.macro is Macro.FILTER:
            return [element for element, kept in zip(elements, collected, strict=True) if kept]
        return collected

    def _body(self, node: Comprehension, scope: dict[str, object], element: object) -> object:
        return self._spent(1) or self.outcome(node.body, {**scope, node.variable: element})

    def _spent(self, steps: int) -> Failure | None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            return Failure(f"the evaluation takes more than {MAX_STEPS} steps", final=True)
        return None

    def _applied(self, node: Node, values: list[Any]) -> object:
        """A strict node's outcome from the values of its children."""
        match node:
            case ListLiteral():
                return values
            case Select() | Has():
                return _field(node, values[0])
            case Not():
                return not values[0] if isinstance(values[0], bool) else _no_overload("!", values[0])
            case Negate():
                return _negated(values[0])
            case Index():
                return _element(*values)
            case Call():
                return self._called(node.function, values)
            case Binary(operator=Operator.EQUAL):
                return self._equal(*values)
            case Binary(operator=Operator.NOT_EQUAL):
                equal = self._equal(*values)
                return equal if isinstance(equal, Failure) else not equal
            case Binary(operator=Operator.IN):
                return self._held(*values)
            case Binary(operator=Operator.ADD) if {type_name(value) for value in values} in ({"list"}, {"string"}):
                return self._joined(*values)
            case Binary():
                return _calculated(node.operator, *values)
        raise AssertionError(f"{type(node).__name__} is not strict")

    def _equal(self, left: Any, right: Any, depth: int = 0) -> bool | Failure:
        types = type_name(left), type_name(right)
        if "unknown" in types:
            return _no_overload("==", left, right)
        if set(types) <= {"int", "double"}:
            return bool(left == right)
        if types[0] != types[1]:
            return False
        if types[0] not in {"list", "map"}:
            return bool(left == right)
        if depth == MAX_DEPTH:
            return Failure(f"values nested deeper than {MAX_DEPTH} levels cannot be compared")
        if len(left) != len(right):
            return False
        if failure := self._spent(len(left)):
            return failure
        if types[0] == "map":
            if left.keys() != right.keys():
                return False
            pairs = [(left[key], right[key]) for key in left]
        else:
            pairs = list(zip(left, right, strict=True))
        for one, other in pairs:
            equal = self._equal(one, other, depth + 1)
            if equal is not True:
                return equal
        return True

    def _held(self, value: Any, container: Any) -> bool | Failure:
        if type_name(container) == "map" and type_name(value) in {"bool", "int", "double", "string"}:
            return type_name(value) == "string" and value in container
        if type_name(container) != "list":
            return _no_overload("in", value, container)
        if failure := self._spent(len(container)):
            return failure
        for element in container:
            equal = self._equal(value, element)
            if equal is not False:
                return equal
        return False

    def _joined(self, left: Any, right: Any) -> object:
        if type_name(left) == "string":
            return self._spent((len(left) + len(right)) // CODE_POINTS_PER_STEP) or left + right
        return self._spent(len(left) + len(right)) or [*left, *right]

    def _called(self, function: Function, values: list[Any]) -> object:
        types = [type_name(value) for value in values]
        match function:
            case Function.SIZE if types[0] in {"string", "list", "map"}:
                return len(values[0])
            case Function.STRING if types[0] in {"string", "int", "bool"}:
                return _text(values[0])
            case Function.INT | Function.DOUBLE if types[0] in {"int", "double", "string"}:
                length = len(values[0]) if types[0] == "string" else 0
                convert = _to_int if function is Function.INT else _to_double
                return self._spent(length // CODE_POINTS_PER_STEP) or convert(values[0])
            case Function.STARTS_WITH if types == ["string", "string"]:
                return bool(values[0][: len(values[1])] == values[1])
            case Function.ENDS_WITH if types == ["string", "string"]:
                return bool(values[0][max(0, len(values[0]) - len(values[1])) :] == values[1])
            case Function.CONTAINS if types == ["string", "string"]:
                return self._spent(len(values[0]) // CODE_POINTS_PER_STEP) or values[0].find(values[1]) >= 0
        return _no_overload(f"{function}()", *values)


def _logic(outcomes: Iterator[object], *, decisive: bool) -> object:
    """``||`` if true is decisive, ``&&`` if false is: one such operand decides, whatever the others are.

    Operands are looked at from the left until one decides; without one, the first failure is the outcome.
    """
    failures = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            if outcome.final:
                return outcome
            failures.append(outcome)
        elif not isinstance(outcome, bool):
            failures.append(_no_overload("&& or ||", outcome))
        elif outcome == decisive:
            return decisive
    return failures[0] if failures else not decisive


def _no_overload(what: str, *values: object) -> Failure:
    return Failure(f"no such overload: {what} of {', '.join(map(type_name, values))}")


def _field(node: Select | Has, owner: Any) -> object:
    if type_name(owner) != "map":
        return Failure(f"a {type_name(owner)} has no fields, so no '{node.field}'")
    if isinstance(node, Has):
        return node.field in owner
    return owner[node.field] if node.field in owner else Failure(f"the field '{node.field}' is absent")


def _element(container: Any, key: Any) -> object:
    match type_name(container), type_name(key):
        case "map", "string":
            return container[key] if key in container else Failure("the map has no such key")
        case "list", "int" | "double" if key in range(len(container)):
            return container[int(key)]
        case "list", "int":
            return Failure(f"index {key} is outside a list of {len(container)}")
    return _no_overload("[]", container, key)


def _negated(value: Any) -> object:
    match type_name(value):
        case "int":
            return _int64(-value)
        case "double":
            return -value
    return _no_overload("-", value)


def _int64(number: int) -> int | Failure:
    return number if INT_MIN <= number <= INT_MAX else Failure("the integer overflows 64 bits")


def _calculated(operator: Operator, left: Any, right: Any) -> object:
    """Order and arithmetic, on numbers and on strings where they have one."""
    types = {type_name(left), type_name(right)}
    if operator in {Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL}:
        if types <= {"int", "double"} or types in ({"string"}, {"bool"}):
            return _in_order(operator, left, right)
    elif types == {"int"}:
        return _int_arithmetic(operator, left, right)
    elif types == {"double"} and operator is not Operator.REMAINDER:
        return _double_arithmetic(operator, left, right)
    return _no_overload(operator, left, right)


def _in_order(operator: Operator, left: Any, right: Any) -> bool:
    if operator is Operator.LESS:
        return bool(left < right)
    if operator is Operator.LESS_OR_EQUAL:
        return bool(left < right or left == right)
    return _in_order(Operator.LESS if operator is Operator.GREATER else Operator.LESS_OR_EQUAL, right, left)


def _int_arithmetic(operator: Operator, left: int, right: int) -> int | Failure:
    if operator in {Operator.DIVIDE, Operator.REMAINDER}:
        if right == 0:
            return Failure("division by zero")
        quotient = _int64(trunc(Fraction(left, right)))
        if operator is Operator.DIVIDE or isinstance(quotient, Failure):
            return quotient
        return left - right * quotient
    exact = {Operator.ADD: left + right, Operator.SUBTRACT: left - right, Operator.MULTIPLY: left * right}
    return _int64(exact[operator])


def _double_arithmetic(operator: Operator, left: float, right: float) -> float:
    match operator:
        case Operator.ADD:
            return left + right
        case Operator.SUBTRACT:
            return left - right
        case Operator.MULTIPLY:
            return left * right
    if right != 0:
        return left / right
    if left == 0 or isnan(left):
        return nan
    return inf if (left < 0) == (str(right) == "-0.0") else -inf


def _to_int(value: Any) -> int | Failure:
    if isinstance(value, float):
        fits = isfinite(value) and INT_MIN < Fraction(value) < INT_MAX + 1
        return trunc(value) if fits else Failure("the double does not fit an int")
    if isinstance(value, str):
        if fullmatch("[+-]?[0-9]+", value) is None:
            return Failure("the text is no int")
        digits = value.lstrip("+-").lstrip("0") or "0"
        if len(digits) > 19:
            return Failure("the integer overflows 64 bits")
        return _int64(-int(digits) if value.startswith("-") else int(digits))
    return _int64(value)


def _to_double(value: Any) -> float | Failure:
    if isinstance(value, str):
        if fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value) is None:
            return Failure("the text is no double")
        return float(value) if isfinite(float(value)) else Failure("the text is no double")
    if isinstance(value, int) and isinstance(_int64(value), Failure):
        return Failure("the integer overflows 64 bits")
    return float(value)


def _text(value: Any) -> str | Failure:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and isinstance(_int64(value), Failure):
        return Failure("the integer overflows 64 bits")
    return str(value)
