"""Noticing that a caller has gone away, at little cost for those who stay.

A call runs in the task that the server gave it. Whoever is answered within WATCH_AFTER seconds is not watched at
all; for the others one task waits for the server's word that the connection is closed, and cancels the call.

Laws (each has a test of the same name)
---------------------------------------
- a_caller_who_leaves_cancels_the_work: it has ended when ClientGone is raised.
- a_call_that_is_soon_over_is_not_watched.
- a_cancelled_call_is_not_mistaken_for_one_whose_caller_left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: A caller who leaves is noticed as late as this, in seconds.
WATCH_AFTER = 0.1


class ClientGone(Exception):
    """The caller closed the connection; there is nobody to answer."""


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Awaitable[T]) -> T:
    """The work's result. When ``receive`` returns first, which it does when the caller disconnects, the work is
    cancelled, waited for, and ClientGone raised."""
    watch = _Watch(receive)
    try:
        return await work
    except BaseException:
        if watch.gone and watch.is_alone():
            raise ClientGone from None
        raise
    finally:
        watch.end()


class _Watch:
    __slots__ = ("_before", "_receive", "_task", "_timer", "_watching", "gone")

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server runs each call in a task
        self._task = task
        self._before = task.cancelling()
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)
        self.gone = False

    def is_alone(self) -> bool:
        """Take back this watch's cancellation; whether nobody else cancelled the call."""
        return self._task.uncancel() <= self._before

    def end(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._receive()
        self.gone = True
        self._task.cancel()
