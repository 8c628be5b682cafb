"""How tenants begin, change and end, and how people come to belong to them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from caio.audit.sealing import derive
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.gateway import RequestPath
from caio.bootstrap.registry import Registry
from caio.bootstrap.storage import Storage
from caio.bootstrap.tenancy import Tenancy
from caio.registry.tenant_export import TenantExports
from caio.storage.sql.placing import SqlPlaces
from caio.tenancy.forgetting import Forgetting
from caio.tenancy.invitations import Invitations
from caio.tenancy.lifecycle import Lifecycle

_INVITATION_HASHING = "caio/invitation-hash/v1"


@dataclass(frozen=True, slots=True)
class Tenure:
    lifecycle: Lifecycle
    invitations: Invitations
    exports: TenantExports


def wire_lifecycle(storage: Storage, audit: Audit, tenancy: Tenancy, path: RequestPath, registry: Registry) -> Tenure:
    stores, acts = storage.stores, audit.acts

    async def drop_views(tenant_id: str) -> None:
        path.views.forget(tenant_id)

    forgetting = Forgetting(here=[tenancy.authenticator.forget_tenant, audit.vault.forget], everywhere=[drop_views])
    if path.limiter is not None:
        forgetting.everywhere.append(path.limiter.forget)
    places = SqlPlaces(storage.database)
    hash_key = derive(audit.master, _INVITATION_HASHING)
    return Tenure(
        Lifecycle(tenancy.tenants, stores.tenants, places, stores.custody, acts, now, forgetting),
        Invitations(stores.invitations, stores.tenants, tenancy.api_keys, hash_key, now, os.urandom, acts),
        TenantExports(
            stores.tenants, stores.tenant_rows, stores.journal, audit.vault, registry.audit_log, acts, stores.acts, now
        ),
    )
