"""Holds, retention and erasure in SQL, alike on both databases.

Whatever must agree — a hold and what it forbids, retention and what it erases, a plan and what is there —
is read and written under the lock of the tenant's row, which no append takes: calls go on meanwhile.
On SQLite the writing transaction itself is the lock, and erased content is overwritten with zeros in the
file (``secure_delete``); on PostgreSQL its space is given free by the next VACUUM. Old pages stay in the
write-ahead log of either until that is overwritten, and in backups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.custody import MAX_STANDING_HOLDS, Content, Erasure, Hold, Retention, held
from caio.audit.ports import Leaf, LeafKind, Mode
from caio.audit.query import Place
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import tenant_erasure
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.storage_measures import forget_content
from caio.storage.sql.tables import attempts, decisions, holds, idempotency, journal, outcomes, retention
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.usage import forget_decisions

_LEAVES = (LeafKind.DECISION.value, LeafKind.OUTCOME.value)


class SqlCustody:
    """The ``CustodyStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, scope: TenantScope) -> Sequence[Hold]:
        async with self._database.reading(scope) as connection:
            return await _standing(connection, scope)

    async def holds(self, scope: TenantScope, before: Place | None, limit: int) -> Sequence[Hold]:
        query = _holds(scope).limit(limit)
        if before is not None:
            query = query.where(tuple_(holds.c.placed_at, holds.c.hold_id) < tuple_(*map(literal, before)))
        async with self._database.reading(scope) as connection:
            return [_hold(row) for row in await connection.execute(query)]

    async def place(self, scope: TenantScope, hold: Hold, leaf: Leaf) -> None:
        row = {field.name: getattr(hold, field.name) for field in fields(Hold)}
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            if len(await _standing(connection, scope)) >= MAX_STANDING_HOLDS:
                raise Conflict(
                    f"{MAX_STANDING_HOLDS} holds stand already; release one, or place a wider one.",
                    code="quota_exceeded",
                )
            await connection.execute(insert(holds).values(tenant_id=scope.tenant_id, **row))
            await append_within(connection, leaf)

    async def release(self, scope: TenantScope, hold_id: str, at: int, by: str, leaf: Leaf) -> Hold:
        this_hold = and_(holds.c.tenant_id == scope.tenant_id, holds.c.hold_id == hold_id)
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            released = await connection.execute(
                update(holds).where(this_hold, holds.c.released_at.is_(None)).values(released_at=at, released_by=by)
            )
            row = (await connection.execute(select(holds).where(this_hold))).first()
            if row is None:
                raise NotFound("There is no such hold.")
            if released.rowcount:
                again = update(retention).where(retention.c.tenant_id == scope.tenant_id)
                await connection.execute(again.values(erased_before=0))
                await append_within(connection, leaf)
        return _hold(row)

    async def retention(self, scope: TenantScope) -> Retention:
        async with self._database.reading(scope) as connection:
            return await _retention(connection, scope)

    async def keep(self, scope: TenantScope, days: int | None, leaf: Leaf) -> None:
        row = {"tenant_id": scope.tenant_id, "days": days, "erased_before": 0}
        statement = conflict_aware_insert(self._database, retention, row)
        statement = statement.on_conflict_do_update(
            index_elements=list(retention.primary_key.columns), set_={"days": statement.excluded.days}
        )
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            if (await _retention(connection, scope)).days != days:
                await connection.execute(statement)
                await append_within(connection, leaf)

    async def retained(self) -> Sequence[str]:
        query = select(retention.c.tenant_id).where(retention.c.days.is_not(None)).order_by(retention.c.tenant_id)
        found: list[str] = []
        for place in await self._database.places():
            async with self._database.reading(PlatformScope("retention"), place) as connection:
                found += (await connection.execute(query)).scalars()
        return sorted(found)

    async def passed(self, scope: TenantScope, found: Retention, erased_before: int) -> None:
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            if await _retention(connection, scope) == found:
                note = update(retention).where(retention.c.tenant_id == scope.tenant_id)
                await connection.execute(note.values(erased_before=erased_before))

    async def named(self, scope: TenantScope, decision_ids: Sequence[str]) -> Sequence[Content]:
        async with self._database.reading(scope) as connection:
            return await _named(connection, scope, decision_ids)

    async def decided(
        self, scope: TenantScope, after: Place | None, until: int | None, principal_id: str | None, limit: int
    ) -> Sequence[Content]:
        query = _decisions(scope)
        if after is not None:
            place = tuple_(decisions.c.decided_at, decisions.c.decision_id)
            query = query.where(place > tuple_(literal(after[0]), literal(after[1])))
        if until is not None:
            query = query.where(decisions.c.decided_at < until)
        if principal_id is not None:
            query = query.where(decisions.c.principal_id == principal_id)
        async with self._database.reading(scope) as connection:
            return await _contents(connection, scope, query.limit(limit))

    async def erase(self, scope: TenantScope, erasure: Erasure, leaf: Leaf) -> bool:
        ids = [content.decision_id for content in erasure.contents]
        async with self._database.writing(scope) as connection:
            await tenant_erasure.overwrite(self._database, connection)
            await _lock(connection, scope)
            if erasure.under_days is not None:
                kept = await _retention(connection, scope)
                if kept.days != erasure.under_days:
                    return False
            standing = await _standing(connection, scope)
            if any(held(content, standing) for content in erasure.contents):
                return False
            if await _named(connection, scope, ids) != list(erasure.contents):
                return False
            await connection.run_sync(forget_content, self._database, scope, ids)
            await connection.run_sync(forget_decisions, self._database, scope, ids)
            await _empty(connection, scope, ids, erasure.seqs)
            await append_within(connection, leaf)
        return True

    async def erase_tenant(self, scope: TenantScope, now: int, leaf: Leaf) -> bool:
        async with self._database.writing(scope) as connection:
            await _lock(connection, scope)
            return await tenant_erasure.destroy_key(
                self._database, connection, scope, now, leaf, await _standing(connection, scope)
            )

    async def sweep_tenant(self, scope: TenantScope) -> int:
        return await tenant_erasure.sweep(self._database, scope)


async def _lock(connection: AsyncConnection, scope: TenantScope) -> None:
    """Hold up whoever else would change what is kept of the tenant. Raises NotFound for an unknown one."""
    # NO KEY UPDATE: the journal, whose rows refer to the tenant, goes on.
    tenant = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
    if (await connection.execute(tenant.with_for_update(key_share=True))).first() is None:
        raise NotFound("There is no such tenant.")


async def _empty(connection: AsyncConnection, scope: TenantScope, ids: Sequence[str], seqs: Sequence[int]) -> None:
    """Erase the content of decisions ``ids`` and of their leaves, which have the places ``seqs``."""
    tenant = scope.tenant_id
    leaves = update(journal).where(journal.c.tenant_id == tenant, journal.c.seq.in_(seqs))
    await connection.execute(leaves.values(sealed=b""))
    rows = update(decisions).where(decisions.c.tenant_id == tenant, decisions.c.decision_id.in_(ids))
    await connection.execute(rows.values(principal_id="", decision_hash=""))
    await connection.execute(
        delete(idempotency).where(idempotency.c.tenant_id == tenant, idempotency.c.decision_id.in_(ids))
    )


def _holds(scope: TenantScope) -> Select[Any]:
    query = select(holds).where(holds.c.tenant_id == scope.tenant_id)
    return query.order_by(holds.c.placed_at.desc(), holds.c.hold_id.desc())


async def _standing(connection: AsyncConnection, scope: TenantScope) -> list[Hold]:
    return [_hold(row) for row in await connection.execute(_holds(scope).where(holds.c.released_at.is_(None)))]


def _hold(row: Row[Any]) -> Hold:
    return Hold(**{field.name: getattr(row, field.name) for field in fields(Hold)})


async def _retention(connection: AsyncConnection, scope: TenantScope) -> Retention:
    query = select(retention.c.days, retention.c.erased_before).where(retention.c.tenant_id == scope.tenant_id)
    row = (await connection.execute(query)).first()
    releases = select(func.count()).where(holds.c.tenant_id == scope.tenant_id, holds.c.released_at.is_not(None))
    count = int((await connection.execute(releases)).scalar_one())
    return Retention(None, 0, count) if row is None else Retention(row.days, row.erased_before, count)


def _decisions(scope: TenantScope) -> Select[Any]:
    """The tenant's decisions by place, with the service that answered."""
    same = and_(outcomes.c.tenant_id == decisions.c.tenant_id, outcomes.c.decision_id == decisions.c.decision_id)
    return (
        select(
            decisions.c.decision_id,
            decisions.c.decided_at,
            decisions.c.principal_id,
            decisions.c.service_id,
            outcomes.c.service_id.label("answered"),
            and_(_admitted(), outcomes.c.decision_id.is_(None)).label("running"),
        )
        .outerjoin_from(decisions, outcomes, same)
        .where(decisions.c.tenant_id == scope.tenant_id)
        .order_by(decisions.c.decided_at, decisions.c.decision_id)
    )


def _admitted() -> ColumnElement[bool]:
    return and_(decisions.c.admitted, decisions.c.mode == Mode.ORCHESTRATE.value)


async def _named(connection: AsyncConnection, scope: TenantScope, ids: Sequence[str]) -> list[Content]:
    # Asked for an order, SQLite would walk the whole index by time instead of looking the ids up.
    query = _decisions(scope).where(decisions.c.decision_id.in_(ids)).order_by(None)
    return sorted(await _contents(connection, scope, query), key=lambda content: content.place)


async def _contents(connection: AsyncConnection, scope: TenantScope, query: Select[Any]) -> list[Content]:
    rows = (await connection.execute(query)).all()
    ids = [row.decision_id for row in rows]
    leaves = select(journal.c.subject_id, journal.c.seq).where(
        journal.c.tenant_id == scope.tenant_id,
        journal.c.kind.in_(_LEAVES),
        journal.c.subject_id.in_(ids),
        func.length(journal.c.sealed) > 0,
    )
    seqs: defaultdict[str, list[int]] = defaultdict(list)
    for decision_id, seq in await connection.execute(leaves):
        seqs[decision_id].append(seq)
    called = select(attempts.c.decision_id, attempts.c.service_id).where(
        attempts.c.tenant_id == scope.tenant_id, attempts.c.decision_id.in_(ids)
    )
    services: defaultdict[str, set[str]] = defaultdict(set)
    for decision_id, service_id in await connection.execute(called):
        services[decision_id].add(service_id)
    return [
        Content(
            row.decision_id,
            row.decided_at,
            row.principal_id,
            frozenset({row.service_id, row.answered or "", *services[row.decision_id]} - {""}),
            tuple(sorted(seqs[row.decision_id])),
            bool(row.running),
        )
        for row in rows
    ]
