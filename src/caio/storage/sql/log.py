"""Reading the Merkle trees, alike on both databases; what the sequencer needs is in ``log_sqlite`` and
``log_postgres``.

Theory of operation
-------------------
Full tiles of every level are stored, and above level 0 the partial ones. The partial tile of level 0
is not: it is the hashes of the journal's own commitments, at most 255, so that a small log costs no
write but its head. Tiles and those commitments are read in one statement, hence as of one moment.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- tiles_are_the_trees: at every size, the tiles read give the root that the head says.
- one_of_two_advances_wins: of two from one size, whoever comes second has written nothing.
- a_gap_is_left_out: a tenant whose journal lacks a leaf gets no commitments; the others get theirs.
- a_lease_is_kept_from_others: until it expires or is released.
- whoever_waited_longest_comes_first: claims go round, however many tenants are behind.
- tenants_do_not_meet: neither heads nor tiles of another tenant are ever read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import CompoundSelect, Row, Select, and_, literal, select, tuple_, union_all

from caio.audit.merkle import HASH_BYTES, leaf_hash
from caio.audit.ports import Advance, LogHead
from caio.audit.tiles import HEIGHT, WIDTH
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import journal, log_heads, log_tiles

#: In the level's place, of a row that is a leaf of level 0's partial tile and not a tile.
_LEAF = -1

PartialTiles = dict[str, dict[int, bytes]]


class SqlLogReads:
    """The part of the ``LogStore`` port that serves readers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self, scope: TenantScope) -> LogHead | None:
        found = await self._rows(_heads().where(log_heads.c.tenant_id == scope.tenant_id))
        return _head(found[0]) if found else None

    async def heads(self, after: str, limit: int) -> list[LogHead]:
        query = _heads().where(log_heads.c.tenant_id > after).order_by(log_heads.c.tenant_id).limit(limit)
        return [_head(row) for row in await self._rows(query)]

    async def tiles(self, scope: TenantScope, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self.tiles_of(scope.tenant_id, wanted)

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        found: dict[tuple[int, int], bytes] = {}
        leaves: list[tuple[int, bytes]] = []
        rows: list[Any] = await self._rows(_tiles(tenant_id, wanted)) if wanted else []
        for level, place, content in rows:
            if level == _LEAF:
                leaves.append((place, bytes(content)))
            else:
                found[level, place] = bytes(content)
        leaves.sort()
        if leaves:
            first = leaves[0][0]
            if first % WIDTH == 0 and leaves[-1][0] - first == len(leaves) - 1:  # no leaf is missing
                found[0, first >> HEIGHT] = b"".join(leaf_hash(entry) for _, entry in leaves)
        return found

    async def _rows(self, query: Select[Any] | CompoundSelect[Any]) -> list[Row[Any]]:
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).all())


def _heads() -> Select[Any]:
    return select(log_heads).where(log_heads.c.checkpoint != "")


def _head(row: Row[Any]) -> LogHead:
    return LogHead(row.tenant_id, row.origin, row.size, bytes(row.root), row.checkpoint, row.signed_at)


def _tiles(tenant_id: str, wanted: Collection[tuple[int, int]]) -> Select[Any] | CompoundSelect[Any]:
    """Rows of (level, position, hashes), and of (_LEAF, seq, commitment) when level 0's partial tile is wanted."""
    place = tuple_(log_tiles.c.level, log_tiles.c.position)
    stored = select(log_tiles.c.level, log_tiles.c.position, log_tiles.c.hashes).where(
        log_tiles.c.tenant_id == tenant_id, place.in_(list(wanted))
    )
    bundles = [position for level, position in wanted if level == 0]
    if not bundles:
        return stored
    size = log_heads.c.size
    leaves = (
        select(literal(_LEAF), journal.c.seq, journal.c.commitment)
        .join_from(log_heads, journal, and_(journal.c.tenant_id == tenant_id, journal.c.seq < size))
        .where(
            log_heads.c.tenant_id == tenant_id,
            (size // WIDTH).in_(bundles),
            journal.c.seq >= size - size % WIDTH,
        )
    )
    return union_all(stored, leaves)


def edge_places(tenant_id: str, size: int) -> list[tuple[str, int, int, int]]:
    """(tenant, level, position, bytes) of each partial tile above level 0 in a tree of ``size`` leaves."""
    places = []
    level = 1
    while rest := size >> HEIGHT * level:
        if width := rest % WIDTH:
            places.append((tenant_id, level, rest >> HEIGHT, width * HASH_BYTES))
        level += 1
    return places


def unmoved(advances: Collection[Advance], sizes: dict[str, int]) -> list[Advance]:
    """The advances whose log still has the size they grew from, by tenant: locks are taken in this order."""
    kept = [advance for advance in advances if sizes.get(advance.head.tenant_id) == advance.old_size]
    return sorted(kept, key=lambda advance: advance.head.tenant_id)


def tile_rows(advances: Collection[Advance]) -> list[tuple[str, int, int, bytes]]:
    return [(advance.head.tenant_id, *tile) for advance in advances for tile in advance.tiles]
