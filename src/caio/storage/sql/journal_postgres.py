"""Appending to the journal on PostgreSQL: one statement in one transaction, in the context of its tenants.

Theory of operation
-------------------
A batch is one statement of data-modifying WITH queries for each place that its tenants have (mostly one). The
transaction's context names exactly the batch's tenants, so that row-level security binds this path like every
other. Where tenants have databases of their own there is a transaction in each; all statements have succeeded
before the first commit. A statement's first part moves each tenant's row in ``journal_heads`` on by the number
of that tenant's leaves; the row's lock is held until the commit, so the leaves of one tenant become visible in
the order of their ``seq`` and without a gap, whatever other processes do. Rows are taken in the order of the
tenant ids, so two batches cannot deadlock. Foreign keys are checked at the statement's end, so a decision and
its outcome may come in one batch. A tenant's counts in ``observed`` are raised only once its head is locked
(they join with it), so they add no order of locks of their own.

Laws: those of ``journal_sqlite``. One thing differs: when the connection breaks while a commit is
under way, nobody knows whether it took effect, nor, in several databases, in which of them. ``append`` then
raises NotReady; appending the same leaves again tells, for a leaf that was written raises Conflict
``leaf_exists``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from caio.audit.ports import Leaf
from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql.database import Database
from caio.storage.sql.journal import SqlJournalReads
from caio.storage.sql.journal_rows import Batch, Row, batch_of, leaf_exists, leaf_orphaned, seqs_of
from caio.storage.sql.outage import is_outage, outages_are_not_ready
from caio.storage.sql.places import Place
from caio.storage.sql.postgres import bind_raw
from caio.storage.sql.row_security import APP

#: How long a batch waits for a tenant's own database, and how long it does not ask again, in seconds: that
#: tenant's trouble holds up the others' leaves for the former at most, once in the latter.
SILO_SECONDS = 2.0
AWAY_SECONDS = 30.0

# A leaf's seq is its tenant's new head less the leaf's distance from the end of the batch.
_APPEND = """
WITH heads AS (
    INSERT INTO journal_heads (tenant_id, next)
    SELECT tenant_id, leaves FROM unnest($1::text[], $2::bigint[]) AS counted (tenant_id, leaves)
    ORDER BY tenant_id COLLATE "C"
    ON CONFLICT (tenant_id) DO UPDATE SET next = journal_heads.next + excluded.next
    RETURNING tenant_id, next
),
leaves AS (
    INSERT INTO journal (tenant_id, seq, kind, subject_id, recorded_at, commitment, sealed)
    SELECT heads.tenant_id, heads.next - leaf.from_end, kind, subject_id, recorded_at, commitment, sealed
    FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::bytea[])
        AS leaf (from_end, tenant_id, kind, subject_id, recorded_at, commitment, sealed)
    JOIN heads ON heads.tenant_id = leaf.tenant_id
),
decided AS (
    INSERT INTO decisions (tenant_id, decision_id, decided_at, mode, capability, service_id, service_version,
                           principal_id, decision_hash, admitted, reserved,
                           most_cost, most_tokens, most_compute_ms)
    SELECT * FROM unnest($10::text[], $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[],
                         $16::text[], $17::text[], $18::text[], $19::boolean[], $20::bigint[],
                         $21::bigint[], $22::bigint[], $23::bigint[])
),
finished AS (
    INSERT INTO outcomes (tenant_id, decision_id, finished_at, status, service_id, latency_ms,
                          input_tokens, output_tokens, charged)
    SELECT * FROM unnest($24::text[], $25::text[], $26::bigint[], $27::text[], $28::text[], $29::bigint[],
                         $30::bigint[], $31::bigint[], $32::bigint[])
),
attempted AS (
    INSERT INTO attempts (tenant_id, decision_id, position, finished_at, service_id, succeeded,
                          latency_ms, version, streamed, breached)
    SELECT * FROM unnest($33::text[], $34::text[], $35::integer[], $36::bigint[], $37::text[], $38::boolean[],
                         $39::bigint[], $40::text[], $41::boolean[], $42::text[])
),
counted AS (
    INSERT INTO observed (tenant_id, service_id, version, hour, measure, bucket, calls)
    SELECT heads.tenant_id, service_id, version, hour, measure, bucket, calls
    FROM unnest($43::text[], $44::text[], $45::text[], $46::bigint[], $47::text[], $48::integer[], $49::bigint[])
        AS seen (tenant_id, service_id, version, hour, measure, bucket, calls)
    JOIN heads ON heads.tenant_id = seen.tenant_id
    ON CONFLICT (tenant_id, service_id, version, hour, measure, bucket)
        DO UPDATE SET calls = observed.calls + excluded.calls
),
answered AS (
    UPDATE idempotency SET sealed = answer.sealed
    FROM unnest($50::text[], $51::text[], $52::text[], $53::bytea[])
        AS answer (tenant_id, idempotency_key, decision_id, sealed)
    WHERE idempotency.tenant_id = answer.tenant_id
      AND idempotency.idempotency_key = answer.idempotency_key
      AND idempotency.decision_id = answer.decision_id
),
acted AS (
    INSERT INTO acts (tenant_id, act_id, kind, recorded_at, action, principal_id, subject)
    SELECT * FROM unnest($54::text[], $55::text[], $56::text[], $57::bigint[], $58::text[], $59::text[], $60::text[])
)
SELECT tenant_id, next FROM heads
"""


class PostgresJournal(SqlJournalReads):
    """The ``JournalStore`` port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._away: dict[str, float] = {}  # until when, by the monotonic clock

    async def append(self, leaves: Sequence[Leaf]) -> list[int]:
        """As the port says. Raises Conflict ``leaf_exists`` or ``leaf_orphaned`` when one of the leaves cannot
        be written (the others can be appended again without it), NotReady when the server does not answer, and
        NotReady ``tenant_database_away`` when one that a tenant has to itself does not: as for a conflict, the
        others can be appended without it."""
        if not leaves:
            return []
        try:
            with outages_are_not_ready():
                by_place = await self._by_place(leaves)
                heads: dict[str, int] = {}
                async with AsyncExitStack() as commits:
                    connections: dict[str, Any] = {}
                    for place, theirs in sorted(by_place.items()):
                        async with self._bounded(place.database):
                            server = await self._database.server(place)
                            batch = batch_of(theirs)
                            tenants = ",".join(tenant for tenant, _ in batch.counts)
                            context = server.context(APP, tenants, place.schema)
                            if place.database not in connections:
                                connections[place.database] = await commits.enter_async_context(server.journal(context))
                            else:
                                await bind_raw(connections[place.database], context)
                            heads.update(await connections[place.database].fetch(_APPEND, *_parameters(batch)))
        except asyncpg.UniqueViolationError as error:
            raise leaf_exists() from error
        except asyncpg.ForeignKeyViolationError as error:
            raise leaf_orphaned() from error
        except asyncpg.InterfaceError as error:
            raise NotReady("The connection to PostgreSQL broke; try again shortly.") from error
        return seqs_of([leaf.tenant_id for leaf in leaves], heads)

    @asynccontextmanager
    async def _bounded(self, silo: str) -> AsyncIterator[None]:
        """Wait briefly for a tenant's own database, and not at all while it is known to be away."""
        if not silo:
            yield
            return
        if time.monotonic() < self._away.get(silo, 0.0):
            raise _tenants_database_is_away()
        try:
            async with asyncio.timeout(SILO_SECONDS):
                yield
        except Exception as error:
            if isinstance(error, NotReady | Misconfigured | asyncpg.InterfaceError) or is_outage(error):
                self._away[silo] = time.monotonic() + AWAY_SECONDS
                raise _tenants_database_is_away() from error
            raise

    async def _by_place(self, leaves: Sequence[Leaf]) -> dict[Place, list[Leaf]]:
        found = {tenant: await self._database.place_of(tenant) for tenant in {leaf.tenant_id for leaf in leaves}}
        by_place: dict[Place, list[Leaf]] = {}
        for leaf in leaves:
            by_place.setdefault(found[leaf.tenant_id], []).append(leaf)
        return by_place


def _tenants_database_is_away() -> NotReady:
    return NotReady("The tenant's own database does not answer; try again shortly.", code="tenant_database_away")


def _parameters(batch: Batch) -> list[Sequence[Any]]:
    """The batch's columns, table by table, as the statement counts them."""
    remaining = dict(batch.counts)
    leaves: list[Row] = []
    for row in batch.journal:
        leaves.append((remaining[row[0]], *row))
        remaining[row[0]] -= 1
    return [
        *_columns(batch.counts, 2),
        *_columns(leaves, 7),
        *_columns(batch.decisions, 14),
        *_columns(batch.outcomes, 9),
        *_columns(batch.attempts, 10),
        *_columns(batch.counted(), 7),
        *_columns(batch.answers, 4),
        *_columns(batch.acts, 7),
    ]


def _columns(rows: Sequence[Row], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
