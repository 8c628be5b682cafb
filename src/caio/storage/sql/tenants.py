"""Tenants in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import tenant_keys
from caio.storage.sql.tables_tenancy import tenants
from caio.tenancy.limits import Limits
from caio.tenancy.ports import BudgetPeriod, Outage, Quotas, Tenant, TenantStatus, Tier


class SqlTenants:
    """The ``TenantStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: TenantScope, tenant: Tenant, wrapped_key: bytes, leaf: Leaf) -> bool:
        statement = insert_if_absent(self._database, tenants, row_of(tenant)).returning(tenants.c.tenant_id)
        async with self._database.writing(scope) as connection:
            if (await connection.execute(statement)).first() is None:
                return False
            await connection.execute(insert(tenant_keys).values(tenant_id=tenant.tenant_id, wrapped=wrapped_key))
            await append_within(connection, leaf)
        return True

    async def get(self, scope: TenantScope) -> Tenant:
        async with self._database.reading(scope) as connection:
            found = await connection.execute(select(tenants).where(tenants.c.tenant_id == scope.tenant_id))
            row = found.first()
        if row is None:
            raise NotFound("There is no such tenant.")
        return _tenant(row)

    async def all_active(self) -> Sequence[Tenant]:
        query = select(tenants).where(tenants.c.status == TenantStatus.ACTIVE.value).order_by(tenants.c.tenant_id)
        async with self._database.reading(PlatformScope("recovery")) as connection:
            return [_tenant(row) for row in await connection.execute(query)]


def row_of(tenant: Tenant) -> dict[str, Any]:
    """The tenant's columns."""
    return {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name,
        "status": tenant.status.value,
        "currency": tenant.currency,
        "quota_services": tenant.quotas.services,
        "quota_per_minute": tenant.quotas.per_minute,
        "quota_per_hour": tenant.quotas.per_hour,
        "quota_per_day": tenant.quotas.per_day,
        "quota_budget": tenant.quotas.budget,
        "created_at": tenant.created_at,
        "plan": tenant.plan,
        "tier": tenant.tier.value,
        "place": tenant.place,
        "outage": tenant.outage.value,
        "limits": canonical_json(tenant.quotas.limits.document()).decode(),
        "quota_storage_bytes": tenant.quotas.storage_bytes,
        "budget_period": tenant.quotas.budget_period.value,
        "budget_alerts": canonical_json(list(tenant.quotas.alerts)).decode(),
        "revision": tenant.revision,
        "updated_at": tenant.updated_at,
        "status_at": tenant.status_at,
        "erase_at": tenant.erase_at,
    }


def _tenant(row: Row[Any]) -> Tenant:
    quotas = Quotas(
        services=row.quota_services,
        per_minute=row.quota_per_minute,
        per_hour=row.quota_per_hour,
        per_day=row.quota_per_day,
        budget=row.quota_budget,
        storage_bytes=row.quota_storage_bytes,
        budget_period=BudgetPeriod(row.budget_period),
        alerts=tuple(msgspec.json.decode(row.budget_alerts)),
        limits=Limits.read(msgspec.json.decode(row.limits)),
    )
    return Tenant(
        tenant_id=row.tenant_id,
        name=row.name,
        status=TenantStatus(row.status),
        currency=row.currency,
        quotas=quotas,
        created_at=row.created_at,
        plan=row.plan,
        tier=Tier(row.tier),
        place=row.place,
        outage=Outage(row.outage),
        revision=row.revision,
        updated_at=row.updated_at,
        status_at=row.status_at,
        erase_at=row.erase_at,
    )
