"""Telling other processes of breakers that open and close, and taking over what they tell.

Theory of operation
-------------------
Calls read their own process's breakers alone. In the background each process tells what has changed, as soon as it
changes, and asks every ``POLL_SECONDS`` what others have told; of two that tell of one breaker the later change
counts, by the clocks of those who tell. So a service that fails for one process is left alone by all within a
second or so, and whoever's probe succeeds brings it back for all. Each process may send a probe of its own.

Laws (each has a test of the same name)
---------------------------------------
- what_one_opens_the_others_leave_alone, and what one closes they call again.
- nobody_waits_for_it: while the board is away every process goes by what it sees itself.
- what_could_not_be_told_is_told_later.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from caio.foundation.errors import NotReady
from caio.gateway.breakers import Breakers
from caio.gateway.ports import SharedHealth

POLL_SECONDS = 0.5

_logger = structlog.get_logger("caio.gateway")


class Sharing:
    """One process's part in it."""

    def __init__(self, breakers: Breakers, shared: SharedHealth, poll_seconds: float = POLL_SECONDS) -> None:
        self._breakers = breakers
        self._shared = shared
        self._poll_seconds = poll_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on until ``stop``. A board that is away is no reason not to start."""
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def exchange(self) -> None:
        """Tell and ask once. Raises NotReady when that was not possible; nothing is lost by it."""
        changes = self._breakers.untold()
        try:
            if changes:
                await self._shared.tell(changes)
        except BaseException:
            self._breakers.tell_again(changes)
            raise
        for change in await self._shared.told():
            self._breakers.adopt(change)

    async def _go_on(self) -> None:
        while True:
            try:
                await self.exchange()
            except NotReady:
                pass  # who is in charge of the connection says so
            except Exception as error:
                _logger.error("health_not_shared", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._breakers.changed.wait()
