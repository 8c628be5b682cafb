"""Where the tables stand under a process that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from caio.foundation.errors import NotReady
from caio.storage.sql import Database
from caio.storage.sql.standing import BAD_SECONDS, GOOD_SECONDS, Standing
from caio.storage.sql.upgrade import HEAD, upgrade


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(upgrade, empty_url)
    opened = await Database.open(empty_url)
    yield opened
    await opened.close()


async def set_revision(database: Database, revision: str) -> None:
    """As the login that migrates, which the roles of an open database are not."""
    kind = "sqlite+aiosqlite" if database.dialect == "sqlite" else "postgresql+asyncpg"
    engine = create_async_engine(database.address.url.replace(database.dialect, kind, 1))
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    await engine.dispose()


async def test_older_tables_are_not_ready(database: Database) -> None:
    await Standing(database, Clock()).check()
    await set_revision(database, "0006")
    with pytest.raises(NotReady, match=f"stands at 0006, {HEAD} is needed; run: caio db upgrade"):
        await Standing(database, Clock()).check()


async def test_newer_tables_are_ready(database: Database) -> None:
    await set_revision(database, "9999")
    await Standing(database, Clock()).check()


async def test_an_answer_is_remembered(database: Database) -> None:
    clock = Clock()
    standing = Standing(database, clock)
    await standing.check()
    await set_revision(database, "0006")
    clock.now = GOOD_SECONDS - 0.1
    await standing.check()
    clock.now = GOOD_SECONDS
    for _ in range(2):
        with pytest.raises(NotReady):
            await standing.check()
    await set_revision(database, HEAD)
    clock.now += BAD_SECONDS - 0.1
    with pytest.raises(NotReady):
        await standing.check()
    clock.now += 0.1
    await standing.check()


def test_revisions_are_numbers_of_one_length() -> None:
    from alembic.script import ScriptDirectory

    from caio.storage.sql.upgrade import configuration

    found = [each.revision for each in ScriptDirectory.from_config(configuration()).walk_revisions()]
    assert all(len(each) == 4 and each.isdigit() for each in found)
    assert sorted(found, reverse=True) == found
