"""Whether a server's memory grows with the calls it has answered: resident megabytes over calls, and their slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

from benchmarks.frame import Report
from benchmarks.gateway.processes import resident_mb

#: The share of the calls after which caches count as filled.
WARM_UP = 0.4


@dataclass(slots=True)
class Memory:
    """What one process held, after how many calls."""

    pid: int
    noted: list[tuple[int, float]] = field(default_factory=list)

    def note(self, calls: int) -> None:
        """Read the process's memory now."""
        self.noted.append((calls, resident_mb(self.pid)))

    def growth(self) -> float:
        """Megabytes for a thousand calls, once warm."""
        warm = [each for each in self.noted if each[0] >= WARM_UP * self.noted[-1][0]]
        return 1_000 * slope(warm)

    def state(self, report: Report) -> None:
        calls, resident = self.noted[-1]
        report.note("CAIO: resident at the end", resident, "MB")
        report.note("CAIO: calls until then", calls, "calls")
        report.note("CAIO: resident, growth in a thousand calls", 1_000 * self.growth(), "KB")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much the second grows with the first: the median over all pairs (Theil and Sen), so that what was held
    for a moment when a few of them were taken changes nothing; 0 where there is nothing to fit."""
    return median([(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0]] or [0.0])
