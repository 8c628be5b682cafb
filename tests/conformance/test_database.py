"""Opening a database, losing it, and holding it against a second process."""

import asyncio
import os
import socket
import sqlite3
import stat
import subprocess
import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from caio.audit.ports import Leaf, LeafKind
from caio.foundation.errors import Misconfigured, NotReady
from caio.foundation.scope import PlatformScope
from caio.storage.sql import Database, open_stores, sqlite
from caio.storage.sql.lock import DataDirectoryLock, hold_process_lock, in_turn


async def test_a_database_answers_a_ping(empty_url):
    database = await Database.open(empty_url)
    await database.ping()
    await database.close()


async def test_what_was_written_is_not_in_an_errors_text(empty_url):
    database = await Database.open(empty_url)
    with pytest.raises(DBAPIError) as caught:
        async with database.as_login() as connection:
            await connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "the secret"})
    await database.close()
    assert "the secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "not a url", "sqlite://", "sqlite:///:memory:", "mysql://me@localhost/db", "sqlite:////nowhere/at/all.db"],
)
async def test_an_unusable_url_is_the_operators_mistake(url):
    with pytest.raises(Misconfigured):
        await Database.open(url)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear database, " * 1000)
    with pytest.raises(Misconfigured, match="not a SQLite database"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_bytes() == b"Dear database, " * 1000


async def test_a_server_that_nobody_runs_is_not_ready(free_port):
    with pytest.raises(NotReady):
        await Database.open(f"postgresql://caio@127.0.0.1:{free_port()}/caio")


async def test_an_unknown_database_is_the_operators_mistake(postgres_url):
    with pytest.raises(Misconfigured, match="does not exist"):
        await Database.open(postgres_url + "_and_more")


async def test_a_server_that_loses_acknowledged_commits_is_refused(postgres_url):
    with pytest.raises(Misconfigured, match="synchronous_commit"):
        await Database.open(f"{postgres_url}?synchronous_commit=off")


async def test_sqlite_files_are_their_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
        async with database.writing(PlatformScope("test")) as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert files == {"caio.db": 0o600, "caio.db-wal": 0o600, "caio.db-shm": 0o600}


async def test_every_sqlite_connection_waits_syncs_and_checks_references(tmp_path):
    path = tmp_path / "caio.db"
    database = await Database.open(f"sqlite:///{path}")
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    async with database.reading(PlatformScope("test")) as connection:
        found = {name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in wanted}
    await database.close()
    raw = sqlite.connect(path)
    assert found == {name: raw.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted
    raw.close()


async def test_a_writing_block_that_raises_writes_nothing(stores, database_url, acme):
    database = await Database.open(database_url)

    async def delete_and_fail():
        async with database.writing(PlatformScope("test")) as connection:
            await connection.exec_driver_sql("DELETE FROM tenants")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await delete_and_fail()
    await database.close()
    assert (await stores.tenants.get(acme)).tenant_id == "acme"


async def test_a_missing_directory_is_the_operators_mistake(tmp_path):
    with pytest.raises(Misconfigured, match="cannot be created"):
        await Database.open(f"sqlite:///{tmp_path / 'missing' / 'caio.db'}")


async def test_a_database_that_stays_locked_is_not_ready(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_SETTINGS", ("PRAGMA busy_timeout = 20", *sqlite._SETTINGS[1:]))
    path = tmp_path / "caio.db"
    database = await Database.open(f"sqlite:///{path}")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(NotReady):
        async with database.writing(PlatformScope("test")):
            pass
    with pytest.raises(NotReady):
        await open_stores(database).journal.append([Leaf("acme", LeafKind.DECISION, "d", 1, bytes(32), b"")])
    blocker.close()
    await database.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_server_that_goes_away_is_not_ready_and_its_return_is_noticed(stores, acme, postgres_server):
    leaf = Leaf("acme", LeafKind.DECISION, "d", 1, bytes(32), b"")
    await stores.journal.append([leaf])
    postgres_server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'conformance'")
    for _ in range(4):  # each pooled connection finds out once
        try:
            seqs = await stores.journal.append([Leaf("acme", LeafKind.OUTCOME, "d", 1, bytes(32), b"")])
            break
        except NotReady:
            await asyncio.sleep(0.01)
    assert seqs == [1]
    assert (await stores.tenants.get(acme)).tenant_id == "acme"


def test_a_data_directory_has_one_holder(tmp_path):
    lock = DataDirectoryLock.hold(tmp_path)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    with pytest.raises(Misconfigured, match=rf"pid {os.getpid()}\b.*PostgreSQL and Redis") as caught:
        DataDirectoryLock.hold(tmp_path)
    assert caught.value.code == "data_directory_in_use"
    lock.release()
    DataDirectoryLock.hold(tmp_path).release()
    with pytest.raises(Misconfigured, match="No such file"):
        DataDirectoryLock.hold(tmp_path / "missing")


def test_a_killed_holder_lets_go(tmp_path):
    script = (
        "import sys, time, pathlib; from caio.storage.sql.lock import DataDirectoryLock;"
        "lock = DataDirectoryLock.hold(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "held\n"
            with pytest.raises(Misconfigured, match=rf"pid {child.pid}\b"):
                DataDirectoryLock.hold(tmp_path)
        finally:
            child.kill()
    DataDirectoryLock.hold(tmp_path).release()


def test_a_shared_directory_admits_those_who_share(tmp_path):
    locks = [DataDirectoryLock.hold(tmp_path, shared=True) for _ in range(2)]
    with pytest.raises(Misconfigured, match="in use"):
        DataDirectoryLock.hold(tmp_path)
    locks[0].release()
    with pytest.raises(Misconfigured, match="in use"):
        DataDirectoryLock.hold(tmp_path)
    locks[1].release()
    lock = DataDirectoryLock.hold(tmp_path)
    with pytest.raises(Misconfigured, match="in use"):
        DataDirectoryLock.hold(tmp_path, shared=True)
    lock.release()


async def test_a_shared_database_admits_those_who_share(postgres_url):
    database = await Database.open(postgres_url)
    locks = [await hold_process_lock(database, shared=True) for _ in range(2)]
    with pytest.raises(Misconfigured, match="in use"):
        await hold_process_lock(database)
    for lock in locks:
        await lock.release()
    alone = await hold_process_lock(database)
    with pytest.raises(Misconfigured, match="in use"):
        await hold_process_lock(database, shared=True)
    await alone.release()
    await database.close()


async def test_processes_start_in_turn(postgres_url):
    databases = [await Database.open(postgres_url) for _ in range(2)]
    order = []

    async def start(database, name):
        async with in_turn(database):
            order.append(name)
            await asyncio.sleep(0.1)
            order.append(name)

    await asyncio.gather(start(databases[0], "a"), start(databases[1], "b"))
    assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"])
    for database in databases:
        await database.close()


async def test_a_postgresql_database_has_one_holder(postgres_url):
    databases = [await Database.open(postgres_url) for _ in range(2)]
    lock = await hold_process_lock(databases[0])
    with pytest.raises(Misconfigured, match=rf"pid {os.getpid()} on {socket.gethostname()}.*PostgreSQL and Redis"):
        await hold_process_lock(databases[1])
    held = lock.held
    await lock.release()
    assert (held, lock.held) == (True, False)
    await (await hold_process_lock(databases[1])).release()
    for database in databases:
        await database.close()
