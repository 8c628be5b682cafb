"""What a tenant's rows take, measured in SQL.

A row takes the bytes of its texts and byte strings and eight for each number or truth value that is there:
what was stored, the same on both databases, without indexes, pages, compression or old versions of rows.

Leaves and their clear rows are most of it and never grow again: they are added up once, a batch at a
time, along the journal (``measured`` and ``leaf_bytes`` in ``usage_marks``, under the same lock as usage).
Every other table is looked through at each measurement, but for the two that measuring itself writes;
databases know a value's length without reading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import LeafKind
from caio.foundation.scope import PlatformScope, TenantScope
from caio.metering.ports import StorageMeasured
from caio.metering.usage import DAY, day_of
from caio.storage.sql.database import Database
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.tables import (
    acts,
    attempts,
    decisions,
    journal,
    journal_heads,
    metadata,
    outcomes,
)
from caio.storage.sql.tables_tenancy import storage_measures, tenants, usage_marks
from caio.storage.sql.usage import locked_mark, visible_end
from caio.tenancy.ports import Tier

_NUMBER_BYTES = 8

#: Leaves and their clear rows.
_OF_LEAVES = {journal, acts, decisions, outcomes, attempts}

#: What measuring itself writes.
_OWN = {usage_marks, storage_measures}

#: Every other table of tenants.
_OTHERS = [
    table
    for table in metadata.sorted_tables
    if table.info["tenancy"] == "tenant" and table not in _OF_LEAVES and table not in _OWN
]


class SqlStorageMeasures:
    """The ``StorageStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, now: int, every: int) -> Sequence[str]:
        last = (
            select(func.max(storage_measures.c.measured_at))
            .where(storage_measures.c.tenant_id == tenants.c.tenant_id)
            .scalar_subquery()
        )
        grown = func.coalesce(journal_heads.c.next, 0) > func.coalesce(usage_marks.c.measured, 0)
        query = (
            select(tenants.c.tenant_id)
            .outerjoin(journal_heads, journal_heads.c.tenant_id == tenants.c.tenant_id)
            .outerjoin(usage_marks, usage_marks.c.tenant_id == tenants.c.tenant_id)
            .where(
                last.is_(None)
                | (last < now // DAY * DAY)
                | and_(last <= now - every, grown | (tenants.c.tier != Tier.POOL.value))
            )
            .order_by(tenants.c.tenant_id)
        )
        async with self._database.reading(PlatformScope("storage")) as connection:
            return list((await connection.execute(query)).scalars())

    async def measure_leaves(self, scope: TenantScope, limit: int) -> int:
        return await self._database.at_once(scope, lambda connection: self._measure_leaves(connection, scope, limit))

    def _measure_leaves(self, connection: Connection, scope: TenantScope, limit: int) -> int:
        locked_mark(connection, self._database, scope)
        this = usage_marks.c.tenant_id == scope.tenant_id
        start = int(connection.execute(select(usage_marks.c.measured).where(this)).scalar_one())
        end = visible_end(connection, scope, start, limit)
        if end > start:
            within = (journal.c.tenant_id == scope.tenant_id, journal.c.seq >= start, journal.c.seq < end)
            found = int(connection.execute(select(func.sum(self._leaf_bytes())).where(*within)).scalar_one())
            further = {"measured": end, "leaf_bytes": usage_marks.c.leaf_bytes + found}
            connection.execute(update(usage_marks).where(this).values(further))
        return end - start

    async def measure(self, scope: TenantScope, now: int) -> StorageMeasured:
        leaves = select(usage_marks.c.leaf_bytes).where(usage_marks.c.tenant_id == scope.tenant_id)
        async with self._database.reading(scope) as connection:
            found = int((await connection.execute(leaves)).scalar() or 0)
            for table in _OTHERS:
                found += await self._sum(connection, table, table.c.tenant_id == scope.tenant_id)
        row = {"tenant_id": scope.tenant_id, "day": day_of(now), "bytes": found, "measured_at": now}
        statement = conflict_aware_insert(self._database, storage_measures, row)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "day"], set_={"bytes": found, "measured_at": now}
        )
        async with self._database.writing(scope) as connection:
            await connection.execute(statement)
        return StorageMeasured(found, now)

    async def latest(self, scope: TenantScope) -> StorageMeasured | None:
        query = select(storage_measures).where(storage_measures.c.tenant_id == scope.tenant_id)
        async with self._database.reading(scope) as connection:
            row = (await connection.execute(query.order_by(storage_measures.c.day.desc()).limit(1))).first()
        return None if row is None else StorageMeasured(row.bytes, row.measured_at)

    async def days(self, scope: TenantScope, since: int, until: int) -> Sequence[tuple[int, StorageMeasured]]:
        query = select(storage_measures).where(
            storage_measures.c.tenant_id == scope.tenant_id,
            storage_measures.c.day >= since,
            storage_measures.c.day < until,
        )
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query.order_by(storage_measures.c.day))).all()
        return [(row.day, StorageMeasured(row.bytes, row.measured_at)) for row in rows]

    def _leaf_bytes(self) -> ColumnElement[int]:
        """What a leaf takes with its clear rows, which are looked up by its subject, as ``usage`` does."""
        clear = case(
            (journal.c.kind == LeafKind.DECISION.value, self._looked_up(decisions.c.decision_id)),
            (
                journal.c.kind == LeafKind.OUTCOME.value,
                self._looked_up(outcomes.c.decision_id) + self._looked_up(attempts.c.decision_id),
            ),
            else_=self._looked_up(acts.c.act_id),
        )
        return self._bytes(journal) + clear

    def _looked_up(self, named: Column[Any]) -> ColumnElement[int]:
        table = named.table
        theirs = (table.c.tenant_id == journal.c.tenant_id, named == journal.c.subject_id)
        return func.coalesce(select(func.sum(self._bytes(table))).where(*theirs).scalar_subquery(), 0)

    async def _sum(self, connection: AsyncConnection, table: Table, *which: ColumnElement[bool]) -> int:
        query = select(func.sum(self._bytes(table))).where(*which)
        return int((await connection.execute(query)).scalar() or 0)

    def _bytes(self, table: Table) -> ColumnElement[int]:
        """What one row of ``table`` takes."""
        return bytes_of(self._database, list(table.c))


def bytes_of(database: Database, columns: Sequence[Column[Any]]) -> ColumnElement[int]:
    """What the values of ``columns`` take in one row."""
    whole: ColumnElement[int] = literal(
        _NUMBER_BYTES * sum(not column.nullable and not _is_long(column) for column in columns), Integer
    )
    for column in columns:
        if _is_long(column):
            # SQLite counts characters of a text, and bytes of a blob.
            length = (
                func.length(cast(column, LargeBinary)) if database.dialect == "sqlite" else func.octet_length(column)
            )
            whole = whole + func.coalesce(length, 0)
        elif column.nullable:
            whole = whole + case((column.is_(None), 0), else_=_NUMBER_BYTES)
    return whole


def _is_long(column: Column[Any]) -> bool:
    return isinstance(column.type, Text | LargeBinary)


def forget_content(connection: Connection, database: Database, scope: TenantScope, decision_ids: Sequence[str]) -> None:
    """Take what erasing these decisions empties out of the bytes of the leaves. To be called in the
    transaction that erases them, before it does."""
    locked_mark(connection, database, scope)
    this = usage_marks.c.tenant_id == scope.tenant_id
    measured = connection.execute(select(usage_marks.c.measured).where(this)).scalar_one()
    theirs = (
        journal.c.tenant_id == scope.tenant_id,
        journal.c.subject_id.in_(decision_ids),
        journal.c.kind.in_([LeafKind.DECISION.value, LeafKind.OUTCOME.value]),
        journal.c.seq < measured,
    )
    sealed = select(func.sum(bytes_of(database, [journal.c.sealed]))).where(*theirs)
    decided = select(journal.c.subject_id).where(*theirs, journal.c.kind == LeafKind.DECISION.value)
    ids = list(connection.execute(decided).scalars())
    named = bytes_of(database, [decisions.c.principal_id, decisions.c.decision_hash])
    clear = select(func.sum(named)).where(decisions.c.tenant_id == scope.tenant_id, decisions.c.decision_id.in_(ids))
    gone = [int(connection.execute(query).scalar() or 0) for query in (sealed, clear)]
    connection.execute(update(usage_marks).where(this).values(leaf_bytes=usage_marks.c.leaf_bytes - sum(gone)))
