"""A tenant's money as double-entry books: reserve the worst case, settle the actual.

Theory of operation
-------------------
Four accounts in nano-units of one currency: ``funding`` (where the budget comes from, negative),
``available``, ``reserved`` and ``spent``. Every movement takes from one account what it gives to
another. A call reserves its worst-case price before it starts, and when it ends is charged at most
that; the rest flows back.

Laws (each has a test of the same name)
---------------------------------------
- the_books_sum_to_zero: after every movement, successful or refused.
- never_a_unit_over_budget: spent + reserved never exceeds the budget.
- charged_never_exceeds_reserved: a larger charge is refused, not cut.
- a_reservation_ends_once: settling it again is an error.
- a_refusal_changes_nothing.

A ledger without a budget (None) refuses nothing and keeps the same books. It reads no clock and
does not know what a call is; reservations are named by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class Exhausted(Exception):
    """The budget does not cover the amount; ``available`` is what is left."""

    def __init__(self, available: int) -> None:
        super().__init__(f"{available} nano-units are left")
        self.available = available


@dataclass(slots=True)
class Ledger:
    """The books of one tenant. ``budget`` None means that nothing is refused."""

    budget: int | None = None
    funding: int = 0
    available: int = 0
    reserved: int = 0
    spent: int = 0
    _reservations: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.budget is not None:
            self.funding, self.available = -self.budget, self.budget

    @property
    def sum(self) -> int:
        return self.funding + self.available + self.reserved + self.spent

    def reserve(self, name: str, amount: int) -> None:
        """Set ``amount`` aside under a new ``name``; raises Exhausted, or ValueError for a name in use."""
        if amount < 0 or name in self._reservations:
            raise ValueError("a reservation needs a new name and an amount of 0 or more")
        self._check(amount)
        self._reservations[name] = amount
        self.available -= amount
        self.reserved += amount

    def change(self, name: str, amount: int) -> None:
        """Make the reservation ``amount``, in one step; raises Exhausted and leaves it as it was."""
        if amount < 0:
            raise ValueError("a reservation cannot be negative")
        difference = amount - self._reservations[name]
        self._check(difference)
        self._reservations[name] = amount
        self.available -= difference
        self.reserved += difference

    def settle(self, name: str, charged: int) -> None:
        """End a reservation: charge, and free the rest. Raises KeyError for an unknown or ended one,
        ValueError when the charge exceeds it."""
        amount = self._reservations[name]
        if not 0 <= charged <= amount:
            raise ValueError(f"a charge of {charged} is not within the {amount} reserved")
        del self._reservations[name]
        self.reserved -= amount
        self.spent += charged
        self.available += amount - charged

    def restore(self, spent: int) -> None:
        """Book what durable records say was spent before a restart."""
        self.available -= spent
        self.spent += spent

    def _check(self, amount: int) -> None:
        if self.budget is not None and amount > 0 and amount > self.available:
            raise Exhausted(self.available)
