"""The directory, the database and its stores; and that nobody is at work on them who must not be.

A process whose limits are in its own memory must be the only one. Those that share theirs through Redis
may be many, on one PostgreSQL database and with the same keys; they neither migrate the database nor
recover what others left, which a command and the worker do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from caio.config import Settings
from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Address, Database
from caio.storage.sql.isolation import require_isolation
from caio.storage.sql.lock import DataDirectoryLock, hold_process_lock
from caio.storage.sql.stores import Stores, open_stores
from caio.storage.sql.upgrade import has_tables, upgrade_apart


@dataclass(frozen=True, slots=True)
class Storage:
    database: Database
    stores: Stores


async def open_storage(stack: AsyncExitStack, settings: Settings) -> Storage:
    """Open what everything is kept in. Raises Misconfigured when another process has it, or when several
    processes are wanted on a database that one alone can use."""
    several = settings.several_processes
    if several and Address(settings.url).dialect != "postgresql":
        raise Misconfigured(
            "CAIO_REDIS_URL is for several processes, and those need PostgreSQL: set CAIO_DATABASE_URL to "
            "postgresql://…, or unset CAIO_REDIS_URL"
        )
    prepare_data_dir(settings.data_dir)
    stack.enter_context(alone_in(settings.data_dir, shared=several))
    database = await (_ready_database(settings) if several else open_database(settings))
    stack.push_async_callback(database.close)
    await stack.enter_async_context(alone_on(database, shared=several))
    return Storage(database, open_stores(database))


@contextmanager
def alone_in(data_dir: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the data directory, alone but for those who hold it ``shared`` too. Raises Misconfigured when another
    process is in the way."""
    lock = DataDirectoryLock.hold(data_dir, shared=shared)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def alone_on(database: Database, *, shared: bool = False) -> AsyncIterator[None]:
    """Hold a database that several data directories may name, as ``alone_in`` holds one of them."""
    if database.dialect != "postgresql":
        yield
        return
    lock = await hold_process_lock(database, shared=shared)
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
    """The database, its tables brought to this version's when it is new or older."""
    database = await Database.open(settings.url, settings.silos)
    try:
        if not await has_tables(database):
            await asyncio.to_thread(upgrade_apart, settings.url, silos=settings.silos)
        await require_isolation(database)
    except BaseException:
        await database.close()
        raise
    return database


async def _ready_database(settings: Settings) -> Database:
    """The database, whose tables must suit: of several processes none changes the tables that others use."""
    database = await Database.open(settings.url, settings.silos)
    try:
        if not await has_tables(database):
            raise Misconfigured("the database is of an older version; run: caio db upgrade", code="database_outdated")
        await require_isolation(database)
    except BaseException:
        await database.close()
        raise
    return database
