"""``caio webhooks``, ``caio events`` and ``caio worker``: what a person reads, and what a program does."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Served
from tests.support.caio_command import CAIO, run_caio
from tests.support.webhook_receiver import verified, webhook_receiver


async def test_the_commands_of_webhooks_and_events(caio: Served, tmp_path: Path) -> None:
    settings = {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token}

    async def ok(*arguments: str) -> Any:
        code, said = await run_caio(tmp_path, settings, *arguments, "--json")
        assert code == 0, said
        return json.loads(said)

    async with webhook_receiver() as receiver:
        made = await ok("webhooks", "create", receiver.url, "--type", "caio.key.")
        name = made["webhook_id"]
        assert await ok("webhooks", "test", name) == {"delivered": True, "status": "200"}
        assert verified(made["secret"], receiver.received[0].headers, receiver.received[0].body)
        receiver.status = 500
        code, said = await run_caio(tmp_path, settings, "webhooks", "test", name)
        assert (code, "not delivered: 500" in said) == (9, True)
        rotated, listed, sent, found = await asyncio.gather(
            ok("webhooks", "rotate", name, "--overlap", "0"),
            ok("webhooks", "list"),
            ok("webhooks", "deliveries", name),
            ok("events", "list", "--type", "caio.webhook.", "--limit", "3"),
        )
        assert rotated["secret"] != made["secret"]
        assert [each["webhook_id"] for each in listed["items"]] == [name]
        assert sent["items"] == []
        assert [each["subject"] for each in found["items"]][-1] == name
    (code, said), (refused, why), (alone, reason) = await asyncio.gather(
        run_caio(tmp_path, settings, "events", "list"),
        run_caio(tmp_path, settings, "webhooks", "create", "http://example.com"),
        run_caio(tmp_path, {"CAIO_DATA_DIR": str(tmp_path / "other")}, "worker"),
    )
    assert code == 0
    assert "caio.webhook.created" in said
    assert refused == 4
    assert "must begin with https://" in why
    assert alone == 1
    assert "needs PostgreSQL and Redis" in reason
    (_, enabled), (gone, _), (missing, _) = await asyncio.gather(
        run_caio(tmp_path, settings, "webhooks", "enable", name),
        run_caio(tmp_path, settings, "webhooks", "delete", name),
        run_caio(tmp_path, settings, "webhooks", "delete", "whk_unknown"),
    )
    assert (gone, missing) == (0, 6)
    assert enabled


async def test_tail_prints_events_as_they_happen(caio: Served, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        CAIO,
        *("events", "tail", "--type", "caio.key.created", "--last", "0", "--every", "0.2", "--json"),
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "CAIO_URL": caio.url, "CAIO_API_KEY": caio.token},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        lines: list[bytes] = []

        async def read() -> None:
            assert process.stdout is not None
            while len(lines) < 2:
                lines.append(await process.stdout.readline())

        reading = asyncio.create_task(read())
        made = []
        while not reading.done():
            async with caio.http.post("/api/v1/keys", json={"name": "watched"}) as answer:
                made.append((await answer.json())["key_id"])
            await asyncio.sleep(0.3)
        await reading
    finally:
        process.kill()
        await process.wait()
    subjects = [json.loads(line)["subject"] for line in lines]
    place = made.index(subjects[0])
    assert subjects == made[place : place + 2], "in order, and none missed"
