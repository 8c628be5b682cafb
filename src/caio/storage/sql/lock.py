"""One process at a time, where the deployment keeps its limits and counters in one process's memory.

With SQLite the lock is ``flock`` on ``<data directory>/lock``, with PostgreSQL a session's advisory
lock. Both end with the process, however it ends. Several processes need PostgreSQL and Redis; they
share the same locks, so that one that counts on being alone neither joins them nor is joined. Behind a
pooler that shares connections a shared lock may outlast its process; that keeps nobody from joining.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import text

from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Database

# As ``_UPGRADE_LOCK`` in upgrade.py: "caio" in ASCII, then 2.
_PROCESS_LOCK = 0x6361696F_00000002
_TURN_LOCK = 0x6361696F_00000003

_ADVICE = "Stop that process first; several processes at once need PostgreSQL and Redis."


class DataDirectoryLock:
    """The hold on a data directory; ``release`` it, or end the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def hold(cls, data_dir: Path, *, shared: bool = False) -> Self:
        """Take the lock, alone or ``shared`` with others who share it. Raises Misconfigured when another process
        holds it, naming its pid, and when the directory cannot be written."""
        path = data_dir / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured(f"The data directory {data_dir} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Misconfigured(
                f"The data directory {data_dir} is in use by the process with pid {holder}. {_ADVICE}",
                code="data_directory_in_use",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(self._descriptor)


class ProcessLock:
    """The hold on a PostgreSQL database: a connection of its own that owns an advisory lock."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def held(self) -> bool:
        """False once the connection, and with it the lock, is known to be lost."""
        return not self._connection.is_closed()

    async def release(self) -> None:
        await self._connection.close()


async def hold_process_lock(database: Database, *, shared: bool = False) -> ProcessLock:
    """Take the lock of a PostgreSQL database, alone or ``shared`` with others who share it. Raises Misconfigured
    when another process holds it, naming its pid and host, and as ``Database.open`` does when the server cannot
    be reached."""
    from caio.storage.sql import postgres  # needs the ``postgresql`` extra

    name = f"caio pid {os.getpid()} on {socket.gethostname()}"[:63]  # PostgreSQL cuts names at 63 bytes
    connection = await postgres.connect(database.address.dsn, server_settings={"application_name": name})
    take = "SELECT pg_try_advisory_lock_shared($1)" if shared else "SELECT pg_try_advisory_lock($1)"
    if await connection.fetchval(take, _PROCESS_LOCK):
        return ProcessLock(connection)
    holder = await connection.fetchval(_HOLDER, _PROCESS_LOCK)
    await connection.close()
    raise Misconfigured(f"The database is in use by {holder or 'another process'}. {_ADVICE}", code="database_in_use")


@asynccontextmanager
async def in_turn(database: Database) -> AsyncIterator[None]:
    """Let one process at a time do what all of them do when they start. On SQLite there is only one."""
    if database.dialect != "postgresql":
        yield
        return
    async with database.as_login() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN_LOCK})
        yield


# pg_locks shows the two halves of the key (PostgreSQL manual, view pg_locks).
_HOLDER = """
    SELECT activity.application_name FROM pg_locks AS lock
    JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
    WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND lock.classid::bigint = $1::bigint >> 32 AND lock.objid::bigint = $1::bigint & 4294967295
"""
