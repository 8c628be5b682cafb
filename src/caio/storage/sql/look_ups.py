"""Who a secret or a subject belongs to, asked before there is a tenant to ask for.

On PostgreSQL a transaction of ``Database.looking_up`` sees no rows, and asks functions that answer with ids
alone (``row_security``); ``enter`` then continues it in the context of the tenant that was found, where the
row itself can be read. On SQLite the same questions go to the tables.
"""

from __future__ import annotations

from sqlalchemy import Select, TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.storage.sql.tables_tenancy import api_keys, invitations, members

_ENTER = text("SELECT set_config('app.tenant_id', :tenant, true)")
_KEY = text("SELECT tenant_id, key_id FROM caio_key_of(:hash)")
_MEMBERSHIPS = text("SELECT tenant_id, member_id FROM caio_memberships_of(:issuer, :subject)")
_INVITATION = text("SELECT tenant_id, invitation_id FROM caio_invitation_of(:hash)")


async def enter(connection: AsyncConnection, tenant_id: str) -> None:
    """Continue the transaction in the tenant's context; a tenant that was entered before is left."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_ENTER, {"tenant": tenant_id})


async def key_of(connection: AsyncConnection, key_hash: bytes) -> tuple[str, str] | None:
    """(tenant id, key id) of the API key with this hash."""
    query = select(api_keys.c.tenant_id, api_keys.c.key_id).where(api_keys.c.key_hash == key_hash)
    found = await _ids(connection, query, _KEY.bindparams(hash=key_hash))
    return found[0] if found else None


async def memberships_of(connection: AsyncConnection, issuer: str, subject: str) -> list[tuple[str, str]]:
    """(tenant id, member id) of every standing membership of a subject, by tenant."""
    query = select(members.c.tenant_id, members.c.member_id).where(
        members.c.issuer == issuer, members.c.subject == subject, members.c.removed_at.is_(None)
    )
    ordered = query.order_by(members.c.tenant_id, members.c.member_id)
    return await _ids(connection, ordered, _MEMBERSHIPS.bindparams(issuer=issuer, subject=subject))


async def invitation_of(connection: AsyncConnection, token_hash: bytes) -> tuple[str, str] | None:
    """(tenant id, invitation id) of the invitation with this token."""
    query = select(invitations.c.tenant_id, invitations.c.invitation_id).where(invitations.c.token_hash == token_hash)
    found = await _ids(connection, query, _INVITATION.bindparams(hash=token_hash))
    return found[0] if found else None


async def _ids(
    connection: AsyncConnection, query: Select[tuple[str, str]], function: TextClause
) -> list[tuple[str, str]]:
    statement: Select[tuple[str, str]] | TextClause = function if connection.dialect.name == "postgresql" else query
    return [(row[0], row[1]) for row in await connection.execute(statement)]
