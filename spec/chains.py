"""Chains and graphs of stages: what several services promise together, and which to choose.

Each stage is decided by itself (``routing``); a *selection* takes one of the first candidates of
each. ``plan`` tries every selection, keeps the sound ones and takes the best. What a selection
offers end to end is composed from what its services offer, and is true whatever happens inside,
whether slow calls and errors of different stages coincide or not. The one exception is availability,
which multiplies: it supposes that stages fail independently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from spec.questions import Evaluate, cost_cap, worst_price
from spec.routing import Decision, decide
from spec.words import SCALE, Document, contract_hash, digest_of, offer, text, units

MOST_STAGES = 8
MOST_CANDIDATES = 200

#: Calls in a hundred that may take longer than the statistic says.
RISKS = {"p50": 50, "p95": 5, "p99": 1, "max": 0}
COMPOSABLE = {
    *(f"latency_ms.{statistic}" for statistic in RISKS),
    *("availability.min", "accuracy.min", "error_rate.max", "throughput.min", "determinism.min", "cost.max"),
}

#: One service for each stage, by its place in that stage's ranking.
Selection = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The certificate and its hash, the stages' decisions, and the selection (None: refused)."""

    certificate: Document
    hash: str
    decisions: list[Decision]
    selection: Selection | None


def plan(evidence: Document, evaluate: Evaluate) -> Plan:
    """Raises ValueError for a plan request that is none, and whatever ``decide`` raises."""
    asked = evidence["plan"]
    check(asked)
    stages, shared = (
        asked["stages"],
        {name: evidence[name] for name in ("principal", "services", "policies", "history")},
    )
    decisions = [decide({**shared, "request": stage["request"]}, evaluate) for stage in stages]
    contracts = {
        (each["contract"]["service_id"], each["contract"]["version"]): each["contract"] for each in shared["services"]
    }
    candidates = [
        [
            (contracts[service_id, version], score)
            for service_id, version, score, _ in decision.ranking[:MOST_CANDIDATES]
        ]
        for decision in decisions
    ]

    def chosen(selection: Selection) -> list[Document]:
        return [offered[rank][0] for offered, rank in zip(candidates, selection, strict=True)]

    def score(selection: Selection) -> int:
        return sum(offered[rank][1] for offered, rank in zip(candidates, selection, strict=True))

    every = product(*(range(len(offered)) for offered in candidates))
    sound = [selection for selection in every if is_sound(asked, chosen(selection))]
    best = min(sound, key=lambda selection: (-score(selection), selection), default=None)
    empty = next((stage["name"] for stage, offered in zip(stages, candidates, strict=True) if not offered), None)
    certificate = {
        "v": 1,
        "tenant": asked["tenant_id"],
        "request": digest_of("caio/plan-request/v1", asked),
        "stages": [
            {"name": stage["name"], "after": stage["after"], "decision": decision.hash, "candidates": len(offered)}
            for stage, decision, offered in zip(stages, decisions, candidates, strict=True)
        ],
        "selection": [] if best is None else [step(each, rank) for each, rank in zip(chosen(best), best, strict=True)],
        "score": 0 if best is None else score(best),
        "guarantees": {} if best is None else guarantees(asked, chosen(best)),
        "refusal": {"stage": empty} if best is None else None,
    }
    return Plan(certificate, digest_of("caio/plan/v1", certificate), decisions, best)


def check(asked: Document) -> None:
    """Raises ValueError unless the stages are a graph in order, and every bound can be composed."""
    names = [stage["name"] for stage in asked["stages"]]
    if not 1 <= len(names) <= MOST_STAGES or len(set(names)) < len(names):
        raise ValueError(f"a plan has 1 to {MOST_STAGES} stages with different names")
    for place, stage in enumerate(asked["stages"]):
        if stage["after"] != sorted(set(stage["after"]) & set(names[:place])):
            raise ValueError(f"{stage['name']} comes after the sorted names of stages listed before it")
        if any(stage["request"][name] != asked[name] for name in ("tenant_id", "currency")):
            raise ValueError(f"{stage['name']} is of another tenant or currency")
    if unknown := set(asked["bounds"]) - COMPOSABLE:
        raise ValueError(f"no rule composes {', '.join(sorted(unknown))}")


def is_sound(asked: Document, chosen: Sequence[Document]) -> bool:
    """Whether the selection meets everything that is asked of it end to end."""
    if price(asked, chosen) > cost_cap(asked["max_cost"]):
        return False
    for bound, decimal in asked["bounds"].items():
        offered, required = composed(bound, asked, chosen), units(decimal)
        if offered is None or (offered < required if bound.endswith(".min") else offered > required):
            return False
    return True


# --- what several services promise together -----------------------------------------------------


def composed(bound: str, asked: Document, chosen: Sequence[Document]) -> int | None:
    """The end-to-end offer in nanos; None while it is undeclared."""
    if bound == "cost.max":
        return price(asked, chosen)
    name, _, statistic = bound.partition(".")
    if name == "latency_ms":
        return latency(statistic, asked, chosen)
    offers = [offer(contract, bound) for contract in chosen]
    values = [found[1] for found in offers if found is not None]
    if len(values) < len(offers):
        return None
    match name:
        case "availability":
            share: int = prod(values) // SCALE ** (len(values) - 1)
            return share
        case "accuracy":
            return max(0, SCALE - sum(SCALE - value for value in values))
        case "error_rate":
            return min(SCALE, sum(values))
        case "throughput":
            return min(values)
        case _:
            return SCALE  # all are deterministic, so the whole is


def price(asked: Document, chosen: Sequence[Document]) -> int:
    return sum(worst_price(contract, stage["request"]) for contract, stage in zip(chosen, asked["stages"], strict=True))


def latency(statistic: str, asked: Document, chosen: Sequence[Document]) -> int | None:
    """Percentiles do not add. But if each stage exceeds its own bound in so many calls of a hundred,
    any of them does in at most the sum: of all choices of statistics whose risks together are within
    what is asked for, the one with the shortest longest path."""
    offers = [
        [(risk, units(value)) for name, risk in RISKS.items() if (value := promise.get(name)) is not None]
        for promise in (contract["guarantees"].get("latency_ms", {}) for contract in chosen)
    ]
    return min(
        (
            longest_path(asked, [length for _, length in choice])
            for choice in product(*offers)
            if sum(risk for risk, _ in choice) <= RISKS[statistic]
        ),
        default=None,
    )


def longest_path(asked: Document, lengths: Iterable[int]) -> int:
    """The time at which the last stage ends, when each begins as soon as those before it have ended."""
    ends: dict[str, int] = {}
    for stage, length in zip(asked["stages"], lengths, strict=True):
        ends[stage["name"]] = max((ends[name] for name in stage["after"]), default=0) + length
    return max(ends.values())


# --- the certificate's parts --------------------------------------------------------------------


def step(contract: Document, rank: int) -> Document:
    return {
        "service": contract["service_id"],
        "version": contract["version"],
        "contract": contract_hash(contract),
        "rank": rank,
    }


def guarantees(asked: Document, chosen: Sequence[Document]) -> dict[str, str]:
    offers = {bound: composed(bound, asked, chosen) for bound in (*asked["bounds"], "cost.max")}
    return {bound: text(value) for bound, value in offers.items() if value is not None}
