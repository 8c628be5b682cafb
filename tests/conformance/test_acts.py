"""What every store does with the leaf of an act: it shares the fate of what was done, and the tenant's sequence."""

import asyncio
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from caio.audit.ports import Attempt, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.foundation.errors import CaioError, NotFound, PreconditionFailed
from caio.foundation.scope import PlatformScope
from caio.registry.ports import Publication
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables import acts
from caio.tenancy.ports import ApiKey
from tests.support.acts import act_leaf

NOW = 1_700_000_000_000_000
PATIENCE = 30


def publication(name="summarizer", version="1.0.0"):
    return Publication(name, version, f"digest of {name} {version}", {"id": name, "version": version}, NOW)


def api_key(key_id="key_1", tenant_id="acme"):
    return ApiKey(key_id, tenant_id, "laptop", "caio_dev_ab", f"hash of {key_id}".encode(), (), "standard", 3)


async def log(stores, scope):
    """The ids of the leaves in the tenant's journal, which must be gapless."""
    stored = await stores.journal.page(scope, -1, 100_000)
    assert [entry.seq for entry in stored] == list(range(len(stored)))
    return [entry.leaf.subject_id for entry in stored]


async def told(stores, scope):
    """The clear columns of the tenant's acts, by their id."""
    async with stores.contracts._database.reading(scope) as connection:
        rows = await connection.execute(select(acts).where(acts.c.tenant_id == scope.tenant_id))
        return {row.act_id: row for row in rows}


async def everything(stores, scope):
    """What the acts below change, as it can be read."""

    async def seen(reading):
        try:
            return await reading
        except NotFound:
            return None

    return [
        [await seen(sort.get(scope, name)) for sort in (stores.contracts, stores.policies) for name in ("held", "new")],
        list(await stores.api_keys.page(scope, "", 99)),
        [await seen(stores.secrets.sealed(scope, name)) for name in ("held", "new")],
    ]


@dataclass
class Doing:
    """A change that succeeds once ``prepared`` is there, and the same one in a form that is refused."""

    does: Any
    refused: Any


CHANGES = {
    "publish_first": Doing(
        lambda stores, scope, leaf: stores.contracts.publish_first(scope, publication("new"), 9, leaf),
        lambda stores, scope, leaf: stores.contracts.publish_first(scope, publication("new"), 1, leaf),
    ),
    "publish_next": Doing(
        lambda stores, scope, leaf: stores.policies.publish_next(scope, publication("held", "2.0.0"), 1, leaf),
        lambda stores, scope, leaf: stores.policies.publish_next(scope, publication("held", "2.0.0"), 2, leaf),
    ),
    "retire": Doing(
        lambda stores, scope, leaf: stores.contracts.retire(scope, "held", 1, 7, leaf),
        lambda stores, scope, leaf: stores.contracts.retire(scope, "held", 2, 7, leaf),
    ),
    "add a key": Doing(
        lambda stores, scope, leaf: stores.api_keys.add(scope, api_key("key_2"), leaf),
        lambda stores, scope, leaf: stores.api_keys.add(scope, replace(api_key(), key_hash=b"another"), leaf),
    ),
    "revoke": Doing(
        lambda stores, scope, leaf: stores.api_keys.revoke(scope, "key_1", 7, leaf),
        lambda stores, scope, leaf: stores.api_keys.revoke(scope, "key_9", 7, leaf),
    ),
    "store a secret": Doing(
        lambda stores, scope, leaf: stores.secrets.put(scope, "held", b"newer", 7, leaf),
        lambda stores, scope, leaf: stores.secrets.put(scope, None, b"newer", 7, leaf),
    ),
    "remove a secret": Doing(
        lambda stores, scope, leaf: stores.secrets.delete(scope, "held", leaf),
        lambda stores, scope, leaf: stores.secrets.delete(scope, "new", leaf),
    ),
}


@pytest.fixture
async def prepared(stores, acme):
    for sort in (stores.contracts, stores.policies):
        await sort.publish_first(acme, publication("held"), 9, act_leaf(acme))
    await stores.api_keys.add(acme, api_key(), act_leaf(acme))
    await stores.secrets.put(acme, "held", b"sealed", 1, act_leaf(acme))
    return stores


@pytest.mark.parametrize("doing", CHANGES.values(), ids=CHANGES)
async def test_an_act_is_written_with_what_it_did(prepared, acme, rival, doing):
    before, leaves = await everything(prepared, acme), await log(prepared, acme)
    taken = act_leaf(acme, "contract.published")
    await prepared.journal.append([taken])
    leaves.append(taken.subject_id)

    with pytest.raises(IntegrityError):  # the leaf's half fails: its id is taken
        await doing.does(prepared, acme, taken)
    assert (await everything(prepared, acme), await log(prepared, acme)) == (before, leaves)

    with pytest.raises((CaioError, IntegrityError)):  # the change's half fails
        await doing.refused(prepared, acme, act_leaf(acme))
    assert (await everything(prepared, acme), await log(prepared, acme)) == (before, leaves)

    leaf = act_leaf(acme, "contract.retired", "what it was done to")
    await doing.does(prepared, acme, leaf)
    assert await everything(prepared, acme) != before
    assert await log(prepared, acme) == [*leaves, leaf.subject_id]
    row = (await told(prepared, acme))[leaf.subject_id]
    assert (row.kind, row.action, row.subject) == ("publication", "contract.retired", "what it was done to")
    assert (row.principal_id, row.recorded_at) == ("key_1", 1)
    stored = await prepared.journal.read(acme, LeafKind.PUBLICATION, leaf.subject_id)
    assert stored.leaf == replace(leaf, projection=None)
    assert await log(prepared, rival) == []


async def test_what_changes_nothing_writes_no_leaf(prepared, acme):
    await prepared.contracts.retire(acme, "held", 1, 7, act_leaf(acme))
    await prepared.api_keys.revoke(acme, "key_1", 7, act_leaf(acme))
    leaves = await log(prepared, acme)
    await prepared.contracts.retire(acme, "held", None, 8, act_leaf(acme))
    await prepared.api_keys.revoke(acme, "key_1", 8, act_leaf(acme))
    assert await log(prepared, acme) == leaves


async def test_a_refused_publication_leaves_no_leaf(prepared, acme):
    leaves = await log(prepared, acme)
    await prepared.policies.publish_first(acme, publication("gone"), 9, act_leaf(acme))
    await prepared.policies.retire(acme, "gone", None, 7, act_leaf(acme))
    leaves = await log(prepared, acme)
    refusals = {
        "already_exists": prepared.contracts.publish_first(acme, publication("held"), 9, act_leaf(acme)),
        "quota_exceeded": prepared.contracts.publish_first(acme, publication("new"), 1, act_leaf(acme)),
        "version_exists": prepared.contracts.publish_next(acme, publication("held"), 1, act_leaf(acme)),
        "retired": prepared.policies.publish_next(acme, publication("gone", "2.0.0"), 2, act_leaf(acme)),
        "precondition_failed": prepared.contracts.retire(acme, "held", 5, 7, act_leaf(acme)),
        "not_found": prepared.contracts.retire(acme, "new", None, 7, act_leaf(acme)),
    }
    for code, call in refusals.items():
        with pytest.raises(CaioError) as caught:
            await call
        assert caught.value.code == code
    assert await log(prepared, acme) == leaves


async def test_of_concurrent_retirements_and_revocations_one_is_told(stores_of_two_processes, acme):
    stores = stores_of_two_processes[0]
    await stores.contracts.publish_first(acme, publication(), 9, act_leaf(acme))
    await stores.api_keys.add(acme, api_key(), act_leaf(acme))
    await asyncio.gather(
        *(each.contracts.retire(acme, "summarizer", None, 7, act_leaf(acme)) for each in stores_of_two_processes * 3),
        *(each.api_keys.revoke(acme, "key_1", 7, act_leaf(acme)) for each in stores_of_two_processes * 3),
    )
    assert len(await log(stores, acme)) == 4


async def test_a_leaf_of_no_act_is_refused_inside_a_transaction(stores, acme):
    decision = Leaf("acme", LeafKind.DECISION, "dec_1", NOW, bytes(32), b"sealed")
    with pytest.raises(ValueError, match="only acts"):
        async with stores.contracts._database.writing(PlatformScope("test")) as connection:
            await append_within(connection, decision)
    assert await log(stores, acme) == []


def decision(decision_id, tenant):
    row = DecisionRow(decision_id, NOW, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "user", "ab" * 32, True, 50)
    return Leaf(tenant, LeafKind.DECISION, decision_id, NOW, decision_id.encode().ljust(32), b"sealed", row)


def outcome(decision_id, tenant):
    attempt = Attempt("svc", "1.0.0", True, 4, False, ())
    row = OutcomeRow(decision_id, NOW, Status.OK, "svc", 7, 0, 0, 40, (attempt,))
    return Leaf(tenant, LeafKind.OUTCOME, decision_id, NOW, decision_id.encode().ljust(32), b"sealed", row)


async def test_acts_and_decisions_share_one_sequence(stores_of_two_processes, acme, rival):
    """Batches over both tenants, in either order, beside every kind of publication: gapless, and no deadlock."""
    numbers = count()
    written: dict[str, list[str]] = {"acme": [], "rival": []}

    def note(leaf):
        written[leaf.tenant_id].append(leaf.subject_id)
        return leaf

    async def deciding(stores, rng):
        for _ in range(12):
            tenants = rng.sample(["acme", "rival"], k=2)
            ids = [(f"dec_{next(numbers)}", tenant) for tenant in tenants for _ in range(rng.randint(1, 4))]
            await stores.journal.append([note(decision(*each)) for each in ids])
            await stores.journal.append([note(outcome(*each)) for each in reversed(ids)])

    async def publishing(stores, rng):
        for _ in range(4):
            scope, name = rng.choice([acme, rival]), f"name-{next(numbers)}"
            sort = rng.choice([stores.contracts, stores.policies])
            await sort.publish_first(scope, publication(name), 10_000, note(act_leaf(scope)))
            await sort.publish_next(scope, publication(name, "2.0.0"), 1, note(act_leaf(scope)))
            await stores.api_keys.add(scope, api_key(f"key_{name}", scope.tenant_id), note(act_leaf(scope)))
            await stores.secrets.put(scope, rng.choice(["one", "two"]), b"sealed", 1, note(act_leaf(scope)))
            await sort.retire(scope, name, 2, 7, note(act_leaf(scope)))

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(
            *(deciding(stores, Random(n)) for n, stores in enumerate(stores_of_two_processes * 2)),
            *(publishing(stores, Random(100 + n)) for n, stores in enumerate(stores_of_two_processes * 3)),
        )
    for scope in (acme, rival):
        leaves = await log(stores_of_two_processes[0], scope)
        assert sorted(leaves) == sorted(written[scope.tenant_id])
        assert len(leaves) > 50


async def test_the_log_has_the_changes_of_a_name_in_their_order(stores_of_two_processes, acme):
    first = act_leaf(acme)
    await stores_of_two_processes[0].contracts.publish_first(acme, publication(), 9, first)
    by_revision = {1: first.subject_id}

    async def publish(stores, version):
        while True:
            revision, leaf = (await stores.contracts.get(acme, "summarizer")).revision, act_leaf(acme)
            try:
                published = await stores.contracts.publish_next(acme, publication(version=version), revision, leaf)
            except PreconditionFailed:
                continue
            by_revision[published.revision] = leaf.subject_id
            return

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(publish(each, f"2.0.{n}") for n, each in enumerate(stores_of_two_processes * 4)))
    assert await log(stores_of_two_processes[0], acme) == [by_revision[revision] for revision in range(1, 10)]


async def test_the_latest_act_is_the_last_in_the_log(stores, acme, rival):
    rotations = ("key.activated", "key.rotated")
    assert await stores.journal.latest_act(acme, LeafKind.KEY, rotations) is None
    leaves = [act_leaf(acme, action, subject) for action, subject in zip(rotations, ("one", "two"), strict=True)]
    await stores.journal.append([leaves[1], decision("dec_1", "acme")])  # its id is the later one
    await stores.journal.append([leaves[0], act_leaf(acme, "key.created"), act_leaf(rival, "key.rotated")])
    assert await stores.journal.latest_act(acme, LeafKind.KEY, rotations) == leaves[0].projection
    assert await stores.journal.latest_act(acme, LeafKind.KEY, rotations[1:]) == leaves[1].projection
    assert await stores.journal.latest_act(acme, LeafKind.TENANT, rotations) is None


async def test_the_latest_act_is_not_looked_for_among_all_leaves(stores, acme):
    """Each start looks for it, and a log may hold millions of leaves."""
    database, asked = stores.contracts._database, []
    if database.dialect != "sqlite":
        pytest.skip("PostgreSQL chooses by what it has counted")
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    await stores.journal.latest_act(acme, LeafKind.KEY, ("key.rotated",))
    [(query, values)] = [each for each in asked if "FROM acts" in each[0]]
    async with database.reading(PlatformScope("test")) as connection:
        plan = [row[-1] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
    assert [step for step in plan if " journal " in step and "subject_id=?" not in step] == []
