"""The Merkle trees on PostgreSQL: raw asyncpg over connections of their own, so that the journal never
waits for the sequencer or for readers.

Sets of tenants, ranges and tiles go in as arrays, so that a thousand tenants cost as many round trips as one.
Each statement runs in a transaction with its context: the tenant's for what has a scope, the platform's for the
sequencer's work, which goes through the places of all tenants, one after the other. A tenant's own database
that does not answer holds up no other tenant. Rows of ``log_heads`` are locked in the order of the tenant ids,
by claims and by advances alike, so two sequencers do not deadlock. An advance holds its rows' locks from the
look at their sizes to its commit: what was compared is still so when it is swapped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg

from caio.audit.merkle import EMPTY_ROOT, HASH_BYTES
from caio.audit.ports import Advance, Behind, LogHead
from caio.foundation.errors import Misconfigured, NotReady
from caio.foundation.scope import PlatformScope, Scope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.log import PartialTiles, edge_places, entries_in, head_of, tile_of, tile_rows, unmoved
from caio.storage.sql.outage import outages_are_not_ready
from caio.storage.sql.places import Place
from caio.storage.sql.row_security import APP, PLATFORM

_Thing = TypeVar("_Thing")

_PLATFORM = PlatformScope("sequencing")

_BEHIND = """
    SELECT coalesce(log.leased_until, 0), heads.tenant_id
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

    async def behind(self, holder: str, now: int, until: int, limit: int) -> list[Behind]:
        waiting: list[tuple[int, str, Place]] = []
        for place in await self._database.places():
            with _holding_up_no_other(place):
                rows = await self._fetch(_PLATFORM, place, _BEHIND, holder, now, limit)
                waiting += [(leased_until, tenant, place) for leased_until, tenant in rows]
        claimed: dict[str, Behind] = {}
        chosen = sorted(waiting)[:limit]
        for place, names in _grouped((place, tenant) for _, tenant, place in chosen).items():
            with _holding_up_no_other(place):
                claimed |= {each.tenant_id: each for each in await self._claim(place, names, holder, now, until)}
        return [claimed[tenant] for _, tenant, _ in chosen if tenant in claimed]

    async def behind_one(self, tenant_id: str, holder: str, now: int, until: int) -> Behind | None:
        place = await self._database.place_of(tenant_id)
        seen = await self._fetch(_PLATFORM, place, _BEHIND_ONE, tenant_id, EMPTY_ROOT)
        claimed = await self._claim(place, [tenant_id], holder, now, until) if seen else []
        return claimed[0] if claimed else _behind(seen[0], leased=False) if seen else None

    async def commitments(self, ranges: Sequence[tuple[str, int, int]]) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for place, some in (await self._by_place(ranges, lambda each: each[0])).items():
            with _holding_up_no_other(place):
                rows = await self._fetch(_PLATFORM, place, _COMMITMENTS, *_columns(some, 3), HASH_BYTES)
                found |= {tenant: entries_in(joined) for tenant, joined in rows}
        return found

    async def advance(self, holder: str, advances: Sequence[Advance]) -> set[str]:
        advanced: set[str] = set()
        for place, some in (await self._by_place(advances, lambda each: each.head.tenant_id)).items():
            with _holding_up_no_other(place):
                advanced |= await self._advance_at(place, holder, some)
        return advanced

    async def edges(self, logs: Sequence[tuple[str, int]]) -> PartialTiles:
        found: PartialTiles = {tenant: {} for tenant, _ in logs}
        for place, some in (await self._by_place(logs, lambda each: each[0])).items():
            if wanted := [each for tenant, size in some for each in edge_places(tenant, size)]:
                with _holding_up_no_other(place):
                    for tenant, level, hashes in await self._fetch(_PLATFORM, place, _EDGES, *_columns(wanted, 4)):
                        found[tenant][level] = hashes
        return found

    async def release(self, holder: str) -> None:
        for place in await self._database.places():
            with _holding_up_no_other(place):
                await self._fetch(_PLATFORM, place, _RELEASE, holder)

    async def heads(self, after: str, limit: int) -> list[LogHead]:
        found: list[LogHead] = []
        for place in await self._database.places():
            with _holding_up_no_other(place):
                found += [head_of(row) for row in await self._fetch(_PLATFORM, place, _HEADS, after, limit)]
        return sorted(found, key=lambda head: head.tenant_id)[:limit]

    async def head(self, scope: TenantScope) -> LogHead | None:
        place = await self._database.place_of(scope.tenant_id)
        found = await self._fetch(scope, place, _HEAD, scope.tenant_id)
        return head_of(found[0]) if found else None

    async def tiles(self, scope: TenantScope, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self._tiles(scope, scope.tenant_id, wanted)

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self._tiles(_PLATFORM, tenant_id, wanted)

    async def _tiles(
        self, scope: Scope, tenant_id: str, wanted: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        bundles = [position for level, position in wanted if level == 0]
        place = await self._database.place_of(tenant_id)
        rows = await self._fetch(scope, place, _TILES, tenant_id, *_columns(list(wanted), 2), bundles)
        return {
            (0, position) if level < 0 else (level, position): tile_of(entries_in(content)) if level < 0 else content
            for level, position, content in rows
        }

    async def _advance_at(self, place: Place, holder: str, advances: Sequence[Advance]) -> set[str]:
        names = [each.head.tenant_id for each in advances]
        first = [each.head.tenant_id for each in advances if each.old_size == 0]
        async with self._transaction(_PLATFORM, place) as connection:
            if first:
                await connection.execute(_FIRST_HEADS, first, EMPTY_ROOT, holder)
            kept = unmoved(advances, dict(await connection.fetch(_LOCK, names)))
            heads = [each.head for each in kept]
            rows = [(h.tenant_id, h.origin, h.size, h.root, h.checkpoint, h.signed_at) for h in heads]
            await connection.execute(_ADVANCE, *_columns(rows, 6))
            if tiles := tile_rows(kept):
                await connection.execute(_KEEP_TILES, *_columns(tiles, 4))
        return {head.tenant_id for head in heads}

    async def _claim(self, place: Place, names: Sequence[str], holder: str, now: int, until: int) -> list[Behind]:
        rows = await self._fetch(_PLATFORM, place, _CLAIM, holder, now, until, EMPTY_ROOT, names)
        return [_behind(row) for row in rows]

    async def _by_place(self, things: Sequence[_Thing], whose: Callable[[_Thing], str]) -> dict[Place, list[_Thing]]:
        return _grouped([(await self._database.place_of(whose(thing)), thing) for thing in things])

    async def _fetch(self, scope: Scope, place: Place, query: str, *asked: object) -> list[Any]:
        async with self._transaction(scope, place) as connection:
            return list(await connection.fetch(query, *asked))

    @asynccontextmanager
    async def _transaction(self, scope: Scope, place: Place) -> AsyncIterator[Any]:
        tenants = scope.tenant_id if isinstance(scope, TenantScope) else ""
        try:
            with outages_are_not_ready():
                server = await self._database.server(place)
                context = server.context(APP if tenants else PLATFORM, tenants, place.schema)
                async with server.log(context) as connection:
                    yield connection
        except asyncpg.InterfaceError as error:
            raise NotReady("The connection to PostgreSQL broke; try again shortly.") from error


def _behind(row: Sequence[Any], *, leased: bool = True) -> Behind:
    tenant_id, origin, size, root, checkpoint, upcoming = row
    return Behind(tenant_id, origin, size, root, checkpoint, upcoming, leased)


@contextmanager
def _holding_up_no_other(place: Place) -> Iterator[None]:
    """Leave a tenant's own database out while it does not answer or cannot be used; the relay logs that."""
    try:
        yield
    except (NotReady, Misconfigured):
        if not place.database:
            raise


def _grouped(pairs: Iterable[tuple[Place, _Thing]]) -> dict[Place, list[_Thing]]:
    groups: dict[Place, list[_Thing]] = {}
    for place, thing in pairs:
        groups.setdefault(place, []).append(thing)
    return dict(sorted(groups.items()))


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
