"""The laws of ``tenancy.members`` over the real SQLite store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from caio.audit.ports import Leaf
from caio.foundation.errors import NotAllowed
from caio.foundation.scope import TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.stores import Stores
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.authentication import embedded_caller
from caio.tenancy.limits import Limits
from caio.tenancy.members import Members
from caio.tenancy.ports import Member
from caio.tenancy.principals import Caller
from tests.support.acts import acts_over
from tests.support.members import add_members, member_of
from tests.support.tenants import add_bare_tenants, tenant_named

ACME, NOW = TenantScope("acme"), 1_700_000_000_000_000
CHIEF = member_of("acme", "https://idp.example", "chief", "admin", trust_level="privileged")
MATE = member_of("acme", "https://idp.example", "mate", "developer", trust_level="standard")


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    url = f"sqlite:///{tmp_path / 'caio.db'}"
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    await add_bare_tenants(database, tenant_named("acme"))
    await add_members(database, CHIEF, MATE)
    yield open_stores(database)
    await database.close()


@pytest.fixture
async def boss(stores: Stores) -> Caller:
    return embedded_caller(await stores.tenants.get(ACME))


@pytest.fixture
def members(stores: Stores) -> Members:
    return Members(stores.members, acts_over(stores, NOW)[0], lambda: NOW, lambda member_id: None)


@pytest.mark.parametrize(
    "bound", [{"policies": ("strict",)}, {"limits": Limits(requests_per_minute=1)}, {"ends_at": NOW + 60_000_000}]
)
async def test_who_is_bound_gives_no_freedom(members: Members, boss: Caller, bound: dict[str, object]) -> None:
    caller = replace(boss, **bound)  # type: ignore[arg-type]
    for roles, trust_level in ((["admin"], None), (["developer", "billing"], None), (None, "elevated")):
        with pytest.raises(NotAllowed):
            await members.change(caller, MATE.member_id, roles, trust_level)
    assert await members.get(ACME, MATE.member_id) == MATE
    less = await members.change(caller, MATE.member_id, ["user"], "untrusted", Limits(requests_per_minute=1))
    assert (less.roles, less.trust_level) == (("user",), "untrusted")
    assert (await members.change(boss, MATE.member_id, ["admin"], "privileged")).roles == ("admin",)


async def test_a_change_is_of_what_was_read(stores: Stores, boss: Caller, members: Members) -> None:
    """A change of limits does not bring back the roles that were taken away while it was made."""

    class Late:
        """The store, which one write reaches after somebody else's."""

        get = stores.members.get

        async def change(self, scope: TenantScope, before: Member, after: Member, leaf: Leaf) -> Member | None:
            if before == MATE:
                await members.change(boss, MATE.member_id, ["auditor"], "untrusted")
            return await stores.members.change(scope, before, after, leaf)

    acts, _ = acts_over(stores, NOW)
    slow = Members(Late(), acts, lambda: NOW, lambda member_id: None)  # type: ignore[arg-type]
    changed = await slow.change(boss, MATE.member_id, limits=Limits(concurrent=5))
    assert changed == replace(MATE, roles=("auditor",), trust_level="untrusted", limits=Limits(concurrent=5))
    assert await members.get(ACME, MATE.member_id) == changed
