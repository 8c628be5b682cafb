"""Invitations in SQL. Ending one is a change of its row that only succeeds while it is open, so it happens once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, delete, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database, placed
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.keys import columns_of as columns_of_key
from caio.storage.sql.members import columns_of as columns_of_member
from caio.storage.sql.tables_tenancy import api_keys, invitations, members
from caio.tenancy.invitations import Grantor
from caio.tenancy.ports import ApiKey, Invitation, Located, Member

_ADMIN = "admin"

#: The look-up that precedes a scope.
_LOCATE = {
    "sqlite": text("SELECT tenant_id, invitation_id FROM invitations WHERE token_hash = :token_hash"),
    "postgresql": text("SELECT tenant_id, invitation_id FROM caio_invitation_of(:token_hash)"),
}


class SqlInvitations:
    """The ``InvitationStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scope: TenantScope, invitation: Invitation, leaf: Leaf) -> None:
        if invitation.tenant_id != scope.tenant_id:
            raise ValueError("an invitation is added in its own tenant's scope only")
        row = asdict(invitation) | {"roles": canonical_json(list(invitation.roles)).decode()}
        try:
            async with self._database.writing_directory(scope) as connection:
                await connection.execute(insert(invitations).values(row))
                await append_within(placed(connection), leaf)
        except IntegrityError as error:
            raise NotFound("There is no such tenant.") from error

    async def get(self, scope: TenantScope, invitation_id: str) -> Invitation:
        async with self._database.reading_directory(scope) as connection:
            return _invitation(await _row(connection, scope, invitation_id))

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Invitation]:
        beyond = and_(invitations.c.tenant_id == scope.tenant_id, invitations.c.invitation_id > after)
        query = select(invitations).where(beyond).order_by(invitations.c.invitation_id).limit(limit)
        async with self._database.reading_directory(scope) as connection:
            return [_invitation(row) for row in await connection.execute(query)]

    async def locate(self, token_hash: bytes) -> Located | None:
        async with self._database.looking_up() as connection:
            found = await connection.execute(_LOCATE[self._database.dialect], {"token_hash": token_hash})
            row = found.first()
        return None if row is None else Located(row.tenant_id, row.invitation_id)

    async def revoke(self, scope: TenantScope, invitation_id: str, now: int, leaf: Leaf) -> Invitation:
        standing = update(invitations).where(_open(scope, invitation_id))
        async with self._database.writing_directory(scope) as connection:
            revoked = await connection.execute(standing.values(revoked_at=now))
            row = await _row(connection, scope, invitation_id)
            if revoked.rowcount:
                await append_within(placed(connection), leaf)
        return _invitation(row)

    async def accept(
        self, scope: TenantScope, invitation_id: str, now: int, joining: Member | ApiKey, leaves: Sequence[Leaf]
    ) -> bool:
        who = joining.member_id if isinstance(joining, Member) else joining.key_id
        taken = update(invitations).where(_open(scope, invitation_id), invitations.c.expires_at > now)
        async with self._database.writing_directory(scope) as connection:
            ended = await connection.execute(taken.values(accepted_at=now, accepted_by=who))
            if not ended.rowcount:
                return False
            if isinstance(joining, Member):
                await _add_member(connection, scope, joining)
            else:
                await connection.execute(insert(api_keys).values(columns_of_key(joining)))
            for leaf in leaves:
                await append_within(placed(connection), leaf)
        return True

    async def has_admin(self, scope: TenantScope, now: int) -> bool:
        async with self._database.reading_directory(scope) as connection:
            for query in (_standing_keys(scope, now), _standing_members(scope)):
                roles = query.with_only_columns(query.selected_columns.roles)
                if any(_ADMIN in msgspec.json.decode(each) for each in (await connection.execute(roles)).scalars()):
                    return True
        return False

    async def grantor(self, scope: TenantScope, principal_id: str, now: int) -> Grantor | None:
        async with self._database.reading_directory(scope) as connection:
            key = (
                await connection.execute(_standing_keys(scope, now).where(api_keys.c.key_id == principal_id))
            ).first()
            if key is not None:
                bounded = key.policies != "[]" or key.limits != "{}" or key.expires_at is not None
                return Grantor(tuple(msgspec.json.decode(key.roles)), key.trust_level, bounded)
            member = (
                await connection.execute(_standing_members(scope).where(members.c.member_id == principal_id))
            ).first()
            if member is not None:
                return Grantor(tuple(msgspec.json.decode(member.roles)), member.trust_level, member.limits != "{}")
        return None


def _standing_keys(scope: TenantScope, now: int) -> Select[Any]:
    return select(api_keys).where(
        api_keys.c.tenant_id == scope.tenant_id,
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
    )


def _standing_members(scope: TenantScope) -> Select[Any]:
    return select(members).where(members.c.tenant_id == scope.tenant_id, members.c.removed_at.is_(None))


async def _add_member(connection: AsyncConnection, scope: TenantScope, member: Member) -> None:
    """Who was removed may join again, as a new member."""
    same = and_(
        members.c.tenant_id == scope.tenant_id,
        members.c.issuer == member.issuer,
        members.c.subject == member.subject,
    )
    await connection.execute(delete(members).where(same, members.c.removed_at.is_not(None)))
    try:
        async with connection.begin_nested():
            await connection.execute(insert(members).values(columns_of_member(member)))
    except IntegrityError as error:
        raise Conflict(
            "You belong to this tenant already; the invitation stays open.", code="already_member"
        ) from error


def _open(scope: TenantScope, invitation_id: str) -> ColumnElement[bool]:
    return and_(
        invitations.c.tenant_id == scope.tenant_id,
        invitations.c.invitation_id == invitation_id,
        invitations.c.accepted_at.is_(None),
        invitations.c.revoked_at.is_(None),
    )


async def _row(connection: AsyncConnection, scope: TenantScope, invitation_id: str) -> Row[Any]:
    this = and_(invitations.c.tenant_id == scope.tenant_id, invitations.c.invitation_id == invitation_id)
    row = (await connection.execute(select(invitations).where(this))).first()
    if row is None:
        raise NotFound("There is no such invitation.")
    return row


def _invitation(row: Row[Any]) -> Invitation:
    columns = {field.name: getattr(row, field.name) for field in fields(Invitation)}
    roles = tuple(msgspec.json.decode(row.roles))
    return Invitation(**columns | {"roles": roles, "token_hash": bytes(row.token_hash)})
