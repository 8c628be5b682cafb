"""Holds, retention and erasure: what every store of them does, and the services over a real journal."""

import asyncio
import os
from dataclasses import fields, replace
from itertools import count

import pytest
from sqlalchemy import func, insert, select

from caio.audit.custody import Content, Erasure, Hold
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.ports import KeptAnswer, LeafKind
from caio.audit.query import EntryFilter
from caio.audit.record import leaf_of, open_leaf
from caio.foundation.errors import Conflict, Erased, NotFound
from caio.registry import custody as custody_module
from caio.registry.custody import Coverage, Custody
from caio.registry.expiry import DAY, Expiry
from caio.registry.ports import Publication
from caio.storage.sql import Database
from caio.storage.sql import custody as custody_sql
from caio.storage.sql.audit_index import SqlAuditIndex
from caio.storage.sql.custody import SqlCustody
from caio.storage.sql.tables import acts, decisions, holds, idempotency, journal, tenant_keys
from tests.audit_samples import NOW, decision_record, outcome_record
from tests.support.acts import act_leaf, acts_over, acts_told

_ids = count()


class Box:
    """One open database: its stores, the custody of it, and a journal to fill."""

    def __init__(self, stores, database, clock=NOW):
        self.stores, self.database = stores, database
        self.acts, self.vault = acts_over(stores, clock)
        self.store = SqlCustody(database)
        self.custody = Custody(
            self.store, self.acts, self.vault, lambda: clock, lambda prefix: f"{prefix}_{next(_ids)}"
        )
        self.expiry = Expiry(self.store, self.acts, lambda: clock, batch=2)

    async def decide(self, scope, decision_id, *, at=NOW, running=False, person="ann", service="svc", key=None):
        """A decision in the journal, with its outcome unless it is ``running``."""
        sealer = await self.vault.sealer(scope)
        tenant = {"tenant_id": scope.tenant_id, "decision_id": decision_id}
        decision = decision_record(**tenant, decided_at=at, principal_id=person, service_id=service)
        leaves = [leaf_of(decision, sealer, os.urandom(32))]
        if key is not None:
            await self.stores.idempotency.claim(scope, key, "hash", decision_id, at)
        if not running:
            leaves.append(await self.outcome(scope, decision_id, at, key))
        await self.stores.journal.append(leaves)

    async def outcome(self, scope, decision_id, at=NOW, key=None):
        kept = None if key is None else KeptAnswer(key, decision_id, b"the sealed answer")
        record = outcome_record(tenant_id=scope.tenant_id, decision_id=decision_id, finished_at=at + 1)
        return leaf_of(record, await self.vault.sealer(scope), os.urandom(32), kept)

    async def leaves(self, scope):
        return [stored.leaf for stored in await self.stores.journal.page(scope, -1, 100_000)]

    async def root(self, scope, size):
        return root_of([leaf_hash(leaf.commitment) for leaf in (await self.leaves(scope))[:size]])

    async def readable(self, scope):
        """The decisions whose leaves open, by id, each with the kinds of them."""
        sealer, found = await self.vault.sealer(scope), {}
        for stored in await self.stores.journal.page(scope, -1, 100_000):
            if stored.leaf.kind in (LeafKind.DECISION, LeafKind.OUTCOME):
                try:
                    open_leaf(stored, sealer)
                    found.setdefault(stored.leaf.subject_id, []).append(stored.leaf.kind.value)
                except Erased:
                    pass
        return found

    async def rows(self, table):
        async with self.database.reading() as connection:
            return [row._asdict() for row in await connection.execute(select(table))]

    async def plan(self, scope, *ids):
        return Erasure(await self.store.named(scope, ids))

    async def told(self, scope, action="content.erased"):
        found = await acts_told(self.stores.journal, self.vault, scope)
        return [document for document in found if document["action"] == action]


BOTH = ["decision", "outcome"]


@pytest.fixture
async def box(stores, database_url):
    database = await Database.open(database_url)
    yield Box(stores, database)
    await database.close()


def hold(**changes):
    return replace(Hold(f"hold_{next(_ids)}", "a lawsuit", "", "", None, None, NOW, "key_1"), **changes)


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


# --- retention ----------------------------------------------------------------------------------


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


# --- a whole tenant -----------------------------------------------------------------------------


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
    before, root, spent = await box.leaves(acme), await box.root(acme, size), await box.stores.journal.spent()

    assert await box.custody.erase_tenant(acme, "embedded", "the contract ended", linger=0) == size + 1

    after = await box.leaves(acme)
    assert [leaf.commitment for leaf in after[:size]] == [leaf.commitment for leaf in before]
    assert await box.root(acme, size) == root
    assert [(leaf.kind, leaf.sealed) for leaf in after[size:]] == [(LeafKind.ERASURE, b"")]
    assert {leaf.sealed for leaf in after} == {b""}
    with pytest.raises(Erased):
        await box.vault.sealer(acme)
    assert await box.stores.journal.spent() == spent
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


async def test_an_erasure_waits_for_a_hold_that_is_being_placed(stores_of_two_processes, database_url, acme):
    databases = [await Database.open(database_url) for _ in range(2)]
    keeper, eraser = [Box(*each) for each in zip(stores_of_two_processes, databases, strict=True)]
    await keeper.decide(acme, "dec_1")
    plan = await eraser.plan(acme, "dec_1")
    row = {field.name: getattr(hold(), field.name) for field in fields(Hold)}
    async with databases[0].writing() as connection:
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
        was_erased, tally = await asyncio.gather(place(decision_id, person), erasing, return_exceptions=True)
        assert was_erased is not isinstance(tally, Conflict)
        assert (await keeper.store.named(acme, [decision_id]))[0].erased is was_erased
    for database in databases:
        await database.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_erased_content_is_overwritten_in_the_file(box, acme):
    await box.decide(acme, "dec_1")
    sealed = [leaf.sealed for leaf in await box.leaves(acme)]
    await box.custody.erase_decisions(acme, "key_1", ["dec_1"], "asked to")
    async with box.database.reading() as connection:
        assert (
            await connection.execute(select(func.sum(func.length(journal.c.sealed))).where(journal.c.seq < 2))
        ).scalar() == 0
    path = box.database.address.path
    await box.database.close()
    await box.stores.journal._database.close()  # the last one to close takes the write-ahead log in
    content = path.read_bytes()
    assert all(each[-64:] not in content for each in sealed)
