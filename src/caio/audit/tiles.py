"""The Merkle tree in tiles: what is stored and served of a log, and what is computed out of it.

Theory of operation
-------------------
C2SP tlog-tiles: a tile of level L is a row of up to 256 hashes, concatenated; hash i of tile N is
the root of the perfect subtree over the 256^L leaves from number ``(256 * N + i) * 256^L`` on. The
seven levels of nodes between a tile's hashes and the tile above are not stored, they are hashed
again where they are needed. A full tile never changes; at each level the last tile may be partial,
and a partial tile is the beginning of the full one. So a tile of a larger tree serves for a smaller.

The ``Edge`` is what a writer keeps of a tree: the partial tile of each level, and the frontier. It
grows by new leaves to a new edge and the tiles that became full; the old edge stays as it was, for
a transaction that fails. Copied are the partial tiles that changed, hashed are new nodes only.

Roots and proofs are made from tiles alone: ``tiles_for_…`` says which, and each of them is needed.

Laws (each has a test of the same name)
---------------------------------------
- an_edge_is_its_leaves: growing in any chunks gives the same edge, root and full tiles, each once.
- an_edge_is_its_partial_tiles: an edge is restored from its size and its partial tiles.
- growing_keeps_the_old_edge: the same growth of the same edge gives the same again.
- proofs_from_tiles_are_the_rfcs: and so are the roots, at every size up to that of the tiles.
- every_tile_asked_for_is_needed: without one, or with too short a one, there is no answer.
- any_flipped_byte_of_a_tile_changes_the_root: of the hashes that the root's tiles hold for its size.
- paths_are_canonical: a tile has one path, and every other text is refused.
- bundles_round_trip: entries read back as written; a bundle cut short or continued is refused.

Not known here: where tiles are kept, and whether their hashes are the log's: a root that somebody
vouches for says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from caio.audit.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    MAX_SIZE,
    Frontier,
    Span,
    Subtree,
    consistency_spans,
    fold,
    inclusion_spans,
    row_above,
    subtrees,
)
from caio.foundation.errors import InvalidInput

HEIGHT = 8  # levels of the tree that one level of tiles spans
WIDTH = 1 << HEIGHT  # hashes of a full tile, entries of a full bundle
TILE_BYTES = WIDTH * HASH_BYTES
MAX_ENTRY_BYTES = 2**16 - 1
MAX_LEVEL = 63  # of the path's grammar; a tree of MAX_SIZE leaves ends at level 7
MAX_INDEX = MAX_SIZE >> HEIGHT

# At most six groups: larger numbers are no tile's, however long the text.
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True, order=True)
class TileId:
    """A tile's place: its level, 0 for the leaves' hashes, and its number within the level, from 0."""

    level: int
    index: int

    def __post_init__(self) -> None:
        if not (0 <= self.level <= MAX_LEVEL and 0 <= self.index <= MAX_INDEX):
            raise ValueError(f"no log has a tile {self.index} of level {self.level}")

    def width_in(self, size: int) -> int:
        """How many hashes this tile has in a tree of ``size`` leaves: 0 to 256."""
        return min(max((size >> HEIGHT * self.level) - self.index * WIDTH, 0), WIDTH)

    def path(self, width: int = WIDTH) -> str:
        """The path under the log's prefix; of the partial tile if ``width`` is less than 256."""
        return _path(str(self.level), self.index, width)


@dataclass(frozen=True, slots=True, order=True)
class BundleId:
    """The place of a bundle of entries: number n has the entries of the level 0 tile n."""

    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_INDEX:
            raise ValueError(f"no log has a bundle {self.index}")

    def width_in(self, size: int) -> int:
        """How many entries this bundle has in a log of ``size`` entries: 0 to 256."""
        return min(max(size - self.index * WIDTH, 0), WIDTH)

    def path(self, width: int = WIDTH) -> str:
        """The path under the log's prefix; of the partial bundle if ``width`` is less than 256."""
        return _path("entries", self.index, width)


def _path(kind: str, index: int, width: int) -> str:
    if not 1 <= width <= WIDTH:
        raise ValueError(f"a tile is 1 to {WIDTH} wide, not {width}")
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    suffix = "" if width == WIDTH else f".p/{width}"
    return f"tile/{kind}/{'/'.join(groups)}{suffix}"


def read_tile_path(path: str) -> tuple[TileId | BundleId, int]:
    """The tile or bundle at this path, and its width. Raises InvalidInput for all but a canonical path.

    Whether a log has that tile is not checked: see ``width_in``.
    """
    match = _PATH.fullmatch(path)
    if match:
        kind, groups, partial = match.groups()
        index = int(groups.replace("x", "").replace("/", ""))
        width = int(partial) if partial else WIDTH
        if index <= MAX_INDEX and 1 <= width <= WIDTH and (kind == "entries" or int(kind) <= MAX_LEVEL):
            tile = BundleId(index) if kind == "entries" else TileId(int(kind), index)
            if tile.path(width) == path:
                return tile, width
    raise InvalidInput(
        "This is not the path of a tile; tiles are at tile/<level>/<number> and tile/entries/<number>, "
        "numbers in groups of three digits such as x001/x234/067, followed by .p/<width> if partial."
    )


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """The bundle of 1 to 256 entries of at most 65,535 bytes each. Raises ValueError for others."""
    if not 1 <= len(entries) <= WIDTH:
        raise ValueError(f"a bundle has 1 to {WIDTH} entries, not {len(entries)}")
    if max(map(len, entries)) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of a bundle has at most {MAX_ENTRY_BYTES} bytes")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def read_entry_bundle(raw: bytes) -> list[bytes]:
    """The entries of a bundle, 1 to 256. Raises InvalidInput for what ``entry_bundle`` does not make.

    Whether they are as many as the bundle's width, and the log's, is not checked: hash them.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(raw) and len(entries) < WIDTH:
        start = at + 2
        at = start + int.from_bytes(raw[at:start], "big")
        entries.append(raw[start:at])
    if not entries or at != len(raw):
        raise InvalidInput(f"This is not a bundle of 1 to {WIDTH} entries: it is empty, cut short, or too long.")
    return entries


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree: the partial tile of each level, possibly empty, and the frontier.

    Made by ``empty``, ``of`` and ``grow``, and never changed.
    """

    _frontier: Frontier
    _partial: tuple[bytes, ...]

    @classmethod
    def empty(cls) -> Edge:
        """The edge of the tree without leaves."""
        return cls(Frontier(), ())

    @classmethod
    def of(cls, size: int, tiles: Mapping[int, bytes]) -> Edge:
        """The edge of a tree of ``size`` leaves from its partial tiles by level, as ``partial`` gives them.

        Raises ValueError if a tile is missing, is there but should not be, or has another width than
        the size says. Whether its hashes are the tree's is not checked: compare ``root``.
        """
        _check_size(size)
        partial: list[bytes] = []
        while size >> HEIGHT * len(partial):
            level = len(partial)
            width = (size >> HEIGHT * level) % WIDTH
            tile = tiles.get(level, b"")
            if len(tile) != width * HASH_BYTES:
                raise ValueError(
                    f"the partial tile of level {level} has {width * HASH_BYTES} bytes "
                    f"in a tree of {size} leaves, not {len(tile)}"
                )
            partial.append(tile)
        beyond = [level for level, tile in tiles.items() if tile and level not in range(len(partial))]
        if beyond:
            raise ValueError(f"a tree of {size} leaves has no tiles of level {max(beyond)}")
        hashes = [
            _hash_in(tile, subtree)
            for tile in reversed(partial)
            for subtree in subtrees(Span(0, len(tile) // HASH_BYTES))
        ]
        return cls(Frontier(size, tuple(hashes)), tuple(partial))

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._frontier.size

    def frontier(self) -> Frontier:
        return self._frontier

    def root(self) -> bytes:
        """The root of the tree: as many hashes as the size has bits set, less one."""
        return self._frontier.root()

    def partial(self) -> dict[int, bytes]:
        """The partial tiles that are not empty, by level; the index of each is ``size >> 8 * (level + 1)``."""
        return {level: tile for level, tile in enumerate(self._partial) if tile}

    def grow(self, leaf_hashes: Sequence[bytes]) -> tuple[Edge, list[tuple[TileId, bytes]]]:
        """The edge after these leaves are appended, and the tiles that became full, ordered by level and index.

        Raises ValueError for a hash that is not 32 bytes. Costs about one hash a leaf.
        """
        frontier, rows = self._frontier.grown(leaf_hashes)
        partial = list(self._partial)
        full: list[tuple[TileId, bytes]] = []
        for level, row in enumerate(rows[::HEIGHT]):
            if level == len(partial):
                partial.append(b"")
            held = partial[level] + row
            index = self.size >> HEIGHT * (level + 1)
            cut = len(held) - len(held) % TILE_BYTES
            full += [
                (TileId(level, index + number), held[at : at + TILE_BYTES])
                for number, at in enumerate(range(0, cut, TILE_BYTES))
            ]
            partial[level] = held[cut:]
        return Edge(frontier, tuple(partial)), full


def tiles_for_root(size: int) -> frozenset[TileId]:
    """The tiles that the root of a tree of ``size`` leaves is made of: its partial ones, none if it is empty.

    Raises ValueError for a size that no tree has.
    """
    _check_size(size)
    return _tiles_of([Span(0, size)])


def root_from(size: int, tiles: Mapping[TileId, bytes]) -> bytes:
    """The root of the tree of ``size`` leaves, from (at least) its ``tiles_for_root``.

    Raises ValueError for a size that no tree has, InvalidInput if a tile is missing or too short.
    """
    _check_size(size)
    return _root_of(Span(0, size), tiles) if size else EMPTY_ROOT


def tiles_for_inclusion(index: int, size: int) -> frozenset[TileId]:
    """The tiles that the proof of leaf ``index`` in a tree of ``size`` leaves is made of.

    Raises ValueError if the tree has no such leaf.
    """
    return _tiles_of(inclusion_spans(index, size))


def inclusion_proof(index: int, size: int, tiles: Mapping[TileId, bytes]) -> list[bytes]:
    """The proof for ``caio.audit.merkle.verify_inclusion``, from (at least) its ``tiles_for_inclusion``.

    Raises ValueError if the tree has no such leaf, InvalidInput if a tile is missing or too short.
    """
    return [_root_of(span, tiles) for span in inclusion_spans(index, size)]


def tiles_for_consistency(old: int, new: int) -> frozenset[TileId]:
    """The tiles that the proof from ``old`` to ``new`` leaves is made of. Raises ValueError unless 1 <= old <= new."""
    return _tiles_of(consistency_spans(old, new))


def consistency_proof(old: int, new: int, tiles: Mapping[TileId, bytes]) -> list[bytes]:
    """The proof for ``caio.audit.merkle.verify_consistency``, from (at least) its ``tiles_for_consistency``.

    Raises ValueError unless 1 <= old <= new, InvalidInput if a tile is missing or too short.
    """
    return [_root_of(span, tiles) for span in consistency_spans(old, new)]


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"a tree has 0 to 2^63 - 1 leaves, not {size}")


def _tile_of(subtree: Subtree) -> TileId:
    """The tile whose hashes the subtree's root is made of."""
    return TileId(subtree.level // HEIGHT, subtree.number >> HEIGHT - subtree.level % HEIGHT)


def _tiles_of(spans: Iterable[Span]) -> frozenset[TileId]:
    return frozenset(_tile_of(subtree) for span in spans for subtree in subtrees(span))


def _root_of(span: Span, tiles: Mapping[TileId, bytes]) -> bytes:
    hashes: list[bytes] = []
    for subtree in subtrees(span):
        tile = _tile_of(subtree)
        root = _hash_in(tiles.get(tile, b""), subtree)
        if not root:
            raise InvalidInput(f"The tile {tile.path()} is missing, or too short for what is asked of it.")
        hashes.append(root)
    return fold(hashes)


def _hash_in(tile: bytes, subtree: Subtree) -> bytes:
    """The root of a subtree from the tile that has its hashes; empty if they are not all there."""
    height = subtree.level % HEIGHT
    at = subtree.number % (WIDTH >> height) * HASH_BYTES
    return _rows_of(tile[:TILE_BYTES])[height][at : at + HASH_BYTES]


# Proofs from one tree share their upper and right tiles, and those of neighbours all of them. 512
# tiles with their rows are 12 MB at most, and leave room for the upper ones of ten million leaves.
@lru_cache(maxsize=512)
def _rows_of(tile: bytes) -> tuple[bytes, ...]:
    """The tile's hashes and the rows of complete nodes above them, for the eight heights that it spans."""
    rows = [tile[: len(tile) // HASH_BYTES * HASH_BYTES]]
    for _ in range(HEIGHT - 1):
        rows.append(row_above(rows[-1]))
    return tuple(rows)
