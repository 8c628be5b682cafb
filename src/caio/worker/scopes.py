"""The scope of the tenant whose job a worker does: minted here, for nobody who asked."""

from __future__ import annotations

from caio.foundation.scope import TenantScope


def scope_of_job(tenant_id: str) -> TenantScope:
    return TenantScope(tenant_id)
