"""The sequencer's statements on SQLite: one thread, one connection, raw statements.

Sets of tenants and ranges go in as one JSON array, so that a thousand tenants cost as many
statements as one. A look that finds nothing takes no lock. Leases need not survive a power cut, so
claiming one does not wait for the disk; a head does, since a checkpoint that was seen must stay.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from caio.audit.merkle import EMPTY_ROOT, HASH_BYTES
from caio.audit.ports import Advance, Behind
from caio.storage.sql import sqlite
from caio.storage.sql.database import Database
from caio.storage.sql.log import PartialTiles, SqlLogReads, edge_places, tile_rows, unmoved
from caio.storage.sql.outage import outages_are_not_ready

_T = TypeVar("_T")

_STATE = """
    SELECT heads.tenant_id, coalesce(log.origin, ''), coalesce(log.size, 0), coalesce(log.root, :root),
           coalesce(log.checkpoint, ''), heads.next,
           log.tenant_id IS NULL OR log.holder = :holder OR log.leased_until <= :now
    FROM journal_heads AS heads LEFT JOIN log_heads AS log ON log.tenant_id = heads.tenant_id
"""

_BEHIND = (
    _STATE
    + """
    WHERE heads.next > coalesce(log.size, 0)
      AND (log.tenant_id IS NULL OR log.holder = :holder OR log.leased_until <= :now)
    ORDER BY coalesce(log.leased_until, 0), heads.tenant_id LIMIT :limit
"""
)

_BEHIND_ONE = _STATE + " WHERE heads.tenant_id = :tenant AND heads.next > coalesce(log.size, 0)"

_CLAIM = """
    INSERT INTO log_heads (tenant_id, origin, size, root, checkpoint, signed_at, holder, leased_until)
    VALUES (:tenant, '', 0, :root, '', 0, :holder, :until)
    ON CONFLICT (tenant_id) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until
"""

_FIRST_HEADS = """
    INSERT INTO log_heads (tenant_id, origin, size, root, checkpoint, signed_at, holder, leased_until)
    VALUES (?, '', 0, ?, '', 0, ?, 0) ON CONFLICT (tenant_id) DO NOTHING
"""

_SIZES = "SELECT tenant_id, size FROM log_heads WHERE tenant_id IN (SELECT value FROM json_each(?))"

_ADVANCE = """
    UPDATE log_heads SET origin = ?, size = ?, root = ?, checkpoint = ?, signed_at = ? WHERE tenant_id = ?
"""

_KEEP_TILE = """
    INSERT INTO log_tiles (tenant_id, level, position, hashes) VALUES (?, ?, ?, ?)
    ON CONFLICT (tenant_id, level, position) DO UPDATE SET hashes = excluded.hashes
"""

# CROSS JOIN has SQLite take the ranges first (https://www.sqlite.org/optoverview.html#crossjoin).
_COMMITMENTS = """
    SELECT wanted.key, journal.seq, journal.commitment FROM json_each(?) AS wanted CROSS JOIN journal
    WHERE journal.tenant_id = json_extract(wanted.value, '$[0]')
      AND journal.seq >= json_extract(wanted.value, '$[1]') AND journal.seq < json_extract(wanted.value, '$[2]')
    ORDER BY wanted.key, journal.seq
"""

_EDGES = """
    SELECT tile.tenant_id, tile.level, substr(tile.hashes, 1, json_extract(wanted.value, '$[3]')),
           json_extract(wanted.value, '$[3]')
    FROM json_each(?) AS wanted CROSS JOIN log_tiles AS tile
    WHERE tile.tenant_id = json_extract(wanted.value, '$[0]')
      AND tile.level = json_extract(wanted.value, '$[1]') AND tile.position = json_extract(wanted.value, '$[2]')
"""

_RELEASE = "UPDATE log_heads SET holder = '', leased_until = 0 WHERE holder = ?"


class SqliteLog(SqlLogReads):
    """The ``LogStore`` port on SQLite. Raises NotReady for a busy or full disk."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caio-log")
        self._open: sqlite3.Connection | None = None
        database.before_close(self._close)

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        asked = {"holder": holder, "now": now, "root": EMPTY_ROOT, "limit": limit}
        return await self._run(lambda: self._claim(_BEHIND, asked, until))

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        asked = {"holder": holder, "now": now, "root": EMPTY_ROOT, "tenant": tenant_id}
        found = await self._run(lambda: self._claim(_BEHIND_ONE, asked, until))
        return found[0] if found else None

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        rows = await self._run(lambda: self._connection().execute(_COMMITMENTS, (json.dumps(ranges),)).fetchall())
        found: defaultdict[int, list[bytes]] = defaultdict(list)
        broken = set()
        for number, seq, commitment in rows:
            if seq != ranges[number][1] + len(found[number]) or len(commitment) != HASH_BYTES:
                broken.add(number)
            found[number].append(commitment)
        return {
            tenant: found[number]
            for number, (tenant, start, end) in enumerate(ranges)
            if number not in broken and len(found[number]) == end - start
        }

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        return await self._run(lambda: self._advance(holder, advances))

    async def edges(self, logs: Sequence[tuple[str, int]]) -> PartialTiles:
        wanted = json.dumps([place for tenant, size in logs for place in edge_places(tenant, size)])
        rows = await self._run(lambda: self._connection().execute(_EDGES, (wanted,)).fetchall())
        found: PartialTiles = {tenant: {} for tenant, _ in logs}
        for tenant, level, hashes, length in rows:
            if len(hashes) == length:
                found[tenant][level] = hashes
        return found

    async def release(self, holder: str) -> None:
        await self._run(lambda: self._connection().execute(_RELEASE, (holder,)))

    def _claim(self, query: str, asked: dict[str, object], until: int) -> list[Behind]:
        if not self._connection().execute(query, asked).fetchone():
            return []
        with self._writing(durable=False) as connection:
            found = [_behind(*row) for row in connection.execute(query, asked).fetchall()]
            lease = {"holder": asked["holder"], "root": EMPTY_ROOT, "until": until}
            connection.executemany(_CLAIM, [{"tenant": each.tenant_id, **lease} for each in found if each.leased])
        return found

    def _advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        first = [(each.head.tenant_id, EMPTY_ROOT, holder) for each in advances if each.old_size == 0]
        names = json.dumps([each.head.tenant_id for each in advances])
        with self._writing(durable=True) as connection:
            connection.executemany(_FIRST_HEADS, first)
            kept = unmoved(advances, dict(connection.execute(_SIZES, (names,)).fetchall()))
            heads = [each.head for each in kept]
            connection.executemany(
                _ADVANCE, [(h.origin, h.size, h.root, h.checkpoint, h.signed_at, h.tenant_id) for h in heads]
            )
            connection.executemany(_KEEP_TILE, tile_rows(kept))
        return {head.tenant_id for head in heads}

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    async def _run(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with outages_are_not_ready():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = sqlite.connect(self._database.address.path)
        return self._open

    async def _close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def _disconnect(self) -> None:
        if self._open is not None:
            self._open.close()


def _behind(tenant_id: str, origin: str, size: int, root: bytes, checkpoint: str, upcoming: int, leased: int) -> Behind:
    return Behind(tenant_id, origin, size, root, checkpoint, upcoming, bool(leased))
