"""Tenants come into being, each with its data key and the first leaf of its log.

Theory of operation
-------------------
The tenant's row, its wrapped data key and the leaf ``tenant.created`` are one transaction. The key is
made and wrapped before it, so the leaf can be sealed although the tenant is not there yet; when
somebody else was faster, key and leaf are thrown away unused. What happens to a tenant later is one
more action of the same kind, written with the change by the store.

Laws (each has a test of the same name)
---------------------------------------
- a_tenant_begins_with_its_key_and_its_leaf: all three are there, or none.
- a_taken_id_changes_nothing: no key is made for it, and no leaf is written.
"""

from __future__ import annotations

from typing import Any

from caio.audit.acts import Act, Acts
from caio.audit.ports import KeyWrapping
from caio.audit.sealing import KEY_BYTES, Entropy, Sealer
from caio.foundation.errors import NotFound
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.tenancy.ports import Quotas, Tenant, TenantStore


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
        if await self._exists(scope):
            return False
        key = self._entropy(KEY_BYTES)
        act = Act("tenant.created", principal_id, tenant.tenant_id, _described(tenant))
        leaf = self._acts.sealed(scope, act, Sealer(key, self._entropy))
        return await self._store.create(scope, tenant, await self._wrapping.wrap(key, tenant.tenant_id), leaf)

    async def _exists(self, scope: TenantScope) -> bool:
        try:
            await self._store.get(scope)
        except NotFound:
            return False
        return True


def _described(tenant: Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "status": tenant.status.value,
        "currency": tenant.currency,
        "quotas": _limits(tenant.quotas),
    }


def _limits(quotas: Quotas) -> dict[str, Any]:
    return {
        "services": quotas.services,
        "per_minute": quotas.per_minute,
        "per_hour": quotas.per_hour,
        "per_day": quotas.per_day,
        "budget": None if quotas.budget is None else decimal_text(quotas.budget),
    }
