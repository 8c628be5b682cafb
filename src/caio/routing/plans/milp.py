"""HiGHS as a guide: a good selection, and prices under which the exact search proves the best.

Theory of operation
-------------------
The problem is a mixed-integer programme: one 0-1 variable for each candidate, and for each of its
statistics under a percentile; the limits are the inequalities of ``relaxation.sums``. HiGHS solves
the linear relaxation, whose duals are the prices of the limits, and then the programme itself. It
computes in floating point with tolerances, so nothing it says is taken for true: ``search`` tries
its selection by exact composition and proves the best one with its prices, in integers. A selection
that rounding made unsound is thereby repaired, and ties are broken as the rules say.

When even the linear relaxation has no solution, the prices come from the programme that breaks the
limits as little as possible; they show that nothing can be sound.

Needs the extra ``caio-platform[plans]``; HiGHS (https://highs.dev) only computes: one thread, no
clock, no output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from caio.routing.plans.problem import Problem, Selection
from caio.routing.plans.relaxation import Prices, Sums, guide, sums
from caio.routing.plans.search import Guide

#: Prices are rounded down to this part of a score unit; it is coarse beside no score and fine beside any use.
_PRICE_UNITS = 2**64
_SCORE = 1e9
#: The programme is solved over so many candidates of each stage, and to so many branches: well enough to guide.
_MOST_WORTH = 8
_MOST_NODES = 100


def solver_is_installed() -> bool:
    try:
        import highspy  # noqa: F401
    except ImportError:
        return False
    return True


def guided(problem: Problem) -> Guide:
    """A guide for ``problem``, which is reduced and has candidates in every stage.

    Raises ImportError without the extra.
    """
    found = sums(problem)
    programme = _Programme(problem, found)
    duals = programme.relaxed()
    if duals is None:
        return guide(problem, found, programme.prices(programme.least_violation(), scale=0), None)
    bound = guide(problem, found, programme.prices(duals, _PRICE_UNITS), None)
    return replace(bound, start=programme.selection(bound.worth))


@dataclass
class _Rows:
    """The rows of a sparse matrix, each scaled so that its largest number is 1."""

    starts: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    scales: list[int] = field(default_factory=list)

    def add(self, entries: Sequence[tuple[int, int]], upper: int, *, equal: bool = False) -> int:
        scale = max(1, abs(upper), *(abs(value) for _, value in entries))
        self.starts.append(len(self.columns))
        for column, value in entries:
            if value:
                self.columns.append(column)
                self.values.append(value / scale)
        self.upper.append(upper / scale)
        self.lower.append(upper / scale if equal else -float("inf"))
        self.scales.append(scale)
        return len(self.scales) - 1


class _Programme:
    """The programme's columns and rows; ``rows`` and ``percentiles`` remember which row is which limit."""

    def __init__(self, problem: Problem, found: Sums) -> None:
        self._problem = problem
        self._table = _Rows()
        self._places = [
            (stage, place) for stage, candidates in enumerate(problem.stages) for place in range(len(candidates))
        ]
        self._column = {key: index for index, key in enumerate(self._places)}
        self._count = len(self._places)
        for stage, candidates in enumerate(problem.stages):
            self._table.add([(self._column[stage, place], 1) for place in range(len(candidates))], 1, equal=True)
        self.rows = [
            self._table.add([(self._column[key], row.uses[key[0]][key[1]]) for key in self._places], row.most)
            for row in found.rows
        ]
        self.percentiles = [
            self._percentile(each.options, each.paths, each.risk, each.most) for each in found.percentiles
        ]

    def _percentile(self, options: Any, paths: Sequence[Sequence[int]], risk: int, most: int) -> tuple[int, list[int]]:
        """A column for each statistic of each candidate; the rows of the risk and of the paths' times."""
        used: list[tuple[int, int, int, int]] = []
        for stage, place in self._places:
            own = []
            for each_risk, time in options[stage][place]:
                used.append((self._count, stage, each_risk, time))
                own.append((self._count, 1))
                self._count += 1
            self._table.add([*own, (self._column[stage, place], -1)], 0, equal=True)
        risk_row = self._table.add([(column, each_risk) for column, _, each_risk, _ in used], risk)
        path_rows = [
            self._table.add([(column, time) for column, stage, _, time in used if stage in path], most)
            for path in paths
        ]
        return risk_row, path_rows

    def relaxed(self) -> list[float] | None:
        """The duals of the linear relaxation; None when it has no solution."""
        import highspy

        highs = self._passed(self._scores(), [1.0] * self._count)
        highs.run()
        solved = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return list(highs.getSolution().row_dual) if solved else None

    def selection(self, worth: Sequence[Sequence[int]]) -> Selection | None:
        """HiGHS's best selection among the candidates of each stage that are worth most, if it finds one."""
        upper = [1.0] * self._count
        for stage, row in enumerate(worth):
            for place in sorted(range(len(row)), key=row.__getitem__, reverse=True)[_MOST_WORTH:]:
                upper[self._column[stage, place]] = 0.0
        highs = self._passed(self._scores(), upper, integral=True)
        highs.run()
        return self._selected(highs.getSolution())

    def _scores(self) -> list[float]:
        return [-self._problem.stages[stage][place].score / _SCORE for stage, place in self._places]

    def least_violation(self) -> list[float]:
        """The duals of the programme whose limits may be broken, at a price of 1 for each row's scale."""
        highs = self._passed([], [1.0] * self._count, elastic=True)
        highs.run()
        return list(highs.getSolution().row_dual)

    def prices(self, duals: Sequence[float], scale: int) -> Prices:
        """Duals of rows as prices of what they limit."""

        def price(row: int) -> int:
            return int(max(0.0, -duals[row]) * _SCORE * _PRICE_UNITS) // self._table.scales[row] if duals else 0

        percentiles = [(price(risk), [price(path) for path in paths]) for risk, paths in self.percentiles]
        return Prices(scale, [price(row) for row in self.rows], percentiles)

    def _passed(
        self, costs: Sequence[float], upper: Sequence[float], *, integral: bool = False, elastic: bool = False
    ) -> Any:
        import highspy
        import numpy as np

        limits = [*self.rows, *(row for risk, paths in self.percentiles for row in (risk, *paths))] if elastic else []
        table, model = self._table, highspy.HighsLp()
        slack = {row: self._count + index for index, row in enumerate(limits)}
        columns, values, starts = list[int](), list[float](), list[int]()
        ends = [*table.starts[1:], len(table.columns)]
        for row, (start, end) in enumerate(zip(table.starts, ends, strict=True)):
            starts.append(len(columns))
            columns += table.columns[start:end]
            values += table.values[start:end]
            if row in slack:
                columns.append(slack[row])
                values.append(-1.0)
        width = self._count + len(slack)
        model.num_col_, model.num_row_ = width, len(starts)
        model.col_cost_ = np.array([*costs, *[0.0] * (self._count - len(costs)), *[1.0] * len(slack)])
        model.col_lower_ = np.zeros(width)
        model.col_upper_ = np.array([*upper] + [highspy.kHighsInf] * len(slack))
        model.row_lower_, model.row_upper_ = np.array(table.lower), np.array(table.upper)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.array([*starts, len(columns)])
        model.a_matrix_.index_, model.a_matrix_.value_ = np.array(columns), np.array(values)
        if integral:
            model.integrality_ = [highspy.HighsVarType.kInteger] * width
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in _OPTIONS.items():
            highs.setOptionValue(name, value)
        highs.passModel(model)
        return highs

    def _selected(self, solution: Any) -> Selection | None:
        if not solution.value_valid:
            return None
        values, selection = list(solution.col_value), []
        for stage, candidates in enumerate(self._problem.stages):
            best = max(range(len(candidates)), key=lambda place: values[self._column[stage, place]])
            selection.append(candidates[best].rank)
        return tuple(selection)


_OPTIONS: dict[str, Any] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "random_seed": 0,
    "mip_max_nodes": _MOST_NODES,
    "mip_rel_gap": 1e-4,
}
