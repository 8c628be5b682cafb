"""Rolling-window limits in bounded memory, as pure state and arithmetic.

Theory of operation
-------------------
An exact log of admissions needs one entry per call. A window keeps *blocks* instead: runs of
consecutive admissions, each at most one percent of the limit, remembered by their total and by the
time of their newest entry. A block leaves the window when its newest entry does. Only the oldest
block can hold entries that have already left, so the count is never too low, and too high by less
than one block.

Laws (each has a test of the same name)
---------------------------------------
- never_over_admits: no stretch of ``span`` microseconds holds more than ``limit`` units.
- never_refuses_below_98_percent: a unit is admitted while the exact count is below that.
- waiting_as_told_is_enough: a refused unit fits after the wait, and not a microsecond before.
- refusals_cost_nothing: asking changes no later answer.
- memory_is_bounded: at most 2 * BLOCKS + 1 blocks, whatever the limit, also when it was changed.
- all_or_nothing: of several windows, either each takes the unit or none does.

Time is an argument: integer microseconds of one clock. It must not go backwards within a window;
``Windows`` clamps it. Nothing here knows tenants, Redis or HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCKS = 100

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(slots=True)
class Block:
    """Units admitted in one run, and the time of the newest of them."""

    units: int
    newest: int


@dataclass(slots=True)
class RollingWindow:
    """At most ``limit`` units in any ``span`` microseconds; ``name`` is what a refusal calls it."""

    name: str
    limit: int
    span: int
    used: int = 0
    _blocks: deque[Block] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.limit < 1 or self.span < 1:
            raise ValueError(f"limit and span must be positive, got {self.limit} and {self.span}")

    def wait(self, now: int) -> int:
        """Microseconds until one more unit fits; 0 if it fits now."""
        while self._blocks and self._blocks[0].newest <= now - self.span:
            self.used -= self._blocks.popleft().units
        missing, wait = self.used + 1 - self.limit, 0
        for block in self._blocks:  # more than one only while a lowered limit is exceeded
            if missing <= 0:
                break
            missing -= block.units
            wait = block.newest + self.span - now
        return wait

    def take(self, now: int) -> None:
        """Record a unit that ``wait`` has just allowed at the same ``now``."""
        last = self._blocks[-1] if self._blocks else None
        # Only units taken under another limit can fill all blocks; then the last one takes what comes.
        crowded = len(self._blocks) > 2 * BLOCKS
        if last is not None and (crowded or (last.units + 1) * BLOCKS <= self.limit):
            last.units += 1
            last.newest = now
        else:
            self._blocks.append(Block(1, now))
        self.used += 1


@dataclass(frozen=True, slots=True)
class Full:
    """The window that refuses, and the whole seconds (at least 1) until it has room."""

    window: str
    limit: int
    retry_after: int


class Windows:
    """Several windows over the same units, taken together or not at all."""

    def __init__(self, windows: Sequence[RollingWindow]) -> None:
        self._windows = tuple(windows)
        self._latest = 0

    def full(self, now: int) -> Full | None:
        """The window that makes a unit wait longest, or None when all have room."""
        now = self._advance(now)
        slowest = max(self._windows, key=lambda window: window.wait(now), default=None)
        if slowest is None or (wait := slowest.wait(now)) == 0:
            return None
        return Full(slowest.name, slowest.limit, max(1, -(-wait // 1_000_000)))

    def take(self, now: int) -> None:
        """Record a unit in every window; ``full`` has just answered None at the same ``now``."""
        now = self._advance(now)
        for window in self._windows:
            window.take(now)

    def restore(self, at: int) -> None:
        """Record a unit admitted before a restart; call in order of time. May exceed a limit that
        was lowered meanwhile: then nothing is admitted until enough has left."""
        at = self._advance(at)
        for window in self._windows:
            window.wait(at)
            window.take(at)

    def continuing(self, earlier: Windows) -> Windows:
        """These windows, with what ``earlier`` ones of the same name have admitted."""
        by_name = {window.name: window for window in earlier._windows}
        for window in self._windows:
            if (old := by_name.get(window.name)) is not None:
                window.used, window._blocks = old.used, deque(old._blocks)
        self._latest = earlier._latest
        return self

    def _advance(self, now: int) -> int:
        self._latest = max(self._latest, now)
        return self._latest
