"""A real SQLite store for the audit room: migrated once, copied for each test."""

import shutil

import pytest

from caio.storage.sql.database import Database
from caio.storage.sql.stores import open_stores
from caio.storage.sql.upgrade import upgrade
from tests.support.tenants import add_bare_tenants, tenant_named


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "caio.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
async def stores(migrated, tmp_path):
    """All stores over an own database that holds the tenants ``acme`` and ``other``."""
    shutil.copy(migrated, tmp_path / "caio.db")
    database = await Database.open(f"sqlite:///{tmp_path}/caio.db")
    stores = open_stores(database)
    await add_bare_tenants(database, tenant_named("acme"), tenant_named("other"))
    yield stores
    await database.close()
