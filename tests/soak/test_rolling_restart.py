"""Two processes, stopped and started one after the other under load, behind a balancer that asks for readiness."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.soak.test_kills import tenant_of
from tests.support.callers import Answered, Balancer, calling, differences, told_by
from tests.support.processes import Processes
from tests.support.upstreams import upstream

#: The balancer asks ten times a second; a busy machine answers late.
DRAIN_SECONDS = 5
PAUSE_SECONDS = 0.1
ROUNDS = int(os.environ.get("CAIO_SOAK_ROUNDS", "20"))


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(1, marks=pytest.mark.long), pytest.param(ROUNDS, marks=pytest.mark.soak, id="soak")],
)
async def test_a_rolling_restart_fails_no_call(rounds: int, tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    answered, balancer = Answered(), Balancer()
    with Processes(tmp_path, postgres_url, redis_url, drain_seconds=str(DRAIN_SECONDS)) as processes:
        await asyncio.to_thread(processes.upgrade)
        await asyncio.to_thread(processes.start, 2)
        async with AsyncExitStack() as running:
            service = await running.enter_async_context(upstream())
            key = await tenant_of(processes.servers[0].url, processes.token, service)
            for server in processes.servers:
                await running.enter_async_context(balancer.watching(server.url))
            async with calling(answered, key, balancer.next, PAUSE_SECONDS):
                for restart in range(1, 2 * rounds + 1):
                    already, oldest = len(answered), processes.servers.pop(0)
                    await asyncio.to_thread(processes.stop, oldest)
                    await asyncio.to_thread(processes.start, 1)
                    await running.enter_async_context(balancer.watching(processes.servers[-1].url))
                    while len(answered) < already + 20:
                        await asyncio.sleep(0.05)
                    print(
                        f"{time.strftime('%H:%M:%S')} restart {restart}: {len(answered):,} calls answered, "
                        f"{len(answered.failed)} failed",
                        flush=True,
                    )
            assert answered.failed == []
            assert answered.begun == answered.whole
            async with aiohttp.ClientSession(
                processes.servers[0].url, headers={"Authorization": f"Bearer {key}"}
            ) as http:
                assert differences(answered, await told_by(http)) == []
