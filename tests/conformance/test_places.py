"""Making and giving up the places of tenants, on a real server with a schema and a database to give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import inspect, text

from caio.audit.journal import Journal
from caio.audit.ports import TENANT_DATABASE_AWAY, Leaf, LeafKind
from caio.foundation.errors import Conflict, InvalidInput, Misconfigured, NotReady
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import Database, open_stores, postgres
from caio.storage.sql.places import DIRECTORY, PLATFORM, UNSEEN, Place, place_of, schema_of
from caio.storage.sql.placing import SqlPlaces
from caio.storage.sql.tables import metadata
from caio.storage.sql.upgrade import HEAD, downgrade, upgrade
from caio.tenancy.ports import ApiKey, Tenant, Tier
from tests.support.acts import act_leaf
from tests.support.tenants import add_bare_tenants, tenant_named

SCOPE = TenantScope("solo")


@pytest.fixture
async def database(upgraded_postgres_url: str, postgres_server: Any) -> AsyncIterator[Database]:
    """A platform beside which one database is named for a tenant."""
    name = upgraded_postgres_url.rpartition("/")[2] + "_silo"
    postgres_server.run(f"CREATE DATABASE {name} OWNER caio")
    opened = await Database.open(upgraded_postgres_url, {"own": upgraded_postgres_url + "_silo"})
    yield opened
    await opened.close()
    postgres_server.run(f"DROP DATABASE {name} WITH (FORCE)")


async def created(database: Database, tier: Tier) -> Tenant:
    """The tenant ``solo`` in its place, with a leaf in its journal beside the one of its creation."""
    tenant = await SqlPlaces(database).prepare_place(replace(tenant_named(SCOPE.tenant_id), tier=tier))
    stores = open_stores(database)
    assert await stores.tenants.create(SCOPE, tenant, b"wrapped", act_leaf(SCOPE, "tenant.created"))
    assert await stores.journal.append([Leaf("solo", LeafKind.DECISION, "d", 1, bytes(32), b"")]) == [1]
    return tenant


async def leaves_at(database: Database, place: Place) -> int:
    async with database.reading(PlatformScope("test"), place) as connection:
        return int((await connection.execute(text("SELECT count(*) FROM journal"))).scalar_one())


@pytest.mark.parametrize("tier", [Tier.BRIDGE, Tier.SILO])
async def test_a_place_holds_its_tenants_rows_and_can_be_given_up(database: Database, tier: Tier) -> None:
    tenant = await created(database, tier)
    place = place_of(tenant.tier, tenant.place)
    assert place != PLATFORM
    assert await database.places() == (PLATFORM, place)
    assert (await leaves_at(database, PLATFORM), await leaves_at(database, place)) == (0, 2)

    places, stores = SqlPlaces(database), open_stores(database)
    before = await stores.journal.page(SCOPE, -1, 10)
    for _ in range(2):  # repeating it changes nothing
        await places.remove_place(tenant)
        assert await stores.journal.page(SCOPE, -1, 10) == before
        assert await stores.tenant_keys.find(SCOPE) == b"wrapped"
    assert (await stores.tenants.get(SCOPE)).tier is Tier.POOL
    assert await leaves_at(database, PLATFORM) == 2
    assert await stores.journal.append([Leaf("solo", LeafKind.OUTCOME, "d", 1, bytes(32), b"")]) == [2]
    if tier is Tier.SILO:
        async with database.as_login(place) as connection:
            for table in metadata.sorted_tables:
                count = text(f"SELECT count(*) FROM {table.name}")
                assert (await connection.execute(count)).scalar_one() == 0, table.name
    else:
        async with database.as_login() as connection:
            gone = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
            assert (await connection.execute(gone, {"name": place.schema})).scalar_one() == 0


async def test_a_tenant_that_was_never_stored_leaves_nothing(database: Database) -> None:
    places = SqlPlaces(database)
    for tier in (Tier.BRIDGE, Tier.SILO):
        await places.remove_place(await places.prepare_place(replace(tenant_named("solo"), tier=tier)))
    await places.remove_place(await places.prepare_place(replace(tenant_named("other"), tier=Tier.SILO)))
    assert await database.places() == (PLATFORM,)


async def test_who_is_late_goes_by_the_place_of_who_was_faster(database: Database) -> None:
    """Two operators create one tenant at the same time, in different places."""
    late = await SqlPlaces(database).prepare_place(replace(tenant_named(SCOPE.tenant_id), tier=Tier.BRIDGE))
    elsewhere = await Database.open(database.address.url)
    await created(elsewhere, Tier.POOL)
    await elsewhere.close()
    stores = open_stores(database)
    assert not await stores.tenants.create(SCOPE, late, b"wrapped", act_leaf(SCOPE, "tenant.created"))
    assert await database.place_of(SCOPE.tenant_id) == PLATFORM
    assert len(await stores.journal.page(SCOPE, -1, 10)) == 2


async def test_a_database_has_one_tenant(database: Database) -> None:
    await created(database, Tier.SILO)
    with pytest.raises(Conflict) as caught:
        await SqlPlaces(database).prepare_place(replace(tenant_named("other"), tier=Tier.SILO))
    assert caught.value.code == "place_taken"
    with pytest.raises(InvalidInput, match="names no such database"):
        await SqlPlaces(database).prepare_place(replace(tenant_named("other"), tier=Tier.SILO, place="else"))


async def test_a_schema_shows_the_platforms_directory_and_its_own_tables(database: Database) -> None:
    tenant = await created(database, Tier.BRIDGE)
    async with database.as_login() as connection:
        found = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names(tenant.place)))
    hidden = {UNSEEN + name for name in DIRECTORY}
    assert found == set(metadata.tables) - set(DIRECTORY) | hidden | {"alembic_version"}
    async with database.reading(SCOPE) as connection:
        whose = text("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = CAST(:name AS regclass)")
        schemas = {
            name: (await connection.execute(whose, {"name": name})).scalar_one() for name in ("tenants", "journal")
        }
    assert schemas == {"tenants": "public", "journal": tenant.place}


async def test_an_upgrade_brings_every_place_along(database: Database) -> None:
    tenant = await created(database, Tier.BRIDGE)
    await asyncio.to_thread(downgrade, database.address.url, "0005")
    query = text(f"SELECT version_num FROM {tenant.place}.alembic_version")
    async with database.as_login() as connection:
        assert (await connection.execute(query)).scalar_one() == "0005"
    await asyncio.to_thread(upgrade, database.address.url, silos={"own": database.silos["own"].url})
    async with database.as_login() as connection:
        assert (await connection.execute(query)).scalar_one() == HEAD
    assert len(await open_stores(database).journal.page(SCOPE, -1, 10)) == 2
    async with database.as_login(Place(database="own")) as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == HEAD


async def test_work_over_all_tenants_finds_those_in_places_of_their_own(database: Database) -> None:
    await created(database, Tier.BRIDGE)
    stores = open_stores(database)
    assert [each.tenant_id for each in await stores.log.behind("holder", 1, 2, 10)] == ["solo"]
    assert await stores.log.commitments([("solo", 0, 2)]) != {}


async def test_a_database_that_no_setting_names_any_more_is_the_operators_mistake(database: Database) -> None:
    await created(database, Tier.SILO)
    forgetful = await Database.open(database.address.url)
    with pytest.raises(Misconfigured, match="CAIO_SILO_DATABASES"):
        await open_stores(forgetful).journal.page(SCOPE, -1, 10)
    await forgetful.close()


async def test_a_tenants_database_that_is_away_holds_up_nobody_else(database: Database, postgres_server: Any) -> None:
    await created(database, Tier.SILO)
    await add_bare_tenants(database, tenant_named("acme"))
    name = database.silos["own"].url.rpartition("/")[2]
    postgres_server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    stores = open_stores(database)
    journal = Journal(stores.journal)
    await journal.start()
    leaves = [Leaf(each, LeafKind.DECISION, f"of {each}", 1, bytes(32), b"") for each in ("acme", "solo", "acme")]
    leaves[2] = replace(leaves[2], subject_id="another")
    done = await asyncio.gather(*map(journal.append, leaves), return_exceptions=True)
    assert [done[0], done[2]] == [0, 1]
    assert isinstance(done[1], NotReady)
    assert done[1].code == TENANT_DATABASE_AWAY
    assert not journal.failing
    await journal.stop()
    assert [each.tenant_id for each in await stores.log.behind("holder", 1, 2, 10)] == ["acme"]
    postgres_server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_a_tenants_database_that_says_nothing_holds_up_nobody_else(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even with more changes of keys than there are connections: those are opened for whoever's database it is."""
    await asyncio.to_thread(upgrade, postgres_url)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until who asked has given up
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    database = await Database.open(postgres_url, {"own": f"postgresql://caio@127.0.0.1:{port}/own"})
    await add_bare_tenants(database, replace(tenant_named("solo"), tier=Tier.SILO, place="own"))
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)
    keys = open_stores(database).api_keys
    adding = [asyncio.create_task(keys.add(SCOPE, api_key(n), act_leaf(SCOPE))) for n in range(12)]
    await asyncio.wait(adding, timeout=0.5)
    asking = asyncio.create_task(keys.locate(b"another tenant's"))
    await asyncio.wait([asking, *adding], return_when=asyncio.FIRST_COMPLETED)
    assert asking.done()
    assert not any(task.done() for task in adding)
    began = asyncio.get_running_loop().time()
    assert {type(each) for each in await asyncio.gather(*adding, return_exceptions=True)} == {NotReady}
    assert asyncio.get_running_loop().time() - began < 10  # they wait together, not one after the other
    await database.close()
    silent.close()


def api_key(number: int) -> ApiKey:
    return ApiKey(f"key_{number}", "solo", "", "caio_dev_ab", b"hash %d" % number, ("user",), "standard", 1)


async def test_on_sqlite_every_tenant_is_in_the_shared_tables(tmp_path: Any) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
    for tier in (Tier.BRIDGE, Tier.SILO):
        with pytest.raises(InvalidInput, match="on SQLite") as caught:
            await SqlPlaces(database).prepare_place(replace(tenant_named("solo"), tier=tier))
        assert caught.value.code == "tier_unavailable"
    await database.close()
    with pytest.raises(Misconfigured, match="need PostgreSQL"):
        await Database.open(f"sqlite:///{tmp_path / 'caio.db'}", {"own": "postgresql://caio@127.0.0.1/own"})


def test_names_of_schemas_fit_and_differ() -> None:
    long = ["a" * 62 + last for last in "bc"]
    names = [schema_of(tenant_id) for tenant_id in ("acme", *long)]
    assert names[0] == "tenant_acme"
    assert len(set(names)) == 3
    assert all(len(name) <= 63 for name in names)
