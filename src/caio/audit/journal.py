"""The journal's writer: many callers, one transaction at a time.

Theory of operation
-------------------
A durable write costs one fsync, however many leaves it carries. Callers queue their leaves; one
task writes whatever is waiting as soon as the store is free, never on a timer. An idle journal
therefore adds no delay, and a busy one shares each fsync among all who came during the last. While
one group is being written, the callers of the group before are told: the disk does not wait for them.

Laws (each has a test of the same name)
---------------------------------------
- durable_before_return: ``append`` returns a leaf's ``seq`` only after the store has it.
- waiting_leaves_share_a_write: what arrives during a write goes out together in the next.
- callers_are_told_during_the_next_write: a write neither waits for them nor holds them up.
- leaves_keep_their_order: leaves reach the store in the order of their appends.
- one_bad_leaf_fails_alone: a group that the store refuses is written again in halves, so that among a
  thousand leaves a bad one costs some twenty writes.
- a_cancelled_caller_changes_nothing: its leaf is written once, as if it had waited.
- whoever_waits_for_a_durable_leaf_is_held_when_cancelled: until it is written or refused.
- the_queue_is_bounded: beyond ``capacity`` an append is refused at once, with NotReady.
- stop_flushes: ``stop`` returns after everything accepted was written or refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caio.audit.ports import TENANT_DATABASE_AWAY, JournalStore, Leaf
from caio.foundation.errors import CaioError, NotReady

CAPACITY = 4096
LARGEST_GROUP = 1024

#: How long one failed write keeps the process out of service. After that, traffic may come back
#: and try: without it, a store that has recovered would never be noticed.
FAILING_SECONDS = 10.0


@dataclass(slots=True)  # nobody changes one; freezing it would cost each leaf more than the rest of queueing it
class _Waiting:
    leaf: Leaf
    written: asyncio.Future[int]

    def succeed(self, seq: int) -> None:
        if not self.written.done():  # the caller may have been cancelled
            self.written.set_result(seq)

    def fail(self, error: BaseException) -> None:
        if not self.written.done():
            self.written.set_exception(error)


class Durable(asyncio.Future[int]):
    """A leaf's ``seq``, once it is durable. It cannot be cancelled, so that a task that awaits it and is cancelled is
    held until it is done; then the task is told that it was cancelled."""

    __slots__ = ()

    def cancel(self, msg: object = None) -> bool:
        return False


class Journal:
    """The one writer of a process. ``start`` it in the event loop that will append to it."""

    def __init__(
        self,
        store: JournalStore,
        *,
        capacity: int = CAPACITY,
        largest_group: int = LARGEST_GROUP,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity < 1 or largest_group < 1:
            raise ValueError("capacity and largest_group must be positive")
        self._store = store
        self._capacity = capacity
        self._largest_group = largest_group
        self._monotonic = monotonic
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._accepting = False
        self._failed_at: float | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def failing(self) -> bool:
        """Whether an append would probably fail: not running, or the last write was lost to the
        store less than FAILING_SECONDS ago. For readiness."""
        recently = self._failed_at is not None and self._monotonic() - self._failed_at < FAILING_SECONDS
        return recently or not self._accepting

    @property
    def waiting(self) -> int:
        """Leaves that were accepted and are not being written yet."""
        return len(self._waiting)

    async def start(self) -> None:
        """Begin writing; raises RuntimeError when already started."""
        if self._writer is not None:
            raise RuntimeError("the journal is already started")
        self._accepting = True
        self._writer = asyncio.create_task(self._write(), name="journal")

    async def stop(self) -> None:
        """Refuse new leaves, write the accepted ones, and end. May be called twice."""
        self._accepting = False
        self._arrived.set()
        if self._writer is not None:
            await asyncio.shield(self._writer)

    async def append(self, leaf: Leaf) -> int:
        """Write ``leaf`` durably and return its ``seq``.

        Raises NotReady when the queue is full or the journal is not running (nothing is written
        then), and the store's own error when it refuses this leaf. A caller that is cancelled
        does not learn the result, but its leaf is written all the same.
        """
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.hand_in(leaf, written)
        return await written

    def hand_in(self, leaf: Leaf, written: asyncio.Future[int]) -> None:
        """``append`` without waiting: the result is ``written``. Raises NotReady as ``append`` does; then the future is
        left as it is."""
        if not self._accepting:
            raise NotReady("The journal is not running; try another instance.", code="journal_stopped")
        if len(self._waiting) >= self._capacity:
            raise NotReady(
                "Decisions arrive faster than they can be recorded; try again shortly.", code="journal_overloaded"
            )
        self._waiting.append(_Waiting(leaf, written))
        self._arrived.set()

    async def _write(self) -> None:
        written: list[tuple[_Waiting, int]] = []
        group: Sequence[_Waiting] = ()
        try:
            while self._waiting or written or self._accepting:
                if self._waiting:
                    group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._largest_group))]
                    if written:
                        writing = asyncio.ensure_future(self._write_group(group))
                        _tell(written)
                        written = await writing
                    else:
                        written = await self._write_group(group)
                elif written:
                    _tell(written)
                    written = []
                else:
                    self._arrived.clear()
                    await self._arrived.wait()
        finally:  # only when the task itself was cancelled or broke is anybody still waiting
            self._accepting = False
            _tell(written)
            for entry in (*group, *self._waiting):
                entry.fail(NotReady("The journal stopped before this was recorded.", code="journal_stopped"))
            self._waiting.clear()

    async def _write_group(self, group: Sequence[_Waiting]) -> list[tuple[_Waiting, int]]:
        """Those that were written, with their places, still to be told; the others have been."""
        try:
            places = await self._store.append([entry.leaf for entry in group])
        except Exception as error:  # noqa: BLE001 - every error of the store belongs to a caller
            if len(group) > 1 and _speaks_of_a_leaf(error):
                middle = len(group) // 2
                return [*await self._write_group(group[:middle]), *await self._write_group(group[middle:])]
            if _is_the_stores(error):
                self._failed_at = self._monotonic()
            for entry in group:
                entry.fail(error)
            return []
        self._failed_at = None
        return list(zip(group, places, strict=True))


def _tell(written: Sequence[tuple[_Waiting, int]]) -> None:
    for entry, seq in written:
        entry.succeed(seq)


def _speaks_of_a_leaf(error: Exception) -> bool:
    """Whether another grouping may succeed. NotReady is the store's own state, but for a tenant's own database."""
    return not isinstance(error, NotReady) or error.code == TENANT_DATABASE_AWAY


def _is_the_stores(error: Exception) -> bool:
    """Whether the store is at fault: a deliberate error that speaks of a leaf is not its own."""
    return not isinstance(error, CaioError) or not _speaks_of_a_leaf(error)
