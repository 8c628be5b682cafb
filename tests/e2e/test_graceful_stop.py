"""What becomes of calls that are under way when a server is told to stop: what fits in the grace ends, the rest is
cut off, settled and told of."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import chat_contract, contract
from tests.e2e.test_durability import start
from tests.support.upstreams import TOKENS, Upstream, upstream

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
WHOLE = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
STREAMS = 20


@pytest.fixture
async def service() -> AsyncIterator[Upstream]:
    async with upstream() as service:
        yield service


class Stopping:
    """A server with streams under way, what was received of each, and what it wrote on standard error."""

    def __init__(
        self, process: asyncio.subprocess.Process, http: aiohttp.ClientSession, streams: list[asyncio.Task[bytes]]
    ) -> None:
        self.process = process
        self.http = http
        self.streams = streams

    async def stop(self, *, signals: int = 1) -> tuple[float, str]:
        """Tell it to; the seconds until it had ended, well, and what it had written."""
        assert self.process.stderr is not None
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(signals):
            self.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
        written = await asyncio.wait_for(self.process.stderr.read(), 30)
        assert await asyncio.wait_for(self.process.wait(), 30) == 0
        return loop.time() - began, written.decode()


@asynccontextmanager
async def streaming(folder: Path, service: Upstream, milliseconds: int, grace: int) -> AsyncIterator[Stopping]:
    """A server that passes on streams of TOKENS tokens, so many milliseconds apart; each has begun."""
    process, ready = await start(
        folder,
        errors=asyncio.subprocess.PIPE,
        CAIO_GRACE_SECONDS=str(grace),
        CAIO_OUTBOUND_ALLOW="127.0.0.0/8",
        CAIO_ANCHOR="none",
        CAIO_LOG_LEVEL="info",
    )
    try:
        headers = {"Authorization": f"Bearer {ready['api_key']}"}
        async with aiohttp.ClientSession(ready["url"], headers=headers) as http:
            promised = {"first_token_ms": {"p95": 30_000}, "latency_ms": {"p95": 60_000}}  # kept on a busy machine, too
            talker = chat_contract("talker", service.url, f"/steady/{milliseconds}") | {"guarantees": promised}
            for document in (talker, contract("slow", service.url, "/slow")):
                async with http.post("/api/v1/services", json=document) as answer:
                    assert answer.status == 201, await answer.text()
            begun = [asyncio.Event() for _ in range(STREAMS)]
            streams = [asyncio.create_task(read(http, each)) for each in begun]
            async with asyncio.timeout(20):
                await asyncio.gather(*(each.wait() for each in begun))
            yield Stopping(process, http, streams)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read(http: aiohttp.ClientSession, begun: asyncio.Event) -> bytes:
    """All that comes of one stream; where it breaks off is no error here."""
    received = b""
    with suppress(aiohttp.ClientPayloadError):
        async with http.post("/v1/chat/completions", json=CHAT) as answer:
            assert answer.status == 200, await answer.text()
            async for part in answer.content.iter_any():
                received += part
                begun.set()
        received += b"<end>"
    return received


def statuses(folder: Path) -> list[str]:
    """How the calls ended, as journalled; nothing is recovered by looking."""
    with sqlite3.connect(folder / "caio.db") as database:
        return [status for (status,) in database.execute("SELECT status FROM outcomes")]


def lines_of_calls(written: str) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in written.splitlines()]
    calls = [line for line in lines if line["event"] == "request" and line["path"] != "/api/v1/services"]
    return sorted((line["path"], line["status"]) for line in calls)


async def test_a_stream_that_fits_in_the_grace_ends(tmp_path: Path, service: Upstream) -> None:
    async with streaming(tmp_path, service, 50, grace=25) as running:
        seconds, written = await running.stop()
        assert 1 < seconds < 20
        for received in await asyncio.gather(*running.streams):
            assert received.count(b'"content"') >= TOKENS
            assert received.endswith(b"data: [DONE]\n\n<end>")
    assert statuses(tmp_path) == ["ok"] * STREAMS
    assert lines_of_calls(written) == [("/v1/chat/completions", 200)] * STREAMS


async def test_what_does_not_fit_is_cut_off_and_settled(tmp_path: Path, service: Upstream) -> None:
    async with streaming(tmp_path, service, 400, grace=2) as running:
        whole = asyncio.create_task(running.http.post("/api/v1/orchestrate", json=WHOLE))
        async with asyncio.timeout(10):
            while service.received[-1][0].path != "/slow":
                await asyncio.sleep(0.01)
        seconds, written = await running.stop()
        assert 2 <= seconds < 20
        for received in await asyncio.gather(*running.streams):
            *tokens, last, end = received.split(b"\n\n")
            assert tokens
            assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "not_ready"
            assert end == b"<end>"
        answer = await whole
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json(content_type=None))["code"] == "not_ready"
    assert statuses(tmp_path) == ["cancelled"] * (STREAMS + 1)
    assert lines_of_calls(written) == [("/api/v1/orchestrate", 503), *[("/v1/chat/completions", 200)] * STREAMS]
    assert "Traceback" not in written


async def test_who_does_not_wait_for_the_grace_finds_everything_settled(tmp_path: Path, service: Upstream) -> None:
    async with streaming(tmp_path, service, 400, grace=600) as running:
        seconds, written = await running.stop(signals=2)
        assert seconds < 20
        for received in await asyncio.gather(*running.streams):
            assert b'"code":"not_ready"' in received
            assert b"[DONE]" not in received
    assert statuses(tmp_path) == ["cancelled"] * STREAMS
    assert lines_of_calls(written) == [("/v1/chat/completions", 200)] * STREAMS
