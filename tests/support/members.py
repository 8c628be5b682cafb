"""Members for tests: as an accepted invitation leaves them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from caio.foundation.scope import PlatformScope
from caio.storage.sql.database import Database
from caio.storage.sql.members import columns_of
from caio.storage.sql.tables_tenancy import members
from caio.tenancy.ports import Member


def member_of(tenant_id: str, issuer: str, subject: str, *roles: str, **changes: Any) -> Member:
    fields: dict[str, Any] = {
        "name": subject.title(),
        "email": f"{subject}@example.com",
        "trust_level": "standard",
        "joined_at": 1,
    }
    member_id = changes.pop("member_id", f"member_{tenant_id}_{subject}")
    return Member(member_id, tenant_id, issuer, subject, roles=roles or ("user",), **fields | changes)


async def add_members(database: Database, *added: Member) -> None:
    async with database.writing(PlatformScope("test")) as connection:
        await connection.execute(insert(members), [columns_of(member) for member in added])
