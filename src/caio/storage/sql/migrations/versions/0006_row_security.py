"""Row-level security, forced, on every table that holds rows of tenants (PostgreSQL; SQLite has none).

Locks: each table exclusively for the moment in which its catalogue entries change; no row is read or written.
Undo: ``downgrade`` to ``0005``. The roles ``caio_app`` and ``caio_platform`` stay: they belong to the server,
and other databases on it may use them.

Revision ID: 0006
Revises: 0005
"""

from alembic import context, op

from caio.storage.sql import row_security

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What the application may not do even to its own tenant's rows: rewrite the journal, or be rid of itself.
_APP_MAY = {"journal": "SELECT, INSERT, UPDATE (sealed)", "tenants": "SELECT, INSERT, UPDATE"}


def _is_a_tenants_schema() -> bool:
    return bool(context.config.attributes.get("schema"))


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    row_security.make_roles(connection)
    row_security.open_schema(connection)
    for table in row_security.tables_of_tenants(connection):
        row_security.secure(connection, table, **({"app_may": _APP_MAY[table]} if table in _APP_MAY else {}))
    row_security.share_publications(connection)
    if not _is_a_tenants_schema():
        row_security.make_look_ups(connection)


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    if not _is_a_tenants_schema():
        row_security.drop_look_ups(connection)
    row_security.unsecure(connection, row_security.tables_of_tenants(connection))
