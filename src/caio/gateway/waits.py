"""How long a stream waits for its service, at the price of one timer a stream.

A stream waits once for each token, and nearly every wait is over in a moment: a timer for each would cost more than
the token. Here a wait notes when it began, and one timer comes round to see whether it has lasted too long; then it
is set for when that could next be so. It is the task that waits which is cancelled, as ``asyncio.timeout`` does.

Laws (each has a test of the same name)
---------------------------------------
- a_wait_ends_when_it_is_idle_too_long, however many were short before it.
- a_wait_ends_at_the_deadline: what is at hand then is taken all the same.
- time_between_waits_is_nobody_s: the caller's pace is not the service's fault.
- a_cancelled_wait_is_not_mistaken_for_a_long_one.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from types import TracebackType
from typing import Any

from caio.foundation.errors import UpstreamFailed, UpstreamFault

#: What a wait is given that begins when its time is over, in seconds.
LAST_LOOK = 0.001


class Waits:
    """The waits of one stream, each ``idle`` seconds at most, and none past ``until`` (monotonic).

    Each is a block of the task that waits, and raises UpstreamFailed TIMEOUT when it is over before what it waits
    for has come; ``close`` when there are no more.
    """

    __slots__ = ("_before", "_idle", "_over", "_since", "_task", "_timer", "_until")

    def __init__(self, idle: float, until: float) -> None:
        self._idle = idle
        self._until = until
        self._since = 0.0
        self._task: asyncio.Task[Any] | None = None  # that waits
        self._before = 0  # how often it was cancelled before it waited
        self._over: UpstreamFailed | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        if task is not None:
            self._before = task.cancelling()
        self._since = now = monotonic()
        if self._timer is None:
            self._set(max(LAST_LOOK, min(self._idle, self._until - now)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        over = self._over if kind is asyncio.CancelledError else None
        if over is not None and task is not None and task.uncancel() <= self._before:  # else another cancelled it
            raise over from None

    def renew(self) -> None:
        """Let the wait begin anew: something has come, and was taken without an end of the wait."""
        self._since = monotonic()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        now, task = monotonic(), self._task
        if task is None:
            if now < self._until:  # else the next wait sets it
                self._set(min(self._idle, self._until - now))
            return
        ends = max(min(self._since + self._idle, self._until), self._since + LAST_LOOK)
        if now < ends:
            self._set(ends - now)
            return
        late = now >= self._until
        what = "passed the request's deadline" if late else f"stalled for {self._idle:g} s"
        self._over = UpstreamFailed(f"the stream {what}", UpstreamFault.TIMEOUT)
        task.cancel()
