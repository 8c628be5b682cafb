"""How tenants come into being, over real SQLite stores and a real vault."""

import os
import shutil
import time
from dataclasses import replace

import pytest

from caio.audit.acts import Acts
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.errors import NotFound, NotReady
from caio.foundation.scope import TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.lifecycle import Tenants
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from tests.support.acts import acts_told

NOW = 1_700_000_000_000_000
NEW = TenantScope("new")
TENANT = Tenant("new", "Nový", TenantStatus.ACTIVE, "EUR", Quotas(services=7, budget=2**62), NOW)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("lifecycle") / "caio.db"
    upgrade(f"sqlite:///{path}")
    return path


class CountedWrapping(LocalWrapping):
    """The real wrapping; counts its keys, and can be out of reach."""

    def __init__(self):
        super().__init__(b"m" * 32, os.urandom)
        self.wrapped = 0
        self.away = False

    async def wrap(self, key, tenant_id):
        if self.away:
            raise NotReady("the key service does not answer")
        self.wrapped += 1
        return await super().wrap(key, tenant_id)


class House:
    def __init__(self, stores):
        self.stores, self.wrapping = stores, CountedWrapping()
        self.vault = TenantVault(self.wrapping, stores.tenant_keys, os.urandom, time.monotonic)
        acts = Acts(self.vault, lambda: NOW, lambda prefix: f"{prefix}_{os.urandom(8).hex()}", os.urandom)
        self.tenants = Tenants(stores.tenants, self.wrapping, acts, os.urandom)

    async def told(self):
        return await acts_told(self.stores.journal, self.vault, NEW)


@pytest.fixture
async def house(migrated, tmp_path):
    shutil.copy(migrated, tmp_path / "caio.db")
    database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
    yield House(open_stores(database))
    await database.close()


async def test_a_tenant_begins_with_its_key_and_its_leaf(house):
    assert await house.tenants.create(NEW, "key_1", TENANT)
    assert await house.stores.tenants.get(NEW) == TENANT
    (act,) = await house.told()  # the vault opens it with the key that was stored
    assert house.wrapping.wrapped == 1
    assert (act["at"], act["kind"], act["action"], act["principal"]) == (NOW, "tenant", "tenant.created", "key_1")
    assert (act["tenant"], act["subject"]) == ("new", "new")
    assert act["details"] == {
        "name": "Nový",
        "status": "active",
        "currency": "EUR",
        "plan": "standard",
        "tier": "pool",
        "outage": "closed",
        "quotas": {
            "services": 7,
            "per_minute": 1_000,
            "per_hour": 10_000,
            "per_day": 100_000,
            "budget": "4611686018.427387904",
            "budget_period": "total",
            "alerts": [50, 80, 100],
            "storage_bytes": 10 * 1024**3,
            "limits": {},
        },
    }


async def test_a_tenant_whose_key_cannot_be_wrapped_is_not_created(house):
    house.wrapping.away = True
    with pytest.raises(NotReady):
        await house.tenants.create(NEW, "key_1", TENANT)
    with pytest.raises(NotFound):
        await house.stores.tenants.get(NEW)
    assert await house.stores.journal.page(NEW, -1, 9) == []


async def test_a_taken_id_changes_nothing(house):
    await house.tenants.create(NEW, "key_1", TENANT)
    before = await house.stores.tenant_keys.find(NEW)
    assert not await house.tenants.create(NEW, "key_2", replace(TENANT, name="Impostor"))
    assert await house.stores.tenants.get(NEW) == TENANT
    assert await house.stores.tenant_keys.find(NEW) == before
    assert house.wrapping.wrapped == 1
    assert len(await house.told()) == 1


async def test_a_tenant_without_a_budget_says_so(house):
    await house.tenants.create(NEW, "key_1", replace(TENANT, quotas=Quotas()))
    assert (await house.told())[0]["details"]["quotas"]["budget"] is None


async def test_a_tenant_is_created_in_its_own_scope(house):
    with pytest.raises(ValueError, match="own scope"):
        await house.tenants.create(TenantScope("other"), "key_1", TENANT)
