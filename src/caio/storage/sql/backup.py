"""A consistent copy of a database in one new file, taken while it is in use.

SQLite: its online backup, checked afterwards; the copy is itself a database. PostgreSQL: pg_dump's
custom format. The copy gets its name only when it is complete and on disk, and never replaces a
file. It holds sealed payloads and secrets, which are of use only with the installation's master
key: keep that elsewhere.

A dump of PostgreSQL is taken as ``caio_platform``, which sees all rows: under another role, row-level
security would leave rows out. It holds the platform's database, with the schemas of tenants that have one of
their own in it; a tenant's own database is backed up by its own URL. Roles are the server's, not the
database's: they are there before a dump is restored, or ``row_security.ADMINISTRATOR`` makes them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from caio.foundation.errors import Conflict, Misconfigured
from caio.storage.sql.database import Address
from caio.storage.sql.outage import outages_are_not_ready
from caio.storage.sql.row_security import PLATFORM


def backup(url: str, destination: Path) -> None:
    """Copy the database to ``destination``, of mode 0600. Blocks.

    Raises Conflict ``already_exists`` for a name in use; Misconfigured when there is nothing to copy, the
    destination cannot be written, the copy is damaged, or pg_dump is missing or fails.
    """
    address = Address(url)
    if destination.exists():
        raise _taken(destination)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{destination.name}.", dir=destination.parent)  # mode 0600
    except OSError as error:
        raise Misconfigured(f"No backup can be written to {destination.parent}: {error.strerror}.") from error
    os.close(descriptor)
    partial = Path(name)
    try:
        if address.dialect == "sqlite":
            _copy_sqlite(address.path, partial)
        else:
            _dump_postgres(address.dsn, partial)
        _sync(partial)
        os.link(partial, destination)  # unlike a rename, this fails when the name is taken
    except FileExistsError as error:
        raise _taken(destination) from error
    finally:
        partial.unlink()
    _sync(destination.parent)


def _copy_sqlite(path: Path, partial: Path) -> None:
    if not path.exists():
        raise Misconfigured(f"There is no database at {path}; check the database URL.")
    try:
        with (
            outages_are_not_ready(),
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(partial, isolation_level=None)) as copy,
        ):
            source.backup(copy)
            # The copy inherits the write-ahead log, whose side files a single file must not need.
            copy.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise Misconfigured(f"{path} is damaged ({verdict}); check the disk and restore an earlier backup.")


def _dump_postgres(dsn: str, partial: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise Misconfigured(
            "Backing up PostgreSQL needs pg_dump of the server's version or newer; install the PostgreSQL client "
            "(Debian: apt install postgresql-client) or use the database service's own snapshots."
        )
    # The environment is private to the process, its command line is not.
    url = make_url(dsn).difference_update_query(["statement_cache_size"])
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    command = [
        program,
        "--format=custom",
        "--no-password",
        f"--file={partial}",
        f"--dbname={url.set(password=None).render_as_string()}",
        *(["--enable-row-security", f"--role={PLATFORM}"] if asyncio.run(_is_secured(dsn)) else []),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise Misconfigured(f"pg_dump failed: {done.stderr.strip()}")


async def _is_secured(dsn: str) -> bool:
    """Whether row-level security is in force; not before the migration that brings it."""
    from caio.storage.sql.postgres import connect  # needs the ``postgresql`` extra

    connection = await connect(dsn)
    try:
        return bool(await connection.fetchval("SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass('tenants')"))
    finally:
        await connection.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(destination: Path) -> Conflict:
    return Conflict(f"{destination} exists; a backup never replaces a file.", code="already_exists")
