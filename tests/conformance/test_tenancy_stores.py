"""What every store of tenants, API keys and tenants' data keys does."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.tenancy.ports import ApiKey, Located, Quotas, Tenant, TenantStatus, Tier
from tests.support.acts import act_leaf


def api_key(key_id="key_1", tenant_id="acme", **changes):
    fields: dict[str, Any] = {
        "name": "laptop",
        "prefix": "caio_dev_ab",
        "key_hash": f"hash of {key_id}".encode(),
        "roles": ("developer", "auditor"),
        "trust_level": "standard",
        "created_at": 3,
        "expires_at": 2**53,
        "policies": ("no-us", "careful"),
    }
    return ApiKey(key_id, tenant_id, **fields | changes)


def created(stores, tenant, **changes):
    """Ask for the creation of ``tenant``, with a key and a leaf that no other is like."""
    tenant = replace(tenant, **changes)
    leaf = act_leaf(TenantScope(tenant.tenant_id), "tenant.created", tenant.tenant_id)
    return stores.tenants.create(TenantScope(tenant.tenant_id), tenant, b"key beside " + leaf.sealed, leaf)


async def leaves(stores, tenant_id):
    return [entry.leaf for entry in await stores.journal.page(TenantScope(tenant_id), -1, 99)]


async def test_a_tenant_reads_back_as_it_was(stores):
    quotas = Quotas(services=1, per_minute=2, per_hour=3, per_day=4, budget=2**62)
    tenant = Tenant("new", "Nový & Söhne", TenantStatus.ACTIVE, "EUR", quotas, 1_700_000_000_000_000)
    assert await created(stores, tenant)
    assert await stores.tenants.get(TenantScope("new")) == tenant
    with pytest.raises(NotFound):
        await stores.tenants.get(TenantScope("nobody"))


async def test_a_taken_tenant_id_changes_nothing(stores, acme):
    before = await stores.tenants.get(acme)
    assert not await created(stores, before, name="Impostor")
    assert await stores.tenants.get(acme) == before
    assert (await stores.tenant_keys.find(acme), await leaves(stores, "acme")) == (None, [])


async def test_a_tenant_begins_with_its_key_and_its_leaf(stores, acme):
    tenant = replace(await stores.tenants.get(acme), tenant_id="new", tier=Tier.POOL, place="")
    leaf = act_leaf(TenantScope("new"), "tenant.created", "new")
    for broken in (act_leaf(TenantScope("nobody")), act_leaf(acme)):
        if broken.tenant_id == "acme":
            await stores.journal.append([broken])  # taken: the leaf cannot be written again
        with pytest.raises(DBAPIError):  # another tenant's leaf: PostgreSQL lets nobody write it
            await stores.tenants.create(TenantScope(tenant.tenant_id), tenant, b"wrapped", broken)
        with pytest.raises(NotFound):
            await stores.tenants.get(TenantScope("new"))
        assert await stores.tenant_keys.find(TenantScope("new")) is None
    assert await stores.tenants.create(TenantScope(tenant.tenant_id), tenant, b"wrapped", leaf)
    assert await stores.tenants.get(TenantScope("new")) == tenant
    assert await stores.tenant_keys.find(TenantScope("new")) == b"wrapped"
    assert await leaves(stores, "new") == [replace(leaf, projection=None)]


async def test_of_concurrent_creations_one_succeeds(stores_of_two_processes, acme):
    before = await stores_of_two_processes[0].tenants.get(acme)
    tenant = replace(before, tenant_id="new", tier=Tier.POOL, place="")
    made = await asyncio.gather(*(created(stores, tenant) for stores in stores_of_two_processes * 3))
    assert sum(made) == 1
    (leaf,) = await leaves(stores_of_two_processes[0], "new")
    assert await stores_of_two_processes[1].tenant_keys.find(TenantScope("new")) == b"key beside " + leaf.sealed


async def test_only_active_tenants_are_listed_for_start_up(stores, acme):
    tenant = await stores.tenants.get(acme)
    for status in (TenantStatus.SUSPENDED, TenantStatus.CANCELLED):
        await created(stores, tenant, tenant_id=status.value, status=status)
    assert [found.tenant_id for found in await stores.tenants.all_active()] == ["acme", "rival"]


async def test_an_api_key_is_found_by_its_hash_alone(stores, acme, rival):
    mine, theirs = api_key(), api_key("key_2", "rival", roles=(), expires_at=None)
    await stores.api_keys.add(acme, mine, act_leaf(acme))
    await stores.api_keys.add(rival, theirs, act_leaf(rival))
    for scope, key in ((acme, mine), (rival, theirs)):
        assert await stores.api_keys.locate(key.key_hash) == Located(scope.tenant_id, key.key_id)
        assert await stores.api_keys.get(scope, key.key_id) == key
    assert await stores.api_keys.locate(b"hash of key") is None
    with pytest.raises(NotFound):
        await stores.api_keys.get(acme, theirs.key_id)


async def test_api_keys_are_listed_per_tenant_in_order(stores, acme, rival):
    keys = [api_key(f"key_{letter}") for letter in ("B", "a", "b")]
    for key in reversed(keys):
        await stores.api_keys.add(acme, key, act_leaf(acme))
    await stores.api_keys.add(rival, api_key("key_0", "rival"), act_leaf(rival))
    assert list(await stores.api_keys.page(acme, "", 2)) == keys[:2]
    assert list(await stores.api_keys.page(acme, "key_a", 2)) == keys[2:]
    assert [key.key_id for key in await stores.api_keys.page(rival, "", 9)] == ["key_0"]


async def test_an_api_key_is_added_once_and_in_its_own_tenant(stores, acme, rival):
    await stores.api_keys.add(acme, api_key(), act_leaf(acme))
    for other in (api_key(key_hash=b"another"), api_key("key_2", key_hash=b"hash of key_1")):
        with pytest.raises(Conflict):
            await stores.api_keys.add(acme, other, act_leaf(acme))
    with pytest.raises(Conflict):
        await stores.api_keys.add(TenantScope("nobody"), api_key("key_3", "nobody"), act_leaf(TenantScope("nobody")))
    with pytest.raises(ValueError, match="own tenant"):
        await stores.api_keys.add(rival, api_key("key_4"), act_leaf(rival))
    assert len(await stores.api_keys.page(acme, "", 9)) == 1


async def test_revoking_is_final_and_stays_in_its_tenant(stores, acme, rival):
    await stores.api_keys.add(acme, api_key(), act_leaf(acme))
    for scope, key_id in ((rival, "key_1"), (acme, "key_2")):
        with pytest.raises(NotFound):
            await stores.api_keys.revoke(scope, key_id, 10, act_leaf(scope))
    assert (await stores.api_keys.get(acme, "key_1")).revoked_at is None
    revoked = await stores.api_keys.revoke(acme, "key_1", 10, act_leaf(acme))
    assert revoked == replace(api_key(), revoked_at=10)
    assert (
        await stores.api_keys.revoke(acme, "key_1", 11, act_leaf(acme))
        == revoked
        == await stores.api_keys.get(acme, "key_1")
    )


async def test_the_first_tenant_key_wins(stores_of_two_processes, acme, rival):
    keys = await asyncio.gather(
        *(stores.tenant_keys.wrapped_key(acme, b"%d" % n) for n, stores in enumerate(stores_of_two_processes * 4))
    )
    assert len(set(keys)) == 1
    tenant_keys = stores_of_two_processes[0].tenant_keys
    assert await tenant_keys.wrapped_key(acme, b"later") == keys[0]
    assert await tenant_keys.wrapped_key(rival, b"theirs") == b"theirs"
    with pytest.raises(NotFound):
        await tenant_keys.wrapped_key(TenantScope("nobody"), b"key")
