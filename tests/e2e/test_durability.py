"""A server's life: one data directory has one process, and one that is told to stop says so first.

What becomes of the data when the process is killed: tests/soak/test_kills.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp


async def start(
    data_dir: Path, *, errors: int | None = None, **settings: str
) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """A server process and its ready line. ``errors`` is where its standard error goes, unless with the test's."""
    environment = {**os.environ, "CAIO_DATA_DIR": str(data_dir), "CAIO_LOG_LEVEL": "error", **settings}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "caio", "serve", "--json", "--port", "0"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    return process, json.loads(line)


async def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    process, _ = await start(tmp_path)
    try:
        command = ["-m", "caio", "serve", "--port", "0", "--data-dir", str(tmp_path)]
        second = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode != 0
        assert f"pid {process.pid}" in " ".join(complaint.decode().split())
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_a_server_that_is_to_stop_before_it_serves_ends(tmp_path: Path) -> None:
    """Well, and at once: as the first process of a container it would go on if nothing listened to the signal."""
    asked = asyncio.Event()

    async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    database = await asyncio.start_server(answer_nothing, "127.0.0.1", 0)
    port = database.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "caio", "serve", "--port", "0", "--data-dir", str(tmp_path)),
        env={**os.environ, "CAIO_DATABASE_URL": f"postgresql://caio:caio@127.0.0.1:{port}/caio"},
    )
    try:
        await asyncio.wait_for(asked.wait(), 60)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        database.close()


async def test_a_server_that_is_to_stop_says_so_and_serves_on(tmp_path: Path) -> None:
    process, ready = await start(tmp_path, CAIO_DRAIN_SECONDS="60")
    try:
        async with aiohttp.ClientSession(ready["url"]) as http:

            async def ask(path: str) -> tuple[int, str | None]:
                async with http.get(path) as answer:
                    return answer.status, answer.headers.get("connection")

            assert await ask("/health/ready") == (200, None)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                while await ask("/health/ready") != (503, "close"):
                    await asyncio.sleep(0.01)
            assert await ask("/health/live") == (200, "close")
            process.send_signal(signal.SIGTERM)  # once more: it is not waited for
            assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
