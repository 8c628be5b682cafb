"""The ranking: terms, weights, scores and the keyed order of equals, by the rules' definitions.

Every number is an integer and every division floors, so that there is one right answer. Terms are
computed for all feasible services together, because two of them compare a service with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from caio.foundation.hashing import keyed
from caio.foundation.quantity import NANO
from caio.routing.checking.clauses import tightest, worst_cost
from caio.routing.checking.evidence import Service, Unreadable, World
from caio.routing.model import DEFAULT_WEIGHTS, SCALE, TERMS, Effect

#: From so many observed calls on, the observed latency tells more than the declared one.
_TELLING_CALLS = 20

#: The declared availability counts for as much as so many observed calls; undeclared, it is ``_PRIOR``.
_PRIOR_CALLS = 20
_PRIOR = 9 * SCALE // 10


class Row(NamedTuple):
    """A feasible service in its place: score in [0, SCALE], worst-case price in nano-units."""

    service: Service
    score: int
    worst_cost: int


def ranked(world: World, feasible: Sequence[Service]) -> list[Row]:
    """``feasible``, best first."""
    costs = [worst_cost(world.request, service.contract) for service in feasible]
    terms = {
        "margin": [_margin(world, service) for service in feasible],
        "cost": _lowest_best(costs),
        "performance": _lowest_best([_p95(world, service) for service in feasible]),
        "reliability": [_reliability(service) for service in feasible],
        "preference": [_preference(world, service) for service in feasible],
    }
    telling = {term: weight for term, weight in weights_of(world).items() if weight and len(set(terms[term])) > 1}
    total = sum(telling.values())
    rows = []
    for place, service in enumerate(feasible):
        weighted = sum(weight * terms[term][place] for term, weight in telling.items())
        rows.append(Row(service, weighted // total if total else SCALE, costs[place]))
    return sorted(rows, key=lambda row: (-row.score, keyed(world.seed.encode(), row.service.pinned.encode())))


def weights_of(world: World) -> dict[str, int]:
    """The weight of each of the five terms; raises Unreadable for unknown terms and negative weights."""
    stated = first_stated(world, "weights", dict(DEFAULT_WEIGHTS))
    if not set(stated) <= set(TERMS) or any(type(weight) is not int or weight < 0 for weight in stated.values()):
        raise Unreadable("weights are non-negative integers for known terms")
    return {term: stated.get(term, 0) for term in TERMS}


def first_stated(world: World, name: str, default: Any) -> Any:
    """What the first policy in force that states ``name`` says, else the request, else the default."""
    stated = [rule.document[name] for rule in world.rules if rule.in_force and rule.document.get(name) is not None]
    return next((value for value in (*stated, world.request[name]) if value is not None), default)


def _margin(world: World, service: Service) -> int:
    margins = []
    for bound, required in world.bounds.items():
        offered = tightest(service.contract, bound)[0] or 0
        slack, whole = (offered - required, offered) if bound.endswith(".min") else (required - offered, required)
        margins.append(min(SCALE, max(0, slack * SCALE // whole)) if whole > 0 else 0)
    return sum(margins) // max(1, len(margins))


def _lowest_best(values: Sequence[int | None]) -> list[int]:
    """SCALE for the lowest value and 0 for the highest; SCALE for all that have one when it is the same; 0 for none."""
    known = [value for value in values if value is not None]
    best, worst = min(known, default=0), max(known, default=0)
    return [
        0 if each is None else (worst - each) * SCALE // (worst - best) if worst > best else SCALE for each in values
    ]


def _p95(world: World, service: Service) -> int | None:
    """The observed 95th percentile when it says something, else the declared one, in nanos of a millisecond."""
    calls, _, observed_ms = service.track
    if calls >= _TELLING_CALLS and observed_ms > 0 and not world.request["stream"]:
        return observed_ms * NANO
    return tightest(service.contract, "first_token_ms.p95" if world.request["stream"] else "latency_ms.p95")[0]


def _reliability(service: Service) -> int:
    calls, successes, _ = service.track
    declared, _ = tightest(service.contract, "availability.min")
    prior = _PRIOR if declared is None else min(SCALE, declared)
    return (successes * SCALE + _PRIOR_CALLS * prior) // (calls + _PRIOR_CALLS)


def _preference(world: World, service: Service) -> int:
    prefers = [rule for rule in world.rules if rule.effect is Effect.PREFER and rule.in_force]
    total = sum(rule.document["priority"] for rule in prefers)
    satisfied = sum(rule.document["priority"] for rule in prefers if rule.says(service))
    return int(satisfied * SCALE // total) if total else 0
