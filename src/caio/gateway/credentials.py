"""Provider keys, opened for the moment of a call.

A contract names a secret; the store holds it sealed with the tenant's key. Opened values are kept
for a few seconds, so that a rotated key is picked up soon and a hot path does not unseal each time.

Law (has a test of the same name): old_values_are_let_go, at the next look-up of whichever secret.
"""

from __future__ import annotations

from time import monotonic

from caio.audit.sealing import TenantVault
from caio.foundation.errors import NotFound, UpstreamFailed, UpstreamFault
from caio.foundation.scope import TenantScope
from caio.gateway.ports import OperatorKeys, SecretStore, Target

KEPT_SECONDS = 5.0
#: Opened values kept; of more those that were opened first go.
MOST_KEPT = 10_000


def secret_context(name: str) -> bytes:
    """What a sealed secret is bound to, beside its tenant."""
    return f"secret/{name}".encode()


class Credentials:
    """Looks up the secrets that contracts refer to."""

    def __init__(self, store: SecretStore, vault: TenantVault, lent: OperatorKeys | None = None) -> None:
        self._store = store
        self._vault = vault
        self._lent = lent
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    async def of(self, scope: TenantScope, owner: str, target: Target) -> str | None:
        """What the service is called with on behalf of the caller's tenant: a secret of that tenant, what the operator
        lends to the ``owner``'s service, or nothing. Raises UpstreamFailed AUTH where that is not to be had."""
        if target.secret_ref is not None:
            return await self.secret(scope, target.secret_ref)
        if target.auth_scheme != "aws":
            return None
        if self._lent is None:
            raise not_lent(target.service_id)
        return self._lent.secret(owner, target)

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
        self._keep((scope.tenant_id, name), value)
        return value

    def _keep(self, of: tuple[str, str], value: str) -> None:
        now = monotonic()
        self._kept.pop(of, None)  # whichever was opened first is the first
        self._kept[of] = (now, value)
        while len(self._kept) > MOST_KEPT or now - next(iter(self._kept.values()))[0] >= KEPT_SECONDS:
            del self._kept[next(iter(self._kept))]


def not_lent(service_id: str) -> UpstreamFailed:
    """The fault of a service that is to be called as the operator, who has not said so."""
    why = "it names no secret, and the operator's own role is not lent to it (CAIO_AWS_ROLE_SERVICES)"
    return UpstreamFailed(f"Service {service_id!r} was not called: {why}", UpstreamFault.AUTH)
