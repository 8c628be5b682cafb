"""The services still in the running, and for the others the first question that each failed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caio.routing.columns import Flags, Rows

VerdictColumn = NDArray[np.uint16]
#: One of each service, in their order: a list where they are few.
Verdicts = list[int] | VerdictColumn


class Sieve:
    """Questions must be asked in their order: ``verdicts`` then says which one was failed first.

    ``rows`` are those that passed every question so far, ascending; ``verdicts`` are 0 for them.
    """

    __slots__ = ("rows", "verdicts")

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.verdicts: VerdictColumn = np.zeros(rows.size, np.uint16)

    @property
    def is_empty(self) -> bool:
        return not self.rows.size

    def keep(self, question: int, passing: Flags) -> None:
        """Exclude those of ``rows`` that do not pass; ``passing`` has one entry for each of them."""
        kept = passing.nonzero()[0]
        if kept.size != self.rows.size:
            self.verdicts[self.rows] = question
            self._go_on_with(self.rows[kept])

    def keep_only(self, question: int, rows: Rows) -> None:
        """Exclude those of ``rows`` that are not among the given ones, ascending."""
        if self.rows.size == self.verdicts.size:
            self.verdicts.fill(question)
            self._go_on_with(rows)
        else:
            among = np.zeros(self.verdicts.size, np.bool_)
            among[rows] = True
            self.keep(question, among[self.rows])

    def drop(self, failing: Rows, questions: NDArray[np.int64]) -> None:
        """Exclude the rows at the places ``failing``, each for its own question."""
        if failing.size:
            passing = np.ones(self.rows.size, np.bool_)
            passing[failing] = False
            self.verdicts[self.rows[failing]] = questions
            self.rows = self.rows[passing.nonzero()[0]]

    def _go_on_with(self, rows: Rows) -> None:
        self.verdicts[rows] = 0
        self.rows = rows
