"""The proof that a piece of work may touch one tenant's data.

Every look-up takes a ``TenantScope``. Holding one is the proof; only authentication (and the
worker, for its job's tenant) mints it, which an architecture test checks. Nothing here checks
that the tenant exists.
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
