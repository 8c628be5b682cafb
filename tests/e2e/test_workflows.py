"""Workflows over HTTP: begun, followed, looked at, cancelled; each step through the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.e2e.conftest import Served

ANSWER = {"label": "good", "usage": {"input_tokens": 5, "output_tokens": 2}}


def chain(**changes: Any) -> dict[str, Any]:
    """Two classifiers side by side, and a third that is told what both said."""
    wish = {"capability": "text.sentiment"}
    both = {"first": {"$from": "left", "pointer": "/label"}, "second": {"$from": "right"}}
    return {
        "steps": [
            {"id": "left", "request": wish, "payload": {"text": {"$from": "input", "pointer": "/text"}}},
            {"id": "right", "request": wish, "payload": {"text": "Fine."}},
            {"id": "both", "request": wish, "payload": both, "input_bytes": 500},
        ],
        "requirements": {"max_cost": "0.01"},
        "deadline_ms": 60_000,
    } | changes


async def begin(caio: Served, workflow: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    body = {"workflow": workflow, "input": {"text": "Good."}}
    async with caio.http.post("/api/v1/workflows/runs", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def ended(caio: Served, run_id: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            status, run = await caio.get(f"/api/v1/workflows/runs/{run_id}")
            assert status == 200, run
            if run["status"] in ("succeeded", "failed", "cancelled"):
                return run
            await asyncio.sleep(0.05)


async def test_a_run_goes_through_the_gateway(caio: Served) -> None:
    await caio.register("echo")
    status, begun, headers = await begin(caio, chain())
    assert (status, begun["status"]) == (202, "queued"), begun
    assert headers["location"] == f"/api/v1/workflows/runs/{begun['run_id']}"
    run = await ended(caio, begun["run_id"])
    assert (run["status"], run["result"], run["charged"]) == ("succeeded", {"both": ANSWER}, "0.003")
