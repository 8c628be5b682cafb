"""SIGKILL in mid-step, again and again: a run goes on at the step it was in, and each step is charged once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from caio.storage.sql import Database, open_stores
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import contract
from tests.support.processes import Processes
from tests.support.redis_server import MISSING, PROGRAM, RedisServer
from tests.support.upstreams import Upstream, upstream

STEPS = ("one", "two", "three")


@pytest.fixture
async def thinking() -> AsyncIterator[Upstream]:
    """A service that takes a while, so that there is time to be killed in."""
    async with upstream() as running:

        async def thought(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.4)
            return await running.counted(request)

        running.thinking = thought  # type: ignore[attr-defined]
        yield running


def chain(deadline_ms: int = 300_000) -> dict[str, Any]:
    wish = {"capability": "text.sentiment"}
    steps: list[dict[str, Any]] = [{"id": "one", "request": wish, "payload": {"text": "Fine."}}]
    for before, name in itertools.pairwise(STEPS):
        steps.append({"id": name, "request": wish, "payload": {"text": {"$from": before, "pointer": "/label"}}})
    return {"workflow": {"steps": steps, "requirements": {"max_cost": "0.01"}, "deadline_ms": deadline_ms}}


@asynccontextmanager
async def asking(processes: Processes) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {processes.token}"}
    async with aiohttp.ClientSession(processes.servers[-1].url, headers=headers) as http:
        yield http


async def begin(http: aiohttp.ClientSession, service: Upstream, **changes: Any) -> str:
    async with http.post("/api/v1/services", json=contract("only", service.url, "/thinking")) as answer:
        assert answer.status == 201, await answer.text()
    async with http.post("/api/v1/workflows/runs", json=chain(**changes)) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["run_id"])


async def ended(http: aiohttp.ClientSession, run_id: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"/api/v1/workflows/runs/{run_id}") as answer:
                run = await answer.json()
            if run["status"] in ("succeeded", "failed", "cancelled"):
                return run
            await asyncio.sleep(0.05)


async def events(http: aiohttp.ClientSession, run_id: str) -> list[str]:
    async with http.get(f"/api/v1/workflows/runs/{run_id}/events") as answer:
        return [
            line.removeprefix("event: ") for line in (await answer.text()).splitlines() if line.startswith("event: ")
        ]


async def called(service: Upstream, more_than: int) -> None:
    async with asyncio.timeout(60):
        while len(service.received) <= more_than:
            await asyncio.sleep(0.01)


async def charges(url: str) -> list[int]:
    """What each call that was decided was charged; one that has no outcome fails the test."""
    database = await Database.open(url)
    try:
        decisions = await open_stores(database).journal.decisions(embedded_scope(), None, 1_000)
    finally:
        await database.close()
    assert all(outcome is not None for _, outcome in decisions)
    return [outcome.charged for _, outcome in decisions if outcome is not None]


@pytest.mark.parametrize(
    ("database", "rounds"),
    [
        ("sqlite", 1),
        pytest.param("postgresql", 2, marks=pytest.mark.long),
        pytest.param("sqlite", 12, marks=pytest.mark.long),
        pytest.param("postgresql", 12, marks=pytest.mark.long),
    ],
)
async def test_a_step_is_charged_once(
    database: str, rounds: int, tmp_path: Path, thinking: Upstream, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    generator, run_id = random.Random(f"{database} {rounds}"), ""
    with Processes(tmp_path, url, None) as processes:
        for _ in range(rounds):
            await asyncio.to_thread(processes.start)
            async with asking(processes) as http:
                if not run_id:
                    run_id = await begin(http, thinking)
                before = len(thinking.received)
                if (await http.get(f"/api/v1/workflows/runs/{run_id}")).status == 200:
                    ending = asyncio.create_task(ended(http, run_id))
                    calling = asyncio.create_task(called(thinking, before))
                    await asyncio.wait({ending, calling}, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(generator.uniform(0, 0.6))
                    for task in (ending, calling):
                        task.cancel()
                    await asyncio.gather(ending, calling, return_exceptions=True)
            await asyncio.to_thread(processes.servers[-1].kill)
        await asyncio.to_thread(processes.start)
        async with asking(processes) as http:
            run = await ended(http, run_id)
            told = await events(http, run_id)
        assert (run["status"], run["charged"]) == ("succeeded", "0.003"), run
        assert [step["status"] for step in run["steps"]] == ["succeeded"] * 3
        counted = Counter(told)
        assert (counted["step.started"], counted["step.succeeded"], counted["run.succeeded"]) == (3, 3, 1)
        decided = {step["decision_id"] for step in run["steps"]}
        assert len(decided) == 3
    where = url or f"sqlite:///{tmp_path / 'data' / 'caio.db'}"
    assert [each for each in await charges(where) if each] == [10**6] * 3


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
async def test_a_killed_run_is_taken_up_again(tmp_path: Path, thinking: Upstream, postgres_url: str) -> None:
    with RedisServer() as redis, Processes(tmp_path, postgres_url, redis.url, processes="4") as processes:
        await asyncio.to_thread(processes.upgrade)
        await asyncio.to_thread(processes.start, 1, 1)
        async with asking(processes) as http:
            run_id = await begin(http, thinking)
            await called(thinking, 1)  # in its second step
            await asyncio.to_thread(processes.workers[0].kill)
            await asyncio.to_thread(processes.start, 0, 1)
            run = await ended(http, run_id)
            told = await events(http, run_id)
        assert (run["status"], run["charged"]) == ("succeeded", "0.003"), run
        assert told.count("step.resumed") >= 1
        assert told.count("step.started") == 3
    assert [each for each in await charges(postgres_url) if each] == [10**6] * 3


@pytest.mark.long
async def test_a_run_past_its_deadline_ends_as_such(tmp_path: Path, thinking: Upstream) -> None:
    with Processes(tmp_path, None, None) as processes:
        await asyncio.to_thread(processes.start)
        async with asking(processes) as http:
            run_id = await begin(http, thinking, deadline_ms=5_000)
            await called(thinking, 0)
        await asyncio.to_thread(processes.servers[-1].kill)
        await asyncio.sleep(5)  # nobody works on it
        await asyncio.to_thread(processes.start)
        async with asking(processes) as http:
            run = await ended(http, run_id)
        assert (run["status"], run["code"]) == ("failed", "deadline_exceeded"), run
