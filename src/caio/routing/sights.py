"""What rules can see of a request beyond its sort: as much of it as can change which of them are in force.

Theory of operation
-------------------
Of what varies from call to call (``sorts.VARYING``) a condition mostly asks little: whether the size is beyond a
number, whether a label is one of a few. What all conditions of a rule set compare with literals is collected once.
A request's *sight* then says of a number between which literals it lies, of a label which of them it is or that it
is none, and of what conditions read in any other way all of it. Requests of one sort and one sight, by one caller,
have the same rules in force, so that nothing need be evaluated again for the second.

Law (has a test of the same name): equal_sights_equal_rules.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from caio.foundation.quantity import decimal_text
from caio.routing.expressions.conjuncts import equality_of, order_of
from caio.routing.expressions.syntax import Comprehension, Expression, Has, Node, children, names_of
from caio.routing.model import Request

#: A label that is there, and none of those compared with.
_OTHER = object()

_NUMBERS = ("deadline_ms", "input_bytes", "max_cost")


@dataclass(slots=True)
class _Uses:
    """The literals that one path is compared with; ``whole`` when it is read in any other way."""

    literals: set[object] = field(default_factory=set)
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What one rule set sees: of numbers their sorted limits, of labels the texts looked for, None for all of it.

    ``is_whole`` is whether it is the request as one thing.
    """

    numbers: Sequence[tuple[str, Sequence[float] | None]]
    labels: Sequence[tuple[str, frozenset[object] | None]]
    all_labels: bool
    is_whole: bool

    @classmethod
    def of(cls, conditions: Iterable[Expression]) -> Self:
        uses: dict[tuple[str, ...], _Uses] = {}
        for condition in conditions:
            _collect(condition.root, frozenset(), uses)
        numbers = [(name, _limits(uses["request", name])) for name in _NUMBERS if ("request", name) in uses]
        labels = [
            (path[2], None if use.whole else frozenset(use.literals))
            for path, use in uses.items()
            if path[:2] == ("request", "labels") and len(path) == 3
        ]
        return cls(numbers, labels, ("request", "labels") in uses, ("request",) in uses)

    def glance(self, request: Request) -> Hashable:
        """What is seen of ``request``; not to be asked when all of it is."""
        seen: list[Hashable] = [request.labels] if self.all_labels else []
        for name, limits in self.numbers:
            value = getattr(request, name)
            if value is not None and name == "max_cost":
                value = float(decimal_text(value))  # as expressions read it
            if value is not None and limits is not None:
                # Odd for a value that is a limit, even between two of them.
                value = bisect_left(limits, value) + bisect_right(limits, value)
            seen.append(value)
        if self.labels:
            given = dict(request.labels)
            for name, looked_for in self.labels:
                text = given.get(name)
                seen.append(text if text is None or looked_for is None or text in looked_for else _OTHER)
        return tuple(seen)


def _limits(use: _Uses) -> Sequence[float] | None:
    numbers = {one for one in use.literals if isinstance(one, int | float) and not isinstance(one, bool)}
    return None if use.whole else sorted(numbers)


def _collect(node: Node, bound: frozenset[str], uses: dict[tuple[str, ...], _Uses]) -> None:
    """Note every use of a path into the request; ``bound`` are the macros' own variables."""
    if (compared := _compared(node)) is not None:
        path, literals = compared
        _use(path, bound, uses).literals.update(literals)
    elif (path_read := names_of(node)) is not None:
        _use(path_read, bound, uses).whole = True
    elif isinstance(node, Comprehension):
        _collect(node.domain, bound, uses)
        _collect(node.body, bound | {node.variable}, uses)
    else:
        for child in children(node):
            _collect(child, bound, uses)


def _compared(node: Node) -> tuple[tuple[str, ...], Sequence[object]] | None:
    """The path and the literals of a comparison, or of a ``has``, which compares with none."""
    if isinstance(node, Has):
        operand = names_of(node.operand)
        return None if operand is None else ((*operand, node.field), ())
    if (equal := equality_of(node)) is not None:
        return equal
    ordered = order_of(node)
    return None if ordered is None else (ordered[0], (ordered[2],))


def _use(path: tuple[str, ...], bound: frozenset[str], uses: dict[tuple[str, ...], _Uses]) -> _Uses:
    if path[0] != "request" or path[0] in bound:
        return _Uses()
    # A longer path reads into a number or a text, which fails whatever that is.
    length = 3 if path[1:2] == ("labels",) else 2
    return uses.setdefault(path[:length], _Uses())
