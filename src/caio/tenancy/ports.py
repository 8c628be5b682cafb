"""What tenancy needs of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
class TenantCounts:
    """How many there are: services and policies in force, keys neither revoked nor expired, members."""

    services: int
    policies: int
    keys: int
    members: int


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

    async def page(self, status: TenantStatus | None, after: str, limit: int) -> Sequence[Tenant]:
        """Up to ``limit`` tenants with an id beyond ``after``, by id, for the platform's operator; all or those
        of one status."""
        ...

    async def counts(self, scope: TenantScope, now: int) -> TenantCounts:
        """What the tenant has at ``now``."""
        ...

    async def change(self, scope: TenantScope, tenant: Tenant, leaf: Leaf | None) -> bool:
        """Store ``tenant`` in place of the revision before its own, and the leaf that tells of it, in one
        transaction; False (and no change) when another revision is stored."""
        ...

    async def delete(self, scope: TenantScope, tenant: Tenant, leaves: Sequence[Leaf]) -> bool:
        """As ``change``, and in the same transaction take away who could act for the tenant (keys, members,
        invitations), what others use of it, and its data key, behind the last leaves sealed with it. Raises
        Conflict ``legal_hold`` while a hold stands."""
        ...

    async def due(self, now: int, limit: int) -> Sequence[str]:
        """The ids of up to ``limit`` tenants whose ``erase_at`` has come, longest due first."""
        ...


class TenantPlaces(Protocol):
    """Where the rows of tenants are kept, by their tier. A tenant's tier is fixed when it is created."""

    async def prepare_place(self, tenant: Tenant) -> Tenant:
        """Make the schema or prepare the database that the tier asks for, before the tenant is stored; the tenant
        with its ``place`` filled in. Repeating it changes nothing.

        Raises InvalidInput ``tier_unavailable`` for a tier that this database cannot give or a silo that no setting
        names, Conflict ``place_taken`` for a silo that another tenant has, and Misconfigured when the database's
        login may not make schemas.
        """
        ...

    async def remove_place(self, tenant: Tenant) -> None:
        """Give up the place of a tenant whose data was erased: what stays of it (commitments, tree, counts) moves
        to the shared tables, the tenant's tier becomes POOL, and the schema, or the silo's rows, are gone. Also for
        a tenant that was prepared and never stored. Repeating it changes nothing."""
        ...


class PolicyNames(Protocol):
    """What policies a tenant has: keys may name them."""

    async def missing(self, scope: TenantScope, policy_ids: Sequence[str]) -> Sequence[str]:
        """Those of ``policy_ids`` that no active policy of the tenant has, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Located:
    """Where a key or a member is: what a look-up that precedes a scope gives away, and no more."""

    tenant_id: str
    item_id: str


class ApiKeyStore(Protocol):
    """Keys and the leaves that tell of them, each pair written in one transaction."""

    async def add(self, scope: TenantScope, key: ApiKey, leaf: Leaf) -> None: ...

    async def locate(self, key_hash: bytes) -> Located | None:
        """Where the key with this hash is, of any tenant: a look-up that precedes a scope."""
        ...

    async def get(self, scope: TenantScope, key_id: str) -> ApiKey:
        """Raises NotFound."""
        ...

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[ApiKey]: ...

    async def revoke(self, scope: TenantScope, key_id: str, now: int, leaf: Leaf) -> ApiKey:
        """Raises NotFound; revoking a revoked key changes nothing and writes no leaf."""
        ...

    async def rotate(self, scope: TenantScope, key_id: str, ends_at: int, successor: ApiKey, leaf: Leaf) -> ApiKey:
        """Put ``successor`` in the place of the key, which ends at ``ends_at`` or sooner; the key as it then is.
        Raises NotFound, and Conflict ``key_not_active`` for one that is revoked, expired or rotated already."""
        ...

    async def note_use(self, scope: TenantScope, used: Mapping[str, int]) -> None:
        """Key ids with the moment of their last use; a later one that is known stays."""
        ...


class MemberStore(Protocol):
    """Members and the leaves that tell of them, each pair written in one transaction."""

    async def locate(self, issuer: str, subject: str) -> Sequence[Located]:
        """Where this one is a member, by tenant id: a look-up that precedes a scope. Not of removed ones."""
        ...

    async def get(self, scope: TenantScope, member_id: str) -> Member:
        """A member, removed ones too. Raises NotFound."""
        ...

    async def page(self, scope: TenantScope, after: str, limit: int) -> Sequence[Member]: ...

    async def change(self, scope: TenantScope, before: Member, after: Member, leaf: Leaf) -> Member | None:
        """Store the roles, trust level and limits of ``after`` if the member is as ``before``; None, and nothing
        written, when it is not any more. Raises NotFound, also for a removed one, and Conflict ``last_admin`` when
        the tenant would be left without an admin among its members."""
        ...

    async def remove(self, scope: TenantScope, member_id: str, now: int, leaf: Leaf) -> Member:
        """Raises NotFound, also for a removed one, and Conflict ``last_admin`` as ``change``."""
        ...
