"""What the requests of one shape share, worked out once.

Theory of operation
-------------------
All that the clauses say but for the price of a call, and all terms of the score but the cost, depend on a
request's sort (``sorts``), its caller's permissions and the rules in force alone: the *shape*. A snapshot keeps
what it worked out for the shapes it saw last; it follows from what never changes, so keeping it changes no answer.
Which services a limit of price takes out is one of a few sets, so what follows from those is kept beside it.

Law (has a test of the same name): what_is_kept_changes_no_decision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from msgspec import Raw

from caio.foundation.canonical import canonical_plain
from caio.routing import few, matching, security
from caio.routing.columns import Columns, Flags, Numbers, Rows, Values
from caio.routing.commitments import excluded_counts, verdicts_hash
from caio.routing.composition import Promises
from caio.routing.few import FEW, Charges
from caio.routing.matching import Needs, Tariff, price_limit
from caio.routing.model import DEFAULT_WEIGHTS, TERMS, Offer, OnViolation, Principal, Request
from caio.routing.observed import Observed
from caio.routing.optimization import Weighed, standing_terms
from caio.routing.questions import Questions
from caio.routing.rules import InForce
from caio.routing.sieve import Sieve, Verdicts
from caio.routing.sorts import Sort

#: Sets of affordable services kept for one shape.
_KEPT_CUTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """A verdict for every service, the ``feasible`` rows, and what a certificate says of them.

    They are at the places ``within`` those that were priced. ``_standing`` keeps the part of their scores that
    does not depend on prices, for the last history under its hash.
    """

    verdicts: Verdicts
    feasible: Rows
    within: Rows
    preferences: Numbers
    commitment: str
    excluded: Raw
    _standing: dict[str, Weighed] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, verdicts: Verdicts, feasible: Rows, within: Rows, preferences: Numbers, asked: Questions) -> Self:
        excluded = Raw(canonical_plain(excluded_counts(verdicts, asked)))
        return cls(verdicts, feasible, within, preferences, verdicts_hash(verdicts), excluded)

    def standing(self, digest: str, work_out: Callable[[], Weighed]) -> Weighed:
        """The terms of the scores that stand under the history of this ``digest``."""
        known = self._standing.get(digest)
        if known is None:
            known = work_out()
            self._standing.clear()
            self._standing[digest] = known
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One sort of request, from callers of the same permissions, over one snapshot.

    ``all`` is as if every price passed clause ``cost``, which is asked of the ``priced`` rows by their ``tariff``,
    or where these are few by their ``charges``. ``on_violation`` is what policies say of it. ``_promises`` keeps
    what services guarantee, by their keys.
    """

    needs: Needs
    asked: Questions
    weights: Mapping[str, int]
    weights_json: Raw
    on_violation: OnViolation | None
    all: Sifted
    priced: Rows
    tariff: Tariff
    charges: Charges | None
    _cuts: dict[tuple[bool, ...], Sifted] = field(default_factory=dict, repr=False)
    _promises: dict[tuple[str, str], Promises] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, columns: Columns, needs: Needs, principal: Principal, force: InForce, policies: int) -> Self:
        """``policies`` counts all of the decision, in force or not. Raises TooManyQuestions."""
        asked = Questions.of(needs.request, len(needs.features), len(needs.bounds), policies)
        sieve = Sieve(columns.rows)
        matching.match(sieve, columns, needs, asked)
        priced = sieve.rows
        force.exclude(sieve, asked["rules"])
        security.secure(sieve, columns.dense, needs.request, principal, asked)
        within, preferences = np.searchsorted(priced, sieve.rows), force.preferences(sieve.rows)
        tariff, weights = Tariff.of(priced, columns, needs.request), _weights(force, needs.request)
        return cls(
            needs,
            asked,
            weights,
            Raw(canonical_plain(weights)),
            force.on_violation,
            Sifted.of(sieve.verdicts, sieve.rows, within, preferences, asked),
            priced,
            tariff,
            Charges.of(tariff) if priced.size <= FEW else None,
        )

    def valued(
        self, request: Request, columns: Columns, observed: Callable[[], Observed], digest: str
    ) -> tuple[Sifted, Values, Values]:
        """The verdicts on the services for ``request``, with scores and worst-case prices of the feasible ones.
        ``digest`` is that of the history that was ``observed``."""
        size, deadline_ms = request.input_bytes, request.deadline_ms
        most, weight = price_limit(request), self.weights["cost"]
        if self.charges is not None:
            worst = self.charges.worst(size, deadline_ms)
            sifted = self.all if not worst or max(worst) <= most else self._cut(tuple([one <= most for one in worst]))
            if sifted.within.size < len(worst):
                worst = [worst[place] for place in sifted.within.tolist()]
            if not worst:
                return sifted, worst, worst
            return sifted, few.scores(self._standing(sifted, columns, observed, digest), worst, weight), worst
        every = self.tariff.worst(size, deadline_ms)
        sifted = self.all if int(every.max()) <= most else self._without(every > most)
        prices = every[sifted.within]
        if not prices.size:
            return sifted, prices, prices
        weighed = self._standing(sifted, columns, observed, digest) + Weighed.of_costs(prices, weight)
        return sifted, weighed.scores(prices.size), prices

    def promises(self, offer: Offer) -> Promises:
        """What ``offer``, which is one of the snapshot's, guarantees."""
        key = offer.key
        known = self._promises.get(key)
        if known is None:
            known = self._promises[key] = Promises.of(offer, self.needs)
        return known

    def _cut(self, affordable: tuple[bool, ...]) -> Sifted:
        """As ``_without``, kept."""
        known = self._cuts.get(affordable)
        if known is None:
            known = self._without(~np.array(affordable, np.bool_))
            if len(self._cuts) >= _KEPT_CUTS:
                self._cuts.clear()
            self._cuts[affordable] = known
        return known

    def _without(self, too_dear: Flags) -> Sifted:
        """``all`` without those of the priced services that are ``too_dear``."""
        verdicts = self.all.verdicts.copy()
        # Clause `cost` comes before all that these services may have failed after it.
        verdicts[self.priced[too_dear]] = self.asked["cost"]
        kept = ~too_dear[self.all.within]
        feasible, within, preferences = (
            each[kept] for each in (self.all.feasible, self.all.within, self.all.preferences)
        )
        return Sifted.of(verdicts, feasible, within, preferences, self.asked)

    def _standing(self, sifted: Sifted, columns: Columns, observed: Callable[[], Observed], digest: str) -> Weighed:
        """The terms of the scores that do not depend on prices."""

        def worked_out() -> Weighed:
            rows, weights = sifted.feasible, self.weights
            terms = standing_terms(rows, self.needs, columns, observed(), sifted.preferences, weights)
            return Weighed.of(terms, weights)

        return sifted.standing(digest, worked_out)


def _weights(force: InForce, request: Request) -> dict[str, int]:
    stated = force.weights
    if stated is None:
        stated = dict(DEFAULT_WEIGHTS if request.weights is None else request.weights)
    return {term: stated.get(term, 0) for term in TERMS}


def shape_key(sort: Sort, request: Request, principal: Principal, force: InForce) -> Hashable:
    """All that a shape depends on, beside the snapshot; None for a sort that is not worth keeping. The size only
    counts where a service limits it."""
    if not sort.is_worth_keeping:
        return None
    size = request.input_bytes if request.input_bytes > sort.least_input else None
    return (sort, size, principal.permissions, principal.trust_level, force.key)
