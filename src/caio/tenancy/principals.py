"""Who is calling: roles, what they permit, and the authenticated caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from caio.foundation.errors import NotAllowed
from caio.foundation.scope import TenantScope
from caio.routing.model import Principal
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
    SERVICES_SHARE = "services:share"


_READ = frozenset({Permission.SERVICES_READ, Permission.POLICIES_READ, Permission.DECISIONS_READ})
_WRITE = frozenset({Permission.SERVICES_WRITE, Permission.POLICIES_WRITE})

#: What each role may do. ``service`` is a program that only calls; ``auditor`` only reads. Sharing a
#: service with every tenant is the platform's alone: no tenant's role permits it.
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset(Permission) - {Permission.SERVICES_SHARE},
    "developer": _READ | _WRITE | {Permission.ORCHESTRATE},
    "user": frozenset({Permission.ORCHESTRATE, Permission.SERVICES_READ, Permission.DECISIONS_READ}),
    "service": frozenset({Permission.ORCHESTRATE, Permission.SERVICES_READ}),
    "auditor": _READ | {Permission.AUDIT_READ},
}


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """The union of what the roles permit; an unknown role permits nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: the proof of its tenant, the principal that decisions see, and the ids
    of the policies that its key brings to each of them."""

    scope: TenantScope
    tenant: Tenant
    principal: Principal
    policies: tuple[str, ...] = ()

    def require(self, permission: Permission) -> None:
        """Raises NotAllowed unless the caller's roles permit it."""
        if permission not in self.principal.permissions:
            raise NotAllowed(f"this call needs the permission {permission.value!r}, which your key's roles do not give")
