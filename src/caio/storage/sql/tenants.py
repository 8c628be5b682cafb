"""Tenants in SQL.

A change replaces one revision of the row by the next, so of concurrent changes that were decided on the same
one, one is stored; the leaf that tells of it is appended last in its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import tenant_erasure
from caio.storage.sql.database import Database, placed
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import publication_heads, tenant_keys
from caio.storage.sql.tables_tenancy import api_keys, members, tenants
from caio.tenancy.limits import Limits
from caio.tenancy.ports import BudgetPeriod, Outage, Quotas, Tenant, TenantCounts, TenantStatus, Tier


class SqlTenants:
    """The ``TenantStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: TenantScope, tenant: Tenant, wrapped_key: bytes, leaf: Leaf) -> bool:
        statement = insert_if_absent(self._database, tenants, row_of(tenant)).returning(tenants.c.tenant_id)
        async with self._database.writing_directory(scope) as connection:
            if (await connection.execute(statement)).first() is None:
                self._database.remember(tenant.tenant_id, None)  # whoever was faster may have another place
                return False
            own = placed(connection)
            await own.execute(insert(tenant_keys).values(tenant_id=tenant.tenant_id, wrapped=wrapped_key))
            await append_within(own, leaf)
        return True

    async def get(self, scope: TenantScope) -> Tenant:
        async with self._database.reading_directory(scope) as connection:
            found = await connection.execute(select(tenants).where(tenants.c.tenant_id == scope.tenant_id))
            row = found.first()
        if row is None:
            raise NotFound("There is no such tenant.")
        return _tenant(row)

    async def all_active(self) -> Sequence[Tenant]:
        query = select(tenants).where(tenants.c.status == TenantStatus.ACTIVE.value).order_by(tenants.c.tenant_id)
        async with self._database.reading(PlatformScope("recovery")) as connection:
            return [_tenant(row) for row in await connection.execute(query)]

    async def page(self, status: TenantStatus | None, after: str, limit: int) -> Sequence[Tenant]:
        query = select(tenants).where(tenants.c.tenant_id > after).order_by(tenants.c.tenant_id).limit(limit)
        if status is not None:
            query = query.where(tenants.c.status == status.value)
        async with self._database.reading(PlatformScope("the operator's list of tenants")) as connection:
            return [_tenant(row) for row in await connection.execute(query)]

    async def counts(self, scope: TenantScope, now: int) -> TenantCounts:
        names = select(publication_heads.c.sort, func.count().label("names")).where(
            publication_heads.c.tenant_id == scope.tenant_id, publication_heads.c.retired_at.is_(None)
        )
        keys = select(func.count()).where(
            api_keys.c.tenant_id == scope.tenant_id,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
        )
        belong = select(func.count()).where(members.c.tenant_id == scope.tenant_id, members.c.removed_at.is_(None))
        async with self._database.reading(scope) as connection:
            found = await connection.execute(names.group_by(publication_heads.c.sort))
            published: dict[str, int] = {row.sort: row.names for row in found}
        async with self._database.reading_directory(scope) as connection:
            return TenantCounts(
                services=published.get("contract", 0),
                policies=published.get("policy", 0),
                keys=int((await connection.execute(keys)).scalar_one()),
                members=int((await connection.execute(belong)).scalar_one()),
            )

    async def change(self, scope: TenantScope, tenant: Tenant, leaf: Leaf | None) -> bool:
        async with self._database.writing_directory(scope) as connection:
            if not await _replace(connection, scope, tenant):
                return False
            if leaf is not None:
                await append_within(placed(connection), leaf)
        return True

    async def delete(self, scope: TenantScope, tenant: Tenant, leaves: Sequence[Leaf]) -> bool:
        async with self._database.writing_directory(scope) as connection:
            # The row is locked by its change, as placing a hold locks it.
            if not await _replace(connection, scope, tenant):
                return False
            await tenant_erasure.withdraw(self._database, connection, scope, tenant.updated_at, leaves)
        return True

    async def due(self, now: int, limit: int) -> Sequence[str]:
        waiting = and_(tenants.c.erase_at.is_not(None), tenants.c.erase_at <= now)
        query = select(tenants.c.tenant_id).where(waiting).order_by(tenants.c.erase_at, tenants.c.tenant_id)
        async with self._database.reading(PlatformScope("tenants to erase")) as connection:
            return list((await connection.execute(query.limit(limit))).scalars())


async def _replace(connection: AsyncConnection, scope: TenantScope, tenant: Tenant) -> bool:
    """Store a tenant over the revision before its own; whether that was there."""
    if tenant.tenant_id != scope.tenant_id:
        raise ValueError("a tenant is changed in its own scope only")
    before = and_(tenants.c.tenant_id == scope.tenant_id, tenants.c.revision == tenant.revision - 1)
    return (await connection.execute(update(tenants).where(before).values(row_of(tenant)))).rowcount == 1


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
