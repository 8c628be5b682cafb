"""What tenants allow their services beyond the contracts, in SQL."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import delete, select

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.tables_tenancy import service_limits
from caio.tenancy.limits import Limits


class SqlServiceLimits:
    """The ``ServiceLimitStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, scope: TenantScope) -> Mapping[str, Limits]:
        query = select(service_limits.c.service_id, service_limits.c.limits)
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query.where(service_limits.c.tenant_id == scope.tenant_id))).all()
        return {row.service_id: Limits.read(msgspec.json.decode(row.limits)) for row in rows}

    async def put(self, scope: TenantScope, service_id: str, limits: Limits, now: int, leaf: Leaf) -> None:
        document = canonical_json(limits.document()).decode()
        row = {"tenant_id": scope.tenant_id, "service_id": service_id, "limits": document, "updated_at": now}
        statement = conflict_aware_insert(self._database, service_limits, row)
        statement = statement.on_conflict_do_update(
            index_elements=list(service_limits.primary_key.columns),
            set_={"limits": statement.excluded.limits, "updated_at": statement.excluded.updated_at},
        )
        async with self._database.writing(scope) as connection:
            await connection.execute(statement)
            await append_within(connection, leaf)

    async def delete(self, scope: TenantScope, service_id: str, leaf: Leaf) -> None:
        statement = delete(service_limits).where(
            service_limits.c.tenant_id == scope.tenant_id, service_limits.c.service_id == service_id
        )
        async with self._database.writing(scope) as connection:
            if (await connection.execute(statement.returning(service_limits.c.service_id))).first() is None:
                raise NotFound("The tenant sets no limits for this service.")
            await append_within(connection, leaf)
