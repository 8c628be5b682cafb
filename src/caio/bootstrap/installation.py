"""One process's parts, by the names that the API, the library and the command line use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caio.api.openai.naming import ModelNames
from caio.audit.acts import Acts
from caio.audit.journal import Journal
from caio.audit.sealing import TenantVault
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring
from caio.bootstrap.metering import Metering
from caio.config import Settings
from caio.events.ports import EventStore
from caio.gateway.pipeline import Gateway
from caio.gateway.starts import Starts
from caio.gateway.streams import Streams
from caio.gateway.workflows.runs import Workflows
from caio.metering.statements import Statements
from caio.observability.metrics import Metrics
from caio.observability.tracing import Tracing
from caio.registry.aliases import Aliases
from caio.registry.audit_entries import AuditEntries
from caio.registry.audit_export import AuditExports
from caio.registry.audit_log import AuditLog
from caio.registry.catalog import Catalog
from caio.registry.custody import Custody
from caio.registry.decisions import Decisions
from caio.registry.observed import ObservedServices
from caio.registry.service_limits import ServiceLimits
from caio.registry.tenant_export import TenantExports
from caio.registry.what_if import WhatIf
from caio.storage.memory.admission import InProcessAdmission
from caio.storage.sql.database import Database
from caio.storage.sql.lock import in_turn
from caio.storage.sql.standing import Standing
from caio.storage.sql.stores import Stores
from caio.tenancy.addresses import CallerAddresses
from caio.tenancy.api_keys import ApiKeys
from caio.tenancy.authentication import Authenticator
from caio.tenancy.invitations import Invitations
from caio.tenancy.lifecycle import Lifecycle, Tenants
from caio.tenancy.members import Members
from caio.tenancy.turns import Turns
from caio.tenancy.webhooks import Webhooks
from caio.worker.loop import Worker

if TYPE_CHECKING:
    from caio.storage.redis.admission import RedisAdmission


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One process's parts, wired and running."""

    settings: Settings
    database: Database
    standing: Standing
    stores: Stores
    keyring: Keyring
    vault: TenantVault
    journal: Journal
    sequencer: Sequencer
    audit_log: AuditLog
    audit_exports: AuditExports
    audit_entries: AuditEntries
    custody: Custody
    acts: Acts
    tenants: Tenants
    admission: InProcessAdmission | RedisAdmission
    limiter: RedisAdmission | None
    catalog: Catalog
    aliases: Aliases
    model_names: ModelNames
    service_limits: ServiceLimits
    decisions: Decisions
    observed: ObservedServices
    what_if: WhatIf
    workflows: Workflows
    gateway: Gateway
    streams: Streams
    starts: Starts
    authenticator: Authenticator
    addresses: CallerAddresses
    turns: Turns
    api_keys: ApiKeys
    members: Members
    lifecycle: Lifecycle
    invitations: Invitations
    tenant_exports: TenantExports
    metering: Metering
    webhooks: Webhooks
    worker: Worker | None
    metrics: Metrics
    tracing: Tracing | None

    @property
    def event_history(self) -> EventStore:
        return self.stores.events

    @property
    def statements(self) -> Statements:
        return self.metering.statements

    @property
    def max_body_bytes(self) -> int:
        return self.settings.max_body_bytes

    @property
    def cors_origins(self) -> Sequence[str]:
        return self.settings.cors_origins

    def in_turn(self) -> AbstractAsyncContextManager[None]:
        """For what every process of a database does when it starts, and one is to do first."""
        return in_turn(self.database)

    async def ping_database(self) -> None:
        await self.database.ping()

    async def check_migrations(self) -> None:
        await self.standing.check()
