"""Several processes: whether decisions and limits stay exact, and what a second process is worth.

That they are exact is what tests show, of four servers over one PostgreSQL and one Redis; the same tests are run
here. A second process is only worth measuring where it, the database and the load have cores of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.admission.shared import server as redis
from benchmarks.frame import Report
from benchmarks.gateway import world
from benchmarks.gateway.load import Target
from benchmarks.gateway.processes import module
from benchmarks.postgres import postgres
from benchmarks.server import serve

CORES = 6
ROUNDS, SECONDS = 5, 3.0
ROOT = Path(__file__).parents[2]
TESTS = (
    "tests/e2e/test_several_processes.py::test_a_limit_holds_over_all_processes",
    "tests/e2e/test_several_processes.py::test_a_budget_holds_over_all_processes",
    "tests/e2e/test_several_processes.py::test_a_service_published_on_one_is_called_on_all",
    "tests/e2e/test_several_processes.py::test_one_log_a_tenant_without_forks",
)


def exactness(report: Report) -> None:
    """State the rows of several processes, or why one cannot be."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    if done.returncode:
        print(done.stdout[-2000:])
    measure = "4 processes: decisions, limits, budget and log exact"
    if "skipped" in last:
        report.leave_out(measure, last)
    else:
        report.at_least(measure, float(done.returncode == 0), "(1: yes)", bar=1)
    scale_out(report)


def scale_out(report: Report) -> None:
    """What two processes answer together for each call that one of them answers alone."""
    measure, cores = "2 processes / 1, throughput", len(os.sched_getaffinity(0))
    if cores < CORES:
        report.leave_out(measure, f"it needs {CORES} cores, and there are {cores}")
        return
    with ExitStack() as running:
        upstream = running.enter_context(module("benchmarks.gateway.upstream"))
        settings = {"database_url": running.enter_context(postgres()), "redis_url": running.enter_context(redis())}
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        one = running.enter_context(serve(folder, **settings)).tenant("bench")
        two = running.enter_context(serve(folder, **settings))
        world.furnish(one, upstream.url)
        templates = world.sorts(world.native)
        targets = [Target(url, world.NATIVE, templates, one.api_key) for url in (one.url, two.url)]
        report.at_least(measure, _ratio(targets), "times", bar=1.8)


def _ratio(targets: list[Target]) -> float:
    """The median over rounds; each server has a load of its own."""
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial
    from statistics import median

    from benchmarks.gateway.load import run

    with ProcessPoolExecutor(len(targets)) as loads:
        of = partial(run, connections=16, seconds=SECONDS)
        list(loads.map(of, targets))
        ratios = []
        for _ in range(ROUNDS):
            alone = of(targets[0]).rate
            ratios.append(sum(load.rate for load in loads.map(of, targets)) / alone)
    return median(ratios)
