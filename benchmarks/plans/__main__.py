"""Plans: how long it takes to choose the best services for several stages, with the certificate.

Chains of 3 to 8 stages with 50 to 200 candidates each, under one limit (price), two (price and the 95th
percentile) and four (accuracy and availability too), each limit halfway between what is easy and what
nothing meets. With the extra ``plans`` HiGHS guides the search; without it the search is alone. The
reference is the specification, which tries every selection of a chain it can still manage.
"""

from __future__ import annotations

import sys
from random import Random
from statistics import median
from typing import Any

from benchmarks.frame import Report, measure_pairs, seconds
from benchmarks.kernel.worlds import PRINCIPAL, TENANT
from caio.foundation.errors import CaioError
from caio.foundation.hashing import CONTRACT, digest_of
from caio.foundation.quantity import nanos
from caio.routing.engine import Snapshot, compile_snapshot
from caio.routing.expressions import EvaluationError, interpret, parse
from caio.routing.model import History, Request
from caio.routing.offers import offer_of
from caio.routing.plans import PlanRequest, Solver, Stage, plan
from caio.routing.plans.milp import guided, solver_is_installed

MILLISECONDS = 1000
ROUNDS = 5
SIZES = ((3, 50), (4, 100), (8, 200))
LIMITS = {
    "price": ("max_cost",),
    "price and p95": ("max_cost", "latency_ms.p95"),
    "four limits": ("max_cost", "latency_ms.p95", "accuracy.min", "availability.min"),
}


def contracts(stages: int, candidates: int, rng: Random) -> list[dict[str, Any]]:
    return [_contract(stage, number, rng) for stage in range(stages) for number in range(candidates)]


def _contract(stage: int, number: int, rng: Random) -> dict[str, Any]:
    fast = rng.randrange(50, 400)
    return {
        "service_id": f"stage-{stage}-{number:03}",
        "name": f"Stage {stage}, {number}",
        "version": "1.0.0",
        "tags": [],
        "capabilities": [{"type": f"step-{stage}", "limits": {}, "features": []}],
        "guarantees": {
            "latency_ms": {"p95": str(fast), "p99": str(fast + rng.randrange(1, 200)), "max": str(10 * fast)},
            "accuracy": {"min": f"0.9{rng.randrange(70, 99)}"},
            "availability": {"min": f"0.99{rng.randrange(50, 99)}"},
        },
        "constraints": {"requires": {"gpu": False, "internet": False}},
        # What is fast is dear, more or less, or there would be nothing to weigh.
        "cost": {"currency": "EUR", "per_request": f"0.0{900 - fast + rng.randrange(0, 99):04}"},
        "privacy": {
            "data_locality": "cloud",
            "encryption": {"in_transit": True, "at_rest": True},
            "trains_on_data": False,
            "compliance": [],
        },
        "access": {"required_permissions": {"all_of": [], "any_of": []}, "visibility": "tenant"},
        "api": {"protocol": "openai", "base_url": "https://models.example", "endpoints": [], "timeout_ms": 30_000},
    }


def request(stages: int, limits: tuple[str, ...]) -> PlanRequest:
    chain = tuple(
        Stage(
            f"stage-{stage}",
            Request(TENANT, "EUR", (f"step-{stage}",), input_bytes=100, weights=(("margin", 0), ("performance", 1))),
            frozenset({f"stage-{stage - 1}"} if stage else ()),
        )
        for stage in range(stages)
    )
    values = {
        "max_cost": nanos("0.0068") * stages,
        "latency_ms.p95": nanos(400) * stages,
        "accuracy.min": nanos(1) - nanos("0.014") * stages,
        "availability.min": nanos(1) - nanos("0.0026") * stages,
    }
    bounds = tuple(sorted((name, values[name]) for name in limits if name != "max_cost"))
    return PlanRequest(TENANT, "EUR", chain, bounds, values["max_cost"])


def measured(report: Report, label: str, snapshot: Snapshot, asked: PlanRequest, solver: Solver | None) -> None:
    """The median of some rounds; what is too hard, and says so, is told and not measured."""
    try:
        decided = plan(snapshot, asked, PRINCIPAL, History(), solver=solver)
    except CaioError as error:
        sys.stderr.write(f"{label}: {error.code}\n")
        return
    taken = [seconds(lambda: plan(snapshot, asked, PRINCIPAL, History(), solver=solver)) for _ in range(ROUNDS)]
    report.note(f"{label}{', refused' if decided.is_refused else ''}", MILLISECONDS * median(taken), "ms")


def main() -> int:
    report = Report("plans")
    for stages, candidates in SIZES:
        documents = contracts(stages, candidates, Random(stages))
        offers = [offer_of(TENANT, each, digest_of(CONTRACT, each)) for each in documents]
        snapshot = compile_snapshot(TENANT, offers)
        for name, limits in LIMITS.items():
            asked = request(stages, limits)
            measured(report, f"{stages} × {candidates}, {name}, search alone", snapshot, asked, None)
            if solver_is_installed():
                measured(report, f"{stages} × {candidates}, {name}, with HiGHS", snapshot, asked, guided)
    _specification(report)
    return report.finish()


def _specification(report: Report) -> None:
    from spec.chains import plan as specified

    documents = contracts(3, 12, Random(3))
    offers = [offer_of(TENANT, each, digest_of(CONTRACT, each)) for each in documents]
    snapshot, asked = compile_snapshot(TENANT, offers), request(3, LIMITS["four limits"])
    evidence = {
        "plan": asked.document(),
        "principal": PRINCIPAL.document(),
        "services": [{"tenant": TENANT, "contract": each} for each in documents],
        "policies": [],
        "history": {},
    }
    pairs = measure_pairs(
        lambda: seconds(lambda: specified(evidence, _value)),
        lambda: seconds(lambda: plan(snapshot, asked, PRINCIPAL, History())),
        rounds=3,
    )
    report.note("3 × 12, four limits: the specification, times the planner's", pairs.ratio(), "×")


def _value(source: str, variables: dict[str, Any]) -> bool | None:
    try:
        return interpret(parse(source), variables)
    except EvaluationError:
        return None


if __name__ == "__main__":
    sys.exit(main())
