"""Beginning a tenant's tree anew, alike on both databases."""

from __future__ import annotations

from sqlalchemy import delete, update

from caio.audit.merkle import EMPTY_ROOT
from caio.audit.ports import Leaf, LogHead, LogStore
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import log_heads, log_tiles


class SqlLogRestarts:
    """The ``RestartStore`` port."""

    def __init__(self, database: Database, log: LogStore) -> None:
        self._database = database
        self._log = log

    async def head(self, scope: TenantScope) -> LogHead | None:
        return await self._log.head(scope)

    async def restart(self, scope: TenantScope, origin: str, leaf: Leaf) -> None:
        empty = {
            "origin": origin,
            "size": 0,
            "root": EMPTY_ROOT,
            "checkpoint": "",
            "signed_at": 0,
            "holder": "",
            "leased_until": 0,
        }
        of_the_tenant = log_heads.c.tenant_id == scope.tenant_id
        async with self._database.writing(scope) as connection:
            await connection.execute(
                insert_if_absent(self._database, log_heads, {"tenant_id": scope.tenant_id, **empty})
            )
            await connection.execute(update(log_heads).where(of_the_tenant).values(empty))
            await connection.execute(delete(log_tiles).where(log_tiles.c.tenant_id == scope.tenant_id))
            await append_within(connection, leaf)
