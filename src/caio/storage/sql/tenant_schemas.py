"""Tenants' own schemas beside the platform's, in the hands of whoever migrates (see ``places``).

A schema is a full copy of the tables, so migrations need not know of places. What the directory's tables are
called in it is changed for the time of a migration, and back before it commits, so nobody else ever sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect, text

from caio.foundation.errors import Misconfigured
from caio.storage.sql.places import DIRECTORY, UNSEEN


def schemas_of_tenants(connection: Connection) -> list[str]:
    """The schemas that tenants have to themselves, in order."""
    if connection.dialect.name != "postgresql":
        return []
    inspector = inspect(connection)
    if not inspector.has_table("tenants") or "tier" not in {each["name"] for each in inspector.get_columns("tenants")}:
        return []
    return list(connection.scalars(text("SELECT place FROM tenants WHERE tier = 'bridge' ORDER BY place")))


@contextmanager
def seen_in(connection: Connection, schema: str) -> Iterator[None]:
    """Work in ``schema``, which is made when it is missing, with every table under its own name; then hide the
    directory's. Raises Misconfigured when the login may not make a schema."""
    there = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
    if not connection.scalar(there, {"schema": schema}):
        if not connection.scalar(text("SELECT has_database_privilege(current_database(), 'CREATE')")):
            raise Misconfigured(
                "The database's login may not make the schema of a tenant of the tier bridge; do this with the URL of "
                "the login that migrates, or have an administrator GRANT CREATE ON DATABASE to this one."
            )
        connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
    before = connection.scalar(text("SELECT current_setting('search_path')"))
    _search(connection, f'"{schema}"')
    _rename(connection, UNSEEN, "")
    yield
    _rename(connection, "", UNSEEN)
    _search(connection, before)


def _search(connection: Connection, path: str | None) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _rename(connection: Connection, prefix: str, new_prefix: str) -> None:
    present = set(inspect(connection).get_table_names(connection.scalar(text("SELECT current_schema()"))))
    for name in DIRECTORY:
        if prefix + name in present:
            connection.exec_driver_sql(f"ALTER TABLE {prefix}{name} RENAME TO {new_prefix}{name}")
