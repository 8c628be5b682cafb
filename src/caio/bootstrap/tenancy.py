"""Tenants, and who calls: how the operator's tenant begins, authentication, keys."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from caio.audit.acts import SYSTEM
from caio.audit.key_changes import record_signing_key
from caio.audit.sealing import derive
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.foundation.errors import Erased
from caio.foundation.scope import DEFAULT_TENANT
from caio.registry.views import Views
from caio.tenancy.api_keys import ApiKeys
from caio.tenancy.authentication import Authenticator, embedded_scope
from caio.tenancy.lifecycle import Tenants
from caio.tenancy.ports import Quotas, Tenant, TenantStatus

_API_KEY_HASHING = "caio/api-key-hash/v1"


@dataclass(frozen=True, slots=True)
class Tenancy:
    tenants: Tenants
    authenticator: Authenticator
    api_keys: ApiKeys


def default_tenant(settings: Settings) -> Tenant:
    """The operator's tenant, which there always is: made by the first start, or a command before it."""
    return Tenant(DEFAULT_TENANT, "Default tenant", TenantStatus.ACTIVE, settings.currency, Quotas(), now())


def wire_tenancy(settings: Settings, storage: Storage, audit: Audit, views: Views) -> Tenancy:
    stores = storage.stores
    hash_key = derive(audit.master, _API_KEY_HASHING)
    authenticator = Authenticator(stores.api_keys, stores.tenants, hash_key, now)
    return Tenancy(
        Tenants(stores.tenants, audit.wrapping, audit.acts, os.urandom),
        authenticator,
        ApiKeys(stores.api_keys, hash_key, settings.env[:4], now, os.urandom, authenticator.forget, views, audit.acts),
    )


async def begin(settings: Settings, storage: Storage, audit: Audit, tenants: Tenants) -> None:
    """What the operator's log says before anything is signed. Raises SealBroken when the master key is not
    this database's."""
    scope = embedded_scope()
    await tenants.create(scope, SYSTEM, default_tenant(settings))
    with suppress(Erased):  # of a default tenant whose key was destroyed; the others go on
        await audit.vault.sealer(scope)
        key_id = audit.keyring.active.key_id
        await record_signing_key(scope, key_id, storage.stores.journal, audit.acts, audit.journal)
