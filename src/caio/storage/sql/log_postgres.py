"""The Merkle trees on PostgreSQL: raw asyncpg over connections of their own, so that the journal never
waits for the sequencer or for readers.

Sets of tenants, ranges and tiles go in as arrays, so that a thousand tenants cost as many round
trips as one. Rows of ``log_heads`` are locked in the order of the tenant ids, by claims and by
advances alike, so two sequencers do not deadlock. An advance holds its rows' locks from the look at
their sizes to its commit: what was compared is still so when it is swapped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from caio.audit.merkle import EMPTY_ROOT, HASH_BYTES
from caio.audit.ports import Advance, Behind, LogHead
from caio.foundation.errors import NotReady
from caio.foundation.scope import TenantScope
from caio.storage.sql import postgres
from caio.storage.sql.database import Database
from caio.storage.sql.log import PartialTiles, edge_places, entries_in, head_of, tile_of, tile_rows, unmoved
from caio.storage.sql.outage import outages_are_not_ready

_BEHIND = """
    SELECT heads.tenant_id
    FROM journal_heads AS heads LEFT JOIN log_heads AS log ON log.tenant_id = heads.tenant_id
    WHERE heads.next > coalesce(log.size, 0)
      AND (log.tenant_id IS NULL OR log.holder = $1 OR log.leased_until <= $2)
    ORDER BY coalesce(log.leased_until, 0), heads.tenant_id LIMIT $3
"""

# What is locked, compared and returned is each row's newest version, whatever the statement before saw.
_CLAIM = """
    WITH wanted AS (
        SELECT * FROM unnest($5::text[]) WITH ORDINALITY AS named (tenant_id, place)
    ),
    claimed AS (
        INSERT INTO log_heads (tenant_id, origin, size, root, checkpoint, signed_at, holder, leased_until)
        SELECT tenant_id, '', 0, $4::bytea, '', 0, $1, $3 FROM wanted ORDER BY tenant_id COLLATE "C"
        ON CONFLICT (tenant_id) DO UPDATE SET holder = excluded.holder, leased_until = excluded.leased_until
            WHERE log_heads.holder = excluded.holder OR log_heads.leased_until <= $2
        RETURNING tenant_id, origin, size, root, checkpoint
    )
    SELECT claimed.tenant_id, origin, size, root, checkpoint, next
    FROM claimed JOIN wanted ON wanted.tenant_id = claimed.tenant_id
    JOIN journal_heads AS heads ON heads.tenant_id = claimed.tenant_id
    WHERE next > size ORDER BY place
"""

_BEHIND_ONE = """
    SELECT heads.tenant_id, coalesce(log.origin, ''), coalesce(log.size, 0), coalesce(log.root, $2::bytea),
           coalesce(log.checkpoint, ''), heads.next
    FROM journal_heads AS heads LEFT JOIN log_heads AS log ON log.tenant_id = heads.tenant_id
    WHERE heads.tenant_id = $1 AND heads.next > coalesce(log.size, 0)
"""

# One row a range, its commitments in one piece; what is not exactly the range is left out.
_COMMITMENTS = """
    SELECT wanted.tenant_id, found.entries
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS wanted (tenant_id, first, beyond)
    CROSS JOIN LATERAL (
        SELECT string_agg(commitment, ''::bytea ORDER BY seq) AS entries, count(*) AS leaves,
               bool_and(octet_length(commitment) = $4) AS whole
        FROM journal
        WHERE journal.tenant_id = wanted.tenant_id AND seq >= wanted.first AND seq < wanted.beyond
    ) AS found
    WHERE found.leaves = wanted.beyond - wanted.first AND found.whole
"""

_EDGES = """
    SELECT tile.tenant_id, tile.level, substr(tile.hashes, 1, wanted.length)
    FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[]) AS wanted (tenant_id, level, position, length)
    JOIN log_tiles AS tile
      ON (tile.tenant_id, tile.level, tile.position) = (wanted.tenant_id, wanted.level, wanted.position)
    WHERE octet_length(tile.hashes) >= wanted.length
"""

_FIRST_HEADS = """
    INSERT INTO log_heads (tenant_id, origin, size, root, checkpoint, signed_at, holder, leased_until)
    SELECT name, '', 0, $2::bytea, '', 0, $3, 0 FROM unnest($1::text[]) AS name ORDER BY name COLLATE "C"
    ON CONFLICT (tenant_id) DO NOTHING
"""

_LOCK = 'SELECT tenant_id, size FROM log_heads WHERE tenant_id = ANY($1) ORDER BY tenant_id COLLATE "C" FOR UPDATE'

_ADVANCE = """
    UPDATE log_heads AS log SET origin = grown.origin, size = grown.size, root = grown.root,
           checkpoint = grown.checkpoint, signed_at = grown.signed_at
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[])
        AS grown (tenant_id, origin, size, root, checkpoint, signed_at)
    WHERE log.tenant_id = grown.tenant_id
"""

_KEEP_TILES = """
    INSERT INTO log_tiles (tenant_id, level, position, hashes)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[])
    ON CONFLICT (tenant_id, level, position) DO UPDATE SET hashes = excluded.hashes
"""

_HEAD = """
    SELECT tenant_id, origin, size, root, checkpoint, signed_at FROM log_heads
    WHERE tenant_id = $1 AND checkpoint <> ''
"""

_HEADS = """
    SELECT tenant_id, origin, size, root, checkpoint, signed_at FROM log_heads
    WHERE tenant_id > $1 AND checkpoint <> '' ORDER BY tenant_id LIMIT $2
"""

# Tiles by level and position; and, as of level -1, the commitments of level 0's partial tile, if that is
# wanted and no leaf is missing.
_TILES = """
    SELECT tile.level, tile.position, tile.hashes
    FROM unnest($2::integer[], $3::bigint[]) AS wanted (level, position)
    JOIN log_tiles AS tile ON (tile.tenant_id, tile.level, tile.position) = ($1, wanted.level, wanted.position)
    UNION ALL
    SELECT -1, log.size / 256, found.entries
    FROM log_heads AS log CROSS JOIN LATERAL (
        SELECT string_agg(commitment, ''::bytea ORDER BY seq) AS entries, count(*) AS leaves
        FROM journal WHERE journal.tenant_id = $1 AND seq >= log.size - log.size % 256 AND seq < log.size
    ) AS found
    WHERE log.tenant_id = $1 AND log.size / 256 = ANY($4::bigint[])
      AND log.size % 256 > 0 AND found.leaves = log.size % 256
"""

_RELEASE = "UPDATE log_heads SET holder = '', leased_until = 0 WHERE holder = $1"


class PostgresLog:
    """The ``LogStore`` port on PostgreSQL. Raises NotReady when the server does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opening = asyncio.Lock()
        self._pool: Any = None
        database.before_close(self._close)

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        names = [name for (name,) in await self._fetch(_BEHIND, holder, now, limit)]
        return await self._claim(names, holder, now, until) if names else []

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        seen = await self._fetch(_BEHIND_ONE, tenant_id, EMPTY_ROOT)
        claimed = await self._claim([tenant_id], holder, now, until) if seen else []
        return claimed[0] if claimed else _behind(seen[0], leased=False) if seen else None

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        rows = await self._fetch(_COMMITMENTS, *_columns(ranges, 3), HASH_BYTES)
        return {tenant: entries_in(joined) for tenant, joined in rows}

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        names = [each.head.tenant_id for each in advances]
        first = [each.head.tenant_id for each in advances if each.old_size == 0]
        with _outages():
            async with (await self._connections()).acquire() as connection, connection.transaction():
                if first:
                    await connection.execute(_FIRST_HEADS, first, EMPTY_ROOT, holder)
                kept = unmoved(advances, dict(await connection.fetch(_LOCK, names)))
                heads = [each.head for each in kept]
                rows = [(h.tenant_id, h.origin, h.size, h.root, h.checkpoint, h.signed_at) for h in heads]
                await connection.execute(_ADVANCE, *_columns(rows, 6))
                if tiles := tile_rows(kept):
                    await connection.execute(_KEEP_TILES, *_columns(tiles, 4))
        return {head.tenant_id for head in heads}

    async def edges(self, logs: Sequence[tuple[str, int]]) -> PartialTiles:
        found: PartialTiles = {tenant: {} for tenant, _ in logs}
        places = [place for tenant, size in logs for place in edge_places(tenant, size)]
        if places:
            for tenant, level, hashes in await self._fetch(_EDGES, *_columns(places, 4)):
                found[tenant][level] = hashes
        return found

    async def release(self, holder: str) -> None:
        await self._fetch(_RELEASE, holder)

    async def heads(self, after: str, limit: int) -> list[LogHead]:
        return [head_of(row) for row in await self._fetch(_HEADS, after, limit)]

    async def head(self, scope: TenantScope) -> LogHead | None:
        found = await self._fetch(_HEAD, scope.tenant_id)
        return head_of(found[0]) if found else None

    async def tiles(self, scope: TenantScope, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self.tiles_of(scope.tenant_id, wanted)

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        bundles = [position for level, position in wanted if level == 0]
        rows = await self._fetch(_TILES, tenant_id, *_columns(list(wanted), 2), bundles)
        return {
            (0, position) if level < 0 else (level, position): tile_of(entries_in(content)) if level < 0 else content
            for level, position, content in rows
        }

    async def _fetch(self, query: str, *asked: object) -> list[Any]:
        with _outages():
            return list(await (await self._connections()).fetch(query, *asked))

    async def _connections(self) -> Any:
        """The pool, opened when it is first needed."""
        async with self._opening:
            if self._pool is None:
                self._pool = await postgres.log_pool(self._database.address.dsn)
            return self._pool

    async def _close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def _claim(self, names: Sequence[str], holder: str, now: int, until: int) -> list[Behind]:
        rows = await self._fetch(_CLAIM, holder, now, until, EMPTY_ROOT, names)
        return [_behind(row) for row in rows]


def _behind(row: Sequence[Any], *, leased: bool = True) -> Behind:
    tenant_id, origin, size, root, checkpoint, upcoming = row
    return Behind(tenant_id, origin, size, root, checkpoint, upcoming, leased)


@contextmanager
def _outages() -> Iterator[None]:
    try:
        with outages_are_not_ready():
            yield
    except asyncpg.InterfaceError as error:
        raise NotReady("The connection to PostgreSQL broke; try again shortly.") from error


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
