"""Who is calling: roles, what they permit, and the authenticated caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from caio.foundation.errors import NotAllowed
from caio.foundation.scope import TenantScope
from caio.routing.model import Principal
from caio.tenancy.limits import UNLIMITED, Limits
from caio.tenancy.ports import Tenant


class Permission(StrEnum):
    """What a route asks for. A contract may require further names of its own."""

    ORCHESTRATE = "orchestrate"
    SERVICES_READ = "services:read"
    SERVICES_WRITE = "services:write"
    POLICIES_READ = "policies:read"
    POLICIES_WRITE = "policies:write"
    DECISIONS_READ = "decisions:read"
    KEYS_MANAGE = "keys:manage"
    AUDIT_READ = "audit:read"
    AUDIT_MANAGE = "audit:manage"
    USAGE_READ = "usage:read"
    BILLING_READ = "billing:read"
    MEMBERS_MANAGE = "members:manage"
    TENANT_READ = "tenant:read"
    TENANT_MANAGE = "tenant:manage"
    WEBHOOKS_MANAGE = "webhooks:manage"
    EVENTS_READ = "events:read"
    SERVICES_SHARE = "services:share"
    TENANTS_READ = "tenants:read"
    TENANTS_MANAGE = "tenants:manage"


_READ = frozenset({Permission.SERVICES_READ, Permission.POLICIES_READ, Permission.DECISIONS_READ})
_WRITE = frozenset({Permission.SERVICES_WRITE, Permission.POLICIES_WRITE})

#: What the platform's operator may do beyond a tenant's own affairs: share a service with every tenant, and
#: see and manage what tenants there are. Never what is in them.
PLATFORM = frozenset({Permission.SERVICES_SHARE, Permission.TENANTS_READ, Permission.TENANTS_MANAGE})

#: What each role may do. ``service`` is a program that only calls; ``auditor`` only reads; ``billing`` sees
#: what was used and what it cost. ``operator`` exists in the platform's own tenant only (``OPERATORS_TENANT``).
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset(Permission) - PLATFORM,
    "operator": PLATFORM,
    "billing": frozenset({Permission.USAGE_READ, Permission.BILLING_READ, Permission.TENANT_READ}),
    "developer": _READ | _WRITE | {Permission.ORCHESTRATE, Permission.USAGE_READ, Permission.EVENTS_READ},
    "user": frozenset({Permission.ORCHESTRATE, Permission.SERVICES_READ, Permission.DECISIONS_READ}),
    "service": frozenset({Permission.ORCHESTRATE, Permission.SERVICES_READ}),
    "auditor": _READ | {Permission.AUDIT_READ, Permission.USAGE_READ, Permission.TENANT_READ, Permission.EVENTS_READ},
}


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """The union of what the roles permit; an unknown role permits nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: the proof of its tenant, the principal that decisions see, the ids of the
    policies that its key brings to each of them, the limits of its key or membership, and when its key ends."""

    scope: TenantScope
    tenant: Tenant
    principal: Principal
    policies: tuple[str, ...] = ()
    limits: Limits = UNLIMITED
    ends_at: int | None = None

    def require(self, permission: Permission) -> None:
        """Raises NotAllowed unless the caller's roles permit it."""
        if permission not in self.principal.permissions:
            raise NotAllowed(f"this call needs the permission {permission.value!r}, which your key's roles do not give")
