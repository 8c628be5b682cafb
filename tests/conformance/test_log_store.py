"""What every store of the Merkle trees does. SIGKILL has its own test: integration/test_log_kill.py."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from caio.audit.merkle import EMPTY_ROOT, leaf_hash, root_of
from caio.audit.ports import ActRow, Advance, Behind, Leaf, LeafKind, LogHead
from caio.audit.tiles import Edge, TileId, inclusion_proof, root_from, tiles_for_inclusion, tiles_for_root
from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables import journal, log_tiles
from tests.support.tenants import add_bare_tenants, tenant_named

NOW, UNTIL = 1_000, 5_000


def commitment(tenant, number):
    return hashlib.sha256(f"{tenant} {number}".encode()).digest()


def hashes(tenant, size):
    return [leaf_hash(commitment(tenant, number)) for number in range(size)]


async def append(stores, tenant, start, end):
    def leaf(number):
        name = f"act_{number}"
        row = ActRow(name, LeafKind.ACCESS, number, "audit.read", "user", name)
        return Leaf(tenant, LeafKind.ACCESS, name, number, commitment(tenant, number), b"sealed", row)

    assert await stores.journal.append([leaf(number) for number in range(start, end)]) == list(range(start, end))


def grown(tenant, edge, end):
    """The advance of a tree to ``end`` leaves, and its new edge."""
    new, full = edge.grow(hashes(tenant, end)[edge.size :])
    tiles = [(tile.level, tile.index, content) for tile, content in full]
    tiles += [(level, end >> 8 * (level + 1), content) for level, content in new.partial().items() if level]
    head = LogHead(tenant, f"test/{tenant}", end, new.root(), f"checkpoint {end}", NOW)
    return Advance(edge.size, head, tiles), new


async def build(stores, tenant, *sizes):
    """A journal and tree of the last of the sizes, grown in these steps."""
    edge = Edge.empty()
    await append(stores, tenant, 0, sizes[-1])
    for size in sizes:
        advance, edge = grown(tenant, edge, size)
        assert await stores.log.advance("one", [advance]) == {tenant}
    return edge


def waiting(tenant, next_seq, **changes):
    return replace(Behind(tenant, "", 0, EMPTY_ROOT, "", next_seq), **changes)


def a_tenant(name):
    quotas = {f"quota_{each}": 1 for each in ("services", "per_minute", "per_hour", "per_day")}
    return {"tenant_id": name, "name": name, "status": "active", "currency": "USD", "created_at": 1, **quotas}


async def names_of(behind):
    return [each.tenant_id for each in await behind]


async def test_a_log_without_a_checkpoint_has_no_head(stores, acme):
    assert await stores.log.head(acme) is None
    await append(stores, "acme", 0, 3)
    assert await stores.log.behind("one", NOW, UNTIL, 10) == [waiting("acme", 3)]
    assert await stores.log.head(acme) is None
    assert await stores.log.heads("", 10) == []
    assert await stores.log.tiles(acme, [(0, 0), (1, 0)]) == {}


async def test_what_is_behind_is_what_the_head_says(stores, acme):
    edge = await build(stores, "acme", 3)
    head = await stores.log.head(acme)
    assert head == LogHead("acme", "test/acme", 3, edge.root(), "checkpoint 3", NOW)
    assert await stores.log.behind("one", NOW, UNTIL, 10) == []
    assert await stores.log.behind_one("acme", "one", NOW, UNTIL) is None
    assert await stores.log.behind_one("rival", "one", NOW, UNTIL) is None
    await append(stores, "acme", 3, 5)
    expected = Behind("acme", "test/acme", 3, edge.root(), "checkpoint 3", 5)
    assert await stores.log.behind("one", NOW, UNTIL, 10) == [expected]
    assert await stores.log.behind_one("acme", "one", NOW, UNTIL) == expected


async def test_a_lease_is_kept_from_others(stores, acme):
    log = stores.log
    await append(stores, "acme", 0, 1)
    await append(stores, "rival", 0, 1)
    assert await log.behind_one("acme", "one", NOW, UNTIL) == waiting("acme", 1)
    assert await names_of(log.behind("two", NOW, UNTIL, 10)) == ["rival"]
    assert await log.behind_one("acme", "two", UNTIL - 1, UNTIL + 1) == waiting("acme", 1, leased=False)
    assert await log.behind_one("acme", "one", NOW, UNTIL) == waiting("acme", 1)
    assert await log.behind_one("acme", "two", UNTIL, 2 * UNTIL) == waiting("acme", 1)
    assert await names_of(log.behind("one", UNTIL, 2 * UNTIL, 10)) == ["rival"]
    await log.release("two")
    assert sorted(await names_of(log.behind("one", NOW, UNTIL, 10))) == ["acme", "rival"]


async def test_whoever_waited_longest_comes_first(stores):
    names = ["acme", "rival", "third", "fourth"]
    await add_bare_tenants(stores.tenants._database, *map(tenant_named, names[2:]))
    for name in names:
        await append(stores, name, 0, 1)
    seen = []
    for turn in range(4):  # nothing is taken in, so every log stays behind
        seen += await names_of(stores.log.behind("one", NOW + turn, UNTIL + turn, 2))
    assert seen == sorted(names) * 2


async def test_commitments_are_the_journals(stores):
    await append(stores, "acme", 0, 300)
    await append(stores, "rival", 0, 2)
    assert await stores.log.commitments([("rival", 0, 2), ("acme", 250, 299)]) == {
        "acme": [commitment("acme", number) for number in range(250, 299)],
        "rival": [commitment("rival", number) for number in range(2)],
    }
    assert await stores.log.commitments([]) == {}


@pytest.mark.parametrize("range_", [(0, 4), (1, 4), (2, 4), (3, 7)])
async def test_a_gap_is_left_out(stores, database, range_):
    await append(stores, "acme", 0, 6)
    await append(stores, "rival", 0, 4)
    async with database.writing(PlatformScope("test"), await database.place_of("acme")) as connection:
        await connection.execute(delete(journal).where(journal.c.tenant_id == "acme", journal.c.seq == 2))
    assert set(await stores.log.commitments([("acme", *range_), ("rival", 0, 4)])) == {"rival"}
    async with database.writing(PlatformScope("test"), await database.place_of("rival")) as connection:
        short = update(journal).where(journal.c.tenant_id == "rival", journal.c.seq == 3)
        await connection.execute(short.values(commitment=b"short"))
    assert await stores.log.commitments([("rival", 0, 4)]) == {}
    assert set(await stores.log.commitments([("rival", 0, 3)])) == {"rival"}


async def test_one_of_two_advances_wins(stores_of_two_processes, acme):
    one, two = (stores.log for stores in stores_of_two_processes)
    await append(stores_of_two_processes[0], "acme", 0, 600)
    ours, _ = grown("acme", Edge.empty(), 500)
    theirs, _ = grown("acme", Edge.empty(), 600)
    won = await asyncio.gather(one.advance("one", [ours]), two.advance("two", [theirs]))
    assert sorted(won, key=len) == [set(), {"acme"}]
    winner = ours if won[0] else theirs
    assert await one.head(acme) == winner.head
    assert await one.tiles(acme, [(1, 0)]) == {(1, 0): winner.tiles[-1][2]}
    # A late comer writes nothing either, while others' advances beside it hold.
    await append(stores_of_two_processes[0], "rival", 0, 1)
    rivals, _ = grown("rival", Edge.empty(), 1)
    assert await two.advance("two", [ours, rivals]) == {"rival"}
    assert await one.head(acme) == winner.head


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 700])
async def test_tiles_are_the_trees(stores, acme, size):
    edge = await build(stores, "acme", *sorted({1, (size + 1) // 2, size}))
    wanted = tiles_for_root(size) | {TileId(0, size), TileId(3, 0)}
    found = await stores.log.tiles(acme, [(tile.level, tile.index) for tile in wanted])
    tiles = {TileId(*place): content for place, content in found.items()}
    assert set(tiles) == tiles_for_root(size)
    assert root_from(size, tiles) == edge.root() == root_of(hashes("acme", size))
    await append(stores, "acme", size, size + 1)  # beyond the head: not to be seen
    assert await stores.log.tiles(acme, [(tile.level, tile.index) for tile in wanted]) == found
    places = [(tile.level, tile.index) for tile in tiles_for_inclusion(0, size)]
    tiles = {TileId(*place): content for place, content in (await stores.log.tiles(acme, places)).items()}
    assert set(tiles) == {TileId(*place) for place in places}
    assert len(inclusion_proof(0, size, tiles)) == (size - 1).bit_length()


async def test_an_edge_is_restored_at_every_size_it_had(stores):
    await build(stores, "acme", 200, 256, 600, 700)
    await build(stores, "rival", 2)
    for size in (0, 255, 256, 300, 512, 600, 700):
        partial = Edge.empty().grow(hashes("acme", size))[0].partial()
        expected = {level: tile for level, tile in partial.items() if level}
        found = await stores.log.edges([("rival", 2), ("acme", size)])
        assert found == {"rival": {}, "acme": expected}
    assert await stores.log.edges([("acme", 800)]) == {"acme": {}}  # the tree never had that size
    assert await stores.log.edges([]) == {}


async def test_a_leaf_that_is_missing_leaves_no_tile(stores, database, acme):
    await build(stores, "acme", 5)
    async with database.writing(PlatformScope("test"), await database.place_of("acme")) as connection:
        await connection.execute(delete(journal).where(journal.c.tenant_id == "acme", journal.c.seq == 2))
    assert await stores.log.tiles(acme, [(0, 0)]) == {}


async def test_tenants_do_not_meet(stores, database, acme, rival):
    await build(stores, "acme", 300)
    assert await stores.log.head(rival) is None
    assert await stores.log.tiles(rival, [(0, 0), (0, 1), (1, 0)]) == {}
    edge = await build(stores, "rival", 260)
    assert (await stores.log.head(rival)).root == edge.root()
    async with database.writing(PlatformScope("test"), await database.place_of("acme")) as connection:
        await connection.execute(delete(log_tiles).where(log_tiles.c.tenant_id == "acme"))
    assert set(await stores.log.tiles(rival, [(0, 0), (0, 1), (1, 0)])) == {(0, 0), (0, 1), (1, 0)}
    assert set(await stores.log.tiles(acme, [(0, 0), (0, 1), (1, 0)])) == {(0, 1)}  # the journal's part


async def test_heads_are_paged_by_tenant(stores):
    await build(stores, "rival", 1)
    await build(stores, "acme", 2)
    assert [head.tenant_id for head in await stores.log.heads("", 10)] == ["acme", "rival"]
    assert [head.tenant_id for head in await stores.log.heads("", 1)] == ["acme"]
    assert [head.tenant_id for head in await stores.log.heads("acme", 10)] == ["rival"]
