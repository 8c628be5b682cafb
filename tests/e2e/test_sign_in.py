"""Tokens of identity providers, and what people try with them, over HTTP against a real provider."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import update

from caio.foundation.scope import PlatformScope
from caio.storage.sql.tables_tenancy import tenants
from caio.tenancy import authentication
from caio.tenancy.ports import TenantStatus
from caio.tenancy.throttle import FAILURES
from tests.e2e.conftest import Served, served
from tests.support.identity_provider import (
    API,
    CLIENT,
    Key,
    Provider,
    auth0,
    b64,
    cognito,
    identity_provider,
    keycloak,
    plain,
    seconds,
    token,
)
from tests.support.members import add_members, member_of
from tests.support.tenants import add_bare_tenants, tenant_named

ME = "/api/v1/me"


@dataclass
class Doors:
    """A served installation and two providers that it takes tokens of, one by audience, one by client."""

    caio: Served
    provider: Provider
    clients: Provider

    async def enter(self, bearer: str, **headers: str) -> tuple[int, Any]:
        return await self.ask(f"Bearer {bearer}", **headers)

    async def ask(self, authorization: str | None, path: str = ME, **headers: str) -> tuple[int, Any]:
        stated = {name.replace("_", "-"): value for name, value in headers.items()}
        if authorization is not None:
            stated["Authorization"] = authorization
        async with (
            aiohttp.ClientSession(self.caio.url) as http,
            http.get(path, headers=stated) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


@pytest.fixture
async def doors(tmp_path: Path, template: tuple[Path, str], service: Any) -> AsyncIterator[Doors]:
    folder, key = template
    shutil.copytree(folder, tmp_path / "data")
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(identity_provider())
        clients = await stack.enter_async_context(identity_provider())
        issuers = [provider.setting(), {"issuer": clients.url, "client_ids": [CLIENT]}]
        running = await stack.enter_async_context(
            served(tmp_path / "data", key, service, oidc_issuers=json.dumps(issuers), trusted_proxies="127.0.0.0/8")
        )
        database = running.installation.database
        await add_bare_tenants(database, tenant_named("acme"), tenant_named("rival"))
        await add_members(
            database,
            member_of("acme", provider.url, "person-1", "developer"),
            member_of("acme", clients.url, "person-1", "auditor", member_id="member_acme_client"),
            member_of("acme", provider.url, "both", "user"),
            member_of("rival", provider.url, "both", "admin"),
            member_of("acme", provider.url, "gone", "admin", removed_at=5),
        )
        yield Doors(running, provider, clients)


async def test_a_token_is_its_members_caller(doors: Doors) -> None:
    status, me = await doors.enter(doors.provider.token())
    assert (status, me["tenant"]["tenant_id"], me["roles"], me["kind"]) == (200, "acme", ["developer"], "member")
    assert me["principal_id"] == "member_acme_person-1"


@pytest.mark.parametrize("shape", [plain, auth0, keycloak])
async def test_each_shape_is_taken_and_its_roles_are_not(doors: Doors, shape: Any) -> None:
    status, me = await doors.enter(token(shape(doors.provider.url), doors.provider.key))
    assert (status, me["roles"]) == (200, ["developer"])


async def test_a_token_without_an_audience_is_taken_by_its_client(doors: Doors) -> None:
    status, me = await doors.enter(token(cognito(doors.clients.url), doors.clients.key))
    assert (status, me["roles"]) == (200, ["auditor"])


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_other_algorithms_are_taken(doors: Doors, algorithm: str) -> None:
    key = Key("another", algorithm)
    doors.provider.served.append(key.jwk())
    assert (await doors.enter(token(plain(doors.provider.url), key)))[0] == 200


def forged(doors: Doors) -> dict[str, str]:
    """Every token that an attacker may come by, by what is wrong with it."""
    url, key = doors.provider.url, doors.provider.key
    good, now = plain(url), seconds()
    mine = Key(key.kid)
    nothing, capitals = b64(b'{"alg":"none"}'), b64(b'{"alg":"NONE"}')
    unsigned = f"{nothing}.{b64(json.dumps(good).encode())}."
    head, body, signature = doors.provider.token().split(".")
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = f"{b64(json.dumps({'alg': 'HS256', 'kid': key.kid}).encode())}.{body}"
    hmac_signed = b64(hmac.digest(pem, confused.encode(), hashlib.sha256))
    jwk = mine.jwk()

    def changed(**changes: Any) -> str:
        return token(plain(url, **changes), key)

    return {
        "unsigned": unsigned,
        "none with a signature": f"{nothing}.{body}.{signature}",
        "None in capitals": f"{capitals}.{body}.{signature}",
        "a signature left out": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "truncated": f"{head}.{body}.{signature[:-4]}",
        "RS/HS confusion": f"{confused}.{hmac_signed}",
        "the algorithm of another key": token(good, key, alg="ES256"),
        "another key of the same name": token(good, mine),
        "a key in the header": token(good, mine, jwk=jwk),
        "a key set in the header": token(good, mine, jku=f"{doors.clients.url}/keys"),
        "a certificate in the header": token(good, mine, x5u=f"{doors.clients.url}/keys", x5c=["MII="]),
        "an unknown demand": token(good, key, crit=["exp"]),
        "an unencoded payload": token(good, key, crit=["b64"], b64=False),
        "a path as kid": token(good, mine, kid="../../../../dev/null"),
        "SQL as kid": token(good, mine, kid="x' UNION SELECT 'key' --"),
        "a URL as kid": token(good, mine, kid=f"{doors.clients.url}/keys"),
        "a very long kid": token(good, mine, kid="k" * 5000),
        "an object as kid": token(good, mine, kid={"$ne": None}),
        "expired": changed(exp=now - 61),
        "never ending": changed(exp=None),
        "ending as text": changed(exp=str(now + 300)),
        "ending in infinity": token(json.dumps(good).replace(str(good["exp"]), "1e999").encode(), key),
        "not valid yet": changed(nbf=now + 90),
        "of the future": changed(iat=now + 90),
        "another issuer, another key": token(plain("https://elsewhere.example"), mine),
        "the issuer elsewhere": token(plain(f"{url}@evil.example"), key),
        "the issuer with a slash": token(plain(f"{url}/"), key),
        "a list of issuers": token(plain(url) | {"iss": [url]}, key),
        "another audience": changed(aud="https://other.example"),
        "an audience that begins alike": changed(aud=f"{API}.evil.example"),
        "no audience": changed(aud=None),
        "an audience that is an object": changed(aud={API: True}),
        "another client": token(cognito(doors.clients.url, client_id="another"), doors.clients.key),
        "no client": token(cognito(doors.clients.url, client_id=None), doors.clients.key),
        "two clients": changed(azp="another"),
        "an identity token of Cognito": token(
            cognito(doors.clients.url, token_use="id", aud=CLIENT), doors.clients.key
        ),
        "an identity token": token(plain(doors.clients.url, aud=CLIENT, client_id=None, azp=CLIENT), doors.clients.key),
        "an identity token with a nonce": changed(nonce="n"),
        "an identity token with a hash": changed(at_hash="h"),
        "an identity token of Keycloak": changed(typ="ID"),
        "a refresh token of Keycloak": changed(typ="Refresh"),
        "another kind of token": token(good, key, typ="logout+jwt"),
        "a repeated member": token(json.dumps(good)[:-1].encode() + b',"sub":"both"}', key),
        "a payload that is a list": token(b"[]", key),
        "no JSON": token(b"\xff\xfe", key),
        "nobody": changed(sub=""),
        "a number as subject": changed(sub=1),
        "too long": changed(padding="x" * 20_000),
        "spare bits": f"{head}.{body}.{signature[:-1]}{'B' if signature[-1] != 'B' else 'C'}",
        "standard base 64": f"{head}.{body}.{signature}==",
        "another one's signature": f"{head}.{b64(json.dumps(good | {'sub': 'both'}).encode())}.{signature}",
        "an invitation": "caio_inv_" + "A" * 43,
    }


async def test_every_forged_token_is_the_same_401(doors: Doors) -> None:
    wrong = forged(doors)
    said = set()
    for index, (name, bearer) in enumerate(wrong.items()):
        status, document = await doors.enter(bearer, X_Forwarded_For=f"198.51.100.{index}")
        assert status == 401, f"{name}: {status} {document}"
        said.add(json.dumps(document))
    assert len(said) == 1
    # Nobody was asked for keys but the two providers, and each at the address that is its own.
    assert set(doors.provider.asked) | set(doors.clients.asked) <= {"/.well-known/openid-configuration", "/keys"}
    assert (await doors.enter(doors.provider.token()))[0] == 200


async def test_a_failure_is_not_a_caller_without_a_name(doors: Doors) -> None:
    for authorization in (None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer null", "Bearer caio_"):
        assert (await doors.ask(authorization))[0] == 401


async def test_the_tenant_header_selects_and_proves_nothing(doors: Doors) -> None:
    both = doors.provider.token(sub="both")
    status, document = await doors.enter(both)
    assert (status, document["code"]) == (403, "tenant_required")
    assert not {"acme", "rival"} & set(json.dumps(document).split(chr(34)))
    for tenant, roles in (("acme", ["user"]), ("rival", ["admin"])):
        status, me = await doors.enter(both, X_Tenant_ID=tenant)
        assert (status, me["tenant"]["tenant_id"], me["roles"]) == (200, tenant, roles)
    one = doors.provider.token()
    assert (await doors.enter(one, X_Tenant_ID="acme"))[0] == 200
    refused = []
    for bearer in (one, doors.caio.token):
        for tenant in ("rival", "nobody", "", "acme,rival", "../acme", "x" * 500, "' OR 1=1 --", "ACME"):
            refused.append(await doors.enter(bearer, X_Tenant_ID=tenant, X_Forwarded_For="192.0.2.1"))
            assert refused[-1] == refused[0], tenant
    assert (refused[0][0], refused[0][1]["code"]) == (403, "not_a_member")


async def test_a_token_of_nobody_here_is_refused_alike(doors: Doors) -> None:
    for subject in ("stranger", "gone", "person-1 ", "PERSON-1", "' OR '1'='1"):
        status, document = await doors.enter(doors.provider.token(sub=subject))
        assert (status, document["code"]) == (403, "not_a_member")
    # The same subject of another issuer is another person.
    status, document = await doors.enter(token(cognito(doors.clients.url, sub="both"), doors.clients.key))
    assert (status, document["code"]) == (403, "not_a_member")


async def test_a_program_without_a_subject_is_its_client(doors: Doors) -> None:
    await add_members(doors.caio.installation.database, member_of("rival", doors.clients.url, CLIENT, "service"))
    status, me = await doors.enter(token(cognito(doors.clients.url, sub=None), doors.clients.key))
    assert (status, me["tenant"]["tenant_id"], me["roles"]) == (200, "rival", ["service"])


@pytest.mark.parametrize(
    ("standing", "expected"),
    [("suspended", (403, "tenant_suspended")), ("cancelled", (403, "tenant_suspended")), ("deleted", (401, None))],
)
async def test_a_tenant_that_is_not_active_serves_nobody(doors: Doors, standing: str, expected: Any) -> None:
    bearer = doors.provider.token()
    assert (await doors.enter(bearer))[0] == 200
    async with doors.caio.installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(
            update(tenants).where(tenants.c.tenant_id == "acme").values(status=TenantStatus(standing).value)
        )
    await asyncio.sleep(2.05)
    status, document = await doors.enter(bearer)
    assert status == expected[0]
    assert expected[1] in (None, document["code"])


async def test_a_bearers_next_token_costs_no_look_up(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A membership is looked up once in two seconds, whatever tokens its bearer brings; another's is another."""
    members, looked_up = doors.caio.installation.stores.members, []

    async def locate(issuer: str, subject: str) -> Any:
        looked_up.append((issuer, subject))
        return await type(members).locate(members, issuer, subject)

    monkeypatch.setattr(
        doors.caio.installation.authenticator, "_members", SimpleNamespace(locate=locate, get=members.get)
    )
    monkeypatch.setattr(authentication, "CACHE_MICROSECONDS", 60_000_000)
    for number in range(3):
        assert (await doors.enter(doors.provider.token(jti=str(number))))[0] == 200
    both = [await doors.enter(doors.provider.token(sub="both"), X_Tenant_ID=name) for name in ("acme", "rival")]
    assert [me["tenant"]["tenant_id"] for _, me in both] == ["acme", "rival"]
    assert looked_up == [(doors.provider.url, "person-1"), *[(doors.provider.url, "both")] * 2]


async def test_a_removed_member_is_out_at_once(doors: Doors) -> None:
    admin, one = doors.provider.token(sub="both"), doors.provider.token()
    assert (await doors.enter(one))[0] == 200
    await add_members(doors.caio.installation.database, member_of("acme", doors.provider.url, "chief", "admin"))
    chief = {"Authorization": f"Bearer {doors.provider.token(sub='chief')}"}
    path = "/api/v1/members/member_acme_person-1"
    rival = {"Authorization": f"Bearer {admin}", "X-Tenant-ID": "rival"}
    async with doors.caio.http.delete(path, headers=rival) as answer:
        assert answer.status == 404
    async with doors.caio.http.delete(path, headers=chief) as answer:
        assert answer.status == 200, await answer.text()
    for bearer in (one, doors.provider.token(jti="fresh")):
        status, document = await doors.enter(bearer)
        assert (status, document["code"]) == (403, "not_a_member")


async def test_a_new_key_works_and_an_old_one_stops(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = doors.provider.token(), Key("k2")
    assert (await doors.enter(old))[0] == 200
    doors.provider.served[:] = [new.jwk()]
    # Its first use makes the set be fetched; the look-up of the old one does too, by then it is known to be gone.
    monkeypatch.setattr("caio.tenancy.key_sets.AGAIN", 0)
    assert (await doors.enter(token(plain(doors.provider.url), new)))[0] == 200
    await asyncio.sleep(2.05)  # what was found is kept for two seconds
    assert (await doors.enter(old))[0] == 401


async def test_the_last_good_set_serves_while_the_provider_is_down(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await doors.enter(doors.provider.token()))[0] == 200
    doors.provider.down = True
    monkeypatch.setattr("caio.tenancy.key_sets.FRESH", 0)
    monkeypatch.setattr("caio.tenancy.key_sets.AGAIN", 0)
    for index in range(3):
        assert (await doors.enter(doors.provider.token(jti=str(index))))[0] == 200
    doors.clients.down = True
    status, document = await doors.enter(token(cognito(doors.clients.url), doors.clients.key))
    assert (status, document["code"], document["retryable"]) == (503, "not_ready", True)


async def test_a_discovery_document_sends_nobody_elsewhere(doors: Doors) -> None:
    path = "/.well-known/openid-configuration"
    lies = (
        {"issuer": doors.provider.url, "jwks_uri": f"{doors.clients.url}/keys"},
        {"issuer": "https://evil.example", "jwks_uri": f"{doors.provider.url}/keys"},
        {"issuer": doors.provider.url, "jwks_uri": "file:///etc/passwd"},
        {"issuer": doors.provider.url},
    )
    source = doors.caio.installation.authenticator._key_sets._source  # type: ignore[union-attr]
    issuer = doors.caio.installation.authenticator._issuers[doors.provider.url]
    for lie in lies:
        doors.provider.answers[path] = web.json_response(lie)
        with pytest.raises(Exception, match="discovery document"):
            await source.fetch(issuer)
    assert doors.clients.asked == []


async def test_a_failing_address_is_held_up_and_no_other(doors: Doors) -> None:
    known = doors.provider.token()
    attacker, neighbour = "203.0.113.7", "203.0.113.8"
    assert (await doors.enter(known, X_Forwarded_For=attacker))[0] == 200
    statuses = []
    for index in range(FAILURES + 3):
        bearer = "caio_dev_" + f"{index}".rjust(43, "A")
        # What stands left of the address that the proxy reports is the caller's invention.
        statuses.append((await doors.enter(bearer, X_Forwarded_For=f"198.51.100.{index}, {attacker}"))[0])
    assert statuses == [401] * FAILURES + [429] * 3
    async with aiohttp.ClientSession(doors.caio.url) as http:
        headers = {"Authorization": "Bearer caio_dev_x", "X-Forwarded-For": attacker}
        async with http.post("/v1/chat/completions", headers=headers, json={}) as answer:
            assert answer.status == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert (await answer.json())["error"]["code"] == "rate_limited"
    # Also a good credential that was never seen waits; one that is known does not, and neighbours do not.
    assert (await doors.enter(doors.provider.token(jti="2"), X_Forwarded_For=attacker))[0] == 429
    assert (await doors.enter(known, X_Forwarded_For=attacker))[0] == 200
    assert (await doors.enter(doors.provider.token(jti="3"), X_Forwarded_For=neighbour))[0] == 200


async def test_nothing_of_a_token_is_logged(doors: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    for bearer in (doors.provider.token(), *list(forged(doors).values())[:8]):
        await doors.enter(bearer)
    printed = capsys.readouterr()
    assert not any(part in printed.out + printed.err for part in doors.provider.token().split(".")[1:])
