"""The port ``caio.audit.ports.TenantKeyStore`` beyond the first key: looking, and destroying for good."""

import asyncio

import pytest
from sqlalchemy import select

from caio.foundation.errors import Erased, NotFound
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import tenant_keys


async def stored(database_url):
    database = await Database.open(database_url)
    async with database.reading(PlatformScope("test")) as connection:
        rows = (await connection.execute(select(tenant_keys).order_by(tenant_keys.c.tenant_id))).all()
    await database.close()
    return [(row.tenant_id, bytes(row.wrapped), row.destroyed_at) for row in rows]


async def test_looking_makes_no_key(stores, acme, database_url):
    assert await stores.tenant_keys.find(acme) is None
    assert await stores.tenant_keys.find(TenantScope("nobody")) is None
    assert await stored(database_url) == []
    await stores.tenant_keys.wrapped_key(acme, b"key")
    assert await stores.tenant_keys.find(acme) == b"key"


async def test_a_destroyed_key_is_gone_for_good(stores_of_two_processes, acme, rival, database_url):
    here, there = (stores.tenant_keys for stores in stores_of_two_processes)
    await here.wrapped_key(acme, b"key")
    await here.wrapped_key(rival, b"theirs")
    assert await there.destroy(acme, 7)
    for keys in (here, there):
        for look in (keys.find(acme), keys.wrapped_key(acme, b"another")):
            with pytest.raises(Erased) as refused:
                await look
            assert refused.value.code == "tenant_key_destroyed"
    assert not await here.destroy(acme, 8)
    assert await here.find(rival) == b"theirs"
    assert await stored(database_url) == [("acme", b"", 7), ("rival", b"theirs", None)]


async def test_a_key_that_was_never_made_is_destroyed_all_the_same(stores, acme, database_url):
    assert [await stores.tenant_keys.destroy(acme, 7), await stores.tenant_keys.destroy(acme, 8)] == [True, False]
    with pytest.raises(Erased):
        await stores.tenant_keys.wrapped_key(acme, b"key")
    assert await stored(database_url) == [("acme", b"", 7)]


async def test_an_unknown_tenant_has_no_key_to_destroy(stores):
    with pytest.raises(NotFound):
        await stores.tenant_keys.destroy(TenantScope("nobody"), 7)


async def test_of_concurrent_destructions_one_destroys(stores_of_two_processes, acme):
    here, there = (stores.tenant_keys for stores in stores_of_two_processes)
    destroyed = await asyncio.gather(*(keys.destroy(acme, now) for now, keys in enumerate([here, there] * 3)))
    assert sorted(destroyed) == [False] * 5 + [True]
