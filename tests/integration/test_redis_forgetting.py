"""What Redis keeps of a tenant that is gone: nothing of its account, and another's is untouched."""

from __future__ import annotations

from redis.asyncio import Redis

from caio.storage.redis.client import Client
from caio.storage.redis.scripts import FORGET, account_keys
from tests.support.redis_admissions import PATIENT
from tests.support.redis_server import RedisServer


async def test_a_deleted_tenant_leaves_no_account() -> None:
    with RedisServer() as started:
        client = Client(started.url, step_seconds=PATIENT)
        await client.connect()
        client.away = False
        try:
            async with Redis.from_url(started.url) as server:
                for tenant_id in ("acme", "rival"):
                    await server.sadd("caio:accounts", tenant_id)  # type: ignore[misc]
                    for key in account_keys(tenant_id):
                        await server.hset(key, "of", tenant_id)  # type: ignore[misc]
                for _ in range(2):
                    await client.run(FORGET, account_keys("acme"), ("acme",))
                assert sorted(await server.keys("{caio:*")) == sorted(key.encode() for key in account_keys("rival"))
                assert await server.smembers("caio:accounts") == {b"rival"}  # type: ignore[misc]
        finally:
            await client.close()
