"""Row-level security on PostgreSQL: the two roles, and what a tenant's table is given.

Theory of operation
-------------------
Every transaction takes a role and a context in one statement, and loses both when it ends, however it
ends (``SET LOCAL``), so a transaction pooler has nothing to mix up. ``caio_app`` sees the rows of the
tenants that ``app.tenant_id`` names, separated by commas, and no row when it names none. ``caio_platform``
sees all rows: it is for the process's own work. Neither can log in, owns anything or bypasses row-level
security. The tables' owner is bound as well (FORCE) and sees all rows as a member of ``caio_platform``.

Before a caller's tenant is known, three functions answer with ids alone; they run as the owner, with
their search path pinned.

``app.tenant_id`` is not a credential: whoever can run SQL of their own as ``caio_app`` can name any
tenant. What this stands behind is a query that forgot its tenant, not an attacker at the SQL prompt.

Migrations call these functions: what they do for a table must not change, only grow by further ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from caio.foundation.errors import Misconfigured

APP, PLATFORM = "caio_app", "caio_platform"

#: What an administrator runs when the login that migrates may not; {login} is that login.
ADMINISTRATOR = (
    "CREATE ROLE caio_app NOLOGIN; CREATE ROLE caio_platform NOLOGIN; GRANT caio_app, caio_platform TO {login};"
)

_OF_THE_TENANT = "tenant_id = ANY ((SELECT string_to_array(current_setting('app.tenant_id', true), ','))::text[])"
_HAS_A_TENANT = "(SELECT coalesce(current_setting('app.tenant_id', true), '')) <> ''"


_SHARED_HEADS = """
    CREATE POLICY shared_by_others ON publication_heads FOR SELECT TO caio_app USING (EXISTS (
        SELECT FROM publications AS found WHERE found.shared AND found.tenant_id = publication_heads.tenant_id
        AND found.sort = publication_heads.sort AND found.name = publication_heads.name))
"""


def make_roles(connection: Connection) -> None:
    """Create the roles where the server has none, and make the migrating login a member of both.

    Raises Misconfigured, naming the statements that an administrator must run, when the login may not.
    """
    login = connection.scalar(text("SELECT quote_ident(current_user)"))
    try:
        for role in (APP, PLATFORM):
            if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}):
                connection.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN")
            usable = text("SELECT pg_has_role(current_user, :role, 'USAGE')")
            if not connection.scalar(usable, {"role": role}):
                connection.exec_driver_sql(f"GRANT {role} TO {login}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "42501":  # insufficient_privilege
            raise
        raise Misconfigured(
            f"The login {login} may not create the roles that keep tenants apart. Have an administrator of the "
            f"PostgreSQL server run, once: {ADMINISTRATOR.format(login=login)} Then upgrade again."
        ) from error


def open_schema(connection: Connection) -> None:
    """Let the roles find what is in the schema that is being migrated, and see its revision."""
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {APP}, {PLATFORM}")
    connection.exec_driver_sql(f"GRANT SELECT ON alembic_version TO {APP}, {PLATFORM}")


def tables_of_tenants(connection: Connection) -> list[str]:
    """The tables of the present schema that have the column ``tenant_id``, the list of tenants too."""
    columns = text(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND column_name = 'tenant_id' ORDER BY table_name"
    )
    return list(connection.scalars(columns))


def secure(connection: Connection, table: str, *, app_may: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Force row-level security on a table and let the roles at it: the application as far as ``app_may``."""
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY of_the_tenant ON {table} TO {APP} USING ({_OF_THE_TENANT}) WITH CHECK ({_OF_THE_TENANT})",
        f"CREATE POLICY of_the_platform ON {table} TO {PLATFORM} USING (true) WITH CHECK (true)",
        f"GRANT {app_may} ON {table} TO {APP}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {PLATFORM}",
    ):
        connection.exec_driver_sql(statement)


def unsecure(connection: Connection, tables: Iterable[str]) -> None:
    """Undo ``secure``, and every other policy of these tables."""
    for table in tables:
        policies = text("SELECT polname FROM pg_policy WHERE polrelid = CAST(:name AS regclass)")
        for policy in list(connection.scalars(policies, {"name": table})):
            connection.exec_driver_sql(f"DROP POLICY {policy} ON {table}")
        connection.exec_driver_sql(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM {APP}, {PLATFORM}")


def share_publications(connection: Connection) -> None:
    """Let every tenant read what another one shares; the head too, for it says what is in force."""
    connection.exec_driver_sql(
        f"CREATE POLICY shared_by_others ON publications FOR SELECT TO {APP} USING (shared AND {_HAS_A_TENANT})"
    )
    connection.exec_driver_sql(_SHARED_HEADS)


#: Arguments, columns and query of each look-up that comes before a tenant is known, by its name.
LOOK_UPS = {
    "caio_key_of": (
        "hash bytea",
        "tenant_id text, key_id text",
        "SELECT tenant_id, key_id FROM {schema}.api_keys WHERE key_hash = hash",
    ),
    "caio_memberships_of": (
        "of_issuer text, of_subject text",
        "tenant_id text, member_id text",
        """SELECT tenant_id, member_id FROM {schema}.members
        WHERE issuer = of_issuer AND subject = of_subject AND removed_at IS NULL ORDER BY tenant_id, member_id""",
    ),
    "caio_invitation_of": (
        "hash bytea",
        "tenant_id text, invitation_id text",
        "SELECT tenant_id, invitation_id FROM {schema}.invitations WHERE token_hash = hash",
    ),
}


def make_look_ups(connection: Connection) -> None:
    """Make the functions in the present schema; nobody but the two roles may call them."""
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    for name, (arguments, columns, query) in LOOK_UPS.items():
        signature = f"{schema}.{name}({arguments})"
        connection.exec_driver_sql(
            f"CREATE FUNCTION {signature} RETURNS TABLE ({columns}) LANGUAGE sql STABLE SECURITY DEFINER "
            f"SET search_path = pg_catalog, pg_temp AS $$ {query.format(schema=schema)} $$"
        )
        connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        connection.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION {signature} TO {APP}, {PLATFORM}")


def drop_look_ups(connection: Connection) -> None:
    for name, (arguments, _, _) in LOOK_UPS.items():
        connection.exec_driver_sql(f"DROP FUNCTION {name}({arguments})")
