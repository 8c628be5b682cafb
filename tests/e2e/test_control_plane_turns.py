"""One tenant's requests to the control plane leave room for the others'."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.tenancy.turns import Turns, Weight
from tests.e2e.conftest import Served, served
from tests.support.upstreams import Upstream

PER_MINUTE = 30


@pytest.fixture
async def bounded(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> AsyncIterator[Served]:
    """An installation that takes 30 requests a minute of a tenant, 10 of a key."""
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with served(tmp_path / "data", token, service, control_plane_per_minute=PER_MINUTE) as caio:
        yield caio


async def statuses(http: aiohttp.ClientSession, paths: Sequence[str]) -> list[int]:
    found = []
    for path in paths:
        async with http.get(path) as answer:
            await answer.read()
            found.append(answer.status)
    return found


async def neighbour(caio: Served, stack: AsyncExitStack) -> aiohttp.ClientSession:
    """The session of another tenant's admin."""
    wish = {"tenant_id": "globex", "name": "Globex", "invite": {}}
    async with caio.http.post("/api/v1/tenants", json=wish) as answer:
        assert answer.status == 201, await answer.text()
        invitation = (await answer.json())["invitation"]["token"]
    headers = {"Authorization": f"Bearer {invitation}"}
    async with caio.http.post("/api/v1/invitations/accept", json={"name": "them"}, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        token = (await answer.json())["token"]
    session = aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {token}"})
    return await stack.enter_async_context(session)


async def test_a_key_that_asks_too_much_is_told_when_to_come_back(bounded: Served) -> None:
    async with AsyncExitStack() as stack:
        them = await neighbour(bounded, stack)
        assert Counter(await statuses(bounded.http, ["/api/v1/services"] * 12)) == {200: 9, 429: 3}
        async with bounded.http.get("/api/v1/services") as answer:
            assert (await answer.json(content_type=None))["code"] == "rate_limited"
            assert answer.headers["RateLimit-Policy"] == f'"key control plane minute";q={PER_MINUTE // 3};w=60'
            assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert await statuses(them, ["/api/v1/services"] * 9) == [200] * 9
        assert await statuses(bounded.http, ["/health", "/docs", "/.well-known/caio-keys.json"]) == [200] * 3
        assert (await bounded.orchestrate())[0] == 422, "calls have limits of their own; there is no service"


async def test_other_keys_do_not_widen_a_tenants_minute(bounded: Served) -> None:
    refused: list[str] = []
    async with AsyncExitStack() as stack:
        sessions = [bounded.http]
        for number in range(3):
            async with bounded.http.post("/api/v1/keys", json={"name": f"key {number}"}) as answer:
                headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
            sessions.append(await stack.enter_async_context(aiohttp.ClientSession(bounded.url, headers=headers)))
        for session in sessions:
            for _ in range(10):
                async with session.get("/api/v1/services") as answer:
                    if answer.status == 429:
                        refused.append(answer.headers["RateLimit-Policy"].partition(";")[0].strip('"'))
    # 3 requests made the keys, 30 are admitted in all, of 43.
    assert Counter(refused) == {"key control plane minute": 3, "control plane minute": 10}


async def test_heavy_requests_of_a_tenant_wait_for_its_others_to_be_sent(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn lasts as long as the answer's stream; others of the tenant wait, and those of another do not."""
    more = asyncio.Event()

    async def export(*_asked: Any) -> Any:
        async def lines() -> AsyncIterator[bytes]:
            yield b"first\n"
            await more.wait()

        return lines()

    monkeypatch.setattr(type(caio.installation.audit_exports), "export", lambda self, *asked: export(*asked))
    monkeypatch.setattr(caio.installation.turns, "_wait_seconds", 0.2)
    async with AsyncExitStack() as stack:
        them = await neighbour(caio, stack)
        streams = [await caio.http.get("/api/v1/audit/export") for _ in range(Weight.HEAVY.value[1])]
        assert [answer.status for answer in streams] == [200] * len(streams)
        async with caio.http.get("/api/v1/audit/export") as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
            assert refused.headers["RateLimit-Policy"].startswith('"control plane heavy"')
        assert await statuses(caio.http, ["/api/v1/services"]) == [200]
        streams.append(await them.get("/api/v1/audit/export"))
        assert streams[-1].status == 200
        more.set()
        for answer in streams:
            assert await answer.read() == b"first\n"
        assert await statuses(caio.http, ["/api/v1/audit/export"]) == [200]


async def test_a_caller_who_leaves_gives_its_turn_back(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def export(*_asked: Any) -> Any:
        async def lines() -> AsyncIterator[bytes]:
            yield b"first\n"
            await asyncio.Event().wait()

        return lines()

    monkeypatch.setattr(type(caio.installation.audit_exports), "export", lambda self, *asked: export(*asked))
    turns: Turns = caio.installation.turns
    answer = await caio.http.get("/api/v1/audit/export")
    assert answer.status == 200
    assert len(turns._rooms) == 2
    answer.close()
    for _ in range(200):
        if not turns._rooms:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the turn is still taken")
