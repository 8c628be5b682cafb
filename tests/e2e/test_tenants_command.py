"""``caio tenants`` and ``caio invitations`` against a real server; and what is left of a tenant that is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caio.audit.signing import key_set
from caio.tenancy.authentication import embedded_scope
from caio.tenancy.ports import TenantStatus
from tests.e2e.conftest import Served, contract
from tests.support.caio_command import run_caio


class Desk:
    """Somebody with the operator's key; ``token`` asks with another one."""

    def __init__(self, caio: Served, folder: Path) -> None:
        self.caio, self.folder = caio, folder
        self.environment = {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token}

    async def __call__(self, *arguments: object, code: int = 0, **environment: str) -> str:
        ended, said = await run_caio(self.folder, self.environment | environment, *arguments)
        assert ended == code, (arguments, ended, said)
        return said

    async def json(self, *arguments: object, **environment: Any) -> Any:
        return json.loads((await self(*arguments, "--json", **environment)).splitlines()[0])

    async def admin_of(self, tenant_id: str) -> str:
        made = await self.json("tenants", "create", tenant_id)
        joined = await self.json("invitations", "accept", CAIO_INVITATION=made["invitation"]["token"])
        return str(joined["token"])


@pytest.fixture
def desk(caio: Served, tmp_path: Path) -> Desk:
    return Desk(caio, tmp_path)


async def test_mistakes_are_told(desk: Desk) -> None:
    assert "whole number" in await desk("tenants", "create", "acme", "--quota", "services=many", code=4)
    assert "NAME=VALUE" in await desk("tenants", "create", "acme", "--limit", "concurrent", code=4)
    assert "/quotas/cats" in await desk("tenants", "create", "acme", "--quota", "cats=3", code=4)
    await desk("tenants", "create", "acme", "--no-invite")
    assert "is taken" in await desk("tenants", "create", "acme", code=7)
    assert "say what to change" in await desk("tenants", "change", "acme", code=4)
    assert "revision 1" in await desk("tenants", "change", "acme", "--plan", "large", "--if-match", '"7"', code=7)
    assert "nobody to ask" in await desk("tenants", "delete", "acme", code=4)
    assert "repeating" in await desk("tenants", "delete", "acme", "--confirm", "other", code=4)
    await desk("tenants", "show", "no-such", code=6)
    assert "platform's own" in await desk("tenants", "suspend", "default", "--reason", "x", code=7)
    assert "needs an invitation" in await desk("invitations", "accept", code=5)
    assert "not open" in await desk("invitations", "accept", CAIO_INVITATION="caio_inv_x", code=5)


async def test_a_tenant_exports_what_is_its_own(desk: Desk) -> None:
    admin = await desk.admin_of("globex")
    (desk.folder / "one.json").write_text(json.dumps(contract("one", desk.caio.service.url)))
    await desk("services", "register", "one.json", CAIO_API_KEY=admin)
    said = await desk("tenants", "export", "globex.zip", CAIO_API_KEY=admin)
    assert "globex.zip is whole: the export of tenant globex" in said
    verified = await desk.json("tenants", "export", "--verify", "globex.zip")
    assert {each["name"]: each["rows"] for each in verified["files"]}["services.jsonl"] == 1
    assert "exists already" in await desk("tenants", "export", "globex.zip", CAIO_API_KEY=admin, code=7)
    file = desk.folder / "globex.zip"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(file.read_bytes()[:-100])
    assert "not a whole export" in await desk("tenants", "export", "--verify", "globex.zip", code=4)
    await desk("tenants", "export", "--verify", "no-such.zip", code=4)
    assert sorted(path.name for path in desk.folder.glob("*.zip*")) == ["globex.zip"]


async def test_invitations_are_listed_and_ended(desk: Desk) -> None:
    admin = await desk.admin_of("globex")
    made = await desk.json("invitations", "create", "--role", "auditor", "--email", "ann@x.example", CAIO_API_KEY=admin)
    listed = await desk("invitations", "list", CAIO_API_KEY=admin)
    assert "accepted by key_" in listed
    assert "open until" in listed
    assert made["token"] not in listed
    ended = await desk("invitations", "revoke", made["invitation_id"], CAIO_API_KEY=admin)
    assert ended.strip().endswith("is revoked")
    await desk("invitations", "accept", CAIO_INVITATION=made["token"], code=5)


async def test_exports_from_before_a_deletion_verify_after_it(desk: Desk) -> None:
    installation = desk.caio.installation
    (desk.folder / "keys.json").write_text(json.dumps(key_set(installation.keyring)))
    admin = await desk.admin_of("globex")
    await desk("audit", "export", "before", CAIO_API_KEY=admin)
    scope = embedded_scope("globex")
    before = await installation.audit_log.head(scope)
    await desk("tenants", "cancel", "globex", "--reason", "the contract ended", "--grace-days", "0")
    assert await installation.lifecycle.pass_once() in (0, 1)  # the worker may have been faster
    assert (await installation.lifecycle.get(scope)).status is TenantStatus.DELETED
    assert "Verified" in await desk("audit", "verify", "before", "--keys", "keys.json")
    after = await installation.audit_log.head(scope, fresh=True)
    assert before is not None
    assert after is not None
    assert after.size > before.size
    proof = await installation.audit_log.consistency(scope, before.size, after.size)
    assert proof  # verified against both roots before it is given
