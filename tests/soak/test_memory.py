"""Calls without end: memory stays where it was once every bounded cache is full, and nothing stays open.

A quarter of the calls is of sorts that were never seen before, so that whatever is kept of requests is filled soon,
and made room in from then on. How long a number of calls takes is the machine's affair; no bar depends on it.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gateway import world
from benchmarks.gateway.load import Target, run
from benchmarks.gateway.memory import WARM_UP, Memory, slope
from benchmarks.gateway.processes import module
from benchmarks.server import Served, serve

MILLION = 1_000_000
#: What a million calls may add once warm. A byte kept of each would be one MB.
MOST_MB_A_MILLION = 16.0
CONNECTIONS = 16


def test_a_slope_is_found() -> None:
    assert slope([(0, 5.0), (10, 7.0), (20, 9.0)]) == pytest.approx(0.2)
    assert slope([(0, 5.0), (10, 5.0), (20, 5.0)]) == 0
    assert slope([(0, 5.0), (10, 6.0), (20, 50.0), (30, 8.0), (40, 9.0)]) == pytest.approx(0.1)
    assert slope([(7, 5.0)]) == 0
    memory = Memory(0, [(0, 50.0), (100, 90.0), (400, 100.0), (700, 103.0), (1_000, 106.0)])
    assert memory.growth() == pytest.approx(10.0)  # the filling of caches before is left out


@pytest.mark.parametrize(
    ("calls", "most_mb"),
    [
        # So few calls show only what is kept of each whole: a body, a decision.
        pytest.param(3_000, 16.0, marks=pytest.mark.long),
        pytest.param(
            int(os.environ.get("CAIO_SOAK_CALLS", MILLION)), MOST_MB_A_MILLION, marks=pytest.mark.soak, id="soak"
        ),
    ],
)
def test_memory_stays_flat(calls: int, most_mb: float, tmp_path: Path) -> None:
    with (
        module("benchmarks.gateway.upstream") as upstream,
        serve(tmp_path, control_plane_per_minute="100000") as served,
    ):
        tenant = served.tenant("soak")
        world.furnish(tenant, upstream.url)
        tenant.ask("/api/v1/budget")
        files = files_of(served.pid)
        memory, failures = called(tenant, calls)
        made = memory.noted[-1][0]
        assert [each for each in failures if not each.startswith("HTTP/1.1 503")] == []
        assert len(failures) <= made / 100  # a machine that stands still for seconds has some refused
        grown = memory.growth() / 1_000 * min(calls, MILLION)
        assert grown <= most_mb, f"{grown:.1f} MB more in {min(calls, MILLION):,} calls"
        assert float(tenant.ask("/api/v1/budget")["reserved"]) == 0
        assert files_of(served.pid) <= files + 2 * CONNECTIONS  # to services, and the database's


def called(tenant: Served, calls: int) -> tuple[Memory, list[str]]:
    """The server's memory over so many calls, as fast as it answers, and what was told instead of answers."""
    new = Target(tenant.url, world.NATIVE, [], tenant.api_key)
    chats = replace(new, path=world.CHAT)
    targets = [
        replace(new, templates=world.sorts(world.native)),
        replace(chats, templates=world.sorts(world.chat)),
        replace(chats, templates=world.sorts(world.chat, stream=True)),
    ]
    memory, made, started = Memory(tenant.pid), 0, time.monotonic()
    failures: list[str] = []
    memory.note(0)
    seconds = 1.0 if calls < 10_000 else 5.0
    while made < calls:
        choice = random.Random(made)
        for target in (*targets, replace(new, templates=[world.novel(choice) for _ in range(world.SORTS)])):
            load = run(target, CONNECTIONS, seconds)
            made += len(load.latencies)
            failures += load.failures
        memory.note(made)
        print(f"{time.strftime('%H:%M:%S')} {made:,} calls, {memory.noted[-1][1]:.1f} MB", flush=True)
    rate, idle, end = made / (time.monotonic() - started), memory.noted[0][1], memory.noted[-1][1]
    warm = next(mb for after, mb in memory.noted if after >= WARM_UP * made)
    print(
        f"{made:,} calls, {len(failures)} refused, {rate:.0f}/s: {idle:.1f} MB before, {warm:.1f} MB when warm, "
        f"{end:.1f} MB at the end; {1_000 * memory.growth():+.1f} MB in a million calls; "
        f"{files_of(tenant.pid)} open files",
        flush=True,
    )
    return memory, failures


def files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
