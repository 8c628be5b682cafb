"""One database, opened from a URL: ``sqlite:///path`` or ``postgresql://user@host/name``.

``reading`` and ``writing`` are the control plane's transactions. On SQLite a writing transaction
takes the write lock when it begins, so that what it read is still true when it writes; on
PostgreSQL the adapters lock the rows they depend on. A block that raises has written nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from caio.foundation.errors import Misconfigured
from caio.foundation.scope import PlatformScope, Scope
from caio.storage.sql import sqlite
from caio.storage.sql.outage import outages_are_not_ready


class Address:
    """A database URL, checked: which dialect, and where."""

    def __init__(self, url: str) -> None:
        """Raises Misconfigured for anything but a SQLite file or a PostgreSQL server."""
        parsed = _parse(url)
        self.dialect = parsed.get_backend_name()
        if self.dialect == "sqlite" and parsed.database and parsed.database != ":memory:":
            self.path = Path(parsed.database)
        elif self.dialect == "postgresql":
            self.dsn = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        else:
            raise Misconfigured(
                "The database URL must be sqlite:///path/to/file or postgresql://user:password@host/name."
            )

    def engine(self) -> AsyncEngine:
        """A new engine, not connected yet; the SQLite file is created when there is none."""
        if self.dialect == "sqlite":
            sqlite.create_private(self.path)
            sqlite.use_write_ahead_log(self.path)
            return sqlite.sqlite_engine(self.path)
        engine: AsyncEngine = _postgres().postgres_engine(self.dsn)
        return engine


class Database:
    """An open database. Make one with ``open``; ``close`` it when done."""

    def __init__(self, address: Address, engine: AsyncEngine, journal_pool: Any) -> None:
        self.address = address
        self.dialect = address.dialect
        self.engine = engine
        #: The asyncpg pool of the journal; None on SQLite.
        self.journal_pool = journal_pool
        self._writer = engine.execution_options(**{sqlite.WRITES: True})
        self._closing: list[Callable[[], Awaitable[None]]] = []

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect. Raises Misconfigured for an unusable URL, file or server, NotReady when nobody answers.

        Does not check that the schema is there: see ``upgrade.is_at_head``.
        """
        address = Address(url)
        engine = address.engine()
        pool = await _postgres().journal_pool(address.dsn) if address.dialect == "postgresql" else None
        return cls(address, engine, pool)

    async def close(self) -> None:
        """Finish what is being written and let go of every connection and thread."""
        while self._closing:
            await self._closing.pop()()
        if self.journal_pool is not None:
            await self.journal_pool.close()
        await self.engine.dispose()

    def before_close(self, step: Callable[[], Awaitable[None]]) -> None:
        """Have ``close`` await ``step`` first: for adapters that own a thread or a connection."""
        self._closing.append(step)

    @asynccontextmanager
    async def reading(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Raises NotReady when the database does not answer."""
        with outages_are_not_ready():
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits when its block ends well. Raises NotReady as ``reading`` does."""
        with outages_are_not_ready():
            async with self._writer.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Ask the database for nothing; raises NotReady when it does not answer."""
        async with self.reading(PlatformScope("readiness")) as connection:
            await connection.execute(text("SELECT 1"))


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise Misconfigured("The database URL is malformed; sqlite:///path or postgresql://… is expected.") from error


def _postgres() -> Any:
    try:
        from caio.storage.sql import postgres
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise Misconfigured("PostgreSQL needs the extra: pip install 'caio-platform[postgresql]'.") from error
    return postgres
