"""Provider keys, opened for the moment of a call.

A contract names a secret; the store holds it sealed with the tenant's key. Opened values are kept
for a few seconds, so that a rotated key is picked up soon and a hot path does not unseal each time.
"""

from __future__ import annotations

from time import monotonic

from caio.audit.sealing import TenantVault
from caio.foundation.errors import NotFound, UpstreamFailed, UpstreamFault
from caio.foundation.scope import TenantScope
from caio.gateway.ports import SecretStore

KEPT_SECONDS = 5.0


def secret_context(name: str) -> bytes:
    """What a sealed secret is bound to, beside its tenant."""
    return f"secret/{name}".encode()


class Credentials:
    """Looks up the secrets that contracts refer to."""

    def __init__(self, store: SecretStore, vault: TenantVault) -> None:
        self._store = store
        self._vault = vault
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    async def secret(self, scope: TenantScope, name: str) -> str:
        """The secret's value; raises UpstreamFailed AUTH when the tenant has none of that name."""
        known = self._kept.get((scope.tenant_id, name))
        if known and monotonic() - known[0] < KEPT_SECONDS:
            return known[1]
        try:
            sealed = await self._store.sealed(scope, name)
        except NotFound:
            raise UpstreamFailed(
                f"the contract refers to the secret {name!r}, which is not set: caio secrets set {name}",
                UpstreamFault.AUTH,
            ) from None
        value = (await self._vault.sealer(scope)).open(sealed, secret_context(name)).decode()
        self._kept[scope.tenant_id, name] = (monotonic(), value)
        return value
