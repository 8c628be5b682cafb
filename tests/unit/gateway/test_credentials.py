"""Opened secrets: kept for seconds, then read again, and let go."""

import os

import pytest

from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.errors import NotFound, UpstreamFailed, UpstreamFault
from caio.foundation.scope import TenantScope
from caio.gateway import credentials
from caio.gateway.credentials import KEPT_SECONDS, Credentials, secret_context
from tests.unit.gateway.test_answer_cache import Keys

ACME = TenantScope("acme")


class Sealed:
    """What the database holds of secrets."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.reads = 0

    async def sealed(self, scope: TenantScope, name: str) -> bytes:
        self.reads += 1
        if (scope.tenant_id, name) not in self.rows:
            raise NotFound("no such secret")
        return self.rows[scope.tenant_id, name]


@pytest.fixture
def vault() -> TenantVault:
    return TenantVault(LocalWrapping(os.urandom(32), os.urandom), Keys(), os.urandom, lambda: 0.0)


@pytest.fixture
async def store(vault: TenantVault) -> Sealed:
    store, sealer = Sealed(), await vault.sealer(ACME)
    for name in ("one", "two", "three"):
        store.rows["acme", name] = sealer.seal(f"value of {name}".encode(), secret_context(name))
    return store


async def test_old_values_are_let_go(store: Sealed, vault: TenantVault, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(credentials, "monotonic", lambda: now)
    secrets = Credentials(store, vault)
    assert [await secrets.secret(ACME, "one") for _ in range(3)] == ["value of one"] * 3
    assert store.reads == 1
    now += KEPT_SECONDS - 1
    await secrets.secret(ACME, "two")
    assert list(secrets._kept) == [("acme", "one"), ("acme", "two")]
    now += 1
    await secrets.secret(ACME, "three")
    assert list(secrets._kept) == [("acme", "two"), ("acme", "three")]
    assert await secrets.secret(ACME, "one") == "value of one"
    assert store.reads == 4


async def test_opened_values_are_bounded(store: Sealed, vault: TenantVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MOST_KEPT", 2)
    secrets = Credentials(store, vault)
    for name in ("one", "two", "three"):
        await secrets.secret(ACME, name)
    assert list(secrets._kept) == [("acme", "two"), ("acme", "three")]


async def test_a_secret_that_is_not_set_is_the_tenants_to_set(store: Sealed, vault: TenantVault) -> None:
    with pytest.raises(UpstreamFailed, match="caio secrets set four") as failed:
        await Credentials(store, vault).secret(ACME, "four")
    assert failed.value.fault is UpstreamFault.AUTH
