"""Whether row-level security binds the connections that work for tenants; without it nothing starts."""

from __future__ import annotations

from sqlalchemy import text

from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Database
from caio.storage.sql.places import PLATFORM, Place
from caio.storage.sql.row_security import PLATFORM as PLATFORM_ROLE
from caio.storage.sql.tables import metadata

# What is wrong, one row a fault; each names what an administrator has to see to. The tables are the schema's own.
_FAULTS = text(
    """
    WITH mine AS (
        SELECT class.oid, class.relname, class.relowner, class.relrowsecurity AND class.relforcerowsecurity AS forced
        FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE namespace.nspname = current_schema() AND class.relkind IN ('r', 'p') AND class.relname = ANY (:tables)
    )
    SELECT 'the role ' || rolname || ' is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
    UNION ALL
    SELECT 'the role ' || rolname || ' has BYPASSRLS' FROM pg_roles WHERE rolname = current_user AND rolbypassrls
    UNION ALL
    SELECT 'the role ' || current_user || ' may act as ' || rolname || ', the owner of ' || relname
    FROM mine JOIN pg_roles ON pg_roles.oid = relowner WHERE pg_has_role(current_user, relowner, 'MEMBER')
    UNION ALL
    SELECT 'the role ' || current_user || ' is a member of ' || rolname
    FROM pg_roles WHERE rolname = :platform AND pg_has_role(current_user, oid, 'MEMBER')
    UNION ALL
    SELECT 'the role ' || current_user || ' may make tables in the schema ' || current_schema()
    WHERE has_schema_privilege(current_schema(), 'CREATE')
    UNION ALL
    SELECT 'row-level security is not forced on ' || relname FROM mine WHERE NOT forced
    UNION ALL
    SELECT 'the table ' || name || ' is missing' FROM unnest(CAST(:tables AS text[])) AS name
    WHERE name NOT IN (SELECT relname FROM mine)
    UNION ALL
    SELECT 'the owner of the function ' || proname || ' sees no rows: GRANT ' || :platform || ' TO ' || owner.rolname
    FROM pg_proc JOIN pg_roles AS owner ON owner.oid = proowner
    WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND prosecdef
      AND proname LIKE 'caio\\_%' AND NOT owner.rolbypassrls
      AND NOT pg_has_role(proowner, :platform, 'USAGE')
    """
)


async def require_isolation(database: Database, place: Place = PLATFORM) -> None:
    """Raises Misconfigured, naming every fault, when row-level security would not keep tenants apart in the
    database of ``place``, whose tables must be at the head."""
    if database.dialect != "postgresql":
        return
    tables = [table.name for table in metadata.sorted_tables]
    async with database.looking_up(place) as connection:
        faults = list(await connection.scalars(_FAULTS, {"tables": tables, "platform": PLATFORM_ROLE}))
    if faults:
        raise Misconfigured(
            f"Row-level security would not keep tenants apart: {'; '.join(sorted(faults))}. Have an administrator of "
            "the PostgreSQL server put this right, then run `caio db upgrade`.",
            code="tenants_not_isolated",
        )
