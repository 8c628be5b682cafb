"""What every store of aliases does, and how several processes over one see each other's changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caio.foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from caio.foundation.scope import TenantScope
from caio.registry.aliases import KEPT_SECONDS, Alias, Aliases
from caio.registry.views import Views
from caio.routing.model import Principal
from caio.storage.sql.stores import Stores
from caio.tenancy.principals import ROLES, Caller
from tests.support.acts import act_leaf, acts_over, acts_told
from tests.support.tenants import tenant_named

CONTENT = '{"target":{"capability":"chat"}}'
DOCUMENT = {"target": {"capability": "chat"}}


def leaf(scope: TenantScope) -> Any:
    return act_leaf(scope, "alias.set", "mine")


async def test_an_alias_reads_back_as_it_was(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    made = await stores.aliases.create(acme, "mine", CONTENT, 7, 10, leaf(acme))
    assert made == Alias("mine", CONTENT, 1, 7, 7)
    assert made.document == DOCUMENT
    await stores.aliases.create(acme, "a", CONTENT, 7, 10, leaf(acme))
    assert [each.name for each in await stores.aliases.all(acme)] == ["a", "mine"]
    assert list(await stores.aliases.all(rival)) == []


async def test_a_name_is_taken_once(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    await stores.aliases.create(acme, "mine", CONTENT, 7, 10, leaf(acme))
    with pytest.raises(Conflict) as taken:
        await stores.aliases.create(acme, "mine", CONTENT, 7, 10, leaf(acme))
    assert taken.value.code == "already_exists"
    await stores.aliases.create(rival, "mine", CONTENT, 7, 10, leaf(rival))


async def test_the_quota_is_exact(stores: Stores, acme: TenantScope) -> None:
    made = [stores.aliases.create(acme, f"a{n}", CONTENT, 7, 3, leaf(acme)) for n in range(6)]
    told = await asyncio.gather(*made, return_exceptions=True)
    refused = [each.code for each in told if isinstance(each, Conflict)]
    assert refused == ["quota_exceeded"] * 3
    assert len(await stores.aliases.all(acme)) == 3


async def test_a_change_needs_the_revision(stores: Stores, acme: TenantScope, rival: TenantScope) -> None:
    await stores.aliases.create(acme, "mine", CONTENT, 7, 10, leaf(acme))
    changed = await stores.aliases.change(acme, "mine", "{}", 9, 1, leaf(acme))
    assert changed == Alias("mine", "{}", 2, 7, 9)
    with pytest.raises(PreconditionFailed):
        await stores.aliases.change(acme, "mine", CONTENT, 9, 1, leaf(acme))
    with pytest.raises(PreconditionFailed):
        await stores.aliases.delete(acme, "mine", 1, leaf(acme))
    with pytest.raises(NotFound):
        await stores.aliases.change(rival, "mine", CONTENT, 9, 2, leaf(rival))
    assert await stores.aliases.delete(acme, "mine", 2, leaf(acme)) == changed
    with pytest.raises(NotFound):
        await stores.aliases.delete(acme, "mine", None, leaf(acme))


async def test_an_export_holds_them(stores: Stores, acme: TenantScope) -> None:
    await stores.aliases.create(acme, "mine", CONTENT, 7, 10, leaf(acme))
    (page,) = [page async for page in stores.tenant_rows.pages(acme, "aliases")]
    assert page == [{"alias": "mine", "document": DOCUMENT, "revision": 1, "created_at": 7, "updated_at": 7}]


class Process:
    """A process's aliases, and its clock."""

    def __init__(self, stores: Stores, *, alone: bool = False) -> None:
        self.seconds = 0.0
        self.acts, self.vault = acts_over(stores)
        views = Views(stores.contracts, stores.policies, stores.snapshots)
        self.aliases = Aliases(
            stores.aliases, stores.contracts, views, self.acts, lambda: 1, lambda: self.seconds, alone=alone
        )

    async def names(self, scope: TenantScope) -> list[str]:
        fresh = self.aliases.fresh(scope.tenant_id)
        return [*(await self.aliases.read(scope) if fresh is None else fresh)]


def caller(scope: TenantScope) -> Caller:
    principal = Principal("key_1", "api_key", frozenset({"admin"}), ROLES["admin"])
    return Caller(scope, tenant_named(scope.tenant_id), principal)


async def test_a_change_elsewhere_is_seen_in_time(stores: Stores, acme: TenantScope) -> None:
    here, there = Process(stores), Process(stores)
    assert await here.names(acme) == await there.names(acme) == []
    await here.aliases.create(caller(acme), "mine", DOCUMENT, [], [])
    assert await here.names(acme) == ["mine"]
    assert await there.names(acme) == []
    there.seconds += KEPT_SECONDS
    assert await there.names(acme) == ["mine"]
    await here.aliases.delete(caller(acme), "mine", None)
    assert await here.names(acme) == []
    there.seconds += KEPT_SECONDS
    assert await there.names(acme) == []


async def test_a_process_that_is_alone_reads_once(stores: Stores, acme: TenantScope) -> None:
    alone = Process(stores, alone=True)
    await alone.names(acme)
    alone.seconds += 1e9
    assert alone.aliases.fresh("acme") == {}
    await alone.aliases.create(caller(acme), "mine", DOCUMENT, [], [])
    assert alone.aliases.fresh("acme") is None
    assert await alone.names(acme) == ["mine"]


async def test_a_reading_that_a_change_overtakes_is_not_kept(
    stores: Stores, acme: TenantScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(stores, alone=True)
    read, go = stores.aliases.all, asyncio.Event()

    async def slow(scope: TenantScope) -> Any:
        found = await read(scope)
        await go.wait()
        return found

    monkeypatch.setattr(type(stores.aliases), "all", lambda self, scope: slow(scope))
    reading = asyncio.create_task(process.aliases.read(acme))
    await asyncio.sleep(0.05)
    await process.aliases.create(caller(acme), "mine", DOCUMENT, [], [])
    go.set()
    await reading
    assert process.aliases.fresh("acme") is None


async def test_what_is_done_is_told(stores: Stores, acme: TenantScope) -> None:
    process = Process(stores)
    await process.aliases.create(caller(acme), "mine", DOCUMENT, [], [])
    await process.aliases.replace(caller(acme), "mine", {**DOCUMENT, "description": "x"}, [], [], 1)
    await process.aliases.delete(caller(acme), "mine", 2)
    told = await acts_told(stores.journal, process.vault, acme)
    assert [(each["action"], each["subject"], each["details"]) for each in told] == [
        ("alias.set", "mine", {"alias": DOCUMENT}),
        ("alias.set", "mine", {"alias": {**DOCUMENT, "description": "x"}}),
        ("alias.removed", "mine", {}),
    ]


@pytest.mark.parametrize(
    ("name", "policies", "services", "pointer"),
    [
        ("auto", [], [], "/alias"),
        ("Upper", [], [], "/alias"),
        ("a@1", [], [], "/alias"),
        ("a" * 64, [], [], "/alias"),
        ("fine", ["nothing"], [], "/policies/0"),
        ("fine", [], ["nothing"], "/target/services/0"),
    ],
)
async def test_what_is_nothing_is_refused(
    stores: Stores, acme: TenantScope, name: str, policies: Any, services: Any, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await Process(stores).aliases.create(caller(acme), name, DOCUMENT, policies, services)
    assert [each.pointer for each in refused.value.violations] == [pointer]
    assert list(await stores.aliases.all(acme)) == []
