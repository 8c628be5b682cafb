"""What the requests of one shape share, worked out once.

Theory of operation
-------------------
Callers send the same sort of request again and again; what changes is its size, its deadline, its
seed, its labels. All that the clauses say but for the price of the call, and all terms of the score
but the cost, depend on the rest alone: the *shape*, together with the rules in force. A snapshot
keeps what it worked out for the shapes it saw last; it follows from what never changes,
so keeping it changes no answer.

Law (has a test of the same name): what_is_kept_changes_no_decision.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from caio.routing import matching, security
from caio.routing.columns import Columns, Numbers, Rows
from caio.routing.commitments import excluded_counts, verdicts_hash
from caio.routing.matching import Needs, Tariff
from caio.routing.model import DEFAULT_WEIGHTS, TERMS, OnViolation, Principal, Request
from caio.routing.observed import Observed
from caio.routing.optimization import Weighed, standing_terms
from caio.routing.questions import Questions
from caio.routing.rules import InForce
from caio.routing.sieve import Sieve, Verdicts

_MANY_NAMES = 64


@dataclass(frozen=True, slots=True)
class Sifted:
    """A verdict for every service, the ``feasible`` rows, and what a certificate says of them."""

    verdicts: Verdicts
    feasible: Rows
    commitment: str
    excluded: list[dict[str, Any]]

    @classmethod
    def of(cls, verdicts: Verdicts, feasible: Rows, asked: Questions) -> Self:
        return cls(verdicts, feasible, verdicts_hash(verdicts), excluded_counts(verdicts, asked))


@dataclass(frozen=True, slots=True)
class Shape:
    """One sort of request over one snapshot.

    ``sifted`` is as if every price passed clause ``cost``, which is asked of the ``priced`` rows;
    the feasible ones are at the places ``within`` these. ``on_violation`` is what policies say of it.
    ``_standing`` keeps the terms of the last history under its hash.
    """

    asked: Questions
    weights: Mapping[str, int]
    on_violation: OnViolation | None
    sifted: Sifted
    priced: Rows
    within: Rows
    tariff: Tariff
    preferences: Numbers
    _standing: dict[str, Weighed] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, columns: Columns, needs: Needs, principal: Principal, force: InForce, policies: int) -> Self:
        """``policies`` counts all of the decision, in force or not. Raises TooManyQuestions."""
        asked = Questions.of(needs.request, len(needs.features), len(needs.bounds), policies)
        sieve = Sieve(columns.rows)
        matching.match(sieve, columns, needs, asked)
        priced = sieve.rows
        force.exclude(sieve, asked["rules"])
        security.secure(sieve, columns.dense, needs.request, principal, asked)
        return cls(
            asked,
            _weights(force, needs.request),
            force.on_violation,
            Sifted.of(sieve.verdicts, sieve.rows, asked),
            priced,
            np.searchsorted(priced, sieve.rows),
            Tariff.of(priced, columns, needs.request),
            force.preferences(sieve.rows),
        )

    def with_prices(self, needs: Needs) -> tuple[Sifted, Numbers]:
        """The verdicts, and the worst-case prices of the feasible services."""
        prices = self.tariff.worst(needs.request.input_bytes, needs.request.deadline_ms)
        if not prices.size or prices.max() <= needs.most:
            return self.sifted, prices[self.within]
        affordable = prices <= needs.most
        verdicts = self.sifted.verdicts.copy()
        # Clause `cost` comes before all that these services may have failed after it.
        verdicts[self.priced[~affordable]] = self.asked["cost"]
        kept = affordable[self.within]
        return Sifted.of(verdicts, self.sifted.feasible[kept], self.asked), prices[self.within[kept]]

    def scores(
        self, sifted: Sifted, prices: Numbers, needs: Needs, columns: Columns, observed: Observed, digest: str
    ) -> Numbers:
        """The scores of the feasible rows of ``sifted`` at these ``prices``; ``digest`` is the history's."""
        if not prices.size:
            return prices
        standing = self._weighed(sifted, needs, columns, observed, digest)
        return (standing + Weighed.of_costs(prices, self.weights["cost"])).scores(prices.size)

    def _weighed(self, sifted: Sifted, needs: Needs, columns: Columns, observed: Observed, digest: str) -> Weighed:
        """The terms that do not depend on prices."""
        if sifted is not self.sifted:
            preferences = self.preferences[np.searchsorted(self.sifted.feasible, sifted.feasible)]
            return Weighed.of(standing_terms(sifted.feasible, needs, columns, observed, preferences), self.weights)
        known = self._standing.get(digest)
        if known is None:
            terms = standing_terms(sifted.feasible, needs, columns, observed, self.preferences)
            known = Weighed.of(terms, self.weights)
            self._standing.clear()
            self._standing[digest] = known
        return known


def _weights(force: InForce, request: Request) -> dict[str, int]:
    stated = force.weights
    if stated is None:
        stated = dict(DEFAULT_WEIGHTS if request.weights is None else request.weights)
    return {term: stated.get(term, 0) for term in TERMS}


def shape_key(columns: Columns, needs: Needs, principal: Principal, force: InForce) -> Hashable:
    """All that a shape depends on, beside the snapshot; None for a request of so many names that it is
    not worth keeping. The size only counts where a service limits it."""
    request = needs.request
    if len(request.services) + len(request.excluded_services) > _MANY_NAMES:
        return None
    return (
        (request.capabilities, needs.bounds, needs.features, request.currency, request.stream, request.weights),
        (request.context_length, request.max_tokens, request.answers, request.protocols),
        (request.services, request.excluded_services),
        (request.data_locality, request.regions, request.compliance, request.classification, request.sensitive),
        (request.egress, request.training, request.max_retention_days),
        request.input_bytes if _limited(columns, request) else None,
        (principal.permissions, principal.trust_level),
        force.key,
    )


def _limited(columns: Columns, request: Request) -> bool:
    offered = (columns.capabilities.get(wanted) for wanted in request.capabilities)
    return any(each is not None and each.least_input < request.input_bytes for each in offered)
