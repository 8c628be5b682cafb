"""Tenants come into being, change and end, each step with a leaf of the tenant's own log.

Theory of operation
-------------------
A tenant's row, its wrapped data key and the leaf ``tenant.created`` are one transaction. The key is
made and wrapped before it, so the leaf can be sealed although the tenant is not there yet; when
somebody else was faster, key and leaf are thrown away unused.

Every later step is decided by ``standing`` on the tenant as it was read, sealed, and stored only if the
tenant is still at that revision; otherwise it is read and decided again. So of steps that are asked for at
the same time, each sees what the others did, and the same one asked for twice is told once.

A deletion is one transaction: the status, the identities, the data key behind the last two leaves, from
which moment nothing sealed can be read. What is left in clear is swept after it, in small steps, and once
more when no process can hold the key any longer. ``erase_at`` says that this is still to be done: whoever is
interrupted is taken up by the worker.

Laws (each has a test of the same name)
---------------------------------------
- a_tenant_begins_with_its_key_and_its_leaf: all three are there, or none.
- a_taken_id_changes_nothing: no key is made for it, and no leaf is written.
- each_step_is_told_once: in the tenant's log, however often it is asked for, and at the same time.
- a_change_of_another_revision_is_refused: nothing is stored or told.
- what_was_resumed_is_not_deleted: by a worker that read it before.
- a_hold_stands_before_a_deletion: nothing is gone then.
- an_interrupted_deletion_is_taken_up: wherever it stopped, and ends the same.
- no_tenant_holds_up_anothers_end: be it held, or its place away or in other hands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.custody import CustodyStore
from caio.audit.ports import KeyWrapping, Leaf
from caio.audit.sealing import KEY_BYTES, Entropy, Sealer
from caio.foundation.errors import CaioError, Conflict, Erased, NotFound, PreconditionFailed
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.tenancy import standing
from caio.tenancy.authentication import embedded_scope
from caio.tenancy.forgetting import Forgetting
from caio.tenancy.ports import Quotas, Tenant, TenantCounts, TenantPlaces, TenantStatus, TenantStore
from caio.tenancy.standing import TenantChange

#: Tenants that a pass of the worker reads at a time.
DUE_AT_ONCE = 20

_logger = structlog.get_logger("caio.tenancy")


class Tenants:
    """Makes tenants. ``wrapping`` is the one that the installation's vault unwraps with."""

    def __init__(self, store: TenantStore, wrapping: KeyWrapping, acts: Acts, entropy: Entropy) -> None:
        self._store = store
        self._wrapping = wrapping
        self._acts = acts
        self._entropy = entropy

    async def create(self, scope: TenantScope, principal_id: str, tenant: Tenant) -> bool:
        """Create ``tenant`` in its own scope, on behalf of ``principal_id``; False, and no change, when its id
        is taken. Raises ValueError for another tenant's scope, and NotReady when the key cannot be wrapped."""
        if tenant.tenant_id != scope.tenant_id:
            raise ValueError("a tenant is created in its own scope only")
        if await self.exists(scope):
            return False
        key = self._entropy(KEY_BYTES)
        act = Act("tenant.created", principal_id, tenant.tenant_id, described(tenant))
        leaf = self._acts.sealed(scope, act, Sealer(key, self._entropy))
        return await self._store.create(scope, tenant, await self._wrapping.wrap(key, tenant.tenant_id), leaf)

    async def exists(self, scope: TenantScope) -> bool:
        """Whether the id is taken: by whatever tenant there is or was."""
        try:
            await self._store.get(scope)
        except NotFound:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Step:
    """An act, and what it makes of a tenant at a time."""

    action: str
    details: Mapping[str, Any]
    takes: Callable[[Tenant, int], Tenant]


class Lifecycle:
    """Reads tenants, changes and ends them. ``by`` is the id of the principal who asks."""

    def __init__(
        self,
        tenants: Tenants,
        store: TenantStore,
        places: TenantPlaces,
        custody: CustodyStore,
        acts: Acts,
        clock: Callable[[], int],
        forgetting: Forgetting,
    ) -> None:
        self._tenants = tenants
        self._store = store
        self._places = places
        self._custody = custody
        self._acts = acts
        self._clock = clock
        self._forgetting = forgetting

    async def create(self, scope: TenantScope, by: str, tenant: Tenant) -> Tenant:
        """Create ``tenant`` now, where its tier says; what is stored. Raises Conflict ``already_exists``, for the id
        of a deleted tenant too, and as ``TenantPlaces.prepare_place`` and ``Tenants.create``."""
        if await self._tenants.exists(scope):
            raise _taken(tenant.tenant_id)
        prepared = await self._places.prepare_place(replace(tenant, created_at=self._clock()))
        if not await self._tenants.create(scope, by, prepared):
            raise _taken(tenant.tenant_id)  # whoever was faster has the place
        return prepared

    async def get(self, scope: TenantScope) -> Tenant:
        """Raises NotFound."""
        return await self._store.get(scope)

    async def counts(self, scope: TenantScope) -> TenantCounts:
        return await self._store.counts(scope, self._clock())

    async def page(self, status: TenantStatus | None, after: str, limit: int) -> Sequence[Tenant]:
        """All tenants by id, or those of one status: for the platform's operator."""
        return await self._store.page(status, after, limit)

    async def change(self, scope: TenantScope, by: str, change: TenantChange, if_match: int) -> Tenant:
        """Raises NotFound, PreconditionFailed when the tenant is not at revision ``if_match``, and as
        ``standing.changed``. Quotas that are lowered below what there is refuse only what is new."""
        step = _Step("tenant.changed", _stated(change), lambda tenant, now: standing.changed(tenant, change, now))
        return await self._take(scope, by, step, if_match)

    async def suspend(self, scope: TenantScope, by: str, reason: str) -> Tenant:
        """Refuse the tenant's calls and log-ins: here at once, elsewhere within seconds. Raises NotFound, and as
        ``standing.suspended``."""
        return await self._take(scope, by, _Step("tenant.suspended", {"reason": reason}, standing.suspended))

    async def resume(self, scope: TenantScope, by: str) -> Tenant:
        """Serve a suspended or cancelled tenant again. Raises NotFound, and as ``standing.resumed``."""
        return await self._take(scope, by, _Step("tenant.resumed", {}, standing.resumed))

    async def cancel(self, scope: TenantScope, by: str, reason: str, grace_days: int) -> Tenant:
        """Refuse the tenant as ``suspend`` does, and have the worker delete it in ``grace_days``. Raises NotFound,
        and as ``standing.cancelled``."""
        details = {"reason": reason, "grace_days": grace_days}
        step = _Step("tenant.cancelled", details, lambda tenant, now: standing.cancelled(tenant, grace_days, now))
        return await self._take(scope, by, step)

    async def delete(self, scope: TenantScope, by: str, reason: str) -> Tenant:
        """Delete the tenant for good, with all that it has. Can be repeated. Raises NotFound, Conflict
        ``legal_hold``, and as ``standing.deleted``."""
        return await self._delete(scope, by, reason, standing.deleted)

    async def due_for_deletion(self, besides: Collection[str] = ()) -> Sequence[TenantScope]:
        """The first tenants, ``besides`` some, that ``delete_due`` has something to do for now; for the worker."""
        due = await self._store.due(self._clock(), DUE_AT_ONCE + len(besides))
        return [embedded_scope(tenant_id) for tenant_id in due if tenant_id not in besides]

    async def delete_due(self, scope: TenantScope) -> Tenant:
        """Delete a cancelled tenant whose grace has passed, and erase what a deleted one left. Changes nothing
        for any other. Raises Conflict ``legal_hold``."""
        begun = self._clock()
        tenant = await self._delete(scope, SYSTEM, "the grace of its cancellation has passed", standing.lapsed)
        if standing.emptied(tenant, begun) is not tenant and (tenant.erase_at or 0) <= begun:
            # What was written meanwhile is swept too: nobody can have written since.
            await self._places.remove_place(tenant)
            left = await self._store.get(scope)
            await self._store.change(scope, standing.emptied(left, self._clock()), None)
        return await self._store.get(scope)

    async def pass_once(self) -> int:
        """The worker's pass: ``delete_due`` once for each that is due; returns how many that ended well. What fails
        is told in the process's log and left for the next pass."""
        ended, tried = 0, set[str]()
        while due := await self.due_for_deletion(tried):
            for scope in due:
                tried.add(scope.tenant_id)
                try:
                    await self.delete_due(scope)
                    ended += 1
                except CaioError as error:
                    reason = {"code": error.code, "reason": str(error)}
                    _logger.warning("a tenant was not deleted", tenant=scope.tenant_id, **reason)
                except Exception:
                    _logger.exception("a tenant could not be deleted", tenant=scope.tenant_id)
        return ended

    async def _take(self, scope: TenantScope, by: str, step: _Step, if_match: int | None = None) -> Tenant:
        while True:
            before = await self._store.get(scope)
            if if_match is not None and before.revision != if_match:
                raise PreconditionFailed(
                    f"the tenant is at revision {before.revision}, not {if_match}; read it again and repeat the change"
                )
            after = step.takes(before, self._clock())
            if after is before:
                return before
            leaf = await self._acts.leaf(scope, Act(step.action, by, scope.tenant_id, step.details))
            if await self._store.change(scope, after, leaf):
                self._forgetting.forget(scope.tenant_id)
                return after

    async def _delete(self, scope: TenantScope, by: str, reason: str, takes: Callable[[Tenant, int], Tenant]) -> Tenant:
        while True:
            before = await self._store.get(scope)
            after = takes(before, self._clock())
            if after is before and (before.status is not TenantStatus.DELETED or before.erase_at is None):
                return before
            if after is before or await self._store.delete(scope, after, await self._last_leaves(scope, by, reason)):
                self._forgetting.forget(scope.tenant_id)
                await self._custody.sweep_tenant(scope)
                await self._forgetting.erase(scope.tenant_id)
                return after

    async def _last_leaves(self, scope: TenantScope, by: str, reason: str) -> list[Leaf]:
        """The last that are sealed with the tenant's key; none when that was destroyed before."""
        acts = (
            Act("tenant.deleted", by, scope.tenant_id, {"reason": reason}),
            Act("content.erased", by, "tenant", {"reason": reason}),
        )
        try:
            return [await self._acts.leaf(scope, act) for act in acts]
        except Erased:
            _logger.warning("a tenant is deleted whose key was destroyed before", tenant=scope.tenant_id, by=by)
            return []


def _taken(tenant_id: str) -> Conflict:
    """The refusal of a second tenant of the same id, also of one that was deleted."""
    return Conflict(f"the tenant id {tenant_id!r} is taken, or was once; choose another", code="already_exists")


def described(tenant: Tenant) -> dict[str, Any]:
    """What the log says of a tenant that is made."""
    return {
        "name": tenant.name,
        "status": tenant.status.value,
        "currency": tenant.currency,
        "plan": tenant.plan,
        "tier": tenant.tier.value,
        "outage": tenant.outage.value,
        "quotas": quotas_document(tenant.quotas),
    }


def quotas_document(quotas: Quotas) -> dict[str, Any]:
    """The quotas as JSON content; a budget is a decimal string."""
    return {
        "services": quotas.services,
        "per_minute": quotas.per_minute,
        "per_hour": quotas.per_hour,
        "per_day": quotas.per_day,
        "budget": None if quotas.budget is None else decimal_text(quotas.budget),
        "budget_period": quotas.budget_period.value,
        "alerts": list(quotas.alerts),
        "storage_bytes": quotas.storage_bytes,
        "limits": quotas.limits.document(),
    }


def _stated(change: TenantChange) -> dict[str, Any]:
    """What the log says of a change: what was asked for, and no more."""
    document = quotas_document(Quotas(**change.quotas))
    stated: dict[str, Any] = {
        name: value
        for name, value in (("name", change.name), ("plan", change.plan), ("outage", change.outage))
        if value is not None
    }
    if change.quotas:
        stated["quotas"] = {name: document[name] for name in change.quotas}
    return stated
