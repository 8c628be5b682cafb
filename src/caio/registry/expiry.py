"""Retention at work: a pass an hour erases what is older than each tenant keeps.

Theory of operation
-------------------
A pass walks a tenant's decisions from where the last one came to, oldest first, a batch a transaction,
with a pause behind each for others. What a hold covers is passed over; releasing one sends the next
pass back to the beginning. What still runs keeps the mark before it. A pass that is cut short, by an
error or the process's end, has erased whole batches and is taken up by the next. A database that was put
back from a backup lacks the holds placed since, so the first pass leaves time to place them again.

Laws (each has a test of the same name)
---------------------------------------
- what_is_older_goes: content and principal; and nothing younger.
- a_released_hold_is_caught_up_with: even when it was released during a pass.
- keeping_for_good_stops_a_pass: from the next batch on.
- one_tenants_trouble_stays_its_own.
- a_start_leaves_time_for_holds: nothing is erased before FIRST_AFTER_SECONDS have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.custody import CustodyStore, Erasure, held
from caio.foundation.errors import CaioError, Erased
from caio.foundation.scope import TenantScope
from caio.registry.custody import told
from caio.tenancy.authentication import embedded_scope

_logger = structlog.get_logger("caio.audit")

DAY = 86_400_000_000
EVERY_SECONDS = 3600.0
FIRST_AFTER_SECONDS = 600.0

#: Decisions erased in one transaction. On SQLite calls wait for it: with 50, 1 in 100 waits 4 ms; with 200, 35 ms.
BATCH = 50
_PAUSE_SECONDS = 0.05


class Expiry:
    """The one of a process. ``start`` it in the event loop it shall run in; ``clock`` gives microseconds."""

    def __init__(self, store: CustodyStore, acts: Acts, clock: Callable[[], int], *, batch: int = BATCH) -> None:
        self._store = store
        self._acts = acts
        self._clock = clock
        self._batch = batch
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._hourly())

    async def stop(self) -> None:
        """End at once; a transaction under way is done or undone as a whole."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def pass_once(self, now: int) -> int:
        """Erase what is too old at ``now``, for every tenant; returns how many decisions."""
        erased = 0
        for tenant_id in await self._store.retained():
            try:
                erased += await self._pass(embedded_scope(tenant_id), now)
            except Erased:
                continue  # the whole tenant was erased
            except CaioError as error:
                _logger.error("a retention pass stopped", tenant=tenant_id, code=error.code, exc_info=error)
        return erased

    async def _pass(self, scope: TenantScope, now: int) -> int:
        found = await self._store.retention(scope)
        if found.days is None or (until := now - found.days * DAY) <= found.erased_before:
            return 0
        erased, mark, after = 0, until, (found.erased_before, "")
        while contents := await self._store.decided(scope, after, until, None, self._batch):
            standing = await self._store.standing(scope)
            free = [each for each in contents if not each.erased and not each.running and not held(each, standing)]
            if free:
                details = told(free, "retention", days=found.days)
                leaf = await self._acts.leaf(scope, Act("content.erased", SYSTEM, "retention", details))
                done = await self._store.erase(scope, Erasure(free, found.days), leaf)
                await asyncio.sleep(_PAUSE_SECONDS)
                if not done:
                    if (await self._store.retention(scope)).days != found.days:
                        return erased
                    continue  # a hold came, or somebody else erased: look at the same decisions again
                erased += len(free)
            mark = min([mark, *(each.decided_at for each in contents if each.running)])
            after = contents[-1].place
        await self._store.passed(scope, found, mark)
        return erased

    async def _hourly(self) -> None:
        await asyncio.sleep(FIRST_AFTER_SECONDS)
        while True:
            try:
                await self.pass_once(self._clock())
            except Exception as error:  # the database is away, say: the next pass takes it up
                _logger.error("a retention pass failed", exc_info=error)
            await asyncio.sleep(EVERY_SECONDS)
