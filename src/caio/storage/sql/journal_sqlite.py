"""Appending to the journal on SQLite: one thread, one connection, raw statements.

Theory of operation
-------------------
All appends of a process run on the database's thread for writes, one after another, each as one BEGIN
IMMEDIATE transaction. The write lock makes reading a tenant's next ``seq`` and using it one step,
also against other processes. ``synchronous = FULL`` has the commit wait for the disk. Whatever else the
process writes takes turns with the appends (``Database.turns``).

Taking the write-ahead log into the file costs many times what a commit does. SQLite would do it within a commit,
and the callers of that one would wait; here a thread of its own does, while appends go on. Only what they add
meanwhile is taken in by the appending thread, so that the log is empty for a moment and begins anew.

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
from operator import itemgetter

import structlog

from caio.audit.ports import Leaf
from caio.foundation.errors import CaioError
from caio.storage.sql.database import Database
from caio.storage.sql.journal import SqlJournalReads
from caio.storage.sql.journal_rows import Batch, batch_of, leaf_exists, leaf_orphaned, seqs_of
from caio.storage.sql.sqlite_rows import RowWriter
from caio.storage.sql.sqlite_thread import SqliteThread

_logger = structlog.get_logger("caio.storage")

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

#: How much may be appended before the write-ahead log is taken into the file, in bytes of what is sealed, and what
#: the rest of a leaf adds to the log: a page or two.
CHECKPOINT_BYTES = 8_000_000
_LEAF_BYTES = 4_096

_KEEP_ANSWER = """
    UPDATE idempotency SET sealed = ?4
    WHERE tenant_id = ?1 AND idempotency_key = ?2 AND decision_id = ?3
"""


class SqliteJournal(SqlJournalReads):
    """The ``JournalStore`` port on SQLite."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._appended = 0
        self._checkpoints = SqliteThread(database.address.path, "caio-checkpoints")
        self._checkpointing: asyncio.Task[None] | None = None
        database.before_close(self._close)

    async def append(self, leaves: Sequence[Leaf]) -> list[int]:
        """As the port says. Raises Conflict ``leaf_exists`` or ``leaf_orphaned`` when one of the leaves cannot
        be written (the others can be appended again without it) and NotReady for a busy or full disk."""
        if not leaves:
            return []
        batch = batch_of(leaves)
        async with self._database.turns:
            seqs = await self._database.writes.run(lambda connection: _append(connection, batch))
        self._appended += sum([_LEAF_BYTES + len(leaf.sealed) for leaf in leaves])
        if self._appended >= CHECKPOINT_BYTES and self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint())
        return seqs

    async def _checkpoint(self) -> None:
        self._appended = 0
        try:
            await self._checkpoints.run(_take_in_the_log)
            async with self._database.turns:
                await self._database.writes.run(_take_in_the_log)
        except (CaioError, sqlite3.Error) as error:  # what was committed is safe in the log
            _logger.warning("the write-ahead log waits", error=str(error))
        finally:
            self._checkpointing = None

    async def _close(self) -> None:
        if self._checkpointing is not None:
            await self._checkpointing
        await self._checkpoints.close()


def _take_in_the_log(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _append(connection: sqlite3.Connection, batch: Batch) -> list[int]:
    try:
        return _write(connection, batch)
    except sqlite3.IntegrityError as error:
        orphaned = error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
        raise (leaf_orphaned() if orphaned else leaf_exists()) from error


def _write(connection: sqlite3.Connection, batch: Batch) -> list[int]:
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
        if batch.answers:
            connection.executemany(_KEEP_ANSWER, batch.answers)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return seqs
