"""Budgets' thresholds told on both databases: exactly once, whoever looks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from caio.audit.ports import DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.audit.record import open_leaf
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables_tenancy import tenants
from caio.tenancy.ports import BudgetPeriod
from caio.worker.budget_alerts import BudgetAlerts
from tests.support.acts import acts_over

NOVEMBER = int(datetime(2026, 11, 5, tzinfo=UTC).timestamp()) * 1_000_000
DECEMBER = NOVEMBER + 30 * 86_400_000_000
UNIT = 10**9


class Watched:
    """Budgets over ``stores``; every ``alerts`` is another worker that remembers nothing."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.now = NOVEMBER
        self.acts, self.vault = acts_over(stores, NOVEMBER)
        self.calls = 0

    def alerts(self) -> BudgetAlerts:
        return BudgetAlerts(self.stores.tenants, self.stores.usage, self.acts, self.stores.acts, lambda: self.now)

    async def budget(self, scope: TenantScope, budget: int | None, period: BudgetPeriod, alerts: str) -> None:
        values = {"quota_budget": budget, "budget_period": period.value, "budget_alerts": alerts}
        async with self.stores.events._database.writing(PlatformScope("test")) as connection:
            await connection.execute(update(tenants).where(tenants.c.tenant_id == scope.tenant_id).values(values))

    async def charge(self, scope: TenantScope, charged: int) -> None:
        self.calls += 1
        name, at = f"dec_{self.calls}", self.now
        made = DecisionRow(
            name, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "me", "00", admitted=True, reserved=charged
        )
        ended = OutcomeRow(name, at, Status.OK, "svc", 7, 1, 2, charged, ())
        leaf = Leaf(scope.tenant_id, LeafKind.DECISION, name, at, b"c" * 32, b"sealed", made)
        outcome = replace(leaf, kind=LeafKind.OUTCOME, commitment=b"d" * 32, projection=ended)
        await self.stores.journal.append([leaf, outcome])

    async def told(self, scope: TenantScope) -> list[Any]:
        leaves = await self.stores.events.page(scope, ("caio.budget.",), -1, None, 0, 100)
        seqs = {event.seq for event in leaves}
        sealer = await self.vault.sealer(scope)
        stored = await self.stores.journal.page(scope, -1, 10_000)
        return [open_leaf(each, sealer).document["details"] for each in stored if each.seq in seqs]


async def test_each_threshold_is_told_exactly_once(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    place = Watched(stores)
    await place.budget(acme, 10 * UNIT, BudgetPeriod.MONTH, "[50,80,100]")
    assert await place.alerts().step() == 0
    await place.charge(acme, 5 * UNIT - 1)
    assert await place.alerts().step() == 0, "a nano-unit lacks"
    await place.charge(acme, 1)
    one = place.alerts()
    assert await one.step() == 1
    assert await one.step() == 0
    assert await place.alerts().step() == 0, "another worker, or this one after a kill"
    await place.charge(acme, 5 * UNIT)
    assert sum(await asyncio.gather(*(place.alerts().step() for _ in range(4)))) == 2
    told = await place.told(acme)
    assert [each["threshold"] for each in told] == [50, 80, 100]
    assert told[0] == {
        "threshold": 50,
        "period": "2026-11",
        "budget": "10",
        "charged": "5",
        "currency": "USD",
    }
    assert await place.told(rival) == []
    events = await place.stores.events.page(acme, ("caio.budget.",), -1, None, 0, 10)
    assert [event.subject for event in events] == ["2026-11/50", "2026-11/80", "2026-11/100"], "an event says which"


async def test_a_new_month_begins_anew(stores: Stores, acme: TenantScope) -> None:
    place = Watched(stores)
    await place.budget(acme, UNIT, BudgetPeriod.MONTH, "[100]")
    await place.charge(acme, UNIT)
    assert await place.alerts().step() == 1
    place.now = DECEMBER
    assert await place.alerts().step() == 0
    await place.charge(acme, UNIT)
    assert await place.alerts().step() == 1
    assert [each["period"] for each in await place.told(acme)] == ["2026-11", "2026-12"]


async def test_another_budget_is_told_of_anew(stores: Stores, acme: TenantScope) -> None:
    place = Watched(stores)
    await place.budget(acme, UNIT, BudgetPeriod.TOTAL, "[50]")
    await place.charge(acme, UNIT)
    assert await place.alerts().step() == 1
    await place.budget(acme, 10 * UNIT, BudgetPeriod.TOTAL, "[50]")
    assert await place.alerts().step() == 0
    await place.charge(acme, 4 * UNIT)
    assert await place.alerts().step() == 1
    assert [each["budget"] for each in await place.told(acme)] == ["1", "10"]


async def test_no_budget_no_alert(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    place = Watched(stores)
    await place.budget(acme, None, BudgetPeriod.TOTAL, "[50]")
    await place.budget(rival, UNIT, BudgetPeriod.TOTAL, "[]")
    for scope in (acme, rival):
        await place.charge(scope, UNIT)
    assert await place.alerts().step() == 0


async def test_one_tenants_trouble_stays_its_own(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    place = Watched(stores)
    for scope in (acme, rival):
        await place.budget(scope, UNIT, BudgetPeriod.TOTAL, "[50]")
        await place.charge(scope, UNIT)
    await stores.tenant_keys.destroy(acme, NOVEMBER)
    assert await place.alerts().step() == 1
    assert len(await place.told(rival)) == 1
