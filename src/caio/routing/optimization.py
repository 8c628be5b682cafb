"""Stage 4, optimize: order the feasible services by an integer score.

Each term is an integer in [0, SCALE], and terms that are equal for every candidate are dropped:
they would shift all scores and distinguish none. Ties are broken by a hash keyed with the seed,
so neither registration order nor a service's name wins by accident. The formulas are those of
``docs/reference/routing-rules.md``; there is no float in this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caio.foundation.hashing import keyed
from caio.routing.matching import Needs, tightest
from caio.routing.model import SCALE, TERMS, History, Offer, Ranked, Track

#: Calls' worth of confidence given to the prior before anything was observed.
_PRIOR_CALLS = 20
_PRIOR = 9 * SCALE // 10


def rank(
    candidates: Sequence[tuple[Offer, int]],
    needs: Needs,
    history: History,
    preferences: Sequence[int],
    weights: Mapping[str, int],
    seed: str,
) -> tuple[Ranked, ...]:
    """Best first. ``candidates`` are feasible offers with their worst-case prices, ``preferences``
    their preference terms, ``weights`` a non-negative integer for each of TERMS."""
    if not candidates:
        return ()
    terms = {
        "margin": [_margin(offer, needs) for offer, _ in candidates],
        "cost": _cheapness([price for _, price in candidates]),
        "performance": _speed([_latency(offer, needs) for offer, _ in candidates]),
        "reliability": [_reliability(offer, history) for offer, _ in candidates],
        "preference": list(preferences),
    }
    telling = [name for name in TERMS if weights[name] > 0 and len(set(terms[name])) > 1]
    total = sum(weights[name] for name in telling)
    by_score: dict[int, list[Ranked]] = {}
    for index, (offer, price) in enumerate(candidates):
        weighted = sum(weights[name] * terms[name][index] for name in telling)
        score = weighted // total if total else SCALE
        by_score.setdefault(score, []).append(Ranked(offer, score, price))
    return tuple(each for score in sorted(by_score, reverse=True) for each in _untied(by_score[score], seed))


def _untied(equals: list[Ranked], seed: str) -> list[Ranked]:
    """Services of one score, ordered by a hash that nobody can aim at without the seed."""
    if len(equals) == 1:
        return equals
    key = seed.encode()
    return sorted(equals, key=lambda each: keyed(key, f"{each.offer.service_id}@{each.offer.version}".encode()))


def _margin(offer: Offer, needs: Needs) -> int:
    if not needs.bounds:
        return 0
    return sum(_headroom(offer, name, required) for name, required in needs.bounds) // len(needs.bounds)


def _headroom(offer: Offer, name: str, required: int) -> int:
    found = tightest(offer.bounds, name)
    assert found is not None  # noqa: S101 - a feasible offer meets every bound
    offered = found[1]
    spare, whole = (offered - required, offered) if name.endswith(".min") else (required - offered, required)
    return max(0, min(SCALE, spare * SCALE // whole)) if whole > 0 else 0


def _cheapness(prices: Sequence[int]) -> list[int]:
    dearest, cheapest = max(prices), min(prices)
    if dearest == cheapest:
        return [SCALE] * len(prices)
    return [(dearest - price) * SCALE // (dearest - cheapest) for price in prices]


def _latency(offer: Offer, needs: Needs) -> int | None:
    found = tightest(offer.bounds, "first_token_ms.p95" if needs.request.stream else "latency_ms.p95")
    return found[1] if found else None


def _speed(latencies: Sequence[int | None]) -> list[int]:
    declared = [latency for latency in latencies if latency is not None]
    if not declared:
        return [0] * len(latencies)
    slowest, fastest = max(declared), min(declared)
    span = slowest - fastest
    return [
        0 if latency is None else SCALE if span == 0 else (slowest - latency) * SCALE // span for latency in latencies
    ]


def _reliability(offer: Offer, history: History) -> int:
    seen = history.tracks.get(offer.service_id, Track(0, 0, 0))
    prior = min(SCALE, offer.bounds.get("availability.min", _PRIOR))
    return (seen.successes * SCALE + _PRIOR_CALLS * prior) // (seen.calls + _PRIOR_CALLS)
