"""Shapes of many services: each clause over a column of those that are left (``shapes``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np
from msgspec import Raw

from caio.foundation.canonical import canonical_plain
from caio.routing import matching, security
from caio.routing.columns import Columns, Flags, Numbers, Rows, Values
from caio.routing.commitments import excluded_counts, verdicts_hash
from caio.routing.matching import Needs, Tariff, price_limit, tightest
from caio.routing.model import Principal, Request
from caio.routing.observed import Observed
from caio.routing.optimization import Weighed, standing_terms
from caio.routing.questions import Questions
from caio.routing.rules import InForce
from caio.routing.shapes import Shape, Sifted, weights_of
from caio.routing.sieve import Sieve, VerdictColumn


@dataclass(frozen=True, slots=True, eq=False)
class SiftedColumns:
    """``Sifted``. The ``feasible`` rows are at the places ``within`` those that were priced. ``_standing`` keeps the
    part of their scores that does not depend on prices, for the last history under its hash."""

    verdicts: VerdictColumn
    feasible: Rows
    within: Rows
    preferences: Numbers
    commitment: str
    excluded: Raw
    _standing: dict[str, Weighed] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, verdicts: VerdictColumn, feasible: Rows, within: Rows, preferences: Numbers, asked: Questions) -> Self:
        excluded = Raw(canonical_plain(excluded_counts(verdicts, asked)))
        return cls(verdicts, feasible, within, preferences, verdicts_hash(verdicts), excluded)

    def standing(self, digest: str, work_out: Callable[[], Weighed]) -> Weighed:
        """The terms of the scores that stand under the history of this ``digest``."""
        known = self._standing.get(digest)
        if known is None:
            known = work_out()
            self._standing.clear()
            self._standing[digest] = known
        return known


@dataclass(frozen=True, slots=True, eq=False)
class ShapeOfMany(Shape):
    """``all`` is as if every price passed clause ``cost``, which the ``priced`` rows are asked by their ``tariff``."""

    columns: Columns
    all: SiftedColumns
    priced: Rows
    tariff: Tariff

    @classmethod
    def of(cls, columns: Columns, needs: Needs, principal: Principal, force: InForce, policies: int) -> Self:
        """``policies`` counts all of the decision, in force or not. Raises TooManyQuestions."""
        asked = Questions.of(needs.request, len(needs.features), len(needs.bounds), policies)
        sieve = Sieve(columns.rows)
        matching.match(sieve, columns, needs, asked, partial(tightest, columns))
        priced = sieve.rows
        force.exclude(sieve, asked["rules"])
        security.secure(sieve, columns.dense, needs.request, principal, asked)
        within, preferences = np.searchsorted(priced, sieve.rows), force.preferences(sieve.rows)
        weights = weights_of(force, needs.request)
        return cls(
            needs,
            asked,
            weights,
            Raw(canonical_plain(weights)),
            force.on_violation,
            columns,
            SiftedColumns.of(sieve.verdicts, sieve.rows, within, preferences, asked),
            priced,
            Tariff.of(priced, columns, needs.request),
        )

    def valued(self, request: Request, observed: Callable[[], Observed], digest: str) -> tuple[Sifted, Values, Values]:
        every = self.tariff.worst(request.input_bytes, request.deadline_ms)
        most = price_limit(request)
        sifted = self.all if not every.size or int(every.max()) <= most else self._without(every > most)
        prices = every[sifted.within]
        if not prices.size:
            return sifted, prices, prices
        weighed = self._standing(sifted, observed, digest) + Weighed.of_costs(prices, self.weights["cost"])
        return sifted, weighed.scores(prices.size), prices

    def _without(self, too_dear: Flags) -> SiftedColumns:
        """``all`` without those of the priced services that are ``too_dear``."""
        verdicts = self.all.verdicts.copy()
        # Clause `cost` comes before all that these services may have failed after it.
        verdicts[self.priced[too_dear]] = self.asked["cost"]
        kept = ~too_dear[self.all.within]
        feasible, within, preferences = (
            each[kept] for each in (self.all.feasible, self.all.within, self.all.preferences)
        )
        return SiftedColumns.of(verdicts, feasible, within, preferences, self.asked)

    def _standing(self, sifted: SiftedColumns, observed: Callable[[], Observed], digest: str) -> Weighed:
        """The terms of the scores that do not depend on prices."""

        def worked_out() -> Weighed:
            rows, weights = sifted.feasible, self.weights
            terms = standing_terms(rows, self.needs, self.columns, observed(), sifted.preferences, weights)
            return Weighed.of(terms, weights)

        return sifted.standing(digest, worked_out)
