"""Tenants in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select

from caio.audit.ports import Leaf
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import tenant_keys, tenants
from caio.tenancy.ports import Quotas, Tenant, TenantStatus


class SqlTenants:
    """The ``TenantStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, tenant: Tenant, wrapped_key: bytes, leaf: Leaf) -> bool:
        statement = insert_if_absent(self._database, tenants, row_of(tenant)).returning(tenants.c.tenant_id)
        async with self._database.writing() as connection:
            if (await connection.execute(statement)).first() is None:
                return False
            await connection.execute(insert(tenant_keys).values(tenant_id=tenant.tenant_id, wrapped=wrapped_key))
            await append_within(connection, leaf)
        return True

    async def get(self, scope: TenantScope) -> Tenant:
        async with self._database.reading() as connection:
            found = await connection.execute(select(tenants).where(tenants.c.tenant_id == scope.tenant_id))
            row = found.first()
        if row is None:
            raise NotFound("There is no such tenant.")
        return _tenant(row)

    async def all_active(self) -> Sequence[Tenant]:
        query = select(tenants).where(tenants.c.status == TenantStatus.ACTIVE.value).order_by(tenants.c.tenant_id)
        async with self._database.reading() as connection:
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
    }


def _tenant(row: Row[Any]) -> Tenant:
    quotas = Quotas(
        services=row.quota_services,
        per_minute=row.quota_per_minute,
        per_hour=row.quota_per_hour,
        per_day=row.quota_per_day,
        budget=row.quota_budget,
    )
    return Tenant(row.tenant_id, row.name, TenantStatus(row.status), row.currency, quotas, row.created_at)
