"""The Merkle trees on SQLite: raw statements. Readers, the sequencer's reads, and its writes each have a
connection of their own, so that none waits for another; the writes take turns with the journal's, on
its thread.

Sets of tenants and ranges go in as one JSON array, so that a thousand tenants cost as many
statements as one. A look that finds nothing takes no lock. Leases need not survive a power cut, so
claiming one does not wait for the disk; a head does, since a checkpoint that was seen must stay.

What may be thousands of rows is read as one value and written many rows a statement, for the reason
that ``sqlite_rows`` gives: every step waits for the interpreter's lock.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from caio.audit.merkle import EMPTY_ROOT, HASH_BYTES
from caio.audit.ports import Advance, Behind, LogHead
from caio.audit.tiles import HEIGHT, WIDTH
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.log import PartialTiles, edge_places, head_of, tile_of, tile_rows, unmoved
from caio.storage.sql.sqlite_rows import RowWriter
from caio.storage.sql.sqlite_thread import SqliteThread

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

_COLUMNS = "tenant_id, origin, size, root, checkpoint, signed_at, holder, leased_until"
_LEASES = RowWriter(
    "log_heads",
    _COLUMNS,
    "ON CONFLICT (tenant_id) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until",
)
_FIRST_HEADS = RowWriter("log_heads", _COLUMNS, "ON CONFLICT (tenant_id) DO NOTHING")
_HEADS_GROWN = RowWriter(
    "log_heads",
    _COLUMNS,
    "ON CONFLICT (tenant_id) DO UPDATE SET origin = excluded.origin, size = excluded.size, root = excluded.root, "
    "checkpoint = excluded.checkpoint, signed_at = excluded.signed_at",
)
_TILES_KEPT = RowWriter(
    "log_tiles",
    "tenant_id, level, position, hashes",
    "ON CONFLICT (tenant_id, level, position) DO UPDATE SET hashes = excluded.hashes",
)

_SIZES = "SELECT json_group_object(tenant_id, size) FROM log_heads WHERE tenant_id IN (SELECT value FROM json_each(?))"

# CROSS JOIN has SQLite take the ranges first (https://www.sqlite.org/optoverview.html#crossjoin). Each leaf
# comes with its range's number and its seq, so that nothing rests on the order of what is joined.
_COMMITMENTS = """
    SELECT group_concat(printf('%08x%016x%s', wanted.key, journal.seq, hex(journal.commitment)), '')
    FROM json_each(?) AS wanted CROSS JOIN journal
    WHERE journal.tenant_id = json_extract(wanted.value, '$[0]')
      AND journal.seq >= json_extract(wanted.value, '$[1]') AND journal.seq < json_extract(wanted.value, '$[2]')
      AND length(journal.commitment) = 32
"""
_RANGE_BYTES, _SEQ_BYTES = 4, 8
_LEAF_BYTES = _RANGE_BYTES + _SEQ_BYTES + HASH_BYTES

_EDGES = """
    SELECT tile.tenant_id, tile.level, substr(tile.hashes, 1, json_extract(wanted.value, '$[3]')),
           json_extract(wanted.value, '$[3]')
    FROM json_each(?) AS wanted CROSS JOIN log_tiles AS tile
    WHERE tile.tenant_id = json_extract(wanted.value, '$[0]')
      AND tile.level = json_extract(wanted.value, '$[1]') AND tile.position = json_extract(wanted.value, '$[2]')
"""

_HEAD = """
    SELECT tenant_id, origin, size, root, checkpoint, signed_at FROM log_heads
    WHERE tenant_id = ? AND checkpoint <> ''
"""

_HEADS = """
    SELECT tenant_id, origin, size, root, checkpoint, signed_at FROM log_heads
    WHERE tenant_id > ? AND checkpoint <> '' ORDER BY tenant_id LIMIT ?
"""

# Tiles by level and position; and, as of level -1, the leaves of level 0's partial tile, if that is wanted.
_TILES = """
    SELECT tile.level, tile.position, tile.hashes FROM json_each(:wanted) AS wanted CROSS JOIN log_tiles AS tile
    WHERE tile.tenant_id = :tenant
      AND tile.level = json_extract(wanted.value, '$[0]') AND tile.position = json_extract(wanted.value, '$[1]')
    UNION ALL
    SELECT -1, journal.seq, journal.commitment FROM log_heads AS log CROSS JOIN journal
    WHERE log.tenant_id = :tenant AND log.size / 256 IN (SELECT value FROM json_each(:bundles))
      AND journal.tenant_id = :tenant AND journal.seq >= log.size - log.size % 256 AND journal.seq < log.size
    ORDER BY 1, 2
"""

_RELEASE = "UPDATE log_heads SET holder = '', leased_until = 0 WHERE holder = ?"


class SqliteLog:
    """The ``LogStore`` port on SQLite. Raises NotReady for a busy or full disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sequencers = SqliteThread(database.address.path, "caio-log")
        self._reader = SqliteThread(database.address.path, "caio-log-reads")
        database.before_close(self._close)

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        asked = {"holder": holder, "now": now, "root": EMPTY_ROOT, "limit": limit}
        return await self._claim(_BEHIND, asked, until)

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        asked = {"holder": holder, "now": now, "root": EMPTY_ROOT, "tenant": tenant_id}
        found = await self._claim(_BEHIND_ONE, asked, until)
        return found[0] if found else None

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        ((joined,),) = await _fetched(self._sequencers, _COMMITMENTS, (json.dumps(ranges),))
        return _without_gaps(ranges, bytes.fromhex(joined or ""))

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        return await self._write(lambda connection: _advance(connection, holder, advances))

    async def edges(self, logs: Sequence[tuple[str, int]]) -> PartialTiles:
        wanted = json.dumps([place for tenant, size in logs for place in edge_places(tenant, size)])
        rows = await _fetched(self._sequencers, _EDGES, (wanted,))
        found: PartialTiles = {tenant: {} for tenant, _ in logs}
        for tenant, level, hashes, length in rows:
            if len(hashes) == length:
                found[tenant][level] = hashes
        return found

    async def release(self, holder: str) -> None:
        await self._write(lambda connection: connection.execute(_RELEASE, (holder,)))

    async def heads(self, after: str, limit: int) -> list[LogHead]:
        return [head_of(row) for row in await _fetched(self._reader, _HEADS, (after, limit))]

    async def head(self, scope: TenantScope) -> LogHead | None:
        found = await _fetched(self._reader, _HEAD, (scope.tenant_id,))
        return head_of(found[0]) if found else None

    async def tiles(self, scope: TenantScope, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self.tiles_of(scope.tenant_id, wanted)

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        bundles = [position for level, position in wanted if level == 0]
        asked = {"tenant": tenant_id, "wanted": json.dumps(list(wanted)), "bundles": json.dumps(bundles)}
        rows = await _fetched(self._reader, _TILES, asked)
        found = {(level, position): hashes for level, position, hashes in rows if level >= 0}
        leaves = [(seq, commitment) for level, seq, commitment in rows if level < 0]
        if leaves:
            first = leaves[0][0]
            if first % WIDTH == 0 and leaves[-1][0] - first == len(leaves) - 1:  # no leaf is missing
                found[0, first >> HEIGHT] = tile_of([commitment for _, commitment in leaves])
        return found

    async def _claim(self, query: str, asked: Mapping[str, object], until: int) -> list[Behind]:
        if not await _fetched(self._sequencers, query, asked):
            return []
        return await self._write(lambda connection: _claim(connection, query, asked, until))

    async def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        async with self._database.turns:
            return await self._database.writes.run(work)

    async def _close(self) -> None:
        await self._reader.close()
        await self._sequencers.close()


async def _fetched(thread: SqliteThread, query: str, asked: Sequence[object] | Mapping[str, object]) -> list[Any]:
    return await thread.run(lambda connection: connection.execute(query, asked).fetchall())


@contextmanager
def _writing(connection: sqlite3.Connection, *, durable: bool) -> Iterator[None]:
    if not durable:
        connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        if not durable:
            connection.execute("PRAGMA synchronous = FULL")


def _claim(connection: sqlite3.Connection, query: str, asked: Mapping[str, object], until: int) -> list[Behind]:
    with _writing(connection, durable=False):
        found = [_behind(*row) for row in connection.execute(query, asked).fetchall()]
        lease = (0, asked["holder"], until)
        _LEASES.write(connection, [(each.tenant_id, "", 0, EMPTY_ROOT, "", *lease) for each in found if each.leased])
    return found


def _advance(connection: sqlite3.Connection, holder: str, advances: Sequence[Advance]) -> set[str]:
    first = [(each.head.tenant_id, "", 0, EMPTY_ROOT, "", 0, holder, 0) for each in advances if each.old_size == 0]
    names = json.dumps([each.head.tenant_id for each in advances])
    with _writing(connection, durable=True):
        _FIRST_HEADS.write(connection, first)
        ((sizes,),) = connection.execute(_SIZES, (names,)).fetchall()
        kept = unmoved(advances, json.loads(sizes))
        heads = [each.head for each in kept]
        _HEADS_GROWN.write(
            connection,
            [(h.tenant_id, h.origin, h.size, h.root, h.checkpoint, h.signed_at, holder, 0) for h in heads],
        )
        _TILES_KEPT.write(connection, tile_rows(kept))
    return {head.tenant_id for head in heads}


def _without_gaps(ranges: Sequence[tuple[str, int, int]], joined: bytes) -> dict[str, list[bytes]]:
    """The commitments of each range that has one for every seq."""
    leaves = [joined[at : at + _LEAF_BYTES] for at in range(0, len(joined), _LEAF_BYTES)]
    leaves.sort()
    found: dict[str, list[bytes]] = {}
    head = _RANGE_BYTES + _SEQ_BYTES
    at = 0
    for number, (tenant, start, end) in enumerate(ranges):
        own = number.to_bytes(_RANGE_BYTES, "big")
        after = bisect_left(leaves, (number + 1).to_bytes(_RANGE_BYTES, "big"), at)
        first, last = (own + seq.to_bytes(_SEQ_BYTES, "big") for seq in (start, end - 1))
        part, at = leaves[at:after], after
        # A seq occurs once: as many as there should be, from the first to the last, leave no gap.
        if len(part) == end - start and (not part or (part[0].startswith(first) and part[-1].startswith(last))):
            found[tenant] = [leaf[head:] for leaf in part]
    return found


def _behind(tenant_id: str, origin: str, size: int, root: bytes, checkpoint: str, upcoming: int, leased: int) -> Behind:
    return Behind(tenant_id, origin, size, root, checkpoint, upcoming, bool(leased))
