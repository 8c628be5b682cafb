"""Content-addressed inputs of decisions. What is stored is not checked against its digest."""

from __future__ import annotations

from sqlalchemy import select

from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import snapshots


class SqlInputSnapshots:
    """The ``InputSnapshots`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, scope: TenantScope, digest: str, body: bytes) -> None:
        async with self._database.writing(scope) as connection:
            row = {"tenant_id": scope.tenant_id, "digest": digest, "body": body}
            await connection.execute(insert_if_absent(self._database, snapshots, row))

    async def fetch(self, scope: TenantScope, digest: str) -> bytes:
        query = select(snapshots.c.body).where(snapshots.c.tenant_id == scope.tenant_id, snapshots.c.digest == digest)
        async with self._database.reading(scope) as connection:
            body = (await connection.execute(query)).scalar()
        if body is None:
            raise NotFound("There is no such input snapshot.")
        return bytes(body)
