"""A log that was set back and begun anew, on both databases: nothing is passed over, and it goes on."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, update

from caio.audit.acts import Acts
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.checkpoint import read_checkpoint
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.restart import LogRestarts, next_generation
from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables import journal, journal_heads, log_heads, log_tiles
from tests.support.acts import acts_over, acts_told
from tests.support.logs import KEYRING, append, origin_of, sequencer


@pytest.fixture
def anchor(tmp_path):
    return DirectoryAnchor(tmp_path / "anchors")


@asynccontextmanager
async def running(stores, anchor):
    one = sequencer(stores.log, anchor=anchor, anchor_every_seconds=0.02)
    await one.start()
    yield one
    await one.stop()


async def grown(stores, anchor, scope, *, until=None):
    """Have everything taken in, and anchored up to ``until``; the head after that."""
    async with running(stores, anchor) as one:
        await one.take_in(scope.tenant_id)
        head = await stores.log.head(scope)
        for _ in range(200):
            note = await anchor.latest(head.origin) if head else None
            if until is None or (note and read_checkpoint(note).checkpoint.size >= until):
                break
            await asyncio.sleep(0.02)
    return await stores.log.head(scope)


async def set_back(stores, scope, size):
    """What restoring a backup does: the journal ends earlier, and so does the tree."""
    database = stores.tenants._database
    async with database.writing(PlatformScope("test"), await database.place_of(scope.tenant_id)) as connection:
        for table in (log_heads, log_tiles):
            await connection.execute(delete(table).where(table.c.tenant_id == scope.tenant_id))
        await connection.execute(delete(journal).where(journal.c.tenant_id == scope.tenant_id, journal.c.seq >= size))
        await connection.execute(
            update(journal_heads).where(journal_heads.c.tenant_id == scope.tenant_id).values(next=size)
        )


def restarts(stores, anchor, acts: Acts):
    return LogRestarts(stores.log_restarts, acts, anchor, origin_of)


async def test_a_restarted_log_is_signed_again(stores, acme, anchor):
    acts, _ = acts_over(stores)
    await append(stores, "acme", 0, 300)
    await grown(stores, anchor, acme, until=300)
    await set_back(stores, acme, 270)
    assert await grown(stores, anchor, acme) is None  # nothing is signed for what was set back

    origin = await restarts(stores, anchor, acts).restart(acme, "embedded", "the disk broke")
    assert origin == "test.example/2/acme"
    head = await grown(stores, anchor, acme, until=271)
    signed = read_checkpoint(head.checkpoint)
    assert (signed.checkpoint.origin, signed.checkpoint.size) == (origin, 271)
    assert signed.signed_by(KEYRING.trusted_keys())
    leaves = await stores.journal.page(acme, -1, 1000)
    assert head.root == root_of([leaf_hash(stored.leaf.commitment) for stored in leaves])
    assert read_checkpoint(await anchor.latest("test.example/acme")).checkpoint.size == 300


async def test_generations_are_never_used_twice(stores, acme, anchor):
    acts, _ = acts_over(stores)
    await append(stores, "acme", 0, 30)
    await grown(stores, anchor, acme, until=30)
    origins = []
    for lost in (20, 10):  # the second backup is from before the first restart
        await set_back(stores, acme, lost)
        origins.append(await restarts(stores, anchor, acts).restart(acme, "embedded", "again"))
        await grown(stores, anchor, acme, until=lost + 1)
    assert origins == ["test.example/2/acme", "test.example/3/acme"]


async def test_a_restart_says_what_it_ends(stores, acme, rival, anchor):
    acts, vault = acts_over(stores)
    await append(stores, "rival", 0, 5)
    untouched = await grown(stores, anchor, rival, until=5)
    await restarts(stores, anchor, acts).restart(acme, "embedded", "moved to another region")
    (act,) = await acts_told(stores.journal, vault, acme)
    assert (act["action"], act["principal"], act["subject"]) == ("log.restarted", "embedded", "test.example/2/acme")
    assert act["details"] == {
        "reason": "moved to another region",
        "before": "test.example/acme",
        "checkpoint": "",
        "anchored": "",
    }
    head = await grown(stores, anchor, acme, until=1)
    await restarts(stores, anchor, acts).restart(acme, "embedded", "once more")
    last = (await acts_told(stores.journal, vault, acme))[-1]["details"]
    assert last["before"] == "test.example/2/acme"
    assert last["checkpoint"] == head.checkpoint
    assert read_checkpoint(last["anchored"]).checkpoint == read_checkpoint(head.checkpoint).checkpoint
    assert await stores.log.head(rival) == untouched


@pytest.mark.parametrize(
    ("origin", "following"),
    [
        ("host/acme", "host/2/acme"),
        ("host/2/acme", "host/3/acme"),
        ("host/9/acme", "host/10/acme"),
        ("host/logs/acme", "host/logs/2/acme"),
        ("10/acme", "10/2/acme"),
    ],
)
def test_a_generation_follows_another(origin, following):
    assert next_generation(origin) == following
