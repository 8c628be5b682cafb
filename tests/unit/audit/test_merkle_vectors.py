"""The published vectors of the tree: unchanged, the RFC's, those known elsewhere, and the code's."""

import hashlib
import json

import pytest

from caio.audit.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from caio.audit.tiles import (
    BundleId,
    Edge,
    TileId,
    consistency_proof,
    entry_bundle,
    inclusion_proof,
    read_entry_bundle,
    read_tile_path,
)
from caio.foundation.errors import InvalidInput
from tests.support.merkle_vectors import FILE, text_of, vectors

TEXT = FILE.read_text(encoding="utf-8")
VECTORS = json.loads(TEXT)


def raw(hexes):
    return [bytes.fromhex(value) for value in hexes]


def test_the_file_is_up_to_date():
    assert text_of(vectors()) == TEXT, "the tree changed; if that is meant: python -m tests.support.merkle_vectors"


def test_the_roots_are_those_of_certificate_transparency():
    assert list(VECTORS["roots"].values()) == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "hashes"),
    [
        ("inclusion", "0 of 8", ["96a296d224f285c6", "5f083f0a1a33ca07", "6b47aaf29ee3c2af"]),
        ("inclusion", "5 of 8", ["bc1a0643b12e4d2d", "ca854ea128ed050b", "d37ee418976dd957"]),
        ("inclusion", "2 of 3", ["fac54203e7cc696c"]),
        ("inclusion", "1 of 5", ["6e340b9cffb37a98", "5f083f0a1a33ca07", "bc1a0643b12e4d2d"]),
        ("consistency", "1 to 8", ["96a296d224f285c6", "5f083f0a1a33ca07", "6b47aaf29ee3c2af"]),
        ("consistency", "6 to 8", ["0ebc5d3437fbe2db", "ca854ea128ed050b", "d37ee418976dd957"]),
        ("consistency", "2 to 5", ["5f083f0a1a33ca07", "bc1a0643b12e4d2d"]),
    ],
)
def test_the_proofs_are_those_of_certificate_transparency(kind, name, hashes):
    (case,) = [case for case in VECTORS[kind] if case["name"] == name]
    assert [value[:16] for value in case["proof"]] == hashes


def test_the_code_finds_the_same_roots():
    leaves = [leaf_hash(entry) for entry in raw(VECTORS["entries"])]
    assert {str(size): root_of(leaves[:size]).hex() for size in range(9)} == VECTORS["roots"]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["name"])
def test_each_inclusion_verifies_as_it_says(case):
    entry_hash, root = raw([case["entry_hash"], case["root"]])
    assert verify_inclusion(entry_hash, case["index"], case["size"], raw(case["proof"]), root) == case["ok"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["name"])
def test_each_consistency_verifies_as_it_says(case):
    old_root, new_root = raw([case["old_root"], case["new_root"]])
    verified = verify_consistency(case["old_size"], old_root, case["new_size"], new_root, raw(case["proof"]))
    assert verified == case["ok"]


def test_the_code_makes_the_same_log():
    log = VECTORS["log"]
    size = log["size"]
    entries = [hashlib.sha256(str(number).encode()).digest() for number in range(size)]
    edge, full = Edge.empty().grow([leaf_hash(entry) for entry in entries])
    assert edge.root().hex() == log["root"]
    tiles = dict(full) | {TileId(level, size >> 8 * (level + 1)): tile for level, tile in edge.partial().items()}
    for path, digest in log["tiles_sha256"].items():
        tile, width = read_tile_path(path)
        assert isinstance(tile, TileId)
        assert width == tile.width_in(size) == len(tiles[tile]) // 32
        assert hashlib.sha256(tiles[tile]).hexdigest() == digest
    assert inclusion_proof(12345, size, tiles) == raw(log["inclusion_of_12345"])
    assert consistency_proof(65537, size, tiles) == raw(log["consistency_from_65537"])


def test_the_code_reads_the_same_paths():
    for case in VECTORS["paths"]["accepted"]:
        level, index = case["level"], case["index"]
        tile = BundleId(index) if level is None else TileId(level, index)
        assert read_tile_path(case["path"]) == (tile, case["width"])
        assert tile.path(case["width"]) == case["path"]
    for path in VECTORS["paths"]["refused"]:
        with pytest.raises(InvalidInput):
            read_tile_path(path)


def test_the_code_reads_the_same_bundles():
    bundles = VECTORS["bundles"]
    entries = raw(bundles["entries"])
    assert entry_bundle(entries).hex() == bundles["bundle"]
    assert read_entry_bundle(bytes.fromhex(bundles["bundle"])) == entries
    for refused in bundles["refused"]:
        with pytest.raises(InvalidInput):
            read_entry_bundle(bytes.fromhex(refused))
