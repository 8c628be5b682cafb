"""Rolling-window limits in bounded memory, as pure state and arithmetic.

Theory of operation
-------------------
An exact log of admissions needs one entry per call. A window keeps *blocks* instead: runs of
consecutive admissions, remembered by their total and by the time of their newest entry. Admissions are
joined while their block stays within one percent of the limit; a larger one is a block of its own. A block
leaves the window when its newest entry does. Only the oldest block can hold entries that have already left,
so the count is never too low, and too high by less than one percent of the limit.

What a call takes may be given back in part when it turns out to have needed less: from the first block that
reaches to the time it was taken, which is its own or one that leaves earlier. What has left already gives
nothing back. Blocks that have become small are joined with their neighbours when there are too many.

Laws (each has a test of the same name)
---------------------------------------
- never_over_admits: no stretch of ``span`` microseconds holds more than ``limit`` units.
- never_refuses_below_98_percent: units are admitted while the exact count, with them, is at most that.
- waiting_as_told_is_enough: refused units fit after the wait, and not a microsecond before.
- refusals_cost_nothing: asking changes no later answer.
- memory_is_bounded: at most 2 * BLOCKS + 1 blocks, whatever the limit, also when it was changed and
  when units were given back.
- all_or_nothing: of several windows, either each takes the units or none does.
- given_back_units_are_free_again: as if they had never been taken, but for less than one percent.
- settling_never_over_admits: whatever is given back, and whenever.

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

#: Before any time there is.
_NEVER = -1


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
    _left: int = _NEVER  # the newest time of the blocks that have left

    def __post_init__(self) -> None:
        if self.limit < 1 or self.span < 1:
            raise ValueError(f"limit and span must be positive, got {self.limit} and {self.span}")

    def forget(self, now: int) -> None:
        """Let go of what has left by ``now``."""
        blocks = self._blocks
        while blocks and blocks[0].newest <= now - self.span:
            gone = blocks.popleft()
            self.used -= gone.units
            self._left = gone.newest

    def wait(self, now: int, units: int = 1) -> int:
        """Microseconds until ``units`` more fit; 0 if they fit now. More than the limit never fit: their wait
        is the whole span, however often it is waited."""
        self.forget(now)
        blocks = self._blocks
        missing = self.used + units - self.limit
        if missing <= 0:
            return 0
        if units > self.limit:
            return self.span
        wait = 0
        for block in blocks:
            missing -= block.units
            wait = block.newest + self.span - now
            if missing <= 0:
                break
        return wait

    def frees_in(self, now: int) -> int:
        """Microseconds until some of what is used leaves; 0 when nothing is used."""
        return self._blocks[0].newest + self.span - now if self._blocks else 0

    def take(self, now: int, units: int = 1) -> None:
        """Record units that ``wait`` has just allowed at the same ``now``."""
        self.used += units
        blocks = self._blocks
        last = blocks[-1] if blocks else None
        if last is not None and (last.units + units) * BLOCKS <= self.limit:
            last.units += units
            last.newest = now
            return
        if len(blocks) > 2 * BLOCKS and self.used <= self.limit:
            self._join()
        # Only units taken under another limit can still fill all blocks; then the last one takes what comes.
        if len(self._blocks) > 2 * BLOCKS:
            self._blocks[-1].units += units
            self._blocks[-1].newest = now
        else:
            self._blocks.append(Block(units, now))

    def give_back(self, at: int, units: int) -> None:
        """Free units of those that were taken at ``at``; nothing when they may have left already. That no more
        is given back than was taken then is the caller's part."""
        if at <= self._left:
            return
        for block in self._blocks:
            if block.newest >= at:
                freed = min(units, block.units)
                block.units -= freed
                self.used -= freed
                units -= freed
                if not units:
                    return

    def continuing(self, earlier: RollingWindow) -> None:
        """Take over what an ``earlier`` window of the same name has admitted."""
        self.used, self._left = earlier.used, earlier._left
        self._blocks = deque(Block(block.units, block.newest) for block in earlier._blocks)

    def _join(self) -> None:
        """Join neighbours that one block can hold; what remains is under twice BLOCKS while the limit is kept."""
        joined: deque[Block] = deque()
        for block in self._blocks:
            if joined and (joined[-1].units + block.units) * BLOCKS <= self.limit:
                joined[-1].units += block.units
                joined[-1].newest = block.newest
            elif block.units:
                joined.append(block)
        self._blocks = joined


@dataclass(frozen=True, slots=True)
class Full:
    """The window that refuses, the microseconds until it has room, and the whole seconds (at least 1)."""

    window: str
    limit: int
    wait: int

    @property
    def retry_after(self) -> int:
        return max(1, -(-self.wait // 1_000_000))


class Windows:
    """Several windows over the same units, taken together or not at all."""

    __slots__ = ("_latest", "windows")

    def __init__(self, windows: Sequence[RollingWindow]) -> None:
        self.windows = tuple(windows)
        self._latest = 0

    def full(self, now: int, units: int = 1) -> Full | None:
        """The window that makes ``units`` wait longest, or None when all have room."""
        now = max(now, self._latest)
        slowest, longest = None, 0
        for window in self.windows:
            blocks = window._blocks
            # As ``wait`` finds it when nothing leaves and there is room, without the cost of asking.
            if blocks and blocks[0].newest > now - window.span and window.used + units <= window.limit:
                continue
            wait = window.wait(now, units)
            if wait > longest:
                slowest, longest = window, wait
        return None if slowest is None else Full(slowest.name, slowest.limit, longest)

    def take(self, now: int, units: int = 1) -> int:
        """Record units in every window, and return the time they count at, for ``give_back``; ``full`` has just
        answered None at the same ``now``."""
        self._latest = now = max(now, self._latest)
        for window in self.windows:
            blocks = window._blocks
            # As ``take`` does it when the last block has room, without the cost of asking.
            if blocks and ((last := blocks[-1]).units + units) * BLOCKS <= window.limit:
                last.units += units
                last.newest = now
                window.used += units
            else:
                window.take(now, units)
        return now

    def give_back(self, at: int, units: int) -> None:
        """Free units of those that ``take`` recorded at ``at``."""
        for window in self.windows:
            window.give_back(at, units)

    def restore(self, at: int, units: int = 1) -> None:
        """Record units admitted before a restart; call in order of time. May exceed a limit that
        was lowered meanwhile: then nothing is admitted until enough has left."""
        self._latest = max(self._latest, at)
        for window in self.windows:
            window.forget(self._latest)
            window.take(self._latest, units)

    def continuing(self, earlier: Windows) -> Windows:
        """These windows, with what ``earlier`` ones of the same name have admitted."""
        by_name = {window.name: window for window in earlier.windows}
        for window in self.windows:
            if (old := by_name.get(window.name)) is not None:
                window.continuing(old)
        self._latest = earlier._latest
        return self

    def are_empty(self, now: int) -> bool:
        """Whether nothing is in any of them."""
        for window in self.windows:
            window.forget(max(now, self._latest))
        return not any(window.used for window in self.windows)

    def tightest(self) -> RollingWindow | None:
        """The window with the fewest units left, as of the last call."""
        tightest, fewest = None, 0
        for window in self.windows:
            left = window.limit - window.used
            if tightest is None or left < fewest:
                tightest, fewest = window, left
        return tightest
