"""The databases that every storage adapter is held to: SQLite in a file, and a real PostgreSQL.

Migrating takes longer than most tests, so it is done once: each test gets a copy of a migrated SQLite
file, or the one migrated PostgreSQL database with every row of the test before deleted.
"""

import asyncio
import shutil

import pytest
from sqlalchemy import delete

from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.tables import metadata
from caio.storage.sql.upgrade import upgrade
from tests.support.admissions import Opening, memory_box
from tests.support.tenants import add_bare_tenants, tenant_named

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")


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


async def _add_tenants(database):
    await add_bare_tenants(database, *(tenant_named(scope.tenant_id) for scope in (ACME, RIVAL)))


async def _delete_everything(url):
    database = await Database.open(url)
    async with database.writing(PlatformScope("test")) as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
    await _add_tenants(database)
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database without tables."""
    return f"sqlite:///{tmp_path / 'caio.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of a migrated database that holds nothing but the tenants ``acme`` and ``rival``."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "caio.db")
        yield f"sqlite:///{tmp_path / 'caio.db'}"
    else:
        url = request.getfixturevalue("migrated_server")
        yield url
        asyncio.run(_delete_everything(url))


@pytest.fixture
async def stores(database_url):
    database = await Database.open(database_url)
    yield open_stores(database)
    await database.close()


@pytest.fixture
async def stores_of_two_processes(database_url):
    """Two sets of stores that share nothing but the database."""
    databases = [await Database.open(database_url) for _ in range(2)]
    yield [open_stores(database) for database in databases]
    for database in databases:
        await database.close()


@pytest.fixture
def acme():
    return ACME


@pytest.fixture
def rival():
    return RIVAL


@pytest.fixture(scope="session", params=["memory"])
def opening(request) -> Opening:
    """An adapter of admission: what opens one over durable records."""
    return memory_box
