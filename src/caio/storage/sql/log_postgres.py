"""The sequencer's statements on PostgreSQL: raw asyncpg, over the journal's connections.

Sets of tenants, ranges and tiles go in as arrays, so that a thousand tenants cost as many round
trips as one. Rows of ``log_heads`` are locked in the order of the tenant ids, by claims and by
advances alike, so two sequencers do not deadlock. An advance holds its rows' locks from the look at
their sizes to its commit: what was compared is still so when it is swapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from caio.audit.merkle import EMPTY_ROOT, HASH_BYTES
from caio.audit.ports import Advance, Behind
from caio.foundation.errors import NotReady
from caio.storage.sql.database import Database
from caio.storage.sql.log import PartialTiles, SqlLogReads, edge_places, tile_rows, unmoved
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

_RELEASE = "UPDATE log_heads SET holder = '', leased_until = 0 WHERE holder = $1"


class PostgresLog(SqlLogReads):
    """The ``LogStore`` port on PostgreSQL. Raises NotReady when the server does not answer."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._pool = database.journal_pool

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        with _outages():
            names = [name for (name,) in await self._pool.fetch(_BEHIND, holder, now, limit)]
            return await self._claim(names, holder, now, until) if names else []

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        with _outages():
            seen = await self._pool.fetchrow(_BEHIND_ONE, tenant_id, EMPTY_ROOT)
            claimed = await self._claim([tenant_id], holder, now, until) if seen else []
        return claimed[0] if claimed else _behind(seen, leased=False) if seen else None

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        with _outages():
            rows = await self._pool.fetch(_COMMITMENTS, *_columns(ranges, 3), HASH_BYTES)
        return {
            tenant: [entries[at : at + HASH_BYTES] for at in range(0, len(entries), HASH_BYTES)]
            for tenant, entries in rows
        }

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        names = [each.head.tenant_id for each in advances]
        first = [each.head.tenant_id for each in advances if each.old_size == 0]
        with _outages():
            async with self._pool.acquire() as connection, connection.transaction():
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
            with _outages():
                rows = await self._pool.fetch(_EDGES, *_columns(places, 4))
            for tenant, level, hashes in rows:
                found[tenant][level] = hashes
        return found

    async def release(self, holder: str) -> None:
        with _outages():
            await self._pool.execute(_RELEASE, holder)

    async def _claim(self, names: Sequence[str], holder: str, now: int, until: int) -> list[Behind]:
        rows = await self._pool.fetch(_CLAIM, holder, now, until, EMPTY_ROOT, names)
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
