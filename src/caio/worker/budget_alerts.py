"""Tells when a tenant has used up a part of its budget: an act, and so an event, for each threshold passed.

A step compares what was charged, by the durable records, with the thresholds. What it tells has an identity of its
own (``metering.alerts``), so that two processes, or one that was killed in between, tell of each threshold exactly
once. What this process knows to be told is remembered, to spare the question.

Laws (each has a test of the same name)
---------------------------------------
- each_threshold_is_told_exactly_once: by any number of workers, killed at any time.
- one_tenants_trouble_stays_its_own.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import ActStore
from caio.foundation.errors import CaioError, Erased
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.metering.alerts import alert_id, reached
from caio.metering.ports import UsageStore
from caio.metering.statements import period_at
from caio.tenancy.ports import Tenant, TenantStore

_logger = structlog.get_logger("caio.metering")


class BudgetAlerts:
    """The one of a process. ``clock`` gives microseconds since the epoch."""

    def __init__(
        self, tenants: TenantStore, usage: UsageStore, acts: Acts, recorded: ActStore, clock: Callable[[], int]
    ) -> None:
        self._tenants = tenants
        self._usage = usage
        self._acts = acts
        self._recorded = recorded
        self._clock = clock
        self._told: set[str] = set()

    async def step(self) -> int:
        """Tell of every threshold that was passed and is not told yet; returns how many."""
        told, known = 0, set[str]()
        for tenant in await self._tenants.all_active():
            if tenant.quotas.budget is None or not tenant.quotas.alerts:
                continue
            try:
                told += await self._tell(tenant, known)
            except Erased:
                continue  # nothing can be told in a log whose key is gone
            except CaioError as error:
                _logger.error("a budget was not looked at", tenant=tenant.tenant_id, code=error.code, exc_info=error)
        self._told = known
        return told

    async def _tell(self, tenant: Tenant, known: set[str]) -> int:
        scope, quotas, now = TenantScope(tenant.tenant_id), tenant.quotas, self._clock()
        budget = quotas.budget
        if budget is None:
            return 0
        period, starts_at, _ = period_at(quotas.budget_period, now)
        ids = {each: alert_id(tenant.tenant_id, period, starts_at or 0, budget, each) for each in quotas.alerts}
        if self._told.issuperset(ids.values()):
            known.update(ids.values())
            return 0  # there is nothing left to tell in this period
        charged = await self._usage.charged(scope, starts_at or 0)
        told = 0
        for threshold in reached(budget, quotas.alerts, charged):
            if (act_id := ids[threshold]) not in self._told:
                details = {
                    "threshold": threshold,
                    "period": period,
                    "budget": decimal_text(budget),
                    "charged": decimal_text(charged),
                    "currency": tenant.currency,
                }
                act = Act("budget.threshold", SYSTEM, f"{period}/{threshold}", details)
                told += await self._recorded.record(scope, await self._acts.leaf(scope, act, act_id=act_id))
            known.add(act_id)
        return told
