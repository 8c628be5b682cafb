"""Limits over HTTP: what a refusal and an answer say of them, and limits that a tenant sets for its services."""

from __future__ import annotations

import asyncio
import re

import aiohttp

from tests.e2e.conftest import Served, chat_contract
from tests.support.books import books_of

FIELD = re.compile(r'"(?P<name>[^"]+)";r=(?P<left>\d+);t=(?P<reset>\d+)')


async def test_an_answer_says_how_the_tenant_stands(caio: Served) -> None:
    await caio.register("only")
    for left in (999, 998):
        _, _, headers = await caio.orchestrate()
        found = FIELD.fullmatch(headers["RateLimit"])
        assert found is not None
        assert (found["name"], int(found["left"])) == ("minute", left)
        assert 0 < int(found["reset"]) <= 60
        assert headers["RateLimit-Policy"] == '"minute";q=1000;w=60'


async def test_a_replayed_answer_says_nothing_of_limits(caio: Served) -> None:
    await caio.register("only")
    for replayed in (False, True):
        _, _, headers = await caio.orchestrate(headers={"Idempotency-Key": "once"})
        assert ("Idempotency-Replayed" in headers) is replayed
        assert ("RateLimit" in headers) is not replayed


async def test_a_tenant_limits_its_services(caio: Served) -> None:
    await caio.register("only")
    path = "/api/v1/services/only/limits"
    async with caio.http.get(path) as answer:
        assert (answer.status, await answer.json()) == (200, {})
    async with caio.http.put(path, json={"requests_per_minute": 2, "concurrent": 5}) as answer:
        assert (answer.status, await answer.json()) == (200, {"requests_per_minute": 2, "concurrent": 5})
    assert [(await caio.orchestrate())[0] for _ in range(3)] == [200, 200, 429]
    _, problem, headers = await caio.orchestrate()
    assert problem["code"] == "rate_limited"
    assert headers["RateLimit-Policy"].startswith('"only minute";q=2')
    assert int(headers["RateLimit-Remaining"]) == 0
    async with caio.http.put(path, json={"requests_per_minute": 3}) as answer:
        assert answer.status == 200
    assert [(await caio.orchestrate())[0] for _ in range(2)] == [200, 429]
    async with caio.http.delete(path) as answer:
        assert (answer.status, await answer.json()) == (200, {})
    assert (await caio.orchestrate())[0] == 200
    async with caio.http.delete(path) as answer:
        assert answer.status == 404


async def test_limits_are_read_strictly_and_belong_to_services_there_are(caio: Served) -> None:
    await caio.register("only")
    for body in ({"requests_per_minute": 0}, {"requests_per_second": 1}, {"concurrent": "many"}):
        async with caio.http.put("/api/v1/services/only/limits", json=body) as answer:
            assert answer.status == 422, body
    for method in ("GET", "PUT"):
        async with caio.http.request(method, "/api/v1/services/none/limits", json={}) as answer:
            assert answer.status == 404


async def test_token_limits_count_what_was_used(caio: Served) -> None:
    """A call is admitted by its worst case and settled at what it used, which leaves room for the next."""
    await caio.register("only")
    async with caio.http.put("/api/v1/services/only/limits", json={"tokens_per_minute": 5_000}) as answer:
        assert answer.status == 200
    assert [(await caio.orchestrate())[0] for _ in range(3)] == [200] * 3
    async with caio.http.put("/api/v1/services/only/limits", json={"tokens_per_minute": 10}) as answer:
        assert answer.status == 200
    status, _, headers = await caio.orchestrate()
    assert status == 429
    assert '"only minute tokens"' in headers["RateLimit-Policy"]


async def test_a_stream_cut_short_is_settled_at_what_was_produced(caio: Served) -> None:
    """4,096 tokens are reserved for the answer; a caller who leaves after a few has used those few."""
    price = {"currency": "USD", "per_request": "0", "per_output_token": "0.001"}
    document = chat_contract("stalls", caio.service.url, "/stall") | {"cost": price}
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    path = "/api/v1/services/stalls/limits"
    async with caio.http.put(path, json={"tokens_per_minute": 5_000, "concurrent": 1}) as answer:
        assert answer.status == 200
    wanted = {"model": "stalls", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    for turn in range(1, 3):
        async with aiohttp.ClientSession() as leaving:
            headers = {"Authorization": f"Bearer {caio.token}"}
            answer = await leaving.post(f"{caio.url}/v1/chat/completions", json=wanted, headers=headers)
            assert answer.status == 200  # the second would not fit beside 4,096 reserved tokens
            assert await answer.content.readany()
            # While it runs, neither its tokens nor its slot are free.
            async with caio.http.post("/v1/chat/completions", json=wanted) as second:
                assert second.status == 429
            answer.close()
        for _ in range(300):
            _, decision = await caio.get(f"/api/v1/decisions/{answer.headers['x-caio-decision-id']}")
            if decision["result"] is not None:
                break
            await asyncio.sleep(0.01)
        books = await books_of(caio.installation)
        assert (books.reserved, books.sum) == (0, 0)
        assert 0 < books.spent <= turn * 60_000_000
