"""PostgreSQL as CAIO uses it: asyncpg alone, for SQLAlchemy's connections and for our own.

Importing this module needs the ``postgresql`` extra. Per process and database: 5 connections for the
control plane, 2 for the journal, 3 for the audit logs' trees, opened when they are first needed; and 1 for
the process lock, where there is one.

Every transaction begins with a ``Context``: role, tenant and search path in one statement, which lasts as
long as the transaction does. Nothing is ever set for a session, so that a pooler may hand the server's
connections out by transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql.outage import is_outage

CONNECT_SECONDS = 10
COMMAND_SECONDS = 30

#: The parameter of a database URL that keeps asyncpg from naming prepared statements, for old poolers.
STATEMENT_CACHE = "statement_cache_size"

_CONTEXT = (
    "SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true), set_config('search_path', $3, true)"
)

_LITERAL_CONTEXT = (
    "SELECT set_config('role', {}, true), set_config('app.tenant_id', {}, true), set_config('search_path', {}, true)"
)


@dataclass(frozen=True, slots=True)
class Context:
    """What a transaction runs as and sees: the role, the tenants' ids with commas between, and the schemas. That
    of temporary tables is named last, so that none hides a table."""

    role: str
    tenants: str
    path: str


class JournalConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection of the pools of our own: its statements leave no session state to be reset."""

    def get_reset_query(self) -> str:
        return ""


async def connect(dsn: str, **settings: Any) -> Any:
    """One asyncpg connection. Raises NotReady when nobody answers, Misconfigured when the server
    refuses the user or the database."""
    address, options = _options(dsn)
    try:
        return await asyncpg.connect(address, timeout=CONNECT_SECONDS, **options, **settings)
    except Exception as error:
        raise _refusal(error) from error


class Server:
    """One database of a server: the control plane's engine, and the pools of our own."""

    def __init__(self, dsn: str, engine: AsyncEngine, schema: str) -> None:
        self.dsn = dsn
        self.engine = engine
        #: The schema that names mean when no tenant's own comes first, quoted.
        self.schema = schema
        self._pools: dict[str, Any] = {}
        self._opening = asyncio.Lock()

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Connect once. Raises as ``connect`` does, and Misconfigured for a server that acknowledges commits
        before they are on disk, or a login that no schema belongs to."""
        connection = await connect(dsn)
        try:
            durable, schema = await connection.fetchrow(
                "SELECT current_setting('synchronous_commit'), quote_ident(current_schema())"
            )
        finally:
            await connection.close()
        if durable == "off":
            raise Misconfigured(
                "The PostgreSQL server runs with synchronous_commit = off, so an acknowledged decision could be "
                "lost; set it on for CAIO's role: ALTER ROLE … SET synchronous_commit = on."
            )
        if schema is None:
            raise Misconfigured(
                "The search path of the database's login names no schema that it may use; grant it USAGE on the "
                "schema of CAIO's tables, or set the path: ALTER ROLE … SET search_path = …."
            )
        return cls(dsn, postgres_engine(dsn), schema)

    def context(self, role: str, tenants: str, schema: str) -> Context:
        """What a transaction runs as in a tenant's ``schema``, or in the login's own when that is empty."""
        return Context(role, tenants, f'"{schema}", {self.schema}, pg_temp' if schema else f"{self.schema}, pg_temp")

    @asynccontextmanager
    async def journal(self, context: Context) -> AsyncIterator[Any]:
        """A connection for appending leaves, in a transaction with ``context``."""
        async with _transaction(await self._pool("journal", 2), context) as connection:
            yield connection

    @asynccontextmanager
    async def log(self, context: Context) -> AsyncIterator[Any]:
        """A connection for the audit logs' trees, in a transaction with ``context``."""
        async with _transaction(await self._pool("log", 3), context) as connection:
            yield connection

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        await self.engine.dispose()

    async def _pool(self, name: str, size: int) -> Any:
        pool = self._pools.get(name)
        if pool is None:
            async with self._opening:
                pool = self._pools.get(name) or await _new_pool(self.dsn, size)
                self._pools[name] = pool
        return pool


async def bind(connection: AsyncConnection, context: Context) -> None:
    """Give the transaction of ``connection`` its context. Raises Misconfigured for a role that the login may
    not take or that the server does not have."""
    try:
        await connection.exec_driver_sql(_CONTEXT, (context.role, context.tenants, context.path))
    except Exception as error:
        raise _refused_role(getattr(error, "orig", error), context.role) or error from error


async def bind_raw(connection: Any, context: Context) -> None:
    """As ``bind``, for a connection of asyncpg that has another context."""
    await _bound(connection, "", context)


async def _bound(connection: Any, beginning: str, context: Context) -> None:
    """Say ``beginning`` and the context in one round trip, which takes a statement without parameters."""
    values = ["'" + each.replace("'", "''") + "'" for each in (context.role, context.tenants, context.path)]
    if "\\" in "".join(values):  # what a backslash means is a setting of the server's
        raise ValueError("a context holds no backslash")
    try:
        await connection.execute(beginning + _LITERAL_CONTEXT.format(*values))
    except asyncpg.PostgresError as error:
        raise _refused_role(error, context.role) or error from error


@asynccontextmanager
async def _transaction(pool: Any, context: Context) -> AsyncIterator[Any]:
    try:
        connection = await pool.acquire()
    except asyncpg.InterfaceError:  # the pool is being closed
        raise
    except Exception as error:
        raise _refusal(error) from error
    try:
        await _bound(connection, "BEGIN; ", context)
        yield connection
        await connection.execute("COMMIT")
    except BaseException:
        if connection.is_in_transaction() and not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    finally:
        await pool.release(connection)


async def _new_pool(dsn: str, size: int) -> Any:
    address, options = _options(dsn)
    try:
        return await asyncpg.create_pool(
            address,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            connection_class=JournalConnection,
            **options,
        )
    except Exception as error:
        raise _refusal(error) from error


def postgres_engine(dsn: str) -> AsyncEngine:
    """An engine over ``connect``, so that one connection string means the same everywhere."""
    nameless = bool(_options(dsn)[1])

    def create() -> Any:
        adapted: dict[str, Any] = {"async_creator_fn": lambda: connect(dsn)}
        if nameless:
            adapted |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
        dbapi: Any = engine.dialect.dbapi
        return dbapi.connect(**adapted)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=create,
        pool_size=5,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text reaches the log; what was written must not
    )
    return engine


def _options(dsn: str) -> tuple[str, dict[str, int]]:
    """The URL without what asyncpg takes beside it, and that."""
    url = make_url(dsn)
    found = url.query.get(STATEMENT_CACHE)
    if found is None:
        return dsn, {}
    if found != "0":
        raise Misconfigured(f"{STATEMENT_CACHE} in the database URL may be 0 only: leave it out otherwise.")
    return url.difference_update_query([STATEMENT_CACHE]).render_as_string(hide_password=False), {STATEMENT_CACHE: 0}


def _refusal(error: Exception) -> Misconfigured | NotReady:
    if is_outage(error):
        return NotReady("The PostgreSQL server does not answer; check that it runs and that the URL names it.")
    return Misconfigured(f"The PostgreSQL server refuses the connection: {error}. Check the database URL.")


def _refused_role(error: BaseException | None, role: str) -> Misconfigured | None:
    state = getattr(error, "sqlstate", None)
    if state == "42501":  # insufficient_privilege
        return Misconfigured(
            f"The database's login is no member of {role}, which this work is done as. Give the process the URL of a "
            f"login that is, or have an administrator run: GRANT {role} TO the login.",
            code="database_role_refused",
        )
    if state == "22023":  # invalid_parameter_value: there is no such role
        return Misconfigured(
            f"The PostgreSQL server has no role {role}, so row-level security would not bind: run `caio db upgrade`.",
            code="database_role_refused",
        )
    return None
