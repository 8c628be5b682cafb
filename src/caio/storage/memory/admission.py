"""Admission inside one process: every meter, the slots and the money in one step.

A tenant's ``Account`` is opened from the durable records at the tenant's first call, so that start-up reads
nothing of tenants that are idle; those of tenants that have been idle longest are let go when there are many.
Several processes need the Redis adapter; this one is correct for exactly one.

What the tests of ``tests/conformance/test_admission.py`` state holds here; further: accounts_are_bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from caio.foundation.scope import TenantScope
from caio.gateway.past_use import PastUnits, unsettled
from caio.gateway.ports import Actual, AdmissionRecords, Ask, Grant, ServiceBusy
from caio.gateway.refusals import grant_ended
from caio.metering.ledger import Ledger, period_start
from caio.storage.memory.account import Account
from caio.tenancy.rate_limit import DAY

#: Tenants whose accounts are kept without a running call.
ACCOUNTS_KEPT = 1_000


class InProcessAdmission:
    """The ``Admission`` port for the embedded default. ``late`` is by how much the times of the records may be earlier
    than what they tell of, microseconds: not at all where this process alone wrote them."""

    def __init__(self, records: AdmissionRecords, accounts_kept: int = ACCOUNTS_KEPT, *, late: int = 0) -> None:
        self._records = records
        self._accounts_kept = accounts_kept
        self._late = late
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._opening: dict[str, asyncio.Task[None]] = {}

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        account = self._accounts.get(ask.tenant_id)
        if account is None or ask.period not in account.books:
            account = await self._opened(ask.scope, ask.period, now)
        self._accounts.move_to_end(ask.tenant_id)
        return account.admit(ask, now)

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        account = self._accounts.get(grant.ask.tenant_id)
        if account is None:
            raise grant_ended()
        return account.move(grant, ask, now)

    async def settle(self, grant: Grant, actual: Actual) -> None:
        self.settling(grant, actual)

    def settling(self, grant: Grant, actual: Actual) -> None:
        """Done at once."""
        account = self._accounts.get(grant.ask.tenant_id)
        if account is not None:  # else it has long been settled
            account.settle(grant.grant_id, actual)

    async def ledger(self, scope: TenantScope, period: str, now: int) -> Ledger:
        """The tenant's books of the period that ``now`` is in, for reading."""
        account = self._accounts.get(scope.tenant_id)
        if account is None or period not in account.books:
            account = await self._opened(scope, period, now)
        return account.books.ledger(period)

    async def _opened(self, scope: TenantScope, period: str, now: int) -> Account:
        """The tenant's account with books of the period; of calls that come at once one reads the records."""
        name = scope.tenant_id
        while (account := self._accounts.get(name)) is None or period not in account.books:
            if name not in self._opening:
                reading = (
                    self._open(scope, period, now) if account is None else self._begin(account, scope, period, now)
                )
                self._opening[name] = opening = asyncio.create_task(reading)
                opening.add_done_callback(lambda _: self._opening.pop(name))
            await asyncio.shield(self._opening[name])
        return account

    async def _open(self, scope: TenantScope, period: str, now: int) -> None:
        start = period_start(period)
        past = await self._records.since(scope, now - DAY - self._late, start)
        units = await asyncio.to_thread(PastUnits, past, now)  # of a busy tenant it takes a while: others are served
        account = Account(units, now, self._late)
        account.books.open(period, past.spent + sum(unsettled(past, start).values()))
        self._accounts[scope.tenant_id] = account
        if len(self._accounts) > self._accounts_kept:
            idle = [name for name, each in self._accounts.items() if not each.held and each is not account]
            for name in idle[: len(self._accounts) - self._accounts_kept]:
                del self._accounts[name]

    async def _begin(self, account: Account, scope: TenantScope, period: str, now: int) -> None:
        """Begin another period, or return to one: the budget's kind of period was changed, or the clock stepped back
        over its end. What runs counts as spent at its worst."""
        start = period_start(period)
        ran = _running(account, start)
        past = await self._records.since(scope, max(start, now - DAY), start)
        running = unsettled(past, start) | ran | _running(account, start)
        account.books.open(period, past.spent + sum(running.values()))


def _running(account: Account, start: int) -> dict[str, int]:
    """What the calls that run hold of the money of the period, by decision."""
    return {name: held.ask.price for name, held in account.held.items() if held.admitted_at >= start}
