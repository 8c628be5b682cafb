"""A header of ours that nothing is read from is refused: a bound that is misspelt would bind nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Served, chat_contract

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": {"model": "auto", "input": "Hi"},
    "/v1/responses": {"model": "auto", "input": "Hi"},
    "/api/v1/orchestrate": {"request": {"capability": "chat", "payload": {"messages": CHAT["messages"]}}},
}


@pytest.fixture
async def known(caio: Served) -> Served:
    document = chat_contract("known", caio.service.url)
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()
    return caio


@pytest.mark.parametrize("path", BODIES)
async def test_an_unknown_header_is_refused(known: Served, path: str) -> None:
    headers = {"X-Caio-Max-Costs": "0.0001", "x-caio-cache": "60", "x-other-max-cost": "1"}
    async with known.http.post(path, json=BODIES[path], headers=headers) as answer:
        assert answer.status == 422, await answer.text()
        document = await answer.json(content_type=None)
    error = document.get("error", document)
    assert (error["code"], [each["pointer"] for each in error["errors"]]) == (
        "invalid_header",
        ["/header/x-caio-max-costs"],
    )
    assert "x-caio-cache" in error["errors"][0]["detail"]
    assert ("x-caio-max-cost" in error["errors"][0]["detail"]) == path.startswith("/v1")
    if "error" in document:
        assert error["param"] == "x-caio-max-costs"
    assert known.service.received == []


async def test_a_native_call_states_its_wishes_in_its_body(known: Served) -> None:
    """There a header would bind nothing either."""
    path = "/api/v1/orchestrate"
    async with known.http.post(path, json=BODIES[path], headers={"x-caio-max-cost": "0"}) as answer:
        assert answer.status == 422
        assert "x-caio-receipt" in (await answer.json(content_type=None))["detail"]
    async with known.http.post(path, json=BODIES[path], headers={"x-caio-receipt": "body"}) as answer:
        assert answer.status == 200, await answer.text()


async def test_every_known_header_is_taken(known: Served) -> None:
    headers = {
        "x-caio-capability": "chat",
        "x-caio-max-cost": "1",
        "x-caio-max-latency-ms": "60000",
        "x-caio-sensitive": "false",
        "x-caio-data-classification": "internal",
        "x-caio-on-violation": "report",
        "x-caio-deadline-ms": "20000",
        "x-caio-seed": "7",
        "x-caio-data-locality": "on_device",
        "x-caio-excluded-services": "nobody",
        "x-caio-cache": "60",
    }
    async with known.http.post("/v1/chat/completions", json=CHAT, headers=headers) as answer:
        assert answer.status in (200, 422), await answer.text()
        assert "invalid_header" not in await answer.text()


async def test_a_header_that_is_stated_twice_states_both(known: Served) -> None:
    """Of two lists none is lost; of two bounds neither is chosen."""
    twice = [("x-caio-excluded-services", "known"), ("x-caio-excluded-services", "nobody")]
    async with known.http.post("/v1/chat/completions", json=CHAT, headers=twice) as answer:
        assert answer.status == 422, await answer.text()
        assert (await answer.json())["error"]["code"] == "no_service_satisfies"
    twice = [("x-caio-max-cost", "0"), ("x-caio-max-cost", "5")]
    async with known.http.post("/v1/chat/completions", json=CHAT, headers=twice) as answer:
        assert answer.status == 422, await answer.text()
        assert (await answer.json())["error"]["param"] == "x-caio-max-cost"
    assert known.service.received == []
