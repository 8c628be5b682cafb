"""The directory, the database and its stores; and that no second process is at work on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from caio.config import Settings
from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Database
from caio.storage.sql.lock import DataDirectoryLock, hold_single_process_lock
from caio.storage.sql.stores import Stores, open_stores
from caio.storage.sql.upgrade import is_at_head, upgrade_apart


@dataclass(frozen=True, slots=True)
class Storage:
    database: Database
    stores: Stores


async def open_storage(stack: AsyncExitStack, settings: Settings) -> Storage:
    """Open what everything is kept in. Raises Misconfigured when another process has it."""
    prepare_data_dir(settings.data_dir)
    stack.enter_context(alone_in(settings.data_dir))
    database = await open_database(settings)
    stack.push_async_callback(database.close)
    await stack.enter_async_context(alone_on(database))
    return Storage(database, open_stores(database))


@contextmanager
def alone_in(data_dir: Path) -> Iterator[None]:
    """Hold the data directory. Raises Misconfigured when another process does."""
    lock = DataDirectoryLock.hold(data_dir)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def alone_on(database: Database) -> AsyncIterator[None]:
    """Hold a database that several data directories may name. Raises Misconfigured when another process does."""
    if database.dialect != "postgresql":
        yield
        return
    lock = await hold_single_process_lock(database)
    try:
        yield
    finally:
        await lock.release()


def prepare_data_dir(data_dir: Path) -> None:
    """Create the directory and its ``keys`` for their owner alone."""
    try:
        for directory in (data_dir, data_dir / "keys"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the data directory {data_dir} cannot be created: {error.strerror}") from error


async def open_database(settings: Settings) -> Database:
    """The database, its schema brought to the head when it is new or older."""
    database = await Database.open(settings.url)
    try:
        if not await is_at_head(database):
            await asyncio.to_thread(upgrade_apart, settings.url)
    except BaseException:
        await database.close()
        raise
    return database
