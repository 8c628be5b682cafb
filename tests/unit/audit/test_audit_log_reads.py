"""The readers' view of a log: proofs that verify, and nothing beyond the head."""

import asyncio
from itertools import pairwise

import pytest
from sqlalchemy import delete, update

from caio.audit.checkpoint import Checkpoint, read_checkpoint
from caio.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from caio.audit.tiles import Edge, TileId, read_entry_bundle
from caio.foundation.errors import InvalidInput, NotFound, SealBroken
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.audit_log import AuditLog
from caio.storage.sql.tables import journal, log_tiles
from tests.support.logs import KEYRING, Faulty, append, commitment, origin_of, root, sequencer

ACME, OTHER = TenantScope("acme"), TenantScope("other")


@pytest.fixture
async def sequencing(stores):
    one = sequencer(stores.log, every_seconds=3600)
    await one.start()
    await asyncio.sleep(0.05)
    yield one
    await one.stop()


@pytest.fixture
def log(stores, sequencing):
    return AuditLog(stores.log, sequencing)


@pytest.mark.parametrize("sizes", [(1,), (3, 255, 256, 257), (300, 600)])
async def test_every_proof_given_verifies(stores, log, sizes):
    start = 0
    for size in sizes:
        for at in range(start, size, 5000):
            await append(stores, "acme", at, min(at + 5000, size))
        seqs = sorted({0, start, size // 2, size - 1})
        found = await log.inclusion(ACME, seqs, fresh=True)
        assert (found.head.size, found.head.root) == (size, root("acme", size))
        signed = read_checkpoint(found.checkpoint)
        assert signed.signed_by(KEYRING.trusted_keys())
        assert signed.checkpoint == Checkpoint(origin_of("acme"), size, found.head.root)
        for seq, proof in zip(seqs, found.proofs, strict=True):
            assert verify_inclusion(leaf_hash(commitment("acme", seq)), seq, size, proof, found.head.root)
        for old in {1, start or 1, size}:
            proof = await log.consistency(ACME, old, size)
            assert verify_consistency(old, root("acme", old), size, found.head.root, proof)
        start = size
    for old, new in pairwise(sizes):
        proof = await log.consistency(ACME, old, new)
        assert verify_consistency(old, root("acme", old), new, root("acme", new), proof)


async def test_fresh_holds_what_was_durable(stores, log):
    assert await log.head(ACME) is None
    assert await log.head(ACME, fresh=True) is None
    await append(stores, "acme", 0, 3)
    assert await log.inclusion(ACME, [2]) is None
    assert (await log.head(ACME, fresh=True)).size == 3
    await append(stores, "acme", 3, 4)
    assert await log.inclusion(ACME, [3]) is None
    assert (await log.head(ACME)).size == 3
    assert (await log.inclusion(ACME, [1, 3], fresh=True)).head.size == 4
    assert await log.inclusion(ACME, [4], fresh=True) is None
    await append(stores, "acme", 4, 5)
    assert (await log.inclusion(ACME, [1, 3], fresh=True)).head.size == 4  # it holds them: nobody is asked


async def test_nothing_beyond_the_head(stores, log):
    await append(stores, "acme", 0, 300)
    await log.head(ACME, fresh=True)
    await append(stores, "acme", 300, 600)
    for level, position, width in (
        (0, 1, 45),
        (0, 2, 1),
        (1, 0, 2),
        (2, 0, 1),
        (0, 0, 257),
        (0, 0, 0),
        (-1, 0, 1),
        (9, -1, 1),
    ):
        with pytest.raises(NotFound):
            await log.tile(ACME, level, position, width)
    for position, width in ((1, 45), (1, 256), (2, 1), (0, 257), (0, 0), (-1, 1)):
        with pytest.raises(NotFound):
            await log.entry_bundle(ACME, position, width)
    with pytest.raises(NotFound):
        await log.consistency(ACME, 1, 301)
    for old, new in ((2, 1), (-1, 3)):
        with pytest.raises(InvalidInput):
            await log.consistency(ACME, old, new)
    assert await log.consistency(ACME, 0, 300) == await log.consistency(ACME, 300, 300) == []
    for reading in (log.tile(OTHER, 0, 0, 1), log.entry_bundle(OTHER, 0, 1), log.consistency(OTHER, 0, 1)):
        with pytest.raises(NotFound):
            await reading
    assert await log.inclusion(OTHER, [0]) is None


async def test_tiles_and_bundles_are_the_trees(stores, log):
    await append(stores, "acme", 0, 600)
    await log.head(ACME, fresh=True)
    entries = [commitment("acme", number) for number in range(600)]
    edge, full = Edge.empty().grow([leaf_hash(entry) for entry in entries])
    tiles = {**dict(full), **{TileId(level, 600 >> 8 * (level + 1)): tile for level, tile in edge.partial().items()}}
    assert set(tiles) == {TileId(0, 0), TileId(0, 1), TileId(0, 2), TileId(1, 0)}
    for tile, content in tiles.items():
        width = len(content) // 32
        assert await log.tile(ACME, tile.level, tile.index, width) == content
        assert await log.tile(ACME, tile.level, tile.index, 1) == content[:32]
    for position, width in ((0, 256), (1, 256), (2, 88), (2, 1)):
        bundle = read_entry_bundle(await log.entry_bundle(ACME, position, width))
        assert bundle == entries[position * 256 :][:width]


@pytest.mark.parametrize("harm", ["tile", "no tile", "leaf", "no leaf", "full tile"])
async def test_a_store_that_was_changed_gives_an_error(stores, log, harm):
    await append(stores, "acme", 0, 600)
    await log.head(ACME, fresh=True)
    level_1 = (log_tiles.c.tenant_id == "acme", log_tiles.c.level == 1)
    level_0 = (log_tiles.c.tenant_id == "acme", log_tiles.c.level == 0, log_tiles.c.position == 1)
    statement = {
        "tile": update(log_tiles).where(*level_1).values(hashes=bytes(64)),
        "no tile": delete(log_tiles).where(*level_1),
        "leaf": update(journal).where(journal.c.seq == 590).values(commitment=bytes(32)),
        "no leaf": delete(journal).where(journal.c.seq == 590),
        "full tile": update(log_tiles).where(*level_0).values(hashes=bytes(8192)),
    }[harm]
    async with stores.tenants._database.writing(PlatformScope("test")) as connection:
        await connection.execute(statement)
    for asked in (log.inclusion(ACME, [300]), log.consistency(ACME, 300, 600)):
        with pytest.raises(SealBroken) as caught:
            await asked
        assert caught.value.code == "log_broken"


async def test_full_tiles_are_kept_in_bounded_number(stores, sequencing):
    store = Faulty(stores.log)
    log = AuditLog(store, sequencing, kept=1)
    for at in range(0, 66_000, 5500):
        await append(stores, "acme", at, at + 5500)
    await log.head(ACME, fresh=True)
    await log.inclusion(ACME, [7])
    asked = []
    tiles = stores.log.tiles

    async def noting(scope, wanted):
        asked.append(sorted(wanted))
        return await tiles(scope, wanted)

    store.__dict__["tiles"] = noting
    found = await log.inclusion(ACME, [300])
    assert found is not None
    assert found.head.size == 66_000
    assert (1, 0) not in asked[0]  # 65,536 leaves fill it: it never changes
    assert (0, 1) in asked[0]
    assert len(log._full) == 1
