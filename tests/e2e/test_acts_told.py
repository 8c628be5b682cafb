"""A walk through the control plane, and what the tenant's log says of it: these acts and no others."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import text

from caio.foundation.scope import DEFAULT_TENANT, PlatformScope
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, contract
from tests.support.acts import acts_told

POLICY = {"id": "careful", "version": 1, "effect": "forbid", "attach": "request", "then": "false", "message": "no"}
HIGHEST = 2**53 - 1


async def done(caio: Served, method: str, path: str, status: int, document: Any = None, **headers: str) -> Any:
    async with caio.http.request(method, f"/api/v1/{path}", json=document, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def log(caio: Served) -> list[Any]:
    return await acts_told(caio.installation.stores.journal, caio.installation.vault, embedded_scope())


def summary(act: Any) -> tuple[str, str, str]:
    return act["action"], act["principal"], act["subject"]


async def test_the_log_holds_exactly_what_was_done(caio: Served) -> None:
    begun = await log(caio)
    signing = caio.installation.keyring.active.key_id
    admin = begun[2]["subject"]
    assert list(map(summary, begun)) == [
        ("tenant.created", "system", DEFAULT_TENANT),
        ("key.activated", "system", signing),
        ("key.created", "system", admin),
    ]
    assert begun[0]["details"] | {"quotas": None} == {
        "name": "Default tenant",
        "status": "active",
        "currency": "USD",
        "plan": "standard",
        "tier": "pool",
        "outage": "closed",
        "quotas": None,
    }
    assert (begun[2]["details"]["roles"], begun[2]["details"]["trust_level"]) == (["admin", "operator"], "privileged")

    echo = contract("echo", caio.service.url)
    first = await done(caio, "POST", "services", 201, echo)
    second = await done(caio, "PUT", "services/echo", 200, echo | {"version": "1.1.0"}, **{"If-Match": '"1"'})
    careful = await done(caio, "POST", "policies", 201, POLICY)
    wish = {"name": "reader", "roles": ["user", "auditor"], "expires_at": HIGHEST, "policies": ["careful"]}
    reader = await done(caio, "POST", "keys", 201, wish)
    stricter = await done(caio, "PUT", "policies/careful", 200, POLICY | {"version": 2}, **{"If-Match": '"1"'})
    forbidden = contract("x", caio.service.url)
    await done(caio, "POST", "services", 403, forbidden, Authorization=f"Bearer {reader['token']}")
    await done(caio, "DELETE", f"keys/{reader['key_id']}", 200)
    await done(caio, "DELETE", "services/echo", 200, **{"If-Match": '"2"'})
    await done(caio, "DELETE", "policies/careful", 200)

    # Nothing of these changes anything: refused, repeated, or only looked at.
    await done(caio, "POST", "services", 409, echo)
    await done(caio, "POST", "services", 422, echo | {"version": "one"})
    await done(caio, "PUT", "services/echo", 412, echo | {"version": "2.0.0"}, **{"If-Match": '"1"'})
    await done(caio, "POST", "services/validate", 200, echo)
    await done(caio, "POST", "policies/validate", 200, POLICY)
    await done(caio, "DELETE", "services/echo", 200)
    await done(caio, "DELETE", "policies/careful", 200)
    await done(caio, "DELETE", f"keys/{reader['key_id']}", 200)
    await done(caio, "DELETE", "keys/key_unknown", 404)
    await done(caio, "POST", "keys", 401, wish, Authorization=f"Bearer {reader['token']}")
    await done(caio, "GET", "keys", 200)

    told = (await log(caio))[3:]
    by_admin = [
        ("contract.published", "echo", {"version": "1.0.0", "digest": first["digest"], "shared": False}),
        ("contract.published", "echo", {"version": "1.1.0", "digest": second["digest"], "shared": False}),
        ("policy.published", "careful", {"version": "1", "digest": careful["digest"]}),
        (
            "key.created",
            reader["key_id"],
            {
                "name": "reader",
                "roles": ["auditor", "user"],
                "trust_level": "standard",
                "expires_at": HIGHEST,
                "policies": ["careful"],
                "limits": {},
            },
        ),
        ("policy.published", "careful", {"version": "2", "digest": stricter["digest"]}),
        ("key.revoked", reader["key_id"], {}),
        ("contract.retired", "echo", {}),
        ("policy.retired", "careful", {}),
    ]
    assert [(act["action"], act["subject"], act["details"]) for act in told] == by_admin
    assert {act["principal"] for act in told} == {admin}
    assert [act["at"] for act in told] == sorted(act["at"] for act in told)
    await no_leaf_holds(caio, caio.token, reader["token"])


async def no_leaf_holds(caio: Served, *tokens: str) -> None:
    """Neither what is sealed, opened, nor the clear columns say a token or a key's hash."""
    async with caio.installation.database.reading(PlatformScope("test")) as connection:
        hashes = [bytes(each) for each in (await connection.execute(text("SELECT key_hash FROM api_keys"))).scalars()]
        columns = [str(tuple(row)) for row in await connection.execute(text("SELECT * FROM acts"))]
    content = "\n".join([*map(str, await log(caio)), *columns])
    assert len(hashes) == 2
    assert columns
    for token in tokens:
        assert token not in content
        assert token.split("_", 2)[2][:12] not in content
    for value in hashes:
        for form in (value.hex(), base64.b64encode(value).decode(), str(value)):
            assert form not in content


async def test_reading_anothers_decision_is_recorded(caio: Served) -> None:
    await caio.register("first")
    _, _, headers = await caio.orchestrate()
    decision = headers["x-caio-decision-id"]
    reader = await done(caio, "POST", "keys", 201, {"name": "reader", "roles": ["user"]})
    before = await log(caio)
    paths = [f"decisions/{decision}{part}" for part in ("", "/evidence", "/explanation", "/receipt")]
    for path in paths:
        await done(caio, "GET", path, 200)
    assert await log(caio) == before, "what was decided for oneself is one's own"
    for number, path in enumerate(paths, start=1):
        await done(caio, "GET", path, 200, Authorization=f"Bearer {reader['token']}")
        read = (await log(caio))[len(before) :]
        assert len(read) == number
        assert summary(read[-1]) == ("audit.read", reader["key_id"], "decision")
        assert read[-1]["details"] == {"decision": decision}
