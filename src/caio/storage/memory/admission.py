"""Admission inside one process: windows, concurrency and money in one step.

Nothing here awaits between checking and taking, so on one event loop the step is atomic. After a
restart the windows and the ledger are rebuilt from the journal before the first admission
(``restore``), so that a restart lends nobody a fresh quota. Several processes need the Redis
adapter; this one is correct for exactly one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from caio.foundation.errors import BudgetExhausted, LimitExceeded
from caio.foundation.quantity import decimal_text
from caio.gateway.ports import Ask, Grant, ServiceBusy
from caio.metering.ledger import Exhausted, Ledger
from caio.tenancy.ports import Quotas, Tenant
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE, RollingWindow, Windows


@dataclass(slots=True)
class _Account:
    """One tenant's windows and books."""

    windows: Windows
    ledger: Ledger
    services: dict[str, _Service] = field(default_factory=dict)
    restored: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Service:
    """One service's own limits for one tenant, as its contract states them at the last call."""

    limits: tuple[int | None, int | None]
    windows: Windows
    running: int = 0


class InProcessAdmission:
    """The Admission port for the embedded default. Tenants are made known with ``open``."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._numbers = count(1)

    def open(self, tenant: Tenant) -> None:
        """Make a tenant's quotas known; a call for an unknown tenant is a KeyError."""
        self._accounts[tenant.tenant_id] = _Account(_tenant_windows(tenant.quotas), Ledger(tenant.quotas.budget))

    def restore(
        self,
        tenant_id: str,
        admitted: Iterable[tuple[str, int]],
        spent: int,
        further: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Rebuild after a restart: (service id, time) of admitted calls, oldest first, and money spent.
        ``further`` are the calls that fallbacks and repeats made: they count for their services only."""
        account = self._accounts[tenant_id]
        account.ledger.restore(spent)
        for service_id, at in admitted:
            account.windows.restore(at)
            # The service's own limits come with the next call's contract; keep the times until then.
            account.restored.setdefault(service_id, []).append(at)
        for service_id, at in further:
            account.restored.setdefault(service_id, []).append(at)

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        account = self._accounts[ask.tenant_id]
        if (full := account.windows.full(now)) is not None:
            raise LimitExceeded(
                f"the tenant's limit of {full.limit} requests per {full.window} is reached",
                window=full.window,
                limit=full.limit,
                retry_after=full.retry_after,
            )
        service = _service(account, ask)
        if (busy := _busy(service, ask, now)) is not None:
            return busy
        grant = Grant(f"grant-{next(self._numbers)}", ask)
        try:
            account.ledger.reserve(grant.grant_id, ask.price)
        except Exhausted as exhausted:
            raise _out_of_money(ask, exhausted) from None
        account.windows.take(now)
        service.windows.take(now)
        service.running += 1
        return grant

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        account = self._accounts[ask.tenant_id]
        service = _service(account, ask)
        if (busy := _busy(service, ask, now)) is not None:
            return busy
        try:
            account.ledger.change(grant.grant_id, ask.price)
        except Exhausted as exhausted:
            raise _out_of_money(ask, exhausted) from None
        account.services[grant.ask.service_id].running -= 1
        service.windows.take(now)
        service.running += 1
        return Grant(grant.grant_id, ask)

    async def settle(self, grant: Grant, charged: int) -> None:
        account = self._accounts[grant.ask.tenant_id]
        account.ledger.settle(grant.grant_id, charged)
        account.services[grant.ask.service_id].running -= 1

    def ledger(self, tenant_id: str) -> Ledger:
        """The tenant's books, for reading."""
        return self._accounts[tenant_id].ledger


def _service(account: _Account, ask: Ask) -> _Service:
    limits = (ask.per_minute, ask.per_hour)
    known = account.services.get(ask.service_id)
    if known is None:
        known = account.services[ask.service_id] = _Service(limits, _service_windows(limits))
        for at in sorted(account.restored.pop(ask.service_id, ())):
            known.windows.restore(at)
    elif known.limits != limits:
        # A new contract version: what was admitted under the old limits still counts.
        known.windows = _service_windows(limits).continuing(known.windows)
        known.limits = limits
    return known


def _busy(service: _Service, ask: Ask, now: int) -> ServiceBusy | None:
    if ask.max_concurrent is not None and service.running >= ask.max_concurrent:
        return ServiceBusy(f"{ask.service_id} concurrent", ask.max_concurrent, 1)
    full = service.windows.full(now)
    return None if full is None else ServiceBusy(f"{ask.service_id} {full.window}", full.limit, full.retry_after)


def _out_of_money(ask: Ask, exhausted: Exhausted) -> BudgetExhausted:
    return BudgetExhausted(
        f"the call may cost {decimal_text(ask.price)}, and {decimal_text(exhausted.available)} of the budget is left"
    )


def _tenant_windows(quotas: Quotas) -> Windows:
    return Windows(
        [
            RollingWindow("minute", quotas.per_minute, MINUTE),
            RollingWindow("hour", quotas.per_hour, HOUR),
            RollingWindow("day", quotas.per_day, DAY),
        ]
    )


def _service_windows(limits: tuple[int | None, int | None]) -> Windows:
    spans = (("minute", MINUTE), ("hour", HOUR))
    return Windows(
        [RollingWindow(name, limit, span) for limit, (name, span) in zip(limits, spans, strict=True) if limit]
    )
