"""Work that comes again and again, and a worker that runs several kinds of it.

Theory of operation
-------------------
A loop makes a step, sleeps its period, and makes the next one. A step that did something is followed at once by
another, so that a backlog is worked off; one that failed by a pause that doubles, with jitter, up to a limit.
A step never overlaps itself: within a process because the loop waits for it, between processes because each
kind of work leases what it does or marks it in the transaction that does it.

Stopping lets the step under way end, for a grace, and then cancels it: every kind of work here can be cut off at
any point, as a kill would.

Laws (each has a test of the same name)
---------------------------------------
- a_step_never_overlaps_itself.
- a_failure_ends_no_loop: and waits longer each time, up to the limit; a success resets it.
- one_loops_trouble_stays_its_own.
- stopping_finishes_the_present_step: and starts no other.
- health_is_what_was_done: a loop that has not succeeded for three periods, or hangs, is in trouble.
- a_loop_that_fails_is_not_stuck: one whose step does not end is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from caio.foundation.errors import CaioError

_logger = structlog.get_logger("caio.worker")

#: The longest pause behind a failure, and how long stopping waits for the steps under way.
LONGEST_PAUSE_SECONDS = 60.0
GRACE_SECONDS = 5.0

#: Loops are in trouble after this many periods without a success, but not before this many seconds.
_PERIODS_UNTIL_TROUBLE = 3
_SECONDS_UNTIL_TROUBLE = 60.0

#: A step that has not ended for so long, well or badly, never will.
STUCK_SECONDS = 300.0

Step = Callable[[], Awaitable[int]]


class Loop:
    """``step`` every ``period`` seconds; it returns how much it did, so that 0 means that nothing is left.

    ``first_after`` seconds pass before the first step. Work whose step does all there is, whatever it returns,
    sets ``drains`` to False. ``finish`` ends what the steps began and left to itself.
    """

    def __init__(
        self,
        name: str,
        period: float,
        step: Step,
        *,
        first_after: float = 0.0,
        drains: bool = True,
        finish: Callable[[], Awaitable[None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._period = period
        self._step = step
        self._first_after = first_after
        self._drains = drains
        self._finish = finish
        self._monotonic = monotonic
        self._failures = 0
        #: Steps that failed, over the process's life.
        self.failed = 0
        self._good_at: float | None = None
        self._ended_at: float | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    @property
    def age(self) -> float:
        """Seconds since a step last succeeded or, before the first, since one was due; 0 until then."""
        return 0.0 if self._good_at is None else max(0.0, self._monotonic() - self._good_at)

    @property
    def trouble(self) -> str | None:
        """What is wrong, in words that name no tenant, or None."""
        silent = self.age
        if silent <= max(self._period * _PERIODS_UNTIL_TROUBLE, _SECONDS_UNTIL_TROUBLE):
            return None
        return f"{self.name} has not succeeded for {silent:.0f} s"

    @property
    def stuck(self) -> bool:
        """Whether its step hangs, which another process would be needed for; one that fails is tried again here."""
        if self._ended_at is None:
            return False
        return self._monotonic() - self._ended_at > max(self._period, LONGEST_PAUSE_SECONDS) + STUCK_SECONDS

    def wake(self) -> None:
        """Make the next step now, or when the present one has ended."""
        self._woken.set()

    def stop(self) -> None:
        """Make no further step."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Until ``stop``; an error of the step is logged and the step tried again."""
        self._good_at = self._ended_at = self._monotonic() + self._first_after
        await self._pause(self._first_after)
        while not self._stopping:
            await self._pause(await self._once())
        if self._finish is not None:
            await self._finish()

    async def _once(self) -> float:
        """One step; returns how long to wait for the next."""
        try:
            done = await self._step()
        except Exception as error:
            self._failures += 1
            self.failed += 1
            self._ended_at = self._monotonic()
            code = error.code if isinstance(error, CaioError) else type(error).__name__
            _logger.error("a step failed", loop=self.name, code=code, failures=self._failures, exc_info=error)
            longest: float = min(LONGEST_PAUSE_SECONDS, max(self._period, 0.1) * 2 ** min(self._failures, 16))
            return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, hides nothing
        self._failures = 0
        self._good_at = self._ended_at = self._monotonic()
        return 0.0 if done and self._drains else self._period

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        if not self._stopping:
            self._woken.clear()


class Worker:
    """The loops of a process. ``start`` it in the event loop it shall run in."""

    def __init__(self, loops: Sequence[Loop], *, grace: float = GRACE_SECONDS) -> None:
        self.loops = tuple(loops)
        self._grace = grace
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def trouble(self) -> str | None:
        """What is wrong with any of the loops, or None. For readiness."""
        ended = [loop.name for loop, task in zip(self.loops, self._tasks, strict=False) if task.done()]
        if not self._tasks or ended:
            return f"the worker does not run{': ' + ', '.join(ended) if ended else ''}"
        return next((loop.trouble for loop in self.loops if loop.trouble), None)

    async def start(self) -> None:
        """Begin; raises RuntimeError when already started."""
        if self._tasks:
            raise RuntimeError("the worker is already started")
        self._tasks = [asyncio.create_task(loop.run(), name=f"worker {loop.name}") for loop in self.loops]

    async def watch(self, stopped: asyncio.Event, every: float = 10.0) -> None:
        """Until ``stopped`` is set, log when the loops come into trouble: where nobody asks for readiness."""
        told = False
        while not stopped.is_set():
            if (trouble := self.trouble) and not told:
                _logger.error("the worker is in trouble", trouble=trouble)
            told = trouble is not None
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), every)

    async def stop(self) -> None:
        """Let the steps under way end, for the grace, and then cut them off. May be called twice."""
        for loop in self.loops:
            loop.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
