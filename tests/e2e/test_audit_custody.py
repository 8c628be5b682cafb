"""Reading the audit log, holding and erasing over HTTP: what is found, who may, and what is told of it."""

from __future__ import annotations

import hashlib
import hmac
import shutil
from typing import Any

import pytest
from sqlalchemy import update

from caio.bootstrap import open_installation
from caio.config import read_settings
from caio.foundation.canonical import canonical_json
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry import expiry
from caio.storage.sql.tables import decisions, retention
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from tests.e2e.conftest import Served, served

ENTRIES, HOLDS, RETENTION, ERASURES = (
    f"/api/v1/audit/{name}" for name in ("entries", "holds", "retention", "erasures")
)


async def ask(caio: Served, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with caio.http.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def key(caio: Served, role: str) -> str:
    status, made = await ask(caio, "POST", "/api/v1/keys", {"name": role, "roles": [role]})
    assert status == 201
    return str(made["token"])


async def entries(caio: Served, query: str = "") -> list[dict[str, Any]]:
    status, page = await caio.get(f"{ENTRIES}{query}")
    assert status == 200, page
    return list(page["items"])


@pytest.fixture
async def called(caio: Served) -> Served:
    """A served CAIO with three answered calls, one decided only and one refused."""
    await caio.register("first")
    for number in range(3):
        assert (await caio.orchestrate(headers={"Idempotency-Key": f"call-{number}"}))[0] == 200
    assert (await ask(caio, "POST", "/api/v1/route", {"request": {"capability": "text.sentiment"}}))[0] == 200
    assert (await caio.orchestrate(capability="text.unknown"))[0] == 422
    return caio


async def test_entries_are_found_by_what_they_are(called: Served) -> None:
    found = await entries(called)
    assert [item["at"] for item in found] == sorted((item["at"] for item in found), reverse=True)
    assert {"decision", "publication", "key", "tenant"} <= {item["kind"] for item in found}
    by_outcome = {
        name: len(await entries(called, f"?outcome={name}")) for name in ("ok", "refused", "decided", "running")
    }
    assert by_outcome == {"ok": 3, "refused": 1, "decided": 1, "running": 0}
    assert len(await entries(called, "?service=first")) == 4
    assert await entries(called, "?service=second") == []
    assert len(await entries(called, "?capability=text.unknown")) == 1
    assert {item["action"] for item in await entries(called, "?kind=publication")} == {"contract.published"}
    assert len(await entries(called, "?action=key.created")) == 1
    principal = (await entries(called, "?outcome=ok"))[0]["principal"]
    assert len(await entries(called, f"?principal={principal}&kind=decision")) == 5
    (answered,) = await entries(called, "?outcome=ok&limit=1")
    assert (answered["service"], answered["version"], answered["charged"]) == ("first", "1.0.0", "0.001")
    assert len(await entries(called, f"?kind=decision&since={answered['at']}")) == 3
    assert len(await entries(called, f"?kind=decision&until={answered['at']}")) == 2


async def test_pages_follow_each_other(called: Served) -> None:
    expected, found, before = await entries(called, "?kind=decision"), [], ""
    while True:
        _, page = await called.get(f"{ENTRIES}?kind=decision&limit=2{before}")
        found += page["items"]
        if page["next_before"] is None:
            break
        before = f"&before={page['next_before']}"
    assert found == expected
    for query in ("before=x", "before=1.", "outcome=fine", "kind=outcome", "limit=0", "since=-1", "service="):
        assert (await called.get(f"{ENTRIES}?{query}"))[0] == 422, query


async def test_an_entry_opens_to_what_it_commits_to(called: Served) -> None:
    (answered,) = await entries(called, "?outcome=ok&limit=1")
    for seq, kind in ((answered["seq"], "decision"), (answered["outcome_seq"], "outcome")):
        status, opened = await called.get(f"{ENTRIES}/{seq}")
        assert (status, opened["kind"], opened["id"]) == (200, kind, answered["id"])
        mac = hmac.new(bytes.fromhex(opened["salt"]), canonical_json(opened["payload"]), hashlib.sha256)
        assert mac.hexdigest() == opened["commitment"]
    assert (await called.get(f"{ENTRIES}/100000"))[0] == 404
    assert (await called.get(f"{ENTRIES}/-1"))[0] == 422


async def test_looking_leaves_a_trace(called: Served) -> None:
    auditor = await key(called, "auditor")
    await ask(called, "GET", f"{ENTRIES}?service=first&limit=2", token=auditor)
    await ask(called, "GET", f"{ENTRIES}/0", token=auditor)
    one, many = (await entries(called, "?action=audit.read"))[:2]
    assert [(item["subject"], item["principal"][:4]) for item in (one, many)] == [
        ("entry", "key_"),
        ("entries", "key_"),
    ]
    details = [(await called.get(f"{ENTRIES}/{item['seq']}"))[1]["payload"]["details"] for item in (one, many)]
    assert details == [{"seq": 0}, {"filter": {"service": "first"}, "given": 2}]


async def test_who_may_what(called: Served) -> None:
    reading: list[tuple[str, str, Any]] = [
        ("GET", ENTRIES, None),
        ("GET", f"{ENTRIES}/0", None),
        ("GET", HOLDS, None),
        ("GET", RETENTION, None),
    ]
    managing: list[tuple[str, str, Any]] = [
        ("POST", HOLDS, {"reason": "a lawsuit"}),
        ("DELETE", f"{HOLDS}/hold_none", None),
        ("PUT", RETENTION, {"days": 30}),
        ("POST", ERASURES, {"reason": "asked to", "decision_ids": ["dec_none"]}),
    ]
    for role in ("user", "developer", "service"):
        token = await key(called, role)
        for method, path, body in reading + managing:
            assert (await ask(called, method, path, body, token))[0] == 403, (role, method, path)
    auditor = await key(called, "auditor")
    assert [(await ask(called, *each, auditor))[0] for each in reading] == [200] * 4
    assert [(await ask(called, *each, auditor))[0] for each in managing] == [403] * 4
    assert [(await ask(called, *each, "caio_dev_none"))[0] for each in reading + managing] == [401] * 8
    assert [(await ask(called, *each))[0] for each in managing] == [201, 404, 200, 200]


async def test_erased_content_is_gone_everywhere(called: Served) -> None:
    gone, *others = await entries(called, "?outcome=ok")
    status, tally = await ask(called, "POST", ERASURES, {"reason": "case 17", "decision_ids": [gone["id"], "dec_none"]})
    assert (status, tally) == (200, {"erased": 1, "already_erased": 0, "running": 0, "unknown": 1})
    for path in (
        f"{ENTRIES}/{gone['seq']}",
        f"{ENTRIES}/{gone['outcome_seq']}",
        f"/api/v1/decisions/{gone['id']}",
        f"/api/v1/decisions/{gone['id']}/evidence",
        f"/api/v1/decisions/{gone['id']}/explanation",
        f"/api/v1/decisions/{gone['id']}/receipt",
    ):
        status, problem = await called.get(path)
        assert (status, problem["code"]) == (410, "erased"), path
    shown = next(item for item in await entries(called, "?outcome=ok") if item["id"] == gone["id"])
    assert shown == gone | {"principal": None, "erased": True}
    assert (await called.get("/api/v1/decisions"))[0] == 200
    assert (await called.get(f"/api/v1/decisions/{others[0]['id']}/receipt"))[0] == 200
    (told,) = await entries(called, "?action=content.erased")
    _, opened = await called.get(f"{ENTRIES}/{told['seq']}")
    assert opened["payload"]["details"] | {"first": 0, "last": 0} == {
        "reason": "case 17", "decisions": 1, "first": 0, "last": 0, "seqs": sorted([gone["seq"], gone["outcome_seq"]]),
    }  # fmt: skip
    status, _, headers = await called.orchestrate(headers={"Idempotency-Key": "call-2"})
    assert status == 200
    assert headers["x-caio-decision-id"] != gone["id"]  # the answer kept for the key went too


async def test_a_principals_decisions_are_erased_and_its_acts_stay(called: Served) -> None:
    principal = (await entries(called, "?outcome=ok"))[0]["principal"]
    status, tally = await ask(called, "POST", ERASURES, {"reason": "case 17", "principal": principal})
    assert (status, tally["erased"]) == (200, 5)
    assert await entries(called, f"?principal={principal}&kind=decision") == []
    published = (await entries(called, f"?principal={principal}&kind=publication"))[0]
    assert (await called.get(f"{ENTRIES}/{published['seq']}"))[0] == 200


async def test_a_hold_stands_before_erasure(called: Served) -> None:
    first, second, *_ = await entries(called, "?outcome=ok")
    status, hold = await ask(called, "POST", HOLDS, {"reason": "a lawsuit", "since": first["at"], "service": "first"})
    assert (status, hold["service"], hold["principal"], hold["released_at"]) == (201, "first", None, None)
    wish = {"reason": "case 17", "decision_ids": [second["id"], first["id"]]}
    status, problem = await ask(called, "POST", ERASURES, wish)
    assert (status, problem["code"]) == (409, "legal_hold")
    assert (await called.get(f"{ENTRIES}/{second['seq']}"))[0] == 200
    assert (await called.get(f"{HOLDS}?standing=true"))[1] == {"items": [hold], "next_before": None}
    status, released = await ask(called, "DELETE", f"{HOLDS}/{hold['hold_id']}")
    assert (status, released["released_by"]) == (200, hold["placed_by"])
    assert (await called.get(f"{HOLDS}?standing=true"))[1]["items"] == []
    assert (await called.get(HOLDS))[1]["items"] == [released]
    assert (await ask(called, "POST", ERASURES, wish))[1]["erased"] == 2
    assert [item["action"] for item in await entries(called, "?kind=retention")] == ["hold.released", "hold.placed"]


async def test_retention_is_set_and_wishes_are_checked(called: Served) -> None:
    assert (await called.get(RETENTION))[1] == {"days": None, "erased_before": None}
    assert await ask(called, "PUT", RETENTION, {"days": 30}) == (200, {"days": 30, "erased_before": None})
    assert await ask(called, "PUT", RETENTION, {"days": None}) == (200, {"days": None, "erased_before": None})
    assert len(await entries(called, "?action=retention.changed")) == 2
    for method, path, body in (
        ("PUT", RETENTION, {}),
        ("PUT", RETENTION, {"days": 0}),
        ("POST", HOLDS, {}),
        ("POST", HOLDS, {"reason": "x", "since": 2, "until": 2}),
        ("POST", ERASURES, {"reason": "x"}),
        ("POST", ERASURES, {"reason": "x", "decision_ids": []}),
        ("POST", ERASURES, {"reason": "x", "decision_ids": ["a"], "principal": "b"}),
        ("POST", ERASURES, {"decision_ids": ["a"]}),
    ):
        status, problem = await ask(called, method, path, body)
        assert (status, problem["code"]) == (422, "invalid_request"), (path, body)


async def test_another_tenants_log_is_invisible(called: Served) -> None:
    own = await entries(called, "?outcome=ok")
    _, hold = await ask(called, "POST", HOLDS, {"reason": "a lawsuit"})
    installation, scope = called.installation, TenantScope("rival")
    tenant = Tenant("rival", "Rival", TenantStatus.ACTIVE, "USD", Quotas(), 1)
    await installation.tenants.create(scope, "system", tenant)
    first = await installation.api_keys.create_first(scope)
    assert first is not None
    _, page = await ask(called, "GET", ENTRIES, token=first.token)
    assert {item["kind"] for item in page["items"]} == {"tenant", "key"}
    assert await ask(called, "GET", HOLDS, token=first.token) == (200, {"items": [], "next_before": None})
    assert (await ask(called, "GET", f"{ENTRIES}/{own[0]['seq'] + 50}", token=first.token))[0] == 404
    assert (await ask(called, "DELETE", f"{HOLDS}/{hold['hold_id']}", token=first.token))[0] == 404
    wish = {"reason": "x", "decision_ids": [own[0]["id"]]}
    assert (await ask(called, "POST", ERASURES, wish, first.token))[1] == {
        "erased": 0, "already_erased": 0, "running": 0, "unknown": 1,
    }  # fmt: skip
    assert (await called.get(f"{ENTRIES}/{own[0]['seq']}"))[0] == 200


async def test_the_process_erases_what_is_too_old_by_itself(
    called: Served, wait_for_async: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "FIRST_AFTER_SECONDS", 0.1)
    data_dir, token, service = called.data_dir, called.token, called.service
    copy = data_dir.parent / "copy"
    await ask(called, "PUT", RETENTION, {"days": 1})
    shutil.copytree(data_dir, copy)
    async with open_installation(read_settings(data_dir=copy)) as installation:
        await _age(installation)
    async with served(copy, token, service) as again:

        async def all_erased() -> bool:
            return all(item["erased"] for item in await entries(again, "?kind=decision"))

        await wait_for_async(all_erased)
        assert len(await entries(again, "?kind=decision")) == 5
        (told,) = await entries(again, "?action=content.erased")
        assert (told["principal"], told["subject"]) == ("system", "retention")


async def _age(installation: Any) -> None:
    """Make every decision two days older, which no pass has looked at yet."""
    async with installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(update(decisions).values(decided_at=decisions.c.decided_at - 2 * 86_400_000_000))
        await connection.execute(update(retention).values(erased_before=0))
