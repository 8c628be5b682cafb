"""Idempotency keys in SQL.

A claim is one INSERT; of concurrent ones the primary key lets exactly one through. A key older
than its life is taken over by the next claim in the same statement. The kept answer arrives with
the outcome's leaf (see ``journal_rows``), never on its own.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.foundation.scope import PlatformScope, TenantScope
from caio.gateway.ports import KeptCall
from caio.storage.sql.database import Database
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.tables import idempotency

#: How long a key lives, in microseconds: 24 hours.
LIFE = 24 * 60 * 60 * 1_000_000

#: Expired keys that a claim clears away beside its own work, so that the table stays bounded.
CLEARED_AT_ONCE = 16


class SqlIdempotency:
    """The ``IdempotencyStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, scope: TenantScope, key: str, request_hash: str, decision_id: str, now: int
    ) -> KeptCall | None:
        row = {
            "tenant_id": scope.tenant_id,
            "idempotency_key": key,
            "request_hash": request_hash,
            "decision_id": decision_id,
            "sealed": None,
            "claimed_at": now,
        }
        take = conflict_aware_insert(self._database, idempotency, row)
        take = take.on_conflict_do_update(
            index_elements=list(idempotency.primary_key.columns),
            set_={name: take.excluded[name] for name in ("request_hash", "decision_id", "sealed", "claimed_at")},
            where=idempotency.c.claimed_at <= now - LIFE,
        ).returning(idempotency.c.decision_id)
        held = select(idempotency).where(
            idempotency.c.tenant_id == scope.tenant_id, idempotency.c.idempotency_key == key
        )
        while True:
            async with self._database.writing(scope) as connection:
                if (await connection.execute(take)).first() is not None:
                    await _clear_expired(connection, scope, now)
                    return None
                holder = (await connection.execute(held)).first()
            if holder is not None:
                sealed = None if holder.sealed is None else bytes(holder.sealed)
                return KeptCall(holder.request_hash, holder.decision_id, sealed)
            # The holder released the key between our two statements: claim again.

    async def kept(self, scope: TenantScope, key: str) -> KeptCall | None:
        held = select(idempotency).where(
            idempotency.c.tenant_id == scope.tenant_id, idempotency.c.idempotency_key == key
        )
        async with self._database.reading(scope) as connection:
            row = (await connection.execute(held)).first()
        if row is None:
            return None
        return KeptCall(row.request_hash, row.decision_id, None if row.sealed is None else bytes(row.sealed))

    async def release(self, scope: TenantScope, key: str, decision_id: str) -> None:
        """Give up the claim; a completed answer, or another call's claim, stays."""
        async with self._database.writing(scope) as connection:
            await connection.execute(
                delete(idempotency).where(
                    idempotency.c.tenant_id == scope.tenant_id,
                    idempotency.c.idempotency_key == key,
                    idempotency.c.decision_id == decision_id,
                    idempotency.c.sealed.is_(None),
                )
            )

    async def release_unfinished(self, before: int | None = None) -> int:
        abandoned = delete(idempotency).where(idempotency.c.sealed.is_(None))
        if before is not None:
            abandoned = abandoned.where(idempotency.c.claimed_at < before)
        released = 0
        for place in await self._database.places():
            async with self._database.writing(PlatformScope("recovery"), place) as connection:
                released += (await connection.execute(abandoned)).rowcount
        return released


async def _clear_expired(connection: AsyncConnection, scope: TenantScope, now: int) -> None:
    # SKIP LOCKED (PostgreSQL): two claims that clear at once neither wait for nor deadlock each other.
    expired = (
        select(idempotency.c.idempotency_key)
        .where(idempotency.c.tenant_id == scope.tenant_id, idempotency.c.claimed_at <= now - LIFE)
        .limit(CLEARED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(
        delete(idempotency).where(
            idempotency.c.tenant_id == scope.tenant_id, idempotency.c.idempotency_key.in_(expired.scalar_subquery())
        )
    )
