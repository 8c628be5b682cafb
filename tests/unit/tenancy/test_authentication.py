"""API keys and authentication over the real SQLite stores."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from caio.foundation.errors import InvalidInput, NotAllowed, NotFound, Unauthenticated
from caio.foundation.scope import TenantScope
from caio.routing.model import TRUST_LEVELS
from caio.storage.sql import Database, open_stores
from caio.storage.sql.tables_tenancy import api_keys
from caio.storage.sql.upgrade import upgrade
from caio.tenancy import authentication
from caio.tenancy.api_keys import MAX_POLICIES, ApiKeys
from caio.tenancy.authentication import (
    CACHE_MICROSECONDS,
    LONGEST_KEY,
    Authenticator,
    embedded_caller,
    scope_of_tenant,
)
from caio.tenancy.ports import TenantStatus
from caio.tenancy.principals import PLATFORM, ROLES, Permission
from tests.support.acts import acts_over
from tests.support.tenants import add_bare_tenants, tenant_named

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")
START = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("authentication") / "caio.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


class Door:
    """Keys and authentication of one installation, with a clock and entropy that the test moves."""

    def __init__(self, stores):
        self.stores, self.now, self.drawn = stores, START, 0
        self.policies = {(ACME, "strict"), (ACME, "other"), *((ACME, f"p{n}") for n in range(20))}
        self.authenticator = Authenticator(stores.api_keys, stores.tenants, b"k" * 32, lambda: self.now)
        acts, _ = acts_over(stores, START)
        self.keys = ApiKeys(
            stores.api_keys, b"k" * 32, "test", lambda: self.now, self.entropy, self.authenticator.forget, self, acts
        )

    async def missing(self, scope, policy_ids):
        return [name for name in policy_ids if (scope, name) not in self.policies]

    def entropy(self, size):
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")

    async def enter(self, token):
        return await self.authenticator.authenticate(f"Bearer {token}")

    async def admin(self, scope=ACME):
        first = await self.keys.create_first(scope)
        assert first is not None
        return first, await self.enter(first.token)

    async def key(self, caller, *roles, trust="standard", expires_at=None, policies=()):
        return await self.keys.create(caller, "a key", roles or ("user",), trust, expires_at, policies)


@pytest.fixture
async def door(migrated, tmp_path):
    (tmp_path / "caio.db").write_bytes(migrated)
    database = await Database.open(f"sqlite:///{tmp_path / 'caio.db'}")
    stores = open_stores(database)
    standing = {"acme": "active", "rival": "active", "late": "suspended", "gone": "cancelled"}
    await add_bare_tenants(database, *(tenant_named(name, TenantStatus(each)) for name, each in standing.items()))
    yield Door(stores)
    await database.close()


async def test_a_key_is_its_tenants_caller(door):
    first, caller = await door.admin()
    assert (caller.scope, caller.tenant.tenant_id) == (ACME, "acme")
    assert (caller.principal.principal_id, caller.principal.kind) == (first.key.key_id, "api_key")
    assert (caller.principal.permissions, caller.principal.trust_level) == (ROLES["admin"], "privileged")
    made = await door.key(caller, "auditor", "service", trust="untrusted")
    again = await door.enter(made.token)
    assert again.scope == ACME
    assert again.principal.roles == {"auditor", "service"}
    assert again.principal.permissions == ROLES["auditor"] | ROLES["service"]
    assert again.principal.trust_level == "untrusted"


async def test_every_failure_is_the_same(door):
    first, caller = await door.admin()
    expired = await door.key(caller, expires_at=door.now + 5)
    revoked = await door.key(caller)
    await door.keys.revoke(caller, revoked.key.key_id)
    door.now += 5
    token = first.token
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer ",
        token,
        f"Basic {token}",
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Bearer {token.swapcase()}",
        f"Bearer {first.key.prefix}",
        f"Bearer {token} {token}",
        "Bearer caio_test_" + "A" * 43,
        "Bearer " + "caio_".ljust(LONGEST_KEY + 1, "x"),
        "Bearer \x00\x01",
        "Bearer clé",
        "Bearer \ud800",
        "Bearer ' OR 1=1 --",
        f"Bearer {expired.token}",
        f"Bearer {revoked.token}",
    ]
    said = set()
    for header in wrong:
        with pytest.raises(Unauthenticated) as caught:
            await door.authenticator.authenticate(header)
        said.add((type(caught.value), caught.value.code, caught.value.message))
    assert len(said) == 1
    assert (await door.enter(token)).scope == ACME


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_has_no_case(door, scheme):
    first, _ = await door.admin()
    assert (await door.authenticator.authenticate(f"{scheme}  {first.token} ")).scope == ACME


async def test_the_longest_token_is_looked_at_and_not_longer(door):
    looked = []

    class Watched:
        async def locate(self, key_hash):
            looked.append(key_hash)

    door.authenticator._keys = Watched()
    for size in (LONGEST_KEY, LONGEST_KEY + 1, 10**6):
        with pytest.raises(Unauthenticated):
            await door.enter("caio_".ljust(size, "x"))
    assert len(looked) == 1


@pytest.mark.parametrize("tenant", ["late", "gone"])
async def test_a_tenant_that_is_not_active_is_told_so(door, tenant):
    first = await door.keys.create_first(TenantScope(tenant))
    for _ in range(2):
        with pytest.raises(NotAllowed) as caught:
            await door.enter(first.token)
        assert caught.value.code == "tenant_suspended"


async def test_expiry_is_exact_also_while_cached(door):
    _, caller = await door.admin()
    made = await door.key(caller, expires_at=door.now + CACHE_MICROSECONDS // 2)
    assert (await door.enter(made.token)).scope == ACME
    door.now = made.key.expires_at - 1
    await door.enter(made.token)
    door.now += 1
    with pytest.raises(Unauthenticated):
        await door.enter(made.token)


async def test_a_revocation_is_effective_at_once_here_and_soon_elsewhere(door):
    _, caller = await door.admin()
    made = await door.key(caller)
    elsewhere = Authenticator(door.stores.api_keys, door.stores.tenants, b"k" * 32, lambda: door.now)
    await door.enter(made.token)
    await elsewhere.authenticate(f"Bearer {made.token}")
    revoked = await door.keys.revoke(caller, made.key.key_id)
    assert revoked.revoked_at == door.now
    with pytest.raises(Unauthenticated):
        await door.enter(made.token)
    door.now += CACHE_MICROSECONDS
    with pytest.raises(Unauthenticated):
        await elsewhere.authenticate(f"Bearer {made.token}")


async def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(door):
    _, caller = await door.admin()
    made = await door.key(caller)
    tenants = door.stores.tenants

    class RevokedMeanwhile:
        async def get(self, scope):
            await door.keys.revoke(caller, made.key.key_id)
            return await tenants.get(scope)

    door.authenticator._tenants = RevokedMeanwhile()
    answers = await asyncio.gather(*(door.enter(made.token) for _ in range(3)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unauthenticated}
    with pytest.raises(Unauthenticated):
        await door.enter(made.token)


async def test_a_caller_who_gives_up_takes_nobody_along(door):
    first, _ = await door.admin()
    door.now += CACHE_MICROSECONDS
    tenants, started, going = door.stores.tenants, asyncio.Event(), asyncio.Event()

    class Slow:
        async def get(self, scope):
            started.set()
            await going.wait()
            return await tenants.get(scope)

    door.authenticator._tenants = Slow()
    leaving, staying = [asyncio.ensure_future(door.enter(first.token)) for _ in range(2)]
    await started.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    going.set()
    assert (await staying).scope == ACME


async def test_who_has_not_changed_is_the_same_caller_when_looked_up_again(door):
    """What others have worked out for a caller, its tenant or its limits is found by these very objects."""
    _, caller = await door.admin()
    made = await door.key(caller)
    first = await door.enter(made.token)
    door.now += CACHE_MICROSECONDS
    assert await door.enter(made.token) is first
    await door.keys.revoke(caller, made.key.key_id)
    with pytest.raises(Unauthenticated):
        await door.enter(made.token)


async def test_the_cache_is_bounded(door, monkeypatch):
    monkeypatch.setattr(authentication, "CACHE_ENTRIES", 3)
    _, caller = await door.admin()
    tokens = [(await door.key(caller)).token for _ in range(6)]
    for _ in range(2):
        for token in tokens:
            assert (await door.enter(token)).scope == ACME
            assert len(door.authenticator._cache) <= 3


async def test_the_cache_answers_for_one_token_only(door):
    _, admin = await door.admin()
    _, rival = await door.admin(RIVAL)
    mine, theirs = await door.key(admin), await door.key(rival)
    for _ in range(2):
        assert (await door.enter(mine.token)).scope == ACME
        assert (await door.enter(theirs.token)).scope == RIVAL


async def test_a_token_is_stored_only_as_a_keyed_hash(door, tmp_path):
    first, caller = await door.admin()
    made = await door.key(caller)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made.key.key_hash in stored
    for key in (first, made):
        secret = key.token.removeprefix("caio_test_")
        assert len(secret) == 43
        assert secret.encode() not in stored
        assert key.key.prefix == key.token[: len("caio_test_") + 6]
    other = Authenticator(door.stores.api_keys, door.stores.tenants, b"another key" * 3, lambda: door.now)
    with pytest.raises(Unauthenticated):
        await other.authenticate(f"Bearer {made.token}")


async def test_tokens_and_ids_are_never_the_same(door):
    _, caller = await door.admin()
    made = [await door.key(caller) for _ in range(10)]
    assert len({key.token for key in made}) == len({key.key.key_id for key in made}) == 10


async def test_only_the_first_key_needs_no_caller(door):
    first, admin = await door.admin()
    assert first.key.roles == ("admin",)
    await door.keys.revoke(admin, first.key.key_id)
    assert await door.keys.create_first(ACME) is None
    assert await door.keys.create_first(RIVAL) is not None


async def test_a_grant_never_exceeds_the_grantor(door):
    _, admin = await door.admin()
    for own, level in (
        ("admin", "standard"),
        ("developer", "elevated"),
        ("user", "privileged"),
        ("auditor", "untrusted"),
    ):
        grantor = await door.enter((await door.key(admin, own, trust=level)).token)
        for role in ROLES:
            for trust in TRUST_LEVELS:
                if ROLES[role] <= ROLES[own] and TRUST_LEVELS.index(trust) <= TRUST_LEVELS.index(level):
                    assert (await door.key(grantor, role, trust=trust)).key.roles == (role,)
                else:
                    with pytest.raises(NotAllowed):
                        await door.key(grantor, role, trust=trust)
    user = await door.enter((await door.key(admin, "user")).token)
    with pytest.raises(NotAllowed):
        await door.key(user, "user", "auditor")


@pytest.mark.parametrize("roles", [(), ("root",), ("user", "root"), ("Admin",)])
async def test_unknown_roles_are_refused(door, roles):
    _, caller = await door.admin()
    with pytest.raises(InvalidInput) as caught:
        await door.keys.create(caller, "key", roles, "standard", None)
    assert [violation.pointer for violation in caught.value.violations] == ["/roles"]


async def test_an_unknown_trust_level_is_refused(door):
    _, caller = await door.admin()
    with pytest.raises(InvalidInput) as caught:
        await door.key(caller, trust="absolute")
    assert [violation.pointer for violation in caught.value.violations] == ["/trust_level"]


async def test_a_key_is_not_born_expired(door):
    _, caller = await door.admin()
    with pytest.raises(InvalidInput):
        await door.key(caller, expires_at=door.now)
    assert (await door.key(caller, expires_at=door.now + 1)).key.expires_at == door.now + 1


async def test_a_keys_policies_are_its_callers(door):
    _, admin = await door.admin()
    made = await door.key(admin, policies=["strict", "other", "strict"])
    assert made.key.policies == (await door.enter(made.token)).policies == ("other", "strict")
    assert (admin.policies, (await door.key(admin)).key.policies) == ((), ())
    assert [key.policies for key in await door.keys.page(ACME, "", 10)][1] == ("other", "strict")


async def test_a_bound_caller_makes_no_freer_key(door):
    _, admin = await door.admin()
    bound = await door.enter((await door.key(admin, "admin", policies=["strict"])).token)
    assert (await door.key(bound)).key.policies == ("strict",)
    assert (await door.key(bound, policies=["other"])).key.policies == ("other", "strict")


async def test_a_key_names_policies_of_its_tenant_only(door):
    _, admin = await door.admin()
    with pytest.raises(InvalidInput) as caught:
        await door.key(admin, policies=["strict", "unknown", "other", "gone"])
    assert [violation.pointer for violation in caught.value.violations] == ["/policies/1", "/policies/3"]
    _, rival = await door.admin(RIVAL)
    with pytest.raises(InvalidInput):
        await door.key(rival, policies=["strict"])
    with pytest.raises(InvalidInput) as caught:
        await door.key(admin, policies=[f"p{n}" for n in range(MAX_POLICIES + 1)])
    assert [violation.pointer for violation in caught.value.violations] == ["/policies"]


async def test_another_tenants_key_is_not_found(door):
    first, caller = await door.admin()
    theirs, rival = await door.admin(RIVAL)
    with pytest.raises(NotFound):
        await door.keys.revoke(rival, first.key.key_id)
    assert [key.key_id for key in await door.keys.page(RIVAL, "", 10)] == [theirs.key.key_id]
    assert [key.key_id for key in await door.keys.page(caller.scope, "", 10)] == [first.key.key_id]


async def test_the_embedded_caller_is_an_admin_of_one_tenant(door):
    caller = embedded_caller(replace(await door.stores.tenants.get(ACME), name="x"))
    assert (caller.scope, caller.principal.permissions) == (ACME, frozenset(Permission))


async def test_every_guess_takes_the_same_steps(door):
    """What the time of an answer could tell of a key: whatever is guessed, its keyed hash is looked up once, and
    nothing of the guess itself is compared or looked for."""
    first, caller = await door.admin()
    store, steps = door.stores.api_keys, []

    class Watched:
        async def locate(self, key_hash):
            steps.append(("locate", len(key_hash)))
            return await store.locate(key_hash)

        async def get(self, scope, key_id):
            steps.append(("get", scope.tenant_id))
            return await store.get(scope, key_id)

    door.authenticator._keys = Watched()
    near = first.token[:-1] + ("A" if first.token[-1] != "A" else "B")
    for guess in (near, first.key.prefix.ljust(len(first.token), "A"), "caio_test_" + "A" * 43, "caio_", "caio_x"):
        steps.clear()
        with pytest.raises(Unauthenticated):
            await door.enter(guess)
        assert steps == [("locate", 32)], guess
    # Whoever has a whole key may learn that it was revoked: the same answer, a look-up more.
    revoked = await door.key(caller)
    await door.keys.revoke(caller, revoked.key.key_id)
    steps.clear()
    with pytest.raises(Unauthenticated):
        await door.enter(revoked.token)
    assert steps == [("locate", 32), ("get", "acme")]


async def test_what_is_kept_is_bounded_and_of_the_whole_token(door, monkeypatch):
    monkeypatch.setattr("caio.tenancy.authentication.CACHE_ENTRIES", 3)
    first, caller = await door.admin()
    for _ in range(5):
        await door.enter((await door.key(caller)).token)
    assert len(door.authenticator._cache) == 3
    assert not any(first.token.encode() in name for name in door.authenticator._cache)
    await door.enter(first.token)
    for poisoned in (first.token[:-1], first.token + "A", first.token + "\0acme", first.token.upper()):
        with pytest.raises(Unauthenticated):
            await door.enter(poisoned)


async def test_the_platforms_permissions_are_its_own_tenants(door):
    """A row that says ``operator`` in a tenant, however it came there, permits nothing of the platform's."""
    made = await door.keys.create_for_owner(ACME, "embedded", "x")
    async with door.stores.api_keys._database.writing(ACME) as connection:
        await connection.execute(update(api_keys).values(roles='["admin","operator"]'))
    caller = await door.enter(made.token)
    assert caller.principal.roles == {"admin"}
    assert not caller.principal.permissions & PLATFORM
    with pytest.raises(NotAllowed):
        scope_of_tenant(caller, "rival")


async def test_an_operator_gets_the_scope_of_a_tenant(door):
    _, admin = await door.admin()
    with pytest.raises(NotAllowed):
        scope_of_tenant(admin, "rival")
    # Also for whoever had the permission by mistake: operators are of the platform's own tenant.
    mistaken = replace(admin, principal=replace(admin.principal, permissions=frozenset(Permission)))
    with pytest.raises(NotAllowed):
        scope_of_tenant(mistaken, "rival")
    tenant = await door.stores.tenants.get(RIVAL)
    assert scope_of_tenant(embedded_caller(tenant), "rival") == RIVAL
    with pytest.raises(NotFound):
        scope_of_tenant(embedded_caller(tenant), "../rival")
