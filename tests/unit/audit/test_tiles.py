"""Paths, bundles and edges, by example: those of C2SP tlog-tiles, and everything that is refused."""

import pytest

from caio.audit.merkle import EMPTY_ROOT, MAX_SIZE, leaf_hash, root_of
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

LEAVES = [leaf_hash(b"%d" % number) for number in range(600)]


@pytest.mark.parametrize(
    ("path", "tile", "width"),
    [
        ("tile/0/000", TileId(0, 0), 256),
        ("tile/0/999", TileId(0, 999), 256),
        ("tile/0/x001/000", TileId(0, 1000), 256),
        ("tile/1/x001/x234/067", TileId(1, 1_234_067), 256),
        ("tile/63/001.p/1", TileId(63, 1), 1),
        ("tile/2/000.p/255", TileId(2, 0), 255),
        ("tile/entries/000", BundleId(0), 256),
        ("tile/entries/x001/x234/067.p/16", BundleId(1_234_067), 16),
        ("tile/0/x036/x028/x797/x018/x963/967", TileId(0, MAX_INDEX), 256),
    ],
)
def test_paths_are_those_of_the_specification(path, tile, width):
    assert tile.path(width) == path
    assert read_tile_path(path) == (tile, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//0/000",
        "tile/0//000",
        "./tile/0/000",
        "tile/0/../0/000",
        "Tile/0/000",
        "TILE/0/000",
        "tiles/0/000",
        "checkpoint",
        # levels
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0x1/000",
        "tile/a/000",
        "tile/Entries/000",
        "tile/data/000",
        "tile/entries",
        "tile/entries/",
        # numbers
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/001/234",
        "tile/0/x001",
        "tile/0/x001/x234",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/x001/x000/x000/x000/x000/x000/000",
        "tile/0/X001/000",
        "tile/0/x01/000",
        "tile/0/x0001/000",
        "tile/0/x001234/067",
        "tile/0/x001/x234/x067",
        "tile/0/-01",
        "tile/0/+01",
        "tile/0/ 01",
        "tile/0/0_1",
        "tile/0/001 ",
        " tile/0/001",
        "tile/0/001\n",
        "tile/0/00a",
        "tile/0/1e2",
        "tile/0/\u0660\u0660\u0661",  # Arabic-Indic digits
        "tile/0/00\uff11",  # a full-width digit
        "tile/\u00b2/001",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/" + "x001/" * 5000 + "000",
        # widths
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/999",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/000.p/+1",
        "tile/0/000.p/x01",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.P/1",
        "tile/0/000p/1",
        "tile/0/000/p/1",
        "tile/0/000.p1",
        "tile/0/000.p/\u0661",
        "tile/entries/000.p/0",
        "tile/entries/000.p/256",
    ],
)
def test_every_other_path_is_refused(path):
    with pytest.raises(InvalidInput):
        read_tile_path(path)


def test_places_that_no_log_has_cannot_be_named():
    for level, index in ((-1, 0), (64, 0), (0, -1), (0, MAX_INDEX + 1)):
        with pytest.raises(ValueError):
            TileId(level, index)
    for index in (-1, MAX_INDEX + 1):
        with pytest.raises(ValueError):
            BundleId(index)
    for width in (-1, 0, 257):
        with pytest.raises(ValueError):
            TileId(0, 0).path(width)
        with pytest.raises(ValueError):
            BundleId(0).path(width)


def test_tiles_sort_by_level_then_number():
    assert sorted([TileId(1, 0), TileId(0, 2), TileId(0, 1)]) == [TileId(0, 1), TileId(0, 2), TileId(1, 0)]


def test_widths_are_those_of_the_specification():
    """Its example: 70,000 entries are 273 full tiles and one of 112, one full and one of 17, and one of 1."""
    size = 70_000
    assert [TileId(0, index).width_in(size) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [TileId(1, index).width_in(size) for index in (0, 1, 2)] == [256, 17, 0]
    assert [TileId(2, index).width_in(size) for index in (0, 1)] == [1, 0]
    assert TileId(3, 0).width_in(size) == 0
    assert [BundleId(index).width_in(size) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [TileId(level, 0).width_in(256) for level in (0, 1)] == [256, 1]


def test_bundles_are_length_prefixed():
    assert entry_bundle([b"", b"a", b"bc"]) == b"\x00\x00" + b"\x00\x01a" + b"\x00\x02bc"
    assert len(entry_bundle([b"e" * 32] * 256)) == 256 * 34
    assert entry_bundle([b"e" * 258])[:2] == b"\x01\x02"
    assert read_entry_bundle(entry_bundle([b"e" * 65_535])) == [b"e" * 65_535]


def test_other_bundles_are_not_made():
    for entries in ([], [b""] * 257, [b"e" * 65_536], [b"a", b"e" * 65_536]):
        with pytest.raises(ValueError):
            entry_bundle(entries)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x00\x00",
        b"\x00\x02a",
        b"\x00\x01ab",
        b"\x00\x00" * 257,
        b"\x00\x00" * 256 + b"\x00",
    ],
)
def test_every_other_bundle_is_refused(raw):
    with pytest.raises(InvalidInput):
        read_entry_bundle(raw)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (-1, {}),
        (MAX_SIZE + 1, {}),
        (1, {}),
        (1, {0: b""}),
        (1, {0: LEAVES[0][:-1]}),
        (1, {0: LEAVES[0] + LEAVES[1]}),
        (0, {0: LEAVES[0]}),
        (256, {0: LEAVES[0]}),
        (256, {0: LEAVES[0], 1: LEAVES[0]}),
        (1, {0: LEAVES[0], 1: LEAVES[0]}),
        (1, {0: LEAVES[0], 7: LEAVES[0]}),
        (1, {0: LEAVES[0], -1: LEAVES[0]}),
        (257, {0: LEAVES[0]}),
        (257, {0: LEAVES[0], 1: LEAVES[0] * 2}),
    ],
)
def test_an_edge_of_tiles_that_do_not_fit_is_refused(size, tiles):
    with pytest.raises(ValueError):
        Edge.of(size, tiles)


def test_an_edge_takes_hashes_only():
    with pytest.raises(ValueError):
        Edge.empty().grow([LEAVES[0], b"short"])


def test_an_empty_log_has_a_root_and_no_tiles():
    edge = Edge.empty()
    assert (edge.size, edge.root(), edge.partial()) == (0, EMPTY_ROOT, {})
    assert edge == Edge.of(0, {}) == Edge.of(0, {0: b"", 5: b""})
    assert edge.grow([]) == (edge, [])
    assert tiles_for_root(0) == frozenset()
    assert root_from(0, {}) == EMPTY_ROOT


def test_a_tile_becomes_full_at_its_last_hash():
    edge, full = Edge.empty().grow(LEAVES[:255])
    assert full == []
    assert {level: len(tile) // 32 for level, tile in edge.partial().items()} == {0: 255}
    edge, full = edge.grow(LEAVES[255:256])
    assert full == [(TileId(0, 0), b"".join(LEAVES[:256]))]
    assert edge.partial() == {1: root_of(LEAVES[:256])}
    assert edge.frontier().hashes == (root_of(LEAVES[:256]),)


def test_little_is_needed_at_the_ends():
    assert tiles_for_inclusion(0, 1) == frozenset()
    assert inclusion_proof(0, 1, {}) == []
    assert tiles_for_consistency(7, 7) == frozenset()
    assert consistency_proof(7, 7, {}) == []
    assert tiles_for_consistency(256, 257) == {TileId(0, 1)}
    assert tiles_for_inclusion(256, 257) == {TileId(1, 0)}
    assert tiles_for_root(256) == {TileId(1, 0)}


def test_a_missing_tile_is_named():
    with pytest.raises(InvalidInput, match="tile/0/001"):
        root_from(300, {TileId(1, 0): root_of(LEAVES[:256])})


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1])
def test_sizes_that_no_tree_has_are_refused(size):
    with pytest.raises(ValueError, match="a tree has"):
        tiles_for_root(size)
    with pytest.raises(ValueError, match="a tree has"):
        root_from(size, {})
