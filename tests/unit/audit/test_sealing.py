"""Envelope encryption: runs, contexts and the tenants' wrapped keys, over a real SQLite key store."""

import asyncio
import hmac
import os

import pytest

from caio.audit import sealing
from caio.audit.sealing import Sealer, TenantVault, derive, sealing_context
from caio.foundation.errors import SealBroken
from caio.foundation.scope import TenantScope
from tests.audit_samples import counted

CONTEXT = sealing_context("acme", "decision", "dec_1")


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
    vault = TenantVault(b"m" * 32, stores.tenant_keys, os.urandom)
    acme, other = await vault.sealer(TenantScope("acme")), await vault.sealer(TenantScope("other"))
    assert await vault.sealer(TenantScope("acme")) is acme
    sealed = acme.seal(b"secret", CONTEXT)
    again = TenantVault(b"m" * 32, stores.tenant_keys, os.urandom)
    assert (await again.sealer(TenantScope("acme"))).open(sealed, CONTEXT) == b"secret"
    with pytest.raises(SealBroken):
        other.open(sealed, CONTEXT)


async def test_first_writer_wins(stores):
    vaults = [TenantVault(b"m" * 32, stores.tenant_keys, os.urandom) for _ in range(8)]
    sealers = await asyncio.gather(*(vault.sealer(TenantScope("acme")) for vault in vaults for _ in range(2)))
    sealed = sealers[0].seal(b"secret", CONTEXT)
    assert {sealer.open(sealed, CONTEXT) for sealer in sealers} == {b"secret"}


async def test_another_master_key_is_named_as_the_cause(stores):
    await TenantVault(b"m" * 32, stores.tenant_keys, os.urandom).sealer(TenantScope("acme"))
    with pytest.raises(SealBroken, match="master key"):
        await TenantVault(b"n" * 32, stores.tenant_keys, os.urandom).sealer(TenantScope("acme"))


async def test_a_wrapped_key_cannot_be_moved_to_another_tenant(stores):
    wrapped = await stores.tenant_keys.wrapped_key(TenantScope("acme"), b"")
    vault = TenantVault(b"m" * 32, stores.tenant_keys, os.urandom)
    await stores.tenant_keys.wrapped_key(TenantScope("other"), wrapped)
    with pytest.raises(SealBroken):
        await vault.sealer(TenantScope("other"))
