"""The aliases of tenants' models, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.errors import Conflict, NotFound, PreconditionFailed
from caio.foundation.scope import TenantScope
from caio.registry.aliases import Alias
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables_calls import model_aliases
from caio.storage.sql.tables_tenancy import tenants


class SqlAliases:
    """The ``AliasStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, scope: TenantScope) -> Sequence[Alias]:
        query = select(model_aliases).where(model_aliases.c.tenant_id == scope.tenant_id)
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query.order_by(model_aliases.c.alias))).all()
        return [_alias(row) for row in rows]

    async def create(self, scope: TenantScope, name: str, content: str, now: int, quota: int, leaf: Leaf) -> Alias:
        count = select(func.count()).where(model_aliases.c.tenant_id == scope.tenant_id)
        made = Alias(name, content, 1, now, now)
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            if (await connection.execute(select(model_aliases).where(_is(scope, name)))).first() is not None:
                raise Conflict(f"there is an alias {name!r}: change it with its ETag", code="already_exists")
            if (await connection.execute(count)).scalar_one() >= quota:
                raise Conflict(f"a tenant may have {quota} aliases; remove one first", code="quota_exceeded")
            await connection.execute(insert(model_aliases).values(_row(scope, made)))
            await append_within(connection, leaf)
        return made

    async def change(self, scope: TenantScope, name: str, content: str, now: int, if_match: int, leaf: Leaf) -> Alias:
        changed = update(model_aliases).where(_is(scope, name), model_aliases.c.revision == if_match)
        values = {"document": content, "revision": if_match + 1, "updated_at": now}
        async with self._database.writing(scope) as connection:
            if not (await connection.execute(changed.values(values))).rowcount:
                raise await _why_not(connection, scope, name)
            row = (await connection.execute(select(model_aliases).where(_is(scope, name)))).one()
            await append_within(connection, leaf)
        return _alias(row)

    async def delete(self, scope: TenantScope, name: str, if_match: int | None, leaf: Leaf) -> Alias:
        unwanted = delete(model_aliases).where(_is(scope, name)).returning(*model_aliases.columns)
        if if_match is not None:
            unwanted = unwanted.where(model_aliases.c.revision == if_match)
        async with self._database.writing(scope) as connection:
            if (row := (await connection.execute(unwanted)).first()) is None:
                raise await _why_not(connection, scope, name)
            await append_within(connection, leaf)
        return _alias(row)


async def _lock(connection: AsyncConnection, scope: TenantScope) -> None:
    """Have aliases made one after another, so that their number is exact."""
    tenant = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
    if (await connection.execute(tenant.with_for_update(key_share=True))).first() is None:
        raise NotFound("There is no such tenant.")


async def _why_not(connection: AsyncConnection, scope: TenantScope, name: str) -> NotFound | PreconditionFailed:
    if (await connection.execute(select(model_aliases.c.alias).where(_is(scope, name)))).first() is None:
        return NotFound(f"no alias is named {name!r}")
    return PreconditionFailed(f"the alias {name!r} has changed since you read it: read it again")


def _is(scope: TenantScope, name: str) -> ColumnElement[bool]:
    return and_(model_aliases.c.tenant_id == scope.tenant_id, model_aliases.c.alias == name)


def _row(scope: TenantScope, alias: Alias) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "alias": alias.name,
        "document": alias.content,
        "revision": alias.revision,
        "created_at": alias.created_at,
        "updated_at": alias.updated_at,
    }


def _alias(row: Row[Any]) -> Alias:
    return Alias(row.alias, row.document, row.revision, row.created_at, row.updated_at)
