"""Every operation of the OpenAPI document, ready to be called: so that a new route is covered, or fails the walk.

A new kind of id in a path needs a row in ``KINDS``: how to make one in a tenant. An operation that reads its body
before it looks for the id needs a row in ``BODIES``: a body that is valid for that id.

``/mcp`` is no operation of the document: who may come in there is proved by ``tests/e2e/test_mcp.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from caio.foundation.ids import ulid

#: What needs no credential, and nothing else.
PUBLIC = {"/health", "/health/live", "/health/ready", "/.well-known/caio-keys.json"}

#: Parameters of paths that name nothing of a tenant's own: a place in the caller's own log, what is never kept.
PLACES = {"seq": "0", "path": "tile/0/000", "response_id": "resp_1"}

Ask = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def ids(self) -> list[str]:
        """The parameters of the path that name something of a tenant."""
        return [name for name in re.findall(r"{(\w+)}", self.path) if name not in PLACES]

    def address(self, values: Mapping[str, str]) -> str:
        return self.path.format(**PLACES | dict(values))

    @property
    def required_query(self) -> dict[str, str]:
        """The least query that the operation takes."""
        stated = [
            each for each in self.document.get("parameters", ()) if each["in"] == "query" and each.get("required")
        ]
        return {each["name"]: "1" if each["schema"].get("type") == "integer" else "x" for each in stated}

    @property
    def takes_body(self) -> bool:
        return "requestBody" in self.document

    @property
    def body_schema(self) -> Mapping[str, Any]:
        content = self.document["requestBody"]["content"]
        schema: Mapping[str, Any] = content["application/json"]["schema"]
        return schema


def operations(document: Mapping[str, Any]) -> list[Operation]:
    return [
        Operation(method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def random_id(parameter: str) -> str:
    """An id of the parameter's shape that nothing has."""
    kind = parameter.removesuffix("_id")
    if kind in ("service", "policy", "tenant", "alias", "model"):
        return f"nothing-{os.urandom(4).hex()}"
    prefixes = {
        "decision": "dec",
        "hold": "hold",
        "webhook": "wh",
        "invitation": "inv",
        "member": "member",
        "run": "wfr",
    }
    return ulid(prefixes.get(kind, kind), time.time_ns() // 1000, os.urandom(10))


class Owner:
    """An admin's session in one tenant, in which an instance of each kind can be made. ``url`` is a service's."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tenant_id: str, member_id: str) -> None:
        self.http = http
        self.url = url
        self.tenant_id = tenant_id
        self.member_id = member_id

    async def post(self, path: str, document: Any) -> Any:
        async with self.http.post(path, json=document) as answer:
            text = await answer.text()
            assert answer.status < 300, f"{path}: {answer.status} {text}"
            return json.loads(text)


async def _service(owner: Owner) -> str:
    from tests.e2e.conftest import contract

    service_id = f"own-{os.urandom(4).hex()}"
    await owner.post("/api/v1/services", contract(service_id, owner.url))
    return service_id


async def _policy(owner: Owner) -> str:
    policy_id = f"own-{os.urandom(4).hex()}"
    await owner.post("/api/v1/policies", policy(policy_id))
    return policy_id


async def _decision(owner: Owner) -> str:
    await _service(owner)
    wanted = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
    return str((await owner.post("/api/v1/route", wanted))["decision_id"])


async def _hold(owner: Owner) -> str:
    return str((await owner.post("/api/v1/audit/holds", {"reason": "a dispute"}))["hold_id"])


async def _key(owner: Owner) -> str:
    return str((await owner.post("/api/v1/keys", {"name": "a key"}))["key_id"])


async def _member(owner: Owner) -> str:
    return owner.member_id


async def _webhook(owner: Owner) -> str:
    wish = {"url": f"{owner.url.replace('http:', 'https:')}/hook"}
    return str((await owner.post("/api/v1/webhooks", wish))["webhook_id"])


async def _tenant(owner: Owner) -> str:
    return owner.tenant_id


async def _invitation(owner: Owner) -> str:
    wish = {"email": "somebody@example.com", "roles": ["user"]}
    return str((await owner.post("/api/v1/invitations", wish))["invitation_id"])


async def _alias(owner: Owner) -> str:
    name = f"own-{os.urandom(4).hex()}"
    body = {"target": {"capability": "chat"}}
    async with owner.http.put(f"/api/v1/models/aliases/{name}", json=body) as answer:
        assert answer.status == 200, await answer.text()
    return name


async def _run(owner: Owner) -> str:
    await _service(owner)
    step = {"id": "only", "request": {"capability": "text.sentiment"}, "payload": {"text": "Fine."}}
    run_id = str((await owner.post("/api/v1/workflows/runs", {"workflow": {"steps": [step]}}))["run_id"])
    status = ""
    while status not in ("succeeded", "failed", "cancelled"):  # else it calls its service while others look
        await asyncio.sleep(0.05)
        async with owner.http.get(f"/api/v1/workflows/runs/{run_id}") as answer:
            status = (await answer.json())["status"]
    return run_id


#: How an instance of each kind of id comes into being in a tenant; gives its id.
KINDS: dict[str, Callable[[Owner], Awaitable[str]]] = {
    "service_id": _service,
    "policy_id": _policy,
    "decision_id": _decision,
    "hold_id": _hold,
    "key_id": _key,
    "member_id": _member,
    "webhook_id": _webhook,
    "tenant_id": _tenant,
    "invitation_id": _invitation,
    "run_id": _run,
    "alias": _alias,
    "model": _alias,
}


def policy(policy_id: str, version: int = 1) -> dict[str, Any]:
    return {"id": policy_id, "version": version, "effect": "prefer", "when": "true", "then": "true"}


def _published_service(ids: Mapping[str, str], url: str) -> Any:
    from tests.e2e.conftest import contract

    return contract(ids["service_id"], url) | {"version": "2.0.0"}


#: Bodies of operations that read them before they look for what the path names: from the ids and a service's URL.
BODIES: dict[str, Callable[[Mapping[str, str], str], Any]] = {
    "PUT /api/v1/services/{service_id}": _published_service,
    "PUT /api/v1/models/aliases/{alias}": lambda ids, _: {"target": {"capability": "chat"}},
    "PUT /api/v1/policies/{policy_id}": lambda ids, _: policy(ids["policy_id"], 2),
}

#: Headers that differ between two answers which are the same.
_OF_THE_MOMENT = {"date", "x-request-id"}


@dataclass(frozen=True)
class Told:
    """An answer, as far as a caller can compare it with another."""

    status: int
    body: bytes
    headers: frozenset[tuple[str, str]]


async def call(
    http: aiohttp.ClientSession,
    operation: Operation,
    ids: Mapping[str, str],
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Told:
    """One call of the operation with what it cannot do without; what the answer says of the ids is left out."""
    stated: dict[str, str] = {"If-Match": '"1"', **(headers or {})}
    if operation.takes_body:
        stated.setdefault("Content-Type", "application/json")
        body = b"{}" if body is None else body
    async with http.request(
        operation.method,
        operation.address(ids),
        params=operation.required_query,
        data=body if operation.takes_body else None,
        headers=stated,
    ) as answer:
        content = await answer.read()
        for value in ids.values():
            content = content.replace(value.encode(), b"<id>")
        told = {(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in _OF_THE_MOMENT}
        lengths = {each for each in told if each[0] == "content-length"}
        return Told(answer.status, content, frozenset(told - lengths))


def each_id(document: Mapping[str, Any]) -> Iterator[str]:
    for operation in operations(document):
        yield from operation.ids
