"""More than a service, a process or a connection can take."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from caio.api import hot_request
from caio.gateway import streams as stream_module
from tests.e2e.conftest import Served, chat_contract, contract, served
from tests.support.books import books_of
from tests.support.joined import admin_of_new
from tests.support.misbehaving import Misbehaving
from tests.support.upstreams import serving

ONE_SLOT = {"max_concurrent_requests": 1, "requires": {"gpu": False, "internet": False}}


@pytest.fixture
async def caio(tmp_path: Path, template: tuple[Path, str]) -> AsyncIterator[Served]:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with serving(Misbehaving()) as service, served(tmp_path / "data", token, service) as running:
        yield running


async def test_a_call_waits_for_a_slot_in_turn(caio: Served) -> None:
    await caio.register("narrow", "/late/30", constraints=ONE_SLOT)
    answers = await asyncio.gather(*(caio.orchestrate() for _ in range(6)))
    assert [status for status, _, _ in answers] == [200] * 6
    books = await books_of(caio.installation)
    assert (books.spent, books.reserved) == (6_000_000, 0)


async def test_a_body_that_does_not_come_keeps_no_place(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_request, "BODY_SECONDS", 0.3)
    await caio.register("only")
    starts = caio.installation.starts
    monkeypatch.setattr(starts, "_most_at_once", 2)
    url = urlsplit(caio.url)
    head = f"POST /api/v1/orchestrate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caio.token}\r\n"
    silent = [await asyncio.open_connection(url.hostname, url.port) for _ in range(2)]
    for _, writer in silent:
        writer.write(f"{head}Content-Length: 99\r\n\r\n{{".encode())
    async with asyncio.timeout(5):
        while starts.in_flight < 2:
            await asyncio.sleep(0.01)
        assert (await caio.orchestrate())[0] == 503
        assert [(await reader.readline()).split()[1] for reader, _ in silent] == [b"422"] * 2
    assert (await caio.orchestrate())[0] == 200
    for _, writer in silent:
        writer.close()


async def test_who_waits_too_long_is_refused(caio: Served) -> None:
    await caio.register("narrow", "/slow", constraints=ONE_SLOT)
    first = asyncio.create_task(caio.orchestrate())
    while not caio.service.received:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(caio.orchestrate(deadline_ms=800))
    while (await caio.get("/api/v1/services/narrow/health"))[1]["waiting"] == 0:
        await asyncio.sleep(0.01)
    status, problem, headers = await waiting
    assert (status, problem["code"], headers["Retry-After"]) == (429, "rate_limited", "1")
    assert len(caio.service.received) == 1
    caio.service.hold.set()
    assert (await first)[0] == 200


async def test_another_service_is_called_before_anybody_waits(caio: Served) -> None:
    await caio.register("narrow", "/slow", constraints=ONE_SLOT)
    await caio.register("wide", cost={"currency": "USD", "per_request": "0.002"})
    cheapest = {"weights": {"cost": 1}}
    first = asyncio.create_task(caio.orchestrate(objective=cheapest))
    while not caio.service.received:
        await asyncio.sleep(0.01)
    status, answer, _ = await caio.orchestrate(objective=cheapest)
    assert (status, answer["service"]["id"]) == (200, "wide")
    caio.service.hold.set()
    assert (await first)[0] == 200


async def test_one_tenants_burst_is_not_in_front_of_anothers_call(caio: Served) -> None:
    """The quiet tenant's call comes last, and is made among the first."""
    token = await admin_of_new(caio.http, "quiet")
    burst = 60
    async with (
        aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {token}"}) as quiet,
        aiohttp.ClientSession(caio.url, headers=caio.http.headers, connector=aiohttp.TCPConnector(limit=0)) as noisy,
    ):
        async with quiet.post("/api/v1/services", json=contract("quiet", caio.service.url, "/late/1")) as answer:
            assert answer.status == 201
        await caio.register("noisy", "/late/2")
        body = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}

        async def call(session: aiohttp.ClientSession) -> int:
            async with session.post("/api/v1/orchestrate", json=body) as answer:
                await answer.read()
                return answer.status

        assert [await call(quiet), await call(noisy)] == [200, 200]  # connected, authenticated, its account opened
        assert set(await asyncio.gather(*(call(noisy) for _ in range(burst)))) == {200}
        begun = len(caio.service.received)
        calls = [asyncio.ensure_future(call(noisy)) for _ in range(burst)]
        while caio.installation.starts.waiting < burst // 2:
            await asyncio.sleep(0)
        calls.append(asyncio.ensure_future(call(quiet)))
        assert set(await asyncio.gather(*calls)) == {200}
        made = [request.path for request, _ in caio.service.received[begun:]]
        waited_for = made.index("/late/1")
        assert waited_for < burst // 3


async def test_a_process_with_too_many_calls_sends_away(tmp_path: Path, template: tuple[Path, str]) -> None:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with (
        serving(Misbehaving()) as service,
        served(tmp_path / "data", token, service, max_calls_at_once=1) as caio,
    ):
        await caio.register("slow", "/slow")
        first = asyncio.create_task(caio.orchestrate())
        while not service.received:
            await asyncio.sleep(0.01)
        status, problem, headers = await caio.orchestrate()
        assert (status, problem["code"], headers["Retry-After"]) == (503, "overloaded", "1")
        assert (await caio.get("/health/ready"))[1]["components"]["calls"]["status"] == "unhealthy"
        service.hold.set()
        assert (await first)[0] == 200
        assert (await caio.orchestrate())[0] == 200
        assert (await caio.get("/health/ready"))[1]["components"]["calls"]["status"] == "healthy"


async def test_who_does_not_read_holds_no_stream_beyond_its_deadline(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "GRACE_SECONDS", 0.2)
    document = chat_contract("floods", caio.service.url, "/flood") | {"constraints": ONE_SLOT}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    wish = {"caio": {"deadline_ms": 1_500}}
    body = json.dumps(
        {"model": "floods", "messages": [{"role": "user", "content": "Hello"}], "stream": True, "metadata": wish}
    )
    address = urlsplit(caio.url)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (address.hostname, address.port))
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: caio\r\nAuthorization: Bearer {caio.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        await loop.sock_sendall(deaf, head.encode())
        for _ in range(1_000):
            if caio.service.received:
                break
            await asyncio.sleep(0.01)
        await asyncio.wait_for(caio.service.left.wait(), 60)
        decision_id = (await caio.get("/api/v1/decisions"))[1]["items"][0]["decision_id"]
        for _ in range(500):
            decision = (await caio.get(f"/api/v1/decisions/{decision_id}"))[1]
            if decision["result"] is not None:
                break
            await asyncio.sleep(0.01)
        assert decision["result"]["status"] == "cancelled"
        assert caio.installation.starts.in_flight == 0
        assert (await books_of(caio.installation)).reserved == 0
