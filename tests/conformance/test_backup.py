"""Backing a database up while it is in use, and bringing it back."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess

import pytest

from caio.audit.ports import Leaf, LeafKind
from caio.foundation.errors import Conflict, Misconfigured
from caio.storage.sql import Database, open_stores
from caio.storage.sql.backup import backup


def leaf(number):
    return Leaf("acme", LeafKind.DECISION, f"dec_{number}", number, bytes(32), os.urandom(2_000))


@pytest.fixture
def server_programs(postgres_server, monkeypatch):
    """Put the server's own pg_dump first; one of the distribution's may be older than the server."""
    monkeypatch.setenv("PATH", f"{postgres_server._bin}{os.pathsep}{os.environ['PATH']}")
    return postgres_server._bin


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_sqlite_backup_is_a_database_of_its_own(stores, database_url, tmp_path, acme):
    stored = [leaf(number) for number in range(200)]
    await stores.journal.append(stored)
    copy, folder = tmp_path / "caio.backup", set(tmp_path.iterdir())

    async def keep_writing():
        for number in range(1_000, 1_020):
            await stores.journal.append([leaf(number)])

    await asyncio.gather(asyncio.to_thread(backup, database_url, copy), keep_writing())
    assert set(tmp_path.iterdir()) == folder | {copy}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600

    restored = tmp_path / "restored.db"
    shutil.copy(copy, restored)
    database = await Database.open(f"sqlite:///{restored}")
    page = await open_stores(database).journal.page(acme, -1, 10_000)
    await database.close()
    assert [entry.leaf for entry in page[:200]] == stored
    assert [entry.seq for entry in page] == list(range(len(page)))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_postgresql_backup_restores(stores, database_url, postgres_url, tmp_path, server_programs, acme):
    stored = [leaf(number) for number in range(20)]
    await stores.journal.append(stored)
    destination = tmp_path / "caio.dump"
    await asyncio.to_thread(backup, database_url, destination)
    assert stat.S_IMODE(destination.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [destination]

    restore = [server_programs / "pg_restore", "--no-owner", f"--dbname={postgres_url}", destination]
    await asyncio.to_thread(subprocess.run, restore, check=True)
    database = await Database.open(postgres_url)
    page = await open_stores(database).journal.page(acme, -1, 10_000)
    await database.close()
    assert [entry.leaf for entry in page] == stored


def test_a_backup_never_replaces_a_file(tmp_path):
    database, destination = tmp_path / "caio.db", tmp_path / "precious"
    sqlite3.connect(database).close()
    destination.write_text("precious")
    with pytest.raises(Conflict, match="never replaces"):
        backup(f"sqlite:///{database}", destination)
    assert destination.read_text() == "precious"


def test_a_name_taken_meanwhile_is_not_replaced_either(tmp_path, monkeypatch):
    database, destination = tmp_path / "caio.db", tmp_path / "precious"
    sqlite3.connect(database).close()
    copy = shutil.copyfile

    def arrive_late(*_):
        copy(database, destination)
        destination.write_text("precious")

    monkeypatch.setattr("caio.storage.sql.backup._copy_sqlite", arrive_late)
    with pytest.raises(Conflict):
        backup(f"sqlite:///{database}", destination)
    assert destination.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"caio.db", "precious"}


def test_what_cannot_be_backed_up_leaves_nothing_behind(tmp_path, monkeypatch):
    with pytest.raises(Misconfigured, match="no database"):
        backup(f"sqlite:///{tmp_path / 'missing.db'}", tmp_path / "copy")
    with pytest.raises(Misconfigured, match="No such file"):
        backup(f"sqlite:///{tmp_path / 'missing.db'}", tmp_path / "nowhere" / "copy")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="needs pg_dump"):
        backup("postgresql://caio:secret@127.0.0.1:1/caio", tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_a_failed_dump_says_why_and_keeps_the_password(tmp_path, server_programs, postgres_url):
    url = postgres_url.replace("caio@", "caio:hunter2@") + "?search_path=public"  # pg_dump knows no such parameter
    with pytest.raises(Misconfigured, match="pg_dump failed") as caught:
        backup(url, tmp_path / "copy")
    assert "hunter2" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_damaged_database_gives_no_backup(tmp_path):
    path = tmp_path / "caio.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(number, "y" * 500) for number in range(200)])
    connection.commit()
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xff" * 4096)
    with pytest.raises(Misconfigured, match="damaged"):
        backup(f"sqlite:///{path}", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == [path]
