"""Processes that share a database notice what the others publish: two, with views of their own, over one file."""

import asyncio

import pytest

from caio.contracts import parse_policy
from caio.foundation.errors import NotReady
from caio.foundation.scope import TenantScope
from caio.registry.ports import Publication
from caio.registry.standings import CHECK_SECONDS, LATEST_SECONDS, Standings
from caio.registry.views import Views
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from tests.support.acts import act_leaf
from tests.support.tenants import add_bare_tenants, tenant_named

POLICY = {
    "id": "rule",
    "version": 1,
    "priority": 10,
    "effect": "forbid",
    "when": "true",
    "then": "false",
    "message": "",
    "attach": "tenant",
}
ACME, RIVAL = TenantScope("acme"), TenantScope("rival")


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


class Counted:
    """A store of publications that counts how often it is asked what stands, and fails when told to."""

    def __init__(self, store):
        self.store, self.readings, self.broken = store, 0, False
        self.gate = asyncio.Event()
        self.gate.set()

    async def standing(self, scope):
        self.readings += 1
        if self.broken:
            raise NotReady("away")
        found = await self.store.standing(scope)
        await self.gate.wait()
        return found


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("standings") / "caio.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
async def stores(migrated, tmp_path):
    (tmp_path / "caio.db").write_bytes(migrated)
    database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
    await add_bare_tenants(database, tenant_named("acme"), tenant_named("rival"))
    yield open_stores(database)
    await database.close()


@pytest.fixture
def clock():
    return Clock()


class Process:
    """Another process's part: it counts how often its views were out of date."""

    def __init__(self, stores, clock):
        self.contracts = Counted(stores.contracts)
        self.changes: list[TenantScope] = []
        self.standings = Standings(self.contracts, Counted(stores.policies), self.changes.append, clock)


@pytest.fixture
def process(stores, clock):
    return Process(stores, clock)


async def publish(stores, name="echo", scope=ACME, shared=False):
    leaf = act_leaf(scope)
    document = {"service_id": name}
    await stores.contracts.publish_first(
        scope, Publication(name, "1.0.0", f"{name:_<64}", document, 1, (), shared), 10, leaf
    )


async def test_a_change_elsewhere_is_seen_in_time(stores, clock, process):
    await process.standings.check(ACME)
    assert process.changes == [ACME], "the first reading is compared with nothing"
    await publish(stores)
    clock.seconds += LATEST_SECONDS
    await process.standings.check(ACME)
    assert process.changes == [ACME, ACME]
    clock.seconds += LATEST_SECONDS
    await process.standings.check(ACME)
    assert process.changes == [ACME, ACME], "nothing changed since"


async def test_a_shared_service_of_another_tenant_is_a_change(stores, clock, process):
    await process.standings.check(ACME)
    await publish(stores, scope=RIVAL)
    clock.seconds += LATEST_SECONDS
    await process.standings.check(ACME)
    assert len(process.changes) == 1
    await publish(stores, "common", scope=RIVAL, shared=True)
    clock.seconds += LATEST_SECONDS
    await process.standings.check(ACME)
    assert len(process.changes) == 2


async def test_a_change_elsewhere_is_seen_by_an_idle_tenant(stores, clock, process):
    await process.standings.check(ACME)
    await publish(stores)
    clock.seconds += 3_600
    await process.standings.check(ACME)
    assert len(process.changes) == 2


async def test_steady_traffic_waits_for_no_reading(stores, clock, process):
    await process.standings.check(ACME)
    await publish(stores)
    process.contracts.gate.clear()
    clock.seconds += CHECK_SECONDS
    async with asyncio.timeout(1):
        for _ in range(5):
            await process.standings.check(ACME)
    assert len(process.changes) == 1
    process.contracts.gate.set()
    async with asyncio.timeout(5):
        while len(process.changes) < 2:
            await asyncio.sleep(0.01)
    assert process.contracts.readings == 2
    await process.standings.stop()


async def test_a_young_reading_is_the_present(clock, process):
    await process.standings.check(ACME)
    clock.seconds += CHECK_SECONDS - 0.01
    await process.standings.check(ACME)
    await asyncio.sleep(0)
    assert process.contracts.readings == 1


async def test_callers_share_a_reading(clock, process):
    await asyncio.gather(*(process.standings.check(ACME) for _ in range(50)))
    assert process.contracts.readings == 1


async def test_a_reading_begun_too_early_is_not_enough(stores, clock, process):
    """A slow reading may have begun before the change: who needs the change waits for the next one."""
    process.contracts.gate.clear()
    waiting = asyncio.create_task(process.standings.check(ACME))
    while not process.contracts.readings:
        await asyncio.sleep(0.001)
    await publish(stores)
    clock.seconds += LATEST_SECONDS
    late = asyncio.create_task(process.standings.check(ACME))
    process.contracts.gate.set()
    await asyncio.gather(waiting, late)
    assert process.contracts.readings == 2
    assert len(process.changes) == 2


async def test_a_failed_reading_is_repeated(clock, process):
    process.contracts.broken = True
    with pytest.raises(NotReady):
        await process.standings.check(ACME)
    process.contracts.broken = False
    await process.standings.check(ACME)
    clock.seconds += CHECK_SECONDS
    process.contracts.broken = True
    await process.standings.check(ACME)  # in the background: nobody waits, nobody is told
    clock.seconds += LATEST_SECONDS
    with pytest.raises(NotReady):
        await process.standings.check(ACME)


async def test_readings_are_kept_within_bounds(clock, process, monkeypatch):
    monkeypatch.setattr("caio.registry.standings.TENANTS_KEPT", 5)
    for number in range(6):
        await process.standings.check(TenantScope(f"t{number}"))
    readings = process.contracts.readings
    await process.standings.check(TenantScope("t0"))
    assert process.contracts.readings == readings + 1


async def test_a_view_follows_what_others_publish(stores, monkeypatch):
    monkeypatch.setattr("caio.registry.standings.CHECK_SECONDS", 0.1)
    monkeypatch.setattr("caio.registry.standings.LATEST_SECONDS", 0.1)
    alone, several = (
        Views(stores.contracts, stores.policies, stores.snapshots, alone=alone) for alone in (True, False)
    )
    before = {name: await views.current(ACME) for name, views in (("alone", alone), ("several", several))}
    leaf = act_leaf(ACME)
    policy = parse_policy(POLICY).value
    publication = Publication(policy.policy_id, str(policy.version), policy.digest, policy.document(), 1)
    await stores.policies.publish_first(ACME, publication, 10, leaf)
    await asyncio.sleep(0.1)
    assert await alone.current(ACME) is before["alone"]
    assert "rule" in (await several.current(ACME)).nameable
    await several.stop()
