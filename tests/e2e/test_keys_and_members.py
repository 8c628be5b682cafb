"""Keys and members from end to end: rotation, limits, use, what the acts say, and the commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caio.foundation.scope import DEFAULT_TENANT
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served
from tests.support.acts import acts_told
from tests.support.caio_command import run_caio
from tests.support.members import add_members, member_of

KEYS = "/api/v1/keys"


async def ask(caio: Served, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with caio.http.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def made(caio: Served, **wish: Any) -> dict[str, Any]:
    status, key = await ask(caio, "POST", KEYS, {"name": "a key"} | wish)
    assert status == 201, key
    return dict(key)


async def acts(caio: Served) -> list[Any]:
    installation = caio.installation
    return await acts_told(installation.stores.journal, installation.vault, embedded_scope())


async def test_the_first_key_is_the_operators(caio: Served) -> None:
    status, me = await ask(caio, "GET", "/api/v1/me")
    assert (status, me["tenant"]["tenant_id"], me["roles"]) == (200, DEFAULT_TENANT, ["admin", "operator"])
    assert {"tenants:manage", "keys:manage"} <= set(me["permissions"])
    assert (me["kind"], me["trust_level"], me["expires_at"]) == ("api_key", "privileged", None)


async def test_a_key_and_its_successor_work_side_by_side(caio: Served) -> None:
    old = await made(caio, roles=["developer"], limits={"requests_per_minute": 7})
    status, new = await ask(caio, "POST", f"{KEYS}/{old['key_id']}/rotate", {"overlap_seconds": 60})
    assert status == 201
    assert {name: new[name] for name in ("name", "roles", "trust_level", "policies", "limits", "expires_at")} == {
        name: old[name] for name in ("name", "roles", "trust_level", "policies", "limits", "expires_at")
    }
    assert new["token"] != old["token"]
    for token in (old["token"], new["token"]):
        status, me = await ask(caio, "GET", "/api/v1/me", token=token)
        assert (status, me["limits"]["requests_per_minute"]) == (200, 7)
    status, stands = await ask(caio, "GET", f"{KEYS}/{old['key_id']}")
    assert stands["successor_id"] == new["key_id"]
    assert 0 < stands["expires_at"] - time.time() * 1e6 <= 60e6
    status, refused = await ask(caio, "POST", f"{KEYS}/{old['key_id']}/rotate", {})
    assert (status, refused["code"]) == (409, "key_not_active")
    told = (await acts(caio))[-1]
    assert (told["action"], told["subject"]) == ("key.replaced", old["key_id"])
    assert told["details"]["successor"] == new["key_id"]
    assert old["token"] not in json.dumps(told)


async def test_without_an_overlap_the_old_key_ends_at_once(caio: Served) -> None:
    old = await made(caio)
    assert (await ask(caio, "GET", "/api/v1/me", token=old["token"]))[0] == 200
    status, _ = await ask(caio, "POST", f"{KEYS}/{old['key_id']}/rotate", {"overlap_seconds": 0})
    assert status == 201
    assert (await ask(caio, "GET", "/api/v1/me", token=old["token"]))[0] == 401


async def test_a_grant_never_exceeds_its_grantor(caio: Served) -> None:
    soon = int(time.time() * 1e6) + 3600 * 10**6
    narrow = await made(
        caio, roles=["admin"], trust_level="standard", expires_at=soon, limits={"requests_per_minute": 5}
    )
    wishes: tuple[dict[str, Any], ...] = (
        {"roles": ["operator"]},
        {"trust_level": "elevated"},
        {"expires_at": soon + 1},
        {"limits": {"requests_per_minute": 6}},
    )
    for wish in wishes:
        status, refused = await ask(caio, "POST", KEYS, {"name": "x"} | wish, narrow["token"])
        assert (status, refused["code"]) == (403, "not_allowed"), wish
    status, key = await ask(caio, "POST", KEYS, {"name": "x", "limits": {"concurrent": 2}}, narrow["token"])
    assert (status, key["expires_at"], key["created_by"]) == (201, soon, narrow["key_id"])
    assert (key["limits"]["requests_per_minute"], key["limits"]["concurrent"]) == (5, 2)
    # Nor by rotating what has more.
    first = (await ask(caio, "GET", KEYS))[1]["items"][0]["key_id"]
    assert (await ask(caio, "POST", f"{KEYS}/{first}/rotate", {}, narrow["token"]))[0] == 403
    status, longer = await ask(caio, "POST", f"{KEYS}/{key['key_id']}/rotate", {}, narrow["token"])
    assert (status, longer["expires_at"] <= soon) == (201, True)


async def test_the_last_use_is_written_now_and_then(caio: Served) -> None:
    key = await made(caio)
    assert (await ask(caio, "GET", f"{KEYS}/{key['key_id']}"))[1]["last_used_at"] is None
    await ask(caio, "GET", "/api/v1/me", token=key["token"])
    from caio.tenancy.key_uses import KeyUses

    uses: KeyUses = caio.installation.authenticator._used.__self__  # type: ignore[attr-defined]
    assert await uses.write() >= 1
    used = (await ask(caio, "GET", f"{KEYS}/{key['key_id']}"))[1]["last_used_at"]
    assert abs(used - time.time() * 1e6) < 60e6


async def test_members_are_changed_and_removed(caio: Served) -> None:
    chief, one = (
        member_of(DEFAULT_TENANT, "https://idp.example", n, r) for n, r in (("chief", "admin"), ("one", "user"))
    )
    await add_members(caio.installation.database, chief, one)
    path = f"/api/v1/members/{one.member_id}"
    status, changed = await ask(
        caio, "PATCH", path, {"roles": ["developer"], "limits": {"concurrent": 1}, "trust_level": "untrusted"}
    )
    assert (status, changed["roles"], changed["limits"]["concurrent"]) == (200, ["developer"], 1)
    assert (await ask(caio, "GET", path))[1] == changed
    status, refused = await ask(caio, "DELETE", f"/api/v1/members/{chief.member_id}")
    assert (status, refused["code"]) == (409, "last_admin")
    before = len(await acts(caio))
    assert (await ask(caio, "PATCH", path, {}))[1] == changed
    assert len(await acts(caio)) == before
    status, removed = await ask(caio, "DELETE", path)
    assert (status, removed["removed_at"] is not None) == (200, True)
    for method, body in (("DELETE", None), ("PATCH", {"roles": ["user"]})):
        assert (await ask(caio, method, path, body))[0] == 404
    told = await acts(caio)
    assert [each["action"] for each in told[-2:]] == ["member.changed", "member.removed"]
    assert told[-2]["details"] == {"roles": ["developer"], "trust_level": "untrusted", "limits": {"concurrent": 1}}


async def test_the_commands_do_the_same(caio: Served, tmp_path: Path) -> None:
    await add_members(
        caio.installation.database,
        member_of(DEFAULT_TENANT, "https://idp.example", "chief", "admin"),
        member_of(DEFAULT_TENANT, "https://idp.example", "one", "user"),
    )
    settings = {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token, "NO_COLOR": "1"}

    async def run(*arguments: object, code: int = 0) -> str:
        exited, printed = await run_caio(tmp_path, settings, *arguments)
        assert exited == code, printed
        return printed

    assert "default (Default tenant, active)" in await run("whoami")
    key = json.loads(await run("keys", "create", "mine", "--limit", "concurrent=3", "--json"))
    shown = await run("keys", "show", key["key_id"])
    assert "concurrent=3" in shown
    assert key["token"] not in shown
    rotated = json.loads(await run("keys", "rotate", key["key_id"], "--overlap-hours", "1", "--json"))
    assert rotated["key_id"] in await run("keys", "show", key["key_id"])
    member = f"member_{DEFAULT_TENANT}_one"
    assert "developer" in await run("members", "change", member, "--role", "developer")
    assert "is removed" in await run("members", "remove", member)
    assert "removed" in await run("members", "list")
    assert "chief@example.com" in await run("members", "show", f"member_{DEFAULT_TENANT}_chief")
    assert "last_admin" in await run("members", "remove", f"member_{DEFAULT_TENANT}_chief", "--json", code=7)


async def test_a_lost_key_is_made_anew_in_the_data_directory(caio: Served, tmp_path: Path) -> None:
    """While the server runs; the new key works there."""
    exited, printed = await run_caio(
        tmp_path, {}, "keys", "create", "found again", "--embedded", "--data-dir", caio.data_dir, "--json"
    )
    assert exited == 0, printed
    key = json.loads(printed)
    status, me = await ask(caio, "GET", "/api/v1/me", token=key["token"])
    assert (status, me["roles"]) == (200, ["admin", "operator"])
    told = (await acts(caio))[-1]
    assert (told["action"], told["principal"], told["subject"]) == ("key.created", "embedded", key["key_id"])


@pytest.mark.parametrize("header", ["Authorization", "X-Tenant-ID"])
async def test_a_header_that_is_sent_twice_counts_for_nothing(caio: Served, header: str) -> None:
    stated = [("Authorization", f"Bearer {caio.token}"), ("X-Tenant-ID", DEFAULT_TENANT)]
    twice = [*stated, *(each for each in stated if each[0] == header)]
    async with aiohttp.ClientSession(caio.url) as http:
        async with http.get("/api/v1/me", headers=stated) as answer:
            assert answer.status == 200
        async with http.get("/api/v1/me", headers=twice) as answer:
            assert answer.status in (401, 403)
