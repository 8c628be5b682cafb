"""Why the winner came before the runner-up: the telling terms of both, and what stands behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caio.foundation.quantity import decimal_text
from caio.routing.columns import Numbers
from caio.routing.explaining.phrases import amount, label, thousands
from caio.routing.expressions import EvaluationError
from caio.routing.matching import Needs
from caio.routing.model import SCALE, TERMS, Effect, History, Offer, Ranked
from caio.routing.optimization import fraction, standing_terms
from caio.routing.reasons import tightest
from caio.routing.rules import InForce, Rule
from caio.routing.snapshot import Snapshot

#: Calls from which on the observed latency is what counts (docs/reference/routing-rules.md).
_TELLING_CALLS = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """One term that tells candidates apart; ``winner`` and ``runner_up`` are their values in [0, 10⁹].

    A score is the sum of weight times value over all telling terms, floor-divided by the sum of
    their weights. ``contribution`` is what this term adds to the winner's side of that sum:
    weight · (winner - runner_up). ``words`` is said of the winner.
    """

    term: str
    weight: int
    winner: int
    runner_up: int
    contribution: int
    words: str


@dataclass(frozen=True, slots=True)
class Contest:
    """The feasible services in rank order, at least two, with what their scores were made from."""

    snapshot: Snapshot
    ranked: Sequence[Ranked]
    needs: Needs
    force: InForce
    preferring: Sequence[Rule]
    history: History
    weights: Mapping[str, int]

    def telling(self) -> list[Comparison]:
        """The terms that the scores are the weighted mean of, in canonical order."""
        terms = self._terms()
        telling = [name for name in TERMS if self.weights[name] and terms[name].min() != terms[name].max()]
        return [self._comparison(name, int(terms[name][0]), int(terms[name][1])) for name in telling]

    def _terms(self) -> dict[str, Numbers]:
        """All five terms of each candidate, in rank order."""
        places = {offer.key: row for row, offer in enumerate(self.snapshot.offers)}
        rows = np.array([places[each.offer.key] for each in self.ranked], np.intp)
        prices = np.array([each.worst_cost for each in self.ranked], np.int64)
        dearest, cheapest = int(prices.max()), int(prices.min())
        alike = np.full(prices.size, SCALE, np.int64)
        cost = alike if dearest == cheapest else fraction(dearest - prices, dearest - cheapest)
        observed, preferences = self.snapshot.observed(self.history), self.force.preferences(rows)
        return {"cost": cost, **standing_terms(rows, self.needs, self.snapshot.columns, observed, preferences)}

    def _comparison(self, term: str, winner: int, runner_up: int) -> Comparison:
        weight, words = self.weights[term], f"as good as the runner-up in {term}"
        if winner != runner_up:
            words = _WORDS[term](self, self.ranked[0], self.ranked[1], (winner, runner_up))
        return Comparison(term, weight, winner, runner_up, weight * (winner - runner_up), words)

    def _margin(self, first: Ranked, second: Ranked, values: tuple[int, int]) -> str:
        own, other = _percentages(*values)
        return f"stays {own} within the requested bounds on average, against {other}"

    def _cost(self, first: Ranked, second: Ranked, values: tuple[int, int]) -> str:
        kind = "cheaper" if first.worst_cost < second.worst_cost else "dearer"
        gap, own, other = map(_money, (abs(first.worst_cost - second.worst_cost), first.worst_cost, second.worst_cost))
        return f"{kind} by {gap} {self.needs.request.currency} in the worst case ({own} against {other})"

    def _performance(self, first: Ranked, second: Ranked, values: tuple[int, int]) -> str:
        verb, own = self._latency(first.offer)
        other_verb, other = self._latency(second.offer)
        return (
            f"{verb} {own} against {other}" if verb == other_verb else f"{verb} {own}; the other {other_verb} {other}"
        )

    def _latency(self, offer: Offer) -> tuple[str, str]:
        """How the latency is known, and what it is."""
        stream, track = self.needs.request.stream, self.history.tracks.get(offer.service_id)
        if not stream and track is not None and track.calls >= _TELLING_CALLS and track.p95_ms:
            return "was observed at", f"p95 {track.p95_ms:,} ms"
        name = "first_token_ms" if stream else "latency_ms"
        found = tightest(offer.bounds, f"{name}.p95")
        if found is None:
            return "promises", "no latency"
        return "promises", f"{label(f'{name}.{found[0]}')} {amount(f'{name}.p95', decimal_text(found[1]))}"

    def _reliability(self, first: Ranked, second: Ranked, values: tuple[int, int]) -> str:
        verb, own = self._record(first.offer)
        other_verb, other = self._record(second.offer)
        return (
            f"{verb} {own} against {other}" if verb == other_verb else f"{verb} {own}; the other {other_verb} {other}"
        )

    def _record(self, offer: Offer) -> tuple[str, str]:
        track = self.history.tracks.get(offer.service_id)
        if track is not None and track.calls:
            share = _percentage(track.successes * SCALE // track.calls, 1)
            return "was reliable in", f"{share} of {track.calls:,} call{'s' * (track.calls > 1)}"
        promised = offer.bounds.get("availability.min")
        if promised is None:
            return "was not called lately and promises", "no availability"
        return "was not called lately and promises", f"an availability of {decimal_text(promised)}"

    def _preference(self, first: Ranked, second: Ranked, values: tuple[int, int]) -> str:
        own, other = self._preferred_by(first.offer), self._preferred_by(second.offer)
        return f"preferred by {own}, the other by {other}"

    def _preferred_by(self, offer: Offer) -> str:
        names = [rule.policy.policy_id for rule in self.preferring if prefers(rule, offer)]
        shown = ", ".join(names[:3]) or "no policy"
        return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def prefers(rule: Rule, offer: Offer) -> bool:
    """Whether a ``prefer`` in force is satisfied; one that fails to evaluate is not."""
    try:
        return rule.policy.effect is Effect.PREFER and rule.says({"service": offer.variables})
    except EvaluationError:
        return False


def _money(nanos: int) -> str:
    return thousands(decimal_text(nanos))


def _percentages(first: int, second: int) -> tuple[str, str]:
    """Both as percentages, with as many places as it takes to tell them apart."""
    for places in (1, 3):
        own, other = _percentage(first, places), _percentage(second, places)
        if own != other:
            return own, other
    return _percentage(first, 7), _percentage(second, 7)


def _percentage(part: int, places: int) -> str:
    """Rounded down, so that only all of it is 100 %."""
    unit = 10 ** (7 - places)
    return f"{decimal_text(part // unit * unit * 100)} %"


_WORDS: Mapping[str, Callable[[Contest, Ranked, Ranked, tuple[int, int]], str]] = {
    "margin": Contest._margin,
    "cost": Contest._cost,
    "performance": Contest._performance,
    "reliability": Contest._reliability,
    "preference": Contest._preference,
}
