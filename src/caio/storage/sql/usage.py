"""Usage in SQL: counted from the journal's clear columns, a batch of leaves a transaction.

The tenant's row in ``usage_marks`` is the lock: the batch is read, added and marked under it, so that
roll-ups of several processes take turns. A tenant's seqs become visible in their order (each append
holds the journal's head until it commits), so what lies below the highest visible seq is all there.

Erasing takes a decision's principal out of usage too (``forget_decisions``), in the same transaction and
under the same lock: at any time usage is what a rebuild up to the mark would give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, delete, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import LeafKind, Mode
from caio.foundation.scope import PlatformScope, TenantScope
from caio.metering.ports import Group, Progress, Taken, UsageQuery
from caio.metering.usage import MEASURES, Dimension, Finished, Place, Sums, added_up, day_of
from caio.storage.sql.database import Database
from caio.storage.sql.statements import conflict_aware_insert, insert_if_absent
from caio.storage.sql.tables import attempts, decisions, journal, journal_heads, outcomes
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

    async def take_in(self, scope: TenantScope, limit: int) -> Taken:
        async with self.database.writing(scope) as connection:
            start = await locked_mark(self.database, connection, scope)
            end = await visible_end(connection, scope, start, limit)
            if end == start:
                return Taken(0, 0)
            calls = await _finished(connection, scope, journal.c.seq >= start, journal.c.seq < end)
            await _add(self.database, connection, scope, added_up(calls))
            mark = update(usage_marks).where(usage_marks.c.tenant_id == scope.tenant_id)
            await connection.execute(mark.values(next=end))
        return Taken(end - start, len(calls))

    async def begin_anew(self, scope: TenantScope) -> None:
        async with self.database.writing(scope) as connection:
            await locked_mark(self.database, connection, scope)
            await connection.execute(delete(usage).where(usage.c.tenant_id == scope.tenant_id))
            mark = update(usage_marks).where(usage_marks.c.tenant_id == scope.tenant_id)
            await connection.execute(mark.values(next=0))

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
        # Looked up for each leaf, as in ``_finished``.
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


async def locked_mark(database: Database, connection: AsyncConnection, scope: TenantScope) -> int:
    """The tenant's mark, held by this transaction to its end; made when there is none."""
    fresh = {"tenant_id": scope.tenant_id, "next": 0, "measured": 0, "leaf_bytes": 0}
    await connection.execute(insert_if_absent(database, usage_marks, fresh))
    mark = select(usage_marks.c.next).where(usage_marks.c.tenant_id == scope.tenant_id).with_for_update()
    return int((await connection.execute(mark)).scalar_one())


async def visible_end(connection: AsyncConnection, scope: TenantScope, start: int, limit: int) -> int:
    """One beyond the last of at most ``limit`` leaves from ``start`` on; ``start`` when there is none."""
    last = select(func.max(journal.c.seq)).where(
        journal.c.tenant_id == scope.tenant_id, journal.c.seq >= start, journal.c.seq < start + limit
    )
    found = (await connection.execute(last)).scalar()
    return start if found is None else int(found) + 1


async def forget_decisions(
    database: Database, connection: AsyncConnection, scope: TenantScope, decision_ids: Sequence[str]
) -> None:
    """Count what these decisions used for nobody in particular. To be called in the transaction that erases
    their principals, before it does."""
    mark = await locked_mark(database, connection, scope)
    taken_in = (journal.c.subject_id.in_(decision_ids), journal.c.seq < mark)
    known = added_up(await _finished(connection, scope, *taken_in))
    changes: dict[Place, Sums] = {place: sums.negative for place, sums in known.items()}
    for place, sums in known.items():
        nobody = place._replace(principal_id="")
        changes[nobody] = changes.get(nobody, Sums()).plus(sums)
    await _add(database, connection, scope, changes)
    empty = delete(usage).where(usage.c.tenant_id == scope.tenant_id, usage.c.calls == 0)
    await connection.execute(empty)


async def count_anew(database: Database, connection: AsyncConnection, scope: TenantScope) -> None:
    """Forget the tenant's usage and what its leaves take: steps of the roll-up and of measuring count both again
    from the journal's beginning, as its clear columns say by then."""
    await locked_mark(database, connection, scope)
    await connection.execute(delete(usage).where(usage.c.tenant_id == scope.tenant_id))
    mark = update(usage_marks).where(usage_marks.c.tenant_id == scope.tenant_id)
    await connection.execute(mark.values(next=0, measured=0, leaf_bytes=0))


async def _finished(connection: AsyncConnection, scope: TenantScope, *leaves: ColumnElement[bool]) -> list[Finished]:
    """The calls whose outcomes are among the tenant's ``leaves``. Their rows are looked up by their ids, and not
    joined: a planner that knows nothing of the tables yet would walk all of a tenant's for each leaf."""
    ended = select(journal.c.subject_id).where(
        journal.c.tenant_id == scope.tenant_id, *leaves, journal.c.kind == LeafKind.OUTCOME.value
    )
    ids = list((await connection.execute(ended)).scalars())
    if not ids:
        return []
    asked = select(decisions.c.decision_id, decisions.c.principal_id, decisions.c.capability)
    broken = select(attempts.c.decision_id, attempts.c.breached).where(attempts.c.breached != "")
    who = {row.decision_id: row for row in await connection.execute(_named(asked, decisions, scope, ids))}
    breaches: Counter[str] = Counter()
    for decision_id, clauses in await connection.execute(_named(broken, attempts, scope, ids)):
        breaches[decision_id] += len(clauses.split())
    rows = await connection.execute(_named(select(outcomes), outcomes, scope, ids))
    return [_call(row, who[row.decision_id], breaches[row.decision_id]) for row in rows]


def _named(query: Select[Any], table: Table, scope: TenantScope, ids: Sequence[str]) -> Select[Any]:
    return query.where(table.c.tenant_id == scope.tenant_id, table.c.decision_id.in_(ids))


def _call(row: Row[Any], asked: Row[Any], breaches: int) -> Finished:
    return Finished(
        principal_id=asked.principal_id,
        capability=asked.capability,
        finished_at=row.finished_at,
        status=row.status,
        service_id=row.service_id,
        latency_ms=row.latency_ms,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        charged=row.charged,
        breaches=breaches,
    )


async def _add(
    database: Database, connection: AsyncConnection, scope: TenantScope, found: Mapping[Place, Sums]
) -> None:
    """Add to the rows of ``usage``, in one order, so that writers do not wait for each other in a circle."""
    if not found:
        return
    rows = [
        {"tenant_id": scope.tenant_id, **place._asdict(), **sums._asdict()} for place, sums in sorted(found.items())
    ]
    statement = conflict_aware_insert(database, usage, rows[0])
    raised = {name: usage.c[name] + statement.excluded[name] for name in MEASURES}
    await connection.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=raised), rows)


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
