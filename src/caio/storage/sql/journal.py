"""Reading the journal, alike on both databases; appending is in ``journal_sqlite`` and ``journal_postgres``.

The reads without a scope serve the process's own start-up. They walk tenant by tenant along the
indexes, so that looking back a day costs a day's rows, however long the journal is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, literal, select, tuple_

from caio.audit.ports import ActRow, Attempt, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status, StoredLeaf
from caio.foundation.scope import PlatformScope, Scope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.places import Place
from caio.storage.sql.tables import acts, attempts, decisions, journal, outcomes
from caio.storage.sql.tables_tenancy import tenants

_RECOVERY = PlatformScope("recovery")


class SqlJournalReads:
    """The ``JournalStore`` port but for ``append``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, scope: TenantScope, kind: LeafKind, subject_id: str) -> StoredLeaf | None:
        """The leaf without its projection, or None."""
        query = select(journal).where(
            journal.c.tenant_id == scope.tenant_id, journal.c.kind == kind.value, journal.c.subject_id == subject_id
        )
        found = await self._rows(scope, query)
        return _stored_leaf(found[0]) if found else None

    async def page(self, scope: TenantScope, after: int, limit: int) -> list[StoredLeaf]:
        query = select(journal).where(journal.c.tenant_id == scope.tenant_id, journal.c.seq > after)
        return [_stored_leaf(row) for row in await self._rows(scope, query.order_by(journal.c.seq).limit(limit))]

    async def latest_act(self, scope: TenantScope, kind: LeafKind, actions: Collection[str]) -> ActRow | None:
        """As the port says. The leaf is a subquery and nothing is ordered in SQL, so that no database looks
        through all leaves, which may be millions, for the few that are wanted."""
        leaf = select(journal.c.seq).where(
            journal.c.subject_id == acts.c.act_id,
            journal.c.kind == acts.c.kind,
            journal.c.tenant_id == acts.c.tenant_id,
        )
        query = select(acts, leaf.scalar_subquery().label("seq")).where(
            acts.c.tenant_id == scope.tenant_id, acts.c.kind == kind.value, acts.c.action.in_(actions)
        )
        last = max(await self._rows(scope, query), key=lambda row: int(row.seq), default=None)
        return None if last is None else _act(last)

    async def decisions(
        self, scope: TenantScope, before: tuple[int, str] | None, limit: int
    ) -> list[tuple[DecisionRow, OutcomeRow | None]]:
        place = tuple_(decisions.c.decided_at, decisions.c.decision_id)
        query = (
            select(decisions, *_outcome_columns())
            .outerjoin_from(decisions, outcomes, _same_decision())
            .where(decisions.c.tenant_id == scope.tenant_id)
            .order_by(decisions.c.decided_at.desc(), decisions.c.decision_id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(place < tuple_(literal(before[0]), literal(before[1])))
        return [(_decision(row), _outcome(row)) for row in await self._rows(scope, query)]

    async def calls(
        self, scope: TenantScope, decision_ids: Collection[str]
    ) -> list[tuple[DecisionRow, OutcomeRow | None]]:
        query = (
            select(decisions, *_outcome_columns())
            .outerjoin_from(decisions, outcomes, _same_decision())
            .where(decisions.c.tenant_id == scope.tenant_id, decisions.c.decision_id.in_(decision_ids))
        )
        return [(_decision(row), _outcome(row)) for row in await self._rows(scope, query)]

    async def unfinished(self, since: int = 0, before: int | None = None) -> list[tuple[str, DecisionRow]]:
        """As the port says, oldest first. Walks the decisions of that time, without bounds all of them."""
        query = (
            select(decisions)
            .join_from(tenants, decisions, decisions.c.tenant_id == tenants.c.tenant_id)
            .outerjoin(outcomes, _same_decision())
            .where(_took_admission(), outcomes.c.decision_id.is_(None), decisions.c.decided_at >= since)
            .order_by(decisions.c.decided_at, decisions.c.tenant_id, decisions.c.decision_id)
        )
        if before is not None:
            query = query.where(decisions.c.decided_at < before)
        rows = await self._everywhere(query)
        return [(row.tenant_id, _decision(row)) for row in rows]

    async def attempts_since(self, since: int) -> list[tuple[str, int, int, Attempt]]:
        query = (
            select(attempts)
            .join_from(tenants, attempts, attempts.c.tenant_id == tenants.c.tenant_id)
            .where(attempts.c.finished_at >= since)
            .order_by(attempts.c.finished_at, attempts.c.tenant_id, attempts.c.decision_id, attempts.c.position)
        )
        rows = await self._everywhere(query)
        rows.sort(key=lambda row: (row.finished_at, row.tenant_id, row.decision_id, row.position))
        return [(row.tenant_id, row.finished_at, row.position, _attempt(row)) for row in rows]

    async def _everywhere(self, query: Select[Any]) -> list[Row[Any]]:
        """The rows of all tenants, place by place."""
        return [row for place in await self._database.places() for row in await self._rows(_RECOVERY, query, place)]

    async def _rows(self, scope: Scope, query: Select[Any], at: Place | None = None) -> list[Row[Any]]:
        async with self._database.reading(scope, at) as connection:
            return list((await connection.execute(query)).all())


def _act(row: Row[Any]) -> ActRow:
    return ActRow(
        act_id=row.act_id,
        kind=LeafKind(row.kind),
        recorded_at=row.recorded_at,
        action=row.action,
        principal_id=row.principal_id,
        subject=row.subject,
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        service_id=row.service_id,
        version=row.version,
        succeeded=row.succeeded,
        latency_ms=row.latency_ms,
        streamed=row.streamed,
        breached=tuple(row.breached.split()),
    )


def _same_decision() -> ColumnElement[bool]:
    return and_(outcomes.c.tenant_id == decisions.c.tenant_id, outcomes.c.decision_id == decisions.c.decision_id)


def _took_admission() -> ColumnElement[bool]:
    return and_(decisions.c.admitted, decisions.c.mode == Mode.ORCHESTRATE.value)


def _outcome_columns() -> list[ColumnElement[Any]]:
    """The outcome's columns under names that do not meet the decision's."""
    return [column.label(f"outcome_{column.name}") for column in outcomes.c if column.name != "tenant_id"]


def _stored_leaf(row: Row[Any]) -> StoredLeaf:
    leaf = Leaf(
        tenant_id=row.tenant_id,
        kind=LeafKind(row.kind),
        subject_id=row.subject_id,
        recorded_at=row.recorded_at,
        commitment=bytes(row.commitment),
        sealed=bytes(row.sealed),
    )
    return StoredLeaf(row.seq, leaf)


def _decision(row: Row[Any]) -> DecisionRow:
    return DecisionRow(
        decision_id=row.decision_id,
        decided_at=row.decided_at,
        mode=Mode(row.mode),
        capability=row.capability,
        service_id=row.service_id,
        service_version=row.service_version,
        principal_id=row.principal_id,
        decision_hash=row.decision_hash,
        admitted=row.admitted,
        reserved=row.reserved,
        most_cost=row.most_cost,
        most_tokens=row.most_tokens,
        most_compute_ms=row.most_compute_ms,
    )


def _outcome(row: Row[Any]) -> OutcomeRow | None:
    if row.outcome_decision_id is None:
        return None
    return OutcomeRow(
        decision_id=row.outcome_decision_id,
        finished_at=row.outcome_finished_at,
        status=Status(row.outcome_status),
        service_id=row.outcome_service_id,
        latency_ms=row.outcome_latency_ms,
        input_tokens=row.outcome_input_tokens,
        output_tokens=row.outcome_output_tokens,
        charged=row.outcome_charged,
        attempts=(),
    )
