"""Acts that change nothing but the log itself: the leaf and its event in a transaction of their own."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables import acts


class SqlActs:
    """The ``ActStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, scope: TenantScope, leaf: Leaf) -> bool:
        try:
            async with self._database.writing(scope) as connection:
                await append_within(connection, leaf)
        except IntegrityError:
            # An act's id is its identity: the database takes it once, whoever records it, and whenever.
            told = select(acts.c.act_id).where(acts.c.tenant_id == scope.tenant_id, acts.c.act_id == leaf.subject_id)
            async with self._database.reading(scope) as connection:
                if (await connection.execute(told)).first() is None:
                    raise
            return False
        return True
