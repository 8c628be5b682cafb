"""The routing rules as a program: slow, obvious, and the definition of what the engine computes.

``decide(evidence, evaluate)`` asks every service every question (``questions``), ranks those that
fail none by a weighted sum of terms, and writes the certificate that commits to all of it. The
evidence is plain JSON values, as contract, policy and request validation leave them: they are not
checked again. ``evaluate`` evaluates the policies' expressions, whose language is CEL.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spec.questions import (
    CLAUSES,
    Evaluate,
    answers,
    first_failure,
    question_count,
    worst_price,
)
from spec.words import (
    SCALE,
    Document,
    address,
    bounds,
    contract_hash,
    digest,
    digest_of,
    offer,
    offer_text,
    policy_hash,
    principal_variables,
    request_variables,
    service_variables,
    text,
)

MOST_QUESTIONS = 65_535
SHOWN_ROWS = 5
ENOUGH_CALLS = 20
DEFAULT_WEIGHTS = {"margin": 1, "cost": 2, "performance": 2, "reliability": 2, "preference": 3}


@dataclass(frozen=True)
class Decision:
    """The certificate and its hash; the feasible services best first, each ``[id, version, score,
    price]``; and the others by id and version, each ``[id, version, clause, subject, required, offered]``."""

    certificate: Document
    hash: str
    ranking: list[list[Any]]
    exclusions: list[list[str]]


def decide(evidence: Document, evaluate: Evaluate) -> Decision:
    """Raises ValueError for inputs that contradict each other, or that ask too many questions."""
    request, principal = evidence["request"], evidence["principal"]
    services = once_each(evidence["services"], lambda each: address(each["contract"]))
    services.sort(key=lambda each: (each["contract"]["service_id"], each["contract"]["version"]))
    policies = once_each(evidence["policies"], lambda each: f"{each['id']}@{each['version']}")
    policies.sort(key=lambda each: (-each["priority"], each["id"], each["version"]))
    if question_count(request, policies) > MOST_QUESTIONS:
        raise ValueError(f"more than {MOST_QUESTIONS} questions")

    caller = {"request": request_variables(request), "principal": principal_variables(principal)}
    rules = [(policy, evaluate(policy["when"], caller)) for policy in policies]
    asked = [first_failure(answers(service, request, principal, rules, evaluate)) for service in services]
    names = [[each["contract"]["service_id"], each["contract"]["version"]] for each in services]
    exclusions = [[*name, *failure] for name, (_, failure) in zip(names, asked, strict=True) if failure]

    feasible = [each["contract"] for each, (verdict, _) in zip(services, asked, strict=True) if verdict == 0]
    in_force = [policy for policy, holds in rules if holds]
    weights = used_weights(request, in_force)
    prices = [worst_price(contract, request) for contract in feasible]
    scores = weighted(terms(feasible, prices, request, evidence["history"], in_force, evaluate), weights, len(feasible))
    seed = digest_of("caio/request/v1", request) if request["seed"] is None else request["seed"]
    rows = [
        [each["service_id"], each["version"], score, price]
        for each, score, price in zip(feasible, scores, prices, strict=True)
    ]
    ranking = sorted(rows, key=lambda row: (-row[2], tag(seed, f"{row[0]}@{row[1]}")))
    winner = next((each for each in feasible if [each["service_id"], each["version"]] == ranking[0][:2]), None)

    certificate = {
        "v": 2,
        "tenant": request["tenant_id"],
        "request": digest_of("caio/request/v1", request),
        "principal": digest_of("caio/principal/v1", principal),
        "services": digest("caio/services/v2", b"".join(map(service_digest, services))),
        "policies": digest_of(
            "caio/policies/v1", [[each["id"], each["version"], policy_hash(each)] for each in policies]
        ),
        "history": digest_of("caio/history/v1", evidence["history"]),
        "service_count": len(services),
        "seed": seed,
        "weights": weights,
        "on_violation": stated("on_violation", in_force) or request["on_violation"] or "report",
        "verdicts": digest("caio/verdicts/v1", b"".join(verdict.to_bytes(2, "big") for verdict, _ in asked)),
        "feasible": {"count": len(rows), "hash": digest("caio/feasible/v2", b"".join(map(row_bytes, rows)))},
        "ranked": ranking[:SHOWN_ROWS],
        "excluded": [
            {"clause": clause, "count": count}
            for clause in CLAUSES
            if (count := sum(record[2] == clause for record in exclusions))
        ],
        "plan": [] if winner is None else [plan_of(winner)],
        "guarantees": {} if winner is None else guarantees(winner, request),
    }
    return Decision(certificate, digest_of("caio/decision/v2", certificate), ranking, exclusions)


def once_each(documents: list[Document], name: Callable[[Document], str]) -> list[Document]:
    """Without repetitions. Raises ValueError when one name stands for two different things."""
    named: dict[str, Document] = {}
    for each in documents:
        if named.setdefault(name(each), each) != each:
            raise ValueError(f"two different things are called {name(each)}")
    return list(named.values())


# --- ranking ------------------------------------------------------------------------------------


def terms(
    feasible: list[Document],
    prices: list[int],
    request: Document,
    history: Document,
    in_force: list[Document],
    evaluate: Evaluate,
) -> dict[str, list[int]]:
    """For each term, its value in [0, SCALE] of each feasible service."""
    return {
        "margin": [margin(contract, request) for contract in feasible],
        "cost": compared(prices),
        "performance": compared([latency(contract, request, history) for contract in feasible]),
        "reliability": [reliability(contract, history) for contract in feasible],
        "preference": preference(feasible, in_force, evaluate),
    }


def compared(values: Sequence[int | None]) -> list[int]:
    """The smallest value is worth SCALE and the largest 0, what lies between in proportion, none 0."""
    known = [value for value in values if value is not None]
    least, most = min(known, default=0), max(known, default=0)
    worth = {value: SCALE if least == most else (most - value) * SCALE // (most - least) for value in known}
    return [0 if value is None else worth[value] for value in values]


def margin(contract: Document, request: Document) -> int:
    """How far, on average, the offers stay within what is required."""
    required = bounds(request)
    shares = [share_left(bound, value, offer(contract, bound)) for bound, value in required.items()]
    return sum(shares) // len(shares) if shares else 0


def share_left(bound: str, required: int, offered: tuple[str, int] | None) -> int:
    assert offered is not None  # noqa: S101 - a feasible service met every bound
    gap, whole = (offered[1] - required, offered[1]) if bound.endswith(".min") else (required - offered[1], required)
    return max(0, min(SCALE, gap * SCALE // whole)) if whole > 0 else 0


def latency(contract: Document, request: Document, history: Document) -> int | None:
    """Nanos of a millisecond, as observed, or else as promised. What never answered was not fast: 0."""
    calls, _, p95_ms = history.get(contract["service_id"], (0, 0, 0))
    if calls >= ENOUGH_CALLS and p95_ms > 0 and not request["stream"]:
        return int(p95_ms) * SCALE
    found = offer(contract, "first_token_ms.p95" if request["stream"] else "latency_ms.p95")
    return None if found is None else found[1]


def reliability(contract: Document, history: Document) -> int:
    """The observed share of successes, beside twenty calls that went as the contract says."""
    calls, successes, _ = history.get(contract["service_id"], (0, 0, 0))
    declared = offer(contract, "availability.min")
    prior = SCALE * 9 // 10 if declared is None else min(declared[1], SCALE)
    return (int(successes) * SCALE + 20 * prior) // (int(calls) + 20)


def preference(feasible: list[Document], in_force: list[Document], evaluate: Evaluate) -> list[int]:
    """The share, by priority, of the preferences in force that a service satisfies."""
    preferences = [policy for policy in in_force if policy["effect"] == "prefer"]
    most = sum(policy["priority"] for policy in preferences)
    shares = []
    for contract in feasible:
        variables = {"service": service_variables(contract)}
        satisfied = [policy["priority"] for policy in preferences if evaluate(policy["then"], variables)]
        shares.append(sum(satisfied) * SCALE // most if most else 0)
    return shares


def weighted(terms: dict[str, list[int]], weights: dict[str, int], count: int) -> list[int]:
    """The scores: the mean of the terms that differ between services, by their weights."""
    telling = [name for name in terms if weights[name] > 0 and len(set(terms[name])) > 1]
    if not telling:
        return [SCALE] * count
    total = sum(weights[name] for name in telling)
    return [sum(weights[name] * terms[name][index] for name in telling) // total for index in range(count)]


def used_weights(request: Document, in_force: list[Document]) -> dict[str, int]:
    used = stated("weights", in_force) or request["weights"] or DEFAULT_WEIGHTS
    return {name: used.get(name, 0) for name in DEFAULT_WEIGHTS}


def stated(name: str, in_force: list[Document]) -> Any:
    """What the first policy says that says anything about it."""
    return next((policy[name] for policy in in_force if name in policy), None)


def tag(seed: str, name: str) -> bytes:
    """What orders equal scores: nobody's name wins by itself."""
    return hmac.digest(seed.encode(), name.encode(), "sha256")


# --- the certificate's parts --------------------------------------------------------------------


def service_digest(service: Document) -> bytes:
    contract = service["contract"]
    row = [contract["service_id"], contract["version"], contract_hash(contract), service["tenant"]]
    return bytes.fromhex(digest_of("caio/service/v1", row))


def row_bytes(row: list[Any]) -> bytes:
    score, price = row[2:]
    return score.to_bytes(8, "big") + price.to_bytes(8, "big")  # type: ignore[no-any-return]


def plan_of(winner: Document) -> Document:
    return {"service": winner["service_id"], "version": winner["version"], "contract": contract_hash(winner)}


def guarantees(winner: Document, request: Document) -> dict[str, str]:
    """What is promised of everything that was asked for; ``cost.max`` is the worst-case price."""
    promised = {bound: offer_text(winner, bound) for bound in bounds(request)}
    return promised | {"cost.max": text(worst_price(winner, request))}
