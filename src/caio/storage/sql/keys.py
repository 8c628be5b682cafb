"""API keys (their keyed hashes) in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables_tenancy import api_keys
from caio.tenancy.limits import Limits
from caio.tenancy.ports import ApiKey

#: Columns that hold a JSON list.
_LISTS = ("roles", "policies")


class SqlApiKeys:
    """The ``ApiKeyStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scope: TenantScope, key: ApiKey, leaf: Leaf) -> None:
        """Store the key in the scope's tenant. Raises ValueError for a key of another tenant (a mistake
        of the calling code) and Conflict ``already_exists`` for a known id or hash, or an unknown tenant."""
        if key.tenant_id != scope.tenant_id:
            raise ValueError("an API key is added in its own tenant's scope only")
        lists = {name: canonical_json(list(getattr(key, name))).decode() for name in _LISTS}
        row = asdict(key) | lists | {"limits": canonical_json(key.limits.document()).decode()}
        async with self._database.writing(scope) as connection:
            try:
                await connection.execute(insert(api_keys).values(row))
            except IntegrityError as error:
                raise Conflict(
                    "An API key of this id or secret exists, or its tenant does not.", code="already_exists"
                ) from error
            await append_within(connection, leaf)

    async def find(self, key_hash: bytes) -> ApiKey | None:
        async with self._database.reading(PlatformScope("authentication")) as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.key_hash == key_hash))
            row = found.first()
        return None if row is None else _api_key(row)

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[ApiKey]:
        """Up to ``limit`` keys with an id beyond ``after``, by id; revoked ones too."""
        query = select(api_keys).where(api_keys.c.tenant_id == scope.tenant_id, api_keys.c.key_id > after)
        async with self._database.reading(scope) as connection:
            return [_api_key(row) for row in await connection.execute(query.order_by(api_keys.c.key_id).limit(limit))]

    async def revoke(self, scope: TenantScope, key_id: str, now: int, leaf: Leaf) -> ApiKey:
        this_key = (api_keys.c.tenant_id == scope.tenant_id) & (api_keys.c.key_id == key_id)
        standing = update(api_keys).where(this_key, api_keys.c.revoked_at.is_(None))
        async with self._database.writing(scope) as connection:
            revoked = await connection.execute(standing.values(revoked_at=now))
            row = (await connection.execute(select(api_keys).where(this_key))).first()
            if row is None:
                raise NotFound("There is no such API key.")
            if revoked.rowcount:
                await append_within(connection, leaf)
        return _api_key(row)


def _api_key(row: Row[Any]) -> ApiKey:
    columns = {field.name: getattr(row, field.name) for field in fields(ApiKey)}
    lists = {name: tuple(msgspec.json.decode(columns[name])) for name in _LISTS}
    limits = Limits.read(msgspec.json.decode(row.limits))
    return ApiKey(**columns | lists | {"key_hash": bytes(row.key_hash), "limits": limits})
