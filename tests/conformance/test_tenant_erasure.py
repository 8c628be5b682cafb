"""Erasing a whole tenant: nothing opens any more, the log verifies, and other tenants notice nothing."""

import asyncio

import pytest

from caio.audit.ports import LeafKind
from caio.audit.query import EntryFilter
from caio.foundation.errors import Erased, NotFound
from caio.registry.ports import Publication
from caio.storage.sql.audit_index import SqlAuditIndex
from caio.storage.sql.tables import acts, decisions, idempotency, tenant_keys
from tests.audit_samples import NOW
from tests.support.acts import act_leaf
from tests.support.custody import BOTH, Box


@pytest.fixture
def box(stores, database):
    return Box(stores, database)


async def test_an_erased_tenants_log_verifies_and_nothing_opens(box, acme, rival):
    for scope in (acme, rival):
        await box.decide(scope, "dec_1", key="once")
        await box.decide(scope, "dec_2", running=True)
        await box.stores.secrets.put(scope, "openai", b"sealed", 1, act_leaf(scope, "secret.stored", "openai"))
        await box.stores.snapshots.keep(scope, "ab", b"a history")
        for name, shared in (("own", False), ("common", True)):
            document = Publication(name, "1.0.0", f"digest of {name}", {"id": name}, 1, ("tag",), shared)
            await box.stores.contracts.publish_first(scope, document, 9, act_leaf(scope))
    size = len(await box.leaves(acme))
    before, root = await box.leaves(acme), await box.root(acme, size)
    spent = (await box.stores.admission_records.since(acme, 0, 0)).spent

    assert await box.custody.erase_tenant(acme, "embedded", "the contract ended", linger=0) == size + 1

    after = await box.leaves(acme)
    assert [leaf.commitment for leaf in after[:size]] == [leaf.commitment for leaf in before]
    assert await box.root(acme, size) == root
    assert [(leaf.kind, leaf.sealed) for leaf in after[size:]] == [(LeafKind.ERASURE, b"")]
    assert {leaf.sealed for leaf in after} == {b""}
    with pytest.raises(Erased):
        await box.vault.sealer(acme)
    assert (await box.stores.admission_records.since(acme, 0, 0)).spent == spent
    assert {row["principal_id"] for row in await box.rows(decisions) if row["tenant_id"] == "acme"} == {""}
    assert {(row["principal_id"], row["subject"]) for row in await box.rows(acts) if row["tenant_id"] == "acme"} == {
        ("", "")
    }
    assert [row["tenant_id"] for row in await box.rows(idempotency)] == ["rival"]
    assert await box.stores.secrets.names(acme) == []
    with pytest.raises(NotFound):
        await box.stores.snapshots.fetch(acme, "ab")
    names = [
        each.publication.name
        for each in (await box.stores.contracts.page(acme, after="", limit=9, tag=None, retired=True)).items
    ]
    assert names == ["common"]  # other tenants' decisions stand on it
    page = await SqlAuditIndex(box.database).entries(acme, EntryFilter(), None, 50)
    assert len(page.items) == len(after) - 1  # a decision and its outcome are one entry
    assert all(entry.erased for entry in page.items)

    assert await box.readable(rival) == {"dec_1": BOTH, "dec_2": ["decision"]}
    assert await box.stores.secrets.names(rival) == ["openai"]
    assert await box.custody.erase_tenant(acme, "embedded", "again", linger=0) == 0
    assert len(await box.leaves(acme)) == size + 1


async def test_an_interrupted_erasure_of_a_tenant_is_taken_up(box, acme):
    await box.decide(acme, "dec_1")
    assert await box.store.erase_tenant(acme, NOW, act_leaf(acme, "content.erased"))
    assert not await box.store.erase_tenant(acme, NOW, act_leaf(acme, "content.erased"))
    box.vault.forget("acme")  # the process starts again
    assert await box.custody.erase_tenant(acme, "embedded", "again", linger=0) == 3
    assert {leaf.sealed for leaf in await box.leaves(acme)} == {b""}


async def test_what_another_process_writes_with_the_key_it_still_has_is_removed_too(box, acme):
    await box.decide(acme, "dec_1")
    other = Box(box.stores, box.database)
    await other.vault.sealer(acme)
    erasing = asyncio.create_task(box.custody.erase_tenant(acme, "embedded", "the contract ended", linger=0.3))
    while (await box.rows(tenant_keys))[0]["destroyed_at"] is None:
        await asyncio.sleep(0.01)
    await other.decide(acme, "dec_2", key="late")
    assert await erasing == 5  # four of decisions, and that of the erasure
    assert {leaf.sealed for leaf in await box.leaves(acme)} == {b""}
    assert {row["principal_id"] for row in await box.rows(decisions)} == {""}
    assert await box.rows(idempotency) == []
