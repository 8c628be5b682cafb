"""What a tenant allows its services beyond their contracts, and the copy of it that calls are admitted by.

The copy is read again when it is older than two seconds, and at once after a change made here, so that a
limit holds on every process soon after it was set and a call pays a look-up in a dictionary. Of calls that find
it too old at once, one reads.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from caio.audit.acts import Act, Acts
from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope
from caio.registry.ports import Publications
from caio.tenancy.limits import UNLIMITED, Limits
from caio.tenancy.principals import Caller

#: How long a copy is taken for true, in seconds.
KEPT_SECONDS = 2.0
#: Tenants whose limits are kept.
TENANTS_KEPT = 1_000


class ServiceLimitStore(Protocol):
    """Limits by service. ``leaf`` tells of a change and is written in its transaction."""

    async def all(self, scope: TenantScope) -> Mapping[str, Limits]: ...

    async def put(self, scope: TenantScope, service_id: str, limits: Limits, now: int, leaf: Leaf) -> None: ...

    async def delete(self, scope: TenantScope, service_id: str, leaf: Leaf) -> None:
        """Raises NotFound where the service has none."""
        ...


class ServiceLimits:
    """The tenants' limits of services. ``clock`` gives microseconds since the epoch, ``monotonic`` seconds."""

    def __init__(
        self,
        store: ServiceLimitStore,
        contracts: Publications,
        acts: Acts,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._contracts = contracts
        self._acts = acts
        self._clock = clock
        self._monotonic = monotonic
        self._kept: OrderedDict[str, tuple[float, Mapping[str, Limits]]] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Mapping[str, Limits]]] = {}

    def fresh(self, tenant_id: str) -> Mapping[str, Limits] | None:
        """The tenant's limits by service if they are at hand, else None: then ``read`` them."""
        kept = self._kept.get(tenant_id)
        return kept[1] if kept is not None and self._monotonic() < kept[0] else None

    async def read(self, scope: TenantScope) -> Mapping[str, Limits]:
        """The tenant's limits by service, as they are stored now."""
        reading = self._reading.get(scope.tenant_id)
        if reading is None:
            reading = self._reading[scope.tenant_id] = asyncio.create_task(self._read(scope))
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # all may have left
        return await asyncio.shield(reading)

    async def _read(self, scope: TenantScope) -> Mapping[str, Limits]:
        until, tenant_id = self._monotonic() + KEPT_SECONDS, scope.tenant_id
        try:
            limits = await self._store.all(scope)
            if self._is_reading(tenant_id):
                self._kept[tenant_id] = until, limits
                self._kept.move_to_end(tenant_id)
        finally:
            if self._is_reading(tenant_id):
                del self._reading[tenant_id]
        if len(self._kept) > TENANTS_KEPT:
            self._kept.popitem(last=False)
        return limits

    def _is_reading(self, tenant_id: str) -> bool:
        """Whether the task that asks is the tenant's present look-up: no change was made since it began."""
        return self._reading.get(tenant_id) is asyncio.current_task()

    def _forget(self, tenant_id: str) -> None:
        self._kept.pop(tenant_id, None)
        self._reading.pop(tenant_id, None)

    async def of(self, scope: TenantScope, service_id: str) -> Limits:
        """What the tenant allows a service beyond its contract. Raises NotFound for a service it does not have."""
        await self._contracts.get(scope, service_id)
        return (await self._store.all(scope)).get(service_id, UNLIMITED)

    async def put(self, caller: Caller, service_id: str, limits: Limits) -> Limits:
        """Set them, in place of earlier ones. Raises NotFound for a service that the tenant does not have."""
        await self._contracts.get(caller.scope, service_id)
        leaf = await self._leaf(caller, service_id, limits.document())
        await self._store.put(caller.scope, service_id, limits, self._clock(), leaf)
        self._forget(caller.scope.tenant_id)
        return limits

    async def delete(self, caller: Caller, service_id: str) -> Limits:
        """Allow the service what its contract does. Raises NotFound where there are no limits of the tenant's."""
        await self._store.delete(caller.scope, service_id, await self._leaf(caller, service_id, {}))
        self._forget(caller.scope.tenant_id)
        return UNLIMITED

    async def _leaf(self, caller: Caller, service_id: str, limits: Mapping[str, Any]) -> Leaf:
        details = {"of": "service", "limits": dict(limits)}
        return await self._acts.leaf(
            caller.scope, Act("limits.changed", caller.principal.principal_id, service_id, details)
        )
