"""The laws of ``caio.audit.tiles``, against the RFC's own definitions over the whole log."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caio.audit.merkle import MAX_SIZE, Frontier, leaf_hash, root_of, verify_consistency, verify_inclusion
from caio.audit.tiles import (
    MAX_INDEX,
    BundleId,
    Edge,
    TileId,
    consistency_proof,
    entry_bundle,
    inclusion_proof,
    read_entry_bundle,
    read_tile_path,
    root_from,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
)
from caio.foundation.errors import InvalidInput
from tests.support.rfc_merkle import MTH, PATH, PROOF, TILE

MOST = 1300  # leaves: five full tiles of level 0, and a beginning
ENTRIES = [str(number).encode() for number in range(MOST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
DEEP = 2 * 256**2 + 3 * 256 + 5  # leaves of a log with three levels of tiles

# Sizes of the small log, often those at which a tile begins or ends.
small = st.one_of(st.integers(1, MOST), st.sampled_from([255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1280, 1281]))


def tiles_of(edge, full):
    """All tiles of a log, the partial ones too."""
    partial = {TileId(level, edge.size >> 8 * (level + 1)): tile for level, tile in edge.partial().items()}
    return {**dict(full), **partial}


@cache
def small_log():
    return tiles_of(*Edge.empty().grow(LEAVES))


@cache
def deep_log():
    leaves = [leaf_hash(b"%d" % number) for number in range(DEEP)]
    return leaves, tiles_of(*Edge.empty().grow(leaves))


def cut(tiles, wanted, size):
    """The wanted tiles as they were when the log had ``size`` leaves."""
    return {tile: tiles[tile][: 32 * tile.width_in(size)] for tile in wanted}


def flipped(value, place):
    changed = bytearray(value)
    changed[place % len(value)] ^= 1 << place % 8
    return bytes(changed)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 600)), max_size=8))
@example([255, 1, 256, 1])
@example([256, 0, 512])
def test_an_edge_is_its_leaves(chunks):
    edge, tiles = Edge.empty(), []
    for chunk in chunks:
        before = edge.size
        edge, full = edge.grow(LEAVES[before : before + chunk])
        assert [tile for tile, _ in full] == sorted(tile for tile, _ in full)
        tiles += full
    size = edge.size
    assert size == min(sum(chunks), MOST)
    assert len(dict(tiles)) == len(tiles) == size // 256
    whole, full = Edge.empty().grow(LEAVES[:size])
    assert (edge, dict(tiles)) == (whole, dict(full))
    assert edge.frontier() == Frontier.of(LEAVES[:size])
    assert edge.root() == MTH(ENTRIES[:size])
    for tile, hashes in tiles_of(edge, tiles).items():
        assert hashes == TILE(tile.level, tile.index, ENTRIES[:size])


def test_the_tiles_of_a_deep_log_are_full_and_partial_as_specified():
    leaves, tiles = deep_log()
    edge, full = Edge.empty(), []
    for start in range(0, DEEP, 20_001):
        edge, more = edge.grow(leaves[start : start + 20_001])
        full += more
    assert tiles_of(edge, full) == tiles
    widths = {0: [256] * 515 + [5], 1: [256, 256, 3], 2: [2]}
    assert {tile: len(hashes) // 32 for tile, hashes in tiles.items()} == {
        TileId(level, index): width for level, row in widths.items() for index, width in enumerate(row)
    }
    assert tiles[TileId(1, 2)] == b"".join(root_of(tiles_row(tiles[TileId(0, 512 + at)])) for at in range(3))
    assert tiles[TileId(2, 0)] == b"".join(root_of(tiles_row(tiles[TileId(1, at)])) for at in range(2))
    assert root_from(DEEP, tiles) == edge.root() == root_of(leaves)


def tiles_row(tile):
    return [tile[at : at + 32] for at in range(0, len(tile), 32)]


edges = st.builds(
    lambda size, back: min(max(size - back, 0), MAX_SIZE - 1000),
    st.one_of(st.integers(0, MAX_SIZE), st.integers(0, 63).map(lambda bit: 1 << bit)),
    st.integers(0, 300),
)


def edge_of(size):
    """An edge of any size, over hashes that are nobody's."""
    widths = {level: (size >> 8 * level) % 256 for level in range(8)}
    row = b"".join(LEAVES[:256])
    return Edge.of(size, {level: row[: 32 * width] for level, width in widths.items()})


@given(edges, st.integers(0, 600))
def test_an_edge_is_its_partial_tiles(size, more):
    edge = edge_of(size)
    assert edge.size == size
    grown, full = edge.grow(LEAVES[:more])
    assert Edge.of(grown.size, grown.partial()) == grown
    assert grown.frontier() == edge.frontier().extended(LEAVES[:more])
    assert grown.root() == grown.frontier().root()
    assert [tile for tile, _ in full] == [
        TileId(level, index)
        for level in range(8)
        for index in range(size >> 8 * (level + 1), (size + more) >> 8 * (level + 1))
    ]
    held = tiles_of(edge, [])
    for tile, hashes in tiles_of(grown, full).items():
        before = held.get(tile, b"")
        assert len(hashes) == 32 * tile.width_in(size + more)
        assert hashes.startswith(before)


@given(edges, st.integers(1, 600))
def test_growing_keeps_the_old_edge(size, more):
    edge = edge_of(size)
    once = edge.grow(LEAVES[:more])
    assert edge == edge_of(size)
    assert edge.grow(LEAVES[:more]) == once


@settings(max_examples=40)
@given(small, st.integers(0, MOST), st.integers(0, MOST))
def test_proofs_from_tiles_are_the_rfcs(size, index, old):
    index, old = index % size, old % size + 1
    tiles = small_log()
    for known in (tiles, cut(tiles, tiles, size)):
        assert root_from(size, known) == MTH(ENTRIES[:size])
        assert inclusion_proof(index, size, known) == PATH(index, ENTRIES[:size])
        assert consistency_proof(old, size, known) == PROOF(old, ENTRIES[:size])


@given(st.integers(1, DEEP), st.integers(0, DEEP), st.integers(0, DEEP))
@example(DEEP, 0, 65_535)
@example(131_072, 65_536, 65_535)
def test_proofs_of_a_deep_log_verify(size, index, old):
    leaves, tiles = deep_log()
    index, old = index % size, old % size + 1
    root = root_from(size, cut(tiles, tiles_for_root(size), size))
    proof = inclusion_proof(index, size, cut(tiles, tiles_for_inclusion(index, size), size))
    assert verify_inclusion(leaves[index], index, size, proof, root)
    old_root = root_from(old, cut(tiles, tiles_for_root(old), old))
    proof = consistency_proof(old, size, cut(tiles, tiles_for_consistency(old, size), size))
    assert verify_consistency(old, old_root, size, root, proof)


@settings(max_examples=40)
@given(small, st.integers(0, MOST), st.integers(0, MOST))
def test_every_tile_asked_for_is_needed(size, index, old):
    index, old = index % size, old % size + 1
    tiles = small_log()
    for wanted, answer in (
        (tiles_for_root(size), lambda known: root_from(size, known)),
        (tiles_for_inclusion(index, size), lambda known: inclusion_proof(index, size, known)),
        (tiles_for_consistency(old, size), lambda known: consistency_proof(old, size, known)),
    ):
        known = cut(tiles, wanted, size)
        assert answer(known) == answer(tiles)
        for tile in wanted:
            for less in (b"", known[tile][:31]):
                with pytest.raises(InvalidInput):
                    answer({**known, tile: less})
            with pytest.raises(InvalidInput):
                answer({other: hashes for other, hashes in known.items() if other != tile})
    known = cut(tiles, tiles_for_root(size), size)
    for tile in known:
        with pytest.raises(InvalidInput):
            root_from(size, {**known, tile: known[tile][:-1]})


def test_the_root_is_made_of_the_partial_tiles():
    edge = Edge.empty()
    for leaf in LEAVES:
        edge, _ = edge.grow([leaf])
        assert tiles_for_root(edge.size) == set(tiles_of(edge, []))


@given(small, st.integers(0, 2**13 - 1))
def test_any_flipped_byte_of_a_tile_changes_the_root(size, place):
    tiles = cut(small_log(), tiles_for_root(size), size)
    root = root_from(size, tiles)
    for tile, hashes in tiles.items():
        assert root_from(size, {**tiles, tile: flipped(hashes, place)}) != root
        assert root_from(size, {**tiles, tile: hashes + LEAVES[0]}) == root


@given(small, st.integers(0, MOST), st.integers(0, 2**13 - 1))
def test_a_proof_from_a_changed_tile_does_not_verify(size, index, place):
    """But for the one hash in the tile that the leaf itself is under, which its proof does not use."""
    index %= size
    tiles = cut(small_log(), tiles_for_inclusion(index, size), size)
    root = root_from(size, small_log())
    for tile, hashes in tiles.items():
        changed = inclusion_proof(index, size, {**tiles, tile: flipped(hashes, place)})
        own = divmod(index >> 8 * tile.level, 256) == (tile.index, place % len(hashes) // 32)
        assert verify_inclusion(LEAVES[index], index, size, changed, root) == own


@given(st.integers(0, 63), st.integers(0, MAX_INDEX), st.integers(1, 256), st.data())
def test_paths_are_canonical(level, index, width, data):
    for place in (TileId(level, index), BundleId(index)):
        path = place.path(width)
        assert read_tile_path(path) == (place, width)
        # What differs in one character is another tile's path, or none.
        at = data.draw(st.integers(0, len(path)))
        inserted = data.draw(st.sampled_from(["0", "1", "x", "/", ".", "p", "", "٣", "\n"]))
        for other in (path[:at] + inserted + path[at:], path[:at] + inserted + path[at + 1 :]):
            if other != path:
                try:
                    found, its_width = read_tile_path(other)
                except InvalidInput:
                    continue
                assert (found, its_width) != (place, width)
                assert found.path(its_width) == other


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=256), st.integers(1, 100), st.binary(min_size=1, max_size=3)
)
def test_bundles_round_trip(entries, less, more):
    raw = entry_bundle(entries)
    assert read_entry_bundle(raw) == entries
    for other in (raw[:-less], raw + more):
        try:
            found = read_entry_bundle(other)
        except InvalidInput:
            continue
        # Cut or continued between two entries, it is the bundle of fewer or more.
        assert entry_bundle(found) == other
        assert found != entries
