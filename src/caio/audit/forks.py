"""Comparing a log with what was anchored of it, before this process signs more of it.

Theory of operation
-------------------
An anchored checkpoint is this installation's own word about a log, kept where the database is not. The
first time that a process is to grow a log, or to anchor it, the newest anchored checkpoint must be of a
tree that the log's own begins with. If the tree is as large, its tiles prove that or not. If the
anchored one is larger, the journal may still hold the leaves (somebody dropped the tree): then the tree
must pass through that very root as it grows. A journal that is shorter was set back.

Laws (each has a test of the same name)
---------------------------------------
- a_log_that_was_set_back_is_not_signed: its journal is shorter than what was anchored.
- a_log_that_was_rewritten_is_not_signed: whether the tree was rewritten with it, or dropped.
- an_honest_log_passes: of any size against any anchored size, a tree that is built anew included.
- a_silent_anchor_stops_nothing: the comparison is made up for before anything is anchored.
- a_silent_anchor_is_waited_for_once: not by one log after the other, nor again by one that has waited.

A note in the anchor that no key of this installation signed proves nothing, and is the anchor's fault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import structlog

from caio.audit.checkpoint import Checkpoint, read_checkpoint
from caio.audit.merkle import verify_consistency
from caio.audit.ports import Anchor, Behind
from caio.audit.tiles import TileId, consistency_proof, root_from, tiles_for_consistency, tiles_for_root
from caio.foundation.errors import Conflict, InvalidInput, NotReady, SealBroken

_logger = structlog.get_logger("caio.audit")

#: How long the anchor may take to answer, and how long a silent one is not asked again.
ANSWER_SECONDS = 5.0
_QUIET_SECONDS = 10.0

#: After how long a comparison is tried again that the database did not let end.
_AGAIN_SECONDS = 1.0

#: Logs compared at a time.
AT_ONCE = 8

#: Looks at a log again: None when its tree holds all its leaves.
Look = Callable[[str], Awaitable[Behind | None]]


class Tiles(Protocol):
    """What a comparison needs of the ``LogStore``."""

    async def tiles_of(self, tenant_id: str, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]: ...


def log_forked(tenant_id: str, fault: str) -> SealBroken:
    """What is raised, and logged, for a log that contradicts what was anchored of it."""
    return SealBroken(
        f"The audit log of {tenant_id!r} contradicts its anchored checkpoints: {fault}. Nothing more is signed for it. "
        "Restore the newest database; if this one is the newest, its history was changed: keep it as evidence.",
        code="log_forked",
    )


class ForkWatch:
    """What this process knows of its logs' anchored checkpoints."""

    def __init__(
        self,
        anchor: Anchor | None,
        trusted: Mapping[str, bytes],
        store: Tiles,
        look: Look,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._anchor = anchor
        self._trusted = trusted
        self._store = store
        self._look = look
        self._monotonic = monotonic
        self._passed: set[str] = set()
        self._condemned: dict[str, SealBroken] = {}
        self._excused: set[str] = set()
        self._due: dict[str, float] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._quiet_until = 0.0
        self._silence = ""
        #: Checkpoints, by tenant, that the growing tree must still pass through.
        self.expected: dict[str, Checkpoint] = {}

    def knows(self, behind: Behind) -> bool:
        """Whether this log needs no examination as it is: it was compared, or has yet to grow through what was
        anchored of it, or there is nothing to compare it with."""
        expected = self.expected.get(behind.tenant_id)
        awaited = expected is not None and behind.size < expected.size
        return self._anchor is None or behind.tenant_id in self._passed or awaited

    def excuses(self, tenant_id: str) -> bool:
        """Whether the anchor, when it was last asked about this log, gave no answer that proves anything."""
        return tenant_id in self._excused

    def is_due(self, tenant_id: str) -> bool:
        """Whether it is time to ask about this log, for the first time or again."""
        return self._monotonic() >= self._due.get(tenant_id, 0.0)

    async def examine(self, behind: Behind, origin: str) -> None:
        """Compare a log as it is now. Raises SealBroken ``log_forked``, and NotReady while the anchor does not
        answer or holds what nobody here signed."""
        name = behind.tenant_id
        if self.knows(behind):
            return
        async with self._slots:
            if name in self._condemned:
                raise self._condemned[name]
            if self._anchor is None or self.knows(behind):
                return
            try:
                anchored = await self._latest(self._anchor, origin)
            except NotReady:
                self._excused.add(name)
                self._due[name] = self._monotonic() + _QUIET_SECONDS
                raise
            self._excused.discard(name)
            self._due.pop(name, None)
            self.expected.pop(name, None)
            try:
                if anchored is not None and anchored.size > behind.size:
                    await self._await_growth(behind, anchored)
                elif anchored is not None and anchored.size > 0:
                    await self._compare(behind, anchored)
            except NotReady:
                self._due[name] = self._monotonic() + _AGAIN_SECONDS
                raise
            if name not in self.expected:
                self._passed.add(name)

    def grown(self, tenant_id: str, old_size: int, size: int, through: Checkpoint | None) -> None:
        """Tell that the tree has been grown, and which expected checkpoint it was held against meanwhile."""
        if through is not None and self.expected.get(tenant_id) == through and old_size < through.size <= size:
            del self.expected[tenant_id]
            self._passed.add(tenant_id)

    def condemn(self, tenant_id: str, fault: SealBroken) -> None:
        """Have every later examination of this log raise ``fault``."""
        self._condemned[tenant_id] = fault
        self._passed.discard(tenant_id)
        self._excused.discard(tenant_id)
        self.expected.pop(tenant_id, None)

    async def _latest(self, anchor: Anchor, origin: str) -> Checkpoint | None:
        if self._monotonic() < self._quiet_until:
            raise NotReady(self._silence)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                note = await anchor.latest(origin)
        except (NotReady, TimeoutError) as error:
            self._quiet_until = self._monotonic() + _QUIET_SECONDS
            self._silence = error.message if isinstance(error, NotReady) else "The anchor does not answer."
            raise NotReady(self._silence) from error
        except Conflict as error:  # tampered with: of this log alone, so that the others are asked for
            raise NotReady(error.message, code=error.code) from error
        except Exception as error:
            _logger.exception("anchor_failing", origin=origin)
            raise NotReady(f"The anchor failed ({type(error).__name__}); see the log.") from error
        if note is None:
            return None
        try:
            signed = read_checkpoint(note)
        except InvalidInput as error:
            raise NotReady(f"The anchor holds for {origin} what is not a checkpoint.") from error
        if signed.checkpoint.origin != origin or signed.signed_by(self._trusted) is None:
            raise NotReady(f"The anchor holds a checkpoint for {origin} that no key of this installation signed.")
        return signed.checkpoint

    async def _compare(self, behind: Behind, anchored: Checkpoint) -> None:
        needed = tiles_for_root(anchored.size) | tiles_for_consistency(anchored.size, behind.size)
        tiles = await self._tiles(behind.tenant_id, needed)
        try:
            proof = consistency_proof(anchored.size, behind.size, tiles)
            same = verify_consistency(anchored.size, anchored.root, behind.size, behind.root, proof)
        except InvalidInput:
            same = False
        if not same:
            raise log_forked(
                behind.tenant_id, f"its tree of {behind.size} leaves does not begin with the {anchored.size} anchored"
            )

    async def _await_growth(self, behind: Behind, anchored: Checkpoint) -> None:
        """The anchored tree is larger than the log's was. The log may have been grown since."""
        name = behind.tenant_id
        fresh = await self._look(name)
        if fresh is None and await self._holds(name, anchored):
            return
        if fresh is None or anchored.size > fresh.next:
            have = behind.next if fresh is None else fresh.next
            raise log_forked(name, f"{anchored.size} leaves were anchored, and its journal has {have}: it was set back")
        if anchored.size <= fresh.size:
            await self._compare(fresh, anchored)
        else:
            self.expected[name] = anchored

    async def _holds(self, tenant_id: str, anchored: Checkpoint) -> bool:
        tiles = await self._tiles(tenant_id, tiles_for_root(anchored.size))
        try:
            return root_from(anchored.size, tiles) == anchored.root
        except InvalidInput:
            return False

    async def _tiles(self, tenant_id: str, needed: frozenset[TileId]) -> dict[TileId, bytes]:
        found = await self._store.tiles_of(tenant_id, [(tile.level, tile.index) for tile in needed])
        return {TileId(*place): content for place, content in found.items()}
