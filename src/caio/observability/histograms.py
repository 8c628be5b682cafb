"""How often what took how long: a histogram that costs a call a fraction of a microsecond.

Theory of operation
-------------------
The bounds are thirteen a decade over seven decades, so that a value is known to an eighth of itself, from the lowest
bound to eight million times that; what lies beyond is counted in a cell of its own. Both forms in which metrics leave
the process are read off the same cells: CloudWatch takes all of them as values and counts, Prometheus every bound
that begins with 1, 2.5 or 5.

Laws (each has a test of the same name)
---------------------------------------
- a_value_is_known_to_an_eighth: ``told`` of a value within the bounds is at most 12.5 % away from it.
- coarse_bounds_are_exact: what Prometheus is told to be at most a bound is.
- no_more_cells_than_cloudwatch_takes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

_STEPS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
_COARSE = (1.0, 2.5, 5.0)
_DECADES = 7


class Histogram:
    """Counts of values, in cells: ``cells[n]`` are those above the bound before the ``n``-th and at most the ``n``-th;
    the last cell has no upper bound. ``exponent`` is the decade of the lowest bound: -4 begins at 100 µs."""

    __slots__ = ("bounds", "cells", "coarse", "total")

    def __init__(self, exponent: int) -> None:
        decades = range(exponent, exponent + _DECADES)
        # Written and read as decimals, so that a bound is told as 0.25 and not as 0.25000000000000006.
        self.bounds = [float(f"{step}e{decade}") for decade in decades for step in _STEPS]
        self.coarse = frozenset(float(f"{step}e{decade}") for decade in decades for step in _COARSE)
        self.cells = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value of at least 0, in seconds."""
        self.cells[bisect_left(self.bounds, value)] += 1
        self.total += value

    def at_most(self) -> list[tuple[str, float]]:
        """For each coarse bound, and for none (``+Inf``), how many values were at most that."""
        found: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip(self.bounds, self.cells, strict=False):
            seen += count
            if bound in self.coarse:
                found.append((repr(bound), seen))
        return [*found, ("+Inf", seen + self.cells[-1])]

    def told(self, cell: int) -> float:
        """The value that stands for those of a cell: the middle between its bounds; of the last, its lower bound."""
        if cell == len(self.bounds):
            return self.bounds[-1]
        below = self.bounds[cell - 1] if cell else 0.0
        return (below + self.bounds[cell]) / 2


def since(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """What was counted in each cell after ``before``."""
    return [later - earlier for later, earlier in zip(now, before, strict=True)]
