"""Hostile text in every field, and members that are nobody's to set, over every operation of the document."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from sqlalchemy import select
from yarl import URL

from caio.foundation.scope import PlatformScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import metadata
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, contract, served
from tests.support.bodies import Bodies
from tests.support.members import add_members, member_of
from tests.support.route_walk import PUBLIC, Operation, operations, policy
from tests.support.tenants import add_bare_tenants, tenant_named

SQL = "x' OR '1'='1"
STACKED = "\"'; DROP TABLE tenants; DELETE FROM api_keys; --"
HOSTILE = (SQL, STACKED, "%' UNION SELECT key_hash FROM api_keys --", "\\", "$1", "{0}", "\u2028é\U0001f600")

#: Members that a client has no business to set, with what an attacker would like there.
COVETED: Mapping[str, Any] = {
    "tenant_id": "rival",
    "tenant": "rival",
    "roles": ["admin", "operator"],
    "role": "operator",
    "permissions": ["tenants:manage"],
    "is_admin": True,
    "status": "active",
    "plan": "enterprise",
    "quotas": {"services": 10**6},
    "limits": {},
    "budget": None,
    "tier": "silo",
    "principal_id": "embedded",
    "created_by": "embedded",
    "created_at": 0,
    "key_hash": "aa",
    "token": "caio_test_mine",
    "revision": 99,
    "shared": True,
    "__proto__": {"admin": True},
}

#: Bodies whose further members are somebody else's: each with its reason.
PASSED_ON = {
    "POST /v1/chat/completions": "OpenAI's clients send what services know; it is passed on",
    "POST /v1/embeddings": "as above",
    "POST /v1/responses": "as above",
}

#: Documents whose unknown members are warnings, by law; they are named and not stored.
WARNED: Mapping[str, Callable[[str], Any]] = {
    "/api/v1/services": lambda name: contract(name, "https://service.example"),
    "/api/v1/policies": policy,
}

#: Tables that the process itself writes to while nobody calls, for every tenant.
OF_THE_PROCESS = {"events", "deliveries", "usage", "usage_marks", "storage_measures", "log_heads", "log_tiles"}


@dataclass
class Target:
    caio: Served
    document: Mapping[str, Any]
    admin: aiohttp.ClientSession
    operator: aiohttp.ClientSession

    @property
    def operations(self) -> list[Operation]:
        return [each for each in operations(self.document) if each.path not in PUBLIC]

    @property
    def database(self) -> Database:
        return self.caio.installation.database


@pytest.fixture
async def target(tmp_path: Path, template: tuple[Path, str], service: Any) -> AsyncIterator[Target]:
    folder, key = template
    shutil.copytree(folder, tmp_path / "data")
    async with AsyncExitStack() as stack:
        caio = await stack.enter_async_context(served(tmp_path / "data", key, service))
        await add_bare_tenants(caio.installation.database, tenant_named("acme"), tenant_named("rival"))
        tokens = {}
        for tenant_id in ("acme", "rival"):
            first = await caio.installation.api_keys.create_first(embedded_scope(tenant_id))
            assert first is not None
            tokens[tenant_id] = first.token
            await add_members(caio.installation.database, member_of(tenant_id, "https://idp.example", "chief", "admin"))

        async def session(token: str) -> aiohttp.ClientSession:
            headers = {"Authorization": f"Bearer {token}"}
            return await stack.enter_async_context(aiohttp.ClientSession(caio.url, headers=headers))

        admin, operator = await session(tokens["acme"]), await session(caio.token)
        async with operator.get("/openapi.json") as answer:
            document = await answer.json()
        yield Target(caio, document, admin, operator)


async def rows_of(database: Database, tenant_id: str) -> dict[str, Any]:
    """Everything that is stored of a tenant, by table."""
    found = {}
    async with database.reading(PlatformScope("test")) as connection:
        for table in metadata.sorted_tables:
            if "tenant_id" in table.c and table.name not in OF_THE_PROCESS:
                of_tenant = select(table).where(table.c.tenant_id == tenant_id)
                rows = [tuple(row) for row in await connection.execute(of_tenant)]
                found[table.name] = sorted(rows, key=repr)
    return found


async def send(
    session: aiohttp.ClientSession, operation: Operation, text: str, body: Any = None, query: str | None = None
) -> tuple[int, bytes]:
    """One call with ``text`` in the path and, when named, one parameter of the query."""
    path = operation.path
    for name in operation.ids:
        path = path.replace(f"{{{name}}}", quote(text, safe=""))
    path = path.format(seq="0", path="tile/0/000")
    parameters = dict(operation.required_query) | ({query: text} if query else {})
    async with session.request(
        operation.method,
        URL(f"{path}?{urlencode(parameters)}" if parameters else path, encoded=True),
        data=json.dumps(body).encode() if operation.takes_body else None,
        headers={"If-Match": '"1"', "Content-Type": "application/json"},
    ) as answer:
        return answer.status, await answer.read()


async def test_hostile_text_is_text_in_every_path_and_query(target: Target) -> None:
    before = {name: await rows_of(target.database, name) for name in ("acme", "rival")}
    for operation in target.operations:
        stated = operation.document.get("parameters", ())
        queries = [each["name"] for each in stated if each["in"] == "query"]
        least = Bodies(target.document).least(operation.body_schema) if operation.takes_body else None
        for text in HOSTILE:
            if operation.ids:
                status, body = await send(target.operator, operation, text, least)
                assert status < 500, f"{operation.name} {text!r}: {status} {body!r}"
                assert status >= 400, f"{operation.name} {text!r}: {status} {body!r}"
            for query in queries if text in (SQL, STACKED) else ():
                status, body = await send(target.operator, operation, "nothing", least, query)
                assert status < 500, f"{operation.name}?{query}={text!r}: {status} {body!r}"
    for name, tables in before.items():
        after = await rows_of(target.database, name)
        assert [table for table in tables if after[table] != tables[table]] == [], name


async def test_hostile_text_is_text_in_every_body(target: Target) -> None:
    bodies = Bodies(target.document)
    before = {name: await rows_of(target.database, name) for name in ("acme", "rival")}
    tried = 0
    for operation in target.operations:
        if not operation.takes_body:
            continue
        for place, body in bodies.with_text(operation.body_schema, STACKED):
            status, answer = await send(target.operator, operation, "nothing-there", body)
            assert status < 500, f"{operation.name} {place}: {status} {answer!r}"
            tried += 1
    assert tried > 100
    for name, tables in before.items():
        after = await rows_of(target.database, name)
        assert [table for table in tables if after[table] != tables[table]] == [], name
    status, answer = await send(target.operator, Operation("GET", "/api/v1/me", {}), "")
    assert status == 200


async def test_members_that_are_nobodys_to_set_are_refused(target: Target) -> None:
    """Unknown members are named in the refusal; what is passed on changes nothing here."""
    bodies = Bodies(target.document)
    rival = await rows_of(target.database, "rival")
    mine = await rows_of(target.database, "acme")
    taken = []
    for operation in target.operations:
        if not operation.takes_body:
            continue
        made = WARNED.get(operation.path.split("/{")[0].removesuffix("/validate"))
        for number, (name, value) in enumerate(COVETED.items()):
            least = made(f"new-{number}") if made else bodies.least(operation.body_schema)
            if name in bodies.members(operation.body_schema):
                continue
            named = f"new-{number}" if made else "nothing-there"
            status, answer = await send(target.admin, operation, named, least | {name: value})
            assert status < 500, f"{operation.name} {name}: {status} {answer!r}"
            refused = status in (401, 403) or (status in (400, 422) and f"/{name}".encode() in answer)
            if made:
                stored = json.loads(answer).get("document", {})
                refused |= status in (404, 409, 412) or (f"/{name}".encode() in answer and name not in stored)
            if not refused and operation.name not in PASSED_ON:
                taken.append((operation.name, name, status, answer[:200]))
    assert taken == []
    assert await rows_of(target.database, "rival") == rival
    after = await rows_of(target.database, "acme")
    for table in ("tenants", "api_keys", "members", "invitations"):
        assert after[table] == mine[table], table


async def test_declared_roles_go_no_further_than_the_giver(target: Target) -> None:
    before = await rows_of(target.database, "acme")
    attempts = (
        ("POST", "/api/v1/keys", {"name": "x", "roles": ["operator"]}),
        ("POST", "/api/v1/keys", {"name": "x", "roles": ["admin", "operator"], "trust_level": "privileged"}),
        ("POST", "/api/v1/invitations", {"email": "a@example.com", "roles": ["operator"]}),
        ("PATCH", "/api/v1/members/member_acme_chief", {"roles": ["admin", "operator"]}),
        ("PATCH", "/api/v1/members/member_acme_chief", {"roles": ["user"]}),
        ("DELETE", "/api/v1/members/member_acme_chief", None),
        ("PATCH", "/api/v1/members/member_rival_chief", {"roles": ["user"]}),
    )
    for method, path, body in attempts:
        async with target.admin.request(method, path, json=body) as answer:
            assert answer.status in (403, 404, 409, 422), (path, body, await answer.text())
    after = await rows_of(target.database, "acme")
    for table in ("api_keys", "members", "invitations"):
        assert after[table] == before[table], table
