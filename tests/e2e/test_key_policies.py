"""Keys that are bound by policies: what they may reach, and what a decision's evidence says of it."""

from __future__ import annotations

import json
from typing import Any

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from tests.e2e.conftest import Served

NO_ALPHA = {
    "id": "no-alpha",
    "version": 1,
    "effect": "forbid",
    "attach": "request",
    "then": 'service.id == "alpha"',
    "message": "alpha is not for this key",
}


async def save(caio: Served, **changes: Any) -> None:
    async with caio.http.post("/api/v1/policies", json=NO_ALPHA | changes) as answer:
        assert answer.status == 201, await answer.text()


async def make_key(caio: Served, *policies: str, token: str | None = None, **wish: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or caio.token}"}
    wish = {"name": "a key", "policies": list(policies)} | wish
    async with caio.http.post("/api/v1/keys", json=wish, headers=headers) as answer:
        return answer.status, await answer.json()


async def ask(caio: Served, token: str) -> tuple[int, Any]:
    status, found, _ = await caio.orchestrate(headers={"Authorization": f"Bearer {token}"})
    return status, found


async def test_a_bound_key_cannot_reach_what_another_can(caio: Served) -> None:
    await caio.register("alpha")
    await save(caio)
    (_, bound), (_, free) = await make_key(caio, "no-alpha"), await make_key(caio)
    assert (bound["policies"], free["policies"]) == (["no-alpha"], [])
    _, listed = await caio.get("/api/v1/keys")
    assert {key["key_id"]: key["policies"] for key in listed["items"]}[bound["key_id"]] == ["no-alpha"]

    assert (await ask(caio, free["token"]))[0] == 200
    status, refused = await ask(caio, bound["token"])
    assert (status, refused["code"]) == (422, "no_service_satisfies")
    assert [(r["clause"], r["subject"], r["message"]) for r in refused["reasons"]] == [
        ("policy", "no-alpha@1", "alpha is not for this key")
    ]

    _, receipt = await caio.get(f"/api/v1/decisions/{refused['decision_id']}/receipt")
    _, evidence = await caio.get(f"/api/v1/decisions/{refused['decision_id']}/evidence")
    _, keys = await caio.get("/.well-known/caio-keys.json")
    assert [policy["id"] for policy in evidence["policies"]] == ["no-alpha"]
    assert verify_receipt(receipt, read_key_set(keys), evidence).ok
    without = json.loads(json.dumps(evidence)) | {"policies": []}
    assert not verify_receipt(receipt, read_key_set(keys), without).ok


async def test_a_bound_keys_request_cannot_shake_its_policy_off(caio: Served) -> None:
    await caio.register("alpha")
    await save(caio)
    _, bound = await make_key(caio, "no-alpha", roles=["admin"])
    headers = {"Authorization": f"Bearer {bound['token']}"}
    inline = NO_ALPHA | {"id": "mine", "effect": "require"}
    for policies in ([], ["no-alpha"], ["no-alpha@1"], [inline]):
        status, refused, _ = await caio.orchestrate(headers=headers, policies=policies)
        assert (status, refused["code"]) == (422, "no_service_satisfies"), policies
    weaker = {**NO_ALPHA, "version": 2, "then": "false"}
    async with caio.http.put(
        "/api/v1/policies/no-alpha", json=weaker, headers={**headers, "If-Match": '"1"'}
    ) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "not_allowed")
    async with caio.http.delete("/api/v1/policies/no-alpha", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "not_allowed")
    _, child = await make_key(caio, token=bound["token"])
    assert child["policies"] == ["no-alpha"]


async def test_a_key_follows_its_policys_versions_and_is_refused_without_it(caio: Served) -> None:
    await caio.register("alpha")
    await save(caio)
    _, bound = await make_key(caio, "no-alpha")
    assert (await ask(caio, bound["token"]))[0] == 422
    changed = NO_ALPHA | {"version": 2, "then": 'service.id == "beta"'}
    async with caio.http.put("/api/v1/policies/no-alpha", json=changed, headers={"If-Match": '"1"'}) as answer:
        assert answer.status == 200, await answer.text()
    assert (await ask(caio, bound["token"]))[0] == 200
    async with caio.http.delete("/api/v1/policies/no-alpha") as answer:
        assert answer.status == 200
    status, refused = await ask(caio, bound["token"])
    assert (status, refused["code"]) == (403, "key_policy_missing")
    assert "no-alpha" in refused["detail"]
    assert (await ask(caio, caio.token))[0] == 200


async def test_unknown_policies_of_a_key_are_refused(caio: Served) -> None:
    await save(caio)
    status, refused = await make_key(caio, "no-alpha", "nobody")
    assert (status, [error["pointer"] for error in refused["errors"]]) == (422, ["/policies/1"])
    status, refused = await make_key(caio, "no-alpha@1")
    assert (status, [error["pointer"] for error in refused["errors"]]) == (422, ["/policies/0"])
