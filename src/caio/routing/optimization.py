"""Stage 4, optimize: order the feasible services by an integer score.

Each term is an integer in [0, SCALE], and terms that are equal for every candidate are dropped:
they would shift all scores and distinguish none. Ties are broken by a hash keyed with the seed,
so neither registration order nor a service's name wins by accident. The formulas are those of
``docs/reference/routing-rules.md``. No result depends on a float: where one is used, it is a first
guess that integers correct (``fraction``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, overload

import numpy as np

from caio.foundation.hashing import keyed
from caio.routing.columns import Columns, Numbers, Rows, Values
from caio.routing.matching import Needs, tightest, undeclared
from caio.routing.model import SCALE, Offer, Ranked
from caio.routing.observed import Observed

Terms = Mapping[str, Numbers]

#: Below this the product with SCALE fits 64 bits.
_SMALL = 2**33


#: Margins over one bound that are kept, of services that are not more than so many.
_KEPT_MARGINS = 1_024
_KEPT_ROWS = 512


def standing_terms(
    rows: Rows,
    needs: Needs,
    columns: Columns,
    observed: Observed,
    preferences: Numbers,
    weights: Mapping[str, int] | None = None,
) -> Terms:
    """Each term of the feasible ``rows``, which are not none, that does not depend on the prices; of ``weights``,
    those alone that count."""
    terms: Mapping[str, Callable[[], Numbers]] = {
        "margin": lambda: _margins(rows, needs, columns),
        "performance": lambda: _speeds(rows, needs, columns, observed),
        "reliability": lambda: observed.reliability[rows],
        "preference": lambda: preferences,
    }
    return {name: term() for name, term in terms.items() if weights is None or weights[name]}


@dataclass(frozen=True, slots=True)
class Weighed:
    """Terms put together: the sum of weight · term for each candidate, and of the weights, over those
    terms that tell candidates apart. A term equal for all of them says nothing and is left out."""

    sum: Numbers | int = 0
    weight: int = 0

    @classmethod
    def of(cls, terms: Terms, weights: Mapping[str, int]) -> Self:
        telling = [(weights[name], term) for name, term in terms.items() if weights[name] and term.min() != term.max()]
        return cls(sum((weight * term for weight, term in telling), start=0), sum(weight for weight, _ in telling))

    @classmethod
    def of_costs(cls, prices: Numbers, weight: int) -> Self:
        """The term of the worst-case prices, which are not none."""
        dearest, cheapest = int(prices.max()), int(prices.min())
        if dearest == cheapest or not weight:
            return cls()
        return cls(weight * fraction(dearest - prices, dearest - cheapest), weight)

    def __add__(self, other: Weighed) -> Weighed:
        return Weighed(self.sum + other.sum, self.weight + other.weight)

    def scores(self, candidates: int) -> Numbers:
        """The weighted mean of each candidate, SCALE when nothing tells them apart."""
        if isinstance(self.sum, int):
            return np.full(candidates, SCALE, np.int64)
        return self.sum // self.weight


def fraction(part: Numbers, whole: Numbers | int) -> Numbers:
    """``part · SCALE // whole``, exactly, for 0 ≤ part ≤ whole and 0 < whole < 2**61.

    The product may leave 64 bits. The quotient, below 2**30, is guessed in doubles, right to one;
    the remainder of the guess is less than two wholes, so that arithmetic modulo 2**64 gives it
    exactly, and its sign corrects the guess.
    """
    if isinstance(whole, int) and whole < _SMALL:
        return part * SCALE // whole
    guess = (part / whole * SCALE).astype(np.int64)
    rest = part * SCALE - guess * whole
    return guess - (rest < 0) + (rest >= whole)


def _margins(rows: Rows, needs: Needs, columns: Columns) -> Numbers:
    total = np.zeros(rows.size, np.int64)
    for name, required in needs.bounds:
        if name.endswith(".min") or required > 0:
            total += _margin(rows, columns, name, required)
    return total // max(1, len(needs.bounds))


def _margin(rows: Rows, columns: Columns, name: str, required: int) -> Numbers:
    """By how much the feasible ``rows`` are better than one bound. Requests combine the same bounds in ever new ways,
    so that over few services it is kept of all of them."""
    offered = tightest(columns, name)
    if offered.size > _KEPT_ROWS:
        return _beyond(offered[rows], name, required)
    known = columns.margins.get((name, required))
    if known is None:
        known = _beyond(offered, name, required)
        if len(columns.margins) >= _KEPT_MARGINS:
            columns.margins.clear()
        columns.margins[name, required] = known
    return known[rows]


def _beyond(offered: Numbers, name: str, required: int) -> Numbers:
    """The margin of what is ``offered``, 0 where that misses the bound."""
    if name.endswith(".min"):
        whole = np.maximum(offered, 1)
        return np.where(offered >= max(required, 1), fraction(np.clip(offered - required, 0, whole), whole), 0)
    return fraction(np.clip(required - offered, 0, required), required)


def _closeness(costs: Numbers) -> Numbers:
    """How close each cost is to the least of them, the greatest being 0."""
    worst, best = int(costs.max()), int(costs.min())
    return fraction(worst - costs, worst - best) if worst != best else np.full(costs.size, SCALE, np.int64)


def _speeds(rows: Rows, needs: Needs, columns: Columns, observed: Observed) -> Numbers:
    stream = needs.request.stream
    bound = "first_token_ms.p95" if stream else "latency_ms.p95"
    latencies = tightest(columns, bound)[rows]
    if not stream:
        seen = observed.p95[rows]
        latencies = np.where(seen > 0, seen, latencies)
    known = (latencies != undeclared(bound)).nonzero()[0]
    if known.size == rows.size:
        return _closeness(latencies)
    speeds = np.zeros(rows.size, np.int64)
    if known.size:
        speeds[known] = _closeness(latencies[known])
    return speeds


@dataclass(slots=True, eq=False)
class Ranking(Sequence[Ranked]):
    """The feasible offers, best first. Only as much is put in order as is asked for: the winner and
    the few that a certificate shows, and all of them when a caller goes on.

    ``rows`` are the feasible services' ascending; ``scores`` and ``prices`` are theirs.
    """

    offers: Sequence[Offer]
    rows: Rows | Sequence[int]
    scores: Values
    prices: Values
    seed: str
    _order: list[int] = field(default_factory=list, compare=False, repr=False)
    # In rank order. Made once, so that whoever looks twice sees one and the same.
    _made: list[Ranked] = field(default_factory=list, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Ranked: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Ranked, ...]: ...
    def __getitem__(self, index: int | slice) -> Ranked | tuple[Ranked, ...]:
        made = self._made
        if isinstance(index, slice):
            stop = index.stop if index.stop is not None and index.stop >= 0 else len(self)
            return tuple(made[index] if stop <= len(made) else self.best(stop)[index])
        if 0 <= index < len(made):
            return made[index]
        return self.best(index + 1 if index >= 0 else len(self))[index]

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.best(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def best(self, count: int) -> Sequence[Ranked]:
        """At least the first ``count``, in rank order."""
        made = self._made
        if len(made) < count and len(made) < len(self.scores):
            offers, rows, scores, prices = self.offers, self.rows, self.scores, self.prices
            further = self.places(count)[len(made) : count]
            if isinstance(scores, list):
                made += [Ranked(offers[rows[at]], scores[at], prices[at]) for at in further]
            else:
                made += [Ranked(offers[rows[at]], int(scores[at]), int(prices[at])) for at in further]
        return made

    def places(self, count: int) -> list[int]:
        """At least the first ``count`` in rank order, as places in ``rows``."""
        if len(self._order) < count and len(self._order) < len(self.scores):
            self._order[:] = _first(count, self.scores, self._tie_break)
        return self._order

    def row(self, index: int) -> int:
        """The row of the service that is ranked there."""
        return int(self.rows[self.places(index + 1)[index]])

    def _tie_break(self, place: int) -> bytes:
        """A hash that nobody can aim at without the seed."""
        offer = self.offers[self.rows[place]]
        return keyed(self.seed.encode(), f"{offer.service_id}@{offer.version}".encode())


def _first(count: int, scores: Values, tie_break: Callable[[int], bytes]) -> list[int]:
    """The places of the ``count`` best, and of those equal to the last of them, in rank order; of few, of all."""
    if isinstance(scores, list):
        if len(set(scores)) == len(scores):  # no ties
            return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        chosen: Iterable[tuple[int, int]] = enumerate(scores)
    else:
        best = (scores >= _least(count, scores)).nonzero()[0]
        chosen = zip(best.tolist(), scores[best].tolist(), strict=True)
    by_score: dict[int, list[int]] = {}
    for place, score in chosen:
        by_score.setdefault(score, []).append(place)
    return [place for score in sorted(by_score, reverse=True) for place in _untied(by_score[score], tie_break)]


def _least(count: int, scores: Numbers) -> int:
    """The score of the last of the ``count`` best."""
    if count >= scores.size:
        return 0
    return int(np.partition(scores, scores.size - count)[scores.size - count])


def _untied(equals: list[int], tie_break: Callable[[int], bytes]) -> list[int]:
    return sorted(equals, key=tie_break) if len(equals) > 1 else equals
