"""Bringing a database's tables to a revision, and asking where they stand.

Alembic is imported only by what migrates. The serving process asks ``has_tables``, which compares
the recorded revision with a constant; to migrate at start-up it lets ``upgrade_apart`` do so in a
process of its own, whose memory goes with it.

Tables of a *newer* version suit this one: a migration leaves what the version before needs, so that a
deployment can go back after it. A process starts on them, and an upgrade leaves them as they are.

An upgrade of a schema is one transaction: it happens as a whole or not at all. On PostgreSQL an advisory
lock, on SQLite the write lock, lets one runner through at a time; a second finds nothing left to do. A change of a
table waits until nobody reads it, and whoever comes after waits for the change; so it does not wait for long.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from caio.foundation.errors import Misconfigured, NotReady
from caio.storage.sql import sqlite
from caio.storage.sql.database import Address, Database
from caio.storage.sql.outage import outages_are_not_ready
from caio.storage.sql.tenant_schemas import schemas_of_tenants, seen_in

if TYPE_CHECKING:
    from alembic.config import Config

#: The revision this version of the program works with; a test keeps it equal to Alembic's head.
HEAD = "0007"

_MIGRATIONS = Path(__file__).parent / "migrations"

# An arbitrary number that nothing else in CAIO locks: "caio" in ASCII, then 1.
_UPGRADE_LOCK = 0x6361696F_00000001

# PostgreSQL, appendix A.
_LOCK_NOT_AVAILABLE = "55P03"

#: How long a change waits for a table that somebody is busy with: a copy of the database, a long report. Meanwhile
#: the servers wait, too.
TABLE_SECONDS = 10

# Alembic hands its context to env.py through a global, so a process migrates one database at a time.
_alembic = threading.Lock()


def upgrade(url: str, revision: str = "head", silos: Mapping[str, str] | None = None) -> None:
    """Migrate up to ``revision``: the tenants' own databases (``silos``, URLs by name), the tenants' schemas, and
    at last the platform's, so that what stands there says that all do. Blocks; not to be called from a running
    event loop's thread.

    Raises Misconfigured for an unusable URL or a login that may not migrate, NotReady for a database that does
    not answer.
    """
    for each in (*(silos or {}).values(), url):
        _migrate(each, None, lambda config: _raise(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Migrate down to ``revision`` (``base`` removes every table and what it holds), the tenants' schemas
    first. As ``upgrade``."""
    from alembic import command

    _migrate(url, None, lambda config: command.downgrade(config, revision))


def prepare_schema(url: str, schema: str) -> None:
    """Make a tenant's ``schema`` beside the platform's, when there is none, and migrate it to the head. As
    ``upgrade``."""
    _migrate(url, schema, lambda config: _raise(config, "head"))


def upgrade_apart(url: str, schema: str = "", silos: Mapping[str, str] | None = None) -> None:
    """``upgrade``, or ``prepare_schema`` when there is one, in a child process. Blocks; raises Misconfigured
    when the child fails."""
    # The URL may hold a password: standard input is private, a command line is not.
    child = [sys.executable, "-m", "caio.storage.sql.upgrade"]
    wanted = json.dumps([url, schema, dict(silos or {})])
    done = subprocess.run(child, input=wanted, text=True, capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Misconfigured(f"The database could not be upgraded: {reason}")


def current(url: str) -> str | None:
    """The revision the database stands at; None for one that was never migrated. Blocks as ``upgrade``."""

    async def ask() -> str | None:
        database = await Database.open(url)
        try:
            return await recorded_revision(database)
        finally:
            await database.close()

    return asyncio.run(ask())


async def has_tables(database: Database) -> bool:
    """Whether the tables suit this version of the program: its own, or a newer one's; imports no Alembic."""
    return suits(await recorded_revision(database))


def suits(revision: str | None) -> bool:
    """Whether this version works with tables at ``revision``."""
    return revision is not None and revision >= HEAD  # revisions are numbers of one length


async def recorded_revision(database: Database) -> str | None:
    """The revision that the last migration recorded, or None."""
    async with database.as_login() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
            return None
        return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()


def configuration(connection: Connection | None = None, schema: str = "") -> Config:
    """Alembic's settings in code: there is no alembic.ini, and env.py takes the connection from here, the
    migrations whether it is a tenant's ``schema`` that they build."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _raise(config: Config, revision: str) -> None:
    """Upgrade what the configuration's connection sees; tables of a newer version, whose migrations are not known
    here, stay as they are."""
    from alembic import command
    from alembic.runtime.migration import MigrationContext

    recorded = MigrationContext.configure(config.attributes["connection"]).get_current_revision()
    if recorded is None or recorded <= HEAD:
        command.upgrade(config, revision)


def _migrate(url: str, schema: str | None, step: Callable[[Config], None]) -> None:
    """Take ``step`` in one schema, or in every tenant's and then in the platform's."""
    address = Address(url)

    def run(connection: Connection, schema: str) -> None:
        if address.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_SECONDS}s'"))
        if not schema:
            step(configuration(connection))
            return
        with seen_in(connection, schema):
            step(configuration(connection, schema))

    async def migrate() -> None:
        engine = address.engine()
        try:
            with outages_are_not_ready(), _busy_tables_are_not_ready():
                # A transaction each: the locks of hundreds of schemas at once are more than a server holds.
                async with engine.begin() as connection:
                    wanted = [*await connection.run_sync(schemas_of_tenants), ""] if schema is None else [schema]
                for each in wanted:
                    async with engine.execution_options(**{sqlite.WRITES: True}).begin() as connection:
                        await connection.run_sync(run, each)
        finally:
            await engine.dispose()

    with _alembic:
        asyncio.run(migrate())


@contextmanager
def _busy_tables_are_not_ready() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise NotReady(
            f"A table that is to be changed was in use for {TABLE_SECONDS} s, by a backup or a report. Nothing was "
            "changed in it; upgrade again when that is over."
        ) from error


if __name__ == "__main__":
    _url, _schema, _silos = json.loads(sys.stdin.read())
    if _schema:
        prepare_schema(_url, _schema)
    else:
        upgrade(_url, silos=_silos)
