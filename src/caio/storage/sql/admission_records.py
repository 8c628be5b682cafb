"""What a tenant has used, as the journal's clear columns tell it: what admission is rebuilt from.

Calls are read along the index of the tenant's decisions, page by page, so that looking back a day costs a day's
rows and never holds up the process. What becomes durable meanwhile may be left out: admission reads only once all
that it has to know is durable. Calls that have not ended are read before the sum of those that have: one that ends
meanwhile counts twice, never not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, literal, select, tuple_

from caio.audit.ports import Mode
from caio.foundation.scope import TenantScope
from caio.gateway.ports import PastCall, PastUse
from caio.storage.sql.database import Database
from caio.storage.sql.tables import attempts, decisions, outcomes

#: Calls read at once: of a tenant with millions, others are served in between.
PAGE = 1_000


class SqlAdmissionRecords:
    """The ``AdmissionRecords`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, scope: TenantScope, since: int, period_start: int) -> PastUse:
        async with self._database.reading(scope) as connection:
            calls: list[PastCall] = []
            last, rows = (since, ""), PAGE
            while rows == PAGE:
                page = (await connection.execute(_calls(scope, last))).all()
                if (rows := len(page)) > 0:
                    between = page[0].decided_at, page[-1].decided_at
                    calls += _past_calls(page, (await connection.execute(_further_services(scope, *between))).all())
                    last = page[-1].decided_at, page[-1].decision_id
            spent = (await connection.execute(_spent(scope, period_start))).scalar_one()
        return PastUse(tuple(calls), int(spent or 0))


def _calls(scope: TenantScope, after: tuple[int, str]) -> Select[Any]:
    place = tuple_(decisions.c.decided_at, decisions.c.decision_id)
    columns = (outcomes.c.charged, outcomes.c.input_tokens, outcomes.c.output_tokens, outcomes.c.latency_ms)
    return (
        select(
            decisions.c.decision_id,
            decisions.c.principal_id,
            decisions.c.service_id,
            decisions.c.decided_at,
            decisions.c.reserved,
            decisions.c.most_cost,
            decisions.c.most_tokens,
            decisions.c.most_compute_ms,
            *columns,
        )
        .outerjoin_from(decisions, outcomes, _same(outcomes.c.tenant_id, outcomes.c.decision_id))
        .where(_admitted(scope), place > tuple_(literal(after[0]), literal(after[1])))
        .order_by(decisions.c.decided_at, decisions.c.decision_id)
        .limit(PAGE)
    )


def _further_services(scope: TenantScope, first: int, last: int) -> Select[Any]:
    return (
        select(attempts.c.decision_id, attempts.c.service_id, attempts.c.finished_at)
        .join_from(decisions, attempts, _same(attempts.c.tenant_id, attempts.c.decision_id))
        .where(_admitted(scope), decisions.c.decided_at.between(first, last), attempts.c.position > 0)
        .order_by(attempts.c.decision_id, attempts.c.position)
    )


def _spent(scope: TenantScope, period_start: int) -> Select[Any]:
    charged = select(func.sum(outcomes.c.charged)).where(outcomes.c.tenant_id == scope.tenant_id)
    if not period_start:
        return charged
    decided = decisions.c.decided_at >= period_start
    return charged.join(decisions, _same(outcomes.c.tenant_id, outcomes.c.decision_id)).where(decided)


def _same(tenant_id: ColumnElement[Any], decision_id: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(decisions.c.tenant_id == tenant_id, decisions.c.decision_id == decision_id)


def _admitted(scope: TenantScope) -> ColumnElement[bool]:
    return and_(
        decisions.c.tenant_id == scope.tenant_id, decisions.c.admitted, decisions.c.mode == Mode.ORCHESTRATE.value
    )


def _past_calls(calls: Sequence[Row[Any]], further: Sequence[Row[Any]]) -> list[PastCall]:
    later: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in further:
        later[row.decision_id].append((row.service_id, row.finished_at))
    return [_past_call(row, later.get(row.decision_id, ())) for row in calls]


def _past_call(row: Row[Any], later: Sequence[tuple[str, int]]) -> PastCall:
    if row.charged is None:
        tokens, compute_ms = row.most_tokens, row.most_compute_ms
    else:
        tokens, compute_ms = row.input_tokens + row.output_tokens, row.latency_ms
    return PastCall(
        decision_id=row.decision_id,
        principal_id=row.principal_id,
        decided_at=row.decided_at,
        services=((row.service_id, row.decided_at), *later),
        reserved=max(row.reserved, row.most_cost),
        charged=row.charged,
        tokens=tokens,
        compute_ms=compute_ms,
    )
