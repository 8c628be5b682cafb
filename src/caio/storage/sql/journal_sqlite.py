"""Appending to the journal on SQLite: one thread, one connection, raw statements.

Theory of operation
-------------------
All appends of a process run on one dedicated thread, one after another, each as one BEGIN
IMMEDIATE transaction. The write lock makes reading a tenant's next ``seq`` and using it one step,
also against other processes. ``synchronous = FULL`` has the commit wait for the disk. What is
written of the trees takes turns with the appends on that thread: SQLite's lock knows no order, and a
busy journal would keep a second writer waiting for seconds.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- seq_is_gapless: per tenant, from 0, under any number of concurrent appenders and after SIGKILL.
- a_failed_append_writes_nothing: neither leaves nor projections nor counts nor kept answers nor places.
- acknowledged_leaves_survive_a_kill: whatever ``append`` returned is there after SIGKILL.

Cancelling a waiting ``append`` does not stop the thread: its leaves may still be written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter

from caio.audit.ports import Leaf
from caio.storage.sql import sqlite
from caio.storage.sql.database import Database
from caio.storage.sql.journal import SqlJournalReads
from caio.storage.sql.journal_rows import Batch, batch_of, leaf_exists, leaf_orphaned, seqs_of
from caio.storage.sql.outage import outages_are_not_ready
from caio.storage.sql.sqlite_rows import RowWriter

_HEADS = RowWriter(
    "journal_heads",
    "tenant_id, next",
    "ON CONFLICT (tenant_id) DO UPDATE SET next = next + excluded.next RETURNING tenant_id, next",
)
_LEAVES = RowWriter("journal", "seq, tenant_id, kind, subject_id, recorded_at, commitment, sealed")
_DECISIONS = RowWriter(
    "decisions",
    "tenant_id, decision_id, decided_at, mode, capability, service_id, service_version, "
    "principal_id, decision_hash, admitted, reserved, most_cost, most_tokens, most_compute_ms",
)
_OUTCOMES = RowWriter(
    "outcomes",
    "tenant_id, decision_id, finished_at, status, service_id, latency_ms, input_tokens, output_tokens, charged",
)
_ATTEMPTS = RowWriter(
    "attempts",
    "tenant_id, decision_id, position, finished_at, service_id, succeeded, latency_ms, version, streamed, breached",
)
_OBSERVED = RowWriter(
    "observed",
    "tenant_id, service_id, version, hour, measure, bucket, calls",
    "ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
)
_ACTS = RowWriter("acts", "tenant_id, act_id, kind, recorded_at, action, principal_id, subject")

_KEEP_ANSWER = """
    UPDATE idempotency SET sealed = ?4
    WHERE tenant_id = ?1 AND idempotency_key = ?2 AND decision_id = ?3
"""


class SqliteJournal(SqlJournalReads):
    """The ``JournalStore`` port on SQLite."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        #: Runs what is to be written, in the order of asking.
        self.writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caio-journal")
        self._connection: sqlite3.Connection | None = None
        database.before_close(self._close)

    async def append(self, leaves: Sequence[Leaf]) -> list[int]:
        """As the port says. Raises Conflict ``leaf_exists`` or ``leaf_orphaned`` when one of the leaves cannot
        be written (the others can be appended again without it) and NotReady for a busy or full disk."""
        if not leaves:
            return []
        return await asyncio.get_running_loop().run_in_executor(self.writes, self._append, batch_of(leaves))

    def _append(self, batch: Batch) -> list[int]:
        try:
            with outages_are_not_ready():
                return self._write(batch)
        except sqlite3.IntegrityError as error:
            orphaned = error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
            raise (leaf_orphaned() if orphaned else leaf_exists()) from error

    def _write(self, batch: Batch) -> list[int]:
        if self._connection is None:
            self._connection = sqlite.connect(self._database.address.path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            seqs = seqs_of([row[0] for row in batch.journal], dict(_HEADS.returning(connection, batch.counts)))
            leaves = [(seq, *row) for seq, row in zip(seqs, batch.journal, strict=True)]
            leaves.sort(key=itemgetter(1))  # a tenant's rows lie together: fewer pages are touched
            _LEAVES.write(connection, leaves)
            _DECISIONS.write(connection, batch.decisions)
            _OUTCOMES.write(connection, batch.outcomes)
            _ATTEMPTS.write(connection, batch.attempts)
            _OBSERVED.write(connection, batch.counted())
            _ACTS.write(connection, batch.acts)
            connection.executemany(_KEEP_ANSWER, batch.answers)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return seqs

    async def _close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self.writes, self._disconnect)
        self.writes.shutdown()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
