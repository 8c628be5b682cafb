"""What tenants' rows take, against reading every row and counting."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from caio.audit.custody import Erasure
from caio.foundation.errors import Conflict, LimitExceeded, NotReady
from caio.foundation.scope import TenantScope
from caio.metering.ports import StorageMeasured
from caio.metering.storage_measure import EVERY, LOOK, StorageGauge, StorageMeasure
from caio.metering.usage import DAY, day_of
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables import metadata
from caio.storage.sql.usage import count_anew
from tests.audit_samples import NOW
from tests.support.acts import act_leaf
from tests.support.calls import leaves_of, random_call
from tests.support.custody import Box

ACME = "acme"
OWN = {"usage_marks", "storage_measures"}  # what measuring itself writes


class Measured:
    """An open database with a clock that the test sets, and a way to look at every row."""

    def __init__(self, stores: Stores, box: Box) -> None:
        self.stores, self.box, self.now, self.made = stores, box, NOW, 0
        self.measure = StorageMeasure(stores.storage_measures, TenantScope, lambda: self.now, batch=7)

    async def call(self, scope: TenantScope, number: int) -> None:
        rng = Random(self.made)
        calls = [random_call(rng, scope, f"dec_{self.made + each}") for each in range(number)]
        self.made += number
        await self.stores.journal.append(leaves_of(calls, await self.box.vault.sealer(scope)))

    async def truth(self, tenant_id: str) -> int:
        """Every value of every row of the tenant: texts and bytes as long as they are, all else eight bytes."""
        found = 0
        async with self.box.database.reading(TenantScope(tenant_id)) as connection:
            for table in metadata.sorted_tables:
                if table.info["tenancy"] == "tenant" and table.name not in OWN:
                    rows = await connection.execute(select(table).where(table.c.tenant_id == tenant_id))
                    found += sum(_size(value) for row in rows for value in row)
        return found


def _size(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode())
    return len(value) if isinstance(value, bytes | memoryview) else 8


@pytest.fixture
def measured(stores: Stores) -> Measured:
    return Measured(stores, Box(stores, stores.usage.database))


async def test_what_is_measured_is_what_is_there(measured: Measured, acme: TenantScope, rival: TenantScope) -> None:
    """Also after further calls, acts, secrets with letters of several bytes, and an erasure."""
    assert await measured.measure.measure(acme) == 0
    await measured.call(acme, 30)
    await measured.stores.journal.append([act_leaf(acme, subject="Übergröße")])
    await measured.stores.idempotency.claim(acme, "schlüssel-ü", "hash", "dec_1", NOW)
    before = await measured.truth(ACME)
    assert await measured.measure.measure(acme) == before > 10_000
    await measured.call(acme, 20)
    await measured.call(rival, 20)
    assert await measured.measure.measure(acme) == await measured.truth(ACME) > before
    assert await measured.measure.measure(rival) == await measured.truth("rival")

    contents = await measured.box.store.decided(acme, None, None, "key_a", 100)
    ended = [each for each in contents if not each.running and each.seqs]
    assert len(ended) > 5
    full = await measured.truth(ACME)
    assert await measured.box.store.erase(acme, Erasure(ended), act_leaf(acme, "content.erased"))
    assert await measured.measure.measure(acme) == await measured.truth(ACME) < full


async def test_an_erasure_before_the_first_measurement_counts_once(measured: Measured, acme: TenantScope) -> None:
    await measured.call(acme, 20)
    await measured.stores.storage_measures.measure_leaves(acme, 11)
    contents = [each for each in await measured.box.store.decided(acme, None, None, None, 100) if not each.running]
    assert await measured.box.store.erase(acme, Erasure(contents), act_leaf(acme, "content.erased"))
    assert await measured.measure.measure(acme) == await measured.truth(ACME)


async def test_leaves_are_added_up_once(measured: Measured, acme: TenantScope) -> None:
    await measured.call(acme, 10)
    total = 0
    while further := await measured.stores.storage_measures.measure_leaves(acme, 4):
        total += further
    assert total == len(await measured.stores.journal.page(acme, -1, 1000))
    assert await measured.stores.storage_measures.measure_leaves(acme, 4) == 0
    database = measured.box.database
    async with database.writing(acme) as connection:
        await connection.run_sync(count_anew, database, acme)
    assert await measured.stores.storage_measures.measure_leaves(acme, 1000) == total
    assert await measured.measure.measure(acme) == await measured.truth(ACME)


async def test_a_step_measures_who_is_due(measured: Measured, acme: TenantScope, rival: TenantScope) -> None:
    store = measured.stores.storage_measures
    assert await measured.measure.step() == 2  # nobody was ever measured
    assert await measured.measure.step() == 0
    await measured.call(acme, 3)
    assert await measured.measure.step() == 0  # too soon
    measured.now += EVERY
    assert list(await store.due(measured.now, EVERY)) == [ACME]
    assert await measured.measure.step() == 1
    measured.now += EVERY
    assert await measured.measure.step() == 0  # nothing has grown
    measured.now = (day_of(NOW) + 1) * DAY
    assert await measured.measure.step() == 2
    days = await store.days(acme, day_of(NOW), day_of(NOW) + 2)
    assert [day for day, _ in days] == [day_of(NOW), day_of(NOW) + 1]
    assert [each.measured_at for _, each in days] == [NOW + EVERY, measured.now]
    assert await store.days(acme, day_of(NOW) + 1, day_of(NOW) + 9) == days[1:]
    assert await store.latest(acme) == days[-1][1]


async def test_a_full_tenant_is_refused(measured: Measured, acme: TenantScope) -> None:
    gauge = StorageGauge(measured.stores.storage_measures, lambda: measured.now)
    await gauge.admit(acme, 1)  # never measured
    await measured.call(acme, 5)
    taken = await measured.measure.measure(acme)
    await gauge.admit(acme, 1)  # known until it looks again
    measured.now += LOOK
    await gauge.admit(acme, taken + 1)
    with pytest.raises(LimitExceeded) as refused:
        await gauge.admit(acme, taken)
    assert (refused.value.window, refused.value.limit, refused.value.retry_after) == ("storage", taken, 3600)
    await gauge.admit_document(acme, taken + 10, 10)
    with pytest.raises(Conflict, match="storage") as conflict:
        await gauge.admit_document(acme, taken + 10, 11)
    assert conflict.value.code == "quota_exceeded"


class Slow:
    """A store whose look-ups wait, and fail when told to."""

    def __init__(self) -> None:
        self.looks, self.waits, self.away, self.bytes = 0, asyncio.Event(), False, 7

    async def latest(self, scope: TenantScope) -> StorageMeasured:
        self.looks += 1
        await self.waits.wait()
        if self.away:
            raise NotReady("away")
        return StorageMeasured(self.bytes, 1)


async def test_what_is_known_of_tenants_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caio.metering.storage_measure.TENANTS_KEPT", 1)
    store = Slow()
    store.waits.set()
    gauge = StorageGauge(store, lambda: 0)  # type: ignore[arg-type]
    for name in ("acme", "acme", "rival", "rival", "acme"):
        assert await gauge.bytes(TenantScope(name)) == 7
    assert store.looks == 3


async def test_one_caller_looks() -> None:
    """Others neither wait nor ask; and while the database is away, what was known holds."""
    now, store, scope = 0, Slow(), TenantScope(ACME)
    gauge = StorageGauge(store, lambda: now)  # type: ignore[arg-type]
    store.waits.set()
    assert await gauge.bytes(scope) == 7
    store.waits.clear()
    now, store.bytes = LOOK, 9
    looking = asyncio.create_task(gauge.bytes(scope))
    await asyncio.sleep(0)
    assert [await gauge.bytes(scope) for _ in range(3)] == [7, 7, 7]
    assert store.looks == 2
    store.waits.set()
    assert await looking == 9
    now, store.away = 2 * LOOK, True
    assert await gauge.bytes(scope) == 9
    fresh = StorageGauge(store, lambda: now)  # type: ignore[arg-type]
    with pytest.raises(NotReady):
        await fresh.bytes(scope)
