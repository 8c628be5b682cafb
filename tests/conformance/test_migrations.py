"""The tables that migrations build, and the questions a serving process asks about them."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql import Database
from caio.storage.sql import upgrade as upgrading
from caio.storage.sql.tables import metadata
from caio.storage.sql.upgrade import HEAD, configuration, current, downgrade, has_tables, upgrade, upgrade_apart


async def ask(url, question):
    database = await Database.open(url)
    async with database.as_login() as connection:
        answer = await connection.run_sync(question)
    await database.close()
    return answer


def shape(connection):
    """What Alembic's comparison leaves out: keys, collations of names aside from types."""
    inspector = inspect(connection)
    return {
        table: (
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted((key["constrained_columns"], key["referred_table"]) for key in inspector.get_foreign_keys(table)),
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


async def test_migrations_build_these_tables(empty_url, tmp_path):
    await asyncio.to_thread(upgrade, empty_url)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    assert await ask(empty_url, differences) == []
    migrated = await ask(empty_url, shape)
    await asyncio.to_thread(downgrade, empty_url, "base")
    assert await ask(empty_url, shape) == {}

    database = await Database.open(empty_url)
    async with database.as_login() as connection:
        await connection.run_sync(metadata.create_all)
    await database.close()
    assert await ask(empty_url, shape) == migrated
    assert len(migrated) == len(metadata.tables)


def test_there_is_one_head_and_the_program_knows_it():
    assert ScriptDirectory.from_config(configuration()).get_heads() == [HEAD]


def test_every_migration_says_how_long_it_locks_and_how_to_undo_it():
    for migration in ScriptDirectory.from_config(configuration()).walk_revisions():
        text = Path(migration.path).read_text()
        assert "Locks: " in text
        assert "Undo: " in text


async def test_a_database_knows_where_it_stands(empty_url):
    async def suitable():
        database = await Database.open(empty_url)
        answer = await has_tables(database)
        await database.close()
        return answer

    assert not await suitable()
    assert await asyncio.to_thread(current, empty_url) is None
    await asyncio.to_thread(upgrade, empty_url)
    assert await suitable()
    assert await asyncio.to_thread(current, empty_url) == HEAD
    await asyncio.to_thread(downgrade, empty_url, "base")
    assert not await suitable()


async def test_tables_of_a_newer_version_suit_and_stay_as_they_are(empty_url):
    await asyncio.to_thread(upgrade, empty_url)
    database = await Database.open(empty_url)
    async with database.as_login() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await asyncio.to_thread(upgrade, empty_url)
    assert await asyncio.to_thread(current, empty_url) == "9999"
    assert await has_tables(database)
    await database.close()


async def test_concurrent_upgrades_take_turns(empty_url):
    await asyncio.gather(*(asyncio.to_thread(upgrade_apart, empty_url) for _ in range(2)))
    assert await asyncio.to_thread(current, empty_url) == HEAD


async def test_an_upgrade_does_not_wait_long_for_a_table_that_is_read(postgres_url, monkeypatch):
    """Whoever comes after it waits for it: a backup would keep every server from its tables."""
    monkeypatch.setattr(upgrading, "TABLE_SECONDS", 1)
    await asyncio.to_thread(upgrade, postgres_url, "0005")
    database = await Database.open(postgres_url)
    async with database.as_login() as reading:
        await reading.exec_driver_sql("SELECT * FROM decisions")
        with pytest.raises(NotReady, match="in use for 1 s"):
            await asyncio.wait_for(asyncio.to_thread(upgrade, postgres_url), 30)
    await database.close()
    assert await asyncio.to_thread(current, postgres_url) == "0005"
    await asyncio.to_thread(upgrade, postgres_url)
    assert await asyncio.to_thread(current, postgres_url) == HEAD


async def test_threads_may_upgrade_different_databases(tmp_path):
    urls = [f"sqlite:///{tmp_path / str(number)}.db" for number in range(4)]
    await asyncio.gather(*(asyncio.to_thread(upgrade, url) for url in urls))
    assert [await asyncio.to_thread(current, url) for url in urls] == [HEAD] * 4


async def test_a_failed_upgrade_leaves_nothing_behind(empty_url):
    database = await Database.open(empty_url)
    async with database.as_login() as connection:
        await connection.exec_driver_sql("CREATE TABLE secrets (x INTEGER)")  # in the way of the last table
    await database.close()
    with pytest.raises(Exception, match="secrets"):
        await asyncio.to_thread(upgrade, empty_url)
    assert list(await ask(empty_url, shape)) == ["secrets"]


def test_a_child_process_says_why_it_could_not_upgrade():
    with pytest.raises(Misconfigured, match="must be sqlite"):
        upgrade_apart("mysql://localhost/db")


def test_the_serving_path_asks_without_alembic(tmp_path):
    script = (
        "import asyncio, sys; from caio.storage.sql import *; from caio.storage.sql.upgrade import has_tables\n"
        "async def ask():\n"
        "    database = await Database.open(sys.argv[1]); open_stores(database)\n"
        "    print(await has_tables(database), 'alembic' in sys.modules); await database.close()\n"
        "asyncio.run(ask())"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'caio.db'}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False False\n"
