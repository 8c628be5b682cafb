"""Looking up proofs in a log of ten million leaves.

The tree is grown and stored as the sequencer does it, over leaf hashes that stand for commitments; of
the journal only the leaves behind the last full tile are there, which is all that a proof reads of it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop
from sqlalchemy import func, insert, select

from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from caio.audit.ports import Advance, LogHead
from caio.audit.signing import SigningKey
from caio.audit.tiles import WIDTH, Edge, TileId, root_from, tiles_for_root
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.audit_log import AuditLog
from caio.storage.sql.database import Database
from caio.storage.sql.stores import Stores, open_stores
from caio.storage.sql.tables import journal, journal_heads, log_tiles
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.authentication import embedded_scope

LEAVES = 10_000_000
CHUNK = 4_000 * WIDTH
LOOK_UPS = 2_000
_TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Seconds: of each inclusion proof, of each consistency proof; and bytes of tiles a leaf."""

    inclusion: Sequence[float]
    consistency: Sequence[float]
    tile_bytes: float


def look_up(folder: Path) -> LookedUp:
    """Build the log in ``folder`` (about 400 MB), then make proofs at random places, each verified."""
    url = f"sqlite:///{folder / 'log.db'}"
    upgrade(url)
    return uvloop.run(_look_up(url))


async def _look_up(url: str) -> LookedUp:
    database = await Database.open(url)
    stores = open_stores(database)
    scope = embedded_scope(_TENANT)
    head = await _build(database, stores)
    log, random = AuditLog(stores.log, _UpToDate()), Random(7)
    inclusion, consistency = [], []
    for _ in range(LOOK_UPS):
        seq = random.randrange(head.size)
        started = time.perf_counter()
        found = await log.inclusion(scope, [seq])
        inclusion.append(time.perf_counter() - started)
        if found is None or not verify_inclusion(_hash(seq), seq, head.size, found.proofs[0], head.root):
            raise RuntimeError(f"the proof of leaf {seq} does not hold")
    for _ in range(LOOK_UPS // 10):
        old = random.randrange(1, head.size)
        started = time.perf_counter()
        proof = await log.consistency(scope, old, head.size)
        consistency.append(time.perf_counter() - started)
        if not verify_consistency(old, await _root(stores, scope, old), head.size, head.root, proof):
            raise RuntimeError(f"the proof from size {old} does not hold")
    tile_bytes = await _tile_bytes(database)
    await database.close()
    return LookedUp(inclusion, consistency, tile_bytes / head.size)


class _UpToDate:
    """A sequencer with nothing to do: the whole journal is in the tree."""

    async def take_in(self, tenant_id: str) -> None: ...


async def _build(database: Database, stores: Stores) -> LogHead:
    row = {"status": "active", "currency": "USD", "created_at": 0}
    row |= dict.fromkeys(("quota_services", "quota_per_minute", "quota_per_hour", "quota_per_day"), 1)
    async with database.writing(PlatformScope("benchmark")) as connection:
        await connection.execute(insert(tenants).values(tenant_id=_TENANT, name=_TENANT, **row))
        await connection.execute(insert(journal_heads).values(tenant_id=_TENANT, next=LEAVES))
        behind = range(LEAVES // WIDTH * WIDTH, LEAVES)
        await connection.execute(insert(journal), [_row(seq) for seq in behind])
    await stores.log.behind("benchmark", 1, 2, 1)
    edge, key = Edge.empty(), SigningKey.generate(bytes(32))
    for start in range(0, LEAVES, CHUNK):
        old = edge.size
        edge, full = edge.grow([_hash(seq) for seq in range(start, min(start + CHUNK, LEAVES))])
        tiles = [(tile.level, tile.index, content) for tile, content in full]
        tiles += [
            (level, edge.size >> 8 * (level + 1), content) for level, content in edge.partial().items() if level > 0
        ]
        origin = f"benchmark.example/{_TENANT}"
        note = sign_checkpoint(Checkpoint(origin, edge.size, edge.root()), key)
        head = LogHead(_TENANT, origin, edge.size, edge.root(), note, 1)
        if await stores.log.advance("benchmark", [Advance(old, head, tiles)]) != {_TENANT}:
            raise RuntimeError("the log did not grow")
    return head


def _commitment(seq: int) -> bytes:
    return hashlib.sha256(seq.to_bytes(8, "big")).digest()


def _hash(seq: int) -> bytes:
    return leaf_hash(_commitment(seq))


def _row(seq: int) -> dict[str, object]:
    return {
        "tenant_id": _TENANT,
        "seq": seq,
        "kind": "access",
        "subject_id": f"act_{seq:026}",
        "recorded_at": 1,
        "commitment": _commitment(seq),
        "sealed": b"",
    }


async def _root(stores: Stores, scope: TenantScope, size: int) -> bytes:
    wanted = [(tile.level, tile.index) for tile in tiles_for_root(size)]
    read = await stores.log.tiles(scope, wanted)
    return root_from(size, {TileId(*place): content for place, content in read.items()})


async def _tile_bytes(database: Database) -> int:
    async with database.reading(PlatformScope("benchmark")) as connection:
        return int((await connection.execute(select(func.sum(func.length(log_tiles.c.hashes))))).scalar_one())
