"""Which call a process begins next when more come than it can begin at once, and which it sends away.

Theory of operation
-------------------
What a call costs the process is spent mostly before its service is asked: reading it, deciding, admitting it. Calls
that arrive together would do that one after the other in the order of coming, and one tenant's burst would be in
front of everybody. So when a call begins, others that come in the same turn of the event loop wait, and with each
further turn of the loop one more is begun: of the tenants with calls that wait the next in round, the oldest of its
calls. A call that comes alone begins at once.

A process that has as many calls in flight as may be, or that runs ``LATE_SECONDS`` late ``LATE_TIMES`` in a row,
sends calls away before it reads them. When too many wait to begin, one of the tenant that has most waiting is sent
away, so that who calls little is served.

Laws (each has a test of the same name)
---------------------------------------
- one_call_a_turn_begins: nothing waits while nothing else begins.
- tenants_take_turns: of two that wait, none begins two while the other begins none; each one's in order of coming.
- the_longest_queue_is_cut: no more wait than may, and a tenant with fewer waiting is not sent away.
- no_more_in_flight_than_may_be: and a place is free again however a call ends, also if it never began.
- a_process_that_runs_late_sends_away, and serves again when it runs in time.

Not covered: what calls cost beyond their number (a large body is one call), and the work after an answer has come.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from time import monotonic

from caio.foundation.errors import NotReady

#: Calls that may wait to begin, of all tenants.
MOST_WAITING = 1_024

PULSE_SECONDS = 0.25
LATE_SECONDS = 0.5
LATE_TIMES = 3


class Starts:
    """The calls of one process. Belongs to one event loop."""

    def __init__(self, most_at_once: int, most_waiting: int = MOST_WAITING) -> None:
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._beginning = False
        self._late = 0
        self._pulse: asyncio.Task[None] | None = None
        self.in_flight = 0
        self.waiting = 0
        self.sent_away = 0

    @property
    def is_late(self) -> bool:
        return self._late >= LATE_TIMES

    @property
    def is_shedding(self) -> bool:
        return self.is_late or self.in_flight >= self._most_at_once

    def begin(self, tenant_id: str) -> asyncio.Future[None] | None:
        """Count a call as in flight, until ``ended`` is called for it. It begins at once (None), or when the future
        is done. Raises NotReady ``overloaded``, and counts nothing; the future may raise it, too."""
        if self.in_flight >= self._most_at_once or self._late >= LATE_TIMES:
            raise self._overloaded()
        if self._beginning:
            waits = self._enqueued(tenant_id)
            self.in_flight += 1
            return waits
        self.in_flight += 1
        self._beginning = True
        asyncio.get_running_loop().call_soon(self._next)
        return None

    def ended(self) -> None:
        self.in_flight -= 1

    async def start(self) -> None:
        """Watch how late the process runs."""
        self._pulse = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            with suppress(asyncio.CancelledError):
                await self._pulse

    def _enqueued(self, tenant_id: str) -> asyncio.Future[None]:
        if self.waiting >= self._most_waiting:
            self._cut(tenant_id)
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant_id, deque()).append(waits)
        self.waiting += 1
        return waits

    def _cut(self, newcomer: str) -> None:
        """Send away the newest call of the tenant that has most waiting, which may be the newcomer's."""
        longest = max(self._queues, key=lambda name: len(self._queues[name]))
        if len(self._queues[longest]) <= len(self._queues.get(newcomer, ())) + 1:
            raise self._overloaded()
        given_up = self._queues[longest].pop()
        self.waiting -= 1
        if not given_up.done():
            given_up.set_exception(self._overloaded())

    def _next(self) -> None:
        """Begin one call more, and look again in the loop's next turn; nobody waiting, the next call begins at once."""
        while self._queues:
            tenant_id, queue = self._queues.popitem(last=False)
            waits = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues[tenant_id] = queue  # at the end of the round
            if not waits.done():  # else its caller has gone
                waits.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._beginning = False

    def _overloaded(self) -> NotReady:
        self.sent_away += 1
        return NotReady(
            "this process has more calls than it can serve; try again shortly", code="overloaded", retry_after=1
        )

    async def _watch(self) -> None:
        while True:
            due = monotonic() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._late = self._late + 1 if monotonic() - due > LATE_SECONDS else 0
