"""SIGKILL in a loop under load: no released decision is lost, nothing is answered unjournalled."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.audit.ports import LeafKind
from caio.bootstrap import open_installation
from caio.config import read_settings
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import contract
from tests.support.books import books_of
from tests.support.upstreams import Upstream

CALLERS = 8


async def start(data_dir: Path, database_url: str | None) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """A server process and its ready line."""
    environment = {**os.environ, "CAIO_DATA_DIR": str(data_dir), "CAIO_LOG_LEVEL": "error"}
    if database_url is not None:
        environment["CAIO_DATABASE_URL"] = database_url
    command = ["-m", "caio", "serve", "--json", "--port", "0", "--allow-private", "127.0.0.0/8"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    return process, json.loads(line)


async def call_until_gone(url: str, token: str, released: list[str]) -> None:
    """Call again and again; note every decision whose answer arrived whole."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        while True:
            try:
                async with http.post("/api/v1/orchestrate", json=body) as answer:
                    document = await answer.json()
                    assert answer.status == 200, document
                    released.append(document["decision_id"])
            except aiohttp.ClientError:
                return


@pytest.mark.parametrize(
    ("database", "rounds"),
    [
        ("sqlite", 2),
        pytest.param("sqlite", 6, marks=pytest.mark.long),
        pytest.param("postgresql", 6, marks=pytest.mark.long),
    ],
)
async def test_no_released_decision_is_lost(
    database: str, rounds: int, tmp_path: Path, service: Upstream, request: pytest.FixtureRequest
) -> None:
    database_url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    released: list[str] = []
    token = ""
    generator = random.Random(database)
    for _ in range(rounds):
        process, ready = await start(tmp_path, database_url)
        try:
            if not token:
                token = ready["api_key"]
                async with aiohttp.ClientSession(ready["url"], headers={"Authorization": f"Bearer {token}"}) as http:
                    answer = await http.post("/api/v1/services", json=contract("only", service.url))
                    assert answer.status == 201
            already = len(released)
            callers = [asyncio.create_task(call_until_gone(ready["url"], token, released)) for _ in range(CALLERS)]
            while len(released) < already + 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(generator.random() / 5)
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await asyncio.gather(*callers)
    assert len(released) >= 20 * rounds
    await assert_all_there(released, tmp_path, database_url)


async def assert_all_there(released: list[str], data_dir: Path, database_url: str | None) -> None:
    """Every released decision has its journal entries; the sequence has no gap; no call stays open."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    async with open_installation(settings) as installation:
        journal, scope = installation.stores.journal, embedded_scope()
        for decision_id in released:
            assert await journal.read(scope, LeafKind.DECISION, decision_id) is not None
            assert await journal.read(scope, LeafKind.OUTCOME, decision_id) is not None
        leaves = await journal.page(scope, -1, 100_000)
        assert [leaf.seq for leaf in leaves] == list(range(len(leaves)))
        assert await journal.unfinished() == []
        ledger = await books_of(installation)
        assert (ledger.sum, ledger.reserved) == (0, 0)
        # What an interrupted call charged is unknown; it is never more than was answered.
        assert ledger.spent >= len(released) * 1_000_000


async def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    process, _ = await start(tmp_path, None)
    try:
        command = ["-m", "caio", "serve", "--port", "0", "--data-dir", str(tmp_path)]
        second = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode != 0
        assert f"pid {process.pid}" in " ".join(complaint.decode().split())
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
