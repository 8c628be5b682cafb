"""Stage 2, rules: the tenant's policies, compiled once and applied to every decision.

A policy's ``then`` reads only the service, so its verdict on each offer is computed once per
snapshot; ``when`` reads request and principal and is evaluated once per decision. An error in
either denies (DESIGN, law 2), except in a ``prefer``, which can only reorder what is permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.foundation.hashing import POLICIES, digest_of
from caio.routing.expressions import EvaluationError
from caio.routing.model import SCALE, Effect, Exclusion, InconsistentInputs, Offer, OnViolation, Policy

Predicate = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy with its expressions compiled (``routing.policies`` makes them)."""

    policy: Policy
    when: Predicate
    then: Predicate

    def verdict(self, variables: Mapping[str, Any]) -> bool | None:
        """What ``then`` says of a service; None when it fails to evaluate."""
        try:
            return self.then({"service": variables})
        except EvaluationError:
            return None


def in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Policy order: priority descending, then id, then version; equal policies once. Raises
    InconsistentInputs for different policies of one id and version."""
    unique: dict[tuple[str, int], Rule] = {}
    for rule in rules:
        policy = rule.policy
        if unique.setdefault((policy.policy_id, policy.version), rule).policy.policy_hash != policy.policy_hash:
            raise InconsistentInputs(f"policy {policy.policy_id}@{policy.version} was given twice, and not the same")
    return tuple(sorted(unique.values(), key=_order))


def _order(rule: Rule) -> tuple[int, str, int]:
    return (-rule.policy.priority, rule.policy.policy_id, rule.policy.version)


def policies_manifest(rules: Sequence[Rule]) -> list[list[str | int]]:
    """What ``policies_hash`` covers; ``rules`` in policy order."""
    return [[rule.policy.policy_id, rule.policy.version, rule.policy.policy_hash] for rule in rules]


def policies_hash(rules: Sequence[Rule]) -> str:
    return digest_of(POLICIES, policies_manifest(rules))


@dataclass(frozen=True, slots=True)
class InForce:
    """The rules that apply to one request, with their verdicts on the snapshot's offers by index.

    ``broken`` are forbids and requires whose ``when`` failed: each excludes every service.
    """

    rules: tuple[tuple[Rule, Sequence[bool | None] | None], ...]
    preferring: tuple[tuple[Rule, Sequence[bool | None]], ...]
    weights: Mapping[str, int] | None
    on_violation: OnViolation | None

    def exclusion(self, offer: Offer, index: int) -> Exclusion | None:
        """The first rule, in policy order, that excludes the offer at ``index``."""
        for rule, verdicts in self.rules:
            policy = rule.policy
            verdict = None if verdicts is None else verdicts[index]
            if verdict is None:
                clause = "policy_error"
            elif verdict is (policy.effect is Effect.FORBID):
                clause = "policy"
            else:
                continue
            subject = f"{policy.policy_id}@{policy.version}"
            return Exclusion(offer.service_id, offer.version, clause, subject, policy.effect, "", policy.message)
        return None

    def preference(self, index: int) -> int:
        """The preference term of the offer at ``index``: satisfied priority of all, in [0, SCALE]."""
        whole = sum(rule.policy.priority for rule, _ in self.preferring)
        satisfied = sum(rule.policy.priority for rule, verdicts in self.preferring if verdicts[index])
        return satisfied * SCALE // whole if whole else 0


def in_force(
    rules: Sequence[Rule], verdicts_of: Callable[[Rule], Sequence[bool | None]], variables: Mapping[str, Any]
) -> InForce:
    """Evaluate every ``when`` over ``variables`` (request and principal). ``rules`` in policy order."""
    strict: list[tuple[Rule, Sequence[bool | None] | None]] = []
    preferring: list[tuple[Rule, Sequence[bool | None]]] = []
    weights: Mapping[str, int] | None = None
    on_violation: OnViolation | None = None
    for rule in rules:
        policy = rule.policy
        try:
            applies = rule.when(variables)
        except EvaluationError:
            if policy.effect is not Effect.PREFER:
                strict.append((rule, None))
            continue
        if not applies:
            continue
        if policy.effect is Effect.PREFER:
            preferring.append((rule, verdicts_of(rule)))
        else:
            strict.append((rule, verdicts_of(rule)))
        if weights is None and policy.weights is not None:
            weights = dict(policy.weights)
        on_violation = on_violation or policy.on_violation
    return InForce(tuple(strict), tuple(preferring), weights, on_violation)
