"""Who follows a run does not hold up a server that stops, and misses nothing by it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.conftest import contract
from tests.e2e.test_durability import start
from tests.support.upstreams import upstream

RUNS = "/api/v1/workflows/runs"
GRACE = 25
SETTINGS = {"CAIO_GRACE_SECONDS": str(GRACE), "CAIO_OUTBOUND_ALLOW": "127.0.0.0/8", "CAIO_ANCHOR": "none"}
STEP = {"id": "only", "request": {"capability": "text.sentiment"}, "payload": {"text": "Fine."}}


async def _followed(http: aiohttp.ClientSession, run_id: str, after: str, seen: asyncio.Event) -> list[dict[str, str]]:
    """The events of a stream that ends well, with their ids."""
    text = ""
    async with http.get(f"{RUNS}/{run_id}/events", headers={"Last-Event-ID": after}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        async for part in answer.content.iter_any():
            text += part.decode()
            if "step.started" in text:
                seen.set()
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    return [dict(line.split(": ", 1) for line in event.split("\n")) for event in events]


async def _sent(http: aiohttp.ClientSession, path: str, document: Any, status: int) -> Any:
    async with http.post(path, json=document) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_listeners_hold_up_no_end(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with upstream() as service:
        process, ready = await start(tmp_path, errors=None, **SETTINGS)
        key = {"Authorization": f"Bearer {ready['api_key']}"}
        try:
            async with aiohttp.ClientSession(ready["url"], headers=key) as http:
                await _sent(http, "/api/v1/services", contract("slow", service.url, "/late/4000"), 201)
                begun = await _sent(http, RUNS, {"workflow": {"steps": [STEP], "deadline_ms": 120_000}}, 202)
                seen = asyncio.Event()
                following = asyncio.create_task(_followed(http, begun["run_id"], "0", seen))
                await asyncio.wait_for(seen.wait(), 60)
                stopped = loop.time()
                process.send_signal(signal.SIGTERM)
                first = await asyncio.wait_for(following, GRACE)
                assert loop.time() - stopped < GRACE / 2
            assert await asyncio.wait_for(process.wait(), 30) == 0
            assert loop.time() - stopped < GRACE
            assert [each["event"] for each in first] == ["run.queued", "run.started", "step.started"]
            process, ready = await start(tmp_path, errors=None, **SETTINGS)
            async with aiohttp.ClientSession(ready["url"], headers=key) as http:
                rest = await asyncio.wait_for(_followed(http, begun["run_id"], first[-1]["id"], asyncio.Event()), 90)
            assert rest[-1]["event"] == "run.succeeded"
            ids = [int(each["id"]) for each in (*first, *rest)]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
