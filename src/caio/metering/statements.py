"""What a tenant may ask of its metering: usage in groups, and how its budget stands.

Every answer says what it is as of: each call that was recorded before that moment is in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from caio.foundation.errors import TooLarge
from caio.foundation.scope import TenantScope
from caio.metering.ledger import TOTAL, month_of, period_start
from caio.metering.ports import Group, StorageMeasured, StorageStore, UsageQuery, UsageStore
from caio.metering.usage import DAY, Sums
from caio.tenancy.ports import BudgetPeriod, Tenant, TenantStore

#: The most groups of an answer that comes in one piece.
MOST_GROUPS = 10_000
#: The most days that may be asked for at once.
MOST_DAYS = 400
#: Each page adds up all that lies behind the one before, so an answer in one piece is one page.
_PAGE = MOST_GROUPS + 1
#: No call runs longer, in microseconds: what was admitted before has ended.
_LONGEST_CALL = 660_000_000


@dataclass(frozen=True, slots=True)
class Statement:
    """Usage as of a moment (microseconds since the epoch); ``waiting`` leaves of the journal are not in it yet."""

    as_of: int
    waiting: int
    groups: Sequence[Group]
    total: Sums


@dataclass(frozen=True, slots=True)
class Threshold:
    """A percentage of the budget, and whether what was charged has reached it."""

    percent: int
    amount: int
    reached: bool


@dataclass(frozen=True, slots=True)
class BudgetStatement:
    """How a budget stands, in nano-units. ``period`` is ``total`` or a month; ``budget`` and ``left`` are None
    without a budget. ``reserved`` is set aside for calls that are running."""

    period: str
    starts_at: int | None
    ends_at: int | None
    budget: int | None
    charged: int
    reserved: int
    left: int | None
    thresholds: tuple[Threshold, ...]
    as_of: int


class Statements:
    """Answers from what was metered; ``clock`` gives microseconds since the epoch."""

    def __init__(
        self, usage: UsageStore, storage: StorageStore, tenants: TenantStore, clock: Callable[[], int]
    ) -> None:
        self._usage = usage
        self._storage = storage
        self._tenants = tenants
        self._clock = clock

    async def tenant(self, scope: TenantScope) -> Tenant:
        """Whose statements these are. Raises NotFound."""
        return await self._tenants.get(scope)

    async def usage(self, scope: TenantScope, query: UsageQuery) -> Statement:
        """Usage in groups, and their sum. Raises TooLarge beyond MOST_GROUPS."""
        as_of, waiting = await self.as_of(scope)
        groups: list[Group] = []
        total = Sums()
        async for group in self.each(scope, query):
            if len(groups) == MOST_GROUPS:
                raise TooLarge(
                    f"these are more than {MOST_GROUPS:,} groups: ask for fewer days or dimensions, or for CSV"
                )
            groups.append(group)
            total = total.plus(group.sums)
        return Statement(as_of, waiting, groups, total)

    async def each(self, scope: TenantScope, query: UsageQuery) -> AsyncIterator[Group]:
        """Every group by its key, read page by page; what is taken in meanwhile may be in later ones."""
        after: Group | None = None
        while page := await self._usage.groups(scope, query, after, _PAGE):
            for group in page:
                yield group
            if len(page) < _PAGE:
                return
            after = page[-1]

    async def as_of(self, scope: TenantScope) -> tuple[int, int]:
        """Until when every recorded call is in the usage, and how many leaves of the journal are not."""
        now = self._clock()
        progress = await self._usage.progress(scope)
        return (now if progress.since is None else progress.since), progress.waiting

    async def storage(self, scope: TenantScope, query: UsageQuery) -> Sequence[tuple[int, StorageMeasured]]:
        """What the tenant's rows took on each day that is asked for, as last measured on it."""
        return await self._storage.days(scope, query.since, query.until)

    async def budget(self, scope: TenantScope, tenant: Tenant) -> BudgetStatement:
        """How the tenant's budget stands in its present period."""
        now = self._clock()
        name, start, end = period_at(tenant.quotas.budget_period, now)
        charged = await self._usage.charged(scope, start or 0)
        reserved = await self._usage.reserved(scope, now - _LONGEST_CALL)
        budget = tenant.quotas.budget
        thresholds = () if budget is None else tuple(_threshold(each, budget, charged) for each in tenant.quotas.alerts)
        left = None if budget is None else budget - charged - reserved
        return BudgetStatement(name, start, end, budget, charged, reserved, left, thresholds, now)


def period_at(period: BudgetPeriod, now: int) -> tuple[str, int | None, int | None]:
    """The name of the period that ``now`` is in, its first microsecond and the first one behind it; None for
    a budget of all time."""
    if period is BudgetPeriod.TOTAL:
        return TOTAL, None, None
    month = month_of(now)
    start = period_start(month)
    return month, start, period_start(month_of(start + 31 * DAY))


def _threshold(percent: int, budget: int, charged: int) -> Threshold:
    amount = -(-budget * percent // 100)
    return Threshold(percent, amount, charged >= amount)
