"""A policy under analysis: its compiled rule with the trees of its expressions, and the services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caio.contracts.vocabulary import Attach
from caio.routing.analysis.findings import Counterexample
from caio.routing.analysis.formulas import ERROR, FALSE, TRUE, outcome
from caio.routing.analysis.search import Answer, Budget, Goal, Status, ask
from caio.routing.analysis.worlds import request_of, service_of
from caio.routing.model import Effect, Offer
from caio.routing.rules import Rule


class Subject:
    """One policy. ``excluding`` and ``keeping`` are outcomes of ``then``, while it is in force."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.effect = rule.policy.effect
        self.strict = self.effect is not Effect.PREFER
        self.excluding = 0 if not self.strict else ERROR | (TRUE if self.effect is Effect.FORBID else FALSE)
        self.keeping = (TRUE | FALSE | ERROR) & ~self.excluding
        self.when, self.then = rule.when, rule.then
        self._outcomes: dict[tuple[str, str], int] = {}

    @property
    def name(self) -> str:
        return f"{self.rule.policy.policy_id}@{self.rule.policy.version}"

    @property
    def always_attached(self) -> bool:
        """Whether it is in force without being named."""
        return bool(self.rule.policy.document.get("attach", Attach.TENANT) == Attach.TENANT)

    def on(self, offer: Offer) -> int:
        """The outcome of ``then`` for a service."""
        found = self._outcomes.get(offer.key)
        if found is None:
            found = self._outcomes[offer.key] = outcome(self.rule.says, {"service": offer.variables})
        return found

    def excludes(self, request: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
        """What a decision would do: ``request`` and ``service`` are the variables of each."""
        applies = outcome(self.rule.applies, request)
        if not self.strict or applies == FALSE:
            return False
        return applies == ERROR or bool(outcome(self.rule.says, service) & self.excluding)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a policy is analysed among: the other policies in force, and the tenant's services."""

    others: Sequence[Subject]
    offers: Sequence[Offer]
    budget: Budget

    def request(self, *goals: Goal) -> Answer:
        return ask(goals, request_of, self.budget)

    def service(self, *goals: Goal) -> Answer:
        return ask(goals, service_of, self.budget)


def example(
    request: Answer | None = None, service: str | None = None, contract: Answer | None = None
) -> Counterexample:
    """What was found of a request and of a contract; nothing is shown of what was not found."""
    chosen = None if request is None or request.status is not Status.FOUND else request.fragment or {}
    offered = None if contract is None or contract.status is not Status.FOUND else contract.fragment or {}
    return Counterexample(
        None if chosen is None else chosen.get("request", {}),
        None if chosen is None else chosen.get("principal", {}),
        service,
        None if offered is None else offered.get("service", {}),
    )


def named(offer: Offer) -> str:
    return f"{offer.service_id}@{offer.version}"


def counted(count: int, of: int) -> str:
    """``2 of 5 registered services``"""
    return f"{count} of {of} registered service{'s' * (of != 1)}"
