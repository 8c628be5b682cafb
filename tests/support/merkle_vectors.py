"""Write ``schemas/vectors/merkle-v1.json``: the tree, its proofs and tiles, for others to agree with.

    python -m tests.support.merkle_vectors

Everything in it is computed by the RFC's definitions (``rfc_merkle``), not by the code that it tests.
A change of an existing vector is a new format version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.rfc_merkle import HASH, MTH, PATH, PROOF, TILE

FILE = Path(__file__).parents[2] / "schemas" / "vectors" / "merkle-v1.json"

# The entries that Certificate Transparency's implementations are tested with.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
LOG_SIZE = 70_000  # the example of C2SP tlog-tiles: three levels of tiles
LOG_TILES = {
    "tile/0/000": (0, 0),
    "tile/0/272": (0, 272),
    "tile/0/273.p/112": (0, 273),
    "tile/1/000": (1, 0),
    "tile/1/001.p/17": (1, 1),
    "tile/2/000.p/1": (2, 0),
}


def hexes(hashes: list[bytes]) -> list[str]:
    return [value.hex() for value in hashes]


def inclusion(name: str, index: int, size: int, /, **changed: Any) -> dict[str, Any]:
    """A proof that verifies, or with something ``changed`` in it, says ``ok`` or does not."""
    entries = ENTRIES[:size]
    case = {
        "name": name,
        "index": index,
        "size": size,
        "entry_hash": HASH(b"\x00" + entries[index]).hex(),
        "proof": hexes(PATH(index, entries)),
        "root": MTH(entries).hex(),
        "ok": not changed,
    }
    return {**case, **changed}


def consistency(name: str, old: int, new: int, /, **changed: Any) -> dict[str, Any]:
    case = {
        "name": name,
        "old_size": old,
        "old_root": MTH(ENTRIES[:old]).hex(),
        "new_size": new,
        "new_root": MTH(ENTRIES[:new]).hex(),
        "proof": hexes(PROOF(old, ENTRIES[:new])) if old else [],
        "ok": not changed,
    }
    return {**case, **changed}


def inclusion_cases() -> list[dict[str, Any]]:
    proof = hexes(PATH(5, ENTRIES))
    other = HASH(b"another").hex()
    return [
        *(inclusion(f"{index} of {size}", index, size) for size in range(1, 9) for index in range(size)),
        inclusion("another entry", 5, 8, entry_hash=other),
        inclusion("another root", 5, 8, root=other),
        inclusion("a hash too few", 5, 8, proof=proof[:-1]),
        inclusion("a hash too many", 5, 8, proof=[*proof, other]),
        inclusion("two hashes swapped", 5, 8, proof=[proof[1], proof[0], proof[2]]),
        inclusion("one bit of the proof", 5, 8, proof=[f"{int(proof[0], 16) ^ 1:064x}", *proof[1:]]),
        inclusion("a hash of 31 bytes", 5, 8, proof=[proof[0][:-2], *proof[1:]]),
        inclusion("another index", 5, 8, index=4),
        inclusion("an index that is the size", 0, 1, index=1),
        inclusion("a negative index", 0, 1, index=-1),
        inclusion("no leaves", 0, 1, size=0),
        inclusion("the root as its own leaf, one level up", 0, 2, entry_hash=MTH(ENTRIES[:2]).hex(), proof=[]),
        inclusion("a size whose tree has the leaf on the same sides: the proof cannot tell", 0, 3, size=4, ok=True),
        inclusion("a size whose tree has the leaf on other sides", 0, 3, size=5),
    ]


def consistency_cases() -> list[dict[str, Any]]:
    proof = hexes(PROOF(6, ENTRIES))
    other = HASH(b"another").hex()
    return [
        *(consistency(f"{old} to {new}", old, new) for new in range(1, 9) for old in range(1, new + 1)),
        consistency("another old root", 6, 8, old_root=other),
        consistency("another new root", 6, 8, new_root=other),
        consistency("a hash too few", 6, 8, proof=proof[:-1]),
        consistency("a hash too many", 6, 8, proof=[*proof, other]),
        consistency("no hashes", 6, 8, proof=[]),
        consistency("a hash of 33 bytes", 6, 8, proof=[proof[0] + "00", *proof[1:]]),
        consistency("equal sizes, other roots", 4, 4, new_root=other),
        consistency("equal sizes, and a hash", 4, 4, proof=[other]),
        consistency("from the larger to the smaller", 6, 8, old_size=8, new_size=6),
        consistency("from nothing", 0, 8, ok=False),
        consistency("from nothing to nothing", 0, 0, ok=False),
        consistency("sizes on the same sides: the proof cannot tell", 2, 3, old_size=1, new_size=2, ok=True),
    ]


def log() -> dict[str, Any]:
    entries = [HASH(str(number).encode()) for number in range(LOG_SIZE)]
    return {
        "entry": "number i, from 0, is the 32 bytes of SHA-256 over i in decimal",
        "size": LOG_SIZE,
        "root": MTH(entries).hex(),
        "tiles_sha256": {path: HASH(TILE(*place, entries)).hex() for path, place in LOG_TILES.items()},
        "inclusion_of_12345": hexes(PATH(12345, entries)),
        "consistency_from_65537": hexes(PROOF(65537, entries)),
    }


def paths() -> dict[str, Any]:
    def named(path: str, level: int | None, index: int, width: int) -> dict[str, Any]:
        return {"path": path, "level": level, "index": index, "width": width}

    return {
        "accepted": [
            named("tile/0/000", 0, 0, 256),
            named("tile/1/x001/x234/067", 1, 1234067, 256),
            named("tile/0/273.p/112", 0, 273, 112),
            named("tile/63/001.p/1", 63, 1, 1),
            named("tile/entries/x001/000", None, 1000, 256),
            named("tile/entries/273.p/112", None, 273, 112),
        ],
        "refused": [
            "tile/00/000",
            "tile/64/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/001/234",
            "tile/0/x001/x234",
            "tile/0/x000/001",
            "tile/0/X001/234",
            "tile/0/000/",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/00\uff11",
            "tile/Entries/000",
            "/tile/0/000",
        ],
    }


def bundles() -> dict[str, Any]:
    raw = b"".join(len(entry).to_bytes(2, "big") + entry for entry in ENTRIES)
    return {
        "entries": hexes(ENTRIES),
        "bundle": raw.hex(),
        "refused": ["", "00", "0001", "00026a", "00016a00", raw[:-1].hex(), "0000" * 257],
    }


def vectors() -> dict[str, Any]:
    return {
        "format": "caio/merkle/v1",
        "entries": hexes(ENTRIES),
        "roots": {str(size): MTH(ENTRIES[:size]).hex() for size in range(9)},
        "inclusion": inclusion_cases(),
        "consistency": consistency_cases(),
        "log": log(),
        "paths": paths(),
        "bundles": bundles(),
    }


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text_of(vectors()), encoding="utf-8")
