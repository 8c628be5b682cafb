"""Attempts to authenticate, of one address no more at a time than may fail.

Theory of operation
-------------------
The ``Throttle`` counts failures when they are known, which is after a look-up. So that an address cannot have
thousands of look-ups made before the first is counted, as many are under way as it has failures left; further
ones wait in a line, and are held up in their turn once the allowance is gone. Whoever succeeds leaves the
allowance as it was: a crowd of good callers behind one address passes, a few at a time.

Laws (each has a test of the same name)
---------------------------------------
- as_many_at_a_time_as_may_fail: however many come at once.
- who_waits_gets_a_turn: whatever becomes of those before, and of those who give up.
- nothing_is_kept_of_an_address_without_attempts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from caio.tenancy.throttle import Throttle, network_of


@dataclass(slots=True)
class _Line:
    """The attempts of an address: ``here`` counts those under way and those that wait."""

    here: int = 0
    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def call_next(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Attempts:
    """Lets attempts through. ``clock`` gives microseconds since the epoch."""

    def __init__(self, throttle: Throttle, clock: Callable[[], int]) -> None:
        self._throttle = throttle
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    async def begin(self, address: str) -> None:
        """Begin an attempt, in its turn; ``end`` it. Raises LimitExceeded, and has begun nothing, while the address has
        failed too often."""
        network = network_of(address)
        line = self._lines.get(network)
        if line is None:
            line = self._lines[network] = _Line()
        line.here += 1
        try:
            await self._turn(line, network)
        except BaseException:
            self._leave(line, network)
            raise
        line.under_way += 1

    def end(self, address: str) -> None:
        """End an attempt that has begun, after its failure was counted."""
        network = network_of(address)
        line = self._lines[network]
        line.under_way -= 1
        self._leave(line, network)

    def failed(self, address: str) -> None:
        """Count a failure: of an attempt under way, or of a caller who needed none."""
        self._throttle.failed(address, self._clock())

    async def _turn(self, line: _Line, network: str) -> None:
        while True:
            now = self._clock()
            self._throttle.check(network, now)
            if line.under_way < self._throttle.left(network, now):
                return
            turn = asyncio.get_running_loop().create_future()
            line.waiting.append(turn)
            await turn

    def _leave(self, line: _Line, network: str) -> None:
        if line.waiting:
            line.call_next()
        line.here -= 1
        if not line.here:
            del self._lines[network]
