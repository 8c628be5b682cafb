"""An expression over ``service`` for all services at once.

Theory of operation
-------------------
``&&``, ``||``, ``!`` and ``?:`` become operations on arrays; what is between them, the *atoms*, is
evaluated once for each distinct combination of the values it reads (``columns``), by the compiler's own
closure, and spread to the services that have them. That is exact by construction, whatever the atom.
Comparisons of a path with literals, ``"text" in path`` and ``has`` are ranges and sets of a column's
entries, found by bisection, because thresholds are many and so may be the values on either side;
arithmetic on doubles alone is done on arrays (``doubles``). All
parts that read one path are put together on its entries, before the spread.

The compiler counts steps for the whole expression, and stops early where a mask does not. An atom's cost
is that of its dearest entry, and each entry may take what the atoms before have left of the limit. While
that suffices no service can run out of steps; as soon as it does not, the whole expression is evaluated
for each combination. So a service costs at most about twice the limit.

Law: masked_is_compiled: for all services, true, false and error are those of ``compile_expression``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from caio.routing.expressions.columns import Codes, Column, Read, ServiceColumns
from caio.routing.expressions.compiler import compile_expression, compile_node
from caio.routing.expressions.doubles import compile_comparison
from caio.routing.expressions.errors import EvaluationError
from caio.routing.expressions.operations import ORDER, Exhausted, Steps
from caio.routing.expressions.syntax import (
    And,
    Binary,
    Comprehension,
    Conditional,
    Expression,
    Has,
    ListLiteral,
    Literal,
    Node,
    Not,
    Operator,
    Or,
    children,
    names_of,
)

Bools = NDArray[np.bool_]
#: For each service, whether the expression is true, and whether it has no value; never both.
Mask = Callable[[ServiceColumns], tuple[Bools, Bools]]

SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Outcome:
    """For each service, or each entry of a column: true, or an error, or neither."""

    true: Bools
    error: Bools

    def spread(self, codes: Codes) -> Outcome:
        """To the services, from the entries of a column."""
        return Outcome(self.true[codes], self.error[codes])


#: Each spends the steps of its dearest service or entry, and raises Exhausted.
Part = Callable[[ServiceColumns, Steps], Outcome]
Table = Callable[[Column, Steps], Outcome]


def compile_mask(expression: Expression) -> Mask:
    """The expression, which reads the variable ``service`` alone, as a function of all services' columns.

    Nothing is raised for any expression: what fails for a service is that service's error.
    """
    part = _part(expression.root)

    def mask(services: ServiceColumns) -> tuple[Bools, Bools]:
        try:
            outcome = part(services, Steps())
        except Exhausted:
            column = services.column(_reads(expression.root))
            outcome = _whole(expression, column).spread(column.codes)
        return outcome.true, outcome.error

    return mask


def _whole(expression: Expression, column: Column) -> Outcome:
    condition = compile_expression(expression)
    outcome = _neither(column)
    for entry, service in enumerate(column.entries):
        try:
            outcome.true[entry] = condition({SERVICE: service})
        except EvaluationError:
            outcome.error[entry] = True
    return outcome


def _part(node: Node) -> Part:
    """A node over the services. A junction of several paths' parts is made here, of one path's on its entries."""
    reads = _reads(node)
    if len(reads) > 1 and (junction := _junction(node)) is not None:
        combine, operands = junction
        parts = [_part(operand) for operand in operands]
        return lambda services, steps: combine([part(services, steps) for part in parts])
    table = _table(node)
    doubles = None if _sought(node) else compile_comparison(node)

    def spread(services: ServiceColumns, steps: Steps) -> Outcome:
        if doubles is not None and (found := doubles(services)) is not None:
            holds, error = found
            return Outcome(holds & ~error, error)
        column = services.column(reads)
        return table(column, steps).spread(column.codes)

    return spread


def _table(node: Node) -> Table:
    """A node over the entries of a column that covers what it reads."""
    if (junction := _junction(node)) is not None:
        combine, operands = junction
        tables = [_table(operand) for operand in operands]
        return lambda column, steps: combine([table(column, steps) for table in tables])
    if not _reads(node):
        return _constant(_evaluated(node))
    return _sought(node) or _evaluated(node)


# what is read ---------------------------------------------------------------------------------------


def _reads(node: Node) -> frozenset[Read]:
    """What determines the node's outcome, without what is part of something else that is read."""
    reads = set(_all_reads(node, frozenset()))
    paths = {read.fields for read in reads if not read.presence}
    return frozenset(
        read
        for read in reads
        if not any(read.fields[:length] in paths for length in range(len(read.fields)))
        and not (read.presence and read.fields in paths)
    )


def _all_reads(node: Node, bound: frozenset[str]) -> list[Read]:
    """Variables other than ``service`` do not exist, so that reading them depends on nothing."""
    match node:
        case Comprehension(domain=domain, variable=variable, body=body):
            return _all_reads(domain, bound) + _all_reads(body, bound | {variable})
    if (fields := _fields(node, bound)) is not None:
        return [Read(fields, isinstance(node, Has))]
    return [read for child in children(node) for read in _all_reads(child, bound)]


def _fields(node: Node, bound: frozenset[str] = frozenset()) -> tuple[str, ...] | None:
    """The fields of ``service.a.b`` or ``has(service.a.b)``; None for any other node."""
    if isinstance(node, Has):
        owner = _fields(node.operand, bound)
        return None if owner is None else (*owner, node.field)
    names = names_of(node)
    return None if names is None or names[0] != SERVICE or SERVICE in bound else names[1:]


# junctions ------------------------------------------------------------------------------------------

Combine = Callable[[Sequence[Outcome]], Outcome]


def _junction(node: Node) -> tuple[Combine, Sequence[Node]] | None:
    match node:
        case And(operands=operands):
            return _all_of, operands
        case Or(operands=operands):
            return _any_of, operands
        case Not(operand=operand):
            return _none_of, (operand,)
        case Conditional(condition=condition, then=then, otherwise=otherwise):
            return _chosen, (condition, then, otherwise)
    return None


def _all_of(outcomes: Sequence[Outcome]) -> Outcome:
    true = reduce(np.logical_and, [outcome.true for outcome in outcomes])
    not_false = reduce(np.logical_and, [outcome.true | outcome.error for outcome in outcomes])
    return Outcome(true, not_false & ~true)


def _any_of(outcomes: Sequence[Outcome]) -> Outcome:
    true = reduce(np.logical_or, [outcome.true for outcome in outcomes])
    error = reduce(np.logical_or, [outcome.error for outcome in outcomes])
    return Outcome(true, error & ~true)


def _none_of(outcomes: Sequence[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return Outcome(~(outcome.true | outcome.error), outcome.error)


def _chosen(outcomes: Sequence[Outcome]) -> Outcome:
    """Of the branch that is not taken only the steps count."""
    condition, then, otherwise = outcomes
    true = np.where(condition.true, then.true, otherwise.true)
    error = np.where(condition.true, then.error, otherwise.error)
    return Outcome(true & ~condition.error, error | condition.error)


# atoms ----------------------------------------------------------------------------------------------


def _constant(table: Table) -> Table:
    """Of what reads nothing, one entry tells all."""

    def constant(column: Column, steps: Steps) -> Outcome:
        one = table(Column(column.codes, column.entries[:1]), steps)
        return Outcome(np.resize(one.true, len(column)), np.resize(one.error, len(column)))

    return constant


def _evaluated(node: Node, fields: tuple[str, ...] = (), known: Table | None = None) -> Table:
    """By the compiler's closure on each entry; ``known`` answers the sorted ones of a column of ``fields``."""
    evaluate = compile_node(node)

    def table(column: Column, steps: Steps) -> Outcome:
        ranged = known if column.fields == fields else None
        left = steps.left
        outcome = _neither(column) if ranged is None else ranged(column, steps)
        fewest = steps.left
        true, error = outcome.true, outcome.error
        for entry in range(0 if ranged is None else column.sorted, len(column)):
            steps.left = left
            try:
                value = evaluate({SERVICE: column.entries[entry]}, steps)
            except EvaluationError:
                error[entry] = True
            else:
                true[entry] = value is True
                error[entry] = value is not True and value is not False
            fewest = min(fewest, steps.left)
        steps.left = fewest
        return outcome

    return table


def _sought(node: Node) -> Table | None:
    """What need not be evaluated on the sorted entries of the path it reads; None for other atoms."""
    known: Table
    match node:
        case Has():
            side, known = node, _present
        case Binary(operator=Operator.IN, left=Literal(value=str(text)), right=side):
            known = partial(_holding, text=text)
        case Binary(operator=Operator.IN, left=side, right=ListLiteral(items=items)):
            literals = [item.value for item in items if isinstance(item, Literal)]
            if len(literals) < len(items):
                return None
            known = partial(_listed, literals=literals)
        case Binary(operator=operation, left=side, right=Literal(value=literal)) if operation in _MIRRORED:
            known = partial(_compared, operation=operation, literal=literal)
        case Binary(operator=operation, left=Literal(value=literal), right=side) if operation in _MIRRORED:
            known = partial(_compared, operation=_MIRRORED[operation], literal=literal)
        case _:
            return None
    if (fields := _fields(side)) is None:
        return None
    return _evaluated(node, fields, known)


# the sorted entries of one path ---------------------------------------------------------------------

#: ``literal < path`` is ``path > literal``.
_MIRRORED = {
    Operator.EQUAL: Operator.EQUAL,
    Operator.NOT_EQUAL: Operator.NOT_EQUAL,
    Operator.LESS: Operator.GREATER,
    Operator.LESS_OR_EQUAL: Operator.GREATER_OR_EQUAL,
    Operator.GREATER: Operator.LESS,
    Operator.GREATER_OR_EQUAL: Operator.LESS_OR_EQUAL,
}


def _present(column: Column, steps: Steps) -> Outcome:
    outcome = _neither(column)
    outcome.true[: column.sorted] = True
    return outcome


def _holding(column: Column, steps: Steps, text: str) -> Outcome:
    """``"text" in path``: a number or a text is nothing to search."""
    steps.spend(column.longest)
    outcome = _neither(column)
    outcome.error[: len(column.numbers) + len(column.texts)] = True
    outcome.true[column.members.get(text, [])] = True
    return outcome


def _listed(column: Column, steps: Steps, literals: Sequence[object]) -> Outcome:
    """``path in [literals]``"""
    steps.spend(len(literals))
    outcome = _neither(column)
    for literal in literals:
        outcome.true[slice(*_equal_range(column, literal))] = True
    return outcome


def _compared(column: Column, steps: Steps, operation: Operator, literal: object) -> Outcome:
    """``path < literal`` and so on; only values of the literal's kind have an order with it."""
    outcome = _neither(column)
    low, high = _equal_range(column, literal)
    if operation in ORDER:
        start, end = _kind_range(column, literal)
        outcome.error[: column.sorted] = True
        outcome.error[start:end] = False
        if operation in {Operator.GREATER, Operator.GREATER_OR_EQUAL}:
            start = high if operation is Operator.GREATER else low
        else:
            end = low if operation is Operator.LESS else high
        outcome.true[start:end] = True
    else:
        outcome.true[low:high] = True
        if operation is Operator.NOT_EQUAL:
            np.logical_not(outcome.true[: column.sorted], out=outcome.true[: column.sorted])
    return outcome


def _kind_range(column: Column, literal: object) -> tuple[int, int]:
    """The sorted entries that have an order with the literal; exact types, for a bool is no number."""
    if type(literal) is int or type(literal) is float:
        return 0, len(column.numbers)
    if type(literal) is str:
        return len(column.numbers), len(column.numbers) + len(column.texts)
    return 0, 0


def _equal_range(column: Column, literal: object) -> tuple[int, int]:
    """The sorted entries that equal the literal; for none of them, empty and in its place."""
    if type(literal) is int or type(literal) is float:
        return bisect_left(column.numbers, literal), bisect_right(column.numbers, literal)
    if type(literal) is str:
        start = len(column.numbers)
        return start + bisect_left(column.texts, literal), start + bisect_right(column.texts, literal)
    return 0, 0


def _neither(column: Column) -> Outcome:
    return Outcome(np.zeros(len(column), np.bool_), np.zeros(len(column), np.bool_))
