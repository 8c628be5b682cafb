"""SQLite as CAIO uses it: a file of mode 0600 and the settings every connection gets.

WAL with ``synchronous = FULL`` syncs the log at each commit, so a committed transaction survives
SIGKILL and power loss (https://www.sqlite.org/pragma.html#pragma_synchronous). ``secure_delete``, which some
builds have off, overwrites what is erased with zeros, once the log is taken into the file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Engine, StaticPool, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql.outage import is_outage

#: The execution option of a transaction that will write: it takes the write lock when it begins.
WRITES = "caio_writes"

BUSY_SECONDS = 10

#: Statements that a connection keeps prepared: of the journal's tables one for each size of a group (``sqlite_rows``).
_STATEMENTS = 512

_SETTINGS = (
    f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)


class _Connection(sqlite3.Connection):
    """Undoes what it has begun when it is closed. A cancelled transaction's connection is closed by the pool, but
    lives on in SQLite, write lock and all, for as long as a cursor of it does: perhaps in the frames of the error,
    until garbage is collected (https://www.sqlite.org/c3ref/close.html, "zombie")."""

    def close(self) -> None:
        self.rollback()  # does nothing where nothing was begun
        super().close()


def create_private(path: Path) -> None:
    """Create an empty database file that only its owner can read; leave an existing file alone.

    The log files beside it inherit its mode. Raises Misconfigured when it cannot be created.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise Misconfigured(f"The database file {path} cannot be created: {error.strerror}.") from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection for statements of our own, in autocommit mode, usable from any one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS)
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def sqlite_engine(path: Path) -> AsyncEngine:
    """An engine whose transactions begin when they say, as readers or (with WRITES) as writers."""
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(
        url,
        connect_args={"factory": _Connection},
        pool_size=5,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def engine_over(raw: sqlite3.Connection) -> Engine:
    """An engine whose transactions are writing ones of this one connection."""
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine.execution_options(**{WRITES: True})


def use_write_ahead_log(path: Path) -> None:
    """Switch the database to WAL, which stays with the file. Raises Misconfigured when the file is no
    database, cannot be written, or lies where WAL cannot work (some network file systems), and NotReady
    when another process keeps it locked."""
    try:
        with closing(connect(path)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if is_outage(error):
            raise NotReady(f"The database file {path} is locked or cannot be read at present.") from error
        raise Misconfigured(f"The database file {path} cannot be used: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise Misconfigured(f"{path} is not a SQLite database; check the database URL.") from error
    if mode != "wal":
        raise Misconfigured(f"The file system of {path} does not support SQLite's write-ahead log; use a local disk.")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transaction handling is switched off: ``_begin`` says when and how.
    connection.isolation_level = None
    cursor = connection.cursor()
    for setting in _SETTINGS:
        cursor.execute(setting)
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
