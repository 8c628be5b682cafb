"""A whole CAIO for a test: a real installation, its API on a real socket, and services to call."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
import uvicorn

from caio.api.app import create_app
from caio.bootstrap import Installation, open_installation
from caio.cli.exchanges import Exchanges
from caio.config import read_settings
from caio.gateway.ports import GRANT_DURABLE_SECONDS
from caio.observability.logging import configure_logging
from caio.tenancy.authentication import embedded_scope
from tests.support.upstreams import Upstream, upstream

OUTPUT_SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}


@dataclass
class Served:
    """A running API with an admin's session; ``service`` is what contracts may point to."""

    url: str
    token: str
    http: aiohttp.ClientSession
    installation: Installation
    service: Upstream
    data_dir: Path
    registered: list[str] = field(default_factory=list)

    async def register(self, service_id: str, path: str = "/counted", **changes: Any) -> None:
        """Register an http-json classifier at ``path`` of the service; ``changes`` replace parts."""
        document = contract(service_id, self.service.url, path) | changes
        async with self.http.post("/api/v1/services", json=document) as answer:
            assert answer.status == 201, await answer.text()

    async def orchestrate(self, *, headers: dict[str, str] | None = None, **request: Any) -> tuple[int, Any, Any]:
        """Status, document and headers of one orchestrated call.

        A call whose decision was not durable in time is abandoned (``gateway.in_time``), and whoever made it is asked
        to try again. Where the machine stood still for as long as that, it is tried again, once."""
        wanted = {"capability": "text.sentiment", "payload": {"text": "Fine."}} | request
        began = monotonic()
        answer = await self._orchestrate(wanted, headers)
        stalled = monotonic() - began >= GRANT_DURABLE_SECONDS
        if stalled and answer[0] == 503 and answer[1].get("code") == "journal_overloaded":
            return await self._orchestrate(wanted, headers)
        return answer

    async def _orchestrate(self, wanted: dict[str, Any], headers: dict[str, str] | None) -> tuple[int, Any, Any]:
        async with self.http.post("/api/v1/orchestrate", json={"request": wanted}, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.http.get(path) as answer:
            return answer.status, await answer.json(content_type=None)


def contract(service_id: str, base_url: str, path: str = "/counted") -> dict[str, Any]:
    return {
        "service_id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "capabilities": ["text.sentiment"],
        "guarantees": {"latency_ms": {"p95": 100, "max": 5000}, "accuracy": {"min": "0.8"}},
        "cost": {"currency": "USD", "per_request": "0.001"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "api": {
            "protocol": "http-json",
            "base_url": base_url,
            "endpoints": [{"path": path, "method": "POST", "output_schema": OUTPUT_SCHEMA}],
            "timeout_ms": 5000,
        },
    }


def chat_contract(service_id: str, base_url: str, path: str = "/chat") -> dict[str, Any]:
    return contract(service_id, base_url) | {
        "capabilities": [{"type": "chat", "features": ["streaming", "tools"], "limits": {"max_tokens": 4096}}],
        "guarantees": {"first_token_ms": {"p95": 500}, "latency_ms": {"p95": 500}},
        "api": {
            "protocol": "openai",
            "base_url": base_url,
            "model": "m",
            "endpoints": [{"path": path, "method": "POST", "capability": "chat"}],
            "timeout_ms": 5000,
        },
    }


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory that has been started once, and its first key: copying is faster than migrating."""
    folder = tmp_path_factory.mktemp("template") / "data"

    async def start() -> str:
        async with open_installation(read_settings(data_dir=folder)) as installation:
            first = await installation.api_keys.create_first(embedded_scope())
            assert first is not None
            return first.token

    return folder, asyncio.run(start())


@asynccontextmanager
async def served(data_dir: Path, token: str, service: Upstream, **settings: Any) -> AsyncIterator[Served]:
    """Serve ``data_dir`` until the block ends."""
    # Tests ask more of one key than people do.
    settings = {"control_plane_per_minute": 1_000_000} | settings
    wanted = read_settings(data_dir=data_dir, outbound_allow="127.0.0.0/8", **settings)
    configure_logging("error")  # as a server would; structlog's own default prints every local variable
    async with AsyncExitStack() as stack:
        installation = await stack.enter_async_context(open_installation(wanted))
        config = uvicorn.Config(
            create_app(installation), port=0, lifespan="off", access_log=False, log_config=None, http=Exchanges
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        headers = {"Authorization": f"Bearer {token}"}
        http = await stack.enter_async_context(aiohttp.ClientSession(url, headers=headers))
        try:
            yield Served(url, token, http, installation, service, data_dir)
        finally:
            await http.close()
            server.should_exit = True
            await serving


@pytest.fixture
async def service() -> AsyncIterator[Upstream]:
    async with upstream() as running:
        yield running


@pytest.fixture
async def caio(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> AsyncIterator[Served]:
    """An installation on SQLite."""
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with served(tmp_path / "data", token, service) as running:
        yield running
