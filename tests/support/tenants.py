"""Tenants for tests that are about something else."""

from __future__ import annotations

from sqlalchemy import insert

from caio.foundation.scope import PlatformScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.tenants import row_of
from caio.tenancy.ports import Quotas, Tenant, TenantStatus


def tenant_named(tenant_id: str, status: TenantStatus = TenantStatus.ACTIVE) -> Tenant:
    return Tenant(tenant_id, tenant_id.title(), status, "USD", Quotas(), 1)


async def add_bare_tenants(database: Database, *added: Tenant) -> None:
    """The rows alone: no data key yet and an empty log, as tenants have that are older than the audit log."""
    async with database.writing(PlatformScope("test")) as connection:
        await connection.execute(insert(tenants), [row_of(tenant) for tenant in added])
