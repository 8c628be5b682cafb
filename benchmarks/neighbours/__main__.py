"""A noisy neighbour: one tenant calls at a fifth of what the server can take, another at ten times its limit.

CAIO runs as users run it, on SQLite, one process, all tenants in it. Where the system allows, the server has one
core to itself and shares nothing with what loads it: the load, the burst and the service have another, and the
burst gives way there to the load whose latencies are measured. In production they are other machines. All of them
come before whatever else the machine does, where the system permits it.

Rounds come in pairs, and each pair is cut in slices that alternate: the quiet tenant alone, and beside a burst of
a neighbour that has not called before. So what else the machine does meets both. A figure of a pair is over all its
slices of a state; what is held to the bar is the median over the pairs, and their spread is stated.

The neighbour's limit is a share of the server's capacity, over the time of a slice, and it sends ten
times that: a tenth is admitted, at once and at ten times the share, and the rest is refused. A twentieth of what
one process can take is some two to three times a tenant's default limit of 1,000 calls a minute. At a fifth,
stated as a note, the neighbour's admitted calls alone come at twice the server's capacity until its window is full.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import uvloop

from benchmarks.frame import Report
from benchmarks.gateway import load, world
from benchmarks.gateway.load import Target, Template
from benchmarks.gateway.processes import module
from benchmarks.neighbours.pace import Caller, Paced, run
from benchmarks.server import UNREACHED, Served, serve

PAIRS = 5
SLICES, SECONDS = 4, 1.5

#: Slices are measured again, so often at most, when a hypervisor kept more than so many seconds a second from
#: the cores: its pauses are longer than a burst.
MOST_STOLEN, TRIES = 0.02, 8

#: The priority of what is measured and of what measures, as ``nice`` counts: less comes first.
FIRST = -15

QUIET_SHARE, EXCESS = 0.2, 10
HELD_SHARE, NOTED_SHARE = 0.05, 0.2

PATH = "/api/v1/orchestrate"
PAYLOAD = {"text": "The hall was warm, the seats were fine and the second half was better than the first."}
BODY = json.dumps({"request": {"capability": "text.sentiment", "payload": PAYLOAD}}).encode()


class Operator:
    """The platform's operator, who makes tenants that may all call the same services."""

    def __init__(self, served: Served, upstream_url: str) -> None:
        self._served = served
        self._upstream_url = upstream_url

    def tenant(self, name: str, per_minute: int = 10**9) -> str:
        """A new tenant's key. Its services are there, and were called once."""
        tenant = self._served.tenant(name, UNREACHED | {"per_minute": per_minute})
        for number in range(world.SERVICES):
            tenant.ask("/api/v1/services", world.service(number, self._upstream_url))
        tenant.ask(PATH, json.loads(BODY))
        return tenant.api_key


class Neighbour:
    """The process that bursts."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def begin(self, key: str, rate: float, seconds: float) -> None:
        wanted = {"key": key, "body": BODY.decode(), "rate": rate, "seconds": seconds}
        assert self._child.stdin is not None
        print(json.dumps(wanted), file=self._child.stdin, flush=True)

    def answered(self) -> Counter[int]:
        """How often which status was answered, when the burst is over."""
        assert self._child.stdout is not None
        return Counter({int(status): count for status, count in json.loads(self._child.stdout.readline()).items()})


@contextmanager
def neighbour(url: str) -> Iterator[Neighbour]:
    command = [sys.executable, "-m", "benchmarks.neighbours.burst", url, PATH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield Neighbour(child)
        finally:
            child.terminate()


def give_cores(server: int) -> None:
    """One core to the server, with its threads, and another to this process and those that it starts."""
    with suppress(OSError):
        # Linux groups processes by session, and a group's priority goes before that of a process in it.
        Path("/proc/self/autogroup").write_text(str(FIRST))
        for task in Path(f"/proc/{server}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), FIRST)
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        for task in Path(f"/proc/{server}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cores[1]})
        os.sched_setaffinity(0, {cores[0]})


def stolen() -> float:
    """The seconds that a hypervisor has kept from this machine's cores since it started."""
    stat = Path("/proc/stat")
    return int(stat.read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK") if stat.exists() else 0.0


@dataclass(slots=True)
class Pair:
    """The quiet tenant's calls of one pair, and what the burst was answered."""

    alone: Paced = field(default_factory=Paced)
    beside: Paced = field(default_factory=Paced)
    burst: Counter[int] = field(default_factory=Counter)

    def add(self, slices: Pair) -> None:
        for mine, more in ((self.alone, slices.alone), (self.beside, slices.beside)):
            mine.latencies += more.latencies
            mine.statuses += more.statuses
        self.burst += slices.burst

    def shift(self, percent: int) -> float:
        """How much longer calls take beside the burst, in percent."""
        return 100 * (percentile(self.beside, percent) / percentile(self.alone, percent) - 1)


def percentile(paced: Paced, percent: int) -> float:
    """In milliseconds, of the quiet tenant's calls, however they were answered."""
    return 1000 * quantiles(paced.latencies, n=100, method="inclusive")[percent - 1]


@dataclass(slots=True)
class Bench:
    """The running server, as its tenants see it."""

    url: str
    operator: Operator
    neighbour: Neighbour
    quiet: str
    capacity: float
    _numbers: Iterator[int] = field(default_factory=count)

    def pairs(self, share: float) -> list[Pair]:
        return [self._pair(share, number % 2 == 0) for number in range(PAIRS)]

    def _pair(self, share: float, alone_first: bool) -> Pair:
        pair = Pair()
        for _ in range(SLICES):
            for _ in range(TRIES):
                before, began = stolen(), time.perf_counter()
                slices = self._slices(share, alone_first)
                if (stolen() - before) / (time.perf_counter() - began) <= MOST_STOLEN:
                    break
            pair.add(slices)
        return pair

    def _slices(self, share: float, alone_first: bool) -> Pair:
        """One slice of each state; the burst is a new tenant's."""
        limit = int(share * self.capacity * SECONDS)
        key = self.operator.tenant(f"burst-{next(self._numbers)}", limit + 1)
        steady = Caller(self.quiet, BODY, QUIET_SHARE * self.capacity)
        slices = Pair()
        for with_burst in (False, True) if alone_first else (True, False):
            if with_burst:
                self.neighbour.begin(key, EXCESS * share * self.capacity, SECONDS)
            calls = uvloop.run(run(self.url, PATH, steady, SECONDS))
            if with_burst:
                slices.beside, slices.burst = calls, self.neighbour.answered()
            else:
                slices.alone = calls
        return slices


def main() -> int:
    report = Report("neighbours")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        served = running.enter_context(serve(Path(folder)))
        give_cores(served.pid)
        upstream = running.enter_context(module("benchmarks.gateway.upstream"))
        operator = Operator(served, upstream.url)
        quiet = operator.tenant("quiet")
        target = Target(served.url, PATH, [Template(BODY, None)], quiet)
        load.run(target, 16, 1.0)
        capacity = median(load.run(target, 16, 2.0).rate for _ in range(3))
        bench = Bench(served.url, operator, running.enter_context(neighbour(served.url)), quiet, capacity)
        report.note("capacity, 16 connections", capacity, "calls/s")
        report.note("the quiet tenant", QUIET_SHARE * capacity, "calls/s")
        state(report, "limit 5 % of capacity", HELD_SHARE, capacity, bench.pairs(HELD_SHARE), bar=10)
        state(report, "limit 20 % of capacity", NOTED_SHARE, capacity, bench.pairs(NOTED_SHARE), bar=None)
    return report.finish()


def state(report: Report, name: str, share: float, capacity: float, pairs: list[Pair], bar: float | None) -> None:
    """The rows of one limit."""
    answered = sum((pair.burst for pair in pairs), Counter[int]())
    report.note(f"{name}: the burst", EXCESS * share * capacity, "calls/s")
    report.note(f"{name}: of the burst refused", 100 * answered[429] / answered.total(), "%")
    served = sum((pair.alone.statuses + pair.beside.statuses for pair in pairs), Counter[int]())
    report.at_least(f"{name}: of the quiet tenant served", 100 * served[200] / served.total(), "%", bar=100)
    for percent in (50, 95):
        alone = median(percentile(pair.alone, percent) for pair in pairs)
        beside = median(percentile(pair.beside, percent) for pair in pairs)
        report.note(f"{name}: alone, p{percent}", alone, "ms")
        report.note(f"{name}: beside the burst, p{percent}", beside, "ms")
    report.note(f"{name}: p50, median of pairs", median(pair.shift(50) for pair in pairs), "% more")
    shifts = sorted(pair.shift(95) for pair in pairs)
    if bar is None:
        report.note(f"{name}: p95, median of pairs", median(shifts), "% more")
    else:
        report.at_most(f"{name}: p95, median of pairs", median(shifts), "% more", bar=bar)
    report.note(f"{name}: p95, least of pairs", shifts[0], "% more")
    report.note(f"{name}: p95, most of pairs", shifts[-1], "% more")


if __name__ == "__main__":
    raise SystemExit(main())
