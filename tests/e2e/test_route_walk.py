"""Every operation of the OpenAPI document, streaming ones included: who gets in, and what strangers learn.

Generated from the document (``support.route_walk``), so that a new operation is walked or fails.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.tenancy.authentication import embedded_scope
from caio.tenancy.principals import ROLES
from tests.e2e.conftest import Served, served
from tests.support.members import add_members, member_of
from tests.support.route_walk import (
    BODIES,
    KINDS,
    PUBLIC,
    Operation,
    Owner,
    Told,
    call,
    each_id,
    operations,
    random_id,
)
from tests.support.tenants import add_bare_tenants, tenant_named

#: Operations that every credential may use, whatever its roles: each with its reason.
FOR_EVERYBODY = {"GET /api/v1/me": "it says who the caller is, and nothing more"}

#: Operations whose credential is no key and no membership: each with its reason.
OTHER_CREDENTIALS = {
    "POST /api/v1/invitations/accept": "it takes an invitation's token, of somebody who is no member yet",
}


#: What changes while nobody changes it: a receipt with the log's tree, deliveries with the worker's attempts.
GROWING = ("/receipt", "/deliveries")


@dataclass
class Walk:
    caio: Served
    document: Mapping[str, Any]
    acme: Owner
    rival: Owner
    nobody: aiohttp.ClientSession

    @property
    def operations(self) -> list[Operation]:
        return operations(self.document)

    @property
    def guarded(self) -> list[Operation]:
        """Operations that a key or membership opens."""
        others = PUBLIC | {name.partition(" ")[2] for name in OTHER_CREDENTIALS}
        return [each for each in self.operations if each.path not in others]


@pytest.fixture
async def walk(tmp_path: Path, template: tuple[Path, str], service: Any) -> AsyncIterator[Walk]:
    folder, key = template
    shutil.copytree(folder, tmp_path / "data")
    async with AsyncExitStack() as stack:
        caio = await stack.enter_async_context(served(tmp_path / "data", key, service))
        await add_bare_tenants(caio.installation.database, tenant_named("acme"), tenant_named("rival"))
        owners = []
        for tenant_id in ("acme", "rival"):
            first = await caio.installation.api_keys.create_first(embedded_scope(tenant_id))
            assert first is not None
            chief, member = (
                member_of(tenant_id, "https://idp.example", name, "admin") for name in ("chief", "somebody")
            )
            await add_members(caio.installation.database, chief, member)
            http = aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {first.token}"})
            await stack.enter_async_context(http)
            owners.append(Owner(http, service.url, tenant_id, member.member_id))
        nobody = await stack.enter_async_context(aiohttp.ClientSession(caio.url))
        async with nobody.get("/openapi.json") as answer:
            document = await answer.json()
        yield Walk(caio, document, owners[0], owners[1], nobody)


async def test_the_table_knows_every_kind_of_id(walk: Walk) -> None:
    unknown = set(each_id(walk.document)) - KINDS.keys()
    assert not unknown, f"add a row to KINDS in tests/support/route_walk.py for {sorted(unknown)}"
    names = {each.name for each in walk.operations}
    gone = (BODIES.keys() | FOR_EVERYBODY.keys()) - names
    assert not gone, f"no operations any more: {sorted(gone)}"


async def test_the_document_says_what_is_public(walk: Walk) -> None:
    assert {each.path for each in walk.operations if "security" not in each.document} == PUBLIC
    for path in PUBLIC | {"/docs", "/openapi.json"}:
        async with walk.nobody.get(path) as answer:
            assert answer.status == 200, path


async def test_no_token_is_401_everywhere_else(walk: Walk) -> None:
    for operation in [each for each in walk.operations if each.path not in PUBLIC]:
        ids = {name: random_id(name) for name in operation.ids}
        told = await call(walk.nobody, operation, ids, body=b"no JSON")
        assert told.status == 401, f"{operation.name}: {told}"
        assert ("www-authenticate", "Bearer") in told.headers, operation.name
        assert b"unauthenticated" in told.body, operation.name


async def test_a_role_without_the_permission_is_403(walk: Walk) -> None:
    """Who is let in tells which permission an operation asks for: for each there must be one that fits."""
    sessions = {}
    async with AsyncExitStack() as stack:
        for role in ROLES:
            made = await walk.caio.installation.api_keys.create(
                await walk.caio.installation.authenticator.authenticate(f"Bearer {walk.caio.token}"),
                f"a {role}",
                [role],
                "standard",
                None,
            )
            headers = {"Authorization": f"Bearer {made.token}"}
            sessions[role] = await stack.enter_async_context(aiohttp.ClientSession(walk.caio.url, headers=headers))
        by_permission = defaultdict(set)
        for role, permissions in ROLES.items():
            for permission in permissions:
                by_permission[permission].add(role)
        for operation in walk.guarded:
            ids = {name: random_id(name) for name in operation.ids}
            let_in = set()
            for role, session in sessions.items():
                told = await call(session, operation, ids, body=b"no JSON")
                assert told.status < 500, f"{operation.name} as {role}: {told}"
                if told.status != 403:
                    let_in.add(role)
            if operation.name in FOR_EVERYBODY:
                assert let_in == ROLES.keys(), operation.name
                continue
            assert let_in != ROLES.keys(), f"{operation.name} asks for no permission"
            assert any(let_in == roles for roles in by_permission.values()), (operation.name, let_in)


async def test_another_tenants_ids_are_random_ids(walk: Walk) -> None:
    """Each operation with an id in its path: rival's admin asks for acme's, and for one that nothing has."""
    kept = {name: await KINDS[name](walk.acme) for name in set(each_id(walk.document))}
    walked = [each for each in walk.guarded if each.ids]
    assert len(walked) > 20
    acmes = {each.name: {name: await KINDS[name](walk.acme) for name in each.ids} for each in walked}
    before = await _read(walk, kept)
    for operation in walked:
        theirs = acmes[operation.name]
        nothing = {name: random_id(name) for name in operation.ids}
        told = [await _asked(walk, operation, ids) for ids in (theirs, nothing)]
        assert told[0] == told[1], operation.name
        platform = "tenant_id" in operation.ids  # the operator's; an admin of a tenant is none
        assert told[0].status in ((403, 404) if platform else (404,)), (
            f"{operation.name}: {told[0]}; one that reads its body first needs a row in BODIES"
        )
    after = await _read(walk, kept)
    assert {name: told for name, told in after.items() if before[name] != told} == {}


async def _asked(walk: Walk, operation: Operation, ids: Mapping[str, str]) -> Told:
    body = BODIES.get(operation.name)
    raw = json.dumps(body(ids, walk.acme.url)).encode() if body else b"{}"
    return await call(walk.rival.http, operation, ids, body=raw)


async def _read(walk: Walk, kept: Mapping[str, str]) -> dict[str, Told]:
    """What acme's admin reads of ``kept``: what strangers do must not change it. Some of it grows by itself."""
    told = {}
    for operation in walk.guarded:
        if operation.method == "GET" and operation.ids and not operation.path.endswith(GROWING):
            told[operation.name] = await call(walk.acme.http, operation, {name: kept[name] for name in operation.ids})
    return told


async def test_a_tenant_header_that_proves_nothing_is_one_answer(walk: Walk) -> None:
    for operation in walk.guarded:
        ids = {name: random_id(name) for name in operation.ids}
        told = [
            await call(walk.rival.http, operation, ids, headers={"X-Tenant-ID": tenant})
            for tenant in ("acme", "nothing-there", "' OR 1=1 --")
        ]
        assert told[0] == told[1] == told[2], operation.name
        assert told[0].status == 403, operation.name


async def test_another_tenants_service_is_no_model(walk: Walk) -> None:
    theirs = await KINDS["service_id"](walk.acme)
    told = []
    for name in (theirs, random_id("service_id")):
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        for stream in (False, True):
            async with walk.rival.http.post("/v1/chat/completions", json=body | {"stream": stream}) as answer:
                document = await answer.json(content_type=None)
                document["error"].pop("decision_id", None)
                told.append((answer.status, str(document).replace(name, "<id>")))
    assert len(set(told)) == 1, told
    assert told[0][0] in (404, 422)
