"""The choice to be made, as numbers: candidates of each stage in rank order, and limits from end to end.

Theory of operation
-------------------
A *selection* takes one candidate of each stage, by rank. ``Problem.reduced`` leaves out what cannot
be in the best sound selection, by two rules. A candidate that breaks a limit even beside the best
offers that the other stages could make (their ``ideal``, each bound from whoever offers it best)
is in no sound selection. And a candidate that offers nothing better than an earlier one of its stage
is never preferred to it: the earlier one scores no less and has the smaller rank, so that ties too
come out as the rules say. Both use only that a better offer never composes worse.

Laws (each has a test of the same name)
---------------------------------------
- reduction_keeps_the_best_selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from caio.routing.plans.composition import Composition, Offers, is_met, usable

Selection = tuple[int, ...]


class Candidate(NamedTuple):
    """One service that a stage could use; ``rank`` counts from 0 in the stage's own ranking."""

    rank: int
    score: int
    offers: Offers


@dataclass(frozen=True, slots=True)
class Problem:
    """Stages of candidates in rank order, so that scores never rise; limits are (bound, nanos)."""

    composition: Composition
    stages: tuple[tuple[Candidate, ...], ...]
    limits: tuple[tuple[str, int], ...]

    def is_sound(self, offers: Sequence[Offers]) -> bool:
        return all(self.composition.holds(bound, limit, offers) for bound, limit in self.limits)

    def ideals(self) -> list[Offers]:
        """Of each stage, the best anyone offers for each bound that the limits read."""
        return [ideal(stage, self._read()) for stage in self.stages]

    def best_offer(self, bound: str) -> int | None:
        """The best that any selection offers for ``bound`` alone: a percentile uses one statistic of each
        stage, every other bound one number, so the ideals are what some selection really offers."""
        return self.composition.compose(bound, [ideal(stage, usable(bound)) for stage in self.stages])

    def reduced(self) -> Problem:
        """The same problem without candidates, and limits, that decide nothing."""
        kept = self._undominated()._possible()
        needed = tuple(limit for limit in kept.limits if not kept._always_met(limit))
        return replace(kept, limits=needed)._undominated()

    def _undominated(self) -> Problem:
        read = self._read()
        return replace(self, stages=tuple(_undominated(stage, read) for stage in self.stages))

    def _read(self) -> tuple[str, ...]:
        return tuple(sorted({each for bound, _ in self.limits for each in usable(bound)}))

    def _possible(self) -> Problem:
        """Without candidates that break a limit beside the ideals of all other stages."""
        problem = self
        while True:
            ideals = problem.ideals()
            stages = tuple(
                tuple(each for each in stage if problem.is_sound([*ideals[:place], each.offers, *ideals[place + 1 :]]))
                for place, stage in enumerate(problem.stages)
            )
            if stages == problem.stages or not all(stages):
                return replace(problem, stages=stages)
            problem = replace(problem, stages=stages)

    def _always_met(self, limit: tuple[str, int]) -> bool:
        bound, most = limit
        worst = [_worst(stage, usable(bound)) for stage in self.stages]
        return is_met(bound, most, self.composition.compose(bound, worst))


def ideal(stage: Sequence[Candidate], bounds: Sequence[str]) -> Offers:
    """The best that any of the candidates offers for each of ``bounds``."""
    found: dict[str, int] = {}
    for bound in bounds:
        values = [each.offers[bound] for each in stage if bound in each.offers]
        if values:
            found[bound] = max(values) if bound.endswith(".min") else min(values)
    return found


def _worst(stage: Sequence[Candidate], bounds: Sequence[str]) -> Offers:
    """What every one of the candidates offers at least."""
    found: dict[str, int] = {}
    for bound in bounds:
        values = [each.offers[bound] for each in stage if bound in each.offers]
        if values and len(values) == len(stage):
            found[bound] = min(values) if bound.endswith(".min") else max(values)
    return found


def _undominated(stage: Sequence[Candidate], bounds: Sequence[str]) -> tuple[Candidate, ...]:
    kept: list[tuple[Candidate, tuple[float, ...]]] = []
    for each in stage:
        # Lower is better in every place; what is undeclared is worse than any number, and is never computed with.
        lacks = tuple(_lack(each.offers, bound) for bound in bounds)
        if not any(all(mine <= theirs for mine, theirs in zip(better, lacks, strict=True)) for _, better in kept):
            kept.append((each, lacks))
    return tuple(each for each, _ in kept)


def _lack(offers: Offers, bound: str) -> float:
    value: float = offers.get(bound, float("inf"))
    return -offers[bound] if bound.endswith(".min") and bound in offers else value
