"""The Redis adapter of admission for tests: over a real server, by its own clock or by the test's."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from caio.gateway.ports import AdmissionRecords, Ask
from caio.metering.ledger import Ledger
from caio.storage.redis.admission import RedisAdmission
from caio.storage.redis.client import Client
from caio.storage.redis.heartbeats import Heartbeats
from caio.storage.redis.rebuilding import DURABLE_AFTER, LATE
from tests.support.admissions import NOW, Box, Opening, Records

_numbers = itertools.count(1)

#: On a busy machine fifty milliseconds pass by themselves; tests of that bound ask for it.
PATIENT = 5.0


@dataclass(frozen=True, slots=True)
class RedisBox:
    admission: RedisAdmission

    async def books(self, ask: Ask) -> Ledger:
        return await self.admission.ledger(ask.scope, ask.period, NOW)


def redis_boxes(url: str) -> Opening:
    """Openings of the adapter that follow the test's clock; each empties the server first."""

    def opening(records: Records) -> AbstractAsyncContextManager[Box]:
        return _box(url, records)

    return opening


@asynccontextmanager
async def _box(url: str, records: Records) -> AsyncIterator[Box]:
    async with Redis.from_url(url) as server:
        await server.flushdb()
    client = Client(url, step_seconds=PATIENT)
    await client.connect()
    client.away = False  # no heartbeat: it would bring the server's clock into it
    beats = Heartbeats(client, f"test-{next(_numbers)}")
    try:
        yield RedisBox(RedisAdmission(client, beats, records, 1, durable=0, late=0, caller_time=True))
    finally:
        await client.close()


@asynccontextmanager
async def running_admission(
    url: str,
    records: AdmissionRecords,
    *,
    processes: int = 1,
    step_seconds: float = PATIENT,
    durable: float = DURABLE_AFTER,
    late: int = LATE,
    lasts: float = 2.0,
    orphaned_after: int = 30_000_000,
) -> AsyncIterator[RedisAdmission]:
    """The adapter as a process has it, by the server's clock and with heartbeats."""
    client = Client(url, step_seconds=step_seconds)
    beats = Heartbeats(client, f"test-{os.getpid()}-{next(_numbers)}", lasts=lasts, every=lasts / 4, margin=lasts / 4)
    admission = RedisAdmission(
        client, beats, records, processes, durable=durable, late=late, orphaned_after=orphaned_after
    )
    await admission.start()
    try:
        yield admission
    finally:
        await admission.stop()
