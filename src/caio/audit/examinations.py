"""Comparing logs with their anchor beside the sequencer's work, so that no log waits for another's comparison.

Theory of operation
-------------------
A look may find a thousand logs that this process has never compared, and an anchor may take a second for
each. So a log that needs comparing is queued and left out of the steps; a few at a time are compared; the
sequencer is told of each whose comparison has ended. A log that somebody asks for goes to the queue's head.

A log for which the anchor gave no answer (``ForkWatch.excuses``) grows, and is asked for again beside that.

Laws (each has a test of the same name)
---------------------------------------
- comparing_a_log_delays_no_other: whether that was compared before or is to be.
- nothing_is_signed_before_it_was_compared: while the anchor answers.
- who_is_asked_for_is_compared_first: whatever waits in the queue.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from caio.audit.forks import AT_ONCE, ForkWatch
from caio.audit.ports import Behind
from caio.foundation.errors import CaioError, NotReady, SealBroken

_logger = structlog.get_logger("caio.audit")


class Examinations:
    """Of one process's logs. ``set_aside`` is told of those that fail, ``ended`` of all, whatever came of it."""

    def __init__(
        self,
        watch: ForkWatch,
        origin_of: Callable[[str], str],
        set_aside: Callable[[str, CaioError], None],
        ended: Callable[[str], None],
    ) -> None:
        self._watch = watch
        self._origin_of = origin_of
        self._set_aside = set_aside
        self._ended = ended
        self._queue: OrderedDict[str, Behind] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def hold_back_any(self) -> bool:
        """Whether any log must not grow before its examination has ended."""
        return any(map(self.holds_back, (*self._under_way, *self._queue)))

    def holds_back(self, tenant_id: str) -> bool:
        """Whether this log must not grow before its examination has ended."""
        return (tenant_id in self._under_way or tenant_id in self._queue) and not self._watch.excuses(tenant_id)

    def admits(self, behind: Behind, *, first: bool = False) -> bool:
        """Whether this log may grow; if it needs comparing, see to that, before all others if ``first``."""
        name = behind.tenant_id
        if self._watch.knows(behind):
            return True
        if name not in self._under_way and self._watch.is_due(name):
            self._queue[name] = behind
            if first:
                self._queue.move_to_end(name, last=False)
            self._begin()
        return self._watch.excuses(name)

    async def next_end(self, seconds: float) -> None:
        """Return when one has ended, or after so many seconds."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Give up those that have not ended."""
        self._queue.clear()
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._under_way.clear()  # of those that had not begun

    def _begin(self) -> None:
        while self._queue and len(self._under_way) < AT_ONCE:
            name, behind = self._queue.popitem(last=False)
            self._under_way[name] = asyncio.create_task(self._examine(behind), name="examination")

    async def _examine(self, behind: Behind) -> None:
        name = behind.tenant_id
        try:
            await self._watch.examine(behind, behind.origin or self._origin_of(name))
        except SealBroken as fault:
            self._set_aside(name, fault)
        except NotReady:
            pass  # the anchor stops nothing, and the publisher says so; a store that is away is met again
        except Exception as error:  # whatever it is, the other logs go on
            _logger.exception("audit_log_step_failed", tenant_id=name)
            self._set_aside(name, SealBroken(f"{type(error).__name__}: see the log"))
        finally:
            del self._under_way[name]
            self._begin()
        self._ended(name)
