"""Stage 5, compose: what the chosen service guarantees for this request.

A plan of one service: its guarantees are the service's own, and its price the worst case. Chains
and graphs of several are composed in ``routing.plans``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from msgspec import Raw

from caio.foundation.canonical import canonical_plain
from caio.foundation.quantity import decimal_text
from caio.routing.matching import Needs
from caio.routing.model import Offer
from caio.routing.reasons import offered_text, tightest

_COST = "cost.max"


@dataclass(frozen=True, slots=True)
class Promises:
    """What a service guarantees for requests of one sort, written: the members ``before`` its price and ``after``."""

    before: str
    after: str

    @classmethod
    def of(cls, offer: Offer, needs: Needs) -> Self:
        offered = {name: offered_text(name, tightest(offer.bounds, name)) for name, _ in needs.bounds}
        # ASCII, so that these are on the same side of it in canonical order.
        before = canonical_plain({name: text for name, text in offered.items() if name < _COST})[1:-1].decode()
        after = canonical_plain({name: text for name, text in offered.items() if name > _COST})[1:-1].decode()
        return cls(f"{before}," if before else "", f",{after}" if after else "")

    def at(self, price: int) -> Raw:
        """For each requested bound what the plan offers, and its worst-case price as ``cost.max``."""
        return Raw(f'{{{self.before}"{_COST}":"{decimal_text(price)}"{self.after}}}'.encode())
