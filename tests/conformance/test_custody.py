"""Holds, retention and erasure: what every store of them does, and the services over a real journal."""

import asyncio
from dataclasses import fields, replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from caio.audit.custody import Content, Erasure, Hold
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import PlatformScope
from caio.registry import custody as custody_module
from caio.registry.custody import Coverage
from caio.storage.sql import Database
from caio.storage.sql import custody as custody_sql
from caio.storage.sql.tables import decisions, holds, idempotency, journal
from tests.audit_samples import NOW
from tests.support.acts import act_leaf
from tests.support.custody import BOTH, Box, hold


@pytest.fixture
def box(stores, database):
    return Box(stores, database)


# --- erasing on request -------------------------------------------------------------------------


async def test_erasing_keeps_commitments(box, acme):
    for number in range(5):
        await box.decide(acme, f"dec_{number}")
    before, root = await box.leaves(acme), await box.root(acme, 10)
    await box.custody.erase_decisions(acme, "key_1", ["dec_1", "dec_3"], "asked to")
    after = await box.leaves(acme)
    assert [replace(leaf, sealed=b"") for leaf in after[:10]] == [replace(leaf, sealed=b"") for leaf in before]
    assert await box.root(acme, 10) == root


async def test_what_is_erased_is_unreadable(box, acme, rival):
    for scope in (acme, rival):
        for number in range(3):
            await box.decide(scope, f"dec_{number}", key=f"key-{number}")
    before = {row["decision_id"]: row for row in await box.rows(decisions) if row["tenant_id"] == "acme"}
    tally = await box.custody.erase_decisions(acme, "key_1", ["dec_1", "dec_1", "dec_none"], "asked to")
    assert (tally.erased, tally.already_erased, tally.running, tally.unknown) == (1, 0, 0, 1)
    assert await box.readable(acme) == {"dec_0": BOTH, "dec_2": BOTH}
    assert await box.readable(rival) == {f"dec_{number}": BOTH for number in range(3)}
    after = {row["decision_id"]: row for row in await box.rows(decisions) if row["tenant_id"] == "acme"}
    before["dec_1"] |= {"principal_id": "", "decision_hash": ""}
    assert after == before
    kept = {(row["tenant_id"], row["decision_id"]) for row in await box.rows(idempotency)}
    assert kept == {("acme", "dec_0"), ("acme", "dec_2")} | {("rival", f"dec_{number}") for number in range(3)}
    (document,) = await box.told(acme)
    assert (document["principal"], document["subject"]) == ("key_1", "decisions")
    assert document["details"] == {"reason": "asked to", "decisions": 1, "first": 2, "last": 3, "seqs": [2, 3]}


async def test_kept_answers_are_looked_up(box):
    """And not searched for among all the tenant's, while calls wait."""
    if box.database.dialect != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how much there is")
    query = "EXPLAIN QUERY PLAN DELETE FROM idempotency WHERE tenant_id = ? AND decision_id IN (?, ?)"
    async with box.database.reading(PlatformScope("test")) as connection:
        plan = [row[-1] for row in await connection.exec_driver_sql(query, ("acme", "dec_1", "dec_2"))]
    assert len(plan) == 1
    assert "ix_idempotency_tenant_id_decision_id (tenant_id=? AND decision_id=?)" in plan[0]


async def test_erasing_again_changes_nothing(box, acme):
    await box.decide(acme, "dec_1")
    assert (await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")).erased == 1
    before = await box.leaves(acme)
    tally = await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")
    assert (tally.erased, tally.already_erased) == (0, 1)
    assert await box.leaves(acme) == before


async def test_a_principals_decisions_go_in_batches(box, acme, monkeypatch):
    monkeypatch.setattr(custody_module, "BATCH", 2)
    for number in range(5):
        await box.decide(acme, f"dec_{number}", at=NOW + number)
    await box.decide(acme, "dec_b", person="bob")
    assert (await box.custody.erase_principal(acme, "key_1", "ann", "asked to")).erased == 5
    assert await box.readable(acme) == {"dec_b": BOTH}
    assert [len(document["details"]["seqs"]) for document in await box.told(acme)] == [4, 4, 2]


async def test_a_running_decision_is_left_until_it_has_ended(box, acme):
    await box.decide(acme, "dec_1", running=True)
    tally = await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")
    assert (tally.erased, tally.running) == (0, 1)
    await box.stores.journal.append([await box.outcome(acme, "dec_1")])
    assert (await box.custody.erase_principal(acme, "key_1", "ann", "asked to")).erased == 1
    assert await box.readable(acme) == {}


async def test_an_outcome_after_an_erasure_is_written_and_goes_with_the_next(box, acme):
    await box.decide(acme, "dec_1", running=True)
    running = await box.store.named(acme, ["dec_1"])
    assert await box.store.erase(acme, Erasure(running), act_leaf(acme, "content.erased"))  # the service would not
    await box.stores.journal.append([await box.outcome(acme, "dec_1")])
    assert await box.readable(acme) == {"dec_1": ["outcome"]}
    assert (await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")).erased == 1
    assert await box.readable(acme) == {}


async def test_a_plan_that_is_overtaken_writes_nothing(box, acme):
    await box.decide(acme, "dec_1")
    await box.decide(acme, "dec_2", running=True)
    plan = await box.plan(acme, "dec_1", "dec_2")
    await box.stores.journal.append([await box.outcome(acme, "dec_2")])
    before = await box.leaves(acme)
    assert not await box.store.erase(acme, plan, act_leaf(acme, "content.erased"))
    fresh = await box.plan(acme, "dec_1", "dec_2")
    assert not await box.store.erase(acme, replace(fresh, under_days=30), act_leaf(acme, "content.erased"))
    assert await box.leaves(acme) == before
    assert await box.store.erase(acme, fresh, act_leaf(acme, "content.erased"))
    assert not await box.store.erase(acme, fresh, act_leaf(acme, "content.erased"))


async def test_concurrent_erasures_erase_each_decision_once(stores_of_two_processes, database_url, acme):
    databases = [await Database.open(database_url) for _ in range(2)]
    boxes = [Box(stores, database) for stores, database in zip(stores_of_two_processes, databases, strict=True)]
    ids = [f"dec_{number}" for number in range(6)]
    for decision_id in ids:
        await boxes[0].decide(acme, decision_id)
    asked = [
        each.custody.erase_decisions(acme, "key_1", some, "x") for each, some in zip(boxes, (ids, ids[2:]), strict=True)
    ]
    tallies = await asyncio.gather(*asked)
    assert sum(tally.erased for tally in tallies) == 6
    assert await boxes[0].readable(acme) == {}
    erased = [seq for document in await boxes[0].told(acme) for seq in document["details"]["seqs"]]
    assert sorted(erased) == list(range(12))
    for database in databases:
        await database.close()


# --- holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"service_id": "svc"}, True),
        ({"service_id": "tried"}, True),
        ({"service_id": "other"}, False),
        ({"principal_id": "ann"}, True),
        ({"principal_id": "bob"}, False),
        ({"since": 5, "until": 6}, True),
        ({"since": 6}, False),
        ({"until": 5}, False),
        ({"service_id": "svc", "principal_id": "bob"}, False),
    ],
)
def test_a_hold_covers_what_all_its_parts_match(changes, covered):
    content = Content("dec_1", 5, "ann", frozenset({"svc", "tried"}), (0, 1), False)
    assert hold(**changes).covers(content) is covered


async def test_holds_block(box, acme):
    await box.decide(acme, "dec_1")
    await box.decide(acme, "dec_2", person="bob")
    plan = await box.plan(acme, "dec_1", "dec_2")
    placed = await box.custody.place(acme, "key_1", "a lawsuit", Coverage(principal_id="bob"))
    before = await box.leaves(acme)
    assert not await box.store.erase(acme, plan, act_leaf(acme, "content.erased"))  # placed in between
    for erasing in (
        box.custody.erase_decisions(acme, "key_1", ["dec_1", "dec_2"], "asked to"),
        box.custody.erase_principal(acme, "key_1", "bob", "asked to"),
        box.custody.erase_tenant(acme, "key_1", "asked to"),
    ):
        with pytest.raises(Conflict) as caught:
            await erasing
        assert caught.value.code == "legal_hold"
    assert await box.leaves(acme) == before
    assert (await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")).erased == 1
    await box.custody.release(acme, "key_2", placed.hold_id)
    assert (await box.custody.erase_principal(acme, "key_1", "bob", "asked to")).erased == 1


async def test_a_hold_on_a_service_covers_whatever_called_it(box, acme):
    await box.decide(acme, "dec_1", service="svc")  # answered by answer-cloud, after answer-careful failed
    for service in ("svc", "answer-careful", "answer-cloud"):
        placed = await box.custody.place(acme, "key_1", "a lawsuit", Coverage(service_id=service))
        with pytest.raises(Conflict):
            await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")
        await box.custody.release(acme, "key_1", placed.hold_id)
    await box.custody.place(acme, "key_1", "a lawsuit", Coverage(service_id="another"))
    assert (await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")).erased == 1


async def test_holds_are_acts_listed_and_released_once(box, acme, rival):
    placed = await box.custody.place(acme, "key_1", "a lawsuit", Coverage("svc", "ann", 1, 9))
    assert await box.custody.holds(acme, None, 9) == [placed]
    assert await box.custody.holds(rival, None, 9) == []
    with pytest.raises(NotFound):
        await box.custody.release(rival, "key_1", placed.hold_id)
    released = await box.custody.release(acme, "key_2", placed.hold_id)
    assert (released.released_by, released.released_at) == ("key_2", NOW)
    assert await box.custody.release(acme, "key_3", placed.hold_id) == released
    assert await box.custody.standing(acme) == []
    assert await box.custody.holds(acme, None, 9) == [released]
    second = await box.custody.place(acme, "key_1", "a lawsuit", Coverage())
    assert await box.custody.holds(acme, None, 1) == [second]
    assert await box.custody.holds(acme, second.place, 1) == [released]
    assert await box.custody.standing(acme) == [second]
    assert [len(await box.told(acme, action)) for action in ("hold.placed", "hold.released")] == [2, 1]
    assert (await box.told(acme, "hold.placed"))[0]["details"] == {
        "reason": "a lawsuit", "service": "svc", "principal": "ann", "since": 1, "until": 9,
    }  # fmt: skip


async def test_standing_holds_are_bounded(box, acme, monkeypatch):
    monkeypatch.setattr("caio.storage.sql.custody.MAX_STANDING_HOLDS", 2)
    first, _ = [await box.custody.place(acme, "key_1", "a lawsuit", Coverage()) for _ in range(2)]
    with pytest.raises(Conflict) as caught:
        await box.custody.place(acme, "key_1", "a lawsuit", Coverage())
    assert caught.value.code == "quota_exceeded"
    await box.custody.release(acme, "key_1", first.hold_id)
    await box.custody.place(acme, "key_1", "a lawsuit", Coverage())


async def test_an_erasure_waits_for_a_hold_that_is_being_placed(stores_of_two_processes, database_url, acme):
    databases = [await Database.open(database_url) for _ in range(2)]
    keeper, eraser = [Box(*each) for each in zip(stores_of_two_processes, databases, strict=True)]
    await keeper.decide(acme, "dec_1")
    plan = await eraser.plan(acme, "dec_1")
    row = {field.name: getattr(hold(), field.name) for field in fields(Hold)}
    async with databases[0].writing(PlatformScope("test")) as connection:
        await custody_sql._lock(connection, acme)
        erasing = asyncio.create_task(eraser.store.erase(acme, plan, act_leaf(acme, "content.erased")))
        await asyncio.sleep(0.2)
        assert not erasing.done()
        await connection.execute(insert(holds).values(tenant_id="acme", **row))
    assert await erasing is False
    assert await keeper.readable(acme) == {"dec_1": BOTH}
    for database in databases:
        await database.close()


async def test_a_hold_is_there_before_an_erasure_or_after_it(stores_of_two_processes, database_url, acme):
    """Whichever comes first: nothing is erased that a hold covered when it was placed."""
    databases = [await Database.open(database_url) for _ in range(2)]
    keeper, eraser = [Box(*each) for each in zip(stores_of_two_processes, databases, strict=True)]

    async def place(decision_id, principal):
        await keeper.custody.place(acme, "key_1", "a lawsuit", Coverage(principal_id=principal))
        return (await keeper.store.named(acme, [decision_id]))[0].erased

    for number in range(6):
        decision_id, person = f"dec_{number}", f"person-{number}"
        await keeper.decide(acme, decision_id, person=person)
        erasing = eraser.custody.erase_decisions(acme, "key_1", [decision_id], "asked to")
        both: Any = await asyncio.gather(place(decision_id, person), erasing, return_exceptions=True)
        was_erased, tally = both
        assert was_erased is not isinstance(tally, Conflict)
        assert (await keeper.store.named(acme, [decision_id]))[0].erased is was_erased
    for database in databases:
        await database.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_erased_content_is_overwritten_in_the_file(box, acme):
    await box.decide(acme, "dec_1")
    sealed = [leaf.sealed for leaf in await box.leaves(acme)]
    await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")
    async with box.database.reading(PlatformScope("test")) as connection:
        assert (
            await connection.execute(select(func.sum(func.length(journal.c.sealed))).where(journal.c.seq < 2))
        ).scalar() == 0
    path = box.database.address.path
    await box.database.close()
    await box.stores.journal._database.close()  # the last one to close takes the write-ahead log in
    content = path.read_bytes()
    assert all(each[-64:] not in content for each in sealed)
