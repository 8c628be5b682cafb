"""Throughput, processor time and added latency of several sides that take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.gateway.load import Load, Target, run
from benchmarks.gateway.processes import cpu_seconds

CONNECTIONS = 16
WARM_UP_SECONDS = 1.0
#: A percentile of fewer latencies says nothing.
FEWEST = 10


@dataclass(slots=True)
class Side:
    """One of those that are compared: whom to call, and the process whose time counts."""

    name: str
    target: Target
    pid: int
    crowds: list[Load] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    singles: list[Load] = field(default_factory=list)

    def warm_up(self) -> None:
        run(self.target, CONNECTIONS, WARM_UP_SECONDS)

    def crowd(self, seconds: float) -> None:
        """A turn at 16 connections."""
        before = cpu_seconds(self.pid)
        self.crowds.append(run(self.target, CONNECTIONS, seconds))
        self.costs.append(1e6 * (cpu_seconds(self.pid) - before) / len(self.crowds[-1].latencies))

    def single(self, seconds: float) -> None:
        """A turn at one connection."""
        self.singles.append(run(self.target, 1, seconds))

    @property
    def answered(self) -> int:
        return sum(len(each.latencies) for each in (*self.crowds, *self.singles))

    @property
    def failed(self) -> int:
        return sum(len(each.failures) for each in (*self.crowds, *self.singles))

    @property
    def rate(self) -> float:
        return median(each.rate for each in self.crowds)

    @property
    def cost(self) -> float:
        """Microseconds of the processor a call."""
        return median(self.costs)

    def rate_to(self, other: Side) -> float:
        """The median over the turns of how many calls it answers for each of the other's."""
        return median(mine.rate / its.rate for mine, its in zip(self.crowds, other.crowds, strict=True))

    def cost_to(self, other: Side) -> float:
        """The median over the turns of how many calls it answers in the processor time of one of the other's."""
        return median(its / mine for mine, its in zip(self.costs, other.costs, strict=True))

    def added(self, percent: int, direct: Side) -> float | None:
        """Milliseconds: the median over the turns of what its percentile is above the direct call's. Turns in which
        it hardly answered have none; None when there is no other."""
        pairs = zip(self.singles, direct.singles, strict=True)
        found = [
            mine.percentile(percent) - its.percentile(percent) for mine, its in pairs if len(mine.latencies) >= FEWEST
        ]
        return 1000 * median(found) if found else None


def take_turns(
    sides: Sequence[Side], turn: int, seconds: float, *, single: bool = False, after: Callable[[], None]
) -> None:
    """Each side once, every other turn backwards; ``after`` each of them."""
    for side in sides if turn % 2 == 0 else sides[::-1]:
        side.single(seconds) if single else side.crowd(seconds)
        after()
