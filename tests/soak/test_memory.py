"""Calls without end: memory stays where it was once every bounded cache is full, and nothing stays open."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmarks.gateway import world
from benchmarks.gateway.load import Target, run
from benchmarks.gateway.memory import Memory, slope
from benchmarks.gateway.processes import module
from benchmarks.server import serve

MILLION = 1_000_000
#: What a million calls may add once warm. A byte kept of each would be one MB.
MOST_MB_A_MILLION = 16.0


def test_a_slope_is_found() -> None:
    assert slope([(0, 5.0), (10, 7.0), (20, 9.0)]) == pytest.approx(0.2)
    assert slope([(0, 5.0), (10, 5.0), (20, 5.0)]) == 0
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
        memory, made, failed = Memory(served.pid), 0, 0
        targets = [
            Target(tenant.url, world.NATIVE, world.sorts(world.native), tenant.api_key),
            Target(tenant.url, world.CHAT, world.sorts(world.chat), tenant.api_key),
            Target(tenant.url, world.CHAT, world.sorts(world.chat, stream=True), tenant.api_key),
        ]
        while made < calls:
            for target in targets:
                load = run(target, 16, seconds=1.0 if calls < 10_000 else 10.0)
                made += len(load.latencies)
                failed += len(load.failures)
            memory.note(made)
            print(f"{time.strftime('%H:%M:%S')} {made:,} calls, {memory.noted[-1][1]:.1f} MB", flush=True)
        assert failed <= made / 10_000  # a machine that stands still for seconds has some refused
        grown = memory.growth() / 1_000 * min(calls, MILLION)
        assert grown <= most_mb, f"{grown:.1f} MB more in {min(calls, MILLION):,} calls"
        assert float(tenant.ask("/api/v1/budget")["reserved"]) == 0
