"""PostgreSQL as CAIO uses it: asyncpg alone, for SQLAlchemy's connections and for our own.

Importing this module needs the ``postgresql`` extra. Per process: 5 connections for the control
plane, 2 for the journal, 3 for the audit logs' trees, 1 for the process lock.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql.outage import is_outage

CONNECT_SECONDS = 10
COMMAND_SECONDS = 30


class JournalConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection of the pools of our own: its statements leave no session state to be reset."""

    def get_reset_query(self) -> str:
        return ""


async def connect(dsn: str, **settings: Any) -> Any:
    """One asyncpg connection. Raises NotReady when nobody answers, Misconfigured when the server
    refuses the user or the database."""
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, **settings)
    except Exception as error:
        raise _refusal(error) from error


async def journal_pool(dsn: str) -> Any:
    """The journal's own connections; raises as ``connect`` does, and Misconfigured for a server that
    acknowledges commits before they are on disk."""
    pool = await _pool(dsn, 2)
    if await pool.fetchval("SHOW synchronous_commit") == "off":
        await pool.close()
        raise Misconfigured(
            "The PostgreSQL server runs with synchronous_commit = off, so an acknowledged decision could be "
            "lost; set it on for CAIO's role: ALTER ROLE … SET synchronous_commit = on."
        )
    return pool


async def log_pool(dsn: str) -> Any:
    """Connections for the trees of the audit logs; raises as ``connect`` does."""
    return await _pool(dsn, 3)


async def _pool(dsn: str, size: int) -> Any:
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            connection_class=JournalConnection,
        )
    except Exception as error:
        raise _refusal(error) from error


def postgres_engine(dsn: str) -> AsyncEngine:
    """An engine over ``connect``, so that one connection string means the same everywhere."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(dsn),
        pool_size=5,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text reaches the log; what was written must not
    )


def _refusal(error: Exception) -> Misconfigured | NotReady:
    if is_outage(error):
        return NotReady("The PostgreSQL server does not answer; check that it runs and that the URL names it.")
    return Misconfigured(f"The PostgreSQL server refuses the connection: {error}. Check the database URL.")
