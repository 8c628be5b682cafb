"""What tenancy needs of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Quotas:
    """A tenant's limits. Windows are rolling; ``budget`` is nano-units of the currency or None."""

    services: int = 100
    per_minute: int = 1_000
    per_hour: int = 10_000
    per_day: int = 100_000
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    tenant_id: str
    name: str
    status: TenantStatus
    currency: str
    quotas: Quotas
    created_at: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret: ``key_hash`` is keyed, ``prefix`` is for display. ``policies``
    are the ids of those in force for every decision made with it, beside the tenant's own."""

    key_id: str
    tenant_id: str
    name: str
    prefix: str
    key_hash: bytes
    roles: tuple[str, ...]
    trust_level: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    policies: tuple[str, ...] = ()


class TenantStore(Protocol):
    async def create(self, tenant: Tenant, wrapped_key: bytes, leaf: Leaf) -> bool:
        """Store the tenant, its wrapped data key and the leaf that tells of it in one transaction; False
        (and no change) when the id is taken."""
        ...

    async def get(self, scope: TenantScope) -> Tenant:
        """Raises NotFound."""
        ...

    async def all_active(self) -> Sequence[Tenant]:
        """Every active tenant, for the process's own start-up; never shown to a caller."""
        ...


class PolicyNames(Protocol):
    """What policies a tenant has: keys may name them."""

    async def missing(self, scope: TenantScope, policy_ids: Sequence[str]) -> Sequence[str]:
        """Those of ``policy_ids`` that no active policy of the tenant has, in their order."""
        ...


class ApiKeyStore(Protocol):
    """Keys and the leaves that tell of them, each pair written in one transaction."""

    async def add(self, scope: TenantScope, key: ApiKey, leaf: Leaf) -> None: ...

    async def find(self, key_hash: bytes) -> ApiKey | None:
        """The key with this hash, of any tenant: the one look-up that precedes a scope."""
        ...

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[ApiKey]: ...

    async def revoke(self, scope: TenantScope, key_id: str, now: int, leaf: Leaf) -> ApiKey:
        """Raises NotFound; revoking a revoked key changes nothing and writes no leaf."""
        ...
