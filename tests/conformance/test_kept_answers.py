"""The ``KeptAnswers`` port: in this process's memory, and in a Redis of its own."""

import asyncio

import pytest

from caio.foundation.scope import TenantScope
from caio.gateway.answer_cache import KeptAnswers
from caio.storage.memory.answers import AnswersInMemory
from caio.storage.redis.answers import AnswersInRedis

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")


@pytest.fixture(params=["memory", "redis"])
async def kept(request):
    if request.param == "memory":
        yield AnswersInMemory()
        return
    answers = AnswersInRedis(request.getfixturevalue("redis_url"))
    yield answers
    await answers.stop()


async def test_what_is_kept_is_found(kept: KeptAnswers) -> None:
    await kept.keep(ACME, "name", b"first", 60)
    await kept.keep(ACME, "name", b"second", 60)
    assert await kept.find(ACME, "name") == b"second"
    assert await kept.find(ACME, "other") is None


async def test_a_tenant_finds_its_own_only(kept: KeptAnswers) -> None:
    await kept.keep(ACME, "name", b"of acme", 60)
    assert await kept.find(RIVAL, "name") is None


async def test_it_is_found_until_it_ends(kept: KeptAnswers) -> None:
    await kept.keep(ACME, "brief", b"soon gone", 1)
    await asyncio.sleep(1.2)
    assert await kept.find(ACME, "brief") is None


async def test_a_redis_that_is_away_finds_nothing_and_is_not_asked_again_at_once() -> None:
    now, asked = [0.0], []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(now[0])
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answers = AnswersInRedis(f"redis://127.0.0.1:{port}/0", clock=lambda: now[0])
    async with server:
        for moment in (0.0, 0.9, 1.1, 1.2):
            now[0] = moment
            assert await answers.find(ACME, "name") is None
            await answers.keep(ACME, "name", b"lost", 60)
    await answers.stop()
    assert set(asked) == {0.0, 1.1}


async def test_memory_is_bounded_and_who_keeps_most_makes_room() -> None:
    answers = AnswersInMemory(most=1_000)
    await answers.keep(RIVAL, "small", b"x" * 100, 60)
    for number in range(50):
        await answers.keep(ACME, f"large-{number}", b"x" * 90, 60)
        assert sum(answers._sizes.values()) <= 1_000
    assert await answers.find(RIVAL, "small") is not None
    assert await answers.find(ACME, "large-49") is not None
    assert await answers.find(ACME, "large-0") is None


async def test_what_ended_takes_no_memory() -> None:
    now = [0.0]
    answers = AnswersInMemory(clock=lambda: now[0])
    await answers.keep(ACME, "name", b"x" * 100, 60)
    now[0] = 60.0
    assert await answers.find(ACME, "name") is None
    assert not answers._sizes
    assert not answers._tenants
