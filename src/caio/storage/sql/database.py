"""One database, opened from a URL: ``sqlite:///path`` or ``postgresql://user@host/name``.

``reading`` and ``writing`` are the control plane's transactions. On SQLite a writing transaction
takes the write lock when it begins, so that what it read is still true when it writes; on
PostgreSQL the adapters lock the rows they depend on. A block that raises has written nothing.

SQLite has one writer at a time, and whoever finds it busy sleeps for up to a tenth of a second before looking
again. The writers of a process therefore take ``turns``, in the order in which they come. A ``writing`` block
comes back to a busy event loop for each statement and keeps everybody waiting meanwhile; what is written again
and again is done ``at_once``.

On PostgreSQL a transaction is bound to its scope (``row_security``) and goes to the place where the
tenant's rows are (``places``). What concerns tenants, API keys, members and invitations themselves
goes through ``reading_directory`` and ``writing_directory``, wherever the tenant's other rows are.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from caio.foundation.errors import Misconfigured, NotReady
from caio.foundation.scope import PlatformScope, Scope, TenantScope
from caio.storage.sql import row_security, sqlite
from caio.storage.sql.outage import outages_are_not_ready
from caio.storage.sql.places import PLATFORM, Place, place_of
from caio.storage.sql.sqlite_thread import SqliteThread, Turns

if TYPE_CHECKING:
    from caio.storage.sql.postgres import Server

_T = TypeVar("_T")

#: How long a process goes by what it read of a tenant's place, in seconds. A tenant's place changes once at
#: most, when its data is erased.
PLACES_SECONDS = 5.0

#: Tenants whose places are remembered; beyond them all are forgotten.
PLACES_KEPT = 10_000

# The execution option that takes a directory's transaction to the one at the tenant's own place.
_PLACED = "caio_placed"


class Address:
    """A database URL, checked: which dialect, and where."""

    def __init__(self, url: str) -> None:
        """Raises Misconfigured for anything but a SQLite file or a PostgreSQL server."""
        self.url = url
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

    def __init__(self, address: Address, engine: AsyncEngine, silos: Mapping[str, Address]) -> None:
        self.address = address
        self.dialect = address.dialect
        self.engine = engine
        #: The databases that tenants may have to themselves, by the name that settings give them.
        self.silos = silos
        self._writer = engine.execution_options(**{sqlite.WRITES: True})
        self._servers: dict[str, Server] = {}
        self._known: dict[str, tuple[float, Place]] = {}
        self._all: tuple[float, tuple[Place, ...]] = (-PLACES_SECONDS, ())
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._away: dict[str, float] = {}
        self._closing: list[Callable[[], Awaitable[None]]] = []
        if self.dialect == "sqlite":
            #: Whose turn it is to write, and the thread of what needs no event loop: the journal, above all.
            self.turns = Turns()
            self.writes = SqliteThread(address.path, "caio-writes")
            self._at_once: Engine | None = None
            self.before_close(self.writes.close)

    @classmethod
    async def open(cls, url: str, silos: Mapping[str, str] | None = None) -> Self:
        """Connect; ``silos`` are further databases by name, connected to when they are first needed.

        Raises Misconfigured for an unusable URL, file or server, NotReady when nobody answers. Does not check
        that the schema is there (see ``upgrade.has_tables``), nor that it binds (see ``isolation``).
        """
        address = Address(url)
        named = {name: Address(each) for name, each in (silos or {}).items()}
        if any(each.dialect != "postgresql" for each in (address, *named.values()) if named):
            raise Misconfigured("Databases of tenants' own need PostgreSQL, for themselves and beside it.")
        if address.dialect == "sqlite":
            return cls(address, address.engine(), {})
        server = await _postgres().Server.open(address.dsn)
        database = cls(address, server.engine, named)
        database._servers[""] = server
        return database

    async def close(self) -> None:
        """Finish what is being written and let go of every connection and thread."""
        while self._closing:
            await self._closing.pop()()
        for server in self._servers.values():
            await server.close()
        await self.engine.dispose()

    def before_close(self, step: Callable[[], Awaitable[None]]) -> None:
        """Have ``close`` await ``step`` first: for adapters that own a thread or a connection."""
        self._closing.append(step)

    @asynccontextmanager
    async def reading(self, scope: Scope, at: Place | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, at ``at`` or where the scope's tenant is; the platform's, for a
        PlatformScope. Raises NotReady when the database does not answer, and Misconfigured when its login may
        not work for such a scope."""
        with outages_are_not_ready():
            if self.dialect == "sqlite":
                async with self.engine.begin() as connection:
                    yield connection
            else:
                async with self._bound(scope, at) as connection:
                    yield connection

    @asynccontextmanager
    async def writing(self, scope: Scope, at: Place | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits when its block ends well. Raises as ``reading`` does."""
        with outages_are_not_ready():
            if self.dialect == "sqlite":
                async with self._writer.connect() as connection, self.turns, connection.begin():
                    yield connection
            else:
                async with self._bound(scope, at) as connection:
                    yield connection

    async def at_once(self, scope: TenantScope, work: Callable[[Connection], _T]) -> _T:
        """What ``work`` returns, done as one writing transaction without coming back to the event loop in between.
        Raises as ``writing`` does."""
        if self.dialect == "sqlite":
            async with self.turns:
                return await self.writes.run(lambda raw: self._transacted(raw, work))
        async with self.writing(scope) as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def reading_directory(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads tenants, API keys, members or invitations."""
        async with self.reading(scope, PLATFORM) as connection:
            yield connection

    @asynccontextmanager
    async def writing_directory(self, scope: TenantScope) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes tenants, API keys, members or invitations; ``placed`` takes it to the tenant's
        other rows. Of a tenant in a database of its own these are two transactions, and that database's begins
        first, so that nobody waits for it with a connection that all tenants need, and commits first: a change whose
        leaf could not be written has not happened, while a process that ends between the two commits leaves a leaf
        that tells of a change that did not."""
        place = await self.place_of(scope.tenant_id)
        if not place.database:
            async with self.writing(scope, place) as connection:
                yield connection
            return
        async with self.writing(scope, place) as at_the_place, self.writing(scope, PLATFORM) as connection:
            yield await connection.execution_options(**{_PLACED: at_the_place})
            await at_the_place.commit()

    @asynccontextmanager
    async def looking_up(self, at: Place = PLATFORM) -> AsyncIterator[AsyncConnection]:
        """A transaction of a caller whose tenant is not known yet: it sees no rows. It may ask the functions
        of ``row_security``."""
        with outages_are_not_ready():
            if self.dialect == "sqlite":
                async with self.engine.begin() as connection:
                    yield connection
            else:
                async with self._transaction(row_security.APP, "", at) as connection:
                    yield connection

    @asynccontextmanager
    async def as_login(self, at: Place = PLATFORM) -> AsyncIterator[AsyncConnection]:
        """A transaction of the database's login itself, which row-level security may not bind: for asking after
        the schema and for changing it."""
        with outages_are_not_ready():
            if self.dialect == "sqlite":
                async with self._writer.connect() as connection, self.turns, connection.begin():
                    yield connection
            else:
                async with (await self.server(at)).engine.begin() as connection:
                    yield connection

    async def ping(self) -> None:
        """Ask the database for nothing; raises NotReady when it does not answer."""
        async with self.as_login() as connection:
            await connection.execute(text("SELECT 1"))

    async def place_of(self, tenant_id: str) -> Place:
        """Where the tenant's rows are: the platform's tables for one that nobody knows."""
        if self.dialect == "sqlite":
            return PLATFORM
        read_at, place = self._known.get(tenant_id, (-PLACES_SECONDS, PLATFORM))
        if time.monotonic() - read_at < PLACES_SECONDS:
            return place
        query = text("SELECT tier, place FROM tenants WHERE tenant_id = :tenant")
        async with self._transaction(row_security.APP, tenant_id, PLATFORM) as connection:
            row = (await connection.execute(query, {"tenant": tenant_id})).first()
        if row is None:
            return PLATFORM
        place = place_of(row.tier, row.place)
        self.remember(tenant_id, place)
        return place

    def remember(self, tenant_id: str, place: Place | None) -> None:
        """Go by ``place`` for a while, or ask again."""
        if len(self._known) >= PLACES_KEPT:
            self._known.clear()
        self._all = (-PLACES_SECONDS, ())
        if place is None:
            self._known.pop(tenant_id, None)
        else:
            self._known[tenant_id] = (time.monotonic(), place)

    async def places(self) -> tuple[Place, ...]:
        """Every place that a tenant has, the platform's first: for work over all tenants, one after the other."""
        if self.dialect == "sqlite":
            return (PLATFORM,)
        read_at, places = self._all
        if time.monotonic() - read_at >= PLACES_SECONDS:
            query = text("SELECT DISTINCT tier, place FROM tenants WHERE tier <> 'pool'")
            async with self.reading(PlatformScope("places")) as connection:
                rows = (await connection.execute(query)).all()
            places = (PLATFORM, *sorted(place_of(row.tier, row.place) for row in rows))
            self._all = (time.monotonic(), places)
        return places

    async def server(self, place: Place) -> Server:
        """The PostgreSQL database of a place. Raises Misconfigured when no setting names it, or when row-level
        security would not bind in it."""
        found = self._servers.get(place.database)
        if found is not None:
            return found
        if place.database not in self.silos:
            raise Misconfigured(
                f"A tenant's database is called {place.database!r}, which CAIO_SILO_DATABASES does not name; "
                "add its URL."
            )
        from caio.storage.sql.isolation import require_isolation

        asked = time.monotonic()
        async with self._opening[place.database]:
            if place.database not in self._servers:
                if self._away.get(place.database, asked) > asked:
                    raise NotReady("A tenant's own database does not answer; try again shortly.")
                try:
                    opened = await _postgres().Server.open(self.silos[place.database].dsn)
                except NotReady:
                    self._away[place.database] = time.monotonic()  # for those who wait here
                    raise
                self._servers[place.database] = opened
                try:
                    await require_isolation(self, place)
                except BaseException:
                    del self._servers[place.database]
                    await opened.close()
                    raise
        return self._servers[place.database]

    def _transacted(self, raw: sqlite3.Connection, work: Callable[[Connection], _T]) -> _T:
        if self._at_once is None:
            self._at_once = sqlite.engine_over(raw)
        with self._at_once.begin() as connection:
            return work(connection)

    @asynccontextmanager
    async def _bound(self, scope: Scope, at: Place | None) -> AsyncIterator[AsyncConnection]:
        if isinstance(scope, TenantScope):
            place = await self.place_of(scope.tenant_id) if at is None else at
            role, tenants = row_security.APP, scope.tenant_id
        else:
            place, role, tenants = at or PLATFORM, row_security.PLATFORM, ""
        async with self._transaction(role, tenants, place) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, role: str, tenants: str, place: Place) -> AsyncIterator[AsyncConnection]:
        server = await self.server(place)
        async with server.engine.begin() as connection:
            await _postgres().bind(connection, server.context(role, tenants, place.schema))
            yield connection


def placed(connection: AsyncConnection) -> AsyncConnection:
    """The transaction at the tenant's own place that belongs to one of ``writing_directory``; any other is
    where it is."""
    at_the_place: AsyncConnection = connection.sync_connection.get_execution_options().get(_PLACED, connection)  # type: ignore[union-attr]
    return at_the_place


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
