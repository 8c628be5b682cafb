"""The connections that are kept, by where they lead to: bounded in all, by origin, and in idle time.

Of the idle ones the latest used is taken, so that those that are not needed grow old and are closed. Where no
more may be opened, calls wait for one in the order of their coming; an idle one to elsewhere makes room.

Laws (each has a test of the same name)
---------------------------------------
- the_pool_is_bounded.
- idle_connections_make_room: for calls to elsewhere.
- idle_connections_grow_old: they are closed ``keep_seconds`` after their last use.
- who_stops_waiting_wakes_the_next.
- nobody_passes_who_waits: not by taking an idle connection that could make room either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from caio.providers.dialling import Origin
from caio.providers.http1 import Connection

#: Opens a connection to an origin, which calls back when it is lost.
Opening = Callable[[Origin, Callable[[Connection], None]], Awaitable[Connection]]

#: Seconds that closing waits for the sockets to be gone.
CLOSING_SECONDS = 1.0


class Pool:
    """Belongs to the loop that it is first used in."""

    def __init__(self, opening: Opening, most: int, most_each: int, keep_seconds: float) -> None:
        self._opening = opening
        self._most = most
        self._most_each = most_each
        self._keep_seconds = keep_seconds
        self._idle: dict[Origin, list[Connection]] = {}
        self._counts: dict[Origin, int] = {}  # of open connections, and of those being opened
        self._total = 0
        self._origins: dict[Connection, Origin] = {}
        self._waiting: dict[asyncio.Future[None], Origin] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None

    def idle(self, origin: Origin) -> Connection | None:
        """One that was used before and is free, if there is one and nobody waits for room."""
        return None if self._waiting else self._free(origin)

    def _free(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if monotonic() - connection.idle_since < self._keep_seconds and not connection.is_closed:
                return connection
            connection.abort()
        return None

    async def opened(self, origin: Origin) -> Connection:
        """A new one, as soon as there is room. Raises what opening raises."""
        while not self._has_room(origin):
            await self._turn(origin)
        self._counts[origin] = self._counts.get(origin, 0) + 1
        self._total += 1
        if self._total > self._most:
            self._drop(min((kept[0] for kept in self._idle.values() if kept), key=_idle_since))
        connection: Connection | None = None
        try:
            connection = await self._opening(origin, self._lost)
        finally:
            if connection is None:
                self._give_room(origin)
        self._origins[connection] = origin
        if connection.is_closed:  # before it could be told of
            self._lost(connection)
        return connection

    async def freed(self, origin: Origin) -> Connection:
        """An idle one, or a new one, whichever there is first."""
        if self._waiting:
            await self._turn(origin)
        while True:
            if (connection := self._free(origin)) is not None:
                return connection
            if self._has_room(origin):
                return await self.opened(origin)
            await self._turn(origin)

    def give_back(self, connection: Connection, origin: Origin) -> None:
        """Keep one whose exchange is over and that can have another."""
        connection.idle_since = monotonic()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keep_seconds, self._close_old)
        if self._waiting:
            self._wake()

    async def close(self) -> None:
        """Close every connection, and wait a moment for their sockets."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._origins):
            connection.abort()
        if self._origins:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), CLOSING_SECONDS)

    def _has_room(self, origin: Origin) -> bool:
        if self._counts.get(origin, 0) >= self._most_each:
            return False
        return self._total < self._most or any(self._idle.values())

    async def _turn(self, origin: Origin) -> None:
        """Wait until there may be a connection, or room for one."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = origin
        self._wake()  # it may be this one's at once, where those before it wait for something else
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()
            raise
        finally:
            self._waiting.pop(turn, None)

    def _wake(self) -> None:
        """Give the first who could go on now its turn."""
        for turn, origin in self._waiting.items():
            if not turn.done() and (self._idle.get(origin) or self._has_room(origin)):
                turn.set_result(None)
                return

    def _lost(self, connection: Connection) -> None:
        origin = self._origins.pop(connection, None)
        if origin is None:
            return
        kept = self._idle.get(origin)
        if kept is not None:
            if connection in kept:
                kept.remove(connection)
            if not kept:
                del self._idle[origin]
        self._give_room(origin)
        if self._emptied is not None and not self._origins:
            self._emptied.set()

    def _drop(self, connection: Connection) -> None:
        """Close one and count it no more at once."""
        self._lost(connection)
        connection.abort()

    def _give_room(self, origin: Origin) -> None:
        self._total -= 1
        self._counts[origin] -= 1
        if not self._counts[origin]:
            del self._counts[origin]
        if self._waiting:
            self._wake()

    def _close_old(self) -> None:
        oldest = monotonic() - self._keep_seconds
        for connection in [each for kept in self._idle.values() for each in kept if each.idle_since <= oldest]:
            self._drop(connection)
        waiting = any(self._idle.values())
        again = self._keep_seconds / 2
        self._sweep = asyncio.get_running_loop().call_later(again, self._close_old) if waiting else None


def _idle_since(connection: Connection) -> float:
    return connection.idle_since
