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
not absorb. Every conjunct here counts alone and is stopped at its *share*, the limit divided by the most
conjuncts of a rule. While none is stopped no rule can run out; the rules of one that is are evaluated
whole, so that a rule costs at most about twice the limit.

``&&`` does not evaluate what stands behind a false conjunct. Nor is a *costly* conjunct, one that can
spend steps, evaluated here if in each of its rules one before it is false. So the costly ones come last,
and every conjunct has a *level* in a rule: how many costly ones precede it. What is false behind a costly
one does not spare it, because running out of steps comes first.

Law: indexed_is_compiled: for all variables, each rule's outcome is that of ``compile_expression``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from math import isnan
from operator import or_

from caio.routing.expressions.compiler import Evaluate, Variables, compile_expression, compile_node
from caio.routing.expressions.conjuncts import (
    conjuncts_of,
    equality_of,
    is_free,
    key_of,
    membership_of,
    order_of,
    reading_of,
)
from caio.routing.expressions.errors import MAX_STEPS, EvaluationError
from caio.routing.expressions.operations import KINDS, Exhausted, Steps
from caio.routing.expressions.syntax import Expression, Node, Operator, shape_of

_UPPER = frozenset({Operator.LESS, Operator.LESS_OR_EQUAL})

#: For the reading of a path, which costs nothing.
_NONE_SPENT = Steps()

#: The rules that state something at each level: of what is costly all, of the rest those with something
#: costly behind it.
_Levels = dict[int, int]


@dataclass(slots=True)
class _Conjunct:
    """A distinct conjunct and the rules that state it; ``free`` if it can spend no step, else costly."""

    evaluate: Evaluate
    free: bool
    rules: int = 0
    levels: _Levels = field(default_factory=dict)


@dataclass(slots=True)
class _Equalities:
    """``path == literal`` and ``path in [literals]``: which rules each value of the path satisfies."""

    read: Evaluate
    rules: int = 0
    satisfied: dict[Hashable, int] = field(default_factory=dict)
    levels: _Levels = field(default_factory=dict)


@dataclass(slots=True)
class _Orders:
    """``path < number`` and the like: of each way to compare, the strictest number of every rule; and, once
    all are known, the numbers in order with the rules that a value at each place among them fails."""

    read: Evaluate
    rules: int = 0
    limits: dict[Operator, dict[int, int | float]] = field(default_factory=dict)
    levels: _Levels = field(default_factory=dict)
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
    levels: _Levels = field(default_factory=dict)
    conjuncts: dict[Hashable, _Conjunct] = field(default_factory=dict)


class Conditions:
    """The conditions of rules, numbered as given; immutable, and safe to ask from several threads."""

    __slots__ = ("_all", "_equalities", "_expressions", "_memberships", "_orders", "_others", "_share")

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = tuple(expressions)
        self._all = (1 << len(self._expressions)) - 1
        stated = [list(conjuncts_of(expression.root)) for expression in self._expressions]
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
        spared: _Levels = {}
        false, error = self._compared(variables, spared)
        for order in self._orders.values():
            beyond, unordered = _ordered(order, variables)
            false, error = false | beyond, error | unordered
            _spare(spared, order.levels, beyond)
        lacking, failing, dear, pending = self._contained(variables, spared)
        false, error = false | lacking, error | failing
        steps = Steps()
        for conjunct in (*self._others, *pending):
            rules = conjunct.rules
            if rules & false == rules and _needless(conjunct, spared):
                continue
            steps.left = self._share
            try:
                value = conjunct.evaluate(variables, steps)
            except EvaluationError:
                error |= rules
            except Exhausted:
                dear |= rules
            else:
                if value is False:
                    false |= rules
                    _spare(spared, conjunct.levels, rules, 0 if conjunct.free else 1)
                elif value is not True:
                    error |= rules
        error &= ~false
        return self._whole(self._all & ~false & ~error, error, dear, variables)

    def _compared(self, variables: Variables, spared: _Levels) -> tuple[int, int]:
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
                continue
            satisfied = 0 if kind in {"list", "map"} else group.satisfied.get(key_of(value), 0)
            false |= group.rules ^ satisfied
            _spare(spared, group.levels, ~satisfied)
        return false, error

    def _contained(self, variables: Variables, spared: _Levels) -> tuple[int, int, int, list[_Conjunct]]:
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
            _spare(spared, group.levels, ~satisfied)
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

    def _add(self, rule: int, conjuncts: Iterable[Node], others: dict[Hashable, _Conjunct]) -> None:  # noqa: PLR0912 - a case a shape
        allowed: dict[tuple[str, ...], set[Hashable]] = {}
        texts: dict[tuple[str, ...], dict[str, tuple[Node, int]]] = {}
        last: dict[Hashable, tuple[_Levels, int]] = {}
        level = 0
        for node in conjuncts:
            if (demand := equality_of(node)) is not None and len(demand[1]) <= self._share:
                path, values = demand[0], {key_of(value) for value in demand[1]}
                allowed[path] = allowed.get(path, values) & values
                equalities = self._equalities.setdefault(path, _Equalities(reading_of(node)))
                last[_Equalities, path] = equalities.levels, level
            elif (ordering := order_of(node)) is not None:
                path, operation, limit = ordering
                order = self._orders.setdefault(path, _Orders(reading_of(node)))
                order.demand(operation, rule, limit)
                last[_Orders, path] = order.levels, level
            elif (member := membership_of(node)) is not None:
                texts.setdefault(member[0], {})[member[1]] = node, level
            else:
                shape = shape_of(node)
                conjunct = _conjunct(others, shape, node)
                conjunct.rules |= rule
                if conjunct.free:
                    last[_Conjunct, shape] = conjunct.levels, level
                else:
                    _add_at(conjunct.levels, level, rule)
                    level += 1
        for path, values in allowed.items():
            group = self._equalities[path]
            group.rules |= rule
            for value in values:
                group.satisfied[value] = group.satisfied.get(value, 0) | rule
        for path, named in texts.items():
            for layer, (text, (node, stated)) in enumerate(named.items()):
                last[path, layer, text] = self._demand(rule, (path, layer), text, node), stated
        for levels, stated in last.values():
            if stated < level:
                _add_at(levels, stated, rule)

    def _demand(self, rule: int, key: tuple[tuple[str, ...], int], text: str, node: Node) -> _Levels:
        """A rule's texts on one path go to different layers: it needs them all."""
        group = self._memberships.setdefault(key, _Memberships(reading_of(node)))
        group.rules |= rule
        group.satisfied[text] = group.satisfied.get(text, 0) | rule
        _conjunct(group.conjuncts, text, node).rules |= rule
        return group.levels


def _add_at(levels: _Levels, level: int, rules: int) -> None:
    levels[level] = levels.get(level, 0) | rules


def _spare(spared: _Levels, levels: _Levels, false: int, behind: int = 0) -> None:
    """Note the ``false`` ones of the rules that state something, for what is costly from there on."""
    for level, rules in levels.items():
        _add_at(spared, level + behind, rules & false)


def _needless(conjunct: _Conjunct, spared: _Levels) -> bool:
    """Whether the outcome of a conjunct, all of whose rules are false, matters to none of them."""
    if conjunct.free:
        return not conjunct.levels
    return bool(conjunct.levels) and all(
        rules & reduce(or_, (false for at, false in spared.items() if at <= level), 0) == rules
        for level, rules in conjunct.levels.items()
    )


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
        known[key] = _Conjunct(compile_node(node), is_free(node))
    return known[key]
