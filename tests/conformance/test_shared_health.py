"""What every place must do in which processes tell each other of their breakers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from caio.foundation.errors import NotReady
from caio.gateway.breakers import Breakers
from caio.gateway.health import Cause, Change
from caio.gateway.ports import SharedHealth
from caio.gateway.sharing import Sharing
from caio.storage.memory.health import Board, BoardHealth
from caio.storage.redis.client import Client
from caio.storage.redis.health import AT_ONCE, HealthInRedis
from caio.storage.redis.heartbeats import Heartbeats
from tests.support.redis_server import MISSING, PROGRAM, RedisServer
from tests.unit.gateway.test_breakers import NOW, offer, open_up, ranked

Seat = Callable[[], SharedHealth]


def change(name: str, at: int, cause: Cause | None = Cause.IN_A_ROW, tenant_id: str = "acme") -> Change:
    return Change(tenant_id, name, "1.0.0", cause, at + 9 if cause else 0, 1, at)


@pytest.fixture(params=["memory", "redis"])
async def seat(request: pytest.FixtureRequest) -> AsyncIterator[Seat]:
    """Gives another process's place at one board."""
    if request.param == "memory":
        board = Board()
        yield lambda: BoardHealth(board)
        return
    url = request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:
        client = Client(url, step_seconds=2.0)
        beats = Heartbeats(client, f"health-{os.getpid()}")
        await beats.start()
        stack.push_async_callback(client.close)
        stack.push_async_callback(beats.stop)
        yield lambda: HealthInRedis(client)


async def _new(reader: SharedHealth, seen: set[Change]) -> list[Change]:
    """What was told that had not been seen."""
    found = [each for each in await reader.told() if each not in seen]
    seen.update(found)
    return found


async def test_everybody_is_told_once_what_changed(seat: Seat) -> None:
    one, other = seat(), seat()
    first, second = change("a", NOW), change("b", NOW + 1, tenant_id="rival")
    await one.tell([first, second])
    seen: set[Change] = set()
    assert sorted(await _new(other, seen)) == sorted([first, second])
    assert await _new(other, seen) == []
    closed = change("a", NOW + 2, cause=None)
    await other.tell([closed])
    assert await _new(other, seen) == [closed]
    assert closed in await one.told()


async def test_who_comes_later_is_told_the_last_of_each(seat: Seat) -> None:
    one = seat()
    await one.tell([change("a", NOW), change("b", NOW)])
    await one.tell([change("a", NOW + 5, cause=None)])
    assert sorted(await seat().told(), key=lambda each: each.service_id) == [
        change("a", NOW + 5, cause=None),
        change("b", NOW),
    ]


async def test_many_changes_are_told(seat: Seat) -> None:
    one, other = seat(), seat()
    for start in range(0, 2 * AT_ONCE, 100):
        await one.tell([change(f"s{number}", NOW) for number in range(start, start + 100)])
    assert {each.service_id for each in await other.told()} == {f"s{number}" for number in range(2 * AT_ONCE)}
    await one.tell([])
    assert {each.service_id for each in await other.told()} <= {f"s{number}" for number in range(2 * AT_ONCE)}


async def test_what_one_opens_the_others_leave_alone(seat: Seat) -> None:
    one, other = Breakers(), Breakers()
    telling, hearing = Sharing(one, seat()), Sharing(other, seat())
    open_up(one, "a")
    await telling.exchange()
    await hearing.exchange()
    assert other.order("acme", ranked("a"), NOW) == []
    assert list(other.order("rival", ranked("a"), NOW)) == [0]
    later = NOW + 600_000_000
    assert other.take_probe("acme", offer("a"), later)
    other.succeeded("acme", offer("a"), later, probe=True)
    await hearing.exchange()
    await telling.exchange()
    assert one.order("acme", ranked("a"), NOW) == [0]


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
async def test_what_could_not_be_told_is_told_later(tmp_path: Path) -> None:
    breakers = Breakers()
    with RedisServer() as server:
        client = Client(server.url, step_seconds=2.0)
        beats = Heartbeats(client, "one", lasts=0.4, every=0.05, margin=0.1)
        sharing = Sharing(breakers, HealthInRedis(client))
        open_up(breakers, "a")
        with pytest.raises(NotReady):
            await sharing.exchange()  # not connected yet
        await beats.start()
        try:
            server.kill()
            open_up(breakers, "b")
            with pytest.raises(NotReady):
                await sharing.exchange()
            server.start()
            await client.connect()
            client.away = False
            await sharing.exchange()
            told = await HealthInRedis(client).told()
            assert {each.service_id for each in told} == {"a", "b"}
        finally:
            await beats.stop()
            await client.close()
