"""Searching the audit log's clear columns, alike on both databases.

Decisions and acts are two walks along the two indexes by time, merged. Where a filter can pass rows by,
a walk first asks its index for the place ``EXAMINED`` rows on, its *floor*, and looks no further; rows
beyond the highest floor are left for the next page, so that the merged order has no holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, and_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import LeafKind
from caio.audit.query import ActEntry, DecisionEntry, Entry, EntryFilter, EntryPage, Place, Result
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import acts, decisions, journal, outcomes

#: Rows of each sort that one page looks at.
EXAMINED = 20_000

_DECISION_PLACE = (decisions.c.decided_at, decisions.c.decision_id)
_ACT_PLACE = (acts.c.recorded_at, acts.c.act_id)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Rows by place, newest first; every match down to ``floor`` is among them, or all when it is None."""

    rows: Sequence[tuple[Place, Row[Any]]]
    floor: Place | None


class SqlAuditIndex:
    """The ``AuditIndex`` port. ``examined`` bounds the rows of each sort that a page looks at."""

    def __init__(self, database: Database, examined: int = EXAMINED) -> None:
        self._database = database
        self._examined = examined

    async def entries(self, scope: TenantScope, wanted: EntryFilter, before: Place | None, limit: int) -> EntryPage:
        async with self._database.reading(scope) as connection:
            walks = []
            if wanted.wants_decisions:
                walks.append(await self._decisions(connection, scope, wanted, before, limit))
            if wanted.wants_acts:
                walks.append(await self._acts(connection, scope, wanted, before, limit))
            floor = max((walk.floor for walk in walks if walk.floor is not None), default=None)
            found = sorted((pair for walk in walks for pair in walk.rows), key=_place_of, reverse=True)
            reached = [pair for pair in found if floor is None or pair[0] >= floor]
            page = reached[:limit]
            items = await _entries(connection, scope, [row for _, row in page])
        return EntryPage(items, page[-1][0] if len(reached) > limit else floor)

    async def _decisions(
        self, connection: AsyncConnection, scope: TenantScope, wanted: EntryFilter, before: Place | None, limit: int
    ) -> _Walk:
        query = (
            select(
                decisions,
                outcomes.c.status,
                outcomes.c.charged,
                outcomes.c.decision_id.label("finished"),
            )
            .outerjoin_from(decisions, outcomes, _same_decision())
            .where(*_matching_decisions(wanted))
        )
        return await self._walk(connection, scope, query, _DECISION_PLACE, wanted, before, limit)

    async def _acts(
        self, connection: AsyncConnection, scope: TenantScope, wanted: EntryFilter, before: Place | None, limit: int
    ) -> _Walk:
        query = select(acts).where(*_matching_acts(wanted))
        return await self._walk(connection, scope, query, _ACT_PLACE, wanted, before, limit)

    async def _walk(
        self,
        connection: AsyncConnection,
        scope: TenantScope,
        query: Any,
        by: tuple[Column[Any], Column[Any]],
        wanted: EntryFilter,
        before: Place | None,
        limit: int,
    ) -> _Walk:
        """The newest matches of one sort, ``by`` being the columns of its place."""
        place = tuple_(*by)
        window = [by[0].table.c.tenant_id == scope.tenant_id]
        if before is not None:
            window.append(place < _literal(before))
        if wanted.since is not None:
            window.append(by[0] >= wanted.since)
        if wanted.until is not None:
            window.append(by[0] < wanted.until)
        newest_first = (by[0].desc(), by[1].desc())
        floor = None
        if query.whereclause is not None:
            last = select(*by).where(*window).order_by(*newest_first).offset(self._examined - 1).limit(1)
            found = (await connection.execute(last)).first()
            if found is not None:
                floor = (int(found[0]), str(found[1]))
                window.append(place >= _literal(floor))
        rows = (await connection.execute(query.where(*window).order_by(*newest_first).limit(limit + 1))).all()
        placed = [((int(getattr(row, by[0].name)), str(getattr(row, by[1].name))), row) for row in rows]
        return _Walk(placed, placed[-1][0] if len(placed) > limit else floor)


def _matching_decisions(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.service is not None:
        found.append(or_(decisions.c.service_id == wanted.service, outcomes.c.service_id == wanted.service))
    if wanted.principal is not None:
        found.append(decisions.c.principal_id == wanted.principal)
    if wanted.capability is not None:
        found.append(decisions.c.capability == wanted.capability)
    if wanted.result is not None:
        found.append(_ended_in(wanted.result))
    return found


def _ended_in(result: Result) -> ColumnElement[bool]:
    if result is Result.RUNNING:
        return and_(decisions.c.admitted, outcomes.c.decision_id.is_(None))
    if result is Result.REFUSED:
        return and_(decisions.c.admitted.is_(False), decisions.c.service_id == "")
    if result is Result.DECIDED:
        return and_(decisions.c.admitted.is_(False), decisions.c.service_id != "")
    return outcomes.c.status == result.value


def _matching_acts(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.principal is not None:
        found.append(acts.c.principal_id == wanted.principal)
    if wanted.kind is not None:
        found.append(acts.c.kind == wanted.kind.value)
    if wanted.action is not None:
        found.append(acts.c.action == wanted.action)
    return found


async def _entries(connection: AsyncConnection, scope: TenantScope, rows: Sequence[Row[Any]]) -> list[Entry]:
    """The rows as entries, with the places of their leaves."""
    if not rows:
        return []
    kinds = {kind for row in rows for kind in _kinds(row)}
    subjects = [_subject(row) for row in rows]
    query = select(
        journal.c.kind, journal.c.subject_id, journal.c.seq, (func.length(journal.c.sealed) > 0).label("kept")
    ).where(
        journal.c.tenant_id == scope.tenant_id,
        journal.c.kind.in_(sorted(kinds)),
        journal.c.subject_id.in_(subjects),
    )
    leaves = {
        (leaf.kind, leaf.subject_id): (int(leaf.seq), bool(leaf.kept)) for leaf in await connection.execute(query)
    }
    return [_entry(row, leaves) for row in rows]


def _entry(row: Row[Any], leaves: dict[tuple[str, str], tuple[int, bool]]) -> Entry:
    if not _is_decision(row):
        seq, kept = leaves[row.kind, row.act_id]
        return ActEntry(
            seq, row.recorded_at, row.act_id, LeafKind(row.kind), row.action, row.principal_id, row.subject, not kept
        )
    seq, kept = leaves[LeafKind.DECISION.value, row.decision_id]
    outcome = leaves.get((LeafKind.OUTCOME.value, row.decision_id))
    return DecisionEntry(
        seq=seq,
        at=row.decided_at,
        decision_id=row.decision_id,
        service=row.service_id,
        version=row.service_version,
        principal=row.principal_id,
        capability=row.capability,
        result=_result(row),
        charged=row.charged,
        outcome_seq=None if outcome is None else outcome[0],
        erased=not kept,
    )


def _result(row: Row[Any]) -> Result:
    if row.finished is not None:
        return Result(row.status)
    if row.admitted:
        return Result.RUNNING
    return Result.DECIDED if row.service_id else Result.REFUSED


def _is_decision(row: Row[Any]) -> bool:
    return "decided_at" in row._fields


def _subject(row: Row[Any]) -> str:
    return str(row.decision_id if _is_decision(row) else row.act_id)


def _kinds(row: Row[Any]) -> tuple[str, ...]:
    return (LeafKind.DECISION.value, LeafKind.OUTCOME.value) if _is_decision(row) else (row.kind,)


def _same_decision() -> ColumnElement[bool]:
    return and_(outcomes.c.tenant_id == decisions.c.tenant_id, outcomes.c.decision_id == decisions.c.decision_id)


def _place_of(pair: tuple[Place, Row[Any]]) -> Place:
    return pair[0]


def _literal(place: Place) -> Any:
    return tuple_(literal(place[0]), literal(place[1]))
