"""A worker of its own: what it tells while it works, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from tests.support.redis_server import MISSING, PROGRAM

CAIO = Path(sys.executable).with_name("caio")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


async def test_a_worker_tells_how_its_loops_are_and_ends_well(
    tmp_path: Path, upgraded_postgres_url: str, redis_url: str
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CAIO_DATA_DIR": str(tmp_path / "data"),
        "CAIO_DATABASE_URL": upgraded_postgres_url,
        "CAIO_REDIS_URL": redis_url,
        "CAIO_ANCHOR": "none",
        "CAIO_OPS_PORT": "0",
        "CAIO_METRICS_EMF": "true",
    }
    process = await asyncio.create_subprocess_exec(
        CAIO,
        "worker",
        "--json",
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        url = said["operations"]
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{url}/health/ready") as answer:
                status, health = answer.status, await answer.json()
            async with http.get(f"{url}/metrics") as answer:
                metrics = await answer.text()
        assert (status, health["status"]) == (200, "healthy")
        assert set(health["components"]) == {"database", "limiter", *said["loops"]}
        for name in said["loops"]:
            assert f'caio_loop_age_seconds{{loop="{name}"}}' in metrics
            assert f'caio_loop_failures_total{{loop="{name}"}} 0.0' in metrics
        assert "caio_limiter_up 1.0" in metrics
        assert "caio_audit_lag_seconds " in metrics
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0, err.decode()
        assert time.monotonic() - began < 30
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b"Traceback" not in err
    (line,) = [json.loads(each) for each in out.splitlines()]
    assert {"AuditLag", "JournalWaiting"} <= set(line)
    assert "OrchestrationRequests" not in line  # it serves none
