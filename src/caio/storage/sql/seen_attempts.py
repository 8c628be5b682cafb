"""Counts of finished attempts, for histories that several processes share."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, case, func, not_, select

from caio.foundation.scope import TenantScope
from caio.registry.ports import Seen
from caio.storage.sql.database import Database
from caio.storage.sql.tables import attempts


class SqlSeenAttempts:
    """The ``SeenAttempts`` port: the rows are grouped where they are, along the index on their time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, scope: TenantScope, since: int, slice_length: int) -> Sequence[Seen]:
        columns = (
            attempts.c.service_id,
            (attempts.c.finished_at - attempts.c.finished_at % slice_length).label("slice_start"),
            case((and_(attempts.c.succeeded, attempts.c.breached == ""), 1), else_=0).label("good"),
            case((and_(attempts.c.succeeded, not_(attempts.c.streamed)), attempts.c.latency_ms)).label("whole_ms"),
        )
        query = (
            select(*columns, func.count().label("calls"))
            .where(attempts.c.tenant_id == scope.tenant_id, attempts.c.finished_at >= since)
            .group_by("service_id", "slice_start", "good", "whole_ms")
            .order_by("slice_start")
        )
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query)).all()
        return [Seen(row.service_id, row.slice_start, bool(row.good), row.whole_ms, row.calls) for row in rows]
