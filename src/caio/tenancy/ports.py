"""What tenancy needs of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caio.audit.ports import Leaf
from caio.foundation.scope import TenantScope
from caio.tenancy.limits import UNLIMITED, Limits


class TenantStatus(StrEnum):
    """ACTIVE tenants are served. A cancelled one is deleted when its grace has passed; of a deleted one only
    the id, its sealed leaves' commitments and counts are left."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class Tier(StrEnum):
    """How a tenant's rows are kept apart: in shared tables behind row-level security, in a schema of their
    own, or in a database of their own."""

    POOL = "pool"
    BRIDGE = "bridge"
    SILO = "silo"


class Outage(StrEnum):
    """What happens to a tenant's calls while the shared limiter does not answer: none is admitted, or each
    process admits its share of the limits."""

    CLOSED = "closed"
    LOCAL = "local"


class BudgetPeriod(StrEnum):
    """What a budget is for: all time, or each calendar month in UTC."""

    TOTAL = "total"
    MONTH = "month"


GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Quotas:
    """A tenant's limits. Windows are rolling; ``budget`` is nano-units of the currency or None, for each
    ``budget_period``; ``alerts`` are the percentages of it whose passing is told by an event. ``limits`` holds
    what else is limited; its requests are the three windows here."""

    services: int = 100
    per_minute: int = 1_000
    per_hour: int = 10_000
    per_day: int = 100_000
    budget: int | None = None
    storage_bytes: int = 10 * GIGABYTE
    budget_period: BudgetPeriod = BudgetPeriod.TOTAL
    alerts: tuple[int, ...] = (50, 80, 100)
    limits: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class Tenant:
    """``revision`` counts the changes and is the ETag; ``status_at`` is when the status was last changed.
    ``place`` names the schema or the database of a tenant whose tier is not POOL. ``erase_at`` is when the
    worker erases what there is: of a cancelled tenant all of it; of a deleted one what a process still wrote
    with a key it held, after which there is no such time."""

    tenant_id: str
    name: str
    status: TenantStatus
    currency: str
    quotas: Quotas
    created_at: int
    plan: str = "standard"
    tier: Tier = Tier.POOL
    place: str = ""
    outage: Outage = Outage.CLOSED
    revision: int = 1
    updated_at: int = 0
    status_at: int = 0
    erase_at: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret: ``key_hash`` is keyed, ``prefix`` is for display. ``policies``
    are the ids of those in force for every decision made with it, beside the tenant's own. ``successor_id``
    is the key that a rotation put in its place; ``last_used_at`` is exact to a few minutes."""

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
    limits: Limits = UNLIMITED
    created_by: str = ""
    successor_id: str = ""
    last_used_at: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A person or program of an identity provider that belongs to a tenant: (``issuer``, ``subject``) as the
    provider names them. The same one may be a member of several tenants."""

    member_id: str
    tenant_id: str
    issuer: str
    subject: str
    name: str
    email: str
    roles: tuple[str, ...]
    trust_level: str
    joined_at: int
    removed_at: int | None = None
    limits: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open door for one: whoever brings its token may join with these roles. Ends once."""

    invitation_id: str
    tenant_id: str
    email: str
    roles: tuple[str, ...]
    trust_level: str
    token_hash: bytes
    created_at: int
    created_by: str
    expires_at: int
    accepted_at: int | None = None
    accepted_by: str | None = None
    revoked_at: int | None = None


class TenantStore(Protocol):
    async def create(self, scope: TenantScope, tenant: Tenant, wrapped_key: bytes, leaf: Leaf) -> bool:
        """Store the tenant of ``scope``, its wrapped data key and the leaf that tells of it in one transaction; False
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
