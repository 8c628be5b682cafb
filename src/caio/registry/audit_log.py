"""The audit log as its readers see it: heads, proofs and tiles of one tenant's tree.

Theory of operation
-------------------
Whatever is answered refers to a head that is signed and stored. Proofs are made from tiles, read in one
statement; a tile of a larger tree serves for a smaller one, so nothing is locked between reading the
head and the tiles. Full tiles above level 0 never change and are kept in memory, in bounded number:
a proof in a tree of ten million leaves then reads three tiles. What is read is not trusted: a proof
is verified against the head's root before it leaves.

Laws (each has a test of the same name)
---------------------------------------
- every_proof_given_verifies: against the head given with it; a store that was changed gives an error.
- fresh_holds_what_was_durable: a fresh head holds every leaf that was durable before the call.
- nothing_beyond_the_head: neither tiles nor bundles nor proofs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from caio.audit.merkle import HASH_BYTES, verify_consistency, verify_inclusion
from caio.audit.ports import LogHead, LogStore
from caio.audit.tiles import (
    MAX_INDEX,
    MAX_LEVEL,
    TILE_BYTES,
    WIDTH,
    BundleId,
    TileId,
    consistency_proof,
    entry_bundle,
    inclusion_proof,
    root_from,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
)
from caio.audit.trees import log_broken
from caio.foundation.errors import InvalidInput, NotFound
from caio.foundation.scope import TenantScope

#: Full tiles kept in memory: 8 MB.
KEPT = 1024


class Sequencing(Protocol):
    """Who takes leaves into the trees."""

    async def take_in(self, tenant_id: str) -> None:
        """Return when everything durable at the call is under a signed checkpoint, or cannot soon be."""
        ...


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Proofs that leaves are in the tree of ``head``: for each seq the hashes that lead to its root."""

    head: LogHead
    proofs: tuple[tuple[bytes, ...], ...]

    @property
    def checkpoint(self) -> str:
        """The signed note that vouches for the root."""
        return self.head.checkpoint


class AuditLog:
    """A tenant's log, for its own readers."""

    def __init__(self, store: LogStore, sequencer: Sequencing, *, kept: int = KEPT) -> None:
        self._store = store
        self._sequencer = sequencer
        self._kept = kept
        self._full: OrderedDict[tuple[str, TileId], bytes] = OrderedDict()

    async def head(self, scope: TenantScope, *, fresh: bool = False) -> LogHead | None:
        """The newest head, None while there is none. ``fresh`` has what is durable now taken in before;
        when that is not possible soon, the head is older."""
        if fresh:
            await self._sequencer.take_in(scope.tenant_id)
        return await self._store.head(scope)

    async def inclusion(self, scope: TenantScope, seqs: Sequence[int], *, fresh: bool = False) -> Inclusion | None:
        """Proofs for the leaves ``seqs``, under one head; None when its tree does not hold all of them (yet).

        ``fresh`` is asked of the sequencer only when the tree does not hold them. Raises SealBroken
        ``log_broken`` when the store's tiles do not lead to the head's root, ValueError for a negative seq.
        """
        head = await self._store.head(scope)
        if fresh and (head is None or max(seqs, default=0) >= head.size):
            head = await self.head(scope, fresh=True)
        if head is None or max(seqs, default=0) >= head.size:
            return None
        size = head.size
        own = {seq: TileId(0, seq // WIDTH) for seq in seqs}  # not always of a proof, but verified against
        needed = {tile for seq in seqs for tile in tiles_for_inclusion(seq, size)}
        tiles = await self._tiles(scope, needed.union(own.values()))
        try:
            proofs = [inclusion_proof(seq, size, tiles) for seq in seqs]
        except InvalidInput as error:
            raise log_broken(scope.tenant_id, error.message) from error
        for seq, proof in zip(seqs, proofs, strict=True):
            leaf = tiles.get(own[seq], b"")[seq % WIDTH * HASH_BYTES :][:HASH_BYTES]
            if not verify_inclusion(leaf, seq, size, proof, head.root):
                raise log_broken(scope.tenant_id, f"its tiles do not prove leaf {seq} at size {size}")
        self._keep(scope, tiles)
        return Inclusion(head, tuple(map(tuple, proofs)))

    async def consistency(self, scope: TenantScope, old: int, new: int) -> list[bytes]:
        """The proof that the tree of ``new`` leaves begins with that of ``old``; empty when nothing is to prove.

        Raises InvalidInput for sizes in the wrong order, NotFound beyond the head, and SealBroken as
        ``inclusion`` does.
        """
        if not 0 <= old <= new:
            raise InvalidInput("A consistency proof leads from a size, 0 or more, to the same or a larger one.")
        head = await self._store.head(scope)
        if new > (head.size if head else 0):
            raise NotFound(f"The log has no {new} entries yet; ask for its newest checkpoint.")
        if head is None or old in (0, new):
            return []
        needed = tiles_for_consistency(old, new) | tiles_for_root(old) | tiles_for_root(new)
        tiles = await self._tiles(scope, needed)
        try:
            proof = consistency_proof(old, new, tiles)
            proved = verify_consistency(old, root_from(old, tiles), new, root_from(new, tiles), proof)
        except InvalidInput as error:
            raise log_broken(scope.tenant_id, error.message) from error
        if not proved or (new == head.size and root_from(new, tiles) != head.root):
            raise log_broken(scope.tenant_id, f"its tiles do not prove {old} entries of {new}")
        return proof

    async def tile(self, scope: TenantScope, level: int, position: int, width: int = WIDTH) -> bytes:
        """The first ``width`` hashes of a tile. Raises NotFound unless the tree has as many there."""
        head = await self._store.head(scope)
        if not (0 <= level <= MAX_LEVEL and 0 <= position <= MAX_INDEX and 1 <= width <= WIDTH):
            raise _beyond()
        tile = TileId(level, position)
        if head is None or tile.width_in(head.size) < width:
            raise _beyond()
        content = (await self._tiles(scope, {tile})).get(tile, b"")
        if len(content) < width * HASH_BYTES:
            raise log_broken(scope.tenant_id, f"the tile {tile.path()} is missing or cut short")
        return content[: width * HASH_BYTES]

    async def entry_bundle(self, scope: TenantScope, position: int, width: int = WIDTH) -> bytes:
        """The first ``width`` entries of a bundle. Raises NotFound unless the tree has as many there."""
        head = await self._store.head(scope)
        if not (0 <= position <= MAX_INDEX and 1 <= width <= WIDTH):
            raise _beyond()
        if head is None or BundleId(position).width_in(head.size) < width:
            raise _beyond()
        start = position * WIDTH
        found = await self._store.commitments([(scope.tenant_id, start, start + width)])
        if scope.tenant_id not in found:
            raise log_broken(scope.tenant_id, f"the journal lacks leaves between {start} and {start + width - 1}")
        return entry_bundle(found[scope.tenant_id])

    async def _tiles(self, scope: TenantScope, wanted: Iterable[TileId]) -> dict[TileId, bytes]:
        """The wanted tiles, from memory where they are kept."""
        found: dict[TileId, bytes] = {}
        missing: list[tuple[int, int]] = []
        for tile in wanted:
            kept = self._full.get((scope.tenant_id, tile))
            if kept is None:
                missing.append((tile.level, tile.index))
            else:
                found[tile] = kept
        if missing:
            read = await self._store.tiles(scope, missing)
            found.update((TileId(*place), content) for place, content in read.items())
        return found

    def _keep(self, scope: TenantScope, tiles: Mapping[TileId, bytes]) -> None:
        """Keep those tiles of a proof that verified which will never change and serve many more."""
        for tile, content in tiles.items():
            if tile.level > 0 and len(content) == TILE_BYTES:
                self._full[scope.tenant_id, tile] = content
                self._full.move_to_end((scope.tenant_id, tile))
        while len(self._full) > self._kept:
            self._full.popitem(last=False)


def _beyond() -> NotFound:
    return NotFound("The log has no such tile yet; ask for its newest checkpoint, and no tile beyond it.")
