"""Growing the trees of many logs: from leaves that are durable to heads that can be written.

Theory of operation
-------------------
Of each log the edge of its tree is kept in memory, for as many logs as fit. Growing needs nothing
else but the new commitments. Whenever the stored head is not the one that the kept edge leads to,
because another process was faster or this one has just started, the edge is read again: its partial
tiles from the store, that of level 0 out of the journal. Before an edge that was read is built upon, it is
held against the head: the same root, under a checkpoint that a key of ours signed. And it must continue the
last head that this process wrote: a database that is set back or rewritten under a running process is noticed
at the next leaf, not at the next start.

A big chunk is hashed in slices between which the event loop gets its turn.

Laws (each has a test of the same name)
---------------------------------------
- heads_are_the_trees: after any steps, on kept edges and on edges read again, roots and tiles are those
  of the journal's leaves.
- nothing_is_signed_upon_a_doubtful_head: another root, a missing tile, a checkpoint not ours, a gap.
- a_log_signs_for_its_own_tenant: whatever origin is stored for it.
- what_this_process_signed_is_continued: a log that was set back or rewritten since is not signed.
- one_broken_log_stops_alone: the others of the same step grow.
- the_loop_keeps_turning: however large the chunk.

Not here: who may grow a log and when (``sequencer``), and that two do not (``LogStore.advance``).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from caio.audit.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from caio.audit.merkle import leaf_hash, verify_consistency
from caio.audit.ports import Advance, Behind, LogHead, LogStore
from caio.audit.signing import Keyring
from caio.audit.tiles import HEIGHT, WIDTH, Edge, TileId, consistency_proof, tiles_for_consistency
from caio.foundation.errors import InvalidInput, SealBroken

#: Edges kept in memory, of at most some 8 KB a level each.
KEPT = 2048

#: How many leaves are hashed at once, and for how long others may wait for their turn, in seconds: half as
#: long as their last turn took, so that the trees keep up on a busy loop, and within these bounds.
_SLICE = 256
_SHORTEST_TURN, _LONGEST_TURN = 0.002, 0.01


def log_broken(tenant_id: str, fault: str) -> SealBroken:
    """What is raised, and logged, for a log that cannot be trusted any more."""
    return SealBroken(
        f"The audit log of {tenant_id!r} does not hold together: {fault}. Its last signed checkpoint stays valid, and "
        "nothing more is signed. Compare the database with its last backup and with the anchored checkpoints.",
        code="log_broken",
    )


@dataclass(frozen=True, slots=True)
class Share:
    """The leaves ``behind.size`` to ``end - 1`` of one log, to be taken in in one step."""

    behind: Behind
    end: int


def steps(behind: Sequence[Behind], share: int, step: int) -> list[list[Share]]:
    """The logs' next shares, as many together as ``step`` leaves allow."""
    cut: list[list[Share]] = []
    room = 0
    for each in behind:
        leaves = min(each.next - each.size, share)
        if leaves > room:
            cut.append([])
            room = step
        room -= leaves
        cut[-1].append(Share(each, each.size + leaves))
    return cut


@dataclass(frozen=True, slots=True)
class Growth:
    """What came of a step: the advances to write with the edges they lead to, and what is wrong with the rest."""

    advances: list[Advance] = field(default_factory=list)
    edges: dict[str, Edge] = field(default_factory=dict)
    faults: dict[str, SealBroken] = field(default_factory=dict)


class Trees:
    """The edges of the logs this process grows. For one task at a time."""

    def __init__(
        self,
        store: LogStore,
        keyring: Keyring,
        origin_of: Callable[[str], str],
        clock: Callable[[], int],
        *,
        kept: int = KEPT,
    ) -> None:
        self._store = store
        self._key = keyring.active
        self._trusted = keyring.trusted_keys()
        self._origin_of = origin_of
        self._clock = clock
        self._kept = kept
        self._edges: OrderedDict[str, tuple[Edge, bytes]] = OrderedDict()  # and their roots
        self._signed: dict[str, tuple[int, bytes]] = {}  # the last size and root that were written
        self._doubted: dict[str, Behind] = {}  # views of heads that may be old
        self._turn_began, self._turn = 0.0, _SHORTEST_TURN

    async def grow(self, shares: Sequence[Share], expected: Mapping[str, Checkpoint] | None = None) -> Growth:
        """Read what is missing, hash and sign; writes nothing. A tenant occurs once.

        ``expected`` holds, for some, a checkpoint that the grown tree must pass through.
        """
        known = {each.behind.tenant_id: self._edge_of(each.behind) for each in shares}
        strange = [each.behind for each in shares if known[each.behind.tenant_id] is None]
        tiles = await self._store.edges([(each.tenant_id, each.size) for each in strange]) if strange else {}
        entries = await self._store.commitments([_range(each, known[each.behind.tenant_id]) for each in shares])
        growth = Growth()
        self._turn_began = time.monotonic()
        for share in shares:
            name = share.behind.tenant_id
            try:
                if (found := entries.pop(name, None)) is None:
                    raise log_broken(name, f"the journal lacks leaves before number {share.end}")
                edge = known[name]
                if edge is None:
                    if not await self._continues(share.behind):
                        continue
                    before = share.behind.size % WIDTH
                    edge = self._restored(share.behind, tiles[name], found[:before])
                    found = found[before:]
                growth.advances.append(await self._advance(growth, share, edge, found, (expected or {}).get(name)))
            except SealBroken as fault:
                growth.faults[name] = fault
        return growth

    def settle(self, growth: Growth, written: Collection[str]) -> None:
        """Keep the edges of what was written; forget those of the others, whose logs others have grown."""
        for name in (*growth.faults, *growth.edges):
            self._edges.pop(name, None)
        for advance in growth.advances:
            if (name := advance.head.tenant_id) in written:
                self._edges[name] = growth.edges[name], advance.head.root
                self._signed[name] = advance.head.size, advance.head.root
                self._doubted.pop(name, None)
        while len(self._edges) > self._kept:
            self._edges.popitem(last=False)

    def _edge_of(self, behind: Behind) -> Edge | None:
        edge, root = self._edges.get(behind.tenant_id, (None, b""))
        return edge if edge is not None and edge.size == behind.size and root == behind.root else None

    async def _continues(self, behind: Behind) -> bool:
        """Whether the head is what this process wrote last, or grew out of it by another's work. Raises SealBroken
        when it did not. An older head may have been read before this process wrote a newer one: then the
        answer is False once, and a log that was really set back is at the same head when it is next seen."""
        name = behind.tenant_id
        size, root = self._signed.get(name, (0, b""))
        if size == 0 or (size, root) == (behind.size, behind.root):
            return True
        if behind.size < size and self._doubted.setdefault(name, behind) is behind:
            return False
        if behind.size <= size:
            fault = f"{size} leaves were signed by this very process, and the stored head of {behind.size} is not that"
            raise log_broken(name, fault)
        needed = [(tile.level, tile.index) for tile in tiles_for_consistency(size, behind.size)]
        found = await self._store.tiles_of(behind.tenant_id, needed)
        tiles = {TileId(*place): content for place, content in found.items()}
        try:
            proof = consistency_proof(size, behind.size, tiles)
        except InvalidInput as error:
            raise log_broken(behind.tenant_id, error.message) from error
        if not verify_consistency(size, root, behind.size, behind.root, proof):
            raise log_broken(behind.tenant_id, f"it does not begin with the {size} leaves that this process signed")
        return True

    def _restored(self, behind: Behind, tiles: Mapping[int, bytes], entries: Sequence[bytes]) -> Edge:
        try:
            edge = Edge.of(behind.size, {**tiles, 0: b"".join([leaf_hash(entry) for entry in entries])})
        except ValueError as error:
            raise log_broken(behind.tenant_id, str(error)) from error
        if edge.root() != behind.root:
            raise log_broken(behind.tenant_id, f"at size {behind.size} its tiles and leaves do not have its root")
        if behind.size > 0:
            self._check_signed(behind)
        return edge

    def _check_signed(self, behind: Behind) -> None:
        try:
            signed = read_checkpoint(behind.checkpoint)
        except InvalidInput as error:
            raise log_broken(behind.tenant_id, "its newest checkpoint cannot be read") from error
        if signed.checkpoint != Checkpoint(behind.origin, behind.size, behind.root):
            raise log_broken(behind.tenant_id, "its newest checkpoint is of another size, root or origin")
        if signed.signed_by(self._trusted) is None:
            raise log_broken(behind.tenant_id, "no key of this installation signed its newest checkpoint")

    async def _advance(
        self, growth: Growth, share: Share, edge: Edge, entries: Sequence[bytes], expected: Checkpoint | None
    ) -> Advance:
        behind, new = share.behind, edge
        full: list[tuple[TileId, bytes]] = []
        for part in _parts(behind.size, entries, expected):
            for at in range(0, len(part), _SLICE):
                new, filled = new.grow([leaf_hash(entry) for entry in part[at : at + _SLICE]])
                full += filled
                await self._give_way()
            if expected is not None and new.size == expected.size and new.root() != expected.root:
                fault = f"a checkpoint of {new.size} leaves was anchored with another root: the journal was rewritten"
                raise log_broken(behind.tenant_id, fault)
        origin = behind.origin or self._origin_of(behind.tenant_id)
        if origin.rpartition("/")[2] != behind.tenant_id:
            raise log_broken(behind.tenant_id, f"its stored origin, {origin}, is another log's")
        root = new.root()
        note = sign_checkpoint(Checkpoint(origin, new.size, root), self._key)
        await self._give_way()
        growth.edges[behind.tenant_id] = new
        head = LogHead(behind.tenant_id, origin, new.size, root, note, self._clock())
        tiles = [(each.level, each.index, tile) for each, tile in full]
        return Advance(behind.size, head, [*tiles, *_partial(edge, new)])

    async def _give_way(self) -> None:
        ended = time.monotonic()
        if ended - self._turn_began > self._turn:
            await asyncio.sleep(0)
            self._turn_began = time.monotonic()
            self._turn = min(max((self._turn_began - ended) / 2, _SHORTEST_TURN), _LONGEST_TURN)


def _range(share: Share, edge: Edge | None) -> tuple[str, int, int]:
    """Which commitments are read: from the last full tile on when there is no edge to build upon."""
    size = share.behind.size
    return share.behind.tenant_id, size if edge is not None else size - size % WIDTH, share.end


def _parts(size: int, entries: Sequence[bytes], expected: Checkpoint | None) -> list[Sequence[bytes]]:
    """The new entries, cut where the tree has the size of the expected checkpoint."""
    cut = 0 if expected is None else expected.size - size
    return [entries[:cut], entries[cut:]] if 0 < cut < len(entries) else [entries]


def _partial(old: Edge, new: Edge) -> list[tuple[int, int, bytes]]:
    """The partial tiles above level 0 that have changed."""
    before = old.partial()
    return [
        (level, new.size >> HEIGHT * (level + 1), tile)
        for level, tile in new.partial().items()
        if level > 0 and before.get(level) != tile
    ]
