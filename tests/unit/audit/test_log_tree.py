"""A log's files as tiles, and the comparison of a tree with what is known of it."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from caio.audit.log_tree import Tiling
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.tiles import BundleId, TileId, read_entry_bundle, read_tile_path

ENTRIES = [hashlib.sha256(b"%d" % number).digest() for number in range(1400)]


@given(st.lists(st.integers(0, 700), max_size=5), st.integers(0, 1400))
def test_tiles_do_not_depend_on_how_entries_come(cuts, size):
    entries = ENTRIES[:size]
    at_once, in_chunks = Tiling(), Tiling()
    expected = [*at_once.grow(entries), *at_once.partial()]
    ends = [*sorted(min(cut, size) for cut in cuts), size]
    found = [file for start, end in zip([0, *ends], ends, strict=False) for file in in_chunks.grow(entries[start:end])]
    found += in_chunks.partial()
    assert sorted(found) == sorted(expected)
    assert len(dict(found)) == len(found)
    assert in_chunks.edge.root() == root_of([leaf_hash(entry) for entry in entries])


@given(st.integers(1, 1400))
def test_every_file_is_where_tlog_tiles_has_it(size):
    tiling = Tiling()
    files = dict([*tiling.grow(ENTRIES[:size]), *tiling.partial()])
    bundles: list[bytes] = []
    leaves = b""
    for name in sorted(files, key=lambda each: each.replace(".p/", "")):
        place, width = read_tile_path(name)
        assert width == place.width_in(size)
        if isinstance(place, BundleId):
            bundles += read_entry_bundle(files[name])
        elif place.level == 0:
            leaves += files[name]
    assert bundles == ENTRIES[:size]
    assert leaves == b"".join(map(leaf_hash, bundles))
    widths = {level: size >> 8 * level for level in range(2)}
    expected = {BundleId(index).path(min(256, size - 256 * index)) for index in range(-(-size // 256))}
    for level, nodes in widths.items():
        expected |= {TileId(level, index).path(min(256, nodes - 256 * index)) for index in range(-(-nodes // 256))}
    assert set(files) == expected
