"""Webhooks in SQL: where tenants want their events. Their secrets come here sealed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.events.ports import Webhook
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables_tenancy import tenants, webhooks


class SqlWebhooks:
    """The ``WebhookStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scope: TenantScope, webhook: Webhook, most: int, leaf: Leaf) -> None:
        count = select(func.count()).where(webhooks.c.tenant_id == scope.tenant_id)
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            if (await connection.execute(count)).scalar_one() >= most:
                raise Conflict(f"a tenant may have {most} webhooks; delete one first", code="quota_exceeded")
            await connection.execute(insert(webhooks).values(_row(webhook)))
            await append_within(connection, leaf)

    async def get(self, scope: TenantScope, webhook_id: str) -> Webhook:
        async with self._database.reading(scope) as connection:
            return await _found(connection, scope, webhook_id)

    async def all(self, scope: TenantScope) -> Sequence[Webhook]:
        async with self._database.reading(scope) as connection:
            return (await webhooks_of(connection, {scope.tenant_id})).get(scope.tenant_id, [])

    async def delete(self, scope: TenantScope, webhook_id: str, leaf: Leaf) -> None:
        async with self._database.writing(scope) as connection:
            if not (await connection.execute(delete(webhooks).where(_is(scope, webhook_id)))).rowcount:
                raise _missing()
            await append_within(connection, leaf)

    async def reseal(self, scope: TenantScope, webhook_id: str, before: bytes, sealed: bytes, leaf: Leaf) -> bool:
        change = update(webhooks).where(_is(scope, webhook_id), webhooks.c.sealed == before).values(sealed=sealed)
        async with self._database.writing(scope) as connection:
            if not (await connection.execute(change)).rowcount:
                return False
            await append_within(connection, leaf)
        return True

    async def switch(self, scope: TenantScope, webhook_id: str, disabled_at: int | None, leaf: Leaf) -> Webhook:
        """Disable at a time, or enable with None. What is so already stays so, and no leaf is written.
        Raises NotFound."""
        otherwise = webhooks.c.disabled_at.is_(None) if disabled_at is not None else webhooks.c.disabled_at.is_not(None)
        change = update(webhooks).where(_is(scope, webhook_id), otherwise).values(disabled_at=disabled_at)
        async with self._database.writing(scope) as connection:
            changed = (await connection.execute(change)).rowcount
            found = await _found(connection, scope, webhook_id)
            if changed:
                await append_within(connection, leaf)
        return found


async def webhooks_of(connection: AsyncConnection, tenant_ids: Collection[str]) -> dict[str, list[Webhook]]:
    """The webhooks of tenants, oldest first."""
    query = select(webhooks).where(webhooks.c.tenant_id.in_(sorted(tenant_ids))).order_by(webhooks.c.webhook_id)
    found: defaultdict[str, list[Webhook]] = defaultdict(list)
    for row in await connection.execute(query):
        found[row.tenant_id].append(_webhook(row))
    return found


async def _found(connection: AsyncConnection, scope: TenantScope, webhook_id: str) -> Webhook:
    row = (await connection.execute(select(webhooks).where(_is(scope, webhook_id)))).first()
    if row is None:
        raise _missing()
    return _webhook(row)


async def _lock(connection: AsyncConnection, scope: TenantScope) -> None:
    """Have webhooks made one after another, so that their number is exact."""
    tenant = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
    if (await connection.execute(tenant.with_for_update(key_share=True))).first() is None:
        raise NotFound("There is no such tenant.")


def _is(scope: TenantScope, webhook_id: str) -> ColumnElement[bool]:
    return and_(webhooks.c.tenant_id == scope.tenant_id, webhooks.c.webhook_id == webhook_id)


def _missing() -> NotFound:
    return NotFound("there is no such webhook")


def _row(webhook: Webhook) -> dict[str, Any]:
    return {
        "tenant_id": webhook.tenant_id,
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "types": msgspec.json.encode(webhook.types).decode(),
        "sealed": webhook.sealed,
        "created_at": webhook.created_at,
        "created_by": webhook.created_by,
        "disabled_at": webhook.disabled_at,
    }


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        row.webhook_id,
        row.tenant_id,
        row.url,
        tuple(msgspec.json.decode(row.types)),
        bytes(row.sealed),
        row.created_at,
        row.created_by,
        row.disabled_at,
    )
