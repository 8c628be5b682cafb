"""Storage: measured beside the calls, and held against the tenant's quota before they are admitted.

Theory of operation
-------------------
A step measures the tenants that are due: whose journal has grown since the last measurement, at most every
``EVERY`` microseconds, and everybody once a day. The last measurement of a day is kept as that day's.

The gauge is what a process knows of the measurements: a tenant's last one, read again when it is older than
``LOOK``. One caller reads, and whoever comes meanwhile goes by the one before; only the first call of all
waits. A tenant may therefore pass its quota by what it stores within ``EVERY`` and ``LOOK``, and comes
below it again as late.

Laws (each has a test of the same name)
---------------------------------------
- what_is_measured_is_what_is_there: the bytes of every row, on both databases, whatever was erased.
- a_full_tenant_is_refused: its calls with the window ``storage``, its registrations with ``quota_exceeded``.
- one_caller_looks: others neither wait nor ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from caio.foundation.errors import CaioError, Conflict, LimitExceeded, NotReady
from caio.foundation.scope import TenantScope
from caio.metering.ports import StorageStore
from caio.metering.usage import day_of

_logger = structlog.get_logger("caio.metering")

#: How often a tenant that is busy is measured, and how old a process's knowledge may be: microseconds.
EVERY = 60_000_000
LOOK = 10_000_000
#: Tenants that are known of; another is looked at again.
TENANTS_KEPT = 10_000

#: Leaves measured in one transaction.
BATCH = 2_000
#: Seconds after which a caller whose tenant is full may look whether something was erased.
_RETRY_SECONDS = 3600


class StorageMeasure:
    """The one of a process. ``scope_of`` mints the scope of a tenant that is due."""

    def __init__(
        self,
        store: StorageStore,
        scope_of: Callable[[str], TenantScope],
        clock: Callable[[], int],
        *,
        every: int = EVERY,
        batch: int = BATCH,
    ) -> None:
        self._store = store
        self._scope_of = scope_of
        self._clock = clock
        self._every = every
        self._batch = batch

    async def step(self) -> int:
        """Measure the tenants that are due; returns how many."""
        measured = 0
        for tenant_id in await self._store.due(self._clock(), self._every):
            try:
                measured += await self._measure_if_due(self._scope_of(tenant_id))
            except CaioError as error:
                _logger.error("storage was not measured", tenant=tenant_id, code=error.code, exc_info=error)
        return measured

    async def _measure_if_due(self, scope: TenantScope) -> bool:
        """The list may name a tenant that is not: what lies outside the shared tables does not show from there."""
        last, now = await self._store.latest(scope), self._clock()
        if last is not None and day_of(last.measured_at) == day_of(now) and last.measured_at > now - self._every:
            return False
        await self.measure(scope)
        return True

    async def measure(self, scope: TenantScope) -> int:
        """Measure one tenant now; returns the bytes."""
        while await self._store.measure_leaves(scope, self._batch) == self._batch:
            pass
        return (await self._store.measure(scope, self._clock())).bytes


@dataclass(slots=True)
class _Known:
    """What a tenant's rows took when last looked at; ``until`` is when to look again."""

    bytes: int
    until: int


class StorageGauge:
    """What a process knows of its tenants' storage."""

    def __init__(self, store: StorageStore, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def admit(self, scope: TenantScope, quota: int) -> None:
        """Raises LimitExceeded ``storage`` when the tenant's rows take its quota or more."""
        taken = await self.bytes(scope)
        if taken >= quota:
            raise LimitExceeded(
                f"the tenant's rows take {taken:,} bytes, and its storage quota is {quota:,}: "
                "keep content for fewer days, erase some, or have the quota raised",
                window="storage",
                limit=quota,
                retry_after=_RETRY_SECONDS,
            )

    async def admit_document(self, scope: TenantScope, quota: int, size: int) -> None:
        """Raises Conflict ``quota_exceeded`` when a further ``size`` bytes would pass the quota."""
        taken = await self.bytes(scope)
        if taken + size > quota:
            raise Conflict(
                f"the tenant's storage quota is {quota:,} bytes, {taken:,} are taken, and this takes {size:,} more",
                code="quota_exceeded",
            )

    async def bytes(self, scope: TenantScope) -> int:
        """What the tenant's rows took when last measured, 0 before the first measurement."""
        known, now = self._known.get(scope.tenant_id), self._clock()
        if known is not None and now < known.until:
            return known.bytes
        if known is not None:
            known.until = now + LOOK
        try:
            found = await self._store.latest(scope)
        except NotReady:
            if known is None:
                raise
            return known.bytes  # the database is away: what else the call needs of it will say so
        taken = 0 if found is None else found.bytes
        self._known[scope.tenant_id] = _Known(taken, now + LOOK)
        if len(self._known) > TENANTS_KEPT:
            del self._known[next(iter(self._known))]
        return taken

    def forget(self, tenant_id: str) -> None:
        """Look again at the tenant's next call."""
        self._known.pop(tenant_id, None)
