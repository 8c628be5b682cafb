"""A tenant whose window is full is refused before its body is read, with the answer that a full reading gets."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from caio.api.request_log import RefusalLog
from tests.e2e.conftest import Served, served
from tests.support.upstreams import Upstream

LIMIT = 2
PATHS = {"/api/v1/orchestrate": "application/problem+json", "/v1/chat/completions": "application/json"}


@pytest.fixture
async def full(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> AsyncIterator[Served]:
    """A tenant of two calls a minute that has made them, one of them under the idempotency key ``first``."""
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    with sqlite3.connect(tmp_path / "data" / "caio.db") as connection:
        connection.execute("UPDATE tenants SET quota_per_minute = ?", (LIMIT,))
    connection.close()
    async with served(tmp_path / "data", token, service) as caio:
        await caio.register("only")
        assert (await caio.orchestrate(headers={"Idempotency-Key": "first"}))[0] == 200
        assert (await caio.orchestrate())[0] == 200
        assert (await caio.orchestrate())[0] == 429  # by the limiter, which shuts the door
        yield caio


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    return int(head[0].split()[1]), headers, json.loads(await reader.readexactly(int(headers["content-length"])))


@pytest.mark.parametrize("path", PATHS)
async def test_the_answer_does_not_wait_for_the_body_and_the_connection_goes_on(full: Served, path: str) -> None:
    parts = urlsplit(full.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = b"x" * 300_000  # beyond what the server reads ahead; no JSON, which nobody finds out
    head = f"POST {path} HTTP/1.1\r\nHost: caio\r\nAuthorization: Bearer {full.token}\r\n"
    for _ in range(3):
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        status, headers, problem = await asyncio.wait_for(answer_of(reader), 5)
        assert (status, headers["content-type"]) == (429, PATHS[path])
        assert (problem if "code" in problem else problem["error"])["code"] == "rate_limited"
        assert headers["ratelimit-policy"] == f'"minute";q={LIMIT};w=60'
        assert 0 < int(headers["retry-after"]) <= 60
        assert headers["ratelimit"] == f'"minute";r=0;t={headers["retry-after"]}'
        assert headers["x-request-id"]
        writer.write(body)
    writer.close()


async def test_refused_early_or_late_the_answer_is_the_same(full: Served) -> None:
    early = await full.orchestrate()
    full.installation.gateway._doors._shut.clear()
    late = await full.orchestrate()
    volatile = {"date", "retry-after", "ratelimit", "ratelimit-reset", "x-request-id"}

    def lasting(headers: Any) -> dict[str, str]:
        return {name.lower(): value for name, value in headers.items() if name.lower() not in volatile}

    assert early[0] == late[0] == 429
    assert early[1] == late[1]
    assert lasting(early[2]) == lasting(late[2])


async def test_a_kept_answer_is_given_again_at_a_shut_door(full: Served) -> None:
    status, _, headers = await full.orchestrate(headers={"Idempotency-Key": "first"})
    assert (status, headers["Idempotency-Replayed"]) == (200, "true")
    assert (await full.orchestrate(headers={"Idempotency-Key": "second"}))[0] == 429


async def test_nothing_is_decided_or_recorded_at_a_shut_door(full: Served) -> None:
    before = (await full.get("/api/v1/decisions?limit=100"))[1]
    for _ in range(20):
        assert (await full.orchestrate())[0] == 429
    assert (await full.get("/api/v1/decisions?limit=100"))[1] == before


async def test_calls_that_fail_are_not_counted_as_used(tmp_path: Path, template: Any) -> None:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    with sqlite3.connect(tmp_path / "data" / "caio.db") as connection:
        connection.execute("UPDATE tenants SET quota_per_minute = ?", (LIMIT,))
    connection.close()
    async with served(tmp_path / "data", token, Upstream()) as caio:
        assert [(await caio.orchestrate())[0] for _ in range(3 * LIMIT)] == [422] * (3 * LIMIT)  # there is no service


async def test_refusals_are_logged_once_and_then_counted() -> None:
    log = RefusalLog(every=0.05)
    with structlog.testing.capture_logs() as lines:
        firsts = [log.is_first("acme", "minute") for _ in range(5)]
        other = log.is_first("globex", "minute")
        await asyncio.sleep(0.08)
        firsts.append(log.is_first("acme", "minute"))
        await asyncio.sleep(0.15)
    assert firsts == [True, False, False, False, False, False]
    assert other
    counted = [(line["tenant_id"], line["calls"]) for line in lines if line["event"] == "calls refused"]
    assert counted == [("acme", 4), ("acme", 1)]
    assert log.is_first("acme", "minute"), "what has been quiet for a while is told of again"
