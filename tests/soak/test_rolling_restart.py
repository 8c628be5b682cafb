"""Two processes, stopped and started one after the other under load, behind a balancer that asks for readiness."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.soak.test_kills import tenant_of
from tests.support.callers import Answered, Balancer, calling, differences, told_by
from tests.support.processes import Processes
from tests.support.upstreams import upstream

#: The balancer asks ten times a second; a busy machine answers late.
DRAIN_SECONDS = 2


@pytest.mark.parametrize("rounds", [pytest.param(1, marks=pytest.mark.long), pytest.param(20, marks=pytest.mark.soak)])
async def test_a_rolling_restart_fails_no_call(rounds: int, tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    answered, balancer = Answered(), Balancer()
    with Processes(tmp_path, postgres_url, redis_url, drain_seconds=str(DRAIN_SECONDS)) as processes:
        await asyncio.to_thread(processes.upgrade)
        await asyncio.to_thread(processes.start, 2)
        async with upstream() as service:
            key = await tenant_of(processes.servers[0].url, processes.token, service)
            balancer.urls = [server.url for server in processes.servers]
            async with balancer.watching(), calling(answered, key, balancer.next):
                for _ in range(2 * rounds):
                    already, oldest = len(answered), processes.servers.pop(0)
                    await asyncio.to_thread(processes.stop, oldest)
                    await asyncio.to_thread(processes.start, 1)
                    balancer.urls = [server.url for server in processes.servers]
                    while len(answered) < already + 20:
                        await asyncio.sleep(0.05)
            assert answered.failed == []
            assert answered.begun == answered.whole
            server = processes.servers[0]
            async with aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {key}"}) as http:
                assert differences(answered, await told_by(http)) == []
