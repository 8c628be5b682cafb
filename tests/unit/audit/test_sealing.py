"""Envelope encryption: runs, contexts and the tenants' wrapped keys, over a real SQLite key store."""

import asyncio
import hmac
import os
import shutil
import time

import pytest

from caio.audit import sealing
from caio.audit.sealing import LOOK_SECONDS, LocalWrapping, Sealer, TenantVault, derive, sealing_context
from caio.foundation.errors import Erased, NotFound, NotReady, SealBroken
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.stores import open_stores
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from tests.audit_samples import counted
from tests.support.acts import act_leaf

CONTEXT = sealing_context("acme", "decision", "dec_1")
ACME = TenantScope("acme")
WRAPPED = bytes(range(100, 177))


def vault_of(stores, letter=b"m", clock=time.monotonic):
    return TenantVault(LocalWrapping(letter * 32, os.urandom), stores.tenant_keys, os.urandom, clock)


def test_derive_is_hkdf_sha256():
    # RFC 5869 with an empty salt: extract, then one block of expand.
    master = bytes(range(32))
    extracted = hmac.digest(b"\0" * 32, master, "sha256")
    assert derive(master, "purpose") == hmac.digest(extracted, b"purpose\x01", "sha256")
    assert derive(master, "purpose") != derive(master, "another")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(length):
    with pytest.raises(ValueError, match="32 bytes"):
        derive(b"k" * length, "purpose")
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"k" * length, os.urandom)


def test_contexts_are_unambiguous():
    contexts = [("a", "b", "c"), ("a", "bc", ""), ("ab", "", "c"), ('a","b', "", "c"), ("a", 'b","', "c")]
    assert len({sealing_context(*parts) for parts in contexts}) == len(contexts)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"x" * 43, b"\x00" + b"x" * 80, b"\x02" + b"x" * 80])
def test_what_is_not_sealed_is_refused(sealed):
    with pytest.raises(SealBroken):
        Sealer(b"k" * 32, os.urandom).open(sealed, CONTEXT)


def test_a_run_ends(monkeypatch):
    monkeypatch.setattr(sealing, "SEALS_PER_RUN", 3)
    sealer = Sealer(b"k" * 32, counted())
    sealed = [sealer.seal(b"same", CONTEXT) for _ in range(10)]
    runs = [value[1:17] for value in sealed]
    assert [runs.count(run) for run in dict.fromkeys(runs)] == [3, 3, 3, 1]
    assert len(set(sealed)) == 10
    assert all(Sealer(b"k" * 32, counted()).open(value, CONTEXT) == b"same" for value in sealed)


def test_a_nonce_is_drawn_for_each_value():
    sealer = Sealer(b"k" * 32, os.urandom)
    assert len({sealer.seal(b"same", CONTEXT)[17:29] for _ in range(100)}) == 100


async def test_the_vault_keeps_one_key_per_tenant(stores):
    vault = vault_of(stores, b"m")
    acme, other = await vault.sealer(TenantScope("acme")), await vault.sealer(TenantScope("other"))
    assert await vault.sealer(TenantScope("acme")) is acme
    sealed = acme.seal(b"secret", CONTEXT)
    again = vault_of(stores, b"m")
    assert (await again.sealer(TenantScope("acme"))).open(sealed, CONTEXT) == b"secret"
    with pytest.raises(SealBroken):
        other.open(sealed, CONTEXT)


async def test_first_writer_wins(stores):
    vaults = [vault_of(stores, b"m") for _ in range(8)]
    sealers = await asyncio.gather(*(vault.sealer(TenantScope("acme")) for vault in vaults for _ in range(2)))
    sealed = sealers[0].seal(b"secret", CONTEXT)
    assert {sealer.open(sealed, CONTEXT) for sealer in sealers} == {b"secret"}


async def test_another_master_key_is_named_as_the_cause(stores):
    await vault_of(stores, b"m").sealer(TenantScope("acme"))
    with pytest.raises(SealBroken, match="master key"):
        await vault_of(stores, b"n").sealer(TenantScope("acme"))


async def test_a_wrapped_key_cannot_be_moved_to_another_tenant(stores):
    wrapped = await stores.tenant_keys.wrapped_key(TenantScope("acme"), b"")
    vault = vault_of(stores, b"m")
    await stores.tenant_keys.wrapped_key(TenantScope("other"), wrapped)
    with pytest.raises(SealBroken):
        await vault.sealer(TenantScope("other"))


class Ticks:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


class Watched:
    """A real key store that counts what it is asked; on demand it is out of reach, or another row was put back."""

    def __init__(self, keys):
        self._keys, self.finds, self.out_of_reach, self.put_back = keys, 0, False, None

    async def find(self, scope):
        self.finds += 1
        if self.out_of_reach:
            raise NotReady("out of reach")
        return self.put_back or await self._keys.find(scope)

    async def wrapped_key(self, scope, fresh):
        return await self._keys.wrapped_key(scope, fresh)

    async def destroy(self, scope, now):
        return await self._keys.destroy(scope, now)


async def test_local_wrapping_reads_what_earlier_versions_wrote(stores):
    # As TenantVault wrapped before wrappings were a port: the same key, context and form.
    wrapper = Sealer(derive(b"m" * 32, "caio/tenant-key-wrapping/v1"), os.urandom)
    earlier = wrapper.seal(b"k" * 32, sealing_context("acme", "tenant-key", "acme"))
    await stores.tenant_keys.wrapped_key(ACME, earlier)
    sealed = Sealer(b"k" * 32, os.urandom).seal(b"secret", CONTEXT)
    assert (await vault_of(stores).sealer(ACME)).open(sealed, CONTEXT) == b"secret"


async def test_a_destroyed_key_falls_out_of_use(stores):
    clock = Ticks()
    here, there = vault_of(stores), vault_of(stores, clock=clock)
    before = await there.sealer(ACME)
    await here.sealer(ACME)
    assert await here.destroy(ACME, 7)
    with pytest.raises(Erased) as refused:
        await here.sealer(ACME)
    assert refused.value.code == "tenant_key_destroyed"
    clock.seconds += LOOK_SECONDS - 0.001
    assert await there.sealer(ACME) is before
    clock.seconds += 0.001
    for vault in (there, there, vault_of(stores)):
        with pytest.raises(Erased):
            await vault.sealer(ACME)
    await there.sealer(TenantScope("other"))


async def test_a_key_destroyed_while_it_is_looked_up_is_not_used(stores):
    """A key service may take its time between the look and the opened key."""
    opening, opened = asyncio.Event(), asyncio.Event()

    class Slow(LocalWrapping):
        async def unwrap(self, wrapped, tenant_id):
            opening.set()
            await opened.wait()
            return await super().unwrap(wrapped, tenant_id)

    await vault_of(stores).sealer(ACME)
    vault = TenantVault(Slow(b"m" * 32, os.urandom), stores.tenant_keys, os.urandom, Ticks())
    looking = asyncio.create_task(vault.sealer(ACME))
    await opening.wait()
    assert await vault.destroy(ACME, 7)
    opened.set()
    with pytest.raises(Erased):
        await looking
    with pytest.raises(Erased):
        await vault.sealer(ACME)


async def test_a_key_is_destroyed_once_and_also_when_it_was_never_made(stores):
    vault = vault_of(stores)
    assert [await vault.destroy(ACME, 7), await vault.destroy(ACME, 8)] == [True, False]
    with pytest.raises(Erased):
        await vault.sealer(ACME)
    with pytest.raises(NotFound):
        await vault.destroy(TenantScope("nobody"), 7)


async def test_the_vault_looks_every_five_seconds_and_one_caller_at_a_time(stores):
    clock, keys = Ticks(), Watched(stores.tenant_keys)
    vault = TenantVault(LocalWrapping(b"m" * 32, os.urandom), keys, os.urandom, clock)
    first = await vault.sealer(ACME)
    for _ in range(100):
        assert await vault.sealer(ACME) is first
    assert keys.finds == 1
    for look in (2, 3):
        clock.seconds += LOOK_SECONDS
        assert set(await asyncio.gather(*(vault.sealer(ACME) for _ in range(20)))) == {first}
        assert keys.finds == look


async def test_a_look_that_fails_is_repeated_at_the_next_use(stores):
    clock, keys = Ticks(), Watched(stores.tenant_keys)
    vault = TenantVault(LocalWrapping(b"m" * 32, os.urandom), keys, os.urandom, clock)
    first = await vault.sealer(ACME)
    clock.seconds += LOOK_SECONDS
    keys.out_of_reach = True
    for _ in range(2):
        with pytest.raises(NotReady):
            await vault.sealer(ACME)
    keys.out_of_reach = False
    assert await vault.sealer(ACME) is first
    assert keys.finds == 4


async def test_a_key_that_was_exchanged_is_taken_up(stores):
    clock, keys, wrapping = Ticks(), Watched(stores.tenant_keys), LocalWrapping(b"m" * 32, os.urandom)
    vault = TenantVault(wrapping, keys, os.urandom, clock)
    before = await vault.sealer(ACME)
    keys.put_back = await wrapping.wrap(b"k" * 32, "acme")
    clock.seconds += LOOK_SECONDS
    sealed = (await vault.sealer(ACME)).seal(b"secret", CONTEXT)
    assert Sealer(b"k" * 32, os.urandom).open(sealed, CONTEXT) == b"secret"
    with pytest.raises(SealBroken):
        before.open(sealed, CONTEXT)
    await vault.sealer(ACME)
    assert keys.finds == 2


async def test_keys_of_many_tenants_are_unwrapped_again(stores, monkeypatch):
    monkeypatch.setattr(sealing, "TENANTS_KEPT", 1)
    vault, other = vault_of(stores), TenantScope("other")
    first = await vault.sealer(ACME)
    sealed = first.seal(b"value", CONTEXT)
    await vault.sealer(other)
    assert vault.held(ACME) is None
    assert vault.held(other) is not None
    again = await vault.sealer(ACME)
    assert again is not first
    assert again.open(sealed, CONTEXT) == b"value"


async def test_a_forgotten_key_is_read_again(stores):
    vault = vault_of(stores)
    sealed = (await vault.sealer(ACME)).seal(b"secret", CONTEXT)
    vault.forget("acme")
    vault.forget("acme")
    assert (await vault.sealer(ACME)).open(sealed, CONTEXT) == b"secret"


async def test_a_destroyed_key_leaves_no_copy_in_the_database_file(migrated, tmp_path):
    path = tmp_path / "caio.db"
    shutil.copy(migrated, path)
    database = await Database.open(f"sqlite:///{path}")
    stores = open_stores(database)
    await stores.tenants.create(
        ACME, Tenant("acme", "Acme", TenantStatus.ACTIVE, "USD", Quotas(), 0), WRAPPED, act_leaf(ACME)
    )
    await database.close()
    assert WRAPPED in path.read_bytes()
    database = await Database.open(f"sqlite:///{path}")
    assert await vault_of(open_stores(database)).destroy(ACME, 7)
    await database.close()  # takes the write-ahead log in
    left = path.read_bytes()
    assert not [start for start in range(len(WRAPPED) - 8) if WRAPPED[start : start + 8] in left]
