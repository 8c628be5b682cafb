"""The lifecycle of tenants over HTTP: by the platform's operator, and as a tenant sees it."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections import Counter
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from caio.foundation.errors import NotReady
from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables_tenancy import events
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, contract
from tests.support.acts import acts_told

TENANTS = "/api/v1/tenants"


class Operator:
    """The platform's operator, with a session, and sessions for those who join."""

    def __init__(self, caio: Served) -> None:
        self.caio = caio

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        async with self.caio.http.request(method, path, json=body, headers=named) as answer:
            return answer.status, await answer.json(content_type=None)

    async def create(self, tenant_id: str, **changes: Any) -> dict[str, Any]:
        wish = {"tenant_id": tenant_id, "name": tenant_id.title(), "invite": {"email": "boss@example.org"}} | changes
        status, made = await self("POST", TENANTS, wish)
        assert status == 201, made
        assert isinstance(made, dict)
        return made

    async def admin_of(self, tenant_id: str, **changes: Any) -> str:
        """The token of a new tenant's first admin, who accepted the invitation."""
        made = await self.create(tenant_id, **changes)
        token = made["invitation"]["token"]
        status, joined = await self("POST", "/api/v1/invitations/accept", {"name": "laptop"}, token=token)
        assert status == 201, joined
        assert (joined["tenant_id"], joined["roles"]) == (tenant_id, ["admin"])
        return str(joined["token"])

    async def told(self, tenant_id: str) -> Counter[str]:
        """How often which act is in the tenant's log."""
        installation = self.caio.installation
        acts = await acts_told(installation.stores.journal, installation.vault, embedded_scope(tenant_id))
        return Counter(act["action"] for act in acts)

    async def events(self, tenant_id: str) -> Counter[str]:
        query = select(events.c.type).where(events.c.tenant_id == tenant_id)
        async with self.caio.installation.database.reading(PlatformScope("test")) as connection:
            return Counter((await connection.execute(query)).scalars())


@pytest.fixture
def operator(caio: Served) -> Operator:
    return Operator(caio)


async def test_a_tenant_is_created_with_an_admin_invited(operator: Operator) -> None:
    quotas = {"services": 3, "budget": "12.50", "alerts": [90, 50], "limits": {"concurrent": 4}}
    made = await operator.create("globex", plan="large", currency="EUR", quotas=quotas)
    assert (made["status"], made["plan"], made["currency"], made["revision"]) == ("active", "large", "EUR", 1)
    assert made["quotas"]["services"] == 3
    assert (made["quotas"]["budget"], made["quotas"]["alerts"]) == ("12.5", [50, 90])
    assert made["quotas"]["limits"]["concurrent"] == 4
    assert made["invitation"]["roles"] == ["admin"]
    assert 0 < made["created_at"] <= made["invitation"]["created_at"]
    status, again = await operator("POST", TENANTS, {"tenant_id": "globex", "name": "Impostor"})
    assert (status, again["code"]) == (409, "already_exists")
    status, shown = await operator("GET", f"{TENANTS}/globex")
    assert (status, shown["name"]) == (200, "Globex")
    assert shown["counts"] == {"services": 0, "policies": 0, "keys": 0, "members": 0}
    assert await operator.told("globex") == {"tenant.created": 1, "invitation.created": 1}


async def test_an_invitation_is_a_key_once(operator: Operator) -> None:
    made = await operator.create("globex")
    token = made["invitation"]["token"]
    accept = "/api/v1/invitations/accept"
    answers = await asyncio.gather(*(operator("POST", accept, {}, token=token) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [201, 401, 401, 401, 401]
    assert {body["code"] for status, body in answers if status == 401} == {"invitation_not_open"}
    assert (await operator("GET", "/api/v1/services", token=token))[0] == 401  # no credential for anything else
    (key,) = [body["token"] for status, body in answers if status == 201]
    assert (await operator("GET", "/api/v1/tenant", token=key))[1]["tenant_id"] == "globex"
    assert (await operator.told("globex"))["invitation.accepted"] == 1


async def test_admins_invite_and_revoke(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    path = "/api/v1/invitations"
    wish = {"email": "ann@example.org", "roles": ["developer"], "expires_in_days": 3}
    status, made = await operator("POST", path, wish, token=admin)
    assert status == 201
    assert (await operator("POST", path, {"roles": ["operator"]}, token=admin))[0] in (403, 422)
    assert (await operator("POST", path, {"roles": ["user"], "tenant_id": "default"}, token=admin))[0] == 422
    listed = (await operator("GET", path, token=admin))[1]["items"]
    assert [each["accepted_at"] is None for each in listed] == [False, True]
    assert "token" not in listed[0]
    assert "token_hash" not in listed[0]
    assert [each["email"] for each in (await operator("GET", f"{path}?limit=1", token=admin))[1]["items"]] == [
        "boss@example.org"
    ]
    for _ in range(2):
        status, revoked = await operator("DELETE", f"{path}/{made['invitation_id']}", token=admin)
        assert (status, revoked["revoked_at"] is None) == (200, False)
    assert (await operator("POST", f"{path}/accept", {}, token=made["token"]))[0] == 401
    assert (await operator.told("globex"))["invitation.revoked"] == 1


async def test_a_tenant_is_listed_by_status_in_pages(operator: Operator) -> None:
    for name in ("aaa", "bbb", "ccc"):
        await operator.create(name, invite=None)
    await operator("POST", f"{TENANTS}/bbb/suspend", {"reason": "unpaid"})
    _, page = await operator("GET", f"{TENANTS}?limit=2")
    assert [each["tenant_id"] for each in page["items"]] == ["aaa", "bbb"]
    _, rest = await operator("GET", f"{TENANTS}?limit=2&after={page['next_after']}")
    assert [each["tenant_id"] for each in rest["items"]] == ["ccc", "default"]
    _, suspended = await operator("GET", f"{TENANTS}?status=suspended")
    assert [each["tenant_id"] for each in suspended["items"]] == ["bbb"]
    assert (await operator("GET", f"{TENANTS}?status=asleep"))[0] == 422


async def test_a_suspension_holds_at_once_and_ends(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    assert (await operator("GET", "/api/v1/services", token=admin))[0] == 200
    steps = await asyncio.gather(
        *(operator("POST", f"{TENANTS}/globex/suspend", {"reason": "unpaid"}) for _ in range(5))
    )
    assert {(status, body["status"], body["revision"]) for status, body in steps} == {(200, "suspended", 2)}
    status, refused = await operator("GET", "/api/v1/services", token=admin)
    assert (status, refused["code"]) == (403, "tenant_suspended")
    assert (await operator("POST", f"{TENANTS}/globex/resume"))[1]["status"] == "active"
    assert (await operator("GET", "/api/v1/services", token=admin))[0] == 200
    told = await operator.told("globex")
    assert (told["tenant.suspended"], told["tenant.resumed"]) == (1, 1)
    heard = await operator.events("globex")
    assert (heard["caio.tenant.suspended"], heard["caio.tenant.resumed"]) == (1, 1)


async def test_quotas_change_under_their_etag_and_hold_at_once(operator: Operator, caio: Served) -> None:
    admin = await operator.admin_of("globex")
    status, unmatched = await operator("PATCH", f"{TENANTS}/globex", {"plan": "large"})
    assert (status, unmatched["code"]) == (412, "if_match_required")
    change = {"quotas": {"per_minute": 2, "services": 0}}
    answers = await asyncio.gather(*(operator("PATCH", f"{TENANTS}/globex", change, if_match='"1"') for _ in range(3)))
    assert sorted(status for status, _ in answers) == [200, 412, 412]
    assert {body["code"] for status, body in answers if status == 412} == {"precondition_failed"}
    own = (await operator("GET", "/api/v1/tenant", token=admin))[1]
    assert (own["quotas"]["per_minute"], own["quotas"]["services"], own["quotas"]["per_hour"]) == (2, 0, 10_000)
    status, refused = await operator("POST", "/api/v1/services", contract("one", caio.service.url), token=admin)
    assert (status, refused["code"]) == (409, "quota_exceeded")
    assert (await operator.told("globex"))["tenant.changed"] == 1
    for wrong in ({"quotas": {"budget": "-1"}}, {"quotas": {"per_minute": 0}}, {"quotas": {"services": None}}):
        assert (await operator("PATCH", f"{TENANTS}/globex", wrong, if_match='"2"'))[0] == 422
    status, shown = await operator("PATCH", f"{TENANTS}/globex", {"quotas": {"budget": "3"}}, if_match='"2"')
    assert (status, shown["quotas"]["budget"], shown["revision"]) == (200, "3", 3)
    status, shown = await operator("PATCH", f"{TENANTS}/globex", {"quotas": {"budget": None}}, if_match='"3"')
    assert (status, shown["quotas"]["budget"]) == (200, None)


async def test_a_tenants_admin_is_no_operator(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    for method, path, body in (
        ("GET", TENANTS, None),
        ("POST", TENANTS, {"tenant_id": "mine", "name": "Mine"}),
        ("GET", f"{TENANTS}/globex", None),
        ("PATCH", f"{TENANTS}/globex", {"plan": "large"}),
        ("POST", f"{TENANTS}/globex/resume", None),
        ("POST", f"{TENANTS}/globex/suspend", {"reason": "x"}),
        ("POST", f"{TENANTS}/globex/cancel", {"reason": "x"}),
        ("POST", f"{TENANTS}/globex/invitations", {}),
        ("DELETE", f"{TENANTS}/globex?confirm=globex", None),
        ("GET", f"{TENANTS}/no-such", None),
    ):
        status, refused = await operator(method, path, body, token=admin, if_match='"1"')
        assert (status, refused["code"]) == (403, "not_allowed"), (method, path)
    for field, value in (
        ("plan", "large"),
        ("status", "active"),
        ("tier", "silo"),
        ("quotas", {"services": 9}),
        ("tenant_id", "default"),
        ("roles", ["operator"]),
        ("revision", 9),
    ):
        status, refused = await operator("PATCH", "/api/v1/tenant", {field: value}, token=admin, if_match='"1"')
        assert (status, refused["code"]) == (422, "invalid_request"), field
    wish = {"name": "Globex Inc.", "outage": "local", "alerts": [75]}
    status, own = await operator("PATCH", "/api/v1/tenant", wish, token=admin, if_match='"1"')
    assert (status, own["name"], own["outage"], own["quotas"]["alerts"]) == (200, "Globex Inc.", "local", [75])
    assert own["quotas"]["services"] == 100


async def test_an_operator_sees_metadata_only(operator: Operator, caio: Served) -> None:
    """Whatever an operator's key is asked with, it reads its own tenant's things, and of others the list."""
    admin = await operator.admin_of("globex")
    assert (await operator("POST", "/api/v1/keys", {"name": "boss"}, token=admin))[0] == 201
    for path in ("services", "decisions", "policies", "keys", "members", "invitations"):
        async with caio.http.get(f"/api/v1/{path}", headers={"X-Tenant-ID": "globex"}) as answer:
            assert answer.status == 403, path
    shown = json.dumps((await operator("GET", f"{TENANTS}/globex"))[1])
    assert "boss" not in shown
    assert "laptop" not in shown


async def test_a_tenant_is_cancelled_and_resumed(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    cancel = {"reason": "the contract ended", "grace_days": 10}
    answers = await asyncio.gather(*(operator("POST", f"{TENANTS}/globex/cancel", cancel) for _ in range(3)))
    assert {(status, body["status"]) for status, body in answers} == {(200, "cancelled")}
    (erase_at,) = {body["erase_at"] for _, body in answers}
    assert erase_at == answers[0][1]["status_at"] + 10 * 86_400_000_000
    assert (await operator("GET", "/api/v1/services", token=admin))[0] == 403
    status, resumed = await operator("POST", f"{TENANTS}/globex/resume")
    assert (status, resumed["status"], resumed["erase_at"]) == (200, "active", None)
    assert (await operator("GET", "/api/v1/services", token=admin))[0] == 200
    assert (await operator.told("globex"))["tenant.cancelled"] == 1


async def test_a_tenant_is_deleted_when_its_id_is_repeated(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    hold = {"reason": "a lawsuit"}
    _, placed = await operator("POST", "/api/v1/audit/holds", hold, token=admin)
    for confirm in ("", "?confirm=", "?confirm=other"):
        assert (await operator("DELETE", f"{TENANTS}/globex{confirm}"))[0] == 422
    status, refused = await operator("DELETE", f"{TENANTS}/globex?confirm=globex")
    assert (status, refused["code"]) == (409, "legal_hold")
    assert (await operator("DELETE", f"/api/v1/audit/holds/{placed['hold_id']}", token=admin))[0] == 200
    answers = await asyncio.gather(*(operator("DELETE", f"{TENANTS}/globex?confirm=globex") for _ in range(3)))
    assert {(status, body["status"], body["name"]) for status, body in answers} == {(200, "deleted", "")}
    assert (await operator("GET", "/api/v1/services", token=admin))[0] == 401
    assert (await operator("POST", TENANTS, {"tenant_id": "globex", "name": "Again"}))[0] == 409
    status, refused = await operator("POST", f"{TENANTS}/globex/resume")
    assert (status, refused["code"]) == (409, "tenant_deleted")
    assert (await operator.events("globex")) == {"caio.tenant.deleted": 1}
    leaves = await operator.caio.installation.stores.journal.page(embedded_scope("globex"), -1, 999)
    assert Counter(stored.leaf.kind.value for stored in leaves)["erasure"] == 1


@pytest.mark.parametrize("step", ["suspend", "cancel", "delete"])
async def test_the_platforms_own_tenant_cannot_end(operator: Operator, step: str) -> None:
    if step == "delete":
        status, refused = await operator("DELETE", f"{TENANTS}/default?confirm=default")
    else:
        status, refused = await operator("POST", f"{TENANTS}/default/{step}", {"reason": "no"})
    assert (status, refused["code"]) == (409, "platform_tenant")
    assert (await operator("GET", "/api/v1/tenant"))[1]["status"] == "active"


async def test_what_is_no_tenant_is_not_found(operator: Operator) -> None:
    answers = [await operator("GET", f"{TENANTS}/{name}") for name in ("no-such", "UPPER", "x" * 64)]
    assert {(status, json.dumps(refused)) for status, refused in answers} == {(404, json.dumps(answers[0][1]))}
    assert (await operator("DELETE", f"{TENANTS}/no-such?confirm=no-such"))[0] == 404
    for wrong in ("UPPER", "a b", "", "a" * 64, "é"):
        assert (await operator("POST", TENANTS, {"tenant_id": wrong, "name": "x"}))[0] == 422


async def test_an_export_holds_what_there_is(operator: Operator, caio: Served) -> None:
    admin = await operator.admin_of("globex")
    assert (await operator("POST", "/api/v1/services", contract("one", caio.service.url), token=admin))[0] == 201
    call = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
    assert (await operator("POST", "/api/v1/orchestrate", call, token=admin))[0] == 200
    hook = {"url": "http://127.0.0.1:9/hook", "types": ["caio."]}
    await operator("POST", "/api/v1/webhooks", hook, token=admin)
    async with caio.http.get("/api/v1/tenant/export", headers={"Authorization": f"Bearer {admin}"}) as answer:
        assert (answer.status, answer.content_type) == (200, "application/zip")
        raw = await answer.read()
    archive = zipfile.ZipFile(io.BytesIO(raw))
    assert archive.testzip() is None
    files = {name: archive.read(name).splitlines() for name in archive.namelist()}
    rows = {name: [json.loads(line) for line in lines] for name, lines in files.items()}
    assert [each["name"] for each in rows["services.jsonl"]] == ["one"]
    assert {each["kind"] for each in rows["decisions.jsonl"]} == {"decision", "outcome"}
    assert rows["decisions.jsonl"][0]["content"]["principal"] == rows["keys.jsonl"][0]["key_id"]
    assert rows["tenant.jsonl"][0]["tenant_id"] == "globex"
    assert rows["manifest.json"][0]["audit"]["size"] > 3
    everything = b"\n".join(line for lines in files.values() for line in lines)
    assert admin.encode() not in everything
    assert not any(secret in everything for secret in (b"key_hash", b"token_hash", b"sealed", b"whsec_", b"prefix"))
    assert b"default" not in b"".join(files["keys.jsonl"])
    assert (await operator.told("globex"))["tenant.exported"] == 1
    assert (await operator.events("globex"))["caio.tenant.exported"] == 1
    async with caio.http.get(
        "/api/v1/tenant/export?content=false", headers={"Authorization": f"Bearer {admin}"}
    ) as answer:
        closed = zipfile.ZipFile(io.BytesIO(await answer.read()))
    assert b"content" not in closed.read("decisions.jsonl")


async def exported(operator: Operator, token: str) -> zipfile.ZipFile:
    headers = {"Authorization": f"Bearer {token}"}
    async with operator.caio.http.get("/api/v1/tenant/export", headers=headers) as answer:
        assert answer.status == 200
        return zipfile.ZipFile(io.BytesIO(await answer.read()))


async def test_no_secret_is_exported(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    open_one = (await operator("POST", "/api/v1/invitations", {}, token=admin))[1]["token"]
    archive = await exported(operator, admin)
    everything = b"".join(archive.read(name) for name in archive.namelist())
    for token in (admin, open_one):
        assert token.rpartition("_")[2][:20].encode() not in everything


async def test_what_was_erased_is_said_so(operator: Operator, caio: Served) -> None:
    admin = await operator.admin_of("globex")
    await operator("POST", "/api/v1/services", contract("one", caio.service.url), token=admin)
    call = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
    _, decided = await operator("POST", "/api/v1/route", call, token=admin)
    erase = {"decision_ids": [decided["decision_id"]], "reason": "asked for"}
    assert (await operator("POST", "/api/v1/audit/erasures", erase, token=admin))[1]["erased"] == 1
    (row,) = (await exported(operator, admin)).read("decisions.jsonl").splitlines()
    assert json.loads(row)["erased"] is True
    assert "content" not in json.loads(row)


async def test_an_export_is_told_first(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await operator.admin_of("globex")

    async def full(*_: object) -> bool:
        raise NotReady("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(type(operator.caio.installation.stores.acts), "record", full)
        status, refused = await operator("GET", "/api/v1/tenant/export", token=admin)
    assert (status, refused["code"]) == (503, "not_ready")
    assert (await operator.told("globex"))["tenant.exported"] == 0


async def test_only_an_admin_exports(operator: Operator) -> None:
    admin = await operator.admin_of("globex")
    for role in ("developer", "auditor", "billing", "user"):
        made = (await operator("POST", "/api/v1/keys", {"name": role, "roles": [role]}, token=admin))[1]
        assert (await operator("GET", "/api/v1/tenant/export", token=made["token"]))[0] == 403, role


async def test_nobody_lists_tenants_without_a_credential(caio: Served) -> None:
    async with aiohttp.ClientSession(caio.url) as anybody, anybody.get(TENANTS) as answer:
        assert answer.status == 401
