"""The login that the application works with on PostgreSQL, made by an administrator who is no superuser.

Theory of operation
-------------------
Tables belong to the administrator who migrates. The application's login is a member of ``caio_app`` and
``caio_platform`` (``row_security``) and of nothing else: it reads and writes rows as they may, owns nothing and makes
nothing. It is made, or given its password anew, by each upgrade, from what the environment says. So a password is
changed by putting another *name* and password where the secret is kept and upgrading: what still runs goes on with
the old login, what starts works with the new one, and the old one is dropped at leisure.

The password itself is not sent: PostgreSQL is given the SCRAM-SHA-256 verifier (RFC 5803) that it would have made
of it, so that no log of statements holds it.

Laws (each has a test of the same name)
---------------------------------------
- an_administrator_need_not_be_a_superuser: CREATEROLE is enough, as on managed servers.
- the_login_can_define_nothing: no table, schema, role or function, and no change of one.
- making_it_again_changes_nothing_but_the_password.
- two_logins_work_at_once.
- servers_go_on_meanwhile: none holds an upgrade up, of one process or of several.
- no_statement_holds_the_password.
- a_login_with_rights_of_its_own_is_refused: superusers, owners, whoever may make roles.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from caio.foundation.errors import Misconfigured
from caio.storage.sql.database import Address
from caio.storage.sql.row_security import APP, PLATFORM

_ITERATIONS = 4096
_SALT_BYTES = 16

# As ``_UPGRADE_LOCK`` in upgrade.py, after those of lock.py: of two upgrades one makes the login at a time.
_LOGIN_LOCK = 0x6361696F_00000004

#: Where the engine of workflows keeps its records (``worker.durable``).
_ENGINE = "dbos"

_RIGHTS = """
    SELECT 'is a superuser' FROM pg_roles WHERE rolname = $1 AND rolsuper
    UNION ALL SELECT 'has BYPASSRLS' FROM pg_roles WHERE rolname = $1 AND rolbypassrls
    UNION ALL SELECT 'has CREATEROLE' FROM pg_roles WHERE rolname = $1 AND rolcreaterole
    UNION ALL SELECT 'has CREATEDB' FROM pg_roles WHERE rolname = $1 AND rolcreatedb
    UNION ALL SELECT 'has REPLICATION' FROM pg_roles WHERE rolname = $1 AND rolreplication
    UNION ALL SELECT 'owns ' || class.relname FROM pg_class AS class JOIN pg_roles ON pg_roles.oid = class.relowner
        WHERE rolname = $1 AND class.relkind IN ('r', 'p')
    UNION ALL SELECT 'owns the database' FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba
        WHERE rolname = $1 AND datname = current_database()
    UNION ALL SELECT 'is a member of ' || granted.rolname FROM pg_auth_members
        JOIN pg_roles AS member ON member.oid = pg_auth_members.member
        JOIN pg_roles AS granted ON granted.oid = pg_auth_members.roleid
        WHERE member.rolname = $1 AND granted.rolname NOT IN ($2, $3)
    ORDER BY 1
"""

_ENGINE_GRANTS = (
    f"GRANT USAGE ON SCHEMA {_ENGINE} TO {PLATFORM}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {_ENGINE} TO {PLATFORM}",
    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {_ENGINE} TO {PLATFORM}",
)


async def require_ownership(admin_url: str) -> None:
    """Raises Misconfigured when tables are there that the administrator may not change: made by another login,
    before there was an administrator."""
    connection = await _connected(admin_url)
    try:
        owner = await connection.fetchval(
            "SELECT rolname FROM pg_class AS class JOIN pg_roles ON pg_roles.oid = class.relowner "
            "WHERE class.oid = to_regclass('alembic_version') AND NOT pg_has_role(class.relowner, 'USAGE')"
        )
    finally:
        await connection.close()
    if owner is not None:
        raise Misconfigured(
            f"The tables belong to {owner}, and CAIO_DB_ADMIN_USER may not change them. Have {owner}, or a superuser, "
            f"hand them over: REASSIGN OWNED BY {owner} TO the administrator. Then upgrade again."
        )


async def make_login(admin_url: str, user: str, password: str, salt: bytes) -> None:
    """Make the login ``user`` as the administrator of ``admin_url``, or give it this password, in a database whose
    tables are at the head. ``salt`` is 16 random bytes.

    Raises Misconfigured for a login that must not be the application's, a password that is empty or not printable
    ASCII, and an administrator who may not do this.
    """
    import asyncpg

    verifier = scram_verifier(password, salt)
    connection = await _connected(admin_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOGIN_LOCK)
            await _check(connection, user)
            await _make(connection, user, verifier)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Misconfigured(
            f"CAIO_DB_ADMIN_USER may not make the login {user}: {error.args[0]}. It needs CREATEROLE, and must be the "
            f"one who made {APP}, {PLATFORM} and that login."
        ) from error
    finally:
        await connection.close()


async def open_engine_schema(admin_url: str) -> None:
    """Let the application at the records of the engine of workflows, which the administrator has made."""
    connection = await _connected(admin_url)
    try:
        async with connection.transaction():
            for statement in _ENGINE_GRANTS:
                await connection.execute(statement)
    finally:
        await connection.close()


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores of a password. Raises Misconfigured for one that is empty or not printable ASCII,
    which servers and clients could read differently."""
    if not password or not password.isascii() or not password.isprintable():
        raise Misconfigured("CAIO_DB_PASSWORD: the login's password must be printable ASCII characters, one at least")
    if len(salt) != _SALT_BYTES:
        raise ValueError(f"a salt has {_SALT_BYTES} bytes, not {len(salt)}")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


async def _check(connection: Any, user: str) -> None:
    if user in (APP, PLATFORM) or user.startswith("pg_") or user == await connection.fetchval("SELECT current_user"):
        raise Misconfigured(f"CAIO_DB_USER: {user} cannot be the application's login; choose another name")
    if faults := await connection.fetch(_RIGHTS, user, APP, PLATFORM):
        told = ", ".join(each[0] for each in faults[:3])
        raise Misconfigured(
            f"CAIO_DB_USER: the login {user} {told}: row-level security would not bind it. Choose another name, and "
            "the upgrade makes a login of the application's own"
        )


async def _make(connection: Any, user: str, verifier: str) -> None:
    there = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", user)
    await _run(connection, f"{'ALTER' if there else 'CREATE'} ROLE %I LOGIN INHERIT PASSWORD %L", user, verifier)
    for role in (APP, PLATFORM):
        if not await connection.fetchval("SELECT pg_has_role($1, $2, 'USAGE')", user, role):
            await _run(connection, "GRANT %I TO %I", role, user)
    if not await connection.fetchval("SELECT has_database_privilege($1, current_database(), 'CONNECT')", user):
        database = await connection.fetchval("SELECT current_database()")
        await _run(connection, "GRANT CONNECT ON DATABASE %I TO %I", database, user)


async def _run(connection: Any, statement: str, *names: str) -> None:
    """Statements about roles take no parameters: the server itself quotes the names."""
    places = ", ".join(f"${number}::text" for number in range(2, len(names) + 2))
    await connection.execute(await connection.fetchval(f"SELECT format($1, {places})", statement, *names))


async def _connected(url: str) -> Any:
    from caio.storage.sql.postgres import connect

    return await connect(Address(url).dsn)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
