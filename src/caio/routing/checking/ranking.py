"""The ranking: terms, weights, scores and the keyed order of equals, by the rules' definitions.

Every number is an integer and every division floors, so that there is one right answer. Terms are
computed for all feasible services together, because two of them compare a service with the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from caio.foundation.hashing import keyed
from caio.foundation.quantity import NANO, read_nanos
from caio.routing.checking.clauses import tightest, worst_cost
from caio.routing.checking.evidence import Document, Service, Unreadable, World
from caio.routing.model import DEFAULT_WEIGHTS, SCALE, TERMS, Effect, OnViolation

#: History counts for more than the declared availability after this many calls.
_PRIOR_CALLS = 20
_PRIOR = 9 * SCALE // 10


class Row(NamedTuple):
    """A feasible service in its place: score in [0, SCALE], worst-case price in nano-units."""

    service: Service
    score: int
    worst_cost: int


def seed_of(world: World) -> str:
    stated: str | None = world.request["seed"]
    return world.hashes["request"] if stated is None else stated


def weights_of(world: World) -> dict[str, int]:
    """The weight of each of the five terms; raises Unreadable for unknown terms and negative weights."""
    stated = _first_stated(world, "weights", dict(DEFAULT_WEIGHTS))
    if not set(stated) <= set(TERMS) or any(type(weight) is not int or weight < 0 for weight in stated.values()):
        raise Unreadable("weights are non-negative integers for known terms")
    return {term: stated.get(term, 0) for term in TERMS}


def on_violation_of(world: World) -> str:
    return OnViolation(_first_stated(world, "on_violation", "report")).value


def ranked(world: World, feasible: Sequence[Service]) -> list[Row]:
    """``feasible``, best first."""
    costs = [worst_cost(world.request, service.contract) for service in feasible]
    terms: Mapping[str, Sequence[int]] = {
        "margin": [_margin(world.bounds, service.contract) for service in feasible],
        "cost": [_between(cost, min(costs), max(costs)) for cost in costs],
        "performance": _performance(world.request, feasible),
        "reliability": [_reliability(world.history, service.contract) for service in feasible],
        "preference": [_preference(world, service) for service in feasible],
    }
    telling = {term: weight for term, weight in weights_of(world).items() if weight and len(set(terms[term])) > 1}
    total = sum(telling.values())
    rows = []
    for place, service in enumerate(feasible):
        weighted = sum(weight * terms[term][place] for term, weight in telling.items())
        rows.append(Row(service, weighted // total if total else SCALE, costs[place]))
    key = seed_of(world).encode()
    return sorted(rows, key=lambda row: (-row.score, keyed(key, row.service.pinned.encode())))


def _first_stated(world: World, name: str, default: Any) -> Any:
    """The first policy in force that states ``name`` decides, else the request, else the default."""
    for rule in world.rules:
        if rule.in_force and rule.document.get(name) is not None:
            return rule.document[name]
    return default if world.request[name] is None else world.request[name]


def _margin(bounds: Mapping[str, int], contract: Document) -> int:
    margins = []
    for bound, required in bounds.items():
        found = tightest(contract, bound)
        if found is None:
            raise Unreadable(f"a feasible service offers nothing for {bound}")
        offered = found[0]
        slack, whole = (offered - required, offered) if bound.endswith(".min") else (required - offered, required)
        margins.append(min(SCALE, max(0, slack * SCALE // whole)) if whole > 0 else 0)
    return sum(margins) // len(margins) if margins else 0


def _performance(request: Document, feasible: Sequence[Service]) -> list[int]:
    prop = "first_token_ms" if request["stream"] else "latency_ms"
    declared = [tightest(service.contract, f"{prop}.p95") for service in feasible]
    times = [found[0] for found in declared if found is not None]
    return [0 if found is None else _between(found[0], min(times), max(times)) for found in declared]


def _between(value: int, best: int, worst: int) -> int:
    """How far ``value`` is from the worst, SCALE when there is no difference."""
    return SCALE if best == worst else (worst - value) * SCALE // (worst - best)


def _reliability(history: Document, contract: Document) -> int:
    calls, successes, _ = history.get(contract["service_id"], (0, 0, 0))
    declared = contract["guarantees"].get("availability", {}).get("min")
    prior = _PRIOR if declared is None else min(SCALE, read_nanos(declared) * SCALE // NANO)
    return int((successes * SCALE + _PRIOR_CALLS * prior) // (calls + _PRIOR_CALLS))


def _preference(world: World, service: Service) -> int:
    prefers = [rule for rule in world.rules if rule.effect is Effect.PREFER and rule.in_force]
    total = sum(rule.document["priority"] for rule in prefers)
    satisfied = sum(rule.document["priority"] for rule in prefers if rule.says(service))
    return int(satisfied * SCALE // total) if total else 0
