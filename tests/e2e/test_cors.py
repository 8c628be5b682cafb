"""What a browser needs to let a page of another origin call the API, and what it is never given."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.api.app import create_app
from caio.api.cors import Cors
from tests.e2e.conftest import Served, chat_contract, served
from tests.support.upstreams import Upstream

OURS, ALSO, OTHER = "https://app.example", "http://127.0.0.1:3000", "https://evil.example"
ALLOW = "Access-Control-Allow-Origin"
PATHS = ["/api/v1/orchestrate", "/v1/chat/completions", "/api/v1/services", "/health/ready", "/no/such/path"]


@pytest.fixture
async def open_to(tmp_path: Path, template: tuple[Path, str], service: Upstream) -> AsyncIterator[Any]:
    """``await open_to("https://…")``: an API that pages of these origins may call."""
    async with AsyncExitStack() as stack:

        async def opened(*origins: str) -> Served:
            folder, token = template
            shutil.copytree(folder, tmp_path / "data")
            return await stack.enter_async_context(
                served(tmp_path / "data", token, service, cors_origins=",".join(origins))
            )

        yield opened


def preflight(api: Served, path: str, origin: str, method: str = "POST") -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    wanted = {"Access-Control-Request-Headers": "authorization,content-type,x-tenant-id"}
    return aiohttp.request("OPTIONS", api.url + path, headers=asked | wanted)


@pytest.mark.parametrize("origin", [OURS, ALSO])
async def test_named_origins_may_read_every_answer(open_to: Any, origin: str) -> None:
    api = await open_to(OURS, ALSO)
    await api.register("one")
    async with api.http.post("/api/v1/services", json=chat_contract("chat", api.service.url, "/chat/stream")):
        pass
    seen = []
    for method, path, body in [
        ("POST", "/api/v1/orchestrate", {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}),
        ("POST", "/api/v1/orchestrate", {}),
        ("GET", "/api/v1/orchestrate", None),
        ("POST", "/v1/chat/completions", {"model": "chat", "messages": [], "stream": True}),
        ("GET", "/api/v1/services", None),
        ("GET", "/no/such/path", None),
    ]:
        async with api.http.request(method, path, json=body, headers={"Origin": origin}) as answer:
            seen.append(answer.status)
            assert answer.headers[ALLOW] == origin, (path, answer.status)
            assert answer.headers["Access-Control-Expose-Headers"] == "*"
            assert "Origin" in answer.headers.getall("Vary")
    assert seen[:3] == [200, 422, 405]
    async with aiohttp.request("GET", api.url + "/api/v1/services", headers={"Origin": origin}) as refused:
        assert (refused.status, refused.headers[ALLOW]) == (401, origin)


async def test_other_origins_are_told_nothing(open_to: Any) -> None:
    api = await open_to(OURS)
    for path in PATHS:
        for headers in ({"Origin": OTHER}, {"Origin": "null"}, {"Origin": OURS + "."}, {}):
            async with api.http.get(path, headers=headers) as answer:
                assert not [each for each in answer.headers if each.startswith("Access-Control")]
                assert answer.headers["Vary"] == "Origin"  # or a cache would give it to a page of ours
        async with preflight(api, path, OTHER) as answer:
            assert answer.status == 403
            assert not [each for each in answer.headers if each.startswith("Access-Control")]


@pytest.mark.parametrize("path", PATHS)
async def test_a_preflight_needs_no_credential(open_to: Any, path: str) -> None:
    api = await open_to(OURS)
    async with preflight(api, path, OURS, "DELETE") as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        assert answer.headers[ALLOW] == OURS
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type,x-tenant-id"
        assert "X-Request-Id" not in answer.headers, "no route was reached"


async def test_all_origins_may_be_named_by_a_star(open_to: Any) -> None:
    api = await open_to("*")
    async with api.http.get("/api/v1/services", headers={"Origin": OTHER}) as answer:
        assert answer.headers[ALLOW] == "*"
    async with preflight(api, "/v1/chat/completions", OTHER) as answer:
        assert (answer.status, answer.headers[ALLOW]) == (204, "*")


@pytest.mark.parametrize("origins", [(OURS,), ("*",)])
async def test_credentials_are_never_allowed(open_to: Any, origins: tuple[str, ...]) -> None:
    api = await open_to(*origins)
    for path in PATHS:
        async with preflight(api, path, OURS) as answer:
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with api.http.post(path, headers={"Origin": OURS, "Cookie": "a=b"}) as answer:
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_tools_are_not_for_pages(open_to: Any) -> None:
    api = await open_to(OURS)
    async with api.http.post("/mcp", json={}, headers={"Origin": OURS}) as answer:
        assert (answer.status, ALLOW in answer.headers) == (403, False)


async def test_nothing_stands_in_the_way_without_origins(caio: Served) -> None:
    assert not isinstance(create_app(caio.installation), Cors)
    async with caio.http.get("/api/v1/services", headers={"Origin": OURS}) as answer:
        assert ALLOW not in answer.headers
    async with preflight(caio, "/api/v1/orchestrate", OURS) as answer:
        assert answer.status == 405
