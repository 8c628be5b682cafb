"""Invitations over real stores, on both databases: who joins, once, and by whose right."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from caio.audit.acts import Acts
from caio.audit.ports import LeafKind
from caio.audit.record import open_leaf
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unauthenticated
from caio.foundation.ids import ulid
from caio.foundation.scope import DEFAULT_TENANT, PlatformScope, TenantScope
from caio.routing.model import Principal
from caio.storage.sql.invitations import SqlInvitations
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables import acts
from caio.storage.sql.tables_tenancy import invitations as table
from caio.tenancy.api_keys import ApiKeys, NewKey
from caio.tenancy.invitations import DAY, Invitations
from caio.tenancy.limits import Limits
from caio.tenancy.oidc import Identity
from caio.tenancy.ports import ApiKey, Member, TenantStatus
from caio.tenancy.principals import Caller, permissions_of
from tests.support.acts import act_leaf
from tests.support.tenants import add_bare_tenants, tenant_named

NOW = 1_700_000_000_000_000
ANN = Identity("https://id.example", "ann", "", "Ann", "ann@acme.example", NOW + DAY)
ADMIN = ("admin",)


class Hall:
    """One process's invitations, with a clock of its own and an admin's key to invite with."""

    def __init__(self, stores: Stores) -> None:
        self.stores, self.now = stores, NOW
        self.database = stores.tenants._database
        self.vault = TenantVault(LocalWrapping(b"m" * 32, os.urandom), stores.tenant_keys, os.urandom, time.monotonic)
        told = Acts(self.vault, lambda: self.now, lambda prefix: ulid(prefix, NOW, os.urandom(10)), os.urandom)
        clock: Any = lambda: self.now  # noqa: E731
        forget: Any = lambda key_hash: None  # noqa: E731
        keys = ApiKeys(stores.api_keys, b"k" * 32, "test", clock, os.urandom, forget, None, told)  # type: ignore[arg-type]
        self.store = SqlInvitations(self.database)
        self.invitations = Invitations(self.store, stores.tenants, keys, b"i" * 32, clock, os.urandom, told)

    async def caller(self, scope: TenantScope, key_id: str = "key_admin", **changes: Any) -> Caller:
        key = ApiKey(key_id, scope.tenant_id, "k", "p", key_id.encode(), ADMIN, "privileged", 1)
        key = replace(key, **changes)
        await self.stores.api_keys.add(scope, key, act_leaf(scope))
        principal = Principal(key_id, "api_key", frozenset(key.roles), permissions_of(key.roles), key.trust_level)
        tenant = await self.stores.tenants.get(scope)
        return Caller(scope, tenant, principal, key.policies, key.limits, key.expires_at)

    async def told(self, scope: TenantScope) -> list[str]:
        """The actions of the tenant's acts, in order."""
        leaves = await self.stores.journal.page(scope, -1, 999)
        async with self.database.reading(scope) as connection:
            rows = {row.act_id: row.action for row in await connection.execute(select(acts))}
        return [rows[each.leaf.subject_id] for each in leaves if each.leaf.subject_id in rows]


@pytest.fixture
async def hall(stores: Stores) -> Hall:
    return Hall(stores)


@pytest.fixture
async def admin(hall: Hall, acme: TenantScope) -> Caller:
    return await hall.caller(acme)


async def test_an_identity_joins_as_a_member(hall: Hall, admin: Caller, acme: TenantScope) -> None:
    new = await hall.invitations.create(admin, "ann@acme.example", ["developer"], "standard", 7)
    assert new.token.startswith("caio_inv_")
    assert len(new.token) == len("caio_inv_") + 43
    member = await hall.invitations.join(ANN, new.token)
    assert (member.roles, member.trust_level, member.joined_at) == (("developer",), "standard", NOW)
    assert await hall.stores.members.get(acme, member.member_id) == member
    ended = await hall.store.get(acme, new.invitation.invitation_id)
    assert (ended.accepted_at, ended.accepted_by) == (NOW, member.member_id)
    assert await hall.told(acme) == [
        "contract.published", "invitation.created", "invitation.accepted", "member.joined"
    ]  # fmt: skip


async def test_a_token_is_exchanged_for_a_key(hall: Hall, admin: Caller, acme: TenantScope) -> None:
    new = await hall.invitations.create(admin, "", ["user"], "untrusted", 7)
    made = await hall.invitations.exchange(new.token, "Ann's laptop")
    key = await hall.stores.api_keys.get(acme, made.key.key_id)
    assert (key.name, key.roles, key.trust_level) == ("Ann's laptop", ("user",), "untrusted")
    assert key.created_by == "key_admin"
    located = await hall.stores.api_keys.locate(key.key_hash)
    assert located is not None
    assert located.tenant_id == "acme"


async def test_an_invitation_is_accepted_once(
    hall: Hall, admin: Caller, acme: TenantScope, stores_of_two_processes: list[Stores]
) -> None:
    halls = [hall, *map(Hall, stores_of_two_processes)]
    new = await hall.invitations.create(admin, "", ["user"], "standard", 7)
    people = [replace(ANN, subject=f"person {number}") for number in range(3)]
    tries = [each.invitations.join(person, new.token) for each, person in zip(halls, people, strict=True)]
    tries += [each.invitations.exchange(new.token, "laptop") for each in halls]  # type: ignore[misc]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, Member | NewKey) for each in done) == 1
    refused = [each for each in done if isinstance(each, Unauthenticated)]
    assert {each.code for each in refused} == {"invitation_not_open"}
    assert len(refused) == 5
    told = await hall.told(acme)
    assert told.count("invitation.accepted") == 1
    assert told.count("key.created") + told.count("member.joined") == 1
    keys, members = await hall.stores.api_keys.page(acme, "", 9), await hall.stores.members.page(acme, "", 9)
    assert len(keys) + len(members) == 2  # with the admin's own


@pytest.mark.parametrize("how", ["accepted", "revoked", "expired", "maker revoked", "maker expired", "wrong token"])
async def test_an_invitation_ends(hall: Hall, admin: Caller, acme: TenantScope, how: str) -> None:
    new = await hall.invitations.create(admin, "", ["user"], "standard", 7)
    token = new.token
    if how == "accepted":
        await hall.invitations.join(ANN, token)
    elif how == "revoked":
        await hall.invitations.revoke(admin, new.invitation.invitation_id)
    elif how == "expired":
        hall.now += 7 * DAY
    elif how == "maker revoked":
        await hall.stores.api_keys.revoke(acme, "key_admin", NOW, act_leaf(acme))
    elif how == "maker expired":
        successor = ApiKey("key_2", "acme", "k", "p", b"2", ADMIN, "privileged", NOW)
        await hall.stores.api_keys.rotate(acme, "key_admin", NOW + 5, successor, act_leaf(acme))
        hall.now += 5
    else:
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    for accepting in (hall.invitations.join(replace(ANN, subject="bob"), token), hall.invitations.exchange(token, "")):
        with pytest.raises(Unauthenticated) as refused:
            await accepting
        assert refused.value.code == "invitation_not_open"


async def test_revoking_is_told_once_and_stays_in_its_tenant(
    hall: Hall, admin: Caller, acme: TenantScope, rival: TenantScope
) -> None:
    new = await hall.invitations.create(admin, "", ["user"], "standard", 7)
    with pytest.raises(NotFound):
        await hall.invitations.revoke(await hall.caller(rival, "key_rival"), new.invitation.invitation_id)
    for _ in range(2):
        revoked = await hall.invitations.revoke(admin, new.invitation.invitation_id)
        assert revoked.revoked_at == NOW
    assert (await hall.told(acme)).count("invitation.revoked") == 1
    assert await hall.invitations.page(rival, "", 9) == []
    assert [each.invitation_id for each in await hall.invitations.page(acme, "", 9)] == [new.invitation.invitation_id]


async def test_a_grant_never_exceeds_its_grantor(hall: Hall, acme: TenantScope) -> None:
    modest = await hall.caller(acme, "key_dev", roles=("developer",), trust_level="standard")
    for roles, trust in ((["admin"], "standard"), (["user"], "elevated"), (["operator"], "standard")):
        with pytest.raises(NotAllowed):
            await hall.invitations.create(modest, "", roles, trust, 7)
    for roles, trust in (([], "standard"), (["king"], "standard"), (["user"], "blind")):
        with pytest.raises(InvalidInput):
            await hall.invitations.create(modest, "", roles, trust, 7)
    bounds: list[dict[str, Any]] = [
        {"policies": ("careful",)},
        {"limits": Limits(concurrent=1)},
        {"expires_at": NOW + DAY},
    ]
    for number, bound in enumerate(bounds):
        caller = await hall.caller(acme, f"key_bound_{number}", **bound)
        with pytest.raises(NotAllowed):
            await hall.invitations.create(caller, "", ["user"], "standard", 7)


async def test_a_maker_who_lost_a_role_grants_it_no_more(hall: Hall, admin: Caller, acme: TenantScope) -> None:
    first = await hall.invitations.create(admin, "", ["admin"], "privileged", 7)
    member = await hall.invitations.join(ANN, first.token)
    principal = Principal(member.member_id, "member", frozenset(ADMIN), permissions_of(ADMIN), "privileged")
    invites = Caller(acme, admin.tenant, principal)
    admins, users = [await hall.invitations.create(invites, "", [role], "privileged", 7) for role in ("admin", "user")]
    await hall.invitations.join(replace(ANN, subject="second"), (
        await hall.invitations.create(admin, "", ["admin"], "privileged", 7)
    ).token)  # fmt: skip
    await hall.stores.members.change(acme, member, replace(member, roles=("user",)), act_leaf(acme))
    with pytest.raises(Unauthenticated):
        await hall.invitations.exchange(admins.token, "")
    assert await hall.invitations.exchange(users.token, "")


async def test_an_operator_invites_only_where_there_is_no_admin(hall: Hall, acme: TenantScope) -> None:
    await add_bare_tenants(hall.database, tenant_named(DEFAULT_TENANT))
    operator = await hall.caller(TenantScope(DEFAULT_TENANT), "key_operator", roles=("operator",))
    first, second = [await hall.invitations.invite_admin(acme, operator, "", 7) for _ in range(2)]
    boss = await hall.invitations.exchange(first.token, "")
    with pytest.raises(Unauthenticated):
        await hall.invitations.exchange(second.token, "")
    with pytest.raises(Conflict) as refused:
        await hall.invitations.invite_admin(acme, operator, "", 7)
    assert refused.value.code == "tenant_has_admin"
    await hall.stores.api_keys.revoke(acme, boss.key.key_id, NOW, act_leaf(acme))
    again = await hall.invitations.invite_admin(acme, operator, "", 7)
    assert await hall.invitations.join(ANN, again.token)
    with pytest.raises(Conflict):
        await hall.invitations.invite_admin(acme, operator, "", 7)


async def test_an_operator_invites_the_first_admin(hall: Hall, acme: TenantScope) -> None:
    await add_bare_tenants(hall.database, tenant_named(DEFAULT_TENANT))
    home = TenantScope(DEFAULT_TENANT)
    operator = await hall.caller(home, "key_operator", roles=("operator",))
    for_good = [await hall.invitations.invite_admin(acme, operator, "boss@acme.example", 7) for _ in range(2)]
    boss = (await hall.invitations.exchange(for_good[0].token, "")).key
    assert boss.roles == ADMIN
    await hall.stores.api_keys.revoke(acme, boss.key_id, NOW, act_leaf(acme))
    with pytest.raises(NotAllowed):
        await hall.invitations.invite_admin(acme, await hall.caller(acme), "me@acme.example", 7)
    await hall.stores.api_keys.revoke(home, "key_operator", NOW, act_leaf(home))
    with pytest.raises(Unauthenticated):
        await hall.invitations.exchange(for_good[1].token, "")


async def test_who_belongs_already_leaves_the_invitation_open(hall: Hall, admin: Caller, acme: TenantScope) -> None:
    first, second = [await hall.invitations.create(admin, "", ["user"], "standard", 7) for _ in range(2)]
    member = await hall.invitations.join(ANN, first.token)
    with pytest.raises(Conflict) as refused:
        await hall.invitations.join(ANN, second.token)
    assert refused.value.code == "already_member"
    await hall.stores.members.remove(acme, member.member_id, NOW, act_leaf(acme))
    again = await hall.invitations.join(ANN, second.token)
    assert again.member_id != member.member_id


async def test_nobody_joins_a_tenant_that_is_not_active(hall: Hall, admin: Caller, acme: TenantScope) -> None:
    new = await hall.invitations.create(admin, "", ["user"], "standard", 7)
    tenant = await hall.stores.tenants.get(acme)
    suspended = replace(tenant, status=TenantStatus.SUSPENDED, revision=tenant.revision + 1)
    assert await hall.stores.tenants.change(acme, suspended, None)
    with pytest.raises(NotAllowed):
        await hall.invitations.join(ANN, new.token)


async def test_the_token_is_not_stored(hall: Hall, admin: Caller) -> None:
    new = await hall.invitations.create(admin, "ann@acme.example", ["user"], "standard", 7)
    async with hall.database.reading(PlatformScope("test")) as connection:
        row = (await connection.execute(select(table))).one()
    assert new.token[9:] not in str(row)
    assert new.token.encode() not in bytes(row.token_hash)
    sealer = await hall.vault.sealer(admin.scope)
    (leaf,) = [
        each for each in await hall.stores.journal.page(admin.scope, -1, 99) if each.leaf.kind is LeafKind.MEMBER
    ]
    assert open_leaf(leaf, sealer).document["details"] == {
        "roles": ["user"],
        "trust_level": "standard",
        "expires_at": NOW + 7 * DAY,
    }
