"""The tree over an export's commitments, grown once, written as tiles or compared on its way. Pure.

Theory of operation
-------------------
The commitments of an export are the log's entries. As they come in, the tree grows from the frontier
before the first of them; each tile that becomes full is compared with the file of that name, and
whenever the tree has the size of a checkpoint that is known from elsewhere, the roots are compared.
Kept are the right edge of the tree and one bundle of entries, whatever the log's size.

Laws (each has a test of the same name)
---------------------------------------
- tiles_do_not_depend_on_how_entries_come: the same files, each once, for chunks of any sizes.
- every_tile_is_compared: changed, missing, misnamed and surplus ones are found, and the first is named.
- known_roots_are_compared_at_their_size: between tiles too, and at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from caio.audit.checkpoint import Checkpoint
from caio.audit.merkle import Frontier, leaf_hash
from caio.audit.tiles import HEIGHT, WIDTH, BundleId, Edge, TileId, entry_bundle, read_tile_path
from caio.foundation.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TileFiles:
    """The tile files of an export: their names, relative to it, and what one of them holds, None if absent."""

    names: Callable[[], Iterable[str]]
    read: Callable[[str], bytes | None]


class Known:
    """Checkpoints known from elsewhere, ascending by size, to be met by a tree that grows.

    ``fault`` is the first that the tree contradicts; ``met`` counts those it agrees with, ``before``
    those of sizes below the first that can be computed.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self.fault: str | None = None
        self.met = self.before = 0
        self._coming = iter(checkpoints)
        self._next = next(self._coming, None)

    @property
    def size(self) -> int | None:
        """The size of the next one."""
        return None if self._next is None else self._next.size

    def begin(self, size: int) -> None:
        """Pass over those that are smaller than the first ``size`` whose root is known."""
        while self._next is not None and self._next.size < size:
            self.before += 1
            self._advance()

    def meet(self, size: int, root: bytes) -> None:
        """Compare those of this size."""
        while self._next is not None and self._next.size == size:
            if self._next.root == root:
                self.met += 1
            elif self.fault is None:
                self.fault = f"at {size} entries the checkpoint has another root than these entries: this is a fork"
            self._advance()

    def _advance(self) -> None:
        before = self._next
        self._next = next(self._coming, None)
        if self._next is not None and before is not None and self._next.size < before.size:
            raise ValueError("known checkpoints come in the order of their sizes")


class Tiling:
    """A log's tree from its first entry on, as the files of C2SP tlog-tiles: (name, content)."""

    def __init__(self) -> None:
        self.edge = Edge.empty()
        self._bundle: list[bytes] = []

    def grow(self, entries: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        """Append ``entries``; the files that this makes full, which never change again."""
        self.edge, full = self.edge.grow([leaf_hash(entry) for entry in entries])
        for place, tile in full:
            yield place.path(), tile
        self._bundle += entries
        first = (self.edge.size - len(self._bundle)) // WIDTH
        for number in range(len(self._bundle) // WIDTH):
            entries_of_it = self._bundle[number * WIDTH : (number + 1) * WIDTH]
            yield BundleId(first + number).path(), entry_bundle(entries_of_it)
        del self._bundle[: len(self._bundle) // WIDTH * WIDTH]

    def partial(self) -> Iterator[tuple[str, bytes]]:
        """The files at the right edge, which are not full."""
        size = self.edge.size
        for level, tile in self.edge.partial().items():
            place = TileId(level, size >> HEIGHT * (level + 1))
            yield place.path(place.width_in(size)), tile
        if self._bundle:
            yield BundleId(size // WIDTH).path(len(self._bundle)), entry_bundle(self._bundle)


class LogTree:
    """The tree over the entries from ``frontier.size`` on. With ``tiles``, their files are compared, which
    takes the entries from the first on; ``fault`` is the first file that is not the tree's."""

    def __init__(self, frontier: Frontier, size: int, tiles: TileFiles | None, known: Iterable[Known]) -> None:
        self.fault: str | None = None
        self.compared = 0
        self._frontier = frontier
        self._tiling = Tiling() if tiles is not None and frontier.size == 0 else None
        self._tiles = tiles
        self._known = tuple(known)
        self._pending: list[bytes] = []
        if tiles is not None:
            self._check_names(tiles, size if self._tiling is not None else 0)
        for each in self._known:
            each.begin(frontier.size)
        self._meet()

    @property
    def size(self) -> int:
        return (self._frontier if self._tiling is None else self._tiling.edge).size

    def root(self) -> bytes:
        return (self._frontier if self._tiling is None else self._tiling.edge).root()

    def take(self, commitment: bytes) -> None:
        """The next entry."""
        self._pending.append(commitment)
        if self.size + len(self._pending) == self._stop:
            self._grow()

    def finish(self) -> None:
        """All entries were taken: compare what is left, the partial tiles."""
        self._grow()
        for name, content in self._tiling.partial() if self._tiling is not None else ():
            self._compare(name, content)

    def _grow(self) -> None:
        if self._tiling is None:
            self._frontier = self._frontier.extended([leaf_hash(entry) for entry in self._pending])
        else:
            for name, content in self._tiling.grow(self._pending):
                self._compare(name, content)
        self._pending = []
        self._meet()

    def _meet(self) -> None:
        """Compare the known checkpoints of the present size, and find where to stop next."""
        for each in self._known:
            if each.size == self.size:
                each.meet(self.size, self.root())
        stops = [each.size for each in self._known if each.size is not None]
        self._stop = min([(self.size // WIDTH + 1) * WIDTH, *stops])

    def _compare(self, name: str, content: bytes) -> None:
        if self._tiles is None or self.fault is not None:
            return
        found = self._tiles.read(name)
        if found is None:
            self.fault = f"{name} is missing"
        elif found != content:
            self.fault = f"{name} is not the tile of these entries"
        self.compared += 1

    def _check_names(self, tiles: TileFiles, size: int) -> None:
        """Every file must be named for a tile of the tree; that none is missing is found in comparing."""
        for name in tiles.names():
            try:
                place, width = read_tile_path(name)
                belongs = place.width_in(size) == width
            except InvalidInput:
                belongs = False
            if not belongs:
                self.fault = f"{name!r} is not the name of a tile of this tree"
                return
