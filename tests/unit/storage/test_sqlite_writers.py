"""Those who write to one SQLite file from one process: whose turn it is, and what becomes of the write-ahead log."""

import asyncio
import os

import pytest
from sqlalchemy import insert, text

from caio.audit.ports import Leaf, LeafKind
from caio.foundation.errors import NotReady
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import Database, journal_sqlite, open_stores, sqlite
from caio.storage.sql.tables_tenancy import tenants
from caio.storage.sql.upgrade import upgrade

ACME = TenantScope("acme")
SEALED_BYTES = 20_000


@pytest.fixture
async def database(tmp_path):
    url = f"sqlite:///{tmp_path / 'caio.db'}"
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    row = {"tenant_id": "acme", "name": "acme", "status": "active", "currency": "USD", "created_at": 0}
    row |= dict.fromkeys(("quota_services", "quota_per_minute", "quota_per_hour", "quota_per_day"), 1)
    async with database.writing(PlatformScope("test")) as connection:
        await connection.execute(insert(tenants), row)
    yield database
    await database.close()


def leaf(number: int) -> Leaf:
    return Leaf("acme", LeafKind.ACCESS, f"act_{number:026}", 0, os.urandom(32), os.urandom(SEALED_BYTES))


async def test_writers_take_turns_in_the_order_of_asking(database):
    journal, order = open_stores(database).journal, []
    first = asyncio.Event()

    async def write(name, held=None):
        async with database.writing(ACME) as connection:
            await connection.execute(text("UPDATE tenants SET name = :name"), {"name": name})
            order.append(name)
            if held is not None:
                await held.wait()

    async def append():
        await journal.append([leaf(1)])
        order.append("append")

    writing = [asyncio.create_task(write("one", first))]
    while not order:
        await asyncio.sleep(0.001)
    for work in (append(), write("two"), database.at_once(ACME, lambda _: order.append("at once"))):
        writing.append(asyncio.create_task(work))
        while len(database.turns._lock._waiters or ()) < len(writing) - 1:
            await asyncio.sleep(0.001)
    first.set()
    await asyncio.gather(*writing)
    assert order == ["one", "append", "two", "at once"]


async def test_a_turn_is_not_waited_for_for_ever(database, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    journal = open_stores(database).journal
    async with database.turns:
        with pytest.raises(NotReady):
            await journal.append([leaf(1)])
    assert await journal.append([leaf(1)]) == [0]


async def test_who_asks_as_a_turn_passes_on_is_not_kept_for_ever_either(database, monkeypatch):
    """Nobody holds the turn at that moment, and it is somebody else's."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    released = asyncio.Event()

    async def hold():
        async with database.turns:
            await released.wait()

    async with database.turns:
        next_in_turn = asyncio.create_task(hold())
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        with pytest.raises(NotReady):
            await open_stores(database).journal.append([leaf(1)])
    released.set()
    await next_in_turn


async def test_what_fails_at_once_writes_nothing(database):
    def work(connection):
        connection.execute(text("UPDATE tenants SET name = 'other'"))
        raise ValueError("half done")

    with pytest.raises(ValueError, match="half done"):
        await database.at_once(ACME, work)
    assert (
        await database.at_once(ACME, lambda connection: connection.scalar(text("SELECT name FROM tenants"))) == "acme"
    )


async def test_the_write_ahead_log_begins_anew(database, monkeypatch):
    """However much is appended; without being told to, it would grow for as long as the process runs."""
    monkeypatch.setattr(journal_sqlite, "CHECKPOINT_BYTES", 10 * SEALED_BYTES)
    journal, log = open_stores(database).journal, database.address.path.with_name("caio.db-wal")
    for number in range(200):
        await journal.append([leaf(number)])
    assert log.stat().st_size < 60 * SEALED_BYTES
    assert [stored.seq for stored in await journal.page(ACME, -1, 1000)] == list(range(200))


async def test_a_cancelled_callers_work_is_done(database):
    done = []
    work = database.writes.run(lambda _: done.append("work"))
    work.cancel()
    await database.writes.run(lambda _: None)
    assert done == ["work"]


async def test_a_cancelled_writer_lets_go_of_the_database(database):
    async def write():
        async with database.writing(ACME) as connection:
            await connection.execute(text("UPDATE tenants SET name = 'two'"))
            await connection.execute(text("SELECT count(*) FROM tenants"))

    given_up = []  # and their errors kept, with the frames they came through
    for tried in range(80):
        writing = asyncio.create_task(write())
        await asyncio.sleep(tried % 40 / 10_000)  # wherever it is by now: while it begins, writes, or commits
        writing.cancel()
        given_up += [error for error in await asyncio.gather(writing, return_exceptions=True) if error is not None]
        async with asyncio.timeout(sqlite.BUSY_SECONDS / 2):
            await write()
    assert len(given_up) > 10
