"""The lifecycle of tenants over real stores, on both databases: each step once, told, and to the end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import LargeBinary, Text, select

from caio.audit.acts import Acts
from caio.audit.ports import LeafKind
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.errors import Conflict, Erased, NotFound, PreconditionFailed
from caio.foundation.ids import ulid
from caio.foundation.scope import DEFAULT_TENANT, PlatformScope, TenantScope
from caio.registry.ports import Publication
from caio.storage.sql import Database, tenant_erasure
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables import metadata
from caio.storage.sql.tables_tenancy import events
from caio.tenancy import lifecycle
from caio.tenancy.forgetting import Forgetting
from caio.tenancy.lifecycle import Lifecycle, Tenants
from caio.tenancy.ports import ApiKey, Quotas, Tenant, TenantCounts, TenantStatus
from caio.tenancy.standing import DAY, LINGER, TenantChange
from tests.support.acts import act_leaf, acts_told
from tests.support.custody import Box, hold

NOW = 1_700_000_000_000_000
NEW = TenantScope("globex")
TENANT = Tenant("globex", "Globex Rubberworks", TenantStatus.ACTIVE, "EUR", Quotas(services=7), NOW)


class Pool:
    """The ``TenantPlaces`` of tenants in the shared tables; remembers who gave a place up."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def prepare_place(self, tenant: Tenant) -> Tenant:
        return tenant

    async def remove_place(self, tenant: Tenant) -> None:
        self.removed.append(tenant.tenant_id)


class House:
    """One process's lifecycle, with a clock of its own."""

    def __init__(self, stores: Stores) -> None:
        self.stores, self.now = stores, NOW
        wrapping = LocalWrapping(b"m" * 32, os.urandom)
        self.vault = TenantVault(wrapping, stores.tenant_keys, os.urandom, time.monotonic)
        self.acts = Acts(self.vault, lambda: self.now, lambda prefix: ulid(prefix, NOW, os.urandom(10)), os.urandom)
        self.forgotten: list[str] = []
        self.places = Pool()
        self.lifecycle = Lifecycle(
            Tenants(stores.tenants, wrapping, self.acts, os.urandom),
            stores.tenants,
            self.places,
            stores.custody,
            self.acts,
            lambda: self.now,
            Forgetting(here=[self.vault.forget, self.forgotten.append]),
        )

    async def told(self, scope: TenantScope = NEW) -> list[str]:
        return [act["action"] for act in await acts_told(self.stores.journal, self.vault, scope)]


@pytest.fixture
async def house(stores: Stores) -> House:
    made = House(stores)
    await made.lifecycle.create(NEW, "key_op", TENANT)
    return made


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url)
    yield opened
    await opened.close()


async def test_a_tenant_is_created_once(house: House) -> None:
    assert await house.lifecycle.get(NEW) == TENANT
    with pytest.raises(Conflict) as refused:
        await house.lifecycle.create(NEW, "key_op", replace(TENANT, name="Impostor"))
    assert refused.value.code == "already_exists"
    assert (await house.lifecycle.get(NEW)).name == TENANT.name
    assert await house.told() == ["tenant.created"]


async def test_each_step_is_told_once(house: House, stores_of_two_processes: list[Stores]) -> None:
    others = [House(stores) for stores in stores_of_two_processes]
    for action in ("suspend", "cancel", "resume"):
        arguments = {"suspend": ("unpaid",), "cancel": ("the contract ended", 30), "resume": ()}[action]
        steps = [getattr(each.lifecycle, action)(NEW, "key_op", *arguments) for each in (*others, house) * 2]
        assert len({(tenant.status, tenant.revision) for tenant in await asyncio.gather(*steps)}) == 1
    assert await house.told() == ["tenant.created", "tenant.suspended", "tenant.cancelled", "tenant.resumed"]
    assert (await house.lifecycle.get(NEW)).revision == 4


async def test_a_change_of_another_revision_is_refused(house: House, stores_of_two_processes: list[Stores]) -> None:
    others = [House(stores) for stores in stores_of_two_processes]
    changes = [
        each.lifecycle.change(NEW, "key_op", TenantChange(quotas={"services": number}), 1)
        for number, each in enumerate((*others, house))
    ]
    done = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(each, Tenant) for each in done) == 1
    assert sum(isinstance(each, PreconditionFailed) for each in done) == 2
    assert await house.told() == ["tenant.created", "tenant.changed"]
    tenant = await house.lifecycle.get(NEW)
    assert tenant.revision == 2
    with pytest.raises(PreconditionFailed):
        await house.lifecycle.change(NEW, "key_op", TenantChange(plan="large"), 1)
    same = await house.lifecycle.change(NEW, "key_op", TenantChange(name=TENANT.name), 2)
    assert same == tenant  # nothing to change, nothing to tell
    assert (await acts_told(house.stores.journal, house.vault, NEW))[-1]["details"] == {
        "quotas": {"services": tenant.quotas.services}
    }


async def test_a_change_is_forgotten_here_at_once(house: House) -> None:
    await house.lifecycle.suspend(NEW, "key_op", "unpaid")
    assert house.forgotten == ["globex"]
    await house.lifecycle.suspend(NEW, "key_op", "unpaid")
    assert house.forgotten == ["globex"]


async def test_tenants_are_listed_by_id_and_status(house: House) -> None:
    await house.lifecycle.suspend(NEW, "key_op", "unpaid")
    page = house.lifecycle.page
    assert [tenant.tenant_id for tenant in await page(None, "", 2)] == ["acme", "globex"]
    assert [tenant.tenant_id for tenant in await page(None, "globex", 2)] == ["rival"]
    assert [tenant.tenant_id for tenant in await page(TenantStatus.SUSPENDED, "", 9)] == ["globex"]
    assert await page(TenantStatus.DELETED, "", 9) == []


async def test_counts_are_of_one_tenant_and_of_what_stands(house: House, acme: TenantScope) -> None:
    for scope, names in ((NEW, ("one", "two")), (acme, ("three",))):
        for name in names:
            document = Publication(name, "1.0.0", f"{scope.tenant_id} {name}", {"id": name}, 1)
            await house.stores.contracts.publish_first(scope, document, 9, act_leaf(scope))
    await house.stores.contracts.retire(NEW, "one", None, 2, act_leaf(NEW))
    for number, ends in enumerate((None, NOW, NOW + 1)):
        key = ApiKey(f"key_{number}", "globex", "k", "p", b"%d" % number, ("user",), "standard", 1, expires_at=ends)
        await house.stores.api_keys.add(NEW, key, act_leaf(NEW))
    await house.stores.api_keys.revoke(NEW, "key_0", 2, act_leaf(NEW))
    assert await house.lifecycle.counts(NEW) == TenantCounts(services=1, policies=0, keys=1, members=0)


async def test_a_deleted_tenant_is_gone_for_good(house: House, database: Database) -> None:
    await filled(house, database)
    size = len(await house.stores.journal.page(NEW, -1, 999))
    deleted = await house.lifecycle.delete(NEW, "key_op", "asked for")
    assert (deleted.status, deleted.name, deleted.erase_at) == (TenantStatus.DELETED, "", NOW + LINGER)
    leaves = await house.stores.journal.page(NEW, -1, 999)
    assert [stored.leaf.kind for stored in leaves[size:]] == [LeafKind.TENANT, LeafKind.ERASURE]
    assert {stored.leaf.sealed for stored in leaves} == {b""}
    with pytest.raises(Erased):
        await house.vault.sealer(NEW)
    assert await house.stores.api_keys.page(NEW, "", 9) == []
    with pytest.raises(Conflict) as refused:
        await house.lifecycle.create(NEW, "key_op", TENANT)
    assert refused.value.code == "already_exists"
    for step in (house.lifecycle.resume(NEW, "key_op"), house.lifecycle.suspend(NEW, "key_op", "late")):
        with pytest.raises(Conflict) as refused:
            await step
        assert refused.value.code == "tenant_deleted"
    assert await house.lifecycle.delete(NEW, "key_op", "again") == deleted
    assert len(await house.stores.journal.page(NEW, -1, 999)) == size + 2


async def test_no_table_holds_what_a_deleted_tenant_said(house: House, database: Database) -> None:
    await filled(house, database)
    assert await holding(database, b"Rubberworks") != []  # it is really looked for
    await house.lifecycle.delete(NEW, "key_op", "asked for")
    house.now += LINGER
    assert await house.lifecycle.pass_once() == 1
    assert (await house.lifecycle.get(NEW)).erase_at is None
    assert house.places.removed == ["globex"]
    assert await house.lifecycle.due_for_deletion() == []
    for words in (b"Rubberworks", b"hank.scorpio", b"volcano", b"doomsday"):
        assert await holding(database, words) == []
    async with database.reading(PlatformScope("test")) as connection:
        left = (await connection.execute(select(events.c.type).where(events.c.tenant_id == "globex"))).scalars()
        assert list(left) == ["caio.tenant.deleted"]  # until the platform's buses have it
    if database.dialect == "sqlite":
        async with database.engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        file = database.address.path
        left_over = file.read_bytes() + file.with_name(f"{file.name}-wal").read_bytes()
        for words in (b"Rubberworks", b"hank.scorpio", b"volcano", b"doomsday"):
            assert words not in left_over


async def filled(house: House, database: Database) -> None:
    """Something of the tenant's in as many tables as its own deeds fill."""
    stores, box = house.stores, Box(house.stores, database)
    box.acts, box.vault = house.acts, house.vault
    await house.lifecycle.change(NEW, "key_op", TenantChange(name="Rubberworks of Globex"), 1)
    key = ApiKey("key_1", "globex", "hank.scorpio", "caio_p", b"hash", ("admin",), "standard", 1)
    await stores.api_keys.add(NEW, key, act_leaf(NEW, "key.created", "hank.scorpio"))
    for name, tags in (("volcano", ("doomsday",)), ("lair", ())):
        document = Publication(name, "1.0.0", f"digest of {name}", {"id": name, "owner": "hank.scorpio"}, 1, tags)
        await stores.contracts.publish_first(NEW, document, 9, act_leaf(NEW, subject=name))
    await box.decide(NEW, "dec_1", person="hank.scorpio", service="volcano", key="doomsday")
    await box.decide(NEW, "dec_2", person="hank.scorpio", service="volcano", running=True)
    await stores.snapshots.keep(NEW, "ab", b"a history of the volcano")
    await stores.secrets.put(NEW, "doomsday", b"sealed", 1, act_leaf(NEW, "secret.stored", "doomsday"))
    await stores.custody.keep(NEW, 30, act_leaf(NEW, "retention.changed", "retention"))
    released = hold(reason="hank.scorpio sued")
    await stores.custody.place(NEW, released, act_leaf(NEW, "hold.placed", released.hold_id))
    await stores.custody.release(NEW, released.hold_id, 2, "hank.scorpio", act_leaf(NEW, "hold.released"))
    await rows_of_tenancy(database)


async def rows_of_tenancy(database: Database) -> None:
    """A row in every other table of the tenant's, whose every text says who and what."""
    async with database.writing(PlatformScope("test")) as connection:
        for table in metadata.sorted_tables:
            if table.info["tenancy"] != "tenant":
                continue
            found = await connection.execute(select(table.c.tenant_id).where(table.c.tenant_id == "globex").limit(1))
            if found.first() is not None or table.name in ("log_heads", "log_tiles", "usage_marks"):
                continue
            row = {
                column.name: "volcano of hank.scorpio"
                if isinstance(column.type, Text)
                else b"doomsday"
                if isinstance(column.type, LargeBinary)
                else 1
                for column in table.columns
            }
            if "event_id" in table.c:
                row["event_id"] = (await connection.execute(select(events.c.event_id).limit(1))).scalar_one()
            await connection.execute(table.insert().values(row | {"tenant_id": "globex"}))


async def holding(database: Database, words: bytes) -> list[str]:
    """Every column of every table that holds ``words``, whatever its type."""
    found = []
    async with database.reading(PlatformScope("test")) as connection:
        for table in metadata.sorted_tables:
            for row in (await connection.execute(select(table))).mappings():
                found += [
                    f"{table.name}.{name}"
                    for name, value in row.items()
                    if words in (bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())
                ]
    return found


async def test_a_hold_stands_before_a_deletion(house: House) -> None:
    await house.stores.custody.place(NEW, hold(), act_leaf(NEW, "hold.placed"))
    with pytest.raises(Conflict) as refused:
        await house.lifecycle.delete(NEW, "key_op", "asked for")
    assert refused.value.code == "legal_hold"
    assert await house.lifecycle.get(NEW) == TENANT
    assert await house.vault.sealer(NEW)
    await house.lifecycle.cancel(NEW, "key_op", "the contract ended", 0)
    assert await house.lifecycle.pass_once() == 0  # told in the process's log, and tried again
    assert (await house.lifecycle.get(NEW)).status is TenantStatus.CANCELLED


async def test_no_tenant_holds_up_anothers_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither more held ones than a pass reads at a time, nor a fault that nobody foresaw."""
    monkeypatch.setattr(lifecycle, "DUE_AT_ONCE", 2)
    faulty = TenantScope("a-faulty")
    for name in ("a-faulty", "b-held", "c-held", "d-held"):
        scope = TenantScope(name)
        await house.lifecycle.create(scope, "key_op", replace(TENANT, tenant_id=name))
        if scope == faulty:
            await house.lifecycle.delete(scope, "key_op", "asked for")
            house.now += LINGER
        else:
            await house.stores.custody.place(scope, hold(), act_leaf(scope, "hold.placed"))
            await house.lifecycle.cancel(scope, "key_op", "the contract ended", 0)
            house.now += 1
    await house.lifecycle.cancel(NEW, "key_op", "the contract ended", 0)
    taken_away = house.places.remove_place

    async def broken(tenant: Tenant) -> None:
        if tenant.tenant_id == faulty.tenant_id:
            raise RuntimeError("must be owner of schema")
        await taken_away(tenant)

    monkeypatch.setattr(house.places, "remove_place", broken)
    assert await house.lifecycle.pass_once() == 1
    assert (await house.lifecycle.get(NEW)).status is TenantStatus.DELETED
    house.now += LINGER
    assert await house.lifecycle.pass_once() == 1
    assert (await house.lifecycle.get(NEW)).erase_at is None


async def test_what_was_cancelled_is_deleted_when_its_grace_has_passed(house: House) -> None:
    await house.lifecycle.cancel(NEW, "key_op", "the contract ended", 30)
    house.now = NOW + 30 * DAY - 1
    assert await house.lifecycle.pass_once() == 0
    house.now += 1
    assert await house.lifecycle.pass_once() == 1
    assert (await house.lifecycle.get(NEW)).status is TenantStatus.DELETED


async def test_what_was_resumed_is_not_deleted(house: House) -> None:
    await house.lifecycle.cancel(NEW, "key_op", "the contract ended", 1)
    house.now += DAY
    (due,) = await house.lifecycle.due_for_deletion()
    await house.lifecycle.resume(NEW, "key_op")
    assert (await house.lifecycle.delete_due(due)).status is TenantStatus.ACTIVE
    assert "content.erased" not in await house.told()


@pytest.mark.parametrize("where", ["_step_by_step", "_blank", "_sweep_events", "_remove_documents", "_sweep_directory"])
async def test_an_interrupted_deletion_is_taken_up(
    house: House, database: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await filled(house, database)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tenant_erasure, where, killed)
        with pytest.raises(KeyboardInterrupt):
            await house.lifecycle.delete(NEW, "key_op", "asked for")
    again = House(house.stores)  # the process starts again
    assert (await again.lifecycle.get(NEW)).status is TenantStatus.DELETED
    again.now = NOW + LINGER
    assert await again.lifecycle.pass_once() == 1
    assert await holding(database, b"volcano") == []
    assert (await again.lifecycle.get(NEW)).erase_at is None
    kinds = [stored.leaf.kind for stored in await house.stores.journal.page(NEW, -1, 999)]
    assert kinds.count(LeafKind.ERASURE) == 1


async def test_the_platforms_own_tenant_stays(house: House) -> None:
    platform = TenantScope(DEFAULT_TENANT)
    await house.lifecycle.create(platform, "system", replace(TENANT, tenant_id=DEFAULT_TENANT))
    for step in (
        house.lifecycle.suspend(platform, "key_op", "no"),
        house.lifecycle.cancel(platform, "key_op", "no", 1),
        house.lifecycle.delete(platform, "key_op", "no"),
    ):
        with pytest.raises(Conflict) as refused:
            await step
        assert refused.value.code == "platform_tenant"


async def test_nobody_changes_what_is_not_there(house: House) -> None:
    for step in (house.lifecycle.get(TenantScope("nobody")), house.lifecycle.resume(TenantScope("nobody"), "key_op")):
        with pytest.raises(NotFound):
            await step
