"""API keys (their keyed hashes) in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, case, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables_tenancy import api_keys
from caio.tenancy.limits import Limits
from caio.tenancy.ports import ApiKey, Located

#: Columns that hold a JSON list.
_LISTS = ("roles", "policies")

#: The look-up that precedes a scope.
_LOCATE = {
    "sqlite": text("SELECT tenant_id, key_id FROM api_keys WHERE key_hash = :key_hash"),
    "postgresql": text("SELECT tenant_id, key_id FROM caio_key_of(:key_hash)"),
}


class SqlApiKeys:
    """The ``ApiKeyStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scope: TenantScope, key: ApiKey, leaf: Leaf) -> None:
        """Store the key in the scope's tenant. Raises ValueError for a key of another tenant (a mistake
        of the calling code) and Conflict ``already_exists`` for a known id or hash, or an unknown tenant."""
        if key.tenant_id != scope.tenant_id:
            raise ValueError("an API key is added in its own tenant's scope only")
        async with self._database.writing_directory(scope) as connection:
            try:
                await connection.execute(insert(api_keys).values(columns_of(key)))
            except IntegrityError as error:
                raise Conflict(
                    "An API key of this id or secret exists, or its tenant does not.", code="already_exists"
                ) from error
            await append_within(connection, leaf)

    async def locate(self, key_hash: bytes) -> Located | None:
        async with self._database.looking_up() as connection:
            row = (await connection.execute(_LOCATE[self._database.dialect], {"key_hash": key_hash})).first()
        return None if row is None else Located(row.tenant_id, row.key_id)

    async def get(self, scope: TenantScope, key_id: str) -> ApiKey:
        async with self._database.reading_directory(scope) as connection:
            return _api_key(await _row(connection, scope, key_id))

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[ApiKey]:
        """Up to ``limit`` keys with an id beyond ``after``, by id; revoked ones too."""
        query = select(api_keys).where(api_keys.c.tenant_id == scope.tenant_id, api_keys.c.key_id > after)
        async with self._database.reading_directory(scope) as connection:
            return [_api_key(row) for row in await connection.execute(query.order_by(api_keys.c.key_id).limit(limit))]

    async def revoke(self, scope: TenantScope, key_id: str, now: int, leaf: Leaf) -> ApiKey:
        standing = update(api_keys).where(_this_key(scope, key_id), api_keys.c.revoked_at.is_(None))
        async with self._database.writing_directory(scope) as connection:
            revoked = await connection.execute(standing.values(revoked_at=now))
            row = await _row(connection, scope, key_id)
            if revoked.rowcount:
                await append_within(connection, leaf)
        return _api_key(row)

    async def rotate(self, scope: TenantScope, key_id: str, ends_at: int, successor: ApiKey, leaf: Leaf) -> ApiKey:
        now = successor.created_at
        active = (
            api_keys.c.revoked_at.is_(None)
            & (api_keys.c.successor_id == "")
            & (api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > now))
        )
        sooner = case((api_keys.c.expires_at < ends_at, api_keys.c.expires_at), else_=ends_at)
        ending = update(api_keys).where(_this_key(scope, key_id), active)
        async with self._database.writing_directory(scope) as connection:
            done = await connection.execute(ending.values(expires_at=sooner, successor_id=successor.key_id))
            row = await _row(connection, scope, key_id)
            if not done.rowcount:
                raise Conflict("This key is revoked, expired or rotated already.", code="key_not_active")
            await connection.execute(insert(api_keys).values(columns_of(successor)))
            await append_within(connection, leaf)
        return _api_key(row)

    async def note_use(self, scope: TenantScope, used: Mapping[str, int]) -> None:
        async with self._database.writing_directory(scope) as connection:
            for key_id, moment in sorted(used.items()):
                older = api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at < moment)
                await connection.execute(
                    update(api_keys).where(_this_key(scope, key_id), older).values(last_used_at=moment)
                )


def _this_key(scope: TenantScope, key_id: str) -> ColumnElement[bool]:
    return (api_keys.c.tenant_id == scope.tenant_id) & (api_keys.c.key_id == key_id)


async def _row(connection: AsyncConnection, scope: TenantScope, key_id: str) -> Row[Any]:
    row = (await connection.execute(select(api_keys).where(_this_key(scope, key_id)))).first()
    if row is None:
        raise NotFound("There is no such API key.")
    return row


def columns_of(key: ApiKey) -> dict[str, Any]:
    """The key's columns."""
    lists = {name: canonical_json(list(getattr(key, name))).decode() for name in _LISTS}
    return asdict(key) | lists | {"limits": canonical_json(key.limits.document()).decode()}


def _api_key(row: Row[Any]) -> ApiKey:
    columns = {field.name: getattr(row, field.name) for field in fields(ApiKey)}
    lists = {name: tuple(msgspec.json.decode(columns[name])) for name in _LISTS}
    limits = Limits.read(msgspec.json.decode(row.limits))
    return ApiKey(**columns | lists | {"key_hash": bytes(row.key_hash), "limits": limits})
