"""What several services promise together: one exact rule for each bound.

Theory of operation
-------------------
``Composition`` knows the graph of the stages; ``compose`` takes what each stage offers and gives what
holds from end to end. Every rule is sound whatever happens inside the services and however their
failures coincide, but for ``availability.min``, which supposes that they fail independently. The
arguments are in docs/explanation/guarantees.md.

Percentiles do not add. If a stage exceeds its p95 in at most 5 of 100 calls and another its p99 in
at most 1, then at most 6 of 100 calls meet either. A percentile therefore composes from any choice of
statistics whose risks sum to no more than its own. Of all such choices the one with the shortest
longest path is offered: it suffices to try the *maximal* ways of sharing the risk out
(``_shares``), and to let every stage use its best statistic within its share.

Laws (each has a test of the same name)
---------------------------------------
- a_better_offer_never_composes_worse: in every stage and every bound, which the search relies on.
- percentiles_are_the_best_choice_within_the_risk: as trying every choice finds it.
- one_stage_keeps_its_own_promise.

Quantities are nanos, and no division but the availability's one floor is made. Not checked: that
ratios are in [0, 1] and times not negative, which contracts are held to at the door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import prod

from caio.foundation.quantity import NANO

#: What a stage offers: nanos by bound, ``cost.max`` being its worst-case price.
Offers = Mapping[str, int]

#: Of a hundred calls, how many may take longer than the statistic says; in order of strength.
RISKS = {"p50": 50, "p95": 5, "p99": 1, "max": 0}

_LATENCY = "latency_ms."


class Composition:
    """The rules for one graph of stages, given as the places of each stage's predecessors."""

    def __init__(self, predecessors: Sequence[Sequence[int]]) -> None:
        self.predecessors = tuple(tuple(before) for before in predecessors)
        self.paths = _paths(self.predecessors)
        self._stages = len(predecessors)

    def compose(self, bound: str, offers: Sequence[Offers]) -> int | None:
        """What ``bound`` comes to from end to end; None when a stage leaves it undeclared.

        Raises KeyError for a bound without a rule.
        """
        if bound.startswith(_LATENCY):
            return min(self._latencies(bound, offers), default=None)
        values = [offer[bound] for offer in offers if bound in offer]
        if len(values) < self._stages:
            return None
        return _RULES[bound](values)

    def holds(self, bound: str, limit: int, offers: Sequence[Offers]) -> bool:
        """Whether the composed offer meets ``limit``; quicker than composing it."""
        if bound.startswith(_LATENCY):
            return any(longest <= limit for longest in self._latencies(bound, offers))
        return is_met(bound, limit, self.compose(bound, offers))

    def _latencies(self, bound: str, offers: Sequence[Offers]) -> Iterator[int]:
        """The longest path's time for each maximal way to share out the bound's risk."""
        shares = _shares(self._stages, RISKS[bound.removeprefix(_LATENCY)])
        within = [_within_each_risk(offer) for offer in offers]
        for share in shares:
            times = [times[allowed] for times, allowed in zip(within, share, strict=True)]
            if None not in times:
                yield max(sum(times[place] or 0 for place in path) for path in self.paths)


def is_met(bound: str, required: int, offered: int | None) -> bool:
    """Whether a composed offer meets what is required; an undeclared one meets nothing."""
    if offered is None:
        return False
    return offered >= required if bound.endswith(".min") else offered <= required


def usable(bound: str) -> tuple[str, ...]:
    """The bounds of a stage that ``bound`` may be composed from."""
    if not bound.startswith(_LATENCY):
        return (bound,)
    risk = RISKS[bound.removeprefix(_LATENCY)]
    return tuple(_LATENCY + name for name, own in RISKS.items() if own <= risk)


def _availability(values: Sequence[int]) -> int:
    return prod(values) // int(NANO ** (len(values) - 1))


def _accuracy(values: Sequence[int]) -> int:
    return max(0, NANO - sum(NANO - value for value in values))


def _error_rate(values: Sequence[int]) -> int:
    return min(NANO, sum(values))


def _determinism(_: Sequence[int]) -> int:
    return NANO


_RULES: Mapping[str, Callable[[Sequence[int]], int]] = {
    "accuracy.min": _accuracy,
    "availability.min": _availability,
    "cost.max": sum,
    "determinism.min": _determinism,
    "error_rate.max": _error_rate,
    "throughput.min": min,
}


def _within_each_risk(offer: Offers) -> dict[int, int | None]:
    """For each risk, the shortest time that is exceeded no more often."""
    best: int | None = None
    found: dict[int, int | None] = {}
    for name in reversed(RISKS):
        time = offer.get(_LATENCY + name)
        if time is not None and (best is None or time < best):
            best = time
        found[RISKS[name]] = best
    return found


@cache
def _shares(stages: int, risk: int) -> tuple[tuple[int, ...], ...]:
    """The maximal ways to share ``risk`` out over ``stages``: no stage could be allowed a larger one of RISKS."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(stages):
        found = [(*share, own) for share in found for own in RISKS.values() if sum(share) + own <= risk]
    larger = {own: [other for other in RISKS.values() if other > own] for own in RISKS.values()}
    return tuple(
        share
        for share in found
        if not any(sum(share) - own + other <= risk for own in share for other in larger[own][-1:])
    )


def _paths(predecessors: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Every path from a first stage to a last one that is not part of another: times are not negative."""
    ending: list[list[tuple[int, ...]]] = []
    for place, before in enumerate(predecessors):
        ending.append([(*path, place) for other in before for path in ending[other]] or [(place,)])
    every = sorted((path for paths in ending for path in paths), key=len, reverse=True)
    kept: list[tuple[int, ...]] = []
    for path in every:
        if not any(set(path) <= set(longer) for longer in kept):
            kept.append(path)
    return tuple(kept)
