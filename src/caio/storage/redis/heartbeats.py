"""A process tells Redis that it is here, and learns what time it is there.

Theory of operation
-------------------
While Redis does not answer, a process may admit its share of the limits on its own. Nobody else may admit that
share meanwhile: Redis counts the processes whose heartbeats reach beyond its present time, and leaves the
others their share. So a process may be on its own only when Redis surely counts it as gone, and must be known
as gone until what it admitted is counted. It has ceased to be on its own before it begins to return: whatever it
admitted after that nobody would count, and nobody would tell it what Redis admitted since.

A process that starts may take the place of one that has just died, and is not gone before that one is.

A beat names the time *on Redis's clock* until which the process is here, reckoned from what that clock showed
at the beat before: a beat that is delayed on the way changes nothing when it arrives. In the same way every step
carries the time after which it is void.

Laws (each has a test of the same name)
---------------------------------------
- gone_means_gone: when ``gone`` answers True, no server counts this process as here, nor one that died before it
  started.
- a_late_beat_counts_for_nothing: however late it is carried out.
- counted_before_here: ``before_return`` ends well before a process that was gone counts as here again; from its
  beginning on ``gone`` answers False.

Not checked: that the server's clock runs within a tenth as fast as this process's, and that nobody sets it
back by more than ``MARGIN``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from caio.foundation.errors import Misconfigured
from caio.storage.redis.client import Client, ServerAway
from caio.storage.redis.scripts import BEAT

#: For how long a beat counts, how often there is one, and how long after it ends nobody relies on it. Seconds.
LASTS = 2.0
EVERY = 0.5
MARGIN = 0.5

#: How much faster this process's clock may run than the server's.
_FASTER = 1.1

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0

_log = logging.getLogger(__name__)


class Heartbeats:
    """This process's heartbeats. ``before_return`` is awaited whenever the process has been gone and is about to be
    here again; ``after_beat`` after each beat."""

    def __init__(
        self, client: Client, process_id: str, *, lasts: float = LASTS, every: float = EVERY, margin: float = MARGIN
    ) -> None:
        self.client = client
        self.process_id = process_id
        self.server: str | None = None
        self.live = 0
        self.fault: str | None = None
        self.before_return: Callable[[], Awaitable[None]] | None = None
        self.after_beat: Callable[[], Awaitable[None]] | None = None
        self._lasts, self._every, self._margin = lasts, every, margin
        self._sent = 0.0  # when the server was asked last, and when it answered with which time
        self._known = (0.0, 0)
        self._here_until = time.monotonic() + lasts * _FASTER
        self._returning = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Beat for the first time, and go on. A server that does not answer is no reason not to start; raises
        Misconfigured for one that must not be used."""
        with suppress(ServerAway):
            await self._beat()
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Take leave: what this process admitted is counted."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if not self.client.away:
            with suppress(ServerAway):
                await self.client.run(BEAT, (), (self.process_id, "", "1"))

    def gone(self, seconds: float = 0.0) -> bool:
        """Whether no server has counted this process as here for so many seconds, and it has not tried to be."""
        return not self._returning and time.monotonic() >= self._here_until + self._margin + seconds

    def void_after(self) -> str:
        """The server's time by which a step that begins now is carried out or void; nothing known, nothing said."""
        _, then = self._known
        if not then:
            return ""
        ahead = (time.monotonic() - self._sent) * 1.001 + self.client.step_seconds
        return str(then + int(ahead * 1_000_000))

    @property
    def round_trip(self) -> float:
        """How long the server took to answer the last beat that it answered, in seconds."""
        return max(0.0, self._known[0] - self._sent)

    async def _go_on(self) -> None:
        wait = _FIRST_WAIT
        while True:
            await asyncio.sleep(wait if self.client.away else self._every)
            try:
                await self._beat()
                wait = _FIRST_WAIT
            except ServerAway:
                wait = min(wait * 2, _LONGEST_WAIT)
            except Misconfigured as error:
                self.client.away = True
                if self.fault != error.message:
                    _log.error("%s", error.message)
                self.fault, wait = error.message, _LONGEST_WAIT

    async def _beat(self) -> None:
        if self.client.away:
            await self.client.connect()
            await self._learn("")
            await self._return()
        answered, then = self._known
        now = time.monotonic()
        self._here_until = max(self._here_until, now + self._lasts * _FASTER)
        await self._learn(str(then + int((now - answered + self._lasts) * 1_000_000)))
        self.fault, self.client.away = None, False
        if self.after_beat is not None:
            await self.after_beat()

    async def _return(self) -> None:
        """Ends before the beat that makes this process count; when it fails, the process has to wait again until
        it is gone: what it admitted a moment ago is not durable yet."""
        self._returning = True
        try:
            if self.before_return is not None:
                await self.before_return()
        finally:
            self._returning = False
            self._here_until = max(self._here_until, time.monotonic())

    async def _learn(self, until: str) -> None:
        sent = time.monotonic()
        server, then, live, role = await self.client.try_to_run(BEAT, (), (self.process_id, until, ""))
        if role != b"master":
            self.client.away = True
            raise ServerAway
        self.server = server.decode()
        self._sent, self._known, self.live = sent, (time.monotonic(), int(then)), int(live)
