"""Shapes of few services: each clause over the bits of an integer, and all sums one by one (``bits``, ``few``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from msgspec import Raw

from caio.foundation.canonical import canonical_plain
from caio.routing import matching, security
from caio.routing.bits import FewSieve, rows_of
from caio.routing.columns import Values
from caio.routing.commitments import counts_of, verdicts_hash
from caio.routing.few import KEPT_CUTS, Charges, Few, Standing
from caio.routing.matching import Needs, price_limit
from caio.routing.model import Principal, Request
from caio.routing.observed import Observed
from caio.routing.questions import Questions
from caio.routing.rules import InForce
from caio.routing.shapes import Shape, Sifted, weights_of


class SiftedRows:
    """``Sifted``. The ``feasible`` rows are at the places ``within`` those that were priced; None where that is all
    of them. ``standing`` is what they have beside their prices, with the hash of the last history."""

    __slots__ = (
        "commitment",
        "excluded",
        "feasible",
        "gone",
        "preferences",
        "standing",
        "verdicts",
        "within",
    )

    def __init__(
        self,
        services: int,
        gone: Sequence[tuple[int, int]],
        feasible: Sequence[int],
        priced: Sequence[int],
        preferences: Sequence[int],
        asked: Questions,
    ) -> None:
        self.gone = gone
        self.verdicts = [0] * services
        for question, rows in gone:
            for row in rows_of(rows):
                self.verdicts[row] = question
        self.feasible, self.preferences = feasible, preferences
        self.within = None if len(feasible) == len(priced) else [priced.index(row) for row in feasible]
        self.commitment = verdicts_hash(self.verdicts)
        self.excluded = Raw(canonical_plain(counts_of([(each, rows.bit_count()) for each, rows in gone], asked)))
        self.standing: tuple[str, Standing] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ShapeOfFew(Shape):
    """``all`` is as if every price passed clause ``cost``, which is asked of the ``priced`` rows by their ``charges``.
    What is left by which of these are affordable is kept beside those of other shapes: of each alone there are few,
    and who asks at ever new prices must not fill the memory."""

    few: Few
    all: SiftedRows
    priced: Sequence[int]
    charges: Charges

    @classmethod
    def of(cls, few: Few, needs: Needs, principal: Principal, force: InForce, policies: int) -> Self:
        """As ``ShapeOfMany.of``."""
        asked = Questions.of(needs.request, len(needs.features), len(needs.bounds), policies)
        services, sieve = few.field, FewSieve(few.field.every)
        matching.match(sieve, services, needs, asked, services.tightest)
        priced = rows_of(sieve.rows)
        few.exclude(sieve, force, asked["rules"])
        security.secure(sieve, services.dense, needs.request, principal, asked)
        feasible = rows_of(sieve.rows)
        weights = weights_of(force, needs.request)
        return cls(
            needs,
            asked,
            weights,
            Raw(canonical_plain(weights)),
            force.on_violation,
            few,
            SiftedRows(few.size, sieve.gone, feasible, priced, few.preferences(force, feasible), asked),
            priced,
            few.charges(priced, needs.request),
        )

    def valued(self, request: Request, observed: Callable[[], Observed], digest: str) -> tuple[Sifted, Values, Values]:
        most, prices = price_limit(request), self.charges.worst(request.input_bytes, request.deadline_ms)
        sifted = self.all if not prices or max(prices) <= most else self._cut(tuple([one <= most for one in prices]))
        if sifted.within is not None:
            prices = [prices[place] for place in sifted.within]
        if not prices:
            return sifted, prices, prices
        # One look and one write: another thread may be deciding under another history.
        known = sifted.standing
        if known is None or known[0] != digest:
            rows, weights = sifted.feasible, self.weights
            standing = self.few.standing(rows, self.needs, observed, digest, sifted.preferences, weights)
            known = sifted.standing = (digest, standing)
        return sifted, known[1].scores(prices, self.weights["cost"]), prices

    def _cut(self, affordable: tuple[bool, ...]) -> SiftedRows:
        """``all`` without those of the priced services that are not ``affordable``."""
        cuts = self.few.cuts
        known = cuts.get((self.all, affordable))
        if known is None:
            dear = sum([1 << row for row, fits in zip(self.priced, affordable, strict=True) if not fits])
            # Clause `cost` comes before all that these services may have failed after it.
            gone = [(self.asked["cost"], dear), *((each, rows & ~dear) for each, rows in self.all.gone)]
            of_each = zip(self.all.feasible, self.all.preferences, strict=True)
            left = [(row, preference) for row, preference in of_each if not dear >> row & 1]
            rows, preferences = [row for row, _ in left], [preference for _, preference in left]
            gone = [each for each in gone if each[1]]
            known = SiftedRows(self.few.size, gone, rows, self.priced, preferences, self.asked)
            if len(cuts) >= KEPT_CUTS:
                cuts.clear()
            cuts[self.all, affordable] = known
        return known
