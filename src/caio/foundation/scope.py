"""The proof that a piece of work may touch one tenant's data, or may look across tenants.

Every look-up takes a scope. Holding a ``TenantScope`` is the proof of one tenant; only authentication
(and the worker, for its job's tenant) mints it. A ``PlatformScope`` is for the process's own work over
all tenants (recovery, sequencing, roll-ups, the operator's list of tenants) and shows no tenant's rows
to another. An architecture test holds the list of places that mint either. Nothing here checks that
the tenant exists.
"""

from __future__ import annotations

from dataclasses import dataclass

from caio.foundation.ids import TENANT_ID

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class TenantScope:
    """Access to the data of exactly one tenant."""

    tenant_id: str

    def __post_init__(self) -> None:
        if not TENANT_ID.fullmatch(self.tenant_id):
            raise ValueError("a tenant id is 1 to 63 of a-z, 0-9, - and _, starting with a letter or digit")


@dataclass(frozen=True, slots=True)
class PlatformScope:
    """Access across tenants, for the work that ``reason`` names."""

    reason: str


Scope = TenantScope | PlatformScope
