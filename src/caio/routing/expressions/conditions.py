"""The conditions of many rules at once: one reading of a request answers them all.

Theory of operation
-------------------
A rule's ``when`` is the ``&&`` of its *conjuncts*, and rules repeat each other's. Each distinct conjunct
is evaluated at most once a request, by the compiler's closure; its outcome goes to a bitset of the rules
that state it. Three shapes are not even evaluated one by one: all conjuncts ``path == literal`` and
``path in [literals]`` of one path are answered by reading the path and one look into a table of values,
all comparisons ``path < number`` by a search among the numbers in their order, and all conjuncts
``"text" in path`` by one look for each element of the list. As ``&&`` does, a rule is
false if a conjunct is, else an error if one is, else true.

The compiler counts steps for a whole expression, and what runs out is an error that a false conjunct does
not absorb. Every conjunct here counts alone. While none takes more than its *share*, the limit divided
by the most conjuncts of a rule, no rule can run out; the rules of one that does are evaluated whole.

Law: indexed_is_compiled: for all variables, each rule's outcome is that of ``compile_expression``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isnan
from operator import or_

from caio.routing.expressions.compiler import Evaluate, Variables, compile_expression, compile_node
from caio.routing.expressions.errors import MAX_STEPS, EvaluationError
from caio.routing.expressions.operations import KINDS, Exhausted, Steps
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Call,
    Comprehension,
    Expression,
    Function,
    ListLiteral,
    Literal,
    Node,
    Operator,
    children,
    names_of,
    shape_of,
)

#: Comparisons, each with the one that says the same the other way round.
_TURNED = {
    Operator.LESS: Operator.GREATER,
    Operator.LESS_OR_EQUAL: Operator.GREATER_OR_EQUAL,
    Operator.GREATER: Operator.LESS,
    Operator.GREATER_OR_EQUAL: Operator.LESS_OR_EQUAL,
}
_UPPER = frozenset({Operator.LESS, Operator.LESS_OR_EQUAL})

#: For the reading of a path, which costs nothing.
_NONE_SPENT = Steps()


@dataclass(slots=True)
class _Conjunct:
    """A distinct conjunct and the rules that state it; ``free`` if it can spend no step."""

    evaluate: Evaluate
    free: bool
    rules: int = 0


@dataclass(slots=True)
class _Equalities:
    """``path == literal`` and ``path in [literals]``: which rules each value of the path satisfies."""

    read: Evaluate
    rules: int = 0
    satisfied: dict[Hashable, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Orders:
    """``path < number`` and the like: of each way to compare, the strictest number of every rule; and, once
    all are known, the numbers in order with the rules that a value at each place among them fails."""

    read: Evaluate
    rules: int = 0
    limits: dict[Operator, dict[int, int | float]] = field(default_factory=dict)
    tables: list[tuple[Callable[..., int], list[int | float], list[int]]] = field(default_factory=list)

    def demand(self, operation: Operator, rule: int, limit: int | float) -> None:
        self.rules |= rule
        of_rules = self.limits.setdefault(operation, {})
        of_rules[rule] = (min if operation in _UPPER else max)(limit, of_rules.get(rule, limit))

    def finish(self) -> None:
        for operation, of_rules in self.limits.items():
            limits = sorted(set(of_rules.values()))
            # A value at place p has p limits below it: it is beyond those, and short of the others.
            failing = [0] * (len(limits) + 1)
            for rule, limit in of_rules.items():
                failing[bisect_left(limits, limit) + (operation in _UPPER)] |= rule
            ordered = list(accumulate(failing if operation in _UPPER else reversed(failing), or_))
            # ``value < limit`` fails at the limit itself, ``value <= limit`` only beyond it.
            place = bisect_right if operation in {Operator.LESS, Operator.GREATER_OR_EQUAL} else bisect_left
            self.tables.append((place, limits, ordered if operation in _UPPER else ordered[::-1]))

    def false(self, value: int | float) -> int:
        """The rules of which a comparison fails for ``value``."""
        false = 0
        for place, limits, failing in self.tables:
            false |= failing[place(limits, value)]
        return false


@dataclass(slots=True)
class _Memberships:
    """``"text" in path``, at most one text a rule, and the conjuncts for a path that is no list of strings."""

    read: Evaluate
    rules: int = 0
    satisfied: dict[str, int] = field(default_factory=dict)
    conjuncts: dict[Hashable, _Conjunct] = field(default_factory=dict)


class Conditions:
    """The conditions of rules, numbered as given; immutable, and safe to ask from several threads."""

    __slots__ = ("_all", "_equalities", "_expressions", "_memberships", "_orders", "_others", "_share")

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = tuple(expressions)
        self._all = (1 << len(self._expressions)) - 1
        stated = [list(_conjuncts(expression.root)) for expression in self._expressions]
        self._share = MAX_STEPS // max([1, *map(len, stated)])
        self._equalities: dict[tuple[str, ...], _Equalities] = {}
        self._orders: dict[tuple[str, ...], _Orders] = {}
        self._memberships: dict[tuple[tuple[str, ...], int], _Memberships] = {}
        others: dict[Hashable, _Conjunct] = {}
        for number, conjuncts in enumerate(stated):
            self._add(1 << number, conjuncts, others)
        for order in self._orders.values():
            order.finish()
        self._others = sorted(others.values(), key=lambda conjunct: not conjunct.free)

    def outcome(self, variables: Variables) -> tuple[int, int]:
        """Two bitsets, bit i for rule i: the conditions that hold, and those that fail to evaluate."""
        false, error = self._compared(variables)
        for order in self._orders.values():
            beyond, unordered = _ordered(order, variables)
            false, error = false | beyond, error | unordered
        lacking, failing, dear, pending = self._contained(variables)
        false, error = false | lacking, error | failing
        steps = Steps()
        for conjunct in (*self._others, *pending):
            rules = conjunct.rules
            if conjunct.free and rules & false == rules:
                continue
            try:
                value = conjunct.evaluate(variables, steps)
            except EvaluationError:
                error |= rules
            except Exhausted:
                dear |= rules
            else:
                if value is False:
                    false |= rules
                elif value is not True:
                    error |= rules
            if not conjunct.free:
                if MAX_STEPS - steps.left > self._share:
                    dear |= rules
                steps.left = MAX_STEPS
        error &= ~false
        return self._whole(self._all & ~false & ~error, error, dear, variables)

    def _compared(self, variables: Variables) -> tuple[int, int]:
        """The rules that the equalities make false, and those that they make fail."""
        false = error = 0
        for group in self._equalities.values():
            try:
                value = group.read(variables, _NONE_SPENT)
            except EvaluationError:
                error |= group.rules
                continue
            kind = KINDS.get(type(value))
            if kind is None:
                error |= group.rules
            elif kind in {"list", "map"}:
                false |= group.rules
            else:
                false |= group.rules ^ group.satisfied.get(_key(value), 0)
        return false, error

    def _contained(self, variables: Variables) -> tuple[int, int, int, list[_Conjunct]]:
        """The rules that memberships make false, fail, and dear; and the conjuncts still to evaluate."""
        false = error = dear = 0
        pending: list[_Conjunct] = []
        for group in self._memberships.values():
            try:
                elements = group.read(variables, _NONE_SPENT)
            except EvaluationError:
                error |= group.rules
                continue
            if type(elements) is not list or any(type(one) is not str for one in elements):
                pending += group.conjuncts.values()
                continue
            satisfied = 0
            for one in elements:
                satisfied |= group.satisfied.get(one, 0)
            false |= group.rules & ~satisfied
            if len(elements) > self._share:
                dear |= group.rules
        return false, error, dear, pending

    def _whole(self, true: int, error: int, dear: int, variables: Variables) -> tuple[int, int]:
        """Decide the ``dear`` rules, whose conjuncts might run out of steps together."""
        while dear:
            rule = dear & -dear
            dear ^= rule
            true, error = true & ~rule, error & ~rule
            try:
                if compile_expression(self._expressions[rule.bit_length() - 1])(variables):
                    true |= rule
            except EvaluationError:
                error |= rule
        return true, error

    def _add(self, rule: int, conjuncts: Iterable[Node], others: dict[Hashable, _Conjunct]) -> None:
        allowed: dict[tuple[str, ...], set[Hashable]] = {}
        texts: dict[tuple[str, ...], dict[str, Node]] = {}
        for node in conjuncts:
            if (demand := _equality(node)) is not None and len(demand[1]) <= self._share:
                path, values = demand[0], {_key(value) for value in demand[1]}
                allowed[path] = allowed.get(path, values) & values
                self._equalities.setdefault(path, _Equalities(_reading(node)))
            elif (order := _order(node)) is not None:
                path, operation, limit = order
                self._orders.setdefault(path, _Orders(_reading(node))).demand(operation, rule, limit)
            elif (member := _membership(node)) is not None:
                texts.setdefault(member[0], {})[member[1]] = node
            else:
                _conjunct(others, shape_of(node), node).rules |= rule
        for path, values in allowed.items():
            group = self._equalities[path]
            group.rules |= rule
            for value in values:
                group.satisfied[value] = group.satisfied.get(value, 0) | rule
        for path, named in texts.items():
            for layer, (text, node) in enumerate(named.items()):
                self._demand(rule, (path, layer), text, node)

    def _demand(self, rule: int, key: tuple[tuple[str, ...], int], text: str, node: Node) -> None:
        """A rule's texts on one path go to different layers: it needs them all."""
        group = self._memberships.setdefault(key, _Memberships(_reading(node)))
        group.rules |= rule
        group.satisfied[text] = group.satisfied.get(text, 0) | rule
        _conjunct(group.conjuncts, text, node).rules |= rule


def _ordered(order: _Orders, variables: Variables) -> tuple[int, int]:
    """The rules that the comparisons of one path make false, and those that they make fail."""
    try:
        value = order.read(variables, _NONE_SPENT)
    except EvaluationError:
        return 0, order.rules
    if type(value) is not int and type(value) is not float:
        return 0, order.rules
    return (order.rules if isnan(value) else order.false(value)), 0


def _conjunct(known: dict[Hashable, _Conjunct], key: Hashable, node: Node) -> _Conjunct:
    if key not in known:
        known[key] = _Conjunct(compile_node(node), _free(node))
    return known[key]


# shapes ---------------------------------------------------------------------------------------------


def _conjuncts(node: Node) -> Iterable[Node]:
    """What must all be true, without the literal ``true``."""
    if isinstance(node, And):
        for operand in node.operands:
            yield from _conjuncts(operand)
    elif not (isinstance(node, Literal) and node.value is True):
        yield node


def _equality(node: Node) -> tuple[tuple[str, ...], Sequence[object]] | None:
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


def _order(node: Node) -> tuple[tuple[str, ...], Operator, int | float] | None:
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


def _membership(node: Node) -> tuple[tuple[str, ...], str] | None:
    """The path and text of ``"text" in path``."""
    match node:
        case Binary(operator=Operator.IN, left=Literal(value=str(text)), right=side):
            path = names_of(side)
            return None if path is None else (path, text)
    return None


def _reading(node: Node) -> Evaluate:
    """The closure of the path's side of an equality or a membership."""
    left, right = children(node)
    return compile_node(right if names_of(left) is None else left)


def _key(value: object) -> Hashable:
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


def _free(node: Node) -> bool:
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
    return all(map(_free, children(node)))
