"""A tenant in a schema or a database of its own lives and ends as every other: with the real makers of places."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from caio.audit.acts import Acts
from caio.audit.ports import LeafKind
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.errors import Conflict, Misconfigured
from caio.foundation.ids import ulid
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.ports import Publication
from caio.storage.sql import Database, custody, open_stores
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.places import Place
from caio.storage.sql.placing import SqlPlaces
from caio.storage.sql.tables import metadata
from caio.tenancy.forgetting import Forgetting
from caio.tenancy.lifecycle import Lifecycle, Tenants
from caio.tenancy.ports import Tenant, TenantStatus, Tier
from caio.tenancy.standing import LINGER, TenantChange
from tests.support.acts import act_leaf
from tests.support.custody import hold
from tests.support.tenants import tenant_named

SOLO = TenantScope("solo")
NOW = 1_700_000_000_000_000


@pytest.fixture
async def database(upgraded_postgres_url: str, postgres_server: Any) -> AsyncIterator[Database]:
    """A platform beside which one database is named for a tenant."""
    name = upgraded_postgres_url.rpartition("/")[2] + "_silo"
    postgres_server.run(f"CREATE DATABASE {name} OWNER caio")
    opened = await Database.open(upgraded_postgres_url, {"own": upgraded_postgres_url + "_silo"})
    yield opened
    await opened.close()
    postgres_server.run(f"DROP DATABASE {name} WITH (FORCE)")


class House:
    """One process's lifecycle over ``database``, with a clock of its own."""

    def __init__(self, database: Database) -> None:
        self.now, self.stores = NOW, open_stores(database)
        wrapping = LocalWrapping(b"m" * 32, os.urandom)
        vault = TenantVault(wrapping, self.stores.tenant_keys, os.urandom, time.monotonic)
        acts = Acts(vault, lambda: self.now, lambda prefix: ulid(prefix, NOW, os.urandom(10)), os.urandom)
        tenants = Tenants(self.stores.tenants, wrapping, acts, os.urandom)
        self.lifecycle = Lifecycle(
            tenants,
            self.stores.tenants,
            SqlPlaces(database),
            self.stores.custody,
            acts,
            lambda: self.now,
            Forgetting(here=[vault.forget]),
        )

    async def made(self, tenant_id: str, tier: Tier) -> Tenant:
        wanted = replace(tenant_named(tenant_id), tier=tier, created_at=0)
        return await self.lifecycle.create(TenantScope(tenant_id), "key_op", wanted)


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_hold_stands_before_a_deletion(database: Database, tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is being placed when the deletion begins."""
    house = House(database)
    await house.made("solo", tier)
    told, going = asyncio.Event(), asyncio.Event()

    async def held_up(*arguments: Any) -> int:
        told.set()
        await going.wait()
        return await append_within(*arguments)

    monkeypatch.setattr(custody, "append_within", held_up)
    placing = asyncio.create_task(
        house.stores.custody.place(SOLO, hold(reason="a lawsuit"), act_leaf(SOLO, "hold.placed"))
    )
    await told.wait()
    deleting = asyncio.create_task(house.lifecycle.delete(SOLO, "key_op", "asked for"))
    await asyncio.wait({deleting}, timeout=0.3)
    going.set()
    await placing
    with pytest.raises(Conflict) as refused:
        await deleting
    assert refused.value.code == "legal_hold"
    assert (await house.lifecycle.get(SOLO)).status is TenantStatus.ACTIVE


async def test_an_interrupted_deletion_is_taken_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between the two databases that a silo's end is written in; then another tenant can have it."""
    house = House(database)
    await house.made("solo", Tier.SILO)
    await house.lifecycle.delete(SOLO, "key_op", "asked for")
    house.now += LINGER

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SqlPlaces, "_empty_database", killed)
        with pytest.raises(KeyboardInterrupt):
            await house.lifecycle.pass_once()
    assert (await house.lifecycle.get(SOLO)).tier is Tier.POOL
    with pytest.raises(Conflict):
        await house.made("second", Tier.SILO)
    assert await house.lifecycle.pass_once() == 1
    left = await house.lifecycle.get(SOLO)
    assert (left.place, left.erase_at) == ("", None)
    assert (await house.made("second", Tier.SILO)).place == "own"
    async with database.reading(PlatformScope("test"), Place(database="own")) as connection:
        for table in metadata.sorted_tables:
            assert "solo" not in str((await connection.execute(select(table))).all())
    assert await house.stores.journal.page(SOLO, -1, 99)


async def test_a_schema_in_other_hands_says_what_to_do(
    database: Database, upgraded_postgres_url: str, postgres_server: Any
) -> None:
    """The worker's login may be another than the one that made the schema."""
    house = House(database)
    await house.made("solo", Tier.BRIDGE)
    await house.lifecycle.delete(SOLO, "key_op", "asked for")
    login = f"worker_of_{upgraded_postgres_url.rpartition('/')[2]}"
    postgres_server.run(f"CREATE ROLE {login} LOGIN; GRANT caio_app, caio_platform TO {login}")
    opened = await Database.open(upgraded_postgres_url.replace("caio@", f"{login}@"))
    try:
        worker = House(opened)
        worker.now += LINGER
        with pytest.raises(Misconfigured, match="OWNER TO"):
            await worker.lifecycle.delete_due(SOLO)
        assert await worker.lifecycle.pass_once() == 0
    finally:
        await opened.close()
        postgres_server.run(f"DROP ROLE {login}")


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
async def test_a_tenant_in_its_own_place_lives_and_ends(database: Database, tier: Tier) -> None:
    house = House(database)
    stores, lifecycle = house.stores, house.lifecycle
    made = await house.made("solo", tier)
    assert (made.tier, made.created_at) == (tier, NOW)
    with pytest.raises(Conflict):
        await lifecycle.create(SOLO, "key_op", replace(tenant_named("solo"), tier=tier))
    changed = await lifecycle.change(SOLO, "key_op", TenantChange(name="Volcano Ltd"), 1)
    assert await lifecycle.get(SOLO) == changed
    document = Publication("lair", "1.0.0", "digest", {"owner": "Volcano"}, 1)
    await stores.contracts.publish_first(SOLO, document, 9, act_leaf(SOLO))
    assert (await lifecycle.counts(SOLO)).services == 1

    placed = hold(reason="a lawsuit")
    await stores.custody.place(SOLO, placed, act_leaf(SOLO, "hold.placed"))
    with pytest.raises(Conflict) as refused:
        await lifecycle.delete(SOLO, "key_op", "asked for")
    assert refused.value.code == "legal_hold"
    assert (await lifecycle.get(SOLO)).status is TenantStatus.ACTIVE
    await stores.custody.release(SOLO, placed.hold_id, 2, "key_1", act_leaf(SOLO, "hold.released"))

    assert (await lifecycle.delete(SOLO, "key_op", "asked for")).status is TenantStatus.DELETED
    house.now += LINGER
    assert await lifecycle.pass_once() == 1
    left = await lifecycle.get(SOLO)
    assert (left.status, left.tier, left.erase_at) == (TenantStatus.DELETED, Tier.POOL, None)
    assert await lifecycle.due_for_deletion() == []
    leaves = [stored.leaf for stored in await stores.journal.page(SOLO, -1, 99)]
    assert [leaf.kind for leaf in leaves[-2:]] == [LeafKind.TENANT, LeafKind.ERASURE]
    assert {leaf.sealed for leaf in leaves} == {b""}
    assert await holding(database, "Volcano") == []


async def holding(database: Database, words: str) -> list[str]:
    """The tables that hold ``words``, wherever there still are tables."""
    found = []
    for place in await database.places():
        async with database.reading(PlatformScope("test"), place) as connection:
            for table in metadata.sorted_tables:
                rows = (await connection.execute(select(table))).all()
                found += [table.name for row in rows if words in str(tuple(row))]
    return found


async def test_a_tenant_whose_place_cannot_be_made_is_not_there(database: Database) -> None:
    lifecycle = House(database).lifecycle
    await lifecycle.create(SOLO, "key_op", replace(tenant_named("solo"), tier=Tier.SILO))
    second: Tenant = replace(tenant_named("second"), tier=Tier.SILO)
    with pytest.raises(Conflict) as refused:
        await lifecycle.create(TenantScope("second"), "key_op", second)
    assert refused.value.code == "place_taken"
    assert await lifecycle.page(None, "", 9) == [await lifecycle.get(SOLO)]
