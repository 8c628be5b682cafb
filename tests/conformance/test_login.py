"""The application's login, made by an administrator such as a cloud gives: on real servers that ask for passwords."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from caio.bootstrap import upgrade_database
from caio.config import Settings, read_settings
from caio.foundation.errors import CaioError, Misconfigured
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql import Database
from caio.storage.sql.isolation import require_isolation
from caio.storage.sql.lock import hold_process_lock
from caio.storage.sql.login import make_login, scram_verifier
from caio.storage.sql.upgrade import HEAD, current
from tests.support.secured_postgres import ADMIN, ADMIN_PASSWORD, DEBIAN_15, SecuredPostgres

USER, PASSWORD = 'caio "one"', "k/J3:v@Q%x9 L'm#Z?2p\\"
SALT = bytes(range(16))


@pytest.fixture(scope="module", params=[15, 16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[SecuredPostgres]:
    if request.param == 15 and not DEBIAN_15.exists():
        pytest.skip("the distribution's PostgreSQL 15 is not installed")
    with SecuredPostgres(request.param) as started:
        yield started


class Deployed:
    """A database of the administrator's, and what a deployment states of it."""

    def __init__(self, server: SecuredPostgres, name: str) -> None:
        self.server, self.name = server, name
        server.run(f"CREATE DATABASE {name} OWNER {ADMIN}")

    def settings(self, user: str = USER, password: str = PASSWORD) -> Settings:
        return read_settings(
            db_host="127.0.0.1",
            db_port=self.server.port,
            db_name=self.name,
            db_user=user,
            db_password=password,
            db_admin_user=ADMIN,
            db_admin_password=ADMIN_PASSWORD,
        )

    async def upgrade(self, user: str = USER, password: str = PASSWORD) -> Settings:
        settings = self.settings(user, password)
        await asyncio.to_thread(upgrade_database, settings)
        return settings

    @asynccontextmanager
    async def as_login(self, user: str = USER, password: str = PASSWORD) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.settings(user, password).url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def deployed(server: SecuredPostgres) -> Deployed:
    made = Deployed(server, "production")
    upgrade_database(made.settings())
    return made


async def test_an_administrator_need_not_be_a_superuser(deployed: Deployed) -> None:
    roles = deployed.server.run(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin FROM pg_roles "
        "WHERE rolname LIKE 'caio%' ORDER BY 1"
    )
    assert roles.splitlines() == [
        'caio "one"|f|f|f|f|t',
        "caio_app|f|f|f|f|f",
        "caio_boss|f|f|t|t|t",
        "caio_platform|f|f|f|f|f",
    ]
    assert await asyncio.to_thread(current, deployed.settings().url) == HEAD
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'dbos')"
    assert deployed.server.run(owners, "production") == ADMIN
    database = await Database.open(deployed.settings().url)
    try:
        await require_isolation(database)
        for scope in (PlatformScope("test"), TenantScope("acme")):
            async with database.reading(scope) as connection:
                assert (await connection.exec_driver_sql("SELECT count(*) FROM tenants")).scalar() == 0
    finally:
        await database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE dbos.mine (x int)",
        "CREATE INDEX mine ON tenants (name)",
        (
            "CREATE TRIGGER mine BEFORE UPDATE ON dbos.workflow_status FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "ALTER TABLE tenants DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE dbos.workflow_status ADD mine int",
        "DROP TABLE tenants",
        "TRUNCATE journal",
        "TRUNCATE dbos.workflow_status",
        "DROP SCHEMA dbos CASCADE",
        "GRANT caio_app TO caio_boss",
        f"SET ROLE {ADMIN}",
        "ALTER ROLE caio_app LOGIN",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
async def test_the_login_can_define_nothing(deployed: Deployed, statement: str) -> None:
    async with deployed.as_login() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_making_it_again_changes_nothing_but_the_password(deployed: Deployed) -> None:
    async def state() -> str:
        rights = "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members ORDER BY 1, 2"
        grants = (
            "SELECT oid::regclass, relacl FROM pg_class WHERE relnamespace IN ('public'::regnamespace, "
            "'dbos'::regnamespace) ORDER BY oid"
        )
        return deployed.server.run(rights) + deployed.server.run(grants, "production")

    before = await state()
    await deployed.upgrade()
    assert await state() == before
    await deployed.upgrade(password="another-3xQ9LmZ2p")
    assert await state() == before
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with deployed.as_login():
            pass
    async with deployed.as_login(password="another-3xQ9LmZ2p"):
        pass
    await deployed.upgrade()


async def test_two_logins_work_at_once(deployed: Deployed) -> None:
    async with deployed.as_login() as old:
        await deployed.upgrade("caio_two", "second-kJ3vQx9LmZ")
        async with deployed.as_login("caio_two", "second-kJ3vQx9LmZ") as new:
            for connection in (old, new):
                async with connection.transaction():
                    await connection.execute("SET LOCAL role caio_platform")
                    assert await connection.fetchval("SELECT count(*) FROM tenants") == 0
        async with deployed.as_login():
            pass
    await deployed.upgrade()  # and back
    deployed.server.run("DROP ROLE caio_two")


@pytest.mark.parametrize("shared", [True, False])
async def test_servers_go_on_meanwhile(deployed: Deployed, shared: bool) -> None:
    database = await Database.open(deployed.settings().url)
    try:
        lock = await hold_process_lock(database, shared=shared)
        await asyncio.wait_for(deployed.upgrade(), 60)
        async with database.reading(TenantScope("acme")) as connection:
            assert (await connection.exec_driver_sql("SELECT count(*) FROM tenants")).scalar() == 0
        await lock.release()
    finally:
        await database.close()


async def test_no_statement_holds_the_password(deployed: Deployed) -> None:
    await deployed.upgrade()
    log = deployed.server.log
    assert "SCRAM-SHA-256$4096:" in log, "the log is that of the statements"
    for secret in (PASSWORD, PASSWORD.replace("'", "''"), ADMIN_PASSWORD):
        assert secret not in log.replace(f"PASSWORD '{ADMIN_PASSWORD}'", "")  # the test's own statement


async def test_upgrades_at_once_take_turns(server: SecuredPostgres) -> None:
    database = Deployed(server, "busy")
    wanted = [database.settings(user) for user in ("caio_a", "caio_b", "caio_a")]
    await asyncio.gather(*(asyncio.to_thread(upgrade_database, each) for each in wanted))
    for user in ("caio_a", "caio_b"):
        async with database.as_login(user) as connection:
            assert await connection.fetchval("SELECT version_num FROM alembic_version") == HEAD


@pytest.mark.parametrize(
    ("prepared", "told"),
    [
        ("CREATE ROLE {user} LOGIN SUPERUSER", "is a superuser"),
        ("CREATE ROLE {user} LOGIN BYPASSRLS", "has BYPASSRLS"),
        ("CREATE ROLE {user} LOGIN CREATEROLE", "has CREATEROLE"),
        ("CREATE ROLE {user} LOGIN CREATEDB", "has CREATEDB"),
        ("CREATE ROLE {user} LOGIN; GRANT pg_read_all_data TO {user}", "is a member of pg_read_all_data"),
        (f"CREATE ROLE {{user}} LOGIN; GRANT {ADMIN} TO {{user}}", f"is a member of {ADMIN}"),
        ("CREATE ROLE {user} LOGIN; CREATE TABLE own_{user} (); ALTER TABLE own_{user} OWNER TO {user}", "owns own_"),
    ],
)
async def test_a_login_with_rights_of_its_own_is_refused(deployed: Deployed, prepared: str, told: str) -> None:
    user = f"strange_{zlib.crc32(told.encode())}"
    for statement in prepared.format(user=user).split("; "):
        deployed.server.run(statement, "production")
    with pytest.raises(Misconfigured, match=f"CAIO_DB_USER: the login {user} {told}"):
        await deployed.upgrade(user, "kJ3vQx9LmZ2p")


@pytest.mark.parametrize("user", ["caio_app", "caio_platform", "pg_monitor"])
async def test_roles_that_have_a_meaning_are_no_login(deployed: Deployed, user: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be the application's login"):
        await deployed.upgrade(user, "kJ3vQx9LmZ2p")


async def test_an_administrator_who_may_not_says_what_is_missing(deployed: Deployed) -> None:
    deployed.server.run("CREATE ROLE powerless LOGIN PASSWORD 'kJ3vQx9LmZ2p'")
    url = deployed.server.url("production", "powerless", "kJ3vQx9LmZ2p")
    with pytest.raises(Misconfigured, match=r"may not make the login caio_new.*CREATEROLE"):
        await make_login(url, "caio_new", "kJ3vQx9LmZ2p", SALT)


async def test_tables_of_another_login_are_not_taken_over(server: SecuredPostgres) -> None:
    server.run("CREATE ROLE settler LOGIN PASSWORD 'kJ3vQx9LmZ2p' CREATEROLE")
    server.run("CREATE DATABASE settled OWNER settler")
    if server.run("SELECT 1 FROM pg_roles WHERE rolname = 'caio_app'"):
        server.run("GRANT caio_app, caio_platform TO settler WITH ADMIN OPTION")
    alone = read_settings(database_url=server.url("settled", "settler", "kJ3vQx9LmZ2p"))
    await asyncio.to_thread(upgrade_database, alone)
    settings = read_settings(
        database_url=server.url("settled", "caio_new", "kJ3vQx9LmZ2p"),
        db_admin_user=ADMIN,
        db_admin_password=ADMIN_PASSWORD,
    )
    with pytest.raises(Misconfigured, match=r"The tables belong to settler.*REASSIGN OWNED BY settler"):
        await asyncio.to_thread(upgrade_database, settings)


def test_a_verifier_is_what_postgresql_would_store() -> None:
    # RFC 7677, section 3: its example's salt, iterations and password, and the server's final signature over its
    # messages, which proves the server key; the client's proof proves the stored key.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    _, _, keys = scram_verifier("pencil", salt).split("$")
    stored, server = (base64.b64decode(each) for each in keys.split(":"))
    messages = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert hmac.digest(server, messages, "sha256") == signature
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client = bytes(a ^ b for a, b in zip(proof, hmac.digest(stored, messages, "sha256"), strict=True))
    assert hashlib.sha256(client).digest() == stored


@pytest.mark.parametrize("password", ["", "pässword-of-mine", "tab\there-it-is"])
def test_a_password_that_could_be_read_differently_is_refused(password: str) -> None:
    with pytest.raises(CaioError, match="CAIO_DB_PASSWORD"):
        scram_verifier(password, SALT)
