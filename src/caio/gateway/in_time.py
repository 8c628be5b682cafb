"""A run goes on only when its decision was durable soon enough after its admission (``ports.Admission``)."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any

from caio.foundation.errors import NotReady
from caio.gateway.ports import GRANT_DURABLE_SECONDS


class InTime:
    """Ends its block with NotReady when the decision that is being entered is not durable GRANT_DURABLE_SECONDS
    after it was ``admitted`` (monotonic). The clock tells, not a timer alone: a loop that stalls runs its timers
    late. One timer a call; ``asyncio.timeout`` in a generator would cost several times as much."""

    __slots__ = ("_cancelling", "_durable", "_entering", "_expired", "_last", "_task", "_timer")

    def __init__(self, admitted: float, entering: asyncio.Future[Any]) -> None:
        self._entering = entering
        self._last = admitted + GRANT_DURABLE_SECONDS
        self._durable = inf
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        left = max(0.0, self._last - monotonic())
        self._timer = asyncio.get_running_loop().call_later(left, self._expire)
        self._entering.add_done_callback(self._entered)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entering.remove_done_callback(self._entered)
        if self._timer is not None:
            self._timer.cancel()
        if self._expired and self._task is not None:
            ours = self._task.uncancel() <= self._cancelling
            if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise _overloaded() from error
        if kind is None and min(self._durable, monotonic()) > self._last:
            raise _overloaded()

    def _entered(self, _: asyncio.Future[Any]) -> None:
        self._durable = monotonic()
        if self._durable <= self._last and self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()


def _overloaded() -> NotReady:
    return NotReady("Decisions arrive faster than they can be recorded; try again shortly.", code="journal_overloaded")
