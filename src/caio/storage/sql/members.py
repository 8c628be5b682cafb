"""Members in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.ports import Leaf
from caio.foundation.canonical import canonical_json
from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.tables_tenancy import members
from caio.tenancy.limits import Limits
from caio.tenancy.ports import Located, Member

#: The look-up that precedes a scope.
_LOCATE = {
    "sqlite": text(
        "SELECT tenant_id, member_id FROM members "
        "WHERE issuer = :issuer AND subject = :subject AND removed_at IS NULL ORDER BY tenant_id"
    ),
    "postgresql": text("SELECT tenant_id, member_id FROM caio_memberships_of(:issuer, :subject)"),
}

_ADMIN = "admin"


class SqlMembers:
    """The ``MemberStore`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def locate(self, issuer: str, subject: str) -> Sequence[Located]:
        named = {"issuer": issuer, "subject": subject}
        async with self._database.looking_up() as connection:
            found = await connection.execute(_LOCATE[self._database.dialect], named)
            return [Located(row.tenant_id, row.member_id) for row in found]

    async def get(self, scope: TenantScope, member_id: str) -> Member:
        async with self._database.reading_directory(scope) as connection:
            return _member(await _row(connection, scope, member_id))

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Member]:
        """Up to ``limit`` members with an id beyond ``after``, by id; removed ones too."""
        query = select(members).where(members.c.tenant_id == scope.tenant_id, members.c.member_id > after)
        async with self._database.reading_directory(scope) as connection:
            return [_member(row) for row in await connection.execute(query.order_by(members.c.member_id).limit(limit))]

    async def change(self, scope: TenantScope, before: Member, after: Member, leaf: Leaf) -> Member | None:
        row = columns_of(after)
        changed = {name: row[name] for name in ("roles", "trust_level", "limits")}
        async with self._database.writing_directory(scope) as connection:
            if await _hold(connection, scope, before.member_id, stays_admin=_ADMIN in after.roles) != before:
                return None
            await connection.execute(update(members).where(_this(scope, before.member_id)).values(changed))
            stored = await _row(connection, scope, before.member_id)
            await append_within(connection, leaf)
        return _member(stored)

    async def remove(self, scope: TenantScope, member_id: str, now: int, leaf: Leaf) -> Member:
        async with self._database.writing_directory(scope) as connection:
            await _hold(connection, scope, member_id, stays_admin=False)
            await connection.execute(update(members).where(_this(scope, member_id)).values(removed_at=now))
            after = await _row(connection, scope, member_id)
            await append_within(connection, leaf)
        return _member(after)


def columns_of(member: Member) -> dict[str, Any]:
    """The member's columns."""
    return asdict(member) | {
        "roles": canonical_json(list(member.roles)).decode(),
        "limits": canonical_json(member.limits.document()).decode(),
    }


def _this(scope: TenantScope, member_id: str) -> ColumnElement[bool]:
    return (members.c.tenant_id == scope.tenant_id) & (members.c.member_id == member_id)


async def _row(connection: AsyncConnection, scope: TenantScope, member_id: str) -> Row[Any]:
    row = (await connection.execute(select(members).where(_this(scope, member_id)))).first()
    if row is None:
        raise NotFound("There is no such member.")
    return row


async def _hold(connection: AsyncConnection, scope: TenantScope, member_id: str, *, stays_admin: bool) -> Member:
    """The member, locked. Raises NotFound for one that was removed, and Conflict when the tenant's only admin would
    be none. All admins are locked with it, in one order, so that two who take each other's place away wait for
    one another."""
    standing = (members.c.tenant_id == scope.tenant_id) & members.c.removed_at.is_(None)
    is_admin = members.c.roles.contains(f'"{_ADMIN}"', autoescape=True)
    locked = select(members).where(standing, is_admin | (members.c.member_id == member_id))
    found = [_member(row) for row in await connection.execute(locked.order_by(members.c.member_id).with_for_update())]
    member = next((each for each in found if each.member_id == member_id), None)
    if member is None:
        raise NotFound("There is no such member.")
    if _ADMIN in member.roles and not stays_admin and len(found) == 1:
        raise Conflict("A tenant keeps at least one admin; give somebody else the role first.", code="last_admin")
    return member


def _member(row: Row[Any]) -> Member:
    columns = {field.name: getattr(row, field.name) for field in fields(Member)}
    roles = tuple(msgspec.json.decode(row.roles))
    return Member(**columns | {"roles": roles, "limits": Limits.read(msgspec.json.decode(row.limits))})
