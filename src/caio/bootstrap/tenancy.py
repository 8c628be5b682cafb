"""Tenants, and who calls: how the operator's tenant begins, authentication, keys."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from caio.audit.acts import SYSTEM
from caio.audit.key_changes import last_signing_key, record_signing_key
from caio.audit.sealing import derive
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.foundation.errors import Erased, Misconfigured
from caio.foundation.scope import DEFAULT_TENANT
from caio.registry.views import Views
from caio.storage.sql.lock import in_turn
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
    this database's, and Misconfigured when another process signs with a key that this one does not know."""
    scope = embedded_scope()
    async with in_turn(storage.database):
        await tenants.create(scope, SYSTEM, default_tenant(settings))
        with suppress(Erased):  # of a default tenant whose key was destroyed; the others go on
            await audit.vault.sealer(scope)
            if settings.several_processes:
                await _check_signing_key(storage, audit)
            key_id = audit.keyring.active.key_id
            await record_signing_key(scope, key_id, storage.stores.journal, audit.acts, storage.stores.acts)


async def _check_signing_key(storage: Storage, audit: Audit) -> None:
    """Processes with keys of their own would take each other's checkpoints for forged."""
    last = await last_signing_key(embedded_scope(), storage.stores.journal)
    if last is not None and last not in audit.keyring.trusted_keys():
        raise Misconfigured(
            f"this log is signed with the key {last}, which is not in keys/signing: all processes of one database "
            "need the same keys directory",
            code="keys_differ",
        )
