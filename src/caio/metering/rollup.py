"""The roll-up: takes what calls left in the journal into usage, off their path.

Theory of operation
-------------------
Each tenant has a mark: the first leaf of its journal that usage does not hold. A step asks which journals
have grown beyond their marks, and takes each tenant's next leaves in, batch by batch; a batch's sums
and its mark are one transaction. A step may therefore be cut short anywhere, repeated, or run in several
processes at once. A tenant gets a few batches a step, so that a large one holds up nobody.

Laws (each has a test of the same name)
---------------------------------------
- killing_a_rollup_loses_and_repeats_nothing.
- rollups_at_once_count_once.
- steady_traffic_is_taken_in_once_a_period: only a backlog is worked off without a pause.
- one_tenants_trouble_stays_its_own: another's usage goes on, and the trouble is logged.
- memory_is_bounded: by a batch, not by the journal.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from caio.foundation.errors import CaioError
from caio.foundation.scope import TenantScope
from caio.metering.ports import UsageStore

_logger = structlog.get_logger("caio.metering")

#: Leaves taken in by one transaction, which holds up other writers on SQLite for so long.
BATCH = 500
#: Batches of one tenant before the next one's turn.
BATCHES = 20


class UsageRollup:
    """The one of a process. ``scope_of`` mints the scope of a tenant whose journal has grown."""

    def __init__(
        self, store: UsageStore, scope_of: Callable[[str], TenantScope], *, batch: int = BATCH, batches: int = BATCHES
    ) -> None:
        self._store = store
        self._scope_of = scope_of
        self._batch = batch
        self._batches = batches

    async def step(self) -> int:
        """Take in some of what waits; returns how many leaves, 0 when nothing is left to do."""
        return sum(await self._pass())

    async def work_off(self) -> int:
        """A step for a loop that goes on at once while there is a backlog: 0 unless a tenant had more than one step
        takes. Steady traffic is taken in once a period then, in few large transactions."""
        return sum(taken for taken in await self._pass() if taken >= self._batch * self._batches)

    async def _pass(self) -> list[int]:
        """Some of each tenant's, how many leaves."""
        taken = []
        for tenant_id in await self._store.waiting():
            try:
                taken.append(await self._some_of(self._scope_of(tenant_id)))
            except CaioError as error:
                _logger.error("usage was not taken in", tenant=tenant_id, code=error.code, exc_info=error)
        return taken

    async def catch_up(self, scope: TenantScope) -> int:
        """Take in all of a tenant's leaves; returns how many."""
        taken = 0
        while batch := await self._store.take_in(scope, self._batch):
            taken += batch
        return taken

    async def rebuild(self, scope: TenantScope) -> int:
        """Count a tenant's usage again from the journal's beginning; returns how many leaves that were.
        Until it is done, usage is what it has come to; a rebuild that is cut short is finished by later steps."""
        await self._store.begin_anew(scope)
        return await self.catch_up(scope)

    async def _some_of(self, scope: TenantScope) -> int:
        taken = 0
        for _ in range(self._batches):
            batch = await self._store.take_in(scope, self._batch)
            taken += batch
            if batch < self._batch:
                break
        return taken
