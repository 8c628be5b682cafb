"""Tenants kept apart by PostgreSQL itself: raw SQL, as an application that forgot every condition would say it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Boolean, LargeBinary, Table, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf, LeafKind
from caio.foundation.errors import Misconfigured
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.isolation import require_isolation
from caio.storage.sql.places import PLATFORM
from caio.storage.sql.tables import metadata
from caio.storage.sql.upgrade import downgrade, upgrade
from tests.support.tenants import add_bare_tenants, tenant_named

TABLES = metadata.sorted_tables
NAMES = [table.name for table in TABLES]
_PLATFORM = PlatformScope("test")


@pytest.fixture
def database_url(migrated_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    from tests.conformance.conftest import _delete_everything

    yield migrated_server
    asyncio.run(_delete_everything(migrated_server, {}))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One row of each of two tenants in every table."""
    opened = await Database.open(database_url)
    async with opened.writing(_PLATFORM) as connection:
        for table in TABLES:
            for tenant in ("acme", "rival") if table.name != "tenants" else ():
                await connection.execute(insert(table).values(_row(table, tenant)))
    yield opened
    await opened.close()


def _row(table: Table, tenant: str) -> dict[str, Any]:
    """Values of the columns' kinds; all rows of a tenant refer to each other."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name == "tenant_id":
            values[column.name] = tenant
        elif isinstance(column.type, Boolean):
            values[column.name] = False
        elif isinstance(column.type, LargeBinary):
            values[column.name] = f"{tenant} {table.name}".encode()
        elif column.type.python_type is int:
            values[column.name] = 2 if column.name == "next" else 1
        else:
            values[column.name] = tenant if table.name == "members" else "x"
    return values


async def _whose(connection: AsyncConnection, table: Table) -> set[str]:
    return set((await connection.execute(text(f"SELECT tenant_id FROM {table.name}"))).scalars())


async def test_in_a_tenants_context_there_are_its_rows_only(database: Database, acme: TenantScope) -> None:
    async with database.reading(acme) as connection:
        found = {table.name: await _whose(connection, table) for table in TABLES}
    assert found == {name: {"acme"} for name in NAMES}


async def test_without_a_context_there_are_no_rows(database: Database) -> None:
    async with database.looking_up() as connection:
        found = {table.name: await _whose(connection, table) for table in TABLES}
    assert found == {name: set() for name in NAMES}


async def test_the_platforms_work_sees_every_row(database: Database) -> None:
    async with database.reading(_PLATFORM) as connection:
        found = {table.name: await _whose(connection, table) for table in TABLES}
    assert found == {name: {"acme", "rival"} for name in NAMES}


async def test_no_row_is_written_or_moved_to_another_tenant(database: Database, acme: TenantScope) -> None:
    for table in TABLES:
        for statement in (
            insert(table).values(_row(table, "rival")),
            text(f"UPDATE {table.name} SET tenant_id = 'rival' WHERE tenant_id = 'acme'"),
        ):
            assert await refused(database, acme, statement), (table.name, statement)
        # What it cannot see it cannot change; of some tables it may not even try.
        for change in (f"UPDATE {table.name} SET tenant_id = tenant_id", f"DELETE FROM {table.name}"):
            await refused(database, acme, text(f"{change} WHERE tenant_id = 'rival'"))
    async with database.reading(_PLATFORM) as connection:
        for table in TABLES:
            count = select(func.count()).select_from(table).where(table.c.tenant_id == "rival")
            assert (await connection.execute(count)).scalar_one() == 1


async def refused(database: Database, scope: TenantScope, *statements: Any) -> bool:
    """Whether the privileges or policies of the role forbid it; every other error is one of the test."""
    try:
        async with database.writing(scope) as connection:
            for statement in statements:
                await connection.execute(statement)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "42501":  # insufficient_privilege
            raise
        return True
    return False


@pytest.mark.parametrize(
    "attempt",
    [
        "ALTER TABLE decisions DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE decisions NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY of_the_tenant ON decisions",
        "CREATE POLICY mine ON decisions TO caio_app USING (true)",
        "ALTER TABLE decisions OWNER TO caio_app",
        "DROP TABLE deliveries",
        "TRUNCATE deliveries",
        "CREATE TABLE mine (x integer)",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "ALTER FUNCTION caio_key_of(bytea) SECURITY INVOKER",
        "UPDATE journal SET commitment = ''",
        "DELETE FROM journal",
        "SET LOCAL row_security = off; SELECT * FROM decisions",
        "GRANT caio_platform TO caio_app",
        "ALTER ROLE caio_app BYPASSRLS",
    ],
)
async def test_the_application_role_cannot_lift_the_policy(database: Database, acme: TenantScope, attempt: str) -> None:
    assert await refused(database, acme, *map(text, attempt.split("; ")))


async def test_a_table_that_hides_another_is_not_looked_at(database: Database, acme: TenantScope) -> None:
    async with database.writing(acme) as connection:
        await connection.exec_driver_sql("CREATE TEMPORARY TABLE secrets (tenant_id text) ON COMMIT DROP")
        assert await _whose(connection, metadata.tables["secrets"]) == {"acme"}


async def test_the_look_ups_answer_with_ids_of_what_was_named(database: Database) -> None:
    async with database.looking_up() as connection:
        ask = text("SELECT * FROM caio_key_of(:hash)")
        assert [tuple(row) for row in await connection.execute(ask, {"hash": b"rival api_keys"})] == [("rival", "x")]
        assert (await connection.execute(ask, {"hash": b""})).all() == []
        ask = text("SELECT * FROM caio_memberships_of(:issuer, :subject)")
        # A membership that has ended is none.
        assert (await connection.execute(ask, {"issuer": "rival", "subject": "rival"})).all() == []
        ask = text("SELECT * FROM caio_invitation_of(:hash)")
        found = (await connection.execute(ask, {"hash": b"acme invitations"})).all()
        assert [tuple(row) for row in found] == [("acme", "x")]


async def test_what_is_shared_is_read_by_every_tenant_and_by_nobody_without_one(
    database: Database, acme: TenantScope
) -> None:
    async with database.writing(_PLATFORM) as connection:
        await connection.execute(text("UPDATE publications SET shared = true WHERE tenant_id = 'rival'"))
    async with database.reading(acme) as connection:
        assert await _whose(connection, metadata.tables["publications"]) == {"acme", "rival"}
        assert await _whose(connection, metadata.tables["publication_heads"]) == {"acme", "rival"}
        assert await _whose(connection, metadata.tables["publication_tags"]) == {"acme"}
    async with database.writing(acme) as connection:
        changed = await connection.execute(text("UPDATE publications SET document = '' WHERE tenant_id = 'rival'"))
        assert changed.rowcount == 0
    async with database.looking_up() as connection:
        assert await _whose(connection, metadata.tables["publications"]) == set()


async def test_a_context_ends_with_its_transaction_however_that_ends(database: Database) -> None:
    """One connection, as a transaction pooler gives it to one tenant after the other."""
    server = await database.server(PLATFORM)
    raw = await asyncpg.connect(server.dsn)
    context = "SELECT set_config('role', 'caio_app', true), set_config('app.tenant_id', $1, true)"
    after = "SELECT current_user, coalesce(current_setting('app.tenant_id', true), '')"
    for tenant, end in (("acme", "COMMIT"), ("rival", "ROLLBACK"), ("acme", "error"), ("rival", "COMMIT")):
        await raw.execute("BEGIN")
        await raw.execute(context, tenant)
        rows = await raw.fetch("SELECT tenant_id FROM decisions")
        if end == "error":
            with pytest.raises(asyncpg.PostgresError):
                await raw.execute("SELECT 1 / 0")
        await raw.execute("ROLLBACK" if end == "error" else end)
        assert [row[0] for row in rows] == [tenant]
        assert tuple(await raw.fetchrow(after)) == ("caio", "")
    await raw.close()


async def test_a_batch_of_several_tenants_is_written_in_their_context(database: Database) -> None:
    leaves = [Leaf(tenant, LeafKind.DECISION, f"of {tenant}", 1, bytes(32), b"") for tenant in ("acme", "rival")]
    assert await open_stores(database).journal.append(leaves) == [2, 2]


# --- which login may do what --------------------------------------------------------------------


@pytest.fixture
async def app_login(database_url: str, postgres_server: Any) -> AsyncIterator[str]:
    """The URL of a login that is the application and nothing else."""
    postgres_server.run("CREATE ROLE only_app LOGIN; GRANT caio_app TO only_app")
    yield database_url.replace("caio@", "only_app@")
    postgres_server.run("DROP ROLE only_app")


async def test_a_login_of_the_application_serves_tenants_and_no_more(
    database: Database, app_login: str, acme: TenantScope
) -> None:
    limited = await Database.open(app_login)
    await require_isolation(limited)
    stores = open_stores(limited)
    assert (await stores.tenants.get(acme)).tenant_id == "acme"
    assert (await stores.api_keys.locate(b"rival api_keys")) is not None
    await stores.journal.append([Leaf("acme", LeafKind.DECISION, "d", 1, bytes(32), b"")])
    with pytest.raises(Misconfigured, match="no member of caio_platform") as caught:
        await stores.tenants.all_active()
    assert caught.value.code == "database_role_refused"
    async with limited.as_login() as connection:
        for role in ("caio", "caio_platform"):
            with pytest.raises(DBAPIError):
                async with connection.begin_nested():
                    await connection.exec_driver_sql(f"SET ROLE {role}")
    await limited.close()


async def test_a_superuser_is_bound_all_the_same(database: Database, acme: TenantScope) -> None:
    above = await Database.open((await database.server(PLATFORM)).dsn.replace("caio@", "postgres@"))
    await require_isolation(above)
    async with above.reading(acme) as connection:
        assert await _whose(connection, metadata.tables["decisions"]) == {"acme"}
    await above.close()


@pytest.mark.parametrize(
    ("fault", "repair", "told"),
    [
        ("ALTER TABLE secrets NO FORCE ROW LEVEL SECURITY", "ALTER TABLE secrets FORCE ROW LEVEL SECURITY", "secrets"),
        ("ALTER TABLE usage DISABLE ROW LEVEL SECURITY", "ALTER TABLE usage ENABLE ROW LEVEL SECURITY", "usage"),
        ("GRANT CREATE ON SCHEMA public TO caio_app", "REVOKE CREATE ON SCHEMA public FROM caio_app", "make tables"),
    ],
)
async def test_a_database_that_does_not_bind_is_refused(database: Database, fault: str, repair: str, told: str) -> None:
    async with database.as_login() as connection:
        await connection.exec_driver_sql(fault)
    try:
        with pytest.raises(Misconfigured, match=told) as caught:
            await require_isolation(database)
        assert caught.value.code == "tenants_not_isolated"
    finally:
        async with database.as_login() as connection:
            await connection.exec_driver_sql(repair)
    await require_isolation(database)


@pytest.mark.parametrize(
    ("fault", "repair", "told"),
    [
        ("ALTER ROLE caio_app BYPASSRLS", "ALTER ROLE caio_app NOBYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE caio_app SUPERUSER", "ALTER ROLE caio_app NOSUPERUSER", "superuser"),
        ("GRANT caio_platform TO caio_app", "REVOKE caio_platform FROM caio_app", "member of caio_platform"),
    ],
)
async def test_a_role_that_is_not_bound_is_refused(
    database: Database, postgres_server: Any, fault: str, repair: str, told: str
) -> None:
    postgres_server.run(fault)
    try:
        with pytest.raises(Misconfigured, match=told):
            await require_isolation(database)
    finally:
        postgres_server.run(repair)


async def test_a_server_without_the_roles_names_what_an_administrator_runs(
    postgres_url: str, postgres_server: Any
) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres_server.run("CREATE ROLE stranger LOGIN")
    postgres_server.run(f"GRANT ALL ON DATABASE {name} TO stranger; ALTER DATABASE {name} OWNER TO stranger")
    try:
        with pytest.raises(Misconfigured, match=r"GRANT caio_app, caio_platform TO stranger"):
            await asyncio.to_thread(upgrade, postgres_url.replace("caio@", "stranger@"))
    finally:
        postgres_server.run(f"ALTER DATABASE {name} OWNER TO caio; REVOKE ALL ON DATABASE {name} FROM stranger")
        postgres_server.run("DROP ROLE stranger")


async def test_the_migration_is_undone_without_a_trace(postgres_url: str) -> None:
    await asyncio.to_thread(upgrade, postgres_url)
    await asyncio.to_thread(downgrade, postgres_url, "0005")
    database = await Database.open(postgres_url)
    async with database.as_login() as connection:
        left = text(
            "SELECT (SELECT count(*) FROM pg_policies), (SELECT count(*) FROM pg_class WHERE relrowsecurity), "
            "(SELECT count(*) FROM pg_proc WHERE proname LIKE 'caio\\_%')"
        )
        assert tuple((await connection.execute(left)).one()) == (0, 0, 0)
    await asyncio.to_thread(upgrade, postgres_url)
    await add_bare_tenants(database, tenant_named("acme"))
    await require_isolation(database)
    await database.close()


async def test_behind_an_old_pooler_no_statement_has_a_name(database: Database, acme: TenantScope) -> None:
    nameless = await Database.open(f"{(await database.server(PLATFORM)).dsn}?statement_cache_size=0")
    async with nameless.reading(acme) as connection:
        await connection.execute(select(metadata.tables["decisions"]))
        assert (await connection.execute(text("SELECT count(*) FROM pg_prepared_statements"))).scalar_one() == 0
    await open_stores(nameless).journal.append([Leaf("acme", LeafKind.DECISION, "d", 1, bytes(32), b"")])
    await nameless.close()


def test_every_table_declares_its_tenancy_and_the_list_of_tenants_is_the_only_one_of_the_platforms() -> None:
    assert [table.name for table in TABLES if table.info["tenancy"] == "platform"] == ["tenants"]
