"""Provider keys in SQL, sealed before they come here; this file never sees them in clear."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from caio.audit.ports import Leaf
from caio.foundation.errors import NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.tables import secrets


class SqlSecrets:
    """The ``SecretStore`` port, and what the operator's command line needs beside it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sealed(self, scope: TenantScope, name: str) -> bytes:
        query = select(secrets.c.sealed).where(secrets.c.tenant_id == scope.tenant_id, secrets.c.name == name)
        async with self._database.reading(scope) as connection:
            sealed = (await connection.execute(query)).scalar()
        if sealed is None:
            raise NotFound(_MISSING)
        return bytes(sealed)

    async def put(self, scope: TenantScope, name: str, sealed: bytes, now: int, leaf: Leaf) -> None:
        """Store the secret, in place of an earlier one of this name, and the leaf that says so, together."""
        row = {"tenant_id": scope.tenant_id, "name": name, "sealed": sealed, "updated_at": now}
        statement = conflict_aware_insert(self._database, secrets, row)
        statement = statement.on_conflict_do_update(
            index_elements=list(secrets.primary_key.columns),
            set_={"sealed": statement.excluded.sealed, "updated_at": statement.excluded.updated_at},
        )
        async with self._database.writing(scope) as connection:
            await connection.execute(statement)
            await append_within(connection, leaf)

    async def names(self, scope: TenantScope) -> Sequence[str]:
        """The names of the tenant's secrets, in order."""
        query = select(secrets.c.name).where(secrets.c.tenant_id == scope.tenant_id).order_by(secrets.c.name)
        async with self._database.reading(scope) as connection:
            return list((await connection.execute(query)).scalars())

    async def delete(self, scope: TenantScope, name: str, leaf: Leaf) -> None:
        """Remove the secret and write the leaf that says so, together. Raises NotFound."""
        statement = delete(secrets).where(secrets.c.tenant_id == scope.tenant_id, secrets.c.name == name)
        async with self._database.writing(scope) as connection:
            if (await connection.execute(statement.returning(secrets.c.name))).first() is None:
                raise NotFound(_MISSING)
            await append_within(connection, leaf)


_MISSING = "There is no secret of this name; store one with: caio secrets set NAME."
