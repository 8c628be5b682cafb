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
- a_reservation_stays_in_its_period: what it costs is charged to the period in which it was made, however
  late it ends.
- a_changed_budget_changes_what_is_available_alone.

A ledger without a budget (None) refuses nothing but what no books can hold (``MOST``), and keeps the same
books. A budget may be for all time (``TOTAL``) or for each calendar month in UTC (``2026-11``); ``Books``
keeps a ledger for each period that something happens in. Nothing here reads a clock or knows what a call is;
reservations are named by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

#: The name of the period that has neither beginning nor end.
TOTAL = "total"

#: The most that a period's books hold without a budget: sums of nano-units are 64-bit integers where they are kept.
MOST = 9 * 10**18

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Exhausted(Exception):
    """The budget does not cover the amount; ``available`` is what is left."""

    def __init__(self, available: int) -> None:
        super().__init__(f"{available} nano-units are left")
        self.available = available


@dataclass(slots=True)
class Ledger:
    """The books of one tenant. ``budget`` None means that there is none."""

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

    @property
    def holds(self) -> bool:
        """Whether anything is reserved, were it for nothing."""
        return bool(self._reservations)

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

    def fund(self, budget: int | None) -> None:
        """Make ``budget`` the budget from now on. One below what is spent and reserved refuses all but the free."""
        if budget == self.budget:
            return
        more = (budget or 0) + self.funding  # funding is the old budget, negative
        self.budget = budget
        self.funding -= more
        self.available += more

    def restore(self, spent: int) -> None:
        """Book what durable records say was spent before a restart."""
        self.available -= spent
        self.spent += spent

    def _check(self, amount: int) -> None:
        left = MOST - self.reserved - self.spent if self.budget is None else self.available
        if 0 < amount > left:
            raise Exhausted(left)


class Books:
    """A tenant's ledgers, one for each period in which something was reserved or restored. A reservation is made,
    changed and settled in the ledger of its period."""

    __slots__ = ("_ledgers",)

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}

    def __contains__(self, period: str) -> bool:
        return period in self._ledgers

    def open(self, period: str, spent: int) -> Ledger:
        """Begin the books of a period with what was spent in it so far; let go of those of other periods in which
        nothing is reserved. Raises ValueError for a period that has books."""
        if period in self._ledgers:
            raise ValueError(f"the period {period} has books already")
        self._ledgers = {name: ledger for name, ledger in self._ledgers.items() if ledger.holds}
        ledger = self._ledgers[period] = Ledger()
        ledger.restore(spent)
        return ledger

    def ledger(self, period: str) -> Ledger:
        """Raises KeyError for a period without books."""
        return self._ledgers[period]


def month_of(now: int) -> str:
    """The name of the calendar month in UTC that holds ``now`` (microseconds since the epoch)."""
    moment = _EPOCH + timedelta(microseconds=now)
    return f"{moment.year:04}-{moment.month:02}"


def period_start(period: str) -> int:
    """When a period began, in microseconds since the epoch; 0 for the one that has no beginning.
    Raises ValueError for anything but a period's name."""
    if period == TOTAL:
        return 0
    return (datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
