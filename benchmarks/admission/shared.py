"""Admission in Redis: commands, processor time and waiting a call, beside the least that a step can be."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from redis.asyncio import Redis

from benchmarks.admission.calls import UNIT, Calls, cpu, installation, wanted_by
from benchmarks.frame import Report
from caio.foundation.errors import CaioError
from caio.gateway.run import Wanted
from caio.storage.redis.admission import RedisAdmission
from caio.storage.redis.client import Client
from caio.storage.redis.heartbeats import Heartbeats

CALLS = 1_000


async def shared(report: Report, url: str) -> None:
    """Measure against the server at ``url``."""
    with tempfile.TemporaryDirectory() as folder:
        async with installation(Path(folder)) as (opened, token), Redis.from_url(url) as plain:
            caller = await opened.authenticator.authenticate(f"Bearer {token}")
            client = Client(url, step_seconds=5.0)
            admission = RedisAdmission(client, Heartbeats(client, "benchmark"), opened.stores.admission_records, 1)
            await admission.start()
            calls, wanted = Calls.of(admission, every_limit=False), wanted_by(caller, every_limit=False)
            await _settled_down(calls, wanted)
            await plain.config_resetstat()
            waits = await _waits(lambda: calls.one(wanted))
            # Heartbeats are scripts too, a few a second.
            report.at_most(
                "Redis: scripts a call, one to admit and one to settle",
                await _scripts(plain) / CALLS,
                "scripts",
                bar=2.05,
            )
            constant = await plain.script_load("return 1")

            async def bare() -> None:
                await plain.execute_command("EVALSHA", constant, 1, "x")  # type: ignore[no-untyped-call]

            floor = await _waits(bare)
            report.note("Redis: admitted and settled, p50", 1e6 * median(waits), "µs")
            report.note("Redis: admitted and settled, p99", 1e6 * quantiles(waits, n=100)[98], "µs")
            report.note("Redis floor: one script that returns a constant, p50", 1e6 * median(floor), "µs")
            report.note("Redis: admitted and settled, the client", await cpu(lambda: calls.one(wanted), CALLS, 3), UNIT)
            report.note("Redis floor: one script, the client", await cpu(bare, CALLS, 3), UNIT)
            await admission.stop()


async def _settled_down(calls: Calls, wanted: Wanted) -> None:
    """Wait until a new server's first seconds, in which nothing is admitted, are over."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await calls.one(wanted)
            except CaioError:
                await asyncio.sleep(0.1)


async def _waits(work: Callable[[], Awaitable[object]]) -> list[float]:
    found = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await work()
        found.append(time.perf_counter() - started)
    return found


async def _scripts(server: Redis) -> int:
    """How many scripts the server was asked to run since its counts began."""
    stats = await server.info("commandstats")
    return sum(figures["calls"] for name, figures in stats.items() if name in {"cmdstat_evalsha", "cmdstat_eval"})


@contextmanager
def server() -> Iterator[str]:
    """A Redis of its own, reached through a socket in a folder; its URL."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait()
