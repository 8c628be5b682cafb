"""A start that fails leaves nothing behind, so that the next one, of the same process too, can succeed."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from caio.bootstrap import open_installation
from caio.config import read_settings
from caio.foundation.errors import Misconfigured
from caio.storage.sql.upgrade import HEAD


async def start(data_dir):
    async with open_installation(read_settings(data_dir=data_dir)):
        pass


def revision(data_dir, number):
    with closing(sqlite3.connect(data_dir / "caio.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (number,))


async def test_a_database_that_cannot_be_upgraded_is_let_go(tmp_path, wait_for_async):
    """It says that it is older than it is, so what the upgrade would make is there already."""
    await start(tmp_path)
    await wait_for_async(lambda: not connections())
    revision(tmp_path, "0001")
    with pytest.raises(Misconfigured, match="could not be upgraded"):
        await start(tmp_path)
    await wait_for_async(lambda: not connections())
    assert asyncio.all_tasks() == {asyncio.current_task()}
    revision(tmp_path, HEAD)
    await start(tmp_path)


def connections():
    """The threads of open connections."""
    return [thread.name for thread in threading.enumerate() if "connection_worker" in thread.name]
