"""The databases that every storage adapter is held to: SQLite in a file, and a real PostgreSQL.

Migrating takes longer than most tests, so it is done once: each test gets a copy of a migrated SQLite
file, or the one migrated PostgreSQL database with every row of the test before deleted.
"""

import asyncio
import inspect
import shutil
from dataclasses import replace

import asyncpg
import pytest

from caio.foundation.scope import TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.places import DIRECTORY, schema_of
from caio.storage.sql.placing import SqlPlaces
from caio.storage.sql.tables import metadata
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.ports import Tier
from tests.support.admissions import Opening, memory_box
from tests.support.redis_admissions import redis_boxes
from tests.support.tenants import add_bare_tenants, tenant_named

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")

#: Where the two tenants may have their rows but in shared tables.
TIERS = ("bridge", "silo")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "caio.db"
    asyncio.run(_prepare(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_server(_postgres):
    """The server behind ``postgres_url``: ``run`` is for statements that need its superuser."""
    return _postgres


@pytest.fixture(scope="session")
def migrated_server(postgres_server):
    postgres_server.run("CREATE DATABASE conformance OWNER caio")
    url = f"postgresql://caio@127.0.0.1:{postgres_server.port}/conformance"
    asyncio.run(_prepare(url))
    return url


async def _prepare(url):
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    await _add_tenants(database)
    await database.close()


async def _add_tenants(database, tier=Tier.POOL):
    for scope in (ACME, RIVAL):
        tenant = replace(tenant_named(scope.tenant_id), tier=tier)
        if tier is Tier.BRIDGE:
            tenant = replace(tenant, place=schema_of(tenant.tenant_id))
        elif tier is Tier.SILO:
            tenant = replace(tenant, place=tenant.tenant_id)
        await add_bare_tenants(database, tenant)


@pytest.fixture(scope="session")
def bridge_server(postgres_server):
    return _server_with_places(postgres_server, Tier.BRIDGE)


@pytest.fixture(scope="session")
def silo_server(postgres_server):
    for scope in (ACME, RIVAL):
        postgres_server.run(f"CREATE DATABASE silo_{scope.tenant_id} OWNER caio")
    return _server_with_places(postgres_server, Tier.SILO)


def _server_with_places(postgres_server, tier):
    postgres_server.run(f"CREATE DATABASE conformance_{tier} OWNER caio")
    url = f"postgresql://caio@127.0.0.1:{postgres_server.port}/conformance_{tier}"
    upgrade(url)

    async def prepare():
        database = await Database.open(url, _silos_beside(url))
        for scope in (ACME, RIVAL):
            wanted = replace(tenant_named(scope.tenant_id), tier=tier)
            await SqlPlaces(database).prepare_place(
                replace(wanted, place="" if tier is Tier.BRIDGE else scope.tenant_id)
            )
        await _add_tenants(database, tier)
        await database.close()

    asyncio.run(prepare())
    return url


def _silos_beside(url):
    """The databases that settings would name, for the URL of a platform whose tenants have their own."""
    if not url.endswith("/conformance_silo"):
        return {}
    return {scope.tenant_id: url.replace("/conformance_silo", f"/silo_{scope.tenant_id}") for scope in (ACME, RIVAL)}


#: Run by the superuser, whom row-level security lets by; as a replica it needs no order of the tables.
_DELETE = """
SET session_replication_role = replica;
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT * FROM pg_tables WHERE tablename IN ({everywhere})
        OR (tablename IN ({directory}) AND schemaname = 'public' AND current_database() LIKE 'conformance%')
    LOOP EXECUTE format('DELETE FROM %I.%I', one.schemaname, one.tablename); END LOOP;
END $$""".format(
    everywhere=", ".join(f"'{table.name}'" for table in metadata.sorted_tables if table.name not in DIRECTORY),
    directory=", ".join(f"'{name}'" for name in DIRECTORY),
)


async def _delete_everything(url, silos):
    for each in (url, *silos.values()):
        connection = await asyncpg.connect(each.replace("caio@", "postgres@"))
        await connection.execute(_DELETE)
        await connection.close()
    database = await Database.open(url, silos)
    await _add_tenants(database, Tier(url.rpartition("_")[2]) if url.endswith(TIERS) else Tier.POOL)
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database without tables."""
    return f"sqlite:///{tmp_path / 'caio.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(params=["sqlite", "postgresql", *TIERS])
def database_url(request, tmp_path):
    """The URL of a migrated database that holds nothing but the tenants ``acme`` and ``rival``, whose rows are
    in a schema or a database of their own where the parameter says so."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "caio.db")
        yield f"sqlite:///{tmp_path / 'caio.db'}"
        return
    url = request.getfixturevalue("migrated_server" if request.param == "postgresql" else f"{request.param}_server")
    yield url
    asyncio.run(_delete_everything(url, _silos_beside(url)))


@pytest.fixture
async def stores(database_url):
    database = await Database.open(database_url, _silos_beside(database_url))
    yield open_stores(database)
    await database.close()


@pytest.fixture
def database(stores):
    """The database that ``stores`` are over."""
    return stores.tenants._database


@pytest.fixture
async def stores_of_two_processes(database_url):
    """Two sets of stores that share nothing but the database."""
    databases = [await Database.open(database_url, _silos_beside(database_url)) for _ in range(2)]
    yield [open_stores(database) for database in databases]
    for database in databases:
        await database.close()


@pytest.fixture
def acme():
    return ACME


@pytest.fixture
def rival():
    return RIVAL


@pytest.fixture(scope="session", params=["memory", "redis"])
def opening(request) -> Opening:
    """An adapter of admission: what opens one over durable records."""
    return memory_box if request.param == "memory" else redis_boxes(request.getfixturevalue("_redis"))


#: What runs with tenants in places of their own, in every run and in the long one.
IN_PLACES = {"test_journal_store.py", "test_gateway_stores.py", "test_tenant_key_store.py", "test_publications.py"}
IN_PLACES_LONG = {
    "test_acts.py",
    "test_audit_index.py",
    "test_budget_alerts.py",
    "test_custody.py",
    "test_events.py",
    "test_log_store.py",
    "test_log_restart.py",
    "test_observed_hours.py",
    "test_relay.py",
    "test_storage_measures.py",
    "test_tenancy_stores.py",
    "test_tenant_erasure.py",
    "test_usage_store.py",
}

_SHARES = "a tenant in a place of its own shares nothing"

#: Tests that speak of one database where tenants in places of their own have several, each with the reason.
NOT_IN_PLACES = {
    "test_a_step_measures_who_is_due": "whether such a tenant is due shows when its turn comes",
    "test_an_erased_tenants_log_verifies_and_nothing_opens": _SHARES,
    "test_other_tenants_see_only_what_is_shared": _SHARES,
    "test_what_stands_is_what_is_active": _SHARES,
    "test_a_publication_reads_back_as_it_was": _SHARES,
    "test_pages_are_in_the_order_of_bytes": _SHARES,
    "test_by_digest_finds_every_status_and_ones_own_first": _SHARES,
    "test_what_is_no_longer_shared_is_no_longer_seen_but_stays_evidence": _SHARES,
}


def pytest_collection_modifyitems(config, items):
    """Keep the tiers to what is declared above; a test that opens ``database_url`` itself knows no silos."""
    kept, dropped = [], []
    for item in items:
        tier = getattr(item, "callspec", None) and item.callspec.params.get("database_url")
        if tier in TIERS:
            name = item.path.name
            alone = "database_url" in inspect.signature(item.function).parameters
            if alone or item.originalname in NOT_IN_PLACES or name not in IN_PLACES | IN_PLACES_LONG:
                dropped.append(item)
                continue
            if name in IN_PLACES_LONG:
                item.add_marker(pytest.mark.long)
        kept.append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept
