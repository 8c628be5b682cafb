"""Whose calls Redis holds, told by a real server: the dead's are orphans, the living's never."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from caio.foundation.errors import NotReady
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, Ask, Grant, Slots
from caio.storage.redis import admission as redis_admission
from caio.storage.redis import held as held_calls
from caio.storage.redis.admission import RedisAdmission
from caio.storage.redis.held import HeldInRedis
from tests.support.admissions import Records, ask, requests
from tests.support.redis_admissions import running_admission
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

ACME = TenantScope("acme")
GONE_AFTER = 0.3
SHORT: Any = {"durable": 0.0, "late": 3_000_000, "lasts": 0.4}


@pytest.fixture
def server(monkeypatch):
    for module in (redis_admission, held_calls):
        monkeypatch.setattr(module, "ORPHANED_AFTER", int(GONE_AFTER * 1_000_000))
    with RedisServer() as started:
        yield started


def now() -> int:
    return time.time_ns() // 1000


def asking(grant: str, seconds: float) -> Ask:
    """An ask with a slot and money, that has surely ended in so many seconds."""
    expires_at = now() + int(seconds * 1_000_000)
    return ask(
        "echo",
        requests("tenant", minute=100),
        grant=grant,
        price=10,
        budget=100,
        slots=(Slots("tenant", 5),),
        expires_at=expires_at,
    )


async def admit(admission: RedisAdmission, grant: str, seconds: float) -> None:
    assert isinstance(await admission.admit(asking(grant, seconds), now()), Grant)


async def vanish(admission: RedisAdmission) -> None:
    """End a process's part as a kill does: no more beats, no leave taken."""
    assert admission._heartbeats._task is not None
    admission._heartbeats._task.cancel()


async def eventually(condition: Any) -> Any:
    until = time.monotonic() + 8
    while not (found := await condition()):
        assert time.monotonic() < until, "not so in time"
        await asyncio.sleep(0.05)
    return found


async def test_the_calls_of_the_dead_are_orphans_and_the_livings_are_not(server) -> None:
    async with AsyncExitStack() as stack:
        dead, living, worker = [
            await stack.enter_async_context(running_admission(server.url, Records(), processes=3, **SHORT))
            for _ in range(3)
        ]
        held = HeldInRedis(worker._client, worker, now)
        await admit(dead, "dec_dead", 0.1)
        await admit(living, "dec_slow", 0.1)
        await asyncio.sleep(GONE_AFTER + 0.1)
        assert set(await held.held("acme", ["dec_dead", "dec_slow", "dec_unknown"])) == {"dec_dead", "dec_slow"}
        assert list(await held.orphans()) == [], "both are here, however long their time has been over"
        await vanish(dead)
        found = await eventually(held.orphans)
        assert [(each.tenant_id, each.grant_id) for each in found] == [("acme", "dec_dead")]
        assert found[0].expires_at < now()
        assert await held.held("acme", ["dec_dead", "dec_slow"]) == {"dec_slow"}

        books = await worker.ledger(ACME, "total", now())
        assert books.reserved == 20
        for _ in range(2):  # settling twice changes nothing
            await held.end(ACME, "dec_dead", Actual(charged=4))
        books = await worker.ledger(ACME, "total", now())
        assert (books.reserved, books.spent) == (10, 4)
        assert list(await held.orphans()) == []


@pytest.fixture
async def of_the_dead(server, monkeypatch):
    """The call of a process that has just died, where one must have been gone for an hour; the server's id."""
    monkeypatch.setattr(held_calls, "ORPHANED_AFTER", 3_600_000_000)
    async with AsyncExitStack() as stack:
        dead, worker = [
            await stack.enter_async_context(running_admission(server.url, Records(), processes=2, **SHORT))
            for _ in range(2)
        ]
        await admit(dead, "dec_1", 0.0)
        await vanish(dead)
        await asyncio.sleep(2 * SHORT["lasts"])  # its last beat counts no more
        await eventually(lambda: worker.orphans(now()))
        yield HeldInRedis(worker._client, worker, now), worker._heartbeats.server


async def test_who_has_just_gone_is_not_given_up(server, of_the_dead) -> None:
    held, name = of_the_dead
    server.ask("SET", f"caio:server:{name}", "1")  # it has been there for long
    assert await held.held("acme", ["dec_1"]) == {"dec_1"}
    assert list(await held.orphans()) == []


async def test_a_server_that_is_too_new_to_know_calls_nobody_gone(server, of_the_dead) -> None:
    held, name = of_the_dead
    server.ask("DEL", f"caio:processes:{name}")  # as after a promotion, before everybody has been heard
    assert await held.held("acme", ["dec_1"]) == {"dec_1"}
    server.ask("SET", f"caio:server:{name}", "1")
    assert await held.held("acme", ["dec_1"]) == set()


async def test_while_redis_is_away_nothing_is_known(server) -> None:
    async with running_admission(server.url, Records(), step_seconds=0.2, **SHORT) as worker:
        held = HeldInRedis(worker._client, worker, now)
        server.kill()
        with pytest.raises(NotReady):
            await held.held("acme", ["dec_1"])
        with pytest.raises(NotReady):
            await held.orphans()
