"""Plans to make: small graphs of stages over services whose promises are few, missing and contradictory.

``hard_plan(seed)`` makes one evidence document of a plan request. A stage asks for one of three
capabilities, so stages compete for the same services; end-to-end bounds lie on or a unit beside
what some selection offers, so that the best selection is often not sound.
"""

from __future__ import annotations

from itertools import pairwise, product
from random import Random

from caio.foundation.quantity import decimal_text
from spec.chains import composed
from tests.support.routing_cases import Document, contract, policy, principal, request

_KINDS = ("ask", "read", "write")
_TIMES = (0, 1, 100, 100, 150, 800)
_RATIOS = ("0", "0.9", "0.95", "0.999999999", "1")
_PRICES = ("0", "0.000000000001", "0.001", "0.0015", "0.002")
_BOUNDS = (
    *("latency_ms.p50", "latency_ms.p95", "latency_ms.p95", "latency_ms.p99", "latency_ms.max", "availability.min"),
    *("accuracy.min", "error_rate.max", "throughput.min", "determinism.min", "cost.max"),
)


def hard_plan(seed: int) -> Document:
    rng = Random(f"{seed} plan")
    services = [
        {"tenant": rng.choice(("acme", "acme", "acme", "rival")), "contract": _service(rng, f"service-{number}")}
        for number in range(rng.randint(1, 7))
    ]
    stages = graph(rng, rng.choice((1, 1, 2, 2, 2, 3, 3, 4)))
    for each in stages:
        each["request"] = _request(rng)
    policies = [policy(effect="prefer", then='service.id == "service-1"')] if rng.random() < 0.3 else []
    asked: Document = {"tenant_id": "acme", "currency": "USD", "stages": stages, "bounds": {}, "max_cost": None}
    asked["bounds"] = {
        name: _edge(rng, name, asked, services) for name in rng.sample(_BOUNDS, rng.choice((0, 1, 1, 2)))
    }
    if rng.random() < 0.3:
        asked["max_cost"] = rng.choice(("0", "0.001", "0.003", "0.005"))
    return {
        "plan": asked,
        "principal": principal(),
        "services": services,
        "policies": policies,
        "history": {"service-0": [25, 20, 90]} if rng.random() < 0.3 else {},
    }


def graph(rng: Random, count: int) -> list[Document]:
    """Stages without their requests: each after some of those before it."""
    names = [f"stage-{number}" for number in range(count)]
    return [
        {"name": name, "after": sorted(rng.sample(names[:place], rng.randint(0, min(place, 2))))}
        for place, name in enumerate(names)
    ]


def latencies(rng: Random) -> dict[str, int]:
    """Promises of latency, in milliseconds, in order of strength; some missing."""
    values = sorted(rng.choices(_TIMES, k=4))
    names = ("p50", "p95", "p99", "max")
    return {name: value for name, value in zip(names, values, strict=True) if rng.random() < 0.7}


def _service(rng: Random, name: str) -> Document:
    kinds = rng.sample(_KINDS, rng.choice((1, 2, 3, 3)))
    capabilities = [{"type": kind, "features": ["streaming"], "limits": {"max_tokens": 10}} for kind in sorted(kinds)]
    promises: Document = {
        "latency_ms": {name: str(value) for name, value in latencies(rng).items()},
        "availability": {"min": rng.choice(_RATIOS)},
        "accuracy": {"min": rng.choice(_RATIOS)},
        "error_rate": {"max": rng.choice(_RATIOS)},
        "throughput": {"min": rng.choice(("1", "5"))},
        "determinism": {"seed_required": False},
    }
    guarantees = {name: promise for name, promise in promises.items() if promise and rng.random() < 0.85}
    cost = {"currency": "USD", "per_request": rng.choice(_PRICES)}
    return {**contract(name), "capabilities": capabilities, "guarantees": guarantees, "cost": cost}


def _request(rng: Random) -> Document:
    bounds = {"accuracy.min": "0.9"} if rng.random() < 0.2 else {}
    weights = rng.choice((None, {"cost": 1}, {"preference": 1}))
    seed = rng.choice((None, "one", "two"))
    stream = rng.random() < 0.1
    return request(capabilities=[rng.choice(_KINDS)], bounds=bounds, weights=weights, seed=seed, stream=stream)


def _edge(rng: Random, name: str, asked: Document, services: list[Document]) -> str:
    """On or a unit beside what some services offer together; any number when they offer nothing."""
    contracts = [each["contract"] for each in services]
    some = [rng.choice(contracts) for _ in asked["stages"]]
    able = [
        {kind["type"] for kind in each["capabilities"]} >= set(stage["request"]["capabilities"])
        for each, stage in zip(some, asked["stages"], strict=True)
    ]
    offered = composed(name, asked, some) if all(able) else None
    return decimal_text(max(0, offered + rng.choice((-1, 0, 0, 1)))) if offered is not None else rng.choice(("0", "1"))


def every_path(stages: list[Document]) -> list[tuple[str, ...]]:
    """All chains of stages that follow one another, by name: another way to find the longest."""
    paths = [
        path
        for taken in product((False, True), repeat=len(stages))
        if (path := tuple(each["name"] for each, there in zip(stages, taken, strict=True) if there))
    ]
    after = {each["name"]: each["after"] for each in stages}
    return [path for path in paths if all(one in after[other] for one, other in pairwise(path))]
