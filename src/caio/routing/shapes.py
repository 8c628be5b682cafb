"""What the requests of one shape share, worked out once.

Theory of operation
-------------------
All that the clauses say but for the price of a call, and all terms of the score but the cost, depend on a
request's sort (``sorts``), its caller's permissions and the rules in force alone: the *shape*. A snapshot keeps
what it worked out for the shapes it saw last; it follows from what never changes, so keeping it changes no answer.
Which services a limit of price takes out is one of a few sets, so what follows from those is kept beside it.

How a shape comes about, and what it says of one request, is ``shapes_of_many`` for columns and ``shapes_of_few``
for the few services whose rows are bits.

Law (has a test of the same name): what_is_kept_changes_no_decision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Raw

from caio.routing.columns import Rows, Values
from caio.routing.composition import Promises
from caio.routing.matching import Needs
from caio.routing.model import DEFAULT_WEIGHTS, TERMS, Offer, OnViolation, Principal, Request
from caio.routing.observed import Observed
from caio.routing.questions import Questions
from caio.routing.rules import InForce
from caio.routing.sieve import Verdicts
from caio.routing.sorts import Sort


class Sifted(Protocol):
    """A verdict for every service, the ``feasible`` rows, and what a certificate says of them."""

    @property
    def verdicts(self) -> Verdicts: ...
    @property
    def feasible(self) -> Rows | Sequence[int]: ...
    @property
    def commitment(self) -> str: ...
    @property
    def excluded(self) -> Raw: ...


@dataclass(frozen=True, slots=True, eq=False)
class Shape(ABC):
    """One sort of request, from callers of the same permissions, over one snapshot.

    ``on_violation`` is what policies say of it. ``_promises`` keeps what services guarantee, by row.
    """

    needs: Needs
    asked: Questions
    weights: Mapping[str, int]
    weights_json: Raw
    on_violation: OnViolation | None
    _promises: dict[int, Promises] = field(default_factory=dict, repr=False, kw_only=True)

    @abstractmethod
    def valued(self, request: Request, observed: Callable[[], Observed], digest: str) -> tuple[Sifted, Values, Values]:
        """The verdicts on the services for ``request``, with scores and worst-case prices of the feasible ones.
        ``digest`` is that of the history that was ``observed``."""

    def promises(self, row: int, offer: Offer) -> Promises:
        """What ``offer``, at this row, guarantees."""
        known = self._promises.get(row)
        if known is None:
            known = self._promises[row] = Promises.of(offer, self.needs)
        return known


def weights_of(force: InForce, request: Request) -> dict[str, int]:
    """The weights that count: those of a policy in force, else the request's."""
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
