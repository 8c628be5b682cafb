"""The sums of what was observed; the counts are written by the journal, with the attempts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.observed import Counted
from caio.storage.sql.database import Database
from caio.storage.sql.tables import observed


class SqlObservedHours:
    """The ``ObservedHours`` port. A sum walks the primary key from ``since`` on, and nothing else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, scope: TenantScope, service_id: str, version: str, since: int) -> Sequence[Counted]:
        query = (
            select(observed.c.measure, observed.c.bucket, func.sum(observed.c.calls))
            .where(
                observed.c.tenant_id == scope.tenant_id,
                observed.c.service_id == service_id,
                observed.c.version == version,
                observed.c.hour >= since,
            )
            .group_by(observed.c.measure, observed.c.bucket)
        )
        async with self._database.reading(scope) as connection:
            rows = (await connection.execute(query)).all()
        return [Counted(measure, bucket, int(calls)) for measure, bucket, calls in rows]

    async def forget(self, before: int) -> None:
        for place in await self._database.places():
            async with self._database.writing(PlatformScope("retention"), place) as connection:
                await connection.execute(delete(observed).where(observed.c.hour < before))
