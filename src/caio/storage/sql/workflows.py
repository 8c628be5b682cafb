"""Runs of workflows in SQL: what was asked for, how far each is, and who carries it out.

Theory of operation
-------------------
An open run has a lease: whoever claims it renews that, and is the only one to write what becomes of it, since every
such write first touches the run's row where it still names the writer. That also puts a run's events in a row:
their numbers are given behind the row's lock. What a killed process held is everybody's when its lease ends. A
claim takes tenants in turn, so that nobody's backlog delays another's first run.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- a_leased_run_is_nobody_elses: until the lease ends, or is released.
- who_lost_a_run_writes_nothing_of_it.
- tenants_are_claimed_in_turn: each up to its share.
- one_key_begins_one_run: of concurrent ones too.
- no_tenant_has_more_open_runs_than_it_may: exactly.
- events_are_numbered_without_a_gap.
- what_has_not_ended_is_never_forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.gateway.workflows.ports import Event, News, Run, RunStatus, StepRun, StepStatus
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.places import Place
from caio.storage.sql.statements import conflict_aware_insert
from caio.storage.sql.tables import retention
from caio.storage.sql.tables_calls import workflow_events, workflow_runs, workflow_steps
from caio.storage.sql.tables_tenancy import tenants

_CARRYING = PlatformScope("runs of workflows")

_DAY = 86_400 * 1_000_000

_RUN = tuple(column for column in workflow_runs.columns)
_KEY = tuple_(workflow_runs.c.tenant_id, workflow_runs.c.run_id)


class SqlWorkflows:
    """The ``WorkflowStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- of whoever asks ----------------------------------------------------------------------

    async def add(self, scope: TenantScope, run: Run, most_open: int, news: News, leaf: Leaf) -> Run:
        open_runs = (
            select(func.count())
            .select_from(workflow_runs)
            .where(workflow_runs.c.tenant_id == scope.tenant_id, workflow_runs.c.leased_until.is_not(None))
        )
        async with self._database.writing(scope) as connection:
            # Begun one after another, so that a tenant's open runs, and the run of a key, are exact.
            tenant = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
            await connection.execute(tenant.with_for_update(key_share=True))
            if run.key_name is not None and (known := await _of_key(connection, scope, run.key_name)) is not None:
                return known
            if (await connection.execute(open_runs)).scalar_one() >= most_open:
                message = f"a tenant may have {most_open} runs that have not ended; wait for one, or cancel one"
                raise Conflict(message, code="quota_exceeded")
            await connection.execute(insert(workflow_runs).values(_row(run)))
            await _tell(connection, scope, run.run_id, run.created_at, news)
            await append_within(connection, leaf)
        return run

    async def get(self, scope: TenantScope, run_id: str) -> Run:
        async with self._database.reading(scope) as connection:
            return await _found(connection, scope, run_id)

    async def page(self, scope: TenantScope, principal_id: str | None, before: str | None, limit: int) -> Sequence[Run]:
        query = select(*_RUN).where(workflow_runs.c.tenant_id == scope.tenant_id)
        if principal_id is not None:
            query = query.where(workflow_runs.c.principal_id == principal_id)
        if before is not None:
            query = query.where(workflow_runs.c.run_id < before)
        async with self._database.reading(scope) as connection:
            rows = await connection.execute(query.order_by(workflow_runs.c.run_id.desc()).limit(limit))
            return [_run(row) for row in rows]

    async def steps(self, scope: TenantScope, run_id: str) -> Sequence[StepRun]:
        query = select(workflow_steps).where(_of(workflow_steps, scope, run_id))
        async with self._database.reading(scope) as connection:
            rows = await connection.execute(query.order_by(workflow_steps.c.started_at, workflow_steps.c.step))
            return [_step(row) for row in rows]

    async def events(self, scope: TenantScope, run_id: str, after: int, limit: int) -> Sequence[Event]:
        query = (
            select(workflow_events)
            .where(_of(workflow_events, scope, run_id), workflow_events.c.seq > after)
            .order_by(workflow_events.c.seq)
            .limit(limit)
        )
        async with self._database.reading(scope) as connection:
            rows = await connection.execute(query)
            return [Event(row.seq, row.at, row.kind, msgspec.json.decode(row.document)) for row in rows]

    async def ask_to_cancel(self, scope: TenantScope, run_id: str, now: int, news: News, leaf: Leaf) -> Run:
        open_states = (RunStatus.QUEUED.value, RunStatus.RUNNING.value)
        change = (
            update(workflow_runs)
            .where(_of(workflow_runs, scope, run_id), workflow_runs.c.status.in_(open_states))
            .values(status=RunStatus.CANCELLING.value, updated_at=now)
        )
        async with self._database.writing(scope) as connection:
            changed = (await connection.execute(change)).rowcount
            found = await _found(connection, scope, run_id)
            if changed:
                await _tell(connection, scope, run_id, now, news)
                await append_within(connection, leaf)
        return found

    # --- of whoever carries runs out ----------------------------------------------------------

    async def claim(
        self, owner: str, now: int, until: int, limit: int, shares: Mapping[str, int], share: int, *, alone: bool
    ) -> Sequence[tuple[str, str]]:
        claimed: list[tuple[str, str]] = []
        for place in await self._database.places():
            if len(claimed) < limit:
                left = limit - len(claimed)
                claimed += await self._claim(place, owner, now, until, left, shares, share, alone=alone)
        return claimed

    async def _claim(
        self,
        place: Place,
        owner: str,
        now: int,
        until: int,
        limit: int,
        shares: Mapping[str, int],
        share: int,
        *,
        alone: bool,
    ) -> Sequence[tuple[str, str]]:
        free = _free(owner, now, alone=alone)
        full = [tenant for tenant, left in shares.items() if left <= 0]
        turn = func.row_number().over(
            partition_by=workflow_runs.c.tenant_id, order_by=(workflow_runs.c.created_at, workflow_runs.c.run_id)
        )
        due = select(workflow_runs.c.tenant_id, workflow_runs.c.run_id, workflow_runs.c.created_at, turn.label("turn"))
        waiting = due.where(free, workflow_runs.c.tenant_id.not_in(full)).subquery()
        query = (
            select(waiting.c.tenant_id, waiting.c.run_id)
            .where(waiting.c.turn <= share)
            .order_by(waiting.c.turn, waiting.c.created_at)
            .limit(limit + share * len(shares))
        )
        async with self._database.reading(_CARRYING, place) as connection:
            seen = [(row.tenant_id, row.run_id) for row in await connection.execute(query)]
        taken: Counter[str] = Counter()
        wanted: list[tuple[str, str]] = []
        for tenant, run in seen:
            if len(wanted) < limit and taken[tenant] < shares.get(tenant, share):
                taken[tenant] += 1
                wanted.append((tenant, run))
        if not wanted:
            return []  # asked first, so that an idle process takes no write lock
        take = (
            update(workflow_runs)
            .where(_KEY.in_(wanted), free)
            .values(owner=owner, leased_until=until)
            .returning(workflow_runs.c.tenant_id, workflow_runs.c.run_id)
        )
        async with self._database.writing(_CARRYING, place) as connection:
            return [(row.tenant_id, row.run_id) for row in await connection.execute(take)]

    async def renew(self, owner: str, until: int) -> Mapping[str, RunStatus]:
        change = (
            update(workflow_runs)
            .where(workflow_runs.c.owner == owner, workflow_runs.c.leased_until.is_not(None))
            .values(leased_until=until)
            .returning(workflow_runs.c.run_id, workflow_runs.c.status)
        )
        held: dict[str, RunStatus] = {}
        for place in await self._database.places():
            async with self._database.writing(_CARRYING, place) as connection:
                held |= {row.run_id: RunStatus(row.status) for row in await connection.execute(change)}
        return held

    async def release(self, owner: str, at: int, run_ids: Collection[str] | None = None) -> None:
        mine = [workflow_runs.c.owner == owner, workflow_runs.c.leased_until.is_not(None)]
        if run_ids is not None:
            mine.append(workflow_runs.c.run_id.in_(run_ids))
        change = update(workflow_runs).where(*mine).values(owner="", leased_until=at)
        for place in await self._database.places():
            async with self._database.writing(_CARRYING, place) as connection:
                await connection.execute(change)

    async def tenant_of(self, run_id: str) -> str | None:
        query = select(workflow_runs.c.tenant_id).where(
            workflow_runs.c.run_id == run_id, workflow_runs.c.leased_until.is_not(None)
        )
        for place in await self._database.places():
            async with self._database.reading(_CARRYING, place) as connection:
                found: str | None = (await connection.execute(query)).scalar_one_or_none()
            if found is not None:
                return found
        return None

    async def attend(self, scope: TenantScope, run_id: str, owner: str, now: int, until: int, news: News) -> Run | None:
        mine = _of(workflow_runs, scope, run_id)
        take = (
            update(workflow_runs)
            .where(mine, workflow_runs.c.leased_until.is_not(None))
            .values(owner=owner, leased_until=until, updated_at=now)
        )
        begin = (
            update(workflow_runs)
            .where(mine, workflow_runs.c.status == RunStatus.QUEUED.value)
            .values(status=RunStatus.RUNNING.value)
        )
        async with self._database.writing(scope) as connection:
            if not (await connection.execute(take)).rowcount:
                return None
            if (await connection.execute(begin)).rowcount:
                await _tell(connection, scope, run_id, now, news)
            return await _found(connection, scope, run_id)

    async def begin_step(self, scope: TenantScope, run_id: str, owner: str, step: StepRun, news: News) -> StepRun:
        known = select(workflow_steps).where(_of(workflow_steps, scope, run_id), workflow_steps.c.step == step.step)
        async with self._database.writing(scope) as connection:
            await _hold(connection, scope, run_id, owner, step.started_at)
            if (row := (await connection.execute(known)).first()) is not None:
                if row.status == StepStatus.RUNNING.value:
                    await _tell(connection, scope, run_id, step.started_at, News("step.resumed", news.document))
                return _step(row)
            await connection.execute(insert(workflow_steps).values(_step_row(scope, run_id, step)))
            await _tell(connection, scope, run_id, step.started_at, news)
        return step

    async def end_step(self, scope: TenantScope, run_id: str, owner: str, step: StepRun, news: News) -> None:
        row, now = _step_row(scope, run_id, step), step.finished_at or step.started_at
        async with self._database.writing(scope) as connection:
            await _hold(connection, scope, run_id, owner, now)
            write = conflict_aware_insert(self._database, workflow_steps, row)
            changed = {name: write.excluded[name] for name in row if name not in {"tenant_id", "run_id", "step"}}
            write = write.on_conflict_do_update(index_elements=list(workflow_steps.primary_key.columns), set_=changed)
            await connection.execute(write)
            await _tell(connection, scope, run_id, now, news)

    async def end_run(self, scope: TenantScope, run: Run, owner: str, news: News, leaf: Leaf) -> None:
        async with self._database.writing(scope) as connection:
            await _hold(connection, scope, run.run_id, owner, run.updated_at)
            await connection.execute(
                update(workflow_runs)
                .where(_of(workflow_runs, scope, run.run_id))
                .values(
                    status=run.status.value,
                    code=run.code,
                    sealed_result=run.sealed_result,
                    owner="",
                    leased_until=None,
                    updated_at=run.updated_at,
                )
            )
            await _tell(connection, scope, run.run_id, run.updated_at, news)
            await append_within(connection, leaf)

    async def forget(self, now: int, before: int, limit: int) -> int:
        forgotten = 0
        own_days = exists().where(
            retention.c.tenant_id == workflow_runs.c.tenant_id,
            workflow_runs.c.updated_at < now - retention.c.days * _DAY,
        )
        over = select(workflow_runs.c.tenant_id, workflow_runs.c.run_id).where(
            workflow_runs.c.leased_until.is_(None), or_(workflow_runs.c.updated_at < before, own_days)
        )
        for place in await self._database.places():
            async with self._database.reading(_CARRYING, place) as connection:
                found = [(row.tenant_id, row.run_id) for row in await connection.execute(over.limit(limit))]
            if not found:
                continue
            async with self._database.writing(_CARRYING, place) as connection:
                for table in (workflow_events, workflow_steps, workflow_runs):
                    await connection.execute(delete(table).where(tuple_(table.c.tenant_id, table.c.run_id).in_(found)))
            forgotten += len(found)
        return forgotten


def _free(owner: str, now: int, *, alone: bool) -> ColumnElement[bool]:
    """Open runs that nobody carries out."""
    expired = workflow_runs.c.leased_until <= now
    another = workflow_runs.c.owner.not_in((owner, ""))
    return and_(workflow_runs.c.leased_until.is_not(None), or_(expired, another) if alone else expired)


async def _hold(connection: AsyncConnection, scope: TenantScope, run_id: str, owner: str, now: int) -> None:
    """Lock the run's row for its owner. Raises Conflict ``run_lost``."""
    touch = (
        update(workflow_runs)
        .where(
            _of(workflow_runs, scope, run_id), workflow_runs.c.owner == owner, workflow_runs.c.leased_until.is_not(None)
        )
        .values(updated_at=now)
    )
    if not (await connection.execute(touch)).rowcount:
        raise Conflict("this run is carried out by another process by now, or has ended", code="run_lost")


async def _tell(connection: AsyncConnection, scope: TenantScope, run_id: str, now: int, news: News) -> None:
    """Write an event behind the run's others; the transaction has written the run's row before."""
    last = select(func.coalesce(func.max(workflow_events.c.seq), 0)).where(_of(workflow_events, scope, run_id))
    row = {
        "tenant_id": scope.tenant_id,
        "run_id": run_id,
        "seq": (await connection.execute(last)).scalar_one() + 1,
        "at": now,
        "kind": news.kind,
        "document": msgspec.json.encode(news.document).decode(),
    }
    await connection.execute(insert(workflow_events).values(row))


async def _found(connection: AsyncConnection, scope: TenantScope, run_id: str) -> Run:
    row = (await connection.execute(select(*_RUN).where(_of(workflow_runs, scope, run_id)))).first()
    if row is None:
        raise NotFound("there is no such run")
    return _run(row)


async def _of_key(connection: AsyncConnection, scope: TenantScope, key_name: str) -> Run | None:
    query = select(*_RUN).where(workflow_runs.c.tenant_id == scope.tenant_id, workflow_runs.c.key_name == key_name)
    row = (await connection.execute(query)).first()
    return None if row is None else _run(row)


def _of(table: Any, scope: TenantScope, run_id: str) -> ColumnElement[bool]:
    return and_(table.c.tenant_id == scope.tenant_id, table.c.run_id == run_id)


def _row(run: Run) -> dict[str, Any]:
    return {column.name: getattr(run, column.name) for column in _RUN} | {"status": run.status.value}


def _run(row: Row[Any]) -> Run:
    fields = dict(row._mapping)
    result = fields["sealed_result"]
    return Run(
        **fields
        | {
            "status": RunStatus(fields["status"]),
            "sealed": bytes(fields["sealed"]),
            "sealed_result": None if result is None else bytes(result),
        }
    )


def _step_row(scope: TenantScope, run_id: str, step: StepRun) -> dict[str, Any]:
    names = [column.name for column in workflow_steps.columns if column.name not in {"tenant_id", "run_id"}]
    row = {name: getattr(step, name) for name in names}
    return row | {"tenant_id": scope.tenant_id, "run_id": run_id, "status": step.status.value}


def _step(row: Row[Any]) -> StepRun:
    return StepRun(
        step=row.step,
        status=StepStatus(row.status),
        code=row.code,
        decision_id=row.decision_id,
        service_id=row.service_id,
        charged=row.charged,
        started_at=row.started_at,
        finished_at=row.finished_at,
        sealed=None if row.sealed is None else bytes(row.sealed),
    )
