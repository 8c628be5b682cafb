"""The tenants' wrapped data keys in SQL. A destroyed key leaves its row behind, empty: nobody can make another."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.foundation.errors import Erased, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import tenant_keys


class SqlTenantKeys:
    """The ``TenantKeyStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wrapped_key(self, scope: TenantScope, fresh: bytes) -> bytes:
        row = {"tenant_id": scope.tenant_id, "wrapped": fresh}
        try:
            async with self._database.writing(scope) as connection:
                await connection.execute(insert_if_absent(self._database, tenant_keys, row))
                wrapped = await _stored(connection, scope)
        except IntegrityError as error:
            raise NotFound("There is no such tenant.") from error
        if wrapped is None:
            raise RuntimeError("a row of tenant_keys vanished in the transaction that wrote it")
        return wrapped

    async def find(self, scope: TenantScope) -> bytes | None:
        async with self._database.reading(scope) as connection:
            return await _stored(connection, scope)

    async def destroy(self, scope: TenantScope, now: int) -> bool:
        row = {"tenant_id": scope.tenant_id, "wrapped": b"", "destroyed_at": now}
        standing = (tenant_keys.c.tenant_id == scope.tenant_id) & tenant_keys.c.destroyed_at.is_(None)
        try:
            async with self._database.writing(scope) as connection:
                inserted = await connection.execute(insert_if_absent(self._database, tenant_keys, row))
                emptied = await connection.execute(update(tenant_keys).where(standing).values(row))
        except IntegrityError as error:
            raise NotFound("There is no such tenant.") from error
        return inserted.rowcount == 1 or emptied.rowcount == 1


async def _stored(connection: AsyncConnection, scope: TenantScope) -> bytes | None:
    query = select(tenant_keys.c.wrapped, tenant_keys.c.destroyed_at).where(tenant_keys.c.tenant_id == scope.tenant_id)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    if row.destroyed_at is not None:
        raise Erased(
            "The tenant's data key was destroyed: what was sealed with it cannot be read any more, "
            "and nothing new can be sealed for this tenant.",
            code="tenant_key_destroyed",
        )
    return bytes(row.wrapped)
