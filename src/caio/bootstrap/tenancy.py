"""Tenants, and who calls: how the operator's tenant begins, authentication, keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import structlog

from caio.audit.acts import SYSTEM, Acts
from caio.audit.key_changes import bind_master_key, last_signing_key, record_signing_key
from caio.audit.sealing import derive
from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.foundation.errors import Erased, Misconfigured
from caio.foundation.scope import DEFAULT_TENANT, TenantScope
from caio.providers.jwks import JwksClient
from caio.providers.outbound import OutboundClient
from caio.registry.views import Views
from caio.storage.sql.lock import in_turn
from caio.tenancy import jws
from caio.tenancy.addresses import CallerAddresses
from caio.tenancy.api_keys import ApiKeys
from caio.tenancy.authentication import Authenticator, embedded_scope
from caio.tenancy.key_sets import KeySets
from caio.tenancy.key_uses import EVERY_SECONDS, KeyUses
from caio.tenancy.lifecycle import Tenants
from caio.tenancy.members import Members
from caio.tenancy.oidc import Issuer
from caio.tenancy.ports import ApiKeyStore, Quotas, Tenant, TenantStatus
from caio.worker.loop import Loop, Worker

_API_KEY_HASHING = "caio/api-key-hash/v1"

_logger = structlog.get_logger("caio.tenancy")


@dataclass(frozen=True, slots=True)
class Tenancy:
    tenants: Tenants
    authenticator: Authenticator
    addresses: CallerAddresses
    api_keys: ApiKeys
    key_uses: KeyUses
    members: Members


def default_tenant(settings: Settings) -> Tenant:
    """The operator's tenant, which there always is: made by the first start, or a command before it."""
    return Tenant(DEFAULT_TENANT, "Default tenant", TenantStatus.ACTIVE, settings.currency, Quotas(), now())


def wire_tenancy(settings: Settings, storage: Storage, audit: Audit, views: Views, outbound: OutboundClient) -> Tenancy:
    stores, acts = storage.stores, audit.acts
    hash_key = derive(audit.master, _API_KEY_HASHING)
    uses = KeyUses(stores.api_keys)
    if settings.issuers:
        jws.check_installed()
    issuers = [Issuer(**each.model_dump()) for each in settings.issuers]
    key_sets = KeySets(JwksClient(outbound), now, _told)
    authenticator = Authenticator(
        stores.api_keys, stores.tenants, hash_key, now, stores.members, issuers, key_sets, uses.note
    )
    changed = authenticator.forget_principal
    environment = settings.env[:4]
    return Tenancy(
        Tenants(stores.tenants, audit.wrapping, acts, os.urandom),
        authenticator,
        CallerAddresses(settings.trusted_proxies),
        ApiKeys(stores.api_keys, hash_key, environment, now, os.urandom, authenticator.forget, views, acts, changed),
        uses,
        Members(stores.members, acts, now, changed),
    )


class _NoPolicies:
    """Of policies that a key would name; the owner's key names none."""

    async def missing(self, scope: TenantScope, policy_ids: Sequence[str]) -> Sequence[str]:
        return policy_ids


def owners_keys(settings: Settings, store: ApiKeyStore, acts: Acts, master: bytes) -> ApiKeys:
    """Keys for whoever holds the data directory: ``create_for_owner`` needs neither a server nor another key."""
    hash_key = derive(master, _API_KEY_HASHING)
    return ApiKeys(store, hash_key, settings.env[:4], now, os.urandom, lambda _: None, _NoPolicies(), acts)


def _told(issuer: str, error: Exception) -> None:
    _logger.warning("identity_provider_keys_not_fetched", issuer=issuer, reason=str(error))


async def start_key_uses(stack: AsyncExitStack, tenancy: Tenancy) -> None:
    """Write down now and then when keys were used, while this process runs and when it ends."""

    async def finish() -> None:
        await tenancy.key_uses.write()

    loop = Loop(
        "key uses", EVERY_SECONDS, tenancy.key_uses.write, first_after=EVERY_SECONDS, drains=False, finish=finish
    )
    worker = Worker([loop])
    await worker.start()
    stack.push_async_callback(worker.stop)


async def begin(settings: Settings, storage: Storage, audit: Audit, tenants: Tenants) -> None:
    """What the operator's log says before anything is signed. Raises SealBroken when the master key is not
    this database's, and Misconfigured when that is so behind a key service, or when another process signs with a key
    that this one does not know."""
    scope = embedded_scope()
    async with in_turn(storage.database):
        await tenants.create(scope, SYSTEM, default_tenant(settings))
        with suppress(Erased):  # of a default tenant whose key was destroyed; the others go on
            await audit.vault.sealer(scope)
            if settings.kms_key_id is not None:
                await bind_master_key(scope, audit.master, storage.stores.journal, audit.acts, storage.stores.acts)
            if settings.several_processes or settings.signing_secret is not None:
                await _check_signing_key(settings, storage, audit)
            key_id = audit.keyring.active.key_id
            await record_signing_key(scope, key_id, storage.stores.journal, audit.acts, storage.stores.acts)


async def _check_signing_key(settings: Settings, storage: Storage, audit: Audit) -> None:
    """Processes with keys of their own would take each other's checkpoints for forged. A file that was lost may be
    replaced by the only process; a secret from the environment that is another was changed by mistake."""
    last = await last_signing_key(embedded_scope(), storage.stores.journal)
    if last is None or last in audit.keyring.trusted_keys():
        return
    if settings.signing_secret is None:
        raise Misconfigured(
            f"this log is signed with the key {last}, which is not in keys/signing: all processes of one database "
            "need the same keys directory",
            code="keys_differ",
        )
    raise Misconfigured(
        f"this log is signed with the key {last}, which is neither that of CAIO_SIGNING_SECRET "
        f"({audit.keyring.active.key_id}) nor among CAIO_RETIRED_SIGNING_KEYS: put the secret back, or name the old "
        "key's public half there",
        code="keys_differ",
    )
