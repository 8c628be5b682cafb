"""SIGKILL under load, again and again: what was answered stays told, charged and provable, and nothing stays open."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import chat_contract, contract
from tests.support.caio_command import run_caio
from tests.support.callers import Answered, calling, differences, told_by
from tests.support.processes import Processes
from tests.support.upstreams import Upstream, upstream

QUOTAS = {"per_minute": 10**9, "per_hour": 10**9, "per_day": 10**9, "budget": "1000000"}
ANSWERS_A_LIFE = 20
KILLS = int(os.environ.get("CAIO_SOAK_KILLS", "50"))


async def tenant_of(server: str, token: str, service: Upstream) -> str:
    """A new tenant with a budget, a classifier and a model that streams; its admin's key."""
    async with aiohttp.ClientSession(server) as http:

        async def post(key: str, path: str, document: Any) -> Any:
            async with http.post(path, json=document, headers={"Authorization": f"Bearer {key}"}) as answer:
                told = await answer.json()
                assert answer.status == 201, told
                return told

        made = await post(token, "/api/v1/tenants", {"tenant_id": "soak", "name": "s", "quotas": QUOTAS, "invite": {}})
        joined = await post(made["invitation"]["token"], "/api/v1/invitations/accept", {"name": "load"})
        key = str(joined["token"])
        await post(key, "/api/v1/services", contract("classifier", service.url))
        await post(key, "/api/v1/services", chat_contract("model", service.url, "/steady/5"))
        return key


@pytest.mark.parametrize(
    ("database", "kills"),
    [
        ("sqlite", 2),
        pytest.param("sqlite", 6, marks=pytest.mark.long),
        pytest.param("postgresql", 6, marks=pytest.mark.long),
        pytest.param("sqlite", KILLS, marks=pytest.mark.soak, id="sqlite-soak"),
        pytest.param("postgresql", KILLS, marks=pytest.mark.soak, id="postgresql-soak"),
    ],
)
async def test_what_was_answered_outlives_every_kill(
    database: str, kills: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    answered, generator, key = Answered(), random.Random(f"{database} {kills}"), ""
    with Processes(tmp_path, url, None) as processes:
        async with upstream() as service:
            for kill in range(1, kills + 1):
                await asyncio.to_thread(processes.start, 1)
                server = processes.servers.pop()
                key = key or await tenant_of(server.url, processes.token, service)
                already = len(answered)
                async with calling(answered, key, lambda url=server.url: url):  # type: ignore[misc]
                    while len(answered) < already + ANSWERS_A_LIFE:
                        await asyncio.sleep(0.01)
                    await asyncio.sleep(generator.random() / 2)
                    await asyncio.to_thread(server.kill)
                print(f"{time.strftime('%H:%M:%S')} {database}: kill {kill}, {len(answered):,} answered", flush=True)
            await asyncio.to_thread(processes.start, 1)
            server = processes.servers[0]
            async with aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {key}"}) as http:
                told = await told_by(http)
            assert differences(answered, told) == []
            print(
                f"{database}: {kills} kills, {len(answered):,} calls answered whole, {len(answered.begun):,} begun, "
                f"{len(told.statuses):,} decisions told, {told.charged} charged, {told.reserved} reserved",
                flush=True,
            )
            assert len(answered.begun) > len(answered.charges) >= ANSWERS_A_LIFE
            if kills > 2:  # the command line takes its seconds
                await assert_the_log_verifies(tmp_path, server.url, key)


async def assert_the_log_verifies(folder: Path, server: str, key: str) -> None:
    """Export the tenant's log with the command line, and verify it with nothing but the export and the keys."""
    settings = {"CAIO_URL": server, "CAIO_API_KEY": key, "HOME": str(folder)}
    async with aiohttp.ClientSession() as http, http.get(server + "/.well-known/caio-keys.json") as answer:
        (folder / "keys.json").write_text(json.dumps(await answer.json()))
    code, told = await run_caio(folder, settings, "audit", "export", folder / "log")
    assert code == 0, told
    code, told = await run_caio(folder, settings, "audit", "verify", folder / "log", "--keys", folder / "keys.json")
    assert code == 0, told
