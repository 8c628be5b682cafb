"""Usage in SQL: counted from the journal's clear columns, a batch of leaves a transaction, added up by the database
itself and without coming back to the event loop: what waits for SQLite's write lock waits for milliseconds.

The tenant's row in ``usage_marks`` is the lock: the batch is read, added and marked under it, so that
roll-ups of several processes take turns. A tenant's seqs become visible in their order (each append
holds the journal's head until it commits), so what lies below the highest visible seq is all there.

Erasing takes a decision's principal out of usage too (``forget_decisions``), in the same transaction and
under the same lock: at any time usage is what a rebuild up to the mark would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    func,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import LeafKind, Mode
from caio.foundation.scope import PlatformScope, TenantScope
from caio.metering.ports import Group, Progress, UsageQuery
from caio.metering.usage import ANSWERED, DAY, MEASURES, Dimension, Place, Sums, day_of
from caio.storage.sql.database import Database
from caio.storage.sql.statements import conflict_aware_insert, insert_if_absent
from caio.storage.sql.tables import decisions, journal, journal_heads, outcomes
from caio.storage.sql.tables_tenancy import tenants, usage, usage_marks
from caio.tenancy.ports import Tier

_KEY = ("tenant_id", "day", "principal_id", "service_id", "capability")
_COLUMNS = {
    Dimension.DAY: usage.c.day,
    Dimension.PRINCIPAL: usage.c.principal_id,
    Dimension.SERVICE: usage.c.service_id,
    Dimension.CAPABILITY: usage.c.capability,
}
#: The longest that a call can run, with a margin, in microseconds: from its decision to its outcome.
_LONGEST_CALL = 660_000_000

_HAD_NO_ANSWER = "ended.status NOT IN (" + ", ".join(f"'{status}'" for status in sorted(ANSWERED)) + ")"

#: What calls add up to, by place, as ``metering.usage`` says it; which leaves is still to be said.
_SUMS = f"""
    SELECT ended.finished_at / {DAY} AS day, asked.principal_id, ended.service_id, asked.capability,
           count(*), sum(CASE WHEN {_HAD_NO_ANSWER} THEN 1 ELSE 0 END),
           sum(ended.input_tokens), sum(ended.output_tokens), sum(ended.latency_ms), sum(ended.charged),
           sum((SELECT coalesce(sum(length(breached) - length(replace(breached, ' ', '')) + 1), 0) FROM attempts
                WHERE attempts.tenant_id = journal.tenant_id AND attempts.decision_id = journal.subject_id
                  AND attempts.breached <> ''))
    FROM journal {{outcomes}} {{decisions}}
    WHERE journal.tenant_id = :tenant AND journal.kind = '{LeafKind.OUTCOME.value}' AND {{leaves}}
    GROUP BY day, asked.principal_id, ended.service_id, asked.capability
"""  # noqa: S608 - constants

#: A leaf's rows are looked up by its subject, one leaf after the other, and not joined as the planner likes: one
#: that knows nothing of the tables yet would walk all of a tenant's for each leaf.
_LOOKED_UP = {
    "sqlite": "CROSS JOIN {table} AS {name} ON {name}.tenant_id = journal.tenant_id"
    " AND {name}.decision_id = journal.subject_id",
    "postgresql": "CROSS JOIN LATERAL (SELECT * FROM {table} WHERE {table}.tenant_id = journal.tenant_id"
    " AND {table}.decision_id = journal.subject_id OFFSET 0) AS {name}",
}

_ROWS = {"outcomes": "ended", "decisions": "asked"}


class SqlUsage:
    """The ``UsageStore`` port."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def waiting(self) -> Sequence[str]:
        # Rows of tenants outside the pool are not to be seen from here: they are looked at one by one.
        beyond = journal_heads.c.next > func.coalesce(usage_marks.c.next, 0)
        query = (
            select(tenants.c.tenant_id)
            .outerjoin(journal_heads, journal_heads.c.tenant_id == tenants.c.tenant_id)
            .outerjoin(usage_marks, usage_marks.c.tenant_id == tenants.c.tenant_id)
            .where(beyond | (tenants.c.tier != Tier.POOL.value))
            .order_by(tenants.c.tenant_id)
        )
        async with self.database.reading(PlatformScope("usage")) as connection:
            return list((await connection.execute(query)).scalars())

    async def take_in(self, scope: TenantScope, limit: int) -> int:
        return await self.database.at_once(scope, lambda connection: self._take_in(connection, scope, limit))

    def _take_in(self, connection: Connection, scope: TenantScope, limit: int) -> int:
        start = locked_mark(connection, self.database, scope)
        end = visible_end(connection, scope, start, limit)
        if end > start:
            these = "journal.seq >= :first AND journal.seq < :end"
            calls = _added_up(connection, scope, these, {"first": start, "end": end})
            _add(connection, self.database, scope, calls)
            connection.execute(_marks_of(scope).values(next=end))
        return end - start

    async def begin_anew(self, scope: TenantScope) -> None:
        async with self.database.writing(scope) as connection:
            await connection.run_sync(locked_mark, self.database, scope)
            await connection.execute(delete(usage).where(usage.c.tenant_id == scope.tenant_id))
            await connection.execute(_marks_of(scope).values(next=0))

    async def progress(self, scope: TenantScope) -> Progress:
        here = journal.c.tenant_id == scope.tenant_id
        head = select(journal_heads.c.next).where(journal_heads.c.tenant_id == scope.tenant_id)
        async with self.database.reading(scope) as connection:
            mark = await _mark(connection, scope)
            first = select(journal.c.seq, journal.c.recorded_at).where(here, journal.c.seq >= mark)
            row = (await connection.execute(first.order_by(journal.c.seq).limit(1))).first()
            end = (await connection.execute(head)).scalar() or 0
        return Progress(0, None) if row is None else Progress(int(end) - row.seq, row.recorded_at)

    async def groups(self, scope: TenantScope, query: UsageQuery, after: Group | None, limit: int) -> Sequence[Group]:
        keys = [_COLUMNS[dimension] for dimension in query.by]
        sums = [func.sum(usage.c[name]).label(name) for name in MEASURES]
        statement = select(*keys, *sums).where(*_wanted(scope, query)).group_by(*keys).order_by(*keys).limit(limit)
        statement = statement.having(func.count() > 0)
        if after is not None:
            if not keys:
                return []
            statement = statement.where(tuple_(*keys) > tuple_(*(literal(part) for part in after.key)))
        async with self.database.reading(scope) as connection:
            rows = (await connection.execute(statement)).all()
        width = len(keys)
        return [Group(tuple(row[:width]), Sums(*map(int, row[width:]))) for row in rows]

    async def charged(self, scope: TenantScope, since: int) -> int:
        rolled_up = select(func.sum(usage.c.cost)).where(
            usage.c.tenant_id == scope.tenant_id, usage.c.day >= day_of(since)
        )
        mark = func.coalesce(_marked(scope).scalar_subquery(), 0)
        # Looked up for each leaf, as in ``_sums``.
        charge = select(outcomes.c.charged).where(
            outcomes.c.tenant_id == journal.c.tenant_id,
            outcomes.c.decision_id == journal.c.subject_id,
            outcomes.c.finished_at >= since,
        )
        further = select(func.sum(charge.scalar_subquery())).where(
            journal.c.tenant_id == scope.tenant_id,
            journal.c.seq >= mark,
            journal.c.kind == LeafKind.OUTCOME.value,
        )
        # Ended in the period, admitted before it.
        before = (
            select(func.sum(outcomes.c.charged))
            .join_from(decisions, outcomes, _of_decision())
            .where(
                decisions.c.tenant_id == scope.tenant_id,
                decisions.c.decided_at >= since - _LONGEST_CALL,
                decisions.c.decided_at < since,
                outcomes.c.finished_at >= since,
            )
        )
        async with self.database.reading(scope) as connection:
            while True:
                # Under row-level security no index is used for what a subquery says, but for what is stated.
                stated = await _mark(connection, scope)
                beyond = further.where(journal.c.seq >= stated)
                # One statement, so that nothing is taken in between the sums.
                query = select(rolled_up.scalar_subquery(), beyond.scalar_subquery(), before.scalar_subquery(), mark)
                found = (await connection.execute(query)).one()
                if int(found[-1]) >= stated:  # else usage began anew in between, from an earlier mark
                    return int(found[0] or 0) + int(found[1] or 0) - int(found[2] or 0)

    async def reserved(self, scope: TenantScope, since: int) -> int:
        query = (
            select(func.sum(decisions.c.reserved))
            .outerjoin_from(decisions, outcomes, _of_decision())
            .where(
                decisions.c.tenant_id == scope.tenant_id,
                decisions.c.decided_at >= since,
                decisions.c.admitted,
                decisions.c.mode == Mode.ORCHESTRATE.value,
                outcomes.c.decision_id.is_(None),
            )
        )
        async with self.database.reading(scope) as connection:
            return int((await connection.execute(query)).scalar() or 0)


def _marked(scope: TenantScope) -> Select[Any]:
    return select(usage_marks.c.next).where(usage_marks.c.tenant_id == scope.tenant_id)


async def _mark(connection: AsyncConnection, scope: TenantScope) -> int:
    """The tenant's mark as it is now."""
    return int((await connection.execute(_marked(scope))).scalar() or 0)


def locked_mark(connection: Connection, database: Database, scope: TenantScope) -> int:
    """The tenant's mark, held by this transaction to its end; made when there is none."""
    fresh = {"tenant_id": scope.tenant_id, "next": 0, "measured": 0, "leaf_bytes": 0}
    connection.execute(insert_if_absent(database, usage_marks, fresh))
    mark = select(usage_marks.c.next).where(usage_marks.c.tenant_id == scope.tenant_id).with_for_update()
    return int(connection.execute(mark).scalar_one())


def visible_end(connection: Connection, scope: TenantScope, start: int, limit: int) -> int:
    """One beyond the last of at most ``limit`` leaves from ``start`` on; ``start`` when there is none."""
    last = select(func.max(journal.c.seq)).where(
        journal.c.tenant_id == scope.tenant_id, journal.c.seq >= start, journal.c.seq < start + limit
    )
    found = connection.execute(last).scalar()
    return start if found is None else int(found) + 1


def forget_decisions(
    connection: Connection, database: Database, scope: TenantScope, decision_ids: Sequence[str]
) -> None:
    """Count what these decisions used for nobody in particular. To be called in the transaction that erases
    their principals, before it does."""
    mark = locked_mark(connection, database, scope)
    taken_in = "journal.subject_id IN :ids AND journal.seq < :mark"
    known = _added_up(connection, scope, taken_in, {"ids": list(decision_ids), "mark": mark})
    changes: dict[Place, Sums] = {place: sums.negative for place, sums in known.items()}
    for place, sums in known.items():
        nobody = place._replace(principal_id="")
        changes[nobody] = changes.get(nobody, Sums()).plus(sums)
    _add(connection, database, scope, changes)
    connection.execute(delete(usage).where(usage.c.tenant_id == scope.tenant_id, usage.c.calls == 0))


def count_anew(connection: Connection, database: Database, scope: TenantScope) -> None:
    """Forget the tenant's usage and what its leaves take: steps of the roll-up and of measuring count both again
    from the journal's beginning, as its clear columns say by then."""
    locked_mark(connection, database, scope)
    connection.execute(delete(usage).where(usage.c.tenant_id == scope.tenant_id))
    connection.execute(_marks_of(scope).values(next=0, measured=0, leaf_bytes=0))


def _marks_of(scope: TenantScope) -> Update:
    return update(usage_marks).where(usage_marks.c.tenant_id == scope.tenant_id)


def _added_up(
    connection: Connection, scope: TenantScope, leaves: str, named: Mapping[str, int | list[str]]
) -> dict[Place, Sums]:
    """``metering.usage.added_up`` of the calls whose outcomes are among the tenant's ``leaves``, a condition on
    ``journal`` with parameters."""
    looked_up = _LOOKED_UP[connection.dialect.name]
    rows = {each: looked_up.format(table=each, name=name) for each, name in _ROWS.items()}
    query = text(_SUMS.format(leaves=leaves, **rows))
    if "ids" in named:
        query = query.bindparams(bindparam("ids", expanding=True))
    found = connection.execute(query, {"tenant": scope.tenant_id, **named})
    return {Place(*row[:4]): Sums(*map(int, row[4:])) for row in found}


def _add(connection: Connection, database: Database, scope: TenantScope, found: Mapping[Place, Sums]) -> None:
    """Add to the rows of ``usage``, in one order, so that writers do not wait for each other in a circle."""
    if not found:
        return
    rows = [
        {"tenant_id": scope.tenant_id, **place._asdict(), **sums._asdict()} for place, sums in sorted(found.items())
    ]
    statement = conflict_aware_insert(database, usage, rows[0])
    raised = {name: usage.c[name] + statement.excluded[name] for name in MEASURES}
    connection.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=raised), rows)


def _wanted(scope: TenantScope, query: UsageQuery) -> list[ColumnElement[bool]]:
    found = [usage.c.tenant_id == scope.tenant_id, usage.c.day >= query.since, usage.c.day < query.until]
    for column, value in (
        (usage.c.principal_id, query.principal),
        (usage.c.service_id, query.service),
        (usage.c.capability, query.capability),
    ):
        if value is not None:
            found.append(column == value)
    return found


def _of_decision() -> ColumnElement[bool]:
    return and_(decisions.c.tenant_id == outcomes.c.tenant_id, decisions.c.decision_id == outcomes.c.decision_id)
