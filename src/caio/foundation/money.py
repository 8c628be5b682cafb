"""Money and prices as integers: prices in pico-units, amounts in nano-units of one currency.

A price of 0.0000000375 a token is 37,500 pico. The price of a call is summed exactly and rounded
up **once** to nano-units, so that charging is never below cost and never depends on the order of
the terms (DESIGN, law 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from caio.foundation.quantity import scaled
from caio.foundation.values import value

PICO_PLACES = 12
PICO_PER_NANO = 1000
MILLIS_PER_SECOND = 1000


def picos(value: Decimal | int | str) -> int:
    """A price as integer pico-units; raises NotExact beyond 12 places or one million."""
    return scaled(value, places=PICO_PLACES, most=10**6)


@value(frozen=True, slots=True)
class Usage:
    """What a call consumed: tokens in and out, and milliseconds of service time."""

    input_tokens: int = 0
    output_tokens: int = 0
    milliseconds: int = 0

    def __post_init__(self) -> None:
        if min(self.input_tokens, self.output_tokens, self.milliseconds) < 0:
            raise ValueError("usage cannot be negative")


@dataclass(frozen=True, slots=True)
class Prices:
    """A contract's prices in pico-units of ``currency``."""

    currency: str
    per_request: int = 0
    per_input_token: int = 0
    per_output_token: int = 0
    per_second: int = 0

    def of(self, usage: Usage) -> int:
        """The price of one call with ``usage``, in nano-units, rounded up once."""
        picos_and_millis = (
            self.per_request + self.per_input_token * usage.input_tokens + self.per_output_token * usage.output_tokens
        ) * MILLIS_PER_SECOND + self.per_second * usage.milliseconds
        return -(-picos_and_millis // (PICO_PER_NANO * MILLIS_PER_SECOND))
