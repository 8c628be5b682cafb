"""Prices and scores of few services, in plain integers.

Setting an operation on columns up costs as much as some twenty additions. For up to FEW services the sums of
``matching.Tariff`` and ``optimization.Weighed``, which are made for thousands, are therefore done one by one.

Law (has a test of the same name): few_are_as_many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from caio.foundation.money import MILLIS_PER_SECOND, PICO_PER_NANO
from caio.routing.matching import Tariff
from caio.routing.model import SCALE
from caio.routing.optimization import Weighed

FEW = 64

_ROUNDING = PICO_PER_NANO * MILLIS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Charges:
    """A ``Tariff`` of few services: of each its ``fixed`` part, a byte of input, a millisecond and its time-out."""

    each: Sequence[tuple[int, int, int, int]]
    is_timed: bool

    @classmethod
    def of(cls, tariff: Tariff) -> Self:
        per_byte = [picos * MILLIS_PER_SECOND for picos in tariff.token_in.tolist()]
        columns = (tariff.fixed.tolist(), per_byte, tariff.second.tolist(), tariff.timeout_ms.tolist())
        return cls(list(zip(*columns, strict=True)), bool(tariff.second.any()))

    def worst(self, size: int, deadline_ms: int) -> list[int]:
        """As ``Tariff.worst``, but exact whatever the sum."""
        # Floor division of the negative rounds up.
        if not self.is_timed:
            return [-((-fixed - per_byte * size) // _ROUNDING) for fixed, per_byte, _, _ in self.each]
        return [
            -((-fixed - per_byte * size - second * min(timeout_ms, deadline_ms)) // _ROUNDING)
            for fixed, per_byte, second, timeout_ms in self.each
        ]


def scores(standing: Weighed, prices: Sequence[int], weight: int) -> list[int]:
    """The scores at these ``prices``, which are not none and whose term has this ``weight``; ``standing`` is all
    else that they are made of."""
    dearest, cheapest = max(prices), min(prices)
    spread = dearest - cheapest
    sums = [0] * len(prices) if isinstance(standing.sum, int) else standing.sum.tolist()
    if spread and weight:
        whole = standing.weight + weight
        terms = zip(sums, prices, strict=True)
        return [(each + weight * ((dearest - price) * SCALE // spread)) // whole for each, price in terms]
    return [each // standing.weight for each in sums] if standing.weight else [SCALE] * len(prices)
