"""Retention: what is older than a tenant keeps goes, by itself, and nothing else."""

import asyncio
from types import SimpleNamespace

import pytest

from caio.registry import expiry
from caio.registry.custody import Coverage
from caio.registry.expiry import DAY
from caio.storage.sql import Database
from caio.storage.sql.custody import SqlCustody
from tests.audit_samples import NOW
from tests.support.custody import BOTH, Box


@pytest.fixture
async def box(stores, database_url):
    database = await Database.open(database_url)
    yield Box(stores, database)
    await database.close()


async def test_retention_is_kept_told_and_the_tenants_own(box, acme, rival):
    assert (await box.custody.retention(acme)).days is None
    for days in (30, 30, 7, None):
        assert (await box.custody.keep(acme, "key_1", days)).days == days
    assert [document["details"] for document in await box.told(acme, "retention.changed")] == [
        {"days": 30}, {"days": 7}, {"days": None},
    ]  # fmt: skip
    assert (await box.custody.retention(rival)).days is None
    assert await box.store.retained() == []


async def test_what_is_older_goes(box, acme, rival):
    for scope in (acme, rival):
        for age in range(6):
            await box.decide(scope, f"dec_{age}", at=NOW - age * DAY)
    await box.decide(acme, "dec_old_but_running", at=NOW - 9 * DAY, running=True)
    await box.custody.keep(acme, "key_1", 2)
    assert await box.expiry.pass_once(NOW) == 3  # of exactly two days is not older
    expected = {f"dec_{age}": BOTH for age in range(3)}
    assert await box.readable(acme) == expected | {"dec_old_but_running": ["decision"]}
    assert len(await box.readable(rival)) == 6
    documents = await box.told(acme)
    assert {(document["principal"], document["subject"]) for document in documents} == {("system", "retention")}
    assert sum(document["details"]["decisions"] for document in documents) == 3
    assert (await box.custody.retention(acme)).erased_before == NOW - 9 * DAY
    await box.stores.journal.append([await box.outcome(acme, "dec_old_but_running", NOW - 9 * DAY)])
    assert await box.expiry.pass_once(NOW) == 1
    assert (await box.custody.retention(acme)).erased_before == NOW - 2 * DAY
    assert await box.expiry.pass_once(NOW) == 0


async def test_a_released_hold_is_caught_up_with(box, acme):
    for age in range(3, 8):
        await box.decide(acme, f"dec_{age}", at=NOW - age * DAY, person="bob" if age == 5 else "ann")
    placed = await box.custody.place(acme, "key_1", "a lawsuit", Coverage(principal_id="bob"))
    await box.custody.keep(acme, "key_1", 1)
    assert await box.expiry.pass_once(NOW) == 4
    assert await box.readable(acme) == {"dec_5": BOTH}
    passing = await box.custody.retention(acme)
    await box.custody.release(acme, "key_1", placed.hold_id)
    await box.store.passed(acme, passing, NOW)  # a pass that began before the release comes to its end
    assert (await box.custody.retention(acme)).erased_before == 0
    assert await box.expiry.pass_once(NOW) == 1


async def test_keeping_for_good_stops_a_pass(box, acme, monkeypatch):
    for age in range(3, 9):
        await box.decide(acme, f"dec_{age}", at=NOW - age * DAY)
    await box.custody.keep(acme, "key_1", 1)
    erase = SqlCustody.erase

    async def erase_after_a_change(store, scope, erasure, leaf):
        if (await store.retention(scope)).days is not None:
            await box.custody.keep(scope, "key_1", None)
        return await erase(store, scope, erasure, leaf)

    monkeypatch.setattr(SqlCustody, "erase", erase_after_a_change)
    assert await box.expiry.pass_once(NOW) == 0
    assert len(await box.readable(acme)) == 6


async def test_one_tenants_trouble_stays_its_own(box, acme, rival):
    for scope in (acme, rival):
        await box.decide(scope, "dec_1", at=NOW - 3 * DAY)
        await box.custody.keep(scope, "key_1", 1)
    await box.vault.destroy(acme, NOW)
    assert await box.expiry.pass_once(NOW) == 1
    assert await box.readable(rival) == {}


async def test_a_start_leaves_time_for_holds(box, acme, monkeypatch):
    await box.decide(acme, "dec_1", at=NOW - 3 * DAY)
    await box.custody.keep(acme, "key_1", 1)
    waits = []

    async def waited(seconds):
        waits.append((seconds, await box.readable(acme)))
        if len(waits) == 3:
            await asyncio.Event().wait()  # until it is stopped

    monkeypatch.setattr(expiry, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": waited}))
    await box.expiry.start()
    async with asyncio.timeout(5):
        while len(waits) < 3:
            await asyncio.sleep(0.01)
    await box.expiry.stop()
    assert waits[0] == (expiry.FIRST_AFTER_SECONDS, {"dec_1": BOTH})
    assert waits[-1] == (expiry.EVERY_SECONDS, {})
