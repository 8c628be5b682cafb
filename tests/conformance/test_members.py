"""What every store of members does, and of keys what identity added: located before a scope, rotated, used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.stores import Stores
from caio.tenancy.limits import Limits
from caio.tenancy.ports import ApiKey, Located
from tests.support.acts import act_leaf
from tests.support.members import add_members, member_of

IDP = "https://idp.example"
CHIEF = member_of("acme", IDP, "chief", "admin", "developer", limits=Limits(concurrent=3))
ONE = member_of("acme", IDP, "one", "user")
GONE = member_of("acme", IDP, "gone", "admin", removed_at=5)
ELSEWHERE = member_of("rival", IDP, "one", "admin")


@pytest.fixture
async def peopled(database_url: str, stores: Stores) -> Stores:
    database = await Database.open(database_url)
    await add_members(database, CHIEF, ONE, GONE, ELSEWHERE)
    await database.close()
    return stores


def told(scope: TenantScope) -> Any:
    return act_leaf(scope, "member.changed")


async def leaves(stores: Stores, scope: TenantScope) -> int:
    return len(await stores.journal.page(scope, -1, 99))


async def test_members_are_located_before_a_scope_and_read_within_it(
    peopled: Stores, acme: TenantScope, rival: TenantScope
) -> None:
    found = await peopled.members.locate(IDP, "one")
    assert list(found) == [Located("acme", ONE.member_id), Located("rival", ELSEWHERE.member_id)]
    for issuer, subject in ((IDP, "gone"), (IDP, "One"), ("https://other.example", "one"), (IDP, "' OR '1'='1")):
        assert list(await peopled.members.locate(issuer, subject)) == []
    assert await peopled.members.get(acme, CHIEF.member_id) == CHIEF
    assert await peopled.members.get(acme, GONE.member_id) == GONE
    for scope, member_id in ((rival, CHIEF.member_id), (acme, ELSEWHERE.member_id), (acme, "nobody")):
        with pytest.raises(NotFound):
            await peopled.members.get(scope, member_id)
    assert list(await peopled.members.page(acme, "", 9)) == [CHIEF, GONE, ONE]
    assert list(await peopled.members.page(acme, CHIEF.member_id, 1)) == [GONE]


async def test_a_change_is_told_and_stays_in_its_tenant(peopled: Stores, acme: TenantScope, rival: TenantScope) -> None:
    wish = replace(ONE, roles=("admin", "user"), trust_level="elevated", limits=Limits(tokens_per_day=5), name="X")
    assert await peopled.members.change(acme, ONE, wish, told(acme)) == replace(wish, name=ONE.name)
    assert await leaves(peopled, acme) == 1
    for scope, member in ((rival, ONE), (acme, GONE), (acme, replace(ONE, member_id="nobody"))):
        with pytest.raises(NotFound):
            await peopled.members.change(scope, member, member, told(scope))
        with pytest.raises(NotFound):
            await peopled.members.remove(scope, member.member_id, 9, told(scope))
    assert (await leaves(peopled, acme), await leaves(peopled, rival)) == (1, 0)


async def test_a_change_is_of_what_was_read(peopled: Stores, acme: TenantScope) -> None:
    before = await peopled.members.get(acme, ONE.member_id)
    demoted = await peopled.members.change(acme, before, replace(before, trust_level="untrusted"), told(acme))
    assert await peopled.members.change(acme, before, replace(before, limits=Limits(concurrent=1)), told(acme)) is None
    assert await peopled.members.get(acme, ONE.member_id) == demoted
    assert await leaves(peopled, acme) == 1


async def test_a_tenant_keeps_an_admin(peopled: Stores, acme: TenantScope) -> None:
    with pytest.raises(Conflict) as caught:
        await peopled.members.remove(acme, CHIEF.member_id, 9, told(acme))
    assert caught.value.code == "last_admin"
    with pytest.raises(Conflict):
        await peopled.members.change(acme, CHIEF, replace(CHIEF, roles=("developer",)), told(acme))
    assert await peopled.members.get(acme, CHIEF.member_id) == CHIEF
    await peopled.members.change(acme, CHIEF, replace(CHIEF, roles=("admin",)), told(acme))
    await peopled.members.change(acme, ONE, replace(ONE, roles=("admin",)), told(acme))
    removed = await peopled.members.remove(acme, CHIEF.member_id, 9, told(acme))
    assert removed.removed_at == 9
    assert list(await peopled.members.locate(IDP, "chief")) == []
    with pytest.raises(Conflict):
        await peopled.members.remove(acme, ONE.member_id, 9, told(acme))
    with pytest.raises(NotFound):
        await peopled.members.remove(acme, CHIEF.member_id, 10, told(acme))


async def test_two_admins_cannot_remove_each_other(
    database_url: str, stores_of_two_processes: list[Stores], acme: TenantScope
) -> None:
    database = await Database.open(database_url)
    other = member_of("acme", IDP, "other", "admin")
    await add_members(database, CHIEF, other)
    await database.close()
    one, two = stores_of_two_processes
    done = await asyncio.gather(
        one.members.remove(acme, CHIEF.member_id, 9, told(acme)),
        two.members.remove(acme, other.member_id, 9, told(acme)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "Member"]
    assert await leaves(one, acme) == 1


def key(key_id: str = "key_1", **changes: Any) -> ApiKey:
    fields: dict[str, Any] = {"roles": ("user",), "trust_level": "standard", "created_at": 3}
    return ApiKey(key_id, "acme", "laptop", "caio_dev_ab", f"hash of {key_id}".encode(), **fields | changes)


async def test_a_rotation_puts_a_successor_in_the_keys_place(
    stores: Stores, acme: TenantScope, rival: TenantScope
) -> None:
    await stores.api_keys.add(acme, key(limits=Limits(concurrent=2), created_by="key_0"), told(acme))
    successor = key("key_2", created_at=50, limits=Limits(concurrent=2))
    with pytest.raises(NotFound):
        await stores.api_keys.rotate(rival, "key_1", 100, replace(successor, tenant_id="rival"), told(rival))
    before = await stores.api_keys.rotate(acme, "key_1", 100, successor, told(acme))
    assert (before.expires_at, before.successor_id, before.created_by) == (100, "key_2", "key_0")
    assert await stores.api_keys.get(acme, "key_2") == successor
    assert await stores.api_keys.locate(successor.key_hash) == Located("acme", "key_2")
    with pytest.raises(Conflict) as caught:
        await stores.api_keys.rotate(acme, "key_1", 100, key("key_3", created_at=50), told(acme))
    assert caught.value.code == "key_not_active"
    assert (await leaves(stores, acme), await leaves(stores, rival)) == (2, 0)


@pytest.mark.parametrize(("expires_at", "ends_at"), [(None, 100), (99, 99), (100, 100), (101, 100)])
async def test_a_rotated_key_never_lives_longer(
    stores: Stores, acme: TenantScope, expires_at: int | None, ends_at: int
) -> None:
    await stores.api_keys.add(acme, key(expires_at=expires_at), told(acme))
    assert (await stores.api_keys.rotate(acme, "key_1", 100, key("key_2"), told(acme))).expires_at == ends_at


async def test_an_ended_key_is_not_rotated(stores: Stores, acme: TenantScope) -> None:
    await stores.api_keys.add(acme, key(expires_at=50), told(acme))
    await stores.api_keys.add(acme, key("key_2"), told(acme))
    await stores.api_keys.revoke(acme, "key_2", 10, told(acme))
    for key_id in ("key_1", "key_2"):
        with pytest.raises(Conflict):
            await stores.api_keys.rotate(acme, key_id, 100, key("key_3", created_at=50), told(acme))
    with pytest.raises(NotFound):
        await stores.api_keys.get(acme, "key_3")


async def test_the_latest_use_stays(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    await stores.api_keys.add(acme, key(), told(acme))
    for scope, moment, stands in ((acme, 5, 5), (acme, 4, 5), (rival, 9, 5), (acme, 7, 7)):
        await stores.api_keys.note_use(scope, {"key_1": moment, "key_9": moment})
        assert (await stores.api_keys.get(acme, "key_1")).last_used_at == stands
